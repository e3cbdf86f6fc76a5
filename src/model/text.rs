//! Text from outside for people: which characters must not reach a terminal, and what is shown in their place.
//!
//! Names, messages, paths and errors of servers come from repositories and machines that others control. Control characters
//! steer the terminal; bidirectional controls make a text read as another one.

/// Whether a character must not reach a terminal: it is a control character, changes the direction of text, or breaks a line.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}')
}

/// Appends the escape of a character: `\x1b`, `\u{202e}`.
pub fn push_escaped(out: &mut String, c: char) {
    let code = u32::from(c);
    out.push_str(&if code < 0x100 { format!("\\x{code:02x}") } else { format!("\\u{{{code:x}}}") });
}

/// The text with unsafe characters escaped; line breaks and tabs stay.
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

/// The text on one line: line breaks and tabs are escaped as well.
pub fn harmless_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// `1 pack`, `2 packs`.
pub fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_readers_are_not_deceived() {
        assert_eq!(harmless("a\x1b[31mb\u{9b}c\r\u{7f}"), "a\\x1b[31mb\\x9bc\\x0d\\x7f");
        assert_eq!(harmless("main\u{202e}nimda\u{2066}x\u{200f}"), "main\\u{202e}nimda\\u{2066}x\\u{200f}");
        assert_eq!(harmless("two\nlines\tעברית 😀"), "two\nlines\tעברית 😀");
        assert_eq!(harmless_line("two\nlines\t"), "two\\nlines\\t");
    }
}
