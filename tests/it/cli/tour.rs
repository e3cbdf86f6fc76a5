//! The five-minute tour of the README, and the page on restoring after a disaster. The tests run
//! all `sh` blocks unchanged and in order, in an empty home directory.

use crate::support::sandbox::Sandbox;

/// Returns the concatenated text of all ```` ```sh ```` blocks.
fn blocks(markdown: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        match line.trim_end() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => out.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    out
}

#[test]
fn only_sh_blocks_are_taken() {
    assert_eq!(
        blocks("a\n```sh\nb\nc\n```\n```\nd\n```\n```sh\ne\n```\nf"),
        "b\nc\ne\n"
    );
}

#[test]
fn the_readme_tour_works() {
    let script = blocks(include_str!("../../../README.md"));
    assert!(script.lines().filter(|l| l.contains("dvc ")).count() > 20);
    let sandbox = Sandbox::new();
    // Trace the commands, so that a failure shows which one failed.
    let run = sandbox.sh(&format!("cd \"$HOME\"; set -x\n{script}")).ok();
    for expected in ["port = 3306", "port = 3307", "orders.ibd", "INSERT INTO t"] {
        assert!(run.out.contains(expected), "no `{expected}` in {}", run.out);
    }
}

#[test]
fn the_disaster_page_works() {
    let script = blocks(include_str!("../../../docs/restore-after-disaster.md"));
    assert!(script.lines().filter(|l| l.contains("dvc ")).count() > 35);
    let mut sandbox = Sandbox::new();
    sandbox.set("DVC_AUTHOR", "Ann <ann@example.org>");
    let run = sandbox.sh(&format!("cd \"$HOME\"; set -x\n{script}")).ok();
    let said = format!("{}{}", run.out, run.err);
    for expected in [
        "D orders",
        "branch: set to nightly@v1",
        "wednesday",
        "no longer exists",
        "1 damaged, 1 object lost",
        "repaired 1 object",
        "orders`: not restored",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }
}
