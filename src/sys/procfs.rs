//! Processes and their files according to `/proc`. Entries that this process may not read are
//! skipped, as if they did not exist.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::mountinfo::MountTable;

/// Id of the current boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Map of user ids between the user namespace and its parent.
const UID_MAP: &str = "/proc/self/uid_map";
/// The whole range of user ids, mapped to itself: the map of the initial user namespace.
const IDENTITY: [&str; 3] = ["0", "0", "4294967295"];

/// A process or thread, by its directory in `/proc`.
#[derive(Clone, Debug)]
pub struct ProcDir(PathBuf);

impl ProcDir {
    /// Returns this process. The process id is not used, because it may be that of another process
    /// in the namespace of `/proc`.
    pub fn own() -> Self {
        Self(PathBuf::from("/proc/self"))
    }

    /// Returns the process or thread with this id.
    pub fn of(pid: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{pid}")))
    }

    /// Returns the name of the program; empty if the process has ended.
    pub fn command(&self) -> String {
        fs::read_to_string(self.0.join("comm"))
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    }

    /// Returns whether the process has no program file, like a kernel thread.
    pub fn has_no_program(&self) -> bool {
        fs::read_link(self.0.join("exe")).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the name of a namespace of the process, such as `mnt:[4026531832]` for `mnt`.
    pub fn namespace(&self, kind: &str) -> Option<String> {
        fs::read_link(self.0.join("ns").join(kind))
            .ok()
            .map(|link| link.to_string_lossy().into_owned())
    }

    /// Reads the mount table of the process.
    pub fn mounts(&self) -> io::Result<MountTable> {
        Ok(MountTable::parse(&fs::read(self.0.join("mountinfo"))?))
    }

    /// Returns the links of the open files of the process. The caller must not follow the link of a
    /// file on a mount, because that would be a request to the mount.
    pub fn open_files(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.0.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    }

    /// Returns the kernel's description of each open file of the process, see proc_pid_fdinfo(5).
    pub fn open_file_infos(&self) -> impl Iterator<Item = String> {
        let infos = fs::read_dir(self.0.join("fdinfo"))
            .into_iter()
            .flatten()
            .flatten();
        infos.filter_map(|info| fs::read_to_string(info.path()).ok())
    }

    /// Reads the table of memory mappings of the process, for [`mappings`].
    pub fn maps(&self) -> Vec<u8> {
        fs::read(self.0.join("maps")).unwrap_or_default()
    }

    /// Reads the state of the process or thread.
    pub fn stat(&self) -> io::Result<ProcStat> {
        Ok(ProcStat(fs::read_to_string(self.0.join("stat"))?))
    }
}

/// The content of `/proc/PID/stat`.
pub struct ProcStat(String);

impl ProcStat {
    /// Returns a field by its number in proc_pid_stat(5), from 3 on. The fields before are the
    /// process id and a name that may itself contain spaces and parentheses.
    pub fn field(&self, number: usize) -> &str {
        let after_name = self.0.rsplit_once(')').map(|(_, after_name)| after_name);
        after_name
            .and_then(|fields| fields.split_ascii_whitespace().nth(number.checked_sub(3)?))
            .unwrap_or_default()
    }
}

/// Returns the ids of all processes, including this one.
pub fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A mapping of a file into the memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'m> {
    /// Whether the process can change the file through the mapping.
    pub is_writable: bool,
    /// Major and minor number of the device of the file system.
    pub device: (u32, u32),
    pub ino: u64,
    /// Path in the view of the process.
    pub path: &'m [u8],
}

/// Parses a table of memory mappings, see proc_pid_maps(5). Mappings without a file are skipped.
pub fn mappings(maps: &[u8]) -> impl Iterator<Item = Mapping<'_>> {
    maps.split(|b| *b == b'\n').filter_map(parse_mapping)
}

