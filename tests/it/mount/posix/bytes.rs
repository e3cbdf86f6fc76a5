//! File content: writes over a version at every boundary, mappings, truncation, appends, and
//! concurrent opens of every kind.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FallocateFlags, fallocate};

use crate::mount::harness::{Mount, PASSTHROUGH, Volume, assert_like, drop_cache, errno, python};
use crate::mount::mapping::Mapping;
use crate::support::needs::need;
use crate::support::zoo::{noise, prose};

/// Creates one file for each way of storing content in a version.
pub fn fill(dir: &Path) {
    fs::write(dir.join("inline"), noise(1, 200)).unwrap();
    fs::write(dir.join("small"), noise(2, 60_001)).unwrap();
    fs::write(dir.join("chunks"), noise(3, 700_003)).unwrap();
    fs::write(dir.join("prose"), prose(4, 400_000)).unwrap();
    let mut pages = b"SQLite format 3\0\x10\0".to_vec();
    pages.extend(noise(5, 524_288 - 18));
    fs::write(dir.join("pages"), pages).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.set_len(1_500_000).unwrap();
    for (seed, at, len) in [(6, 0, 5000), (7, 300_000, 100_000), (8, 1_400_007, 33)] {
        sparse.write_all_at(&noise(seed, len), at).unwrap();
    }
}

const FILES: [&str; 6] = ["inline", "small", "chunks", "prose", "pages", "sparse"];

pub(super) fn volume() -> Option<Volume> {
    Volume::of(fill)
}

