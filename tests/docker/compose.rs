//! Tests the unchanged compose files of `docs/compose`, and the tour of `docs/compose-tour.md`.
//!
//! The tests set only variables that the files mention, such as the name of the driver and the URL
//! of the remote. The driver runs in a container, from `plugin.yml`. The engine's guard removes
//! everything below the engine's directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::sidecar::{load, project};
use crate::support::databases::mariadb;
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::registry::{self, Registry};

/// Time limit for an expected event. Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// An engine with the image, a copy of the compose files, and a registry that requires a password.
struct Host {
    registry: Registry,
    s: Sandbox,
    compose: PathBuf,
    variables: Vec<(&'static str, String)>,
    engine: Engine,
}

impl Host {
    /// Returns `None` if an engine, a registry or compose cannot run here, or if FUSE mounts are
    /// not possible.
    fn new() -> Option<Self> {
        if !needs::fuse() {
            return None;
        }
        let compose = needs::server("docker-compose")?;
        let (engine, registry) = (Engine::start()?, Registry::with_password()?);
        load(&engine);
        engine.image();
        let mut s = Sandbox::new();
        s.set("DVC_AUTHOR", "Ann <ann@example.org>");
        s.set("REGISTRY_USERNAME", registry::USER)
            .set("REGISTRY_PASSWORD", registry::PASSWORD);
        let host = Self {
            registry,
            s,
            compose,
            variables: Vec::new(),
            engine,
        };
        let mut copy = Command::new("cp");
        Run::of(
            copy.args(["-r", "--"])
                .arg(project().join("docs/compose"))
                .arg(host.dir()),
        )
        .ok();
        fs::create_dir_all(host.dir().join("secrets")).unwrap();
        fs::write(host.dir().join("secrets/REGISTRY_USERNAME"), registry::USER).unwrap();
        fs::write(
            host.dir().join("secrets/REGISTRY_PASSWORD"),
            registry::PASSWORD,
        )
        .unwrap();
        // The mounts of a container are visible outside it only if their directory is a shared
        // mount.
        let data = host.data();
        fs::create_dir(&data).unwrap();
        needs::run("mount", &["--bind", text(&data), text(&data)]);
        needs::run("mount", &["--make-shared", text(&data)]);
        // Register the driver's socket with the guard, which removes it if this process cannot.
        let mut list = File::options()
            .append(true)
            .open(host.engine.dir().join("plugins"))
            .unwrap();
        writeln!(list, "/run/docker/plugins/{}.sock", host.driver()).unwrap();
        Some(host)
    }

    /// Returns the directory of the compose files.
    fn dir(&self) -> PathBuf {
        self.s.at("compose")
    }

    /// Returns the directory of the volumes.
    fn data(&self) -> PathBuf {
        self.engine.dir().join("dvc")
    }

    /// Returns a name that is unique among all tests, because all engines of the machine see all
    /// drivers and their volumes.
    fn driver(&self) -> String {
        format!("{}-compose", self.engine.name())
    }

    /// Returns the URL of a repository in the registry.
    fn url(&self, name: &str) -> String {
        self.registry.url(name)
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.push((name, value.into()));
    }

