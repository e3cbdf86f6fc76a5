//! Repositories for tests of the operations: versions made by hand, without a worktree.

use crate::context::CacheOptions;
use crate::context::Context;
use crate::format::frame::CODEC_RAW;
use crate::format::object::{encode_commit, encode_tree};
use crate::model::commit::{Commit, CommitCounts, Timestamp};
use crate::model::entry::{Chunker, Content, Entry, Extent, Meta, Node, Time, Totals};
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::model::tree::{RootInfo, TreeBody, TreeNode};
use crate::observe::Silent;
use crate::repo::packs::NewFrame;
use crate::repo::refs::Move;
use crate::repo::sink::Sink;
use crate::repo::{OpenOptions, Repo};

/// A repository in a temporary directory, with the worktree beside it.
pub struct Made {
    pub(crate) context: Context,
    pub(crate) repo: Repo,
    pub(crate) dir: tempfile::TempDir,
}

/// 2026-11-20T03:00:00Z.
pub const START: i64 = 1_795_143_600;
/// Seconds of a day.
pub const DAY: i64 = 86_400;

impl Made {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("repo");
        let main = RefName::new("main").unwrap();
        let repo = Repo::create(
            &repository,
            &main,
            &crate::codec::cut::ChunkerConfig::default(),
            OpenOptions::default(),
        )
        .unwrap();
        let now = jiff::Timestamp::from_second(START + 10 * DAY)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC);
        let context = Context {
            repository,
            worktree: dir.path().join("work"),
            author: "Ann <ann@example.org>".to_owned(),
            host: "here".to_owned(),
            jobs: 1,
            memory_bytes: 64 << 20,
            now,
            open: OpenOptions::default(),
            remote_repository: None,
            remotes: Vec::new(),
            cache: CacheOptions::default(),
            mount: None,
        };
        Self { context, repo, dir }
    }

    fn put(&self, kind: ObjectKind, bytes: &[u8]) -> Id {
        let id = self.repo.ids().id(kind, bytes);
        let sink = Sink::open(self.repo.ensure_local().unwrap(), &Silent).unwrap();
        if sink.claim(kind, &id).unwrap() {
            let objects = [(id, u32::try_from(bytes.len()).unwrap())];
            sink.put(&NewFrame {
                kind,
                codec: CODEC_RAW,
                objects: &objects,
                base: None,
                payload: bytes,
            })
            .unwrap();
        }
        sink.finish().unwrap();
        id
    }

    /// Stores a chunk.
    pub(crate) fn chunk(&self, bytes: &[u8]) -> Extent {
        Extent {
            len: bytes.len() as u64,
            chunk: Some(self.put(ObjectKind::Chunk, bytes)),
        }
    }

    /// Stores a directory.
    pub(crate) fn dir(&self, name: &str, entries: Vec<Entry>) -> Entry {
        let mut totals = Totals::default();
        entries.iter().for_each(|e| totals.add(e));
        let tree = self.put(
            ObjectKind::Tree,
            &encode_tree(&TreeNode {
                root: None,
                body: TreeBody::Leaf(entries),
            }),
        );
        entry(name, Node::Dir { tree, totals })
    }

    /// Stores the root of a version.
    pub(crate) fn root(&self, entries: Vec<Entry>) -> Id {
        let mut totals = Totals::default();
        entries.iter().for_each(|e| totals.add(e));
        let root = RootInfo {
            meta: Meta {
                mode: 0o755,
                ..Meta::default()
            },
            totals,
            links: None,
        };
        let node = TreeNode {
            root: Some(root),
            body: TreeBody::Leaf(entries),
        };
        self.put(ObjectKind::Tree, &encode_tree(&node))
    }

    /// Makes the next version of a branch, one day after the previous one.
    pub(crate) fn commit(&self, branch: &str, message: &str, entries: Vec<Entry>) -> Id {
        let name = RefName::new(branch).unwrap();
        let tip = self.repo.refs().tip(RefKind::Branch, &name).unwrap();
        let parent = tip.as_ref().and_then(crate::repo::refs::value_of);
        let before = parent.map(|p| self.repo.commit(&p).unwrap());
        let ordinal = before.map_or(1, |b| b.ordinal + 1);
        let time = START + (i64::try_from(ordinal).unwrap() - 1) * DAY;
        let commit = Commit {
            tree: self.root(entries),
            parents: parent.into_iter().collect(),
            ordinal,
            author: self.context.author.clone(),
            host: self.context.host.clone(),
            time: Timestamp {
                secs: time,
                nanos: 0,
                offset: 0,
            },
            message: message.to_owned(),
            trailers: Vec::new(),
            counts: CommitCounts {
                files: 1,
                bytes: 10,
                new_bytes: 10,
                stored_bytes: 5,
            },
            unstable: Vec::new(),
            signature: None,
        };
        let id = self.put(ObjectKind::Commit, &encode_commit(&commit));
        let why = format!("commit: {message}");
        let how = Move {
            who: &self.context.author,
            why: &why,
            time: Time {
                secs: time,
                nanos: 0,
            },
        };
        self.repo
            .refs()
            .update(RefKind::Branch, &name, tip.as_ref(), Some(id), &how)
            .unwrap()
            .unwrap();
        id
    }

    pub(crate) fn tag(&self, name: &str, id: Id) {
        let name = RefName::parse_stored(name).unwrap();
        let how = Move {
            who: &self.context.author,
            why: "tag",
            time: Time {
                secs: START,
                nanos: 0,
            },
        };
        self.repo
            .refs()
            .update(RefKind::Tag, &name, None, Some(id), &how)
            .unwrap()
            .unwrap();
    }
}

/// Returns an entry with default metadata.
pub fn entry(name: &str, node: Node) -> Entry {
    let meta = Meta {
        mode: 0o644,
        mtime: Time {
            secs: START,
            nanos: 0,
        },
        ..Meta::default()
    };
    Entry {
        name: name.into(),
        meta,
        link: None,
        node,
    }
}

/// Returns an entry for a tiny file.
pub fn file(name: &str, text: &str) -> Entry {
    let content = Content::Inline(text.into());
    entry(
        name,
        Node::File {
            size: text.len() as u64,
            chunker: Chunker::Cdc,
            content,
        },
    )
}

/// Returns an entry for a file of chunks.
pub fn large(name: &str, extents: Vec<Extent>) -> Entry {
    let size = extents.iter().map(|e| e.len).sum();
    entry(
        name,
        Node::File {
            size,
            chunker: Chunker::Cdc,
            content: Content::Direct(extents),
        },
    )
}
