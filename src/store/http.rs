//! Shared parts of the HTTP stores: clients, request bodies that are read from a file while they
//! are sent, and the classification of request errors.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::StoreErrorKind;
use super::meter::Meter;

/// Time limit for establishing a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit between two pieces of a response. Servers may need a while for a large object.
const SILENCE: Duration = Duration::from_secs(60);
/// An upload fails if the server neither accepts data nor responds for this time. The upload may
/// otherwise take any time, because many uploads may share a slow link.
pub(super) const STALLED: Duration = Duration::from_secs(300);
/// Limit on the number of followed redirects.
pub(super) const HOPS: usize = 10;
/// Limit on the bytes that are read of the body of an error response.
pub(super) const ERROR_BODY_MAX: usize = 64 << 10;
/// Length of the pieces in bytes in which a file is sent. Each request keeps one piece in memory.
const PIECE: usize = 256 << 10;

/// Returns the client that all stores of the process share.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    once(&CLIENT, |builder| builder.read_timeout(SILENCE))
}

/// Returns the client for bodies that may take a long time to send. The read timeout of [`client`]
/// would run while the request is sent, so this client has none; the caller must watch the progress
/// itself.
pub(super) fn uploader() -> Result<reqwest::Client, reqwest::Error> {
    static UPLOADER: OnceLock<reqwest::Client> = OnceLock::new();
    once(&UPLOADER, |builder| builder)
}

fn once(
    cell: &OnceLock<reqwest::Client>,
    limits: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, reqwest::Error> {
    if let Some(client) = cell.get() {
        return Ok(client.clone());
    }
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        // Requests are small and wait for their response, so Nagle's algorithm would only delay
        // them.
        .tcp_nodelay(true)
        .redirect(within_origin())
        // The `Referer` of the next request would reveal the query of a signed URL.
        .referer(false)
        .user_agent(concat!("dvc/", env!("CARGO_PKG_VERSION")));
    let made = limits(builder).build()?;
    // If two threads build a client at the same time, both use the one that was stored first and
    // share its connections.
    Ok(cell.get_or_init(|| made).clone())
}

/// Follows redirects only within the same scheme, host and port. When a request goes to another
/// host, reqwest removes a few headers, but not `x-amz-security-token`, `x-ms-*`, the body or a
/// signed query. Other redirects are therefore returned as they are, and `Registry` follows them
/// without secrets.
fn within_origin() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let stays = attempt
            .previous()
            .iter()
            .all(|before| before.origin() == attempt.url().origin());
        if attempt.previous().len() > HOPS {
            attempt.error("too many redirects")
        } else if stays {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

/// Returns at most the first `most` bytes of a body. A read error ends the result early and is not
/// reported.
pub(super) async fn first_bytes(response: &mut reqwest::Response, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < most
        && let Ok(Some(piece)) = response.chunk().await
    {
        out.extend_from_slice(&piece[..piece.len().min(most - out.len())]);
    }
    out
}

/// Returns a whole body of at most `most` bytes, or `None` if the body is longer.
pub(super) async fn whole_body(
    response: &mut reqwest::Response,
    most: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut out = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if out.len() + piece.len() > most {
            return Ok(None);
        }
        out.extend_from_slice(&piece);
    }
    Ok(Some(out))
}

/// A local file as the body of a request. Pieces are read while they are sent, so memory does not
/// grow with the size of the file.
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    len: u64,
    meter: Arc<Meter>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    taken: Arc<AtomicU64>,
}

impl FileBody {
    /// Returns a body of the first `len` bytes of a file. `taken` counts the pieces that were sent.
    pub(super) fn new(file: Arc<File>, len: u64, meter: Arc<Meter>, taken: Arc<AtomicU64>) -> Self {
        Self {
            file,
            at: 0,
            len,
            meter,
            pause: None,
            taken,
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.at >= self.len {
            return Poll::Ready(None);
        }
        // `PIECE` also limits a length that exceeds `usize` on a 32-bit machine.
        let piece = usize::try_from(self.len - self.at)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        let mut buffer = vec![0; piece];
        if let Err(e) = self.file.read_exact_at(&mut buffer, self.at) {
            return Poll::Ready(Some(Err(e)));
        }
        self.at += piece as u64;
        self.taken.fetch_add(1, Ordering::Relaxed);
        // The rate limit delays the next piece; this one is sent immediately.
        let wait = self.meter.up.pass(piece as u64);
        if !wait.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(wait)));
        }
        Poll::Ready(Some(Ok(Frame::data(buffer.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.len
    }

    fn size_hint(&self) -> SizeHint {
        // An exact size becomes `Content-Length`. S3 rejects a PUT without it.
        SizeHint::with_exact(self.len - self.at)
    }
}

/// Returns once no piece of a body has been sent for [`STALLED`], at the latest after twice that
/// time.
pub(super) async fn stalled(taken: &AtomicU64) {
    let mut before = None;
    loop {
        let now = taken.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        tokio::time::sleep(STALLED).await;
    }
}

/// Returns the kind of a request error, determined from the chain of its causes.
pub(super) fn error_kind_of(e: &(dyn std::error::Error + 'static)) -> StoreErrorKind {
    let mut next = Some(e);
    let mut error_kind = StoreErrorKind::Unreachable;
    while let Some(cause) = next {
        if let Some(e) = cause.downcast_ref::<reqwest::Error>()
            && e.is_timeout()
        {
            error_kind = StoreErrorKind::TimedOut;
        }
        // The errors of the resolver and of TLS have no public types, so their texts must be
        // searched.
        let text = cause.to_string().to_ascii_lowercase();
        if text.contains("dns error") || text.contains("failed to lookup address") {
            return StoreErrorKind::UnknownHost;
        }
        if text.contains("certificate") {
            return StoreErrorKind::Untrusted;
        }
        next = cause.source();
    }
    error_kind
}

/// Returns the message of the last error in a chain of causes.
pub(super) fn root_cause(e: &(dyn std::error::Error + 'static)) -> String {
    let mut last = e;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
