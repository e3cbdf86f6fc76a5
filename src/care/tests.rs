//! Garbage collections of generated repositories, compared with what their branches need:
//! duplicates in and across packs, deltas whose bases are needed, shared, duplicated or needed by
//! nothing else.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::deletion::packs_there;
use super::gc::collect;
use super::options::{GcOptions, GcReport};
use super::plan::PlanLimits;
use super::roots::LooseRoot;
use crate::codec::compress::Compressor;
use crate::codec::cut::ChunkerConfig;
use crate::error::Result;
use crate::format::frame::{CODEC_DELTA, CODEC_RAW};
use crate::format::object::{encode_commit, encode_tree};
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::model::commit::{Commit, CommitCounts, Timestamp};
use crate::model::entry::{Chunker, Content, Entry, Extent, Meta, Node, Time, Totals};
use crate::model::id::{Id, ObjectKind, parse_hex};
use crate::model::refname::{RefKind, RefName};
use crate::model::tree::{RootInfo, TreeBody, TreeNode};
use crate::observe::{Observer, Silent};
use crate::repo::packs::{NewFrame, read_table};
use crate::repo::refs::Move;
use crate::repo::sink::Sink;
use crate::repo::{OpenOptions, Repo, layout};

const NOW: i64 = 1_795_143_600;
const HOW: Move<'static> = Move {
    who: "A <a@example.org>",
    why: "test",
    time: Time {
        secs: NOW,
        nanos: 0,
    },
};

/// Pseudorandom numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256).to_le_bytes()[0]).collect()
    }
}

struct Generated {
    dir: tempfile::TempDir,
    /// All chunks that were ever stored.
    chunks: BTreeMap<Id, Vec<u8>>,
    /// Versions of branches that exist, with their chunks.
    needed: BTreeMap<Id, Vec<Id>>,
}

