//! Lines from a pipe, with a limit on how long they are waited for.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A line that is longer is cut off: nobody here sends one.
const LINE_MAX: usize = 4 << 20;

/// Reads lines.
pub(super) struct Lines {
    file: File,
    buffer: Vec<u8>,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(String),
    /// The other end is closed.
    End,
    /// Nothing yet.
    Late,
}

impl Lines {
    pub(super) const fn new(file: File) -> Self {
        Self { file, buffer: Vec::new() }
    }

    /// The next line, waited for at most so long.
    pub(super) fn next(&mut self, limit: Duration) -> Next {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Next::Line(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.buffer.len() > LINE_MAX {
                return Next::End;
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else { return Next::Late };
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Next::Late,
                Err(rustix::io::Errno::INTR) => continue,
                Ok(_) | Err(_) => {}
            }
            let mut piece = [0; 4096];
            match self.file.read(&mut piece) {
                Ok(0) | Err(_) => return Next::End,
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
        let mut lines = Lines::new(File::from(OwnedFd::from(reader)));
        assert_eq!(lines.next(Duration::ZERO), Next::Late);
        writer.write_all(b"a\nb").unwrap();
        assert_eq!(lines.next(Duration::from_secs(5)), Next::Line("a".to_owned()));
        assert_eq!(lines.next(Duration::from_millis(1)), Next::Late);
        writer.write_all(b"c\n\n").unwrap();
        drop(writer);
        assert_eq!(lines.next(Duration::from_secs(5)), Next::Line("bc".to_owned()));
        assert_eq!(lines.next(Duration::from_secs(5)), Next::Line(String::new()));
        assert_eq!(lines.next(Duration::from_secs(5)), Next::End);
    }
}
