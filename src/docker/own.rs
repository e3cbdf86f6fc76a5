//! The container of this process, and the translation of paths between that container and the
//! engine's machine.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::types::Container;
use crate::sys::mountinfo::{MountTable, Mounted};

/// Returns the container of this process, if it is among the containers of an engine.
pub fn own(all: &[Container]) -> Option<&Container> {
    // Without these files, the process counts as outside of a container.
    let mounts = MountTable::read().unwrap_or_default();
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // The engine stores /etc/hostname and similar files of each container in a directory whose name
    // is the container's id.
    let is_host_file = |m: &&Mounted| m.at.as_os_str().as_bytes().starts_with(b"/etc/host");
    let bound = |id: &str| {
        mounts
            .iter()
            .filter(is_host_file)
            .any(|m| m.root.iter().any(|name| name == id))
    };
    // The state of the container does not matter, because its first process may call this before
    // the engine has recorded that the container runs.
    all.iter().find(|c| bound(&c.id) || groups.contains(&c.id))
}

impl Container {
    /// Translates a path on the engine's machine into a path in the container. Returns `None` if no
    /// mount of the container contains the path.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        let around = self
            .mounts
            .iter()
            .filter(|m| m.source.is_absolute() && path.starts_with(&m.source));
        // Mounts may be nested; the innermost one has the path.
        let mount = around.max_by_key(|m| m.source.components().count())?;
        let below = path.strip_prefix(&mount.source).ok()?;
        // Joining an empty path would append a slash.
        Some(if below == Path::new("") {
            mount.destination.clone()
        } else {
            mount.destination.join(below)
        })
    }

    /// Translates a path in the container into a path on the engine's machine and the volume that
    /// contains it. The path is `None` if no mount of the container contains the path, or if the
    /// engine does not report the source of the mount.
    pub fn outside(&self, path: &Path) -> (Option<PathBuf>, Option<String>) {
        let around = self
            .mounts
            .iter()
            .filter(|m| path.starts_with(&m.destination));
        let Some(mount) = around.max_by_key(|m| m.destination.components().count()) else {
            return (None, None);
        };
        let below = path
            .strip_prefix(&mount.destination)
            .unwrap_or(Path::new(""));
        let there = (mount.source != Path::new("")).then(|| mount.source.join(below));
        (
            there,
            Some(mount.name.clone()).filter(|name| !name.is_empty()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::ContainerMount;

    #[test]
    fn paths_are_known_by_both_names() {
        let mount = |name: &str, source: &str, destination: &str| ContainerMount {
            name: name.to_owned(),
            source: source.into(),
            destination: destination.into(),
            writable: true,
        };
        let mounts = vec![
            mount("db", "/d/volumes/db/_data", "/source/db"),
            mount("", "/d/volumes", "/volumes"),
            mount("far", "", "/far"),
        ];
        let container = Container {
            id: "1".to_owned(),
            names: Vec::new(),
            state: "running".to_owned(),
            labels: std::collections::BTreeMap::default(),
            mounts,
        };
        let inside = |path: &str| {
            container
                .inside(Path::new(path))
                .map(|p| p.display().to_string())
        };
        assert_eq!(inside("/d/volumes/db/_data").as_deref(), Some("/source/db"));
        assert_eq!(
            inside("/d/volumes/db/_data/x").as_deref(),
            Some("/source/db/x")
        );
        assert_eq!(
            inside("/d/volumes/other/_data").as_deref(),
            Some("/volumes/other/_data")
        );
        assert_eq!((inside("/d/volumes2"), inside("/etc")), (None, None));
        let outside = |path: &str| container.outside(Path::new(path));
        assert_eq!(
            outside("/source/db/x"),
            (Some("/d/volumes/db/_data/x".into()), Some("db".to_owned()))
        );
        assert_eq!(outside("/volumes/o"), (Some("/d/volumes/o".into()), None));
        assert_eq!(outside("/far/x"), (None, Some("far".to_owned())));
        assert_eq!(outside("/etc"), (None, None));
    }
}
