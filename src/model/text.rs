//! Escaping of untrusted text that is shown to users.
//!
//! Names, messages, paths and errors of servers come from repositories and machines that other
//! people control. Control characters can steer the terminal, and bidirectional controls can make a
//! text look like another text.

/// Returns whether a character must not reach a terminal: control characters, characters that
/// change the direction of text, and line separators.
pub fn is_unsafe(c: char) -> bool {
    // The ranges are: Arabic letter mark, direction marks, line and paragraph separators with the
    // bidirectional controls, isolates with deprecated format characters, byte order mark,
    // interlinear annotations, tags.
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}')
}

/// Appends the escape sequence of a character, for example `\x1b` or `\u{202e}`.
pub fn push_escaped(out: &mut String, c: char) {
    let code = u32::from(c);
    out.push_str(&if code < 0x100 {
        format!("\\x{code:02x}")
    } else {
        format!("\\u{{{code:x}}}")
    });
}

/// Escapes unsafe characters except line breaks and tabs.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if is_unsafe(c) => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Escapes unsafe characters including line breaks and tabs, so that the result is one line.
pub fn harmless_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Formats a number with its noun: `1 pack`, `2 packs`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_readers_are_not_deceived() {
        assert_eq!(
            harmless("a\x1b[31mb\u{9b}c\r\u{7f}"),
            "a\\x1b[31mb\\x9bc\\x0d\\x7f"
        );
        assert_eq!(
            harmless("main\u{202e}nimda\u{2066}x\u{200f}"),
            "main\\u{202e}nimda\\u{2066}x\\u{200f}"
        );
        assert_eq!(harmless("two\nlines\tעברית 😀"), "two\nlines\tעברית 😀");
        assert_eq!(harmless_line("two\nlines\t"), "two\\nlines\\t");
    }
}
