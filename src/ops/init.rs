//! `init`: creates a repository.

use std::path::PathBuf;

use crate::codec::cut::ChunkerConfig;
use crate::context::Context;
use crate::error::Result;
use crate::model::refname::RefName;
use crate::repo::state::Sharing;
use crate::repo::{OpenOptions, Repo, RepoError};

/// The options of `init`.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The default branch.
    pub branch: RefName,
    /// The chunker of the repository, and its parameters.
    pub cutting: ChunkerConfig,
    /// The users that may use the repository.
    pub sharing: Sharing,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// The result of `init`.
#[derive(Clone, Debug)]
pub struct InitReport {
    pub repository: PathBuf,
    /// The default branch.
    pub branch: RefName,
    /// The random id in hex; `None` in a dry run.
    pub id: Option<String>,
}

/// Creates the repository of `context`.
pub fn init(context: &Context, options: &InitOptions) -> Result<InitReport> {
    let (repository, branch) = (context.repository.clone(), options.branch.clone());
    if options.dry_run {
        if Repo::is_at(&repository) {
            return Err(RepoError::Exists { path: repository }.into());
        }
        return Ok(InitReport {
            repository,
            branch,
            id: None,
        });
    }
    let open = OpenOptions {
        sharing: options.sharing,
        ..context.open.clone()
    };
    let repo = Repo::create(&repository, &branch, &options.cutting, open)?;
    Ok(InitReport {
        repository,
        branch,
        id: Some(repo.marker().id.clone()),
    })
}
