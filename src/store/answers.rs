//! What the refusals of stores mean: one table from the codes and statuses of each protocol to a [`Trouble`].
//!
//! In: status, headers and the first bytes of a body. Out: a trouble, and one line that quotes the store. The line holds
//! what the store wrote for people, never the structures of a library.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::Trouble;

/// Characters of a store's message that are shown.
const SAID_MAX: usize = 400;

/// Which protocol an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    S3,
    Azure,
    Google,
    Webdav,
    Registry,
}

/// An answer that is no success.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The codes by which the store names the reason, the most telling one first.
    pub(super) codes: Vec<String>,
    /// What it wrote for people.
    pub(super) message: String,
    /// The region that it names.
    region: Option<String>,
    /// Where it redirects to, without the query.
    target: Option<String>,
    /// Whether the request carried credentials.
    signed: bool,
    /// Whether it is a web page.
    is_page: bool,
}

/// What a code means in a protocol.
type Row = (&'static str, Trouble);

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, and what MinIO, Ceph and Google's XML API add.
const S3: &[Row] = &[
    ("AccessDenied", Trouble::Denied),
    ("AccountProblem", Trouble::Denied),
    ("AllAccessDisabled", Trouble::Denied),
    ("AuthorizationHeaderMalformed", Trouble::Denied),
    ("ExpiredToken", Trouble::Expired),
    ("TokenRefreshRequired", Trouble::Expired),
    ("InvalidToken", Trouble::Denied),
    ("InvalidAccessKeyId", Trouble::Denied),
    ("InvalidSecurity", Trouble::Denied),
    ("NotSignedUp", Trouble::Denied),
    ("SignatureDoesNotMatch", Trouble::Denied),
    ("UnauthorizedAccess", Trouble::Denied),
    ("KMS.DisabledException", Trouble::Denied),
    ("RequestTimeTooSkewed", Trouble::ClockSkew),
    ("RequestExpired", Trouble::ClockSkew),
    ("InvalidObjectState", Trouble::Archived),
    ("IllegalLocationConstraintException", Trouble::WrongRegion),
    ("InvalidBucketName", Trouble::NoPlace),
    ("NoSuchBucket", Trouble::NoPlace),
    ("InvalidPayer", Trouble::Billing),
    ("UserProjectMissing", Trouble::Billing),
    ("EntityTooLarge", Trouble::TooLarge),
    ("MaxMessageLengthExceeded", Trouble::TooLarge),
    ("InsufficientCapacity", Trouble::Full),
    ("InsufficientStorage", Trouble::Full),
    ("QuotaExceeded", Trouble::Full),
    ("XMinioAdminBucketQuotaExceeded", Trouble::Full),
    ("XMinioStorageFull", Trouble::Full),
    ("RequestLimitExceeded", Trouble::Overloaded),
    ("ServiceUnavailable", Trouble::Overloaded),
    ("SlowDown", Trouble::Overloaded),
    ("Throttling", Trouble::Overloaded),
    ("TooManyRequests", Trouble::Overloaded),
    ("RequestTimeout", Trouble::TimedOut),
    ("InternalError", Trouble::Unreachable),
    ("OperationAborted", Trouble::Unreachable),
    ("MethodNotAllowed", Trouble::Refused),
    ("NotImplemented", Trouble::Refused),
];

/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
const AZURE: &[Row] = &[
    ("AccountIsDisabled", Trouble::Denied),
    ("AuthenticationFailed", Trouble::Denied),
    ("AuthorizationFailure", Trouble::Denied),
    ("AuthorizationPermissionMismatch", Trouble::Denied),
    ("BlobImmutableDueToPolicy", Trouble::Denied),
    ("InsufficientAccountPermissions", Trouble::Denied),
    ("InvalidAuthenticationInfo", Trouble::Denied),
    ("NoAuthenticationInformation", Trouble::NoCredentials),
    ("PublicAccessNotPermitted", Trouble::NoCredentials),
    ("BlobArchived", Trouble::Archived),
    ("BlobBeingRehydrated", Trouble::Archived),
    ("ContainerDisabled", Trouble::NoPlace),
    ("ContainerNotFound", Trouble::NoPlace),
    ("OutOfRangeInput", Trouble::NoPlace),
    ("ShareDisabled", Trouble::NoPlace),
    ("ShareNotFound", Trouble::NoPlace),
    ("LeaseIdMissing", Trouble::Locked),
    ("LeaseIdMismatchWithBlobOperation", Trouble::Locked),
    ("SharingViolation", Trouble::Locked),
    ("RequestBodyTooLarge", Trouble::TooLarge),
    ("InsufficientCapacity", Trouble::Full),
    ("ShareSizeLimitReached", Trouble::Full),
    ("ContainerBeingDeleted", Trouble::Overloaded),
    ("ServerBusy", Trouble::Overloaded),
    ("OperationTimedOut", Trouble::TimedOut),
    ("InternalError", Trouble::Unreachable),
];

/// <https://cloud.google.com/storage/docs/json_api/v1/status-codes>, and RFC 6749 for the server of tokens.
const GOOGLE: &[Row] = &[
    ("accountDisabled", Trouble::Denied),
    ("authError", Trouble::Denied),
    ("forbidden", Trouble::Denied),
    ("insufficientPermissions", Trouble::Denied),
    ("access_denied", Trouble::Denied),
    ("invalid_client", Trouble::Denied),
    ("invalid_grant", Trouble::Denied),
    ("unauthorized_client", Trouble::Denied),
    ("userProjectMissing", Trouble::Billing),
    ("uploadTooLarge", Trouble::TooLarge),
    ("quotaExceeded", Trouble::Full),
    ("storageQuotaExceeded", Trouble::Full),
    ("rateLimitExceeded", Trouble::Overloaded),
    ("userRateLimitExceeded", Trouble::Overloaded),
    ("backendError", Trouble::Unreachable),
    ("internalError", Trouble::Unreachable),
];

/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
const REGISTRY: &[Row] = &[
    ("TOOMANYREQUESTS", Trouble::Overloaded),
    ("DENIED", Trouble::Denied),
    ("UNAUTHORIZED", Trouble::Denied),
    // It forgot the upload; a new one may do better.
    ("BLOB_UPLOAD_UNKNOWN", Trouble::Unreachable),
    ("NAME_INVALID", Trouble::NoPlace),
    ("NAME_UNKNOWN", Trouble::NoPlace),
];

impl Dialect {
    const fn tables(self) -> &'static [&'static [Row]] {
        match self {
            Self::S3 => &[S3],
            Self::Azure => &[AZURE],
            // Signed URLs of Google are answered by its XML API, which speaks like S3.
            Self::Google => &[GOOGLE, S3],
            Self::Webdav => &[],
            Self::Registry => &[REGISTRY],
        }
    }
}

