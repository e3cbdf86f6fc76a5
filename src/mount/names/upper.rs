//! Everything that a mount has created or changed, and the computation of inode numbers.
//!
//! The inode number of a node of the version is a hash of its directory and name, or of its
//! hard-link group. The number therefore stays the same across mounts without being stored.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::inode::Inode;
use crate::codec::hash::checksum;
use crate::model::entry::HardLink;

/// Bit that distinguishes the numbers of nodes of the version from those of new nodes.
pub(super) const OF_VERSION: u64 = 1 << 62;
/// Parent of retired inodes: they are not in the current version, but the kernel may still know
/// them.
pub(super) const RETIRED: u64 = 0;

/// Changed names of a directory: the inode of each name, or `None` if the name was removed.
pub type NameOverrides = BTreeMap<Vec<u8>, Option<u64>>;

/// Everything that a mount has created or changed. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct UpperTree {
    /// Inodes that differ from the version, and all inodes that `names` refers to.
    pub inodes: HashMap<u64, Arc<Inode>>,
    /// Changed names by directory.
    pub names: HashMap<u64, Arc<NameOverrides>>,
    /// Secret key of the hash, so that an attacker cannot craft a version with colliding numbers.
    pub key: [u8; 16],
    /// Reserved numbers: those of retired inodes, which the kernel may still know. See
    /// [`SwitchPlan`](super::SwitchPlan).
    pub retired: Arc<HashSet<u64>>,
    /// Numbers of directories that the mount has created or moved and a commit has stored, by the
    /// number that is computed from their place in the new version.
    pub assigned: Arc<HashMap<u64, u64>>,
    /// Whether the mount shows several versions as directories.
    pub multi_version: bool,
}

impl UpperTree {
    /// Returns the inode number of a node of the version. Hard links of a file have the same
    /// number.
    pub fn ino_of(&self, parent: u64, name: &[u8], link: Option<&HardLink>) -> u64 {
        self.ino_in_version(0, parent, name, link)
    }

    /// Like [`Self::ino_of`] for a multi-version mount. `version` is the directory of the version,
    /// because group ids of hard links are unique only within a version.
    pub(super) fn ino_in_version(
        &self,
        version: u64,
        parent: u64,
        name: &[u8],
        link: Option<&HardLink>,
    ) -> u64 {
        let number = self.free_ino(InoSource {
            version,
            parent,
            name,
            link,
        });
        self.assigned.get(&number).copied().unwrap_or(number)
    }

    pub(super) fn free_ino(&self, source: InoSource<'_>) -> u64 {
        self.candidate_inos(source)
            // There are 2^32 candidates, so one of them is free.
            .find(|n| !self.retired.contains(n))
            .unwrap_or(0)
    }

    /// Returns the numbers that a node has to skip because they are reserved.
    pub(super) fn taken_inos<'s>(
        &'s self,
        source: InoSource<'s>,
    ) -> impl Iterator<Item = u64> + 's {
        self.candidate_inos(source)
            .take_while(|n| self.retired.contains(n))
    }

    /// Returns all candidates for the number of a node. The first one that is not reserved is used.
    pub(super) fn candidate_inos<'s>(
        &'s self,
        source: InoSource<'s>,
    ) -> impl Iterator<Item = u64> + 's {
        (0..).map(move |salt| ino_of(&self.key, source, salt))
    }
}

/// The place of a node, from which its inode number is computed.
#[derive(Clone, Copy)]
pub(super) struct InoSource<'s> {
    /// In a multi-version mount the directory of the version, otherwise 0.
    pub(super) version: u64,
    /// The directory.
    pub(super) parent: u64,
    pub(super) name: &'s [u8],
    /// The hard link, whose group id replaces directory and name.
    pub(super) link: Option<&'s HardLink>,
}

/// Computes a candidate for the number of a node. Each `salt` gives a different one.
fn ino_of(key: &[u8; 16], source: InoSource<'_>, salt: u32) -> u64 {
    let InoSource {
        version,
        parent,
        name,
        link,
    } = source;
    let long = salt.to_be_bytes();
    let salt = if salt <= 0xff { &long[3..] } else { &long };
    let hash = match link {
        Some(link) if version == 0 => checksum(&[key, b"link", salt, &link.group]),
        Some(link) => checksum(&[
            key,
            b"link of a version",
            salt,
            &version.to_be_bytes(),
            &link.group,
        ]),
        None => checksum(&[key, b"name", salt, &parent.to_be_bytes(), name]),
    };
    let mut low = [0; 8];
    low.copy_from_slice(&hash[..8]);
    // Numbers of new nodes count up from `ROOT_INO`, so they never reach this bit.
    u64::from_be_bytes(low) & (OF_VERSION - 1) | OF_VERSION
}
