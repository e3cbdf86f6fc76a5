//! A file system that soon becomes full: a small tmpfs, which only root can mount.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::needs::{need, root_to, run, skip};

/// A mounted tmpfs; unmounted when dropped.
pub struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Mounts a file system with a size such as `6m` at a new directory. Skips the test if that is
    /// not permitted.
    pub fn mount(place: &'a Path, size: &str) -> Option<Self> {
        if !root_to("mount a small file system") {
            return None;
        }
        fs::create_dir(place).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new(need("mount"));
        let done = mount
            .args(["-t", "tmpfs", "-o", &option, "tmpfs"])
            .arg(place)
            .stderr(Stdio::null())
            .status();
        if !done.unwrap().success() {
            skip("a tmpfs cannot be mounted here");
            return None;
        }
        Some(Self(place))
    }

    /// Changes the size of the mounted file system.
    pub fn resize(&self, size: &str) {
        run(
            "mount",
            &[
                "-o",
                &format!("remount,size={size}"),
                self.0.to_str().unwrap(),
            ],
        );
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new(need("umount")).arg(self.0).status();
    }
}
