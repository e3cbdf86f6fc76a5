//! Reads restored files again and compares them with the ids of their chunks.
//!
//! Each node that differs from the version is reported as a notice with the first differing byte
//! range. Metadata is not compared.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, SeekFrom, fstat, openat, readlinkat, seek, statat,
};
use rustix::io::Errno;

use super::content::{Piece, Pieces, pieces};
use super::dir::{Dir, OPEN_DIR};
use super::error::{ReadError, error_text, io_error};
use super::source::Source;
use crate::error::{Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::id::Id;
use crate::model::path::display;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::work::Cancelled;
use crate::work::queue::{LaneWorker, Lanes, run};

/// Number of names that one item compares.
const NAMES: usize = 64;
/// Length of a range of a file in bytes.
const RANGE: u64 = 8 << 20;

/// Selects the paths to compare; a directory that is not selected is skipped.
pub type Wanted<'a> = dyn Fn(&[u8], &Entry) -> bool + Sync + 'a;

/// The result of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Compared nodes, except directories.
    pub files: u64,
    /// Compared bytes.
    pub bytes: u64,
    /// Nodes that differ from the version; each one was reported as a notice.
    pub wrong: u64,
}

enum Item<'a> {
    Tree(Arc<Dir>, Id),
    Nodes(Arc<Dir>, std::vec::IntoIter<Entry>),
    Range(Arc<Open>, Pieces<'a>),
}

struct Open {
    fd: OwnedFd,
    path: Vec<u8>,
    wrong: AtomicBool,
}

struct Verifier<'a> {
    source: &'a dyn Source,
    observer: &'a dyn Observer,
    wanted: &'a Wanted<'a>,
    files: AtomicU64,
    bytes: AtomicU64,
    wrong: AtomicU64,
}

/// Compares the files below `root` with the version with root `tree`, on `jobs` threads.
pub fn verify(
    source: &dyn Source,
    tree: &Id,
    root: &Path,
    wanted: &Wanted<'_>,
    jobs: usize,
    observer: &dyn Observer,
) -> Result<VerifyReport> {
    let (info, entries) = source.root(tree)?;
    let flags = OPEN_DIR.difference(OFlags::NOFOLLOW);
    let fd = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|e| io_error("open", root.as_os_str().as_encoded_bytes(), e))?;
    observer.phase("verify", Some(info.totals.files), Some(info.totals.bytes));
    let zero = || AtomicU64::new(0);
    let verifier = Verifier {
        source,
        observer,
        wanted,
        files: zero(),
        bytes: zero(),
        wrong: zero(),
    };
    verifier.run(jobs, Dir::root(fd, None), entries)?;
    let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
    Ok(VerifyReport {
        files: get(&verifier.files),
        bytes: get(&verifier.bytes),
        wrong: get(&verifier.wrong),
    })
}

impl<'a> Verifier<'a> {
    fn run(&self, jobs: usize, root: Arc<Dir>, entries: Vec<Entry>) -> Result<()> {
        let seed =
            |queue: &LaneWorker<'_, Item<'a>>| queue.push(Item::Nodes(root, entries.into_iter()));
        let body = |queue: &LaneWorker<'_, Item<'a>>| {
            while let Some(item) = queue.next() {
                if self.observer.cancelled() {
                    return Err(Cancelled.into());
                }
                self.work(item, queue)?;
            }
            Ok(())
        };
        run(jobs, Lanes::new(jobs), seed, body).map(drop)
    }

