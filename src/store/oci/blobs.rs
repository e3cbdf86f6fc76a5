//! Blobs of a repository: named by the SHA-256 of their bytes, uploaded as one stream, and read in
//! ranges.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc::Sender;

use super::registry::{Registry, RequestInfo};
use crate::store::http::{self, FileBody};
use crate::store::{StoreError, StoreErrorKind};

/// Number of bytes at which the gathered pieces of a stream are sent to the receiver.
const PIECE: usize = 256 << 10;

/// The content of a blob.
#[derive(Clone)]
pub(super) enum UploadSource {
    /// The first bytes of a file.
    File(Arc<File>, u64),
    Bytes(&'static [u8]),
}

impl UploadSource {
    const fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// Returns the length of a blob, if it exists.
pub(super) async fn head(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
) -> Result<Option<u64>, StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let response = registry.send(info, Method::HEAD, &url, |r| r).await?;
    match response.status() {
        StatusCode::OK => {
            let length = response
                .headers()
                .get(CONTENT_LENGTH)
                .and_then(|l| l.to_str().ok()?.parse().ok());
            let none = || {
                registry.error(
                    info,
                    StoreErrorKind::InvalidResponse,
                    "response without a length",
                )
            };
            length.ok_or_else(none).map(Some)
        }
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(registry.status_error(info, response).await),
    }
}

/// Stores a blob unless it exists with the same length. A registry may report a blob that its
/// garbage collector has removed, so one byte of an existing blob is read.
pub(super) async fn store(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
    source: UploadSource,
) -> Result<(), StoreError> {
    // The name is the digest. A blob with a different length is incomplete, so upload it again.
    match head(registry, info, name).await? {
        Some(0) if source.len() == 0 => return Ok(()),
        Some(len) if len == source.len() => match read(registry, info, name, 0, 1).await {
            Err(StoreError::Missing { .. }) => {}
            read => return read.map(drop),
        },
        _ => {}
    }
    // Send two requests, because registries may respond to a single POST with 202 and store
    // nothing.
    let begin = registry.url("blobs/uploads/");
    let response = registry
        .send(info, Method::POST, &begin, |r| r.header(CONTENT_LENGTH, 0))
        .await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(registry.status_error(info, response).await);
    }
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|l| l.to_str().ok());
    let url = location.and_then(|l| registry.resolve(response.url(), l));
    let mut url = url.ok_or_else(|| {
        registry.error(
            info,
            StoreErrorKind::InvalidResponse,
            "response without an upload URL",
        )
    })?;
    // The upload URL may already have a query that identifies the upload.
    url.query_pairs_mut()
        .append_pair("digest", &format!("sha256:{name}"));
    let taken = Arc::new(AtomicU64::new(0));
    let dress = |r: reqwest::RequestBuilder| {
        let r = r
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, source.len());
        match &source {
            UploadSource::Bytes(bytes) => r.body(*bytes),
            UploadSource::File(file, len) => {
                let body = FileBody::new(
                    Arc::clone(file),
                    *len,
                    Arc::clone(&registry.meter),
                    Arc::clone(&taken),
                );
                r.body(reqwest::Body::wrap(body))
            }
        }
    };
    // The client for uploads has no read timeout, so this function watches the progress.
    let response = tokio::select! {
        response = registry.send(info, Method::PUT, &url, dress) => response?,
        () = http::stalled(&taken) => {
            let detail = format!("no data accepted for {} s", http::STALLED.as_secs());
            return Err(registry.error(info, StoreErrorKind::TimedOut, detail));
        }
    };
    match response.status() {
        StatusCode::CREATED => Ok(()),
        // Any other success, such as 202, does not mean that the blob is stored.
        status if status.is_success() => Err(registry.error(
            info,
            StoreErrorKind::InvalidResponse,
            format!("unexpected status {status} after an upload"),
        )),
        _ => Err(registry.status_error(info, response).await),
    }
}

/// Removes a blob from the repository. Returns whether the registry supports that; if not, its own
/// garbage collector removes the blob.
pub(super) async fn delete(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
) -> Result<bool, StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let response = registry.send(info, Method::DELETE, &url, |r| r).await?;
    if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
        return Ok(true);
    }
    let refusal = registry.error_response(response).await;
    // The registry's own garbage collection removes a blob that no manifest names.
    match refusal.is_unsupported() {
        true => Ok(false),
        false => Err(registry.error(info, refusal.error_kind(), refusal.detail)),
    }
}

