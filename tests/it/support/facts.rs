//! All observable properties of the files in a tree, and the differences between two trees.
//!
//! In: directories. Out: one line per difference in content, mode, owner, time, xattrs (including
//! ACLs and capabilities), hard links, holes and devices. A copy may have more holes than its
//! source, but must have every aligned hole of the source.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, lgetxattr, llistxattr, seek};

/// Granularity of the comparison of holes, in bytes: only aligned pieces of this size that are
/// completely in a hole count.
const HOLE: u64 = 64 << 10;

/// The properties of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `f`, `d`, `l`, `p`, `s`, `c` or `b`.
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Modification time: seconds and nanoseconds since 1970.
    pub mtime: (i64, i64),
    /// Size in bytes; 0 unless this is a regular file.
    pub size: u64,
    /// Smallest path with the same inode; the path itself if there is no other hard link.
    pub link: Vec<u8>,
    pub target: Vec<u8>,
    pub device: u64,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// BLAKE3 over (offset, bytes) of every block of 4 KiB that is not zero, so that holes do not
    /// have to be hashed.
    pub content: String,
    /// Offsets of aligned pieces of [`HOLE`] bytes that are completely in a hole. Of a hole with
    /// more than 4096 pieces, only the first 2048 and the last 2048 are recorded.
    pub holes: Vec<u64>,
}

/// The properties that a comparison includes.
#[derive(Clone, Debug)]
pub struct Compare {
    /// Names at the root that are left out.
    pub skip: Vec<&'static str>,
    /// Include sockets, which versions do not contain.
    pub sockets: bool,
    /// Include the time of the root, which changes when a repository is created inside the
    /// worktree.
    pub root_time: bool,
    /// Include all times.
    pub times: bool,
    /// Include holes, which a writable mount does not report.
    pub holes: bool,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            skip: vec![".dvcs", "lost+found"],
            sockets: false,
            root_time: true,
            times: true,
            holes: true,
        }
    }
}

/// Returns the properties of all files below `root`; the root itself has the empty path.
pub fn facts(root: &Path, how: &Compare) -> BTreeMap<Vec<u8>, Facts> {
    let mut out = BTreeMap::new();
    let mut links: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(rel) = todo.pop() {
        let path = if rel.is_empty() {
            root.to_owned()
        } else {
            root.join(OsStr::from_bytes(&rel))
        };
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut f = look(&path, &meta);
        if !how.sockets && f.kind == 's' {
            continue;
        }
        if !how.times || rel.is_empty() && !how.root_time {
            f.mtime = (0, 0);
        }
        if meta.is_dir() {
            for e in fs::read_dir(&path).unwrap() {
                let name = e.unwrap().file_name().into_vec();
                if !(rel.is_empty() && how.skip.iter().any(|s| s.as_bytes() == name)) {
                    let parts: &[&[u8]] = &[&rel, &name];
                    todo.push(if rel.is_empty() {
                        name
                    } else {
                        parts.join(&b'/')
                    });
                }
            }
        } else if meta.nlink() > 1 {
            let first = links
                .entry((meta.dev(), meta.ino()))
                .or_insert_with(|| rel.clone());
            if rel < *first {
                first.clone_from(&rel);
            }
            f.link = format!("{}:{}", meta.dev(), meta.ino()).into_bytes();
        }
        out.insert(rel, f);
    }
    let names: HashMap<Vec<u8>, Vec<u8>> = links
        .into_iter()
        .map(|((dev, ino), path)| (format!("{dev}:{ino}").into_bytes(), path))
        .collect();
    for (path, f) in &mut out {
        f.link = names.get(&f.link).unwrap_or(path).clone();
    }
    out
}

