//! One random operation, executed in a mount and in an ordinary directory. Both must give the same
//! result.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags, copy_file_range, fallocate,
    lremovexattr, lsetxattr, mknodat, renameat_with,
};

use crate::mount::mapping::Mapping;
use crate::support::zoo::{noise, set_mtime};

/// A generator of random numbers from a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below.max(1)
    }
}

/// Prints an operation if `DVC_TEST_STEPS` is set, to find the cause of a failure.
#[allow(clippy::print_stderr)]
pub fn trace(what: &str) {
    if std::env::var_os("DVC_TEST_STEPS").is_some() {
        eprintln!("{what}");
    }
}

/// The two directories, and the random numbers that choose the operations.
pub struct Steps<'s> {
    pub mount: &'s Path,
    pub plain: &'s Path,
    pub random: &'s mut Random,
    pub seed: u64,
}

impl Steps<'_> {
    fn dirs(&self) -> Vec<PathBuf> {
        let mut all = vec![PathBuf::new()];
        let mut at = 0;
        while at < all.len() {
            let mut names: Vec<PathBuf> = fs::read_dir(self.plain.join(&all[at]))
                .unwrap()
                .map(|e| e.unwrap())
                .filter(|e| e.file_type().unwrap().is_dir())
                .map(|e| all[at].join(e.file_name()))
                .collect();
            names.sort();
            all.extend(names);
            at += 1;
        }
        all
    }

    /// Returns a path in a random directory. The path need not exist.
    fn path(&mut self, kind: char) -> PathBuf {
        let dirs = self.dirs();
        let dir = &dirs[usize::try_from(self.random.next(dirs.len() as u64)).unwrap()];
        dir.join(format!(
            "{kind}{}",
            self.random.next(if kind == 'd' { 4 } else { 9 })
        ))
    }

    /// Returns an existing path half of the time.
    fn any(&mut self) -> PathBuf {
        let files: Vec<PathBuf> = self
            .dirs()
            .iter()
            .flat_map(|dir| {
                fs::read_dir(self.plain.join(dir))
                    .unwrap()
                    .map(|e| dir.join(e.unwrap().file_name()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let mut files = files;
        files.sort();
        if files.is_empty() || self.random.next(8) == 0 {
            return self.path('f');
        }
        files[usize::try_from(self.random.next(files.len() as u64)).unwrap()].clone()
    }

    fn offset(&mut self, size: u64) -> u64 {
        match self.random.next(6) {
            0 => self.random.next(size + 1) & !4095,
            1 => size,
            2 => size + self.random.next(9000),
            3 => (self.random.next(size + 1) & !4095).saturating_sub(1),
            _ => self.random.next(size + 1),
        }
    }

    fn len(&mut self) -> u64 {
        match self.random.next(6) {
            0 => 1 + self.random.next(10),
            1 => 4096,
            2 => 1 + self.random.next(70_000),
            3 => 1 + self.random.next(300_000),
            _ => 1 + self.random.next(9000),
        }
    }

    /// Executes an operation in both directories.
    fn both(&self, what: &str, op: impl Fn(&Path) -> io::Result<()>) {
        trace(what);
        let (there, here) = (op(self.plain), op(self.mount));
        let code = |r: &io::Result<()>| r.as_ref().err().map(|e| e.raw_os_error().unwrap_or(-1));
        assert_eq!(
            code(&here),
            code(&there),
            "seed {}: {what}: {here:?}, natively {there:?}",
            self.seed
        );
    }

    pub fn one(&mut self) {
        match self.random.next(28) {
            0..=5 => self.write(),
            6 | 7 => self.truncate(),
            8 => self.append(),
            9 => self.mapped(),
            10 | 11 => self.rename(),
            12 => self.exchange(),
            13 | 14 => {
                let (from, to) = (self.any(), self.path('f'));
                self.both(&format!("link {from:?} {to:?}"), |r| {
                    fs::hard_link(r.join(&from), r.join(&to))
                });
            }
            15 | 16 => {
                let path = self.any();
                self.both(&format!("unlink {path:?}"), |r| {
                    fs::remove_file(r.join(&path))
                });
            }
            17 => {
                let path = self.path('f');
                let target = "t".repeat(usize::try_from(self.random.next(300)).unwrap() + 1);
                self.both(&format!("symlink {path:?}"), |r| {
                    symlink(&target, r.join(&path))
                });
            }
            18 => {
                let path = self.path('d');
                self.both(&format!("mkdir {path:?}"), |r| {
                    fs::create_dir(r.join(&path))
                });
            }
            19 => {
                let path = self.path('d');
                self.both(&format!("rmdir {path:?}"), |r| {
                    fs::remove_dir(r.join(&path))
                });
            }
            20 => self.attributes(),
            21 => {
                let (path, n) = (self.any(), self.random.next(1000));
                let id = u32::try_from(n).unwrap();
                self.both(&format!("chown {path:?}"), |r| {
                    lchown(r.join(&path), Some(id), Some(id + 1))
                });
            }
            22 => {
                let (path, secs) = (
                    self.any(),
                    i64::try_from(self.random.next(4_000_000_000)).unwrap() - 2_000_000_000,
                );
                if fs::symlink_metadata(self.plain.join(&path)).is_ok() {
                    self.both("utimens", |r| {
                        set_mtime(&r.join(&path), secs, 123_456_789);
                        Ok(())
                    });
                }
            }
            23 => {
                let path = self.any();
                self.both(&format!("fsync {path:?}"), |r| {
                    match fs::symlink_metadata(r.join(&path)) {
                        Ok(meta) if meta.is_file() => File::open(r.join(&path))?.sync_all(),
                        _ => Ok(()),
                    }
                });
            }
            24 | 25 => self.punch(),
            26 => self.copy(),
            _ => {
                let path = self.path('f');
                self.both(&format!("mkfifo {path:?}"), |r| {
                    Ok(mknodat(
                        CWD,
                        r.join(&path),
                        FileType::Fifo,
                        Mode::from_raw_mode(0o644),
                        0,
                    )?)
                });
            }
        }
    }

    /// Returns an existing regular file.
    fn file(&mut self) -> Option<(PathBuf, u64)> {
        (0..6).find_map(|_| {
            let path = self.any();
            let meta = fs::symlink_metadata(self.plain.join(&path)).ok()?;
            meta.is_file().then_some((path, meta.len()))
        })
    }

    fn write(&mut self) {
        let fresh = self.random.next(3) == 0;
        let path = if fresh {
            Some((self.path('f'), 0))
        } else {
            self.file()
        };
        let Some((path, size)) = path else { return };
        if fs::symlink_metadata(self.plain.join(&path)).is_ok_and(|m| !m.is_file()) {
            return;
        }
        let (at, len, seed) = (self.offset(size), self.len(), self.random.next(1 << 40));
        let bytes = noise(seed, usize::try_from(len).unwrap());
        let sync = self.random.next(5) == 0;
        self.both(&format!("write {len} at {at} of {path:?}"), |r| {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(r.join(&path))?;
            file.write_all_at(&bytes, at)?;
            if sync { file.sync_data() } else { Ok(()) }
        });
    }

    fn truncate(&mut self) {
        let Some((path, size)) = self.file() else {
            return;
        };
        let to = match self.random.next(3) {
            0 => 0,
            1 => self.random.next(size + 1),
            _ => self.offset(size),
        };
        let open = to == 0 && self.random.next(2) == 0;
        self.both(&format!("truncate {path:?} to {to}"), |r| {
            let file = OpenOptions::new()
                .write(true)
                .truncate(open)
                .open(r.join(&path))?;
            file.set_len(to)
        });
    }

    fn append(&mut self) {
        let Some((path, _)) = self.file() else { return };
        let bytes = noise(
            self.random.next(1 << 40),
            usize::try_from(self.len()).unwrap(),
        );
        self.both(&format!("append {path:?}"), |r| {
            io::Write::write_all(
                &mut OpenOptions::new().append(true).open(r.join(&path))?,
                &bytes,
            )
        });
    }

    fn mapped(&mut self) {
        let Some((path, size)) = self.file().filter(|f| f.1 > 0) else {
            return;
        };
        let at = self.random.next(size);
        let len = self.len().min(size - at);
        let bytes = noise(self.random.next(1 << 40), usize::try_from(len).unwrap());
        let sync = self.random.next(2) == 0;
        self.both(&format!("mapped write {len} at {at} of {path:?}"), |r| {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(r.join(&path))?;
            let mapping = Mapping::of(&file);
            drop(file);
            mapping.write(usize::try_from(at).unwrap(), &bytes);
            if sync {
                mapping.sync();
            }
            Ok(())
        });
    }

    fn rename(&mut self) {
        let kind = if self.random.next(3) == 0 { 'd' } else { 'f' };
        let from = if kind == 'd' {
            self.path('d')
        } else {
            self.any()
        };
        let to = if self.random.next(2) == 0 {
            self.any()
        } else {
            self.path(kind)
        };
        let fresh = self.random.next(4) == 0;
        self.both(
            &format!("rename {from:?} {to:?}, fresh {fresh}"),
            |r| match fresh {
                true => Ok(renameat_with(
                    CWD,
                    r.join(&from),
                    CWD,
                    r.join(&to),
                    RenameFlags::NOREPLACE,
                )?),
                false => fs::rename(r.join(&from), r.join(&to)),
            },
        );
    }

    fn exchange(&mut self) {
        let (a, b) = (self.any(), self.any());
        self.both(&format!("exchange {a:?} {b:?}"), |r| {
            Ok(renameat_with(
                CWD,
                r.join(&a),
                CWD,
                r.join(&b),
                RenameFlags::EXCHANGE,
            )?)
        });
    }

    fn attributes(&mut self) {
        let (path, n) = (self.any(), self.random.next(3));
        let name = format!("trusted.{n}");
        let value = noise(
            self.random.next(1 << 40),
            usize::try_from(self.random.next(200)).unwrap(),
        );
        let mode = [0o600, 0o644, 0o755, 0o1777, 0o4755, 0o2750]
            [usize::try_from(self.random.next(6)).unwrap()];
        match self.random.next(4) {
            0 => self.both(&format!("removexattr {path:?}"), |r| {
                Ok(lremovexattr(r.join(&path), &*name)?)
            }),
            1 => self.both(&format!("setxattr {path:?}"), |r| {
                Ok(lsetxattr(
                    r.join(&path),
                    &*name,
                    &value,
                    XattrFlags::empty(),
                )?)
            }),
            _ => {
                // `chmod` would follow a symlink, which may point to any file.
                if !fs::symlink_metadata(self.plain.join(&path)).is_ok_and(|m| m.is_symlink()) {
                    self.both(&format!("chmod {path:?} {mode:o}"), |r| {
                        fs::set_permissions(r.join(&path), PermissionsExt::from_mode(mode))
                    });
                }
            }
        }
    }

    fn punch(&mut self) {
        let Some((path, size)) = self.file() else {
            return;
        };
        let (at, len) = (self.offset(size), self.len());
        let keep = FallocateFlags::KEEP_SIZE;
        let flags = [
            FallocateFlags::PUNCH_HOLE | keep,
            FallocateFlags::ZERO_RANGE,
            FallocateFlags::ZERO_RANGE | keep,
            FallocateFlags::empty(),
            keep,
        ][usize::try_from(self.random.next(5)).unwrap()];
        self.both(
            &format!("fallocate {flags:?} {len} at {at} of {path:?}"),
            |r| {
                let file = OpenOptions::new().write(true).open(r.join(&path))?;
                Ok(fallocate(file, flags, at, len)?)
            },
        );
    }

    fn copy(&mut self) {
        let (Some((from, size)), Some((to, size_to))) = (self.file(), self.file()) else {
            return;
        };
        let (at, to_at, len) = (self.random.next(size + 1), self.offset(size_to), self.len());
        // Overlapping ranges in one file are refused under conditions that are not compared here.
        let same = {
            use std::os::unix::fs::MetadataExt;
            let ino = |p: &Path| fs::metadata(self.plain.join(p)).map(|m| m.ino()).ok();
            ino(&from) == ino(&to)
        };
        if same {
            return;
        }
        self.both(&format!("copy {len} of {from:?} to {to:?}"), |r| {
            let (source, target) = (
                File::open(r.join(&from))?,
                OpenOptions::new().write(true).open(r.join(&to))?,
            );
            let (mut read, mut write, mut left) = (at, to_at, len);
            while left > 0 {
                let n = copy_file_range(
                    &source,
                    Some(&mut read),
                    &target,
                    Some(&mut write),
                    usize::try_from(left).unwrap(),
                )?;
                if n == 0 {
                    break;
                }
                left -= n as u64;
            }
            Ok(())
        });
    }
}
