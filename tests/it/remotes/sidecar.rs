//! `pack` and `unpack` as a container uses them, configured by environment variables. Directories
//! stand for the volumes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::facts::assert_same;
use crate::support::namespace::ALONE;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::moto::Moto;
use crate::support::servers::registry::{self, Registry};
use crate::support::zoo::{self, noise};

/// Creates a machine whose volumes are the directories in `w/`.
fn machine(env: &[(&str, String)]) -> Sandbox {
    let mut s = Sandbox::new();
    for (name, value) in env {
        s.set(name, value);
    }
    s
}

fn word(s: &Sandbox, args: &[&str]) -> Run {
    let dir = s.w("");
    let mut all = vec!["-C", dir.to_str().unwrap()];
    all.extend(args);
    s.dvc(all)
}

/// Removes the repository, which a container loses if no volume keeps it.
fn forget(s: &Sandbox) {
    fs::remove_dir_all(s.at("home")).unwrap();
    fs::create_dir(s.at("home")).unwrap();
}

/// Returns the lines of the registry's access log after offset `from`, and the new length of the
/// log.
fn log(registry: &Registry, from: usize) -> (Vec<String>, usize) {
    let text = fs::read_to_string(registry.access_log()).unwrap();
    (
        text[from..].lines().map(str::to_owned).collect(),
        text.len(),
    )
}

/// Returns the total size of the blobs that were uploaded according to log lines, in bytes.
fn uploaded(registry: &Registry, lines: &[String]) -> u64 {
    let blobs = registry.program.at("data/docker/registry/v2/blobs/sha256");
    let put = lines
        .iter()
        .filter(|line| line.contains("\"PUT ") && line.contains("/blobs/uploads/"));
    let digests = put.filter_map(|line| {
        line.split_once("digest=sha256")?
            .1
            .trim_start_matches("%3A")
            .trim_start_matches(':')
            .get(..64)
    });
    digests
        .map(|d| {
            fs::metadata(blobs.join(&d[..2]).join(d).join("data"))
                .unwrap()
                .len()
        })
        .sum()
}

fn stored(dir: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let stat = entry.metadata().unwrap();
        sum += if stat.is_dir() {
            stored(&entry.path())
        } else {
            stat.size()
        };
    }
    sum
}

/// Volumes with every kind of content go to a registry with a password. The environment names the
/// registry in three forms.
#[test]
fn volumes_go_to_a_registry_and_come_back() {
    let Some(registry) = Registry::with_password() else {
        return;
    };
    let at = format!("127.0.0.1:{}", registry.program.port());
    let user = || ("REGISTRY_USERNAME", registry::USER.to_owned());
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), format!("{}\n", registry::PASSWORD)).unwrap();
    let password = || {
        (
            "REGISTRY_PASSWORD_FILE",
            secret.path().to_str().unwrap().to_owned(),
        )
    };
    let one = machine(&[
        ("DATA_TAG", format!("{at}/team/data:latest")),
        user(),
        password(),
    ]);
    for volume in ["db", "www"] {
        fs::create_dir(one.w(volume)).unwrap();
        zoo::build(&one.w(volume));
    }
    // Keep the file with a hole of 1 TiB in only one volume, because every comparison iterates over
    // the 16 million pieces of the hole, which is slow.
    fs::remove_file(one.w("www/sparse/huge")).unwrap();
    word(&one, &["pack"])
        .ok()
        .says("created a repository")
        .says("[main v1 ");
    word(&one, &["pack"]).ok().says("nothing to commit");

    let two = machine(&[
        ("DATA_TAG", "team/data".to_owned()),
        ("REGISTRY", at.clone()),
        user(),
        password(),
    ]);
    word(&two, &["unpack"]).ok().says("[main v1 ");
    assert_same(&one.w(""), &two.w(""));
    // Unpacking one of two volumes does not touch the other one, and removes files that the version
    // does not contain.
    fs::write(two.w("www/mine"), "mine").unwrap();
    fs::remove_dir_all(two.w("db")).unwrap();
    word(&two, &["unpack", "db"]).ok();
    assert_same(&one.w("db"), &two.w("db"));
    assert_eq!(fs::read(two.w("www/mine")).unwrap(), b"mine");
    word(&two, &["unpack", "www"])
        .code(4)
        .complains("has uncommitted changes: `www/mine`")
        .complains("--force");
    word(&two, &["unpack", "www", "--force"]).ok();
    assert_same(&one.w("www"), &two.w("www"));
    assert!(!two.w(".dvcs").exists() && !one.w(".dvcs").exists());

    let half = machine(&[("DATA_TAG", format!("{at}/team/data")), user()]);
    fs::write(half.w("a"), "a").unwrap();
    word(&half, &["pack"])
        .code(12)
        .complains("REGISTRY_USERNAME: set, but REGISTRY_PASSWORD is not")
        .complains("set both variables");
    let wrong = machine(&[
        ("DATA_TAG", format!("{at}/team/data")),
        user(),
        ("REGISTRY_PASSWORD", "wr0ng".to_owned()),
    ]);
    fs::write(wrong.w("a"), "a").unwrap();
    let run = word(&wrong, &["pack", "-v", "-v"]).code(12);
    assert!(!format!("{}{}", run.out, run.err).contains("wr0ng"));
    let third = machine(&[
        ("DVC_REMOTE_ORIGIN_URL", format!("oci://{at}/team/data")),
        user(),
        password(),
    ]);
    word(&third, &["unpack", "--json"]).ok();
    assert_same(&one.w("www"), &third.w("www"));
}

