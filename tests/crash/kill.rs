//! Kills dvc at random moments and verifies that no acknowledged version is lost.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dvc::model::id::Id;
use dvc::model::refname::{RefKind, RefName};
use dvc::observe::Silent;
use dvc::ops::fsck::{FsckOptions, fsck};

use crate::child::spawn;
use crate::known::{KnownVersion, context, files_of, lost_paths, noise};

/// Number of kills.
const ROUNDS: u64 = 36;

fn dvc(repo: &Path, work: &Path, args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_dvc"));
    c.arg("--repo").arg(repo).arg("-C").arg(work).args(args);
    c.env_clear()
        .env("HOME", repo.parent().unwrap())
        .env("DVC_AUTHOR", "K <k@example.org>");
    c.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    c
}

/// Kills the process after `delay`. Returns whether it had already ended successfully.
fn killed(mut command: Command, delay: Duration) -> bool {
    let mut child = spawn(&mut command);
    std::thread::sleep(delay);
    // Ignore the error: the process may have ended already.
    let _ = child.kill();
    child.wait().unwrap().success()
}

#[test]
fn random_kills() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    let (repo, work) = (top.join("repo"), top.join("work"));
    fs::create_dir(&work).unwrap();
    assert!(dvc(&repo, &work, &["init"]).status().unwrap().success());
    for n in 0..300u64 {
        fs::write(work.join(format!("file {n}")), noise(n + 1, 4000)).unwrap();
    }
    let context = context(repo.clone(), work.clone());
    let main = RefName::new("main").unwrap();
    let tip = || {
        context
            .repo()
            .unwrap()
            .refs()
            .value(RefKind::Branch, &main)
            .unwrap()
    };
    let mut versions: Vec<KnownVersion> = Vec::new();
    let mut seen: Option<Id> = None;
    let mut ended = 0;
    for round in 0..ROUNDS {
        fs::write(work.join("database"), noise(round * 2 + 1001, 2_000_000)).unwrap();
        fs::write(
            work.join(format!("file {}", round * 7 % 300)),
            noise(round + 5000, 5000),
        )
        .unwrap();
        let files = files_of(&work);
        let delay = Duration::from_millis(round * 7919 % 97 * if round % 3 == 0 { 6 } else { 2 });
        let well = killed(dvc(&repo, &work, &["commit", "-m", "x"]), delay);
        ended += u64::from(well);
        let report = fsck(&context, &FsckOptions::default(), &Silent)
            .unwrap()
            .check;
        assert!(report.is_sound(), "round {round}: {:?}", report.damage);
        let now = tip();
        assert!(
            !well || now != seen,
            "round {round}: an acknowledged version is gone"
        );
        if let Some(id) = now.filter(|_| now != seen) {
            versions.push(KnownVersion {
                id,
                branch: "main",
                files,
            });
            seen = now;
        }
        if round % 4 == 3 && versions.len() > 1 {
            // Kill a checkout too; the next checkout completes it.
            let target = &versions[usize::try_from(round).unwrap() % versions.len()];
            let id = target.id.to_string();
            let short = Duration::from_millis(round * 31 % 60);
            killed(dvc(&repo, &work, &["checkout", "-f", &id]), short);
            let done = dvc(&repo, &work, &["checkout", "-f", &id])
                .status()
                .unwrap();
            assert!(done.success(), "round {round}");
            assert_eq!(files_of(&work), target.files, "round {round}");
            assert!(
                dvc(&repo, &work, &["checkout", "-f", "main"])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
    // A commit that is not killed completes the work of the killed commits.
    assert!(
        dvc(&repo, &work, &["commit", "-m", "last", "--allow-empty"])
            .status()
            .unwrap()
            .success()
    );
    versions.push(KnownVersion {
        id: tip().unwrap(),
        branch: "main",
        files: files_of(&work),
    });
    let all = FsckOptions {
        data: Some(1_000_000),
        ..FsckOptions::default()
    };
    let report = fsck(&context, &all, &Silent).unwrap().check;
    assert!(report.is_sound(), "{:?}", report.damage);
    let opened = context.repo().unwrap();
    for version in &versions {
        let lost = lost_paths(&opened, version, "after all kills");
        assert!(lost.is_empty(), "{lost:?}");
    }
    // The number of interrupted commits depends on the machine, so print it instead of asserting
    // it.
    println!(
        "{ended} of {ROUNDS} commits ended well, {} versions were made",
        versions.len()
    );
}

/// Runs checks at the same time as commits and rebuilds. The checks must never report work in
/// progress as damage.
#[test]
fn a_check_beside_commits() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    let repo = top.join("repo");
    let work = |name: &str| {
        let dir = top.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("same"), "same everywhere\n".repeat(3000)).unwrap();
        dir
    };
    assert!(
        dvc(&repo, &work("0"), &["init"])
            .status()
            .unwrap()
            .success()
    );
    std::thread::scope(|scope| {
        let mut commits = Vec::new();
        for name in ["left", "right"] {
            let (work, repo) = (work(name), &repo);
            let commit = scope.spawn(move || {
                for n in 0..12u64 {
                    fs::write(work.join("noise"), noise(n * 3 + name.len() as u64, 50_000))
                        .unwrap();
                    let mut c = dvc(
                        repo,
                        &work,
                        &[
                            "commit",
                            "-m",
                            "x",
                            "-b",
                            if n % 3 == 0 { "both" } else { name },
                        ],
                    );
                    let out = c.stderr(Stdio::piped()).output().unwrap();
                    assert!(
                        out.status.success(),
                        "{name} {n}: {}",
                        String::from_utf8_lossy(&out.stderr)
                    );
                }
            });
            commits.push(commit);
        }
        let context = context(repo.clone(), work("0"));
        let mut rounds = 0;
        while commits.iter().any(|c| !c.is_finished()) || rounds < 3 {
            let options = FsckOptions {
                data: Some(300_000),
                rebuild: rounds % 5 == 4,
                ..FsckOptions::default()
            };
            let report = fsck(&context, &options, &Silent).unwrap().check;
            assert!(report.is_sound(), "round {rounds}: {:?}", report.damage);
            rounds += 1;
        }
        commits.into_iter().for_each(|c| c.join().unwrap());
        let tips = context
            .repo()
            .unwrap()
            .refs()
            .list(RefKind::Branch)
            .unwrap();
        let ordinals: Vec<u64> = tips
            .iter()
            .map(|t| context.repo().unwrap().commit(&t.id).unwrap().ordinal)
            .collect();
        assert_eq!(
            ordinals,
            [8, 8, 8],
            "a version of a concurrent commit is lost"
        );
    });
}
