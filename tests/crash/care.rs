//! Stops and kills `gc`, `forget`, `fsck --repair` and the commands beside them, at each step.
//!
//! Every process is the real `dvc`. `DVC_TEST_KILLS` is the number of steps of each scenario, or
//! `all`; by default, a few steps are chosen at random. `DVC_TEST_SEED` chooses others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::known::noise;
use crate::stage::{Copy, GC, Stage, command, run};
use crate::traced::{Reached, Traced};

/// Chooses steps of a command.
struct Chosen {
    names: Vec<String>,
    numbers: Vec<usize>,
}

/// Pseudorandom numbers.
pub struct Numbers(pub u64);

impl Numbers {
    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }
}

/// The default is fixed, because failures of CI must be reproducible.
fn seed() -> u64 {
    std::env::var("DVC_TEST_SEED").map_or(7, |seed| seed.parse().unwrap())
}

impl Chosen {
    /// Counts the steps of a command, and chooses some: every kind of step has the same chance.
    fn of(stage: &Stage, victim: &Victim, few: usize) -> Self {
        let copy = stage.copy();
        (victim.prepare)(&copy);
        let mut traced = Traced::start(&copy.command(victim.repository, victim.args), &copy.at(""));
        let end = traced.run_to(usize::MAX);
        assert_eq!(
            end,
            Reached::Ended(0),
            "{}: {}",
            victim.name,
            traced.output()
        );
        let names = std::mem::take(&mut traced.steps);
        let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, name) in names.iter().enumerate() {
            kinds.entry(name).or_default().push(n + 1);
        }
        let wanted = std::env::var("DVC_TEST_KILLS").unwrap_or_else(|_| few.to_string());
        let mut numbers = Vec::new();
        if wanted == "all" {
            numbers.extend(1..=names.len());
        } else if wanted.contains(',') {
            let listed = wanted.split_terminator(',');
            numbers.extend(listed.map(|number| number.parse::<usize>().unwrap()));
        } else {
            let mut dice = Numbers(seed() * 2 + 1 + names.len() as u64);
            let mut kinds: Vec<Vec<usize>> = kinds.into_values().collect();
            for _ in 0..wanted.parse::<usize>().unwrap() {
                kinds.retain(|kind| !kind.is_empty());
                if kinds.is_empty() {
                    break;
                }
                let kind = dice.below(kinds.len());
                let at = dice.below(kinds[kind].len());
                numbers.push(kinds[kind].swap_remove(at));
            }
            numbers.sort_unstable();
        }
        Self { names, numbers }
    }
}

/// A command that is stopped or killed.
struct Victim {
    name: &'static str,
    repository: &'static str,
    args: &'static [&'static str],
    prepare: fn(&Copy),
    /// Whether the repository is damaged until the command has ended.
    is_damaged: bool,
}

fn nothing(_: &Copy) {}

/// Restores the file that only collected versions have.
fn back(copy: &Copy) {
    std::fs::write(copy.at("w/back"), noise(60, 90_000)).unwrap();
    std::fs::write(copy.at("w/new"), noise(70, 20_000)).unwrap();
}

