//! What a registry says when it refuses: a status, and mostly JSON with codes.

use reqwest::header::HeaderMap;

use crate::store::Trouble;
use crate::store::answers::{self, Dialect};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal {
    answer: answers::Refusal,
    /// Status, codes and messages.
    pub(super) said: String,
}

impl Refusal {
    /// Reads an answer.
    pub(super) fn new(status: reqwest::StatusCode, headers: &HeaderMap, body: &[u8], signed: bool) -> Self {
        let answer = answers::Refusal::read(status.as_u16(), headers, body, signed);
        let said = answer.said();
        Self { answer, said }
    }

    /// Whether it gave this code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.answer.has(code)
    }

    /// Whether it does not do such a thing at all.
    pub(super) fn is_unsupported(&self) -> bool {
        self.answer.status == 405 || self.has("UNSUPPORTED")
    }

    /// What it means.
    pub(super) fn trouble(&self) -> Trouble {
        self.answer.trouble(Dialect::Registry)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
        Refusal::new(status, &HeaderMap::new(), body, true)
    }

    #[test]
    fn codes_say_more_than_a_status() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"not known","detail":{"name":"a/b"}}]}"#;
        let unknown = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!(unknown.trouble(), Trouble::NoPlace);
        assert_eq!(unknown.said, r#"404 Not Found: NAME_UNKNOWN: not known ({"name":"a/b"})"#);
        let denied = br#"{"errors":[{"code":"DENIED"}]}"#;
        assert_eq!(refusal(StatusCode::NOT_FOUND, denied).trouble(), Trouble::Denied);
        let unsupported = br#"{"errors":[{"code":"UNSUPPORTED","message":"x"}]}"#;
        assert!(refusal(StatusCode::BAD_REQUEST, unsupported).is_unsupported());
        let page = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!((page.trouble(), page.said.as_str()), (Trouble::Unreachable, "502 Bad Gateway"));
    }
}
