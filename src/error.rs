//! The kinds of failure, and the trait by which a module's own error states its kind.
//!
//! Each module has its own small error enum; nobody's variants stand here. A `Kind` decides the exit code
//! (and later the errno and the HTTP status), so that a caller never has to look into a message.

use std::io;

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
    /// A bug in dvc, or an unexpected failure of the system.
    Internal,
}

impl Kind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 13] = [
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
            io::ErrorKind::ResourceBusy => Self::Busy,
            // A file where a directory is wanted and the like: it is named, and somebody named it.
            io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidFilename => Self::Usage,
            _ => Self::Internal,
        }
    }
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