/// The amount of data that is sent to the registry, with and without a kept repository.
#[test]
fn only_what_changed_is_sent() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let env = [(
        "DATA_TAG",
        format!("127.0.0.1:{}/data:nightly", registry.program.port()),
    )];
    let mut s = machine(&env);
    let mib = 64;
    fs::create_dir(s.w("db")).unwrap();
    fs::write(s.w("db/table"), noise(1, mib << 20)).unwrap();
    s.set("NO_PUSH", "1");
    word(&s, &["pack"]).ok().says("[nightly v1 ");
    s.set("NO_PUSH", "0");
    let (_, mark) = log(&registry, 0);
    assert!(
        !fs::read_to_string(registry.access_log())
            .unwrap()
            .contains("/v2/data/"),
        "nothing was asked"
    );
    word(&s, &["pack"]).ok().says("nothing to commit");
    let (lines, mut mark) = log(&registry, mark);
    assert!(
        uploaded(&registry, &lines) > (mib as u64) << 20,
        "{lines:?}"
    );

    for (night, kept) in [(2, true), (3, true), (4, false), (5, false)] {
        let mut bytes = fs::read(s.w("db/table")).unwrap();
        bytes[night * (8 << 20)..][..1 << 20].copy_from_slice(&noise(night as u64, 1 << 20));
        fs::write(s.w("db/table"), bytes).unwrap();
        if !kept {
            forget(&s);
        }
        word(&s, &["pack"])
            .ok()
            .says(&format!("[nightly v{night} "));
        let (lines, end) = log(&registry, mark);
        mark = end;
        let sent = uploaded(&registry, &lines);
        assert!(
            sent < 4 << 20 && sent > 1 << 20,
            "night {night}: {sent} bytes"
        );
    }
    let all = stored(&registry.program.at("data"));
    assert!(
        all < (mib as u64 + 4 * 4) << 20,
        "five versions take {all} bytes"
    );
    let copy = machine(&env);
    word(&copy, &["unpack"]).ok();
    assert_same(&s.w(""), &copy.w(""));
}

/// Local data is restored without the remote. If data is missing locally, the exit code is 6.
#[test]
fn without_the_remote() {
    let Some(mut registry) = Registry::start() else {
        return;
    };
    let tag = (
        "DATA_TAG",
        format!("127.0.0.1:{}/data", registry.program.port()),
    );
    let s = machine(std::slice::from_ref(&tag));
    fs::write(s.w("a"), noise(1, 100_000)).unwrap();
    word(&s, &["pack"]).ok();
    // This repository has fetched the version but not its data.
    let lazy = machine(std::slice::from_ref(&tag));
    fs::write(lazy.w("a"), "other").unwrap();
    word(&lazy, &["unpack"]).code(4);
    registry.program.stop();
    fs::remove_file(s.w("a")).unwrap();
    word(&s, &["unpack"]).code(6);
    word(&s, &["unpack", "--no-pull"]).ok();
    assert_eq!(fs::read(s.w("a")).unwrap(), noise(1, 100_000));
    let mut lazy = lazy;
    lazy.set("NO_PULL", "1");
    word(&lazy, &["unpack", "--force"]).code(6);
    assert_eq!(fs::read(lazy.w("a")).unwrap(), b"other");
    let mut none = machine(&[tag]);
    none.set("NO_PULL", "1");
    word(&none, &["unpack"]).code(10);
}

