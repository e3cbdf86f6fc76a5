//! Creates the files and directories of dvc, so that their owner and mode are determined in one
//! place.
//!
//! Invariant: a new file or directory gets the owner, the group and the mode of its parent
//! directory, independently of the umask (docs/decisions/0009-ownership-and-sharing.md).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid, flock};
use tempfile::NamedTempFile;

/// Mode bits that a file inherits from its directory; other users never get write access.
const FILE_BITS: u32 = 0o664;
/// Mode bits that a directory inherits from its parent.
const DIR_BITS: u32 = 0o2775;
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIR: u32 = 0o700;
const SETGID: u32 = 0o2000;
const GROUP_AND_OTHERS: u32 = 0o077;
const OPEN_ATTEMPTS: usize = 100;

/// Owner and mode of new files and directories in one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inherited {
    file_mode: u32,
    dir_mode: u32,
    /// Owner of the directory, if the caller is root and the directory belongs to another user.
    owner: Option<u32>,
    /// Group of the directory, if the kernel would not set it.
    group: Option<u32>,
}

impl Inherited {
    fn from(dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(parent_or_here(dir))?;
        let mode = meta.mode();
        // Root creates files for the owner of the directory (decision 0009).
        let is_foreign = is_root() && meta.uid() != 0;
        // Without the set-group-ID bit, the kernel does not pass the group of the directory on.
        let is_shared = mode & 0o070 != 0 && mode & SETGID == 0;
        Ok(Self {
            file_mode: PRIVATE_FILE | (mode & FILE_BITS),
            dir_mode: PRIVATE_DIR | (mode & DIR_BITS),
            owner: is_foreign.then(|| meta.uid()),
            group: (is_foreign || is_shared).then(|| meta.gid()),
        })
    }

    const fn private(self) -> Self {
        Self {
            file_mode: PRIVATE_FILE,
            dir_mode: PRIVATE_DIR,
            ..self
        }
    }

    /// Sets the mode and the owner of a new file or directory. An error of a file system that does
    /// not support owners and modes is ignored.
    fn settle(&self, fd: impl AsFd, mode: u32) -> io::Result<()> {
        if mode & GROUP_AND_OTHERS != 0 {
            // Set the mode before the owner, because root may lack the privilege to change the mode
            // of another user's file.
            as_supported(rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)))?;
        }
        if self.owner.is_some() || self.group.is_some() {
            as_supported(rustix::fs::fchown(
                &fd,
                self.owner.map(Uid::from_raw),
                self.group.map(Gid::from_raw),
            ))?;
        }
        Ok(())
    }
}

fn as_supported(done: rustix::io::Result<()>) -> io::Result<()> {
    use rustix::io::Errno;
    match done {
        // Ignore these errors: the user is not mapped in the user namespace, the caller is not in
        // the group, or the file system does not support owners.
        Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::ACCESS) => Ok(()),
        done => Ok(done?),
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn parent_or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    }
}

fn parent(path: &Path) -> &Path {
    parent_or_here(path.parent().unwrap_or(path))
}

/// Creates a temporary file in a directory. Dropping the file removes it, unless it was renamed.
///
/// The file is locked while it is open, which shows other processes that it is not a leftover.
pub fn temp_file(dir: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let inherited = Inherited::from(dir)?;
    let mode = fs::Permissions::from_mode(inherited.file_mode);
    let file = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(mode)
        .tempfile_in(dir)?;
    inherited.settle(file.as_file(), inherited.file_mode)?;
    // Some file systems have no locks; then a leftover is known by its age only.
    let _ = flock(file.as_file(), FlockOperation::NonBlockingLockShared);
    Ok(file)
}

/// Opens a file with `options`, and creates the file if it is missing. A symbolic link at `path` is
/// an error, because another user of the directory could have created it.
pub fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let inherited = Inherited::from(parent(path))?;
    open_as(path, options, &inherited)
}

/// Like [`open`], for a file that only its owner may read, independently of the mode of the
/// directory.
pub fn open_private(path: &Path, options: &OpenOptions) -> io::Result<File> {
    if !is_root() {
        let mut options = options.clone();
        // A symbolic link of another user could lead to any file.
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        return no_link(
            options
                .create(true)
                .mode(PRIVATE_FILE)
                .custom_flags(flags)
                .open(path),
        );
    }
    open_as(path, options, &Inherited::from(parent(path))?.private())
}

