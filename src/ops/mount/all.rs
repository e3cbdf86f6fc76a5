//! All branches and versions as directories: `AMCC/v3`, with a symbolic link for each tag, and
//! `latest` for the tip.
//!
//! The tree is built in memory and refers to the trees of the versions.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::model::entry::{Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::model::refname::RefKind;
use crate::model::tree::RootInfo;
use crate::repo::Repo;
use crate::snapshot::output::Output;
use crate::snapshot::tree::store_tree;

/// A directory of the tree.
#[derive(Default)]
struct Dir {
    dirs: BTreeMap<Vec<u8>, Dir>,
    entries: BTreeMap<Vec<u8>, Entry>,
    newest: Time,
}

impl Dir {
    fn below(&mut self, path: &str, newest: Time) -> &mut Self {
        self.newest = self.newest.max(newest);
        path.split('/').fold(self, |dir, name| {
            let next = dir.dirs.entry(name.as_bytes().to_vec()).or_default();
            next.newest = next.newest.max(newest);
            next
        })
    }

    fn put(&mut self, name: String, node: Node, mtime: Time) {
        let name = name.into_bytes();
        self.entries.insert(
            name.clone(),
            Entry {
                name,
                meta: meta(mtime),
                link: None,
                node,
            },
        );
    }

    fn store(self, out: &Output<'_>, root: bool) -> Result<(Id, Totals)> {
        let mut entries = self.entries;
        for (name, dir) in self.dirs {
            let mtime = dir.newest;
            let (tree, totals) = dir.store(out, false)?;
            let node = Node::Dir { tree, totals };
            entries.insert(
                name.clone(),
                Entry {
                    name,
                    meta: meta(mtime),
                    link: None,
                    node,
                },
            );
        }
        let mut totals = Totals::default();
        entries.values().for_each(|entry| totals.add(entry));
        let info = root.then(|| RootInfo {
            meta: meta(self.newest),
            totals,
            links: None,
        });
        Ok((
            store_tree(entries.into_values().collect(), info, out)?,
            totals,
        ))
    }
}

fn meta(mtime: Time) -> Meta {
    Meta {
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime,
        xattrs: Vec::new(),
    }
}

/// Returns the tree of all branches. Its new objects are only in the memory of `repo`.
pub(super) fn tree(repo: &Repo) -> Result<Id> {
    let mut top = Dir::default();
    for branch in repo.refs().readable(RefKind::Branch)?.tips {
        let mut at = Some(branch.id);
        let mut newest = None;
        while let Some(id) = at {
            let commit = repo.commit_cached(&id)?;
            let mtime = Time {
                secs: commit.time.secs,
                nanos: commit.time.nanos,
            };
            let totals = Totals {
                files: commit.counts.files,
                bytes: commit.counts.bytes,
                ..Totals::default()
            };
            let dir = top.below(branch.name.as_str(), mtime);
            let name = format!("v{}", commit.ordinal);
            // The first version is the tip.
            if newest.is_none() {
                newest = Some(name.clone());
                dir.put(
                    "latest".to_owned(),
                    Node::Symlink {
                        target: name.clone().into_bytes(),
                    },
                    mtime,
                );
            }
            dir.put(
                name,
                Node::Dir {
                    tree: commit.tree,
                    totals,
                },
                mtime,
            );
            at = commit.parents.first().copied();
        }
    }
    for tag in repo.refs().readable(RefKind::Tag)?.tips {
        // A tag without a branch belongs to none of the directories.
        let Some((branch, name)) = tag.name.as_str().split_once('@') else {
            continue;
        };
        let commit = repo.commit_cached(&tag.id)?;
        let mtime = Time {
            secs: commit.time.secs,
            nanos: commit.time.nanos,
        };
        let target = format!("v{}", commit.ordinal).into_bytes();
        top.below(branch, mtime)
            .put(name.to_owned(), Node::Symlink { target }, mtime);
    }
    let out = Output::dry(repo);
    let (tree, _) = top.store(&out, true)?;
    Ok(tree)
}
