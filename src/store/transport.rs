//! The HTTP transport of opendal: limits the length of responses, and records error responses.
//!
//! opendal turns a response into a message with the data structures of its parser. This module
//! classifies the response itself; the waiting operation reads the result from its
//! [`OperationContext`].

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::SystemTime;

use ::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RANGE};
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use opendal::raw::Timestamp;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter};
use opendal_http_transport_reqwest::ReqwestTransport;
use parking_lot::Mutex;

use super::answers::ErrorResponse;
use super::http::{ERROR_BODY_MAX, uploader};

/// Limit in bytes on responses that are not objects, such as a page of a listing or the properties
/// of a directory.
pub(super) const RESPONSE_MAX: u64 = 64 << 20;
/// Metadata services that return credentials to the machines of a cloud. Outside of that cloud they
/// do not respond, which says nothing about the store.
const CREDENTIAL_HOSTS: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "metadata.google.internal",
    "[fd00:ec2::254]",
];
/// Query parameters that authenticate a request.
const SIGNATURES: &[&str] = &[
    "X-Amz-Signature=",
    "X-Goog-Signature=",
    "Signature=",
    "sig=",
];

tokio::task_local! {
    /// The operation of the current task.
    pub(super) static OPERATION: Arc<OperationContext>;
}

/// The limits of an operation, and the last response to its requests.
#[derive(Debug)]
pub(super) struct OperationContext {
    /// Limit on the bytes of a response to a request without a range.
    most: u64,
    response: Mutex<ResponseInfo>,
}

/// Properties of the last response.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseInfo {
    /// Set if the response came from the store and its status was not a success.
    pub(super) refusal: Option<ErrorResponse>,
    /// Whether a successful response was a web page.
    pub(super) is_page: bool,
    /// Whether the response exceeded the limit.
    pub(super) too_long: bool,
    pub(super) status: u16,
    /// The time of the server.
    pub(super) date: Option<SystemTime>,
}

impl OperationContext {
    /// Returns a context for responses of at most `most` bytes.
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            most,
            response: Mutex::default(),
        })
    }

    /// Returns the properties of the last response.
    pub(super) fn response(&self) -> ResponseInfo {
        self.response.lock().clone()
    }

    fn update(&self, update: impl FnOnce(&mut ResponseInfo)) {
        update(&mut self.response.lock());
    }
}

/// Makes opendal send all requests of this process through [`Transport`].
pub(super) fn install() -> Result<(), reqwest::Error> {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let client = uploader()?;
    INSTALLED.get_or_init(|| {
        HttpTransporter::install_default(Transport {
            inner: ReqwestTransport::new(client),
        })
    });
    Ok(())
}

struct Transport {
    inner: ReqwestTransport,
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let context = OPERATION.try_with(Arc::clone).ok();
        let update = |change: &dyn Fn(&mut ResponseInfo)| {
            if let Some(context) = &context {
                context.update(|response| change(response));
            }
        };
        // An operation may first send requests for credentials; only its last response counts.
        update(&|response| *response = ResponseInfo::default());
        let signed = is_signed(&request);
        let about_store = !request
            .uri()
            .host()
            .is_some_and(|host| CREDENTIAL_HOSTS.contains(&host));
        let range = (request.method() == Method::GET)
            .then(|| range_of(request.headers()))
            .flatten();
        let is_head = request.method() == Method::HEAD;
        let most = context
            .as_ref()
            .map_or(RESPONSE_MAX, |context| context.most);
        let (mut parts, mut body) = self.inner.fetch(request).await?.into_parts();
        if !parts.status.is_success() && parts.status != StatusCode::NOT_MODIFIED {
            // A response to HEAD has no body.
            let bytes = if is_head {
                Vec::new()
            } else {
                first_bytes(body, ERROR_BODY_MAX).await
            };
            if about_store {
                let refusal =
                    ErrorResponse::read(parts.status.as_u16(), &parts.headers, &bytes, signed);
                update(&|response| response.refusal = Some(refusal.clone()));
            }
            // The body is truncated, so the length would be wrong.
            parts.headers.remove(CONTENT_LENGTH);
            let rest = stream::iter([Ok(Buffer::from(bytes))]);
            return Ok(Response::from_parts(parts, HttpBody::new(rest, None)));
        }
        let header = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let is_page = header(CONTENT_TYPE).is_some_and(|t| t.starts_with("text/html"));
        let (status, len) = (
            parts.status.as_u16(),
            header(CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok()),
        );
        let date = header(DATE).and_then(|date| Timestamp::parse_rfc2822(date).ok());
        update(&|response| {
            (response.is_page, response.status) = (is_page, status);
            response.date = date.map(SystemTime::from);
        });
        // The length in a response to HEAD is that of the object and not of a body, so no limit
        // applies.
        if is_head {
            return Ok(Response::from_parts(parts, body));
        }
        // A server without support for ranges sends the whole object.
        let window = match range {
            Some((from, end)) if parts.status != StatusCode::PARTIAL_CONTENT => Window::Part {
                skip: from,
                left: end - from,
            },
            Some((from, end)) => Window::All { left: end - from },
            None => Window::All { left: most },
        };
        if let Window::All { left } = window
            && len.is_some_and(|len| len > left)
        {
            update(&|response| response.too_long = true);
            return Err(too_long());
        }
        let mut inner = None;
        let take = |stream| {
            inner = Some(stream);
            let nothing: Body = Box::new(stream::empty());
            nothing
        };
        body = match window {
            Window::All { .. } => body.map_inner(|stream| {
                Box::new(BoundedBody {
                    stream,
                    window,
                    context: context.clone(),
                })
            }),
            Window::Part { .. } => {
                // Only `map_inner` gives access to the stream. The part needs a body of its own,
                // because `HttpBody` compares the length with `Content-Length`.
                drop(body.map_inner(take));
                let stream = inner.unwrap_or_else(|| Box::new(stream::empty()));
                parts.headers.remove(CONTENT_LENGTH);
                HttpBody::new(
                    BoundedBody {
                        stream,
                        window,
                        context: context.clone(),
                    },
                    None,
                )
            }
        };
        Ok(Response::from_parts(parts, body))
    }
}

