//! Writes roff with the `man` macros: headings, paragraphs, lists, examples.
//!
//! The input is text with inline Markdown, the result is the source of a page.

use super::inline::{escape, inline};

/// A page under construction.
pub(super) struct Roff(String);

impl Roff {
    /// Starts a page with `.TH` and the section NAME.
    pub(super) fn page(name: &str, section: u8, about: &str) -> Self {
        let title = name.to_uppercase().replace('-', "\\-");
        let version = env!("CARGO_PKG_VERSION");
        // Hyphens and justification would change the options and paths in the text.
        let mut page = Self(format!(
            ".TH {title} {section} \"\" \"dvc {version}\" \"dvc manual\"\n.ad l\n.nh\n"
        ));
        page.heading("NAME");
        page.line(&format!(
            "{} \\- {}",
            escape(name),
            inline(about.trim_end_matches('.'))
        ));
        page
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.title(".SH", &text.to_uppercase());
    }

    pub(super) fn subheading(&mut self, text: &str) {
        self.title(".SS", text);
    }

    /// Writes a title without inline markup, because titles have a font of their own.
    fn title(&mut self, request: &str, text: &str) {
        let text = escape(&text.replace(['`', '*'], "")).replace('"', "\\(dq");
        self.0.push_str(&format!("{request} \"{text}\"\n"));
    }

    /// Writes a paragraph of Markdown.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.line(&inline(text));
    }

    /// Writes a list item: a term in roff and a description in Markdown.
    pub(super) fn item(&mut self, term: &str, about: &str) {
        self.0.push_str(".TP\n");
        self.line(term);
        self.line(&inline(about));
    }

    /// Adds a line to the last item.
    pub(super) fn item_line(&mut self, about: &str) {
        self.0.push_str(".br\n");
        self.line(&inline(about));
    }

    /// Writes a list item with a mark such as `1.`.
    pub(super) fn point(&mut self, mark: &str, about: &str) {
        self.0.push_str(&format!(".IP \"{mark}\" 4\n"));
        self.line(&inline(about));
    }

    /// Writes lines verbatim.
    pub(super) fn example<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        self.0.push_str(".PP\n.in +4n\n.EX\n");
        for text in lines {
            self.line(&escape(text));
        }
        self.0.push_str(".EE\n.in\n");
    }

    /// Writes one synopsis: the command's name, and its arguments in roff.
    pub(super) fn synopsis(&mut self, name: &str, rest: &str) {
        self.0.push_str(&format!(".SY \"{}\"\n", escape(name)));
        if !rest.is_empty() {
            self.line(rest);
        }
        self.0.push_str(".YS\n");
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_bytes()
    }

    /// Writes a text line. A line that starts like a roff request is protected by `\&`.
    fn line(&mut self, text: &str) {
        if text.starts_with(['.', '\'']) {
            self.0.push_str("\\&");
        }
        self.0.push_str(text);
        self.0.push('\n');
    }
}
