//! The image manifests of a repository in a registry, which protect blobs from garbage collection
//! and contain small objects.
//!
//! Every manifest contains its key in an annotation, so that no two tags share a manifest: deleting
//! a manifest removes all its tags.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::tag;
use crate::format::segment::tables::PackEntry;
use crate::model::id::to_hex;

/// Media type of all manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Limit on the length of a manifest in bytes, the limit of registries.
pub(super) const MANIFEST_MAX: usize = 4 << 20;
/// Limit on the blobs in one manifest.
pub(super) const LAYERS_MAX: usize = 1000;
/// The content of the empty blob, to which a descriptor without content refers.
pub(super) const EMPTY: &[u8] = b"{}";

const INDEX: &str = "application/vnd.dvc.index.v1";
const OBJECT: &str = "application/vnd.dvc.object.v1";
const SEGMENT_LAYER: &str = "application/vnd.dvc.segment.v1";
const PACK_LAYER: &str = "application/vnd.dvc.pack.v1";
const LIST_LAYER: &str = "application/vnd.dvc.list.v1";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const KEY: &str = "dvc.key";
const BODY: &str = "dvc.body";
const BODY64: &str = "dvc.body64";

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn new(media_type: &str, name: &str, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{name}"),
            size,
        }
    }

    fn empty() -> Self {
        Self::new(EMPTY_TYPE, &tag::sha256(EMPTY), EMPTY.len() as u64)
    }
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    fn new(artifact_type: &str, key: &str, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: Some(artifact_type.to_owned()),
            config: Descriptor::empty(),
            layers,
            annotations: BTreeMap::from([(KEY.to_owned(), key.to_owned())]),
        }
    }

    /// Returns the manifest of a small object.
    pub(super) fn of_object(key: &str, bytes: &[u8]) -> Self {
        let mut manifest = Self::new(OBJECT, key, vec![Descriptor::empty()]);
        // An annotation is text, so other bytes need an encoding.
        let (name, body) = match std::str::from_utf8(bytes) {
            Ok(text) => (BODY, text.to_owned()),
            Err(_) => (BODY64, STANDARD.encode(bytes)),
        };
        manifest.annotations.insert(name.to_owned(), body);
        manifest
    }

    /// Returns the manifest of an entry of the gc log, which protects the list of the entry.
    pub(super) fn of_entry(key: &str, bytes: &[u8], list: &str, len: u64) -> Self {
        let mut manifest = Self::of_object(key, bytes);
        manifest.layers = vec![Descriptor::new(LIST_LAYER, list, len)];
        manifest
    }

    /// Returns the manifests of a segment with their tags, in the order in which they must be
    /// written: the last one makes the segment visible.
    pub(super) fn of_segment(name: &str, len: u64, packs: &[PackEntry]) -> Vec<(String, Self)> {
        let layer = |p: &PackEntry| Descriptor::new(PACK_LAYER, &to_hex(&p.name), p.size_bytes);
        let key = format!("index/{name}");
        // One of the layers is the segment itself.
        let (with_it, others) = packs.split_at(packs.len().min(LAYERS_MAX - 1));
        let mut out = Vec::new();
        for (n, part) in others.chunks(LAYERS_MAX).enumerate() {
            // The number makes the manifest unique, because several segments may refer to the same
            // packs.
            let key = format!("{key}#{n}");
            out.push((
                tag::packs(name, n),
                Self::new(INDEX, &key, part.iter().map(layer).collect()),
            ));
        }
        let mut layers = vec![Descriptor::new(SEGMENT_LAYER, name, len)];
        layers.extend(with_it.iter().map(layer));
        out.push((tag::segment(name, len), Self::new(INDEX, &key, layers)));
        out
    }

    /// Returns the key, if dvc created the manifest.
    pub(super) fn key(&self) -> Option<&str> {
        self.annotations.get(KEY).map(String::as_str)
    }

    /// Returns the bytes of a small object.
    pub(super) fn body(&self) -> Option<Vec<u8>> {
        match self.annotations.get(BODY) {
            Some(text) => Some(text.clone().into_bytes()),
            None => STANDARD.decode(self.annotations.get(BODY64)?).ok(),
        }
    }

    /// Returns the names and lengths of the packs in the manifest.
    pub(super) fn packs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.blobs(PACK_LAYER)
    }

    /// Returns the name and the length of the list of packs in the manifest.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&str, u64)> {
        self.blobs(LIST_LAYER)
    }

    fn blobs(&self, media_type: &'static str) -> impl Iterator<Item = (&str, u64)> {
        let layers = self.layers.iter();
        layers
            .filter(move |l| l.media_type == media_type)
            .filter_map(|l| {
                Some((
                    l.digest
                        .strip_prefix("sha256:")
                        .filter(|n| tag::is_sha256(n))?,
                    l.size,
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back() {
        for bytes in [
            &b""[..],
            b"{\"a\":1}\n00ff\n",
            b"\xff\x00\xfe",
            "\u{0}\u{7f}ä".as_bytes(),
        ] {
            let manifest = Manifest::of_object("refs/x", bytes);
            let json = serde_json::to_vec(&manifest).unwrap();
            let back: Manifest = serde_json::from_slice(&json).unwrap();
            assert_eq!(back, manifest);
            assert_eq!(
                (back.key(), back.body().as_deref()),
                (Some("refs/x"), Some(bytes))
            );
        }
        assert_eq!(
            Descriptor::empty().digest,
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }

    #[test]
    fn a_segment_of_many_packs_has_several_manifests() {
        let pack = |n: u16| {
            let mut name = [0; 32];
            name[..2].copy_from_slice(&n.to_be_bytes());
            PackEntry {
                name,
                size_bytes: u64::from(n),
            }
        };
        let name = "cd".repeat(32);
        for (count, expected) in [(0, 1), (999, 1), (1000, 2), (1999, 2), (2000, 3)] {
            let packs: Vec<PackEntry> = (0..count).map(pack).collect();
            let manifests = Manifest::of_segment(&name, 5, &packs);
            assert_eq!(manifests.len(), expected);
            assert!(manifests.iter().all(|(_, m)| m.layers.len() <= LAYERS_MAX));
            assert_eq!(manifests.last().unwrap().0, tag::segment(&name, 5));
            let mut found: Vec<(String, u64)> = manifests
                .iter()
                .flat_map(|(_, m)| m.packs().map(|(n, l)| (n.to_owned(), l)))
                .collect();
            found.sort();
            assert_eq!(
                found,
                packs
                    .iter()
                    .map(|p| (to_hex(&p.name), p.size_bytes))
                    .collect::<Vec<_>>()
            );
        }
    }
}
