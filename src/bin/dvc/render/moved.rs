//! The report of moved refs: ``branch `AMCC` moved from 1c0ffee0 to 2b1c0ffe``.

use crate::print::{Out, Paint};
use crate::session::Session;
use dvc::model::id::Id;
use dvc::refs::moves::MovedRef;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct JsonMoves<'a> {
    dry_run: bool,
    moves: Vec<JsonMove<'a>>,
}

#[derive(Serialize)]
struct JsonMove<'a> {
    kind: &'static str,
    name: &'a str,
    old: Option<String>,
    new: Option<String>,
}

fn json(moved: &MovedRef) -> JsonMove<'_> {
    let full = |id: &Option<Id>| id.map(|id| id.to_string());
    JsonMove {
        kind: moved.kind.name(),
        name: moved.name.as_str(),
        old: full(&moved.old),
        new: full(&moved.new),
    }
}

/// Writes one line for each ref, or one JSON object with `--json`. With `-q` and without `--json`,
/// nothing is written.
pub(crate) fn print(
    session: &Session,
    out: &mut Out,
    moves: &[MovedRef],
    dry_run: bool,
) -> io::Result<()> {
    if session.globals.json {
        return out.json(&JsonMoves {
            dry_run,
            moves: moves.iter().map(json).collect(),
        });
    }
    if session.globals.quiet > 0 {
        return Ok(());
    }
    let would = if dry_run { "would be " } else { "" };
    for MovedRef {
        kind,
        name,
        old,
        new,
    } in moves
    {
        let short = |id: &Id| out.paint(Paint::Id, id.short());
        let what = match (old, new) {
            (None, Some(new)) => format!("{would}created at {}", short(new)),
            (Some(old), None) => format!("{would}deleted, was {}", short(old)),
            (Some(old), Some(new)) => format!("{would}moved from {} to {}", short(old), short(new)),
            (None, None) => continue,
        };
        writeln!(out, "{} `{name}` {what}", kind.name())?;
    }
    Ok(())
}
