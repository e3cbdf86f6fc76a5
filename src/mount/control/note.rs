//! The note of a mount, which describes the mount to other processes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::mountinfo;
use crate::sys::mountinfo::{MountTable, Mounted};
use crate::sys::process::{ProcessIdentity, ProcessState};
use crate::sys::procfs::ProcDir;

/// The description of a mount, written by its process.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct MountNote {
    /// The process that serves the mount.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// The id of the mount in the mount table of that process; 0 if unknown.
    #[serde(default)]
    pub mount_id: u64,
    /// The mount namespace of that process.
    #[serde(default)]
    pub mount_namespace: String,
    /// The source in the mount table.
    #[serde(default)]
    pub source: String,
    /// The mount point.
    pub at: PathBuf,
    /// The local repository.
    pub repository: PathBuf,
    /// The name of the overlay, or `None` if the mount is read-only.
    pub overlay: Option<String>,
    /// The revision that the user has requested.
    pub revision: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the overlay is removed after the unmount.
    #[serde(default)]
    pub ephemeral: bool,
    /// The cache mode: `writeback` or `passthrough`.
    pub mode: String,
}

pub(super) fn path_stem(run: &Path, device: (u32, u32)) -> PathBuf {
    run.join("mounts")
        .join(format!("{}-{}", device.0, device.1))
}

/// Returns the note of a mount, or `None` if there is none. Ignores the note of an earlier mount
/// with the same device number.
pub fn note(run: &Path, mounted: &Mounted) -> Option<MountNote> {
    read_note(&path_stem(run, mounted.device).with_extension("json"))
        .filter(|note| note.is_of(mounted))
}

pub(super) fn read_note(path: &Path) -> Option<MountNote> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

impl MountNote {
    /// Returns whether the note describes this mount. The kernel reuses the device number as soon
    /// as a mount is gone, and a killed process leaves its note behind.
    fn is_of(&self, mounted: &Mounted) -> bool {
        if self.process.state() == ProcessState::Gone {
            return false;
        }
        // Notes of older daemons have no source.
        if !self.source.is_empty() && self.source.as_bytes() != mounted.source {
            return false;
        }
        // A bind mount and a copy of the mount in another namespace have ids of their own, so the
        // id proves something only at the same place.
        let same_place = self.mount_namespace == mount_namespace() && mounted.at == self.at;
        if self.mount_id == 0 || !same_place || mounted.id == self.mount_id {
            return true;
        }
        // A bind mount of the mount onto its own mount point has a different id, but hides the
        // original mount, which is still in the table.
        MountTable::read().is_ok_and(|all| {
            all.iter()
                .any(|m| m.id == self.mount_id && m.device == mounted.device)
        })
    }
}

/// Returns the mount namespace of this process, as named in `/proc`.
pub(in crate::mount) fn mount_namespace() -> String {
    ProcDir::own().namespace("mnt").unwrap_or_default()
}

/// Returns the mount that contains a path, and its note. `None` if there is no mount or no note.
pub fn around(run: &Path, path: &Path) -> Option<(Mounted, MountNote)> {
    let mounted = mountinfo::containing(path)
        .ok()
        .flatten()
        .filter(Mounted::is_ours)?;
    let note = note(run, &mounted)?;
    Some((mounted, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(at: &str, id: u64, source: &str) -> Mounted {
        Mounted {
            id,
            parent: 1,
            device: (0, 50),
            root: PathBuf::from("/"),
            at: PathBuf::from(at),
            options: "rw".to_owned(),
            shared: None,
            master: None,
            kind: mountinfo::KIND.to_owned(),
            source: source.as_bytes().to_vec(),
            super_options: "rw,user_id=0".to_owned(),
        }
    }

    #[test]
    fn a_note_is_of_one_mount_and_not_of_the_next_with_its_number() {
        let note = MountNote {
            process: ProcessIdentity::own(),
            mount_id: 7,
            mount_namespace: mount_namespace(),
            source: "dvc:main".to_owned(),
            at: PathBuf::from("/m"),
            repository: PathBuf::from("/r"),
            overlay: None,
            revision: "main".to_owned(),
            read_only: true,
            ephemeral: false,
            mode: "writeback".to_owned(),
        };
        assert!(note.is_of(&mounted("/m", 7, "dvc:main")));
        // A bind mount has an id of its own.
        assert!(note.is_of(&mounted("/elsewhere", 8, "dvc:main")));
        assert!(
            !note.is_of(&mounted("/m", 8, "dvc:main")),
            "another mount at the same place"
        );
        assert!(
            !note.is_of(&mounted("/m", 7, "dvc:other")),
            "of another version"
        );
        let text = serde_json::to_string(&note).unwrap();
        let gone: MountNote =
            serde_json::from_str(&text.replace("\"pid\":", "\"pid\":4194304,\"was\":")).unwrap();
        assert!(
            !gone.is_of(&mounted("/m", 7, "dvc:main")),
            "its process is gone"
        );
    }
}
