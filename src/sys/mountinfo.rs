//! Mount tables (`/proc/PID/mountinfo`): lists mounts, and finds the mount that contains a path.
//!
//! No function sends a request to a file system that a process serves: a path is resolved up to the
//! first such mount and taken literally below it, so a mount whose daemon has ended or does not run
//! yet is found like any other. A symbolic link inside of such a mount is therefore not followed.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The type of dvc mounts in the table.
pub const KIND: &str = "fuse.dvc";
/// The mount table of this process.
pub const TABLE: &str = "/proc/self/mountinfo";
/// Limit on the number of symbolic links in a path.
const LINKS_MAX: usize = 40;

/// A line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Number of the mount.
    pub id: u64,
    /// Number of the parent mount.
    pub parent: u64,
    /// Major and minor number of the device of the file system.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted; `/` unless the mount is a bind mount of a
    /// subdirectory.
    pub root: PathBuf,
    /// The mount point.
    pub at: PathBuf,
    /// Options of this mount, such as `rw,nosuid`.
    pub options: String,
    /// Peer group with which the mount shares mount events (`shared:N`).
    pub shared: Option<u64>,
    /// Peer group from which the mount receives mount events (`master:N`).
    pub master: Option<u64>,
    /// The type, such as `fuse.dvc`.
    pub kind: String,
    /// The source of the mount, as the mounting program wrote it.
    pub source: Vec<u8>,
    /// Options of the file system, such as `rw,user_id=0`.
    pub super_options: String,
}

impl Mounted {
    /// Returns whether this is a dvc mount.
    pub fn is_ours(&self) -> bool {
        self.kind == KIND
    }

    /// Returns the user who mounted a FUSE file system, according to the kernel.
    pub fn owner(&self) -> Option<u32> {
        self.super_options
            .split(',')
            .find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
    }

    /// Returns whether a process serves the file system, so that a request may hang.
    fn is_served(&self) -> bool {
        self.kind == "fuse" || self.kind.starts_with("fuse.")
    }
}

/// The mounts of one mount namespace, in the order of mounting.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: Vec<Mounted>,
    /// Positions of the mounts by parent mount; `None` for mounts whose parent is not in the table.
    by_parent: HashMap<Option<u64>, Vec<usize>>,
}

impl Deref for MountTable {
    type Target = [Mounted];

    fn deref(&self) -> &[Mounted] {
        &self.mounts
    }
}

/// A location inside a file system, independent of the path that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    device: (u32, u32),
    path: PathBuf,
}

impl FilePlace {
    /// Returns the path of `other` below this location, or `None` if it is not below.
    pub fn below<'o>(&self, other: &'o Self) -> Option<&'o Path> {
        let below = other
            .path
            .strip_prefix(&self.path)
            .ok()
            .filter(|below| !below.as_os_str().is_empty());
        below.filter(|_| self.device == other.device)
    }
}

