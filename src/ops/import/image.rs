//! Finds an image in an archive or a registry, and reads its layers in order.
//!
//! Invariant: the digest of each blob is verified before any lasting result is made from it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::error::ImportError;
use super::places::MemberPlaces;
use super::stream::{ArchiveBytes, ArchiveIntake, VerifiedReader};
use crate::archive::ArchiveError;
use crate::archive::image::{
    BlobDescriptor, ImageConfig, ImageManifest, JSON_MAX, LAYOUT, SavedImage, is_tag, sha256,
    sha256_of,
};
use crate::archive::member::MemberKind;
use crate::archive::reader::{ArchiveInput, TarReader, first_name};
use crate::codec::stream::plain;
use crate::context::Remote;
use crate::error::Result;
use crate::model::path::{display, split};
use crate::store::download::ObjectDownload;
use crate::store::{Store, open};

/// Maximum number of members of an image archive.
const MEMBERS_MAX: usize = 1 << 20;
/// Maximum depth of nested manifest lists, and of chains of links between members.
const LISTS_MAX: usize = 4;
/// Annotations with the name of an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const FULL_NAME: &str = "io.containerd.image.name";

/// Returns whether an archive that begins with this block is an image.
pub(super) fn is_image(head: &[u8]) -> bool {
    let Some(path) = first_name(head) else {
        return false;
    };
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    let first = path.split(|b| *b == b'/').next().unwrap_or_default();
    // In the output of `docker save`, HASH/ or HASH.json may be the first member.
    let hash = first.strip_suffix(b".json").unwrap_or(first);

    let is_hash = hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit);
    // A blob, `blobs/sha256/...`, may be the first member.
    let is_blob =
        path.starts_with(b"blobs/") && (path == b"blobs/" || path.starts_with(b"blobs/sha256"));
    is_hash
        || is_blob
        || [
            LAYOUT.0.as_bytes(),
            b"index.json",
            b"manifest.json",
            b"repositories",
        ]
        .contains(&path)
}

/// The location of the blobs of images.
pub(super) enum ImageSource {
    /// An archive: the file, and the places of its members.
    Archive {
        file: Arc<File>,
        members: HashMap<Vec<u8>, MemberPlace>,
    },
    /// A repository of a registry, and a tag or digest.
    Registry {
        store: Arc<dyn Store>,
        reference: String,
    },
}

/// The place of a member in an archive.
#[derive(Clone)]
pub(super) enum MemberPlace {
    Content {
        offset: u64,
        bytes: u64,
    },
    /// The content is that of another member.
    Link(Vec<u8>),
}

/// An image.
pub(super) struct FoundImage {
    pub(super) config: ImageConfig,
    layers: Vec<ImageLayer>,
    /// The digest of the image's manifest.
    pub(super) digest: Option<String>,
}

/// An archive that is a file in an image.
struct ArchiveInImage<'l> {
    layer: &'l ImageLayer,
    path: Vec<u8>,
}

struct ImageLayer {
    /// The key of the blob, or the path of the member.
    key: String,
    /// The SHA-256 of the blob, in hex.
    blob_hash: Option<String>,
    /// The SHA-256 of the uncompressed layer, in hex.
    diff_hash: Option<String>,
}

impl ImageSource {
    /// Opens a repository of a registry.
    pub(super) fn registry(remote: &Remote, reference: &str) -> Result<Self> {
        let store = open::images(&remote.location, &remote.access)?;
        Ok(Self::Registry {
            store,
            reference: reference.to_owned(),
        })
    }

