//! Versions in memory, for the tests of this module.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::source::{Extents, Source};
use crate::codec::hash::IdHasher;
use crate::error::{Error, Failure, Kind, Result};
use crate::model::entry::{Chunker, Content, Entry, Extent, HardLink, Meta, Node, Time, Totals};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{LinkTable, RootInfo};
use crate::observe::{Notice, Observer};
use crate::repo::frames::Plain;

pub(super) const BLOCK: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("damaged")]
struct Damaged;

impl Failure for Damaged {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }
}

/// A version store in memory.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) trees: HashMap<Id, Vec<Entry>>,
    pub(super) chunks: HashMap<Id, Vec<u8>>,
    pub(super) lists: HashMap<Id, Vec<Extent>>,
    pub(super) table: LinkTable,
    pub(super) root_meta: Meta,
    /// Chunks that were read.
    pub(super) asked: Mutex<Vec<Id>>,
}

fn id_of(bytes: &[u8]) -> Id {
    IdHasher::unencrypted().id(ObjectKind::Chunk, bytes)
}

pub(super) fn me() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

pub(super) fn meta(mode: u32) -> Meta {
    let (uid, gid) = me();
    Meta {
        mode,
        uid,
        gid,
        mtime: Time {
            secs: 1_000_000_000,
            nanos: 123_456_789,
        },
        xattrs: Vec::new(),
    }
}

pub(super) fn node(name: &str, node: Node) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        meta: meta(0o644),
        link: None,
        node,
    }
}

pub(super) fn linked(mut entry: Entry, group: u8, count: u32) -> Entry {
    entry.link = Some(HardLink {
        group: [group; 16],
        count,
    });
    entry
}

impl Memory {
    /// Returns bytes as content in blocks of 64 KiB; blocks of zeros are holes.
    pub(super) fn content(&mut self, bytes: &[u8]) -> Content {
        if bytes.len() < 256 {
            return Content::Inline(bytes.to_vec());
        }
        let mut extents: Vec<Extent> = Vec::new();
        for block in bytes.chunks(BLOCK) {
            let len = block.len() as u64;
            if block.iter().all(|b| *b == 0) {
                match extents.last_mut() {
                    Some(last) if last.chunk.is_none() => last.len += len,
                    _ => extents.push(Extent { len, chunk: None }),
                }
            } else {
                let id = id_of(block);
                self.chunks.insert(id, block.to_vec());
                extents.push(Extent {
                    len,
                    chunk: Some(id),
                });
            }
        }
        self.extents_content(extents)
    }

    pub(super) fn extents_content(&mut self, extents: Vec<Extent>) -> Content {
        if extents.len() <= 8 {
            return Content::Direct(extents);
        }
        let id = id_of(format!("{extents:?}").as_bytes());
        self.lists.insert(id, extents);
        Content::List(id)
    }

    pub(super) fn file(&mut self, name: &str, bytes: &[u8]) -> Entry {
        let content = self.content(bytes);
        node(
            name,
            Node::File {
                size: bytes.len() as u64,
                chunker: Chunker::Fixed(65_536),
                content,
            },
        )
    }

    pub(super) fn tree(&mut self, entries: Vec<Entry>) -> Id {
        let mut entries = entries;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let id = id_of(format!("{entries:?}").as_bytes());
        self.trees.insert(id, entries);
        id
    }

    pub(super) fn dir(&mut self, name: &str, entries: Vec<Entry>) -> Entry {
        let tree = self.tree(entries);
        let mut entry = node(
            name,
            Node::Dir {
                tree,
                totals: Totals::default(),
            },
        );
        entry.meta.mode = 0o755;
        entry
    }

    /// Makes a chunk unreadable.
    pub(super) fn damage(&mut self, bytes: &[u8]) {
        self.chunks.remove(&id_of(bytes));
    }
}

impl Source for Memory {
    fn entries(&self, tree: &Id) -> Result<Vec<Entry>> {
        self.trees
            .get(tree)
            .cloned()
            .ok_or_else(|| Error::from(Damaged))
    }

    fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)> {
        let links = (!self.table.0.is_empty()).then(|| Content::Inline(Vec::new()));
        let meta = if self.root_meta.mode == 0 {
            meta(0o755)
        } else {
            self.root_meta.clone()
        };
        let info = RootInfo {
            meta,
            totals: Totals::default(),
            links,
        };
        Ok((info, self.entries(tree)?))
    }

    fn extents<'a>(&'a self, content: &Content) -> Extents<'a> {
        match content {
            Content::Inline(_) => Box::new(std::iter::empty()),
            Content::Direct(list) => Box::new(list.clone().into_iter().map(Ok)),
            Content::List(id) => Box::new(self.lists[id].iter().copied().map(Ok)),
        }
    }

    fn chunk(&self, id: &Id, len: u64) -> Result<Plain> {
        self.asked.lock().push(*id);
        let bytes = self
            .chunks
            .get(id)
            .cloned()
            .filter(|b| b.len() as u64 == len);
        bytes.map(Plain::alone).ok_or_else(|| Error::from(Damaged))
    }

    fn chunk_id(&self, bytes: &[u8]) -> Id {
        id_of(bytes)
    }

    fn links(&self, _: &RootInfo) -> Result<LinkTable> {
        Ok(self.table.clone())
    }
}

/// An observer that keeps notices and panics at the step `die_at`.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) notices: Mutex<Vec<Notice>>,
    pub(super) die_at: Option<&'static str>,
}

impl Observer for Notes {
    fn notice(&self, notice: Notice) {
        self.notices.lock().push(notice);
    }

    fn step(&self, name: &'static str) {
        assert!(self.die_at != Some(name), "died at {name}");
    }
}

/// Runs a test again as an unprivileged user, because root passes every permission check. Returns
/// false if this process is unprivileged already.
pub(super) fn as_nobody(test: &str) -> bool {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let mut again = std::process::Command::new(std::fs::read_link("/proc/self/exe").unwrap());
    let out = again
        .args(["--exact", test])
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output();
    // Skip the test if the other user cannot execute this program, for example in a private
    // directory.
    let Ok(out) = out else { return true };
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    true
}

/// Returns pseudo-random bytes, which have no runs of zeros.
pub(super) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()[3]
        })
        .collect()
}
