//! A `dvc` process that blocks at its first message, because its standard error is a full pipe.
//!
//! A test can therefore rely on the process being in the middle of an operation, without sleeping.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Pid;

use super::sandbox::Run;

/// The process and the read end of its pipe; killed when dropped.
pub struct Held {
    child: Option<Child>,
    reader: File,
    line: String,
}

impl Held {
    /// Starts a command that blocks when it prints its first message.
    pub fn start(c: &mut Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let (reader, mut writer) = (
            File::from(OwnedFd::from(reader)),
            File::from(OwnedFd::from(writer)),
        );
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        // Fill the pipe in large pieces, and then byte by byte.
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
        let child = c
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(writer)
            .spawn()
            .unwrap();
        c.stderr(Stdio::null());
        Self {
            child: Some(child),
            reader,
            line,
        }
    }

    /// Returns the id of the process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    /// Kills the blocked process with SIGKILL.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Lets the process continue. Returns its result.
    pub fn go_on(mut self) -> Run {
        let mut reader = self.reader.try_clone().unwrap();
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            reader.read_to_end(&mut said).unwrap();
            said
        });
        let mut run = Run::wait(self.line.clone(), self.child.take().unwrap());
        run.err = String::from_utf8_lossy(&said.join().unwrap())
            .trim_start_matches('.')
            .to_owned();
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
