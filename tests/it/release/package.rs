//! The release archive and the Debian package: their content, and the package's life cycle on a
//! bare system.
//!
//! `DVC_TEST_DIST` names the output directory of `make dist`; `make test` sets it. Without it, the
//! tests package the binary under test.

use super::{installed, project};
use crate::support::needs::{fuse, is_root, need, run, server, skip_or_fail};
use crate::support::sandbox::{Run, Sandbox, all_below};
use crate::support::shared_dir::SharedDir;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The release archive, the Debian package and their checksums.
struct Dist {
    /// Directory of the files that the test has packaged itself, with fast compression. `None` with
    /// `DVC_TEST_DIST`.
    made: Option<SharedDir>,
    dir: PathBuf,
}

/// Returns the release files. Returns `None` and skips the test if they cannot be made without
/// `cargo-deb`.
fn dist() -> Option<&'static Dist> {
    static DIST: OnceLock<Dist> = OnceLock::new();
    let named = std::env::var_os("DVC_TEST_DIST").filter(|dir| !dir.is_empty());
    if named.is_none() {
        server("cargo-deb")?;
    }
    Some(DIST.get_or_init(|| {
        if let Some(dir) = named {
            return Dist {
                made: None,
                dir: dir.into(),
            };
        }
        let made = SharedDir::new();
        let (binary, dir) = (made.path().join("dvc"), made.path().join("dist"));
        run(
            "strip",
            &[
                "-s",
                "-o",
                binary.to_str().unwrap(),
                env!("CARGO_BIN_EXE_dvc"),
            ],
        );
        pack(&binary, &dir, true);
        Dist {
            dir,
            made: Some(made),
        }
    }))
}

/// Runs packaging/dist.sh for an existing binary. `fast` selects little compression.
fn pack(binary: &Path, out: &Path, fast: bool) {
    let mut args = vec![
        "--binary",
        binary.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    args.extend(fast.then_some("--fast"));
    run(project().join("packaging/dist.sh").to_str().unwrap(), &args);
}

impl Dist {
    fn file(&self, end: &str) -> PathBuf {
        let all = all_below(&self.dir);
        all.into_iter()
            .find(|path| path.to_str().unwrap().ends_with(end))
            .unwrap_or_else(|| panic!("no {end}"))
    }

    /// Unpacks the archive. Returns its top directory.
    fn unpacked(&self, s: &Sandbox) -> PathBuf {
        let archive = self.file(".tar.gz");
        run(
            "tar",
            &[
                "-xzf",
                archive.to_str().unwrap(),
                "-C",
                s.root().to_str().unwrap(),
            ],
        );
        let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
        s.at(name.trim_end_matches(".tar.gz"))
    }
}

#[test]
fn the_archive_and_the_package_hold_the_same() {
    let Some(dist) = dist() else { return };
    let s = Sandbox::new();
    let top = dist.unpacked(&s);
    let root = s.at("root");
    let script = |action: &str| {
        let mut c = s.other(top.join("install.sh"));
        Run::of(c.args([action, "--prefix", "/usr", "--destdir"]).arg(&root))
    };
    script("install").ok();
    Run::of(s.other(root.join("usr/bin/dvc")).arg("--version"))
        .ok()
        .says(env!("CARGO_PKG_VERSION"));
    let (by_archive, of_package) = (installed(&root), s.at("package"));
    run(
        "dpkg-deb",
        &[
            "-x",
            dist.file(".deb").to_str().unwrap(),
            of_package.to_str().unwrap(),
        ],
    );
    // Debian uses different directories for zsh completions and documentation.
    let as_debian = |path: &PathBuf| {
        let path = path
            .to_str()
            .unwrap()
            .replace("zsh/site-functions", "zsh/vendor-completions");
        path.replace("/doc/dvc/", "/doc/data-volume-control/")
    };
    let without_gz = |path: &PathBuf| path.to_str().unwrap().trim_end_matches(".gz").to_owned();
    let is_licence = |path: &String| path.contains("/LICENSE-") || path.ends_with("/copyright");
    let mut archive: Vec<String> = by_archive
        .iter()
        .map(as_debian)
        .filter(|path| !is_licence(path))
        .collect();
    let mut package: Vec<String> = installed(&of_package)
        .iter()
        .map(without_gz)
        .filter(|path| !is_licence(path))
        .collect();
    archive.sort();
    package.sort();
    assert_eq!(archive, package);
    script("uninstall").ok();
    assert_eq!(installed(&root), Vec::<PathBuf>::new());
}

#[test]
fn the_same_binary_makes_the_same_bytes() {
    let Some(dist) = dist() else { return };
    let s = Sandbox::new();
    pack(
        &dist.unpacked(&s).join("dvc"),
        &s.at("again"),
        dist.made.is_some(),
    );
    let sums = |dir: &Path| fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(&dist.dir), sums(&s.at("again")));
    run(
        "sh",
        &[
            "-c",
            &format!(
                "cd '{}' && sha256sum --check --quiet SHA256SUMS",
                dist.dir.display()
            ),
        ],
    );
}