impl MountTable {
    /// Reads the table of this process.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read(TABLE)?))
    }

    /// Parses the text of a table; invalid lines are skipped.
    pub fn parse(table: &[u8]) -> Self {
        Self::new(
            table
                .split(|b| *b == b'\n')
                .filter_map(parse_line)
                .collect(),
        )
    }

    fn new(mounts: Vec<Mounted>) -> Self {
        let known: HashSet<u64> = mounts.iter().map(|m| m.id).collect();
        let mut by_parent: HashMap<Option<u64>, Vec<usize>> = HashMap::new();
        for (position, mount) in mounts.iter().enumerate() {
            // The topmost mount has itself or an invisible mount as its parent
            // (proc_pid_mountinfo(5)).
            let parent =
                Some(mount.parent).filter(|parent| *parent != mount.id && known.contains(parent));
            by_parent.entry(parent).or_default().push(position);
        }
        Self { mounts, by_parent }
    }

    /// Returns the mount that contains a resolved path: from each mount, continues with the first
    /// one on the path, like the kernel. A mount that another one hides is never returned.
    pub fn top_at(&self, path: &Path) -> Option<&Mounted> {
        let path = path.as_os_str().as_bytes();
        let mut here: Option<&Mounted> = None;
        // The number of steps is limited, because a table that was read while it changed may
        // contain a cycle.
        for _ in 0..self.mounts.len() {
            let on_it = self
                .by_parent
                .get(&here.map(|here| here.id))
                .into_iter()
                .flatten();
            let on_the_way = on_it
                .map(|position| &self.mounts[*position])
                .filter(|m| is_within(m, path));
            match on_the_way.min_by_key(|m| m.at.as_os_str().len()) {
                Some(next) => here = Some(next),
                None => break,
            }
        }
        here
    }

    /// Returns the location of a resolved path in its file system. The location identifies a file
    /// even if another process sees it under a different path.
    pub fn place(&self, path: &Path) -> Option<FilePlace> {
        let mount = self.top_at(path)?;
        let rest = path.strip_prefix(&mount.at).ok()?;
        let whole = if rest.as_os_str().is_empty() {
            mount.root.clone()
        } else {
            mount.root.join(rest)
        };
        Some(FilePlace {
            device: mount.device,
            path: whole,
        })
    }

    /// Returns the visible mount points below `dir`, relative to it.
    pub fn visible_below<'t>(&'t self, dir: &'t Path) -> impl Iterator<Item = &'t Path> {
        let below = move |m: &&'t Mounted| m.at != dir && m.at.starts_with(dir);
        let is_visible =
            move |m: &&'t Mounted| self.top_at(&m.at).is_some_and(|top| top.id == m.id);
        self.mounts
            .iter()
            .filter(below)
            .filter(is_visible)
            .filter_map(move |m| m.at.strip_prefix(dir).ok())
    }

    /// Returns the path without symbolic links, as far as it can be resolved without a request to a
    /// process that serves a file system.
    pub fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        let mut todo = names(&std::path::absolute(path)?);
        let (mut done, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = todo.pop() {
            if name == ".." {
                done.pop();
                continue;
            }
            let next = done.join(name);
            // A mount point is not a link, and must not receive a request.
            if self
                .top_at(&next)
                .is_some_and(|m| m.is_served() || m.at == next)
            {
                done = next;
                continue;
            }
            match fs::read_link(&next) {
                Ok(_) if links == LINKS_MAX => return Err(io::ErrorKind::InvalidFilename.into()),
                Ok(target) => {
                    links += 1;
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    todo.extend(names(&target));
                }
                // readlink(2) fails if the name is not a link or does not exist.
                Err(_) => done = next,
            }
        }
        Ok(done)
    }
}

/// Returns whether a path is the mount point or below it. Both are absolute and normalised.
/// Comparing bytes takes a tenth of the time of comparing components, which matters because the
/// open files of all processes are looked up.
fn is_within(mount: &Mounted, path: &[u8]) -> bool {
    let at = mount.at.as_os_str().as_bytes();
    path.strip_prefix(at)
        .is_some_and(|rest| at.ends_with(b"/") || matches!(rest.first(), None | Some(b'/')))
}

/// Returns the dvc mounts in the order of mounting.
pub fn ours() -> io::Result<Vec<Mounted>> {
    let mut mounts = MountTable::read()?.mounts;
    mounts.retain(Mounted::is_ours);
    Ok(mounts)
}

/// Returns the mount that contains `path`. A relative path starts at the current directory. A
/// missing path is in the mount in which it would be created.
pub fn containing(path: &Path) -> io::Result<Option<Mounted>> {
    let table = MountTable::read()?;
    let path = table.resolved(path)?;
    Ok(table.top_at(&path).cloned())
}

/// Returns the dvc mount whose mount point is `path`, without a request to the mount.
pub fn ours_at(path: &Path) -> io::Result<Option<Mounted>> {
    let table = MountTable::read()?;
    let path = table.resolved(path)?;
    Ok(table
        .top_at(&path)
        .filter(|m| m.is_ours() && m.at == path)
        .cloned())
}

/// Returns the absolute path without symbolic links, even if it leads into a mount that no process
/// serves any more.
pub fn located(path: &Path) -> io::Result<PathBuf> {
    MountTable::read()?.resolved(path)
}

/// Returns the components of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Parses a line such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root
/// rw,errors=continue`.
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|b| *b == b' ');
    let mut field = || fields.next();
    let (id, parent) = (number(field()?)?, number(field()?)?);
    let (major, minor) = std::str::from_utf8(field()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let (root, at, options) = (path(field()?), path(field()?), text(field()?));
    let (mut shared, mut master) = (None, None);
    // Optional fields end with a dash; unknown ones are skipped, as proc(5) requires.
    loop {
        match field()? {
            b"-" => break,
            tag => {
                shared = tag.strip_prefix(b"shared:").and_then(number).or(shared);
                master = tag.strip_prefix(b"master:").and_then(number).or(master);
            }
        }
    }
    let (kind, source) = (text(field()?), unescaped(field()?));
    let super_options = field().map(text).unwrap_or_default();
    Some(Mounted {
        id,
        parent,
        device,
        root,
        at,
        options,
        shared,
        master,
        kind,
        source,
        super_options,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescaped(field)))
}

