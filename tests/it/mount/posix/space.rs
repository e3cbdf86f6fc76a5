//! Full disks and quotas: a file has its old content or a prefix of the new one, and freed space
//! can be reused.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::mount::harness::{Mount, Volume, drop_cache};
use crate::support::zoo::noise;

const QUOTA: &str = "4M";

fn volume() -> Option<Volume> {
    Volume::of(|w| {
        fs::write(w.join("old"), noise(1, 3_000_000)).unwrap();
        fs::write(w.join("other"), noise(2, 500_000)).unwrap();
    })
}

/// Writes until an error occurs, which may be reported only by the final sync. Returns whether one
/// occurred.
fn fill_up(file: &mut File, bytes: &[u8]) -> bool {
    bytes
        .chunks(100_000)
        .any(|part| file.write_all(part).is_err())
        | file.sync_all().is_err()
}

#[test]
fn writes_that_do_not_fit_fail_without_damage() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&["--quota", QUOTA]);
    let told = statvfs(m.root()).unwrap();
    assert_eq!(told.f_blocks * told.f_frsize, 4 << 20);
    let bytes = noise(3, 9_000_000);
    assert!(
        fill_up(&mut File::create(m.at("new")).unwrap(), &bytes),
        "it fits"
    );
    let now = fs::read(m.at("new")).unwrap();
    let whole = now.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
    assert!(
        now[whole..].iter().all(|b| *b == 0),
        "neither a prefix nor zeros behind it"
    );
    // All other files are unchanged, even one that a program tries to write to.
    let before = noise(2, 500_000);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(m.at("other"))
        .unwrap();
    let wrote = file.write_all_at(b"changed", 250_000).is_ok() && file.sync_all().is_ok();
    assert!(!wrote, "there is no space for it");
    drop(file);
    assert_eq!(statvfs(m.root()).unwrap().f_bavail, 0);
    m.again();
    assert!(fs::read(m.at("other")).unwrap() == before);
    assert!(fs::read(m.at("old")).unwrap() == noise(1, 3_000_000));
    // Renames and removals work while the quota is used up.
    fs::rename(m.at("old"), m.at("renamed")).unwrap();
    fs::remove_file(m.at("new")).unwrap();
    wait_for_space(&m);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(m.at("other"))
        .unwrap();
    file.write_all_at(b"changed", 250_000).unwrap();
    drop_cache(&file);
    let mut seen = [0; 7];
    file.read_exact_at(&mut seen, 250_000).unwrap();
    assert_eq!(&seen, b"changed");
}

/// In passthrough mode, the kernel could write any amount of data without the mount process.
#[test]
fn a_limit_applies_to_passthrough_files_too() {
    let Some(v) = volume() else { return };
    let m = v.mount(&["--quota", QUOTA, "--hydrate", "open"]);
    assert!(
        fill_up(
            &mut File::create(m.at("new")).unwrap(),
            &noise(3, 9_000_000)
        ),
        "it fits"
    );
    assert!(fs::metadata(m.at("new")).unwrap().len() <= 9_000_000);
}

/// Waits for free space, because the kernel releases a removed file after a delay.
fn wait_for_space(m: &Mount<'_>) {
    for _ in 0..1000 {
        if statvfs(m.root()).unwrap().f_bavail > 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the space of a removed file does not come back");
}

/// Reserved space counts as used, and truncating a file frees it.
#[test]
fn space_that_was_reserved_or_cut_is_counted() {
    let Some(v) = volume() else { return };
    let m = v.mount(&["--quota", QUOTA]);
    let file = File::create(m.at("reserved")).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 3 << 20).unwrap();
    assert!(statvfs(m.root()).unwrap().f_bavail * 4096 <= 1 << 20);
    assert_eq!(
        fallocate(&file, FallocateFlags::empty(), 3 << 20, 8 << 20).unwrap_err(),
        rustix::io::Errno::NOSPC
    );
    file.set_len(0).unwrap();
    assert!(statvfs(m.root()).unwrap().f_bavail * 4096 > 3 << 20);
    fs::write(m.at("more"), noise(4, 3 << 20)).unwrap();
    assert!(!fill_up(
        &mut File::options().append(true).open(m.at("more")).unwrap(),
        b"and this"
    ));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(
        File::options().write(true).open(m.at("more")).unwrap(),
        punch,
        0,
        2 << 20,
    )
    .unwrap();
    assert!(statvfs(m.root()).unwrap().f_bavail * 4096 > 2 << 20);
}

/// A 32-bit program fails with an error if the numbers do not fit, and treats the disk as unusable.
#[test]
fn the_number_of_inodes_fits_every_program() {
    let Some(v) = volume() else { return };
    let m = v.mount(&[]);
    let told = statvfs(m.root()).unwrap();
    assert!(
        told.f_ffree > 1 << 20 && told.f_files < 1 << 31,
        "{} of {}",
        told.f_ffree,
        told.f_files
    );
}
