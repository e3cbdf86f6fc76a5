//! Several users of one repository: owners and modes of its files after each command, and the
//! access that the owner keeps.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use super::people::{
    Found, MEMBER, OWNER, People, Person, ROOT, STRANGER, TEAM, below, is_private,
};
use crate::support::needs;

/// The users who share a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shared {
    No,
    Group,
    All,
}

impl Shared {
    fn modes(self) -> (u32, u32) {
        match self {
            Self::No => (0o700, 0o600),
            Self::Group => (0o2770, 0o660),
            Self::All => (0o2775, 0o664),
        }
    }

    fn is_right(self, repo: &Path, found: &Found) -> bool {
        let below = found.path.strip_prefix(repo).unwrap();
        let mut names = below.components();
        let is_overlay =
            names.next().is_some_and(|n| n.as_os_str() == "overlays") && names.next().is_some();
        let members: &[u32] = if self == Self::No {
            &[OWNER.uid]
        } else {
            &[OWNER.uid, MEMBER.uid]
        };
        let group = if self == Self::No { OWNER.gid } else { TEAM };
        let (dir, file) = if is_overlay {
            (0o700, 0o600)
        } else {
            self.modes()
        };
        let mode = if is_overlay {
            found.mode & 0o777
        } else {
            found.mode
        };
        mode == if found.is_dir { dir } else { file }
            && members.contains(&found.uid)
            && found.gid == group
    }
}

/// Every command that works with a repository. `{}` is replaced by a directory of the person, and
/// `{name}` by a branch of the person.
const VERBS: &[&[&str]] = &[
    &["log"],
    &["status"],
    &["ls"],
    &["show"],
    &["diff"],
    &["du"],
    &["commit", "-b", "{name}", "-m", "one"],
    &["tag", "{name}-tag", "{name}"],
    &["branch", "{name}-branch", "{name}"],
    &["checkout", "main", "--into", "{own}/into"],
    &["checkout", "-f", "main"],
    &["undo", "-y"],
    &["config", "set", "ui.color", "never"],
    &["remote", "add", "{name}", "{own}/remote"],
    &["push", "{name}", "main"],
    &["fetch", "{name}"],
    &["pull", "{name}", "main"],
    &["export", "main", "-o", "{own}/export.tar"],
    &["import", "{own}/export.tar", "-b", "{name}-import"],
    &["mount"],
    &["fsck"],
    &["fsck", "--data"],
    &["fsck", "--rebuild"],
    &["gc", "--cache"],
];

