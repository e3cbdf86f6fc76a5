//! Mounting with different privileges: root, a user with `fusermount3`, root in a user namespace,
//! and root in a container. `doctor` reports the method that is used, and why no better one is
//! possible.
//!
//! Each test runs in its own namespaces, so that its mounts and processes end with the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::mount::harness::{Volume, errno, is_passthrough};
use crate::support::namespace::{ALONE, Namespace};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};

/// The unprivileged user `daemon`, because `fusermount3` requires a user with a name.
const USER: u32 = 1;
/// Options that limit a process to the capabilities of root in a Docker container with `SYS_ADMIN`.
const OF_A_CONTAINER: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,\
                              +net_raw,+sys_chroot,+mknod,+audit_write,+setfcap,+sys_admin";

/// Mounts, changes, commits, mounts again, and runs `doctor`.
const USE: &str = r#"set -e; cd "$S/w"; mkdir ../m
dvc init --repo ../r -b main >&2; echo old > f; dvc --repo ../r commit -b main -m one >&2
dvc --repo ../r mount --json main ../m --hydrate all --wait-hydrated
cat ../m/f; echo new > ../m/f; echo more > ../m/g; dvc -C ../m commit -m two >&2; echo later > ../m/h; dvc umount ../m >&2
dvc --repo ../r show main:f; dvc --repo ../r show main:g
dvc --repo ../r mount --json main ../m >&2; cat ../m/h; dvc -C ../m status --porcelain >&2; dvc umount --discard ../m >&2
dvc --repo ../r doctor --json"#;

/// The output of [`USE`]: the mode of the mount, and the checks of `doctor`.
struct Used {
    mode: String,
    checks: Vec<Value>,
}

impl Used {
    #[track_caller]
    fn of(run: Run) -> Self {
        let run = run.ok();
        let (mut lines, mut texts) = (Vec::<Value>::new(), Vec::new());
        for line in run.out.lines() {
            match line.starts_with('{') {
                true => lines.push(serde_json::from_str(line).unwrap()),
                false => texts.push(line),
            }
        }
        assert_eq!(texts, ["old", "new", "more", "later"], "{}", run.out);
        let mode = lines.remove(0)["mode"].as_str().unwrap().to_owned();
        Self {
            mode,
            checks: lines,
        }
    }

    #[track_caller]
    fn says(&self, check: &str, state: &str, part: &str) {
        let told = self
            .checks
            .iter()
            .find(|c| c["check"] == check)
            .unwrap_or_else(|| panic!("{:?}", self.checks));
        assert!(
            told["state"] == state && told["message"].as_str().unwrap().contains(part),
            "{told}"
        );
    }
}

/// Creates a sandbox with access to FUSE that belongs to a user. Returns `None` if mounting is
/// impossible.
fn sandbox(user: u32) -> Option<Sandbox> {
    if !needs::fuse() {
        return None;
    }
    let s = Sandbox::new();
    fs::set_permissions(s.root(), PermissionsExt::from_mode(0o755)).unwrap();
    for dir in ["bin", "dev", "stack"] {
        fs::create_dir(s.at(dir)).unwrap();
    }
    for dir in ["", "w", "home"] {
        chown(s.at(dir), Some(user), Some(user)).unwrap();
    }
    Some(s)
}

/// Returns a command that runs a script in new namespaces, which end with it. Skips the test if
/// namespaces are impossible.
fn apart(s: &Sandbox, kind: &[&str], script: &str) -> Option<Command> {
    let with = |last: &[&str]| {
        let mut command = s.other(needs::need("unshare"));
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(kind)
            .args(last);
        command.env("S", s.root()).env(
            "BIN",
            Path::new(env!("CARGO_BIN_EXE_dvc")).parent().unwrap(),
        );
        command
    };
    let there = with(&["true"]).output().unwrap();
    if !there.status.success() {
        needs::skip(&format!(
            "no namespaces here: {}",
            String::from_utf8_lossy(&there.stderr)
        ));
        return None;
    }
    Some(with(&[
        "sh",
        "-ec",
        &format!("{{ {ALONE}; }} 2>/dev/null || true\n{script}"),
    ]))
}

/// Returns script lines that give every user access to `/dev/fuse` and to `dvc`, and replace
/// `/etc/fuse.conf`.
fn opened_to_all(conf: &str) -> String {
    format!(
        r#"mount -t tmpfs none "$S/dev"; mknod -m 666 "$S/dev/fuse" c 10 229; mount --bind "$S/dev/fuse" /dev/fuse
           mount --bind "$BIN" "$S/bin"; export PATH="$S/bin:$PATH"
           echo '{conf}' > "$S/dev/conf"; chmod 644 "$S/dev/conf"; mount --bind "$S/dev/conf" /etc/fuse.conf"#
    )
}

