//! Every later version of the program must read the golden repositories.
//!
//! `tests/data/repos/v1/plain/` holds a repository (format, packs, index, refs) and, in
//! `expected/`, the content of its versions. `tests/data/repos/v1/collected/` holds a repository
//! with the state of garbage collection and salted packs. `make_the_golden_repository` and
//! `make_the_collected_repository` may replace them while the format is unreleased. Afterwards they
//! are never replaced.

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

use dvc::model::id::Id;

use crate::support::collected::{salt_packs, write_state};
use crate::support::facts::{Compare, facts};
use crate::support::needs::{is_root, run};
use crate::support::sandbox::{Run, Sandbox, all_below};
use crate::support::zoo::{noise, prose, set_mtime};

/// The salt of all packs of the collected repository.
const SALT: [u8; 4] = [0x5a, 0, 1, 0xff];
/// Versions of branch `main`; enough that index segments are merged.
const VERSIONS: u64 = 10;
/// Updates of branch `moved`; enough that its ref log is folded.
const MOVES: u64 = 140;
/// Versions whose content is described in `expected/`.
const KEPT: [u64; 3] = [1, 5, VERSIONS];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/repos/v1/plain")
}

fn golden_collected() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/repos/v1/collected")
}

/// Describes a directory, one line per file.
fn described(dir: &Path) -> String {
    let mut out = String::new();
    for (path, f) in facts(dir, &Compare::default()) {
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string().replace(' ', "\\x20");
        let _ = write!(
            out,
            "{} {} {:04o} {}:{} {}.{:09}",
            shown(&path),
            f.kind,
            f.mode,
            f.uid,
            f.gid,
            f.mtime.0,
            f.mtime.1
        );
        if f.kind == 'f' {
            let _ = write!(out, " {} {}", f.size, f.content);
        }
        if f.link != path {
            let _ = write!(out, " ={}", shown(&f.link));
        }
        if !f.target.is_empty() {
            let _ = write!(out, " ->{}", shown(&f.target));
        }
        if f.device != 0 {
            let _ = write!(out, " {}", f.device);
        }
        for (name, value) in &f.xattrs {
            let _ = write!(out, " {}={}", shown(name), shown(value));
        }
        out.push('\n');
    }
    out
}

/// Copies the repository to `r`, because tests must not write to `tests/data`.
fn copied() -> Sandbox {
    let s = Sandbox::new();
    run(
        "cp",
        &[
            "-r",
            golden().join("repository").to_str().unwrap(),
            s.at("r").to_str().unwrap(),
        ],
    );
    s
}

#[test]
fn the_golden_repository_is_read() {
    let s = copied();
    s.dvc(["--repo", "../r", "fsck", "--data"]).ok();
    let ids = s
        .dvc([
            "--repo",
            "../r",
            "log",
            "--format",
            "%H %O %an %at %s",
            "main",
        ])
        .ok()
        .out;
    assert_eq!(
        ids,
        fs::read_to_string(golden().join("expected/log")).unwrap()
    );
    let tags = s
        .dvc([
            "--repo",
            "../r",
            "log",
            "--format",
            "%O %(trailer:Ticket)",
            "-n",
            "1",
            "release",
        ])
        .ok()
        .out;
    assert_eq!(tags, "3 T-3\n");
    let scoped = s
        .dvc([
            "--repo",
            "../r",
            "log",
            "--format",
            "%O",
            "-n",
            "1",
            "main@checked",
        ])
        .ok()
        .out;
    assert_eq!(scoped, "5\n");
    let moves = s
        .dvc(["--repo", "../r", "log", "-g", "moved", "--json"])
        .ok();
    assert_eq!(moves.lines().len() as u64, MOVES);
}

#[test]
fn its_versions_are_what_they_were() {
    let s = copied();
    for version in KEPT {
        let into = format!("../v{version}");
        s.dvc([
            "--repo",
            "../r",
            "checkout",
            &format!("main@#{version}"),
            "--into",
            &into,
        ])
        .code(if is_root() { 0 } else { 3 });
        if is_root() {
            let expected =
                fs::read_to_string(golden().join(format!("expected/v{version}"))).unwrap();
            assert_same_lines(&expected, &described(&s.w(&into)));
        }
    }
}

#[track_caller]
fn assert_same_lines(expected: &str, found: &str) {
    let differ: Vec<_> = expected
        .lines()
        .zip(found.lines())
        .filter(|(a, b)| a != b)
        .take(10)
        .collect();
    assert!(
        expected == found,
        "{} and {} lines: {differ:#?}",
        expected.lines().count(),
        found.lines().count()
    );
}

