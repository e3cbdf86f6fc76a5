//! System limits are not reported as bugs: open files, disk space, read-only disks, and text that
//! is not UTF-8.

use std::fs;

use super::three;
use crate::support::needs::{need, run};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::small::Small;

#[track_caller]
fn assert_no_bug(run: &Run) {
    assert!(
        run.code != 70 && !run.err.contains("bug in dvc"),
        "{}: {}\n{}",
        run.line,
        run.code,
        run.err
    );
}

#[test]
fn too_few_open_files() {
    let s = three();
    s.write("new", "new");
    let mut told = false;
    for most in 4..28 {
        for args in [
            &["status"][..],
            &["log"],
            &["commit", "-m", "x", "-n"],
            &["fsck"],
            &["ls", "-r"],
            &["init", "other"],
        ] {
            let mut limited = s.other(need("prlimit"));
            limited
                .arg(format!("--nofile={most}"))
                .arg(env!("CARGO_BIN_EXE_dvc"))
                .args(args);
            let run = Run::of(&mut limited);
            // With a lower limit, the dynamic loader already fails.
            if run.code == 127 {
                continue;
            }
            assert_no_bug(&run);
            told |= run.code == 71 && run.err.contains("ulimit -n");
            let _ = fs::remove_dir_all(s.w("other"));
        }
    }
    assert!(told, "some run needs more files, and says so");
    s.dvc(["fsck", "--data"]).ok();
}

#[test]
fn a_disk_that_is_full_at_any_point() {
    let s = Sandbox::new();
    let place = s.at("small");
    let Some(small) = Small::mount(&place, "4m") else {
        return;
    };
    let repo = place.join("r");
    let repo = repo.to_str().unwrap();
    s.write(
        "data",
        (0..40_000u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect::<Vec<_>>(),
    );
    let mut full = 0;
    for kib in (24..700).step_by(28) {
        small.resize(&format!("{kib}k"));
        for args in [
            &["--repo", repo, "init"][..],
            &["--repo", repo, "commit", "-m", "x"],
            &["--repo", repo, "log"],
        ] {
            let run = s.dvc(args);
            assert_no_bug(&run);
            full += u32::from(run.code == 8);
            assert!(
                run.code != 5,
                "a full disk is no damage: {}: {}",
                run.line,
                run.err
            );
        }
        small.resize("4m");
        let _ = fs::remove_dir_all(repo);
    }
    assert!(full > 5, "{full}");
}

#[test]
fn a_read_only_disk() {
    let s = Sandbox::new();
    let place = s.at("small");
    let Some(small) = Small::mount(&place, "8m") else {
        return;
    };
    let (dir, new) = (place.join("w"), place.join("new"));
    let (dir, new) = (dir.to_str().unwrap(), new.to_str().unwrap());
    s.dvc(["init", dir]).ok();
    fs::write(place.join("w/a"), "a").unwrap();
    s.dvc(["-C", dir, "commit", "-m", "one"]).ok();
    fs::write(place.join("w/a"), "b").unwrap();
    run("mount", &["-o", "remount,ro", place.to_str().unwrap()]);
    for args in [
        &["log"][..],
        &["status"],
        &["ls"],
        &["show", "@:a"],
        &["diff"],
        &["fsck", "--data"],
    ] {
        assert_no_bug(&s.dvc([&["-C", dir], args].concat()));
    }
    for args in [
        &["commit", "-m", "x"][..],
        &["branch", "b"],
        &["tag", "t"],
        &["checkout", "-f"],
        &["init", new],
        &["fsck", "--rebuild"],
    ] {
        s.dvc([&["-C", dir], args].concat()).code(12);
    }
    drop(small);
}

#[test]
fn text_that_is_not_utf8() {
    let s = three();
    let config = s.w(".dvcs/config.toml");
    let before = fs::read(&config).ok();
    fs::write(&config, b"[ui]\ncolor = \"\xff\"\n").unwrap();
    for args in [
        &["log"][..],
        &["config", "set", "ui.color", "never"],
        &["remote", "add", "o", "../there", "--offline"],
    ] {
        s.dvc(args).code(2).complains("config.toml");
    }
    match before {
        Some(before) => fs::write(&config, before).unwrap(),
        None => fs::remove_file(&config).unwrap(),
    }
    s.write("message", b"\xff\xfe");
    s.dvc(["commit", "-F", "message"])
        .code(2)
        .complains("message")
        .complains("UTF-8");
    s.write(".dvcsignore", b"*.log\n\xff*\n");
    s.write("x.log", "x");
    s.dvc(["commit", "-m", "with an odd ignore file"]).ok();
    assert!(!s.dvc(["ls"]).ok().out.contains("x.log"));
}
