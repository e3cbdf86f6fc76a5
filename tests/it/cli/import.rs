//! `dvc import`: refused archives, damaged archives, and the state after an interrupted import.

use super::fresh;
use crate::support::sandbox::Sandbox;
use crate::support::zoo;
use dvc::archive::image::sha256;
use dvc::archive::member::{ArchiveMember, MemberKind};
use dvc::archive::writer::{END, head};
use dvc::model::entry::{Meta, Xattr};
use std::fs;
use std::io::Write;
use std::process::Stdio;

fn member(path: &str, kind: MemberKind, data: &[u8]) -> Vec<u8> {
    let meta = Meta {
        mode: 0o644,
        ..Meta::default()
    };
    let mut out = head(
        &ArchiveMember {
            path: path.as_bytes().to_vec(),
            meta,
            kind,
        },
        None,
    );
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn file(path: &str, data: &[u8]) -> Vec<u8> {
    member(
        path,
        MemberKind::File {
            size: data.len() as u64,
        },
        data,
    )
}

fn symlink(path: &str, target: &str) -> Vec<u8> {
    member(
        path,
        MemberKind::Symlink {
            target: target.into(),
        },
        b"",
    )
}

fn hardlink(path: &str, target: &str) -> Vec<u8> {
    member(
        path,
        MemberKind::HardLink {
            target: target.into(),
        },
        b"",
    )
}

fn dir(path: &str) -> Vec<u8> {
    member(path, MemberKind::Dir, b"")
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat(), END.as_slice()].concat()
}

/// Returns the header of a file with one extended attribute.
fn attribute(path: &str, name: &str, len: usize) -> Vec<u8> {
    let xattrs = vec![Xattr {
        name: name.into(),
        value: vec![b'x'; len],
    }];
    head(
        &ArchiveMember {
            path: path.into(),
            meta: Meta {
                mode: 0o644,
                xattrs,
                ..Meta::default()
            },
            kind: MemberKind::File { size: 0 },
        },
        None,
    )
}

/// Returns the header of a file that is one hole.
fn sparse(path: &str, size: u64) -> Vec<u8> {
    let member = ArchiveMember {
        path: path.into(),
        meta: Meta {
            mode: 0o644,
            ..Meta::default()
        },
        kind: MemberKind::File { size },
    };
    head(&member, Some(&[]))
}

/// Returns the names in the sandbox and in the worktree.
fn outside(s: &Sandbox) -> Vec<String> {
    let list = fs::read_dir(s.root())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut list: Vec<String> = list
        .chain(
            fs::read_dir(s.at("w"))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap()),
        )
        .collect();
    list.sort();
    list
}