fn each_verb(shared: Shared, who: &[Person]) {
    let Some(people) = People::new() else { return };
    let team = people.s.at("team");
    fs::create_dir(&team).unwrap();
    chown(
        &team,
        Some(OWNER.uid),
        Some(if shared == Shared::No {
            OWNER.gid
        } else {
            TEAM
        }),
    )
    .unwrap();
    fs::set_permissions(
        &team,
        fs::Permissions::from_mode(if shared == Shared::No { 0o755 } else { 0o2775 }),
    )
    .unwrap();
    let repo = team.join("r");
    let at = repo.to_str().unwrap();
    let init: &[&str] = match shared {
        Shared::No => &["--repo", at, "init"],
        Shared::Group => &["--repo", at, "init", "--shared"],
        Shared::All => &["--repo", at, "init", "--shared=all"],
    };
    // The modes must not depend on the umask of a user.
    let umask = |person: Person| if person == OWNER { 0o077 } else { 0o000 };
    let run = |person: Person, args: &[&str]| {
        let quoted: Vec<String> = args.iter().map(|a| format!("'{a}'")).collect();
        people.sh(
            person,
            &format!("umask {:03o}; exec dvc {}", umask(person), quoted.join(" ")),
        )
    };
    run(OWNER, init).ok();
    let mut version = 0;
    let mut commit_by_owner = || {
        version += 1;
        fs::write(
            people.dir(OWNER, "w").join("f"),
            format!("version {version}"),
        )
        .unwrap();
        run(
            OWNER,
            &["--repo", at, "commit", "-b", "main", "-m", "again"],
        )
        .ok();
    };
    fs::write(people.dir(OWNER, "w").join("f"), "").unwrap();
    chown(
        people.dir(OWNER, "w").join("f"),
        Some(OWNER.uid),
        Some(OWNER.gid),
    )
    .unwrap();
    // The `undo` of each person removes one of these versions.
    commit_by_owner();
    commit_by_owner();
    for person in who {
        let own = people.dir(*person, "own");
        let name = format!("by-{}", person.uid);
        fs::write(people.dir(*person, "w").join("g"), name.as_bytes()).unwrap();
        let is_let_in = shared != Shared::No && person.other_group == Some(TEAM)
            || person.uid == 0
            || *person == OWNER;
        for verb in VERBS {
            let args: Vec<String> = verb
                .iter()
                .map(|a| {
                    a.replace("{own}", own.to_str().unwrap())
                        .replace("{name}", &name)
                })
                .collect();
            let mut all = vec!["--repo", at];
            all.extend(args.iter().map(String::as_str));
            let done = run(*person, &all);
            let reads = matches!(verb, ["log" | "ls" | "show" | "fsck"]);
            let works = match verb {
                ["commit", ..] => is_let_in,
                _ => reads && (is_let_in || shared == Shared::All),
            };
            assert!(
                !works || done.code == 0,
                "{shared:?}: {person:?} cannot {verb:?}: {}{}",
                done.out,
                done.err
            );
            assert!(
                done.code != 70,
                "{shared:?}: {person:?} {verb:?}: {}",
                done.err
            );
            for found in below(&repo) {
                assert!(
                    shared.is_right(&repo, &found),
                    "{shared:?}: after {verb:?} by {person:?}: {found:?}"
                );
            }
            for dir in ["cache", "state/dvc/clones", "run"] {
                is_private(&people.dir(*person, "").join(dir), person.uid);
            }
        }
        commit_by_owner();
        for verb in [
            &["status"][..],
            &["log"],
            &["fsck", "--data"],
            &["gc", "--cache"],
        ] {
            let mut all = vec!["--repo", at];
            all.extend(verb);
            let done = run(OWNER, &all);
            assert!(
                done.code <= 1,
                "{shared:?}: after {person:?} the owner cannot {verb:?}: {}{}",
                done.out,
                done.err
            );
        }
    }
}

#[test]
fn after_every_verb_a_private_repository_is_still_its_owners() {
    each_verb(Shared::No, &[OWNER, ROOT, STRANGER]);
}

#[test]
fn after_every_verb_the_group_shares_its_repository() {
    each_verb(Shared::Group, &[MEMBER, ROOT, STRANGER]);
}

#[test]
fn after_every_verb_a_repository_for_all_is_read_by_all_and_written_by_the_group() {
    each_verb(Shared::All, &[STRANGER, MEMBER]);
}

