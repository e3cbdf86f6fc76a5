//! Files of a worktree that `checkout -f` and `unpack --force` overwrite or remove.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use std::sync::atomic::{AtomicU32, Ordering};

use dvc::model::commit::Timestamp;
use dvc::model::entry::{Time, Totals};
use dvc::model::revision::{Revision, RevisionBase};
use dvc::observe::{Observer, Silent};
use dvc::ops::checkout::{CheckoutOptions, checkout};
use dvc::ops::unpack::{UnpackOptions, unpack};
use dvc::snapshot::commit::Draft;
use dvc::snapshot::output::Output;
use dvc::snapshot::overwritten::{KeptTree, keep};

use super::{entries, only, text};
use crate::support::known::context;
use crate::support::sandbox::{Run, Sandbox, all_below};
use crate::support::small::Small;
use crate::support::zoo::noise;

/// A repository with two versions, whose worktree is on the second one.
fn two_versions() -> Sandbox {
    let mut s = Sandbox::with_repo();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s.write("a", "one");
    s.write("dir/b", "one");
    s.write("big", noise(1, 2 << 20));
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("a", "two");
    s.dvc(["commit", "-m", "second"]).ok();
    s
}

fn trash(s: &Sandbox) -> Vec<serde_json::Value> {
    entries(&s.dvc(["--json", "trash"]))
}

#[test]
fn checkout_keeps_what_it_overwrites_and_removes() {
    let s = two_versions();
    let hostile = std::ffi::OsStr::from_bytes(b"dir/new \x1b[31m\xff\n*?");
    s.write("dir/b", "mine");
    fs::write(s.w(hostile), "extra").unwrap();
    symlink("nowhere", s.w("dir/link")).unwrap();
    fs::hard_link(s.w("dir/b"), s.w("dir/c")).unwrap();
    fs::set_permissions(s.w("dir/b"), PermissionsExt::from_mode(0o640)).unwrap();
    s.dvc(["checkout", "main~1"])
        .code(4)
        .complains("move them to the trash with `-f`");
    s.dvc(["checkout", "-f", "-n", "main~1"])
        .ok()
        .says("4 changed files would be moved to the trash");
    assert!(trash(&s).is_empty());
    let done = s.dvc(["--json", "checkout", "-f", "main~1"]).ok().json();
    assert_eq!(
        (s.read("a"), s.read("dir/b")),
        (b"one".into(), b"one".into())
    );
    assert!(!s.w(hostile).exists() && !s.w("dir/c").exists());
    let entry = only(&s.dvc(["--json", "trash"]));
    let id = text(&done, "trash");
    assert_eq!(
        (text(&entry, "id"), text(&entry, "kind")),
        (id.clone(), "files".into())
    );
    assert_eq!(
        (&entry["files"], text(&entry, "reason")),
        (&4.into(), "checkout -f main~".into())
    );
    // Text for people has no control characters of file names, and names the worktree.
    let listed = s
        .dvc(["trash"])
        .ok()
        .says(s.w("").parent().unwrap().to_str().unwrap())
        .out;
    assert!(
        listed.contains("4 files of") && !listed.contains('\x1b'),
        "{listed:?}"
    );
    // An entry can be read without restoring it, and no list of versions contains it.
    assert_eq!(s.dvc(["show", &format!("{id}:dir/b")]).ok().out, "mine");
    for args in [&["log", "--all"][..], &["branch", "--all"], &["tag"]] {
        assert!(!s.dvc(args).ok().out.contains(&id), "{args:?}");
    }
    s.dvc(["fsck", "--data"]).ok().says("no damage");
    s.dvc(["trash", "restore", "-n", &id])
        .ok()
        .says("would restore");
    assert_eq!(s.read("dir/b"), b"one");
    s.dvc(["trash", "restore", &id])
        .ok()
        .says("restored 4 files");
    assert_eq!(
        (s.read("a"), s.read("dir/b")),
        (b"one".into(), b"mine".into())
    );
    assert_eq!(fs::read(s.w(hostile)).unwrap(), b"extra");
    assert_eq!(
        fs::read_link(s.w("dir/link")).unwrap().to_str(),
        Some("nowhere")
    );
    let [b, c] = ["dir/b", "dir/c"].map(|name| fs::metadata(s.w(name)).unwrap());
    assert!(b.ino() == c.ino() && b.mode() & 0o777 == 0o640);
    assert!(trash(&s).is_empty());
    s.dvc(["trash", "restore", &id])
        .code(13)
        .complains("no entry");
    s.dvc(["trash"]).ok().says("the trash is empty");
    s.dvc(["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn only_content_that_no_version_has_is_kept() {
    let s = two_versions();
    // Nothing changed, or everything that changed is in some version.
    s.dvc(["checkout", "-f", "main~1"]).ok();
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["checkout", "main~1", "--", "a"]).ok();
    s.dvc(["checkout", "-f", "main"]).ok();
    assert!(trash(&s).is_empty());
    // A forgotten version does not count, because its data may be deleted.
    s.dvc(["checkout", "main~1", "--", "a"]).ok();
    s.dvc(["-y", "forget", "main@v1"]).ok();
    s.dvc(["checkout", "main"]).code(4);
    s.dvc(["checkout", "-f", "main"])
        .ok()
        .says("1 changed file in the trash");
    assert_eq!(trash(&s).iter().filter(|e| e["kind"] == "files").count(), 1);
    // Only the named paths are overwritten, so only these are kept.
    s.write("a", "x");
    s.write("dir/b", "y");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main", "--", "a"])
            .ok()
            .json(),
        "trash",
    );
    assert_eq!(s.read("dir/b"), b"y");
    assert_eq!(s.dvc(["ls", "-r", &id]).ok().out.trim(), "a");
}

