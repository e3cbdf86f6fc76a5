//! Images: which one is meant, and its layers in order, from an archive or from a registry.
//!
//! Invariant: every blob is compared with its digest before anything is made of it that lasts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::ImportError;
use super::place::Places;
use super::stream::{Bytes, Intake, Verified};
use crate::archive::ArchiveError;
use crate::archive::image::{
    BlobDescriptor, ImageConfig, ImageManifest, JSON_MAX, LAYOUT, SavedImage, is_tag, sha256, sha256_of,
};
use crate::archive::member::MemberKind;
use crate::archive::reader::{ArchiveInput, TarReader, first_name};
use crate::codec::stream::plain;
use crate::context::Remote;
use crate::error::Result;
use crate::model::path::{display, split};
use crate::store::download::ObjectDownload;
use crate::store::{Store, open};

/// No archive of an image has more members.
const MEMBERS_MAX: usize = 1 << 20;
/// No list of manifests names another more often.
const LISTS_MAX: usize = 4;
/// How the name of an image stands in a list.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const FULL_NAME: &str = "io.containerd.image.name";

/// Whether an archive that begins with this block is one of an image.
pub(super) fn looks_like_one(head: &[u8]) -> bool {
    let Some(path) = first_name(head) else { return false };
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    let first = path.split(|b| *b == b'/').next().unwrap_or_default();
    let hash = first.strip_suffix(b".json").unwrap_or(first);
    let is_hash = hash.len() == 64 && hash.iter().all(u8::is_ascii_hexdigit);
    // A blob, `blobs/sha256/...`, may come before everything else.
    let is_blob = path.starts_with(b"blobs/") && (path == b"blobs/" || path.starts_with(b"blobs/sha256"));
    is_hash || is_blob || [LAYOUT.0.as_bytes(), b"index.json", b"manifest.json", b"repositories"].contains(&path)
}

/// Where an image's blobs are.
pub(super) enum Source {
    /// Members of an archive: where each begins and its length.
    Archive(Arc<File>, HashMap<Vec<u8>, Place>),
    /// A repository, and the tag or digest that is meant.
    Registry(Arc<dyn Store>, String),
}

/// A member of an archive.
#[derive(Clone)]
pub(super) enum Place {
    At(u64, u64),
    /// Another name of that one.
    Link(Vec<u8>),
}

/// An image that was found.
pub(super) struct Found {
    pub(super) config: ImageConfig,
    layers: Vec<Layer>,
    /// The digest of its manifest.
    pub(super) digest: Option<String>,
}

struct Layer {
    /// The blob, or the member of an archive.
    key: String,
    /// The hash of its bytes, and that of what they are when plain.
    packed: Option<String>,
    plain: Option<String>,
}

impl Source {
    /// In a registry.
    pub(super) fn registry(remote: &Remote, reference: &str) -> Result<Self> {
        Ok(Self::Registry(open::images(&remote.location, &remote.access)?, reference.to_owned()))
    }

    /// In a plain archive.
    pub(super) fn archive(file: File) -> Result<Self> {
        let file = Arc::new(file);
        let len = file.metadata().map_err(ArchiveError::Io)?.len();
        let mut reader = TarReader::new(Section { file: Arc::clone(&file), at: 0, end: len });
        let mut members = HashMap::new();
        while let Some(member) = reader.next_member()? {
            let names = split(&member.path).unwrap_or_default();
            let place = match member.kind {
                MemberKind::File { size } if reader.hole() == 0 || size == 0 => Place::At(reader.position(), size),
                // `docker save` does so with layers that are the same.
                MemberKind::Symlink { target } => {
                    let mut to = names.clone();
                    to.pop();
                    for piece in target.split(|b| *b == b'/') {
                        match piece {
                            b".." => drop(to.pop()),
                            b"" | b"." => {}
                            name => to.push(name.to_vec()),
                        }
                    }
                    Place::Link(to.join(&b'/'))
                }
                MemberKind::HardLink { target } => Place::Link(split(&target).unwrap_or_default().join(&b'/')),
                _ => continue,
            };
            members.insert(names.join(&b'/'), place);
            if members.len() > MEMBERS_MAX {
                return Err(ArchiveError::refused(display(&member.path), "no image has so many members").into());
            }
        }
        Ok(Self::Archive(file, members))
    }