/// Parses a line such as `7f0000000000-7f0000001000 rw-s 00000000 00:32 1234    /m/f`.
fn parse_mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let path = line.get(line.iter().position(|b| *b == b'/')?..)?;
    let fields = std::str::from_utf8(line.get(..line.len() - path.len())?).ok()?;
    let mut fields = fields.split_ascii_whitespace().skip(1);
    let (rights, device, ino) = (fields.next()?, fields.nth(1)?, fields.next()?.parse().ok()?);
    let (major, minor) = device.split_once(':')?;
    let device = (
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    );
    Some(Mapping {
        // Only a shared mapping writes to the file.
        is_writable: rights.contains('w') && rights.ends_with('s'),
        device,
        ino,
        path,
    })
}

/// Returns the id of the current boot of the machine.
pub fn boot_id() -> String {
    fs::read_to_string(BOOT_ID)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Returns whether this process is in a user namespace other than the initial one, so that its root
/// is not the root of the machine.
pub fn is_in_user_namespace() -> bool {
    // A kernel without user namespaces does not have this file.
    fs::read_to_string(UID_MAP).is_ok_and(|map| !map.split_ascii_whitespace().eq(IDENTITY))
}

/// Returns the id of a user in the parent of the user namespace of this process.
pub fn outer_uid(inside: u32) -> u32 {
    // Without a map, there is only one user namespace.
    outer_id(&fs::read_to_string(UID_MAP).unwrap_or_default(), inside).unwrap_or(inside)
}

fn outer_id(map: &str, inside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let (first, outside, count) = (
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
        );
        let nth = inside.checked_sub(first).filter(|nth| *nth < count)?;
        outside.checked_add(nth)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_files_are_parsed() {
        let maps =
            b"7f0000000000-7f0000001000 rw-s 00000000 00:32 4611686018427387999    /m/a file\n\
            7f00-7f01 rw-p 00000000 fe:0a 12 /bin/sh\n\
            7f00-7f01 rw-p 00000000 00:00 0\n\
            7ffc-7ffd rw-p 00000000 00:00 0                          [stack]\n";
        let found: Vec<_> = mappings(maps).collect();
        let first = Mapping {
            is_writable: true,
            device: (0, 0x32),
            ino: 4_611_686_018_427_387_999,
            path: b"/m/a file",
        };
        let second = Mapping {
            is_writable: false,
            device: (0xfe, 10),
            ino: 12,
            path: b"/bin/sh",
        };
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn fields_come_after_the_name() {
        // The name of a program may contain spaces and parentheses, so only the last parenthesis
        // ends it.
        let stat = ProcStat("7 (a ) b) S 1 7 7".to_owned());
        assert_eq!(
            (
                stat.field(3),
                stat.field(4),
                stat.field(6),
                stat.field(7),
                stat.field(2)
            ),
            ("S", "1", "7", "", "")
        );
    }

    #[test]
    fn this_process_is_seen() {
        let own = ProcDir::own();
        assert!(processes().any(|pid| pid == std::process::id()));
        assert_eq!(own.command(), ProcDir::of(std::process::id()).command());
        assert!(own.namespace("mnt").unwrap().starts_with("mnt:["));
        assert!(
            !own.has_no_program()
                && own.open_files().count() > 2
                && own.open_file_infos().count() > 2
        );
        assert!(mappings(&own.maps()).any(|mapping| mapping.path.starts_with(b"/")));
        assert!(
            !own.mounts().unwrap().is_empty() && ["R", "S"].contains(&own.stat().unwrap().field(3))
        );
        assert!(!boot_id().is_empty());
        assert_eq!(ProcDir::of(u32::MAX).command(), "");
    }

    #[test]
    fn users_outside_of_a_namespace() {
        // The first id inside, the first id outside, and their number (user_namespaces(7)).
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(
            (outer_id(map, 0), outer_id(map, 5), outer_id(map, 70_000)),
            (Some(1000), Some(100_004), None)
        );
        assert_eq!(outer_id("", 0), None);
    }
}
