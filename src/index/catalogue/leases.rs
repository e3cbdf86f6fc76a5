//! Records when leases of the repository were first seen, because a lease counts only for a limited
//! time.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{Catalogue, CatalogueResult};

impl Catalogue {
    /// Returns when each of the leases was first seen, in seconds since 1970; `now` for those that
    /// were never seen.
    pub fn seen_leases(&self, names: &[String], now: i64) -> CatalogueResult<HashMap<String, i64>> {
        self.read(|c| seen(c, names, now))
    }

    /// Records that exactly these leases exist. Returns the same as [`Self::seen_leases`].
    pub fn see_leases(&self, names: &[String], now: i64) -> CatalogueResult<HashMap<String, i64>> {
        self.write(|c| {
            let seen = seen(c, names, now)?;
            c.prepare_cached("DELETE FROM seen_leases")?.execute([])?;
            let mut put = c.prepare_cached("INSERT INTO seen_leases VALUES (?1, ?2)")?;
            seen.iter().try_for_each(|row| put.execute(row).map(drop))?;
            Ok(seen)
        })
    }
}

fn seen(
    connection: &Connection,
    names: &[String],
    now: i64,
) -> rusqlite::Result<HashMap<String, i64>> {
    let mut all = connection.prepare_cached("SELECT name, first_seen FROM seen_leases")?;
    let known = all
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<HashMap<String, i64>>>()?;
    // A clock that was set back must not extend the lifetime of a lease.
    let first = |name: &String| known.get(name).copied().unwrap_or(now).min(now);
    Ok(names
        .iter()
        .map(|name| (name.clone(), first(name)))
        .collect())
}
