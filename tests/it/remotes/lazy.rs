//! Lazy clones: local data is available without the remote, and data that was not fetched does not
//! count as damage.

use super::journey::noise;
use super::place;
use crate::support::sandbox::{Run, Sandbox};

/// Creates a remote `far` with two versions of `data` and `other`, and a lazy clone of it in
/// `lazy`.
fn lazy() -> Sandbox {
    let s = Sandbox::with_repo();
    for n in 1..=2u64 {
        s.write("data", noise(n, 400_000));
        s.write("other", noise(10 + n, 400_000));
        s.dvc(["commit", "-m", &format!("version {n}")]).ok();
    }
    s.dvc(["remote", "add", "origin", "../far"]).ok();
    s.dvc(["push"]).ok();
    let run = s.dvc(["clone", "--lazy", "../far", "../lazy"]).ok();
    run.says("nothing is checked out yet")
        .says("  dvc -C ../lazy ls ")
        .says("  dvc -C ../lazy checkout main -- PATH ");
    s
}

fn of(s: &Sandbox, args: &[&str]) -> Run {
    Run::of(s.command(["-C", "../lazy"]).args(args))
}

/// Runs all commands that need the complete data of `main`.
#[track_caller]
fn all_of_main_is_here(s: &Sandbox, more: &[&str], place: &str) {
    let with = |args: &[&str]| of(s, &[more, args].concat());
    with(&["checkout", "main"]).ok();
    assert!(with(&["show", "main:data"]).ok().bytes == noise(2, 400_000));
    with(&["checkout", "--into", place, "main"]).ok();
    assert_eq!(
        std::fs::read(s.at("lazy").join(place).join("other")).unwrap(),
        noise(12, 400_000)
    );
    with(&["status"]).ok();
    with(&["diff", "--stat", "main~1", "main"])
        .ok()
        .says("data");
    std::fs::write(s.at("lazy/new"), place).unwrap();
    with(&["commit", "-m", "without a network"]).ok();
    with(&["checkout", "main~1"]).ok();
    with(&["checkout", "main"]).ok();
    with(&["undo", "-y"]).ok();
    std::fs::remove_file(s.at("lazy/new")).unwrap();
}

#[test]
fn local_data_needs_no_remote() {
    let s = lazy();
    of(&s, &["checkout", "main"]).ok();
    all_of_main_is_here(&s, &[], "../a");
    std::fs::rename(s.at("far"), s.at("aside")).unwrap();
    all_of_main_is_here(&s, &["--offline"], "../b");
    all_of_main_is_here(&s, &[], "../c");
    // The data of the first version is not local.
    let gone = of(&s, &["show", "main~1:data"])
        .code(6)
        .complains("no repository at");
    gone.complains("`dvc remote set NAME URL`");
    of(&s, &["checkout", "--into", "../d", "main~1"]).code(6);
    assert!(!s.at("d").exists());
    std::fs::rename(s.at("aside"), s.at("far")).unwrap();
    assert!(of(&s, &["show", "main~1:data"]).ok().bytes == noise(1, 400_000));
}

#[test]
fn remote_data_is_not_damage() {
    let s = lazy();
    of(&s, &["checkout", "main", "--", "data"]).ok();
    let sound = |run: Run| run.ok().says("no damage");
    sound(of(&s, &["fsck", "--data"])).complains("only on the remote");
    sound(of(&s, &["fsck", "--rebuild"]));
    std::fs::rename(s.at("far"), s.at("aside")).unwrap();
    for check in [&["fsck", "--data"], &["fsck", "--rebuild"]] {
        of(&s, check)
            .code(3)
            .says("no local damage, but")
            .complains("cannot check whether");
    }
    of(&s, &["log", "--oneline"]).ok().says("version 1");
    assert!(of(&s, &["show", "main:data"]).ok().bytes == noise(2, 400_000));

    // The remote does not have the data either, so it is lost.
    std::fs::create_dir_all(s.at("far/index")).unwrap();
    std::fs::copy(s.at("aside/format"), s.at("far/format")).unwrap();
    of(&s, &["fsck"]).code(5).says("other").says("lost");
    std::fs::remove_dir_all(s.at("far")).unwrap();
    std::fs::rename(s.at("aside"), s.at("far")).unwrap();
    sound(of(&s, &["fsck"]));
    of(&s, &["fetch", "--data"]).ok();
    let whole = sound(of(&s, &["fsck", "--data"]));
    assert!(!whole.err.contains("only on the remote"), "{}", whole.err);
}

