//! Bytes to and from a file behind a connection, with many requests under way.
//!
//! A request takes a round trip; what is under way at once, divided by that, is the speed. Order does not matter to
//! the server, every request names its offset.

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

use super::Wrong;
use super::connection::Connection;
use crate::store::Trouble;
use crate::store::meter::Meter;

/// Bytes that are under way at once: twice what OpenSSH's window lets through, so that there is always a next one.
const WINDOW: usize = 4 << 20;
/// No server is sent less than this in one request, in bytes.
const LEAST: usize = 4 << 10;

/// What is to be stored.
pub(super) enum Source {
    /// The first bytes of a local file.
    File(LocalFile, u64),
    /// A few bytes.
    Bytes(Bytes),
}

impl Source {
    pub(super) const fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// At most `most` bytes from `at`.
    fn piece(&self, at: u64, most: usize) -> Result<Bytes, Wrong> {
        let len = usize::try_from(self.len() - at).unwrap_or(usize::MAX).min(most);
        match self {
            Self::File(file, _) => {
                let mut buffer = vec![0; len];
                let read = file.read_exact_at(&mut buffer, at);
                read.map_err(|source| Wrong::Here { what: "read", key: "the file to be sent".to_owned(), source })?;
                Ok(buffer.into())
            }
            Self::Bytes(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(bytes.slice(from..from + len))
            }
        }
    }
}

/// Writes all of `source` to an empty file.
pub(super) async fn send(
    connection: &Arc<Connection>,
    file: &File,
    source: &Source,
    meter: &Meter,
) -> Result<(), Wrong> {
    let (mut at, mut under_way) = (0, 0);
    let mut writes: JoinSet<Result<usize, Wrong>> = JoinSet::new();
    while at < source.len() || !writes.is_empty() {
        while at < source.len() && under_way < WINDOW {
            let piece = source.piece(at, connection.write_piece.load(Ordering::Relaxed))?;
            let len = piece.len();
            writes.spawn(write(Arc::clone(connection), file.clone(), at, piece));
            under_way += len;
            at += len as u64;
            pause(meter.up.pass(len as u64)).await;
        }
        if let Some(written) = writes.join_next().await {
            under_way -= written.map_err(Wrong::panicked)??;
        }
    }
    Ok(())
}

async fn write(connection: Arc<Connection>, mut file: File, at: u64, mut piece: Bytes) -> Result<usize, Wrong> {
    let len = piece.len();
    seek(&mut file, at)?;
    while piece.has_remaining() {
        let sent = connection.answer(file.write_zero_copy(std::slice::from_ref(&piece))).await?;
        if sent < piece.len() {
            learn(&connection.write_piece, sent);
        }
        piece.advance(sent);
    }
    Ok(len)
}

/// Reads a range of a file, ahead of whoever takes it.
pub(super) struct Ahead {
    connection: Arc<Connection>,
    file: File,
    at: u64,
    end: u64,
    under_way: usize,
    pieces: VecDeque<(usize, JoinHandle<Result<BytesMut, Wrong>>)>,
}

impl Ahead {
    pub(super) const fn new(connection: Arc<Connection>, file: File, at: u64, end: u64) -> Self {
        Self { connection, file, at, end, under_way: 0, pieces: VecDeque::new() }
    }

    /// The next piece, or `None` at the end. A file that ends before is [`Wrong::Short`].
    pub(super) async fn next(&mut self, meter: &Meter) -> Result<Option<BytesMut>, Wrong> {
        while self.at < self.end && self.under_way < WINDOW {
            let most = self.connection.read_piece.load(Ordering::Relaxed);
            let len = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(most);
            let read = read(Arc::clone(&self.connection), self.file.clone(), self.at, len);
            self.pieces.push_back((len, tokio::spawn(read)));
            self.under_way += len;
            self.at += len as u64;
        }
        let Some((len, piece)) = self.pieces.pop_front() else { return Ok(None) };
        let piece = piece.await.map_err(Wrong::panicked)??;
        self.under_way -= len;
        pause(meter.down.pass(len as u64)).await;
        Ok(Some(piece))
    }
}

/// Exactly `len` bytes from `at`.
async fn read(connection: Arc<Connection>, mut file: File, at: u64, len: usize) -> Result<BytesMut, Wrong> {
    let mut out = read_once(&connection, &mut file, at, len).await?;
    let first = out.len();
    while out.len() < len {
        let got = read_once(&connection, &mut file, at + out.len() as u64, len - out.len()).await?;
        if got.is_empty() {
            return Err(Wrong::Short);
        }
        // It was not the end of the file that cut the first answer.
        learn(&connection.read_piece, first);
        out.extend_from_slice(&got);
    }
    Ok(out)
}

/// What one request brings, at most `len` bytes; nothing at the end of the file.
pub(super) async fn read_once(
    connection: &Connection,
    file: &mut File,
    at: u64,
    len: usize,
) -> Result<BytesMut, Wrong> {
    seek(file, at)?;
    let most = u32::try_from(len).unwrap_or(u32::MAX);
    let got = connection.answer(file.read(most, BytesMut::with_capacity(len))).await?.unwrap_or_default();
    if got.len() > len {
        return Err(Wrong::Trouble(Trouble::Nonsense, "more bytes than were asked for".to_owned()));
    }
    Ok(got)
}

fn seek(file: &mut File, at: u64) -> Result<(), Wrong> {
    let sought = Pin::new(file).start_seek(SeekFrom::Start(at));
    sought.map_err(|source| Wrong::Here { what: "read", key: "a file".to_owned(), source })
}

/// Remembers how much a server takes or gives at once.
fn learn(piece: &AtomicUsize, len: usize) {
    piece.fetch_min(len.max(LEAST), Ordering::Relaxed);
}

async fn pause(wait: std::time::Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}
