//! Modes, owners, times and xattrs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, StatxFlags, XattrFlags, getxattr, listxattr, removexattr, setxattr, statx,
};
use rustix::io::Errno;

use crate::mount::harness::{Volume, as_user, assert_like, is_passthrough};
use crate::support::facts::xattrs;
use crate::support::zoo::{noise, set_mtime};

/// The kernel's encoding of the capability `cap_net_bind_service+ep`.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const NONE: XattrFlags = XattrFlags::empty();

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn trusted(path: &Path) {
    chown(path, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o6777)).unwrap();
    setxattr(path, "security.capability", &CAPABILITY, NONE).unwrap();
}

const WAYS: [(&str, &str); 5] = [
    ("write", "printf x >> f"),
    (
        "overwrite",
        "printf x | dd of=f bs=1 conv=notrunc 2>/dev/null",
    ),
    ("truncate", "truncate -s 1 f"),
    ("empty", ": > f"),
    (
        "map",
        "python3 -c 'import mmap; m = mmap.mmap(open(\"f\", \"r+b\").fileno(), 0); m[0:1] = b\"x\"'",
    ),
];

/// Writing to a file removes its privileges (set-ID bits and capabilities), because they were
/// granted to the old content.
#[test]
fn trust_ends_when_the_content_changes() {
    trust_ends(&["--allow-other"]);
}

#[test]
fn trust_ends_in_passthrough() {
    trust_ends(&["--allow-other", "--hydrate", "all", "--wait-hydrated"]);
}

fn trust_ends(options: &[&str]) {
    let Some(v) = Volume::of(|w| {
        for (way, _) in WAYS {
            fs::create_dir(w.join(way)).unwrap();
            fs::write(w.join(way).join("f"), b"program").unwrap();
            trusted(&w.join(way).join("f"));
        }
    }) else {
        return;
    };
    let mut m = v.mount(options);
    fs::create_dir(m.at("new")).unwrap();
    for (way, script) in WAYS.into_iter().filter(|w| w.0 != "map") {
        for dir in [m.at(way), m.at("new")] {
            let file = dir.join("f");
            if dir.ends_with("new") {
                fs::write(&file, b"program").unwrap();
                trusted(&file);
            }
            assert_eq!(mode(&file), 0o6777);
            // A second open handle does not prevent the removal of the privileges.
            let _reader = File::open(&file).unwrap();
            let (done, said) = as_user(4321, &dir, &format!("cd \"$DIR\" && {script}"));
            assert!(done, "{said}");
            assert_eq!(mode(&file), 0o777, "{way} in {}", dir.display());
            assert!(xattrs(&file).is_empty(), "{way} in {}", dir.display());
        }
    }
    m.again();
    for (way, _) in WAYS.into_iter().filter(|w| w.0 != "map") {
        assert_eq!(mode(&m.at(way).join("f")), 0o777);
        assert!(xattrs(&m.at(way).join("f")).is_empty());
    }
}

/// Returns the mode from the kernel's cache, which decides the privileges when the file is
/// executed.
fn known_mode(path: &Path) -> u32 {
    u32::from(
        statx(CWD, path, AtFlags::empty(), StatxFlags::MODE)
            .unwrap()
            .stx_mode,
    ) & 0o7777
}

#[test]
fn the_kernel_sees_the_end_of_trust_when_a_write_returns() {
    const SCRIPTS: [&str; 6] = [
        "printf x >> f",
        "printf x | dd of=f bs=1 conv=notrunc 2>/dev/null",
        "head -c 4096 /dev/zero | dd of=f bs=4096 oflag=direct conv=notrunc 2>/dev/null",
        "fallocate -l 9000 f",
        "fallocate -p -o 0 -l 3 f",
        ": > f",
    ];
    let Some(v) = Volume::of(|w| fs::write(w.join("other"), b"x").unwrap()) else {
        return;
    };
    for options in [
        &["--allow-other"][..],
        &["--allow-other", "--hydrate", "all", "--wait-hydrated"],
    ] {
        let mut m = v.mount(&[&["--ephemeral"], options].concat());
        fs::set_permissions(m.root(), PermissionsExt::from_mode(0o755)).unwrap();
        for script in SCRIPTS {
            let file = m.at("f");
            fs::write(&file, b"program").unwrap();
            trusted(&file);
            // Keep the file open in this program, so that the kernel has no other reason to request
            // the attributes.
            let _reader = File::open(&file).unwrap();
            assert_eq!(known_mode(&file), 0o6777);
            let (done, said) = as_user(4321, m.root(), &format!("cd \"$DIR\" && {script}"));
            assert!(done, "{said}");
            assert_eq!(known_mode(&file), 0o777, "{script}, {options:?}");
            fs::remove_file(&file).unwrap();
        }
        m.down();
    }
}

