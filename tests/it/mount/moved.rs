//! `checkout` in a mount: another version is shown, also of what the kernel remembers.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::mount::harness::{Volume, assert_like};
use crate::support::zoo::noise;

#[test]
fn what_the_kernel_remembers_is_forgotten() {
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
            // Also names that are not there.
            for name in ["new", "d/new", "d/deep/new", "d/gone", "file, then directory/x"] {
                let _ = fs::metadata(m.at(name));
            }
            m.dvc(&["checkout", revision]).ok();
            for name in ["new", "d/new", "d/deep/new", "d/gone"] {
                assert_eq!(m.at(name).exists(), plain.join(name).exists(), "{name} in {revision}, round {round}");
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
