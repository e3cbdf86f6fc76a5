//! Options of `clone`, and the remotes of a repository.

use super::journey::noise;
use super::place::{self, Place};
use crate::support::sandbox::Sandbox;

/// Creates a remote to which Ann has pushed three versions of the default branch AMCC and one
/// version of `dev`.
fn shared() -> (Place, Sandbox) {
    let place = place::s3();
    let ann = place.person("Ann");
    ann.dvc(["init", "--branch", "AMCC"]).ok();
    ann.dvc(["remote", "add", "origin", &place.url]).ok();
    for n in 1..=3u64 {
        ann.write("n", n.to_string());
        ann.write("data", noise(n, 500_000));
        ann.dvc(["commit", "-m", &format!("version {n}")]).ok();
    }
    ann.dvc(["checkout", "-b", "dev"]).ok();
    ann.write("n", "dev");
    ann.dvc(["commit", "-m", "on dev"]).ok();
    ann.dvc(["push", "--all"]).ok();
    (place, ann)
}

fn current(s: &Sandbox, name: &str) -> String {
    s.dvc(["-C", name, "branch", "--show-current"])
        .ok()
        .out
        .trim()
        .to_owned()
}

#[test]
fn of_a_version_and_of_a_branch() {
    let (place, _ann) = shared();
    let bob = place.person("Bob");
    let clone = |what: &str, dir: &str, more: &[&str]| {
        bob.dvc([&["clone", &format!("{}{what}", place.url), dir], more].concat())
            .ok();
        (
            current(&bob, dir),
            String::from_utf8(bob.read(&format!("{dir}/n"))).unwrap(),
        )
    };
    let of = |branch: &str, n: &str| (branch.to_owned(), n.to_owned());
    assert_eq!(clone("", "default", &[]), of("AMCC", "3"));
    assert_eq!(clone("#dev", "fragment", &[]), of("dev", "dev"));
    assert_eq!(clone("", "option", &["-b", "dev"]), of("dev", "dev"));
    // If the URL names an older version, no branch is checked out.
    assert_eq!(clone("#AMCC@v1", "old", &[]).1, "1");
    assert_eq!(clone("#AMCC~1", "before", &[]).1, "2");
    bob.dvc(["clone", &format!("{}#AMCC:n", place.url), "path"])
        .code(2);
    bob.dvc(["clone", &format!("{}#none", place.url), "none"])
        .code(13);
    bob.dvc(["clone", &place.url, "nope", "-b", "nope"])
        .code(13)
        .complains("`nope`")
        .complains("-b BRANCH");
    // The default directory has the last name in the path of the URL.
    bob.dvc(["clone", &place.url]).ok();
    assert_eq!(bob.read("repo/n"), b"3");
    let taken = bob
        .dvc(["clone", &place.url])
        .code(2)
        .complains("a repository already exists at");
    taken.complains("hint: specify a new or empty directory");
    std::fs::create_dir_all(bob.w("full/of")).unwrap();
    bob.dvc(["clone", &place.url, "full"])
        .code(2)
        .complains("is not empty and is not a repository");
    // The path of a worktree refers to the repository in it.
    bob.dvc(["clone", "repo", "worktree"]).ok();
    assert_eq!(
        (current(&bob, "worktree"), bob.read("worktree/n")),
        ("AMCC".to_owned(), b"3".to_vec())
    );
    let told = bob
        .dvc(["-C", "worktree", "remote", "list", "--json"])
        .ok()
        .json();
    assert!(
        told["url"].as_str().unwrap().ends_with("/w/repo/.dvcs"),
        "{told}"
    );
}

