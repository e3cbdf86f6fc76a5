//! Text and JSON of `dvc trash`.

use crate::commands::gc::{DoneGc, JsonGc};
use crate::failure::{Exit, Failed};
use crate::print::{Out, Paint, ago, size};
use crate::render::{at, iso, quoted, shown};
use crate::session::Session;
use dvc::error::{Kind, with_causes};
use dvc::model::commit::Timestamp;
use dvc::model::id::Id;
use dvc::model::text::{count, harmless_line};
use dvc::mount::daemon::OverlayBase;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::trash::{RestoredOverlay, TrashEntry, TrashItem, TrashList};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Serialize)]
struct JsonTrashEntry<'a> {
    id: &'a str,
    kind: &'static str,
    name: Cow<'a, str>,
    bytes: u64,
    time: String,
    until: String,
    repository: Option<Cow<'a, str>>,
    /// The forgotten version, or the one that the changes are based on.
    version: Option<String>,
    reason: Option<&'a str>,
    files: Option<u64>,
    damage: Option<Cow<'a, str>>,
}

fn stamp(session: &Session, secs: i64) -> Timestamp {
    Timestamp {
        secs,
        nanos: 0,
        offset: session.now.offset().seconds(),
    }
}

/// Returns the name of an entry: of the version, overlay or volume, or the path of the worktree.
fn name(entry: &TrashEntry) -> Cow<'_, str> {
    match &entry.item {
        TrashItem::Version(version) => Cow::Borrowed(&version.name),
        TrashItem::Overlay { name, .. } | TrashItem::Volume { name, .. } => Cow::Borrowed(name),
        TrashItem::Files {
            worktree,
            worktree_ref,
            ..
        } => match worktree {
            Some(path) => Cow::Owned(shown(path.as_os_str().as_bytes())),
            None => Cow::Borrowed(worktree_ref.as_str()),
        },
    }
}

/// Describes an entry in a question: `the volume db`.
pub(crate) fn described(entry: &TrashEntry) -> String {
    let name = harmless_line(&name(entry));
    match &entry.item {
        TrashItem::Files { commit, .. } => {
            let files = commit.as_ref().map_or(0, |commit| commit.counts.files);
            format!("{} of {name}", count(files, "file"))
        }
        item => format!("the {} {name}", item.kind()),
    }
}

fn damage(entry: &TrashEntry) -> Option<Cow<'_, str>> {
    match &entry.item {
        TrashItem::Overlay { damage, .. } => damage.as_deref().map(Cow::Borrowed),
        TrashItem::Volume { record: None, .. } => Some("the record is damaged".into()),
        TrashItem::Files { commit: None, .. } => Some("the commit is damaged".into()),
        _ => None,
    }
}

fn json<'a>(session: &Session, entry: &'a TrashEntry) -> JsonTrashEntry<'a> {
    let (mut repository, mut reason, mut files) = (None, None, None);
    let version;
    let base_id = |base: &Option<OverlayBase>| base.as_ref().map(|base| base.version.to_string());
    match &entry.item {
        TrashItem::Version(forgotten) => {
            version = Some(forgotten.id.to_string());
            reason = Some(forgotten.why.as_str());
        }
        TrashItem::Files { commit, base, .. } => {
            version = base.map(|base| base.to_string());
            reason = commit.as_ref().map(|commit| commit.subject());
            files = commit.as_ref().map(|commit| commit.counts.files);
        }
        TrashItem::Overlay {
            repository: of,
            base,
            ..
        } => {
            repository = Some(of.to_string_lossy());
            version = base_id(base);
        }
        TrashItem::Volume {
            repository: of,
            base,
            ..
        } => {
            repository = of.as_deref().map(Path::to_string_lossy);
            version = base_id(base);
        }
    }
    JsonTrashEntry {
        id: &entry.id,
        kind: entry.item.kind(),
        name: name(entry),
        bytes: entry.bytes,
        time: iso(&stamp(session, entry.time)),
        until: iso(&stamp(session, entry.until)),
        repository,
        version,
        reason,
        files,
        damage: damage(entry),
    }
}

