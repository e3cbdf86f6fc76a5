//! Tests the sidecar image in a real engine: `pack` and `unpack` between volumes and a registry,
//! the root of the image, and mounts.
//!
//! `DVC_TEST_IMAGE` is the path of the image; `make test` sets it. Without it, the tests build an
//! image of the program under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::Engine;
use crate::support::facts::{Compare, assert_same, facts};
use crate::support::needs;
use crate::support::sandbox::Run;
use crate::support::servers::registry::{self, Registry};
use crate::support::servers::sshd::{self, Sshd};
use crate::support::zoo::{self, noise};

/// Maximum size of the image, in bytes.
const LIMIT: u64 = 40_000_000;
/// Maximum memory of an idle process, in KiB.
const IDLE: u64 = 20 << 10;

/// Returns the root directory of the sources.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the shared engine, with the image loaded.
fn engine() -> Option<&'static Engine> {
    static LOADED: OnceLock<()> = OnceLock::new();
    let engine = Engine::shared()?;
    LOADED.get_or_init(|| load(engine));
    Some(engine)
}

/// Loads the image into the engine.
pub fn load(engine: &Engine) {
    let archive = named_image().unwrap_or_else(|| {
        let out = engine.dir().join("image");
        let mut build = Command::new(project().join("image/build.sh"));
        build.args([
            "--binary",
            env!("CARGO_BIN_EXE_dvc"),
            "--out",
            out.to_str().unwrap(),
        ]);
        let built = build.stdin(Stdio::null()).output().unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        out.join("dvc.tar")
    });
    let said = engine.docker(["load", "-i", archive.to_str().unwrap()]);
    assert!(said.contains("dvc:latest"), "{said}");
}

fn named_image() -> Option<PathBuf> {
    std::env::var_os("DVC_TEST_IMAGE")
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
}

/// The volumes of one test. Drop removes them.
struct Volumes {
    engine: &'static Engine,
    prefix: String,
}

impl Volumes {
    fn new(engine: &'static Engine) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            engine,
            prefix: format!("sidecar{}-", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Returns the full name of a volume.
    fn name(&self, volume: &str) -> String {
        format!("{}{volume}", self.prefix)
    }

    /// Returns the directory of a volume. The first call creates the volume.
    fn at(&self, volume: &str) -> PathBuf {
        let name = self.name(volume);
        self.engine.docker(["volume", "create", &name]);
        self.engine
            .docker(["volume", "inspect", "-f", "{{.Mountpoint}}", &name])
            .into()
    }

    /// Runs the image. The arguments before `--` are options of `docker run`; the arguments after
    /// it are those of `dvc`. In `-v VOLUME:PATH`, the volume belongs to this test unless it is a
    /// path.
    fn run<S: AsRef<str>>(&self, args: &[S]) -> Run {
        Run::of(&mut self.command(args))
    }

    fn command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let (options, words) = args.split_at(args.iter().position(|a| *a == "--").unwrap());
        let mut c = self.engine.command(["run", "--network", "host"]);
        if !options.contains(&"--name") {
            c.arg("--rm");
        }
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "-v" => {
                    let mount = options.next().unwrap();
                    let own = if mount.starts_with('/') {
                        (*mount).to_owned()
                    } else {
                        self.name(mount)
                    };
                    c.args(["-v", &own]);
                }
                other => {
                    c.arg(other);
                }
            }
        }
        c.arg("dvc:latest").args(&words[1..]);
        c
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        let listed = self.engine.try_docker([
            "volume",
            "ls",
            "-q",
            "-f",
            &format!("name=^{}", self.prefix),
        ]);
        for name in String::from_utf8_lossy(&listed.stdout).lines() {
            let _ = self.engine.try_docker(["volume", "rm", "-f", name]);
        }
    }
}

/// Creates everything that a volume can contain, except xattrs that only root in the initial
/// namespace can read.
fn fill(dir: &Path) {
    zoo::build(dir);
    for name in ["file", "link"] {
        let path = dir.join("attributes").join(name);
        for attribute in ["trusted.secret", "trusted.of a link"] {
            // Ignore the error, because not every file has both attributes.
            let _ = rustix::fs::lremovexattr(&path, attribute);
        }
    }
}