#[test]
fn hostile_archives_are_refused_by_the_name_of_the_entry() {
    let s = fresh();
    s.write("kept", "as it is");
    super::commit(&s, "before", 1);
    let before = outside(&s);
    let long = "d/".repeat(1500) + "x";
    let size = |path: &str, size: u64| member(path, MemberKind::File { size }, b"short");
    let mut flipped = archive(&[file("a", b"1"), file("flipped", b"2")]);
    flipped[1024 + 100] ^= 1;
    let whole = archive(&[file("a", b"1"), file("cut", &[7; 5000])]);
    let bomb = {
        let mut gzip = dvc::codec::stream::Gzip::new(Vec::new());
        gzip.write_all(&size("bomb", 1 << 40)).unwrap();
        gzip.write_all(&vec![0; 64 << 20]).unwrap();
        gzip.finish().unwrap()
    };
    let mut packed = {
        let mut gzip = dvc::codec::stream::Gzip::new(Vec::new());
        gzip.write_all(&archive(&[file("a", &zoo::noise(1, 100_000))]))
            .unwrap();
        gzip.finish().unwrap()
    };
    let end = packed.len() - 7;
    packed[end] ^= 1;
    let cases: Vec<(&str, Vec<u8>, i32, &str)> = vec![
        ("upwards", archive(&[file("../evil", b"x")]), 2, "`../evil`"),
        (
            "upwards inside",
            archive(&[file("a/../../evil", b"x")]),
            2,
            "`a/../../evil`",
        ),
        (
            "absolute",
            archive(&[file("/tmp/evil", b"x")]),
            2,
            "`/tmp/evil`",
        ),
        (
            "under a link",
            archive(&[symlink("l", ".."), file("l/evil", b"x")]),
            2,
            "`l/evil`",
        ),
        (
            "under a file",
            archive(&[file("f", b"1"), file("f/evil", b"x")]),
            2,
            "`f/evil`",
        ),
        (
            "link outwards",
            archive(&[hardlink("h", "../../etc/passwd")]),
            2,
            "`../../etc/passwd`",
        ),
        (
            "link to an absolute name",
            archive(&[hardlink("h", "/etc/passwd")]),
            2,
            "`/etc/passwd`",
        ),
        (
            "link to what is not there",
            archive(&[hardlink("h", "kept")]),
            2,
            "`h`",
        ),
        (
            "link to a directory",
            archive(&[dir("d"), hardlink("h", "d")]),
            2,
            "`h`",
        ),
        (
            "a repository",
            archive(&[file(".dvcs/format", b"x")]),
            2,
            "`.dvcs/format`",
        ),
        (
            "a repository by another way",
            archive(&[file("./x/../.dvcs/format", b"x")]),
            2,
            ".dvcs/format`",
        ),
        ("the top is a file", archive(&[file(".", b"x")]), 2, "`.`"),
        ("too deep", archive(&[file(&long, b"x")]), 2, "d/d/d/"),
        (
            "a name that is too long",
            archive(&[file(&"n".repeat(256), b"x")]),
            2,
            "nnn",
        ),
        ("a link to nowhere", archive(&[symlink("l", "")]), 2, "`l`"),
        (
            "a link too far",
            archive(&[symlink("l", &"x/".repeat(3000))]),
            2,
            "`l`",
        ),
        (
            "an attribute too long",
            archive(&[attribute("f", "user.x", 70_000)]),
            2,
            "`f`",
        ),
        (
            "an attribute without end",
            archive(&[attribute("f", &"user.".repeat(60), 1)]),
            2,
            "`f`",
        ),
        ("a hole too large", sparse("hole", u64::MAX), 5, "`hole`"),
        ("a huge size", size("huge", 1 << 62), 5, "`huge`"),
        ("an impossible size", size("huge", u64::MAX), 5, "`huge`"),
        ("flipped", flipped, 5, "at or after `a`"),
        ("cut in a file", whole[..3000].to_vec(), 5, "`cut`"),
        (
            "cut between members",
            whole[..1024].to_vec(),
            5,
            "at or after `a`",
        ),
        (
            "cut at the end",
            whole[..whole.len() - 1024].to_vec(),
            5,
            "at or after `cut`",
        ),
        ("nothing", Vec::new(), 5, "damaged"),
        ("no archive", zoo::prose(1, 5000), 5, "damaged"),
        ("a bomb", bomb, 5, "`bomb`"),
        ("a wrong checksum", packed, 5, "damaged"),
    ];
    for (what, bytes, code, says) in cases {
        fs::write(s.at("hostile.tar"), &bytes).unwrap();
        let run = s
            .dvc(["import", "../hostile.tar", "--format", "tar"])
            .code(code);
        assert!(run.err.contains(says), "{what}: no {says} in {}", run.err);
        let piped = s
            .dvc_with(["--json", "import", "-", "--format", "tar"], &bytes)
            .code(code);
        assert!(piped.err.contains("\"code\""), "{what}");
        fs::remove_file(s.at("hostile.tar")).unwrap();
    }
    assert_eq!(outside(&s), before);
    assert_eq!(
        s.dvc(["--json", "log"]).ok().json_lines().len(),
        1,
        "an import that fails makes no version"
    );
    s.dvc(["status", "--exit-code"]).code(0);
    s.dvc(["fsck"]).ok();
}

