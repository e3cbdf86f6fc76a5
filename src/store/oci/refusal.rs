//! Error responses of a registry: a status, and usually JSON with error codes.

use reqwest::header::HeaderMap;

use crate::store::StoreErrorKind;
use crate::store::answers::{self, Dialect};

/// An error response.
#[derive(Debug)]
pub(super) struct RegistryErrorResponse {
    response: answers::ErrorResponse,
    /// Status, codes and messages in one line.
    pub(super) detail: String,
}

impl RegistryErrorResponse {
    /// Parses a response.
    pub(super) fn new(
        status: reqwest::StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        signed: bool,
    ) -> Self {
        let response = answers::ErrorResponse::read(status.as_u16(), headers, body, signed);
        let detail = response.detail();
        Self { response, detail }
    }

    /// Returns whether the response contains the code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.response.has(code)
    }

    /// Returns whether the registry does not support the operation at all.
    pub(super) fn is_unsupported(&self) -> bool {
        self.response.status == 405 || self.has("UNSUPPORTED")
    }

    /// Returns the kind of the error.
    pub(super) fn error_kind(&self) -> StoreErrorKind {
        self.response.error_kind(Dialect::Registry)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn refusal(status: StatusCode, body: &[u8]) -> RegistryErrorResponse {
        RegistryErrorResponse::new(status, &HeaderMap::new(), body, true)
    }

    #[test]
    fn codes_say_more_than_a_status() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"not known","detail":{"name":"a/b"}}]}"#;
        let unknown = refusal(StatusCode::NOT_FOUND, body);
        assert_eq!(unknown.error_kind(), StoreErrorKind::NoPlace);
        assert_eq!(
            unknown.detail,
            r#"404 Not Found: NAME_UNKNOWN: not known ({"name":"a/b"})"#
        );
        let denied = br#"{"errors":[{"code":"DENIED"}]}"#;
        assert_eq!(
            refusal(StatusCode::NOT_FOUND, denied).error_kind(),
            StoreErrorKind::Denied
        );
        let unsupported = br#"{"errors":[{"code":"UNSUPPORTED","message":"x"}]}"#;
        assert!(refusal(StatusCode::BAD_REQUEST, unsupported).is_unsupported());
        let page = refusal(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(
            (page.error_kind(), page.detail.as_str()),
            (StoreErrorKind::Unreachable, "502 Bad Gateway")
        );
    }
}
