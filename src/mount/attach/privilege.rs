//! Privileges of this process: mounting in general, and passthrough, which requires root outside of
//! user namespaces.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::sys::kernel;
use crate::sys::procfs::is_in_user_namespace;

/// First kernel with FUSE passthrough.
const PASSTHROUGH_SINCE: (u32, u32) = (6, 9);

/// Magic numbers of stacked file systems: overlayfs and eCryptfs. The kernel limits the depth of a
/// stack, so it does not support passthrough to files on them.
const STACKED: [u64; 2] = [0x794c_7630, 0xf15f];

/// Why passthrough is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPassthrough {
    /// The kernel is too old.
    #[error("kernel {release} is older than 6.9")]
    Kernel {
        /// The release that `uname` reports.
        release: String,
    },
    /// Root in a user namespace is not sufficient.
    #[error("root in a user namespace is not sufficient")]
    UserNamespace,
    /// The process lacks the capability.
    #[error("this process lacks CAP_SYS_ADMIN")]
    Capability,
    /// The overlays are on a stacked file system.
    #[error("`{}` is on a stacked file system, such as the root file system of a container", .0.display())]
    Stacked(PathBuf),
}

impl NoPassthrough {
    /// Returns a hint that says how to make passthrough possible.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "run a newer kernel",
            Self::UserNamespace => "mount as root outside of the user namespace",
            Self::Capability => "mount as root; a container needs `--cap-add SYS_ADMIN`",
            Self::Stacked(_) => "keep the repository on a volume",
        }
    }
}

/// Fails if passthrough is impossible for overlays in a directory. A kernel that was built without
/// passthrough is not detected here, but when the first file is opened.
pub fn passthrough_possible(overlays: &Path) -> Result<(), NoPassthrough> {
    if !kernel::is_at_least(PASSTHROUGH_SINCE) {
        return Err(NoPassthrough::Kernel {
            release: kernel::release(),
        });
    }
    // To register a backing file, the kernel requires CAP_SYS_ADMIN in the initial user namespace
    // (`fuse_backing_open` in fs/fuse).
    match (is_admin(), is_in_user_namespace()) {
        (false, _) => Err(NoPassthrough::Capability),
        (true, true) => Err(NoPassthrough::UserNamespace),
        (true, false) if is_stacked(overlays) => Err(NoPassthrough::Stacked(overlays.to_owned())),
        (true, false) => Ok(()),
    }
}

fn is_stacked(dir: &Path) -> bool {
    rustix::fs::statfs(dir)
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| STACKED.contains(&kind)))
}

/// Returns whether this process may mount in its user namespace.
pub fn is_admin() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Returns whether this process is root in the initial user namespace.
pub(super) fn is_real_root() -> bool {
    rustix::process::geteuid().is_root() && !is_in_user_namespace()
}
