//! Reads tar streams in the v7, ustar, GNU and PAX formats. Returns the members in order, and their
//! content as a stream.
//!
//! The `tar` crate reads header blocks and verifies their checksums. This module interprets the
//! extension headers itself, because the crate splits PAX records at line breaks and supports only
//! one of the four sparse formats. Fixed limits bound the memory, no matter which lengths an
//! archive declares.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use tar::{Archive, EntryType, GnuExtSparseHeader, Header};

use super::member::{ArchiveMember, MemberKind};
use super::sparse::{self, Run};
use super::{ArchiveError, acl, records, writer};
use crate::error::Kind;
use crate::model::entry::{Meta, Time, Xattr};
use crate::model::path::display;

/// Limit on the extension headers of one member in bytes.
const EXTENSION_MAX: u64 = 16 << 20;
/// Limit on the number of extension headers of one member.
const EXTENSIONS_MAX: usize = 16;
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Limits of Linux: the name and the value of an xattr, and the target of a symbolic link.
/// `XATTRS_MAX` limits all xattrs of a file, so that the tree object of a directory stays small.
const XATTR_NAME_MAX: usize = 255;
const XATTR_VALUE_MAX: usize = 64 << 10;
const XATTRS_MAX: usize = 1 << 20;
const TARGET_MAX: usize = 4095;
/// The largest device numbers.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Returns the name in the first block of an archive, or `None` if `head` is shorter than a block.
pub fn first_name(head: &[u8]) -> Option<Vec<u8>> {
    Some(
        Header::from_byte_slice(head.get(..512)?)
            .path_bytes()
            .into_owned(),
    )
}

/// The source of an archive.
pub trait ArchiveInput: Read {
    /// Skips bytes without processing them. Fails with `UnexpectedEof` if the source has fewer
    /// bytes.
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut rest = self.take(bytes);
        match io::copy(&mut rest, &mut io::sink())? == bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ArchiveInput for Box<dyn Read + Send + '_> {}

/// Reads the members of an archive.
pub struct TarReader<R> {
    input: R,
    /// Number of bytes that were read or skipped.
    position: u64,
    globals: Records,
    /// Name of the last member, for messages.
    name: String,
    data: Data,
    ended: bool,
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// The unread content of a member.
#[derive(Default)]
struct Data {
    /// Ranges of data that are not read yet.
    runs: VecDeque<Run>,
    /// Position in the file.
    at: u64,
    size: u64,
    /// Number of unread bytes in the archive, followed by `padding` bytes that fill the last block.
    stored: u64,
    padding: u64,
}

/// The extension headers of a member.
#[derive(Default)]
struct Extensions {
    records: Records,
    sparse: Vec<Run>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    bytes: u64,
    pieces: usize,
}

impl<R: ArchiveInput> TarReader<R> {
    /// Reads from the start of an archive.
    pub fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            globals: Records::new(),
            name: String::new(),
            data: Data::default(),
            ended: false,
        }
    }

