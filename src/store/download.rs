//! Reads an object of a store through `std::io::Read`.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use super::{Store, StoreError};
use crate::error::carried;
use crate::work::Cancelled;

/// Limit on the pieces that wait for the reader.
const BUFFERED_PIECES: usize = 4;

/// A reader of an object, which a background thread downloads.
pub struct ObjectDownload {
    pieces: Option<Receiver<Result<Vec<u8>, StoreError>>>,
    piece: Vec<u8>,
    at: usize,
    thread: Option<JoinHandle<()>>,
}

impl ObjectDownload {
    /// Starts the download.
    pub fn start(store: Arc<dyn Store>, key: String) -> Self {
        let (to, pieces) = sync_channel(BUFFERED_PIECES);
        let thread = std::thread::spawn(move || {
            let read = store.read_from(&key, 0, &mut |piece| {
                // The reader may already be gone.
                to.send(Ok(piece.to_vec())).map_err(|_| Cancelled.into())
            });
            // The send fails only if the reader is gone, and then no caller needs the error.
            if let Err(e) = read {
                let _ = to.send(Err(e));
            }
        });
        Self {
            pieces: Some(pieces),
            piece: Vec::new(),
            at: 0,
            thread: Some(thread),
        }
    }
}

impl Read for ObjectDownload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.pieces.as_ref().and_then(|pieces| pieces.recv().ok()) {
                None => return Ok(0),
                Some(Err(e)) => return Err(carried(e)),
                Some(Ok(piece)) => (self.piece, self.at) = (piece, 0),
            }
        }
        let len = buffer.len().min(self.piece.len() - self.at);
        buffer[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

impl Drop for ObjectDownload {
    fn drop(&mut self) {
        // Drop the receiver first: a thread that waits for space in the channel then fails to send
        // and ends.
        self.pieces = None;
        if let Some(thread) = self.thread.take() {
            // The thread has sent its error to the channel, so its result is empty.
            let _ = thread.join();
        }
    }
}