pub(super) fn edit(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

/// Writes the same bytes to a file and to its model.
fn write_both(file: &File, model: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    file.write_all_at(bytes, at).unwrap();
    let at = usize::try_from(at).unwrap();
    if model.len() < at + bytes.len() {
        model.resize(at + bytes.len(), 0);
    }
    model[at..at + bytes.len()].copy_from_slice(bytes);
}

#[track_caller]
fn is(path: &Path, model: &[u8], what: &str) {
    let now = fs::read(path).unwrap();
    if now != model {
        let at = now
            .iter()
            .zip(model)
            .position(|(a, b)| a != b)
            .unwrap_or(now.len().min(model.len()));
        panic!(
            "{}: {what}: {} bytes, should be {}; differs at {at}",
            path.display(),
            now.len(),
            model.len()
        );
    }
}

/// Returns offsets at and next to every boundary that a file of this size can have.
fn edges(size: u64) -> Vec<u64> {
    let mut all: Vec<u64> = [
        4096,
        8192,
        65_536,
        131_072,
        262_144,
        300_000,
        524_288,
        size,
        size / 2,
    ]
    .into_iter()
    .flat_map(|edge: u64| [edge.saturating_sub(1), edge, edge + 1])
    .chain([
        0,
        1,
        size + 4095,
        size.next_multiple_of(4096),
        size.next_multiple_of(65_536),
    ])
    .filter(|at| *at < size + 70_000)
    .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[test]
fn a_write_changes_what_it_writes_and_nothing_else() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let mut models = Vec::new();
    for name in FILES {
        let path = m.at(name);
        let mut model = fs::read(&path).unwrap();
        let first = model.clone();
        let file = edit(&path);
        for (n, at) in edges(first.len() as u64).into_iter().enumerate() {
            let bytes = noise(n as u64, [1, 2, 4096, 4097, 37][n % 5]);
            write_both(&file, &mut model, at, &bytes);
            // Drop the page cache, so that the mount process serves the read.
            drop_cache(&file);
            is(
                &path,
                &model,
                &format!("after {} bytes at {at}", bytes.len()),
            );
        }
        models.push(model);
    }
    for round in [
        "after remounting",
        "after a commit",
        "after remounting that",
    ] {
        match round {
            "after a commit" => drop(m.commit(round)),
            _ => m.again(),
        }
        for (name, model) in FILES.iter().zip(&models) {
            drop_cache(&File::open(m.at(name)).unwrap());
            is(&m.at(name), model, round);
        }
    }
    let out = v.checkout("main", "out");
    for (name, model) in FILES.iter().zip(&models) {
        is(&out.join(name), model, "checked out");
    }
}

#[test]
fn the_version_and_other_mounts_of_it_see_nothing() {
    let Some(v) = volume() else { return };
    let (m, other, ro) = (
        v.mount(&[]),
        v.mount_at("m2", "main", &[]),
        v.mount_at("m3", "main", &["--ro"]),
    );
    for name in FILES {
        edit(&m.at(name)).write_all_at(b"changed", 100).unwrap();
    }
    fs::remove_file(m.at("small")).unwrap();
    assert_like(&v.s.at("w"), other.root());
    assert_like(&v.s.at("w"), ro.root());
    assert_eq!(
        m.status(),
        "m .\nM chunks\nM inline\nM pages\nM prose\nD small\nM sparse\n"
    );
    assert_eq!(other.status(), "");
}

/// Sizes around the old one and around block boundaries: truncated bytes read as zeros when the
/// file grows again.
#[test]
fn truncated_bytes_never_come_back() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let mut models = Vec::new();
    for name in FILES {
        let path = m.at(name);
        let mut model = fs::read(&path).unwrap();
        let size = model.len();
        let file = edit(&path);
        for (n, part) in [(1, 1), (3, 4), (1, 2), (1, 3), (1, 9)]
            .into_iter()
            .enumerate()
        {
            for cut in [
                (size * part.0 / part.1) & !4095,
                size * part.0 / part.1 + 1 - n.min(1) * 7,
            ] {
                let cut = cut.min(model.len());
                file.set_len(cut as u64).unwrap();
                model.truncate(cut);
                if n % 2 == 0 {
                    drop_cache(&file);
                }
                let grown = [size, size + 4096, cut + 1, cut + 5000, size * 2][n];
                file.set_len(grown as u64).unwrap();
                model.resize(grown, 0);
                drop_cache(&file);
                is(&path, &model, &format!("cut at {cut}, grown to {grown}"));
                write_both(&file, &mut model, cut as u64 + 100, b"between");
            }
        }
        // Extend the file by a write far beyond its end.
        file.set_len(1000).unwrap();
        model.truncate(1000);
        write_both(&file, &mut model, 200_000, b"far");
        drop_cache(&file);
        is(&path, &model, "a write far behind");
        models.push(model);
    }
    m.again();
    for (name, model) in FILES.iter().zip(&models) {
        is(&m.at(name), model, "after remounting");
    }
    for name in FILES {
        let path = m.at(name);
        let file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        file.set_len(300_000).unwrap();
        drop(file);
        m.again();
        is(&path, &vec![0; 300_000], "emptied at opening");
    }
}

#[test]
fn ranges_are_allocated_punched_and_zeroed() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let keep = FallocateFlags::KEEP_SIZE;
    let mut models = Vec::new();
    for name in FILES {
        let path = m.at(name);
        let mut model = fs::read(&path).unwrap();
        let file = edit(&path);
        for (n, at) in edges(model.len() as u64).into_iter().enumerate() {
            let len = [1, 100, 4096, 10_000][n % 4];
            let (flags, grows) = match n % 5 {
                0 => (FallocateFlags::PUNCH_HOLE | keep, false),
                1 => (FallocateFlags::ZERO_RANGE | keep, false),
                2 => (FallocateFlags::ZERO_RANGE, true),
                3 => (FallocateFlags::empty(), true),
                _ => (keep, false),
            };
            fallocate(&file, flags, at, len).unwrap();
            let (start, end) = (
                usize::try_from(at).unwrap(),
                usize::try_from(at + len).unwrap(),
            );
            if grows && end > model.len() {
                model.resize(end, 0);
            }
            if n % 5 < 3 {
                let (start, end) = (start.min(model.len()), end.min(model.len()));
                model[start..end].fill(0);
            }
            drop_cache(&file);
            is(&path, &model, &format!("{flags:?} of {len} at {at}"));
        }
        for flags in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
            assert_eq!(
                errno(fallocate(&file, flags, 0, 4096).map_err(Into::into)),
                libc("EOPNOTSUPP")
            );
        }
        models.push(model);
    }
    m.again();
    for (name, model) in FILES.iter().zip(&models) {
        is(&m.at(name), model, "after remounting");
    }
}

