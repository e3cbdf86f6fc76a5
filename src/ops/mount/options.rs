//! The options of a mount, and the overlay that they name.

use std::path::{Path, PathBuf};

use super::refusal::MountRefusal;
use crate::codec::hash::checksum;
use crate::error::Result;
use crate::model::id::to_hex;
use crate::model::revision::Revision;
use crate::mount::attach::MountTrust;
use crate::mount::hydrate::HydrateSet;
use crate::snapshot::walk::rules::Rules;

/// The directory of overlays in a repository.
pub const OVERLAYS: &str = "overlays";

/// Options of a mount.
#[derive(Clone)]
pub struct MountOptions {
    /// The version to show.
    pub revision: Revision,
    /// The part of the history that the mount shows.
    pub show: Show,
    /// The mount point, absolute.
    pub at: PathBuf,
    /// The name of the overlay; `None` uses the overlay of the mount point.
    pub name: Option<String>,
    /// Mounts read-only.
    pub read_only: bool,
    /// Resolves the revision on the remote of a lazy clone, even if the clone has a branch of the
    /// same name.
    pub of_origin: bool,
    /// Resumes the version that the overlay is based on, even if the revision now names a different
    /// version.
    pub resume: bool,
    /// Discards changes when the mount ends.
    pub ephemeral: bool,
    /// Allows access for other users.
    pub allow_other: bool,
    /// The privileges that files of the mount may use.
    pub trust: MountTrust,
    /// The user and group that own the files of the version.
    pub map_owner: Option<(u32, u32)>,
    /// The limit of the overlay, in bytes.
    pub quota: Option<u64>,
    /// Allows commits while databases run.
    pub live: bool,
    /// The files that are fetched completely.
    pub hydrate: Hydrate,
    /// The file to which reads of the version are recorded.
    pub record: Option<PathBuf>,
    /// A recording of the reads of another mount; the recorded data is fetched in advance.
    pub prefetch: Option<PathBuf>,
    /// The directory of control sockets and notes of mounts.
    pub run: PathBuf,
}

/// The part of the history that a mount shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// The version that the revision names at the start.
    #[default]
    Version,
    /// The version that the revision names; the mount switches when that changes.
    Follow,
    /// All branches and versions, as directories.
    All,
}

/// The files that are fetched completely into the overlay.
#[derive(Clone, Debug, Default)]
pub enum Hydrate {
    /// No files.
    #[default]
    Off,
    /// Files that are opened for writing.
    Open,
    /// All files.
    All,
    /// Files that match a gitignore pattern.
    Matching(String),
}

impl Hydrate {
    pub(super) fn which(&self) -> Result<HydrateSet> {
        Ok(match self {
            Self::Off => HydrateSet::Off,
            Self::Open => HydrateSet::Open,
            Self::All => HydrateSet::All,
            Self::Matching(pattern) => {
                let mut rules = Rules::default();
                rules.exclude(std::slice::from_ref(pattern))?;
                HydrateSet::Matching(rules)
            }
        })
    }
}

/// An overlay of a repository.
pub(super) struct OverlayPlace {
    pub(super) dir: PathBuf,
    pub(super) name: String,
}

/// Returns the overlay that the options name, or the one of the mount point.
pub(super) fn overlay(repository: &Path, options: &MountOptions) -> Result<OverlayPlace> {
    let name = match &options.name {
        Some(name) => name.clone(),
        // Two ephemeral mounts must not share an overlay.
        None if options.ephemeral => format!("ephemeral-{}", std::process::id()),
        None => {
            use std::os::unix::ffi::OsStrExt;
            let last = options
                .at
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            let last: String = last
                .chars()
                .filter(|c| c.is_ascii_alphanumeric())
                .take(40)
                .collect();
            // Several mount points may have the same last component, so the name contains a hash of
            // the path.
            format!(
                "{last}-{}",
                to_hex(&checksum(&[options.at.as_os_str().as_bytes()])[..4])
            )
        }
    };
    // The name becomes a directory of the repository.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(MountRefusal::BadName(name).into());
    }
    Ok(OverlayPlace {
        dir: repository.join(OVERLAYS).join(&name),
        name,
    })
}