    /// Reads the list of members of an uncompressed archive.
    pub(super) fn archive(file: File) -> Result<Self> {
        let file = Arc::new(file);
        let len = file
            .metadata()
            .map_err(|e| ArchiveError::reading("", e))?
            .len();
        let mut reader = TarReader::new(FileSection {
            file: Arc::clone(&file),
            at: 0,
            end: len,
        });
        let mut members = HashMap::new();
        while let Some(member) = reader.next_member()? {
            let names = split(&member.path).unwrap_or_default();
            let place = match member.kind {
                // The content of a sparse member is not in one piece in the file.
                MemberKind::File { size } if reader.hole() == 0 || size == 0 => {
                    MemberPlace::Content {
                        offset: reader.position(),
                        bytes: size,
                    }
                }
                // `docker save` writes identical layers as symlinks.
                MemberKind::Symlink { target } => {
                    let mut to = names.clone();
                    to.pop();
                    // A `..` at the top stays at the top, so no link leads out of the archive.
                    for piece in target.split(|b| *b == b'/') {
                        match piece {
                            b".." => drop(to.pop()),
                            b"" | b"." => {}
                            name => to.push(name.to_vec()),
                        }
                    }
                    MemberPlace::Link(to.join(&b'/'))
                }
                MemberKind::HardLink { target } => {
                    MemberPlace::Link(split(&target).unwrap_or_default().join(&b'/'))
                }
                _ => continue,
            };
            members.insert(names.join(&b'/'), place);
            if members.len() > MEMBERS_MAX {
                return Err(ArchiveError::refused(
                    display(&member.path),
                    "the archive has too many members for an image",
                )
                .into());
            }
        }
        Ok(Self::Archive { file, members })
    }

    /// Finds the image of the given name, or the only one.
    pub(super) fn find(&self, wanted: Option<&str>) -> Result<FoundImage> {
        match self {
            Self::Registry { reference, .. } => {
                let bytes = self.manifest(reference)?;
                self.of_manifest(bytes, 0)
            }
            Self::Archive { .. } if self.has("index.json") => {
                let index = ImageManifest::parse(&self.json("index.json")?, "index.json")?;
                let named = |d: &&BlobDescriptor| {
                    let names = [REF_NAME, FULL_NAME].map(|key| d.annotations.get(key));
                    wanted.is_none_or(|wanted| {
                        names
                            .into_iter()
                            .flatten()
                            .any(|name| is_name(name, wanted))
                    })
                };
                let mut manifests: Vec<BlobDescriptor> =
                    index.manifests.iter().filter(named).cloned().collect();
                // An image with several names is listed once for each of them.
                manifests.dedup_by(|a, b| a.digest == b.digest);
                let all = || names_in(&index);
                if manifests.is_empty() {
                    return Err(ImportError::NoImage {
                        name: wanted.unwrap_or("").to_owned(),
                        known: all(),
                    }
                    .into());
                }
                let mut others = all();
                others.dedup();
                if wanted.is_none() && others.len() > 1 {
                    return Err(ImportError::Several(all()).into());
                }
                let list = ImageManifest {
                    manifests,
                    ..index.clone()
                };
                self.of_descriptor(list.for_this_machine("index.json")?, 0)
            }
            Self::Archive { .. } if self.has("manifest.json") => self.saved(wanted),
            Self::Archive { .. } => {
                let why =
                    "not an image: neither `index.json` nor `manifest.json` is in the archive";
                Err(ArchiveError::refused("index.json", why).into())
            }
        }
    }

    /// Finds an image in the output of `docker save`.
    fn saved(&self, wanted: Option<&str>) -> Result<FoundImage> {
        let all = SavedImage::parse(&self.json("manifest.json")?)?;
        let names = || {
            all.iter()
                .flat_map(|s| s.repo_tags.iter().flatten().cloned())
                .collect::<Vec<_>>()
        };
        let named = |s: &&SavedImage| {
            wanted.is_none_or(|wanted| {
                s.repo_tags
                    .iter()
                    .flatten()
                    .any(|name| is_name(name, wanted))
            })
        };
        let found: Vec<&SavedImage> = all.iter().filter(named).collect();
        let saved = match found.as_slice() {
            [only] => *only,
            [] => {
                return Err(ImportError::NoImage {
                    name: wanted.unwrap_or("").to_owned(),
                    known: names(),
                }
                .into());
            }
            _ => return Err(ImportError::Several(names()).into()),
        };
        let config = ImageConfig::parse(&self.json(&saved.config)?, &saved.config)?;
        let ids = &config.rootfs.diff_ids;
        // `zip` would ignore the layers beyond the shorter list.
        if ids.len() != saved.layers.len() {
            return Err(ArchiveError::damaged(
                &saved.config,
                "the configuration does not list all layers",
            )
            .into());
        }
        let layer = |(key, id): (&String, &String)| -> Result<ImageLayer> {
            Ok(ImageLayer {
                key: key.clone(),
                blob_hash: None,
                diff_hash: Some(sha256_of(id)?.to_owned()),
            })
        };
        let layers = saved
            .layers
            .iter()
            .zip(ids)
            .map(layer)
            .collect::<Result<_>>()?;
        Ok(FoundImage {
            config,
            layers,
            digest: None,
        })
    }