impl Generated {
    fn open(&self) -> Repo {
        Repo::open(self.dir.path().join("r").as_path(), OpenOptions::default()).unwrap()
    }

    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let main = RefName::new("main").unwrap();
        let root = dir.path().join("r");
        let repo = Repo::create(
            &root,
            &main,
            &ChunkerConfig::default(),
            OpenOptions::default(),
        )
        .unwrap();
        let mut numbers = Numbers(seed * 2 + 1);
        let mut made = Self {
            dir,
            chunks: BTreeMap::new(),
            needed: BTreeMap::new(),
        };
        let mut versions = Vec::new();
        for version in 0..6 {
            let chosen = made.store(&repo, &mut numbers);
            let id = commit(&repo, version, &chosen);
            let name = RefName::new(&format!("b{version}")).unwrap();
            repo.refs()
                .update(RefKind::Branch, &name, None, Some(id), &HOW)
                .unwrap()
                .unwrap();
            versions.push((name, id, chosen));
        }
        for (name, id, chosen) in versions {
            if numbers.below(2) == 0 {
                let tip = repo.refs().tip(RefKind::Branch, &name).unwrap();
                repo.refs()
                    .update(RefKind::Branch, &name, tip.as_ref(), None, &HOW)
                    .unwrap()
                    .unwrap();
            } else {
                made.needed.insert(id, chosen);
            }
        }
        made
    }

    /// Writes a pack with new chunks, copies of old ones and deltas on old ones. Returns the chunks
    /// of a version.
    fn store(&mut self, repo: &Repo, numbers: &mut Numbers) -> Vec<Id> {
        let known: Vec<Id> = self.chunks.keys().copied().collect();
        let sink = Sink::open(repo.ensure_local().unwrap(), &Silent).unwrap();
        let mut chosen = Vec::new();
        for _ in 0..2 + numbers.below(6) {
            let old = (!known.is_empty()).then(|| known[numbers.below(known.len().max(1))]);
            match (numbers.below(4), old) {
                // An old chunk, without storing it again.
                (0, Some(old)) => chosen.push(old),
                // One more copy of an old chunk, beside a new one in the same frame.
                (1, Some(old)) => {
                    let new = numbers.bytes(3000);
                    let bytes = [self.chunks[&old].clone(), new.clone()].concat();
                    let id = repo.ids().id(ObjectKind::Chunk, &new);
                    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
                    let objects = [(old, len(&self.chunks[&old])), (id, len(&new))];
                    put(&sink, &objects, &bytes);
                    self.chunks.insert(id, new);
                    chosen.extend([old, id]);
                }
                // A delta.
                (2, Some(old)) => {
                    let mut new = self.chunks[&old].clone();
                    new[17] ^= 1 + numbers.below(200).to_le_bytes()[0];
                    let id = repo.ids().id(ObjectKind::Chunk, &new);
                    let mut packed = Vec::new();
                    if let Some(base) = repo.whole_base(&old).unwrap()
                        && let Some(bytes) = self.chunks.get(&base.id)
                        && Compressor::default().delta(bytes, &new, &mut packed)
                    {
                        let objects = [(id, u32::try_from(new.len()).unwrap())];
                        let base = Some((base.id, base.place));
                        let kind = ObjectKind::Chunk;
                        sink.put(&NewFrame {
                            kind,
                            codec: CODEC_DELTA,
                            objects: &objects,
                            base,
                            payload: &packed,
                        })
                        .unwrap();
                        self.chunks.insert(id, new);
                        chosen.push(id);
                    }
                }
                _ => {
                    let len = 2000 + numbers.below(4000);
                    let new = numbers.bytes(len);
                    let id = repo.ids().id(ObjectKind::Chunk, &new);
                    put(&sink, &[(id, u32::try_from(new.len()).unwrap())], &new);
                    self.chunks.insert(id, new);
                    chosen.push(id);
                }
            }
        }
        sink.finish().unwrap();
        chosen
    }

    fn collect(&self, loose: &[LooseRoot]) -> GcReport {
        self.collect_with(0.0, loose, &Silent)
    }

    fn collect_observed(&self, loose: &[LooseRoot], observer: &dyn Observer) -> GcReport {
        self.collect_with(0.0, loose, observer)
    }

    fn collect_with(
        &self,
        unused_share: f64,
        loose: &[LooseRoot],
        observer: &dyn Observer,
    ) -> GcReport {
        self.try_collect(unused_share, loose, observer).unwrap()
    }

    fn try_collect(
        &self,
        unused_share: f64,
        loose: &[LooseRoot],
        observer: &dyn Observer,
    ) -> Result<GcReport> {
        let repo = self.open();
        let options = GcOptions {
            grace: Duration::ZERO,
            keep_trash: Duration::ZERO,
            at_once: BTreeSet::new(),
            purged_until: None,
            keep_log: Duration::ZERO,
            limits: PlanLimits {
                unused_share,
                copied_bytes: None,
                is_remote: false,
            },
            until: None,
            settle: Duration::ZERO,
            dry_run: false,
            is_cautious: false,
            spare_dir: self.dir.path().join("spare"),
            who: "A <a@example.org>".to_owned(),
            // The deleted branches moved before.
            time: Time {
                secs: NOW + 100,
                nanos: 0,
            },
        };
        let roots = || Ok(loose.to_vec());
        collect(
            &repo,
            &roots,
            &options,
            repo.ensure_local().unwrap().files(),
            observer,
        )
    }

    /// The needed chunks that can be read.
    fn readable(&self) -> BTreeSet<Id> {
        let repo = self.open();
        let all = self.needed.values().flatten().copied();
        all.filter(|id| repo.chunk(id).is_ok()).collect()
    }

    fn assert_readable(&self, needed: &BTreeMap<Id, Vec<Id>>, case: &str) {
        let repo = self.open();
        for (version, chunks) in needed {
            let commit = repo.commit(version).unwrap();
            assert_eq!(repo.entries(&commit.tree).unwrap().len(), 1, "{case}");
            for id in chunks {
                assert_eq!(
                    repo.chunk(id).unwrap().to_vec(),
                    self.chunks[id],
                    "{case}: {id}"
                );
            }
        }
    }

    /// Asserts that the chunks can be read, and that every pack contains something that they need.
    fn assert_exact(&self, needed: &BTreeMap<Id, Vec<Id>>, case: &str) {
        self.assert_readable(needed, case);
        let repo = self.open();
        let chunks: BTreeSet<Id> = needed.values().flatten().copied().collect();
        let mut bases: HashSet<PackName> = HashSet::new();
        for id in &chunks {
            bases.extend(
                repo.index()
                    .unwrap()
                    .lookup_all(PackKind::Data, id)
                    .unwrap()
                    .iter()
                    .filter_map(|row| Some(row.base?.pack)),
            );
        }
        for folder in repo.store().list(layout::PACKS).unwrap() {
            for listed in repo
                .store()
                .list(&format!("{}/{}", layout::PACKS, folder.name))
                .unwrap()
            {
                let mut name = PackName::default();
                parse_hex(&listed.name, &mut name).unwrap();
                let table = read_table(repo.store(), &name).unwrap();
                let has_needed = table
                    .frames
                    .iter()
                    .flat_map(|frame| &frame.objects)
                    .any(|(id, _)| chunks.contains(id));
                assert!(
                    table.kind != PackKind::Data || has_needed || bases.contains(&name),
                    "{case}: a pack is unused"
                );
            }
        }
    }
}