fn open_as(path: &Path, options: &OpenOptions, inherited: &Inherited) -> io::Result<File> {
    // A symbolic link of another user could lead to any file.
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut existing = options.clone();
    existing.create(false).create_new(false).custom_flags(flags);
    let mut new = options.clone();
    new.create_new(true)
        .mode(inherited.file_mode)
        .custom_flags(flags);
    // Other processes may create or remove the file between both attempts.
    for _ in 0..OPEN_ATTEMPTS {
        match existing.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => return no_link(opened),
        }
        match new.open(path) {
            // Another process created the file in the meantime.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            // Change the owner only of a file that this call created, because an existing file may
            // be a hard link to any file.
            Ok(file) => {
                inherited.settle(&file, inherited.file_mode)?;
                return Ok(file);
            }
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn no_link(opened: io::Result<File>) -> io::Result<File> {
    opened.map_err(|e| match e.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            io::Error::new(io::ErrorKind::PermissionDenied, "it is a symbolic link")
        }
        _ => e,
    })
}

/// Creates an empty file if `path` is missing. Never opens an existing file, because closing it
/// again would release the locks that SQLite holds on it in this process.
pub fn empty(path: &Path) -> io::Result<()> {
    // A link counts as existing too, so that nothing is created behind it.
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    // The file gets its mode and owner before its name.
    let file = temp_file(parent(path), ".new")?.into_temp_path();
    match file.persist_noclobber(path) {
        Err(e) if e.error.kind() != io::ErrorKind::AlreadyExists => Err(e.error),
        _ => Ok(()),
    }
}

/// Writes a file atomically and durably.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = parent(path);
    let mut file = temp_file(dir, ".new")?;
    file.write_all(bytes)?;
    // The content must be durable before the name.
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_dir(dir)
}

/// Makes the names in a directory durable, because a new name or a rename is durable only when the
/// directory is synced.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates a directory whose parent exists. Returns false if the directory exists already.
pub fn dir(path: &Path) -> io::Result<bool> {
    let inherited = Inherited::from(parent(path))?;
    dir_as(path, &inherited)
}

fn dir_as(path: &Path, inherited: &Inherited) -> io::Result<bool> {
    match fs::DirBuilder::new()
        // mkdir(2) ignores the set-group-ID bit, which is set below.
        .mode(inherited.dir_mode & 0o777)
        .create(path)
    {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(false),
        Err(e) => return Err(e),
    }
    if inherited.dir_mode & GROUP_AND_OTHERS != 0
        || inherited.owner.is_some()
        || inherited.group.is_some()
    {
        // Set the mode by descriptor and not by name, because the owner of the parent could put a
        // link there in the meantime.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(path, flags, Mode::empty())?;
        inherited.settle(&made, inherited.dir_mode)?;
    }
    Ok(true)
}

/// Creates a directory and its parents.
pub fn dir_all(path: &Path) -> io::Result<()> {
    match dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.parent().is_some() => {
            dir_all(parent(path))?;
            dir(path).map(drop)
        }
        made => made.map(drop),
    }
}

/// Creates a directory that only its owner may use, and its parents with the same mode. An existing
/// directory is not changed. Returns whether the directory was created.
pub fn new_private_dir(path: &Path) -> io::Result<bool> {
    let above = parent(path);
    let inherited = match Inherited::from(above) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            new_private_dir(above).and_then(|_| Inherited::from(above))?
        }
        inherited => inherited?,
    };
    dir_as(path, &inherited.private())
}

/// Like [`new_private_dir`], but removes the permissions of group and others from an existing
/// directory.
pub fn private_dir(path: &Path) -> io::Result<()> {
    if new_private_dir(path)? {
        Ok(())
    } else {
        restrict(path)
    }
}

