//! Standard output: colours, the pager, sizes and dates for people, JSON for programs.
//!
//! Text formatted with `write!` cannot control the terminal, even if it comes from a repository or
//! a server, because unsafe characters are escaped. Only `write_all` writes bytes unchanged.

use dvc::model::text::{is_unsafe, push_escaped};
use serde::Serialize;
use std::fmt::{self, Display};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// The meaning of a text, which selects its colour. The text must be clear without colours too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// A version id.
    Id,
    Branch,
    Tag,
    Added,
    Removed,
    Changed,
    Strong,
    /// Less important.
    Faint,
}

/// Standard output, or a pager.
pub(crate) struct Out {
    sink: OutSink,
    colour: bool,
}

enum OutSink {
    Stdout(BufWriter<Stdout>),
    Pager(Child, Option<BufWriter<ChildStdin>>),
}

impl Out {
    /// Returns standard output without a pager.
    pub(crate) fn plain(colour: bool) -> Self {
        Self {
            sink: OutSink::Stdout(BufWriter::with_capacity(1 << 16, io::stdout())),
            colour,
        }
    }

    /// Sends the output through a pager. `auto` selects `$PAGER`, or `less` if it is installed.
    /// There is no pager if the command is empty or `cat`, or cannot be started.
    pub(crate) fn through_pager(mut self, command: &str) -> Self {
        let command = match command {
            "auto" => match std::env::var("PAGER") {
                Ok(pager) => pager,
                Err(_) if in_path("less") => "less".to_owned(),
                Err(_) => return self,
            },
            other => other.to_owned(),
        };
        // As in git, `cat` means that no pager is used.
        if command.is_empty() || command == "cat" {
            return self;
        }
        // The command may have arguments, so a shell runs it.
        let mut pager = Command::new("sh");
        pager.arg("-c").arg(&command).stdin(Stdio::piped());
        // git sets the same options of `less`.
        if std::env::var_os("LESS").is_none() {
            pager.env("LESS", "FRX");
        }
        // Without the pager, the output goes to standard output.
        if let Ok(mut child) = pager.spawn() {
            let pipe = child.stdin.take().map(BufWriter::new);
            self.sink = OutSink::Pager(child, pipe);
        }
        self
    }

    /// Returns whether the output is coloured.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Returns the text in the colour of its meaning.
    pub(crate) fn paint(&self, paint: Paint, text: impl Display) -> String {
        if !self.colour {
            return text.to_string();
        }
        let colour = COLOURS
            .iter()
            .position(|(known, _)| *known == paint)
            .unwrap_or(0);
        format!("{}{text}{END}", mark(colour))
    }

    /// Writes one JSON object on one line, with `schema` first.
    pub(crate) fn json<T: Serialize>(&mut self, object: &T) -> io::Result<()> {
        json_to(&mut *self, &Envelope { schema: 1, object })?;
        self.write_all(b"\n")
    }

    /// Flushes the output and waits for the pager.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Drop for Out {
    /// Waits for the pager even after an error, so that the user can read the output.
    fn drop(&mut self) {
        if let OutSink::Pager(child, pipe) = &mut self.sink {
            // The pager reads until its input is closed.
            drop(pipe.take());
            let _ = child.wait();
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            OutSink::Stdout(out) => out.write(bytes),
            OutSink::Pager(_, Some(pipe)) => pipe.write(bytes),
            OutSink::Pager(_, None) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Formats a text: escapes unsafe characters, and replaces colour markers with escape
    /// sequences.
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        let safe = match text.as_str() {
            Some(literal) => painted(literal, self.colour),
            None => painted(&text.to_string(), self.colour),
        };
        self.write_all(safe.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            OutSink::Stdout(out) => out.flush(),
            OutSink::Pager(_, Some(pipe)) => pipe.flush(),
            OutSink::Pager(_, None) => Ok(()),
        }
    }
}

/// The colour of each meaning.
const COLOURS: [(Paint, &str); 8] = [
    (Paint::Id, "33"),
    (Paint::Tag, "33"),
    (Paint::Branch, "1;32"),
    (Paint::Added, "32"),
    (Paint::Removed, "31"),
    (Paint::Changed, "36"),
    (Paint::Strong, "1"),
    (Paint::Faint, "2"),
];
/// The private-use character that marks the start of the first colour until the text is written;
/// the next characters mark the others. A text from outside that contains such a character can only
/// change its own colour.
const MARK: u32 = 0x0010_ff00;
/// Marks the end of a colour.
const END: char = '\u{10ff3f}';

fn mark(colour: usize) -> char {
    u32::try_from(colour)
        .ok()
        .and_then(|colour| char::from_u32(MARK + colour))
        .unwrap_or(END)
}

/// Returns the text with escapes for unsafe characters, and with colours if `colour` is set.
fn painted(text: &str, colour: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let number = u32::from(c)
            .checked_sub(MARK)
            .and_then(|n| usize::try_from(n).ok());
        match (c, number.and_then(|n| COLOURS.get(n))) {
            ('\n' | '\t', _) => out.push(c),
            (END, _) if colour => out.push_str("\x1b[0m"),
            (END, _) => {}
            (_, Some((_, code))) if colour => out.push_str(&format!("\x1b[{code}m")),
            (_, Some(_)) => {}
            (c, None) if is_unsafe(c) => push_escaped(&mut out, c),
            (c, None) => out.push(c),
        }
    }
    out
}