    /// The image that is meant, or the only one.
    pub(super) fn find(&self, wanted: Option<&str>) -> Result<Found> {
        match self {
            Self::Registry(_, reference) => {
                let bytes = self.manifest(reference)?;
                self.of_manifest(bytes, 0)
            }
            Self::Archive(..) if self.has("index.json") => {
                let index = ImageManifest::parse(&self.json("index.json")?, "index.json")?;
                let named = |d: &&BlobDescriptor| {
                    let names = [REF_NAME, FULL_NAME].map(|key| d.annotations.get(key));
                    wanted.is_none_or(|wanted| names.into_iter().flatten().any(|name| is_name(name, wanted)))
                };
                let mut manifests: Vec<BlobDescriptor> = index.manifests.iter().filter(named).cloned().collect();
                manifests.dedup_by(|a, b| a.digest == b.digest);
                let all = || names_in(&index);
                if manifests.is_empty() {
                    return Err(ImportError::NoImage { name: wanted.unwrap_or("").to_owned(), known: all() }.into());
                }
                let mut others = all();
                others.dedup();
                if wanted.is_none() && others.len() > 1 {
                    return Err(ImportError::Several(all()).into());
                }
                let list = ImageManifest { manifests, ..index.clone() };
                self.of_descriptor(list.for_this_machine("index.json")?, 0)
            }
            Self::Archive(..) if self.has("manifest.json") => self.saved(wanted),
            Self::Archive(..) => {
                Err(ArchiveError::refused("index.json", "it is no image: there is neither this nor `manifest.json`")
                    .into())
            }
        }
    }

    /// An image of an archive that `docker save` wrote.
    fn saved(&self, wanted: Option<&str>) -> Result<Found> {
        let all = SavedImage::parse(&self.json("manifest.json")?)?;
        let names = || all.iter().flat_map(|s| s.repo_tags.iter().flatten().cloned()).collect::<Vec<_>>();
        let named = |s: &&SavedImage| {
            wanted.is_none_or(|wanted| s.repo_tags.iter().flatten().any(|name| is_name(name, wanted)))
        };
        let found: Vec<&SavedImage> = all.iter().filter(named).collect();
        let saved = match found.as_slice() {
            [only] => *only,
            [] => return Err(ImportError::NoImage { name: wanted.unwrap_or("").to_owned(), known: names() }.into()),
            _ => return Err(ImportError::Several(names()).into()),
        };
        let config = ImageConfig::parse(&self.json(&saved.config)?, &saved.config)?;
        let ids = &config.rootfs.diff_ids;
        if ids.len() != saved.layers.len() {
            return Err(ArchiveError::damaged(&saved.config, "it does not tell of all layers").into());
        }
        let layer = |(key, id): (&String, &String)| -> Result<Layer> {
            Ok(Layer { key: key.clone(), packed: None, plain: Some(sha256_of(id)?.to_owned()) })
        };
        let layers = saved.layers.iter().zip(ids).map(layer).collect::<Result<_>>()?;
        Ok(Found { config, layers, digest: None })
    }

    fn of_descriptor(&self, descriptor: &BlobDescriptor, depth: usize) -> Result<Found> {
        let name = descriptor.name()?.to_owned();
        let bytes = match self {
            Self::Registry(..) => self.manifest(&descriptor.digest)?,
            Self::Archive(..) => self.json(&format!("blobs/sha256/{name}"))?,
        };
        checked(&bytes, &name)?;
        self.of_manifest(bytes, depth)
    }

    fn of_manifest(&self, bytes: Vec<u8>, depth: usize) -> Result<Found> {
        let digest = format!("sha256:{}", sha256(&bytes));
        let manifest = ImageManifest::parse(&bytes, &digest)?;
        let Some(config) = manifest.config.as_ref().filter(|_| !manifest.is_list()) else {
            if depth >= LISTS_MAX {
                return Err(ArchiveError::damaged(digest, "its lists of manifests do not end").into());
            }
            return self.of_descriptor(manifest.for_this_machine(&digest)?, depth + 1);
        };
        manifest.check_layers(&digest)?;
        let key = |d: &BlobDescriptor| -> Result<String> {
            Ok(match self {
                Self::Registry(..) => format!("blobs/{}", d.name()?),
                Self::Archive(..) => format!("blobs/sha256/{}", d.name()?),
            })
        };
        let json = self.json(&key(config)?)?;
        checked(&json, config.name()?)?;
        let config = ImageConfig::parse(&json, &config.digest)?;
        let layer = |d: &BlobDescriptor| -> Result<Layer> {
            Ok(Layer { key: key(d)?, packed: Some(d.name()?.to_owned()), plain: None })
        };
        let layers = manifest.layers.iter().map(layer).collect::<Result<_>>()?;
        Ok(Found { config, layers, digest: Some(digest) })
    }