#[test]
fn unusual_archives_are_imported() {
    let s = fresh();
    let list = |branch: &str| s.dvc(["ls", "-r", branch]).ok().out.replace('\n', " ");
    let take = |branch: &str, bytes: &[u8], args: &[&str]| {
        s.dvc_with(["import", "-", "-b", branch].iter().chain(args), bytes)
            .ok();
        list(branch)
    };
    let twice = archive(&[
        file("a", b"first"),
        dir("d"),
        file("d/x", b"1"),
        file("a", b"last"),
        dir("d"),
    ]);
    assert_eq!(take("twice", &twice, &[]), "a d/ d/x ");
    assert_eq!(s.dvc(["show", "twice:a"]).ok().out, "last");
    assert_eq!(
        take(
            "kinds",
            &archive(&[file("a", b"1"), dir("a"), file("a/b", b"2")]),
            &[]
        ),
        "a/ a/b "
    );
    assert_eq!(
        take(
            "absolute",
            &archive(&[file("/data/a", b"1")]),
            &["--strip", "/"]
        ),
        "data/ data/a "
    );
    assert_eq!(
        take(
            "strip",
            &archive(&[file("x", b""), file("/data/a", b"1")]),
            &["--strip", "data"]
        ),
        "a "
    );
    // Directories without a member in the archive get fixed properties, so that repeated imports
    // are identical.
    let made = archive(&[file("p/q/r", b"1")]);
    take("made", &made, &[]);
    let again = s
        .dvc_with(["--json", "import", "-", "-b", "made"], &made)
        .ok();
    assert_eq!(again.json()["unchanged"], true);
    // A symlink may have any target, because an import never follows it.
    take(
        "links",
        &archive(&[symlink("out", "/etc/passwd"), symlink("up", "../../..")]),
        &[],
    );
    // An empty archive is accepted only if it removes no content from the branch.
    take("empty", &END, &[]);
    s.dvc_with(["import", "-", "-b", "kinds"], &END)
        .code(4)
        .complains("--allow-empty");
    s.dvc_with(["import", "-", "-b", "kinds", "--strip", "none"], &made)
        .code(13)
        .complains("contains nothing in `none`");
    let dry = s
        .dvc_with(["--json", "import", "-", "-b", "dry", "-n"], &made)
        .ok()
        .json();
    assert_eq!(
        (
            dry["dry_run"].as_bool(),
            dry["id"].is_null(),
            dry["files"].as_u64()
        ),
        (Some(true), true, Some(1))
    );
    s.dvc(["log", "dry"]).code(13);
}

#[test]
fn an_import_that_is_killed_makes_no_version() {
    let s = fresh();
    let whole = archive(&[
        file("a", &zoo::noise(1, 5 << 20)),
        file("b", &zoo::noise(2, 5 << 20)),
    ]);
    for signal in ["KILL", "TERM"] {
        let mut c = s.command(["import", "-", "-b", "killed"]);
        let mut child = c
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&whole[..7 << 20]).unwrap();
        crate::support::needs::run("kill", &[&format!("-{signal}"), &child.id().to_string()]);
        // With SIGTERM, `dvc` finishes a pending read before it exits, so end the input.
        drop(stdin);
        assert!(!child.wait().unwrap().success());
        s.dvc(["log", "killed"]).code(13);
        s.dvc(["fsck"]).ok();
    }
    s.dvc_with(["import", "-", "-b", "killed"], &whole).ok();
    s.dvc(["fsck", "--data"]).ok();
}