impl Refusal {
    /// Reads an answer; `body` may be cut off.
    pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8], signed: bool) -> Self {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = String::from_utf8_lossy(body);
        let is_page = text("content-type").is_some_and(|t| t.starts_with("text/html")) || looks_like_page(&body);
        let target = text("location").map(|t| t.split(['?', '#']).next().unwrap_or_default().to_owned());
        let (mut codes, message) = match body.trim_start().chars().next() {
            Some('{') => of_json(&body),
            Some('<') if !is_page => of_xml(&body),
            // A page has a title, for people.
            Some('<') => (Vec::new(), element(&body, "title").unwrap_or_default()),
            _ => (Vec::new(), body.lines().next().unwrap_or_default().to_owned()),
        };
        codes.extend(text("x-ms-error-code").filter(|code| !codes.contains(code)));
        let region = text("x-amz-bucket-region").or_else(|| element(&body, "Region"));
        Self { status, codes, message: message.trim().to_owned(), region, target, signed, is_page }
    }

    /// Whether it gave this code.
    pub(super) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    /// What a code of it means.
    pub(super) fn by_code(&self, dialect: Dialect) -> Option<Trouble> {
        let message = self.message.to_ascii_lowercase();
        let tells = |words: &[&str]| words.iter().any(|w| message.contains(w));
        let of = |code: &String| {
            let row = dialect.tables().iter().flat_map(|table| table.iter()).find(|row| row.0 == *code);
            row.map(|row| row.1)
        };
        match self.codes.iter().find_map(of) {
            // S3 answers so to a request that was signed for another region.
            Some(Trouble::Denied) if self.has("AuthorizationHeaderMalformed") && self.region.is_some() => {
                Some(Trouble::WrongRegion)
            }
            // Azure and Google have no code of their own for these.
            Some(Trouble::Denied) if tells(&["request date header", "reasonable timeframe", "clock"]) => {
                Some(Trouble::ClockSkew)
            }
            Some(Trouble::Denied) if tells(&["quota", "exceed the configured upper limit"]) => Some(Trouble::Full),
            Some(Trouble::Denied) if !self.signed => Some(Trouble::NoCredentials),
            None if dialect == Dialect::Google && tells(&["bucket does not exist"]) => Some(Trouble::NoPlace),
            found => found,
        }
    }

    /// What it means.
    pub(super) fn trouble(&self, dialect: Dialect) -> Trouble {
        let denied = if self.signed { Trouble::Denied } else { Trouble::NoCredentials };
        self.by_code(dialect).unwrap_or(match self.status {
            301..=308 if self.region.is_some() => Trouble::WrongRegion,
            301..=308 => Trouble::Redirected,
            401 | 403 => denied,
            404 | 409 if dialect == Dialect::Webdav => Trouble::NoPlace,
            404 => Trouble::NoPlace,
            // A web server without WebDAV knows none of its methods.
            405 | 501 if dialect == Dialect::Webdav => Trouble::NoPlace,
            408 | 504 => Trouble::TimedOut,
            413 => Trouble::TooLarge,
            423 => Trouble::Locked,
            429 | 503 => Trouble::Overloaded,
            499 | 500 | 502 => Trouble::Unreachable,
            507 => Trouble::Full,
            511 => Trouble::WebPage,
            200..=299 if self.is_page => Trouble::WebPage,
            _ => Trouble::Refused,
        })
    }

    /// The answer on one line, as far as it is meant for people.
    pub(super) fn said(&self) -> String {
        let mut said = match StatusCode::from_u16(self.status) {
            Ok(status) => status.to_string(),
            Err(_) => self.status.to_string(),
        };
        said.truncate(said.trim_end_matches(" <unknown status code>").len());
        if let Some(code) = self.codes.first() {
            said.push_str(&format!(": {code}"));
        }
        if !self.message.is_empty() && !said.contains(&self.message) {
            said.push_str(&format!(": {}", self.message));
        }
        if let Some(region) = self.region.as_ref().filter(|_| !self.message.contains("egion")) {
            said.push_str(&format!("; its region is {region}"));
        }
        if let Some(target) = self.target.as_ref().filter(|_| (301..=308).contains(&self.status)) {
            said.push_str(&format!(" to {target}"));
        }
        one_line(&said, SAID_MAX)
    }
}