    /// Takes all layers in, the lowest first. Where nothing lies where it was to lie, an archive in the image may hold it.
    pub(super) fn take(&self, found: &Found, intake: &mut Intake<'_, '_>, places: &Places) -> Result<()> {
        for layer in &found.layers {
            intake.archive(self.layer(layer)?, places, true)?;
            intake.tree.next_layer();
        }
        if !intake.tree.is_nothing() || places.asked().is_none() {
            return Ok(());
        }
        let mut packed: Vec<(&Layer, Vec<u8>)> = Vec::new();
        for layer in &found.layers {
            let mut reader = TarReader::new(self.layer(layer)?);
            while let Some(member) = reader.next_member()? {
                if matches!(member.kind, MemberKind::File { .. }) && is_packed(&member.path) {
                    // A higher layer takes the place of a lower one.
                    packed.retain(|p| p.1 != member.path);
                    packed.push((layer, member.path));
                }
            }
        }
        match packed.as_slice() {
            [] => Ok(()),
            [(layer, member)] => intake.archive_in(self.layer(layer)?, member, places),
            _ => Err(ImportError::Several(packed.iter().map(|p| display(&p.1)).collect()).into()),
        }
    }

    /// The plain bytes of a layer, compared with its digest at their end.
    fn layer(&self, layer: &Layer) -> Result<Bytes<'_>> {
        let failed = |e| ArchiveError::reading(&layer.key, e);
        let mut bytes = self.blob(&layer.key)?;
        if let Some(name) = &layer.packed {
            bytes = Box::new(Verified::new(bytes, name));
        }
        // What follows the compressed data counts for the digest as well.
        let bytes = plain(bytes).map_err(failed)?;
        Ok(match &layer.plain {
            Some(name) => Box::new(Verified::new(bytes, name)),
            None => bytes,
        })
    }

    fn blob(&self, key: &str) -> Result<Bytes<'_>> {
        match self {
            Self::Registry(store, _) => Ok(Box::new(ObjectDownload::start(Arc::clone(store), key.to_owned()))),
            Self::Archive(file, members) => {
                let missing = || ArchiveError::damaged(key, "it is not in the archive");
                let mut place = members.get(key.as_bytes()).ok_or_else(missing)?;
                for _ in 0..LISTS_MAX {
                    match place {
                        Place::Link(to) => place = members.get(to).ok_or_else(missing)?,
                        Place::At(at, len) => {
                            let end = at.saturating_add(*len);
                            return Ok(Box::new(Section { file: Arc::clone(file), at: *at, end }));
                        }
                    }
                }
                Err(missing().into())
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        matches!(self, Self::Archive(_, members) if members.contains_key(name.as_bytes()))
    }

    /// A small blob.
    fn json(&self, key: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let read = self.blob(key)?.take(JSON_MAX + 1).read_to_end(&mut out);
        read.map_err(|e| ArchiveError::reading(key, e))?;
        match out.len() as u64 > JSON_MAX {
            true => Err(ArchiveError::damaged(key, "it does not end").into()),
            false => Ok(out),
        }
    }

    /// A manifest in a registry.
    fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let Self::Registry(store, _) = self else { return Ok(Vec::new()) };
        if !is_tag(reference) && sha256_of(reference).is_err() {
            return Err(ArchiveError::refused(reference, "it is neither a tag nor a SHA-256 digest").into());
        }
        let none = || ImportError::NoImage { name: format!("{}:{reference}", store.place()), known: Vec::new() };
        let bytes = store.get(&format!("manifests/{reference}"))?.ok_or_else(none)?;
        if reference.contains(':') {
            checked(&bytes, sha256_of(reference)?)?;
        }
        Ok(bytes)
    }
}

fn checked(bytes: &[u8], name: &str) -> Result<(), ArchiveError> {
    match sha256(bytes) == name {
        true => Ok(()),
        false => Err(ArchiveError::damaged(format!("sha256:{name}"), "its bytes are others")),
    }
}

fn names_in(index: &ImageManifest) -> Vec<String> {
    let name = |d: &BlobDescriptor| [FULL_NAME, REF_NAME].iter().find_map(|key| d.annotations.get(*key)).cloned();
    index.manifests.iter().filter_map(name).collect()
}

/// Whether a name in an archive is the one that somebody wrote.
fn is_name(name: &str, wanted: &str) -> bool {
    let short = |name: &str| {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if tagged { name.to_owned() } else { format!("{name}:latest") }
    };
    name == wanted || short(name) == short(wanted)
}

/// Whether a name is that of a packed archive.
fn is_packed(path: &[u8]) -> bool {
    let path = path.to_ascii_lowercase();
    [&b".tar"[..], b".tar.gz", b".tgz", b".tar.zst"].iter().any(|end| path.ends_with(end))
}

/// A part of a file.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..len], self.at)?;
        if n == 0 && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl ArchiveInput for Section {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match self.end - self.at >= bytes {
            true => self.at += bytes,
            false => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}
