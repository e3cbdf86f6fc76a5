//! The result of one check.

use crate::print::{Out, Paint};
use serde::Serialize;
use std::io::Write;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CheckState {
    /// The checked feature works.
    Ok,
    /// The checked feature does not work, but is needed.
    No,
    /// The finding is worth knowing, but not an error.
    Note,
}

/// A check and its result.
#[derive(Debug, Serialize)]
pub(super) struct DoctorCheck {
    check: &'static str,
    pub(super) state: CheckState,
    /// The finding and its cause.
    message: String,
    /// How to fix the problem, if that is known.
    hint: Option<String>,
}

impl DoctorCheck {
    pub(super) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self {
            check,
            state: CheckState::Ok,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn note(
        check: &'static str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self {
            check,
            state: CheckState::Note,
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn no(
        check: &'static str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self {
            check,
            state: CheckState::No,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Writes one line for people: `ok    device        /dev/fuse can be opened`.
    pub(super) fn write(&self, out: &mut Out) -> std::io::Result<()> {
        let (word, paint) = match self.state {
            CheckState::Ok => ("ok  ", Paint::Added),
            CheckState::No => ("no  ", Paint::Removed),
            CheckState::Note => ("note", Paint::Changed),
        };
        write!(
            out,
            "{}  {:<13}  {}",
            out.paint(paint, word),
            self.check,
            self.message
        )?;
        self.hint
            .iter()
            .try_for_each(|hint| write!(out, "; {hint}"))?;
        writeln!(out)
    }
}
