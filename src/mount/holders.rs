//! Who sees a mount from other mount namespaces, such as the containers that it is shown in.
//!
//! In: a device number. Out: one process of each namespace, or whether one process does. Only processes count that this one
//! may look at.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use crate::sys::procfs::{ProcDir, processes};

/// One process of each mount namespace in which the file system of a device is mounted, apart from this one's and that of
/// the machine. Mounts at `but` do not count: services with a namespace of their own see the mount itself there.
pub fn elsewhere(device: (u32, u32), but: Option<&Path>) -> Vec<u32> {
    let namespace = |process: &ProcDir| process.namespace("mnt");
    let mut seen: HashSet<_> = [ProcDir::own(), ProcDir::of(1)].iter().filter_map(namespace).collect();
    // The machine's first process may be closed to us. Kernel threads, which have no program, are in the same namespace.
    let kernel_thread = ProcDir::of(2);
    if kernel_thread.has_no_program() {
        seen.extend(namespace(&kernel_thread));
    }
    let mut found = Vec::new();
    for pid in processes() {
        // A process that ends meanwhile has no mounts any more.
        let Some(space) = namespace(&ProcDir::of(pid)) else { continue };
        if seen.insert(space) && has(pid, device, but).unwrap_or(false) {
            found.push(pid);
        }
    }
    found
}

/// Whether a process has the file system of a device mounted anywhere; an error if it may not be looked at.
pub fn sees(pid: u32, device: (u32, u32)) -> io::Result<bool> {
    has(pid, device, None)
}

fn has(pid: u32, device: (u32, u32), but: Option<&Path>) -> io::Result<bool> {
    let table = ProcDir::of(pid).mounts()?;
    Ok(table.iter().any(|m| m.is_ours() && m.device == device && Some(m.at.as_path()) != but))
}