/// The mode is set while this program has the file open for writing in passthrough mode.
#[test]
fn privileges_set_on_an_open_file_end_with_the_next_write() {
    let Some(v) = Volume::of(|w| fs::write(w.join("f"), b"program").unwrap()) else {
        return;
    };
    let mut m = v.mount(&["--ephemeral", "--hydrate", "all", "--wait-hydrated"]);
    if !is_passthrough(&m) {
        return;
    }
    let writer = File::options().write(true).open(m.at("f")).unwrap();
    writer.write_all_at(b"before", 0).unwrap();
    fs::set_permissions(m.at("f"), PermissionsExt::from_mode(0o4755)).unwrap();
    assert_eq!(mode(&m.at("f")), 0o4755);
    writer.write_all_at(b"after", 0).unwrap();
    drop(writer);
    assert_eq!(mode(&m.at("f")), 0o755);
    m.down();
}

/// Timestamps come from the kernel and from the mount process. A later change must not get an
/// earlier timestamp.
#[test]
fn later_changes_have_no_earlier_time() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), b"1").unwrap()) else {
        return;
    };
    for options in [
        &[][..],
        &["--live"],
        &["--hydrate", "all", "--wait-hydrated"],
    ] {
        let mut m = v.mount(&[&["--ephemeral"], options].concat());
        let time = |name: &str| {
            let meta = fs::symlink_metadata(m.at(name)).unwrap();
            (meta.mtime(), meta.mtime_nsec())
        };
        fs::create_dir(m.at("d")).unwrap();
        let mut last = (0, 0);
        let mut later = |name: &str, what: &str| {
            let now = time(name);
            assert!(
                now >= last,
                "{what} of `{name}` at {now:?}, after {last:?} ({options:?})"
            );
            last = now;
        };
        for n in 0..40 {
            let (empty, written, link) = (format!("d/e{n}"), format!("d/w{n}"), format!("d/l{n}"));
            File::create(m.at(&empty)).unwrap();
            later(&empty, "creation");
            fs::write(m.at(&written), b"x").unwrap();
            later(&written, "write");
            std::os::unix::fs::symlink("x", m.at(&link)).unwrap();
            later(&link, "creation");
            later("d", "change");
            File::options()
                .append(true)
                .open(m.at("a"))
                .unwrap()
                .write_all_at(b"y", 0)
                .unwrap();
            later("a", "write");
            fs::remove_file(m.at(&link)).unwrap();
            later("d", "removal");
            File::options()
                .write(true)
                .open(m.at(&written))
                .unwrap()
                .set_len(0)
                .unwrap();
            later(&written, "truncation");
        }
        m.down();
    }
}

#[test]
fn trust_ends_when_the_owner_changes() {
    let Some(v) = Volume::of(|w| {
        fs::write(w.join("f"), b"program").unwrap();
        trusted(&w.join("f"));
        fs::create_dir(w.join("d")).unwrap();
        fs::set_permissions(w.join("d"), PermissionsExt::from_mode(0o6777)).unwrap();
    }) else {
        return;
    };
    let m = v.mount(&[]);
    chown(m.at("f"), Some(1), Some(1)).unwrap();
    assert_eq!((mode(&m.at("f")), xattrs(&m.at("f"))), (0o777, Vec::new()));
    chown(m.at("d"), Some(1), Some(1)).unwrap();
    assert_eq!(mode(&m.at("d")), 0o6777);
    // The set-group-ID bit without execute permission grants no privilege, so it stays.
    fs::set_permissions(m.at("f"), PermissionsExt::from_mode(0o2666)).unwrap();
    chown(m.at("f"), Some(2), None).unwrap();
    assert_eq!(mode(&m.at("f")), 0o2666);
}

#[test]
fn new_files_in_a_setgid_directory_inherit_its_group() {
    let make = |d: &Path| {
        fs::create_dir(d).unwrap();
        chown(d, Some(7), Some(8)).unwrap();
        fs::set_permissions(d, PermissionsExt::from_mode(0o2777)).unwrap();
    };
    let Some(v) = Volume::of(|w| make(&w.join("old"))) else {
        return;
    };
    let mut m = v.mount(&["--allow-other"]);
    make(&m.at("new"));
    for dir in ["old", "new"] {
        let (done, said) = as_user(
            4321,
            &m.at(dir),
            "cd \"$DIR\" && umask 022 && touch f && mkdir d && ln -s x l && mkfifo p && mkdir d/below",
        );
        assert!(done, "{said}");
    }
    for _ in 0..2 {
        for dir in ["old", "new"] {
            for name in ["f", "d", "l", "p", "d/below"] {
                let meta = fs::symlink_metadata(m.at(dir).join(name)).unwrap();
                assert_eq!((meta.uid(), meta.gid()), (4321, 8), "{dir}/{name}");
                assert_eq!(meta.mode() & 0o2000 != 0, meta.is_dir(), "{dir}/{name}");
            }
        }
        m.again();
    }
}