    fn of_descriptor(&self, descriptor: &BlobDescriptor, depth: usize) -> Result<FoundImage> {
        let name = descriptor.name()?.to_owned();
        let bytes = match self {
            Self::Registry { .. } => self.manifest(&descriptor.digest)?,
            Self::Archive { .. } => self.json(&format!("blobs/sha256/{name}"))?,
        };
        ensure_hash(&bytes, &name)?;
        self.of_manifest(bytes, depth)
    }

    fn of_manifest(&self, bytes: Vec<u8>, depth: usize) -> Result<FoundImage> {
        let digest = format!("sha256:{}", sha256(&bytes));
        let manifest = ImageManifest::parse(&bytes, &digest)?;
        let Some(config) = manifest.config.as_ref().filter(|_| !manifest.is_list()) else {
            if depth >= LISTS_MAX {
                return Err(ArchiveError::damaged(
                    digest,
                    "the manifest lists are nested too deeply",
                )
                .into());
            }
            return self.of_descriptor(manifest.for_this_machine(&digest)?, depth + 1);
        };
        manifest.check_layers(&digest)?;
        let key = |d: &BlobDescriptor| -> Result<String> {
            Ok(match self {
                Self::Registry { .. } => format!("blobs/{}", d.name()?),
                Self::Archive { .. } => format!("blobs/sha256/{}", d.name()?),
            })
        };
        let json = self.json(&key(config)?)?;
        ensure_hash(&json, config.name()?)?;
        let config = ImageConfig::parse(&json, &config.digest)?;
        let layer = |d: &BlobDescriptor| -> Result<ImageLayer> {
            Ok(ImageLayer {
                key: key(d)?,
                blob_hash: Some(d.name()?.to_owned()),
                diff_hash: None,
            })
        };
        let layers = manifest.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(FoundImage {
            config,
            layers,
            digest: Some(digest),
        })
    }

    /// Imports all layers, the lowest first. If no layer has a member below the required path,
    /// imports an archive within the image.
    pub(super) fn read_into(
        &self,
        found: &FoundImage,
        intake: &mut ArchiveIntake<'_, '_>,
        places: &MemberPlaces,
    ) -> Result<()> {
        for layer in &found.layers {
            intake.archive(self.layer(layer)?, places, true)?;
            intake.tree.next_layer();
        }
        if !intake.tree.is_untouched() || places.required().is_none() {
            return Ok(());
        }
        let mut archives: Vec<ArchiveInImage<'_>> = Vec::new();
        for layer in &found.layers {
            let mut reader = TarReader::new(self.layer(layer)?);
            while let Some(member) = reader.next_member()? {
                if matches!(member.kind, MemberKind::File { .. }) && is_archive(&member.path) {
                    // A file in a higher layer replaces the same path of lower layers.
                    archives.retain(|a| a.path != member.path);
                    archives.push(ArchiveInImage {
                        layer,
                        path: member.path,
                    });
                }
            }
        }
        match archives.as_slice() {
            [] => Ok(()),
            [only] => intake.archive_in(self.layer(only.layer)?, &only.path, places),
            _ => Err(
                ImportError::Several(archives.iter().map(|a| display(&a.path)).collect()).into(),
            ),
        }
    }

