//! Mount namespaces in which a mount is visible, such as those of containers. Only processes that
//! this process may inspect are considered.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use crate::sys::procfs::{ProcDir, processes};

/// Returns one process of each mount namespace in which the file system with this device number is
/// mounted. The namespaces of this process and of process 1 are left out. Mounts at the path `but`
/// do not count, because services that run in their own namespace see the original mount there.
pub fn other_namespaces(device: (u32, u32), but: Option<&Path>) -> Vec<u32> {
    let namespace = |process: &ProcDir| process.namespace("mnt");
    let mut seen: HashSet<_> = [ProcDir::own(), ProcDir::of(1)]
        .iter()
        .filter_map(namespace)
        .collect();
    // Process 1 may be inaccessible. Kernel threads, which have no executable, are in the same
    // namespace, so look at one of them too.
    let kernel_thread = ProcDir::of(2);
    if kernel_thread.has_no_program() {
        seen.extend(namespace(&kernel_thread));
    }
    let mut found = Vec::new();
    for pid in processes() {
        // Skip a process that has exited in the meantime or is inaccessible.
        let Some(space) = namespace(&ProcDir::of(pid)) else {
            continue;
        };
        if seen.insert(space) && mounts_device(pid, device, but).unwrap_or(false) {
            found.push(pid);
        }
    }
    found
}

/// Returns whether the file system with this device number is mounted in the namespace of a
/// process. Fails if the process is inaccessible.
pub fn has_mount(pid: u32, device: (u32, u32)) -> io::Result<bool> {
    mounts_device(pid, device, None)
}

fn mounts_device(pid: u32, device: (u32, u32), but: Option<&Path>) -> io::Result<bool> {
    let table = ProcDir::of(pid).mounts()?;
    Ok(table
        .iter()
        .any(|m| m.is_ours() && m.device == device && Some(m.at.as_path()) != but))
}
