//! A remote whose versions contain repositories with hooks and settings, under every name that some
//! file system treats as `.dvcs`.

use std::path::{Path, PathBuf};

use dvc::format::marker::Marker;

use super::forge::{file, forge, program, symlink};
use crate::mount::harness::Volume;
use crate::support::sandbox::Sandbox;

/// Creates a remote whose second version has a repository in `sub/`. Returns the path of the file
/// that its hook would create.
fn hostile(s: &Sandbox, far: &Path) -> PathBuf {
    let owned = s.at("owned");
    let hook = format!("#!/bin/sh\ntouch {}\n", owned.display());
    let marker = Marker {
        kind: "dvc".into(),
        version: 1,
        id: "0a".repeat(16),
        features: vec![],
        default_branch: "main".into(),
        chunker: "auto".into(),
        cdc: [16384, 65536, 262_144],
        page: 65536,
    };
    let marker = String::from_utf8(marker.encode()).unwrap();
    forge(far, |pen| {
        let repository = |name: &str| {
            let hooks =
                ["failed-commit", "post-commit", "pre-commit"].map(|event| program(event, &hook));
            let hooks = pen.dir("hooks", hooks.to_vec());
            pen.dir(
                name,
                vec![
                    file("config.toml", "ui.color = 'always'\n"),
                    file("format", &marker),
                    hooks,
                ],
            )
        };
        let deep = pen.dir(
            "deep",
            vec![symlink(".dvcs", "../../bare"), file("kept", "2")],
        );
        let names = [".DVCS", ".dvcs", ".dvcs.", "DVCS~1"].map(repository);
        let sub = pen.dir(
            "sub",
            names.into_iter().chain([deep, file("kept", "1")]).collect(),
        );
        let second = pen.version_of(vec![repository("bare"), sub], 2, vec![pen.version(vec![])]);
        vec![("main", second)]
    });
    owned
}

/// Asserts that everything except the repository was restored.
#[track_caller]
fn is_harmless(top: &Path) {
    let mut names: Vec<String> = std::fs::read_dir(top.join("sub"))
        .unwrap()
        .map(|e| name_of(&e.unwrap()))
        .collect();
    names.sort();
    assert_eq!(names, ["deep", "kept"]);
    assert_eq!(std::fs::read_dir(top.join("sub/deep")).unwrap().count(), 1);
    assert_eq!(std::fs::read(top.join("sub/deep/kept")).unwrap(), b"2");
}

fn name_of(entry: &std::fs::DirEntry) -> String {
    entry.file_name().into_string().unwrap()
}

#[test]
fn no_checkout_restores_a_repository_of_a_version() {
    let s = Sandbox::new();
    let owned = hostile(&s, &s.at("far"));
    let far = s.at("far").display().to_string();
    // Restore the version into a new worktree.
    let run = s.dvc(["clone", &far, "../clone"]).code(5);
    for name in [".DVCS", ".dvcs", ".dvcs.", "DVCS~1", "deep/.dvcs"] {
        assert!(
            run.err.contains(&format!(
                "`sub/{name}`: not restored: no version may contain a repository"
            )),
            "{}",
            run.err
        );
    }
    is_harmless(&s.at("clone"));
    // Patch a worktree in which the user has a repository at that path.
    s.dvc(["clone", "--lazy", &far, "../patched"]).ok();
    s.dvc(["-C", "../patched", "checkout", "main~"]).ok();
    s.dvc(["-C", "../patched", "checkout", "main"])
        .code(5)
        .complains("no version may contain a repository");
    is_harmless(&s.at("patched"));
    s.dvc(["-C", "../patched", "checkout", "main", "--", "sub/.dvcs"])
        .code(5);
    is_harmless(&s.at("patched"));
    s.dvc(["-C", "../patched/sub", "init"]).ok();
    s.dvc([
        "-C",
        "../patched",
        "--repo",
        "../patched",
        "checkout",
        "-f",
        "main~",
    ])
    .ok();
    assert!(
        s.at("patched/sub/.dvcs/format").exists(),
        "a checkout removes no repository"
    );
    // Export the version.
    s.dvc(["--repo", &far, "export", "main", "-o", "../all.tar"])
        .code(5)
        .complains("the name is reserved for repositories");
    // Commit in the directory: a restored hook would run now.
    s.dvc(["-C", "../clone/sub", "commit", "-m", "x"]);
    assert!(!owned.exists(), "a program that came from a remote was run");
}