fn two_machines() -> (Sandbox, Sandbox, PathBuf) {
    let s = Sandbox::new();
    let remote = s.at("remote");
    let env = [("DVC_REMOTE_ORIGIN_URL", remote.to_str().unwrap().to_owned())];
    let (mut one, two) = (s, machine(&env));
    one.set(env[0].0, &env[0].1);
    one.write("db/table", "first");
    one.write("db/stale", "stale");
    word(&one, &["pack"]).ok();
    word(&two, &["unpack"]).ok();
    (one, two, remote)
}

/// Before it unpacks a version that differs from the volumes, `unpack` shows the changes.
#[test]
fn unpack_shows_the_changes_first() {
    let (one, two, _) = two_machines();
    word(&two, &["unpack"]).ok();
    one.write("db/table", "second, longer");
    one.write("db/new", "new");
    fs::remove_file(one.w("db/stale")).unwrap();
    word(&one, &["pack"]).ok().says("v2");

    let run = word(&two, &["unpack"]).code(4).complains("are not at the");
    for part in ["db/table", "db/new", "db/stale", "3 files changed"] {
        assert!(run.out.contains(part), "{part}\n{}", run.out);
    }
    assert_eq!(two.read("db/table"), b"first");
    word(&two, &["unpack"]).ok().says("v2").says("1 removed");
    assert_same(&one.w(""), &two.w(""));

    // Without a kept repository, the version of the volumes is unknown, but their content is
    // recognised.
    fs::rename(one.w("db/table"), one.at("second")).unwrap();
    one.write("db/table", "third");
    word(&one, &["pack"]).ok();
    for _ in 0..2 {
        forget(&two);
        word(&two, &["unpack"]).code(4).complains("--yes");
    }
    forget(&two);
    word(&two, &["unpack", "--yes"]).ok().says("v3");
    assert_same(&one.w(""), &two.w(""));
    // The last packed version does not prove that the volumes still have its content.
    fs::rename(one.at("second"), one.w("db/table")).unwrap();
    word(&one, &["unpack", "--no-pull"])
        .code(4)
        .complains("are not at the");
    word(&one, &["unpack", "--no-pull"]).ok().says("v3");
    let json = word(&two, &["unpack", "--json"]).ok().json();
    assert_eq!(
        (&json["schema"], &json["stopped"], &json["branch"]),
        (&1.into(), &false.into(), &"main".into())
    );
}

#[test]
fn uncommitted_files_are_not_lost() {
    let (one, two, _) = two_machines();
    one.write("db/table", "second");
    word(&one, &["pack"]).ok();
    two.write("db/table", "my own");
    two.write("db/extra", "mine too");
    for args in [&["unpack"][..], &["unpack"], &["unpack", "--yes"]] {
        word(&two, args)
            .code(4)
            .complains("has uncommitted changes")
            .complains("`db/table`")
            .complains("`db/extra`");
        assert_eq!(two.read("db/table"), b"my own");
    }
    word(&two, &["unpack", "-n"]).ok().says("db/table");
    // Committed changes do not block `unpack`, but the branches have diverged.
    word(&two, &["pack", "--no-push"]).ok();
    word(&two, &["unpack"]).code(4).complains("have diverged");
    word(&two, &["pack"])
        .code(4)
        .complains("not a fast-forward");
    let none = machine(&[]);
    word(&none, &["unpack"]).code(2).complains("no remote");
    word(&two, &["unpack", "--force", "--no-pull"]).ok();
}

/// Volumes go to a bucket; wrong or incomplete credentials are reported.
#[test]
fn volumes_go_to_a_bucket() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("backups");
    let mut env: Vec<(&str, String)> = moto.env();
    env.push(("AWS_ENDPOINT_URL", moto.endpoint()));
    env.push(("DATA_S3_DST", "backups/volumes".to_owned()));
    let one = machine(&env);
    one.write("db/table", noise(1, 300_000));
    word(&one, &["pack"]).ok();
    let two = machine(&env);
    word(&two, &["unpack"]).ok();
    assert_same(&one.w(""), &two.w(""));
    let src = ("DATA_S3_SRC", "s3://backups/volumes".to_owned());
    let three = machine(
        &env.iter()
            .filter(|e| e.0 != "DATA_S3_DST")
            .cloned()
            .chain([src])
            .collect::<Vec<_>>(),
    );
    word(&three, &["unpack"]).ok();
    assert_same(&one.w(""), &three.w(""));
    let half = machine(
        &env.iter()
            .filter(|e| e.0 != "AWS_SECRET_ACCESS_KEY")
            .cloned()
            .collect::<Vec<_>>(),
    );
    half.write("a", "a");
    word(&half, &["pack"])
        .code(12)
        .complains("AWS_ACCESS_KEY_ID: set, but AWS_SECRET_ACCESS_KEY is not");
}

