//! The server side of the control socket of a mount.

use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::note::{MountNote, path_stem, read_note};
use super::protocol::{ControlReply, ControlRequest};
use crate::error::{Result, with_causes};
use crate::model::id::Id;
use crate::sys::create;
use crate::sys::process::ProcessIdentity;

/// The control socket and the note of a mount.
pub struct ControlSocket {
    listener: UnixListener,
    socket: PathBuf,
    note: PathBuf,
    run: PathBuf,
}

impl ControlSocket {
    /// Opens the socket of the mount with this device number, and writes its note.
    pub fn open(run: &Path, device: (u32, u32), note: &MountNote) -> io::Result<Self> {
        let stem = path_stem(run, device);
        create::private_dir(stem.parent().unwrap_or(run))?;
        let _lock = lock(run)?;
        let (socket, path) = (stem.with_extension("sock"), stem.with_extension("json"));
        // An existing socket was left by an earlier mount, because the kernel gives a device number
        // to only one mount at a time.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        // `bind` applies the umask to the mode 0777. No other user can connect in between, because
        // the directory is private.
        rustix::fs::chmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
        // Write the note last, because a client that finds the note connects to the socket.
        let text = serde_json::to_vec(note).map_err(io::Error::other)?;
        create::replace(&path, &text)?;
        Ok(Self {
            listener,
            socket,
            note: path,
            run: run.to_path_buf(),
        })
    }

    /// Waits for the next connection.
    pub fn accept(&self) -> io::Result<ControlConnection> {
        let (stream, _) = self.listener.accept()?;
        ControlConnection::new(stream)
    }

    /// Makes [`Self::accept`] fail from now on, even if it is waiting. A connection to the path
    /// could not wake it up, because the next mount with the same device number may already have
    /// replaced the socket there.
    ///
    /// Also removes the socket and the note, because this process may flush for a long time while
    /// another mount already has the device number.
    pub fn close(&self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.remove();
    }

    fn remove(&self) {
        let _lock = lock(&self.run);
        // Remove only our own files: the kernel may already have given the number to another mount.
        if read_note(&self.note).is_some_and(|note| note.process == ProcessIdentity::own()) {
            let _ = std::fs::remove_file(&self.socket);
            let _ = std::fs::remove_file(&self.note);
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A connection of a client.
pub struct ControlConnection {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl ControlConnection {
    fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self {
            input: BufReader::new(stream.try_clone()?),
            output: stream,
        })
    }

    /// Returns the next request, or `None` if the client has closed the connection.
    pub fn next_request(&mut self) -> io::Result<Option<ControlRequest>> {
        let mut line = String::new();
        match self.input.read_line(&mut line)? {
            0 => Ok(None),
            _ => serde_json::from_str(&line)
                .map(Some)
                .map_err(io::Error::other),
        }
    }

    /// Sends a reply.
    pub fn reply<T: Serialize>(&mut self, answer: &Result<T>) -> io::Result<()> {
        let reply = match answer {
            Ok(done) => ControlReply::Done(done),
            Err(e) => ControlReply::Failed {
                kind: e.kind().name().to_owned(),
                message: with_causes(e),
                hint: e.hint(),
            },
        };
        let mut text = serde_json::to_vec(&reply).map_err(io::Error::other)?;
        text.push(b'\n');
        self.output.write_all(&text)
    }

    /// Sends the objects that a reply has announced.
    pub fn send_objects(&mut self, objects: &[(Id, Vec<u8>)]) -> io::Result<()> {
        let mut out = io::BufWriter::new(&self.output);
        for (id, bytes) in objects {
            out.write_all(&id.0)?;
            out.write_all(&(bytes.len() as u64).to_be_bytes())?;
            out.write_all(bytes)?;
        }
        out.flush()
    }
}

/// Takes the lock that serialises creating and removing sockets and notes.
fn lock(run: &Path) -> io::Result<File> {
    let file = create::open_private(
        &run.join("mounts").join("lock"),
        File::options().write(true),
    )?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}
