//! The kinds of failure, and the trait by which a module's own error states its kind.
//!
//! Each module has its own small error enum; nobody's variants stand here. A `Kind` decides the exit code
//! (and later the errno and the HTTP status), so that a caller never has to look into a message.

use std::io;

use rustix::io::Errno;

/// What kind of failure an error is, seen by a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Wrong arguments or configuration.
    Usage,
    /// Done, but something was left out.
    Incomplete,
    /// Rejected: not fast-forward, protected, conflict, dirty worktree.
    Rejected,
    /// Stored data is damaged or does not match its checksum.
    Integrity,
    /// A remote cannot be reached.
    Unreachable,
    /// A hook or a command failed.
    CommandFailed,
    /// No space or quota left.
    NoSpace,
    /// There is no repository.
    NoRepository,
    /// The target is in use.
    Busy,
    /// Wrong key or password, or access denied.
    Denied,
    /// No such revision, path, branch or remote; or an ambiguous one.
    NotFound,
    /// Stopped by a signal or by the caller.
    Cancelled,
    /// The system fails: no descriptors, threads or memory left, an I/O error of a disk.
    System,
    /// A bug in dvc.
    Internal,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 14] = [
        Self::Usage,
        Self::Incomplete,
        Self::Rejected,
        Self::Integrity,
        Self::Unreachable,
        Self::CommandFailed,
        Self::NoSpace,
        Self::NoRepository,
        Self::Busy,
        Self::Denied,
        Self::NotFound,
        Self::Cancelled,
        Self::System,
        Self::Internal,
    ];

    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Rejected => 4,
            Self::Integrity => 5,
            Self::Unreachable => 6,
            Self::CommandFailed => 7,
            Self::NoSpace => 8,
            Self::NoRepository => 10,
            Self::Busy => 11,
            Self::Denied => 12,
            Self::NotFound => 13,
            Self::Cancelled => 130,
            Self::System => 71,
            Self::Internal => 70,
        }
    }

    /// The stable name of this kind, as in JSON errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::Rejected => "rejected",
            Self::Integrity => "integrity",
            Self::Unreachable => "unreachable",
            Self::CommandFailed => "command-failed",
            Self::NoSpace => "no-space",
            Self::NoRepository => "no-repository",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::NotFound => "not-found",
            Self::Cancelled => "cancelled",
            Self::System => "system",
            Self::Internal => "internal",
        }
    }

    /// The kind of an I/O error that has no better explanation.
    pub fn of_io(e: &io::Error) -> Self {
        if let Some(Carried(failure)) = e.get_ref().and_then(|inner| inner.downcast_ref()) {
            return failure.kind();
        }
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy => Self::Busy,
            // A file where a directory is wanted and the like: the message names it, and the user can change it.
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::ArgumentListTooLong => Self::Usage,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut => Self::Unreachable,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Integrity,
            _ => match e.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::LOOP) => Self::Usage,
                Some(_) => Self::System,
                None => match e.kind() {
                    // A name with a NUL byte, which no system call takes.
                    io::ErrorKind::InvalidInput => Self::Usage,
                    io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported => Self::System,
                    _ => Self::Internal,
                },
            },
        }
    }
}

/// What the user can do about an error of the system; for failures that know nothing better.
pub fn hint_of_io(e: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(e)? {
        Errno::MFILE | Errno::NFILE => "raise the limit on open files (`ulimit -n`), or lower `--jobs`",
        Errno::AGAIN => {
            "raise the limit on processes and threads (`ulimit -u`, `--pids-limit` of a container), or lower `--jobs`"
        }
        Errno::NOMEM => "free some memory or raise its limit; `--memory` makes dvc take less",
        Errno::NOSPC => "free some space and run the command again",
        Errno::DQUOT => "free some space or raise the quota, then run the command again",
        Errno::FBIG => "raise the limit on the length of a file (`ulimit -f`), or use a file system without this limit",
        Errno::ROFS => "mount the file system writable, or name another place",
        Errno::IO => "look at the kernel's log (`dmesg`): the disk or the way to it fails",
        Errno::NAMETOOLONG => "use a shorter name, or a place nearer to the root of the file system",
        Errno::LOOP => "remove the loop of symbolic links",
        Errno::TXTBSY => "end the program that runs from this file",
        Errno::STALE => "mount the network file system again",
        _ => return None,
    })
}

