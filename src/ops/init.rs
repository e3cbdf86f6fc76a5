//! `init`: makes a repository.

use std::path::PathBuf;

use crate::codec::cut::ChunkerConfig;
use crate::context::Context;
use crate::error::Result;
use crate::model::refname::RefName;
use crate::repo::state::Sharing;
use crate::repo::{OpenOptions, Repo, RepoError};

/// What to make.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The default branch.
    pub branch: RefName,
    /// How files are cut.
    pub cutting: ChunkerConfig,
    /// Who may use it.
    pub sharing: Sharing,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// The repository.
    pub repository: PathBuf,
    /// Its default branch.
    pub branch: RefName,
    /// Its random id in hex; `None` in a dry run.
    pub id: Option<String>,
}

/// Makes the repository of `context`.
pub fn init(context: &Context, options: &InitOptions) -> Result<InitReport> {
    let (repository, branch) = (context.repository.clone(), options.branch.clone());
    if options.dry_run {
        if Repo::is_at(&repository) {
            return Err(RepoError::Exists { path: repository }.into());
        }
        return Ok(InitReport { repository, branch, id: None });
    }
    let open = OpenOptions { sharing: options.sharing, ..context.open.clone() };
    let repo = Repo::create(&repository, &branch, &options.cutting, open)?;
    Ok(InitReport { repository, branch, id: Some(repo.marker().id.clone()) })
}
