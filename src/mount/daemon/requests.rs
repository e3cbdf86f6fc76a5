//! Handles the requests that arrive on the control socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::service::MountService;
use super::versions::{SnapshotGuard, SnapshotWish, StoredSnapshot};
use crate::error::Result;
use crate::mount::attach;
use crate::mount::control::{ControlConnection, ControlRequest, ControlSocket};
use crate::repo::writer::RootCheck;

impl MountService {
    pub(super) fn accept_connections(self: &Arc<Self>, socket: &ControlSocket) {
        loop {
            let connection = socket.accept();
            if self.has_ended(Duration::ZERO) {
                return;
            }
            let inner = Arc::clone(self);
            let serve = |connection| {
                std::thread::Builder::new()
                    .spawn(move || inner.serve(connection))
                    .map(drop)
            };
            if connection.and_then(serve).is_err() {
                // The process is out of descriptors or threads, so wait until some are free.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Answers the requests of one connection. A snapshot that is not confirmed is aborted when the
    /// connection ends.
    fn serve(&self, mut connection: ControlConnection) {
        let mut pending: Option<StoredSnapshot<'_>> = None;
        let mut begun: Option<SnapshotGuard<'_>> = None;
        while let Ok(Some(request)) = connection.next_request() {
            let answered = match request {
                ControlRequest::Ping => connection.reply(&Ok(())),
                ControlRequest::Facts => connection.reply(&Ok(self.facts())),
                ControlRequest::Writers => connection.reply(&Ok(self.view.writer_paths())),
                ControlRequest::BeginSnapshot { store } => {
                    // Abort an unconfirmed snapshot first, because it keeps the exclusive section.
                    drop((pending.take(), begun.take()));
                    connection.reply(&self.begin(store).map(|guard| begun = Some(guard)))
                }
                ControlRequest::TakeSnapshot {
                    store,
                    exclude,
                    ignored,
                } => {
                    drop(pending.take());
                    let wanted = SnapshotWish {
                        store,
                        exclude,
                        ignored,
                    };
                    self.snapshot(begun.take(), &wanted, &mut pending, &mut connection)
                }
                ControlRequest::EndSnapshot {
                    version,
                    branch,
                    whole,
                } => connection.reply(&self.end_snapshot(pending.take(), &version, branch, whole)),
                ControlRequest::Switch {
                    version,
                    branch,
                    force,
                    gc_number,
                } => {
                    drop((pending.take(), begun.take()));
                    let check = RootCheck::since(gc_number);
                    connection.reply(&self.switch_to(&version, branch, force, &check))
                }
                ControlRequest::Stop { discard, no_trash } => {
                    drop((pending.take(), begun.take()));
                    let _exclusive = self.exclusive();
                    // The process must not exit before the reply is sent.
                    let _leaving = self.stopping.lock();
                    let stopped = self.stop(discard, no_trash);
                    let done = stopped.is_ok();
                    let _ = connection.reply(&stopped);
                    if done {
                        // Keep the connection open until the process exits, because the client
                        // treats the close as the signal that everything is on disk.
                        std::mem::forget(connection);
                        return;
                    }
                    continue;
                }
            };
            if answered.is_err() {
                break;
            }
        }
    }

    fn stop(&self, discard: bool, no_trash: bool) -> Result<()> {
        // Flush before the unmount: if the disk is full, the mount has to stay, so that the user
        // can free space and try again.
        if !discard {
            self.view.sync_all().map_err(|e| self.io("flush", e.0))?;
        }
        // Set the flags before the unmount, because the main thread reads them as soon as the mount
        // is gone.
        self.no_trash.store(no_trash, Ordering::Release);
        let before = self.discard.fetch_or(discard, Ordering::AcqRel);
        Ok(attach::detach(&self.note.at, false)
            .inspect_err(|_| self.discard.store(before, Ordering::Release))?)
    }
}
