//! Compares `docs/json.md` with the real output: the page describes every field of every object,
//! and commands write every field that the page describes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use dvc::checkout::patch::journal::{Goal, Journal};
use dvc::format::lease::LeaseUse;
use dvc::model::id::Id;
use dvc::repo::leases::create_timed;
use dvc::repo::{OpenOptions, Repo};
use dvc::store::local::LocalStore;
use dvc::sys::clock;
use serde_json::Value;

use crate::mount::harness::Volume;
use crate::support::json_page::JsonPage;
use crate::support::known::{files_of, noise};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::s3::{S3, Switches};
use crate::support::zoo;
use crate::volumes::host::{Host, fill};

/// Objects that only commands for mounts write.
const OF_MOUNTS: &[&str] = &[
    "mount",
    "mount-plan",
    "mount-stats",
    "overlay",
    "overlay-usage",
    "salvaged-file",
    "discarded-overlay",
    "umount-plan",
    "volume",
    "volume-creation",
    "volume-path",
    "volume-removal",
];
/// Needs a Docker engine, so `tests/docker/plain.rs` compares this object.
const OF_ENGINES: &str = "local-volume";
/// Only Azure Files limits the size of objects, and no test server implements its protocol.
const OF_AZURE: &str = "remote-check.max_object_bytes";

#[test]
fn json_md_describes_the_output_of_every_command() {
    let mut page = JsonPage::read();
    describe_files(&mut page);
    describe_refs(&mut page);
    describe_gc(&mut page);
    describe_forget(&mut page);
    describe_archives(&mut page);
    describe_settings(&mut page);
    describe_interrupted_checkout(&mut page);
    describe_damage(&mut page);
    describe_remotes(&mut page);
    describe_containers(&mut page);
    let mut left_out = vec![OF_ENGINES];
    if needs::fuse() {
        describe_mounts(&mut page);
        describe_volumes(&mut page);
    } else {
        left_out.extend(OF_MOUNTS);
    }
    let of_devices = |field: &str| field.starts_with("entry.device_") && !needs::is_root();
    let has_no_source = |field: &str| field == OF_AZURE || of_devices(field);
    let unused: Vec<String> = page
        .unused()
        .into_iter()
        .filter(|field| {
            !left_out.contains(&field.split('.').next().unwrap()) && !has_no_source(field)
        })
        .collect();
    assert!(
        unused.is_empty(),
        "docs/json.md describes fields that no command wrote: {}",
        unused.join(", ")
    );
}

#[test]
fn json_md_lists_every_command() {
    let page = super::read("docs/json.md");
    let commands = page
        .split("\n## Commands\n")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let rows: Vec<&str> = commands
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let help = Sandbox::new().dvc(["--help"]).ok().out;
    let listed = help
        .split("\nCommands:\n")
        .nth(1)
        .unwrap()
        .lines()
        .take_while(|line| !line.is_empty());
    let mut verbs: Vec<&str> = listed
        .filter_map(|line| line.split_whitespace().next())
        .filter(|v| *v != "help")
        .collect();
    verbs.sort_unstable();
    assert_eq!(rows, verbs, "the rows of the table of commands");
    for name in JsonPage::read().names() {
        assert!(
            page.contains(&format!("(#{name})")) || page.contains(&format!("| {name}")),
            "no text refers to `{name}`"
        );
    }
}

/// Returns the JSON objects that a run has written. Each must start with `schema`.
#[track_caller]
fn objects(run: &Run) -> Vec<Value> {
    assert!(
        run.lines()
            .iter()
            .all(|line| line.starts_with("{\"schema\":1,")),
        "{}",
        run.out
    );
    run.json_lines()
}

#[track_caller]
fn json(s: &Sandbox, args: &[&str]) -> Vec<Value> {
    objects(&s.dvc([&["--json"], args].concat()).ok())
}

#[track_caller]
fn object(s: &Sandbox, args: &[&str]) -> Value {
    let [object] = json(s, args)
        .try_into()
        .unwrap_or_else(|all| panic!("not one object: {all:?}"));
    object
}

/// Returns the JSON objects on standard error that contain a field.
fn on_stderr(run: &Run, field: &str) -> Vec<Value> {
    let parsed = run
        .err
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed
        .filter(|object| object.get(field).is_some())
        .collect()
}