fn tag(registry: &Registry, name: &str) -> String {
    format!("DATA_TAG=127.0.0.1:{}/{name}", registry.program.port())
}

/// Returns the number of requests for a repository in the log of the registry.
fn request_count(registry: &Registry, name: &str) -> usize {
    let log = fs::read_to_string(registry.access_log()).unwrap();
    log.lines()
        .filter(|line| line.contains(&format!("/v2/{name}/")))
        .count()
}

/// Returns the total size of the blobs that were uploaded after the first `from` bytes of the log,
/// and the current length of the log.
fn uploaded(registry: &Registry, from: usize) -> (u64, usize) {
    let log = fs::read_to_string(registry.access_log()).unwrap();
    let blobs = registry.program.at("data/docker/registry/v2/blobs/sha256");
    let put = log[from..]
        .lines()
        .filter(|line| line.contains("\"PUT ") && line.contains("/blobs/uploads/"));
    let digests = put.filter_map(|line| {
        let rest = line.split_once("digest=sha256")?.1;
        rest.trim_start_matches("%3A")
            .trim_start_matches(':')
            .get(..64)
    });
    let bytes = digests
        .map(|d| {
            fs::metadata(blobs.join(&d[..2]).join(d).join("data"))
                .unwrap()
                .len()
        })
        .sum();
    (bytes, log.len())
}