/// The hint for the first error of the system among the causes of a failure.
pub fn hint_of_causes(e: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    std::iter::successors(Some(e), |e| e.source()).find_map(|e| hint_of_io(e.downcast_ref()?))
}

/// Whether a disk could not give back what it should hold.
pub fn is_disk_failure(e: &(dyn std::error::Error + 'static)) -> bool {
    let of_disk = |e: &io::Error| matches!(Errno::from_io_error(e), Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG));
    std::iter::successors(Some(e), |e| e.source()).filter_map(|e| e.downcast_ref()).any(of_disk)
}

/// A failure inside an I/O error.
#[derive(Debug)]
struct Carried(Box<dyn Failure>);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Carried {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Wraps a failure where only an I/O error will do; [`Kind::of_io`] finds its kind again.
pub fn carried(failure: impl Failure) -> io::Error {
    io::Error::other(Carried(Box::new(failure)))
}

/// An error that knows its kind and, where there is one, a hint for the user.
pub trait Failure: std::error::Error + Send + Sync + 'static {
    /// The kind of this failure.
    fn kind(&self) -> Kind;
    /// What the user can do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Every cause of an error, leaving out what was said before.
pub fn causes(e: &dyn std::error::Error) -> Vec<String> {
    let mut said = vec![e.to_string()];
    let mut next = e.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = cause.source();
    }
    said.split_off(1)
}

/// An error with its causes, on one line.
pub fn with_causes(e: &dyn std::error::Error) -> String {
    std::iter::once(e.to_string()).chain(causes(e)).collect::<Vec<_>>().join(": ")
}

/// A failure of any module, boxed: the error type of everything above tier 3.
pub struct Error(Box<dyn Failure>);

/// The result of everything above tier 3.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The kind of this failure.
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// The failure as a plain error, for its chain of causes.
    pub fn as_error(&self) -> &(dyn std::error::Error + 'static) {
        &*self.0
    }
}

impl<E: Failure> From<E> for Error {
    fn from(e: E) -> Self {
        Self(Box::new(e))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.0.kind(), self.0)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what no system says stays for bugs.
    #[test]
    fn each_error_of_the_system_has_a_kind() {
        let of = |errno: Errno| Kind::of_io(&io::Error::from(errno));
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of(errno), Kind::NoSpace, "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            assert_eq!(of(errno), Kind::Denied, "{errno}");
        }
        for errno in [Errno::NOTDIR, Errno::ISDIR, Errno::EXIST, Errno::NAMETOOLONG, Errno::LOOP, Errno::TOOBIG] {
            assert_eq!(of(errno), Kind::Usage, "{errno}");
        }
        for errno in [Errno::BUSY, Errno::TXTBSY] {
            assert_eq!(of(errno), Kind::Busy, "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::AGAIN, Errno::NOMEM, Errno::IO, Errno::INVAL, Errno::NODEV] {
            assert_eq!(of(errno), Kind::System, "{errno}");
        }
        for raw in 1..134 {
            assert_ne!(Kind::of_io(&io::Error::from_raw_os_error(raw)), Kind::Internal, "{raw}");
        }
        assert_eq!(Kind::of_io(&io::Error::other("a library's own words")), Kind::Internal);
        let full = Link("cannot write `a`", None);
        assert_eq!(hint_of_causes(&full), None);
        assert_eq!(hint_of_io(&io::Error::from(Errno::MFILE)).map(|h| h.contains("ulimit -n")), Some(true));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn a_cause_is_told_once() {
        let end = Link("no space", None);
        let middle = Link("cannot write `a`", Some(Box::new(end)));
        let again = Link("cannot write `a`", Some(Box::new(middle)));
        let top = Link("cannot flush", Some(Box::new(again)));
        assert_eq!(causes(&top), ["cannot write `a`", "no space"]);
        assert_eq!(with_causes(&top), "cannot flush: cannot write `a`: no space");
        assert_eq!(with_causes(&Link("alone", None)), "alone");
    }
}