/// A text without line breaks and other control characters, cut off where it is too long.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    if let Some((cut, _)) = line.char_indices().nth(most) {
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

/// Whether bytes begin as a web page does.
pub(super) fn looks_like_page(text: &str) -> bool {
    let begin: String = text.trim_start().chars().take(200).collect::<String>().to_ascii_lowercase();
    begin.starts_with("<!doctype html") || begin.starts_with("<html")
}

/// `<Code>` and `<Message>` of S3 and Azure, `<s:exception>` and `<s:message>` of WebDAV servers.
fn of_xml(body: &str) -> (Vec<String>, String) {
    let code = element(body, "Code").or_else(|| element(body, "s:exception"));
    let message = element(body, "Message").or_else(|| element(body, "s:message")).unwrap_or_default();
    // Azure adds its trace on further lines.
    let message = message.lines().next().unwrap_or_default().to_owned();
    let detail = element(body, "AuthenticationErrorDetail").unwrap_or_default();
    let message = if detail.is_empty() { message } else { format!("{message} {detail}") };
    (code.into_iter().filter(|c| !c.is_empty()).collect(), message)
}

/// The text of the first element of that name.
fn element(xml: &str, name: &str) -> Option<String> {
    let rest = &xml[xml.find(&format!("<{name}>"))? + name.len() + 2..];
    let text = &rest[..rest.find(&format!("</{name}>"))?];
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&").trim().to_owned())
}

/// `{"error": {...}}` of Google, `{"error": "..."}` of a server of tokens, `{"errors": [...]}` of a registry.
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
    let Ok(answer) = serde_json::from_str::<Answer>(body) else { return (Vec::new(), String::new()) };
    if let Some(code) = answer.error.as_str() {
        return (vec![code.to_owned()], answer.error_description);
    }
    if !answer.error.is_null() {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let reasons = answer.error["errors"].as_array().into_iter().flatten().filter_map(|e| text(&e["reason"]));
        return (reasons.collect(), text(&answer.error["message"]).unwrap_or_default());
    }
    let mut message = String::new();
    for (n, problem) in answer.errors.iter().enumerate() {
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
    (answer.errors.into_iter().map(|p| p.code).filter(|c| !c.is_empty()).collect(), message)
}