const COLLECT: Victim = Victim {
    name: "gc",
    repository: "repo",
    args: GC,
    prepare: nothing,
    is_damaged: false,
};
/// The packs are already dead, so this gc only deletes.
const DELETE: Victim = Victim {
    name: "gc of dead packs",
    repository: "repo",
    args: GC,
    prepare: |copy| {
        // The second entry of the log marks the packs as dead.
        let mut traced = Traced::start(&copy.command("repo", GC), &copy.at("repo"));
        let is_entry = |step: &&String| step.starts_with("rename quarantine/log/");
        let reached = traced.run_until(|steps| steps.iter().filter(is_entry).count() == 2);
        assert!(matches!(reached, Reached::Step(_)), "{}", traced.output());
        traced.kill();
    },
    is_damaged: false,
};
const FORGET: Victim = Victim {
    name: "forget",
    repository: "repo",
    args: &["-c", "gc.keep-log=0", "forget", "-y", "--now", "main@v4"],
    prepare: nothing,
    is_damaged: false,
};
const COMMIT: Victim = Victim {
    name: "commit",
    repository: "repo",
    args: &["commit", "-m", "back"],
    prepare: back,
    is_damaged: false,
};
const PUSH: Victim = Victim {
    name: "push",
    repository: "repo",
    args: &["push", "origin", "main"],
    prepare: |copy| {
        back(copy);
        copy.dvc("repo", &["commit", "-m", "back"])
            .codes(&[0], "commit");
    },
    is_damaged: false,
};
/// The clone fetches versions that share objects with unneeded data of the clone.
const FETCH: Victim = Victim {
    name: "fetch",
    repository: "mine",
    args: &["fetch", "origin"],
    prepare: |copy| {
        copy.dvc("mine", &["fetch", "--prune", "origin"])
            .codes(&[0], "prune");
        back(copy);
        copy.dvc("repo", &["commit", "-m", "back"])
            .codes(&[0], "commit");
        copy.dvc("repo", &["push", "origin", "main"])
            .codes(&[0], "push");
    },
    is_damaged: false,
};
const CHECKOUT: Victim = Victim {
    name: "checkout",
    repository: "repo",
    args: &["checkout", "-f", "main~2"],
    prepare: nothing,
    is_damaged: false,
};
/// A pack of the local repository is damaged; the remote has it.
const REPAIR: Victim = Victim {
    name: "repair",
    repository: "repo",
    args: &["fsck", "--repair"],
    prepare: |copy| {
        let mut packs: Vec<_> = crate::known::files_of(&copy.at("repo/packs"))
            .into_iter()
            .collect();
        packs.sort_by_key(|(_, bytes)| bytes.len());
        for (name, mut bytes) in packs.into_iter().rev().take(2) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let path = copy.at("repo/packs").join(String::from_utf8(name).unwrap());
            std::fs::write(path, bytes).unwrap();
        }
        copy.dvc("repo", &["fsck", "--data"])
            .codes(&[5], "damage is recorded");
    },
    is_damaged: true,
};

/// Records the content of a version that a commit has made.
fn learn(copy: &mut Copy) {
    let files = copy.files("w");
    for (repository, branch) in [("repo", "main"), ("repo", "other"), ("there", "main")] {
        if let Some(id) = copy.tip(repository, branch) {
            copy.learn_new(id, &files);
        }
    }
}

fn kill_each(victim: &Victim, few: usize) {
    let stage = Stage::new();
    let chosen = Chosen::of(&stage, victim, few);
    for number in &chosen.numbers {
        let mut copy = stage.copy();
        (victim.prepare)(&copy);
        let mut traced = Traced::start(&copy.command(victim.repository, victim.args), &copy.at(""));
        let reached = traced.run_to(*number);
        let case = format!("kill of {} at {number}: {reached:?}", victim.name);
        if matches!(reached, Reached::Step(_)) {
            traced.kill();
        }
        note(&case);
        learn(&mut copy);
        if victim.is_damaged {
            copy.dvc("repo", victim.args).codes(&[0], &case);
        }
        for repository in ["repo", "there", "mine"] {
            copy.assert_sound(repository, &case);
        }
        copy.assert_collected(victim.repository, &case);
        let again = copy.dvc(victim.repository, victim.args);
        learn(&mut copy);
        // A second commit of the same files has nothing to commit.
        again.codes(&[0, 1], &case);
        copy.assert_sound(victim.repository, &case);
    }
    note(&format!("{} has {} steps", victim.name, chosen.names.len()));
}