fn as_user(script: &str) -> String {
    format!(
        "exec setpriv --reuid={USER} --regid={USER} --inh-caps=-all --clear-groups sh -ec '{script}'"
    )
}

#[test]
fn root_mounts() {
    let Some(s) = sandbox(0) else { return };
    let Some(mut command) = apart(&s, &["--mount"], USE) else {
        return;
    };
    let used = Used::of(Run::of(&mut command));
    used.says("mounting", "ok", "uses `mount(2)`");
    let passthrough = used.mode == "passthrough";
    used.says("passthrough", if passthrough { "ok" } else { "note" }, "");
}

#[test]
fn a_user_mounts_by_fusermount() {
    let Some(s) = sandbox(USER) else { return };
    let script = format!("{}\n{}", opened_to_all(""), as_user(USE));
    let Some(mut command) = apart(&s, &["--mount"], &script) else {
        return;
    };
    let used = Used::of(Run::of(&mut command));
    assert_eq!(used.mode, "writeback");
    used.says("fuse device", "ok", "can be opened");
    used.says(
        "mounting",
        "ok",
        "fusermount3`; set-user-ID bits and device files have no effect",
    );
    used.says("passthrough", "note", "lacks CAP_SYS_ADMIN");
    used.says("allow_other", "note", "cannot mount with `allow_other`");
}

/// Other users can access a user's mount only if the administrator has allowed it.
#[test]
fn a_user_gives_others_access_if_allowed() {
    const LET_IN: &str = r#"cd "$S/w"; mkdir ../m; dvc init --repo ../r -b main >&2; echo old > f
        dvc --repo ../r commit -b main -m one >&2; dvc --repo ../r mount --json main ../m $0"#;
    for (conf, option, code, seen) in [
        ("", "--allow-other", 12, false),
        ("user_allow_other", "--allow-other", 0, true),
        ("user_allow_other", "--ephemeral", 0, false),
    ] {
        let Some(s) = sandbox(USER) else { return };
        let script = format!(
            "{}\ncode=0; ({}) || code=$?; echo \"code $code\"; for user in 0 777; do
             setpriv --reuid=$user --regid=$user --clear-groups cat \"$S/m/f\" && echo \"$user saw it\"; done
             [ $code != 0 ] || {}",
            opened_to_all(conf),
            as_user(LET_IN).replace("exec ", "") + " " + option,
            as_user("dvc umount --discard \"$S/m\" >&2"),
        );
        let Some(mut command) = apart(&s, &["--mount"], &script) else {
            return;
        };
        let run = Run::of(&mut command).ok();
        assert!(
            run.out.contains(&format!("code {code}\n")),
            "{conf}, {option}: {}\n{}",
            run.out,
            run.err
        );
        for user in ["0", "777"] {
            assert_eq!(
                run.out.contains(&format!("{user} saw it")),
                seen,
                "{conf}, {option}: {}\n{}",
                run.out,
                run.err
            );
        }
        assert_eq!(
            run.err
                .contains("add a line `user_allow_other` to `/etc/fuse.conf`"),
            code != 0,
            "{}",
            run.err
        );
    }
}

#[test]
fn root_of_a_user_namespace_mounts() {
    for user in [0, USER] {
        let Some(s) = sandbox(user) else { return };
        let inner = "exec unshare --user --map-root-user --mount --pid --fork --kill-child --mount-proc sh -ec \"$0\"";
        let outer = match user {
            0 => format!("{}\nexec sh -ec '{inner}' \"$USE\"", opened_to_all("")),
            _ => format!("{}\n{} \"$USE\"", opened_to_all(""), as_user(inner)),
        };
        let Some(mut command) = apart(&s, &["--mount"], &outer) else {
            return;
        };
        if apart(&s, &["--user", "--map-root-user", "--mount"], "true").is_none() {
            return;
        }
        let used = Used::of(Run::of(command.env("USE", USE)));
        assert_eq!(used.mode, "writeback", "{user}");
        used.says("mounting", "ok", "uses `mount(2)`, in this user namespace");
        used.says(
            "passthrough",
            "note",
            "root in a user namespace is not sufficient",
        );
        used.says("allow_other", "ok", "users of this user namespace");
    }
}