#[test]
fn it_is_written_to_as_to_any_other() {
    let s = copied();
    s.dvc(["--repo", "../r", "checkout", "main", "--into", "../w2"])
        .code(if is_root() { 0 } else { 3 });
    fs::write(s.at("w2/new"), "new").unwrap();
    s.dvc([
        "--repo",
        "../r",
        "-C",
        "../w2",
        "commit",
        "-b",
        "main",
        "-m",
        "by a later program",
    ])
    .ok();
    s.dvc(["--repo", "../r", "fsck", "--data"]).ok();
    assert_eq!(
        s.dvc(["--repo", "../r", "show", "main:new"]).ok().out,
        "new"
    );
}

/// The golden repository contains every form that a reader must support.
#[test]
fn it_holds_every_form_of_the_format() {
    let files = all_below(&golden().join("repository"));
    let below = |dir: &str| {
        files
            .iter()
            .filter(|p| {
                p.is_file() && p.parent().unwrap().ends_with(dir)
                    || p.is_file() && p.parent().unwrap().parent().unwrap().ends_with(dir)
            })
            .cloned()
            .collect::<Vec<_>>()
    };
    let packs = below("packs");
    let mut kinds = [0; 3];
    let mut deltas = 0;
    for pack in &packs {
        let bytes = fs::read(pack).unwrap();
        kinds[usize::from(bytes[8])] += 1;
        deltas += frames(&bytes).iter().filter(|tag| **tag & 0xf == 2).count();
    }
    assert!(
        kinds.iter().all(|count| *count > 1) && deltas > 0,
        "packs by kind {kinds:?}, {deltas} deltas"
    );
    // The footer of a segment counts the segments that it replaces.
    let replaced = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        u64::from_le_bytes(bytes[bytes.len() - 16..bytes.len() - 8].try_into().unwrap())
    };
    assert!(
        below("index").iter().any(|segment| replaced(segment) > 1),
        "no merged segment"
    );
    let folded = files
        .iter()
        .filter(|p| p.is_file() && p.to_str().unwrap().contains("/refs/heads/moved/"));
    assert!(
        folded
            .clone()
            .any(|p| fs::read_to_string(p).unwrap().contains("\"older\":[{")),
        "no folded log"
    );
    assert!(
        fs::read_dir(golden().join("repository/refs/tags"))
            .unwrap()
            .count()
            >= 3
    );
}