    /// Returns the next member, or `None` at the end. Skips the unread content of the previous
    /// member.
    pub fn next_member(&mut self) -> Result<Option<ArchiveMember>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let left = self.data.stored + self.data.padding;
        self.input
            .skip(left)
            .map_err(|e| ArchiveError::reading(&self.name, e))?;
        self.position += left;
        self.data = Data::default();
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                if extensions.pieces > 0 {
                    return Err(self.damaged("missing member after its extension header"));
                }
                self.ended = true;
                return Ok(None);
            };
            let size = header
                .entry_size()
                .map_err(|e| self.damaged(e.to_string()))?;
            // Only headers with the magic of ustar or GNU tar define the types of extension
            // headers.
            let extended = header.as_ustar().is_some() || header.as_gnu().is_some();
            match header.entry_type() {
                EntryType::XGlobalHeader => {
                    let bytes = self.extension(&mut extensions, size)?;
                    // A global header belongs to no member, so the archive may end after it.
                    extensions.pieces -= 1;
                    let all = records::take(&bytes)
                        .ok_or_else(|| self.damaged("malformed global PAX records"))?;
                    self.globals
                        .extend(all.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())));
                    if self
                        .globals
                        .iter()
                        .map(|(k, v)| k.len() + v.len())
                        .sum::<usize>() as u64
                        > EXTENSION_MAX
                    {
                        return Err(self.damaged("global PAX records are too long"));
                    }
                }
                EntryType::XHeader if extended => {
                    let bytes = self.extension(&mut extensions, size)?;
                    self.add_records(&bytes, &mut extensions)?;
                }
                EntryType::GNULongName if extended => {
                    extensions.long_name = Some(self.extension(&mut extensions, size)?);
                }
                EntryType::GNULongLink if extended => {
                    extensions.long_link = Some(self.extension(&mut extensions, size)?);
                }
                // A volume label names no file, so skip it.
                other if other.as_byte() == b'V' => self.skip_padded(size)?,
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Returns the offset in the input of the bytes that are read next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads the next bytes of the last member. Returns 0 at its end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let hole = self.hole();
        if hole > 0 {
            let n = usize::try_from(hole)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            buffer[..n].fill(0);
            self.data.at += n as u64;
            return Ok(n);
        }
        let Some((offset, len)) = self.data.runs.front().copied() else {
            return Ok(0);
        };
        let left = offset + len - self.data.at;
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let n = loop {
            match self.input.read(&mut buffer[..want]) {
                Ok(0) => {
                    return Err(ArchiveError::reading(
                        &self.name,
                        io::ErrorKind::UnexpectedEof.into(),
                    ));
                }
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ArchiveError::reading(&self.name, e)),
            }
        };
        self.position += n as u64;
        self.data.at += n as u64;
        self.data.stored -= n as u64;
        if n as u64 == left {
            self.data.runs.pop_front();
        }
        Ok(n)
    }

    /// Returns the number of zeros at the current position that the archive does not contain.
    pub fn hole(&self) -> u64 {
        let next = self.data.runs.front().map_or(self.data.size, |r| r.0);
        next.saturating_sub(self.data.at)
    }

    /// Skips at most `len` zeros of the current hole.
    pub fn skip_hole(&mut self, len: u64) {
        self.data.at += len.min(self.hole());
    }

    /// Returns the source, positioned after the bytes that were read or skipped.
    pub fn into_input(self) -> R {
        self.input
    }

    fn damaged(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveError::damaged_after(&self.name, why)
    }

    /// Returns the next header block, or `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut counted = CountingReader {
            input: &mut self.input,
            bytes: 0,
        };
        // Use a new `Archive` for each header, and `raw`, so that the crate does not interpret
        // extension headers.
        let mut archive = Archive::new(&mut counted);
        let next = archive
            .entries()
            .and_then(|entries| entries.raw(true).next().transpose());
        let header = next.map(|entry| entry.map(|entry| entry.header().clone()));
        let bytes = counted.bytes;
        self.position += bytes;
        match header {
            // The crate takes the end of the stream for the end of the archive, even without a
            // complete block.
            Ok(None) if bytes < writer::BLOCK => Err(self.damaged("truncated")),
            Ok(header) => Ok(header),
            // An error of the crate means that the header is malformed, unless the source failed.
            // An error of the source may have a kind of its own.
            Err(e) if e.kind() == io::ErrorKind::Other && Kind::of_io(&e) == Kind::Internal => {
                Err(self.damaged(e.to_string()))
            }
            Err(e) => Err(ArchiveError::reading(&self.name, e)),
        }
    }

    fn skip_padded(&mut self, size: u64) -> Result<(), ArchiveError> {
        let len = size
            .checked_add(writer::padding(size))
            .ok_or_else(|| self.damaged("size out of range"))?;
        self.input
            .skip(len)
            .map_err(|e| ArchiveError::reading(&self.name, e))?;
        self.position += len;
        Ok(())
    }

    /// Reads exactly `size` bytes and the padding of the last block.
    fn take(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let len = size + writer::padding(size);
        let mut out = Vec::new();
        let mut rest = (&mut self.input).take(len);
        rest.read_to_end(&mut out)
            .map_err(|e| ArchiveError::reading(&self.name, e))?;
        if out.len() as u64 != len {
            return Err(ArchiveError::reading(
                &self.name,
                io::ErrorKind::UnexpectedEof.into(),
            ));
        }
        self.position += len;
        out.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(out)
    }

    fn extension(
        &mut self,
        extensions: &mut Extensions,
        size: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        extensions.bytes = extensions.bytes.saturating_add(size);
        extensions.pieces += 1;
        // The number is limited, too, because empty extension headers add no bytes.
        if extensions.bytes > EXTENSION_MAX || extensions.pieces > EXTENSIONS_MAX {
            return Err(self.damaged("too many or too long extension headers"));
        }
        self.take(size)
    }

    fn add_records(&self, bytes: &[u8], extensions: &mut Extensions) -> Result<(), ArchiveError> {
        let all = records::take(bytes).ok_or_else(|| self.damaged("malformed PAX records"))?;
        let mut offset = None;
        for (key, value) in all {
            match key {
                // Sparse format 0.0 repeats these two keys.
                b"GNU.sparse.offset" => offset = records::number(value),
                b"GNU.sparse.numbytes" => {
                    let run = offset.take().zip(records::number(value));
                    extensions
                        .sparse
                        .push(run.ok_or_else(|| self.damaged("malformed sparse file map"))?);
                }
                _ => {
                    extensions.records.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        extensions: Extensions,
    ) -> Result<ArchiveMember, ArchiveError> {
        let get = |key: &[u8]| {
            extensions
                .records
                .get(key)
                .or_else(|| self.globals.get(key))
                // An empty value cancels a global record of the same key (POSIX, pax).
                .filter(|v| !v.is_empty())
        };
        let without_nul =
            |bytes: Vec<u8>| bytes.split(|b| *b == 0).next().unwrap_or_default().to_vec();
        let version = (
            get(b"GNU.sparse.major").map(Vec::as_slice),
            get(b"GNU.sparse.minor").map(Vec::as_slice),
        );
        let is_mapped = version == (Some(&b"1"[..]), Some(&b"0"[..]));
        let name = get(b"GNU.sparse.name").or_else(|| get(b"path")).cloned();
        // GNU tar ends long names with NUL.
        let name = name.or_else(|| extensions.long_name.clone().map(without_nul));
        let mut path = name.unwrap_or_else(|| header.path_bytes().into_owned());
        self.name = display(&path);
        let is_dir_name = path.ends_with(b"/");
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        if path.contains(&0) {
            return Err(ArchiveError::refused(&self.name, "name contains NUL"));
        }
        let number = |key: &'static str| {
            let bad =
                || ArchiveError::damaged(&self.name, format!("value of `{key}` is not a number"));
            get(key.as_bytes())
                .map(|v| records::number(v).ok_or_else(bad))
                .transpose()
        };
        // The field of a header ends below 8 GiB, so larger sizes are in a record.
        let size = number("size")?.unwrap_or(size);
        let link = get(b"linkpath")
            .cloned()
            .or_else(|| extensions.long_link.clone().map(without_nul));
        let link =
            link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        let device = |field: io::Result<Option<u32>>, max: u32| {
            let bad = |e: io::Error| ArchiveError::damaged(&self.name, e.to_string());
            match field.map_err(bad)?.unwrap_or_default() {
                number if number <= max => Ok(number),
                _ => Err(ArchiveError::refused(
                    &self.name,
                    "device number out of range",
                )),
            }
        };
        let major = || device(header.device_major(), MAJOR_MAX);
        let minor = || device(header.device_minor(), MINOR_MAX);
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if !is_dir_name => MemberKind::File { size },
            EntryType::GNUSparse => MemberKind::File { size },
            // Old archives have no type for directories, and incremental archives store the names
            // in a directory as its content.
            EntryType::Directory | EntryType::Regular | EntryType::Continuous => MemberKind::Dir,
            other if other.as_byte() == b'D' => MemberKind::Dir,
            EntryType::Link => MemberKind::HardLink { target: link },
            EntryType::Symlink
                if link.is_empty() || link.len() > TARGET_MAX || link.contains(&0) =>
            {
                return Err(ArchiveError::refused(&self.name, "invalid link target"));
            }
            EntryType::Symlink => MemberKind::Symlink { target: link },
            EntryType::Fifo => MemberKind::Fifo,
            EntryType::Char => MemberKind::CharDevice {
                major: major()?,
                minor: minor()?,
            },
            EntryType::Block => MemberKind::BlockDevice {
                major: major()?,
                minor: minor()?,
            },
            other => {
                let why = format!("unknown member type `{}`", other.as_byte().escape_ascii());
                return Err(ArchiveError::refused(&self.name, why));
            }
        };
        let meta = meta_of(header, &kind, &get, &extensions.records, &self.name)?;
        // Links and devices have no content, even if their header has a size.
        let has_bytes = matches!(kind, MemberKind::File { .. } | MemberKind::Dir);
        let dumped = header.entry_type().as_byte() == b'D';
        let stored = if has_bytes && (dumped || !matches!(kind, MemberKind::Dir)) {
            size
        } else {
            0
        };
        let real = number("GNU.sparse.realsize")?.or(number("GNU.sparse.size")?);
        let map = get(b"GNU.sparse.map").cloned();
        // The padding is less than a block, so the sums of `stored` and `padding` cannot overflow.
        if stored.checked_add(writer::BLOCK).is_none() {
            return Err(ArchiveError::damaged(&self.name, "size out of range"));
        }
        self.data = Data {
            stored,
            padding: writer::padding(stored),
            ..Data::default()
        };
        let MemberKind::File { .. } = kind else {
            return Ok(ArchiveMember { path, meta, kind });
        };
        let runs = if header.entry_type() == EntryType::GNUSparse {
            let (runs, real) = self.old_map(header)?;
            Some((runs, Some(real)))
        } else if is_mapped {
            // Format 1.0.
            Some((self.map()?, real))
        } else if let Some(map) = map {
            // Format 0.1.
            let runs = sparse::with_commas(&map);
            Some((
                runs.ok_or_else(|| ArchiveError::damaged(&self.name, "malformed sparse file map"))?,
                real,
            ))
        } else if !extensions.sparse.is_empty() {
            // Format 0.0.
            Some((extensions.sparse, real))
        } else {
            None
        };
        let (runs, size) = match runs {
            None => (
                if size > 0 {
                    vec![(0, size)]
                } else {
                    Vec::new()
                },
                size,
            ),
            Some((runs, real)) => {
                let bad = || {
                    ArchiveError::damaged(
                        &self.name,
                        "sparse file map does not match the file size",
                    )
                };
                let real = real.ok_or_else(bad)?;
                (
                    sparse::checked(runs, real, self.data.stored).ok_or_else(bad)?,
                    real,
                )
            }
        };
        // Offsets in a file are signed numbers.
        if i64::try_from(size).is_err() {
            return Err(ArchiveError::damaged(&self.name, "size out of range"));
        }
        self.data.runs = runs.into();
        self.data.size = size;
        Ok(ArchiveMember {
            path,
            meta,
            kind: MemberKind::File { size },
        })
    }

    /// Reads the map of the old GNU sparse format, which is in the header and in the blocks after
    /// the header.
    fn old_map(&mut self, header: &Header) -> Result<(Vec<Run>, u64), ArchiveError> {
        let name = self.name.clone();
        let bad = |why: String| ArchiveError::damaged(&name, why);
        let gnu = header
            .as_gnu()
            .ok_or_else(|| bad("sparse member without a GNU header".to_owned()))?;
        let mut runs = Vec::new();
        let add = |part: &tar::GnuSparseHeader, runs: &mut Vec<Run>| -> io::Result<()> {
            // Unused slots are empty: a header has four slots, and each block after it has 21.
            if !part.is_empty() {
                runs.push((part.offset()?, part.length()?));
            }
            Ok(())
        };
        for part in &gnu.sparse {
            add(part, &mut runs).map_err(|e| bad(e.to_string()))?;
        }
        let mut more = gnu.is_extended();
        while more {
            // These blocks are not part of the member's size, unlike the map of format 1.0.
            let block = self.take(writer::BLOCK)?;
            let mut extended = GnuExtSparseHeader::new();
            extended.as_mut_bytes().copy_from_slice(&block);
            for part in extended.sparse() {
                add(part, &mut runs).map_err(|e| bad(e.to_string()))?;
            }
            more = extended.is_extended();
            // A range takes 24 bytes in the archive.
            if runs.len() as u64 > EXTENSION_MAX / 24 {
                return Err(bad("sparse file map is too long".to_owned()));
            }
        }
        Ok((runs, gnu.real_size().map_err(|e| bad(e.to_string()))?))
    }

    /// Reads the map of sparse format 1.0, which precedes the data.
    fn map(&mut self) -> Result<Vec<Run>, ArchiveError> {
        let name = self.name.clone();
        let bad = || ArchiveError::damaged(&name, "malformed sparse file map");
        let (mut text, mut numbers, mut wanted) = (Vec::new(), Vec::new(), None);
        let mut read = 0;
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            if self.data.stored < writer::BLOCK || read > EXTENSION_MAX {
                return Err(bad());
            }
            // The map is padded to whole blocks, so no data is lost with the rest of the last one.
            text.extend(self.take(writer::BLOCK)?);
            read += writer::BLOCK;
            self.data.stored -= writer::BLOCK;
            let mut from = 0;
            while let Some(len) = text[from..].iter().position(|b| *b == b'\n')
                && wanted.is_none_or(|wanted| numbers.len() < wanted)
            {
                let number = records::number(&text[from..from + len]).ok_or_else(bad)?;
                match wanted {
                    None => wanted = Some(sparse::numbers_after(number).ok_or_else(bad)?),
                    Some(_) => numbers.push(number),
                }
                from += len + 1;
            }
            text.drain(..from);
        }
        sparse::pairs(&numbers).ok_or_else(bad)
    }
}

