//! Talking to the process that serves a mount: a socket, one JSON object a line each way, then bytes where there are any.
//!
//! Each mount has a socket and a note of what it is, in the run directory under its device number, so that both are
//! found from any path inside the mount, also through a bind mount.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result, with_causes};
use crate::model::id::Id;
use crate::sys::create;
use crate::sys::mountinfo;
use crate::sys::mountinfo::{MountTable, Mounted};
use crate::sys::process::{ProcessIdentity, ProcessState};
use crate::sys::procfs::ProcDir;
use crate::work::Cancelled;

mod client;

pub use client::{Client, HELLO};

/// What a mount is, as its process notes it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Note {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// The number of the mount in the mount table of that process.
    #[serde(default)]
    pub mount_id: u64,
    /// The mount namespace of that process.
    #[serde(default)]
    pub mount_namespace: String,
    /// The source that the mount table shows.
    #[serde(default)]
    pub source: String,
    /// The mount point.
    pub at: PathBuf,
    /// The repository on this machine.
    pub repository: PathBuf,
    /// The overlay's name; `None` where nothing is kept.
    pub overlay: Option<String>,
    /// What was mounted, as it was asked for.
    pub revision: String,
    /// Whether nothing can be changed.
    pub read_only: bool,
    /// Whether what is changed is forgotten at the end.
    #[serde(default)]
    pub ephemeral: bool,
    /// `writeback` or `passthrough`.
    pub mode: String,
}

/// How a mount stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Facts {
    /// The version that it stands on.
    pub version: Option<String>,
    /// The branch that it is on.
    pub branch: Option<String>,
    /// The tree that a commit took last, of which nobody said what became of it.
    pub shot: Option<String>,
    /// Inodes that differ from that version.
    pub changed: u64,
    /// Bytes that were written since, as far as they are not in a version.
    pub dirty_bytes: u64,
    /// Bytes that the overlay takes on disk.
    pub overlay_bytes: u64,
    /// Bytes of them that the version has too; a remount gives them back.
    #[serde(default)]
    pub spare_bytes: u64,
    /// Inodes that the kernel knows.
    pub known: u64,
    /// Open files.
    pub open: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes that came from the remote.
    pub fetched_bytes: u64,
    /// Requests to the remote.
    pub requests: u64,
    /// Bytes that were brought whole into the overlay.
    pub hydrated_bytes: u64,
    /// Operations that failed for want of data.
    pub failed: u64,
}

/// What can be asked of a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Ask {
    /// Nothing: an answer shows that the process is well.
    Hello,
    /// How it stands.
    Facts,
    /// The moment of which the next [`Ask::Snapshot`] on the same connection is the tree: by this one's answer it has passed.
    Begin {
        /// As in that.
        store: bool,
    },
    /// Its tree as it is now. `store`: for a version, which [`Ask::Settle`] on the same connection confirms; else its new
    /// objects follow the answer.
    Snapshot {
        /// Whether objects are stored.
        store: bool,
        /// Patterns that are left out.
        exclude: Vec<String>,
    },
    /// What was snapshot is this version now.
    Settle {
        /// Its id.
        version: String,
        /// The branch that the mount is on now.
        branch: Option<String>,
        /// All of the mount is in it.
        whole: bool,
    },
    /// Show another version; nothing of the mount may be changed, unless `force`.
    Move {
        /// Its id.
        version: String,
        /// The branch that the mount is on then.
        branch: Option<String>,
        /// Give up changes.
        force: bool,
    },
    /// Which files are open for writing: whoever asks for a snapshot makes the kernel hand over what it holds back of
    /// them first. The process of the mount must not wait for the kernel, which waits for it.
    Writers,
    /// End. `discard`: and remove the overlay.
    Stop {
        /// Remove what was changed.
        discard: bool,
    },
}

/// The answer to [`Ask::Snapshot`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shot {
    /// The tree.
    pub tree: String,
    /// Files in it.
    pub files: u64,
    /// Directories in it.
    pub dirs: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Bytes of chunks that are new.
    pub new_bytes: u64,
    /// What they take.
    pub stored_bytes: u64,
    /// Paths that are not kept: sockets.
    pub skipped: Vec<Vec<u8>>,
    /// How many objects follow.
    pub objects: u64,
}

/// An answer: what was asked for, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply<T> {
    /// Done.
    Done(T),
    /// Not done.
    Failed {
        /// Name of the kind.
        kind: String,
        /// What is wrong.
        message: String,
        /// What can be done.
        hint: Option<String>,
    },
}

