//! Reads and writes files over a connection with many concurrent requests.
//!
//! The throughput is the number of bytes in flight per round trip. The order of requests does not
//! matter to the server, because every request contains its offset.

use std::collections::VecDeque;
use std::fs::File as LocalFile;
use std::io::SeekFrom;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use openssh_sftp_client::file::File;
use tokio::io::AsyncSeek;
use tokio::task::{JoinHandle, JoinSet};

use super::connection::Connection;
use super::error::SftpError;
use crate::store::StoreErrorKind;
use crate::store::meter::Meter;

/// Approximate limit on the bytes in flight: twice the window of OpenSSH, so that the server never
/// waits for a request.
const WINDOW: usize = 4 << 20;
/// Lower limit on the payload of requests in bytes.
const LEAST: usize = 4 << 10;

/// The content of a new object.
pub(super) enum UploadSource {
    /// The first bytes of a local file.
    File(LocalFile, u64),
    Bytes(Bytes),
}

impl UploadSource {
    pub(super) const fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Returns at most `most` bytes from offset `at`.
    fn piece(&self, at: u64, most: usize) -> Result<Bytes, SftpError> {
        let len = usize::try_from(self.len() - at)
            .unwrap_or(usize::MAX)
            .min(most);
        match self {
            Self::File(file, _) => {
                let mut buffer = vec![0; len];
                let read = file.read_exact_at(&mut buffer, at);
                read.map_err(|source| SftpError::Local {
                    what: "read",
                    key: "the source file".to_owned(),
                    source,
                })?;
                Ok(buffer.into())
            }
            Self::Bytes(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(bytes.slice(from..from + len))
            }
        }
    }
}

/// Writes all bytes of `source` to an empty file.
pub(super) async fn send(
    connection: &Arc<Connection>,
    file: &File,
    source: &UploadSource,
    meter: &Meter,
) -> Result<(), SftpError> {
    let (mut at, mut in_flight) = (0, 0);
    let mut writes: JoinSet<Result<usize, SftpError>> = JoinSet::new();
    while at < source.len() || !writes.is_empty() {
        while at < source.len() && in_flight < WINDOW {
            // The limit of the payload may fall during the transfer.
            let piece = source.piece(at, connection.write_piece.load(Ordering::Relaxed))?;
            let len = piece.len();
            writes.spawn(write(Arc::clone(connection), file.clone(), at, piece));
            in_flight += len;
            at += len as u64;
            pause(meter.up.pass(len as u64)).await;
        }
        if let Some(written) = writes.join_next().await {
            in_flight -= written.map_err(SftpError::panicked)??;
        }
    }
    Ok(())
}

async fn write(
    connection: Arc<Connection>,
    mut file: File,
    at: u64,
    mut piece: Bytes,
) -> Result<usize, SftpError> {
    let len = piece.len();
    // Each clone of the handle has its own offset, so concurrent writes do not disturb each other.
    seek(&mut file, at)?;
    while piece.has_remaining() {
        let sent = connection
            .response(file.write_zero_copy(std::slice::from_ref(&piece)))
            .await?;
        if sent < piece.len() {
            record_limit(&connection.write_piece, sent);
        }
        piece.advance(sent);
    }
    Ok(len)
}

/// Reads a range of a file ahead of the consumer.
pub(super) struct ReadAhead {
    connection: Arc<Connection>,
    file: File,
    at: u64,
    end: u64,
    in_flight: usize,
    pieces: VecDeque<(usize, JoinHandle<Result<BytesMut, SftpError>>)>,
}

impl ReadAhead {
    pub(super) const fn new(connection: Arc<Connection>, file: File, at: u64, end: u64) -> Self {
        Self {
            connection,
            file,
            at,
            end,
            in_flight: 0,
            pieces: VecDeque::new(),
        }
    }

    /// Returns the next piece, or `None` at the end. Fails with [`SftpError::Truncated`] if the
    /// file is too short.
    pub(super) async fn next(&mut self, meter: &Meter) -> Result<Option<BytesMut>, SftpError> {
        while self.at < self.end && self.in_flight < WINDOW {
            let most = self.connection.read_piece.load(Ordering::Relaxed);
            let len = usize::try_from(self.end - self.at)
                .unwrap_or(usize::MAX)
                .min(most);
            let read = read(
                Arc::clone(&self.connection),
                self.file.clone(),
                self.at,
                len,
            );
            self.pieces.push_back((len, tokio::spawn(read)));
            self.in_flight += len;
            self.at += len as u64;
        }
        let Some((len, piece)) = self.pieces.pop_front() else {
            return Ok(None);
        };
        let piece = piece.await.map_err(SftpError::panicked)??;
        self.in_flight -= len;
        pause(meter.down.pass(len as u64)).await;
        Ok(Some(piece))
    }
}

/// Reads exactly `len` bytes from offset `at`.
async fn read(
    connection: Arc<Connection>,
    mut file: File,
    at: u64,
    len: usize,
) -> Result<BytesMut, SftpError> {
    let mut out = read_once(&connection, &mut file, at, len).await?;
    let first = out.len();
    while out.len() < len {
        let got = read_once(
            &connection,
            &mut file,
            at + out.len() as u64,
            len - out.len(),
        )
        .await?;
        if got.is_empty() {
            return Err(SftpError::Truncated);
        }
        // The first response was short although the file continues, so the server limits the
        // payload.
        record_limit(&connection.read_piece, first);
        out.extend_from_slice(&got);
    }
    Ok(out)
}

/// Reads at most `len` bytes with one request. Returns no bytes at the end of the file.
pub(super) async fn read_once(
    connection: &Connection,
    file: &mut File,
    at: u64,
    len: usize,
) -> Result<BytesMut, SftpError> {
    seek(file, at)?;
    let most = u32::try_from(len).unwrap_or(u32::MAX);
    let got = connection
        .response(file.read(most, BytesMut::with_capacity(len)))
        .await?
        // The library returns `None` at the end of the file.
        .unwrap_or_default();
    // Excess bytes would shift the rest of the object.
    if got.len() > len {
        return Err(SftpError::Store(
            StoreErrorKind::InvalidResponse,
            "more bytes than requested".to_owned(),
        ));
    }
    Ok(got)
}

fn seek(file: &mut File, at: u64) -> Result<(), SftpError> {
    let sought = Pin::new(file).start_seek(SeekFrom::Start(at));
    sought.map_err(|source| SftpError::Local {
        what: "read",
        key: "a file".to_owned(),
        source,
    })
}

/// Records the payload limit of the server.
fn record_limit(piece: &AtomicUsize, len: usize) {
    // One short response must not make all further requests tiny.
    piece.fetch_min(len.max(LEAST), Ordering::Relaxed);
}

async fn pause(wait: std::time::Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}
