//! Manifests with one tag each: small objects, and the manifests that make segments visible.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::blobs::{self, UploadSource};
use super::manifest::{EMPTY, MANIFEST, MANIFEST_MAX, Manifest};
use super::registry::{Registry, RequestInfo};
use super::tag;
use crate::store::{StoreError, StoreErrorKind};

/// Time limit of storing a manifest.
// The expiry of intent locks depends on this limit (docs/decisions/0004).
const WRITE_LIMIT: Duration = Duration::from_secs(25);
/// Limit on the attempts to remove a tag.
const ATTEMPTS: u64 = 8;

/// Returns the digest of a tag's manifest, if the tag exists.
pub(super) async fn digest(
    registry: &Registry,
    info: &RequestInfo,
    tag: &str,
) -> Result<Option<String>, StoreError> {
    let url = registry.url(&format!("manifests/{tag}"));
    let response = registry
        .send(info, Method::HEAD, &url, |r| r.header(ACCEPT, MANIFEST))
        .await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(registry.status_error(info, response).await),
    }
    let digest = response
        .headers()
        .get("docker-content-digest")
        .and_then(|d| d.to_str().ok());
    if let Some(digest) = digest {
        return Ok(Some(digest.to_owned()));
    }
    // The specification does not require the header, so compute the digest from the bytes.
    let bytes = read_bytes(registry, info, tag).await?;
    Ok(bytes.map(|bytes| format!("sha256:{}", tag::sha256(&bytes))))
}

async fn read_bytes(
    registry: &Registry,
    info: &RequestInfo,
    tag: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let url = registry.url(&format!("manifests/{tag}"));
    let response = registry
        .send(info, Method::GET, &url, |r| r.header(ACCEPT, MANIFEST))
        .await?;
    match response.status() {
        StatusCode::OK => registry.body(info, response).await.map(Some),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(registry.status_error(info, response).await),
    }
}

/// Returns the manifest of a tag, if the tag exists.
pub(super) async fn read(
    registry: &Registry,
    info: &RequestInfo,
    tag: &str,
) -> Result<Option<Manifest>, StoreError> {
    let Some(bytes) = read_bytes(registry, info, tag).await? else {
        return Ok(None);
    };
    let manifest = serde_json::from_slice(&bytes);
    manifest.map(Some).map_err(|e| {
        registry.error(
            info,
            StoreErrorKind::InvalidResponse,
            format!("manifest `{tag}`: {e}"),
        )
    })
}

/// Returns the bytes of a small object, if it exists.
pub(super) async fn body(
    registry: &Registry,
    info: &RequestInfo,
) -> Result<Option<Vec<u8>>, StoreError> {
    let tag = tag::object(&info.key);
    let Some(manifest) = read(registry, info, &tag).await? else {
        return Ok(None);
    };
    let body = manifest
        .body()
        // The tag of a long key contains only a hash, so compare the key too.
        .filter(|_| manifest.key() == Some(&info.key));
    let mismatch = || {
        registry.error(
            info,
            StoreErrorKind::InvalidResponse,
            format!("manifest `{tag}` is not the requested object"),
        )
    };
    body.ok_or_else(mismatch).map(Some)
}

/// Stores a manifest under a tag. `has_empty` records whether the empty blob is known to exist.
pub(super) async fn store(
    registry: &Registry,
    info: &RequestInfo,
    tag: &str,
    manifest: &Manifest,
    has_empty: &AtomicBool,
) -> Result<(), StoreError> {
    let failed =
        |e: serde_json::Error| registry.error(info, StoreErrorKind::Refused, e.to_string());
    let bytes = bytes::Bytes::from(serde_json::to_vec(manifest).map_err(failed)?);
    if bytes.len() > MANIFEST_MAX {
        let detail = format!(
            "{} bytes are too many for a manifest (limit {MANIFEST_MAX})",
            bytes.len()
        );
        return Err(registry.error(info, StoreErrorKind::Refused, detail));
    }
    let url = registry.url(&format!("manifests/{tag}"));
    loop {
        let was_known = has_empty.load(Ordering::Relaxed);
        if !was_known {
            blobs::store(
                registry,
                info,
                &tag::sha256(EMPTY),
                UploadSource::Bytes(EMPTY),
            )
            .await?;
            has_empty.store(true, Ordering::Relaxed);
        }
        // A write that arrives late would violate the intent lock, so the request has a time limit.
        let dress = |r: reqwest::RequestBuilder| {
            r.header(CONTENT_TYPE, MANIFEST)
                .body(bytes.clone())
                .timeout(WRITE_LIMIT)
        };
        // The manifest is too small to be delayed by the rate limit.
        registry.meter.up.pass(bytes.len() as u64);
        let response = registry.send(info, Method::PUT, &url, dress).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(());
        }
        let refusal = registry.error_response(response).await;
        if !refusal.has("MANIFEST_BLOB_UNKNOWN") && !refusal.has("BLOB_UNKNOWN") {
            return Err(registry.error(info, refusal.error_kind(), refusal.detail));
        }
        if !was_known {
            let detail = format!(
                "the object refers to a pack or list that is not in the registry: {}",
                refusal.detail
            );
            return Err(registry.error(info, StoreErrorKind::Refused, detail));
        }
        // The garbage collection may have removed the empty blob.
        has_empty.store(false, Ordering::Relaxed);
    }
}

/// Removes a tag and its manifest, which has no other tags.
pub(super) async fn delete(
    registry: &Registry,
    info: &RequestInfo,
    tag: &str,
) -> Result<(), StoreError> {
    let mut attempt: u64 = 0;
    loop {
        // Delete by digest: registries may reject the deletion of a tag by name.
        let Some(bytes) = read_bytes(registry, info, tag).await? else {
            return Ok(());
        };
        let url = registry.url(&format!("manifests/sha256:{}", tag::sha256(&bytes)));
        let response = registry.send(info, Method::DELETE, &url, |r| r).await?;
        if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let refusal = registry.error_response(response).await;
        if refusal.is_unsupported() {
            let detail = format!(
                "the registry does not allow deletion (`storage.delete.enabled`): {}",
                refusal.detail
            );
            return Err(registry.error(info, StoreErrorKind::Refused, detail));
        }
        attempt += 1;
        if attempt >= ATTEMPTS {
            return Err(registry.error(info, refusal.error_kind(), refusal.detail));
        }
        // docker-registry 2.8 fails with status 500 if other clients remove tags at the same time,
        // and may leave this tag without its manifest. Such a tag cannot be removed, so store the
        // manifest again.
        let again = registry.url(&format!("manifests/{tag}"));
        let dress = |r: reqwest::RequestBuilder| {
            r.header(CONTENT_TYPE, MANIFEST)
                .body(bytes.clone())
                .timeout(WRITE_LIMIT)
        };
        registry.send(info, Method::PUT, &again, dress).await?;
        tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
    }
}