/// Packs two read-only volumes to a registry and unpacks them into new volumes.
#[test]
fn volumes_are_packed_and_unpacked() {
    let (Some(engine), Some(mut registry)) = (engine(), Registry::start()) else {
        return;
    };
    let volumes = Volumes::new(engine);
    let (db, www) = (volumes.at("db"), volumes.at("www"));
    fill(&db);
    fill(&www);
    // Keep the file with a hole of 1 TiB in only one volume, because every comparison iterates over
    // the 16 million pieces of the hole, which is slow.
    fs::remove_file(www.join("sparse/huge")).unwrap();
    let tag = tag(&registry, "data");
    let source = [
        "-v",
        "db:/source/db:ro",
        "-v",
        "www:/source/www:ro",
        "-v",
        "repo:/var/lib/dvc",
        "-e",
        &tag,
    ];
    let with = |more: &[&'static str], words: &[&'static str]| {
        let all = source
            .into_iter()
            .chain(more.iter().copied())
            .chain(["--"])
            .chain(words.iter().copied());
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = (
        facts(&db, &Compare::default()),
        facts(&www, &Compare::default()),
    );
    volumes
        .run(&with(&["-e", "NO_PUSH=1"], &["pack"]))
        .ok()
        .says("v1");
    assert_eq!(request_count(&registry, "data"), 0);
    volumes
        .run(&with(
            &["-e", "DVC_REPO=/var/lib/dvc/data"],
            &["log", "--oneline"],
        ))
        .ok()
        .says("v1 pack");
    volumes
        .run(&with(
            &[
                "--read-only",
                "--tmpfs",
                "/tmp",
                "--tmpfs",
                "/var/cache/dvc",
            ],
            &["pack"],
        ))
        .ok();
    assert!(request_count(&registry, "data") > 0);
    // Each container has its own `/source`. Directories that are only parents of volumes do not
    // count as changes.
    volumes
        .run(&with(&[], &["pack"]))
        .ok()
        .says("[main v1 ")
        .says("nothing to commit");
    assert!(
        before
            == (
                facts(&db, &Compare::default()),
                facts(&www, &Compare::default())
            ),
        "nothing was written"
    );

    let target = [
        "-v",
        "db2:/source/db",
        "-v",
        "www2:/source/www",
        "-e",
        &tag,
        "--",
        "unpack",
    ];
    let (db2, www2) = (volumes.at("db2"), volumes.at("www2"));
    volumes.run(&target).ok();
    assert_same(&db, &db2);
    assert_same(&www, &www2);
    // Only volumes that are mounted or named are unpacked. Files that are not in the version are
    // removed.
    fs::remove_dir_all(db2.join("plain")).unwrap();
    fs::write(www2.join("mine"), "mine").unwrap();
    let run = volumes
        .run(&["-v", "db2:/source/db", "-e", &tag, "--", "--yes", "unpack"])
        .ok();
    assert!(
        run.err.contains("www") && run.err.contains("not mounted"),
        "{}",
        run.err
    );
    assert_same(&db, &db2);
    volumes.run(&[&target[..], &["db"]].concat()).ok();
    assert_eq!(fs::read(www2.join("mine")).unwrap(), b"mine");

    // The repository on a volume works without the remote.
    registry.program.stop();
    let kept = [
        "-v",
        "db3:/source/db",
        "-v",
        "repo:/var/lib/dvc",
        "-e",
        &tag,
        "--",
        "unpack",
    ];
    let db3 = volumes.at("db3");
    volumes.run(&kept).code(6);
    volumes
        .run(&[&["-e", "NO_PULL=1"], &kept[..]].concat())
        .ok();
    assert_same(&db, &db3);
    volumes
        .run(&[
            "-v",
            "db4:/source/db",
            "-e",
            &tag,
            "-e",
            "NO_PULL=1",
            "--",
            "unpack",
        ])
        .code(10);

    // An unknown name is reported before data is fetched.
    let strange = [
        "-v",
        "db4:/source/db",
        "-v",
        "ww:/source/ww",
        "-e",
        &tag,
        "-v",
        "repo:/var/lib/dvc",
        "-e",
        "NO_PULL=1",
        "--",
        "unpack",
    ];
    let db4 = volumes.at("db4");
    volumes
        .run(&strange)
        .code(4)
        .complains("`ww`")
        .complains("`www`");
    assert_eq!(fs::read_dir(&db4).unwrap().count(), 0);
    volumes.run(&[&strange[..], &["db"]].concat()).ok();
    assert_same(&db, &db4);

    // Data that is unpacked into the container's own layer would be lost with the container.
    volumes
        .run(&["-e", &tag, "-e", "NO_PULL=1", "--", "unpack"])
        .code(2)
        .complains("nothing is mounted");

    // A volume that is not mounted is not treated as empty.
    let forgotten = [
        "-v",
        "db:/source/db:ro",
        "-v",
        "repo:/var/lib/dvc",
        "-e",
        "NO_PUSH=1",
        "--",
        "pack",
    ];
    volumes
        .run(&forgotten)
        .code(4)
        .complains("`/source/www` is empty");
    volumes
        .run(&["-e", "NO_PUSH=1", "--", "pack"])
        .code(2)
        .complains("/source");
    let (one, other) = (
        ["-v", "db3:/source/app/db:ro"],
        ["-v", "www2:/source/app/www:ro"],
    );
    let pack = ["-v", "deep:/var/lib/dvc", "-e", "NO_PUSH=1", "--", "pack"];
    volumes
        .run(&[&one[..], &other, &pack].concat())
        .ok()
        .says("v1");
    volumes
        .run(&[&other[..], &pack].concat())
        .code(4)
        .complains("`/source/app/db` is empty");
}

/// A different version is shown before it is unpacked. Some containers keep only the volume, and
/// one keeps its repository too.
#[test]
fn another_version_is_shown_before_it_is_unpacked() {
    let (Some(engine), Some(registry)) = (engine(), Registry::start()) else {
        return;
    };
    let volumes = Volumes::new(engine);
    let (one, two) = (volumes.at("one"), volumes.at("two"));
    let tag = tag(&registry, "data");
    // The source may be any directory.
    let pack = [
        "-v",
        "one:/data:ro",
        "-v",
        "r1:/var/lib/dvc",
        "-e",
        &tag,
        "--",
        "-C",
        "/data",
        "pack",
    ];
    let unpack = [
        "-v",
        "two:/data",
        "-v",
        "r2:/var/lib/dvc",
        "-e",
        &tag,
        "--",
        "-C",
        "/data",
        "unpack",
    ];
    fs::write(one.join("table"), "first").unwrap();
    volumes.run(&pack).ok();
    volumes.run(&unpack).ok();
    fs::write(one.join("table"), "second, longer").unwrap();
    volumes.run(&pack).ok();
    volumes
        .run(&unpack)
        .code(4)
        .says("table")
        .says("1 file changed")
        .complains("newest version");
    assert_eq!(fs::read(two.join("table")).unwrap(), b"first");
    volumes.run(&unpack).ok();
    assert_same(&one, &two);

    fs::write(one.join("table"), "third").unwrap();
    volumes.run(&pack).ok();
    let lost = ["-v", "two:/data", "-e", &tag, "--", "-C", "/data", "unpack"];
    volumes.run(&lost).code(4);
    volumes.run(&[&lost[..], &["--yes"]].concat()).ok();
    assert_same(&one, &two);
    fs::write(two.join("table"), "my own").unwrap();
    volumes
        .run(&[&lost[..], &["--yes"]].concat())
        .code(4)
        .complains("has uncommitted changes: `table`");
    assert_eq!(fs::read(two.join("table")).unwrap(), b"my own");
}

/// The second pack sends only changes, even from a container that does not keep its repository.
/// `DVC_TEST_MIB` sets the size of the data.
#[test]
fn the_second_pack_sends_only_what_changed() {
    let (Some(engine), Some(registry)) = (engine(), Registry::start()) else {
        return;
    };
    let volumes = Volumes::new(engine);
    let mib: usize = std::env::var("DVC_TEST_MIB")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(256);
    let table = volumes.at("db").join("table");
    {
        use std::io::Write;
        let mut file = fs::File::create(&table).unwrap();
        (0..mib).for_each(|n| file.write_all(&noise(n as u64, 1 << 20)).unwrap());
    }
    let tag = tag(&registry, "data");
    let (kept, lost) = (["-v", "repo:/var/lib/dvc"], ["-v", "cache:/var/cache/dvc"]);
    let pack = |how: [&str; 2]| {
        volumes
            .run(
                &[
                    &["-v", "db:/source/db:ro", "-e", &tag],
                    &how[..],
                    &["--", "pack"],
                ]
                .concat(),
            )
            .ok()
    };
    pack(kept);
    let (first, mut mark) = uploaded(&registry, 0);
    assert!(first > (mib as u64) << 20, "{first} bytes");
    for (n, how) in [kept, lost].into_iter().enumerate() {
        use std::os::unix::fs::FileExt;
        let file = fs::File::options().write(true).open(&table).unwrap();
        file.write_all_at(
            &noise(9000 + n as u64, 1 << 20),
            ((mib / 4 + n) << 20) as u64 + 12_345,
        )
        .unwrap();
        pack(how);
        let (sent, end) = uploaded(&registry, mark);
        mark = end;
        eprintln!("pack {n} of {mib} MiB: {sent} bytes were uploaded");
        assert!(sent > 1 << 20 && sent < 4 << 20, "pack {n}: {sent} bytes");
    }
}

/// Mounted secrets are found and used, and their values are not printed or stored.
#[test]
fn secrets_are_found_and_not_shown() {
    let (Some(engine), Some(registry)) = (engine(), Registry::with_password()) else {
        return;
    };
    let volumes = Volumes::new(engine);
    fs::write(volumes.at("db").join("table"), noise(1, 8 << 20)).unwrap();
    let dir = engine.dir().join(volumes.name("secrets"));
    fs::create_dir(&dir).unwrap();
    let tag = tag(&registry, "data");
    let mount = format!("{}:/run/secrets:ro", dir.display());
    let (name, log) = (volumes.name("packing"), "DVC_LOG=debug");
    let base = [
        "-v",
        "db:/source/db:ro",
        "-v",
        &mount,
        "-e",
        &tag,
        "-e",
        log,
    ];
    volumes
        .run(&[&base[..], &["-e", "NO_PUSH=1", "--", "pack"]].concat())
        .ok();
    for (file, text) in [
        ("REGISTRY_USERNAME", registry::USER),
        ("REGISTRY_PASSWORD", &format!("{}\n", registry::PASSWORD)),
        ("my-key.pem", "k3y"),
        ("REGISTRY_PASWORD", "typ0"),
    ] {
        fs::write(dir.join(file), text).unwrap();
    }
    let mut c =
        volumes.command(&[&base[..], &["--name", &name, "--", "-v", "-v", "pack"]].concat());
    let mut child = c
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&line).contains(registry::PASSWORD));
        }
    }
    let run = Run::wait("pack".to_owned(), child)
        .ok()
        .complains("did you mean `REGISTRY_PASSWORD`");
    let inspected = engine.docker(["inspect", &name]);
    engine.docker(["rm", &name]);
    for secret in [registry::PASSWORD, "k3y", "typ0"] {
        for (what, text) in [
            ("inspect", &inspected),
            ("stdout", &run.out),
            ("stderr", &run.err),
        ] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
    let doctor = volumes.run(&[&base[..], &["--", "doctor"]].concat());
    for part in [
        "/run/secrets/REGISTRY_PASSWORD",
        "DATA_TAG",
        "`my-key.pem`",
        "`REGISTRY_PASWORD`",
    ] {
        assert!(doctor.out.contains(part), "{part}: {}", doctor.out);
    }
    fs::remove_file(dir.join("REGISTRY_PASSWORD")).unwrap();
    volumes
        .run(&[&base[..], &["--", "pack"]].concat())
        .code(12)
        .complains("REGISTRY_PASSWORD is not");
    fs::remove_dir_all(&dir).unwrap();
}