/// Returns an image archive with these layers, as `docker save` of old engines writes it.
fn saved(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| sha256(l)).collect();
    let diffs: Vec<String> = ids.iter().map(|id| format!("sha256:{id}")).collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}});
    let config = config.to_string();
    let names: Vec<String> = ids.iter().map(|id| format!("{id}/layer.tar")).collect();
    let list = serde_json::json!([{"Config": "config.json", "RepoTags": ["example:latest"], "Layers": names}]);
    let mut parts = Vec::new();
    for (name, layer) in names.iter().zip(layers) {
        parts.extend([dir(name.split('/').next().unwrap()), file(name, layer)]);
    }
    parts.extend([
        file("config.json", config.as_bytes()),
        file("manifest.json", list.to_string().as_bytes()),
    ]);
    archive(&parts)
}

#[test]
fn layers_are_merged() {
    let s = fresh();
    let low = archive(&[
        dir("source"),
        dir("source/db"),
        file("source/db/a", b"1"),
        file("source/db/b", b"2"),
        dir("source/web"),
        file("source/web/x", b"3"),
        file("etc/passwd", b"root"),
        file("source/gone", b"4"),
    ]);
    let high = archive(&[
        file("source/db/.wh.a", b""),
        file("source/web/.wh..wh..opq", b""),
        file("source/web/y", b"5"),
        file("source/.wh.gone", b""),
        file("source/.wh..wh.plnk", b""),
        hardlink("source/db/c", "source/db/b"),
    ]);
    let bytes = saved(&[low, high]);
    s.dvc_with(["import", "-", "-b", "all"], &bytes).ok();
    let list = s.dvc(["ls", "-r", "all"]).ok().out.replace('\n', " ");
    assert_eq!(
        list,
        "etc/ etc/passwd source/ source/db/ source/db/b source/db/c source/web/ source/web/y "
    );
    let run = s
        .dvc_with(
            ["import", "-", "-b", "example", "--strip", "source"],
            &bytes,
        )
        .ok();
    let told = run
        .out
        .lines()
        .find(|line| line.contains("skipped"))
        .unwrap();
    assert!(told.ends_with("outside of `source`"), "{told}");
    let json = s
        .dvc_with(
            [
                "--json", "import", "-", "-b", "as-json", "--strip", "source",
            ],
            &bytes,
        )
        .ok()
        .json();
    let left_out = json["left_out"].as_u64().unwrap();
    assert!(
        left_out > 0
            && told
                .trim_start()
                .starts_with(&format!("skipped {left_out} entr")),
        "{json} {told}"
    );
    assert!(
        json["members"].as_u64() > Some(0) && json.get("digest").is_some(),
        "{json}"
    );
    assert!(
        !s.dvc_with(["import", "-", "-b", "all-again"], &bytes)
            .ok()
            .out
            .contains("skipped")
    );
    assert_eq!(
        s.dvc(["ls", "-r", "example"]).ok().out.replace('\n', " "),
        "db/ db/b db/c web/ web/y "
    );
    s.dvc(["diff", "--exit-code", "all:source/web", "example:web"])
        .code(0);
    assert_eq!(s.dvc(["show", "example:db/c"]).ok().out, "2");
    s.dvc(["checkout", "example", "--into", "../out"]).ok();
    s.sh("test ../out/db/b -ef ../out/db/c").ok();
}

#[test]
fn whiteouts_above_the_selected_part_apply() {
    let s = fresh();
    let low = archive(&[
        dir("a"),
        dir("a/b"),
        file("a/b/x", b"1"),
        file("a/y", b"2"),
        file("z", b"3"),
    ]);
    let high = |member: Vec<u8>| saved(&[low.clone(), archive(&[member, file("new", b"")])]);
    for (n, member) in [
        file(".wh.a", b""),
        file("a/.wh.b", b""),
        file("a/.wh..wh..opq", b""),
        file(".wh..wh..opq", b""),
        file("a", b""),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = high(member);
        let branch = format!("b{n}");
        for how in [["--strip", "a/b"], ["--path", "a/b/x"], ["--path", "a/b"]] {
            s.dvc_with(
                ["import", "-", "-b", &branch].iter().copied().chain(how),
                &bytes,
            )
            .code(13);
        }
    }
    // A whiteout inside the selected part removes only the entry that it names.
    let bytes = high(file("a/.wh.y", b""));
    s.dvc_with(["import", "-", "-b", "beside", "--strip", "a"], &bytes)
        .ok();
    assert_eq!(s.dvc(["ls", "-r", "beside"]).ok().out, "b/\nb/x\n");
}

