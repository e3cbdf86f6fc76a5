//! Errors of `trash`.

use crate::error::{Failure, Kind};

/// A refused or impossible operation on the trash.
#[derive(Debug, thiserror::Error)]
pub enum TrashError {
    #[error("`{id}` matches several entries in the trash: {}", entries.join(", "))]
    Ambiguous { id: String, entries: Vec<String> },
    /// Files that have changed since would be overwritten.
    #[error("restoring {id} would overwrite newer changes: {paths}")]
    Changed { id: String, paths: String },
    #[error("the worktree `{worktree}` of {id} no longer exists")]
    NoWorktree { id: String, worktree: String },
    #[error("the files of {id} belong to another worktree: `{worktree}`")]
    OtherWorktree { id: String, worktree: String },
    #[error("the files of {id} belong to a mount at `{at}`, but no version is mounted there")]
    NotMounted { id: String, at: String },
    #[error("the commit of {0} is damaged")]
    Damaged(String),
    #[error("`{option}` cannot be used with an entry of kind `{kind}`")]
    WrongOption {
        option: &'static str,
        kind: &'static str,
    },
    #[error("{0} has an overlay name that is not valid")]
    BadName(String),
}

impl Failure for TrashError {
    fn kind(&self) -> Kind {
        match self {
            Self::Ambiguous { .. } | Self::NoWorktree { .. } | Self::NotMounted { .. } => {
                Kind::NotFound
            }
            Self::Changed { .. } | Self::OtherWorktree { .. } => Kind::Rejected,
            Self::Damaged(_) | Self::BadName(_) => Kind::Integrity,
            Self::WrongOption { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Ambiguous { .. } => {
                "use a longer part of the id, or select a repository with `--repo`".to_owned()
            }
            Self::Changed { id, .. } => format!(
                "commit these changes first, or restore to another directory: `dvc trash restore {id} --to DIR`"
            ),
            Self::NoWorktree { id, .. } => {
                format!("restore to another directory: `dvc trash restore {id} --to DIR`")
            }
            Self::OtherWorktree { id, .. } => format!(
                "run the command there, with `-C`, or restore to another directory: `dvc trash restore {id} --to DIR`"
            ),
            Self::NotMounted { id, .. } => format!(
                "mount the version there first, or restore to another directory: `dvc trash restore {id} --to DIR`"
            ),
            Self::Damaged(_) => "run `dvc fsck --repair`".to_owned(),
            Self::BadName(_) => {
                "move the directory below `trash-local/` to `overlays/NAME` yourself".to_owned()
            }
            Self::WrongOption { option, .. } => match *option {
                "--to" => {
                    "only files of a worktree can be restored to another directory".to_owned()
                }
                _ => "only a volume can be restored under another name".to_owned(),
            },
        })
    }
}
