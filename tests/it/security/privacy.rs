//! Other users of the machine can read no data that dvc stores, and dvc uses no runtime directory
//! of another user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::people::{MEMBER, OWNER, People, ROOT, STRANGER, below, is_private};
use crate::support::needs;
use crate::support::servers::gcs::Gcs;
use crate::support::servers::sshd::Sshd;

/// File content that only its owner may read.
const SECRET: &str = "the password of the database";

/// Asserts that a stranger finds no readable file in these directories.
fn a_stranger_searches(people: &People, places: &[PathBuf]) {
    let places: Vec<String> = places
        .iter()
        .map(|p| format!("'{}'", p.display()))
        .collect();
    let all = places.join(" ");
    let run = people.sh(
        STRANGER,
        &format!(
            "grep -rs '{SECRET}' {all} || true; find {all} -type f -readable 2>/dev/null || true"
        ),
    );
    assert_eq!(run.out, "", "a stranger can read this");
}

#[test]
fn a_stranger_reads_no_repository_overlay_cache_or_clone() {
    let gcs = Gcs::start();
    for umask in ["022", "000"] {
        let Some(people) = People::new().filter(|_| needs::fuse()) else {
            return;
        };
        let url = gcs.url(umask);
        let (w, m, lazy) = (
            people.dir(ROOT, "w"),
            people.dir(ROOT, "m"),
            people.dir(ROOT, "lazy"),
        );
        let home = people.dir(ROOT, "");
        let run = |script: &str| people.sh(ROOT, &format!("umask {umask}; {script}"));
        // The file is large and incompressible, so the pack contains the secret uncompressed.
        run(&format!(
            "dvc init -q; {{ echo '{SECRET}'; head -c 100000 /dev/urandom; }} > f; chmod 600 f; dvc commit -q -m 1"
        ))
        .ok();
        run(&format!("dvc remote add o '{url}' && dvc push -q o main")).ok();
        let mounted = run(&format!(
            "dvc mount main {0} --name o && echo '{SECRET}' >> {0}/f && sync -f {0}/f",
            m.display()
        ));
        let far = run(&format!(
            "dvc mount '{url}#main' {0} && cat {0}/f > /dev/null",
            lazy.display()
        ));
        let places = [
            w.join(".dvcs"),
            home.join("cache"),
            home.join("state"),
            home.join("run"),
        ];
        a_stranger_searches(&people, &places);
        let found: Vec<_> = places.iter().flat_map(|place| below(place)).collect();
        run(&format!(
            "dvc umount --discard {}; dvc umount --discard {}",
            m.display(),
            lazy.display()
        ))
        .ok();
        mounted.ok();
        far.ok();
        let has = |part: &str| {
            found
                .iter()
                .any(|f| f.path.to_string_lossy().contains(part) && !f.is_dir)
        };
        for part in [
            "/packs/",
            "/overlays/o/data/",
            "/cache/dvc/blocks/",
            "/clones/",
            "/run/mounts/",
        ] {
            assert!(has(part), "nothing in {part}: {found:?}");
        }
        is_private(&w.join(".dvcs"), 0);
        is_private(&home.join("cache/dvc"), 0);
        is_private(&home.join("state/dvc/clones"), 0);
        is_private(&home.join("run"), 0);
    }
}