#[test]
fn the_package_says_what_it_is() {
    let Some(dist) = dist() else { return };
    let package = dist.file(".deb");
    let field = |name: &str| {
        run("dpkg-deb", &["-f", package.to_str().unwrap(), name])
            .trim()
            .to_owned()
    };
    assert_eq!(field("Package"), "data-volume-control");
    assert_eq!(field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    assert_eq!(field("Recommends"), "fuse3");
    assert_eq!(field("Conflicts"), "dvc");
    for line in run("dpkg-deb", &["-c", package.to_str().unwrap()]).lines() {
        let owner = line.split_whitespace().nth(1);
        assert!(matches!(owner, Some("root/root" | "0/0")), "{line}");
    }
}

/// Creates a root file system with only busybox and an empty package database.
fn bare(root: &Path) {
    for dir in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "etc",
        "proc",
        "dev",
        "tmp",
        "mnt",
        "srv",
    ] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for link in ["bin", "sbin", "lib"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.join(link)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    for (name, device) in [("null", makedev(1, 3)), ("urandom", makedev(1, 9))] {
        mknodat(
            CWD,
            root.join("dev").join(name),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            device,
        )
        .unwrap();
    }
    fs::copy(need("busybox"), root.join("usr/bin/busybox")).unwrap();
    for name in ["sh", "rm", "cat", "mount", "umount"] {
        std::os::unix::fs::symlink("busybox", root.join("usr/bin").join(name)).unwrap();
    }
}

/// Copies the shared libraries of a program. Returns whether it has any.
fn add_libraries(program: &Path, root: &Path) -> bool {
    let out = std::process::Command::new("ldd")
        .arg(program)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let libraries: Vec<&str> = text
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .collect();
    for library in &libraries {
        let to = root.join(&library[1..]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
    !libraries.is_empty()
}

/// Installs the package on a bare system, runs commands, mounts, and removes the package.
#[test]
fn the_package_lives_on_a_bare_system() {
    let Some(dist) = dist() else { return };
    if !is_root() {
        return skip_or_fail("only root can install a package");
    }
    let s = Sandbox::new();
    let root = s.at("system");
    bare(&root);
    let is_dynamic = add_libraries(&dist.unpacked(&s).join("dvc"), &root);
    let dpkg = |args: &[&str]| {
        let mut c = s.other(need("dpkg"));
        c.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg(format!("--root={}", root.display()));
        // The system has the libraries but not their packages, so dpkg must ignore missing
        // dependencies.
        c.args(is_dynamic.then_some("--force-depends"));
        Run::of(c.args(args))
    };
    let inside = |args: &[&str]| {
        Run::of(
            s.other(need("chroot"))
                .env("PATH", "/usr/sbin:/usr/bin")
                .arg(&root)
                .args(args),
        )
    };
    dpkg(&["--install", dist.file(".deb").to_str().unwrap()]).ok();
    dpkg(&["--status", "data-volume-control"])
        .ok()
        .says("Status: install ok installed");
    dpkg(&["--verify", "data-volume-control"]).ok();
    // Installing the package enables no unit.
    assert!(!root.join("etc/systemd").exists());
    assert!(
        root.join("usr/lib/systemd/system/dvc-plugin.service")
            .exists()
    );

    inside(&["dvc", "--version"])
        .ok()
        .says(env!("CARGO_PKG_VERSION"));
    fs::create_dir(root.join("srv/data")).unwrap();
    fs::write(root.join("srv/data/file"), "content").unwrap();
    inside(&["dvc", "-C", "/srv/data", "init"]).ok();
    inside(&["dvc", "-C", "/srv/data", "commit", "-m", "first"]).ok();
    inside(&["git-dvc", "-C", "/srv/data", "log", "--oneline"])
        .ok()
        .says("first");
    inside(&[
        "dvc",
        "-C",
        "/srv/data",
        "completions",
        "candidates",
        "--line",
        "dvc show main:",
    ])
    .ok()
    .says("main:file");
    if fuse() {
        mounts(&s, &root);
    }

    dpkg(&["--remove", "data-volume-control"]).ok();
    dpkg(&["--purge", "data-volume-control"]).ok();
    let left: Vec<PathBuf> = installed(&root)
        .into_iter()
        .filter(|path| {
            let path = path.to_str().unwrap();
            path.contains("dvc")
                && !path.starts_with("/srv/")
                && !path.starts_with("/var/")
                && !path.starts_with("/run/")
        })
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    // Removing the package keeps user data.
    assert!(root.join("srv/data/.dvcs/format").exists() && root.join("srv/data/file").exists());
}

/// Mounts with `mount.dvc` in a mount namespace of its own, so that no mount remains.
fn mounts(s: &Sandbox, root: &Path) {
    let script = r#"
        set -eu
        mount -t proc proc "$root/proc"
        touch "$root/dev/fuse"
        mount --bind /dev/fuse "$root/dev/fuse"
        chroot "$root" /sbin/mount.dvc '/srv/data#main' /mnt -o ro,noauto
        chroot "$root" cat /mnt/file
        chroot "$root" dvc umount /mnt
    "#;
    let mut c = s.other(need("unshare"));
    c.args(["--mount", "--propagation", "private", "sh", "-c", script])
        .env("root", root);
    Run::of(&mut c).ok().says("content");
}