#[test]
fn a_repository_at_the_root_of_a_version_is_refused_before_anything_is_touched() {
    let s = Sandbox::new();
    for name in [".dvcs", ".Dvcs"] {
        let far = s.at(format!("far{name}"));
        forge(&far, |pen| {
            vec![(
                "main",
                pen.version(vec![pen.dir(name, vec![]), file("a", "1")]),
            )]
        });
        let to = format!("../clone{name}");
        s.dvc(["clone", far.to_str().unwrap(), &to])
            .code(5)
            .complains("the name is reserved for repositories");
        assert!(!s.w(&to).join("a").exists());
    }
}

#[test]
fn a_mount_shows_no_repository_of_a_version() {
    let Some(volume) = Volume::empty() else {
        return;
    };
    std::fs::remove_dir_all(volume.s.at("r")).unwrap();
    let owned = hostile(&volume.s, &volume.s.at("r"));
    let m = volume.mount(&[]);
    is_harmless(m.root());
    for name in [
        "sub/.dvcs",
        "sub/.dvcs/hooks/post-commit",
        "sub/DVCS~1",
        "sub/deep/.dvcs",
    ] {
        assert!(m.at(name).symlink_metadata().is_err(), "{name}");
    }
    std::fs::write(m.at("sub/new"), "1").unwrap();
    m.dvc(&["-C", "sub", "commit", "-m", "x"]);
    m.dvc(&["commit", "-m", "x"]);
    assert!(!owned.exists(), "a program that came from a remote was run");
    // `--repo` can name a bare repository in the version, but its hooks are not run.
    m.dvc(&["--repo", "bare", "commit", "--stdin", "f", "-m", "x"]);
    assert!(!owned.exists(), "a program that came from a remote was run");
}

#[test]
fn a_commit_leaves_repositories_out_at_every_depth() {
    let s = Sandbox::with_repo();
    s.write("sub/a", "1");
    s.write("sub/deep/b", "2");
    s.dvc(["-C", "sub", "init"]).ok();
    s.write("sub/deep/.DVCS", "a file");
    let run = s.dvc(["commit", "-m", "one"]).ok();
    let run = run
        .complains("`sub/.dvcs`: no version may contain a repository")
        .complains("`sub/deep/.DVCS`: no version may contain");
    assert_eq!(run.err.matches("skipped: ").count(), 2, "{}", run.err);
    let listed = s.dvc(["ls", "-r", "main"]).ok();
    assert!(
        listed.out.contains("sub/deep/b") && !listed.out.to_lowercase().contains(".dvcs"),
        "{}",
        listed.out
    );
    s.dvc(["status", "--exit-code"]).ok();
    s.dvc(["-C", "sub", "commit", "-m", "own"]).ok();
    for args in [
        &["commit", "-m", "x", "sub/.dvcs/config.toml"][..],
        &[
            "commit",
            "-m",
            "x",
            "--stdin",
            "sub/.dvcs/hooks/post-commit",
        ],
        &["commit", "-m", "x", "--stdin", ".DVCS/x"],
    ] {
        s.dvc_with(args, b"x")
            .code(2)
            .complains("no version may contain a repository");
    }
    s.sh("tar -cf ../sub.tar sub && dvc import ../sub.tar -b tar -m x")
        .ok()
        .complains("`sub/.dvcs`: no version may contain a repository");
    assert_eq!(
        s.dvc(["ls", "-r", "tar"])
            .ok()
            .out
            .replace("sub", "")
            .lines()
            .count(),
        4
    );
}
