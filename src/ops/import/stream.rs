//! One tar stream into the tree: read in order, stored by several threads, put in place in order.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read};

use super::place::Places;
use super::tree::Tree;
use crate::archive::ArchiveError;
use crate::archive::member::{ArchiveMember, MemberKind};
use crate::archive::reader::TarReader;
use crate::codec::cut::ChunkerConfig;
use crate::codec::hash::NameHasher;
use crate::codec::stream::plain;
use crate::error::{Result, carried};
use crate::model::entry::{Chunker, Extent, Meta, Node};
use crate::model::id::to_hex;
use crate::model::path::{display, is_reserved, split};
use crate::observe::Observer;
use crate::snapshot::content::small::SMALL_MAX;
use crate::snapshot::content::store::flush_small;
use crate::snapshot::content::stream;
use crate::snapshot::content::stream::{Gathered, Stretch, cut_file, store_file};
use crate::snapshot::output::Output;
use crate::snapshot::walk::scan::reserved_notice;
use crate::work::Cancelled;
use crate::work::ordered::{Give, Stages, in_order};

/// Bytes of an archive.
pub(super) type Bytes<'r> = Box<dyn Read + Send + 'r>;
/// A path as names.
type Names = Vec<Vec<u8>>;

/// So much is handed over at once: bytes of small files, and members.
const GROUP: (usize, usize) = (256 << 10, 64);
/// Names before what they hide.
const HIDES: &[u8] = b".wh.";
const HIDES_ALL: &[u8] = b".wh..wh..opq";

/// Takes archives in.
pub(super) struct Intake<'i, 'a> {
    pub(super) out: &'i Output<'a>,
    pub(super) observer: &'i dyn Observer,
    pub(super) threads: usize,
    pub(super) tree: Tree,
    /// Members that belong nowhere.
    pub(super) left_out: u64,
}

/// What was read.
enum Read1 {
    /// Anything without bytes.
    Node(Names, Meta, Node),
    Dir(Names, Meta),
    Link(Names, Names),
    /// A file that is in memory.
    Whole(Names, Meta, Vec<u8>),
    /// A larger one in stretches, and what ends it.
    Part(Stretch),
    End(Names, Meta, u64, Chunker),
    Hide(Names, bool),
    LeftOut,
}

/// What became of it.
enum Done {
    Node(Names, Meta, Node),
    Dir(Names, Meta),
    Link(Names, Names),
    Part(Vec<Extent>, u64),
    End(Names, Meta, u64, Chunker),
    Hide(Names, bool),
    LeftOut,
}

impl Intake<'_, '_> {
    /// Takes a plain archive in. In a layer of an image, names hide what lies below.
    pub(super) fn archive(&mut self, bytes: Bytes<'_>, places: &Places, layer: bool) -> Result<()> {
        self.take(|reading| {
            let mut reader = TarReader::new(bytes);
            reading.members(&mut reader, places, layer)?;
            drained(reader)
        })
    }

    /// Takes an archive in that is a member of another one.
    pub(super) fn archive_in(&mut self, bytes: Bytes<'_>, member: &[u8], places: &Places) -> Result<()> {
        self.take(|reading| {
            let mut outer = TarReader::new(bytes);
            while let Some(next) = outer.next_member()? {
                if next.path == member {
                    let inner =
                        plain(MemberBytes(&mut outer)).map_err(|e| ArchiveError::reading(&display(member), e))?;
                    let mut inner = TarReader::new(inner);
                    reading.members(&mut inner, places, false)?;
                    drained(inner)?;
                    break;
                }
            }
            drained(outer)
        })
    }

