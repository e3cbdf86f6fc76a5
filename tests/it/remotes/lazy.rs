//! A lazy clone by itself: what it has works without its remote, and what it lacks is no damage.

use super::journey::noise;
use crate::support::sandbox::{Run, Sandbox};

/// A whole repository in `/far` with two versions of `data` and `other`, and a lazy clone of it in `lazy`.
fn lazy() -> Sandbox {
    let s = Sandbox::with_repo();
    for n in 1..=2u64 {
        s.write("data", noise(n, 400_000));
        s.write("other", noise(10 + n, 400_000));
        s.dvc(["commit", "-m", &format!("version {n}")]).ok();
    }
    s.dvc(["remote", "add", "origin", "../far"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["clone", "--lazy", "../far", "../lazy"]).ok();
    s
}

fn of(s: &Sandbox, args: &[&str]) -> Run {
    Run::of(s.command(["-C", "../lazy"]).args(args))
}

/// All that may be done with `main` when all of it is here.
#[track_caller]
fn all_of_main_is_here(s: &Sandbox, more: &[&str], place: &str) {
    let with = |args: &[&str]| of(s, &[more, args].concat());
    with(&["checkout", "main"]).ok();
    assert!(with(&["show", "main:data"]).ok().bytes == noise(2, 400_000));
    with(&["checkout", "--into", place, "main"]).ok();
    assert_eq!(std::fs::read(s.at("lazy").join(place).join("other")).unwrap(), noise(12, 400_000));
    with(&["status"]).ok();
    with(&["diff", "--stat", "main~1", "main"]).ok().says("data");
    std::fs::write(s.at("lazy/new"), place).unwrap();
    with(&["commit", "-m", "without a network"]).ok();
    with(&["checkout", "main~1"]).ok();
    with(&["checkout", "main"]).ok();
    with(&["undo", "-y"]).ok();
    std::fs::remove_file(s.at("lazy/new")).unwrap();
}

#[test]
fn what_is_here_needs_no_remote() {
    let s = lazy();
    of(&s, &["checkout", "main"]).ok();
    all_of_main_is_here(&s, &[], "../a");
    std::fs::rename(s.at("far"), s.at("aside")).unwrap();
    all_of_main_is_here(&s, &["--offline"], "../b");
    all_of_main_is_here(&s, &[], "../c");
    // The first version is not here.
    let gone = of(&s, &["show", "main~1:data"]).code(6).complains("there is no repository at");
    gone.complains("`dvc remote set NAME URL`");
    of(&s, &["checkout", "--into", "../d", "main~1"]).code(6);
    assert!(!s.at("d").exists());
    std::fs::rename(s.at("aside"), s.at("far")).unwrap();
    assert!(of(&s, &["show", "main~1:data"]).ok().bytes == noise(1, 400_000));
}

#[test]
fn what_is_elsewhere_is_no_damage() {
    let s = lazy();
    of(&s, &["checkout", "main", "--", "data"]).ok();
    let sound = |run: Run| run.ok().says("no damage");
    sound(of(&s, &["fsck", "--data"])).complains("not here, but at");
    sound(of(&s, &["fsck", "--rebuild"]));
    std::fs::rename(s.at("far"), s.at("aside")).unwrap();
    for check in [&["fsck", "--data"], &["fsck", "--rebuild"]] {
        of(&s, check).code(3).says("no damage in what is here, but").complains("cannot be told");
    }
    of(&s, &["log", "--oneline"]).ok().says("version 1");
    assert!(of(&s, &["show", "main:data"]).ok().bytes == noise(2, 400_000));

    // A remote that does not have it either.
    std::fs::create_dir_all(s.at("far/index")).unwrap();
    std::fs::copy(s.at("aside/format"), s.at("far/format")).unwrap();
    of(&s, &["fsck"]).code(5).says("other").says("lost");
    std::fs::remove_dir_all(s.at("far")).unwrap();
    std::fs::rename(s.at("aside"), s.at("far")).unwrap();
    sound(of(&s, &["fsck"]));
    of(&s, &["fetch", "--data"]).ok();
    let whole = sound(of(&s, &["fsck", "--data"]));
    assert!(!whole.err.contains("not here"), "{}", whole.err);
}
