//! A tree with every kind of content that a volume can contain.
//!
//! In: an empty directory. Out: the tree, and the kinds of content that could not be created,
//! because the user is not root or the file system refuses them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat,
    utimensat,
};

use super::needs::{is_root, need, run};

/// Kinds of content that could not be created here.
pub type Missing = Vec<String>;

/// Returns incompressible pseudo-random bytes, the same ones for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Returns text that compresses like prose, the same for the same seed.
pub fn prose(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "volume", "page", "of", "the", "row", "index", "a", "log", "and", "commit", "is", "not",
    ];
    let mut out = Vec::with_capacity(len + 16);
    for b in noise(seed, len / 3 + 1) {
        out.extend_from_slice(WORDS[usize::from(b) % WORDS.len()].as_bytes());
        out.push(if b.is_multiple_of(17) { b'\n' } else { b' ' });
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

/// Sets the access and modification time of a file or symlink itself.
pub fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    let at = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: at,
        last_modification: at,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Builds the tree below `root`, which must exist. Returns the kinds of content that could not be
/// created.
pub fn build(root: &Path) -> Missing {
    let mut missing = Missing::new();
    let dir = |name: &str| {
        let p = root.join(name);
        fs::create_dir(&p).unwrap();
        p
    };

    let plain = dir("plain");
    fs::write(plain.join("text"), prose(1, 10_000)).unwrap();
    fs::write(plain.join("zero"), b"").unwrap();
    for len in [
        1_usize, 4095, 4096, 65_535, 65_536, 65_537, 262_145, 3_000_001,
    ] {
        fs::write(plain.join(format!("noise-{len}")), noise(len as u64, len)).unwrap();
    }
    fs::write(plain.join("twice"), noise(7, 300_000)).unwrap();
    fs::write(plain.join("twice too"), noise(7, 300_000)).unwrap();

    let modes = dir("modes");
    for mode in [0o000, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o6711] {
        let p = modes.join(format!("{mode:04o}"));
        fs::write(&p, format!("{mode:o}")).unwrap();
        fs::set_permissions(&p, PermissionsExt::from_mode(mode)).unwrap();
    }
    for mode in [0o700, 0o1777, 0o2775] {
        let p = modes.join(format!("dir-{mode:04o}"));
        fs::create_dir(&p).unwrap();
        fs::set_permissions(&p, PermissionsExt::from_mode(mode)).unwrap();
    }

    let names = dir("names");
    let odd: [&[u8]; 12] = [
        b"not utf-8 \xff\xfe",
        b"new\nline",
        b"tab\t",
        b"\x01\x1b[31m",
        b" ",
        b"-rf",
        b"...",
        b".hidden",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"back\\slash",
        &[b'n'; 255],
    ];
    for name in odd {
        fs::write(names.join(OsStr::from_bytes(name)), name).unwrap();
    }
    dir("empty");
    let mut deep = dir("deep");
    for n in 0..40 {
        deep.push(format!("level {n}"));
        fs::create_dir(&deep).unwrap();
    }
    fs::write(deep.join("bottom"), b"here").unwrap();
    let many = dir("many");
    for n in 0..2000 {
        fs::write(many.join(format!("file-{n:05}")), format!("{n}\n")).unwrap();
    }

    let links = dir("links");
    symlink("../plain/text", links.join("sym")).unwrap();
    symlink("/does/not/exist", links.join("dangling")).unwrap();
    symlink(
        OsStr::from_bytes(b"\xff target"),
        links.join("sym not utf-8"),
    )
    .unwrap();
    symlink(OsStr::from_bytes(&[b'x'; 4000]), links.join("sym long")).unwrap();
    symlink("..", links.join("sym up")).unwrap();
    fs::write(links.join("hard1"), b"one inode").unwrap();
    fs::hard_link(links.join("hard1"), links.join("hard2")).unwrap();
    fs::hard_link(links.join("hard1"), root.join("hard0")).unwrap();
    fs::hard_link(links.join("sym"), links.join("sym hard")).unwrap();

    let sparse = dir("sparse");
    for (name, size, runs) in [
        ("all hole", 10 << 20, &[][..]),
        (
            "middle",
            4 << 20,
            &[(0_u64, 100_000_usize), (3 << 20, 70_000)],
        ),
        ("end", (8 << 20) + 5, &[((8 << 20), 5)]),
        ("huge", 1 << 40, &[(1 << 30, 65_536), ((1 << 40) - 10, 10)]),
        ("unaligned", 1_000_000, &[(300_001, 3)]),
    ] {
        let f = File::create(sparse.join(name)).unwrap();
        f.set_len(size).unwrap();
        for (at, len) in runs {
            f.write_all_at(&noise(*at, *len), *at).unwrap();
        }
    }
    fs::write(sparse.join("written zeros"), vec![0; 1 << 20]).unwrap();

    let special = dir("special");
    let mut node = |name: &str, kind, dev| {
        if let Err(e) = mknodat(
            CWD,
            special.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            dev,
        ) {
            missing.push(format!("{name}: {e}"));
        }
    };
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    node("char", FileType::CharacterDevice, makedev(1, 3));
    node(
        "char big",
        FileType::CharacterDevice,
        makedev(511, 1_048_575),
    );
    node("block", FileType::BlockDevice, makedev(7, 200));

    attributes(root, &mut missing);
    owners(root);
    times(root);
    missing
}

fn attributes(root: &Path, missing: &mut Missing) {
    let dir = root.join("attributes");
    fs::create_dir(&dir).unwrap();
    let text = |name: &str| dir.join(name).into_os_string().into_string().unwrap();
    let file = dir.join("file");
    for name in ["file", "acl", "caps"] {
        fs::write(dir.join(name), name).unwrap();
    }
    fs::create_dir(dir.join("dir")).unwrap();
    symlink("file", dir.join("link")).unwrap();
    let big = noise(3, 1500);
    let mut set = |path: &Path, name: &str, value: &[u8]| {
        if let Err(e) = lsetxattr(path, name, value, XattrFlags::empty()) {
            missing.push(format!("{name}: {e}"));
        }
    };
    set(&file, "user.text", b"a value");
    set(&file, "user.empty", b"");
    set(&file, "user.binary", b"\0\xff\n");
    set(&file, "user.big", &big);
    set(&dir.join("dir"), "user.of a directory", b"x");
    if is_root() {
        set(&file, "trusted.secret", b"y");
        set(&dir.join("link"), "trusted.of a link", b"z");
        need("setcap");
        run(
            "setcap",
            &["cap_net_bind_service,cap_sys_nice+ep", &text("caps")],
        );
    }
    run(
        "setfacl",
        &["-m", "u:12345:rw,g:54321:r,m::rwx", &text("acl")],
    );
    run(
        "setfacl",
        &["-m", "u:12345:rwx,d:u:12345:rx,d:g::---", &text("dir")],
    );
}

fn owners(root: &Path) {
    if !is_root() {
        return;
    }
    let dir = root.join("owners");
    fs::create_dir(&dir).unwrap();
    for (uid, gid) in [(1000, 1000), (65_534, 12), (4_000_000_000, 3_999_999_999)] {
        let p = dir.join(format!("{uid}-{gid}"));
        fs::write(&p, b"whose").unwrap();
        chown(&p, Some(uid), Some(gid)).unwrap();
        // Changing the owner clears these bits, so a restore has to set the mode after the owner.
        fs::set_permissions(&p, PermissionsExt::from_mode(0o6755)).unwrap();
    }
    symlink("x", dir.join("link")).unwrap();
    lchown(dir.join("link"), Some(77), Some(78)).unwrap();
    chown(&dir, Some(33), Some(33)).unwrap();
}

fn times(root: &Path) {
    let dir = root.join("times");
    fs::create_dir(&dir).unwrap();
    for (name, secs, nanos) in [
        ("epoch", 0, 0),
        ("nanoseconds", 1_700_000_000, 123_456_789),
        ("before 1970", -86_400 * 365, 999_999_999),
        ("just before", -1, 1),
        ("1902", -2_145_916_800, 5),
        ("after 2038", 4_102_444_800, 1),
    ] {
        fs::write(dir.join(name), name).unwrap();
        set_mtime(&dir.join(name), secs, nanos);
    }
    symlink("epoch", dir.join("link")).unwrap();
    set_mtime(&dir.join("link"), -5, 7);
    fs::create_dir(dir.join("dir")).unwrap();
    fs::write(dir.join("dir/in it"), b"x").unwrap();
    set_mtime(&dir.join("dir"), 1_000_000_000, 42);
    for name in ["links", "empty", "plain", "special", "times"] {
        if root.join(name).exists() {
            set_mtime(&root.join(name), 1_234_567_890, 987_654_321);
        }
    }
    set_mtime(root, 1_500_000_000, 1);
}
