//! `dvc init` and `dvc commit`.

use super::{fresh, masked, three};
use crate::support::known::files_of;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::spawned::Spawned;
use crate::support::zoo::noise;
use insta::assert_snapshot;
use std::fs;

#[test]
fn init_inside_and_outside_of_the_worktree() {
    let s = Sandbox::new();
    s.dvc(["init", "-n"]).ok().says("would create");
    assert!(!s.w(".dvcs").exists());
    s.dvc(["init", "-b", "AMCC"]).ok();
    assert_eq!(s.dvc(["branch", "--show-current"]).ok().out, "AMCC\n");
    s.dvc(["init"]).code(2).complains("already");
    s.dvc(["init", "deeper/dir"]).ok();
    assert!(s.w("deeper/dir/.dvcs/format").exists());
    let bare = s.at("bare");
    let json = Run::of(s.command(["init", "--json", "--repo"]).arg(&bare))
        .ok()
        .json();
    assert_eq!(
        (&json["branch"], json["id"].as_str().unwrap().len()),
        (&"main".into(), 32)
    );
    s.dvc(["init", "-b", "bad name", "x"]).code(2);
}

#[test]
fn what_is_said() {
    let s = fresh();
    s.write("a", "x");
    let out = s.dvc(["commit", "-m", "nightly\n\nbody"]).ok().out;
    assert_snapshot!(masked(out.trim_end().rsplit_once(',').unwrap().0), @"
    [main v1 <id>] nightly
     1 file changed, 0 B new (<n> stored)
    ");
    s.dvc(["commit", "-m", "again"])
        .ok()
        .says("nothing to commit");
    let json = s.dvc(["commit", "-m", "again", "--json"]).ok().json();
    for (key, len) in [("id", 64), ("tree", 64)] {
        assert_eq!(json[key].as_str().unwrap().len(), len);
    }
    assert_eq!(
        (&json["branch"], &json["ordinal"], &json["schema"]),
        (&"main".into(), &1.into(), &1.into())
    );
    assert_eq!(
        s.dvc(["commit", "-q", "-m", "x", "--allow-empty"]).ok().out,
        ""
    );
}

#[test]
fn messages_trailers_tags_and_times() {
    let s = three();
    s.write("a.txt", "four\n");
    fs::write(s.at("message"), "from a file\n\nbody\n").unwrap();
    let message = s.at("message");
    let args = [
        "commit",
        "--trailer",
        "Ticket=42",
        "--trailer",
        "By: cron",
        "--tag",
        "@nightly",
        "--tag",
        "golden",
    ];
    Run::of(
        s.command(args)
            .args(["--author", "Bob <b@x>", "--time", "2026-11-04 05:06", "-F"])
            .arg(message),
    )
    .ok();
    let format = "%s|%b|%an|%aI|%D|%(trailer:ticket)|%(trailer:by)";
    assert_snapshot!(s.dvc(["log", "-n1", "--format", format]).ok().out, @"from a file|body|Bob|2026-11-04T05:06:00+00:00|HEAD, main, tag: golden, tag: main@nightly|42|cron");
    s.write("a.txt", "five\n");
    s.dvc(["commit", "-m", "one", "-m", "two", "-b", "other"])
        .ok();
    assert_eq!(
        s.dvc(["log", "-n1", "--format=%B", "other"]).ok().out,
        "one\n\ntwo\n"
    );
    s.dvc(["commit", "-m", "x", "--author", "Bob"]).code(2);
    s.dvc(["commit", "-m", "x", "--tag", "golden"]).code(4);
    s.dvc(["commit", "-m", "x", "--time", "soon"]).code(2);
    s.dvc(["commit", "-m", "x", "--trailer", "none"]).code(2);
}

#[test]
fn streams_and_commands() {
    let s = fresh();
    s.dvc_with(
        [
            "commit",
            "-b",
            "dump",
            "--stdin",
            "db/dump.sql",
            "-m",
            "one",
        ],
        b"select 1",
    )
    .ok();
    assert_eq!(s.dvc(["show", "dump:db/dump.sql"]).ok().out, "select 1");
    s.dvc([
        "commit",
        "-b",
        "dump",
        "--exec",
        "other.txt",
        "--add",
        "--",
        "echo",
        "-n",
        "hello",
    ])
    .ok();
    assert_eq!(
        s.dvc(["ls", "-r", "dump"]).ok().out,
        "db/\ndb/dump.sql\nother.txt\n"
    );
    s.dvc([
        "commit",
        "-b",
        "dump",
        "--exec",
        "other.txt",
        "--",
        "sh",
        "-c",
        "echo half; exit 3",
    ])
    .code(7);
    assert_eq!(s.dvc(["log", "dump", "--format=%O"]).ok().out, "2\n1\n");
    s.dvc(["commit", "--exec", "x"]).code(2);
}

#[test]
fn some_paths_only() {
    let s = three();
    s.write("a.txt", "new a\n");
    s.write("d/more", "new more\n");
    s.dvc(["commit", "-m", "only a", "a.txt"]).ok();
    assert_eq!(s.dvc(["show", "@:a.txt"]).ok().out, "new a\n");
    assert_eq!(s.dvc(["show", "@:d/more"]).ok().out, "more\n");
    assert_eq!(s.dvc(["diff", "--name-only"]).ok().out, "d/more\n");
    s.dvc(["commit", "-m", "x", "none"]).code(13);
    s.dvc(["commit", "-m", "x", "../outside"]).code(2);
}

#[test]
fn an_unmounted_volume_is_not_committed() {
    let s = three();
    fs::remove_file(s.w("a.txt")).unwrap();
    fs::remove_dir_all(s.w("d")).unwrap();
    s.dvc(["commit", "-m", "x"])
        .code(4)
        .complains("check that the volume is mounted");
    s.dvc(["commit", "-m", "x", "--allow-empty"]).ok();
}

#[test]
fn a_dry_run_stores_nothing() {
    let s = three();
    s.write("a.txt", "changed\n");
    let before = s.dvc(["du", "--json"]).ok().json()["repository"]["pack_bytes"].clone();
    s.dvc(["commit", "-n", "-m", "x"]).ok().says("dry run");
    assert_eq!(
        s.dvc(["du", "--json"]).ok().json()["repository"]["pack_bytes"],
        before
    );
    assert_eq!(s.dvc(["log", "--format=%s"]).ok().lines().len(), 3);
}

#[test]
fn excluded_files() {
    let s = fresh();
    s.write("keep", "");
    s.write("x.tmp", "");
    s.write(
        "cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n",
    );
    s.write("cache/data", "");
    s.write(".gitignore", "keep\n");
    s.write(".dvcsignore", "ignored\n");
    s.write("ignored", "");
    s.dvc(["config", "commit.exclude", "*.log"]).ok();
    s.write("y.log", "");
    s.dvc([
        "commit",
        "-m",
        "x",
        "--exclude",
        "*.tmp",
        "--exclude-caches",
    ])
    .ok();
    let names = s.dvc(["ls", "-r"]).ok().out;
    assert!(
        names.contains("keep\n") && names.contains(".gitignore\n"),
        "{names}"
    );
    assert!(
        !names.contains("x.tmp") && !names.contains("y.log") && !names.contains("ignored\n"),
        "{names}"
    );
    assert!(!names.contains("cache/data"), "{names}");
}

/// A commit of single paths splits hard links between named and unnamed paths: the unnamed ones
/// keep the old content.
#[test]
fn hard_links_across_the_boundary_of_named_paths() {
    use std::os::unix::fs::MetadataExt;
    let s = fresh();
    let link = |from: &str, to: &str| fs::hard_link(s.w(from), s.w(to)).unwrap();
    s.write("x/1", "old");
    s.write("a", "many");
    fs::create_dir_all(s.w("y/deep")).unwrap();
    link("x/1", "y/1");
    for to in ["y/b", "y/deep/c", "z"] {
        link("a", to);
    }
    s.dvc(["commit", "-m", "whole"]).ok();
    fs::remove_file(s.w("x/1")).unwrap();
    s.write("x/1", "new");
    link("x/1", "x/2");
    fs::remove_file(s.w("a")).unwrap();
    s.dvc(["commit", "-m", "some", "x", "a", "x/2"]).ok();
    s.dvc(["checkout", "main", "--into", "../copy"]).ok();
    let stat = |name: &str| {
        let path = s.at("copy").join(name);
        let stat = fs::metadata(&path).unwrap();
        (fs::read_to_string(path).unwrap(), stat.nlink(), stat.ino())
    };
    assert_eq!(
        (stat("x/1").0, stat("x/1").1, stat("x/2").2),
        ("new".into(), 2, stat("x/1").2)
    );
    assert_eq!((stat("y/1").0, stat("y/1").1), ("old".into(), 1));
    assert_eq!(
        (stat("z").0, stat("z").1, stat("y/b").2),
        ("many".into(), 3, stat("y/deep/c").2)
    );
    assert!(!s.at("copy/a").exists());
    s.dvc(["fsck", "--data"]).ok();
}

#[test]
fn standard_input_is_read_once() {
    let s = fresh();
    let run = s.dvc_with(["commit", "--stdin", "dump", "-F", "-"], b"data");
    run.code(2)
        .complains("--file: `-` is standard input, which `--stdin` commits");
    s.dvc(["log"]).code(13);
    s.dvc_with(
        ["commit", "--exec", "x", "-F", "-", "--", "echo", "data"],
        b"message",
    )
    .ok();
    assert_eq!(
        (
            s.dvc(["show", "@:x"]).ok().out,
            s.dvc(["log", "--format=%s"]).ok().out
        ),
        ("data\n".into(), "message\n".into())
    );
}

#[test]
fn a_command_that_cannot_be_started_has_failed() {
    let s = fresh();
    fs::create_dir(s.w("dir")).unwrap();
    s.dvc(["commit", "--exec", "x", "--", "no-such-command"])
        .code(7)
        .complains("cannot run `no-such-command`");
    s.dvc(["commit", "--exec", "x", "--", "./dir"]).code(7);
    s.dvc(["log"]).code(13);
}

#[test]
fn invalid_arguments_are_refused() {
    let s = three();
    s.dvc(["commit", "-m", "x", "--add"]).code(2);
    s.dvc([
        "commit", "-m", "x", "--stdin", "a", "--exec", "b", "--", "true",
    ])
    .code(2);
    for trailer in ["=v", ": v", "two words=v", "key=two\nlines", "key", ""] {
        s.dvc(["commit", "--allow-empty", "-m", "x", "--trailer", trailer])
            .code(2)
            .complains("expected KEY=VALUE");
    }
    s.dvc([
        "commit",
        "--allow-empty",
        "-m",
        "x",
        "--trailer",
        "Url=a=b:c d",
    ])
    .ok();
    assert_eq!(
        s.dvc(["log", "-n1", "--format=%(trailer:url)"]).ok().out,
        "a=b:c d\n"
    );
}

/// Times are shown in the time zone of `TZ`, if the machine has its data.
#[test]
fn times_are_of_the_users_zone() {
    let mut s = fresh();
    s.write("a", "");
    for (zone, expected) in [
        ("Europe/Berlin", "2026-11-04T05:06:00+01:00"),
        ("CET-1", "2026-11-04T05:06:00+01:00"),
    ] {
        if zone.contains('/')
            && !std::path::Path::new("/usr/share/zoneinfo")
                .join(zone)
                .exists()
        {
            continue;
        }
        s.set("TZ", zone);
        s.dvc([
            "commit",
            "--allow-empty",
            "-m",
            zone,
            "--time",
            "2026-11-04 05:06",
        ])
        .ok();
        assert_eq!(
            s.dvc(["log", "-n1", "--format=%aI"]).ok().out.trim_end(),
            expected,
            "{zone}"
        );
    }
}

#[test]
fn unreadable_names_are_reported_as_bytes() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    let s = fresh();
    let name = s.w(std::ffi::OsStr::from_bytes(b"n\xff"));
    fs::write(&name, "x").unwrap();
    fs::set_permissions(&name, fs::Permissions::from_mode(0o000)).unwrap();
    let run = s.kept_out(["commit", "-m", "x", "--json"]).code(3);
    let named = serde_json::json!({ "path": "n\\xff", "path_hex": "6eff" });
    assert_eq!(run.json()["unstable"][0], named);
    assert_eq!(s.dvc(["log", "--json"]).ok().json()["unstable"][0], named);
    assert!(
        run.err.starts_with(
            "{\"schema\":1,\"notice\":\"warning\",\"path\":\"n\\\\xff\",\"path_hex\":\"6eff\","
        ),
        "{}",
        run.err
    );
}

