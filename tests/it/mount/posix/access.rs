//! Permissions: other users, other owners, and read-only mounts.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::fs::{
    CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags, fallocate, mknodat, setxattr,
};

use crate::mount::harness::{Volume, as_user, assert_like, errno, python};
use crate::mount::posix::bytes::libc;
use crate::support::zoo::set_mtime;

fn fill(w: &Path) {
    fs::write(w.join("open"), b"for all").unwrap();
    fs::set_permissions(w.join("open"), PermissionsExt::from_mode(0o666)).unwrap();
    fs::write(w.join("closed"), b"for one").unwrap();
    chown(w.join("closed"), Some(1111), Some(2222)).unwrap();
    fs::set_permissions(w.join("closed"), PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir(w.join("d")).unwrap();
    fs::write(w.join("d/in"), b"x").unwrap();
    fs::set_permissions(w.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("open", w.join("link")).unwrap();
    fs::set_permissions(w, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn another_user_is_kept_out() {
    let Some(v) = Volume::of(fill) else { return };
    let m = v.mount(&[]);
    for script in [
        "cat \"$DIR/open\"",
        "ls \"$DIR\"",
        "stat \"$DIR/open\"",
        "cd \"$DIR\"",
    ] {
        let (done, said) = as_user(4321, m.root(), script);
        assert!(!done, "{script}");
        assert!(
            said.to_lowercase().contains("permission denied") || said.contains("can't cd"),
            "{said}"
        );
    }
}

#[test]
fn with_allow_other_modes_decide() {
    let Some(v) = Volume::of(fill) else { return };
    let m = v.mount(&["--allow-other"]);
    fs::write(m.at("made"), b"root's").unwrap();
    fs::set_permissions(m.at("made"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::create_dir(m.at("tmp")).unwrap();
    fs::set_permissions(m.at("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    fs::write(m.at("tmp/root's"), b"x").unwrap();
    let may =
        |uid: u32, script: &str| as_user(uid, m.root(), &format!("cd \"$DIR\" && {script}")).0;
    assert!(may(4321, "cat open link && printf x >> open"));
    for script in [
        "cat closed",
        "printf x > closed",
        "cat made",
        "ls d",
        "cat d/in",
        "touch new",
        "rm open",
        "chmod 777 open",
    ] {
        assert!(!may(4321, script), "{script}");
    }
    assert!(may(
        1111,
        "cat closed && printf y > closed && chmod 644 closed"
    ));
    assert!(may(4321, "cat closed"));
    assert!(may(4321, "touch tmp/mine && rm tmp/mine && touch tmp/his"));
    assert!(!may(
        4321,
        "rm -f \"tmp/root's\" || mv \"tmp/root's\" tmp/x"
    ));
    let meta = fs::metadata(m.at("tmp/his")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (4321, 4321));
}

#[test]
fn files_may_be_shown_with_another_owner() {
    let Some(v) = Volume::of(fill) else { return };
    let tree = v.commit("same");
    let mut m = v.mount(&["--map-owner", "4321:8765", "--allow-other"]);
    let whose = |root: &Path, name: &str| {
        let meta = fs::symlink_metadata(root.join(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    for name in ["", "open", "closed", "d", "d/in", "link"] {
        assert_eq!(whose(m.root(), name), (4321, 8765), "{name}");
    }
    let (done, said) = as_user(
        4321,
        m.root(),
        "cd \"$DIR\" && printf more >> closed && touch d/new && cat d/in",
    );
    assert!(done, "{said}");
    chown(m.at("open"), None, Some(99)).unwrap();
    fs::write(m.at("root's"), b"x").unwrap();
    for _ in 0..2 {
        assert_eq!(whose(m.root(), "open"), (4321, 99));
        assert_eq!(whose(m.root(), "root's"), (0, 0));
        assert_eq!(whose(m.root(), "d/new"), (4321, 4321));
        assert_eq!(whose(m.root(), "closed"), (4321, 8765));
        m.again();
    }
    assert_ne!(m.commit("as another"), tree);
    let out = v.checkout("main", "out");
    // Owners that were not changed stay as in the first version.
    assert_eq!(whose(&out, "closed"), (1111, 2222));
    assert_eq!(whose(&out, "link"), (0, 0));
    assert_eq!(whose(&out, "open"), (4321, 99));
    assert_eq!(whose(&out, "root's"), (0, 0));
    assert_eq!(whose(&out, "d/new"), (4321, 4321));
    assert_eq!(whose(&out, "d"), (0, 0));
}

#[test]
fn nothing_changes_in_a_read_only_mount() {
    let Some(v) = Volume::of(fill) else { return };
    let m = v.mount(&["--ro"]);
    let read_only = libc("EROFS");
    let here = |name: &str| m.at(name);
    let mut refused: Vec<(&str, i32)> = Vec::new();
    let mut no = |what, result: std::io::Result<()>| refused.push((what, errno(result)));
    no("create", File::create(here("new")).map(drop));
    no(
        "open",
        OpenOptions::new().write(true).open(here("open")).map(drop),
    );
    no(
        "append",
        OpenOptions::new().append(true).open(here("open")).map(drop),
    );
    no(
        "truncate",
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(here("open"))
            .map(drop),
    );
    no("mkdir", fs::create_dir(here("new")));
    no("rmdir", fs::remove_dir(here("d")));
    no("unlink", fs::remove_file(here("open")));
    no("symlink", symlink("x", here("new")));
    no("link", fs::hard_link(here("open"), here("new")));
    no("rename", fs::rename(here("open"), here("new")));
    no(
        "chmod",
        fs::set_permissions(here("open"), PermissionsExt::from_mode(0o600)),
    );
    no("chown", chown(here("open"), Some(1), Some(1)));
    no(
        "setxattr",
        setxattr(here("open"), "user.x", b"x", XattrFlags::empty()).map_err(Into::into),
    );
    no(
        "removexattr",
        rustix::fs::removexattr(here("open"), "user.x").map_err(Into::into),
    );
    no(
        "mknod",
        mknodat(CWD, here("new"), FileType::Fifo, Mode::RUSR, 0).map_err(Into::into),
    );
    let exchange = rustix::fs::renameat_with(
        CWD,
        here("open"),
        CWD,
        here("closed"),
        RenameFlags::EXCHANGE,
    );
    no("exchange", exchange.map_err(Into::into));
    let file = File::open(here("open")).unwrap();
    no(
        "times",
        file.set_times(fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH)),
    );
    assert!(refused.iter().all(|(_, e)| *e == read_only), "{refused:?}");
    assert!(file.set_len(0).is_err() && file.write_at(b"x", 0).is_err());
    assert!(fallocate(&file, FallocateFlags::empty(), 0, 10).is_err());
    assert_like(&v.s.at("w"), m.root());
    assert_eq!(m.status(), "");
    assert!(m.dvc(&["commit", "-m", "x"]).code != 70);
}

#[test]
fn an_ephemeral_mount_leaves_nothing() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--ephemeral"]);
    fs::write(m.at("new"), b"x").unwrap();
    set_mtime(&m.at("open"), 5, 5);
    m.again();
    assert_like(&v.s.at("w"), m.root());
    m.down();
    assert_eq!(fs::read_dir(v.s.at("r/overlays")).unwrap().count(), 0);
}

#[test]
fn an_overlay_is_kept_by_name_and_discarded_when_asked() {
    let Some(v) = Volume::of(fill) else { return };
    let mut m = v.mount(&["--name", "kept"]);
    fs::write(m.at("new"), b"x").unwrap();
    {
        let mut second = v.mount_at("m2", "main", &[]);
        second.down();
        second.set("main", &["--name", "kept"]);
        second.try_up().code(11);
    }
    m.down();
    let mut elsewhere = v.mount_at("m3", "main", &["--name", "kept"]);
    assert!(elsewhere.at("new").exists());
    elsewhere.down_with(&["--discard"]).ok();
    elsewhere.up();
    assert_like(&v.s.at("w"), elsewhere.root());
    fs::write(elsewhere.at("more"), b"x").unwrap();
    elsewhere.down_with(&["--commit", "-m", "at the end"]).ok();
    assert!(v.checkout("main", "out").join("more").exists());
}

/// Mounting a different version with a changed overlay would lose the changes.
#[test]
fn a_changed_overlay_is_not_given_to_another_version() {
    let Some(v) = Volume::of(fill) else { return };
    fs::write(v.s.w("second"), b"2").unwrap();
    v.commit("second");
    let mut m = v.mount_at("m", "main@v1", &[]);
    assert!(!m.at("second").exists());
    fs::write(m.at("new"), b"x").unwrap();
    m.down();
    m.set("main@v2", &[]);
    m.try_up().code(4);
    m.set("main@v1", &[]);
    m.up();
    assert!(m.at("new").exists());
    m.down_with(&["--discard"]).ok();
    m.set("main@v2", &[]);
    m.up();
    assert_like(&v.s.at("w"), m.root());
}

/// Mounting with a damaged overlay would show the version without the changes, because inode
/// numbers from a new key would not match those of the overlay.
#[test]
fn a_damaged_overlay_is_refused() {
    let (clean, crashed) = ("", "UPDATE meta SET value = x'' WHERE key = 'clean';");
    let whole = "changed by another program since the last mount";
    for (damage, after, said) in [
        ("UPDATE name SET name = x'61'", clean, whole),
        ("UPDATE inode SET size = size + 1", clean, whole),
        ("DELETE FROM inode WHERE ino = 1", clean, whole),
        (
            "DELETE FROM meta WHERE key = 'version'",
            crashed,
            "the base version is missing",
        ),
        (
            "UPDATE meta SET value = x'616263' WHERE key = 'key'",
            crashed,
            "is damaged: invalid key",
        ),
        (
            "DELETE FROM inode WHERE ino = 1",
            crashed,
            "the root directory is missing",
        ),
        (
            "UPDATE inode SET node = x'00'",
            crashed,
            "is damaged: invalid row for inode",
        ),
        (
            "UPDATE inode SET own_name = 'text'",
            crashed,
            "cannot access the overlay database",
        ),
    ] {
        let Some(v) = Volume::of(fill) else { return };
        let mut m = v.mount(&["--name", "kept"]);
        fs::write(m.at("new"), b"x").unwrap();
        m.down();
        let script = format!(
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.executescript(\"{after}{damage}\")\nc.commit()"
        );
        python(&script, &[&v.s.at("r/overlays/kept/overlay.db")]);
        let run = m.try_up().code(5);
        assert!(run.err.contains(said), "{damage}: {}", run.err);
    }
}