#[test]
fn the_trash_costs_only_the_change() {
    let s = two_versions();
    let packs = || -> u64 {
        let du = s.dvc(["--json", "du"]).ok().json();
        du["repository"]["pack_bytes"].as_u64().unwrap()
    };
    let before = packs();
    let mut big = s.read("big");
    big[1_000_000..1_000_100].fill(0);
    fs::write(s.w("big"), &big).unwrap();
    s.dvc(["checkout", "-f", "main"]).ok();
    let cost = packs() - before;
    assert!(cost < 400_000, "{cost}");
    let entry = only(&s.dvc(["--json", "trash"]));
    assert!(entry["bytes"].as_u64().unwrap() <= cost);
    s.dvc(["undo"]).ok();
    assert_eq!(s.read("big"), big);
}

#[test]
fn newer_changes_are_never_overwritten() {
    let s = two_versions();
    s.write("a", "mine");
    s.write("extra", "mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    let id = text(&only(&s.dvc(["--json", "trash"])), "id");
    for (path, newer) in [("a", "newer"), ("extra", "newer too")] {
        s.write(path, newer);
        let run = s.dvc(["trash", "restore", &id]).code(4);
        assert!(
            run.err.contains(&format!("`{path}`")) && run.err.contains("--to DIR"),
            "{}",
            run.err
        );
        assert_eq!(s.read(path), newer.as_bytes());
        // Nothing was changed, and the entry stays.
        assert!(path == "extra" || !s.w("extra").exists());
        assert_eq!(trash(&s).len(), 1);
        s.dvc(["checkout", "-f", "--no-trash", "main", "--", "a"])
            .ok();
    }
    // A restoration to another directory always works. The entry stays until it is restored or
    // deleted.
    s.dvc(["trash", "restore", &id, "--to", "../copy"])
        .ok()
        .says("stays in the trash");
    assert_eq!(fs::read(s.at("copy/extra")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(s.at("copy")).unwrap().count(), 2);
    s.dvc(["trash", "restore", &id, "--to", "../copy"])
        .code(4)
        .complains("not empty");
    fs::remove_file(s.w("extra")).unwrap();
    s.dvc(["trash", "restore", &id]).ok();
    assert_eq!(
        (s.read("a"), s.read("extra")),
        (b"mine".into(), b"mine".into())
    );
    s.dvc(["trash", "restore", "--name", "x", "main@v1"])
        .code(13);
}

#[test]
fn without_the_trash_changes_are_lost_on_request_only() {
    let s = two_versions();
    s.write("a", "mine");
    s.dvc(["checkout", "--no-trash", "main"]).code(2);
    s.dvc(["checkout", "-f", "--no-trash", "main"]).ok();
    assert_eq!(s.read("a"), b"two");
    assert!(trash(&s).is_empty());
}

#[test]
fn a_file_that_cannot_be_kept_is_not_overwritten() {
    let s = two_versions();
    s.write("a", "mine");
    s.write("other", "mine too");
    fs::set_permissions(s.w("a"), PermissionsExt::from_mode(0o000)).unwrap();
    // A file that cannot be read is not overwritten at all.
    s.kept_out(["checkout", "-f", "main~1"])
        .code(3)
        .complains("`a`");
    fs::set_permissions(s.w("a"), PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(s.read("a"), b"mine");
    s.dvc(["undo"]).ok().says("restored 1 file");
    assert_eq!(s.read("other"), b"mine too");
    // The repository cannot take the files, either.
    let packs = s.w(".dvcs/packs");
    let dirs = all_below(&packs);
    let set_all = |mode| {
        for dir in dirs.iter().filter(|path| path.is_dir()) {
            fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
        }
    };
    set_all(0o555);
    let run = s.kept_out(["checkout", "-f", "main~1"]).code(12);
    set_all(0o755);
    assert!(
        run.err
            .contains("cannot move the changed files to the trash first"),
        "{}",
        run.err
    );
    assert_eq!(
        (s.read("a"), s.read("other")),
        (b"mine".into(), b"mine too".into())
    );
}

#[test]
fn a_full_disk_changes_nothing() {
    let s = Sandbox::new();
    let place = s.at("disk");
    let Some(_disk) = Small::mount(&place, "4m") else {
        return;
    };
    let dvc = |args: &[&str]| {
        let mut all = vec!["--repo", "../disk/r"];
        all.extend(args);
        s.dvc(all)
    };
    dvc(&["init", "-b", "main"]).ok();
    s.write("a", "one");
    dvc(&["commit", "-m", "first"]).ok();
    s.write("a", noise(7, 8 << 20));
    let run = dvc(&["checkout", "-f", "main"]).code(8);
    assert!(run.err.contains("--no-trash"), "{}", run.err);
    assert_eq!(s.read("a"), noise(7, 8 << 20));
    dvc(&["checkout", "-f", "--no-trash", "main"]).ok();
    assert_eq!(s.read("a"), b"one");
    dvc(&["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn unpack_keeps_what_it_overwrites() {
    let s = Sandbox::new();
    let dvc = |args: &[&str]| {
        let mut command = s.command(["-C", ".", "--repo", "../r"]);
        command.args(args).env("NO_PULL", "1");
        Run::of(&mut command)
    };
    dvc(&["init", "-b", "main"]).ok();
    s.write("db/a", "one");
    dvc(&["commit", "-m", "first"]).ok();
    s.write("db/a", "mine");
    s.write("db/extra", "mine too");
    dvc(&["unpack", "db"])
        .code(4)
        .complains("uncommitted changes");
    let done = dvc(&["--json", "unpack", "--force", "db"]).ok().json();
    assert_eq!(s.read("db/a"), b"one");
    assert!(!s.w("db/extra").exists());
    dvc(&["trash", "restore", &text(&done, "trash")]).ok();
    assert_eq!(
        (s.read("db/a"), s.read("db/extra")),
        (b"mine".into(), b"mine too".into())
    );
    assert!(
        dvc(&["--json", "unpack", "--force", "--no-trash", "db"])
            .ok()
            .json()["trash"]
            .is_null()
    );
    assert!(entries(&dvc(&["--json", "trash"])).is_empty());
}

#[test]
fn undo_restores_the_files_if_nothing_newer_happened() {
    let s = two_versions();
    s.write("a", "mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["undo", "-n"]).ok().says("would restore 1 file");
    assert_eq!(s.read("a"), b"two");
    s.dvc(["undo"]).ok().says("restored 1 file");
    assert_eq!(s.read("a"), b"mine");
    s.dvc(["checkout", "-f", "main"]).ok();
    s.write("b", "new");
    s.dvc(["commit", "-m", "third"]).ok();
    // The commit is newer; then comes the checkout; then the commit before.
    s.dvc(["undo"]).ok().says("undid `commit: third`");
    s.dvc(["undo"]).ok().says("restored 1 file");
    s.dvc(["undo"]).ok().says("undid `commit: second`");
    // With a name, only that ref counts.
    s.dvc(["checkout", "-f", "main"]).ok();
    s.dvc(["undo", "main"]).ok().says("undid `commit: first`");
}

#[test]
fn a_moved_or_deleted_worktree_keeps_its_trash() {
    let s = two_versions();
    s.write("a", "mine");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main"]).ok().json(),
        "trash",
    );
    fs::rename(s.at("w"), s.at("moved")).unwrap();
    fs::create_dir(s.at("w")).unwrap();
    let dvc = |args: &[&str]| {
        let mut all = vec!["-C", "../moved"];
        all.extend(args);
        s.dvc(all)
    };
    assert_eq!(text(&only(&dvc(&["--json", "trash"])), "id"), id);
    fs::remove_dir(s.at("w")).unwrap();
    fs::create_dir(s.at("other")).unwrap();
    let run = |args: &[&str]| {
        let mut command = s.command(args);
        Run::of(command.current_dir(s.at("moved")))
    };
    run(&["trash", "restore", &id])
        .code(13)
        .complains("--to DIR");
    run(&["trash", "restore", &id, "--to", "../copy"]).ok();
    assert_eq!(fs::read(s.at("copy/a")).unwrap(), b"mine");
    fs::create_dir(s.at("w")).unwrap();
    run(&["trash", "empty", "-y", &id]).ok();
    run(&["trash"]).ok().says("the trash is empty");
    run(&["fsck", "--data"]).ok().says("no damage");
}

#[test]
fn ignored_files_of_the_target_are_kept_and_never_overwritten() {
    let s = Sandbox::with_repo();
    s.write("a", "one");
    s.write(".dvcsignore", "cache\n");
    s.dvc(["commit", "-m", "ignores"]).ok();
    fs::remove_file(s.w(".dvcsignore")).unwrap();
    s.dvc(["commit", "-m", "does not ignore"]).ok();
    // The worktree does not ignore the file, so a checkout of the first version removes it.
    s.write("cache", "precious");
    let id = text(
        &s.dvc(["--json", "checkout", "-f", "main~1"]).ok().json(),
        "trash",
    );
    assert!(!s.w("cache").exists());
    // A newer file at its place is ignored now. It is not overwritten, and the entry stays.
    s.write("cache", "newer");
    s.dvc(["trash", "restore", &id])
        .code(3)
        .says("stays in the trash");
    assert_eq!(s.read("cache"), b"newer");
    fs::remove_file(s.w("cache")).unwrap();
    s.dvc(["trash", "restore", &id]).ok();
    assert_eq!(s.read("cache"), b"precious");
}

/// Runs an action when a phase begins for the `left`th time.
struct AtPhase<'a> {
    name: &'static str,
    left: AtomicU32,
    action: &'a (dyn Fn() + Sync),
}

impl Observer for AtPhase<'_> {
    fn phase(&self, name: &'static str, _files: Option<u64>, _bytes: Option<u64>) {
        if name == self.name && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.action)();
        }
    }
}

#[test]
fn files_that_vanish_before_they_are_moved_leave_no_empty_entry() {
    let s = two_versions();
    let context = context(s.w(".dvcs"), s.at("w"));
    s.write("a.swp", "an editor removes it");
    let options = CheckoutOptions {
        force: true,
        ..CheckoutOptions::default()
    };
    let observer = AtPhase {
        name: "move to the trash",
        left: 1.into(),
        action: &|| fs::remove_file(s.w("a.swp")).unwrap(),
    };
    let done = checkout(&context, &options, &observer).unwrap();
    assert!(done.kept.is_none() && !s.w("a.swp").exists());
    assert!(trash(&s).is_empty());
    // Another program may have made an entry without files. Its restoration changes nothing.
    s.sh("mkdir ../none; dvc -C ../none --repo ../w/.dvcs commit -b none -m none --allow-empty")
        .ok();
    let repo = context.repo().unwrap();
    let none = s.dvc(["--json", "show", "none"]).ok().json();
    let tree = dvc::model::id::Id::parse(&text(&none, "tree")).unwrap();
    let draft = Draft {
        author: "Eve <eve@example.org>".into(),
        host: "here".into(),
        time: Timestamp {
            secs: 5,
            nanos: 0,
            offset: 0,
        },
        moved_at: Time { secs: 5, nanos: 0 },
        message: "checkout -f main".into(),
        trailers: vec![("Worktree".into(), s.at("w").to_str().unwrap().into())],
        unstable: Vec::new(),
    };
    let worktree = repo.worktree(&s.at("w")).unwrap().trash_name().unwrap();
    let kept = KeptTree {
        tree,
        totals: Totals::default(),
    };
    let out = Output::storing(&repo, &Silent).unwrap();
    keep(&out, &Silent, &worktree, &draft, kept).unwrap();
    drop(out);
    let id = text(&only(&s.dvc(["--json", "trash"])), "id");
    s.dvc(["trash", "restore", &id]).code(5);
    assert_eq!(s.read("a"), b"two");
    s.dvc(["branch"]).ok().says("* main");
    s.dvc(["trash", "empty", "-y", &id]).ok();
    assert!(trash(&s).is_empty());
}

#[test]
fn unpack_keeps_a_change_that_is_made_while_it_compares() {
    let s = two_versions();
    s.dvc(["checkout", "main~1"]).ok();
    let options = UnpackOptions {
        revision: Some(Revision {
            base: RevisionBase::Name(dvc::model::refname::RefName::new("main").unwrap()),
            suffixes: Vec::new(),
        }),
        accept: true,
        ..UnpackOptions::default()
    };
    let observer = AtPhase {
        name: "compare",
        left: 2.into(),
        action: &|| s.write("a", "mine"),
    };
    let done = unpack(&context(s.w(".dvcs"), s.at("w")), &options, &observer).unwrap();
    assert!(done.stopped.is_none());
    assert_eq!(s.read("a"), b"two");
    s.dvc([
        "trash",
        "restore",
        &text(&only(&s.dvc(["--json", "trash"])), "id"),
    ])
    .ok();
    assert_eq!(s.read("a"), b"mine");
}

#[test]
fn two_restorations_at_once_both_succeed() {
    let s = two_versions();
    s.write("a", "mine");
    s.write("big", noise(7, 2 << 20));
    s.dvc(["checkout", "-f", "main"]).ok();
    let id = text(&only(&s.dvc(["--json", "trash"])), "id");
    let context = context(s.w(".dvcs"), s.at("w"));
    let scope = dvc::ops::trash::TrashScope {
        context: Some(&context),
        repositories: Vec::new(),
        volumes: None,
        keep_versions: Some(std::time::Duration::from_secs(60)),
        keep_local: std::time::Duration::from_secs(60),
    };
    let found = dvc::ops::trash::list(&scope);
    s.dvc(["trash", "restore", &id]).ok();
    // The other one has found the entry before it left the trash.
    let done = dvc::ops::trash::restore_files(&context, &found.entries[0], None, false, &Silent);
    assert!(!done.unwrap().stays && s.read("a") == b"mine");
}
