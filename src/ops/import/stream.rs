//! Imports a tar stream into the tree. One thread reads the members, worker threads store their
//! content, and the members enter the tree in order.

use std::collections::BTreeSet;
use std::io::{self, Cursor, Read};

use super::places::{HiddenPath, MemberPlaces};
use super::tree::ArchiveTree;
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

/// The bytes of an archive.
pub(super) type ArchiveBytes<'r> = Box<dyn Read + Send + 'r>;
/// The names of a path.
type Names = Vec<Vec<u8>>;

/// Number of bytes of content and xattrs at which a group of members is handed over.
const GROUP_BYTES: usize = 256 << 10;
/// Number of members at which a group is handed over.
const GROUP_MEMBERS: usize = 64;
/// The prefix of whiteouts of the OCI image format, which hide the rest of their name.
const WHITEOUT: &[u8] = b".wh.";
/// The whiteout that hides the content of its directory.
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// Imports archives into a tree.
pub(super) struct ArchiveIntake<'i, 'a> {
    pub(super) out: &'i Output<'a>,
    pub(super) observer: &'i dyn Observer,
    pub(super) threads: usize,
    pub(super) tree: ArchiveTree,
    /// The number of members that were left out.
    pub(super) left_out: u64,
}

/// A change of the tree.
enum TreeUpdate {
    Node {
        names: Names,
        meta: Meta,
        node: Node,
    },
    Dir {
        names: Names,
        meta: Meta,
    },
    Link {
        names: Names,
        target: Names,
    },
    Hide(HiddenPath),
    LeftOut,
}

/// Follows the last part of a large file, with everything that its tree entry needs besides the
/// content.
struct FileEnd {
    names: Names,
    meta: Meta,
    bytes: u64,
    chunker: Chunker,
}

/// A member, or a part of a large one.
enum ReadMember {
    /// A member without content.
    Update(TreeUpdate),
    /// A small file.
    Small {
        names: Names,
        meta: Meta,
        content: Vec<u8>,
    },
    /// A part of a large file.
    Part(Stretch),
    End(FileEnd),
}

/// A member whose content is stored.
enum StoredMember {
    Update(TreeUpdate),
    Part { extents: Vec<Extent>, bytes: u64 },
    End(FileEnd),
}

impl ArchiveIntake<'_, '_> {
    /// Imports an uncompressed archive. If it is a layer of an image, its members hide those of
    /// lower layers.
    pub(super) fn archive(
        &mut self,
        bytes: ArchiveBytes<'_>,
        places: &MemberPlaces,
        layer: bool,
    ) -> Result<()> {
        self.read_with(|reading| {
            let mut reader = TarReader::new(bytes);
            reading.members(&mut reader, places, layer)?;
            read_to_end(reader)
        })
    }

    /// Imports an archive that is a member of another one.
    pub(super) fn archive_in(
        &mut self,
        bytes: ArchiveBytes<'_>,
        member: &[u8],
        places: &MemberPlaces,
    ) -> Result<()> {
        self.read_with(|reading| {
            let mut outer = TarReader::new(bytes);
            while let Some(next) = outer.next_member()? {
                if next.path == member {
                    let inner = plain(MemberBytes(&mut outer))
                        .map_err(|e| ArchiveError::reading(&display(member), e))?;
                    let mut inner = TarReader::new(inner);
                    reading.members(&mut inner, places, false)?;
                    read_to_end(inner)?;
                    break;
                }
            }
            read_to_end(outer)
        })
    }