fn text(field: &[u8]) -> String {
    OsStr::from_bytes(&unescaped(field))
        .to_string_lossy()
        .into_owned()
}

/// Decodes the escapes of spaces, tabs, line breaks, backslashes and `#`: a backslash and three
/// octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|d| *first == b'\\' && d.iter().all(|d| (b'0'..b'8').contains(d)));
        let code = code.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const SOME: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        30 22 8:2 /a\\040b /mnt/my\\040\\134db\\012\xff rw,nosuid shared:5 master:2 propagate_from:2 unbindable - xfs /dev/sda2 rw,attr2\n\
        31 22 0:50 / /mnt/v rw,nosuid,nodev - fuse.dvc dvc:AMCC\\043v3 rw,user_id=0,group_id=0,default_permissions\n\
        32 22 0:51 / /run rw - tmpfs  rw\n\
        not a line\n\
        33 22 0:x / /run rw - tmpfs none rw\n";

    #[test]
    fn lines_of_all_kinds() {
        let table = MountTable::parse(SOME);
        // The last two lines are invalid and left out.
        assert_eq!(
            table.iter().map(|m| m.id).collect::<Vec<_>>(),
            [22, 30, 31, 32]
        );
        let odd = &table[1];
        assert_eq!(odd.at.as_os_str().as_bytes(), b"/mnt/my \\db\n\xff");
        assert_eq!(
            (odd.root.as_path(), odd.device),
            (Path::new("/a b"), (8, 2))
        );
        assert_eq!(
            (odd.shared, odd.master, odd.kind.as_str()),
            (Some(5), Some(2), "xfs")
        );
        let ours = &table[2];
        assert_eq!(
            (ours.source.as_slice(), ours.shared, ours.is_ours()),
            (&b"dvc:AMCC#v3"[..], None, true)
        );
        assert_eq!(
            (ours.parent, ours.options.as_str()),
            (22, "rw,nosuid,nodev")
        );
        assert_eq!(ours.owner(), Some(0));
        assert_eq!(
            ours.super_options,
            "rw,user_id=0,group_id=0,default_permissions"
        );
        assert_eq!(table[3].source, b"");
        assert!(MountTable::parse(b"").is_empty());
    }

    #[test]
    fn escapes_that_are_none() {
        // Only three octal digits with a value of at most 377 are an escape.
        for (field, meant) in [
            ("a\\04", "a\\04"),
            ("\\089", "\\089"),
            ("\\777", "\\777"),
            ("\\101\\", "A\\"),
        ] {
            assert_eq!(unescaped(field.as_bytes()), meant.as_bytes(), "{field}");
        }
    }

    fn mount(id: u64, parent: u64, at: &str, kind: &str) -> Mounted {
        let line = format!("{id} {parent} 0:{id} / {at} rw - {kind} none rw");
        parse_line(line.as_bytes()).unwrap()
    }

    /// Mount 3 was mounted first and is hidden by mount 4; mount 6 covers mount 5.
    fn hidden() -> MountTable {
        MountTable::new(vec![
            mount(1, 1, "/", "rootfs"),
            mount(2, 1, "/", "ext4"),
            mount(3, 2, "/a/b", "ext4"),
            mount(4, 2, "/a", "tmpfs"),
            mount(5, 4, "/a/c", KIND),
            mount(6, 5, "/a/c", "tmpfs"),
        ])
    }

    #[test]
    fn a_path_lies_in_the_mount_that_is_seen_there() {
        let table = hidden();
        let id = |path: &str| table.top_at(Path::new(path)).unwrap().id;
        assert_eq!((id("/"), id("/etc"), id("/a")), (2, 2, 4));
        assert_eq!((id("/a/b/x"), id("/a/c/x"), id("/a/cc")), (4, 6, 4));
        // In a chroot, the root mount is not in the table.
        let table = MountTable::new(vec![
            mount(8, 7, "/x", "ext4"),
            mount(9, 8, "/x/y", "ext4"),
            mount(10, 11, "/z", "ext4"),
        ]);
        assert_eq!(table.top_at(Path::new("/x/y/z")).unwrap().id, 9);
        assert_eq!(table.top_at(Path::new("/y")), None);
        // A cycle of two mounts must not loop forever.
        let round = MountTable::new(vec![
            mount(1, 1, "/", "ext4"),
            mount(2, 3, "/a", "ext4"),
            mount(3, 2, "/a", "ext4"),
        ]);
        assert_eq!(round.top_at(Path::new("/a")).unwrap().id, 1);
    }

    #[test]
    fn a_hidden_mount_neither_holds_a_file_nor_is_below_a_directory() {
        let table = hidden();
        let device = |path: &str| table.place(Path::new(path)).unwrap().device;
        assert_eq!(
            (
                device("/a/b/x"),
                device("/a/c/x"),
                device("/a/x"),
                device("/x")
            ),
            ((0, 4), (0, 6), (0, 4), (0, 2))
        );
        let below = |dir: &str| {
            table
                .visible_below(Path::new(dir))
                .map(Path::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(below("/"), [Path::new("a"), Path::new("a/c")]);
        assert_eq!(below("/a"), [Path::new("c")]);
        assert!(below("/a/c").is_empty() && below("/a/b").is_empty() && below("/b").is_empty());
    }

    #[test]
    fn one_file_is_recognised_under_three_paths() {
        let host = MountTable::parse(
            b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 22 8:2 / /var/lib rw - ext4 /dev/sda2 rw\n\
            31 22 8:2 /volumes/my\\040db /mnt/db rw - ext4 /dev/sda2 rw\n",
        );
        let container = MountTable::parse(
            b"50 49 0:40 / / rw - overlay overlay rw\n\
            51 50 8:2 /volumes/my\\040db /var/lib/mysql rw - ext4 /dev/sda2 rw\n",
        );
        let here = |path: &str| host.place(Path::new(path)).unwrap();
        let there = |path: &str| container.place(Path::new(path)).unwrap();
        let volume = here("/var/lib/volumes/my db");
        assert_eq!(
            volume.below(&there("/var/lib/mysql/ibdata1")),
            Some(Path::new("ibdata1"))
        );
        assert_eq!(volume.below(&here("/mnt/db/a/b")), Some(Path::new("a/b")));
        assert_eq!(volume.below(&here("/var/lib/volumes/my db2")), None);
        assert_eq!(
            (volume.below(&here("/mnt/db")), volume == here("/mnt/db")),
            (None, true)
        );
        assert_eq!(volume.below(&there("/volumes/my db/x")), None);
        let top = here("/");
        assert_eq!(
            (top.below(&here("/etc/x")), top.below(&volume)),
            (Some(Path::new("etc/x")), None)
        );
    }

    #[test]
    fn links_are_followed_up_to_a_served_mount() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("real/m")).unwrap();
        symlink("real", top.join("link")).unwrap();
        symlink(top.join("link/m"), top.join("far")).unwrap();
        symlink("round", top.join("round")).unwrap();
        symlink("..", top.join("real/m/up")).unwrap();
        let plain =
            |path: &str| MountTable::new(vec![mount(1, 1, "/", "ext4")]).resolved(&top.join(path));
        assert_eq!(plain("link/m").unwrap(), top.join("real/m"));
        assert_eq!(plain("far/none/../x").unwrap(), top.join("real/m/x"));
        assert_eq!(plain("far/up").unwrap(), top.join("real"));
        assert!(plain("round/x").is_err());
        let served = mount(2, 1, top.join("real/m").to_str().unwrap(), KIND);
        let served = MountTable::new(vec![mount(1, 1, "/", "ext4"), served]);
        assert_eq!(
            served.resolved(&top.join("link/m/up")).unwrap(),
            top.join("real/m/up")
        );
        assert_eq!(
            served.resolved(&top.join("link/m/../x")).unwrap(),
            top.join("real/x")
        );
    }

    #[test]
    fn this_process_has_mounts() {
        let table = MountTable::read().unwrap();
        assert!(
            table
                .iter()
                .any(|m| m.at == Path::new("/proc") && m.kind == "proc")
        );
        assert_eq!(
            containing(Path::new("/proc/self/stat"))
                .unwrap()
                .unwrap()
                .kind,
            "proc"
        );
        assert!(containing(Path::new(".")).unwrap().is_some());
    }
}