/// Returns an errno by its name.
pub fn libc(name: &str) -> i32 {
    use rustix::io::Errno;
    let errno = match name {
        "EOPNOTSUPP" => Errno::OPNOTSUPP,
        "ENOSPC" => Errno::NOSPC,
        "EROFS" => Errno::ROFS,
        "EEXIST" => Errno::EXIST,
        "ENAMETOOLONG" => Errno::NAMETOOLONG,
        "ENODATA" => Errno::NODATA,
        "E2BIG" => Errno::TOOBIG,
        "ERANGE" => Errno::RANGE,
        "EISDIR" => Errno::ISDIR,
        "ENOTDIR" => Errno::NOTDIR,
        "ENOTEMPTY" => Errno::NOTEMPTY,
        "EINVAL" => Errno::INVAL,
        "ENOENT" => Errno::NOENT,
        "EFBIG" => Errno::FBIG,
        "EPERM" => Errno::PERM,
        _ => panic!("{name}"),
    };
    errno.raw_os_error()
}

/// A child process that evaluates Python expressions from its input and answers each with a line.
struct Other(Child);

impl Other {
    fn start(script: &str, path: &Path) -> Self {
        let loop_ = format!(
            "import sys, os, mmap\nf = open(sys.argv[1], 'r+b', buffering=0)\n{script}\nprint('ready', flush=True)\n\
             for line in sys.stdin:\n    print(eval(line), flush=True)\n"
        );
        let mut child = Command::new(need("python3"))
            .args(["-c", &loop_])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut other_ready = String::new();
        read_line(&mut child, &mut other_ready);
        assert_eq!(other_ready.trim(), "ready");
        Self(child)
    }

    fn ask(&mut self, line: &str) -> String {
        use std::io::Write;
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        read_line(&mut self.0, &mut answer);
        answer.trim().to_owned()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Reads a line byte by byte, so that no byte of the next answer is consumed.
fn read_line(child: &mut Child, line: &mut String) {
    use std::io::Read;
    let out = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(char::from(byte[0]));
    }
}

#[test]
fn a_mapping_is_shared_by_processes() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    for name in ["chunks", "pages", "sparse"] {
        let path = m.at(name);
        let file = edit(&path);
        let mapping = Mapping::of(&file);
        let mut other = Other::start("m = mmap.mmap(f.fileno(), 0)", &path);
        mapping.write(5000, b"from here");
        assert_eq!(other.ask("m[5000:5009]"), "b'from here'");
        assert_eq!(
            other.ask("m.__setitem__(slice(70000, 70005), b'there')"),
            "None"
        );
        assert_eq!(mapping.read(70_000, 5), b"there");
        // Reads and writes of the file access the same bytes as the mapping.
        file.write_all_at(b"written", 100_000).unwrap();
        assert_eq!(other.ask("m[100000:100007]"), "b'written'");
        assert_eq!(other.ask("os.pread(f.fileno(), 9, 5000)"), "b'from here'");
        mapping.sync();
        assert_eq!(other.ask("m.flush()"), "None");
    }
    let before: Vec<Vec<u8>> = ["chunks", "pages", "sparse"]
        .iter()
        .map(|n| fs::read(m.at(n)).unwrap())
        .collect();
    m.kill();
    m.up();
    for (name, bytes) in ["chunks", "pages", "sparse"].iter().zip(&before) {
        assert_eq!(&bytes[5000..5009], b"from here");
        is(&m.at(name), bytes, "flushed, then killed");
    }
}

