//! Classifies error responses: one table per protocol maps error codes to a [`StoreErrorKind`];
//! without a known code, the status decides.
//!
//! [`ErrorResponse::detail`] quotes the message of the store in one line, without the data
//! structures of a library.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::StoreErrorKind;

/// Limit on the characters of [`ErrorResponse::detail`].
const MESSAGE_MAX: usize = 400;

/// The protocol of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    S3,
    Azure,
    Google,
    Webdav,
    Registry,
}

/// An error response.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorResponse {
    pub(super) status: u16,
    /// Error codes, the most specific code first.
    pub(super) codes: Vec<String>,
    /// Message for people.
    pub(super) message: String,
    /// Region that the response names.
    region: Option<String>,
    /// Target of a redirect, without the query.
    target: Option<String>,
    /// Whether the request carried credentials.
    signed: bool,
    /// Whether the body is a web page.
    is_page: bool,
}

/// An error code and its meaning.
type Row = (&'static str, StoreErrorKind);

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, with the codes that
/// MinIO, Ceph and Google's XML API add.
const S3: &[Row] = &[
    ("AccessDenied", StoreErrorKind::Denied),
    ("AccountProblem", StoreErrorKind::Denied),
    ("AllAccessDisabled", StoreErrorKind::Denied),
    ("AuthorizationHeaderMalformed", StoreErrorKind::Denied),
    ("ExpiredToken", StoreErrorKind::Expired),
    ("TokenRefreshRequired", StoreErrorKind::Expired),
    ("InvalidToken", StoreErrorKind::Denied),
    ("InvalidAccessKeyId", StoreErrorKind::Denied),
    ("InvalidSecurity", StoreErrorKind::Denied),
    ("NotSignedUp", StoreErrorKind::Denied),
    ("SignatureDoesNotMatch", StoreErrorKind::Denied),
    ("UnauthorizedAccess", StoreErrorKind::Denied),
    ("KMS.DisabledException", StoreErrorKind::Denied),
    ("RequestTimeTooSkewed", StoreErrorKind::ClockSkew),
    ("RequestExpired", StoreErrorKind::ClockSkew),
    ("InvalidObjectState", StoreErrorKind::Archived),
    (
        "IllegalLocationConstraintException",
        StoreErrorKind::WrongRegion,
    ),
    ("InvalidBucketName", StoreErrorKind::NoPlace),
    ("NoSuchBucket", StoreErrorKind::NoPlace),
    ("InvalidPayer", StoreErrorKind::Billing),
    ("UserProjectMissing", StoreErrorKind::Billing),
    ("EntityTooLarge", StoreErrorKind::TooLarge),
    ("MaxMessageLengthExceeded", StoreErrorKind::TooLarge),
    ("InsufficientCapacity", StoreErrorKind::Full),
    ("InsufficientStorage", StoreErrorKind::Full),
    ("QuotaExceeded", StoreErrorKind::Full),
    ("XMinioAdminBucketQuotaExceeded", StoreErrorKind::Full),
    ("XMinioStorageFull", StoreErrorKind::Full),
    ("RequestLimitExceeded", StoreErrorKind::Overloaded),
    ("ServiceUnavailable", StoreErrorKind::Overloaded),
    ("SlowDown", StoreErrorKind::Overloaded),
    ("Throttling", StoreErrorKind::Overloaded),
    ("TooManyRequests", StoreErrorKind::Overloaded),
    ("RequestTimeout", StoreErrorKind::TimedOut),
    // S3 asks the client to try again after this code and the next one.
    ("InternalError", StoreErrorKind::Unreachable),
    ("OperationAborted", StoreErrorKind::Unreachable),
    ("MethodNotAllowed", StoreErrorKind::Refused),
    ("NotImplemented", StoreErrorKind::Refused),
];

/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
const AZURE: &[Row] = &[
    ("AccountIsDisabled", StoreErrorKind::Denied),
    ("AuthenticationFailed", StoreErrorKind::Denied),
    ("AuthorizationFailure", StoreErrorKind::Denied),
    ("AuthorizationPermissionMismatch", StoreErrorKind::Denied),
    ("BlobImmutableDueToPolicy", StoreErrorKind::Denied),
    ("InsufficientAccountPermissions", StoreErrorKind::Denied),
    ("InvalidAuthenticationInfo", StoreErrorKind::Denied),
    ("NoAuthenticationInformation", StoreErrorKind::NoCredentials),
    ("PublicAccessNotPermitted", StoreErrorKind::NoCredentials),
    ("BlobArchived", StoreErrorKind::Archived),
    ("BlobBeingRehydrated", StoreErrorKind::Archived),
    ("ContainerDisabled", StoreErrorKind::NoPlace),
    ("ContainerNotFound", StoreErrorKind::NoPlace),
    ("OutOfRangeInput", StoreErrorKind::NoPlace),
    ("ShareDisabled", StoreErrorKind::NoPlace),
    ("ShareNotFound", StoreErrorKind::NoPlace),
    ("LeaseIdMissing", StoreErrorKind::Locked),
    ("LeaseIdMismatchWithBlobOperation", StoreErrorKind::Locked),
    ("SharingViolation", StoreErrorKind::Locked),
    ("RequestBodyTooLarge", StoreErrorKind::TooLarge),
    ("InsufficientCapacity", StoreErrorKind::Full),
    ("ShareSizeLimitReached", StoreErrorKind::Full),
    ("ContainerBeingDeleted", StoreErrorKind::Overloaded),
    ("ServerBusy", StoreErrorKind::Overloaded),
    ("OperationTimedOut", StoreErrorKind::TimedOut),
    ("InternalError", StoreErrorKind::Unreachable),
];

/// <https://cloud.google.com/storage/docs/json_api/v1/status-codes>, and RFC 6749 for token
/// servers.
const GOOGLE: &[Row] = &[
    ("accountDisabled", StoreErrorKind::Denied),
    ("authError", StoreErrorKind::Denied),
    ("forbidden", StoreErrorKind::Denied),
    ("insufficientPermissions", StoreErrorKind::Denied),
    ("access_denied", StoreErrorKind::Denied),
    ("invalid_client", StoreErrorKind::Denied),
    ("invalid_grant", StoreErrorKind::Denied),
    ("unauthorized_client", StoreErrorKind::Denied),
    ("userProjectMissing", StoreErrorKind::Billing),
    ("uploadTooLarge", StoreErrorKind::TooLarge),
    ("quotaExceeded", StoreErrorKind::Full),
    ("storageQuotaExceeded", StoreErrorKind::Full),
    ("rateLimitExceeded", StoreErrorKind::Overloaded),
    ("userRateLimitExceeded", StoreErrorKind::Overloaded),
    ("backendError", StoreErrorKind::Unreachable),
    ("internalError", StoreErrorKind::Unreachable),
];

/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
const REGISTRY: &[Row] = &[
    ("TOOMANYREQUESTS", StoreErrorKind::Overloaded),
    ("DENIED", StoreErrorKind::Denied),
    ("UNAUTHORIZED", StoreErrorKind::Denied),
    // The registry has lost the upload; a new upload may succeed.
    ("BLOB_UPLOAD_UNKNOWN", StoreErrorKind::Unreachable),
    ("NAME_INVALID", StoreErrorKind::NoPlace),
    ("NAME_UNKNOWN", StoreErrorKind::NoPlace),
];

impl Dialect {
    const fn tables(self) -> &'static [&'static [Row]] {
        match self {
            Self::S3 => &[S3],
            Self::Azure => &[AZURE],
            // Requests to signed URLs go to Google's XML API, which uses the codes of S3.
            Self::Google => &[GOOGLE, S3],
            Self::Webdav => &[],
            Self::Registry => &[REGISTRY],
        }
    }
}

