//! A store of container images in a repository of a registry: `blobs/<sha256>` and `manifests/<tag
//! or digest>`.
//!
//! Unlike [`OciStore`], this store contains images for container engines and no dvc repository. The
//! caller verifies the bytes that it reads.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::blobs::UploadSource;
use super::registry::{Registry, RequestInfo};
use super::{OciStore, blobs, io_error, tag};
use crate::store::access::Access;
use crate::store::location::Location;
use crate::store::{Abilities, ListedKey, Store, StoreError, StoreErrorKind, Take};

/// The supported media types of manifests, preferred ones first.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json, \
                     application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";
/// The owner of the official images of Docker Hub.
const HUB_LIBRARY: &str = "library";

/// The images in a repository.
pub struct ImageStore(OciStore);

/// The kind of a key.
enum ImageKey {
    Blob(String),
    Manifest(String),
}

impl ImageKey {
    fn of(key: &str) -> Result<Self, StoreError> {
        match key.split_once('/') {
            Some(("blobs", name)) if tag::is_sha256(name) => Ok(Self::Blob(name.to_owned())),
            // A slash would address another path of the registry.
            Some(("manifests", reference)) if !reference.contains('/') => {
                Ok(Self::Manifest(reference.to_owned()))
            }
            _ => Err(StoreError::Missing {
                key: key.to_owned(),
            }),
        }
    }
}

impl ImageStore {
    /// Returns the images at `location`. Sends no request.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let mut location = location.clone();
        // Docker Hub leaves it to clients to complete `debian` to `library/debian`.
        if super::HUB.contains(&location.host.as_str()) && !location.path.contains('/') {
            location.path = format!("{HUB_LIBRARY}/{}", location.path);
        }
        OciStore::open(&location, access).map(Self)
    }
}

async fn read_manifest(
    registry: &Registry,
    info: &RequestInfo,
    reference: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let url = registry.url(&format!("manifests/{reference}"));
    let response = registry
        .send(info, Method::GET, &url, |r| {
            r.header(ACCEPT, MANIFEST_TYPES)
        })
        .await?;
    match response.status() {
        StatusCode::OK => registry.body(info, response).await.map(Some),
        StatusCode::NOT_FOUND => Ok(None),
        _ => Err(registry.status_error(info, response).await),
    }
}

async fn put_manifest(
    registry: &Registry,
    info: &RequestInfo,
    reference: &str,
    bytes: Bytes,
) -> Result<(), StoreError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: String,
    }
    let kind: Kind = serde_json::from_slice(&bytes).map_err(|e| {
        registry.error(
            info,
            StoreErrorKind::Refused,
            format!("not a manifest: {e}"),
        )
    })?;
    let url = registry.url(&format!("manifests/{reference}"));
    registry.meter.up.pass(bytes.len() as u64);
    let dress =
        // Registries compare the content type with the media type in the manifest.
        |r: reqwest::RequestBuilder| r.header(CONTENT_TYPE, &kind.media_type).body(bytes.clone());
    let response = registry.send(info, Method::PUT, &url, dress).await?;
    if response.status().is_success() {
        return Ok(());
    }
    Err(registry.status_error(info, response).await)
}

impl Store for ImageStore {
    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match ImageKey::of(key)? {
            ImageKey::Manifest(reference) => self.0.run("read", key, |registry, info| async move {
                read_manifest(&registry, &info, &reference).await
            }),
            ImageKey::Blob(_) => {
                let Some(len) = self.len(key)? else {
                    return Ok(None);
                };
                // A server may state any length, so the limit is checked before the blob is read
                // into memory.
                self.0.registry.ensure_small(key, len)?;
                let len =
                    usize::try_from(len).map_err(|e| io_error("read", key)(io::Error::other(e)))?;
                self.read_at(key, 0, len).map(Some)
            }
        }
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let ImageKey::Blob(name) = ImageKey::of(key)? else {
            return Err(StoreError::Missing {
                key: key.to_owned(),
            });
        };
        self.0.run("read", key, |registry, info| async move {
            blobs::read(&registry, &info, &name, offset, len).await
        })
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let ImageKey::Blob(name) = ImageKey::of(key)? else {
            return Err(StoreError::Missing {
                key: key.to_owned(),
            });
        };
        self.0.stream_blob("read", key, name, offset, take)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        match ImageKey::of(key)? {
            ImageKey::Blob(name) => self.0.run("inspect", key, |registry, info| async move {
                blobs::head(&registry, &info, &name).await
            }),
            ImageKey::Manifest(reference) => {
                self.0.run("inspect", key, |registry, info| async move {
                    let url = registry.url(&format!("manifests/{reference}"));
                    let response = registry
                        .send(&info, Method::HEAD, &url, |r| {
                            r.header(ACCEPT, MANIFEST_TYPES)
                        })
                        .await?;
                    match response.status() {
                        StatusCode::OK => {
                            let length = response
                                .headers()
                                .get(CONTENT_LENGTH)
                                .and_then(|l| l.to_str().ok()?.parse().ok());
                            // The manifest exists even if the server does not state its length.
                            Ok(length.or(Some(0)))
                        }
                        StatusCode::NOT_FOUND => Ok(None),
                        _ => Err(registry.status_error(&info, response).await),
                    }
                })
            }
        }
    }

    /// Replaces an existing tag, because a tag is not content-addressed.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut file = tempfile::NamedTempFile::new().map_err(io_error("write", key))?;
        io::Write::write_all(&mut file, bytes).map_err(io_error("write", key))?;
        self.put(file.path(), key).map(|()| true)
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        match ImageKey::of(key)? {
            ImageKey::Blob(name) => {
                let opened =
                    File::open(file).and_then(|f| f.metadata().map(|m| (Arc::new(f), m.len())));
                let (file, len) = opened.map_err(io_error("read", key))?;
                self.0.run("write", key, |registry, info| async move {
                    blobs::store(&registry, &info, &name, UploadSource::File(file, len)).await
                })
            }
            ImageKey::Manifest(reference) => {
                let bytes = Bytes::from(std::fs::read(file).map_err(io_error("read", key))?);
                self.0.run("write", key, |registry, info| async move {
                    put_manifest(&registry, &info, &reference, bytes).await
                })
            }
        }
    }

    fn list(&self, _dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        Ok(Vec::new())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        Err(StoreError::Missing {
            key: key.to_owned(),
        })
    }
}