/// A commit and later mounts contain the writes of a mapping that was never synced and whose file
/// descriptor is closed.
#[test]
fn unsynced_writes_of_a_mapping_are_committed() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let file = edit(&m.at("chunks"));
    let mapping = Mapping::of(&file);
    drop(file);
    mapping.write(123_456, b"mapped");
    m.commit("mapped");
    let out = v.checkout("main", "out");
    assert_eq!(
        &fs::read(out.join("chunks")).unwrap()[123_456..123_462],
        b"mapped"
    );
    mapping.write(123_456, b"twice!");
    drop(mapping);
    m.again();
    assert_eq!(
        &fs::read(m.at("chunks")).unwrap()[123_456..123_462],
        b"twice!"
    );
}

#[test]
fn opens_of_every_kind_see_each_others_writes() {
    let Some(v) = volume() else { return };
    let m = v.mount(&[]);
    for name in FILES {
        let path = m.at(name);
        let mut model = fs::read(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        let both = edit(&path);
        let appender = OpenOptions::new().append(true).open(&path).unwrap();
        let direct = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_DIRECT)
            .open(&path)
            .unwrap();
        let synced = OpenOptions::new()
            .write(true)
            .custom_flags(O_SYNC)
            .open(&path)
            .unwrap();
        write_both(&writer, &mut model, 10, b"writer");
        write_both(&both, &mut model, 4090, b"both over an edge");
        write_both(&synced, &mut model, 20, b"synced");
        // Use an aligned request, because some file systems require it for `O_DIRECT`.
        write_both(&direct, &mut model, 8192, &noise(9, 4096));
        std::io::Write::write_all(&mut &appender, b"appended").unwrap();
        model.extend_from_slice(b"appended");
        for file in [&reader, &both, &direct] {
            let mut seen = vec![0; model.len() + 10];
            let mut n = 0;
            while let read @ 1.. = file.read_at(&mut seen[n..], n as u64).unwrap() {
                n += read;
            }
            assert!(seen[..n] == model[..], "{name}");
        }
        assert_eq!(reader.metadata().unwrap().len(), model.len() as u64);
    }
}

const O_DIRECT: i32 = rustix::fs::OFlags::DIRECT.bits().cast_signed();
const O_SYNC: i32 = rustix::fs::OFlags::SYNC.bits().cast_signed();

