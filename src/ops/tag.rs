//! `tag`: lists, creates and deletes tags. All changes can be undone.

use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::query::resolve::Resolver;
use crate::refs::head::Head;
use crate::refs::moves::{MovedRef, Mover, RefMoveError, ensure_tag_branch};
use crate::repo::refs::report_damaged;

/// The name of a tag as users write it: `NAME`, `BRANCH@NAME`, or `@NAME` for a tag of the current
/// branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagName {
    /// A global tag, or a tag of a named branch.
    Full(RefName),
    /// A tag of the current branch.
    OfCurrent(RefName),
}

/// An action on tags.
#[derive(Clone, Debug)]
pub enum TagAction {
    /// List tags.
    List,
    /// Create a tag.
    Create {
        name: TagName,
        /// The version to tag.
        at: Revision,
        /// Move the tag if it already exists.
        force: bool,
    },
    /// Delete tags.
    Delete { names: Vec<TagName> },
}

/// Options of `tag`.
#[derive(Clone, Debug)]
pub struct TagOptions {
    pub action: TagAction,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// A tag and its version.
#[derive(Clone, Debug)]
pub struct TagLine {
    pub name: RefName,
    pub id: Id,
    pub commit: Commit,
}

/// The listed tags and the changed refs.
#[derive(Clone, Debug, Default)]
pub struct TagReport {
    /// The number of tags that cannot be read.
    pub damaged: usize,
    /// The tags, for [`TagAction::List`].
    pub tags: Vec<TagLine>,
    /// The changed refs.
    pub moves: Vec<MovedRef>,
}

impl TagName {
    /// Parses a name as users write it.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.strip_prefix('@') {
            Some(name) => Self::OfCurrent(RefName::new(name)?),
            None => Self::Full(RefName::parse_stored(text)?),
        })
    }

    /// Returns the full name; `branch` is the current branch. Fails if the name needs one and there
    /// is none.
    pub fn on(&self, branch: Option<&RefName>) -> Result<RefName> {
        match (self, branch) {
            (Self::Full(name), _) => Ok(name.clone()),
            (Self::OfCurrent(name), Some(branch)) => Ok(RefName::scoped(branch, name.as_str())?),
            (Self::OfCurrent(name), None) => Err(RefMoveError::NoBranch(name.to_string()).into()),
        }
    }
}

/// Lists, creates or deletes tags, as [`TagOptions::action`] requests.
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
                    Ok(commit) => report.tags.push(TagLine {
                        commit,
                        name: tip.name,
                        id: tip.id,
                    }),
                    // A damaged tag must not hide the others.
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
            ensure_tag_branch(&repo, &name)?;
            mover.create(
                RefKind::Tag,
                &name,
                id,
                *force,
                &format!("tag: set to {at}"),
            )?;
        }
        TagAction::Delete { names } => {
            let names = names
                .iter()
                .map(|name| name.on(branch.as_ref()))
                .collect::<Result<_>>()?;
            mover.delete_all(RefKind::Tag, &names, "tag: deleted")?;
        }
    }
    report.moves = mover.moves;
    Ok(report)
}