fn look(path: &Path, meta: &Metadata) -> Facts {
    let t = meta.file_type();
    let kind = match t {
        _ if t.is_dir() => 'd',
        _ if t.is_symlink() => 'l',
        _ if t.is_fifo() => 'p',
        _ if t.is_socket() => 's',
        _ if t.is_char_device() => 'c',
        _ if t.is_block_device() => 'b',
        _ => 'f',
    };
    let (content, holes) = if kind == 'f' {
        bytes(path, meta.len())
    } else {
        (String::new(), Vec::new())
    };
    Facts {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        size: if kind == 'f' { meta.len() } else { 0 },
        link: Vec::new(),
        target: if kind == 'l' {
            fs::read_link(path).unwrap().into_os_string().into_vec()
        } else {
            Vec::new()
        },
        device: if matches!(kind, 'c' | 'b') {
            meta.rdev()
        } else {
            0
        },
        xattrs: xattrs(path),
        content,
        holes,
    }
}

/// Returns all xattrs of a file or symlink itself, sorted by name.
pub fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0_u8; 64 << 10];
    let Ok(len) = llistxattr(path, &mut list[..]) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for name in list[..len].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let len = lgetxattr(path, CString::new(name).unwrap(), &mut value[..]).unwrap();
        out.push((name.to_vec(), value[..len].to_vec()));
    }
    out.sort();
    out
}

fn bytes(path: &Path, size: u64) -> (String, Vec<u64>) {
    let file = File::open(path).unwrap();
    let mut hash = blake3::Hasher::new();
    let mut holes = Vec::new();
    let mut buf = vec![0_u8; 4096];
    let mut at = 0;
    while at < size {
        let data = seek(&file, SeekFrom::Data(at)).unwrap_or(size).min(size);
        // A short piece at the end of the file counts, too. For huge holes, only pieces at both
        // ends are recorded.
        let (first, last) = (
            at.next_multiple_of(HOLE),
            if data == size {
                data.next_multiple_of(HOLE)
            } else {
                data
            },
        );
        let count = last.saturating_sub(first) / HOLE;
        holes.extend(
            (0..count)
                .filter(|i| count <= 4096 || *i < 2048 || *i >= count - 2048)
                .map(|i| first + i * HOLE),
        );
        at = data;
        let end = seek(&file, SeekFrom::Hole(at)).unwrap_or(size).min(size);
        while at < end {
            let block = at / 4096 * 4096;
            let len = usize::try_from((size - block).min(4096)).unwrap();
            file.read_exact_at(&mut buf[..len], block).unwrap();
            if buf[..len].iter().any(|b| *b != 0) {
                hash.update(&block.to_le_bytes());
                hash.update(&buf[..len]);
            }
            at = block + 4096;
        }
    }
    (hash.finalize().to_hex()[..16].to_owned(), holes)
}

/// Returns one line per difference between `source` and `copy`.
pub fn differences(source: &Path, copy: &Path, how: &Compare) -> Vec<String> {
    let (a, b) = (facts(source, how), facts(copy, how));
    let mut out = Vec::new();
    for (path, x) in &a {
        let name = dvc::model::path::display(path);
        let Some(y) = b.get(path) else {
            out.push(format!("{name}: missing"));
            continue;
        };
        let mut say = |what: &str, x: &dyn std::fmt::Debug, y: &dyn std::fmt::Debug| {
            out.push(format!("{name}: {what} {x:?} became {y:?}"));
        };
        macro_rules! field {
            ($($f:ident),*) => { $( if x.$f != y.$f { say(stringify!($f), &x.$f, &y.$f); } )* };
        }
        field!(kind, uid, gid, mtime, size, device, content);
        if x.mode != y.mode {
            say("mode", &format!("{:o}", x.mode), &format!("{:o}", y.mode));
        }
        if x.target != y.target {
            say(
                "target",
                &OsStr::from_bytes(&x.target),
                &OsStr::from_bytes(&y.target),
            );
        }
        if x.link != y.link {
            say(
                "first name",
                &OsStr::from_bytes(&x.link),
                &OsStr::from_bytes(&y.link),
            );
        }
        for (n, v) in x.xattrs.iter().filter(|p| !y.xattrs.contains(p)) {
            say("attribute", &(OsStr::from_bytes(n), v), &"something else");
        }
        for (n, v) in y.xattrs.iter().filter(|p| !x.xattrs.contains(p)) {
            say("attribute", &"nothing", &(OsStr::from_bytes(n), v));
        }
        let filled = x.holes.iter().filter(|h| !y.holes.contains(h)).count();
        if filled > 0 && how.holes {
            say("holes", &x.holes.len(), &format!("{filled} filled"));
        }
    }
    out.extend(
        b.keys()
            .filter(|p| !a.contains_key(*p))
            .map(|p| format!("{}: extra", dvc::model::path::display(p))),
    );
    out
}