type Body = Box<dyn Stream<Item = opendal::Result<Buffer>> + Send + Sync + Unpin + 'static>;

fn too_long() -> Error {
    Error::new(ErrorKind::Unexpected, "response longer than requested")
}

/// The bytes of a response that are returned.
#[derive(Clone, Copy, Debug)]
enum Window {
    /// All bytes; more than `left` bytes are an error.
    All { left: u64 },
    /// A part of the bytes; the bytes after the part are not read.
    Part { skip: u64, left: u64 },
}

struct BoundedBody {
    stream: Body,
    window: Window,
    context: Option<Arc<OperationContext>>,
}

impl Stream for BoundedBody {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if matches!(self.window, Window::Part { left: 0, .. }) {
                return Poll::Ready(None);
            }
            let Some(piece) = std::task::ready!(self.stream.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            let piece = piece?;
            let len = piece.len() as u64;
            match &mut self.window {
                Window::All { left } if len > *left => {
                    if let Some(context) = &self.context {
                        context.update(|response| response.too_long = true);
                    }
                    return Poll::Ready(Some(Err(too_long())));
                }
                Window::All { left } => {
                    *left -= len;
                    return Poll::Ready(Some(Ok(piece)));
                }
                Window::Part { skip, left } => {
                    let over = (*skip).min(len);
                    *skip -= over;
                    let taken = (len - over).min(*left);
                    *left -= taken;
                    if taken > 0 {
                        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                        return Poll::Ready(Some(Ok(piece.slice(at(over)..at(over + taken)))));
                    }
                }
            }
        }
    }
}

/// Returns at most the first `most` bytes of a body. A read error ends the result early and is not
/// reported.
async fn first_bytes(body: HttpBody, most: usize) -> Vec<u8> {
    let mut inner: Option<Body> = None;
    drop(body.map_inner(|stream| {
        inner = Some(stream);
        Box::new(stream::empty())
    }));
    let mut out = Vec::new();
    let Some(mut stream) = inner else { return out };
    while out.len() < most
        && let Some(Ok(piece)) = stream.next().await
    {
        let piece: Bytes = piece.to_bytes();
        out.extend_from_slice(&piece[..piece.len().min(most - out.len())]);
    }
    out
}

/// Returns the range of a request as `from..end`, or `None` if the range is missing or open.
fn range_of(headers: &HeaderMap) -> Option<(u64, u64)> {
    let (from, last) = headers
        .get(RANGE)?
        .to_str()
        .ok()?
        .strip_prefix("bytes=")?
        .split_once('-')?;
    // The last position of an HTTP range is inclusive (RFC 9110, section 14.1.2).
    let (from, last) = (from.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    (from <= last).then_some((from, last.saturating_add(1)))
}

/// Returns whether a request carries authentication.
fn is_signed(request: &Request<Buffer>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|h| h.to_str().ok());
    header.is_some_and(|h| !is_half(h))
        || query
            .split('&')
            .any(|q| SIGNATURES.iter().any(|s| q.starts_with(s)))
}

/// Returns whether a header contains a user name without a password.
fn is_half(authorization: &str) -> bool {
    let pair = authorization
        .strip_prefix("Basic ")
        .and_then(|pair| STANDARD.decode(pair).ok());
    pair.is_some_and(|pair| pair.ends_with(b":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(window: Window, pieces: &[&'static [u8]]) -> opendal::Result<Vec<u8>> {
        let pieces: Vec<opendal::Result<Buffer>> =
            pieces.iter().map(|p| Ok(Buffer::from(*p))).collect();
        let body = BoundedBody {
            stream: Box::new(stream::iter(pieces)),
            window,
            context: None,
        };
        let mut out = Vec::new();
        for piece in futures_util::FutureExt::now_or_never(body.collect::<Vec<_>>()).unwrap() {
            out.extend(piece?.to_bytes());
        }
        Ok(out)
    }

    #[test]
    fn no_more_bytes_than_were_asked_for() {
        assert_eq!(
            bounded(Window::All { left: 4 }, &[b"ab", b"cd"]).unwrap(),
            b"abcd"
        );
        assert!(bounded(Window::All { left: 3 }, &[b"ab", b"cd"]).is_err());
        let part = Window::Part { skip: 3, left: 4 };
        assert_eq!(
            bounded(part, &[b"ab", b"cdef", b"ghij", b"more"]).unwrap(),
            b"defg"
        );
        assert_eq!(bounded(part, &[b"abcde"]).unwrap(), b"de");
    }

    #[test]
    fn ranges_of_requests() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            range_of(&headers)
        };
        assert_eq!(of("bytes=5-9"), Some((5, 10)));
        assert_eq!(of("bytes=5-"), None);
        assert_eq!(of("bytes=-5"), None);
        assert_eq!(of("bytes=9-5"), None);
    }
}
