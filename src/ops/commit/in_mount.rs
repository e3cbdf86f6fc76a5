//! `commit` in a mount: the process of the mount stores a tree of one moment, this function commits
//! the tree, and the mount is then based on the new version.

use super::error::CommitError;
use super::options::CommitOptions;
use super::seal::{CommitReport, CommitTarget, checked_path, dir_meta, seal};
use crate::context::Context;
use crate::context::InMount;
use crate::context::tree_of;
use crate::error::Result;
use crate::model::commit::Commit;
use crate::model::entry::Totals;
use crate::model::id::Id;
use crate::model::path;
use crate::model::refname::{RefKind, RefName};
use crate::model::tree::LinkTable;
use crate::mount::control::{ControlRequest, SnapshotInfo};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::ops::mount::MountRefusal;
use crate::query::describe::VersionInfo;
use crate::quiesce::during;
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::refs::Move;
use crate::repo::writer::{WriteSession, is_collected};
use crate::snapshot::graft::{Edit, graft};
use crate::snapshot::output::Output;
use crate::snapshot::walk::named::NamedPaths;
use crate::snapshot::walk::rules::Rules;
use crate::sys::io_error::IoError;

/// How often a commit repeats its snapshot because a gc has collected objects on which it relied.
const REPEATS: u32 = 4;

/// Makes the next version of the mount's branch.
pub(super) fn commit(
    context: &Context,
    repo: &Repo,
    mount: &InMount,
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    let mut repeats = REPEATS;
    loop {
        match commit_once(context, repo, mount, options, observer) {
            // The next snapshot looks every object up again, and stores those that are gone.
            Err(e) if is_collected(&e) && repeats > 0 => repeats -= 1,
            done => return done,
        }
    }
}

fn commit_once(
    context: &Context,
    repo: &Repo,
    mount: &InMount,
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    let facts = mount.facts()?;
    let head = Head::of_mount(mount)?;
    let Some(mut version) = head.base else {
        return Err(CommitError::Detached.into());
    };
    let branch = match options.branch.clone().or_else(|| head.branch.clone()) {
        Some(branch) => branch,
        None => {
            return Err(MountRefusal::NoBranch {
                version: version.short(),
            }
            .into());
        }
    };
    let tip = repo.refs().value(RefKind::Branch, &branch)?;
    if let Some(tip) = tip.filter(|tip| *tip != version) {
        // An earlier commit moved the branch, but died before it reported to the mount. Continue
        // from its version.
        let commit = repo.commit_cached(&tip)?;
        if facts.snapshot == Some(commit.tree.to_string()) && commit.parents.contains(&version) {
            version = tip;
        }
    }
    let base = repo.commit_cached(&version)?;
    if options.walk.larger_than.is_some() {
        return Err(CommitError::NotInMount {
            option: "--exclude-larger-than",
        }
        .into());
    }
    ensure_recorded(context, options)?;
    // The gc log is read before the mount stores anything for this commit.
    let session = if options.dry_run {
        None
    } else {
        Some(WriteSession::begin(repo)?)
    };
    let cancelled = || observer.cancelled();
    let mut client = mount.client()?.cancelled_by(&cancelled);
    observer.phase("commit", Some(base.counts.files), None);
    match options
        .quiesce
        .as_ref()
        .filter(|q| !q.profiles.is_empty() && !options.dry_run)
    {
        None => client.flush_kernel()?,
        // Writers are quiesced only at the moment of the snapshot. They continue while its tree is
        // stored.
        quiesce => during(quiesce, context, observer, |_| {
            client.flush_kernel()?;
            client.request::<()>(&ControlRequest::BeginSnapshot { store: true })
        })?,
    }
    let shot: SnapshotInfo = client.request(&ControlRequest::TakeSnapshot {
        store: !options.dry_run,
        exclude: options.walk.exclude.clone(),
        ignored: false,
    })?;
    for (id, bytes) in client.receive_objects(shot.objects)? {
        repo.volatile().put(id, bytes);
    }
    for path in &shot.skipped {
        let message = "sockets are not recorded".to_owned();
        observer.notice(Notice {
            level: NoticeLevel::Skipped,
            path: path.clone(),
            message,
        });
    }
    let out = match session {
        Some(session) => Output::of_session(repo, session, observer)?,
        None => Output::dry(repo),
    };
    let (tree, totals) = only(context, &out, options, &base, tree_of(&shot))?;
    out.count_other_process(shot.new_bytes, shot.stored_bytes);
    let parent = match tip {
        Some(tip) if tip != version => {
            return Err(MountRefusal::NotTip {
                branch,
                version: version.short(),
            }
            .into());
        }
        _ => version,
    };
    // The new branch begins at the version of the mount, and `seal` then adds the next one.
    if tip.is_none() && !options.dry_run {
        begin_branch(context, repo, &branch, version)?;
    }
    let commit = repo.commit_cached(&parent)?;
    let target = CommitTarget {
        branch: branch.clone(),
        head: Head {
            branch: Some(branch.clone()),
            ..head
        },
        of_worktree: true,
        parent: Some(VersionInfo { id: parent, commit }),
    };
    let before = base.tree;
    let tree_for = |now: Option<&Commit>| match now {
        Some(now) if now.tree == before || now.tree == tree => Ok((tree, totals)),
        // Another process has moved the branch in the meantime, so this tree cannot be its next
        // version.
        _ => Err(MountRefusal::NotTip {
            branch: branch.clone(),
            version: version.short(),
        }
        .into()),
    };
    let report = seal(
        context,
        repo,
        &out,
        observer,
        options,
        &target,
        &tree_for,
        Vec::new(),
    )?;
    // If this process dies before the mount is notified, the next commit finds the version by its
    // tree, as above.
    if let (Some(id), false) = (report.id, options.dry_run) {
        let settle = ControlRequest::EndSnapshot {
            version: id.to_string(),
            branch: Some(branch.to_string()),
            whole: options.paths.is_empty(),
        };
        client.request::<()>(&settle)?;
    }
    Ok(report)
}

