//! Blobs of a repository: named by the SHA-256 of their bytes, sent in one stream, read from any place.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc::Sender;

use super::registry::{Asked, Registry};
use crate::store::http::{self, FileBody};
use crate::store::{StoreError, Trouble};

/// Bytes that are handed over at once.
const HANDED: usize = 256 << 10;

/// Where a blob's bytes come from.
#[derive(Clone)]
pub(super) enum Source {
    /// A file of this length.
    File(Arc<File>, u64),
    /// These.
    Bytes(&'static [u8]),
}

impl Source {
    const fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// The length of a blob, if it is there.
pub(super) async fn head(registry: &Registry, asked: &Asked, name: &str) -> Result<Option<u64>, StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let response = registry.send(asked, Method::HEAD, &url, |r| r).await?;
    match response.status() {
        StatusCode::OK => {
            let length = response.headers().get(CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
            let none = || registry.error(asked, Trouble::Nonsense, "its answer holds no length");
            length.ok_or_else(none).map(Some)
        }
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(registry.refused(asked, response).await),
    }
}

/// Stores a blob unless it is there.
pub(super) async fn store(registry: &Registry, asked: &Asked, name: &str, source: Source) -> Result<(), StoreError> {
    match head(registry, asked, name).await? {
        Some(len) if len == source.len() => return Ok(()),
        _ => {}
    }
    let begin = registry.url("blobs/uploads/");
    let response = registry.send(asked, Method::POST, &begin, |r| r.header(CONTENT_LENGTH, 0)).await?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(registry.refused(asked, response).await);
    }
    let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
    let url = location.and_then(|l| registry.resolve(response.url(), l));
    let mut url = url.ok_or_else(|| registry.error(asked, Trouble::Nonsense, "it does not say where to upload to"))?;
    url.query_pairs_mut().append_pair("digest", &format!("sha256:{name}"));
    let taken = Arc::new(AtomicU64::new(0));
    let dress = |r: reqwest::RequestBuilder| {
        let r = r.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, source.len());
        match &source {
            Source::Bytes(bytes) => r.body(*bytes),
            Source::File(file, len) => {
                let body = FileBody::new(Arc::clone(file), *len, Arc::clone(&registry.meter), Arc::clone(&taken));
                r.body(reqwest::Body::wrap(body))
            }
        }
    };
    let response = tokio::select! {
        response = registry.send(asked, Method::PUT, &url, dress) => response?,
        () = http::stalled(&taken) => {
            let said = format!("nothing was taken for {} s", http::STALLED.as_secs());
            return Err(registry.error(asked, Trouble::TimedOut, said));
        }
    };
    match response.status() {
        StatusCode::CREATED => Ok(()),
        status if status.is_success() => {
            Err(registry.error(asked, Trouble::Nonsense, format!("it answered {status} to an upload")))
        }
        _ => Err(registry.refused(asked, response).await),
    }
}

/// Removes a blob from the repository, if the registry does that.
pub(super) async fn delete(registry: &Registry, asked: &Asked, name: &str) -> Result<(), StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let response = registry.send(asked, Method::DELETE, &url, |r| r).await?;
    if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
        return Ok(());
    }
    let refusal = registry.refusal(response).await;
    match refusal.is_unsupported() {
        true => Ok(()),
        false => Err(registry.error(asked, refusal.trouble(), refusal.said)),
    }
}

/// An answer with the bytes from `offset` on; `None` if there are none. The second is how many bytes come first that
/// were not asked for.
async fn open(
    registry: &Registry,
    asked: &Asked,
    name: &str,
    offset: u64,
    len: Option<u64>,
) -> Result<Option<(Response, u64)>, StoreError> {
    let url = registry.url(&format!("blobs/sha256:{name}"));
    let range = match len {
        Some(len) => Some(format!("bytes={offset}-{}", offset.saturating_add(len) - 1)),
        None => (offset > 0).then(|| format!("bytes={offset}-")),
    };
    let dress = |r: reqwest::RequestBuilder| match &range {
        Some(range) => r.header(RANGE, range),
        None => r,
    };
    let response = registry.send(asked, Method::GET, &url, dress).await?;
    match response.status() {
        StatusCode::OK => Ok(Some((response, offset))),
        StatusCode::PARTIAL_CONTENT => {
            let from = response.headers().get(CONTENT_RANGE).and_then(|r| r.to_str().ok());
            let from = from.and_then(|r| r.trim().strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
            match from {
                Some(from) if from != offset => {
                    Err(registry.error(asked, Trouble::Nonsense, format!("it sent bytes from {from}, not {offset}")))
                }
                _ => Ok(Some((response, 0))),
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
        StatusCode::NOT_FOUND => Err(StoreError::Missing { key: asked.key.clone() }),
        _ => Err(registry.refused(asked, response).await),
    }
}

/// The part of a piece that was asked for.
fn wanted(mut piece: Bytes, skip: &mut u64) -> Bytes {
    let over = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
    *skip -= over as u64;
    piece.split_off(over)
}

/// Exactly `len` bytes from `offset`.
pub(super) async fn read(
    registry: &Registry,
    asked: &Asked,
    name: &str,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, StoreError> {
    let missing = || StoreError::Missing { key: asked.key.clone() };
    if len == 0 {
        let end = head(registry, asked, name).await?.ok_or_else(missing)?;
        return if offset <= end { Ok(Vec::new()) } else { Err(missing()) };
    }
    let (mut response, mut skip) = open(registry, asked, name, offset, Some(len as u64)).await?.ok_or_else(missing)?;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        let piece = registry.piece(asked, &mut response).await?.ok_or_else(missing)?;
        let piece = wanted(piece, &mut skip);
        out.extend_from_slice(&piece[..piece.len().min(len - out.len())]);
    }
    Ok(out)
}

/// All bytes from `offset` on to the other end of a channel, then `None`. Ends early when nobody listens.
pub(super) async fn pour(
    registry: &Registry,
    asked: &Asked,
    name: &str,
    offset: u64,
    to: &Sender<Result<Option<Bytes>, StoreError>>,
) -> Result<(), StoreError> {
    if let Some((mut response, mut skip)) = open(registry, asked, name, offset, None).await? {
        // Pieces as they come from the network are small; whoever takes them is another thread.
        let mut gathered = BytesMut::new();
        while let Some(piece) = registry.piece(asked, &mut response).await? {
            gathered.extend_from_slice(&wanted(piece, &mut skip));
            if gathered.len() >= HANDED && to.send(Ok(Some(gathered.split().freeze()))).await.is_err() {
                return Ok(());
            }
        }
        if !gathered.is_empty() {
            // An error is that nobody listens.
            let _ = to.send(Ok(Some(gathered.freeze()))).await;
        }
    }
    let _ = to.send(Ok(None)).await;
    Ok(())
}
