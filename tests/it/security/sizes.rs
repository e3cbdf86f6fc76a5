//! Small repositories that claim to be large: deep nesting, one directory that occurs many times,
//! and tables that decompress to huge sizes. Commands must either end within their memory limit or
//! report the problem.

use std::path::Path;
use std::process::Stdio;

use dvc::codec::compress::{CompressionProfile, Compressor};
use dvc::codec::hash::{NameHasher, checksum};
use dvc::format::pack::{PackFooter, PackHeader, PackKind, TableFrame, put_table_frame};
use dvc::model::entry::{Entry, Node, Totals};
use dvc::model::id::{Id, ObjectKind, to_hex};
use dvc::model::tree::TreeBody;

use super::forge::{Pen, file, forge};
use crate::support::sandbox::{Run, Sandbox};

/// The default of `--memory`, in bytes.
const MEMORY: u64 = 192 << 20;

/// Runs `dvc`. Returns the run and its peak memory in bytes.
fn peak<const N: usize>(s: &Sandbox, args: [&str; N]) -> (Run, u64) {
    let mut c = s.command(args);
    let child = c
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = Path::new("/proc")
        .join(child.id().to_string())
        .join("status");
    let reader = std::thread::spawn(move || {
        let mut peak = 0;
        // The file disappears with the process, and that of a zombie has no such line.
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find_map(|l| l.strip_prefix("VmHWM:")) else {
                break;
            };
            peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        peak
    });
    let run = Run::wait(args.join(" "), child);
    (run, reader.join().unwrap())
}

/// Returns `depth` nested directories with a file in the innermost one.
fn nested(pen: &Pen<'_>, depth: usize) -> Entry {
    (1..depth).fold(pen.dir("d", vec![file("f", "1")]), |below, _| {
        pen.dir("d", vec![below])
    })
}

#[test]
fn tens_of_thousands_of_nested_directories() {
    let s = Sandbox::new();
    forge(&s.at("far"), |pen| {
        let first = pen.version(vec![]);
        vec![(
            "main",
            pen.version_of(vec![nested(pen, 20_000)], 2, vec![first]),
        )]
    });
    let far = s.at("far").display().to_string();
    for args in [
        ["--repo", &far, "log", "--stat", "--color=never"],
        ["--repo", &far, "show", "--stat", "main"],
        ["--repo", &far, "diff", "--stat", "main~..main"],
    ] {
        let (run, peak) = peak(&s, args);
        let run = run.ok();
        assert!(run.out.contains("1 file changed"), "{args:?}");
        assert!(peak < MEMORY, "{args:?}: {peak}");
    }
    // A restore stops where paths become too long, and reports that.
    let (run, peak) = peak(&s, ["clone", &far, "../clone"]);
    run.code(3).complains("longer than 8 KiB");
    assert!(peak < MEMORY, "{peak}");
    let (run, peak) = self::peak(&s, ["-C", "../clone", "commit", "-m", "as it is"]);
    run.ok();
    assert!(peak < MEMORY, "{peak}");
}

#[test]
fn a_directory_that_is_too_deep_for_a_commit_is_left_out() {
    let s = Sandbox::with_repo();
    s.write("a", "1");
    // Long names reach the length limit with fewer directories.
    let name = "n".repeat(200);
    let mut dir = std::fs::File::open(s.w("")).unwrap();
    for _ in 0..60 {
        rustix::fs::mkdirat(&dir, &name, 0o755.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        dir = rustix::fs::openat(&dir, &name, flags, 0o755.into())
            .unwrap()
            .into();
    }
    s.dvc(["commit", "-m", "one"])
        .code(3)
        .complains("longer than 8 KiB");
    let listed = s.dvc(["ls", "-r", "main"]).ok();
    assert_eq!(
        listed
            .lines()
            .iter()
            .map(|l| l.matches('n').count() / 200)
            .max(),
        Some(40)
    );
    s.dvc(["commit", "-m", "again"]).code(3);
    assert_eq!(s.dvc(["log", "--oneline"]).ok().lines().len(), 1);
}

#[test]
fn the_same_directory_sixteen_times_ten_deep() {
    let s = Sandbox::new();
    let names = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p",
    ];
    forge(&s.at("far"), |pen| {
        let wide = |below: &Entry| {
            names
                .map(|name| Entry {
                    name: name.into(),
                    ..below.clone()
                })
                .to_vec()
        };
        let empty = (0..10).fold(pen.dir("x", vec![]), |below, _| pen.dir("x", wide(&below)));
        let files = (0..10).fold(pen.dir("x", vec![file("f", "1")]), |below, _| {
            pen.dir("x", wide(&below))
        });
        let first = pen.version(vec![]);
        let main = pen.version_of(vec![empty], 2, vec![first]);
        vec![
            ("main", main),
            ("files", pen.version_of(vec![files], 2, vec![first])),
        ]
    });
    let far = s.at("far").display().to_string();
    // No file differs. The command must find that out without visiting 16^10 directories.
    let (run, held) = peak(&s, ["--repo", &far, "log", "--stat", "main"]);
    run.ok().says("0 files changed");
    assert!(held < MEMORY, "{held}");
    for args in [
        ["fsck", "--repo", &far, "-v"],
        ["clone", &far, "../clone", "--no-checkout"],
    ] {
        let (run, held) = peak(&s, args);
        run.ok();
        assert!(held < MEMORY, "{args:?}: {held}");
    }
    // Read only a part of the output; the length of the output must not affect the memory.
    for verb in [
        "log --stat",
        "log --name-status",
        "show",
        "show --json",
        "ls -r",
        "log --json --stat",
    ] {
        let line = format!(
            "dvc --repo {far} {verb} files | head -c 2000000 | wc -c; echo ${{PIPESTATUS[0]}}"
        );
        let (run, held) = peak_of_script(&s, &line);
        run.says("2000000\n141");
        assert!(held < MEMORY, "{verb}: {held}");
    }
}