/// Runs the compose file of the documentation.
#[test]
fn the_compose_file_packs_and_unpacks() {
    let (Some(engine), Some(registry)) = (engine(), Registry::with_password()) else {
        return;
    };
    let Some(compose) = needs::server("docker-compose") else {
        return;
    };
    let dir = engine.dir().join("compose-pack");
    fs::create_dir_all(dir.join("secrets")).unwrap();
    fs::copy(
        project().join("docs/compose/pack-unpack.yml"),
        dir.join("pack-unpack.yml"),
    )
    .unwrap();
    fs::write(dir.join("secrets/registry-username"), registry::USER).unwrap();
    fs::write(dir.join("secrets/registry-password"), registry::PASSWORD).unwrap();
    let run = |project: &str, words: &[&str]| {
        let mut c = Command::new(&compose);
        c.current_dir(&dir)
            .args(["-p", project, "-f", "pack-unpack.yml"])
            .args(words)
            .stdin(Stdio::null());
        c.env("DOCKER_HOST", engine.host())
            .env("DVC_NETWORK", "host")
            .env_remove("COMPOSE_FILE");
        c.env(
            "DATA_TAG",
            format!("127.0.0.1:{}/composed:nightly", registry.program.port()),
        );
        Run::of(&mut c)
    };
    // Create the volumes with the labels of Compose, so that the test can fill them before the
    // first container starts.
    let at = |project: &str, volume: &str| {
        let name = format!("{project}_{volume}");
        let labels = [
            format!("com.docker.compose.project={project}"),
            format!("com.docker.compose.volume={volume}"),
        ];
        engine.docker([
            "volume", "create", "--label", &labels[0], "--label", &labels[1], &name,
        ]);
        PathBuf::from(engine.docker(["volume", "inspect", "-f", "{{.Mountpoint}}", &name]))
    };
    for volume in ["db", "www"] {
        fs::write(at("packone", volume).join("file"), volume).unwrap();
    }
    run("packone", &["run", "--rm", "-T", "pack"])
        .ok()
        .says("[nightly v1 ");
    run("packtwo", &["run", "--rm", "-T", "unpack"])
        .ok()
        .says("[nightly v1 ");
    for volume in ["db", "www"] {
        assert_same(&at("packone", volume), &at("packtwo", volume));
    }
    for project in ["packone", "packtwo"] {
        run(project, &["down", "-v"]).ok();
        for volume in ["db", "www", "repository"] {
            engine.try_docker(["volume", "rm", "-f", &format!("{project}_{volume}")]);
        }
    }
    fs::remove_dir_all(&dir).unwrap();
}

