//! Members in any order, layers that hide others, and rejected members.

use super::*;
use crate::model::path::split;

fn names(path: &str) -> Vec<Vec<u8>> {
    split(path.as_bytes()).unwrap()
}

fn file(tree: &mut ArchiveTree, path: &str) -> Result<()> {
    tree.put_node(&names(path), Meta::default(), Node::Fifo)
}

fn list(tree: &ArchiveTree) -> String {
    let mut all = Vec::new();
    each(&tree.top, b"", &mut |path, at| {
        all.push(format!("{}:{at}", display(&path)))
    });
    all.join(" ")
}

#[test]
fn the_last_one_wins_and_links_share() {
    let mut tree = ArchiveTree::new(1 << 20);
    file(&mut tree, "d/a").unwrap();
    file(&mut tree, "d/b").unwrap();
    tree.put_link(&names("c"), &names("d/a")).unwrap();
    file(&mut tree, "d/a").unwrap();
    assert_eq!(list(&tree), "c:0 d/a:2 d/b:1");
    tree.put_link(&names("d/b"), &names("c")).unwrap();
    assert_eq!(list(&tree), "c:0 d/a:2 d/b:0");
    assert_eq!(LinkPaths::of(&tree, &[]).table().0.len(), 1);
    assert_eq!(LinkPaths::of(&tree, &names("d")).table().0.len(), 0);
    tree.put_dir(&names("c"), Meta::default()).unwrap();
    file(&mut tree, "d").unwrap();
    assert_eq!(list(&tree), "d:3");
    tree.put_link(&names("d"), &names("d")).unwrap();
    assert_eq!(list(&tree), "d:3");
}

#[test]
fn links_and_files_are_not_parents() {
    let mut tree = ArchiveTree::new(1 << 20);
    tree.put_node(
        &names("link"),
        Meta::default(),
        Node::Symlink {
            target: b"/etc".to_vec(),
        },
    )
    .unwrap();
    file(&mut tree, "file").unwrap();
    tree.put_dir(&names("dir"), Meta::default()).unwrap();
    for (error, expected) in [
        (
            file(&mut tree, "link/passwd"),
            "cannot import `link/passwd`: the parent `link` is a symbolic link",
        ),
        (
            file(&mut tree, "file/x/y"),
            "cannot import `file/x/y`: the parent `file` is not a directory",
        ),
        (
            tree.put_dir(&names("link/d"), Meta::default()),
            "is a symbolic link",
        ),
        (
            tree.put_link(&names("l"), &names("link/x")),
            "is not an earlier file of the archive",
        ),
        (
            tree.put_link(&names("l"), &names("dir")),
            "is not an earlier file of the archive",
        ),
        (
            tree.put_link(&names("l"), &[]),
            "is not an earlier file of the archive",
        ),
        (
            tree.put_node(&[], Meta::default(), Node::Fifo),
            "cannot import `.`",
        ),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn layers_hide_what_is_below_them_and_nothing_of_their_own() {
    let mut tree = ArchiveTree::new(1 << 20);
    for path in ["a/1", "a/2", "b/1", "c/d/1", "c/2", "e"] {
        file(&mut tree, path).unwrap();
    }
    tree.next_layer();
    file(&mut tree, "a/3").unwrap();
    tree.hide(&names("a"), true);
    tree.hide(&names("b/1"), false);
    tree.hide(&names("b/none"), false);
    tree.hide(&names("none/none"), true);
    file(&mut tree, "c/d/new").unwrap();
    tree.hide(&names("c"), false);
    file(&mut tree, "e").unwrap();
    tree.hide(&names("e"), false);
    assert_eq!(list(&tree), "a/3:6 c/d/new:7 e:8");
    tree.next_layer();
    tree.hide(&[], true);
    assert_eq!(list(&tree), "");
}

#[test]
fn memory_is_bounded() {
    let mut tree = ArchiveTree::new(10_000);
    let error = (0..100)
        .find_map(|n| file(&mut tree, &n.to_string()).err())
        .unwrap();
    assert!(error.to_string().contains("memory"));
}
