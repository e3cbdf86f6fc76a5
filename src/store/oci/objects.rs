//! Manifests with a tag each: small objects, and what makes a segment visible.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::blobs::{self, Source};
use super::manifest::{EMPTY, MANIFEST, MANIFEST_MAX, Manifest};
use super::registry::{Asked, Registry};
use super::tag;
use crate::store::{StoreError, Trouble};

/// A manifest that was not stored within this is given up.
const LIMIT: Duration = Duration::from_secs(25);
/// A removal that fails is tried so often.
const ATTEMPTS: u64 = 8;

/// The digest that a tag stands for, if it is there.
pub(super) async fn digest(registry: &Registry, asked: &Asked, tag: &str) -> Result<Option<String>, StoreError> {
    let url = registry.url(&format!("manifests/{tag}"));
    let response = registry.send(asked, Method::HEAD, &url, |r| r.header(ACCEPT, MANIFEST)).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(registry.refused(asked, response).await),
    }
    let digest = response.headers().get("docker-content-digest").and_then(|d| d.to_str().ok());
    if let Some(digest) = digest {
        return Ok(Some(digest.to_owned()));
    }
    let bytes = read_bytes(registry, asked, tag).await?;
    Ok(bytes.map(|bytes| format!("sha256:{}", tag::sha256(&bytes))))
}

async fn read_bytes(registry: &Registry, asked: &Asked, tag: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let url = registry.url(&format!("manifests/{tag}"));
    let response = registry.send(asked, Method::GET, &url, |r| r.header(ACCEPT, MANIFEST)).await?;
    match response.status() {
        StatusCode::OK => registry.body(asked, response).await.map(Some),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(registry.refused(asked, response).await),
    }
}

/// The manifest of a tag, if it is there.
pub(super) async fn read(registry: &Registry, asked: &Asked, tag: &str) -> Result<Option<Manifest>, StoreError> {
    let Some(bytes) = read_bytes(registry, asked, tag).await? else { return Ok(None) };
    let manifest = serde_json::from_slice(&bytes);
    manifest.map(Some).map_err(|e| registry.error(asked, Trouble::Nonsense, format!("manifest `{tag}`: {e}")))
}

/// The bytes of a small object, if it is there.
pub(super) async fn body(registry: &Registry, asked: &Asked) -> Result<Option<Vec<u8>>, StoreError> {
    let tag = tag::object(&asked.key);
    let Some(manifest) = read(registry, asked, &tag).await? else { return Ok(None) };
    let body = manifest.body().filter(|_| manifest.key() == Some(&asked.key));
    let foreign = || registry.error(asked, Trouble::Nonsense, format!("manifest `{tag}` is something else"));
    body.ok_or_else(foreign).map(Some)
}

/// Stores a manifest and lets a tag stand for it. `has_empty` is whether the empty blob is known to be there.
pub(super) async fn store(
    registry: &Registry,
    asked: &Asked,
    tag: &str,
    manifest: &Manifest,
    has_empty: &AtomicBool,
) -> Result<(), StoreError> {
    let failed = |e: serde_json::Error| registry.error(asked, Trouble::Refused, e.to_string());
    let bytes = bytes::Bytes::from(serde_json::to_vec(manifest).map_err(failed)?);
    if bytes.len() > MANIFEST_MAX {
        let said = format!("{} bytes are too many for a manifest, which holds {MANIFEST_MAX}", bytes.len());
        return Err(registry.error(asked, Trouble::Refused, said));
    }
    let url = registry.url(&format!("manifests/{tag}"));
    loop {
        let was_known = has_empty.load(Ordering::Relaxed);
        if !was_known {
            blobs::store(registry, asked, &tag::sha256(EMPTY), Source::Bytes(EMPTY)).await?;
            has_empty.store(true, Ordering::Relaxed);
        }
        // A late write would break the intent lock that it is done under.
        let dress = |r: reqwest::RequestBuilder| r.header(CONTENT_TYPE, MANIFEST).body(bytes.clone()).timeout(LIMIT);
        // Too small to be held back.
        registry.meter.up.pass(bytes.len() as u64);
        let response = registry.send(asked, Method::PUT, &url, dress).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(());
        }
        let refusal = registry.refusal(response).await;
        if !refusal.has("MANIFEST_BLOB_UNKNOWN") && !refusal.has("BLOB_UNKNOWN") {
            return Err(registry.error(asked, refusal.trouble(), refusal.said));
        }
        if !was_known {
            let said = format!("a pack that it speaks of is not in the registry; {}", refusal.said);
            return Err(registry.error(asked, Trouble::Refused, said));
        }
        // The empty blob may have been collected meanwhile.
        has_empty.store(false, Ordering::Relaxed);
    }
}

/// Removes a tag and its manifest, which has no other.
pub(super) async fn delete(registry: &Registry, asked: &Asked, tag: &str) -> Result<(), StoreError> {
    let mut attempt: u64 = 0;
    loop {
        let Some(bytes) = read_bytes(registry, asked, tag).await? else { return Ok(()) };
        let url = registry.url(&format!("manifests/sha256:{}", tag::sha256(&bytes)));
        let response = registry.send(asked, Method::DELETE, &url, |r| r).await?;
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let refusal = registry.refusal(response).await;
        if refusal.is_unsupported() {
            let said = format!("the registry does not allow deleting (`storage.delete.enabled`): {}", refusal.said);
            return Err(registry.error(asked, Trouble::Refused, said));
        }
        attempt += 1;
        if attempt >= ATTEMPTS {
            return Err(registry.error(asked, refusal.trouble(), refusal.said));
        }
        // docker-registry 2.8 stumbles over tags that others remove at the same time (500), and may leave this one
        // without its manifest: a name that could never be removed. So it is put again.
        let again = registry.url(&format!("manifests/{tag}"));
        let dress = |r: reqwest::RequestBuilder| r.header(CONTENT_TYPE, MANIFEST).body(bytes.clone()).timeout(LIMIT);
        registry.send(asked, Method::PUT, &again, dress).await?;
        tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
    }
}