#[test]
fn times_may_be_before_1970_and_far_in_the_future() {
    let times = [
        (-1, 1),
        (-86_400 * 365, 999_999_999),
        (-2_145_916_800, 5),
        (0, 0),
        (0, 1),
        (4_102_444_800, 123_456_789),
    ];
    let make = |dir: &Path, at: usize| {
        let (secs, nanos) = times[at];
        fs::write(dir.join(format!("f{at}")), b"x").unwrap();
        fs::create_dir(dir.join(format!("d{at}"))).unwrap();
        std::os::unix::fs::symlink("x", dir.join(format!("l{at}"))).unwrap();
        for kind in ["f", "d", "l"] {
            set_mtime(&dir.join(format!("{kind}{at}")), secs, nanos);
        }
    };
    let all = |dir: &Path| (0..times.len()).for_each(|at| make(dir, at));
    let Some(v) = Volume::of(all) else { return };
    let mut m = v.mount(&[]);
    fs::create_dir(m.at("new")).unwrap();
    all(&m.at("new"));
    // Set the times of the files of the version in reverse order, so that the time of each file
    // changes.
    for (at, (secs, nanos)) in times.iter().enumerate() {
        set_mtime(&m.at(format!("f{}", times.len() - 1 - at)), *secs, *nanos);
    }
    let check = |root: &Path| {
        for (at, (secs, nanos)) in times.iter().enumerate() {
            let back = times.len() - 1 - at;
            for name in [
                format!("new/f{at}"),
                format!("new/d{at}"),
                format!("new/l{at}"),
                format!("d{at}"),
                format!("f{back}"),
            ] {
                let meta = fs::symlink_metadata(root.join(&name)).unwrap();
                assert_eq!((meta.mtime(), meta.mtime_nsec()), (*secs, *nanos), "{name}");
            }
        }
    };
    check(m.root());
    m.again();
    check(m.root());
    m.commit("times");
    check(&v.checkout("main", "out"));
}

/// Writing changes the time of the file, changing names changes the time of the directory, and
/// reading creates no difference to the version.
#[test]
fn times_move_with_changes() {
    let Some(v) = Volume::of(|w| {
        for name in ["a", "b", "c"] {
            fs::write(w.join(name), noise(1, 10_000)).unwrap();
            set_mtime(&w.join(name), 1_000_000_000, 5);
        }
        fs::create_dir(w.join("d")).unwrap();
        set_mtime(&w.join("d"), 1_000_000_000, 5);
        set_mtime(w, 1_000_000_000, 5);
    }) else {
        return;
    };
    let mut m = v.mount(&[]);
    let mtime = |name: &str| fs::symlink_metadata(m.at(name)).unwrap().mtime();
    fs::read(m.at("c")).unwrap();
    assert_eq!(
        (mtime("c"), mtime("d"), mtime("")),
        (1_000_000_000, 1_000_000_000, 1_000_000_000)
    );
    assert_eq!(m.status(), "");
    OpenOptions::new()
        .write(true)
        .open(m.at("a"))
        .unwrap()
        .write_all_at(b"x", 0)
        .unwrap();
    fs::set_permissions(m.at("b"), PermissionsExt::from_mode(0o600)).unwrap();
    File::create(m.at("d/x")).unwrap();
    assert!(mtime("a") > 1_600_000_000 && mtime("d") > 1_600_000_000);
    assert_eq!(
        (mtime("b"), mtime("c"), mtime("")),
        (1_000_000_000, 1_000_000_000, 1_000_000_000)
    );
    let before: Vec<_> = ["a", "b", "d", "d/x"]
        .iter()
        .map(|n| fs::metadata(m.at(n)).unwrap().mtime_nsec())
        .collect();
    m.again();
    let now: Vec<_> = ["a", "b", "d", "d/x"]
        .iter()
        .map(|n| fs::metadata(m.at(n)).unwrap().mtime_nsec())
        .collect();
    assert_eq!(now, before);
}

