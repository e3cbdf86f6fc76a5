//! A mount namespace like that of a container, with one dvc mount at a different path. All other
//! dvc mounts are removed from it, because the namespace would keep their processes alive.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Shell script that unmounts all dvc mounts except the one at `$inside`; with an empty `$inside`,
/// it unmounts all.
pub const ALONE: &str = r#"grep ' - fuse.dvc ' /proc/self/mountinfo | cut -d' ' -f5 | grep -vxF "${inside-}" | tac | xargs -r umount -l"#;

/// A process in its own mount namespace; killed when dropped.
pub struct Namespace(Child);

impl Namespace {
    /// Starts a process in whose namespace the mount is bind-mounted at `inside`.
    pub fn showing(mount: &Path, inside: &Path) -> Self {
        std::fs::create_dir(inside).unwrap();
        let script = format!(
            r#"set -e; mount --bind "$mount" "$inside"; {ALONE}; echo ready; exec sleep 1000"#
        );
        let mut c = Command::new("unshare");
        c.args(["--mount", "--propagation", "slave", "sh", "-c", &script])
            .env("mount", mount)
            .env("inside", inside);
        let mut child = c.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(ready, "ready\n");
        Self(child)
    }

    /// Returns the id of the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