#[test]
fn a_mount_by_root_leaves_its_overlay_to_the_owner() {
    let Some(people) = People::new().filter(|_| needs::fuse()) else {
        return;
    };
    people
        .sh(OWNER, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let (w, m) = (people.dir(OWNER, "w"), people.dir(ROOT, "m"));
    let repo = w.join(".dvcs");
    let mount = format!(
        "umask 000; cd {}; dvc mount main {} --name o; echo b > {1}/b",
        w.display(),
        m.display()
    );
    let mounted = people.sh(ROOT, &mount);
    let during = below(&repo);
    people.sh(ROOT, &format!("dvc umount {}", m.display())).ok();
    mounted.ok();
    assert!(
        during
            .iter()
            .any(|f| f.path.ends_with("overlays/o/overlay.db"))
    );
    for found in during.iter().chain(&below(&repo)) {
        assert!(Shared::No.is_right(&repo, found), "{found:?}");
    }
    is_private(&people.dir(ROOT, "").join("run"), 0);
    people
        .sh(OWNER, "echo c > c; dvc commit -q -m 2; dvc fsck -q --data")
        .ok();
}

#[test]
fn reading_a_manually_shared_repository_does_not_lock_the_owner_out() {
    let Some(people) = People::new() else { return };
    people
        .sh(OWNER, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let (w, repo) = (people.dir(OWNER, "w"), people.dir(OWNER, "w").join(".dvcs"));
    // Simulate the modes of an older release: the group can write to the directories but not to the
    // catalogue.
    for found in below(&repo) {
        chown(&found.path, None, Some(TEAM)).unwrap();
        let mode = if found.is_dir { 0o2775 } else { 0o644 };
        fs::set_permissions(&found.path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let look = format!("dvc --repo {} log --oneline", repo.display());
    people.sh(MEMBER, &look).ok().says("1");
    assert!(
        below(&repo).iter().all(|f| f.uid == OWNER.uid),
        "{:?}",
        below(&repo)
    );
    people.sh(OWNER, "echo b > b; dvc commit -q -m 2").ok();
    // Without the set-group-ID bit, files that SQLite creates get the member's own group.
    for found in below(&repo) {
        let mode = if found.is_dir { 0o775 } else { 0o664 };
        fs::set_permissions(&found.path, fs::Permissions::from_mode(mode)).unwrap();
    }
    people.sh(MEMBER, &look).ok().says("2");
    assert!(
        below(&repo).iter().all(|f| f.uid == OWNER.uid),
        "{:?}",
        below(&repo)
    );
    people.sh(OWNER, "echo c > c; dvc commit -q -m 3").ok();
    assert!(w.join("c").exists());
}

#[test]
fn a_repository_that_was_readable_stays_so_and_chmod_makes_it_private() {
    let Some(people) = People::new() else { return };
    people
        .sh(
            OWNER,
            "dvc init -q; chmod -R go+rX .dvcs; umask 077; echo a > a; dvc commit -q -m 1",
        )
        .ok();
    let repo = people.dir(OWNER, "w").join(".dvcs");
    people
        .dvc(
            STRANGER,
            &["--repo", repo.to_str().unwrap(), "show", "main:a"],
        )
        .ok()
        .says("a");
    people
        .sh(
            OWNER,
            "chmod -R go= .dvcs; umask 000; echo b > b; dvc commit -q -m 2",
        )
        .ok();
    is_private(&repo, OWNER.uid);
}

#[test]
fn init_makes_an_empty_directory_private() {
    let Some(people) = People::new() else { return };
    people
        .sh(OWNER, "umask 000; mkdir ../r; dvc --repo ../r init -q")
        .ok();
    is_private(&people.dir(OWNER, "r"), OWNER.uid);
    people.sh(OWNER, "umask 000; echo a > a; dvc --repo ../r commit -qb main -m 1; dvc --repo ../r remote add o ../o; dvc --repo ../r push -q").ok();
    is_private(&people.dir(OWNER, "o"), OWNER.uid);
}

#[test]
fn init_in_a_directory_that_is_shared_shares_the_repository() {
    let Some(people) = People::new() else { return };
    let team = people.dir(OWNER, "team");
    chown(&team, None, Some(TEAM)).unwrap();
    fs::set_permissions(&team, fs::Permissions::from_mode(0o2775)).unwrap();
    let repo = team.join("r");
    people
        .sh(OWNER, "umask 002; dvc --repo ../team/r init")
        .ok()
        .complains("the group of the directory can use");
    people
        .sh(
            OWNER,
            "umask 002; echo 1 > a; dvc --repo ../team/r commit -q -b one -m 1",
        )
        .ok();
    people
        .dvc(
            MEMBER,
            &["--repo", repo.to_str().unwrap(), "log", "--oneline", "one"],
        )
        .ok()
        .says("1");
    people
        .sh(
            OWNER,
            "umask 002; echo 2 > a; dvc --repo ../team/r commit -q -b one -m 2",
        )
        .ok();
    people
        .dvc(
            STRANGER,
            &["--repo", repo.to_str().unwrap(), "log", "--oneline", "one"],
        )
        .code(12);
    // If the user's umask removes access of the group, the new repository is private.
    people
        .sh(OWNER, "umask 022; dvc --repo ../team/own init -q")
        .ok();
    is_private(&team.join("own"), OWNER.uid);
}

#[test]
fn state_of_a_remote_is_never_lost_silently() {
    let Some(people) = People::new() else { return };
    people
        .sh(
            OWNER,
            "dvc init -q; echo a > a; dvc commit -q -m 1; dvc remote add o ../o; dvc push -q",
        )
        .ok();
    let remotes = people.dir(OWNER, "w").join(".dvcs/remotes");
    let state = fs::read_dir(&remotes)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = fs::read(&state).unwrap();
    fs::rename(people.dir(OWNER, "o"), people.dir(OWNER, "").join("away")).unwrap();
    people
        .sh(OWNER, "dvc push")
        .code(4)
        .complains("no longer exists");
    let refused = |code: i32, why: &str| {
        people.sh(OWNER, "dvc push").code(code).complains(why);
        people.sh(OWNER, "dvc fetch").code(code).complains(why);
        assert!(!people.dir(OWNER, "").join("o").exists());
        // Commands that do not use a remote still work.
        people.sh(OWNER, "dvc log -q && dvc status -q").ok();
    };
    fs::write(&state, "").unwrap();
    refused(5, "the file is empty");
    fs::write(&state, &good[..good.len() / 2]).unwrap();
    refused(5, "is damaged");
    fs::write(&state, &good).unwrap();
    chown(&state, Some(0), Some(0)).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o600)).unwrap();
    refused(12, "cannot read the saved state of the remote");
    chown(&state, Some(OWNER.uid), None).unwrap();
    people
        .sh(OWNER, "dvc push")
        .code(4)
        .complains("no longer exists");
    fs::rename(people.dir(OWNER, "away"), people.dir(OWNER, "").join("o")).unwrap();
    people.sh(OWNER, "dvc push").ok();
}

#[test]
fn unreadable_worktree_states_are_an_error() {
    let Some(people) = People::new() else { return };
    people
        .sh(OWNER, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let states = people.dir(OWNER, "w").join(".dvcs/worktrees");
    chown(&states, Some(0), Some(0)).unwrap();
    fs::set_permissions(&states, fs::Permissions::from_mode(0o700)).unwrap();
    people.sh(OWNER, "dvc log").code(12).complains("worktrees");
    people
        .sh(OWNER, "dvc branch -m main other")
        .code(12)
        .complains("worktrees");
}

#[test]
fn root_does_not_change_owners_through_links() {
    let Some(people) = People::new() else { return };
    people
        .sh(OWNER, "dvc init -q; echo a > a; dvc commit -q -m 1")
        .ok();
    let (w, secret) = (people.dir(OWNER, "w"), people.dir(ROOT, "").join("secret"));
    fs::write(&secret, "kept").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let repo = w.join(".dvcs");
    symlink(&secret, repo.join("catalog.db.lock")).unwrap();
    fs::write(
        repo.join("catalog.db"),
        "no database at all, so that the lock is taken",
    )
    .unwrap();
    symlink(people.dir(ROOT, ""), repo.join("remotes")).unwrap();
    people.sh(
        ROOT,
        &format!("cd {}; echo b > b; dvc commit -q -m 2 || true", w.display()),
    );
    let found = &below(&secret)[0];
    assert_eq!(
        (
            found.uid,
            found.mode,
            fs::read_to_string(&secret).unwrap().as_str()
        ),
        (0, 0o600, "kept")
    );
}
