//! What all HTTP stores share: the client, bodies that are read from a file while they are sent, and what an error means.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Trouble;
use super::meter::Meter;

/// Nobody waits longer for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Nobody waits longer for the next byte of an answer. A server may need a while for a large object.
const SILENCE: Duration = Duration::from_secs(60);
/// An upload ends when nothing was taken and nothing answered for so long. Otherwise it may take any time: many share a
/// slow line.
pub(super) const STALLED: Duration = Duration::from_secs(300);
/// Redirects that are followed at most.
pub(super) const HOPS: usize = 10;
/// Bytes of an error's body that are read.
pub(super) const REFUSAL_MAX: usize = 64 << 10;
/// Bytes of a file that are in memory at once for each request.
const PIECE: usize = 256 << 10;

/// The client that all stores of this process use.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    once(&CLIENT, |builder| builder.read_timeout(SILENCE))
}

/// The client for bodies that may take long to send: until the answer begins, the limit on silence of [`client`] counts
/// the time in which we are the ones who speak. Who uses this one must watch that it goes on.
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
        .tcp_nodelay(true)
        .redirect(within_origin())
        // A signed query must not become the `Referer` of the next request.
        .referer(false)
        .user_agent(concat!("dvc/", env!("CARGO_PKG_VERSION")));
    let made = limits(builder).build()?;
    Ok(cell.get_or_init(|| made).clone())
}

/// Follows redirects only where scheme, host and port stay the same. reqwest takes a few headers off a request that goes
/// to another host, but not `x-amz-security-token`, `x-ms-*`, a body or a signed query, so the answer is handed over as
/// it is instead; `Registry` follows it where nothing secret is sent.
fn within_origin() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().iter().all(|before| before.origin() == attempt.url().origin());
        if attempt.previous().len() > HOPS {
            attempt.error("too many redirects")
        } else if stays {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

/// The beginning of a body, at most `most` bytes; a body that breaks off or goes on counts as far as it came.
pub(super) async fn first_bytes(response: &mut reqwest::Response, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < most
        && let Ok(Some(piece)) = response.chunk().await
    {
        out.extend_from_slice(&piece[..piece.len().min(most - out.len())]);
    }
    out
}

/// A whole body of at most `most` bytes; `None` if it is longer.
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

/// A local file as the body of a request: pieces are read when they are sent, so that memory does not grow with files.
pub(super) struct FileBody {
    file: Arc<File>,
    at: u64,
    len: u64,
    meter: Arc<Meter>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
    taken: Arc<AtomicU64>,
}

impl FileBody {
    /// The first `len` bytes of a file; `taken` counts the pieces that went.
    pub(super) fn new(file: Arc<File>, len: u64, meter: Arc<Meter>, taken: Arc<AtomicU64>) -> Self {
        Self { file, at: 0, len, meter, pause: None, taken }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.at >= self.len {
            return Poll::Ready(None);
        }
        let piece = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(PIECE);
        let mut buffer = vec![0; piece];
        if let Err(e) = self.file.read_exact_at(&mut buffer, self.at) {
            return Poll::Ready(Some(Err(e)));
        }
        self.at += piece as u64;
        self.taken.fetch_add(1, Ordering::Relaxed);
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
        SizeHint::with_exact(self.len - self.at)
    }
}

/// Comes back when nothing was taken of a body for [`STALLED`].
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

/// What a failed request means, by the chain of its causes.
pub(super) fn trouble_of(e: &(dyn std::error::Error + 'static)) -> Trouble {
    let mut next = Some(e);
    let mut trouble = Trouble::Unreachable;
    while let Some(cause) = next {
        if let Some(e) = cause.downcast_ref::<reqwest::Error>()
            && e.is_timeout()
        {
            trouble = Trouble::TimedOut;
        }
        let text = cause.to_string().to_ascii_lowercase();
        if text.contains("dns error") || text.contains("failed to lookup address") {
            return Trouble::UnknownHost;
        }
        if text.contains("certificate") {
            return Trouble::Untrusted;
        }
        next = cause.source();
    }
    trouble
}

/// The last of a chain of causes: what really happened.
pub(super) fn root_cause(e: &(dyn std::error::Error + 'static)) -> String {
    let mut last = e;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
