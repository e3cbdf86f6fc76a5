//! A file system that is soon full: a tmpfs of some MiB, which only root can have.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::needs::{is_root, need, run};

/// A file system of some MiB, unmounted at the end.
pub struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// Of a size such as `6m`, on a directory that is made; `None` where that may not be, after saying so.
    #[allow(clippy::print_stderr)]
    pub fn mount(place: &'a Path, size: &str) -> Option<Self> {
        fs::create_dir(place).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new(need("mount"));
        let done = mount.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(place).stderr(Stdio::null()).status();
        if !is_root() || !done.unwrap().success() {
            eprintln!("left out: only root can mount a small file system");
            return None;
        }
        Some(Self(place))
    }

    /// Makes it larger or smaller.
    pub fn resize(&self, size: &str) {
        run("mount", &["-o", &format!("remount,size={size}"), self.0.to_str().unwrap()]);
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new(need("umount")).arg(self.0).status();
    }
}