/// Asserts that two trees are equal.
#[track_caller]
pub fn assert_same(source: &Path, copy: &Path) {
    assert_same_by(source, copy, &Compare::default());
}

/// Asserts that two trees are equal in the properties that `how` includes.
#[track_caller]
pub fn assert_same_by(source: &Path, copy: &Path, how: &Compare) {
    let found = differences(source, copy, how);
    let shown = found
        .iter()
        .take(40)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        found.is_empty(),
        "{} difference(s) of {} from {}:\n{shown}",
        found.len(),
        copy.display(),
        source.display()
    );
}

/// Asserts that `rsync -aHAXn --checksum --delete` finds no difference, as an independent check.
/// rsync reads holes, so the zoo's file of 1 TiB is left out.
#[track_caller]
pub fn assert_rsync_agrees(source: &Path, copy: &Path) {
    let (from, to) = (
        format!("{}/", source.display()),
        format!("{}/", copy.display()),
    );
    let out = super::needs::run(
        "rsync",
        &[
            "-aHAXn",
            "--checksum",
            "--delete",
            "--itemize-changes",
            "--exclude=/.dvcs",
            "--exclude=/sparse/huge",
            &from,
            &to,
        ],
    );
    let lines: Vec<&str> = out
        .lines()
        .filter(|l| !l.starts_with("skipping non-regular"))
        .collect();
    assert!(
        lines.is_empty(),
        "rsync finds differences:\n{}",
        lines.join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::super::{needs, zoo};
    use super::{Compare, assert_rsync_agrees, assert_same_by, differences};

    /// Checks that the comparison can fail: a `cp -a` of the zoo is equal, and every change of it
    /// is found.
    #[test]
    fn sees_every_kind_of_difference() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        zoo::build(&a);
        let (from, to) = (a.to_str().unwrap(), b.to_str().unwrap());
        needs::run("cp", &["-a", "--sparse=always", from, to]);
        let how = Compare {
            sockets: true,
            ..Compare::default()
        };
        assert_same_by(&a, &b, &how);
        assert_rsync_agrees(&a, &b);
        for (change, expected) in [
            ("chmod 0600 plain/text", "plain/text: mode"),
            ("touch -d @1 plain/text", "plain/text: mtime"),
            ("touch -h -d @1 links/sym", "links/sym: mtime"),
            (
                "touch -r plain/text r; printf X | dd of=plain/text bs=1 conv=notrunc; touch -r r plain/text",
                "plain/text: content",
            ),
            (
                "cp -p links/hard1 x; rm links/hard1; mv x links/hard1",
                "links/hard1: first name",
            ),
            ("ln -sfn elsewhere links/sym", "links/sym: target"),
            (
                "fallocate -o 1048576 -l 65536 sparse/middle",
                "sparse/middle: holes",
            ),
            ("setfacl -m u:12345:r plain/text", "plain/text: attribute"),
            ("rm -r empty", "empty: missing"),
            ("touch new", "new: extra"),
        ] {
            needs::run("sh", &["-ec", &format!("cd '{to}'; {change}")]);
            let found = differences(&a, &b, &how);
            assert!(
                found.iter().any(|l| l.starts_with(expected)),
                "{change}: no `{expected}` in {found:#?}"
            );
        }
    }
}