/// Stops the victim at chosen steps; runs the others to their ends; lets the victim continue.
fn stop_each(victim: &Victim, few: usize, others: &[&Victim], codes: &[i32]) {
    let stage = Stage::new();
    let chosen = Chosen::of(&stage, victim, few);
    for number in &chosen.numbers {
        for other in others {
            let mut copy = stage.copy();
            (victim.prepare)(&copy);
            (other.prepare)(&copy);
            let mut traced =
                Traced::start(&copy.command(victim.repository, victim.args), &copy.at(""));
            let reached = traced.run_to(*number);
            let case = format!(
                "{} while {} stops at {number}: {reached:?}",
                other.name, victim.name
            );
            if !matches!(reached, Reached::Step(_)) {
                continue;
            }
            let stopped = traced.stop();
            if copy.has_locked_catalogue() {
                continue;
            }
            let codes_of_other: &[i32] = if victim.is_damaged {
                &[0, 5, 11]
            } else {
                &[0, 11]
            };
            copy.dvc(other.repository, other.args)
                .codes(codes_of_other, &case);
            learn(&mut copy);
            for repository in ["repo", "there", "mine"] {
                if victim.is_damaged && repository == "repo" {
                    continue;
                }
                copy.assert_sound(repository, &format!("{case}, before it continues"));
            }
            let ended = stopped.thaw();
            note(&format!("{case} {}", ended.code));
            assert!(codes.contains(&ended.code), "{case}: {ended:?}");
            learn(&mut copy);
            for repository in ["repo", "there", "mine"] {
                copy.assert_sound(repository, &case);
            }
            copy.assert_collected("repo", &case);
            copy.assert_collected("there", &case);
        }
    }
}

#[allow(clippy::print_stderr)]
fn note(case: &str) {
    if std::env::var_os("DVC_TEST_KILLS").is_some() {
        eprintln!("{case}");
    }
}

#[test]
fn gc_dies() {
    kill_each(&COLLECT, 4);
}

#[test]
fn deletion_dies() {
    kill_each(&DELETE, 3);
}

#[test]
fn forget_dies() {
    kill_each(&FORGET, 3);
}

#[test]
fn repair_dies() {
    kill_each(&REPAIR, 3);
}

#[test]
fn gc_beside_a_stopped_commit() {
    stop_each(&COMMIT, 4, &[&COLLECT], &[0]);
}

#[test]
fn gc_beside_a_stopped_push() {
    const THERE: Victim = Victim {
        name: "gc of the remote",
        repository: "there",
        ..COLLECT
    };
    stop_each(&PUSH, 2, &[&THERE, &COLLECT], &[0]);
}

/// The fetch has added the segment of chunks, and adds the one of trees after the collection has
/// deleted its pack. Its second attempt must not take the trees for fetched.
#[test]
fn gc_between_the_segments_of_a_fetch() {
    let case = "gc between the segments of a fetch";
    let mut copy = Stage::new().copy();
    (FETCH.prepare)(&copy);
    let mut traced = Traced::start(&copy.command("mine", FETCH.args), &copy.at(""));
    let reached = traced.run_until(|steps| {
        let added = steps
            .iter()
            .rposition(|step| step.starts_with("rename mw/.dvcs/index/"));
        added.is_some_and(|at| {
            let later = steps.iter().skip(at);
            later
                .filter(|step| step.starts_with("write mw/.dvcs/*/"))
                .count()
                > 0
        })
    });
    assert!(matches!(reached, Reached::Step(_)), "{}", traced.output());
    let stopped = traced.stop();
    copy.dvc("mine", GC).codes(&[0], case);
    let ended = stopped.thaw();
    assert_eq!(ended.code, 0, "{ended:?}");
    learn(&mut copy);
    copy.assert_sound("mine", case);
}

#[test]
fn gc_beside_a_stopped_fetch() {
    const MINE: Victim = Victim {
        name: "gc of the clone",
        repository: "mine",
        ..COLLECT
    };
    const THERE: Victim = Victim {
        name: "gc of the remote",
        repository: "there",
        ..COLLECT
    };
    stop_each(&FETCH, 2, &[&MINE, &THERE], &[0]);
}

#[test]
fn gc_beside_a_stopped_checkout() {
    stop_each(&CHECKOUT, 2, &[&COLLECT], &[0]);
}

