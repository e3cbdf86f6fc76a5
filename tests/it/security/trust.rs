//! A repository of another user, whose hooks and remote would run programs as the user who works in
//! it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use crate::support::needs::is_root;
use crate::support::sandbox::Sandbox;

/// A user id that no other test uses.
const MALLORY: u32 = 65533;

/// Creates a repository in `w/` whose hooks and remote would create the file `owned`. Returns the
/// path of `owned`.
fn hostile(s: &Sandbox) -> PathBuf {
    let owned = s.at("owned");
    s.dvc(["init"]).ok();
    s.write("a", "1");
    let touch = format!("touch {}", owned.display());
    for event in [
        "pre-commit",
        "post-commit",
        "failed-commit",
        "pre-push",
        "failed-push",
    ] {
        let hook = s.w(".dvcs/hooks").join(event);
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        fs::write(&hook, format!("#!/bin/sh\n{touch}\n")).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ssh = s.at("ssh_config");
    fs::write(
        &ssh,
        format!("Host *\n  ProxyCommand sh -c '{touch}; exit 1'\n"),
    )
    .unwrap();
    let url = format!("sftp://h/x?config={}", ssh.display());
    fs::write(
        s.w(".dvcs/config.toml"),
        format!("[remote.origin]\nurl = \"{url}\"\n"),
    )
    .unwrap();
    owned
}

/// Gives the repository to another user.
fn give_away(s: &Sandbox) {
    for path in crate::support::sandbox::all_below(&s.w(".dvcs")) {
        std::os::unix::fs::lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    }
}

#[test]
fn nothing_of_another_users_repository_is_run() {
    if !is_root() {
        return;
    }
    let s = Sandbox::new();
    let owned = hostile(&s);
    give_away(&s);
    let hint = format!(
        "dvc config set --system safe.directory {}",
        s.w(".dvcs").display()
    );
    for args in [
        &["fetch"][..],
        &["push"],
        &["pull"],
        &["remote", "check"],
        &["push", "origin"],
        &["fetch", "origin"],
    ] {
        let run = s
            .dvc(args)
            .code(12)
            .complains("the repository that configures this remote is not trusted")
            .complains(&hint);
        assert!(
            run.err.contains("belongs to another user (65533)"),
            "{}",
            run.err
        );
    }
    // The data of the repository can still be used.
    s.dvc(["commit", "-m", "one"])
        .ok()
        .complains("not running the hooks of the repository")
        .complains(&hint);
    assert_eq!(s.dvc(["log", "--oneline"]).ok().lines().len(), 1);
    assert!(s.dvc(["status"]).ok().err.is_empty());
    s.dvc(["remote", "list"]).ok().says("sftp://h/x");
    assert!(!owned.exists(), "a program of another user was run");
    // The caller names the remote, so it is used.
    let mut named = Sandbox::new();
    hostile(&named);
    give_away(&named);
    let far = named.at("far").display().to_string();
    named.dvc(["commit", "-m", "one"]).ok();
    named.set("DVC_REMOTE_ORIGIN_URL", &far);
    named.dvc(["push"]).ok();
    assert!(!named.at("owned").exists());
}

#[test]
fn the_caller_may_trust_another_users_repository() {
    if !is_root() {
        return;
    }
    let s = Sandbox::new();
    let owned = hostile(&s);
    give_away(&s);
    let was_run = || fs::remove_file(&owned).is_ok();
    for safe in [
        s.w(""),
        s.w(".dvcs"),
        s.root().join("*"),
        PathBuf::from("*"),
    ] {
        let safe = format!("safe.directory={}", safe.display());
        s.dvc(["-c", &safe, "commit", "--allow-empty", "-m", "x"])
            .ok();
        assert!(was_run(), "{safe}");
        s.dvc(["-c", &safe, "remote", "check"]).code(6);
        assert!(was_run(), "{safe}");
    }
    s.dvc(["-c", "safe.directory=/elsewhere", "remote", "check"])
        .code(12);
    // Even with this setting, a hook that belongs to a third user is not run.
    chown(s.w(".dvcs/hooks/pre-commit"), Some(MALLORY - 1), None).unwrap();
    s.dvc(["-c", "safe.directory=*", "commit", "-m", "x"])
        .code(7)
        .complains("belongs to another user");
    // A repository cannot declare itself trusted.
    fs::write(s.w(".dvcs/config.toml"), "safe.directory = ['*']\n").unwrap();
    s.dvc(["status"])
        .code(2)
        .complains("`safe.directory` cannot be set by a repository");
}

#[test]
fn trust_depends_on_the_owner_of_the_settings() {
    if !is_root() {
        return;
    }
    let s = Sandbox::new();
    let owned = hostile(&s);
    let config = s.w(".dvcs/config.toml");
    // The repository belongs to the caller, but its settings belong to another user.
    chown(&config, Some(MALLORY), None).unwrap();
    s.dvc(["fetch"])
        .code(12)
        .complains("config.toml` belongs to another user");
    chown(&config, Some(0), None).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    s.dvc(["fetch"])
        .code(12)
        .complains("every user can write to");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    // Another user owns the symlink and could change it.
    fs::rename(s.w(".dvcs"), s.at("real")).unwrap();
    std::os::unix::fs::symlink(s.at("real"), s.w(".dvcs")).unwrap();
    std::os::unix::fs::lchown(s.w(".dvcs"), Some(MALLORY), None).unwrap();
    s.dvc(["fetch"]).code(12);
    assert!(!owned.exists());
    // A named pipe in place of the settings blocks no command.
    fs::remove_file(s.at("real/config.toml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        s.at("real/config.toml"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    s.dvc(["status"]).code(2).complains("not a regular file");
}
