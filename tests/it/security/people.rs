//! The users of a machine: runs `dvc` as one of several users, each with own directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::needs::{need, root_to};
use crate::support::sandbox::{Run, Sandbox};

/// The ids of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub uid: u32,
    pub gid: u32,
    /// A supplementary group.
    pub other_group: Option<u32>,
}

/// The group of the users who share a repository.
pub const TEAM: u32 = 62000;
pub const ROOT: Person = Person {
    uid: 0,
    gid: 0,
    other_group: None,
};
pub const OWNER: Person = Person {
    uid: 61001,
    gid: 61001,
    other_group: Some(TEAM),
};
pub const MEMBER: Person = Person {
    uid: 61002,
    gid: 61002,
    other_group: Some(TEAM),
};
pub const STRANGER: Person = Person {
    uid: 61003,
    gid: 61003,
    other_group: None,
};

/// A sandbox that every user can enter, with a home directory per user.
pub struct People {
    pub s: Sandbox,
}

impl People {
    /// Returns `None` and skips the test without root, because only root can act as other users.
    pub fn new() -> Option<Self> {
        if !root_to("act as other users") {
            return None;
        }
        let s = Sandbox::new();
        fs::set_permissions(s.root(), fs::Permissions::from_mode(0o755)).unwrap();
        let people = Self { s };
        for person in [ROOT, OWNER, MEMBER, STRANGER] {
            people.dir(person, "");
        }
        Some(people)
    }

    /// Returns a directory in the home of a person, and creates it if it is missing. If the
    /// name is empty, this is the home itself.
    pub fn dir(&self, person: Person, name: &str) -> PathBuf {
        let home = self.s.at(format!("home-{}", person.uid));
        let dir = home.join(name);
        if !dir.exists() {
            fs::create_dir_all(&dir).unwrap();
            chown(&dir, Some(person.uid), Some(person.gid)).unwrap();
        }
        dir
    }

    /// Returns a command that runs as a person in the person's worktree `w`, with cache, state and
    /// runtime directory in the person's home.
    pub fn command(&self, person: Person, program: impl AsRef<Path>) -> Command {
        let home = self.dir(person, "");
        let mut c = Command::new(need("setpriv"));
        c.args([
            format!("--reuid={}", person.uid),
            format!("--regid={}", person.gid),
        ]);
        match person.other_group {
            Some(group) => c.arg(format!("--groups={group}")),
            None => c.arg("--clear-groups"),
        };
        c.arg(program.as_ref())
            .current_dir(self.dir(person, "w"))
            .env_clear()
            .stdin(Stdio::null());
        c.env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("LC_ALL", "C.UTF-8");
        c.env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_STATE_HOME", home.join("state"));
        c.env("XDG_CONFIG_HOME", home.join("config"))
            .env("DVC_RUN_DIR", home.join("run"))
            .env("TZ", "UTC");
        c.env(
            "DOCKER_HOST",
            format!("unix://{}", self.s.at("no-engine.sock").display()),
        );
        c
    }

    /// Runs `dvc` as a person.
    pub fn dvc(&self, person: Person, args: &[&str]) -> Run {
        Run::of(self.command(person, env!("CARGO_BIN_EXE_dvc")).args(args))
    }

    /// Runs a shell script as a person, with `dvc` on the `PATH`.
    pub fn sh(&self, person: Person, script: &str) -> Run {
        let bin = Path::new(env!("CARGO_BIN_EXE_dvc")).parent().unwrap();
        let mut c = self.command(person, need("bash"));
        c.env(
            "PATH",
            format!(
                "{}:{}",
                bin.display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        );
        Run::of(c.args(["-euo", "pipefail", "-c", script]))
    }
}

/// Owner and mode of a file or directory.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub is_dir: bool,
}

/// Returns a directory and everything below it. Returns nothing if it does not exist, and leaves
/// out entries that vanish during the listing.
pub fn below(dir: &Path) -> Vec<Found> {
    let Ok(meta) = fs::symlink_metadata(dir) else {
        return Vec::new();
    };
    let is_dir = meta.is_dir();
    let mut all = vec![Found {
        path: dir.to_owned(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        is_dir,
    }];
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        all.extend(below(&entry.path()));
    }
    all
}

/// Asserts that all files below a directory belong to `owner`, and no other user has access to
/// them.
#[track_caller]
pub fn is_private(dir: &Path, owner: u32) {
    for found in below(dir) {
        assert!(
            found.mode & 0o077 == 0 && found.uid == owner,
            "{found:?} is not private to {owner}"
        );
    }
}
