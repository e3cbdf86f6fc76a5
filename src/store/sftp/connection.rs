//! One connection: an `ssh` process and the sftp session that talks through it.
//!
//! Every answer passes through `answer`, so that a connection that broke is known as such and says why.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Error, Sftp, SftpOptions};
use tokio::process::Child;

use super::Wrong;
use super::ssh::{Ssh, Words};
use crate::error::with_causes;
use crate::store::Trouble;

/// Nobody waits longer for a connection, the login included.
const LOGIN: Duration = Duration::from_secs(45);
/// Nobody waits longer for one answer. A server may need a while for an fsync; one that is gone is noticed by `ssh`.
const PATIENCE: Duration = Duration::from_secs(300);
/// The most that one request carries, in bytes: what OpenSSH allows. Servers that allow less say so with the first one.
pub(super) const PIECE: usize = 255 << 10;

/// A session with a server.
pub(super) struct Connection {
    pub(super) sftp: Sftp,
    words: Words,
    broken: AtomicBool,
    /// Bytes that a request may carry.
    pub(super) write_piece: AtomicUsize,
    /// Bytes that an answer may carry.
    pub(super) read_piece: AtomicUsize,
    _child: Child,
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(ssh: &Ssh) -> Result<Self, Wrong> {
        let process = ssh.start()?;
        let words = process.words;
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let session = tokio::time::timeout(LOGIN, Sftp::new(process.stdin, process.stdout, options)).await;
        let sftp = match session {
            Err(_) => return Err(Wrong::Trouble(Trouble::TimedOut, "no answer to the login".to_owned())),
            Ok(Err(e)) => {
                let (trouble, said) = words.verdict("").await;
                return Err(match (said.is_empty(), &e) {
                    (true, Error::IOError(_) | Error::BackgroundTaskFailure(_)) => {
                        Wrong::Trouble(Trouble::Unreachable, "`ssh` ended without a word".to_owned())
                    }
                    (true, e) => Wrong::Trouble(Trouble::Nonsense, with_causes(e)),
                    (false, _) => Wrong::Trouble(trouble, said),
                });
            }
            Ok(Ok(sftp)) => sftp,
        };
        Ok(Self {
            sftp,
            words,
            broken: AtomicBool::new(false),
            write_piece: AtomicUsize::new(PIECE),
            read_piece: AtomicUsize::new(PIECE),
            _child: process.child,
        })
    }

    /// Whether requests may still be answered.
    pub(super) fn is_alive(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.words.are_over()
    }

    /// For requests by path.
    pub(super) fn fs(&self) -> Fs {
        self.sftp.fs()
    }

    /// Waits for an answer, and says what a failure means.
    pub(super) async fn answer<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Wrong> {
        let error = match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Error::SftpError(kind, said))) => {
                return Err(Wrong::Answer(Answer::of(kind), said.get().0.to_owned()));
            }
            Ok(Err(e)) => e,
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                return Err(Wrong::Trouble(Trouble::TimedOut, "no answer".to_owned()));
            }
        };
        self.broken.store(true, Ordering::Relaxed);
        Err(match error {
            Error::IOError(_) | Error::BackgroundTaskFailure(_) | Error::AwaitableError(_) => {
                let (trouble, said) = self.words.verdict("the connection broke").await;
                // Whatever was written while it lived: a change that was under way may have been made.
                Wrong::Trouble(if trouble.passes() { trouble } else { Trouble::Unreachable }, said)
            }
            e => Wrong::Trouble(Trouble::Nonsense, with_causes(&e)),
        })
    }

    /// What an answer means that gives no reason: whether the disk is full.
    pub(super) async fn reason(&self, wrong: Wrong, root: &str) -> Wrong {
        let Wrong::Answer(Answer::Failure, said) = &wrong else { return wrong };
        let text = said.to_ascii_lowercase();
        let told = ["no space", "disk full", "quota"].iter().any(|words| text.contains(words));
        let full = told
            || match self.sftp.support_statvfs() {
                false => false,
                true => match self.answer(self.fs().statvfs(root)).await {
                    Ok(disk) => {
                        let no_names = disk.files > 0 && disk.favail == 0;
                        disk.bavail.saturating_mul(disk.frsize) < PIECE as u64 || no_names
                    }
                    Err(_) => false,
                },
            };
        if full { Wrong::Trouble(Trouble::Full, said.clone()) } else { wrong }
    }
}

/// What a server says no with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A name or a folder on the way to it is not there.
    NoSuchFile,
    /// Not allowed.
    Denied,
    /// Any reason: a taken name, a full disk.
    Failure,
    /// It does not know the request, or not in this form.
    Unsupported,
}

impl Answer {
    const fn of(kind: SftpErrorKind) -> Self {
        match kind {
            SftpErrorKind::NoSuchFile => Self::NoSuchFile,
            SftpErrorKind::PermDenied => Self::Denied,
            SftpErrorKind::BadMessage | SftpErrorKind::OpUnsupported => Self::Unsupported,
            _ => Self::Failure,
        }
    }

    /// Which trouble it is.
    pub(super) const fn trouble(self) -> Trouble {
        match self {
            Self::NoSuchFile => Trouble::NoPlace,
            Self::Denied => Trouble::Denied,
            Self::Failure | Self::Unsupported => Trouble::Refused,
        }
    }
}