/// A reader that counts the bytes it returns.
struct CountingReader<'r, R> {
    input: &'r mut R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = loop {
            match self.input.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.bytes += n as u64;
        Ok(n)
    }
}

fn meta_of<'g>(
    header: &Header,
    kind: &MemberKind,
    get: &dyn Fn(&[u8]) -> Option<&'g Vec<u8>>,
    own: &Records,
    name: &str,
) -> Result<Meta, ArchiveError> {
    let bad = |what: &str| ArchiveError::damaged(name, format!("{what} is not a number"));
    // Old programs leave number fields empty, which counts as 0.
    let field = |read: io::Result<u64>, raw: &[u8], what: &str| match read {
        Ok(value) => Ok(value),
        Err(_) if raw.iter().all(|b| matches!(b, 0 | b' ')) => Ok(0),
        Err(_) => Err(bad(what)),
    };
    let old = header.as_old();
    let id = |key: &[u8], read: io::Result<u64>, raw: &[u8], what: &str| {
        let value = match get(key) {
            Some(text) => records::number(text).ok_or_else(|| bad(what))?,
            None => field(read, raw, what)?,
        };
        u32::try_from(value).map_err(|_| bad(what))
    };
    let mtime = match get(b"mtime") {
        Some(text) => records::time_of(text).ok_or_else(|| bad("time"))?,
        // Negative times are encoded as two's complement.
        None => Time {
            secs: field(header.mtime(), &old.mtime, "time")?.cast_signed(),
            nanos: 0,
        },
    };
    let mode = field(header.mode().map(u64::from), &old.mode, "mode")?;
    let mut xattrs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (attribute, record) in [acl::ACCESS, acl::DEFAULT] {
        // Use only the member's own records, because a global record would give all files the same
        // ACL.
        if let Some(text) = own.get(record).filter(|t| !t.is_empty()) {
            let value = acl::of_text(text).ok_or_else(|| ArchiveError::Refused {
                entry: name.to_owned(),
                why: "the ACL contains user or group names without numeric ids".to_owned(),
                hint: Some("create the archive with `tar --numeric-owner`"),
            });
            // The raw xattr is more exact than its text form. If it exists, an invalid text is
            // ignored.
            let raw = own.contains_key(&[XATTR, attribute].concat());
            match value {
                Ok(value) => {
                    xattrs.insert(attribute.to_vec(), value);
                }
                Err(e) if !raw => return Err(e),
                Err(_) => {}
            }
        }
    }
    for (key, value) in own {
        if let Some(attribute) = key.strip_prefix(XATTR).filter(|a| !a.is_empty()) {
            xattrs.insert(decoded(attribute), value.clone());
        }
    }
    let fits = |(name, value): (&Vec<u8>, &Vec<u8>)| {
        name.len() <= XATTR_NAME_MAX && !name.contains(&0) && value.len() <= XATTR_VALUE_MAX
    };
    let bytes: usize = xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > XATTRS_MAX || !xattrs.iter().all(fits) {
        return Err(ArchiveError::refused(
            name,
            "xattrs exceed the limits of Linux",
        ));
    }
    Ok(Meta {
        mode: match kind {
            // The mode of a symbolic link is always 0777 on Linux (symlink(7)).
            MemberKind::Symlink { .. } => 0o777,
            _ => u32::try_from(mode & 0o7777).unwrap_or(0),
        },
        uid: id(b"uid", header.uid(), &old.uid, "owner")?,
        gid: id(b"gid", header.gid(), &old.gid, "group")?,
        mtime,
        xattrs: xattrs
            .into_iter()
            .map(|(name, value)| Xattr { name, value })
            .collect(),
    })
}

/// Decodes the name of an xattr, in which `=` is encoded as `%3D` and `%` as `%25`.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, more)) = rest.split_first() {
        let (byte, len) = match rest.get(..3) {
            Some(b"%3D") => (b'=', 3),
            Some(b"%25") => (b'%', 3),
            _ => (*first, 1),
        };
        out.push(byte);
        rest = more.get(len - 1..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests;