    fn work(&self, item: Item<'a>, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        match item {
            Item::Tree(dir, tree) => match self.source.entries(&tree) {
                Ok(entries) => queue.push(Item::Nodes(dir, entries.into_iter())),
                Err(e) if e.kind() == Kind::Integrity => {
                    self.differs(dir.path(), format!("cannot be compared: {e}"))
                }
                Err(e) => return Err(e),
            },
            Item::Nodes(dir, mut rest) => {
                let now: Vec<Entry> = rest.by_ref().take(NAMES).collect();
                if rest.len() > 0 {
                    queue.push(Item::Nodes(Arc::clone(&dir), rest));
                }
                for entry in now {
                    let path = dir.path_of(&entry.name);
                    if (self.wanted)(&path, &entry) {
                        self.node(&dir, path, &entry, queue)?;
                    }
                }
            }
            Item::Range(file, rest) => self.range(file, rest, queue)?,
        }
        Ok(())
    }

    fn node(
        &self,
        dir: &Arc<Dir>,
        path: Vec<u8>,
        entry: &Entry,
        queue: &LaneWorker<'_, Item<'a>>,
    ) -> Result<()> {
        if let Node::Dir { tree, .. } = &entry.node {
            match Dir::open(dir, &entry.name, None) {
                Ok(below) => queue.push(Item::Tree(below, *tree)),
                Err(e) => self.differs(
                    path,
                    format!("directory cannot be opened: {}", error_text(e)),
                ),
            }
            return Ok(());
        }
        self.files.fetch_add(1, Ordering::Relaxed);
        self.observer.advance(1, 0);
        let compared = match &entry.node {
            Node::File { size, content, .. } => {
                self.file(dir, &path, &entry.name, (*size, content), queue)
            }
            other => same_node(dir, &entry.name, other),
        };
        match compared {
            Ok(None) => Ok(()),
            Ok(Some(why)) => {
                self.differs(path, why);
                Ok(())
            }
            // These errors would be repeated for every file.
            Err(e @ (Errno::IO | Errno::MFILE | Errno::NFILE)) => Err(io_error("read", &path, e)),
            Err(e) => {
                self.differs(path, format!("cannot be read: {}", error_text(e)));
                Ok(())
            }
        }
    }

    fn file(
        &self,
        dir: &Dir,
        path: &[u8],
        name: &[u8],
        (size, content): (u64, &Content),
        queue: &LaneWorker<'_, Item<'a>>,
    ) -> Result<Option<String>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(dir.fd()?, name, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(Some("is not a regular file".to_owned()));
        }
        if u64::try_from(stat.st_size) != Ok(size) {
            return Ok(Some(format!(
                "is {} bytes long instead of {size}",
                stat.st_size
            )));
        }
        if let Content::Inline(expected) = content {
            let mut bytes = vec![0u8; expected.len()];
            let read = read_at(&fd, &mut bytes, 0)?;
            self.count(expected.len() as u64);
            return Ok((!read || bytes != *expected).then(|| "differs from its version".to_owned()));
        }
        let shown = display(path);
        let all = pieces(self.source, content, size, move || {
            ReadError::Extents {
                path: shown.clone(),
            }
            .into()
        });
        let open = Open {
            fd,
            path: path.to_vec(),
            wrong: AtomicBool::new(false),
        };
        queue.push(Item::Range(Arc::new(open), all));
        Ok(None)
    }

    fn range(
        &self,
        file: Arc<Open>,
        mut rest: Pieces<'a>,
        queue: &LaneWorker<'_, Item<'a>>,
    ) -> Result<()> {
        let mut now = Vec::new();
        let mut bytes = 0;
        // Holes have no bytes, so the number of pieces is limited, too.
        while bytes < RANGE && now.len() < 4096 {
            let Some(piece) = rest.next() else { break };
            match piece {
                Ok(piece) => {
                    bytes += if piece.chunk.is_some() { piece.len } else { 0 };
                    now.push(piece);
                }
                Err(e) if e.kind() == Kind::Integrity => {
                    self.differs_once(&file, format!("cannot be compared: {e}"));
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        if now.is_empty() {
            return Ok(());
        }
        // Push the rest first, so that another thread can continue while this one compares.
        queue.push(Item::Range(Arc::clone(&file), rest));
        let mut buf = Vec::new();
        for piece in now {
            // One notice for each file is sufficient, so its other ranges are not read.
            if file.wrong.load(Ordering::Relaxed) {
                return Ok(());
            }
            match self.holds(&file.fd, &piece, &mut buf) {
                Ok(true) => self.count(piece.len),
                Ok(false) => {
                    let end = piece.offset + piece.len;
                    self.differs_once(
                        &file,
                        format!("differs from its version in bytes {}..{end}", piece.offset),
                    );
                }
                Err(e) => self.differs_once(&file, format!("cannot be read: {}", error_text(e))),
            }
        }
        Ok(())
    }

    fn holds(&self, fd: &OwnedFd, piece: &Piece, buf: &mut Vec<u8>) -> Result<bool, Errno> {
        let end = piece.offset + piece.len;
        let Some(id) = &piece.chunk else {
            return zeros(fd, piece.offset, end, buf);
        };
        let Ok(len) = usize::try_from(piece.len) else {
            return Ok(false);
        };
        // A forged length must not allocate all memory.
        if len > 1 << 30 {
            return Ok(false);
        }
        buf.resize(len, 0);
        Ok(read_at(fd, buf, piece.offset)? && self.source.chunk_id(buf) == *id)
    }

    fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.observer.advance(0, bytes);
    }

    fn differs_once(&self, file: &Open, why: String) {
        if !file.wrong.swap(true, Ordering::Relaxed) {
            self.differs(file.path.clone(), why);
        }
    }

    fn differs(&self, path: Vec<u8>, message: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        self.observer.notice(Notice {
            level: NoticeLevel::Damage,
            path,
            message,
        });
    }
}

/// Compares a node that is neither a file nor a directory.
fn same_node(dir: &Dir, name: &[u8], node: &Node) -> Result<Option<String>, Errno> {
    let fd = dir.fd()?;
    let stat = statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let device = |major: &u32, minor: &u32| stat.st_rdev == rustix::fs::makedev(*major, *minor);
    let same = match node {
        Node::Symlink { target } => {
            kind.is_symlink()
                && readlinkat(fd.as_fd(), name, Vec::new())?.to_bytes() == target.as_slice()
        }
        Node::Fifo => kind.is_fifo(),
        Node::CharDevice { major, minor } => kind.is_char_device() && device(major, minor),
        Node::BlockDevice { major, minor } => kind.is_block_device() && device(major, minor),
        Node::File { .. } | Node::Dir { .. } => false,
    };
    Ok(
        (!same)
            .then(|| "differs from its version in type, link target or device number".to_owned()),
    )
}

/// Fills `buf` from an offset. Returns false if the file is too short.
fn read_at(fd: &OwnedFd, buf: &mut [u8], offset: u64) -> Result<bool, Errno> {
    let mut at = 0;
    while let Some(rest) = buf.get_mut(at..).filter(|r| !r.is_empty()) {
        match rustix::io::pread(fd.as_fd(), rest, offset + at as u64) {
            Ok(0) => return Ok(false),
            Ok(n) => at += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Returns whether a range contains only zeros. Holes that the file system reports are not read.
fn zeros(fd: &OwnedFd, mut offset: u64, end: u64, buf: &mut Vec<u8>) -> Result<bool, Errno> {
    while offset < end {
        match seek(fd, SeekFrom::Data(offset)) {
            Ok(data) => offset = data.max(offset),
            Err(Errno::NXIO) => return Ok(true),
            // The file system does not report holes, so the bytes are read.
            Err(_) => {}
        }
        let len = end.saturating_sub(offset).min(1 << 16);
        buf.resize(usize::try_from(len).unwrap_or(0), 0);
        if !read_at(fd, buf, offset)? || buf.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        offset += len;
    }
    Ok(true)
}
