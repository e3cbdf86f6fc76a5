//! A temporary directory that all tests of a process share.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The directory. A helper process removes it when this process ends, because a static is never
/// dropped.
pub struct SharedDir {
    path: PathBuf,
    /// The helper process, which waits until its standard input is closed. `None` if
    /// `DVC_TEST_KEEP=1` is set.
    remover: Option<Child>,
}

impl SharedDir {
    /// Creates an empty directory.
    pub fn new() -> Self {
        let path = tempfile::Builder::new()
            .prefix("dvc-it-shared-")
            .tempdir()
            .unwrap()
            .keep();
        let mut remover = Command::new("sh");
        remover
            .args(["-c", "cat >/dev/null; rm -rf -- \"$0\""])
            .arg(&path)
            .current_dir("/")
            .process_group(0);
        remover
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let is_kept = std::env::var_os("DVC_TEST_KEEP").is_some();
        Self {
            path,
            remover: (!is_kept).then(|| remover.spawn().unwrap()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::SharedDir;

    #[test]
    fn the_directory_is_removed_when_its_owner_ends() {
        let dir = SharedDir::new();
        let path = dir.path().to_owned();
        std::fs::write(path.join("file"), "content").unwrap();
        // Dropping the value closes the standard input of the helper process, as the end of this
        // process does.
        let is_kept = dir.remover.is_none();
        drop(dir);
        while path.exists() && !is_kept {
            std::thread::yield_now();
        }
    }
}
