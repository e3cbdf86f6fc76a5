//! A user without privileges works with versions whose owners, modes, xattrs and devices only root
//! can restore.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::people::{MEMBER, OWNER, People, ROOT};

/// Creates a repository of root with every property that a user cannot restore, and a clone of
/// OWNER in `w`. Returns the path of the repository of root.
fn cloned() -> Option<(People, String)> {
    let people = People::new()?;
    people
        .sh(
            ROOT,
            "dvc init -q --shared=all
             mkdir db shared; for i in 1 2 3; do echo $i > db/f$i; done; ln db/f1 db/again; ln -s f1 db/link
             head -c 700000 /dev/urandom > db/large; mkfifo db/pipe
             cp /usr/bin/true tool; cp /usr/bin/true helper; echo capable > capable
             mknod null c 1 3; mknod disk b 7 200; mkdir empty
             setfattr -n trusted.note -v t db/f3; setfattr -n user.note -v u db/f3
             chown -R -h 999:998 .; chmod 4755 tool; chmod 2755 helper; chmod 2770 shared
             setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 capable
             echo 0 > db/f1; dvc commit -q -m 1; echo 11 > db/f1; dvc commit -q -m 2",
        )
        .ok();
    let from = people.dir(ROOT, "w").display().to_string();
    people
        .sh(OWNER, &format!("cd ..; rmdir w; dvc clone {from} w"))
        .ok()
        .complains("not permitted");
    Some((people, from))
}

#[test]
fn a_clone_by_a_user_is_clean_and_can_be_moved() {
    let Some((people, _)) = cloned() else { return };
    let clean = |when: &str| {
        let status = people
            .sh(OWNER, "dvc status --porcelain | grep -v '^#' || true")
            .ok();
        assert_eq!(status.out, "", "{when}");
    };
    clean("after the clone");
    assert_eq!(people.sh(OWNER, "dvc checkout -q main@v1").ok().err, "");
    clean("after a checkout");
    assert_eq!(
        fs::read_to_string(people.dir(OWNER, "w").join("db/f1")).unwrap(),
        "0\n"
    );
    people.sh(OWNER, "dvc checkout -q main").ok();
    clean("after the way back");
    people.sh(OWNER, "rm .dvcs/catalog.db*").ok();
    clean("without the stat cache");
    people.sh(OWNER, "dvc checkout -q -f main").ok();
    clean("after a forced checkout");
    // A restore to a directory without a worktree state cannot record these properties, so they are
    // lost.
    people
        .sh(OWNER, "dvc checkout -q main --into ../into")
        .code(3)
        .complains("not permitted");
    people.sh(OWNER, "dvc commit -q -m nothing").ok();
    assert_eq!(people.sh(OWNER, "dvc log --oneline").ok().lines().len(), 2);
}