    fn read_with(
        &mut self,
        read: impl FnOnce(&mut MemberReader<'_>) -> Result<()> + Send,
    ) -> Result<()> {
        let (out, observer, tree, left_out) =
            (self.out, self.observer, &mut self.tree, &mut self.left_out);
        let cutting = out.repo().chunker();
        // One large file is gathered at a time, because results are consumed in the order of the
        // archive.
        let mut gathered = Gathered::default();
        let stages = Stages {
            produce: |give: &Give<'_, Vec<ReadMember>>| {
                let reserved = BTreeSet::new();
                let mut reading = MemberReader {
                    give,
                    cutting,
                    observer,
                    group: Vec::new(),
                    bytes: 0,
                    reserved,
                };
                read(&mut reading)?;
                reading.hand_over()
            },
            work: |group: Vec<ReadMember>| {
                group
                    .into_iter()
                    .map(|read| store(read, out))
                    .collect::<Result<Vec<_>>>()
            },
            // Each worker collects small chunks for common frames, and the last of them are not
            // stored yet.
            leave: || flush_small(out),
            consume: |group: Vec<StoredMember>| {
                if observer.cancelled() {
                    return Err(Cancelled.into());
                }
                for stored in group {
                    match stored {
                        StoredMember::Update(TreeUpdate::Dir { names, meta }) => {
                            tree.put_dir(&names, meta)?
                        }
                        StoredMember::Update(TreeUpdate::Node { names, meta, node }) => {
                            let bytes = if let Node::File { size, .. } = node {
                                size
                            } else {
                                0
                            };
                            tree.put_node(&names, meta, node)?;
                            observer.advance(1, bytes);
                        }
                        StoredMember::Update(TreeUpdate::Link { names, target }) => {
                            tree.put_link(&names, &target)?
                        }
                        StoredMember::Update(TreeUpdate::Hide(hidden)) => {
                            tree.hide(&hidden.names, hidden.inside)
                        }
                        StoredMember::Update(TreeUpdate::LeftOut) => *left_out += 1,
                        StoredMember::Part { extents, bytes } => {
                            gathered.push(extents, out)?;
                            observer.advance(0, bytes);
                        }
                        StoredMember::End(FileEnd {
                            names,
                            meta,
                            bytes,
                            chunker,
                        }) => {
                            let node = std::mem::take(&mut gathered).finish(bytes, chunker, out)?;
                            tree.put_node(&names, meta, node)?;
                            observer.advance(1, 0);
                        }
                    }
                }
                Ok(())
            },
        };
        // Only few groups may wait, because they hold the content of their members in memory.
        in_order(self.threads, self.threads * 2, stages)
    }
}

fn store(read: ReadMember, out: &Output<'_>) -> Result<StoredMember> {
    Ok(match read {
        ReadMember::Update(update) => StoredMember::Update(update),
        ReadMember::Small {
            names,
            meta,
            content,
        } => StoredMember::Update(TreeUpdate::Node {
            names,
            meta,
            node: store_file(out, &content)?,
        }),
        ReadMember::Part(stretch) => {
            let bytes = stretch.len();
            StoredMember::Part {
                extents: stretch.store(out)?,
                bytes,
            }
        }
        ReadMember::End(end) => StoredMember::End(end),
    })
}

/// Reads members, and passes them to the workers in groups.
struct MemberReader<'g> {
    give: &'g Give<'g, Vec<ReadMember>>,
    cutting: &'g ChunkerConfig,
    observer: &'g dyn Observer,
    group: Vec<ReadMember>,
    bytes: usize,
    /// Paths of repositories, which are left out.
    reserved: BTreeSet<Vec<u8>>,
}