#[test]
fn files_that_an_older_release_left_readable_are_protected() {
    let Some(people) = People::new().filter(|_| needs::fuse()) else {
        return;
    };
    let m = people.dir(ROOT, "m");
    let script = format!(
        "dvc init -q; echo a > a; dvc commit -q -m 1; dvc mount main {0} --name o; echo b > {0}/b; dvc umount {0}",
        m.display()
    );
    people.sh(ROOT, &script).ok();
    let repo = people.dir(ROOT, "w").join(".dvcs");
    for found in below(&repo).iter().filter(|f| f.is_dir) {
        fs::set_permissions(&found.path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    people
        .sh(
            ROOT,
            &format!(
                "dvc mount main {0} --name o; dvc umount --discard {0} || dvc umount {0}",
                m.display()
            ),
        )
        .ok();
    for found in below(&repo.join("overlays")) {
        assert!(
            found.path.ends_with("overlays")
                || !found.path.ends_with("o")
                || found.mode & 0o077 == 0,
            "{found:?}"
        );
    }
}

#[test]
fn a_new_repository_behind_ssh_is_its_owners_alone() {
    let (Some(people), Some(sshd)) = (People::new(), Sshd::start()) else {
        return;
    };
    let url = sshd.url("below/repo");
    let script =
        format!("umask 000; dvc init -q; echo a > a; dvc commit -q -m 1; dvc push -q '{url}' main");
    people.sh(ROOT, &script).ok();
    let repo = sshd.data().join("below/repo");
    assert_eq!(fs::metadata(&repo).unwrap().mode() & 0o777, 0o700);
    a_stranger_searches(&people, &[repo]);
}

/// Returns the runtime directory for a user without `XDG_RUNTIME_DIR`.
fn fallback(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/dvc-{uid}"))
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_run_directory_of_another_user_is_refused() {
    let Some(people) = People::new() else { return };
    // Use a user id that no other test uses, because the path of the directory is fixed.
    let victim = super::people::Person {
        uid: 63_000 + std::process::id() % 1000,
        ..MEMBER
    };
    let dir = fallback(victim.uid);
    let _removed = Removed(dir.clone());
    people.dir(victim, "");
    let mounts = || {
        let mut c = people.command(victim, env!("CARGO_BIN_EXE_dvc"));
        crate::support::sandbox::Run::of(c.env_remove("DVC_RUN_DIR").arg("mount"))
    };
    let treasure = people.dir(victim, "treasure");
    let by = |owner: u32, mode: u32| {
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    };
    by(STRANGER.uid, 0o777);
    mounts()
        .code(12)
        .complains("belongs to another user")
        .complains("XDG_RUNTIME_DIR");
    fs::remove_dir(&dir).unwrap();
    symlink(&treasure, &dir).unwrap();
    mounts().code(12).complains("symbolic link");
    assert_eq!(fs::read_dir(&treasure).unwrap().count(), 0);
    fs::remove_file(&dir).unwrap();
    by(victim.uid, 0o777);
    mounts().code(12).complains("other users can write to it");
    fs::remove_dir(&dir).unwrap();
    by(victim.uid, 0o755);
    mounts().ok();
    is_private(&dir, victim.uid);
    fs::remove_dir_all(&dir).unwrap();
    mounts().ok();
    is_private(&dir, victim.uid);
    // Commands that do not use mounts ignore the directory.
    fs::remove_dir_all(&dir).unwrap();
    by(STRANGER.uid, 0o777);
    let mut init = people.command(victim, env!("CARGO_BIN_EXE_dvc"));
    crate::support::sandbox::Run::of(init.env_remove("DVC_RUN_DIR").args(["init", "-q"])).ok();
}

#[test]
fn a_mount_writes_through_no_link_in_its_run_directory() {
    let Some(people) = People::new().filter(|_| needs::fuse()) else {
        return;
    };
    let m = people.dir(ROOT, "m");
    people
        .sh(ROOT, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let victim = people.s.at("victim");
    fs::write(&victim, "kept").unwrap();
    let mounts = people.dir(ROOT, "run/mounts");
    symlink(&victim, mounts.join("lock")).unwrap();
    people
        .sh(ROOT, &format!("dvc mount main {} --ro", m.display()))
        .code(12)
        .complains("symbolic link");
    fs::remove_file(mounts.join("lock")).unwrap();
    let (device, target) = (next_numbers(), victim.clone());
    for name in &device {
        symlink(&target, mounts.join(format!("{name}.json"))).unwrap();
        symlink(&target, mounts.join(format!("{name}.sock"))).unwrap();
    }
    symlink(&victim, mounts.join("log")).unwrap();
    people
        .sh(
            ROOT,
            &format!("dvc mount main {0} --ro; cat {0}/a", m.display()),
        )
        .ok();
    people.sh(ROOT, &format!("dvc umount {}", m.display())).ok();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o644);
}

/// Returns names for the device numbers that the next mounts may get.
fn next_numbers() -> Vec<String> {
    (0..400).map(|n| format!("0-{n}")).collect()
}

fn notices(err: &str) -> usize {
    err.matches("no cache").count()
}

#[test]
fn a_repository_is_read_without_a_home_and_without_a_cache() {
    let Some(people) = People::new() else { return };
    people
        .sh(
            OWNER,
            "dvc init -q --shared=all; echo a > a; dvc commit -q -m 1",
        )
        .ok();
    let w = people.dir(OWNER, "w");
    let run = |args: &[&str]| {
        let mut c = people.command(STRANGER, env!("CARGO_BIN_EXE_dvc"));
        for name in ["XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            c.env_remove(name);
        }
        crate::support::sandbox::Run::of(c.env("HOME", "/nonexistent").current_dir(&w).args(args))
    };
    for args in [
        &["log", "--oneline"][..],
        &["ls"],
        &["show", "HEAD:a"],
        &["fsck"],
        &["status"],
        &["diff"],
        &["du"],
    ] {
        let done = run(args).ok();
        assert_eq!(notices(&done.err), 1, "{args:?}: {}", done.err);
    }
    run(&["log", "-q"]).ok();
    // Reading from a remote repository works without a cache, too.
    let gcs = Gcs::start();
    people
        .sh(
            OWNER,
            &format!("dvc remote add o '{0}' && dvc push -q o main", gcs.url("r")),
        )
        .ok();
    let far = run(&["--repo", &gcs.url("r"), "show", "main:a"])
        .ok()
        .says("a");
    assert_eq!(notices(&far.err), 1, "{}", far.err);
    // This user can write neither to the repository nor to a cache directory, so a commit fails.
    run(&["commit", "-m", "no"]).code(12);
    assert!(below(&w.join(".dvcs")).iter().all(|f| f.uid == OWNER.uid));
}

#[test]
fn a_configuration_in_another_users_home_is_left_out_with_a_notice() {
    let Some(people) = People::new() else { return };
    people
        .sh(
            OWNER,
            "mkdir -p ../.config/dvc; echo '[core' > ../.config/dvc/config.toml; chmod 700 ..",
        )
        .ok();
    people
        .sh(MEMBER, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let run = |home: &Path, args: &[&str]| {
        let mut c = people.command(MEMBER, env!("CARGO_BIN_EXE_dvc"));
        crate::support::sandbox::Run::of(
            c.env_remove("XDG_CONFIG_HOME").env("HOME", home).args(args),
        )
    };
    let log = run(&people.dir(OWNER, ""), &["log", "--oneline"])
        .ok()
        .complains("another user's home");
    assert_eq!(
        log.err.matches("another user's home").count(),
        1,
        "{}",
        log.err
    );
    // If the user's own file is unreadable or invalid, that is an error.
    people
        .sh(
            MEMBER,
            "mkdir -p ../.config/dvc; echo '[core]' > ../.config/dvc/config.toml; chmod 000 ../.config/dvc/config.toml",
        )
        .ok();
    run(&people.dir(MEMBER, ""), &["log"])
        .code(12)
        .complains("config.toml");
}