fn put(sink: &Sink<'_>, objects: &[(Id, u32)], payload: &[u8]) {
    sink.put(&NewFrame {
        kind: ObjectKind::Chunk,
        codec: CODEC_RAW,
        objects,
        base: None,
        payload,
    })
    .unwrap();
}

fn commit(repo: &Repo, number: u64, chunks: &[Id]) -> Id {
    let extents: Vec<Extent> = chunks
        .iter()
        .map(|id| Extent {
            len: 1,
            chunk: Some(*id),
        })
        .collect();
    let node = Node::File {
        size: extents.len() as u64,
        chunker: Chunker::Cdc,
        content: Content::Direct(extents),
    };
    let file = Entry {
        name: b"file".to_vec(),
        meta: Meta::default(),
        link: None,
        node,
    };
    let root = RootInfo {
        meta: Meta::default(),
        totals: Totals::default(),
        links: None,
    };
    let tree = encode_tree(&TreeNode {
        root: Some(root),
        body: TreeBody::Leaf(vec![file]),
    });
    let sink = Sink::open(repo.ensure_local().unwrap(), &Silent).unwrap();
    let put = |kind, bytes: &[u8]| {
        let id = repo.ids().id(kind, bytes);
        let objects = [(id, u32::try_from(bytes.len()).unwrap())];
        sink.put(&NewFrame {
            kind,
            codec: CODEC_RAW,
            objects: &objects,
            base: None,
            payload: bytes,
        })
        .unwrap();
        id
    };
    let tree = put(ObjectKind::Tree, &tree);
    let commit = Commit {
        tree,
        parents: Vec::new(),
        ordinal: 1,
        author: "A <a@example.org>".to_owned(),
        host: "here".to_owned(),
        time: Timestamp {
            secs: NOW,
            nanos: 0,
            offset: 0,
        },
        message: format!("version {number}"),
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
    let id = put(ObjectKind::Commit, &encode_commit(&commit));
    sink.finish().unwrap();
    id
}

#[test]
fn exactly_what_branches_need_stays() {
    for seed in 0..40 {
        let made = Generated::new(seed);
        let first = made.collect(&[]);
        assert_eq!(first.dead_packs, 0, "seed {seed}: {first:?}");
        made.assert_exact(&made.needed, &format!("seed {seed}"));
        let second = made.collect(&[]);
        assert_eq!(
            (second.dropped_packs, second.copied_packs),
            (0, 0),
            "seed {seed}: {second:?}"
        );
        made.assert_exact(&made.needed, &format!("seed {seed}, second run"));
    }
}

#[test]
fn many_runs_copy_what_earlier_ones_have_moved() {
    for seed in 200..240 {
        let mut made = Generated::new(seed);
        let mut numbers = Numbers(seed);
        while let Some((id, _)) = made.needed.first_key_value() {
            let id = *id;
            let repo = made.open();
            let tips = repo.refs().list(RefKind::Branch).unwrap();
            let tip = tips.iter().find(|tip| tip.id == id).unwrap();
            repo.refs()
                .update(RefKind::Branch, &tip.name, Some(&tip.entry), None, &HOW)
                .unwrap()
                .unwrap();
            drop(repo);
            made.needed.remove(&id);
            // A run that may leave data unused leaves packs with deltas whose bases are gone.
            let share = [0.0, 0.1, 0.5, 1.0][numbers.below(4)];
            let report = made.collect_with(share, &[], &Silent);
            assert!(!report.is_partial, "seed {seed}: {report:?}");
            made.assert_readable(&made.needed, &format!("seed {seed}"));
        }
    }
}

/// A collection moves deltas to other copies of their bases. A damaged copy must not become the only
/// base of an object.
#[test]
fn what_can_be_read_beside_a_damaged_pack_can_be_read_afterwards() {
    for seed in 22..25 {
        // Each pack is damaged at three places, one after the other.
        for number in 0.. {
            let made = Generated::new(seed);
            let root = made.dir.path().join("r");
            let mut packs: Vec<_> = packs_there(&made.open())
                .unwrap()
                .into_iter()
                .map(|(name, _)| root.join(layout::pack(&name)))
                .collect();
            packs.sort();
            let Some(pack) = packs.get(number / 3) else {
                break;
            };
            let mut bytes = std::fs::read(pack).unwrap();
            let place = bytes.len() * (number % 3 + 1) / 4;
            bytes[place] ^= 1;
            std::fs::write(pack, bytes).unwrap();
            let before = made.readable();
            // The collection may find the damage.
            drop(made.try_collect(0.0, &[], &Silent));
            let after = made.readable();
            assert!(before.is_subset(&after), "seed {seed}, damage {number}");
        }
    }
}

#[test]
fn a_root_without_a_ref_keeps_its_version() {
    for seed in 100..110 {
        let made = Generated::new(seed);
        let held = LooseRoot {
            name: "worktree".to_owned(),
            id: *made.needed.keys().next().unwrap_or(&Id([0; 32])),
            trees: Vec::new(),
        };
        let Some((id, chunks)) = made.needed.first_key_value() else {
            continue;
        };
        let repo = made.open();
        for tip in repo.refs().list(RefKind::Branch).unwrap() {
            repo.refs()
                .update(RefKind::Branch, &tip.name, Some(&tip.entry), None, &HOW)
                .unwrap()
                .unwrap();
        }
        drop(repo);
        made.collect(&[held]);
        made.assert_exact(
            &BTreeMap::from([(*id, chunks.clone())]),
            &format!("seed {seed}"),
        );
    }
}

/// Ends a gc at a step as a crash would, without destructors of the process.
struct EndsAt(&'static str);

impl Observer for EndsAt {
    fn step(&self, name: &'static str) {
        assert!(name != self.0, "the test ends the run here");
    }
}

#[test]
fn the_copies_of_an_interrupted_run_are_not_given_up_with_those_of_the_next_run() {
    for (seed, step) in (200..230).flat_map(|seed| ["gc plan", "gc planned"].map(|s| (seed, s))) {
        let made = Generated::new(seed);
        for _ in 0..2 {
            let run = || made.collect_observed(&[], &EndsAt(step));
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)));
        }
        made.collect(&[]);
        made.assert_exact(&made.needed, &format!("seed {seed}, {step}"));
        made.collect(&[]);
        made.assert_exact(&made.needed, &format!("seed {seed}, {step}, second run"));
    }
}