/// TLS certificates and name resolution work although the root of the image is almost empty.
#[test]
fn certificates_and_names_are_found() {
    let (Some(engine), Some(registry)) = (engine(), Registry::encrypted()) else {
        return;
    };
    let volumes = Volumes::new(engine);
    fs::write(volumes.at("db").join("table"), "x").unwrap();
    let tag = format!("DATA_TAG=registry.test:{}/data", registry.program.port());
    let base = [
        "-v",
        "db:/source/db:ro",
        "-e",
        &tag,
        "--add-host",
        "registry.test:127.0.0.1",
    ];
    let run = volumes.run(&[&base[..], &["--", "pack"]].concat()).code(6);
    assert!(
        run.err.to_lowercase().contains("certificate"),
        "{}",
        run.err
    );
    let trusted = format!(
        "{}:/etc/ssl/certs/ca-certificates.crt:ro",
        registry.program.at("cert.pem").display()
    );
    volumes
        .run(&[&base[..], &["-v", &trusted, "--", "pack"]].concat())
        .ok();
    let none = [
        "-v",
        "db:/source/db:ro",
        "-e",
        "DATA_TAG=none.invalid/data",
        "--",
        "pack",
    ];
    volumes.run(&none).code(6).complains("none.invalid");
}

/// The ssh client of the second image connects to an sftp remote and checks the host key.
#[test]
fn the_image_with_ssh_reaches_an_sftp_remote() {
    let (Some(engine), Some(sshd)) = (engine(), Sshd::start()) else {
        return;
    };
    let out = engine.dir().join("image-ssh");
    let mut build = Command::new(project().join("image/build.sh"));
    build
        .args(["--ssh", "--binary", env!("CARGO_BIN_EXE_dvc"), "--out"])
        .arg(&out);
    Run::of(build.stdin(Stdio::null())).ok();
    engine.docker(["load", "-i", out.join("dvc-ssh.tar").to_str().unwrap()]);
    fs::remove_dir_all(&out).unwrap();
    let dir = engine.dir().join("ssh");
    for sub in ["db", "back"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    fs::write(dir.join("db/table"), noise(1, 1 << 20)).unwrap();
    // Keys and known hosts have the same paths as outside the container.
    let config = sshd.config();
    let keys = format!("{0}:{0}:ro", config.parent().unwrap().display());
    let run = |url: &str, volume: &str, word: &str| {
        let (url, at) = (
            format!("DVC_REMOTE_ORIGIN_URL={url}"),
            format!("{}:/source/db", dir.join(volume).display()),
        );
        let options = [
            "run",
            "--rm",
            "--network",
            "host",
            "-v",
            &keys,
            "-v",
            &at,
            "-e",
            &url,
            "dvc:ssh",
            word,
        ];
        Run::of(&mut engine.command(options))
    };
    run(&sshd.url("store"), "db", "pack").ok().says("v1");
    run(&sshd.url("store"), "back", "unpack").ok();
    assert_same(&dir.join("db"), &dir.join("back"));
    run(&sshd.url_by(sshd::IMPOSTOR, "store"), "db", "pack")
        .code(6)
        .complains("Host key verification failed");
    engine.docker(["image", "rm", "dvc:ssh"]);
    fs::remove_dir_all(&dir).unwrap();
}

/// Mounts a version in a container without `fusermount`, and measures the memory of an idle
/// process.
#[test]
fn a_version_is_mounted_in_a_container() {
    let Some(engine) = engine() else { return };
    let volumes = Volumes::new(engine);
    let table = noise(1, 1 << 20);
    fs::write(volumes.at("db").join("table"), &table).unwrap();
    let repo = [
        "-v",
        "repo:/var/lib/dvc",
        "-e",
        "DVC_REPO=/var/lib/dvc/data",
    ];
    volumes
        .run(
            &[
                &repo[..],
                &["-v", "db:/source/db:ro", "-e", "NO_PUSH=1", "--", "pack"],
            ]
            .concat(),
        )
        .ok();
    let name = volumes.name("mounting");
    let mount = [
        "-d",
        "--name",
        &name,
        "--device",
        "/dev/fuse",
        "--cap-add",
        "SYS_ADMIN",
    ];
    let words = ["--", "mount", "--foreground", "main", "/source"];
    volumes
        .run(
            &[
                &mount[..],
                &["--security-opt", "apparmor=unconfined"],
                &repo,
                &words,
            ]
            .concat(),
        )
        .ok();
    let pid = engine.docker(["inspect", "-f", "{{.State.Pid}}", &name]);
    let seen = PathBuf::from(format!("/proc/{pid}/root/source/db/table"));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !seen.exists() {
        let logs = engine.try_docker(["logs", &name]);
        assert!(
            std::time::Instant::now() < until,
            "{}",
            String::from_utf8_lossy(&logs.stderr)
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fs::read(&seen).unwrap(), table);
    fs::write(seen.with_file_name("new"), "new").unwrap();
    let status = engine.docker([
        "exec",
        &name,
        "/dvc",
        "-C",
        "/source",
        "status",
        "--porcelain",
    ]);
    assert!(status.contains("A db/new"), "{status}");
    if named_image().is_some() {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rss = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib <= IDLE, "an idle mount takes {kib} KiB");
    }
    // The container ends with the mount, so this command may be killed before it reports success.
    engine.try_docker(["exec", &name, "/dvc", "umount", "/source"]);
    assert_eq!(engine.docker(["wait", &name]), "0");
    engine.docker(["rm", &name]);
}

/// Checks the size and the content of the image, and that a second build gives an identical image.
#[test]
fn the_image_is_small_and_whole() {
    let Some(engine) = engine() else { return };
    let size: u64 = engine
        .docker(["image", "inspect", "-f", "{{.Size}}", "dvc:latest"])
        .parse()
        .unwrap();
    let version = engine.docker([
        "run",
        "--rm",
        "--network",
        "none",
        "dvc:latest",
        "--version",
    ]);
    assert_eq!(
        version,
        format!("dvc (data-volume control) {}", env!("CARGO_PKG_VERSION"))
    );
    let name = "sidecar-root";
    engine.docker(["create", "--name", name, "dvc:latest"]);
    let mut listing = Command::new("tar");
    let mut export = engine
        .command(["export", name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let listed = listing
        .arg("-tf")
        .arg("-")
        .stdin(export.stdout.take().unwrap())
        .output()
        .unwrap();
    export.wait().unwrap();
    engine.docker(["rm", name]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    for file in [
        "dvc",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "tmp/",
        "source/",
    ] {
        assert!(
            listed.lines().any(|line| line == file),
            "no {file} in\n{listed}"
        );
    }
    if named_image().is_some() {
        assert!(size <= LIMIT, "{size} bytes");
        assert!(!listed.lines().any(|line| line.contains(".so")), "{listed}");
    }
    // The image depends only on the binary and not on the umask of the build.
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("dvc");
    fs::write(&binary, "#!/bin/true\n").unwrap();
    fs::set_permissions(&binary, PermissionsExt::from_mode(0o700)).unwrap();
    let made = ["022", "077"].map(|mask| {
        let out = dir.path().join(mask);
        let line = "umask $0; exec \"$1\" --binary \"$2\" --out \"$3\"";
        let mut c = Command::new("bash");
        c.args(["-c", line, mask])
            .arg(project().join("image/build.sh"))
            .arg(&binary)
            .arg(&out);
        Run::of(c.stdin(Stdio::null())).ok();
        fs::read(out.join("dvc.tar")).unwrap()
    });
    assert!(made[0] == made[1], "two archives of one binary differ");
}