/// A file that is unchanged according to the catalogue may still have lost its objects.
#[test]
fn files_whose_objects_are_gone_are_read_again() {
    for with_index in [true, false] {
        let s = fresh();
        for (n, name) in (0..).zip(["a", "dir/b", "dir/c"]) {
            s.write(name, noise(n, 50_000));
        }
        // Files that have just changed are read again in any case, so wait first.
        std::thread::sleep(std::time::Duration::from_millis(120));
        s.dvc(["commit", "-m", "one"]).ok();
        let lost = |below: &str, at: usize| {
            let all = files_of(&s.w(".dvcs").join(below))
                .into_iter()
                .filter(|(_, bytes)| bytes[at] == 0);
            all.for_each(|(name, _)| {
                fs::remove_file(
                    s.w(".dvcs")
                        .join(below)
                        .join(std::str::from_utf8(&name).unwrap()),
                )
                .unwrap();
            });
        };
        lost("packs", 8);
        if with_index {
            lost("index", 10);
        }
        s.write("a", noise(9, 50_000));
        s.dvc(["commit", "-m", "two"]).ok();
        s.dvc(["checkout", "main", "--into", "../out"]).ok();
        for name in ["a", "dir/b", "dir/c"] {
            assert!(
                fs::read(s.at("out").join(name)).unwrap() == s.read(name),
                "{name}, index gone: {with_index}"
            );
        }
        // The lost content has been stored again, so the files count as unchanged now.
        s.dvc(["commit", "-m", "three"])
            .ok()
            .says("nothing to commit");
    }
}