/// Like [`peak`], for the first `dvc` in a shell command line.
fn peak_of_script(s: &Sandbox, line: &str) -> (Run, u64) {
    let script = line.replacen(
        "dvc",
        "python3 -c '\
        import resource, subprocess, sys\n\
        code = subprocess.call([\"dvc\"] + sys.argv[1:])\n\
        open(\"../peak\", \"w\").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n\
        sys.exit(code if code >= 0 else 128 - code)'",
        1,
    );
    let run = s.sh(&format!("set +eo pipefail\n{script}"));
    let peak = std::fs::read_to_string(s.at("peak"))
        .unwrap()
        .parse::<u64>()
        .unwrap();
    (run, peak << 10)
}

#[test]
fn pieces_of_a_large_directory_that_add_nothing() {
    let s = Sandbox::new();
    let twice = |id: Id| vec![("a".to_owned(), id), ("b".to_owned(), id)];
    forge(&s.at("far"), |pen| {
        // 2^60 references to an empty node, and 2^60 to a node with the same file.
        let inner = |pieces: Vec<(String, Id)>| {
            let children = pieces
                .into_iter()
                .map(|(first, id)| dvc::model::tree::TreeChild {
                    first: first.into(),
                    id,
                });
            pen.piece(TreeBody::Inner(children.collect()))
        };
        let empty = (0..60).fold(pen.piece(TreeBody::Leaf(vec![])), |id, _| inner(twice(id)));
        let same = (0..60).fold(pen.piece(TreeBody::Leaf(vec![file("a", "1")])), |id, _| {
            inner(twice(id))
        });
        let dirs = [("d", empty), ("e", same)]
            .map(|(name, id)| pen.split_dir(name, &twice(id), Totals::default()));
        vec![("main", pen.version(dirs.to_vec()))]
    });
    let far = s.at("far").display().to_string();
    s.dvc(["--repo", &far, "ls", "-r", "main"]).code(5);
    s.dvc(["--repo", &far, "log", "--stat"]).code(5);
    s.dvc(["clone", &far, "../clone"]).code(5);
    s.dvc(["fsck", "--repo", &far]).code(5);
}

#[test]
fn a_table_of_contents_that_unpacks_to_anything() {
    let s = Sandbox::with_repo();
    s.write("a", "1");
    s.dvc(["commit", "-m", "one"]).ok();
    // A table with six million objects in frames of zero bytes.
    let mut plain = Vec::new();
    let frame = |n: u32| TableFrame {
        kind: ObjectKind::Tree,
        codec: 1,
        offset: 16,
        stored: 0,
        objects: vec![(Id([7; 32]), n % 2 + 1)],
        base: None,
    };
    (0..6_000_000).for_each(|n| put_table_frame(&mut plain, &frame(n)));
    let mut packed = Vec::new();
    assert!(Compressor::default().compress(CompressionProfile::Normal, &plain, &mut packed));
    let header = PackHeader::unsalted(PackKind::Tree).encode();
    let mut footer = PackFooter {
        table_offset: header.len() as u64,
        table_stored: u32::try_from(packed.len()).unwrap(),
        table_plain: u32::try_from(plain.len()).unwrap(),
        frames: 6_000_000,
        checksum: [0; 16],
    };
    footer.checksum = checksum(&[&header, &packed, &footer.fields()]);
    let bytes = [&header[..], &packed, &footer.encode()].concat();
    assert!(bytes.len() < 64 << 10, "{}", bytes.len());
    let mut hasher = NameHasher::default();
    hasher.update(&bytes);
    let name = to_hex(&hasher.finish());
    let pack = s.w(".dvcs/packs").join(&name[..2]).join(&name);
    std::fs::create_dir_all(pack.parent().unwrap()).unwrap();
    std::fs::write(&pack, &bytes).unwrap();
    for args in [["fsck", "--rebuild"], ["fsck", "--data"], ["commit", "-mx"]] {
        let (run, held) = peak(&s, args);
        assert!(
            [0, 3, 5].contains(&run.code),
            "{args:?} {} {}",
            run.code,
            run.err
        );
        assert!(held < MEMORY, "{args:?}: {held}");
    }
    s.dvc(["log", "--oneline"]).ok().says("one");
}

#[test]
fn a_file_that_is_longer_than_its_pieces() {
    let s = Sandbox::new();
    forge(&s.at("far"), |pen| {
        let mut long = file("a", "1");
        if let Node::File { size, .. } = &mut long.node {
            *size = u64::MAX;
        }
        let hole = dvc::model::entry::Extent {
            len: u64::MAX / 2,
            chunk: None,
        };
        let mut holes = file("b", "");
        if let Node::File { size, content, .. } = &mut holes.node {
            (*size, *content) = (
                u64::MAX - 1,
                dvc::model::entry::Content::Direct(vec![hole, hole]),
            );
        }
        vec![("main", pen.version(vec![holes]))]
    });
    let far = s.at("far").display().to_string();
    let (run, held) = peak(&s, ["clone", &far, "../clone"]);
    assert!([3, 5, 8].contains(&run.code), "{} {}", run.code, run.err);
    assert!(held < MEMORY, "{held}");
    let (run, held) = peak(&s, ["--repo", &far, "log", "--stat"]);
    run.ok();
    assert!(held < MEMORY, "{held}");
}