impl ErrorResponse {
    /// Parses a response. `body` may be truncated.
    pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8], signed: bool) -> Self {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        // A truncated body may end within a character.
        let body = String::from_utf8_lossy(body);
        let is_page = text("content-type").is_some_and(|t| t.starts_with("text/html"))
            || looks_like_page(&body);
        // The query of a redirect may contain a signature or a token.
        let target =
            text("location").map(|t| t.split(['?', '#']).next().unwrap_or_default().to_owned());
        let (mut codes, message) = match body.trim_start().chars().next() {
            Some('{') => of_json(&body),
            Some('<') if !is_page => of_xml(&body),
            // The title of a web page is its message for people.
            Some('<') => (Vec::new(), element(&body, "title").unwrap_or_default()),
            _ => (
                Vec::new(),
                body.lines().next().unwrap_or_default().to_owned(),
            ),
        };
        // A response to HEAD has no body, so Azure repeats the code in this header.
        codes.extend(text("x-ms-error-code").filter(|code| !codes.contains(code)));
        // S3 sends this header even if the body is empty or denies access.
        let region = text("x-amz-bucket-region").or_else(|| element(&body, "Region"));
        Self {
            status,
            codes,
            message: message.trim().to_owned(),
            region,
            target,
            signed,
            is_page,
        }
    }

    /// Returns whether the response contains the code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    /// Returns the kind that the codes and the message of the response determine; `None` if neither
    /// is known.
    pub(super) fn by_code(&self, dialect: Dialect) -> Option<StoreErrorKind> {
        let message = self.message.to_ascii_lowercase();
        let mentions = |words: &[&str]| words.iter().any(|w| message.contains(w));
        let of = |code: &String| {
            let row = dialect
                .tables()
                .iter()
                .flat_map(|table| table.iter())
                .find(|row| row.0 == *code);
            row.map(|row| row.1)
        };
        match self.codes.iter().find_map(of) {
            // S3 responds with this code if the request was signed for another region.
            Some(StoreErrorKind::Denied)
                if self.has("AuthorizationHeaderMalformed") && self.region.is_some() =>
            {
                Some(StoreErrorKind::WrongRegion)
            }
            // Azure and Google have no codes for these cases.
            Some(StoreErrorKind::Denied)
                if mentions(&["request date header", "reasonable timeframe", "clock"]) =>
            {
                Some(StoreErrorKind::ClockSkew)
            }
            Some(StoreErrorKind::Denied)
                if mentions(&["quota", "exceed the configured upper limit"]) =>
            {
                Some(StoreErrorKind::Full)
            }
            // Any store denies a request without credentials. The hint must name the missing
            // credentials and not wrong ones.
            Some(StoreErrorKind::Denied) if !self.signed => Some(StoreErrorKind::NoCredentials),
            // The JSON API has one code for a missing bucket and a missing object; only the message
            // differs.
            None if dialect == Dialect::Google && mentions(&["bucket does not exist"]) => {
                Some(StoreErrorKind::NoPlace)
            }
            found => found,
        }
    }

    /// Returns the kind of the error, by the code or else by the status.
    pub(super) fn error_kind(&self, dialect: Dialect) -> StoreErrorKind {
        let denied = if self.signed {
            StoreErrorKind::Denied
        } else {
            StoreErrorKind::NoCredentials
        };
        self.by_code(dialect).unwrap_or(match self.status {
            301..=308 if self.region.is_some() => StoreErrorKind::WrongRegion,
            301..=308 => StoreErrorKind::Redirected,
            401 | 403 => denied,
            // RFC 4918: a server responds with 409 if the parent collection does not exist.
            404 | 409 if dialect == Dialect::Webdav => StoreErrorKind::NoPlace,
            404 => StoreErrorKind::NoPlace,
            // A web server without WebDAV rejects all WebDAV methods.
            405 | 501 if dialect == Dialect::Webdav => StoreErrorKind::NoPlace,
            408 | 504 => StoreErrorKind::TimedOut,
            413 => StoreErrorKind::TooLarge,
            423 => StoreErrorKind::Locked,
            429 | 503 => StoreErrorKind::Overloaded,
            // 499 is nginx's status for a closed connection.
            499 | 500 | 502 => StoreErrorKind::Unreachable,
            507 => StoreErrorKind::Full,
            // RFC 6585: a login page (captive portal) intercepts the request.
            511 => StoreErrorKind::WebPage,
            200..=299 if self.is_page => StoreErrorKind::WebPage,
            _ => StoreErrorKind::Refused,
        })
    }

    /// Returns the response in one line for people.
    pub(super) fn detail(&self) -> String {
        let mut detail = match StatusCode::from_u16(self.status) {
            Ok(status) => status.to_string(),
            Err(_) => self.status.to_string(),
        };
        // The `http` crate appends this text to a status that has no registered name.
        detail.truncate(detail.trim_end_matches(" <unknown status code>").len());
        if let Some(code) = self.codes.first() {
            detail.push_str(&format!(": {code}"));
        }
        if !self.message.is_empty() && !detail.contains(&self.message) {
            detail.push_str(&format!(": {}", self.message));
        }
        // Most messages of S3 contain the region already, as `Region` or `region`.
        if let Some(region) = self
            .region
            .as_ref()
            .filter(|_| !self.message.contains("egion"))
        {
            detail.push_str(&format!("; the region is {region}"));
        }
        if let Some(target) = self
            .target
            .as_ref()
            .filter(|_| (301..=308).contains(&self.status))
        {
            detail.push_str(&format!(" to {target}"));
        }
        one_line(&detail, MESSAGE_MAX)
    }
}