    /// Returns the uncompressed bytes of a layer. Reading fails at the end if a digest differs.
    fn layer(&self, layer: &ImageLayer) -> Result<ArchiveBytes<'_>> {
        let failed = |e| ArchiveError::reading(&layer.key, e);
        let mut bytes = self.blob(&layer.key)?;
        if let Some(hash) = &layer.blob_hash {
            bytes = Box::new(VerifiedReader::new(bytes, hash));
        }
        // The decoders read a blob to its end, so its digest is verified too.
        let bytes = plain(bytes).map_err(failed)?;
        Ok(match &layer.diff_hash {
            Some(hash) => Box::new(VerifiedReader::new(bytes, hash)),
            None => bytes,
        })
    }

    fn blob(&self, key: &str) -> Result<ArchiveBytes<'_>> {
        match self {
            Self::Registry { store, .. } => Ok(Box::new(ObjectDownload::start(
                Arc::clone(store),
                key.to_owned(),
            ))),
            Self::Archive { file, members } => {
                let missing = || ArchiveError::damaged(key, "missing from the archive");
                let mut place = members.get(key.as_bytes()).ok_or_else(missing)?;
                // The links may form a circle.
                for _ in 0..LISTS_MAX {
                    match place {
                        MemberPlace::Link(to) => place = members.get(to).ok_or_else(missing)?,
                        MemberPlace::Content { offset, bytes } => {
                            let end = offset.saturating_add(*bytes);
                            return Ok(Box::new(FileSection {
                                file: Arc::clone(file),
                                at: *offset,
                                end,
                            }));
                        }
                    }
                }
                Err(missing().into())
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        matches!(self, Self::Archive { members, .. } if members.contains_key(name.as_bytes()))
    }

    /// Reads a blob of at most [`JSON_MAX`] bytes; a longer one is an error.
    fn json(&self, key: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        // One byte beyond the limit shows that the blob is too long.
        let read = self.blob(key)?.take(JSON_MAX + 1).read_to_end(&mut out);
        read.map_err(|e| ArchiveError::reading(key, e))?;
        if out.len() as u64 > JSON_MAX {
            return Err(ArchiveError::damaged(key, format!("longer than {JSON_MAX} bytes")).into());
        }
        Ok(out)
    }

    /// Reads a manifest of the registry.
    fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let Self::Registry { store, .. } = self else {
            return Ok(Vec::new());
        };
        // The reference becomes part of a URL.
        if !is_tag(reference) && sha256_of(reference).is_err() {
            return Err(
                ArchiveError::refused(reference, "neither a tag nor a SHA-256 digest").into(),
            );
        }
        let none = || ImportError::NoImage {
            name: format!("{}:{reference}", store.place()),
            known: Vec::new(),
        };
        let bytes = store
            .get(&format!("manifests/{reference}"))?
            .ok_or_else(none)?;
        // A digest proves the content; a tag does not.
        if reference.contains(':') {
            ensure_hash(&bytes, sha256_of(reference)?)?;
        }
        Ok(bytes)
    }
}

fn ensure_hash(bytes: &[u8], hash: &str) -> Result<(), ArchiveError> {
    if sha256(bytes) != hash {
        return Err(ArchiveError::damaged(
            format!("sha256:{hash}"),
            "checksum mismatch",
        ));
    }
    Ok(())
}

fn names_in(index: &ImageManifest) -> Vec<String> {
    let name = |d: &BlobDescriptor| {
        [FULL_NAME, REF_NAME]
            .iter()
            .find_map(|key| d.annotations.get(*key))
            .cloned()
    };
    index.manifests.iter().filter_map(name).collect()
}

/// Returns whether the name of an image in an archive is the name that the user gave. `docker.io/`,
/// `library/` and `:latest` are optional.
fn is_name(name: &str, wanted: &str) -> bool {
    let short = |name: &str| {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        let tagged = name
            .rsplit('/')
            .next()
            .is_some_and(|last| last.contains(':'));
        if tagged {
            name.to_owned()
        } else {
            format!("{name}:latest")
        }
    };
    name == wanted || short(name) == short(wanted)
}

/// Returns whether a path has the extension of an archive.
fn is_archive(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    [&b".tar"[..], b".tar.gz", b".tgz", b".tar.zst"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// A reader of a part of a file.
struct FileSection {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for FileSection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.end - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = self.file.read_at(&mut buffer[..len], self.at)?;
        // The file is shorter than its list of members says.
        if n == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl ArchiveInput for FileSection {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if self.end - self.at < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes;
        Ok(())
    }
}