#[test]
fn without_a_checkout() {
    let (place, _ann) = shared();
    let bob = place.person("Bob");
    let told = bob
        .dvc(["clone", "--no-checkout", "--json", &place.url, "bare"])
        .ok()
        .json();
    assert_eq!(
        (&told["branch"], &told["lazy"]),
        (&"AMCC".into(), &false.into()),
        "{told}"
    );
    let names: Vec<_> = std::fs::read_dir(bob.w("bare"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, [".dvcs"]);
    bob.dvc(["-C", "bare", "fsck", "--data"])
        .ok()
        .says("no damage");
    bob.dvc(["-C", "bare", "checkout", "AMCC"]).ok();
    assert_eq!(bob.read("bare/n"), b"3");
}

/// A shallow clone fetches the newest version now, and older versions when they are read.
#[test]
fn of_the_last_version_only() {
    let (place, _ann) = shared();
    let bob = place.person("Bob");
    let before = place.bytes_sent().unwrap();
    bob.dvc(["clone", "--depth", "1", "-b", "AMCC", &place.url, "shallow"])
        .ok();
    // There are four versions of half a megabyte that does not compress. The clone fetches the two
    // tips, but `dev` shares its data with the third version.
    let came = place.bytes_sent().unwrap() - before;
    assert!((500_000..1_100_000).contains(&came), "{came}");
    assert_eq!(
        bob.dvc(["-C", "shallow", "log", "--format=%s"])
            .ok()
            .lines()
            .len(),
        3
    );
    let reads = place.data_packs_read();
    assert!(bob.dvc(["-C", "shallow", "show", "AMCC:data"]).ok().bytes == noise(3, 500_000));
    assert_eq!(place.data_packs_read(), reads, "the newest version is here");
    assert!(
        bob.dvc(["-C", "shallow", "show", "AMCC@v1:data"])
            .ok()
            .bytes
            == noise(1, 500_000)
    );
    assert_ne!(
        place.data_packs_read(),
        reads,
        "the oldest version is not here"
    );
    bob.dvc(["-C", "shallow", "--offline", "show", "AMCC@v2:data"])
        .code(6);
}

#[test]
fn of_a_repository_without_its_default_branch() {
    let place = place::s3();
    let (ann, bob) = (place.person("Ann"), place.person("Bob"));
    ann.dvc(["init", "--branch", "AMCC"]).ok();
    ann.write("n", "1");
    ann.dvc(["commit", "-m", "one"]).ok();
    ann.dvc(["remote", "add", "origin", &place.url]).ok();
    bob.dvc(["clone", &place.url, "early"]).code(10);
    assert!(!bob.w("early").exists());
    ann.dvc(["branch", "x"]).ok();
    ann.dvc(["push", "origin", "x"]).ok();
    // The only branch is checked out, regardless of its name.
    bob.dvc(["clone", &place.url, "only"]).ok();
    assert_eq!(current(&bob, "only"), "x");
    ann.dvc(["branch", "y"]).ok();
    ann.dvc(["push", "origin", "y"]).ok();
    let refused = bob.dvc(["clone", &place.url, "copy"]).code(13);
    let refused = refused
        .complains("no default branch `AMCC`")
        .complains("x, y")
        .complains("hint: the clone itself is complete");
    assert!(
        refused
            .err
            .contains("`dvc checkout -b BRANCH origin/BRANCH`")
    );
    bob.dvc(["-C", "copy", "branch", "x", "origin/x"]).ok();
    bob.dvc(["-C", "copy", "checkout", "x"]).ok();
    assert_eq!(bob.read("copy/n"), b"1");
    bob.dvc(["clone", "-b", "y", &place.url, "other"]).ok();
    assert_eq!(current(&bob, "other"), "y");
}

#[test]
fn remotes_are_listed_changed_and_forgotten() {
    let (place, ann) = shared();
    let list = || ann.dvc(["remote", "list"]).ok().out;
    assert_eq!(list(), format!("origin\t{}\n", place.url));
    assert_eq!(ann.dvc(["remote"]).ok().out, list());
    ann.dvc(["remote", "add", "origin", "/srv/x", "--offline"])
        .code(2)
        .complains("run `dvc remote set`");
    ann.dvc(["remote", "add", "a.b", "/srv/x", "--offline"])
        .code(2);
    ann.dvc(["remote", "add", "-n", "nas", "/srv/x"]).ok();
    assert_eq!(list(), format!("origin\t{}\n", place.url));
    ann.dvc(["remote", "add", "nas", "/srv/x", "--offline", "--lazy"])
        .ok();
    assert!(list().contains("nas\tfile:///srv/x (lazy)\n"));
    ann.dvc(["remote", "set", "nas", "/srv/y", "--offline"])
        .ok();
    let told = ann.dvc(["remote", "list", "--json"]).ok().json_lines();
    let nas = told.iter().find(|r| r["name"] == "nas").unwrap();
    assert_eq!(
        (&nas["url"], &nas["lazy"], &nas["schema"]),
        (&"file:///srv/y".into(), &true.into(), &1.into())
    );
    ann.dvc(["remote", "rm", "-n", "nas"]).ok();
    assert!(list().contains("nas"));
    ann.dvc(["remote", "rm", "nas"]).ok();
    assert!(!list().contains("nas"));

    // Removing a remote also removes its remote-tracking branches.
    ann.dvc(["log", "origin/AMCC"]).ok();
    ann.dvc(["remote", "rm", "origin"]).ok();
    assert_eq!(list(), "");
    ann.dvc(["log", "origin/AMCC"]).code(13);
    ann.dvc(["push"])
        .code(13)
        .complains("no remote `origin`")
        .complains("hint: run `dvc remote add NAME URL` to add one");
}

#[test]
fn an_unknown_remote_is_13() {
    let s = Sandbox::with_repo();
    s.write("a", "a");
    s.dvc(["commit", "-m", "one"]).ok();
    let verbs = [
        &["fetch", "nope"][..],
        &["pull", "nope"],
        &["remote", "set", "nope", "/x"],
        &["remote", "rm", "nope"],
        &["remote", "check", "nope"],
    ];
    for verb in verbs {
        s.dvc(verb)
            .code(13)
            .complains("no remote `nope`")
            .complains("`dvc remote add NAME URL`");
    }
    s.dvc(["remote", "add", "nas", "/srv/none", "--offline"])
        .ok();
    s.dvc(["fetch", "nope"])
        .code(13)
        .complains("hint: use one of nas, or ");
    // A name that is not a remote is parsed as a branch.
    s.dvc(["push", "nope"])
        .code(13)
        .complains("no branch `nope`");
}