/// A response that contains bytes of a blob.
struct BlobResponse {
    response: Response,
    /// Number of leading bytes that were not requested.
    skip: u64,
}

/// Requests `len` bytes from `offset` on, or all bytes without `len`. Returns `None` if the blob
/// has no bytes there.
async fn open(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
    offset: u64,
    len: Option<u64>,
) -> Result<Option<BlobResponse>, StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let range = match len {
        Some(len) => Some(format!("bytes={offset}-{}", offset.saturating_add(len) - 1)),
        None => (offset > 0).then(|| format!("bytes={offset}-")),
    };
    let dress = |r: reqwest::RequestBuilder| match &range {
        Some(range) => r.header(RANGE, range),
        None => r,
    };
    let response = registry.send(info, Method::GET, &url, dress).await?;
    match response.status() {
        // RFC 9110 allows a server to ignore `Range` and to send the complete blob.
        StatusCode::OK => Ok(Some(BlobResponse {
            response,
            skip: offset,
        })),
        StatusCode::PARTIAL_CONTENT => {
            let from = response
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|r| r.to_str().ok());
            let from = from.and_then(|r| {
                r.trim()
                    .strip_prefix("bytes ")?
                    .split('-')
                    .next()?
                    .parse::<u64>()
                    .ok()
            });
            match from {
                Some(from) if from != offset => Err(registry.error(
                    info,
                    StoreErrorKind::InvalidResponse,
                    format!("response starts at byte {from}, not {offset}"),
                )),
                _ => Ok(Some(BlobResponse { response, skip: 0 })),
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
        StatusCode::NOT_FOUND => Err(StoreError::Missing {
            key: info.key.clone(),
        }),
        _ => Err(registry.status_error(info, response).await),
    }
}

/// Removes the leading bytes that were not requested.
fn skip_leading(mut piece: Bytes, skip: &mut u64) -> Bytes {
    let over = usize::try_from(*skip)
        .unwrap_or(usize::MAX)
        .min(piece.len());
    *skip -= over as u64;
    piece.split_off(over)
}

/// Reads exactly `len` bytes from `offset`.
pub(super) async fn read(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    let missing = || StoreError::Missing {
        key: info.key.clone(),
    };
    // No range header can request zero bytes.
    if len == 0 {
        let end = head(registry, info, name).await?.ok_or_else(missing)?;
        return if offset <= end {
            Ok(Vec::new())
        } else {
            Err(missing())
        };
    }
    let opened = open(registry, info, name, offset, Some(len as u64))
        .await?
        .ok_or_else(missing)?;
    let BlobResponse {
        mut response,
        mut skip,
    } = opened;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        let piece = registry
            .piece(info, &mut response)
            .await?
            .ok_or_else(missing)?;
        let piece = skip_leading(piece, &mut skip);
        out.extend_from_slice(&piece[..piece.len().min(len - out.len())]);
    }
    Ok(out)
}

/// Sends all bytes from `offset` on to a channel, followed by `None`. Ends early when the receiver
/// is gone.
pub(super) async fn stream(
    registry: &Registry,
    info: &RequestInfo,
    name: &str,
    offset: u64,
    to: &Sender<Result<Option<Bytes>, StoreError>>,
) -> Result<(), StoreError> {
    if let Some(BlobResponse {
        mut response,
        mut skip,
    }) = open(registry, info, name, offset, None).await?
    {
        // Pieces from the network are small, so gather them before waking up the receiving thread.
        let mut gathered = BytesMut::new();
        while let Some(piece) = registry.piece(info, &mut response).await? {
            gathered.extend_from_slice(&skip_leading(piece, &mut skip));
            if gathered.len() >= PIECE
                && to.send(Ok(Some(gathered.split().freeze()))).await.is_err()
            {
                return Ok(());
            }
        }
        if !gathered.is_empty() {
            // The receiver may already be gone.
            let _ = to.send(Ok(Some(gathered.freeze()))).await;
        }
    }
    // The end marker distinguishes a complete blob from a task that died.
    let _ = to.send(Ok(None)).await;
    Ok(())
}