impl MemberReader<'_> {
    fn members(
        &mut self,
        reader: &mut TarReader<ArchiveBytes<'_>>,
        places: &MemberPlaces,
        layer: bool,
    ) -> Result<()> {
        while let Some(member) = reader.next_member()? {
            let name = display(&member.path);
            // A whiteout has no place of its own, so it is handled before the places.
            if layer && let Some(hiding) = MemberHiding::of(&member, &name, places)? {
                if let Some(hidden) = hiding.path.and_then(|path| places.hidden(path)) {
                    self.push_update(TreeUpdate::Hide(hidden))?;
                }
                if hiding.is_whiteout {
                    continue;
                }
            }
            let Some(names) = places.of(&member.path, layer)? else {
                self.push_update(TreeUpdate::LeftOut)?;
                continue;
            };
            // A file in the place of a directory above the imported path lies outside of that path.
            if places.is_above(&names) && member.kind != MemberKind::Dir {
                self.push_update(TreeUpdate::LeftOut)?;
                continue;
            }
            if let Some(at) = names.iter().position(|name| is_reserved(name)) {
                // Report a repository only once, not for each member in it.
                let repository = names[..=at].join(&b'/');
                if self.reserved.insert(repository.clone()) {
                    self.observer.notice(reserved_notice(repository));
                }
                self.push_update(TreeUpdate::LeftOut)?;
                continue;
            }
            let target = match &member.kind {
                MemberKind::HardLink { target } => Some(link_target(target, &name, places, layer)?),
                _ => None,
            };
            match target {
                Some(target) => self.push_update(TreeUpdate::Link { names, target })?,
                None => self.member(reader, names, member)?,
            }
        }
        Ok(())
    }

    /// Reads a member that is not a hard link.
    fn member(
        &mut self,
        reader: &mut TarReader<ArchiveBytes<'_>>,
        names: Names,
        member: ArchiveMember,
    ) -> Result<()> {
        let ArchiveMember { meta, kind, .. } = member;
        let node = match kind {
            MemberKind::Dir => return self.push_update(TreeUpdate::Dir { names, meta }),
            MemberKind::HardLink { .. } => return Ok(()),
            MemberKind::Symlink { target } => Node::Symlink { target },
            MemberKind::Fifo => Node::Fifo,
            MemberKind::CharDevice { major, minor } => Node::CharDevice { major, minor },
            MemberKind::BlockDevice { major, minor } => Node::BlockDevice { major, minor },
            MemberKind::File { size } if size <= SMALL_MAX => {
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                let bytes_len = bytes.len();
                let mut len = 0;
                while len < bytes_len {
                    match reader.read(&mut bytes[len..])? {
                        0 => break,
                        n => len += n,
                    }
                }
                return self.push(
                    ReadMember::Small {
                        names,
                        meta,
                        content: bytes,
                    },
                    bytes_len,
                );
            }
            MemberKind::File { size } => {
                let cutting = self.cutting;
                let mut file = MemberContent(reader);
                // A part counts as a full group, so it is handed over at once.
                let push = &mut |stretch| self.push(ReadMember::Part(stretch), GROUP_BYTES);
                let chunker = cut_file(cutting, size, &mut file, push)?;
                return self.push(
                    ReadMember::End(FileEnd {
                        names,
                        meta,
                        bytes: size,
                        chunker,
                    }),
                    0,
                );
            }
        };
        self.push_update(TreeUpdate::Node { names, meta, node })
    }

    fn push_update(&mut self, update: TreeUpdate) -> Result<()> {
        self.push(ReadMember::Update(update), 0)
    }

    /// Adds a member to the group, and hands the group over when it is full. `bytes` is the length
    /// of the content.
    fn push(&mut self, read: ReadMember, bytes: usize) -> Result<()> {
        // Xattrs may be large, so they count, too.
        let meta = match &read {
            ReadMember::Update(TreeUpdate::Node { meta, .. } | TreeUpdate::Dir { meta, .. })
            | ReadMember::Small { meta, .. }
            | ReadMember::End(FileEnd { meta, .. }) => meta
                .xattrs
                .iter()
                .map(|x| x.name.len() + x.value.len())
                .sum(),
            ReadMember::Update(_) | ReadMember::Part(_) => 0,
        };
        self.group.push(read);
        self.bytes += bytes + meta;
        if self.bytes >= GROUP_BYTES || self.group.len() >= GROUP_MEMBERS {
            self.hand_over()
        } else {
            Ok(())
        }
    }

    fn hand_over(&mut self) -> Result<()> {
        self.bytes = 0;
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            Ok(())
        } else {
            self.give.give(group)
        }
    }
}

