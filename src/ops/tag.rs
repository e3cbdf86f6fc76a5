//! `tag`: lists, creates and deletes tags. All of it can be undone.

use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::query::resolve::Resolver;
use crate::refs::head::Head;
use crate::refs::moves::{Moved, Mover, RefMoveError};
use crate::repo::Repo;
use crate::repo::refs::report_damaged;

/// The name of a tag as it is written: `NAME`, `BRANCH@NAME`, or `@NAME` for a tag of the current branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagName {
    /// Global, or of a named branch.
    Full(RefName),
    /// Of the current branch.
    OfCurrent(RefName),
}

/// What to do with tags.
#[derive(Clone, Debug)]
pub enum TagAction {
    /// List them.
    List,
    /// Create one.
    Create {
        /// Its name.
        name: TagName,
        /// Its version.
        at: Revision,
        /// Move one that exists.
        force: bool,
    },
    /// Delete some.
    Delete {
        /// Their names.
        names: Vec<TagName>,
    },
}

/// Options of `tag`.
#[derive(Clone, Debug)]
pub struct TagOptions {
    /// What to do.
    pub action: TagAction,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A tag.
#[derive(Clone, Debug)]
pub struct TagLine {
    /// Its name.
    pub name: RefName,
    /// Its version.
    pub id: Id,
    /// What the version says.
    pub commit: Commit,
}

/// What is there, and what was done.
#[derive(Clone, Debug, Default)]
pub struct TagReport {
    /// Of a list: how many cannot be read.
    pub damaged: usize,
    /// All tags, for [`TagAction::List`].
    pub tags: Vec<TagLine>,
    /// Refs that were moved.
    pub moves: Vec<Moved>,
}

impl TagName {
    /// Parses a name as it is written.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.strip_prefix('@') {
            Some(name) => Self::OfCurrent(RefName::new(name)?),
            None => Self::Full(RefName::parse_stored(text)?),
        })
    }

    /// The full name, where the current branch is `branch`.
    pub fn on(&self, branch: Option<&RefName>) -> Result<RefName> {
        match (self, branch) {
            (Self::Full(name), _) => Ok(name.clone()),
            (Self::OfCurrent(name), Some(branch)) => Ok(RefName::scoped(branch, name.as_str())?),
            (Self::OfCurrent(name), None) => Err(RefMoveError::NoBranch(name.to_string()).into()),
        }
    }
}

/// Refuses a tag of a branch that does not exist, because no revision would ever find it.
pub(super) fn ensure_branch(repo: &Repo, tag: &RefName) -> Result<()> {
    let Some((branch, _)) = tag.scope() else { return Ok(()) };
    let name = RefName::new(branch)?;
    for kind in [RefKind::Branch, RefKind::Remote] {
        if repo.refs().value(kind, &name)?.is_some() {
            return Ok(());
        }
    }
    Err(RefMoveError::Missing { kind: RefKind::Branch, name }.into())
}

/// Runs `tag`.
pub fn tag(context: &Context, options: &TagOptions, observer: &dyn Observer) -> Result<TagReport> {
    let repo = context.repo()?;
    let branch = Head::read(context, &repo)?.branch;
    let mut mover = Mover::new(context, &repo, observer, options.dry_run);
    let mut report = TagReport::default();
    match &options.action {
        TagAction::List => {
            let readable = repo.refs().readable(RefKind::Tag)?;
            report.damaged = readable.damaged.len();
            for tip in readable.or_report(observer) {
                match repo.commit_cached(&tip.id) {
                    Ok(commit) => report.tags.push(TagLine { commit, name: tip.name, id: tip.id }),
                    Err(e) if e.kind() == Kind::Integrity => {
                        report.damaged += 1;
                        report_damaged(&e, observer);
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        TagAction::Create { name, at, force } => {
            let id = Resolver::new(&repo, context)?.revision(at)?;
            let name = name.on(branch.as_ref())?;
            ensure_branch(&repo, &name)?;
            mover.create(RefKind::Tag, &name, id, *force, &format!("tag: at {at}"))?;
        }
        TagAction::Delete { names } => {
            let names = names.iter().map(|name| name.on(branch.as_ref())).collect::<Result<_>>()?;
            mover.delete_all(RefKind::Tag, &names, "tag: deleted")?;
        }
    }
    report.moves = mover.moves;
    Ok(report)
}