fn strange(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

fn sandbox() -> Sandbox {
    let mut s = Sandbox::new();
    s.set("DVC_AUTHOR", "Ann <ann@example.org>");
    s
}

/// Checks entries of every kind, changes, versions, and files that cannot be read.
fn describe_files(page: &mut JsonPage) {
    let s = sandbox();
    page.check("program", &object(&s, &["version"]));
    page.check("init", &object(&s, &["init", "-n"]));
    page.check("init", &object(&s, &["init"]));
    page.check("status", &object(&s, &["status"]));
    fs::create_dir(s.w("zoo")).unwrap();
    let missing = zoo::build(&s.w("zoo"));
    s.write("text", "one\ntwo\n");
    fs::write(s.w(strange(b"old \xff")), noise(1, 100_000)).unwrap();
    std::os::unix::fs::symlink(strange(b"target \xff"), s.w("link")).unwrap();
    page.check("commit", &object(&s, &["commit", "-n", "-m", "first"]));
    let first = object(
        &s,
        &[
            "commit",
            "-m",
            "first",
            "--trailer",
            "Ticket=1",
            "--tag",
            "@one",
        ],
    );
    page.check("commit", &first);
    page.check("commit", &object(&s, &["commit", "-m", "again"]));
    page.check("status", &object(&s, &["status"]));

    let entries = json(&s, &["ls", "-r"]);
    page.check_all("entry", &entries);
    let has = |field: &str| entries.iter().any(|entry| entry.get(field).is_some());
    assert!(
        has("xattrs") && has("hard_links") && has("target_hex") && has("files"),
        "{missing:?}"
    );
    page.check_all("entry", &json(&s, &["show", "@:zoo"]));
    page.check("content", &object(&s, &["show", "@:text"]));
    page.check("content", &object(&s, &["show", "@:zoo/plain/noise-4096"]));
    page.check("content", &object(&s, &["show", "@:link"]));
    let run = s
        .dvc([
            OsStr::new("--json"),
            OsStr::new("show"),
            strange(b"@:old \xff"),
        ])
        .ok();
    page.check("content", &objects(&run)[0]);

    fs::rename(s.w(strange(b"old \xff")), s.w(strange(b"new \xff"))).unwrap();
    s.write("text", "one\nthree\n");
    page.check("status", &object(&s, &["status"]));
    for option in ["--stat", "--name-status", "--patch", "--chunks"] {
        page.check_all("change", &json(&s, &["diff", option]));
    }
    page.check("checkout", &object(&s, &["checkout", "-n", "-f"]));
    page.check("commit", &object(&s, &["commit", "-m", "second"]));
    page.check(
        "checkout",
        &object(
            &s,
            &["checkout", "main@v1", "--into", "../copy", "--verify"],
        ),
    );
    page.check("checkout", &object(&s, &["checkout", "main@v1"]));
    page.check("status", &object(&s, &["status"]));
    page.check("checkout", &object(&s, &["checkout", "main"]));
    for args in [
        ["log", "--name-status"],
        ["log", "--stat"],
        ["show", "--stat"],
        ["show", "main@v1"],
    ] {
        page.check_all("version", &json(&s, &args));
    }
    page.check("usage", &object(&s, &["du"]));
    page.check("usage", &object(&s, &["du", "main"]));
    page.check("cache-usage", &object(&s, &["du", "--cache"]));
    page.check("cache-deletion", &object(&s, &["gc", "--cache"]));
    page.check_all("check", &objects(&s.dvc(["doctor", "--json"])));

    // A file that cannot be read is reported and left out of the version.
    let unreadable = s.w(strange(b"text \xff"));
    fs::write(&unreadable, "secret").unwrap();
    fs::set_permissions(
        &unreadable,
        std::os::unix::fs::PermissionsExt::from_mode(0o000),
    )
    .unwrap();
    let run = s.kept_out(["--json", "commit", "-m", "third"]).code(3);
    page.check_all("notice", &on_stderr(&run, "notice"));
    page.check("commit", &objects(&run)[0]);
    page.check_all("version", &json(&s, &["log", "-n", "1"]));
    let run = s
        .kept_out(["--json", "import", unreadable.to_str().unwrap_or("none")])
        .code(13);
    page.check_all("error", &on_stderr(&run, "code"));
    let run = s.dvc(["--json", "log", "none"]).code(13);
    page.check_all("error", &on_stderr(&run, "code"));
}

/// Checks branches, tags and their moves.
fn describe_refs(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    s.write("a", "one");
    s.dvc(["commit", "-m", "first"]).ok();
    s.write("a", "two");
    s.dvc(["commit", "-m", "second"]).ok();
    page.check("moves", &object(&s, &["branch", "old", "main~1"]));
    page.check("moves", &object(&s, &["tag", "golden"]));
    page.check_all("branch", &json(&s, &["branch"]));
    page.check_all("tag", &json(&s, &["tag"]));
    page.check("current-branch", &object(&s, &["branch", "--show-current"]));
    page.check("moves", &object(&s, &["branch", "-d", "old"]));
    page.check("moves", &object(&s, &["-y", "undo", "main"]));
    page.check_all("update", &json(&s, &["log", "-g", "main"]));
    // Another worktree moves the branch.
    s.dvc(["checkout", "main", "--into", "../other"]).ok();
    fs::write(s.at("other/a"), "three").unwrap();
    s.dvc([
        "-C",
        "../other",
        "--repo",
        "../w/.dvcs",
        "commit",
        "-m",
        "third",
    ])
    .ok();
    page.check("status", &object(&s, &["status"]));
    s.dvc(["checkout", "-f", "golden"]).ok();
    page.check("current-branch", &object(&s, &["branch", "--show-current"]));
    page.check("status", &object(&s, &["status"]));
}

/// Dead packs, packs that have not been unneeded for long enough, and a worktree whose version
/// lacks data.
fn describe_gc(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    let packs = || files_of(&s.w(".dvcs/packs"));
    let gc = |args: &[&str]| object(&s, &[&["-c", "gc.keep-log=0", "gc"], args].concat());
    s.write("a", noise(1, 500_000));
    s.dvc(["commit", "-m", "first"]).ok();
    let before = packs();
    s.write("lost", noise(2, 100_000));
    s.dvc(["commit", "-m", "lost", "-b", "lost"]).ok();
    s.dvc(["checkout", "lost", "--into", "../other"]).ok();
    fs::write(s.at("other/more"), "more").unwrap();
    s.dvc([
        "-C",
        "../other",
        "--repo",
        "../w/.dvcs",
        "commit",
        "-m",
        "more",
        "-b",
        "lost",
    ])
    .ok();
    page.check("gc", &gc(&["-n"]));
    // Only a worktree needs this version, of which everything is missing.
    s.dvc(["branch", "-d", "-f", "lost"]).ok();
    for pack in packs().keys().filter(|pack| !before.contains_key(*pack)) {
        fs::remove_file(s.w(".dvcs/packs").join(strange(pack))).unwrap();
    }
    // One file of the next pack is needed, the other one is not.
    fs::remove_file(s.w("lost")).unwrap();
    s.write("b", noise(3, 100_000));
    s.write("c", noise(4, 300_000));
    s.dvc(["commit", "-m", "gone", "-b", "gone"]).ok();
    fs::remove_file(s.w("c")).unwrap();
    s.dvc(["commit", "-m", "second"]).ok();
    s.dvc(["branch", "-d", "-f", "gone"]).ok();
    // The lease of a mount on another machine.
    let store = LocalStore::new(s.w(".dvcs"));
    let now = clock::now().secs;
    create_timed(&store, "far", LeaseUse::Mount, &[Id([7; 32])], now).unwrap();
    page.check("gc-status", &gc(&["--status"]));
    page.check("gc", &gc(&["--grace", "1h", "--max-unused", "0"]));
    page.check("gc", &gc(&["-n"]));
    s.dvc(["remote", "add", "origin", s.at("far").to_str().unwrap()])
        .ok();
    s.dvc(["push"]).ok();
    page.check("gc", &gc(&["origin", "-n"]));
    page.check("gc-status", &gc(&["--status"]));
    // The deleted branch is still in the logs.
    page.check("gc-status", &object(&s, &["gc", "--status"]));
}

/// Versions that are forgotten, in the trash, restored and collected.
fn describe_forget(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    for n in 0..6u64 {
        s.write("a", noise(n, 50_000));
        s.dvc(["commit", "-m", &format!("c{n}")]).ok();
    }
    page.check("forget", &object(&s, &["forget", "--keep-last", "5", "-n"]));
    page.check("forget", &object(&s, &["forget", "--now", "-y", "main@v1"]));
    page.check("forget", &object(&s, &["forget", "main@v2"]));
    page.check_all(
        "trashed-version",
        &objects(&s.dvc(["--json", "forget", "--list"]).ok()),
    );
    page.check_all("version", &objects(&s.dvc(["--json", "log", "--all"]).ok()));
    let run = s
        .dvc(["--json", "forget", "--undo", "main@v1", "main@v2"])
        .code(13);
    page.check("restoration", &run.json());
    s.dvc(["forget", "main@v3"]).ok();
    page.check("restoration", &object(&s, &["undo"]));
    // Files of the worktree.
    s.write("a", "mine");
    page.check("checkout", &object(&s, &["checkout", "-f", "main"]));
    s.dvc(["forget", "main@v3"]).ok();
    let trash = objects(&s.dvc(["--json", "trash"]).ok());
    page.check_all("trash-entry", &trash);
    let id = trash
        .iter()
        .find(|entry| entry["kind"] == "files")
        .and_then(|entry| entry["id"].as_str())
        .unwrap();
    page.check("gc", &object(&s, &["-y", "gc", "--now"]));
    page.check("trash-restoration", &object(&s, &["trash", "restore", id]));
    page.check("trash-deletion", &object(&s, &["trash", "empty", "-y"]));
}

/// Checks archives and images, written to a file and to standard output.
fn describe_archives(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    s.write("a", "one");
    s.write("b", "two");
    s.dvc(["commit", "-m", "first"]).ok();
    page.check(
        "export",
        &object(
            &s,
            &["export", "main", "--format", "oci", "-o", "../image.tar"],
        ),
    );
    page.check(
        "export",
        &object(&s, &["export", "main", "-o", "../files.tar"]),
    );
    let run = s.dvc(["--json", "export", "main"]).ok();
    page.check_all("export", &on_stderr(&run, "members"));
    page.check(
        "commit",
        &object(&s, &["import", "../files.tar", "-b", "files"]),
    );
    page.check(
        "commit",
        &object(&s, &["import", "../image.tar", "-b", "image"]),
    );
}

/// Checks settings, including those in a file whose path is not UTF-8.
fn describe_settings(page: &mut JsonPage) {
    let s = sandbox();
    let dir = OsString::from_vec(b"../w \xff".to_vec());
    s.dvc([OsStr::new("init"), &dir]).ok();
    let dvc = |args: &[&str]| {
        let all = [OsStr::new("-C"), &dir, OsStr::new("--json")]
            .into_iter()
            .chain(args.iter().map(OsStr::new));
        objects(&s.dvc(all).ok())
    };
    page.check_all("setting-change", &dvc(&["config", "set", "core.jobs", "2"]));
    page.check_all(
        "setting-change",
        &dvc(&["config", "unset", "core.jobs", "-n"]),
    );
    page.check_all("setting", &dvc(&["config", "list"]));
    page.check_all("setting", &dvc(&["config", "get", "core.jobs"]));
}

/// Checks the status after an interrupted checkout.
fn describe_interrupted_checkout(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    s.write("a", "one");
    let id = |value: &Value| Id::parse(value["id"].as_str().unwrap()).unwrap();
    let first = id(&object(&s, &["commit", "-m", "first"]));
    s.write("a", "two");
    let second = id(&object(&s, &["commit", "-m", "second"]));
    let repo = Repo::open(&s.w(".dvcs"), OpenOptions::default()).unwrap();
    let state = repo
        .worktree(&s.w("").canonicalize().unwrap())
        .unwrap()
        .state_dir()
        .to_owned();
    let goal = Goal {
        scope: vec![b"a".to_vec()],
        ..Goal::whole(Some(second), first)
    };
    drop(Journal::begin(Journal::lock(&state).unwrap(), &goal, false).unwrap());
    // A checkout writes this line before it changes a large file.
    let journal = state.join("checkout");
    fs::write(
        &journal,
        [fs::read(&journal).unwrap(), b"begin p61\n".to_vec()].concat(),
    )
    .unwrap();
    page.check("status", &object(&s, &["status"]));
}

/// Checks reports about a damaged pack, index, marker and worktree state.
fn describe_damage(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    fs::write(s.w(strange(b"lost \xff")), noise(3, 200_000)).unwrap();
    s.write("kept", "kept\n".repeat(2000));
    s.dvc(["commit", "-m", "first"]).ok();
    page.check("fsck", &object(&s, &["fsck", "--data"]));
    let packs = s.w(".dvcs/packs");
    let files = files_of(&packs);
    let (name, _) = files.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let largest = packs.join(strange(name));
    let whole = fs::read(&largest).unwrap();
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&largest, bytes).unwrap();
    };
    flip(100_000);
    page.check(
        "fsck",
        &objects(&s.dvc(["fsck", "--data", "--json"]).code(5))[0],
    );
    page.check(
        "checkout",
        &objects(
            &s.dvc(["checkout", "main", "--into", "../copy", "--json"])
                .code(5),
        )[0],
    );
    // Damage the table of contents at the end of the pack.
    flip(whole.len() - 40);
    fs::remove_file(s.w(".dvcs/format")).unwrap();
    for (path, _) in files_of(&s.w(".dvcs/worktrees")) {
        let path = s.w(".dvcs/worktrees").join(strange(&path));
        if path.file_name() == Some(OsStr::new("state")) {
            fs::write(path, "damaged").unwrap();
        }
    }
    page.check("fsck", &objects(&s.dvc(["fsck", "--rebuild", "--json"]))[0]);
    describe_repair(page);
}

