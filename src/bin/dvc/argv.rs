//! Removes passwords from command lines, because every user of the machine can read the command
//! line of a process.
//!
//! A password in a URL is never used (dvc-remotes(7) lists the sources of passwords), so nothing
//! is lost.

use dvc::store::location::password_in;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

/// Index of `arg_start` (field 48 in proc(5)) in `/proc/PID/stat`, counted from the field after the
/// name.
const ARG_START: usize = 45;

/// Returns a command-line word without the password of its URL; `None` if it has no password.
pub(crate) fn without_password(word: &OsStr) -> Option<OsString> {
    let bytes = word.as_bytes();
    let password = password_in(bytes)?;
    Some(OsString::from_vec(
        [&bytes[..password.start], &bytes[password.end..]].concat(),
    ))
}

/// Overwrites passwords in this process's own command line, if the kernel permits it.
pub(crate) fn hide_passwords(argv: &[OsString]) {
    // Most command lines contain no password, and then nothing is overwritten.
    if argv
        .iter()
        .all(|word| password_in(word.as_bytes()).is_none())
    {
        return;
    }
    let overwrite = || -> Option<()> {
        let shown = fs::read("/proc/self/cmdline").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program is in parentheses, and may contain parentheses itself.
        let start = stat
            .rsplit_once(')')?
            .1
            .split_ascii_whitespace()
            .nth(ARG_START)?
            .parse()
            .ok()?;
        // A write through this file needs no unsafe code.
        File::options()
            .write(true)
            .open("/proc/self/mem")
            .ok()?
            .write_all_at(&hidden(&shown), start)
            .ok()
    };
    // If the write is refused, the password stays visible, which must not stop the command.
    let _ = overwrite();
}

/// Removes passwords from NUL-terminated words, and pads the result with NULs to the old length.
fn hidden(shown: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(shown.len());
    for word in shown.split_inclusive(|b| *b == 0) {
        match password_in(word) {
            Some(password) => out.extend([&word[..password.start], &word[password.end..]].concat()),
            None => out.extend(word),
        }
    }
    // The length of the area is fixed, so the rest is filled with zeros.
    out.resize(shown.len(), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_passwords_and_nothing_else() {
        let of =
            |word: &str| without_password(OsStr::new(word)).map(|word| word.into_string().unwrap());
        assert_eq!(
            of("https://me:pw@h/r#main").as_deref(),
            Some("https://me@h/r#main")
        );
        assert_eq!(
            of("--repo=webdav://me:p:w@h:80/a:b@c").as_deref(),
            Some("--repo=webdav://me@h:80/a:b@c")
        );
        for word in [
            "https://h:80/a:b@c",
            "https://me@h/r",
            "s3://b/x?key=a:b@c",
            "AMCC@v3",
            "1:2@3",
            "u://h#a:b@v1",
        ] {
            assert_eq!(of(word), None, "{word}");
        }
        assert_eq!(
            hidden(b"dvc\0s3://a:pw@h\0x\0"),
            b"dvc\0s3://a@h\0x\0\0\0\0"
        );
    }

    #[test]
    fn the_own_command_line_is_found() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let mut fields = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_ascii_whitespace()
            .skip(ARG_START);
        let (start, end): (u64, u64) = (
            fields.next().unwrap().parse().unwrap(),
            fields.next().unwrap().parse().unwrap(),
        );
        let shown = fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(end - start, shown.len() as u64);
        let mut there = vec![0; shown.len()];
        File::open("/proc/self/mem")
            .unwrap()
            .read_exact_at(&mut there, start)
            .unwrap();
        assert_eq!(there, shown);
    }
}
