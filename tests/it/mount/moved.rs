//! `checkout` in a mount, and a mount with `--follow`: the new version is visible despite the
//! kernel's caches, and running programs and nested mounts are not disturbed.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

use crate::mount::harness::{Mount, Volume, assert_like, errno};
use crate::mount::mapping::Mapping;
use crate::support::needs;
use crate::support::sandbox::Run;
use crate::support::zoo::noise;

/// Options of the writable modes.
const MODES: [&[&str]; 3] = [
    &["--ephemeral"],
    &["--ephemeral", "--live"],
    &["--ephemeral", "--hydrate", "all", "--wait-hydrated"],
];

/// A nested mount; unmounted when dropped.
struct Below(PathBuf);

impl Below {
    fn tmpfs(at: PathBuf) -> Self {
        mount("inner", &at, "tmpfs", MountFlags::empty(), None).unwrap();
        Self(at)
    }

    fn bind(from: &Path, at: PathBuf) -> Self {
        mount_bind(from, &at).unwrap();
        Self(at)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Returns what another process reads at a path.
fn read_by_another(path: &Path) -> Vec<u8> {
    std::process::Command::new(needs::need("cat"))
        .arg(path)
        .output()
        .unwrap()
        .stdout
}

/// Creates two versions of a file that grows, one that shrinks and one that stays the same.
fn growing() -> Option<Volume> {
    let v = Volume::of(|w| {
        fs::write(w.join("grows"), noise(1, 100)).unwrap();
        fs::write(w.join("shrinks"), noise(2, 30_000)).unwrap();
        fs::write(w.join("stays"), noise(3, 5000)).unwrap();
    })?;
    fs::write(v.s.at("w/grows"), noise(4, 30_000)).unwrap();
    fs::write(v.s.at("w/shrinks"), noise(5, 100)).unwrap();
    v.commit("second");
    Some(v)
}

/// Asserts that all names have the content of the second version, and still do after appends and a
/// commit.
fn assert_second(v: &Volume, m: &Mount<'_>, what: &str) {
    for (name, bytes) in [
        ("grows", noise(4, 30_000)),
        ("shrinks", noise(5, 100)),
        ("stays", noise(3, 5000)),
    ] {
        assert!(read_by_another(&m.at(name)) == bytes, "{name}, {what}");
        assert_eq!(
            fs::metadata(m.at(name)).unwrap().len(),
            bytes.len() as u64,
            "{name}, {what}"
        );
        std::io::Write::write_all(
            &mut File::options().append(true).open(m.at(name)).unwrap(),
            b"tail",
        )
        .unwrap();
        assert!(
            read_by_another(&m.at(name)) == [&bytes[..], b"tail"].concat(),
            "{name} appended to, {what}"
        );
    }
    let run = m.dvc(&["--json", "commit", "-b", what, "-m", what]).ok();
    assert_like(
        m.root(),
        &v.checkout(run.json()["id"].as_str().unwrap(), what),
    );
}

/// A file that was removed in the mount, but is still open, is not the file that the new version
/// has at its name.
#[test]
fn a_removed_file_in_use_is_not_the_file_of_the_new_version() {
    let Some(v) = growing() else { return };
    for (mode, options) in MODES.into_iter().enumerate() {
        let mut m = v.mount_at("m", "main@v1", options);
        let names = ["grows", "shrinks", "stays"];
        let held = names.map(|name| File::open(m.at(name)).unwrap());
        let before = names.map(|name| fs::read(m.at(name)).unwrap());
        // The second removal is of a file that the mount has changed.
        std::io::Write::write_all(
            &mut File::options().append(true).open(m.at("shrinks")).unwrap(),
            b"more",
        )
        .unwrap();
        names
            .iter()
            .for_each(|name| fs::remove_file(m.at(name)).unwrap());
        m.dvc(&["checkout", "--force", "main@v2"]).ok();
        for ((name, file), bytes) in names.into_iter().zip(&held).zip(&before) {
            let mut read = vec![0; bytes.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            assert!(read == *bytes, "{name}: the removed file");
            let (removed, named) = (file.metadata().unwrap(), fs::metadata(m.at(name)).unwrap());
            assert_ne!(removed.ino(), named.ino(), "{name}");
            assert_eq!((removed.nlink(), named.nlink()), (0, 1), "{name}");
        }
        drop(held);
        assert_second(&v, &m, &format!("removed-{mode}"));
        m.down();
    }
}

#[test]
fn pinned_inodes_keep_their_content_and_names_show_the_version() {
    let Some(v) = growing() else { return };
    for (mode, options) in MODES.into_iter().enumerate() {
        let mut m = v.mount_at("m", "main@v1", options);
        let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
        let pin = |name: &str| {
            rustix::fs::open(m.at(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
        };
        let pinned = ["grows", "shrinks", "stays"].map(pin);
        for name in ["grows", "shrinks", "stays"] {
            inotify::add_watch(&watch, m.at(name), WatchFlags::MODIFY).unwrap();
        }
        fs::write(v.s.at("side"), b"").unwrap();
        let bound = Below::bind(&m.at("grows"), v.s.at("side"));
        m.dvc(&["checkout", "main@v2"]).ok();
        let again = |n: usize| PathBuf::from(format!("/proc/self/fd/{}", pinned[n].as_raw_fd()));
        assert!(fs::read(again(0)).unwrap() == noise(1, 100), "{options:?}");
        assert!(
            fs::read(again(1)).unwrap() == noise(2, 30_000),
            "{options:?}"
        );
        assert!(
            read_by_another(&v.s.at("side")) == noise(1, 100),
            "{options:?}"
        );
        // Writing is refused (ESTALE), because no version would contain the data.
        assert_eq!(errno(File::options().write(true).open(again(0))), 116);
        assert_eq!(
            fs::metadata(again(2)).unwrap().ino(),
            fs::metadata(m.at("stays")).unwrap().ino()
        );
        assert_second(&v, &m, &format!("pinned-{mode}"));
        drop((bound, pinned, watch));
        assert_eq!(m.down_with(&["--discard"]).code, 0);
    }
}

#[test]
fn open_files_keep_their_content_and_names_show_the_version() {
    let Some(v) = growing() else { return };
    for (mode, options) in MODES.into_iter().enumerate() {
        let mut m = v.mount_at("m", "main@v1", options);
        let open = |name: &str| File::open(m.at(name)).unwrap();
        let (grows, shrinks) = (open("grows"), open("shrinks"));
        let seen = |file: &File| {
            let mut bytes = vec![0; 40_000];
            let n = file.read_at(&mut bytes, 0).unwrap();
            bytes.truncate(n);
            bytes
        };
        assert!(seen(&shrinks) == noise(2, 30_000));
        m.dvc(&["checkout", "main@v2"]).ok();
        assert_second(&v, &m, &format!("open-{mode}"));
        assert!(
            seen(&grows) == noise(1, 100) && seen(&shrinks) == noise(2, 30_000),
            "{options:?}"
        );
        assert_eq!(shrinks.metadata().unwrap().len(), 30_000);
        drop((grows, shrinks));
        assert_eq!(m.down_with(&["--discard"]).code, 0);
    }
}

#[test]
fn a_file_open_for_writing_prevents_another_version() {
    let Some(v) = growing() else { return };
    let me = format!("process {}", std::process::id());
    for (mode, options) in MODES.into_iter().enumerate() {
        let mut m = v.mount_at("m", "main@v1", options);
        let writer = File::options()
            .read(true)
            .write(true)
            .open(m.at("grows"))
            .unwrap();
        // A program that another test starts shares the descriptors and mappings of this process
        // until its exec, so its process may be named first.
        let names_me = |args: &[&str], file: &str| {
            assert!(
                (0..50).any(|_| m.dvc(args).code(11).complains(file).err.contains(&me)),
                "{args:?}, {file}"
            );
        };
        for args in [
            &["checkout", "main@v2"][..],
            &["checkout", "--force", "main@v2"],
        ] {
            names_me(args, "grows");
        }
        writer.write_all_at(b"written", 10).unwrap();
        writer.sync_all().unwrap();
        let mut expected = noise(1, 100);
        expected[10..17].copy_from_slice(b"written");
        assert!(read_by_another(&m.at("grows")) == expected);
        m.dvc(&["checkout", "--force", "main@v2"]).code(11);
        drop(writer);
        // A writable mapping prevents the switch, too.
        let mapping = Mapping::of(
            &File::options()
                .read(true)
                .write(true)
                .open(m.at("shrinks"))
                .unwrap(),
        );
        names_me(&["checkout", "--force", "main@v2"], "shrinks");
        drop(mapping);
        m.dvc(&["checkout", "main@v2"]).code(4);
        m.dvc(&["checkout", "--force", "main@v2"]).ok();
        assert_second(&v, &m, &format!("closed-{mode}"));
        assert_eq!(m.down_with(&["--discard"]).code, 0);
    }
}

/// Changes that are made after a switch survive an unmount.
#[test]
fn changes_after_a_switch_survive_the_next_mount() {
    let Some(v) = growing() else { return };
    let mut m = v.mount_at("m", "main@v1", &[]);
    fs::create_dir(m.at("made")).unwrap();
    fs::write(m.at("made/file"), b"first").unwrap();
    m.dvc(&["commit", "-b", "other", "-m", "a directory"]).ok();
    let pinned = ["grows", "made/file"].map(|name| File::open(m.at(name)).unwrap());
    m.dvc(&["checkout", "main@v2"]).ok();
    m.dvc(&["checkout", "other"]).ok();
    m.dvc(&["checkout", "main@v2"]).ok();
    m.dvc(&["checkout", "other"]).ok();
    for name in ["grows", "made/file"] {
        std::io::Write::write_all(
            &mut File::options().append(true).open(m.at(name)).unwrap(),
            b"more",
        )
        .unwrap();
    }
    drop(pinned);
    let mut expected = noise(1, 100);
    expected.extend_from_slice(b"more");
    m.set("other", &[]);
    for _ in 0..2 {
        assert!(fs::read(m.at("grows")).unwrap() == expected);
        assert_eq!(fs::read(m.at("made/file")).unwrap(), b"firstmore");
        m.again();
    }
    m.dvc(&["status", "--porcelain"])
        .ok()
        .says("M grows")
        .says("M made/file");
}

/// Creates versions with directories that serve as mount points.
fn nested() -> Option<Volume> {
    let v = Volume::of(|w| {
        fs::create_dir_all(w.join("a/in")).unwrap();
        fs::write(w.join("a/in/x"), b"1").unwrap();
        fs::write(w.join("a/f"), b"1").unwrap();
        fs::write(w.join("conf"), b"1").unwrap();
    })?;
    fs::write(v.s.at("w/a/f"), b"second").unwrap();
    fs::write(v.s.at("w/a/in/x"), b"second").unwrap();
    v.commit("second");
    fs::remove_dir_all(v.s.at("w/a/in")).unwrap();
    fs::write(v.s.at("w/conf"), b"third").unwrap();
    v.commit("third");
    Some(v)
}

#[test]
fn mounts_inside_a_mount_stay_or_the_version_is_refused() {
    let Some(v) = nested() else { return };
    for (mode, options) in MODES.into_iter().enumerate() {
        let mut m = v.mount_at("m", "main@v1", options);
        fs::write(v.s.at("own"), b"own").unwrap();
        let inner = Below::tmpfs(m.at("a/in"));
        fs::write(m.at("a/in/precious"), b"x").unwrap();
        m.dvc(&["checkout", "main@v2"]).ok();
        assert_eq!(
            fs::read(m.at("a/in/precious")).unwrap(),
            b"x",
            "{options:?}"
        );
        assert_eq!(read_by_another(&m.at("a/f")), b"second");
        m.dvc(&["checkout", "main@v3"])
            .code(11)
            .complains("a/in")
            .complains("umount");
        assert_eq!(
            fs::read(m.at("a/in/precious")).unwrap(),
            b"x",
            "{options:?}"
        );
        drop(inner);
        assert_eq!(read_by_another(&m.at("a/in/x")), b"second");
        // Bind-mount a file over one that differs in the next version.
        let inner = Below::bind(&v.s.at("own"), m.at("conf"));
        m.dvc(&["checkout", "main@v1"]).ok();
        m.dvc(&["checkout", "main@v3"]).code(11).complains("conf");
        assert_eq!(read_by_another(&m.at("conf")), b"own");
        drop(inner);
        m.dvc(&["checkout", "main@v3"]).ok();
        assert_eq!(read_by_another(&m.at("conf")), b"third");
        // A directory is created in the mount and committed later.
        fs::create_dir_all(m.at("made/here")).unwrap();
        fs::write(m.at("made/f"), b"1").unwrap();
        let id = |run: Run| run.ok().json()["id"].as_str().unwrap().to_owned();
        let first = id(m.dvc(&["--json", "commit", "-b", &format!("made-{mode}"), "-m", "1"]));
        fs::write(m.at("made/f"), b"other").unwrap();
        let second = id(m.dvc(&["--json", "commit", "-m", "2"]));
        let inner = Below::tmpfs(m.at("made/here"));
        fs::write(m.at("made/here/precious"), b"x").unwrap();
        for (version, bytes) in [
            (&first, b"1".as_slice()),
            (&second, b"other"),
            (&first, b"1"),
        ] {
            m.dvc(&["checkout", version]).ok();
            assert_eq!(
                fs::read(m.at("made/here/precious")).unwrap(),
                b"x",
                "{options:?}"
            );
            assert_eq!(read_by_another(&m.at("made/f")), bytes);
        }
        drop(inner);
        assert_eq!(m.down_with(&["--discard"]).code, 0);
    }
}

/// Waits until a file has the given content.
#[track_caller]
fn wait_for(path: &Path, bytes: &[u8]) {
    let since = Instant::now();
    while fs::read(path).unwrap() != bytes {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{} does not change",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_following_mount_leaves_nested_mounts_alone() {
    let Some(mut v) = nested() else { return };
    let run = v.s.at("run-of-its-own");
    fs::create_dir_all(run.join("mounts")).unwrap();
    v.s.set("DVC_RUN_DIR", run.to_str().unwrap());
    v.dvc(&["branch", "moving", "main@v1"]).ok();
    let m = v.mount_at("m", "moving", &["--follow"]);
    let pinned = File::open(m.at("a/f")).unwrap();
    let inner = Below::tmpfs(m.at("a/in"));
    let move_to = |revision: &str| v.dvc(&["branch", "-f", "moving", revision]).ok();
    move_to("main@v2");
    wait_for(&m.at("a/f"), b"second");
    let mut bytes = [0; 8];
    assert_eq!(pinned.read_at(&mut bytes, 0).unwrap(), 1);
    fs::write(m.at("a/in/precious"), b"x").unwrap();
    move_to("main@v3");
    // The mount checks the branch every few seconds. The log shows why it does not switch.
    let log = run.join("mounts/log");
    let since = Instant::now();
    while !fs::read_to_string(&log)
        .unwrap()
        .contains("remove the mount point")
    {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "the log does not say why"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(fs::read(m.at("conf")).unwrap(), b"1");
    assert_eq!(fs::read(m.at("a/in/precious")).unwrap(), b"x");
    drop(inner);
    wait_for(&m.at("conf"), b"third");
}

/// Paths that are hard links in one version may be separate files in another one.
#[test]
fn each_version_of_all_has_its_own_hard_links() {
    let Some(v) = Volume::of(|w| {
        fs::create_dir(w.join("d")).unwrap();
        fs::write(w.join("a"), b"first").unwrap();
        fs::hard_link(w.join("a"), w.join("d/b")).unwrap();
    }) else {
        return;
    };
    fs::write(v.s.at("w/a"), b"second, and longer").unwrap();
    v.commit("second");
    fs::create_dir(v.s.at("x")).unwrap();
    fs::write(v.s.at("x/a"), b"another branch").unwrap();
    fs::create_dir(v.s.at("x/d")).unwrap();
    fs::hard_link(v.s.at("x/a"), v.s.at("x/d/b")).unwrap();
    v.commit_dir("x", "other/branch", "other");
    let m = v.mount_at("m", "@", &["--all"]);
    for _ in 0..2 {
        for (version, bytes) in [
            ("main/v1", b"first".as_slice()),
            ("main/v2", b"second, and longer"),
            ("main/latest", b"second, and longer"),
            ("other/branch/v1", b"another branch"),
        ] {
            for name in ["a", "d/b"] {
                assert_eq!(
                    read_by_another(&m.at(version).join(name)),
                    bytes,
                    "{version}/{name}"
                );
            }
            let number = |name: &str| fs::metadata(m.at(version).join(name)).unwrap().ino();
            assert_eq!(number("a"), number("d/b"), "{version}");
        }
    }
}

#[test]
fn caches_of_the_kernel_are_invalidated() {
    let Some(v) = Volume::of(|w| {
        fs::create_dir_all(w.join("d/deep")).unwrap();
        fs::write(w.join("same"), noise(1, 100_000)).unwrap();
        fs::write(w.join("changed"), noise(2, 100_000)).unwrap();
        fs::write(w.join("d/changed"), noise(3, 100_000)).unwrap();
        fs::write(w.join("d/gone"), b"gone").unwrap();
        fs::write(w.join("file, then directory"), b"x").unwrap();
    }) else {
        return;
    };
    let first = v.checkout("main", "first");
    let w = v.s.at("w");
    fs::write(w.join("changed"), noise(4, 50_000)).unwrap();
    fs::write(w.join("d/changed"), noise(5, 200_000)).unwrap();
    fs::write(w.join("new"), b"new").unwrap();
    fs::write(w.join("d/new"), b"new").unwrap();
    fs::write(w.join("d/deep/new"), b"new").unwrap();
    fs::remove_file(w.join("d/gone")).unwrap();
    fs::remove_file(w.join("file, then directory")).unwrap();
    fs::create_dir(w.join("file, then directory")).unwrap();
    v.commit("second");
    let m = v.mount(&[]);
    let open = File::open(m.at("same")).unwrap();
    for round in 0..3 {
        for (revision, plain) in [("main@v1", &first), ("main", &w)] {
            // Look up missing names too, so that the kernel caches negative entries.
            for name in [
                "new",
                "d/new",
                "d/deep/new",
                "d/gone",
                "file, then directory/x",
            ] {
                let _ = fs::metadata(m.at(name));
            }
            m.dvc(&["checkout", revision]).ok();
            for name in ["new", "d/new", "d/deep/new", "d/gone"] {
                assert_eq!(
                    m.at(name).exists(),
                    plain.join(name).exists(),
                    "{name} in {revision}, round {round}"
                );
            }
            assert_like(plain, m.root());
            assert_eq!(m.status(), "");
            let mut bytes = vec![0; 100_000];
            open.read_exact_at(&mut bytes, 0).unwrap();
            assert!(bytes == noise(1, 100_000));
        }
    }
    m.dvc(&["checkout", "main"]).ok();
    fs::write(m.at("new"), b"changed").unwrap();
    m.dvc(&["checkout", "main@v1"]).code(4);
    assert_eq!(fs::read(m.at("new")).unwrap(), b"changed");
    m.dvc(&["checkout", "--force", "main@v1"]).ok();
    assert_like(&first, m.root());
}