/// A commit must store data itself that only a different repository has.
#[test]
fn a_foreign_remote_is_not_relied_on() {
    let s = lazy();
    let other = Sandbox::with_repo();
    other.write("data", noise(2, 400_000));
    other.dvc(["commit", "-m", "one"]).ok();
    let there = s.at("far").display().to_string();
    other
        .dvc(["remote", "add", "--lazy", "origin", &there])
        .ok();
    other.write("more", noise(1, 400_000));
    other
        .dvc(["commit", "-m", "two"])
        .code(4)
        .complains("contains a different repository");
    other.dvc(["remote", "rm", "origin"]).ok();
    other.dvc(["commit", "-m", "two"]).ok();
    other.dvc(["fsck", "--data"]).ok().says("no damage");
}

/// A commit that omits data which its lazy remote has makes the repository partial, even if it has
/// never fetched from the remote.
#[test]
fn a_repository_that_leaves_data_out_is_partial() {
    let s = lazy();
    s.dvc(["remote", "rm", "origin"]).ok();
    s.dvc(["remote", "add", "--lazy", "origin", "../far"]).ok();
    let data: Vec<_> = place::below(&s.w(".dvcs/packs"));
    data.iter()
        .filter(|p| place::is_data(&std::fs::read(p).unwrap()))
        .for_each(|p| std::fs::remove_file(p).unwrap());
    s.dvc(["fsck", "--rebuild"]).ok();
    s.write("new", "new");
    s.dvc(["commit", "-m", "leaves out what is there"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["fetch", "--data"]).ok();
    std::fs::rename(s.at("far"), s.at("aside")).unwrap();
    s.dvc(["checkout", "--into", "../whole", "main"]).ok();
    assert!(std::fs::read(s.at("whole/data")).unwrap() == noise(2, 400_000));
}

/// If a local pack is damaged, its objects are read from a remote with an intact copy.
#[test]
fn local_damage_does_not_hide_the_remote() {
    let s = lazy();
    of(&s, &["fetch", "--data"]).ok();
    let packs = place::below(&s.at("lazy/.dvcs/packs"));
    for pack in packs
        .iter()
        .filter(|p| place::is_data(&std::fs::read(p).unwrap()))
    {
        let mut bytes = std::fs::read(pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 300].fill(0x55);
        std::fs::write(pack, bytes).unwrap();
    }
    of(&s, &["fsck", "--data"]).code(5);
    of(&s, &["fsck", "--rebuild"]).ok();
    for n in 1..=2 {
        let rev = format!("origin/main~{}", 2 - n);
        assert!(of(&s, &["show", &format!("{rev}:data")]).ok().bytes == noise(n, 400_000));
        assert!(of(&s, &["show", &format!("{rev}:other")]).ok().bytes == noise(10 + n, 400_000));
    }
    of(&s, &["fetch", "--data"]).ok();
    of(&s, &["checkout", "-f", "main"]).ok();
}

/// A partial clone reads from its remote regardless of its settings, until all data is local.
#[test]
fn a_part_is_never_taken_for_the_whole() {
    let s = lazy();
    std::fs::rename(s.at("far"), s.at("moved")).unwrap();
    of(&s, &["remote", "set", "origin", "../moved"]).ok();
    assert!(of(&s, &["show", "main:data"]).ok().bytes == noise(2, 400_000));
    of(&s, &["remote", "rm", "origin"]).ok();
    of(&s, &["remote", "add", "origin", "../moved"]).ok();
    assert!(of(&s, &["show", "main~1:data"]).ok().bytes == noise(1, 400_000));
    of(&s, &["fsck"]).ok().complains("only on the remote");
    of(&s, &["fetch"]).ok();
    of(&s, &["fsck", "--data"]).ok();
    std::fs::rename(s.at("moved"), s.at("gone")).unwrap();
    of(&s, &["checkout", "main~1"]).ok();
    of(&s, &["checkout", "main"]).ok();
    assert!(of(&s, &["fsck"]).ok().err.is_empty());
    std::fs::rename(s.at("gone"), s.at("far")).unwrap();

    // A clone that was started with --lazy and failed is completed by a full clone.
    s.dvc(["branch", "two"]).ok();
    s.dvc(["push", "origin", "two"]).ok();
    s.dvc(["clone", "--lazy", "-b", "nope", "../far", "../half"])
        .code(13);
    s.dvc(["clone", "-b", "two", "../far", "../half"]).ok();
    s.dvc(["-C", "../half", "fsck", "--data"])
        .ok()
        .says("no damage");
    assert!(std::fs::read(s.at("half/data")).unwrap() == noise(2, 400_000));
    // A fetch of some paths does not make a clone complete either.
    s.write("data", noise(3, 400_000));
    s.dvc(["commit", "-m", "version 3"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["clone", "-b", "two", "../far", "../paths"]).ok();
    s.write("other", noise(4, 400_000));
    s.dvc(["commit", "-m", "version 4"]).ok();
    s.dvc(["push"]).ok();
    s.dvc(["-C", "../paths", "fetch", "--", "data"]).ok();
    s.dvc(["-C", "../paths", "fetch"]).ok();
    s.dvc(["-C", "../paths", "fsck", "--data"])
        .ok()
        .says("no damage");
    s.dvc([
        "-C",
        "../paths",
        "checkout",
        "--into",
        "../all",
        "origin/main",
    ])
    .ok();
}

/// A pull that cannot fetch all data does not move the branch. The next pull finishes an
/// interrupted one.
#[test]
fn a_pull_is_finished() {
    let s = lazy();
    of(&s, &["checkout", "main"]).ok();
    s.write("data", noise(3, 400_000));
    s.dvc(["commit", "-m", "version 3"]).ok();
    s.dvc(["push"]).ok();
    let planned = of(&s, &["pull", "-n"]).ok();
    assert!(!planned.out.contains("up to date"), "{}", planned.out);
    of(&s, &["fetch"]).ok();
    let aside: Vec<_> = place::below(&s.at("far/packs"))
        .into_iter()
        .filter(|pack| std::fs::metadata(pack).unwrap().len() > 100_000)
        .map(|pack| (pack.clone(), pack.with_extension("aside")))
        .collect();
    aside
        .iter()
        .for_each(|(pack, aside)| std::fs::rename(pack, aside).unwrap());
    of(&s, &["pull"]).code(5);
    aside
        .iter()
        .for_each(|(pack, aside)| std::fs::rename(aside, pack).unwrap());
    of(&s, &["log", "--format=%s", "-n", "1"])
        .ok()
        .says("version 2");
    of(&s, &["pull"]).ok();
    let data = || std::fs::read(s.at("lazy/data")).unwrap();
    assert!(data() == noise(3, 400_000));

    s.write("data", noise(4, 400_000));
    s.dvc(["commit", "-m", "version 4"]).ok();
    s.dvc(["push"]).ok();
    // Simulate a pull that was interrupted after it had moved the branch and before the checkout.
    of(&s, &["fetch"]).ok();
    of(&s, &["branch", "-f", "main", "origin/main"]).ok();
    assert!(data() == noise(3, 400_000));
    of(&s, &["pull"]).ok();
    assert!(data() == noise(4, 400_000));
    of(&s, &["status", "--exit-code"]).ok();
    let far = s.at("far").display().to_string();
    of(&s, &["pull", &far])
        .code(2)
        .complains("`dvc remote add NAME ");
}
