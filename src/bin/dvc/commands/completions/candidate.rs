//! One completion, as the lookups return it and the shell scripts display it.

/// One completion of the last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The complete word, including the part that was typed.
    pub(crate) text: String,
    /// A one-line description, or empty.
    pub(crate) about: String,
    /// Whether the user continues the word, so that the shell appends no space: `--color=`, a
    /// directory.
    pub(crate) goes_on: bool,
}

impl Candidate {
    pub(crate) fn new(text: impl Into<String>, about: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            about: about.into(),
            goes_on: false,
        }
    }

    pub(crate) fn going_on(self) -> Self {
        Self {
            goes_on: true,
            ..self
        }
    }
}
