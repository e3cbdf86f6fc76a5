//! Commits under adverse conditions: earlier data is damaged, names vanish, descriptors run out,
//! side files are odd, several writers run. Everything that can still be read must be in the new
//! version.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use dvc::context::Context;
use dvc::format::pack::PackKind;
use dvc::observe::{Notice, Observer};
use dvc::ops::commit::{CommitOptions, commit};
use dvc::repo::packs::read_table;

use crate::support::facts::assert_same;
use crate::support::known::{context, noise};
use crate::support::sandbox::{Run, Sandbox};

fn opened(s: &Sandbox) -> Context {
    context(
        s.w(".dvcs").canonicalize().unwrap(),
        s.w("").canonicalize().unwrap(),
    )
}

/// Damages every frame in all packs of a kind; the tables of contents stay intact.
fn damage(s: &Sandbox, kind: PackKind) {
    let repo = opened(s).repo().unwrap();
    let mut done = 0;
    for folder in fs::read_dir(s.w(".dvcs/packs")).unwrap() {
        for pack in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = pack.unwrap().path();
            let mut name = [0u8; 32];
            dvc::model::id::parse_hex(path.file_name().unwrap().to_str().unwrap(), &mut name)
                .unwrap();
            let table = read_table(repo.store(), &name).unwrap();
            if table.kind == kind {
                let mut bytes = fs::read(&path).unwrap();
                for frame in &table.frames {
                    bytes[usize::try_from(frame.offset).unwrap() + frame.stored as usize - 3] ^=
                        0x55;
                }
                fs::write(&path, bytes).unwrap();
                done += 1;
            }
        }
    }
    assert!(done > 0);
}

fn assert_comes_back(s: &Sandbox, revision: &str) {
    let copy = format!("../copy-{}", revision.replace('@', "-"));
    s.dvc(["checkout", revision, "--into", &copy]).ok();
    let plain = s.at("plain");
    let _ = fs::remove_dir_all(&plain);
    Run::of(s.other("cp").args(["-a", "."]).arg(&plain)).ok();
    fs::remove_dir_all(plain.join(".dvcs")).unwrap();
    Run::of(s.other("touch").args(["-r", "."]).arg(&plain)).ok();
    assert_same(&plain, &s.w(&copy));
}

#[test]
fn damage_in_the_version_before_costs_the_next_one_nothing() {
    for kind in [PackKind::Tree, PackKind::List] {
        let s = Sandbox::with_repo();
        s.write("data/stays", "stays\n".repeat(100));
        s.write("data/sub/file", "one\n".repeat(100));
        s.write("large", noise(7, 3_000_000));
        s.dvc(["commit", "-m", "first"]).ok();
        damage(&s, kind);
        s.write("data/sub/file", "two\n".repeat(100));
        s.write("data/new", noise(8, 5000));
        let mut large = noise(7, 3_000_000);
        large[1_000_000..1_000_100].fill(1);
        s.write("large", &large);
        s.dvc(["commit", "-m", "second"]).ok();
        assert_comes_back(&s, "main");
        s.write("data/third", noise(9, 5000));
        s.dvc(["commit", "-m", "third", "-b", "rescue"]).ok();
        assert_comes_back(&s, "rescue");
    }
}

#[test]
fn lost_objects_are_stored_again_after_a_rebuild() {
    let s = Sandbox::with_repo();
    s.write("file", noise(3, 200_000));
    s.write("small", "small\n".repeat(100));
    s.dvc(["commit", "-m", "first"]).ok();
    damage(&s, PackKind::Data);
    s.dvc(["fsck", "--data"]).code(5);
    s.dvc(["fsck", "--rebuild"]);
    s.dvc(["commit", "-m", "again"]).ok();
    assert_comes_back(&s, "main@v1");
}

/// Removes paths at the first notice of the walk, which reports a socket in a directory that was
/// just listed.
struct Remover(Vec<std::path::PathBuf>, Mutex<Vec<Notice>>);