    fn take(&mut self, read: impl FnOnce(&mut Reading<'_>) -> Result<()> + Send) -> Result<()> {
        let (out, observer, tree, left_out) = (self.out, self.observer, &mut self.tree, &mut self.left_out);
        let cutting = out.repo().chunker();
        let mut gathered = Gathered::default();
        let stages = Stages {
            produce: |give: &Give<'_, Vec<Read1>>| {
                let reserved = BTreeSet::new();
                let mut reading = Reading { give, cutting, observer, group: Vec::new(), bytes: 0, reserved };
                read(&mut reading)?;
                reading.hand_over()
            },
            work: |group: Vec<Read1>| group.into_iter().map(|read| stored(read, out)).collect::<Result<Vec<_>>>(),
            leave: || flush_small(out),
            consume: |group: Vec<Done>| {
                if observer.cancelled() {
                    return Err(Cancelled.into());
                }
                for done in group {
                    match done {
                        Done::Dir(names, meta) => tree.put_dir(&names, meta)?,
                        Done::Node(names, meta, node) => {
                            let bytes = if let Node::File { size, .. } = node { size } else { 0 };
                            tree.put_node(&names, meta, node)?;
                            observer.advance(1, bytes);
                        }
                        Done::Link(names, target) => tree.put_link(&names, &target)?,
                        Done::Part(extents, bytes) => {
                            gathered.push(extents, out)?;
                            observer.advance(0, bytes);
                        }
                        Done::End(names, meta, size, chunker) => {
                            let node = std::mem::take(&mut gathered).finish(size, chunker, out)?;
                            tree.put_node(&names, meta, node)?;
                            observer.advance(1, 0);
                        }
                        Done::Hide(names, inside) => tree.hide(&names, inside),
                        Done::LeftOut => *left_out += 1,
                    }
                }
                Ok(())
            },
        };
        in_order(self.threads, self.threads * 2, stages)
    }
}

fn stored(read: Read1, out: &Output<'_>) -> Result<Done> {
    Ok(match read {
        Read1::Node(names, meta, node) => Done::Node(names, meta, node),
        Read1::Dir(names, meta) => Done::Dir(names, meta),
        Read1::Link(names, target) => Done::Link(names, target),
        Read1::Whole(names, meta, bytes) => Done::Node(names, meta, store_file(out, &bytes)?),
        Read1::Part(stretch) => {
            let bytes = stretch.len();
            Done::Part(stretch.store(out)?, bytes)
        }
        Read1::End(names, meta, size, chunker) => Done::End(names, meta, size, chunker),
        Read1::Hide(names, inside) => Done::Hide(names, inside),
        Read1::LeftOut => Done::LeftOut,
    })
}

/// Reads members and hands them over in groups.
struct Reading<'g> {
    give: &'g Give<'g, Vec<Read1>>,
    cutting: &'g ChunkerConfig,
    observer: &'g dyn Observer,
    group: Vec<Read1>,
    bytes: usize,
    /// Paths of repositories that were left out.
    reserved: BTreeSet<Vec<u8>>,
}