/// An environment, and texts that the error message must contain.
type Row<'t> = (&'t [(&'t str, &'t str)], &'t [&'t str]);

/// Concurrent runs of `pack` with one repository lose no volume and do not block each other.
#[test]
fn several_pack_at_once() {
    const ROUNDS: usize = 6;
    let mut s = machine(&[]);
    let remote = s.at("remote").display().to_string();
    s.set("DVC_REMOTE_ORIGIN_URL", &remote);
    let begin = |volume: &str| {
        let mut c = s.command(["-C", s.w(volume).to_str().unwrap(), "pack"]);
        c.stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let volumes = ["a", "b", "c"];
    volumes
        .iter()
        .for_each(|volume| fs::create_dir(s.w(volume)).unwrap());
    for round in 0..ROUNDS {
        volumes.iter().for_each(|volume| {
            fs::write(s.w(volume).join("x"), format!("{round} {volume}")).unwrap()
        });
        let begun = volumes.map(begin);
        for one in begun {
            let done = one.wait_with_output().unwrap();
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        let tip = |repo: &str| {
            s.dvc(["--repo", repo, "log", "-n", "1", "--format", "%H", "main"])
                .ok()
                .out
        };
        assert_eq!(
            tip(&remote),
            tip(s.at("home/state/dvc/data").to_str().unwrap())
        );
    }
    let all = s
        .dvc(["--repo", &remote, "log", "--format", "%H", "main"])
        .ok();
    assert_eq!(all.out.lines().count(), ROUNDS * volumes.len());
    s.dvc(["--repo", &remote, "fsck", "--data"]).ok();
}

/// An invalid environment gives exit code 2, and one message lists all problems.
#[test]
fn bad_environments() {
    let table: &[Row] = &[
        (
            &[],
            &["no remote: set DATA_TAG or DATA_S3_DST, or NO_PUSH=1"],
        ),
        (&[("DATA_TAG", "r.example/Data")], &["DATA_TAG: "]),
        (
            &[("REGISTRY", "r.example")],
            &["REGISTRY: DATA_TAG is not set"],
        ),
        (
            &[("DATA_TAG_FILE", "/none")],
            &["/none: cannot read the file"],
        ),
        (
            &[("DVC_JOBS_FILE", "/none"), ("DATA_TAG", "r.example/x")],
            &["/none: cannot read the file"],
        ),
        (
            &[
                ("NO_PUSH", "x"),
                ("REGISTRY", "a"),
                ("DATA_TAG", "b.example/c@sha256:1"),
                ("DVC_JOBS", "many"),
            ],
            &["3 problems", "NO_PUSH: ", "DATA_TAG: ", "DVC_JOBS: "],
        ),
    ];
    for (set, parts) in table {
        let env: Vec<(&str, String)> = set
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let s = machine(&env);
        s.write("a", "a");
        let run = word(&s, &["pack"]).code(2);
        for part in *parts {
            assert!(
                run.err.contains(part),
                "{set:?}: no `{part}` in {}",
                run.err
            );
        }
        assert!(!s.at("home/state/dvc/data").exists(), "{set:?}");
    }
    // Without volumes, `pack` has nothing to pack and fails.
    let s = machine(&[("DATA_TAG", "r.example/x".to_owned())]);
    if !Path::new("/source").exists() {
        s.dvc(["pack"])
            .code(2)
            .complains("cannot read `/source`")
            .complains("mount volumes");
    }
    // With NO_PUSH, no remote is needed. The `_FILE` variant of a variable works as well.
    let switch = s.at("switch");
    fs::write(&switch, "yes\n").unwrap();
    let s2 = machine(&[("NO_PUSH_FILE", switch.to_str().unwrap().to_owned())]);
    s2.write("a", "a");
    word(&s2, &["pack"]).ok();
    let run = s2.dvc(["doctor", "--json"]);
    let check = run
        .json_lines()
        .into_iter()
        .find(|c| c["check"] == "environment")
        .unwrap();
    assert_eq!(check["message"], "NO_PUSH");
}

/// No process has a secret in its arguments.
#[test]
fn no_argument_is_secret() {
    let Some(registry) = Registry::with_password() else {
        return;
    };
    let tag = format!("127.0.0.1:{}/data", registry.program.port());
    let (user, password) = (registry::USER.to_owned(), registry::PASSWORD.to_owned());
    let s = machine(&[
        ("DATA_TAG", tag),
        ("REGISTRY_USERNAME", user),
        ("REGISTRY_PASSWORD", password),
    ]);
    s.write("a", noise(1, 8 << 20));
    needs::need("setpriv");
    let mut c = s.command(["-C", s.w("").to_str().unwrap(), "-v", "-v", "pack"]);
    let mut child = c
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let found = String::from_utf8_lossy(&line).contains(registry::PASSWORD);
            assert!(!found, "{}", String::from_utf8_lossy(&line));
        }
        looks += 1;
    }
    let run = Run::wait("pack".to_owned(), child).ok();
    assert!(
        looks > 0 && !run.err.contains(registry::PASSWORD) && !run.out.contains(registry::PASSWORD)
    );
}