/// A mount cannot be asked, or it refuses.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not answer.
    #[error("the mount at `{}` does not answer", at.display())]
    Silent {
        /// Where.
        at: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it said.
    #[error("{message}")]
    Refused {
        /// What kind of failure.
        kind: Kind,
        /// What it said.
        message: String,
        /// What can be done.
        hint: Option<String>,
    },
    /// What was written cannot be had.
    #[error("cannot flush `{}`", path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none.
    #[error("there is no mount at `{}`", at.display())]
    None {
        /// Where.
        at: PathBuf,
    },
    /// Its process does not answer within the time limit.
    #[error("process {pid}, which serves `{}`, {}", at.display(), if *stopped { "is stopped" } else { "does not answer" })]
    Stuck {
        /// Where.
        at: PathBuf,
        /// The process.
        pid: u32,
        /// Whether it was stopped by a signal or a debugger.
        stopped: bool,
    },
    /// Another user's process serves it, and answers only to that user.
    #[error("`{}` was mounted by user {owner}", at.display())]
    OtherUser {
        /// Where.
        at: PathBuf,
        /// The user.
        owner: u32,
    },
    /// It is served, but nothing is noted of it in the run directory.
    #[error("`{}` is mounted, but its process is not known here", at.display())]
    Unknown {
        /// Where.
        at: PathBuf,
    },
    /// The caller was asked to end while it waited.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Failure for ControlError {
    fn kind(&self) -> Kind {
        match self {
            Self::Silent { .. } => Kind::System,
            Self::Sync { source, .. } => Kind::of_io(source),
            Self::Refused { kind, .. } => *kind,
            Self::None { .. } => Kind::NotFound,
            Self::Stuck { .. } | Self::Unknown { .. } => Kind::Busy,
            Self::OtherUser { .. } => Kind::Denied,
            Self::Cancelled(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.clone(),
            Self::Silent { .. } => Some("look into the log beside its overlay, or run `dvc umount` on it".to_owned()),
            Self::Stuck { at, pid, stopped } => {
                let first = if *stopped { format!("run `kill -CONT {pid}`, or ") } else { String::new() };
                Some(format!("{first}`dvc umount --force {}`, which does not wait for the process", at.display()))
            }
            Self::OtherUser { .. } => Some("run this as that user; root can end the mount with `dvc umount`".to_owned()),
            Self::Unknown { .. } => Some(
                "set DVC_RUN_DIR or XDG_RUNTIME_DIR as it was when it was mounted; `dvc umount` ends the mount without that"
                    .to_owned(),
            ),
            Self::Cancelled(e) => e.hint(),
            Self::None { .. } => Some("`dvc mount` lists what is mounted".to_owned()),
            Self::Sync { .. } => None,
        }
    }
}

fn base(run: &Path, device: (u32, u32)) -> PathBuf {
    run.join("mounts").join(format!("{}-{}", device.0, device.1))
}

/// The socket and note of a mount that is being served.
pub struct Desk {
    listener: UnixListener,
    socket: PathBuf,
    note: PathBuf,
    run: PathBuf,
}

impl Desk {
    /// Opens the socket of the mount with a device number, and notes what it is.
    pub fn open(run: &Path, device: (u32, u32), note: &Note) -> io::Result<Self> {
        let base = base(run, device);
        create::private_dir(base.parent().unwrap_or(run))?;
        let _others = lock(run)?;
        let (socket, path) = (base.with_extension("sock"), base.with_extension("json"));
        // Whoever had this number before is gone: the kernel gives it to one at a time.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        rustix::fs::chmod(&socket, rustix::fs::Mode::from_raw_mode(0o600))?;
        let text = serde_json::to_vec(note).map_err(io::Error::other)?;
        create::replace(&path, &text)?;
        Ok(Self { listener, socket, note: path, run: run.to_path_buf() })
    }

    /// The next one who asks something.
    pub fn next(&self) -> io::Result<Visit> {
        let (stream, _) = self.listener.accept()?;
        Visit::new(stream)
    }

    /// Lets nobody in any more: [`Self::next`] fails from now on. By its path the socket could not be reached for that:
    /// the device number is free as soon as the mount is gone, and the next mount that gets it takes the path.
    ///
    /// The note goes at once, because the process may live on for long, to flush, while another mount has the number.
    pub fn close(&self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        self.remove();
    }

    fn remove(&self) {
        let _others = lock(&self.run);
        // The kernel may have given the number to the next mount already.
        if read_note(&self.note).is_some_and(|note| note.process == ProcessIdentity::own()) {
            let _ = std::fs::remove_file(&self.socket);
            let _ = std::fs::remove_file(&self.note);
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Somebody who asks.
pub struct Visit {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Visit {
    fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self { input: BufReader::new(stream.try_clone()?), output: stream })
    }

    /// What is asked next; `None` if nothing more is.
    pub fn ask(&mut self) -> io::Result<Option<Ask>> {
        let mut line = String::new();
        match self.input.read_line(&mut line)? {
            0 => Ok(None),
            _ => serde_json::from_str(&line).map(Some).map_err(io::Error::other),
        }
    }

    /// Answers.
    pub fn reply<T: Serialize>(&mut self, answer: &Result<T>) -> io::Result<()> {
        let reply = match answer {
            Ok(done) => Reply::Done(done),
            Err(e) => Reply::Failed { kind: e.kind().name().to_owned(), message: with_causes(e), hint: e.hint() },
        };
        let mut text = serde_json::to_vec(&reply).map_err(io::Error::other)?;
        text.push(b'\n');
        self.output.write_all(&text)
    }

    /// Sends objects after an answer that told their number.
    pub fn send(&mut self, objects: &[(Id, Vec<u8>)]) -> io::Result<()> {
        let mut out = io::BufWriter::new(&self.output);
        for (id, bytes) in objects {
            out.write_all(&id.0)?;
            out.write_all(&(bytes.len() as u64).to_be_bytes())?;
            out.write_all(bytes)?;
        }
        out.flush()
    }
}

/// What the process of a mount noted; `None` where that was another mount, which had the same device number.
pub fn note(run: &Path, mounted: &Mounted) -> Option<Note> {
    read_note(&base(run, mounted.device).with_extension("json")).filter(|note| note.is_of(mounted))
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

impl Note {
    /// Whether it is of a mount with the same device number. The kernel gives the number to another mount as soon as this
    /// one is gone, and a process that was killed leaves its note behind.
    fn is_of(&self, mounted: &Mounted) -> bool {
        if self.process.state() == ProcessState::Gone {
            return false;
        }
        if !self.source.is_empty() && self.source.as_bytes() != mounted.source {
            return false;
        }
        let same_place = self.mount_namespace == mount_namespace() && mounted.at == self.at;
        if self.mount_id == 0 || !same_place || mounted.id == self.mount_id {
            return true;
        }
        // A bind mount of it over itself is still this mount, as long as that is there.
        MountTable::read().is_ok_and(|all| all.iter().any(|m| m.id == self.mount_id && m.device == mounted.device))
    }
}

/// The mount namespace of this process, as `/proc` names it.
pub(super) fn mount_namespace() -> String {
    ProcDir::own().namespace("mnt").unwrap_or_default()
}

/// Keeps others from making and removing sockets and notes.
fn lock(run: &Path) -> io::Result<File> {
    let file = create::open_private(&run.join("mounts").join("lock"), File::options().write(true))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// The mount that a path lies in, and what its process noted.
pub fn around(run: &Path, path: &Path) -> Option<(Mounted, Note)> {
    let mounted = mountinfo::containing(path).ok().flatten().filter(Mounted::is_ours)?;
    let note = note(run, &mounted)?;
    Some((mounted, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(at: &str, id: u64, source: &str) -> Mounted {
        Mounted {
            id,
            parent: 1,
            device: (0, 50),
            root: PathBuf::from("/"),
            at: PathBuf::from(at),
            options: "rw".to_owned(),
            shared: None,
            master: None,
            kind: mountinfo::KIND.to_owned(),
            source: source.as_bytes().to_vec(),
            super_options: "rw,user_id=0".to_owned(),
        }
    }

    #[test]
    fn a_note_is_of_one_mount_and_not_of_the_next_with_its_number() {
        let note = Note {
            process: ProcessIdentity::own(),
            mount_id: 7,
            mount_namespace: mount_namespace(),
            source: "dvc:main".to_owned(),
            at: PathBuf::from("/m"),
            repository: PathBuf::from("/r"),
            overlay: None,
            revision: "main".to_owned(),
            read_only: true,
            ephemeral: false,
            mode: "writeback".to_owned(),
        };
        assert!(note.is_of(&mounted("/m", 7, "dvc:main")));
        // A bind mount of it has a number of its own.
        assert!(note.is_of(&mounted("/elsewhere", 8, "dvc:main")));
        assert!(!note.is_of(&mounted("/m", 8, "dvc:main")), "another mount at the same place");
        assert!(!note.is_of(&mounted("/m", 7, "dvc:other")), "of another version");
        let text = serde_json::to_string(&note).unwrap();
        let gone: Note = serde_json::from_str(&text.replace("\"pid\":", "\"pid\":4194304,\"was\":")).unwrap();
        assert!(!gone.is_of(&mounted("/m", 7, "dvc:main")), "its process is gone");
    }
}