impl Reading<'_> {
    fn members(&mut self, reader: &mut TarReader<Bytes<'_>>, places: &Places, layer: bool) -> Result<()> {
        while let Some(member) = reader.next_member()? {
            let name = display(&member.path);
            if layer && let Some(hides) = Hides::of(&member, &name, places)? {
                if let Some((hidden, inside)) = hides.names.and_then(|names| places.hidden(names, hides.inside)) {
                    self.push(Read1::Hide(hidden, inside), 0)?;
                }
                if hides.nothing_else {
                    continue;
                }
            }
            let Some(names) = places.of(&member.path, layer)? else {
                self.push(Read1::LeftOut, 0)?;
                continue;
            };
            if places.is_above(&names) && member.kind != MemberKind::Dir {
                self.push(Read1::LeftOut, 0)?;
                continue;
            }
            if let Some(at) = names.iter().position(|name| is_reserved(name)) {
                // An archive names all that is in a directory: one notice will do.
                let repository = names[..=at].join(&b'/');
                if self.reserved.insert(repository.clone()) {
                    self.observer.notice(reserved_notice(repository));
                }
                self.push(Read1::LeftOut, 0)?;
                continue;
            }
            self.member(reader, names, member, &name, (places, layer))?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        reader: &mut TarReader<Bytes<'_>>,
        names: Names,
        member: ArchiveMember,
        name: &str,
        (places, layer): (&Places, bool),
    ) -> Result<()> {
        let ArchiveMember { meta, kind, .. } = member;
        let read = match kind {
            MemberKind::Dir => Read1::Dir(names, meta),
            MemberKind::HardLink { target } => {
                let why = || format!("it is another name of `{}`, which is not taken", display(&target));
                let is_taken = |names: &Names| !places.is_above(names) && !names.iter().any(|name| is_reserved(name));
                let place = places.of(&target, layer)?.filter(is_taken);
                Read1::Link(names, place.ok_or_else(|| ArchiveError::refused(name, why()))?)
            }
            MemberKind::Symlink { target } => Read1::Node(names, meta, Node::Symlink { target }),
            MemberKind::Fifo => Read1::Node(names, meta, Node::Fifo),
            MemberKind::CharDevice { major, minor } => Read1::Node(names, meta, Node::CharDevice { major, minor }),
            MemberKind::BlockDevice { major, minor } => Read1::Node(names, meta, Node::BlockDevice { major, minor }),
            MemberKind::File { size } if size <= SMALL_MAX => {
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                let mut len = 0;
                while len < bytes.len() {
                    match reader.read(&mut bytes[len..])? {
                        0 => break,
                        n => len += n,
                    }
                }
                let len = bytes.len();
                return self.push(Read1::Whole(names, meta, bytes), len);
            }
            MemberKind::File { size } => {
                let cutting = self.cutting;
                let mut file = OfMember(reader);
                let chunker =
                    cut_file(cutting, size, &mut file, &mut |stretch| self.push(Read1::Part(stretch), GROUP.0))?;
                Read1::End(names, meta, size, chunker)
            }
        };
        self.push(read, 0)
    }

    fn push(&mut self, read: Read1, bytes: usize) -> Result<()> {
        let meta = match &read {
            Read1::Node(_, meta, _) | Read1::Dir(_, meta) | Read1::Whole(_, meta, _) | Read1::End(_, meta, ..) => {
                meta.xattrs.iter().map(|x| x.name.len() + x.value.len()).sum()
            }
            _ => 0,
        };
        self.group.push(read);
        self.bytes += bytes + meta;
        if self.bytes >= GROUP.0 || self.group.len() >= GROUP.1 { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<()> {
        self.bytes = 0;
        let group = std::mem::take(&mut self.group);
        if group.is_empty() { Ok(()) } else { self.give.give(group) }
    }
}

/// What a member of a layer hides of the layers below.
struct Hides {
    /// `None` is nothing.
    names: Option<Names>,
    /// Not that itself, but all that lies in it.
    inside: bool,
    /// It is there only to hide.
    nothing_else: bool,
}

impl Hides {
    fn of(member: &ArchiveMember, name: &str, places: &Places) -> Result<Option<Self>> {
        let upwards = || ArchiveError::refused(name, "its name leads upwards or cannot be a name");
        let mut names = split(&member.path).ok_or_else(upwards)?;
        let Some(last) = names.pop_if(|last| last.starts_with(HIDES)) else {
            // What is no directory takes the place of one, with the part in it that is taken.
            let replaces = member.kind != MemberKind::Dir && places.lie_below(&names);
            return Ok(replaces.then_some(Self { names: Some(names), inside: true, nothing_else: false }));
        };
        let mark = |names, inside| Ok(Some(Self { names, inside, nothing_else: true }));
        match last.as_slice() {
            HIDES_ALL => mark(Some(names), true),
            // What an old file system kept for itself.
            other if other.starts_with(b".wh..wh.") => mark(None, false),
            other => {
                names.push(other.get(HIDES.len()..).unwrap_or_default().to_vec());
                mark(Some(names), false)
            }
        }
    }
}

/// Reads what follows an archive: checksums stand at the end of streams.
fn drained(reader: TarReader<Bytes<'_>>) -> Result<()> {
    let mut rest = reader.into_input();
    io::copy(&mut rest, &mut io::sink()).map_err(|e| ArchiveError::reading("", e))?;
    Ok(())
}

/// The file that a reader is at.
struct OfMember<'m, 'r>(&'m mut TarReader<Bytes<'r>>);

impl stream::Bytes for OfMember<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        Ok(self.0.read(buffer)?)
    }

    fn hole(&self) -> u64 {
        self.0.hole()
    }

    fn skip_hole(&mut self, len: u64) {
        self.0.skip_hole(len);
    }
}

/// The same as a stream.
struct MemberBytes<'m, 'r>(&'m mut TarReader<Bytes<'r>>);

impl Read for MemberBytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(carried)
    }
}

/// A stream whose hash is compared at its end.
pub(super) struct Verified<R> {
    input: R,
    hasher: Option<NameHasher>,
    expected: String,
}

impl<R> Verified<R> {
    /// `expected` is a SHA-256 in hex.
    pub(super) fn new(input: R, expected: &str) -> Self {
        Self { input, hasher: Some(NameHasher::default()), expected: expected.to_owned() }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        if n > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..n]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && to_hex(&hasher.finish()) != self.expected
        {
            let why = format!("its bytes are not those of sha256:{}", self.expected);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(n)
    }
}

/// The first block of a stream, and the whole stream.
pub(super) fn peeked(mut bytes: Bytes<'_>) -> Result<(Vec<u8>, Bytes<'_>)> {
    let mut head = Vec::new();
    (&mut bytes).take(512).read_to_end(&mut head).map_err(|e| ArchiveError::reading("", e))?;
    let whole = Cursor::new(head.clone()).chain(bytes);
    Ok((head, Box::new(whole)))
}
