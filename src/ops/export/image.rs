//! Writes a version as an image with one layer: an archive that engines load, or blobs and a
//! manifest in a registry.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::members;
use super::source::{CountingWriter, ExportError, ExportReport, ExportSource, ExportedImage};
use crate::archive::image::{
    BlobDescriptor, CONFIG, INDEX, ImageConfig, ImageManifest, LAYER, LAYER_GZIP, LAYOUT, MANIFEST,
    PREFIX_LABEL, Platform, SavedImage, architecture, sha256,
};
use crate::archive::member::{ArchiveMember, MemberKind};
use crate::archive::writer::{END, head, padding};
use crate::codec::hash::NameHasher;
use crate::codec::stream::Gzip;
use crate::context::Remote;
use crate::error::Result;
use crate::model::entry::{Meta, Time};
use crate::model::id::to_hex;
use crate::model::path::display;
use crate::store::open;
use crate::sys::create;

/// Writes an archive that is both an OCI image layout and readable by `docker load`.
pub(super) fn archive(
    export: &ExportSource<'_>,
    name: &str,
    tag: &str,
    out: &mut dyn Write,
) -> Result<ExportReport> {
    let counts = export.commit.counts;
    // The name of a blob is its hash, which precedes the content in the archive, so the data is
    // read twice.
    export
        .observer
        .phase("hash", Some(counts.files), Some(counts.bytes));
    let mut hashing = HashingWriter::new(io::sink());
    let members = members::write_all(export, &mut hashing)?;
    let HashedOutput {
        hash: layer,
        bytes: layer_bytes,
        ..
    } = hashing.finish();
    let config = bytes_of(&export.config(&layer))?;
    let descriptor = BlobDescriptor::new(LAYER, &layer, layer_bytes);
    let manifest = bytes_of(&export.manifest(&config, descriptor))?;
    let reference = format!("{name}:{tag}");
    let mut listed = BlobDescriptor::new(MANIFEST, &sha256(&manifest), manifest.len() as u64);
    listed.platform = Some(Platform {
        architecture: architecture().to_owned(),
        os: "linux".to_owned(),
    });
    // containerd reads the full name from its own annotation. An OCI image layout has only the tag.
    listed.annotations = BTreeMap::from([
        ("io.containerd.image.name".to_owned(), full_name(name, tag)),
        (
            "org.opencontainers.image.ref.name".to_owned(),
            tag.to_owned(),
        ),
    ]);
    let index = ImageManifest {
        schema_version: 2,
        media_type: Some(INDEX.to_owned()),
        manifests: vec![listed],
        ..ImageManifest::default()
    };
    let blob = |name: &str| format!("blobs/sha256/{name}");
    let saved = SavedImage {
        config: blob(&sha256(&config)),
        repo_tags: Some(vec![reference.clone()]),
        layers: vec![blob(&layer)],
    };
    let mut out = CountingWriter { out, bytes: 0 };
    let mut put = |name: &str, size: Option<u64>, bytes: &[u8]| -> Result<()> {
        let kind = size.map_or(MemberKind::Dir, |size| MemberKind::File { size });
        let mut all = head(&export.member(name, kind), None);
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(512), 0);
        Ok(out.write_all(&all).map_err(ExportError::Output)?)
    };
    let file = |bytes: &[u8]| Some(bytes.len() as u64);
    // From the first member, `import` recognises that the archive is an image.
    put(LAYOUT.0, file(LAYOUT.1), LAYOUT.1)?;
    let (index, saved) = (bytes_of(&index)?, bytes_of(&[saved])?);
    put("index.json", file(&index), &index)?;
    put("manifest.json", file(&saved), &saved)?;
    put("blobs", None, b"")?;
    put("blobs/sha256", None, b"")?;
    put(&blob(&sha256(&manifest)), file(&manifest), &manifest)?;
    put(&blob(&sha256(&config)), file(&config), &config)?;
    // Write only the header here. `write_all` streams the content, which may not fit into memory.
    put(&blob(&layer), Some(layer_bytes), b"")?;
    export
        .observer
        .phase("export", Some(counts.files), Some(counts.bytes));
    members::write_all(export, &mut out)?;
    let rest = vec![0; usize::try_from(padding(layer_bytes)).unwrap_or(0)];
    out.write_all(&rest)
        .and_then(|()| out.write_all(&END))
        .map_err(ExportError::Output)?;
    out.flush().map_err(ExportError::Output)?;
    let digest = format!("sha256:{}", sha256(&manifest));
    Ok(export.report(
        members,
        out.bytes,
        Some(ExportedImage {
            name: reference,
            digest,
        }),
    ))
}