#[test]
fn gc_beside_a_stopped_repair() {
    stop_each(&REPAIR, 2, &[&COMMIT, &COLLECT], &[0]);
}

#[test]
fn others_beside_a_stopped_gc() {
    stop_each(
        &COLLECT,
        2,
        &[&COMMIT, &COLLECT, &FORGET, &CHECKOUT, &PUSH],
        &[0, 11],
    );
}

#[test]
fn others_beside_a_stopped_deletion() {
    stop_each(&DELETE, 2, &[&COMMIT, &COLLECT], &[0, 11]);
}

#[test]
fn gc_beside_a_stopped_forget() {
    stop_each(&FORGET, 2, &[&COLLECT, &COMMIT], &[0, 11, 13]);
}

/// Stops a commit and a collection at two steps; a second collection runs completely.
#[test]
fn a_stopped_commit_and_a_stopped_gc() {
    let stage = Stage::new();
    let commits = Chosen::of(&stage, &COMMIT, 3);
    let collections = Chosen::of(&stage, &COLLECT, 3);
    let mut dice = Numbers(seed() * 2 + 99);
    for _ in 0..commits.numbers.len().max(collections.numbers.len()) {
        let [first, second] =
            [&commits, &collections].map(|c| c.numbers[dice.below(c.numbers.len())]);
        for is_gc_first in [false, true] {
            let mut copy = stage.copy();
            back(&copy);
            let start = |args: &[&str]| Traced::start(&copy.command("repo", args), &copy.at(""));
            let reach = |args: &[&str], number: usize| {
                let mut traced = start(args);
                let reached = traced.run_to(number);
                (
                    matches!(reached, Reached::Step(_)).then(|| traced.stop()),
                    reached,
                )
            };
            let (gc, commit) = ((GC, second, &[0, 11][..]), (COMMIT.args, first, &[0][..]));
            let order = if is_gc_first {
                [gc, commit]
            } else {
                [commit, gc]
            };
            let (one, at) = reach(order[0].0, order[0].1);
            if copy.has_locked_catalogue() {
                continue;
            }
            let (other, other_at) = reach(order[1].0, order[1].1);
            if copy.has_locked_catalogue() {
                continue;
            }
            let case = format!(
                "commit at {first} and gc at {second}, gc first: {is_gc_first}: {at:?}, {other_at:?}"
            );
            copy.dvc("repo", GC).codes(&[0, 11], &case);
            learn(&mut copy);
            copy.assert_sound("repo", &case);
            for (stopped, codes) in [(other, order[1].2), (one, order[0].2)] {
                let Some(stopped) = stopped else { continue };
                let ended = stopped.thaw();
                note(&format!("{case} {}", ended.code));
                assert!(codes.contains(&ended.code), "{case}: {ended:?}");
                learn(&mut copy);
                copy.assert_sound("repo", &case);
            }
            copy.assert_collected("repo", &case);
        }
    }
}

/// The list of a plan whose collection was killed is damaged. Writers refuse to guess what the plan
/// names; the next collection voids the plan.
#[test]
fn the_list_of_an_unfinished_plan_is_damaged() {
    let stage = Stage::new();
    let base = stage.copy();
    let mut traced = Traced::start(&base.command("repo", GC), &base.at("repo"));
    let is_planned = |steps: &[String]| {
        steps
            .iter()
            .any(|step| step.starts_with("rename quarantine/log/"))
    };
    assert!(matches!(traced.run_until(is_planned), Reached::Step(_)));
    traced.kill();
    let lists: Vec<_> = std::fs::read_dir(base.at("repo/quarantine/lists"))
        .unwrap()
        .collect();
    assert_eq!(lists.len(), 1);
    let list = lists[0].as_ref().unwrap().path();
    let bytes = std::fs::read(&list).unwrap();
    let mut flipped = bytes.clone();
    flipped[20] ^= 1;
    crate::known::copy_dir(&base.at("repo"), &base.at("planned"));
    back(&base);
    let damaged = [
        None,
        Some(vec![]),
        Some(bytes[..40].to_vec()),
        Some(flipped),
    ];
    for (n, damaged) in damaged.into_iter().enumerate() {
        std::fs::remove_dir_all(base.at("repo")).unwrap();
        crate::known::copy_dir(&base.at("planned"), &base.at("repo"));
        std::fs::remove_file(&list).unwrap();
        if let Some(damaged) = damaged {
            std::fs::write(&list, damaged).unwrap();
        }
        let case = format!("damage {n}");
        let commit = ["commit", "-m", "back", "-b", "other"];
        base.dvc("repo", &commit).codes(&[5], &case);
        base.dvc("repo", GC).codes(&[0], &case);
        base.assert_sound("repo", &case);
        base.dvc("repo", &commit).codes(&[0], &case);
    }
}

