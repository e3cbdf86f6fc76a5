//! `dvc log`: lists versions, newest first.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `log`.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Versions and ranges to start from
    #[arg(value_name = "REV")]
    pub(crate) revs: Vec<OsString>,
    /// At most that many versions
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) max_count: Option<usize>,
    /// One line for each version
    #[arg(long)]
    pub(crate) oneline: bool,
    /// Draw the lines of descent
    #[arg(long)]
    pub(crate) graph: bool,
    /// Versions of all branches and tags
    #[arg(long)]
    pub(crate) all: bool,
    /// Oldest first
    #[arg(long, conflicts_with = "graph")]
    pub(crate) reverse: bool,
    /// With the files that changed and by how much
    #[arg(long)]
    pub(crate) stat: bool,
    /// With the names and letters of what changed
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Not older than TIME
    #[arg(long, value_name = "TIME", visible_alias = "after")]
    pub(crate) since: Option<String>,
    /// Not younger than TIME
    #[arg(long, value_name = "TIME", visible_alias = "before")]
    pub(crate) until: Option<String>,
    /// By an author that matches the pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) author: Option<String>,
    /// With a message that matches the pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<String>,
    /// What a branch was before, from its ref log
    #[arg(short = 'g', long)]
    pub(crate) walk_reflogs: bool,
    /// How to print a version: oneline, or text with %H %h %T %P %O %an %ae %aI %ar %d %s %b %U ...
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
    /// Only versions that change these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `log`.
pub(crate) fn run(session: &Session, _args: &LogArgs) -> Outcome {
    session.not_built("log")
}
