//! What this process may ask of the kernel: mounting at all, and passthrough, which needs the machine's own root.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::sys::kernel;
use crate::sys::procfs::is_in_user_namespace;

/// The first kernel that can serve reads and writes of a FUSE file without its daemon.
const PASSTHROUGH_SINCE: (u32, u32) = (6, 9);
/// File systems that lie on others: overlayfs and eCryptfs. The kernel does not put another layer on them.
const STACKED: [u64; 2] = [0x794c_7630, 0xf15f];

/// Why the kernel will not pass reads and writes through to local files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPassthrough {
    /// It cannot.
    #[error("the kernel is {release}, and 6.9 is the first that can")]
    Kernel {
        /// Its release, as `uname` tells it.
        release: String,
    },
    /// Root in a user namespace is not enough.
    #[error("this is a user namespace, and only root outside of one may")]
    UserNamespace,
    /// This process may not.
    #[error("this process lacks CAP_SYS_ADMIN")]
    Capability,
    /// Files there cannot be passed through.
    #[error("`{}` is on a file system that lies on another one, as a container's own does", .0.display())]
    Stacked(PathBuf),
}

impl NoPassthrough {
    /// What makes it possible.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Kernel { .. } => "run a newer kernel",
            Self::UserNamespace => "mount as root outside of the user namespace",
            Self::Capability => "mount as root; a container needs `--cap-add SYS_ADMIN`",
            Self::Stacked(_) => "keep the repository on a volume",
        }
    }
}

/// Whether passthrough can be used for overlays in a directory, as far as that is known without a mount: a kernel may
/// still be built without it.
pub fn passthrough_possible(overlays: &Path) -> Result<(), NoPassthrough> {
    if !kernel::is_at_least(PASSTHROUGH_SINCE) {
        return Err(NoPassthrough::Kernel { release: kernel::release() });
    }
    match (is_admin(), is_in_user_namespace()) {
        (false, _) => Err(NoPassthrough::Capability),
        (true, true) => Err(NoPassthrough::UserNamespace),
        (true, false) if is_stacked(overlays) => Err(NoPassthrough::Stacked(overlays.to_owned())),
        (true, false) => Ok(()),
    }
}

fn is_stacked(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| STACKED.contains(&kind)))
}

/// Whether this process may administrate its user namespace, and so mount there.
pub fn is_admin() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether it is the machine's own root.
pub(super) fn is_real_root() -> bool {
    rustix::process::geteuid().is_root() && !is_in_user_namespace()
}