/// Returns a text without line breaks and other control characters, truncated to `most` characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line: String = words
        .join(" ")
        .chars()
        // The text comes from a server, so it could contain escapes that control the terminal.
        .filter(|c| !c.is_control())
        .collect();
    if let Some((cut, _)) = line.char_indices().nth(most) {
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

/// Returns whether a text begins like a web page.
pub(super) fn looks_like_page(text: &str) -> bool {
    let begin: String = text
        .trim_start()
        .chars()
        .take(200)
        .collect::<String>()
        .to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html")
}

/// Parses `<Code>` and `<Message>` of S3 and Azure, and `<s:exception>` and `<s:message>` of WebDAV
/// servers.
fn of_xml(body: &str) -> (Vec<String>, String) {
    let code = element(body, "Code").or_else(|| element(body, "s:exception"));
    let message = element(body, "Message")
        .or_else(|| element(body, "s:message"))
        .unwrap_or_default();
    // Azure appends trace information on further lines.
    let message = message.lines().next().unwrap_or_default().to_owned();
    let detail = element(body, "AuthenticationErrorDetail").unwrap_or_default();
    let message = if detail.is_empty() {
        message
    } else {
        format!("{message} {detail}")
    };
    (
        code.into_iter().filter(|c| !c.is_empty()).collect(),
        message,
    )
}

/// Returns the text of the first element with this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let rest = &xml[xml.find(&format!("<{name}>"))? + name.len() + 2..];
    let text = &rest[..rest.find(&format!("</{name}>"))?];
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'");
    // `&amp;` comes last, because `&amp;lt;` means `&lt;` and must not become `<`.
    Some(plain.replace("&amp;", "&").trim().to_owned())
}