#[test]
fn extended_attributes_have_flags_and_limits() {
    let Some(v) = Volume::of(|w| {
        fs::write(w.join("old"), b"x").unwrap();
        setxattr(w.join("old"), "user.first", b"1", NONE).unwrap();
    }) else {
        return;
    };
    let mut m = v.mount(&[]);
    fs::write(m.at("new"), b"x").unwrap();
    fs::create_dir(m.at("dir")).unwrap();
    setxattr(m.at("new"), "user.first", b"1", NONE).unwrap();
    setxattr(m.at("dir"), "user.first", b"1", NONE).unwrap();
    let largest = noise(1, 65_536);
    for name in ["old", "new", "dir"] {
        let path = m.at(name);
        let set = |name: &str, value: &[u8], flags| setxattr(&path, name, value, flags);
        assert_eq!(
            set("user.first", b"2", XattrFlags::CREATE),
            Err(Errno::EXIST)
        );
        assert_eq!(
            set("user.second", b"2", XattrFlags::REPLACE),
            Err(Errno::NODATA)
        );
        set("user.second", b"2", XattrFlags::CREATE).unwrap();
        set("user.first", b"", XattrFlags::REPLACE).unwrap();
        set("user.large", &largest, NONE).unwrap();
        assert_eq!(set("user.large", &[0; 65_537], NONE), Err(Errno::TOOBIG));
        set(&format!("user.{}", "n".repeat(250)), b"\0\xff", NONE).unwrap();
        assert_eq!(
            set(&format!("user.{}", "n".repeat(251)), b"x", NONE),
            Err(Errno::RANGE)
        );
        let mut small = [0; 3];
        assert_eq!(getxattr(&path, "user.large", &mut small), Err(Errno::RANGE));
        assert_eq!(listxattr(&path, &mut small), Err(Errno::RANGE));
        assert_eq!(
            getxattr(&path, "user.nothing", &mut small),
            Err(Errno::NODATA)
        );
        assert_eq!(removexattr(&path, "user.nothing"), Err(Errno::NODATA));
        removexattr(&path, "user.second").unwrap();
        set("trusted.t", b"t", NONE).unwrap();
    }
    let expected = xattrs(&m.at("old"));
    assert_eq!(
        expected.iter().map(|x| x.1.len()).collect::<Vec<_>>(),
        [1, 0, 65_536, 2]
    );
    for _ in 0..2 {
        for name in ["old", "new", "dir"] {
            assert_eq!(xattrs(&m.at(name)), expected, "{name}");
        }
        m.again();
    }
}

/// xattr names are restricted as on other file systems of the kernel, because a version with
/// unsupported names could not be checked out completely.
#[test]
fn extended_attributes_have_the_namespaces_of_the_kernel() {
    let Some(v) = Volume::of(|w| fs::write(w.join("old"), "x").unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    let old = m.at("old");
    for (name, e) in [
        ("foo.bar", Errno::OPNOTSUPP),
        ("bare", Errno::OPNOTSUPP),
        ("system.foo", Errno::OPNOTSUPP),
        ("user.", Errno::INVAL),
        ("trusted.", Errno::INVAL),
    ] {
        assert_eq!(setxattr(&old, name, b"1", NONE).unwrap_err(), e, "{name}");
        assert_eq!(getxattr(&old, name, &mut [0; 8]).unwrap_err(), e, "{name}");
        assert_eq!(removexattr(&old, name).unwrap_err(), e, "{name}");
    }
    assert!(xattrs(&old).is_empty());
}

#[test]
fn acls_are_kept() {
    let Some(v) = Volume::of(|w| {
        fs::write(w.join("f"), b"x").unwrap();
        crate::support::needs::run(
            "setfacl",
            &["-m", "u:12345:rw,g:54321:r", w.join("f").to_str().unwrap()],
        );
    }) else {
        return;
    };
    let m = v.mount(&[]);
    assert_like(&v.s.at("w"), m.root());
    assert_eq!(xattrs(&m.at("f")).len(), 1);
}

/// As on other file systems, the mask of an ACL equals the group permission bits of the mode, and
/// setting one of them changes both.
#[test]
fn acl_and_mode_agree() {
    let Some(v) = Volume::of(|w| fs::write(w.join("old"), b"x").unwrap()) else {
        return;
    };
    let m = v.mount(&[]);
    fs::write(m.at("new"), b"x").unwrap();
    fs::write(v.s.w("new"), b"x").unwrap();
    for dir in [m.root(), &v.s.at("w")] {
        for name in ["old", "new"] {
            let path = dir.join(name);
            let acl = |what: &[&str]| {
                crate::support::needs::run("setfacl", &[what, &[path.to_str().unwrap()]].concat())
            };
            fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            acl(&["-m", "u:12345:rw,m::rwx"]);
            assert_eq!(mode(&path), 0o670, "{}", path.display());
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            let said = crate::support::needs::run("getfacl", &["-cp", path.to_str().unwrap()]);
            assert!(said.contains("mask::---"), "{}: {said}", path.display());
            acl(&["-b"]);
            assert_eq!(mode(&path), 0o600);
            assert!(xattrs(&path).is_empty());
        }
    }
}
