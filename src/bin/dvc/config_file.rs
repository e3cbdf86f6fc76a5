//! Changes one setting in a configuration file. Readers see either the old or the new file, never a
//! partly written one.

use crate::failure::CliError;
use crate::settings::value::SettingValue;
use crate::settings::{BadConfiguration, edit};
use dvc::error::Result;
use dvc::sys::create;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The text of a configuration file before and after a change. Nothing is written until
/// [`FileChange::write`].
pub(crate) struct FileChange {
    path: PathBuf,
    before: String,
    after: String,
}

impl FileChange {
    /// Reads the file at `path` and sets `key`, or removes it if `value` is `None`. A missing file
    /// counts as empty.
    pub(crate) fn prepare(path: &Path, key: &str, value: Option<&SettingValue>) -> Result<Self> {
        let before = match fs::read_to_string(path) {
            Ok(before) => before,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(CliError::File {
                    doing: "read",
                    path: path.to_owned(),
                    source,
                }
                .into());
            }
        };
        let after =
            edit::edited(&before, key, value, path).map_err(|p| BadConfiguration(vec![p]))?;
        Ok(Self {
            path: path.to_owned(),
            before,
            after,
        })
    }

    /// Returns whether the file would become different.
    pub(crate) fn is_different(&self) -> bool {
        self.after != self.before
    }

    /// Writes the file if it would become different.
    pub(crate) fn write(&self) -> Result<()> {
        if !self.is_different() {
            return Ok(());
        }
        let failed = |source| CliError::File {
            doing: "write",
            path: self.path.clone(),
            source,
        };
        Ok(replace(&self.path, &self.after).map_err(failed)?)
    }
}

/// Replaces a file atomically and keeps its permissions.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // The file may be a link into a directory of settings that the user keeps under version
    // control. Such a link stays, and its target is replaced. A link of another user could lead root
    // to any file.
    let is_own = fs::symlink_metadata(path)
        .is_ok_and(|link| link.uid() == rustix::process::geteuid().as_raw());
    let target = is_own.then(|| fs::canonicalize(path).ok()).flatten();
    let path = target.as_deref().unwrap_or(path);
    let dir = path.parent().unwrap_or(Path::new("/"));
    create::dir_all(dir)?;
    let mut file = create::temp_file(dir, ".config")?;
    file.write_all(text.as_bytes())?;
    // The file may contain secrets, so the access of the old file is kept.
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    // The content must be durable before the name; otherwise, a crash could leave an empty file.
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    create::sync_dir(dir)
}