/// Asynchronous direct writes, while another thread reads through the page cache.
const ASYNCHRONOUS: &str = r#"
import ctypes, mmap, os, platform, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
setup, submit, events = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}[platform.machine()]
call = lambda *a: libc.syscall(*[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
SIZE, COUNT = 4096, 16
path = sys.argv[1]
direct = os.open(path, os.O_RDWR | os.O_DIRECT)
cached = os.open(path, os.O_RDONLY)
context = ctypes.c_ulong(0)
assert call(setup, COUNT, ctypes.byref(context)) == 0, os.strerror(ctypes.get_errno())
buffers = [mmap.mmap(-1, SIZE) for _ in range(COUNT)]
address = [ctypes.addressof(ctypes.c_char.from_buffer(b)) for b in buffers]
ended = False
def read():
    while not ended:
        for n in range(COUNT):
            os.pread(cached, SIZE, n * SIZE)
reader = threading.Thread(target=read)
reader.start()
stale = 0
for turn in range(1, 120):
    blocks = []
    for n in range(COUNT):
        buffers[n][:] = bytes([turn]) * SIZE
        # data, key, rw_flags, opcode, priority, descriptor, buffer, length, offset, reserved, flags, resfd
        block = struct.pack("=QIiHhIQQqQII", n, 0, 0, 1, 0, direct, address[n], SIZE, n * SIZE, 0, 0, 0)
        blocks.append(ctypes.create_string_buffer(block, 64))
    pointers = (ctypes.c_void_p * COUNT)(*[ctypes.addressof(b) for b in blocks])
    assert call(submit, context, COUNT, pointers) == COUNT, os.strerror(ctypes.get_errno())
    out = ctypes.create_string_buffer(32 * COUNT)
    assert call(events, context, COUNT, COUNT, out, None) == COUNT
    assert all(struct.unpack_from("=q", out, 32 * n + 16)[0] == SIZE for n in range(COUNT))
    for n in range(COUNT):
        stale += os.pread(cached, SIZE, n * SIZE) != bytes([turn]) * SIZE
ended = True
reader.join()
print(stale)
"#;

#[test]
fn reads_see_asynchronous_direct_writes() {
    let Some(v) = Volume::of(|w| fs::write(w.join("f"), noise(1, 16 * 4096)).unwrap()) else {
        return;
    };
    for options in [&[][..], &["--live"], PASSTHROUGH] {
        let mut m = v.mount(&[&["--ephemeral"], options].concat());
        for name in ["f", "new"] {
            if name == "new" {
                fs::write(m.at(name), noise(2, 16 * 4096)).unwrap();
            }
            assert_eq!(
                python(ASYNCHRONOUS, &[&m.at(name)]),
                "0",
                "stale reads of `{name}` ({options:?})"
            );
        }
        m.down();
    }
}

#[test]
fn two_processes_append_without_losing_a_line() {
    let Some(v) = volume() else { return };
    let m = v.mount(&[]);
    for name in ["new", "prose"] {
        let path = m.at(name);
        let before = fs::read(&path).unwrap_or_default();
        let script = "import os, sys\nf = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)\n\
                      for n in range(2000):\n    os.write(f, b'%s %06d\\n' % (sys.argv[2].encode(), n))\n";
        let children: Vec<Child> = ["one", "two"]
            .iter()
            .map(|who| {
                Command::new(need("python3"))
                    .args(["-c", script])
                    .arg(&path)
                    .arg(who)
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let now = fs::read(&path).unwrap();
        assert!(now.starts_with(&before));
        let added = String::from_utf8(now[before.len()..].to_vec()).unwrap();
        for who in ["one", "two"] {
            let of_one: Vec<&str> = added.lines().filter(|l| l.starts_with(who)).collect();
            let expected: Vec<String> = (0..2000).map(|n| format!("{who} {n:06}")).collect();
            assert_eq!(of_one, expected, "{name}");
        }
    }
}

#[test]
fn a_length_that_no_file_can_have_is_refused() {
    let Some(v) = volume() else { return };
    let m = v.mount(&[]);
    let file = edit(&m.at("small"));
    assert!(file.write_at(b"x", i64::MAX as u64).is_err());
    assert!(file.set_len(i64::MAX as u64).is_ok() || file.metadata().unwrap().size() == 60_001);
    drop(file);
    read_back(&m);
}

fn read_back(m: &Mount<'_>) {
    let file = File::open(m.at("small")).unwrap();
    let mut head = vec![0; 60_001];
    file.read_exact_at(&mut head, 0).unwrap();
    assert!(head == noise(2, 60_001));
}

/// Small files can be read in any order, although the mount decompresses the next ones of a pack in
/// advance.
#[test]
fn many_small_files_are_right_in_any_order() {
    let content = |n: usize| format!("file {n} ").repeat(n % 700 + 40);
    let count = 3000;
    let Some(v) = Volume::of(|w| {
        for n in 0..count {
            let dir = w.join(format!("d{:02}", n / 100));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("f{n:04}")), content(n)).unwrap();
        }
    }) else {
        return;
    };
    let m = v.mount(&["--ro"]);
    let right = |n: usize| {
        let got = fs::read_to_string(m.at(format!("d{:02}/f{n:04}", n / 100))).unwrap();
        assert!(got == content(n), "{n}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..count).for_each(right));
        scope.spawn(|| (0..count).rev().for_each(right));
        scope.spawn(|| (0..count).step_by(7).for_each(right));
    });
}
