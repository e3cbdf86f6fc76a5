//! Where a path lies inside its file system, as a process sees it: so that a file that a container has open under a
//! path of its own is known to be the same as one under ours.

use std::fs;
use std::path::Path;

/// One line of a mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    root: Vec<u8>,
    point: Vec<u8>,
}

/// A place inside a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    device: String,
    path: Vec<u8>,
}

impl Place {
    /// The path of `other` below this one.
    pub fn below<'o>(&self, other: &'o Self) -> Option<&'o [u8]> {
        if self.device != other.device {
            return None;
        }
        below(&self.path, &other.path).filter(|p| !p.is_empty())
    }
}

/// The mounts of a process.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Of the process whose folder in `/proc` is `process`.
    pub fn read(process: &Path) -> Self {
        Self::parse(&fs::read(process.join("mountinfo")).unwrap_or_default())
    }

    fn parse(table: &[u8]) -> Self {
        Self(table.split(|b| *b == b'\n').filter_map(parse_line).collect())
    }

    /// The mount points below `dir`, relative to it.
    pub fn below<'m>(&'m self, dir: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        self.0.iter().filter_map(move |m| below(dir, &m.point)).filter(|p| !p.is_empty())
    }

    /// Where `path` lies.
    pub fn place(&self, path: &[u8]) -> Option<Place> {
        // Later mounts cover earlier ones at the same point.
        let covers = |m: &&Mount| below(&m.point, path).is_some();
        let mount = self.0.iter().filter(covers).max_by_key(|m| m.point.len())?;
        let rest = below(&mount.point, path)?;
        let mut whole = mount.root.clone();
        if whole.last() != Some(&b'/') {
            whole.push(b'/');
        }
        whole.extend_from_slice(rest);
        while whole.len() > 1 && whole.last() == Some(&b'/') {
            whole.pop();
        }
        Some(Place { device: mount.device.clone(), path: whole })
    }
}

/// What of `path` comes after `dir`; empty for `dir` itself.
fn below<'p>(dir: &[u8], path: &'p [u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(dir)?;
    match rest.first() {
        None => Some(rest),
        Some(b'/') => rest.get(1..),
        Some(_) => (dir.last() == Some(&b'/')).then_some(rest),
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ').skip(2);
    let device = String::from_utf8(fields.next()?.to_vec()).ok()?;
    Some(Mount { device, root: unescape(fields.next()?), point: unescape(fields.next()?) })
}

/// Blanks and backslashes stand as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(byte) = field.get(at) {
        let digits = field.get(at + 1..at + 4).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(code) if *byte == b'\\' => {
                out.push(code);
                at += 4;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        30 22 8:2 / /var/lib rw - ext4 /dev/sda2 rw\n\
        31 22 8:2 /volumes/my\\040db /mnt/db rw - ext4 /dev/sda2 rw\n";
    const CONTAINER: &[u8] = b"50 49 0:40 / / rw - overlay overlay rw\n\
        51 50 8:2 /volumes/my\\040db /var/lib/mysql rw - ext4 /dev/sda2 rw\n";

    #[test]
    fn one_file_under_three_paths() {
        let (host, container) = (Mounts::parse(HOST), Mounts::parse(CONTAINER));
        let volume = host.place(b"/var/lib/volumes/my db").unwrap();
        let inside = container.place(b"/var/lib/mysql/ibdata1").unwrap();
        assert_eq!(volume.below(&inside), Some(&b"ibdata1"[..]));
        assert_eq!(volume.below(&host.place(b"/mnt/db/a/b").unwrap()), Some(&b"a/b"[..]));
        assert_eq!(volume.below(&host.place(b"/var/lib/volumes/my db2").unwrap()), None);
        assert_eq!(volume.below(&host.place(b"/mnt/db").unwrap()), None);
        assert_eq!(volume.below(&container.place(b"/volumes/my db/x").unwrap()), None);
        assert_eq!(host.below(b"/var").collect::<Vec<_>>(), [&b"lib"[..]]);
        assert_eq!(host.below(b"/").count(), 2);
        let top = host.place(b"/").unwrap();
        assert_eq!(top.below(&host.place(b"/etc/x").unwrap()), Some(&b"etc/x"[..]));
        assert_eq!(top.below(&volume), None);
    }
}
