//! What a registry says when it refuses: a status, and mostly JSON with codes.

use serde::Deserialize;

use crate::store::{Trouble, http};

/// Nobody reads more of a message.
const SAID_MAX: usize = 400;

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    codes: Vec<String>,
    /// Status, codes and messages.
    pub(super) said: String,
}

#[derive(Deserialize)]
struct Answer {
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: serde_json::Value,
}

impl Refusal {
    /// Reads an answer.
    pub(super) fn new(status: reqwest::StatusCode, body: &[u8]) -> Self {
        let problems = serde_json::from_slice::<Answer>(body).map(|a| a.errors).unwrap_or_default();
        let mut said = status.to_string();
        for problem in &problems {
            said.push_str(&format!(": {} {}", problem.code, problem.message));
            match &problem.detail {
                serde_json::Value::Null => {}
                serde_json::Value::String(detail) => said.push_str(&format!(" ({detail})")),
                detail => said.push_str(&format!(" ({detail})")),
            }
        }
        if let Some((cut, _)) = said.char_indices().nth(SAID_MAX) {
            said.truncate(cut);
            said.push_str("...");
        }
        Self { status: status.as_u16(), codes: problems.into_iter().map(|p| p.code).collect(), said }
    }

    /// Whether it gave this code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    /// Whether it does not do such a thing at all.
    pub(super) fn is_unsupported(&self) -> bool {
        self.status == 405 || self.has("UNSUPPORTED")
    }

    /// What it means.
    pub(super) fn trouble(&self) -> Trouble {
        if self.has("TOOMANYREQUESTS") {
            Trouble::Overloaded
        } else if self.has("DENIED") || self.has("UNAUTHORIZED") {
            Trouble::Denied
        } else if self.has("BLOB_UPLOAD_UNKNOWN") {
            // It forgot the upload; a new one may do better.
            Trouble::Unreachable
        } else if self.status == 404 && self.has("NAME_UNKNOWN") {
            Trouble::NoPlace
        } else {
            http::trouble_of_status(self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn codes_say_more_than_a_status() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"not known","detail":{"name":"a/b"}}]}"#;
        let refusal = Refusal::new(StatusCode::NOT_FOUND, body);
        assert_eq!(refusal.trouble(), Trouble::NoPlace);
        assert_eq!(refusal.said, r#"404 Not Found: NAME_UNKNOWN not known ({"name":"a/b"})"#);
        let denied = br#"{"errors":[{"code":"DENIED"}]}"#;
        assert_eq!(Refusal::new(StatusCode::NOT_FOUND, denied).trouble(), Trouble::Denied);
        let unsupported = br#"{"errors":[{"code":"UNSUPPORTED","message":"x"}]}"#;
        assert!(Refusal::new(StatusCode::BAD_REQUEST, unsupported).is_unsupported());
        let page = Refusal::new(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((page.trouble(), page.said.as_str()), (Trouble::Unreachable, "502 Bad Gateway"));
    }
}