/// Runs with the capabilities of a container that has `/dev/fuse` and `SYS_ADMIN`. The file system
/// of a container is stacked, that of a volume is not.
#[test]
fn root_of_a_container_mounts() {
    for volume in [false, true] {
        let Some(s) = sandbox(0) else { return };
        let place = match volume {
            true => "",
            false => {
                "mount -t tmpfs none stack; cd stack; mkdir below up work all
                 mount -t overlay none -o lowerdir=below,upperdir=up,workdir=work all; mkdir all/w; export S=\"$S/stack/all\"; "
            }
        };
        let script = format!(
            "cd \"$S\"; {place}exec setpriv --bounding-set={OF_A_CONTAINER} \
             --inh-caps=-all sh -ec '{USE}'"
        );
        let Some(mut command) = apart(&s, &["--mount", "--ipc", "--uts"], &script) else {
            return;
        };
        let used = Used::of(Run::of(&mut command));
        used.says("mounting", "ok", "uses `mount(2)`");
        if volume {
            // As outside of a container, the result depends on the machine.
            used.says(
                "passthrough",
                if used.mode == "passthrough" {
                    "ok"
                } else {
                    "note"
                },
                "",
            );
        } else {
            assert_eq!(used.mode, "writeback");
            used.says("passthrough", "note", "is on a stacked file system");
        }
    }
}

/// If the kernel refuses passthrough for a file, the mount process serves it, and programs notice
/// no difference.
#[test]
fn files_without_passthrough_are_served() {
    let Some(v) = Volume::of(|w| {
        fs::write(w.join("f"), b"old").unwrap();
        fs::set_permissions(w, PermissionsExt::from_mode(0o755)).unwrap();
    }) else {
        return;
    };
    let outer = v.mount(&["--hydrate", "all", "--wait-hydrated"]);
    if !is_passthrough(&outer) {
        return;
    }
    // A repository inside of a mount has its files on a stacked file system, for which the kernel
    // refuses passthrough.
    let repo = outer.at("r");
    let dvc = |args: &[&str]| {
        v.s.dvc([&["--repo", repo.to_str().unwrap()], args].concat())
    };
    dvc(&["init", "-b", "inner"]).ok();
    dvc(&["commit", "-b", "inner", "-m", "one"]).ok();
    let at = v.s.at("inner");
    fs::create_dir(&at).unwrap();
    let options = ["--hydrate", "all", "--wait-hydrated", "--name", "n"];
    let told = dvc(&[
        &["mount", "--json", "inner", at.to_str().unwrap()],
        &options[..],
    ]
    .concat())
    .ok()
    .json();
    let used = std::panic::catch_unwind(|| {
        assert_eq!(told["mode"], "passthrough");
        assert_eq!(fs::read(at.join("f")).unwrap(), b"old");
        fs::write(at.join("f"), b"new").unwrap();
        fs::write(at.join("g"), b"made").unwrap();
        let open = fs::File::options().append(true).open(at.join("g")).unwrap();
        std::io::Write::write_all(&mut &open, b" here").unwrap();
        assert_eq!(
            (
                fs::read(at.join("f")).unwrap(),
                fs::read(at.join("g")).unwrap()
            ),
            (b"new".into(), b"made here".into())
        );
        assert_eq!(
            errno(
                fs::File::options()
                    .write(true)
                    .create_new(true)
                    .open(at.join("g"))
            ),
            17
        );
        // The mount process sees all writes, so the file can be committed while it is open.
        v.s.dvc(["-C", at.to_str().unwrap(), "commit", "-m", "two"])
            .ok();
    });
    v.s.dvc(["umount", at.to_str().unwrap()]).ok();
    if let Err(e) = used {
        std::panic::resume_unwind(e);
    }
    let log = fs::read_to_string(repo.join("overlays/n/log")).unwrap();
    assert!(
        log.contains("the kernel refused passthrough for `"),
        "{log}"
    );
    assert_eq!(dvc(&["show", "inner:g"]).ok().out, "made here");
}

#[test]
fn a_mount_in_another_namespace_is_reported_as_in_use() {
    let Some(v) = Volume::of(|w| fs::write(w.join("a"), "1").unwrap()) else {
        return;
    };
    if !needs::root_to("create a mount namespace without a user namespace") {
        return;
    }
    let mut mount = v.mount(&[]);
    let other = Namespace::showing(mount.root(), &v.s.at("inside"));
    let run = mount.down_with(&[]);
    run.code(11)
        .complains(&format!("mount namespace of process {}", other.id()));
    drop(other);
    // The process exits after its last user has exited, and then the overlay can be mounted again.
    crate::mount_live::until("its process ends", || mount.try_up().code == 0);
}