#[test]
fn a_users_commit_changes_only_what_the_user_changed() {
    let Some((people, from)) = cloned() else {
        return;
    };
    people
        .sh(
            OWNER,
            "echo mine >> db/f2; chmod 600 db/f3; touch -d 2001-02-03 db/large; echo new > new; rm empty -r
             cat tool new > copy; chmod 755 copy; mv copy helper; dvc commit -q -m mine",
        )
        .ok();
    let changed = people
        .sh(OWNER, "dvc diff --name-status HEAD~ HEAD")
        .ok()
        .out;
    let mut changed: Vec<&str> = changed
        .lines()
        .filter_map(|l| l.split_whitespace().last())
        .collect();
    changed.sort_unstable();
    assert_eq!(
        changed,
        [".", "db/f2", "db/f3", "db/large", "empty", "helper", "new"]
    );
    // A checkout by root restores all properties that the version records.
    let w = people.dir(OWNER, "w").display().to_string();
    people
        .sh(
            ROOT,
            &format!("dvc --repo {w}/.dvcs checkout -q main --into ../out"),
        )
        .ok();
    let at = |name: &str| fs::symlink_metadata(people.dir(ROOT, "out").join(name)).unwrap();
    for name in [
        "db", "db/f1", "db/f2", "db/f3", "db/link", "db/pipe", "db/large", "tool", "helper",
        "shared", "null",
    ] {
        assert_eq!((at(name).uid(), at(name).gid()), (999, 998), "{name}");
    }
    assert_eq!((at("new").uid(), at("new").gid()), (OWNER.uid, OWNER.gid));
    assert_eq!(
        (at("tool").mode() & 0o7777, at("shared").mode() & 0o7777),
        (0o4755, 0o2770)
    );
    // A file that the user has written must not run with the privileges of the recorded owner.
    assert_eq!(at("helper").mode() & 0o7777, 0o755);
    assert_eq!(at("db/f3").mode() & 0o7777, 0o600);
    assert_eq!(
        (at("null").rdev(), at("disk").rdev()),
        (rustix::fs::makedev(1, 3), rustix::fs::makedev(7, 200))
    );
    let attributes = people
        .sh(ROOT, "cd ../out; getfattr -d -m - db/f3 capable")
        .ok()
        .out;
    for part in [
        "trusted.note=\"t\"",
        "user.note=\"u\"",
        "security.capability=",
    ] {
        assert!(attributes.contains(part), "no {part} in {attributes}");
    }
    // The repository of root has not changed.
    assert!(
        people
            .dvc(
                MEMBER,
                &["--repo", &format!("{from}/.dvcs"), "log", "--oneline"]
            )
            .ok()
            .out
            .contains('2')
    );
}

#[test]
fn a_damaged_record_of_the_checkout_is_an_error_and_can_be_removed() {
    let Some((people, _)) = cloned() else { return };
    people
        .sh(
            OWNER,
            "for f in .dvcs/worktrees/*/restored-by; do : > $f; done",
        )
        .ok();
    people
        .sh(OWNER, "dvc status")
        .code(5)
        .complains("restored-by")
        .complains("fsck --rebuild");
    people.sh(OWNER, "dvc fsck").code(5);
    people.sh(OWNER, "dvc fsck --rebuild && dvc fsck").ok();
    people.sh(OWNER, "dvc status").ok().says("db/f1");
    // The next checkout records the properties again, so that they no longer count as changes.
    people.sh(OWNER, "dvc checkout -q -f main").ok();
    assert_eq!(
        people
            .sh(OWNER, "dvc status --porcelain | grep -v '^#' || true")
            .ok()
            .out,
        ""
    );
}

#[test]
fn commits_of_paths_and_by_root_keep_what_was_recorded() {
    let Some((people, _)) = cloned() else { return };
    people
        .sh(OWNER, "echo mine >> db/f2; dvc commit -q -m paths db null")
        .ok();
    assert_eq!(
        people
            .sh(OWNER, "dvc diff --name-status HEAD~ HEAD")
            .ok()
            .lines()
            .len(),
        1
    );
    let w = people.dir(OWNER, "w").display().to_string();
    people
        .sh(
            ROOT,
            &format!("cd {w}; echo root >> db/f3; dvc commit -q -m 'by root'"),
        )
        .ok();
    let changed = people.sh(OWNER, "dvc diff --name-status HEAD~ HEAD").ok();
    assert!(
        changed.lines().len() == 1 && changed.out.contains("db/f3"),
        "{}",
        changed.out
    );
    // Root restores the properties that the user could not restore.
    people
        .sh(ROOT, &format!("cd {w}; dvc checkout -q -f main"))
        .ok();
    let at = |name: &str| fs::symlink_metadata(people.dir(OWNER, "w").join(name)).unwrap();
    assert_eq!(
        (
            at("db/f1").uid(),
            at("tool").permissions().mode() & 0o7777,
            at("null").rdev()
        ),
        (999, 0o4755, 259)
    );
}
