//! Mounting with the set-user-ID program `fusermount3` (or `fusermount`), which lets users mount on
//! their own directories.
//!
//! The program opens the FUSE device and sends its descriptor through a socket.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::error::AttachError;

/// Directories to search, in order. On NixOS, only the wrapper in the first one is set-user-ID
/// root.
const DIRECTORIES: [&str; 7] = [
    "/run/wrappers/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/local/sbin",
];
/// Names of the program, newest first.
const NAMES: [&str; 2] = ["fusermount3", "fusermount"];

/// Returns the path of the program, or `None` if it is not installed.
pub fn find() -> Option<PathBuf> {
    let places = NAMES
        .iter()
        .flat_map(|name| DIRECTORIES.iter().map(move |dir| Path::new(dir).join(name)));
    let runs = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    places.into_iter().find(runs)
}

/// Mounts on `at` and returns the device. `why` is the reason why this process cannot call
/// `mount(2)`; errors include it.
pub(super) fn mount(at: &Path, options: &str, why: &str) -> Result<OwnedFd, AttachError> {
    let program = find_for(at, why)?;
    let failed = |e| AttachError::system("run", &program, e);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let spawned = {
        let mut command = command(&program);
        // Pass the socket as standard input, because passing another descriptor needs unsafe code.
        command
            .env("_FUSE_COMMFD", "0")
            .stdin(OwnedFd::from(theirs));
        command.args(["-o", options, "--"]).arg(at).spawn()
        // Dropping the command closes our copy of the program's end of the socket, so that
        // `receive` returns if the program exits without sending a descriptor.
    };
    let child = spawned.map_err(failed)?;
    let received = receive(&ours);
    let output = child.wait_with_output().map_err(failed)?;
    match received {
        Ok(device) if output.status.success() => Ok(device),
        Ok(_) | Err(None) => Err(refused("mount on", &program, at, &output, why)),
        Err(Some(e)) => Err(failed(e.into())),
    }
}

/// Unmounts `at`.
pub(super) fn unmount(at: &Path, lazy: bool) -> Result<(), AttachError> {
    let why = "umount(2) is not permitted";
    let program = find_for(at, why)?;
    let mut command = command(&program);
    command
        .arg("-u")
        .args(lazy.then_some("-z"))
        .arg("--")
        .arg(at)
        .stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|e| AttachError::system("run", &program, e))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(refused("unmount", &program, at, &output, why))
    }
}

fn find_for(at: &Path, why: &str) -> Result<PathBuf, AttachError> {
    let missing = || AttachError::NotPermitted {
        at: at.to_owned(),
        why: format!("{why}, and `fusermount3` is not installed"),
    };
    find().ok_or_else(missing)
}

/// Prepares a call of the program with an empty environment and captured error output, in a working
/// directory that always exists.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        // In a daemon, standard output is the pipe on which the caller waits for the note of the
        // mount, so the program must not write to it.
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Receives a descriptor. Fails with `None` if the program closes the socket without sending one.
fn receive(socket: &UnixStream) -> Result<OwnedFd, Option<Errno>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The program sends one byte with the descriptor, because ancillary data needs at least one
    // byte of real data (unix(7)).
    let mut byte = [0];
    loop {
        let mut into = [IoSliceMut::new(&mut byte)];
        match rustix::net::recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(e) => return Err(Some(e)),
        }
    }
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    descriptors.flatten().next().ok_or(None)
}

fn refused(
    doing: &'static str,
    program: &Path,
    at: &Path,
    output: &Output,
    why: &str,
) -> AttachError {
    let output_text = String::from_utf8_lossy(&output.stderr);
    meaning(doing, program, at, output_text.trim(), why, || {
        output.status.to_string()
    })
}

/// Converts the error output of the program into an error. The output is always in English, because
/// the program has no translations.
fn meaning(
    doing: &'static str,
    program: &Path,
    at: &Path,
    output_text: &str,
    why: &str,
    status: impl Fn() -> String,
) -> AttachError {
    let says = |words: &[&str]| words.iter().any(|w| output_text.contains(w));
    let at = at.to_owned();
    let last = output_text.lines().last().unwrap_or_default();
    // The program prefixes its lines with its name or path.
    let last = last
        .split_once(": ")
        .filter(|(name, _)| name.contains("fusermount"))
        .map_or(last, |(_, rest)| rest);
    if says(&["user_allow_other"]) {
        AttachError::AllowOther
    } else if says(&[
        "no write access to mountpoint",
        "mountpoint not owned by user",
    ]) {
        AttachError::NotOurs(at)
    } else if says(&[
        "fuse device not found",
        "failed to open /dev/fuse",
        "fuse kernel module not loaded",
    ]) {
        AttachError::NoDevice(last.to_owned())
    } else if says(&["Device or resource busy"]) {
        AttachError::InUse(at)
    } else if says(&[
        "Operation not permitted",
        "Permission denied",
        // The user id has no entry in `/etc/passwd`, as in many containers.
        "could not determine username",
    ]) {
        AttachError::NotPermitted {
            at,
            why: format!("{why}, and `{}` failed: {last}", program.display()),
        }
    } else {
        let output_text = if last.is_empty() {
            status()
        } else {
            last.to_owned()
        };
        AttachError::Refused {
            doing,
            program: program.to_owned(),
            at,
            output_text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, Kind};

    #[test]
    fn its_words_are_understood() {
        let of = |output_text: &str| {
            let program = Path::new("/usr/bin/fusermount3");
            meaning(
                "mount on",
                program,
                Path::new("/m"),
                output_text,
                "mount(2) failed",
                || "exit status: 1".to_owned(),
            )
        };
        let e = of(
            "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf",
        );
        assert!(
            e.hint()
                .unwrap()
                .contains("add a line `user_allow_other` to `/etc/fuse.conf`")
        );
        let e = of("fusermount3: user has no write access to mountpoint /m");
        assert!(matches!(e, AttachError::NotOurs(_)));
        let e = of(
            "fusermount3: fuse device /dev/fuse not found. Kernel module not loaded?\nfusermount3: fuse device not found, try 'modprobe fuse' first",
        );
        assert_eq!(
            e.to_string(),
            "FUSE is not available (`/dev/fuse`): fuse device not found, try 'modprobe fuse' first"
        );
        let e = of("fusermount3: mount failed: Operation not permitted");
        assert_eq!(
            (e.kind(), e.hint().unwrap().contains("SYS_ADMIN")),
            (Kind::Denied, true)
        );
        assert_eq!(
            of("fusermount3: could not determine username").kind(),
            Kind::Denied
        );
        let words = "cannot mount on `/m`: mount(2) failed, and `/usr/bin/fusermount3` failed: mount failed: Operation \
                     not permitted";
        assert_eq!(e.to_string(), words);
        let e = of("fusermount3: failed to unmount /m: Device or resource busy");
        assert_eq!(
            (e.kind(), e.hint().unwrap().contains("fuser -vm /m")),
            (Kind::Busy, true)
        );
        assert_eq!(
            of("").to_string(),
            "cannot mount on `/m`: `/usr/bin/fusermount3` failed: exit status: 1"
        );
        let e = of(
            "fusermount3: too many FUSE filesystems mounted; mount_max=N can be set in /etc/fuse.conf",
        );
        assert!(
            e.to_string()
                .ends_with("mount_max=N can be set in /etc/fuse.conf")
        );
    }

    #[test]
    fn nothing_is_received_from_who_sends_nothing() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(receive(&ours), Err(None)));
    }
}
