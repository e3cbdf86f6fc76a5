//! Access to a store: credentials, limits and observers. All values come from the caller; this
//! module looks up nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::meter::Meter;
use super::{DistrustedRemote, Store};
use crate::observe::{Observer, Silent};

/// A value that is never displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// Returns the value, for code that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Wraps a store in another store; tests inject faults this way.
pub type Wrap = dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync;

/// Settings and observers of the access to a store.
#[derive(Clone)]
pub struct Access {
    /// Credentials by the name of their environment variable (`AWS_ACCESS_KEY_ID`), if the caller
    /// found them in the environment, in a file or in `/run/secrets`. The library of the store may
    /// find further credentials itself.
    pub credentials: BTreeMap<String, Secret>,
    /// Forbids all network access.
    pub offline: bool,
    /// Counts and limits the transferred bytes.
    pub meter: Arc<Meter>,
    /// Receives a notice about each retry.
    pub observer: Arc<dyn Observer>,
    /// Time after which a failed read is not retried; `None` retries reads like other requests.
    pub patience: Option<Duration>,
    /// Whether a probe found that conditional writes of the store have several winners.
    pub guarded: bool,
    /// Set if the store must not be opened.
    pub distrusted: Option<DistrustedRemote>,
    /// Wraps the store below the layers that retry and lock; for tests.
    pub wrap: Option<Arc<Wrap>>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            credentials: BTreeMap::new(),
            offline: false,
            meter: Arc::default(),
            observer: Arc::new(Silent),
            patience: None,
            guarded: false,
            distrusted: None,
            wrap: None,
        }
    }
}

impl Access {
    /// Returns a credential by name.
    pub fn credential(&self, name: &str) -> Option<&str> {
        self.credentials.get(name).map(Secret::reveal)
    }
}