/// A repair of packs and refs from a remote, and of what it does not have.
fn describe_repair(page: &mut JsonPage) {
    let s = sandbox();
    s.dvc(["init"]).ok();
    s.write("a", noise(1, 600_000));
    s.dvc(["commit", "-m", "first"]).ok();
    s.dvc(["branch", "side"]).ok();
    s.write("b", "b");
    s.dvc(["commit", "-m", "second"]).ok();
    s.dvc(["branch", "-f", "side"]).ok();
    s.dvc(["remote", "add", "origin", "../far"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["fsck"]).ok();
    let root = s.w(".dvcs");
    let tip = |branch: &str| {
        let entries = fs::read_dir(root.join("refs/heads").join(branch)).unwrap();
        entries.map(|entry| entry.unwrap().path()).min().unwrap()
    };
    fs::write(tip("main"), "damaged").unwrap();
    fs::write(tip("side"), "damaged").unwrap();
    let packs = files_of(&root.join("packs"));
    packs
        .keys()
        .for_each(|name| fs::remove_file(root.join("packs").join(strange(name))).unwrap());
    page.check(
        "fsck",
        &objects(&s.dvc(["fsck", "--repair", "--json"]).code(5))[0],
    );
    // The worktree has the lost chunk, but not the pack.
    fs::remove_dir_all(s.at("far")).unwrap();
    let (name, mut bytes) = packs
        .into_iter()
        .max_by_key(|(_, bytes)| bytes.len())
        .unwrap();
    bytes[300_000] ^= 1;
    fs::write(root.join("packs").join(strange(&name)), bytes).unwrap();
    page.check(
        "fsck",
        &objects(&s.dvc(["fsck", "--repair", "--data", "--json"]).code(5))[0],
    );
}

/// Checks the objects of a remote that two machines use.
fn describe_remotes(page: &mut JsonPage) {
    let s3 = S3::start(Switches::default());
    let url = s3.url("p");
    let mut s = sandbox();
    s3.env()
        .iter()
        .for_each(|(name, value)| _ = s.set(name, value));
    s.dvc(["init"]).ok();
    s.write("a", noise(1, 100_000));
    s.dvc(["commit", "-m", "first"]).ok();
    s.dvc(["branch", "side"]).ok();
    page.check(
        "remote",
        &object(&s, &["remote", "add", "origin", &url, "-n"]),
    );
    page.check(
        "remote-check",
        &object(&s, &["remote", "add", "origin", &url]),
    );
    page.check_all("remote", &json(&s, &["remote"]));
    page.check("push", &object(&s, &["push", "-n"]));
    page.check("push", &object(&s, &["push", "--verify"]));
    page.check("push", &object(&s, &["push", "--all"]));
    page.check("remote-check", &object(&s, &["remote", "check"]));
    page.check("clone", &object(&s, &["clone", &url, "../copy"]));
    page.check("clone", &object(&s, &["clone", "--lazy", &url, "../lazy"]));
    s.write("a", noise(2, 100_000));
    s.dvc(["commit", "-m", "second"]).ok();
    s.dvc(["branch", "-f", "side"]).ok();
    page.check("push", &object(&s, &["push", "--all"]));
    let forget = ["-y", "forget", "--remote", "origin", "main@v1"];
    s.dvc(forget).ok();
    page.check("push", &object(&s, &["push", "--restore", "main@v1"]));
    page.check("fetch", &object(&s, &["-C", "../lazy", "fetch"]));
    page.check("pull", &object(&s, &["-C", "../copy", "pull"]));
    page.check("status", &object(&s, &["-C", "../copy", "status"]));
    page.check_all("version", &json(&s, &["-C", "../copy", "log"]));
    page.check("fsck", &object(&s, &["-C", "../lazy", "fsck"]));
}

/// Checks the container entry points.
fn describe_containers(page: &mut JsonPage) {
    let s3 = S3::start(Switches::default());
    let machine = || {
        let mut s = sandbox();
        s3.env()
            .iter()
            .for_each(|(name, value)| _ = s.set(name, value));
        s.set("DVC_REMOTE_ORIGIN_URL", &s3.url("p"));
        s
    };
    let (one, two) = (machine(), machine());
    one.write("db/a", "one");
    one.write("db/b", "two");
    let [commit, push] = json(&one, &["-C", &one.w("").display().to_string(), "pack"])
        .try_into()
        .unwrap();
    page.check("commit", &commit);
    page.check("push", &push);
    let dir = two.w("").display().to_string();
    let unpack = ["-C", &dir, "unpack"];
    page.check("unpack", &object(&two, &unpack));
    two.write("db/a", "changed");
    page.check(
        "unpack",
        &objects(&two.dvc([&["--json"], &unpack[..]].concat()).code(4))[0],
    );
    let forced = [&unpack[..], &["--force"]].concat();
    page.check("unpack", &object(&two, &forced));
}

/// Checks mounts and overlays.
fn describe_mounts(page: &mut JsonPage) {
    let v = Volume::of(fill).unwrap();
    let json = |args: &[&str]| objects(&v.dvc(&[&["--json"], args].concat()).ok());
    let at = v.s.at("m").display().to_string();
    let mut mount = v.mount(&["--name", "kept"]);
    fs::write(mount.at("new"), "new").unwrap();
    page.check_all("mount", &json(&["mount"]));
    page.check_all("overlay", &json(&["mount", "--overlays"]));
    page.check_all("umount-plan", &json(&["umount", "-n", &at]));
    mount.down();
    page.check_all("overlay", &json(&["mount", "--overlays"]));
    page.check_all(
        "mount-plan",
        &json(&["mount", "-n", "--name", "kept", "main", &at]),
    );
    page.check_all("cache-usage", &json(&["du", "--cache"]));
    page.check("mount", &json(&["mount", "--name", "kept", "main", &at])[0]);
    page.check(
        "commit",
        &json(&["umount", "--commit", "-m", "second", &at])[0],
    );
    let into = v.s.at("out").display().to_string();
    page.check_all(
        "salvaged-file",
        &json(&["mount", "--salvage", "kept", &into]),
    );
    fs::write(v.s.at("r/overlays/kept/overlay.db"), "").unwrap();
    page.check_all("overlay", &json(&["mount", "--overlays"]));
    page.check_all("discarded-overlay", &json(&["umount", "--discard", "kept"]));
    page.check_all("trash-entry", &json(&["trash"]));
    mount.up();
    fs::write(mount.at("newer"), "new").unwrap();
    page.check_all("discarded-overlay", &json(&["umount", "--discard", &at]));
    let trash = json(&["trash"]);
    page.check_all("trash-entry", &trash);
    let id = trash[0]["id"].as_str().unwrap();
    page.check_all("trash-restoration", &json(&["trash", "restore", id]));
}

/// Checks volumes with and without a remote.
fn describe_volumes(page: &mut JsonPage) {
    let (s3, v) = Volume::lazy(fill).unwrap();
    let from = format!("{}#main", s3.url("p"));
    let h = Host::of(v);
    let json = |args: &[&str]| objects(&h.dvc(&[&["--json"], args].concat()).ok());
    page.check_all(
        "volume-creation",
        &json(&[
            "volume", "create", "db", "--from", &from, "--branch", "main", "--quota", "1G", "-o",
            "cache=1G",
        ]),
    );
    page.check_all("volume", &json(&["volume", "ls"]));
    page.check_all("volume-path", &json(&["volume", "path", "db"]));
    fs::write(h.path("db").join("b"), "new").unwrap();
    page.check(
        "commit",
        &json(&["commit", "--volume", "db", "-m", "second"])[0],
    );
    fs::write(h.path("db").join("c"), "newer").unwrap();
    page.check_all("volume", &json(&["volume", "inspect", "db"]));
    page.check_all("volume-removal", &json(&["volume", "rm", "db"]));
    let trash = json(&["trash"]);
    page.check_all("trash-entry", &trash);
    let id = trash[0]["id"].as_str().unwrap();
    page.check_all("trash-restoration", &json(&["trash", "restore", id]));
    drop(h);
}
