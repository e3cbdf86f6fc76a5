//! Reads lines from a pipe, with a timeout.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Approximate limit on the length of a line in bytes; the other end sends no longer lines.
const LINE_MAX: usize = 4 << 20;

/// A reader of lines.
pub(super) struct LineReader {
    file: File,
    buffer: Vec<u8>,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A line, without the newline.
    Line(String),
    /// The other end is closed, or the stream is unusable.
    End,
    /// The timeout was reached.
    Late,
}

impl LineReader {
    pub(super) const fn new(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
        }
    }

    /// Waits for the next line, for at most `limit`.
    pub(super) fn next(&mut self, limit: Duration) -> NextLine {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return NextLine::Line(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            // A line without an end must not use up the memory.
            if self.buffer.len() > LINE_MAX {
                return NextLine::End;
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return NextLine::Late;
            };
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&left)) {
                Ok(0) => return NextLine::Late,
                Err(rustix::io::Errno::INTR) => continue,
                // After an error of poll(2), the read reports the error.
                Ok(_) | Err(_) => {}
            }
            let mut piece = [0; 4096];
            match self.file.read(&mut piece) {
                Ok(0) | Err(_) => return NextLine::End,
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;

    #[test]
    fn lines_come_whole_or_not_yet() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = LineReader::new(File::from(OwnedFd::from(reader)));
        assert_eq!(lines.next(Duration::ZERO), NextLine::Late);
        writer.write_all(b"a\nb").unwrap();
        assert_eq!(
            lines.next(Duration::from_secs(5)),
            NextLine::Line("a".to_owned())
        );
        assert_eq!(lines.next(Duration::from_millis(1)), NextLine::Late);
        writer.write_all(b"c\n\n").unwrap();
        drop(writer);
        assert_eq!(
            lines.next(Duration::from_secs(5)),
            NextLine::Line("bc".to_owned())
        );
        assert_eq!(
            lines.next(Duration::from_secs(5)),
            NextLine::Line(String::new())
        );
        assert_eq!(lines.next(Duration::from_secs(5)), NextLine::End);
    }
}