/// Returns the exit code of a list: `Incomplete` if some places could not be read.
pub(super) fn exit(found: &TrashList) -> Exit {
    if found.problems.is_empty() {
        Exit::DONE
    } else {
        Exit::with(Kind::Incomplete)
    }
}

/// Reports the places that cannot be read. The entries of other places are still listed.
pub(crate) fn report_problems(session: &Session, found: &TrashList) -> Result<(), Failed> {
    let notices = session.store_notices()?;
    for problem in &found.problems {
        notices.notice(Notice {
            level: NoticeLevel::Incomplete,
            path: Vec::new(),
            message: format!("cannot list a part of the trash: {}", with_causes(problem)),
        });
    }
    Ok(())
}

/// Prints the trash.
pub(super) fn print_list(session: &Session, found: &TrashList) -> io::Result<()> {
    let mut out = session.plain_out();
    for entry in &found.entries {
        if session.globals.json {
            out.json(&json(session, entry))?;
        } else if session.globals.quiet > 0 {
            writeln!(out, "{}", harmless_line(&entry.id))?;
        } else {
            print_entry(session, &mut out, entry)?;
        }
    }
    let is_empty = found.entries.is_empty() && found.problems.is_empty();
    if is_empty && !session.globals.json && session.globals.quiet == 0 {
        writeln!(out, "the trash is empty")?;
    }
    out.finish()
}

fn print_entry(session: &Session, out: &mut Out, entry: &TrashEntry) -> io::Result<()> {
    let now = session.now.timestamp().as_second();
    let until = if entry.until > now {
        at(&stamp(session, entry.until), "until %Y-%m-%d %H:%M")
    } else {
        "until the next gc".to_owned()
    };
    let id = out.paint(Paint::Id, harmless_line(&entry.id));
    writeln!(
        out,
        "{id}\t{}\t{}\t{}\t{until}\t{}",
        entry.item.kind(),
        size(entry.bytes),
        ago(now.saturating_sub(entry.time)),
        details(entry)
    )
}

/// Returns what an entry is, in one line.
fn details(entry: &TrashEntry) -> String {
    let based = |base: &Option<OverlayBase>| match base {
        None => String::new(),
        Some(base) => {
            let branch = base.branch.as_ref().map(|branch| format!(" of {branch}"));
            let version = base.version.short();
            format!(", changes to {version}{}", branch.unwrap_or_default())
        }
    };
    let in_repository = |repository: Option<&Path>| {
        repository.map_or(String::new(), |r| format!(" in {}", r.display()))
    };
    let text = match &entry.item {
        TrashItem::Version(version) => {
            let why = version.why.lines().next().unwrap_or("");
            format!("{}; by {}: {why}", version.subject, version.who)
        }
        TrashItem::Files { commit, .. } => {
            let why = commit.as_ref().map_or("", |commit| commit.subject());
            format!("{}, before `{why}`", described(entry))
        }
        TrashItem::Overlay {
            repository,
            name,
            base,
            ..
        } => {
            let place = base.as_ref().and_then(|base| base.at.as_deref());
            let place = place.map_or(String::new(), |at| format!(", last on {}", at.display()));
            format!(
                "{name}{}{}{place}",
                in_repository(Some(repository)),
                based(base)
            )
        }
        TrashItem::Volume {
            repository,
            name,
            base,
            ..
        } => format!(
            "{name}{}{}",
            in_repository(repository.as_deref()),
            based(base)
        ),
    };
    let damage = damage(entry).map_or(String::new(), |why| format!(" (damaged: {why})"));
    harmless_line(&format!("{text}{damage}"))
}

#[derive(Serialize)]
struct JsonTrashRestoration<'a> {
    id: &'a str,
    kind: &'static str,
    name: Cow<'a, str>,
    path: Option<Cow<'a, str>>,
    /// The command that mounts a restored overlay.
    command: Option<&'a str>,
    files: Option<u64>,
    stays: bool,
    dry_run: bool,
}