/// Fails if the snapshot leaves out a named path, because the commit would then remove the path
/// from the version.
fn ensure_recorded(context: &Context, options: &CommitOptions) -> Result<()> {
    if options.paths.is_empty() {
        return Ok(());
    }
    // Exclude other file systems below the worktree, because they are not part of the mount.
    let mut rules = Rules::new(false, true, None);
    rules.exclude(&options.walk.exclude)?;
    let mut named = NamedPaths::new(&context.worktree, &rules)
        .map_err(IoError::at("open", &context.worktree))?;
    for asked in &options.paths {
        named.at(&checked_path(asked)?)?;
    }
    Ok(())
}

/// Returns the base tree, with the requested paths replaced by those of the mount's tree.
fn only(
    context: &Context,
    out: &Output<'_>,
    options: &CommitOptions,
    base: &Commit,
    (tree, totals): (Id, Totals),
) -> Result<(Id, Totals)> {
    if options.paths.is_empty() {
        return Ok((tree, totals));
    }
    let repo = out.repo();
    let mut edits: Vec<Edit> = Vec::new();
    for asked in &options.paths {
        let names = checked_path(asked)?;
        let now = repo.find(&tree, &names)?;
        if now.is_none() && repo.find(&base.tree, &names)?.is_none() {
            return Err(CommitError::NoPath {
                path: path::display(asked),
            }
            .into());
        }
        // The other hard links of the file are not part of this commit, so the entry is stored
        // without a link.
        edits.push((
            names,
            now.map(|entry| crate::model::entry::Entry {
                link: None,
                ..entry
            }),
        ));
    }
    let meta = |names: &[Vec<u8>]| dir_meta(context, names);
    graft(out, Some(&base.tree), edits, LinkTable::default(), &meta)
}

fn begin_branch(context: &Context, repo: &Repo, branch: &RefName, version: Id) -> Result<()> {
    let how = Move {
        who: &context.author,
        why: "branch: created by a commit of a mount",
        time: context.moved_at(),
    };
    // If another process has created the branch first, `seal` finds another tip and fails.
    repo.move_ref(RefKind::Branch, branch, None, Some(version), &how)?;
    Ok(())
}
