//! One connection: an `ssh` process and the SFTP session over its pipes.
//!
//! Every response passes through `response`, which detects a broken connection and its cause.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::{Error, Sftp, SftpOptions};
use tokio::process::Child;

use super::error::{SftpError, SftpStatus};
use super::ssh::{Ssh, SshMessages};
use crate::error::with_causes;
use crate::store::StoreErrorKind;

/// Time limit for establishing a connection, including the login.
const LOGIN_LIMIT: Duration = Duration::from_secs(45);
/// Time limit of one response. A server may need a while for an fsync; `ssh` itself detects a dead
/// server.
const RESPONSE_LIMIT: Duration = Duration::from_secs(300);
/// Maximum payload of one request in bytes, the limit of OpenSSH. A server with a lower limit
/// returns fewer bytes to the first request.
pub(super) const PIECE: usize = 255 << 10;

/// A session with a server.
pub(super) struct Connection {
    pub(super) sftp: Sftp,
    messages: SshMessages,
    broken: AtomicBool,
    /// Maximum payload of a write request in bytes.
    pub(super) write_piece: AtomicUsize,
    /// Maximum payload of a read response in bytes.
    pub(super) read_piece: AtomicUsize,
    _child: Child,
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(ssh: &Ssh) -> Result<Self, SftpError> {
        let process = ssh.start()?;
        let messages = process.messages;
        // By default, the library delays requests to combine them, which would lengthen each round
        // trip.
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let session = tokio::time::timeout(
            LOGIN_LIMIT,
            Sftp::new(process.stdin, process.stdout, options),
        )
        .await;
        let sftp = match session {
            Err(_) => {
                return Err(SftpError::Store(
                    StoreErrorKind::TimedOut,
                    "no response to the login".to_owned(),
                ));
            }
            Ok(Err(e)) => {
                let (error_kind, detail) = messages.verdict("").await;
                return Err(match (detail.is_empty(), &e) {
                    (true, Error::IOError(_) | Error::BackgroundTaskFailure(_)) => {
                        SftpError::Store(
                            StoreErrorKind::Unreachable,
                            "`ssh` exited without an error message".to_owned(),
                        )
                    }
                    (true, e) => SftpError::Store(StoreErrorKind::InvalidResponse, with_causes(e)),
                    (false, _) => SftpError::Store(error_kind, detail),
                });
            }
            Ok(Ok(sftp)) => sftp,
        };
        Ok(Self {
            sftp,
            messages,
            broken: AtomicBool::new(false),
            write_piece: AtomicUsize::new(PIECE),
            read_piece: AtomicUsize::new(PIECE),
            _child: process.child,
        })
    }

    /// Returns whether the connection can still be used.
    pub(super) fn is_alive(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.messages.have_ended()
    }

    /// Returns the interface for requests by path.
    pub(super) fn fs(&self) -> Fs {
        self.sftp.fs()
    }

    /// Waits for a response, and converts an error.
    pub(super) async fn response<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, SftpError> {
        let error = match tokio::time::timeout(RESPONSE_LIMIT, request).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(Error::SftpError(kind, detail))) => {
                return Err(SftpError::Status(
                    SftpStatus::of(kind),
                    detail.get().0.to_owned(),
                ));
            }
            Ok(Err(e)) => e,
            Err(_) => {
                // The next request must not wait for a server that no longer responds, so the
                // connection is not used again.
                self.broken.store(true, Ordering::Relaxed);
                return Err(SftpError::Store(
                    StoreErrorKind::TimedOut,
                    "no response".to_owned(),
                ));
            }
        };
        self.broken.store(true, Ordering::Relaxed);
        Err(match error {
            Error::IOError(_) | Error::BackgroundTaskFailure(_) | Error::AwaitableError(_) => {
                let (error_kind, detail) = self.messages.verdict("the connection was lost").await;
                // Report a transient kind, because a change in progress may have been made, which a
                // permanent kind would rule out.
                SftpError::Store(
                    if error_kind.is_transient() {
                        error_kind
                    } else {
                        StoreErrorKind::Unreachable
                    },
                    detail,
                )
            }
            e => SftpError::Store(StoreErrorKind::InvalidResponse, with_causes(&e)),
        })
    }

    /// Finds the cause of a generic failure status, which may be a full disk.
    pub(super) async fn find_cause(&self, error: SftpError, root: &str) -> SftpError {
        let SftpError::Status(SftpStatus::Failure, detail) = &error else {
            return error;
        };
        let text = detail.to_ascii_lowercase();
        let mentioned = ["no space", "disk full", "quota"]
            .iter()
            .any(|phrase| text.contains(phrase));
        let full = mentioned
            || match self.sftp.support_statvfs() {
                false => false,
                true => match self.response(self.fs().statvfs(root)).await {
                    Ok(disk) => {
                        // File systems without a fixed number of inodes, such as btrfs, report 0
                        // files.
                        let no_names = disk.files > 0 && disk.favail == 0;
                        disk.bavail.saturating_mul(disk.frsize) < PIECE as u64 || no_names
                    }
                    Err(_) => false,
                },
            };
        if full {
            SftpError::Store(StoreErrorKind::Full, detail.clone())
        } else {
            error
        }
    }
}
