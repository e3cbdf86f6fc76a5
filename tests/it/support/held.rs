//! A `dvc` that stands still at the first word that it says: its standard error is a full pipe.
//!
//! So a test is sure that it is in the middle of something, without deciding by time.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Pid;

use super::sandbox::Run;

/// The process, and the other end of its pipe; killed when dropped.
pub struct Held {
    child: Option<Child>,
    reader: File,
    line: String,
}

impl Held {
    /// Starts a command that will stand still when it complains.
    pub fn start(c: &mut Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let (reader, mut writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        // First much, then to the last byte.
        for piece in [&[b'.'; 4096][..], b"."] {
            loop {
                match writer.write(piece) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
        fcntl_setfl(&writer, flags).unwrap();
        let line = format!("{c:?}");
        let child = c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
        c.stderr(Stdio::null());
        Self { child: Some(child), reader, line }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Kills it where it stands, with SIGKILL.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Lets it go on to its end.
    pub fn go_on(mut self) -> Run {
        let mut reader = self.reader.try_clone().unwrap();
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            reader.read_to_end(&mut said).unwrap();
            said
        });
        let mut run = Run::wait(self.line.clone(), self.child.take().unwrap());
        run.err = String::from_utf8_lossy(&said.join().unwrap()).trim_start_matches('.').to_owned();
        run
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