    /// Sets the environment variables that a user of the compose files would set.
    fn set_environment(&self, c: &mut Command) {
        c.env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_CONFIG", self.engine.dir().join("client"));
        c.env("DVC_NETWORK", "host")
            .env("DVC_DRIVER", self.driver())
            .env("DVC_HOST_DATA_DIR", self.data());
        c.env_remove("COMPOSE_FILE")
            .env("COMPOSE_IGNORE_ORPHANS", "1")
            .stdin(Stdio::null());
        c.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Runs `docker-compose -f FILE` with the given arguments.
    fn compose(&self, file: &str, words: &[&str]) -> Run {
        self.project("compose", file, words)
    }

    /// Like [`Self::compose`], for the given project.
    fn project(&self, name: &str, file: &str, words: &[&str]) -> Run {
        let mut c = Command::new(&self.compose);
        self.set_environment(
            c.current_dir(self.dir())
                .args(["-p", name, "-f", file])
                .args(words),
        );
        Run::of(&mut c)
    }

    /// Runs `docker exec dvc dvc ...`.
    fn dvc(&self, words: &[&str]) -> Run {
        Run::of(self.engine.command(["exec", "dvc", "dvc"]).args(words))
    }

    fn docker(&self, words: &[&str]) -> String {
        self.engine.docker(words)
    }

    /// Returns the last log lines of each container.
    fn container_logs(&self) -> String {
        let names = self.docker(&["ps", "-a", "--format", "{{.Names}}"]);
        let last = names.lines().map(|name| {
            let logs = self.engine.try_docker(["logs", "--tail", "20", name]);
            format!(
                "{name}:\n{}",
                String::from_utf8_lossy(&[logs.stdout, logs.stderr].concat())
            )
        });
        last.collect()
    }

    /// Waits until a condition is true. On failure, prints the logs of the containers.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < PATIENCE,
                "timed out: {what}\n{}",
                self.container_logs()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The driver's mounts are in use until the containers with volumes have ended, so these
        // must end before the driver.
        let listed = self
            .engine
            .try_docker(["ps", "-a", "--format", "{{.Names}}"])
            .stdout;
        let listed = String::from_utf8_lossy(&listed);
        for name in listed.lines().filter(|name| *name != "dvc").chain(["dvc"]) {
            self.engine.try_docker(["rm", "-f", name]);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Every compose file must be listed here or in the tests of the sidecar, so that each is tested.
#[test]
fn every_compose_file_is_run() {
    let tests = [include_str!("compose.rs"), include_str!("sidecar.rs")].concat();
    let files = fs::read_dir(project().join("docs/compose"))
        .unwrap()
        .map(|e| e.unwrap().file_name());
    let names: Vec<String> = files
        .map(|n| n.into_string().unwrap())
        .filter(|n| n.ends_with(".yml"))
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !tests.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let documents = ["docs/docker.md", "docs/sidecar.md"]
        .map(|d| fs::read_to_string(project().join(d)).unwrap())
        .concat();
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !documents.contains(name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Runs an application with a sidecar that commits often and pushes less often.
#[test]
fn a_sidecar_commits_often_and_pushes_sometimes() {
    let Some(mut host) = Host::new() else { return };
    let url = host.url("shop");
    for (name, value) in [
        ("DVC_REMOTE", url.as_str()),
        ("SNAPSHOT_FIRST", "0"),
        ("SNAPSHOT_EVERY", "1"),
        ("BACKUP_EVERY", "3"),
    ] {
        host.set(name, value);
    }
    host.compose("nightly.yml", &["up", "-d"]).ok();
    let pushed = || {
        host.s
            .dvc(["--repo", &url, "log", "--oneline", "main"])
            .out
            .lines()
            .count()
    };
    let own = |words: &[&str]| {
        host.compose(
            "nightly.yml",
            &[&["run", "--rm", "-T", "backup", "dvc"], words].concat(),
        )
    };
    host.until("a version is there", || pushed() > 0);
    host.until("more are", || pushed() > 3);
    host.compose("nightly.yml", &["stop", "app", "backup"]).ok();
    // After each push, the sidecar forgets and collects.
    let logs = host.compose("nightly.yml", &["logs", "backup"]).ok().out;
    assert!(!logs.contains("exit"), "{logs}");
    // The next push includes the versions in between, so the history has no gap.
    own(&["pack", "-m", "by hand"]).ok();
    let log = own(&["log", "--format", "%O", "main"]).ok().out;
    let wanted: Vec<String> = (1..=log.lines().count())
        .rev()
        .map(|n| n.to_string())
        .collect();
    assert_eq!(log.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(pushed(), wanted.len());
    assert_eq!(
        host.s.dvc(["--repo", &url, "ls", "main"]).ok().out,
        "config/\ndata/\n"
    );
    let app = host
        .compose(
            "nightly.yml",
            &["run", "--rm", "-T", "app", "cat", "/data/log"],
        )
        .ok()
        .out;
    assert_eq!(
        host.s
            .dvc(["--repo", &url, "show", "main:data/log"])
            .ok()
            .out,
        app
    );
    // The source is mounted read-only.
    let run = host.compose(
        "nightly.yml",
        &["run", "--rm", "-T", "backup", "touch", "/source/data/x"],
    );
    assert!(
        run.code != 0 && run.err.contains("Read-only"),
        "{}",
        run.err
    );
    host.compose("nightly.yml", &["down", "-v"]).ok();
}

/// Creates an image with MariaDB, whose data directory is `/var/lib/mysql`.
fn mariadb_image(engine: &Engine, name: &str) {
    let root = engine.dir().join("mariadb-root");
    let script = "
        root=$1; shift; mkdir -p $root/bin $root/usr/share $root/var/lib/mysql $root/run/mysqld $root/tmp $root/etc
        mkdir -p $root/usr/lib/mysql/plugin; chmod 1777 $root/tmp
        cp \"$(command -v busybox)\" $root/bin/; ln -s busybox $root/bin/sh; echo root:x:0:0::/:/bin/sh >$root/etc/passwd
        for program in \"$@\"; do
            for file in $program $(ldd $program | grep -oE '/[^ )]+'); do
                [ -e $root$file ] || install -D -m 755 $file $root$file
            done
        done
        cp -r /usr/share/mysql $root/usr/share/";
    let mut c = Command::new("bash");
    c.args(["-euc", script, "bash"])
        .arg(&root)
        .args([needs::need("mariadbd"), needs::need("mariadb")]);
    c.env(
        "PATH",
        format!(
            "{}:/usr/sbin:/usr/bin",
            std::env::var("PATH").unwrap_or_default()
        ),
    );
    Run::of(c.stdin(Stdio::null())).ok();
    let entry = format!(
        "ENTRYPOINT [\"{}\", \"--no-defaults\", \"--user=root\", \"--skip-networking\", \"--socket=/run/mysqld/mysqld.sock\", \
         \"--datadir=/var/lib/mysql\", \"--innodb-buffer-pool-size=32M\"]",
        text(&needs::need("mariadbd"))
    );
    let mut tar = Command::new("tar");
    let mut tar = tar
        .arg("-C")
        .arg(&root)
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut import = engine.command(["import", "--change", &entry, "-", name]);
    Run::of(import.stdin(tar.stdout.take().unwrap())).ok();
    assert!(tar.wait().unwrap().success());
    fs::remove_dir_all(&root).unwrap();
}

/// MariaDB runs on a version from a registry and is committed while it runs. Then a second server
/// runs on the new version.
#[test]
fn a_database_runs_on_a_version_of_a_registry() {
    let Some(mut host) = Host::new() else { return };
    mariadb::install(&host.s.at("w"));
    let url = host.url("amcc");
    host.s.dvc(["init", "--repo", "../r", "-b", "AMCC"]).ok();
    host.s
        .dvc(["--repo", "../r", "commit", "-b", "AMCC", "-m", "empty"])
        .ok();
    host.s
        .dvc(["--repo", "../r", "remote", "add", "origin", &url])
        .ok();
    host.s
        .dvc(["--repo", "../r", "push", "origin", "AMCC"])
        .ok();
    mariadb_image(&host.engine, "mariadb");
    let volume = format!("{}-amcc", host.engine.name());
    let second = format!("{volume}-v2");
    for (name, value) in [("DVC_REMOTE", url.as_str()), ("DVC_VOLUME", &volume)] {
        host.set(name, value);
    }
    host.compose("plugin.yml", &["up", "-d"]).ok();
    host.compose("database.yml", &["up", "-d"]).ok();
    let sql = |host: &Host, project: &str, sql: &str| {
        let program = needs::need("mariadb");
        let client = [
            "exec",
            "-T",
            "db",
            text(&program),
            "--no-defaults",
            "-NB",
            "-S",
            "/run/mysqld/mysqld.sock",
        ];
        host.project(
            project,
            "database.yml",
            &[&client[..], &["-u", "root", "-e", sql]].concat(),
        )
    };
    let project = "compose";
    host.until("the server answers", || {
        sql(&host, project, "select 1").code == 0
    });
    sql(
        &host,
        project,
        "create database d; create table d.t (n int primary key); insert into d.t values (1), (2)",
    )
    .ok();
    host.dvc(&["commit", "--volume", &volume, "-m", "with rows", "--push"])
        .ok()
        .says("[AMCC v2 ");
    assert_eq!(
        host.s
            .dvc(["--repo", &url, "log", "--format", "%s", "AMCC"])
            .ok()
            .out,
        "with rows\nempty\n"
    );
    sql(&host, project, "insert into d.t values (3)").ok();
    // Run a second server on the new version while the first server continues to run.
    host.set("DVC_VOLUME", &second);
    host.set("DVC_REV", "AMCC@v2");
    host.project("second", "database.yml", &["up", "-d"]).ok();
    host.until("the second server answers", || {
        sql(&host, "second", "select 1").code == 0
    });
    assert_eq!(
        sql(
            &host,
            "second",
            "select group_concat(n order by n) from d.t"
        )
        .ok()
        .out,
        "1,2\n"
    );
    assert!(
        sql(&host, "second", "check table d.t extended")
            .ok()
            .out
            .ends_with("OK\n")
    );
    host.project("second", "database.yml", &["down", "-v"]).ok();
    host.set("DVC_VOLUME", &volume);
    host.set("DVC_REV", "AMCC");
    // Replace the container by a new one with the same files.
    host.compose("database.yml", &["up", "-d", "--force-recreate"])
        .ok();
    host.until("the server answers again", || {
        sql(&host, project, "select 1").code == 0
    });
    assert_eq!(
        sql(&host, project, "select count(*) from d.t").ok().out,
        "3\n"
    );
    host.compose("database.yml", &["down", "-v"]).ok();
    let trash = host.dvc(&["trash"]).ok().out;
    assert!(
        trash.contains(&format!("Z-{volume}")),
        "uncommitted changes are not in the trash: {trash}"
    );
    host.compose("plugin.yml", &["down", "-v"]).ok();
}

/// Three volumes, three writers and a reader. The containers stop and start while versions are
/// created.
#[test]
fn writers_share_volumes_while_versions_are_made() {
    let Some(mut host) = Host::new() else { return };
    let prefix = format!("{}-", host.engine.name());
    host.set("DVC_PREFIX", prefix.clone());
    host.compose("plugin.yml", &["up", "-d"]).ok();
    host.compose("volumes.yml", &["up", "-d"]).ok();
    let name = |volume: &str| format!("{prefix}{volume}");
    let config = format!("{}:/config", name("config"));
    host.docker(&[
        "run",
        "--rm",
        "-v",
        &config,
        host.engine.image(),
        "sh",
        "-c",
        "echo hello >/config/greeting",
    ]);
    let cat = |service: &str, file: &str| {
        host.compose("volumes.yml", &["exec", "-T", service, "cat", file])
    };
    host.until("the reader has counted", || {
        cat("reader", "/db/lines").code == 0
    });
    let volumes = ["config", "logs", "simpledb"].map(name);
    assert_eq!(host.dvc(&["volume", "ls", "-q"]).ok().lines(), volumes);
    let repository = format!("{}/repository", host.data().display());
    let url = host.url("state");
    host.dvc(&["--repo", &repository, "remote", "add", "origin", &url])
        .ok();
    for round in 1..=3 {
        let before = cat("writer1", "/logs/one").ok().out.lines().count();
        host.until("it goes on", || {
            cat("writer1", "/logs/one").out.lines().count() > before
        });
        host.dvc(&[
            "commit",
            "--all-volumes",
            "-m",
            &format!("round {round}"),
            "--push",
        ])
        .ok();
        host.compose("volumes.yml", &["restart", "-t", "0", "writer2"])
            .ok();
    }
    host.compose("volumes.yml", &["stop", "-t", "1"]).ok();
    host.dvc(&["commit", "--all-volumes", "-m", "last", "--push"])
        .ok();
    let show = |volume: &str, version: usize, file: &str| {
        host.s
            .dvc([
                "--repo",
                &url,
                "show",
                &format!("{}@#{version}:{file}", name(volume)),
            ])
            .ok()
            .out
    };
    let versions = host
        .s
        .dvc(["--repo", &url, "log", "--oneline", &name("logs")])
        .ok()
        .lines()
        .len();
    assert!(versions >= 4, "{versions}");
    // Each version is a prefix of the next one and contains only complete lines, although the
    // writers were restarted.
    for file in ["one", "two", "three"] {
        let texts: Vec<String> = (2..=versions)
            .map(|version| show("logs", version, file))
            .collect();
        assert!(
            texts.windows(2).all(|pair| pair[1].starts_with(&pair[0])),
            "{file}"
        );
        assert!(texts.last().unwrap().contains(" hello\n"));
    }
    assert_eq!(
        host.s
            .dvc([
                "--repo",
                &url,
                "show",
                &format!("{}:greeting", name("config"))
            ])
            .ok()
            .out,
        "hello\n"
    );
    host.compose("volumes.yml", &["down", "-v"]).ok();
    assert_eq!(host.dvc(&["volume", "ls", "-q"]).ok().out, "");
    host.compose("plugin.yml", &["down", "-v"]).ok();
}

/// Creates, queries and removes volumes by name with `docker exec`.
#[test]
fn volumes_are_managed_through_docker_exec() {
    let Some(mut host) = Host::new() else { return };
    let url = host.url("web");
    host.s.write("index", "from elsewhere");
    host.s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
    host.s
        .dvc(["--repo", "../r", "commit", "-b", "main", "-m", "first"])
        .ok();
    host.s
        .dvc(["--repo", "../r", "remote", "add", "origin", &url])
        .ok();
    host.s
        .dvc(["--repo", "../r", "push", "origin", "main"])
        .ok();
    host.compose("plugin.yml", &["up", "-d"]).ok();
    let web = format!("{}-web", host.engine.name());
    let other = format!("{}-other", host.engine.name());
    let from = format!("{url}#main");
    let run = host.dvc(&["volume", "has", &web]).code(1);
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
    host.dvc(&["volume", "create", &web, "--from", &from]).ok();
    host.dvc(&["volume", "create", &web, "--from", &from]).ok();
    host.dvc(&["volume", "create", &other]).ok();
    assert_eq!(host.dvc(&["volume", "has", &web]).ok().out, "");
    let mut names = [web.as_str(), &other];
    names.sort();
    assert_eq!(host.dvc(&["volume", "ls", "-q"]).ok().lines(), names);
    let path = host
        .dvc(&["volume", "path", &web])
        .ok()
        .out
        .trim_end()
        .to_owned();
    assert_eq!(
        host.dvc(&["volume", "path", "--scope", "container", &web])
            .ok()
            .out
            .trim_end(),
        path
    );
    assert_eq!(
        fs::read_to_string(Path::new(&path).join("index")).unwrap(),
        "from elsewhere",
        "the mount is visible outside"
    );
    host.set("WEB", path.clone());
    host.compose("namespaces.yml", &["up", "-d"]).ok();
    let sh = |service: &str, script: &str| {
        host.compose(
            "namespaces.yml",
            &["exec", "-T", service, "sh", "-c", script],
        )
    };
    sh("one", "echo new >/data/new").ok();
    assert_eq!(
        sh(
            "other",
            "cat /data/index /data/new; echo x 2>/dev/null >/data/x || echo refused"
        )
        .ok()
        .out,
        "from elsewherenew\nrefused\n"
    );
    // The container does not see the other volume.
    let beside = sh("one", "ls -a /data /data/..; cat /proc/mounts").ok().out;
    assert!(!beside.contains(&other), "{beside}");
    host.dvc(&[
        "commit",
        "--volume",
        &web,
        "-m",
        "from a container",
        "--push",
    ])
    .ok();
    assert_eq!(
        host.s.dvc(["--repo", &url, "show", "main:new"]).ok().out,
        "new\n"
    );
    // Kill the driver's container, which ends its mounts. The next container restores them.
    sh("one", "echo late | dd of=/data/late conv=fsync 2>/dev/null").ok();
    host.docker(&["kill", "dvc"]);
    host.docker(&["start", "dvc"]);
    assert_eq!(
        host.dvc(&["volume", "path", &web]).ok().out.trim_end(),
        path
    );
    assert_eq!(
        fs::read_to_string(Path::new(&path).join("late")).unwrap(),
        "late\n"
    );
    host.compose("namespaces.yml", &["restart", "-t", "0"]).ok();
    assert_eq!(
        sh("other", "cat /data/new /data/late").ok().out,
        "new\nlate\n"
    );
    host.compose("namespaces.yml", &["down"]).ok();
    let run = host.dvc(&["volume", "rm", &web, &other]).ok();
    assert!(run.out.contains("in the trash"), "{}", run.out);
    host.dvc(&["volume", "has", &web]).code(1);
    host.compose("plugin.yml", &["down", "-v"]).ok();
}

/// Runs every `bash` block of `docs/compose-tour.md` in order, in a copy of the documents. At the
/// same time, the sidecar creates and pushes versions.
#[test]
fn the_compose_tour_works() {
    let Some(mut host) = Host::new() else { return };
    let page = fs::read_to_string(project().join("docs/compose-tour.md")).unwrap();
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line.trim_end() {
            "```bash" => inside = true,
            "```" => inside = false,
            line if inside => script.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    assert!(
        script
            .lines()
            .filter(|line| line.starts_with("docker"))
            .count()
            > 10,
        "{script}"
    );
    let sidecar = "docker-compose -f nightly.yml exec -T backup dvc pack -q -m 'on the hour'\n";
    let runs = |line: &str| {
        let before = script.split(line).next().unwrap();
        before.contains("exec -T backup dvc pack") && !before.contains("nightly.yml down")
    };
    let lines = script
        .lines()
        .map(|line| format!("{}{line}\n", if runs(line) { sidecar } else { "" }));
    let script: String = lines.collect();
    assert!(script.matches(sidecar).count() > 10, "{script}");
    let home = host.s.at("tour");
    fs::create_dir_all(home.join("target/image")).unwrap();
    fs::create_dir(home.join("docs")).unwrap();
    fs::rename(host.dir(), home.join("docs/compose")).unwrap();
    Run::of(&mut host.engine.command([
        "save",
        "-o",
        text(&home.join("target/image/dvc.tar")),
        "dvc:latest",
    ]))
    .ok();
    let url = host.url("shop");
    host.set(
        "REGISTRY",
        url.strip_prefix("oci://")
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .to_owned(),
    );
    host.set("DVC_PREFIX", format!("{}-", host.engine.name()));
    host.set("REGISTRY_USERNAME", registry::USER);
    host.set("REGISTRY_PASSWORD", registry::PASSWORD);
    let mut c = Command::new("bash");
    host.set_environment(
        c.args(["-euxo", "pipefail", "-c", &script])
            .current_dir(&home),
    );
    let programs =
        [needs::need("docker"), host.compose.clone()].map(|p| text(p.parent().unwrap()).to_owned());
    c.env(
        "PATH",
        format!(
            "{}:{}",
            programs.join(":"),
            std::env::var("PATH").unwrap_or_default()
        ),
    );
    let run = Run::of(&mut c).ok();
    for part in ["by hand", "from a container", "apples 3\npears 4\n"] {
        assert!(
            run.out.contains(part),
            "no `{part}` in {}\n{}",
            run.out,
            run.err
        );
    }
    let subjects = |branch: &str| {
        host.s
            .dvc(["--repo", &url, "log", "--format", "%s", branch])
            .ok()
            .out
    };
    assert!(
        subjects("pears").starts_with("from a container\n"),
        "{}",
        subjects("pears")
    );
    assert!(
        subjects("main").starts_with("on the hour\non the hour\n"),
        "{}",
        subjects("main")
    );
    assert!(
        host.docker(&["ps", "-aq"]).is_empty(),
        "containers are left"
    );
}