/// Returns the path in the version of the target of a hard link. Fails if the target is not
/// imported.
fn link_target(target: &[u8], name: &str, places: &MemberPlaces, layer: bool) -> Result<Names> {
    let why = || format!("the hard link target `{}` is not imported", display(target));
    // A link to a member that is left out would have no content.
    let is_imported =
        |names: &Names| !places.is_above(names) && !names.iter().any(|name| is_reserved(name));
    let place = places.of(target, layer)?.filter(is_imported);
    Ok(place.ok_or_else(|| ArchiveError::refused(name, why()))?)
}

/// The effect of a member on lower layers of an image.
struct MemberHiding {
    /// The hidden path of the archive, if any.
    path: Option<HiddenPath>,
    /// Whether the member is a whiteout, which only hides other paths and is not imported.
    is_whiteout: bool,
}

impl MemberHiding {
    fn of(member: &ArchiveMember, name: &str, places: &MemberPlaces) -> Result<Option<Self>> {
        let invalid = || ArchiveError::refused(name, "the path contains `..` or an invalid name");
        let mut names = split(&member.path).ok_or_else(invalid)?;
        let Some(last) = names.pop_if(|last| last.starts_with(WHITEOUT)) else {
            // A file that replaces a directory also hides the imported content of the directory.
            let is_hiding = member.kind != MemberKind::Dir && places.lie_below(&names);
            let path = Some(HiddenPath {
                names,
                inside: true,
            });
            return Ok(is_hiding.then_some(Self {
                path,
                is_whiteout: false,
            }));
        };
        let path = match last.as_slice() {
            WHITEOUT_OPAQUE => Some(HiddenPath {
                names,
                inside: true,
            }),
            // Internal files of AUFS, which hide nothing.
            other if other.starts_with(b".wh..wh.") => None,
            other => {
                names.push(other.get(WHITEOUT.len()..).unwrap_or_default().to_vec());
                Some(HiddenPath {
                    names,
                    inside: false,
                })
            }
        };
        Ok(Some(Self {
            path,
            is_whiteout: true,
        }))
    }
}

/// Reads the bytes after an archive, because readers verify checksums at the end of a stream.
fn read_to_end(reader: TarReader<ArchiveBytes<'_>>) -> Result<()> {
    let mut rest = reader.into_input();
    io::copy(&mut rest, &mut io::sink()).map_err(|e| ArchiveError::reading("", e))?;
    Ok(())
}

/// The content of the current member.
struct MemberContent<'m, 'r>(&'m mut TarReader<ArchiveBytes<'r>>);

impl stream::Bytes for MemberContent<'_, '_> {
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

/// The content of the current member, without support for holes.
struct MemberBytes<'m, 'r>(&'m mut TarReader<ArchiveBytes<'r>>);

impl Read for MemberBytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(carried)
    }
}

/// A reader that fails at the end if the SHA-256 of its bytes is wrong.
pub(super) struct VerifiedReader<R> {
    input: R,
    hasher: Option<NameHasher>,
    expected: String,
}

impl<R> VerifiedReader<R> {
    /// Creates a reader that expects this SHA-256, in hex.
    pub(super) fn new(input: R, expected: &str) -> Self {
        Self {
            input,
            hasher: Some(NameHasher::default()),
            expected: expected.to_owned(),
        }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        // At the end of the input, the checksum is compared once. A read into an empty buffer also
        // returns 0.
        if n > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..n]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && to_hex(&hasher.finish()) != self.expected
        {
            let why = format!("checksum mismatch: expected sha256:{}", self.expected);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(n)
    }
}

/// A stream and its first block.
pub(super) struct PeekedStream<'r> {
    pub(super) head: Vec<u8>,
    /// The complete stream, including `head`.
    pub(super) bytes: ArchiveBytes<'r>,
}

/// Reads the first block of a stream.
pub(super) fn peek(mut bytes: ArchiveBytes<'_>) -> Result<PeekedStream<'_>> {
    let mut head = Vec::new();
    (&mut bytes)
        .take(512)
        .read_to_end(&mut head)
        .map_err(|e| ArchiveError::reading("", e))?;
    let bytes = Box::new(Cursor::new(head.clone()).chain(bytes));
    Ok(PeekedStream { head, bytes })
}
