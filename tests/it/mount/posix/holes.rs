//! Holes: sparse files take the space of their data, and mounts report where it is.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{SeekFrom, seek};

use super::bytes::{edit, volume};
use crate::mount::harness::{Volume, python};
use crate::support::needs::run;
use crate::support::zoo::noise;

#[test]
fn a_sparse_tebibyte_takes_the_space_of_its_data() {
    const SIZE: u64 = 1 << 40;
    let Some(v) = Volume::of(|w| {
        let huge = File::create(w.join("huge")).unwrap();
        huge.set_len(SIZE).unwrap();
        huge.write_all_at(b"middle", SIZE / 2).unwrap();
    }) else {
        return;
    };
    let mut m = v.mount(&[]);
    for name in ["huge", "new"] {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(m.at(name))
            .unwrap();
        file.set_len(SIZE + 1).unwrap();
        file.write_all_at(b"end", SIZE).unwrap();
        file.write_all_at(b"start", 0).unwrap();
    }
    m.commit("huge");
    m.again();
    for name in ["huge", "new"] {
        let file = File::open(m.at(name)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), SIZE + 3);
        let at = |offset: u64| {
            let mut bytes = [0; 6];
            let n = file.read_at(&mut bytes, offset).unwrap();
            bytes[..n].to_vec()
        };
        assert_eq!((at(0), at(SIZE)), (b"start\0".to_vec(), b"end".to_vec()));
        assert_eq!(
            at(SIZE / 2),
            if name == "huge" {
                b"middle"
            } else {
                b"\0\0\0\0\0\0"
            }
        );
    }
    let overlay: u64 = python(
        "import os, sys\nprint(sum(os.stat(os.path.join(d, f)).st_blocks for d, _, fs in os.walk(sys.argv[1]) for f in fs) * 512)",
        &[&v.s.at("r/overlays")],
    )
    .parse()
    .unwrap();
    assert!(overlay < 2 << 20, "{overlay}");
    m.down();
    holes(&v);
}

/// Asserts that a read-only mount reports the holes of the version.
fn holes(v: &Volume) {
    let ro = v.mount_at("ro", "main", &["--ro"]);
    let file = File::open(ro.at("huge")).unwrap();
    let (data, hole) = (
        |at| seek(&file, SeekFrom::Data(at)),
        |at| seek(&file, SeekFrom::Hole(at)),
    );
    assert_eq!(data(0).unwrap(), 0);
    let first = hole(0).unwrap();
    assert!((5..=1 << 20).contains(&first), "{first}");
    let middle = data(first).unwrap();
    assert!(
        middle <= 1 << 39 && middle > (1 << 39) - (1 << 20),
        "{middle}"
    );
    let end = data(hole(middle).unwrap()).unwrap();
    assert!(end <= 1 << 40 && end > (1 << 40) - (1 << 20), "{end}");
    assert_eq!(hole(end).unwrap(), (1 << 40) + 3);
    assert_eq!(data((1 << 40) + 3).unwrap_err(), rustix::io::Errno::NXIO);
}

#[test]
fn a_read_only_mount_reports_the_holes_of_the_version() {
    let Some(v) = volume() else { return };
    let ro = v.mount(&["--ro"]);
    let how = crate::support::facts::Compare::default();
    crate::mount::harness::assert_like_by(&v.s.at("w"), ro.root(), &how, "with holes");
}

/// A mount reports the allocated size of files, so that `cp`, `tar -S` and `du` find holes: in
/// files of the version, in written files, and in files that are open for writing, for which the
/// kernel may still cache writes.
#[test]
fn a_writable_mount_reports_holes() {
    const MIB: u64 = 1 << 20;
    let Some(v) = Volume::of(|w| {
        let sparse = File::create(w.join("sparse")).unwrap();
        sparse.set_len(64 * MIB).unwrap();
        sparse.write_all_at(&noise(1, 3 << 20), 20 * MIB).unwrap();
        fs::write(w.join("dense"), noise(2, 5 << 20)).unwrap();
    }) else {
        return;
    };
    for options in [&["--ro"][..], &[]] {
        let m = v.mount(options);
        let taken = |name: &str| m.at(name).metadata().unwrap().blocks() * 512;
        assert!(
            (3 * MIB..4 * MIB).contains(&taken("sparse")),
            "{options:?}: {}",
            taken("sparse")
        );
        assert!(
            (5 * MIB..6 * MIB).contains(&taken("dense")),
            "{options:?}: {}",
            taken("dense")
        );
        run(
            "cp",
            &[
                m.at("sparse").to_str().unwrap(),
                v.s.at("copy").to_str().unwrap(),
            ],
        );
        assert!(
            v.s.at("copy").metadata().unwrap().blocks() * 512 < 4 * MIB,
            "{options:?}"
        );
        assert!(fs::read(v.s.at("copy")).unwrap() == fs::read(v.s.w("sparse")).unwrap());
    }
    let m = v.mount(&[]);
    let new = File::create_new(m.at("new")).unwrap();
    new.set_len(64 * MIB).unwrap();
    new.write_all_at(b"far", 90 * MIB).unwrap();
    // Some of the bytes may still be in the kernel's cache only, so their range must not be
    // reported as a hole.
    let end = 90 * MIB + 3;
    assert_eq!(seek(&new, SeekFrom::Data(30 * MIB)).unwrap(), 30 * MIB);
    assert_eq!(seek(&new, SeekFrom::Hole(90 * MIB)).unwrap(), end);
    assert_eq!(
        seek(&new, SeekFrom::Data(end)).unwrap_err(),
        rustix::io::Errno::NXIO
    );
    drop(new);
    let new = File::open(m.at("new")).unwrap();
    crate::mount_live::until("its holes are told", || {
        seek(&new, SeekFrom::Data(0)).is_ok_and(|at| at == 90 * MIB)
    });
    assert!(m.at("new").metadata().unwrap().blocks() * 512 < MIB);
    // A written block counts instead of the version's block.
    let file = edit(&m.at("sparse"));
    file.write_all_at(b"x", 0).unwrap();
    drop(file);
    let taken = m.at("sparse").metadata().unwrap().blocks() * 512;
    assert!((3 * MIB..4 * MIB).contains(&taken), "{taken}");
}
