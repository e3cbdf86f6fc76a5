//! Kinds of failure, and the trait through which each module's error states its kind.
//!
//! Each module has its own small error enum; this file declares none of their variants. A [`Kind`]
//! decides the exit code and the errno that programs see, so a caller never has to parse a message.

use std::io;

use rustix::io::Errno;

/// The kind of a failure. Callers match on the kind instead of on the error of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Invalid arguments or configuration.
    Usage,
    /// The operation finished but left something out.
    Incomplete,
    /// Rejected: not a fast-forward, protected, a conflict, or a dirty worktree.
    Rejected,
    /// Stored data is damaged or does not match its checksum.
    Integrity,
    /// A remote cannot be reached.
    Unreachable,
    /// A hook or a command failed, or cannot be started.
    CommandFailed,
    /// No space or quota left.
    NoSpace,
    NoRepository,
    /// The target is in use.
    Busy,
    /// Wrong key or password, or no permission.
    Denied,
    /// No such revision, path, branch or remote, or an ambiguous name.
    NotFound,
    /// Cancelled by a signal or by the caller.
    Cancelled,
    /// The operating system failed: out of descriptors, threads or memory, or an I/O error of a
    /// disk.
    System,
    /// A bug in dvc.
    Internal,
}

impl Kind {
    /// All kinds, for tables and tests.
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

    /// Returns the exit code of the process for this kind.
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

    /// Returns the stable name of this kind, which JSON errors contain.
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

    /// Returns the kind of an I/O error, for callers whose context determines no better one.
    pub fn of_io(e: &io::Error) -> Self {
        if let Some(Carried(failure)) = e.get_ref().and_then(|inner| inner.downcast_ref()) {
            return failure.kind();
        }
        match e.kind() {
            // EFBIG is a limit on the length of files, which users raise like a quota.
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied,
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy => Self::Busy,
            // The path is not as expected, such as a file instead of a directory. The message names
            // the path, and the user can correct it.
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
            // Decoders use these kinds for damaged input.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Integrity,
            _ => match e.raw_os_error().map(Errno::from_raw_os_error) {
                // `io::ErrorKind::FilesystemLoop` is not stable, so match the errno.
                Some(Errno::LOOP) => Self::Usage,
                Some(_) => Self::System,
                None => match e.kind() {
                    // A name with a NUL byte, which no system call accepts.
                    io::ErrorKind::InvalidInput => Self::Usage,
                    io::ErrorKind::OutOfMemory
                    | io::ErrorKind::WouldBlock
                    | io::ErrorKind::Unsupported => Self::System,
                    _ => Self::Internal,
                },
            },
        }
    }
}

/// Returns a hint for an operating system error, for failures that have no better hint of their
/// own.
pub fn hint_of_io(e: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(e)? {
        Errno::MFILE | Errno::NFILE => {
            "raise the limit on open files (`ulimit -n`), or lower `--jobs`"
        }
        Errno::AGAIN => {
            "raise the limit on processes and threads (`ulimit -u`, `--pids-limit` of a container), or lower `--jobs`"
        }
        Errno::NOMEM => "free some memory, raise the memory limit, or lower `--memory`",
        Errno::NOSPC => "free some space and run the command again",
        Errno::DQUOT => "free some space or raise the quota, then run the command again",
        Errno::FBIG => {
            "raise the file size limit (`ulimit -f`), or use a file system without this limit"
        }
        Errno::ROFS => "remount the file system read-write, or choose another path",
        Errno::IO => "check the kernel log (`dmesg`) for disk errors",
        Errno::NAMETOOLONG => "use a shorter name or a shorter path",
        Errno::LOOP => "remove the symbolic link loop",
        Errno::TXTBSY => "stop the program that runs from this file",
        Errno::STALE => "remount the network file system",
        _ => return None,
    })
}

/// Returns the hint for the first operating system error among the causes of a failure.
pub fn hint_of_causes(e: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    std::iter::successors(Some(e), |e| e.source()).find_map(|e| hint_of_io(e.downcast_ref()?))
}

/// Returns whether a cause of the error is that a disk cannot return stored data.
pub fn is_disk_failure(e: &(dyn std::error::Error + 'static)) -> bool {
    let of_disk = |e: &io::Error| {
        matches!(
            Errno::from_io_error(e),
            Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG)
        )
    };
    std::iter::successors(Some(e), |e| e.source())
        .filter_map(|e| e.downcast_ref())
        .any(of_disk)
}

/// A failure wrapped in an I/O error.
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

/// Wraps a failure in an I/O error, for interfaces that pass only I/O errors; [`Kind::of_io`]
/// unwraps its kind.
pub fn carried(failure: impl Failure) -> io::Error {
    io::Error::other(Carried(Box::new(failure)))
}

/// An error that knows its kind and, if there is something to do about it, a hint for the user.
pub trait Failure: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> Kind;
    /// Returns an imperative phrase that says what the user can do about the failure.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Returns the message of each cause of an error, leaving out messages that an earlier one
/// contains.
pub fn causes(e: &dyn std::error::Error) -> Vec<String> {
    let mut messages = vec![e.to_string()];
    let mut next = e.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Many errors repeat the message of their source in their own message.
        if !messages.iter().any(|earlier| earlier.contains(&text)) {
            messages.push(text);
        }
        next = cause.source();
    }
    messages.split_off(1)
}

/// Returns the messages of an error and its causes on one line.
pub fn with_causes(e: &dyn std::error::Error) -> String {
    std::iter::once(e.to_string())
        .chain(causes(e))
        .collect::<Vec<_>>()
        .join(": ")
}

/// A boxed failure of any module: the error type of all code above tier 3.
pub struct Error(Box<dyn Failure>);

/// The result type of all code above tier 3.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn kind(&self) -> Kind {
        self.0.kind()
    }

    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// Returns the failure as a standard error, for its chain of causes.
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

    /// Only errors that do not come from the system have the kind `Internal`.
    #[test]
    fn each_error_of_the_system_has_a_kind() {
        let of = |errno: Errno| Kind::of_io(&io::Error::from(errno));
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(of(errno), Kind::NoSpace, "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            assert_eq!(of(errno), Kind::Denied, "{errno}");
        }
        for errno in [
            Errno::NOTDIR,
            Errno::ISDIR,
            Errno::EXIST,
            Errno::NAMETOOLONG,
            Errno::LOOP,
            Errno::TOOBIG,
        ] {
            assert_eq!(of(errno), Kind::Usage, "{errno}");
        }
        for errno in [Errno::BUSY, Errno::TXTBSY] {
            assert_eq!(of(errno), Kind::Busy, "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::AGAIN,
            Errno::NOMEM,
            Errno::IO,
            Errno::INVAL,
            Errno::NODEV,
        ] {
            assert_eq!(of(errno), Kind::System, "{errno}");
        }
        for raw in 1..134 {
            assert_ne!(
                Kind::of_io(&io::Error::from_raw_os_error(raw)),
                Kind::Internal,
                "{raw}"
            );
        }
        assert_eq!(
            Kind::of_io(&io::Error::other("a library's own words")),
            Kind::Internal
        );
        let full = Link("cannot write `a`", None);
        assert_eq!(hint_of_causes(&full), None);
        assert_eq!(
            hint_of_io(&io::Error::from(Errno::MFILE)).map(|h| h.contains("ulimit -n")),
            Some(true)
        );
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
        assert_eq!(
            with_causes(&top),
            "cannot flush: cannot write `a`: no space"
        );
        assert_eq!(with_causes(&Link("alone", None)), "alone");
    }
}
