//! The JSON documents of container images, in OCI image layouts, `docker save` archives and
//! registries.
//!
//! This module only encodes and decodes; it fetches and stores nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::codec::hash::NameHasher;
use crate::model::id::to_hex;

/// Media type of the manifest of an image.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's image index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a layer that is compressed by gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Limit on the length of a JSON document in bytes.
pub const JSON_MAX: u64 = 16 << 20;
/// Name and content of the file that marks an OCI image layout.
pub const LAYOUT: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
/// Label with the directory that contains the files of a commit.
pub const PREFIX_LABEL: &str = "dvc.prefix";

/// The platform that an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH value.
    pub architecture: String,
    /// GOOS value.
    pub os: String,
}

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobDescriptor {
    #[serde(default)]
    pub media_type: String,
    /// `sha256:` followed by the hash in hex.
    pub digest: String,
    /// Length of the blob in bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl BlobDescriptor {
    /// Returns the descriptor of a blob with the hash `name`.
    pub fn new(media_type: &str, name: &str, size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), format!("sha256:{name}"));
        Self {
            media_type,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the SHA-256 hash of the blob. Other digest algorithms are not supported.
    pub fn name(&self) -> Result<&str, ArchiveError> {
        sha256_of(&self.digest)
    }
}

/// Returns the hash of a SHA-256 digest.
pub fn sha256_of(digest: &str) -> Result<&str, ArchiveError> {
    // The hash becomes part of paths and URLs, so only hex digits are accepted.
    let plain =
        |n: &&str| n.len() == 64 && n.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let bad = || ArchiveError::damaged(digest.escape_debug().to_string(), "not a SHA-256 digest");
    digest.strip_prefix("sha256:").filter(plain).ok_or_else(bad)
}

/// The manifest of an image, or an image index, which lists manifests for several platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Descriptor of the image configuration; absent in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<BlobDescriptor>,
    /// Layers, the lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<BlobDescriptor>,
    /// Manifests of an index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<BlobDescriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageManifest {
    /// Parses the manifest of an image or an image index.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, ArchiveError> {
        let manifest: Self = parse(bytes, what)?;
        match manifest.schema_version {
            2 => Ok(manifest),
            1 => Err(ArchiveError::refused(
                what,
                "image manifest schema 1 is not supported",
            )),
            _ => Err(ArchiveError::damaged(what, "not an image manifest")),
        }
    }

    /// Returns whether this is an image index.
    pub fn is_list(&self) -> bool {
        self.config.is_none()
    }

    /// Returns the only image of the index, even if the image is for another platform, or else the
    /// image for the platform of this machine. Attestations do not count.
    pub fn for_this_machine(&self, what: &str) -> Result<&BlobDescriptor, ArchiveError> {
        // BuildKit adds attestations as manifests for the platform `unknown/unknown`.
        let known = |d: &&BlobDescriptor| d.platform.as_ref().is_some_and(|p| p.os != "unknown");
        let images: Vec<&BlobDescriptor> = self
            .manifests
            .iter()
            .filter(|d| d.platform.is_none() || known(d))
            .collect();
        if let [only] = images.as_slice() {
            return Ok(only);
        }
        let mine = |d: &&&BlobDescriptor| {
            d.platform
                .as_ref()
                .is_some_and(|p| p.os == "linux" && p.architecture == architecture())
        };
        images.iter().find(mine).copied().ok_or_else(|| {
            let all = images.iter().filter_map(|d| d.platform.as_ref());
            let all: Vec<String> = all
                .map(|p| format!("{}/{}", p.os, p.architecture))
                .collect();
            let why = format!(
                "no image for linux/{}, only for {}",
                architecture(),
                all.join(", ")
            );
            ArchiveError::refused(what, why)
        })
    }

    /// Fails if a layer does not contain files, because then this is not a container image.
    pub fn check_layers(&self, what: &str) -> Result<(), ArchiveError> {
        let files = |l: &&BlobDescriptor| {
            l.media_type.is_empty()
                || l.media_type.contains(".layer.")
                || l.media_type.contains(".rootfs.")
        };
        match self.layers.iter().find(|l| !files(l)) {
            None => Ok(()),
            Some(other) => Err(ArchiveError::Refused {
                entry: what.to_owned(),
                why: format!(
                    "not a container image: a layer has the media type `{}`",
                    other.media_type.escape_debug()
                ),
                hint: other
                    .media_type
                    .contains(".dvc.")
                    .then_some("run `dvc clone` to copy a repository"),
            }),
        }
    }
}

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Creation time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: Option<ImageRuntime>,
    #[serde(default)]
    pub rootfs: RootFs,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<LayerHistory>,
}

/// The runtime configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageRuntime {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Directories that a container replaces by volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, EmptyObject>>,
}

/// An empty JSON object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyObject {}

/// The layers in the configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// The origin of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerHistory {
    /// Creation time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl ImageConfig {
    /// Parses the configuration of an image.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, ArchiveError> {
        parse(bytes, what)
    }

    /// Returns the value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config
            .as_ref()?
            .labels
            .as_ref()?
            .get(name)
            .map(String::as_str)
    }

    /// Returns the configuration of an image with the layer `diff_id`. `volume` is the directory of
    /// the data.
    pub fn of_data(
        created: &str,
        labels: BTreeMap<String, String>,
        volume: Option<String>,
        diff_id: &str,
    ) -> Self {
        let created = Some(created.to_owned());
        let volumes = volume.map(|v| BTreeMap::from([(v, EmptyObject {})]));
        Self {
            created: created.clone(),
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            config: Some(ImageRuntime {
                labels: Some(labels),
                volumes,
            }),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![format!("sha256:{diff_id}")],
            },
            history: vec![LayerHistory {
                created,
                created_by: Some("dvc export".to_owned()),
            }],
        }
    }
}