/// Returns JSON in which characters that control the terminal are JSON escapes. The value is the
/// same.
pub(crate) fn harmless_json<T: Serialize>(value: &T) -> io::Result<String> {
    let mut out = Vec::new();
    json_to(&mut out, value)?;
    String::from_utf8(out).map_err(io::Error::other)
}

/// Writes JSON like [`harmless_json`], but piece by piece, because a version may list more changes
/// than fit into memory.
fn json_to(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Harmless))?)
}

/// A JSON formatter for one line, which escapes characters that control the terminal.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            // A JSON string escapes a character beyond U+FFFF as two UTF-16 units (RFC 8259).
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.write_all(format!("\\u{unit:04x}").as_bytes())?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: u8,
    #[serde(flatten)]
    object: &'a T,
}

/// Returns whether to colour the output. `always` or `never` of `--color` wins over the
/// environment, which wins over the setting (`always`, `never`, `auto`). `--color auto` ignores the
/// setting.
pub(crate) fn colour(flag: Option<&str>, setting: Option<&str>, stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    match (flag, setting) {
        (Some("always"), _) => true,
        (Some("never"), _) => false,
        _ if std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) => false,
        _ if set("CLICOLOR_FORCE") => true,
        (None, Some("always")) => true,
        (None, Some("never")) => false,
        _ => stream.is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
    }
}

/// Returns a size for people: `512 B`, `21.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scale = 1024u64;
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    // From 1023.95 on, a number would be rounded to 1024.0.
    while unit + 1 < units.len() && u128::from(bytes) * 20 >= u128::from(scale) * 20_479 {
        scale = scale.saturating_mul(1024);
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// Returns a duration for people: `1.8s`, `2m 05s`, `3h 20m`.
pub(crate) fn elapsed(time: std::time::Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match tenths {
        0..600 => format!("{}.{}s", tenths / 10, tenths % 10),
        600..36_000 => format!("{}m {:02}s", tenths / 600, tenths / 10 % 60),
        _ => format!("{}h {:02}m", tenths / 36_000, tenths / 600 % 60),
    }
}

/// Returns an age for people: `3 days ago`.
pub(crate) fn ago(secs: i64) -> String {
    let (future, secs) = (secs < 0, secs.unsigned_abs());
    let (count, unit) = match secs {
        0..90 => (secs, "second"),
        90..5_400 => ((secs + 30) / 60, "minute"),
        5_400..129_600 => ((secs + 1_800) / 3_600, "hour"),
        129_600..1_209_600 => ((secs + 43_200) / 86_400, "day"),
        1_209_600..6_048_000 => ((secs + 302_400) / 604_800, "week"),
        6_048_000..63_072_000 => ((secs + 1_314_900) / 2_629_800, "month"),
        _ => ((secs + 15_778_800) / 31_557_600, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if future {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

fn in_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn foreign_text_does_not_control_the_terminal() {
        let out = Out::plain(true);
        let name = out.paint(Paint::Branch, "a\x1b[8mb\u{202e}c");
        assert_eq!(
            painted(&format!("{name}\t\x07\n"), true),
            "\x1b[1;32ma\\x1b[8mb\\u{202e}c\x1b[0m\t\\x07\n"
        );
        assert_eq!(painted(&name, false), "a\\x1b[8mb\\u{202e}c");
        let json = harmless_json(&["\u{202e}\u{e0041}\u{9b}"]).unwrap();
        assert_eq!(json, "[\"\\u202e\\udb40\\udc41\\u009b\"]");
        assert_eq!(
            serde_json::from_str::<[String; 1]>(&json).unwrap(),
            ["\u{202e}\u{e0041}\u{9b}"]
        );
    }

    #[test]
    fn sizes() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (22_020_096, "21.0 MiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn times() {
        assert_eq!(elapsed(Duration::from_millis(1_840)), "1.8s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2m 05s");
        assert_eq!(elapsed(Duration::from_secs(12_000)), "3h 20m");
        assert_eq!(ago(1), "1 second ago");
        assert_eq!(ago(3 * 86_400), "3 days ago");
        assert_eq!(ago(-7_200), "in 2 hours");
        assert_eq!(ago(31_557_600 * 3), "3 years ago");
    }
}