/// Removes the permissions of group and others from a directory, if the caller may do that.
fn restrict(path: &Path) -> io::Result<()> {
    let made = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mode = rustix::fs::fstat(&made)?.st_mode & 0o7777;
    match mode & GROUP_AND_OTHERS {
        0 => Ok(()),
        _ => as_supported(rustix::fs::fchmod(
            &made,
            Mode::from_raw_mode(mode & !GROUP_AND_OTHERS),
        )),
    }
}

/// Sets the mode of a directory, which determines the mode of everything below.
pub fn set_dir_mode(path: &Path, mode: u32) -> io::Result<()> {
    let made = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if rustix::fs::fstat(&made)?.st_mode & 0o7777 == mode {
        return Ok(());
    }
    Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?)
}

/// Creates a directory in a parent in which other users may create names too, such as `/tmp`. An
/// existing directory must belong to the caller and must not be writable by others; otherwise, the
/// error says why.
pub fn own_dir(path: &Path) -> io::Result<()> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
    match fs::DirBuilder::new().mode(PRIVATE_DIR).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Err(refused("it is a symbolic link"));
    }
    if !found.is_dir() {
        return Err(refused("it is not a directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(&format!(
            "it belongs to another user (uid {})",
            found.uid()
        )));
    }
    let dir = rustix::fs::open(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&dir)?;
    // Another user may have replaced the directory between both calls.
    if stat.st_uid != found.uid() || stat.st_ino != found.ino() {
        return Err(refused("it was replaced while it was being checked"));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(refused("other users can write to it"));
    }
    // An older version of dvc may have left more access (decision 0009).
    if stat.st_mode & GROUP_AND_OTHERS != 0 {
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(PRIVATE_DIR))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_has_the_access_of_its_directory() {
        let temp = tempfile::tempdir().unwrap();
        for (given, file, below) in [
            (0o700, 0o600, 0o700),
            (0o2770, 0o660, 0o2770),
            (0o750, 0o640, 0o750),
            (0o755, 0o644, 0o755),
            // Other users never get write permission.
            (0o777, 0o664, 0o775),
        ] {
            let top = temp.path().join(format!("{given:o}"));
            fs::create_dir(&top).unwrap();
            fs::set_permissions(&top, fs::Permissions::from_mode(given)).unwrap();
            dir_all(&top.join("a/b")).unwrap();
            replace(&top.join("a/b/replaced"), b"x").unwrap();
            open(&top.join("a/b/opened"), File::options().write(true)).unwrap();
            open_private(&top.join("a/b/private"), File::options().write(true)).unwrap();
            private_dir(&top.join("p/q")).unwrap();
            let temp = temp_file(&top.join("a"), "t").unwrap();
            assert_eq!(mode(temp.path()), file);
            assert_eq!(
                (mode(&top.join("a")), mode(&top.join("a/b"))),
                (below, below)
            );
            assert_eq!(
                (
                    mode(&top.join("a/b/replaced")),
                    mode(&top.join("a/b/opened"))
                ),
                (file, file)
            );
            assert_eq!(
                (
                    mode(&top.join("a/b/private")),
                    mode(&top.join("p/q")) & 0o777
                ),
                (0o600, 0o700)
            );
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let victim = temp.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, temp.path().join("link")).unwrap();
        let mut options = File::options();
        options.write(true).truncate(true);
        assert!(open(&temp.path().join("link"), &options).is_err());
        assert!(open_private(&temp.path().join("link"), &options).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    }

    #[test]
    fn a_directory_among_those_of_other_users_must_be_the_callers() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        own_dir(&at("new")).unwrap();
        assert_eq!(mode(&at("new")), 0o700);
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o755)).unwrap();
        own_dir(&at("new")).unwrap();
        assert_eq!(mode(&at("new")), 0o700);
        std::os::unix::fs::symlink(at("new"), at("link")).unwrap();
        assert!(
            own_dir(&at("link"))
                .unwrap_err()
                .to_string()
                .contains("symbolic link")
        );
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(
            own_dir(&at("new"))
                .unwrap_err()
                .to_string()
                .contains("can write")
        );
        fs::write(at("file"), "").unwrap();
        assert!(
            own_dir(&at("file"))
                .unwrap_err()
                .to_string()
                .contains("not a directory")
        );
    }
}