/// Parses `{"error": {...}}` of Google, `{"error": "..."}` of token servers, and `{"errors":
/// [...]}` of registries.
fn of_json(body: &str) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        error: serde_json::Value,
        #[serde(default)]
        error_description: String,
        #[serde(default)]
        errors: Vec<Problem>,
    }
    #[derive(Deserialize)]
    struct Problem {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: serde_json::Value,
    }
    // Without a code, the status of the response determines the kind of the error.
    let Ok(answer) = serde_json::from_str::<Answer>(body) else {
        return (Vec::new(), String::new());
    };
    if let Some(code) = answer.error.as_str() {
        return (vec![code.to_owned()], answer.error_description);
    }
    if !answer.error.is_null() {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let reasons = answer.error["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|e| text(&e["reason"]));
        return (
            reasons.collect(),
            text(&answer.error["message"]).unwrap_or_default(),
        );
    }
    let mut message = String::new();
    for (n, problem) in answer.errors.iter().enumerate() {
        // `ErrorResponse::detail` prints the first code before the message.
        let before = match n {
            0 => String::new(),
            _ => format!("; {} ", problem.code),
        };
        let detail = match &problem.detail {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(detail) => format!(" ({detail})"),
            detail => format!(" ({detail})"),
        };
        message.push_str(&format!("{before}{}{detail}", problem.message));
    }
    (
        answer
            .errors
            .into_iter()
            .map(|p| p.code)
            .filter(|c| !c.is_empty())
            .collect(),
        message,
    )
}