#[test]
fn an_old_data_image_has_its_data_as_an_archive() {
    let s = fresh();
    let mut gzip = dvc::codec::stream::Gzip::new(Vec::new());
    gzip.write_all(&archive(&[
        dir("source"),
        dir("source/var"),
        file("source/var/a", b"1"),
        file("source/b", b"2"),
    ]))
    .unwrap();
    let data = gzip.finish().unwrap();
    let alpine = archive(&[file("bin/sh", b"#!"), file("etc/passwd", b"root")]);
    let bytes = saved(&[alpine.clone(), archive(&[file("data.tar.gz", &data)])]);
    s.dvc_with(
        ["import", "-", "-b", "example", "--strip", "source"],
        &bytes,
    )
    .ok();
    assert_eq!(
        s.dvc(["ls", "-r", "example"]).ok().out.replace('\n', " "),
        "b var/ var/a "
    );
    let none = saved(std::slice::from_ref(&alpine));
    s.dvc_with(["import", "-", "-b", "none", "--strip", "source"], &none)
        .code(13);
    let two = saved(&[
        alpine,
        archive(&[file("data.tar.gz", &data), file("more.tgz", &data)]),
    ]);
    s.dvc_with(["import", "-", "-b", "two", "--strip", "source"], &two)
        .code(2)
        .complains("more.tgz");
}

#[test]
fn inconsistent_images_are_damaged() {
    let s = fresh();
    let layer = archive(&[file("source/a", &zoo::noise(1, 100_000))]);
    let whole = saved(std::slice::from_ref(&layer));
    s.dvc_with(["import", "-", "-b", "whole"], &whole).ok();
    let at = whole
        .windows(64)
        .position(|w| w == &layer[600..664])
        .unwrap();
    let mut flipped = whole.clone();
    flipped[at] ^= 1;
    s.dvc_with(["import", "-", "-b", "flipped"], &flipped)
        .code(5)
        .complains("sha256:");
    s.dvc_with(["import", "-", "-b", "cut"], &whole[..whole.len() / 2])
        .code(5);
    let missing = archive(&[file(
        "manifest.json",
        br#"[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]"#,
    )]);
    s.dvc_with(["import", "-", "-b", "missing"], &missing)
        .code(5)
        .complains("../../etc/passwd");
    let link = archive(&[
        symlink("config", "../../../etc/passwd"),
        file(
            "manifest.json",
            br#"[{"Config":"config","RepoTags":null,"Layers":[]}]"#,
        ),
    ]);
    s.dvc_with(["import", "-", "-b", "link", "--format", "oci"], &link)
        .code(5);
    s.dvc_with(
        ["import", "-", "-b", "none", "--format", "oci"],
        &archive(&[file("a", b"1")]),
    )
    .code(2)
    .complains("not an image");
    let two = archive(&[file(
        "manifest.json",
        br#"[{"Config":"a","RepoTags":["a:1"],"Layers":[]},{"Config":"b","RepoTags":["b:1"],"Layers":[]}]"#,
    )]);
    s.dvc_with(["import", "-", "-b", "two"], &two)
        .code(2)
        .complains("a:1, b:1");
    assert_eq!(
        s.dvc(["branch"])
            .ok()
            .out
            .lines()
            .filter(|l| !l.contains("whole") && !l.contains("main"))
            .count(),
        0
    );
}
