//! The command line of `dvc trash`.

use crate::globals::{DryRun, Globals, With};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `trash`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc trash\n  dvc trash restore 20261130T110000Z-db\n  dvc trash restore main@v3\n  \
                        dvc trash restore 5e1f00d2 --to /tmp/files\n  dvc trash empty -y 5e1f00d2"
)]
pub(crate) struct TrashArgs {
    #[command(subcommand)]
    pub(crate) action: Option<TrashAction>,
}

/// The actions of `trash`.
#[derive(Subcommand, Debug)]
pub(crate) enum TrashAction {
    /// List what can be restored: forgotten versions, overlays, volumes and files of worktrees
    #[command(visible_alias = "list")]
    Ls(With<LsArgs>),
    /// Restore a version, an overlay, a volume or files of a worktree
    Restore(With<RestoreArgs>),
    /// Delete the named entries now, or all of them
    Empty(With<EmptyArgs>),
}

/// Options of `trash ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {}

/// Options of `trash restore`.
#[derive(Args, Debug)]
#[command(
    after_help = "Files are restored to their worktree, unless files there have changed since: then the exit code is \
                        4 and nothing is changed. An overlay can be mounted again; the command is printed."
)]
pub(crate) struct RestoreArgs {
    /// Restore this entry, as `trash ls` names it
    pub(crate) id: String,
    /// Restore files to DIR, which is created; the entry stays in the trash
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,
    /// Give a restored volume this name
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `trash empty`.
#[derive(Args, Debug)]
pub(crate) struct EmptyArgs {
    /// Delete these entries, as `trash ls` names them
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

impl TrashAction {
    /// Returns the global options that follow the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::Ls(with) => &with.globals,
            Self::Restore(with) => &with.globals,
            Self::Empty(with) => &with.globals,
        }
    }
}
