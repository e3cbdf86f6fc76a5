//! `make install` and `make uninstall`.

use super::{installed, make, project};
use crate::support::sandbox::{Run, Sandbox};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn everything_is_installed_and_nothing_remains() {
    let s = Sandbox::new();
    let root = s.at("root");
    for prefix in ["/usr", "/usr/local", "/opt/dvc"] {
        let variables = [("DESTDIR", root.as_path()), ("PREFIX", Path::new(prefix))];
        make(&s, "install", &variables).ok();
        let found = installed(&root);
        let below = |name: &str| found.contains(&Path::new(prefix).join(name));
        for name in [
            "bin/dvc",
            "bin/git-dvc",
            "share/bash-completion/completions/dvc",
            "share/zsh/site-functions/_dvc",
            "share/fish/vendor_completions.d/dvc.fish",
            "share/man/man1/dvc-commit.1",
            "share/man/man5/dvc-config.5",
            "share/man/man7/dvc-remotes.7",
            "share/man/man8/mount.dvc.8",
            "lib/systemd/system/dvc-plugin.service",
            "share/doc/dvc/remotes.md",
            "share/doc/dvc/LICENSE-MIT",
        ] {
            assert!(below(name), "{prefix} lacks {name}: {found:#?}");
        }
        let helper = if prefix == "/usr/local" {
            PathBuf::from("/sbin")
        } else {
            Path::new(prefix).join("sbin")
        };
        let helper = root.join(helper.join("mount.dvc").strip_prefix("/").unwrap());
        assert_eq!(
            fs::read_link(helper).unwrap(),
            Path::new(prefix).join("bin/dvc")
        );
        let unit = fs::read_to_string(
            root.join(&prefix[1..])
                .join("lib/systemd/system/dvc-plugin.service"),
        )
        .unwrap();
        assert!(
            unit.contains(&format!("ExecStart={prefix}/bin/dvc serve")),
            "{unit}"
        );
        let listed = s
            .other(project().join("packaging/install.sh"))
            .args(["list", "--prefix", prefix])
            .output()
            .unwrap();
        let mut listed: Vec<PathBuf> = String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .map(PathBuf::from)
            .collect();
        listed.sort();
        assert_eq!(found, listed);
        make(&s, "uninstall", &variables).ok();
        assert_eq!(installed(&root), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_installed_program_works() {
    let s = Sandbox::new();
    let prefix = s.at("prefix");
    make(&s, "install", &[("PREFIX", &prefix)]).ok();
    let mode = fs::metadata(prefix.join("bin/dvc"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
    let path = format!(
        "{}:{}",
        prefix.join("bin").display(),
        std::env::var("PATH").unwrap()
    );
    Run::of(s.other("git").env("PATH", path).args(["dvc", "--version"]))
        .ok()
        .says("dvc (data-volume control)");
    // Pass the arguments that mount(8) passes to its helper.
    let run = Run::of(s.other(prefix.join("sbin/mount.dvc")).args([
        "/none#main",
        "/none",
        "-o",
        "ro",
        "-f",
    ]));
    run.complains("/none");
}

#[test]
fn without_a_build_the_reason_is_named() {
    let s = Sandbox::new();
    let none = s.at("none");
    let run = Run::of(
        s.other("make")
            .current_dir(project())
            .args(["install", &format!("DVC={}", none.display())])
            .arg(format!("DESTDIR={}", s.at("d").display())),
    );
    run.code(2).complains("run `make` first");
    assert!(!s.at("d").exists());
}