/// Runs `dvc` in a mount namespace with its own `/source`, in which directories of the sandbox are
/// mounted like volumes of a container. Returns `None` if this is not possible.
fn container(s: &Sandbox, volumes: &[(&str, &str)], words: &str) -> Option<Run> {
    if !needs::root_to("create a mount namespace") {
        return None;
    }
    let mut script = format!("{ALONE}; mount -t tmpfs none /mnt; mkdir /mnt/source\n");
    let top = |path: &Path| {
        format!(
            "/{}",
            path.components()
                .nth(1)
                .unwrap()
                .as_os_str()
                .to_str()
                .unwrap()
        )
    };
    let mut shared: Vec<String> = ["/usr", "/etc", "/proc", "/dev", "/lib", "/lib64", "/bin"]
        .map(str::to_owned)
        .into();
    shared.extend([top(s.root()), top(Path::new(env!("CARGO_BIN_EXE_dvc")))]);
    shared.sort();
    shared.dedup();
    for dir in shared {
        script += &format!(
            "if [ -L {dir} ]; then cp -P {dir} /mnt{dir}; elif [ -d {dir} ]; then mkdir /mnt{dir}; mount --rbind {dir} /mnt{dir}; fi\n"
        );
    }
    for (from, to) in volumes {
        let from = s.at(from);
        fs::create_dir_all(&from).unwrap();
        script += &format!(
            "mkdir -p /mnt/source/{to}; mount --bind '{}' /mnt/source/{to}\n",
            from.display()
        );
    }
    script += &format!("exec chroot /mnt {} {words}\n", env!("CARGO_BIN_EXE_dvc"));
    let unshare = needs::need("unshare");
    Some(Run::of(s.other(unshare).args([
        "--mount",
        "--propagation",
        "slave",
        "sh",
        "-euc",
        &script,
    ])))
}

/// Creates a machine with a remote and two volumes, whose content is in `v/one` and `v/two`.
fn two_volumes() -> Sandbox {
    let mut s = Sandbox::new();
    let remote = s.at("remote").to_str().unwrap().to_owned();
    s.set("DVC_REMOTE_ORIGIN_URL", &remote);
    for volume in ["one", "two"] {
        fs::create_dir_all(s.at("v").join(volume)).unwrap();
        fs::write(s.at("v").join(volume).join("table"), volume).unwrap();
    }
    s
}

const APP: [(&str, &str); 2] = [("v/one", "app/db"), ("v/two", "app/www")];

/// A missing volume is detected at any depth, with and without a kept repository, and also if
/// `/source` itself is a volume.
#[test]
fn a_volume_that_is_not_mounted_is_not_removed() {
    let around: &[&[(&str, &str)]] = &[&[], &[("v/all", "")]];
    for above in around {
        let s = two_volumes();
        let volumes = [above, &APP[..]].concat();
        let without_db = [above, &APP[1..]].concat();
        let Some(run) = container(&s, &volumes, "pack") else {
            return;
        };
        run.ok().says("v1");
        container(&s, &volumes, "pack")
            .unwrap()
            .ok()
            .says("nothing to commit");
        for _ in 0..2 {
            container(&s, &without_db, "pack")
                .unwrap()
                .code(4)
                .complains("`/source/app/db` is empty");
            // Files at this path in another volume do not replace the missing volume.
            for name in ["db", "www"] {
                fs::create_dir_all(s.at("v/other").join(name)).unwrap();
            }
            fs::write(s.at("v/other/db/x"), "x").unwrap();
            let other = [above, &[("v/other", "app")][..], &APP[1..]].concat();
            container(&s, &other, "pack")
                .unwrap()
                .code(4)
                .complains("nothing is mounted at `/source/app/db`");
            let emptied = [&without_db[..], &[("v/empty", "app/db")]].concat();
            container(&s, &emptied, "pack")
                .unwrap()
                .code(4)
                .complains("`/source/app/db` is empty");
            forget(&s);
        }
        // Pack only the other volume, twice: the missing volume must still be detected.
        for text in ["new", "newer"] {
            fs::write(s.at("v/two/table"), text).unwrap();
            container(&s, &without_db, "pack app/www").unwrap().ok();
            forget(&s);
            container(&s, &without_db, "pack")
                .unwrap()
                .code(4)
                .complains("`/source/app/db`");
        }
        container(&s, &without_db, "pack --allow-empty")
            .unwrap()
            .ok();
        container(&s, &without_db, "pack")
            .unwrap()
            .ok()
            .says("nothing to commit");
    }
}