/// The result of a restoration, for its report.
#[derive(Default)]
pub(super) struct Restored<'a> {
    /// The directory that has the files now.
    pub(super) path: Option<&'a Path>,
    pub(super) command: Option<String>,
    pub(super) files: Option<u64>,
    pub(super) volume: Option<&'a str>,
    pub(super) stays: bool,
    pub(super) dry_run: bool,
}

/// Prints a restoration of an overlay, a volume or files.
pub(super) fn print_restored(
    session: &Session,
    out: &mut Out,
    entry: &TrashEntry,
    done: &Restored<'_>,
) -> io::Result<()> {
    if session.globals.json {
        return out.json(&JsonTrashRestoration {
            id: &entry.id,
            kind: entry.item.kind(),
            name: done.volume.map_or_else(|| name(entry), Cow::Borrowed),
            path: done.path.map(Path::to_string_lossy),
            command: done.command.as_deref(),
            files: done.files,
            stays: done.stays,
            dry_run: done.dry_run,
        });
    }
    if session.globals.quiet > 0 {
        return Ok(());
    }
    let verb = if done.dry_run {
        "would restore"
    } else {
        "restored"
    };
    match (done.path, done.volume) {
        (Some(path), _) => {
            let (files, path) = (count(done.files.unwrap_or(0), "file"), path.as_os_str());
            writeln!(out, "{verb} {files} in {}", shown(path.as_bytes()))?;
        }
        (None, Some(volume)) => writeln!(out, "{verb} the volume {volume}")?,
        (None, None) => writeln!(out, "{verb} {}", described(entry))?,
    }
    if let Some(command) = &done.command {
        writeln!(out, " run `{}` to mount it", harmless_line(command))?;
    }
    if done.stays && !done.dry_run {
        writeln!(out, " {} stays in the trash", harmless_line(&entry.id))?;
    }
    Ok(())
}

/// Returns the command that mounts a restored overlay; for an overlay that cannot be read, the one
/// that copies its files.
pub(super) fn mount_command(overlay: &RestoredOverlay) -> String {
    let repository = quoted(&overlay.repository.to_string_lossy());
    let name = quoted(&overlay.name);
    match &overlay.base {
        None => format!("dvc --repo {repository} mount --salvage {name} DIR"),
        Some(base) => {
            let place = base.at.as_ref().map(|at| quoted(&at.to_string_lossy()));
            let place = place.unwrap_or_else(|| "DIR".to_owned());
            let version: &Id = &base.version;
            format!(
                "dvc --repo {repository} mount --name {name} {} {place}",
                version.short()
            )
        }
    }
}

#[derive(Serialize)]
struct JsonTrashDeletion<'a> {
    deleted: Vec<&'a str>,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gc: Option<JsonGc>,
    dry_run: bool,
}

/// Prints a deletion.
pub(super) fn print_deleted(
    session: &Session,
    out: &mut Out,
    entries: &[&TrashEntry],
    gc: Option<&DoneGc>,
    dry_run: bool,
) -> io::Result<()> {
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    if session.globals.json {
        return out.json(&JsonTrashDeletion {
            deleted: entries.iter().map(|entry| entry.id.as_str()).collect(),
            bytes,
            gc: gc.map(DoneGc::to_json),
            dry_run,
        });
    }
    if session.globals.quiet > 0 {
        return Ok(());
    }
    if dry_run {
        for entry in entries {
            writeln!(
                out,
                "would delete {}: {}",
                harmless_line(&entry.id),
                described(entry)
            )?;
        }
        return Ok(());
    }
    let many = entries.len() as u64;
    let noun = if many == 1 { "entry" } else { "entries" };
    writeln!(out, "deleted {many} {noun} from the trash, {}", size(bytes))?;
    gc.map_or(Ok(()), |gc| gc.print(out))
}