/// An image in the `manifest.json` of a `docker save` archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedImage {
    /// Name of the file with the configuration.
    pub config: String,
    pub repo_tags: Option<Vec<String>>,
    /// Names of the files with the layers, the lowest first.
    pub layers: Vec<String>,
}

impl SavedImage {
    /// Parses `manifest.json`.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Self>, ArchiveError> {
        parse(bytes, "manifest.json")
    }
}

fn parse<T: for<'d> Deserialize<'d>>(bytes: &[u8], what: &str) -> Result<T, ArchiveError> {
    serde_json::from_slice(bytes).map_err(|e| ArchiveError::damaged(what, e.to_string()))
}

/// Returns the SHA-256 hash in hex.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = NameHasher::default();
    hasher.update(bytes);
    to_hex(&hasher.finish())
}

/// Returns the GOARCH value of this machine.
pub const fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else if cfg!(target_arch = "arm") {
        "arm"
    } else if cfg!(target_arch = "riscv64") {
        "riscv64"
    } else if cfg!(target_arch = "s390x") {
        "s390x"
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        "ppc64le"
    } else {
        "unknown"
    }
}

/// Splits `name:tag`. The tag is `latest` if the reference has none. Returns `None` if the name or
/// the tag is invalid.
pub fn split_reference(text: &str) -> Option<(&str, &str)> {
    // A colon before the last slash precedes the port of a host.
    let at = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match text[at..].find(':') {
        Some(colon) => (&text[..at + colon], &text[at + colon + 1..]),
        None => (text, "latest"),
    };
    (is_name(name) && is_tag(tag)).then_some((name, tag))
}

/// Splits an image URL into the URL of the repository and the tag or digest, which is `latest` if
/// the URL has none.
pub fn split_url(text: &str) -> (String, String) {
    let (place, options) = text
        .split_once('?')
        .map_or((text, String::new()), |(p, o)| (p, format!("?{o}")));
    let at = place.rfind('/').map_or(0, |slash| slash + 1);
    let (last, reference) = match place[at..].split_once('@') {
        // The digest identifies the image, so a tag before it is ignored.
        Some((last, digest)) => (last.split(':').next().unwrap_or_default(), digest),
        None => place[at..]
            .split_once(':')
            .unwrap_or((&place[at..], "latest")),
    };
    (
        format!("{}{last}{options}", &place[..at]),
        reference.to_owned(),
    )
}

/// Returns whether the text is a valid tag.
pub fn is_tag(tag: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(good) && !tag.starts_with(['.', '-'])
}

fn is_name(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-:".contains(&b);
    let piece = |p: &str| p.bytes().all(good) && edge(p.bytes().next()) && edge(p.bytes().last());
    name.len() <= 255 && name.split('/').all(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_for_this_machine() {
        let of = |platforms: &[&str]| {
            let manifests = platforms.iter().map(|p| {
                let mut d = BlobDescriptor::new(MANIFEST, &sha256(p.as_bytes()), 1);
                d.platform = p.split_once('/').map(|(os, a)| Platform {
                    architecture: a.to_owned(),
                    os: os.to_owned(),
                });
                d
            });
            let list = ImageManifest {
                schema_version: 2,
                manifests: manifests.collect(),
                ..ImageManifest::default()
            };
            let list =
                ImageManifest::parse(&serde_json::to_vec(&list).unwrap(), "index.json").unwrap();
            list.for_this_machine("x").map(|d| d.digest.clone())
        };
        let here = format!("linux/{}", architecture());
        let name = |p: &str| format!("sha256:{}", sha256(p.as_bytes()));
        assert_eq!(of(&["linux/mips", &here]).unwrap(), name(&here));
        assert_eq!(
            of(&["linux/mips", "unknown/unknown"]).unwrap(),
            name("linux/mips")
        );
        assert_eq!(of(&["none"]).unwrap(), name("none"));
        assert!(
            of(&["linux/mips", "linux/vax"])
                .unwrap_err()
                .to_string()
                .contains("linux/vax")
        );
        assert!(of(&[]).is_err());
    }

    #[test]
    fn references() {
        assert_eq!(split_reference("a"), Some(("a", "latest")));
        assert_eq!(
            split_reference("host:5000/a/b:v1"),
            Some(("host:5000/a/b", "v1"))
        );
        for bad in ["", "A", "a:", "a:-x", "a//b", "a:b:c", "../x", "a/"] {
            assert_eq!(split_reference(bad), None, "{bad}");
        }
    }

    #[test]
    fn urls() {
        let split = |text| {
            let (url, reference) = split_url(text);
            format!("{url} {reference}")
        };
        assert_eq!(split("oci://host:5000/a/b:v1"), "oci://host:5000/a/b v1");
        assert_eq!(
            split("oci://host:5000/a/b?insecure=1"),
            "oci://host:5000/a/b?insecure=1 latest"
        );
        assert_eq!(split("oci://host/b:x@sha256:00"), "oci://host/b sha256:00");
    }

    #[test]
    fn digests() {
        assert!(sha256_of(&format!("sha256:{}", sha256(b"x"))).is_ok());
        for bad in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "sha512:00",
            "sha256:ABCD",
        ] {
            assert!(sha256_of(bad).is_err(), "{bad}");
        }
    }
}