/// A process that locks a database file takes the role of the database engine.
#[test]
fn a_commit_beside_a_running_database_warns() {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    use std::process::Stdio;
    let s = fresh();
    for name in ["data/ibdata1", "data/t.ibd", "other/f"] {
        s.write(name, "1");
    }
    let next = |n: &str| s.write("data/t.ibd", n);
    s.dvc(["commit", "-m", "stopped"])
        .ok()
        .err
        .is_empty()
        .then_some(())
        .unwrap();
    let script = "use Fcntl; open F, '+<', 'data/ibdata1'; \
                  my $lock = pack('s x32', F_WRLCK); fcntl(F, F_SETLK, $lock) or die; sleep 600";
    let mut engine = Spawned::start(s.other("perl").args(["-e", script]).stdout(Stdio::null()));
    let file = fs::File::options()
        .write(true)
        .open(s.w("data/ibdata1"))
        .unwrap();
    while fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))
        .unwrap()
        .is_none()
    {
        assert!(engine.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let pid = engine.id();
    // A commit without changes creates no version and therefore does not warn.
    assert_eq!(s.dvc(["commit", "-m", "x"]).ok().err, "");
    next("2");
    let run = s.dvc(["commit", "-q", "-m", "warned"]).ok();
    let words = format!(
        "warning: the version may be inconsistent, because a database was running: `perl` (process {pid}) has locked `data/ibdata1`; "
    );
    run.complains(&words)
        .complains("`--quiesce`")
        .complains("dvc-quiesce(7)")
        .complains("`dvc mount --live`");
    next("3");
    s.dvc(["commit", "-m", "x", "data/t.ibd"])
        .ok()
        .complains(&words);
    s.write("other/f", "2");
    assert_eq!(s.dvc(["commit", "-m", "x", "other"]).ok().err, "");
    next("4");
    s.dvc(["-c", "commit.running-database=refuse", "commit", "-m", "x"])
        .code(11)
        .complains("while a database runs in it: ");
    assert_eq!(
        s.dvc([
            "-c",
            "commit.running-database=ignore",
            "commit",
            "-m",
            "ignored"
        ])
        .ok()
        .err,
        ""
    );
    next("5");
    assert_eq!(
        s.dvc(["commit", "-m", "held", "--quiesce", "none"])
            .ok()
            .err,
        ""
    );
    assert_eq!(s.dvc(["commit", "-n", "-m", "x"]).ok().err, "");
    engine.kill().unwrap();
    engine.wait().unwrap();
    next("6");
    assert_eq!(
        s.dvc(["-c", "commit.running-database=refuse", "commit", "-m", "x"])
            .ok()
            .err,
        ""
    );
}
