//! Builds repositories that no honest program writes. Uses the library, so that every id and
//! checksum is valid.

use std::path::Path;

use dvc::codec::cut::ChunkerConfig;
use dvc::format::frame::CODEC_RAW;
use dvc::format::logkey::seq_key;
use dvc::format::object::{encode_commit, encode_tree};
use dvc::format::refentry::{RefEntry, encode_name};
use dvc::model::commit::{Commit, CommitCounts, Timestamp};
use dvc::model::entry::{Chunker, Content, Entry, Meta, Node, Time, Totals};
use dvc::model::id::{Id, ObjectKind};
use dvc::model::refname::{RefKind, RefName};
use dvc::model::tree::{RootInfo, TreeBody, TreeChild, TreeNode};
use dvc::observe::Silent;
use dvc::repo::packs::NewFrame;
use dvc::repo::sink::Sink;
use dvc::repo::{OpenOptions, Repo};

/// 2026-11-20T03:00:00Z.
const TIME: i64 = 1_795_143_600;

/// Stores forged objects in a new repository.
pub struct Pen<'a> {
    repo: &'a Repo,
    sink: Sink<'a>,
}

/// Creates a repository at `dir` with the objects that `write` stores. `write` returns the branches
/// with their versions.
pub fn forge(dir: &Path, write: impl FnOnce(&Pen<'_>) -> Vec<(&'static str, Id)>) {
    let main = RefName::new("main").unwrap();
    let repo = Repo::create(
        dir,
        &main,
        &ChunkerConfig::default(),
        OpenOptions::default(),
    )
    .unwrap();
    let pen = Pen {
        repo: &repo,
        sink: Sink::open(repo.ensure_local().unwrap(), &Silent).unwrap(),
    };
    let tips = write(&pen);
    pen.sink.finish().unwrap();
    for (branch, id) in tips {
        set_ref(dir, branch, 1, Some(&id.to_string()));
    }
}

/// Writes an entry to the log of a branch; its value need not be a valid id.
pub fn set_ref(dir: &Path, branch: &str, seq: u64, new: Option<&str>) {
    let entry = RefEntry {
        kind: RefKind::Branch.dir().to_owned(),
        name: branch.to_owned(),
        seq,
        old: None,
        new: new.map(str::to_owned),
        update: "0a".repeat(16),
        time: TIME,
        nanos: 0,
        who: "Mallory <m@example.org>".to_owned(),
        why: "commit: x".to_owned(),
        older: Vec::new(),
    };
    let log = dir
        .join("refs")
        .join(RefKind::Branch.dir())
        .join(encode_name(branch));
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join(seq_key(seq)), entry.encode()).unwrap();
}

impl Pen<'_> {
    fn put(&self, kind: ObjectKind, bytes: &[u8]) -> Id {
        let id = self.repo.ids().id(kind, bytes);
        if self.sink.claim(kind, &id).unwrap() {
            let objects = [(id, u32::try_from(bytes.len()).unwrap())];
            self.sink
                .put(&NewFrame {
                    kind,
                    codec: CODEC_RAW,
                    objects: &objects,
                    base: None,
                    payload: bytes,
                })
                .unwrap();
        }
        id
    }

    /// Stores a directory with these entries, which must be sorted by name. Returns its entry.
    pub fn dir(&self, name: &str, entries: Vec<Entry>) -> Entry {
        let mut totals = Totals::default();
        entries.iter().for_each(|e| totals.add(e));
        let tree = self.put(
            ObjectKind::Tree,
            &encode_tree(&TreeNode {
                root: None,
                body: TreeBody::Leaf(entries),
            }),
        );
        entry(name, 0o755, Node::Dir { tree, totals })
    }

    /// Stores a node of a large directory.
    pub fn piece(&self, body: TreeBody) -> Id {
        self.put(
            ObjectKind::Tree,
            &encode_tree(&TreeNode { root: None, body }),
        )
    }

    /// Stores a directory that consists of several nodes, each given with its smallest name.
    /// Returns its entry.
    pub fn split_dir(&self, name: &str, pieces: &[(String, Id)], totals: Totals) -> Entry {
        let children = pieces.iter().map(|(first, id)| TreeChild {
            first: first.clone().into_bytes(),
            id: *id,
        });
        let tree = self.piece(TreeBody::Inner(children.collect()));
        entry(name, 0o755, Node::Dir { tree, totals })
    }

    /// Stores the first version of a branch.
    pub fn version(&self, entries: Vec<Entry>) -> Id {
        self.version_of(entries, 1, Vec::new())
    }

    /// Stores a version with any ordinal and any parents.
    pub fn version_of(&self, entries: Vec<Entry>, ordinal: u64, parents: Vec<Id>) -> Id {
        let mut totals = Totals::default();
        entries.iter().for_each(|e| totals.add(e));
        let meta = Meta {
            mode: 0o755,
            ..Meta::default()
        };
        let root = Some(RootInfo {
            meta,
            totals,
            links: None,
        });
        let tree = self.put(
            ObjectKind::Tree,
            &encode_tree(&TreeNode {
                root,
                body: TreeBody::Leaf(entries),
            }),
        );
        let commit = Commit {
            tree,
            parents,
            ordinal,
            author: "Mallory <m@example.org>".to_owned(),
            host: "there".to_owned(),
            time: Timestamp {
                secs: TIME,
                nanos: 0,
                offset: 0,
            },
            message: "x".to_owned(),
            trailers: Vec::new(),
            counts: CommitCounts {
                files: 1,
                bytes: 1,
                new_bytes: 1,
                stored_bytes: 1,
            },
            unstable: Vec::new(),
            signature: None,
        };
        self.put(ObjectKind::Commit, &encode_commit(&commit))
    }
}

fn entry(name: &str, mode: u32, node: Node) -> Entry {
    let meta = Meta {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Time {
            secs: TIME,
            nanos: 0,
        },
        xattrs: Vec::new(),
    };
    Entry {
        name: name.into(),
        meta,
        link: None,
        node,
    }
}

/// Returns the entry of a small file, stored inline.
pub fn file(name: &str, text: &str) -> Entry {
    let content = Content::Inline(text.into());
    entry(
        name,
        0o644,
        Node::File {
            size: text.len() as u64,
            chunker: Chunker::Cdc,
            content,
        },
    )
}

/// Returns the entry of a small executable file.
pub fn program(name: &str, text: &str) -> Entry {
    let mut program = file(name, text);
    program.meta.mode = 0o755;
    program
}

/// Returns the entry of a symlink.
pub fn symlink(name: &str, target: &str) -> Entry {
    entry(
        name,
        0o777,
        Node::Symlink {
            target: target.into(),
        },
    )
}