impl Observer for Remover {
    fn notice(&self, notice: Notice) {
        for path in &self.0 {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        }
        self.1.lock().unwrap().push(notice);
    }
}

#[test]
fn files_that_vanish_during_the_walk_affect_no_others() {
    let s = Sandbox::with_repo();
    // These names are listed before the socket. The other hard link of `first` is seen later.
    s.write("first", "several names");
    s.write("gone/file", "x");
    let _socket = std::os::unix::net::UnixListener::bind(s.w("socket")).unwrap();
    fs::create_dir(s.w("later")).unwrap();
    fs::hard_link(s.w("first"), s.w("later/second")).unwrap();
    let context = opened(&s);
    let remover = Remover(vec![s.w("first"), s.w("gone")], Mutex::default());
    let options = CommitOptions {
        message: "x".into(),
        ..CommitOptions::default()
    };
    let report = commit(&context, &options, &remover).unwrap();
    assert!(!s.w("first").exists() && !s.w("gone").exists());
    assert_eq!(
        remover.1.lock().unwrap().len(),
        1,
        "only the socket is reported"
    );
    assert_eq!(report.unstable, Vec::<Vec<u8>>::new());
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    assert_eq!(
        fs::read(s.at("copy/later/second")).unwrap(),
        b"several names"
    );
    assert_eq!(fs::metadata(s.at("copy/later/second")).unwrap().nlink(), 1);
    let mut names: Vec<_> = fs::read_dir(s.at("copy"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["later"]);
}

#[test]
fn an_ignore_file_in_another_encoding_hides_nothing() {
    let s = Sandbox::with_repo();
    s.write("sub/.dvcsignore", b"b\xe4r.tmp\n*.log\n");
    s.write("sub/data", "data");
    s.write("sub/a.log", "log");
    s.dvc(["commit", "-m", "x"]).ok();
    s.dvc(["show", "main:sub/data"]).ok().says("data");
    s.dvc(["show", "main:sub/a.log"]).code(13);
}

#[test]
fn more_large_files_than_descriptors() {
    let s = Sandbox::with_repo();
    for n in 0..120 {
        let file = fs::File::create(s.w(format!("large {n}"))).unwrap();
        file.set_len(700_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, format!("{n}").as_bytes(), 600_000)
            .unwrap();
    }
    let limited = |rest: &str| {
        Run::of(
            s.other("sh")
                .arg("-c")
                .arg(format!("ulimit -n 80; exec dvc {rest}")),
        )
    };
    limited("-j 1 commit -m x").ok();
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    assert_eq!(fs::read_dir(s.at("copy")).unwrap().count(), 120);
}

#[test]
fn writers_of_single_files_do_not_undo_each_other() {
    let s = Sandbox::with_repo();
    s.dvc(["commit", "-m", "empty", "--allow-empty"]).ok();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let s = &s;
            scope.spawn(move || {
                let name = format!("dump {n}");
                s.dvc([
                    "commit",
                    "-m",
                    "x",
                    "--add",
                    "--exec",
                    &name,
                    "--",
                    "sh",
                    "-c",
                    "sleep 0.3; echo dump",
                ])
                .ok();
            });
        }
    });
    assert_eq!(s.dvc(["ls", "main"]).ok().lines().len(), 4);
}

#[test]
fn an_interrupted_init_is_finished_by_the_next() {
    let s = Sandbox::new();
    fs::create_dir_all(s.w(".dvcs/tmp")).unwrap();
    s.dvc(["init"]).ok();
    assert!(Path::new(&s.w(".dvcs/format")).exists());
}

#[test]
fn the_repository_is_never_part_of_a_version() {
    let s = Sandbox::with_repo();
    s.dvc(["commit", "-m", "x", ".dvcs/format"]).code(2);
    s.dvc(["commit", "-m", "x", "--exec", ".dvcs", "--", "echo"])
        .code(2);
    s.dvc_with(["commit", "-m", "x", "--stdin", ".dvcs/config.toml"], b"x")
        .code(2);
}