/// Reads the frame tags from the table of contents of a pack, as specified in docs/format.md.
fn frames(pack: &[u8]) -> Vec<u8> {
    let footer = &pack[pack.len() - 44..];
    let number = |at: usize, len: usize| {
        footer[at..at + len]
            .iter()
            .rev()
            .fold(0_usize, |n, b| n << 8 | usize::from(*b))
    };
    let (at, stored, plain, count) = (number(0, 8), number(8, 4), number(12, 4), number(16, 4));
    let table = &pack[at..at + stored];
    let table = if stored == plain {
        table.to_vec()
    } else {
        zstd::bulk::decompress(table, plain).unwrap()
    };
    let mut rest = table.as_slice();
    let mut tags = Vec::new();
    let leb = |rest: &mut &[u8]| {
        let (mut value, mut shift) = (0_usize, 0);
        loop {
            let byte = rest[0];
            *rest = &rest[1..];
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    };
    for _ in 0..count {
        let tag = rest[0];
        rest = &rest[1..];
        for _ in 0..leb(&mut rest) {
            rest = &rest[32..];
            leb(&mut rest);
        }
        if tag & 0xf == 2 {
            rest = &rest[32..];
        }
        leb(&mut rest);
        tags.push(tag);
    }
    assert!(rest.is_empty());
    tags
}

/// Creates the tree of the first version.
fn build(root: &Path) {
    let dir = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let plain = dir("plain");
    fs::write(plain.join("empty"), "").unwrap();
    fs::write(plain.join("inline"), "at most 256 bytes are in the entry").unwrap();
    fs::write(plain.join("text"), prose(1, 20_000)).unwrap();
    fs::write(plain.join("chunks"), prose(2, 1_500_000)).unwrap();
    fs::write(plain.join("noise"), noise(3, 40_000)).unwrap();
    // The chunker splits page files every 64 KiB.
    fs::write(
        plain.join("pages.db"),
        [b"SQLite format 3\0".to_vec(), prose(4, 400_000)].concat(),
    )
    .unwrap();
    let many = dir("many");
    for n in 0..700 {
        fs::write(many.join(format!("{n:04}")), "").unwrap();
    }
    let names = dir("names");
    for name in [
        &b"not utf-8 \xff"[..],
        b"line\nbreak",
        b" ",
        b"-rf",
        ".é".as_bytes(),
        &[b'n'; 255],
    ] {
        fs::write(names.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let modes = dir("modes");
    for mode in [0o000, 0o644, 0o1777, 0o2755, 0o4755] {
        let path = modes.join(format!("{mode:04o}"));
        fs::write(&path, "").unwrap();
        chown(&path, Some(1000 + mode), Some(2000)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::set_permissions(dir("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let links = dir("links");
    symlink("../plain/text", links.join("symbolic")).unwrap();
    fs::write(links.join("hard"), "three names").unwrap();
    fs::hard_link(links.join("hard"), links.join("hard too")).unwrap();
    fs::hard_link(links.join("hard"), root.join("hard elsewhere")).unwrap();
    let sparse = dir("sparse");
    // More extents than fit into one node of a chunk list.
    let file = fs::File::create(sparse.join("many extents")).unwrap();
    for n in 0..600_u64 {
        file.write_all_at(&n.to_le_bytes(), n * (256 << 10) + 1)
            .unwrap();
    }
    let file = fs::File::create(sparse.join("all hole")).unwrap();
    file.set_len((1 << 30) + 7).unwrap();
    let special = dir("special");
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("character", FileType::CharacterDevice, makedev(1, 3)),
        ("block", FileType::BlockDevice, makedev(7, 200)),
    ] {
        mknodat(
            CWD,
            special.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            device,
        )
        .unwrap();
    }
    let attributes = dir("attributes");
    fs::write(attributes.join("file"), "x").unwrap();
    lsetxattr(
        attributes.join("file"),
        "user.text",
        b"a value",
        XattrFlags::empty(),
    )
    .unwrap();
    lsetxattr(
        attributes.join("file"),
        "trusted.binary",
        b"\0\xff",
        XattrFlags::empty(),
    )
    .unwrap();
    run(
        "setfacl",
        &[
            "-m",
            "u:12345:rw,m::rwx",
            attributes.join("file").to_str().unwrap(),
        ],
    );
    run(
        "setcap",
        &[
            "cap_net_bind_service+ep",
            attributes.join("file").to_str().unwrap(),
        ],
    );
    let times = dir("times");
    for (name, secs, nanos) in [
        ("1969", -1, 1),
        ("nanoseconds", 1_700_000_000, 123_456_789),
        ("2100", 4_102_444_800, 0),
    ] {
        fs::write(times.join(name), "").unwrap();
        set_mtime(&times.join(name), secs, nanos);
    }
    for path in all_below(root) {
        if !path.starts_with(root.join("times")) || path.is_dir() {
            set_mtime(&path, 1_500_000_000, 5);
        }
    }
}

/// Changes the tree to the content of version `n`.
fn change(root: &Path, n: u64) {
    let pages = fs::OpenOptions::new()
        .write(true)
        .open(root.join("plain/pages.db"))
        .unwrap();
    pages
        .write_all_at(format!("version {n}").as_bytes(), n * 30_000)
        .unwrap();
    fs::write(
        root.join("plain/text"),
        prose(1, 20_000 + usize::try_from(n).unwrap() * 100),
    )
    .unwrap();
    fs::write(
        root.join("plain/chunks"),
        [
            prose(2, 1_000_000),
            prose(100 + n, 2_000),
            prose(2, 400_000),
        ]
        .concat(),
    )
    .unwrap();
    fs::write(root.join(format!("added {n}")), noise(n, 1000)).unwrap();
    if n == 4 {
        fs::remove_file(root.join("names/line\nbreak")).unwrap();
        fs::rename(root.join("closed"), root.join("renamed")).unwrap();
    }
    for name in [
        "plain/pages.db",
        "plain/text",
        "plain/chunks",
        &format!("added {n}"),
        "plain",
        "names",
        "",
    ] {
        set_mtime(
            &root.join(name),
            1_500_000_000 + i64::try_from(n).unwrap(),
            6,
        );
    }
}

/// `cargo test --test it make_the_golden_repository -- --ignored`, as root.
#[test]
#[ignore = "writes tests/data/repos/v1, only while the format is unreleased"]
fn make_the_golden_repository() {
    assert!(is_root());
    let s = Sandbox::new();
    let tree = s.at("w");
    build(&tree);
    // Versions record the host name, so replace that of the developer's machine.
    let dvc = |args: &[&str]| {
        let mut c = s.other("unshare");
        c.args([
            "--uts",
            "sh",
            "-c",
            "hostname golden; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_dvc"),
            "--repo",
            "../r",
        ]);
        Run::of(c.args(args)).ok()
    };
    dvc(&["init", "-b", "main"]);
    fs::create_dir_all(golden()).unwrap();
    run(
        "rm",
        &[
            "-rf",
            golden().join("repository").to_str().unwrap(),
            golden().join("expected").to_str().unwrap(),
        ],
    );
    fs::create_dir(golden().join("expected")).unwrap();
    for n in 1..=VERSIONS {
        if n > 1 {
            change(&tree, n);
        }
        let (time, ticket, message) = (
            format!("2026-01-{n:02}T03:00:00Z"),
            format!("Ticket=T-{n}"),
            format!("version {n}"),
        );
        let author = "Ann Example <ann@example.org>";
        dvc(&[
            "commit",
            "-b",
            "main",
            "-m",
            &message,
            "--time",
            &time,
            "--trailer",
            &ticket,
            "--author",
            author,
        ]);
        if KEPT.contains(&n) {
            fs::write(golden().join(format!("expected/v{n}")), described(&tree)).unwrap();
        }
    }
    dvc(&["tag", "release", "main@#3"]);
    dvc(&["tag", "main@checked", "main@#5"]);
    dvc(&["tag", "gone", "main@#2"]);
    dvc(&["tag", "-d", "gone"]);
    dvc(&["branch", "cust/acme", "main@#7"]);
    for n in 0..MOVES {
        dvc(&["branch", "-f", "moved", &format!("main@#{}", n % 2 + 1)]);
    }
    let log = dvc(&["log", "--format", "%H %O %an %at %s", "main"]).out;
    fs::write(golden().join("expected/log"), log).unwrap();
    let kept = golden().join("repository");
    fs::create_dir(&kept).unwrap();
    for part in ["format", "packs", "index", "refs"] {
        run(
            "cp",
            &[
                "-r",
                s.at("r").join(part).to_str().unwrap(),
                kept.to_str().unwrap(),
            ],
        );
    }
    run("chmod", &["-R", "u=rwX,go=rX", kept.to_str().unwrap()]);
}

#[test]
fn the_state_of_garbage_collection_is_read() {
    let s = Sandbox::new();
    run(
        "cp",
        &[
            "-r",
            golden_collected().to_str().unwrap(),
            s.at("r").to_str().unwrap(),
        ],
    );
    for part in [
        "quarantine/log",
        "quarantine/lists",
        "trash",
        "sessions",
        "refs/trash",
    ] {
        assert!(s.at("r").join(part).is_dir(), "{part}");
    }
    for pack in all_below(&s.at("r/packs"))
        .into_iter()
        .filter(|path| path.is_file())
    {
        assert_eq!(fs::read(pack).unwrap()[12..16], SALT);
    }
    let fsck = s
        .dvc(["--repo", "../r", "fsck", "--data"])
        .ok()
        .says("no damage");
    assert!(!fsck.err.contains("unknown"), "{}", fsck.err);
    assert_eq!(
        s.dvc(["--repo", "../r", "log", "--format", "%s", "main"])
            .ok()
            .out,
        "version 2\nversion 1\n"
    );
    assert_eq!(
        s.dvc(["--repo", "../r", "show", "main~1:file"]).ok().out,
        "version 1"
    );
}

/// `cargo test --test it make_the_collected_repository -- --ignored`.
#[test]
#[ignore = "writes tests/data/repos/v1, only while the format is unreleased"]
fn make_the_collected_repository() {
    let s = Sandbox::new();
    let dvc = |args: &[&str]| s.dvc([&["--repo", "../r"], args].concat()).ok();
    dvc(&["init", "-b", "main"]);
    for n in 1..=2 {
        fs::write(s.w("file"), format!("version {n}")).unwrap();
        fs::write(s.w("prose"), prose(n, 5000)).unwrap();
        let (message, time) = (format!("version {n}"), format!("2026-01-{n:02}T03:00:00Z"));
        let author = "Ann Example <ann@example.org>";
        dvc(&[
            "commit", "-b", "main", "-m", &message, "--time", &time, "--author", author,
        ]);
    }
    let log = dvc(&["log", "--format", "%H", "main"]).out;
    let ids: Vec<Id> = log.lines().map(|line| Id::parse(line).unwrap()).collect();
    salt_packs(&s.at("r"), SALT);
    dvc(&["fsck", "--rebuild"]);
    write_state(&s.at("r"), &ids[1], &ids[0]);
    let kept = golden_collected();
    run("rm", &["-rf", kept.to_str().unwrap()]);
    fs::create_dir_all(&kept).unwrap();
    for part in [
        "format",
        "packs",
        "index",
        "refs",
        "quarantine",
        "trash",
        "sessions",
    ] {
        run(
            "cp",
            &[
                "-r",
                s.at("r").join(part).to_str().unwrap(),
                kept.to_str().unwrap(),
            ],
        );
    }
    run("chmod", &["-R", "u=rwX,go=rX", kept.to_str().unwrap()]);
}
