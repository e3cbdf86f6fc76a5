//! The same file system under a different device number, as in a nightly snapshot of a volume.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::needs::{need, root_to, run};
use crate::support::sandbox::Sandbox;

/// A loop device; detached when dropped.
struct Loop(String);

impl Loop {
    fn of(image: &Path) -> Self {
        let out = Command::new(need("losetup"))
            .args(["-f", "--show"])
            .arg(image)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        Self(String::from_utf8(out.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new(need("losetup")).args(["-d", &self.0]).status();
    }
}

/// A mounted device; unmounted when dropped.
struct Mounted<'l> {
    at: PathBuf,
    _device: &'l Loop,
}

impl<'l> Mounted<'l> {
    fn new(device: &'l Loop, at: &Path) -> Self {
        run("mount", &[&device.0, at.to_str().unwrap()]);
        Self {
            at: at.to_owned(),
            _device: device,
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new(need("umount"))
            .args(["-l"])
            .arg(&self.at)
            .status();
    }
}

/// Waits until a later change of the file would get a different timestamp.
fn settle(path: &Path) {
    let stat = fs::metadata(path).unwrap();
    let changed = UNIX_EPOCH
        + Duration::new(
            stat.ctime().cast_unsigned(),
            u32::try_from(stat.ctime_nsec()).unwrap(),
        );
    while SystemTime::now()
        .duration_since(changed)
        .unwrap_or_default()
        < Duration::from_millis(200)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Replaces bytes of a file in the disk image: no timestamp changes, so only reading the content
/// shows the change.
fn replace(image: &Path, old: &[u8], new: &[u8]) {
    let bytes = fs::read(image).unwrap();
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    fs::File::options()
        .write(true)
        .open(image)
        .unwrap()
        .write_all_at(new, at as u64)
        .unwrap();
}

#[test]
fn a_file_system_on_another_device_is_not_read_again() {
    if !root_to("use loop devices") {
        return;
    }
    let s = Sandbox::new();
    let (image, spare, at) = (s.at("image"), s.at("spare"), s.at("volume"));
    for file in [&image, &spare] {
        fs::File::create(file).unwrap().set_len(16 << 20).unwrap();
    }
    // Inodes of 256 bytes store nanoseconds.
    run("mkfs.ext4", &["-q", "-I", "256", image.to_str().unwrap()]);
    fs::create_dir(&at).unwrap();
    s.dvc(["init", "--repo", "../r"]).ok();
    let commit = || {
        s.dvc([
            "-C",
            "../volume",
            "--repo",
            "../r",
            "commit",
            "-b",
            "night",
            "-m",
            "x",
        ])
        .ok()
    };
    let shown = |name: &str| {
        s.dvc(["--repo", "../r", "show", &format!("night:{name}")])
            .ok()
            .out
    };
    let first = Loop::of(&image);
    let device = {
        let mounted = Mounted::new(&first, &at);
        fs::create_dir(at.join("d")).unwrap();
        fs::write(at.join("d/old"), "content of the old one").unwrap();
        settle(&at.join("d/old"));
        // The snapshot may have the same timestamp as this write, so a later change in the same
        // clock tick would be invisible (git calls such a file racily clean).
        fs::write(at.join("late"), "content of the late one").unwrap();
        settle(&at.join("late"));
        run("sync", &["-f", at.to_str().unwrap()]);
        commit();
        fs::metadata(&mounted.at).unwrap().dev()
    };
    drop(first);
    let _taken = Loop::of(&spare);
    let second = Loop::of(&image);
    for name in ["old", "late"] {
        replace(
            &image,
            format!("content of the {name} one").as_bytes(),
            format!("CONTENT of the {name} one").as_bytes(),
        );
    }
    let _mounted = Mounted::new(&second, &at);
    assert_ne!(
        fs::metadata(&at).unwrap().dev(),
        device,
        "another loop device"
    );
    assert_eq!(
        fs::read(at.join("d/old")).unwrap(),
        b"CONTENT of the old one"
    );
    commit();
    assert_eq!(shown("d/old"), "content of the old one", "it is not read");
    assert_eq!(shown("late"), "CONTENT of the late one", "it is read");
}