/// Stops a commit in a mount, and the process of the mount, and collects.
#[test]
fn gc_beside_a_stopped_mount() {
    if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::new();
    let count = mount_commit(&stage, usize::MAX, false);
    let wanted = std::env::var("DVC_TEST_KILLS").unwrap_or_else(|_| "3".to_owned());
    let numbers: Vec<usize> = match wanted.as_str() {
        "all" => (1..=count).collect(),
        few => {
            let mut dice = Numbers(seed() * 2 + 5);
            (0..few.parse().unwrap())
                .map(|_| 1 + dice.below(count))
                .collect()
        }
    };
    for number in numbers {
        mount_commit(&stage, number, number % 2 == 0);
    }
}

/// Stops a commit in a mount after a step, collects, and lets the commit continue. Returns the
/// number of steps.
fn mount_commit(stage: &Stage, number: usize, is_mount_stopped: bool) -> usize {
    let mut copy = stage.copy();
    let at = copy.at("m");
    std::fs::create_dir(&at).unwrap();
    let dir = at.to_str().unwrap();
    let mounted = copy
        .dvc("repo", &["--json", "mount", "--name", "o", "main", dir])
        .codes(&[0], "mount");
    let mounted_at = Unmount(copy.at(""));
    let line = mounted
        .text
        .lines()
        .find(|line| line.contains("\"pid\""))
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    let pid = i32::try_from(json["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    std::fs::write(at.join("back"), noise(60, 90_000)).unwrap();
    std::fs::write(at.join("new"), noise(70, 20_000)).unwrap();
    let files = copy.files("m");
    // Without `--repo`, the commit is one of the mount.
    let commit = copy.command("", &["-C", dir, "commit", "-m", "back"]);
    let mut traced = Traced::start(&commit, &copy.at("repo"));
    let reached = traced.run_to(number);
    let steps = traced.steps.len();
    let case = format!(
        "gc while a commit in a mount stops at {number}: {reached:?}, and the mount: {is_mount_stopped}"
    );
    let code = match reached {
        Reached::Ended(code) => code,
        Reached::Step(_) => {
            let stopped = traced.stop();
            if copy.has_locked_catalogue() {
                return steps;
            }
            if is_mount_stopped {
                signal(rustix::process::Signal::STOP);
            }
            let collected = copy.dvc("repo", GC).codes(&[0, 11], &case);
            copy.learn_new(copy.tip("repo", "main").unwrap(), &files);
            copy.assert_sound("repo", &format!("{case}, before it continues"));
            if is_mount_stopped {
                signal(rustix::process::Signal::CONT);
            }
            let ended = stopped.thaw();
            note(&format!("{case} {} {}", collected.code, ended.code));
            ended.code
        }
    };
    assert_eq!(code, 0, "{case}");
    copy.learn_new(copy.tip("repo", "main").unwrap(), &files);
    copy.assert_sound("repo", &case);
    assert!(copy.files("m") == files, "{case}");
    drop(mounted_at);
    copy.assert_collected("repo", &case);
    steps
}

/// Unmounts when it is dropped.
struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let at = self.0.join("m");
        let args = ["umount", "--discard", at.to_str().unwrap()];
        if run(command(&self.0, "repo", &args)).code != 0 {
            let _ = rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
