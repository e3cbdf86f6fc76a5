//! At the end of a walk, reads the files whose first hard link was missing or unreadable, through
//! another hard link.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FileType;

use crate::error::Result;
use crate::model::entry::Node;
use crate::model::path::split;
use crate::snapshot::content::stream::store_stream;
use crate::snapshot::walk::entries::LinkKey;
use crate::snapshot::walk::entries::{node_of, open_dir, open_file, open_root, stat_at};
use crate::snapshot::walk::scan::Walk;

/// Reads all inodes that were not read yet, because their first names were lost. `root` is the
/// directory of the snapshot.
pub fn read_unread(walk: &Walk<'_>, root: &Path) -> Result<()> {
    let unread = walk.links().unread();
    for (key, paths) in unread {
        let mut failed = Vec::new();
        for path in &paths {
            match read(walk, root, key, path)? {
                Ok(node) => {
                    walk.links().settle(key, node);
                    // One readable name is sufficient, so the errors of the other names do not
                    // matter.
                    failed.clear();
                    break;
                }
                Err(e) => failed.push((path, e)),
            }
        }
        for (path, e) in failed
            .iter()
            .filter(|f| f.1.kind() != io::ErrorKind::NotFound)
        {
            walk.unreadable(path, "read it", e);
        }
    }
    Ok(())
}

/// Reads one name. The inner error concerns the file, the outer one the repository.
fn read(walk: &Walk<'_>, root: &Path, key: LinkKey, path: &[u8]) -> Result<io::Result<Node>> {
    let open = || -> io::Result<std::result::Result<File, Node>> {
        let names = split(path).unwrap_or_default();
        let Some((name, above)) = names.split_last() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut dir = open_root(root)?;
        for name in above {
            dir = open_dir(dir.as_fd(), name)?;
        }
        let stat = stat_at(dir.as_fd(), name)?;
        // The name leads to another file by now.
        if (stat.dev, stat.ino) != key {
            return Err(io::ErrorKind::NotFound.into());
        }
        if stat.kind != FileType::RegularFile {
            return Ok(Err(node_of(dir.as_fd(), name, &stat)?));
        }
        Ok(Ok(File::from(open_file(dir.as_fd(), name)?)))
    };
    let file = match open() {
        Ok(Ok(file)) => file,
        Ok(Err(node)) => return Ok(Ok(node)),
        Err(e) => return Ok(Err(e)),
    };
    let before = stat_at(file.as_fd(), b"");
    let mut input = Input { file, failed: None };
    let (size, chunker, content) = store_stream(walk.out, walk.observer, &mut input)?;
    let after = stat_at(input.file.as_fd(), b"");
    match (input.failed, before, after) {
        (Some(e), ..) | (_, Err(e), _) | (_, _, Err(e)) => Ok(Err(e)),
        (None, Ok(before), Ok(after)) => {
            if !after.same(&before) {
                walk.changed(path);
            }
            Ok(Ok(Node::File {
                size,
                chunker,
                content,
            }))
        }
    }
}

/// A file that ends at the first read error, and stores the error.
struct Input {
    file: File,
    failed: Option<io::Error>,
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buf) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                // Only this file is unreadable, while an error of the stream would end the walk.
                self.failed = Some(e);
                Ok(0)
            }
            read => read,
        }
    }
}