/// Pushes an image to a registry, without an engine.
pub(super) fn push(export: &ExportSource<'_>, remote: &Remote, tag: &str) -> Result<ExportReport> {
    let store = open::images(&remote.location, &remote.access)?;
    let counts = export.commit.counts;
    export
        .observer
        .phase("export", Some(counts.files), Some(counts.bytes));
    let dir = &export.context.cache.dir;
    let failed = ExportError::Output;
    create::new_private_dir(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix("export-")
        .tempfile_in(dir)
        .map_err(failed)?;
    let compressed = HashingWriter::new(io::BufWriter::with_capacity(1 << 20, file.as_file_mut()));
    // The configuration names the layer by the hash of the uncompressed archive, and the manifest
    // names it by that of the compressed one.
    let mut uncompressed = HashingWriter::new(Gzip::new(compressed));
    let members = members::write_all(export, &mut uncompressed)?;
    let HashedOutput {
        hash: diff_id,
        out: gzip,
        ..
    } = uncompressed.finish();
    let HashedOutput {
        hash: layer,
        bytes: layer_bytes,
        out: mut buffered,
    } = gzip.finish().map_err(failed)?.finish();
    buffered.flush().map_err(failed)?;
    drop(buffered);
    let config = bytes_of(&export.config(&diff_id))?;
    let manifest = bytes_of(&export.manifest(
        &config,
        BlobDescriptor::new(LAYER_GZIP, &layer, layer_bytes),
    ))?;
    export.observer.phase("push", None, Some(layer_bytes));
    store.put(file.path(), &format!("blobs/{layer}"))?;
    store.create(&format!("blobs/{}", sha256(&config)), &config)?;
    export.observer.step("image");
    // The manifest comes last, because registries reject a manifest whose blobs they do not have.
    store.create(&format!("manifests/{tag}"), &manifest)?;
    export.observer.advance(0, layer_bytes);
    let digest = format!("sha256:{}", sha256(&manifest));
    let name = format!("{}/{}:{tag}", remote.location.host, remote.location.path);
    Ok(export.report(
        members,
        layer_bytes + (config.len() + manifest.len()) as u64,
        Some(ExportedImage { name, digest }),
    ))
}

impl ExportSource<'_> {
    fn member(&self, name: &str, kind: MemberKind) -> ArchiveMember {
        let mode = if kind == MemberKind::Dir {
            0o755
        } else {
            0o644
        };
        // All metadata comes from the version, so that two exports have the same bytes.
        let mtime = Time {
            secs: self.commit.time.secs,
            nanos: 0,
        };
        ArchiveMember {
            path: name.as_bytes().to_vec(),
            meta: Meta {
                mode,
                uid: 0,
                gid: 0,
                mtime,
                xattrs: Vec::new(),
            },
            kind,
        }
    }

    fn config(&self, diff_id: &str) -> ImageConfig {
        // Image configurations use RFC 3339, which has no years beyond 9999.
        let (first, last) = (
            jiff::Timestamp::MIN.as_second(),
            jiff::Timestamp::MAX.as_second(),
        );
        let at = jiff::Timestamp::from_second(self.commit.time.secs.clamp(first, last))
            .unwrap_or_default()
            .to_string();
        let mut labels = BTreeMap::new();
        let mut label = |name: &str, value: String| labels.insert(name.to_owned(), value);
        let top = format!("/{}", display(&self.prefix.join(&b'/')));
        label("org.opencontainers.image.created", at.clone());
        label(
            "org.opencontainers.image.revision",
            self.version.to_string(),
        );
        if let Some(address) = &self.address {
            label("org.opencontainers.image.version", address.clone());
        }
        if let Some(branch) = self.branch() {
            label("dvc.branch", branch.to_owned());
        }
        label("dvc.repository", self.repo.marker().id.clone());
        label("dvc.version", self.version.to_string());
        label("dvc.tree", self.commit.tree.to_string());
        label("dvc.ordinal", self.commit.ordinal.to_string());
        label(PREFIX_LABEL, top.clone());
        if !self.paths.is_empty() {
            let paths: Vec<String> = self.paths.iter().map(|p| display(&p.join(&b'/'))).collect();
            label("dvc.paths", paths.join("\n"));
        }
        // `docker run --volumes-from` shares only declared volumes.
        let volume = (!self.prefix.is_empty()).then_some(top);
        ImageConfig::of_data(&at, labels, volume, diff_id)
    }

    fn manifest(&self, config: &[u8], layer: BlobDescriptor) -> ImageManifest {
        ImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Some(BlobDescriptor::new(
                CONFIG,
                &sha256(config),
                config.len() as u64,
            )),
            layers: vec![layer],
            ..ImageManifest::default()
        }
    }
}

/// Returns the name for containerd, which includes the default registry if `name` has none.
fn full_name(name: &str, tag: &str) -> String {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => {
            format!("{name}:{tag}")
        }
        Some(_) => format!("docker.io/{name}:{tag}"),
        None => format!("docker.io/library/{name}:{tag}"),
    }
}

fn bytes_of(json: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(json).map_err(|e| ExportError::Output(e.into()))?)
}

/// A writer that hashes and counts all bytes.
struct HashingWriter<W> {
    out: W,
    hasher: NameHasher,
    bytes: u64,
}

/// The result of a [`HashingWriter`].
struct HashedOutput<W> {
    hash: String,
    bytes: u64,
    out: W,
}

impl<W> HashingWriter<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hasher: NameHasher::default(),
            bytes: 0,
        }
    }

    /// Returns the hash, the number of bytes and the writer.
    fn finish(self) -> HashedOutput<W> {
        HashedOutput {
            hash: to_hex(&self.hasher.finish()),
            bytes: self.bytes,
            out: self.out,
        }
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
