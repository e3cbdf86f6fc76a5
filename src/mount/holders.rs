//! Who sees a mount from other mount namespaces, such as the containers that it is shown in.
//!
//! In: a device number. Out: one process of each namespace, or whether one process does. Only processes count that this one
//! may look at.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use crate::sys::mountinfo::parse;

/// One process of each mount namespace in which the file system of a device is mounted, apart from this one's and that of
/// the machine. Mounts at `but` do not count: services with a namespace of their own see the mount itself there.
pub fn elsewhere(device: (u32, u32), but: Option<&Path>) -> io::Result<Vec<u32>> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let mut seen: HashSet<_> = ["self", "1"].iter().filter_map(|pid| namespace(pid)).collect();
    // The machine's first process may be closed to us. Kernel threads, which have no program, are in the same namespace.
    if fs::read_link("/proc/2/exe").is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        seen.extend(namespace("2"));
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name: OsString = entry?.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse::<u32>().ok()?))) else {
            continue;
        };
        // Whoever ends meanwhile has nothing any more.
        let Some(space) = namespace(text) else { continue };
        if seen.insert(space) && has(pid, device, but).unwrap_or(false) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a process has the file system of a device mounted anywhere; an error if it may not be looked at.
pub fn sees(pid: u32, device: (u32, u32)) -> io::Result<bool> {
    has(pid, device, None)
}

fn has(pid: u32, device: (u32, u32), but: Option<&Path>) -> io::Result<bool> {
    let table = fs::read(format!("/proc/{pid}/mountinfo"))?;
    Ok(parse(&table).iter().any(|m| m.is_ours() && m.device == device && Some(m.at.as_path()) != but))
}