/// A subdirectory becomes a volume of its own, without any other change. The kept repository
/// records the new volume.
#[test]
fn mounted_volumes_are_recorded_without_a_new_version() {
    let s = two_volumes();
    fs::create_dir(s.at("v/two/sub")).unwrap();
    fs::write(s.at("v/two/sub/file"), "file").unwrap();
    let Some(run) = container(&s, &APP, "pack") else {
        return;
    };
    run.ok().says("v1");
    let more = [&APP[..], &[("v/two/sub", "app/www/sub")]].concat();
    container(&s, &more, "pack")
        .unwrap()
        .ok()
        .says("nothing to commit");
    container(&s, &APP, "pack")
        .unwrap()
        .code(4)
        .complains("nothing is mounted at `/source/app/www/sub`");
    container(&s, &APP, "pack --allow-empty").unwrap().ok();
    container(&s, &APP, "pack").unwrap().ok();
}

/// A volume contains only directories, and no file.
#[test]
fn a_volume_of_empty_directories_is_packed_again() {
    let s = two_volumes();
    fs::create_dir_all(s.at("v/hollow/dir")).unwrap();
    let volumes = [
        &APP[..],
        &[("v/hollow", "hollow"), ("v/hollow", "app/hollow")],
    ]
    .concat();
    let Some(run) = container(&s, &volumes, "pack") else {
        return;
    };
    run.ok().says("v1");
    fs::write(s.at("v/one/table"), "new").unwrap();
    container(&s, &volumes, "pack").unwrap().ok().says("v2");
}

#[test]
fn nothing_is_unpacked_outside_of_the_volumes() {
    let s = two_volumes();
    let Some(run) = container(&s, &APP, "pack") else {
        return;
    };
    run.ok();
    // The user has forgotten `-v`, so the data would be lost together with the container.
    container(&s, &[], "unpack")
        .unwrap()
        .code(2)
        .complains("nothing is mounted at or below `/source`");
    container(&s, &[], "unpack app")
        .unwrap()
        .code(2)
        .complains("nothing is mounted at or below `/source`");
    let db = [("v/db", "app/db")];
    container(&s, &db, "unpack app/www")
        .unwrap()
        .code(4)
        .complains("nothing is mounted at `/source/app/www`");
    // The name of one volume is wrong, so the other volume is not unpacked either.
    let misspelt = [("v/db", "app/db"), ("v/www", "app/ww")];
    let run = container(&s, &misspelt, "unpack")
        .unwrap()
        .code(4)
        .complains("does not contain the mounted volume `app/ww`");
    assert!(run.err.contains("it contains `app/www`"), "{}", run.err);
    container(&s, &misspelt[1..], "unpack")
        .unwrap()
        .code(4)
        .complains("does not contain the mounted volume `app/ww`");
    assert!(fs::read_dir(s.at("v/db")).unwrap().next().is_none());
    container(&s, &misspelt, "unpack app/db").unwrap().ok();
    assert_same(&s.at("v/one"), &s.at("v/db"));
    // The name of a directory that contains volumes selects all of them.
    let both = [("v/db2", "app/db"), ("v/www2", "app/www")];
    container(&s, &both, "unpack app app").unwrap().ok();
    assert_same(&s.at("v/one"), &s.at("v/db2"));
    assert_same(&s.at("v/two"), &s.at("v/www2"));
    container(&s, &db, "unpack").unwrap().ok();
    // With `-C`, no volume has to be mounted.
    container(&s, &[], "-C /source unpack").unwrap().ok();
}
