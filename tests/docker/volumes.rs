//! Tests containers on volumes of the plugin, with a real engine.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::engine::{Engine, Plugin};
use crate::support::databases::mariadb;
use crate::support::needs;
use crate::support::sandbox::Sandbox;
use crate::support::zoo::noise;

/// Time limit for an expected event. Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine with its own plugin, and a repository `r/` with the branch `main`.
pub struct Machine {
    pub s: Sandbox,
    plugin: Option<Child>,
    driver: Plugin,
    pub engine: Engine,
}

impl Machine {
    /// Creates the first version from the files that `fill` creates. Returns `None` if an engine
    /// cannot run here, or if FUSE mounts are not possible.
    pub fn new(fill: impl FnOnce(&Path)) -> Option<Self> {
        if !needs::fuse() {
            return None;
        }
        let engine = Engine::start()?;
        let mut s = Sandbox::new();
        s.set("DVC_AUTHOR", "Ann <ann@example.org>");
        // Users in containers must be able to traverse the directory.
        fs::set_permissions(
            s.root(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
        fill(&s.at("w"));
        s.dvc(["--repo", "../r", "commit", "-b", "main", "-m", "first"])
            .ok();
        let driver = engine.plugin(&format!("{}-dvc", engine.name()), &s.at("p.sock"));
        let mut machine = Self {
            s,
            plugin: None,
            driver,
            engine,
        };
        machine.serve();
        Some(machine)
    }

    fn serve(&mut self) {
        let socket = self.s.at("p.sock");
        let mut command = self
            .s
            .command(["serve".to_owned(), format!("--plugin={}", socket.display())]);
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.s.at("plugin.log"))
            .unwrap();
        self.plugin = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until("the plugin answers", || {
            UnixStream::connect(&socket).is_ok()
        });
    }

    fn end_plugin(&mut self, signal: Signal) {
        let mut child = self.plugin.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
    }

    pub fn docker(&self, args: &[&str]) -> String {
        self.engine.docker(args)
    }

    /// Returns the full name of a volume. It contains the name of the engine, because engines see
    /// the volumes of all plugins of the machine.
    pub fn volume(&self, name: &str) -> String {
        format!("{}-{name}", self.engine.name())
    }

    /// Returns the volumes that the engine lists for this machine, without the prefix that makes
    /// their names unique.
    fn volumes(&self) -> Vec<String> {
        let all = self.docker(&["volume", "ls", "-q"]);
        let own = format!("{}-", self.engine.name());
        all.lines()
            .filter_map(|name| Some(name.strip_prefix(&own)?.to_owned()))
            .collect()
    }

    /// Creates a volume from the repository.
    pub fn create(&self, name: &str, options: &[&str]) {
        let name = &self.volume(name);
        let repo = format!("repo={}", self.s.at("r").display());
        let mut args = vec!["volume", "create", "-d", self.driver.name(), "-o", &repo];
        for option in options {
            args.extend(["-o", option]);
        }
        args.push(name);
        assert_eq!(self.docker(&args), *name);
    }

    /// Runs a script in a new container with the volume at `/v`. Returns its output.
    pub fn sh(&self, volume: &str, script: &str) -> String {
        self.docker(&[
            "run",
            "--rm",
            "-v",
            &format!("{}:/v", self.volume(volume)),
            self.engine.image(),
            "sh",
            "-c",
            script,
        ])
    }

    /// Starts a container that runs a script with the volume at `/v`.
    fn start(&self, name: &str, volume: &str, script: &str) {
        self.docker(&[
            "run",
            "-d",
            "--name",
            name,
            "-v",
            &format!("{}:/v", self.volume(volume)),
            self.engine.image(),
            "sh",
            "-c",
            script,
        ]);
    }

    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let prefix = format!(" {}/", self.volumes_dir().display());
        table
            .lines()
            .filter(|line| line.contains(&prefix))
            .map(|line| line.split(' ').nth(4).unwrap().to_owned())
            .collect()
    }

    fn volumes_dir(&self) -> PathBuf {
        self.s.at("home/state/dvc/volumes")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for container in self
            .engine
            .try_docker(["ps", "-aq"])
            .stdout
            .split(|b| *b == b'\n')
            .filter(|id| !id.is_empty())
        {
            self.engine
                .try_docker(["rm", "-f", &String::from_utf8_lossy(container)]);
        }
        if self.plugin.is_some() {
            self.end_plugin(Signal::KILL);
        }
        for at in self.mounts() {
            if self.s.dvc(["umount", &at]).code != 0 {
                let _ = rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}

#[track_caller]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn small(dir: &Path) {
    fs::write(dir.join("a"), "one").unwrap();
    fs::write(dir.join("big"), noise(3, 8 << 20)).unwrap();
}

#[test]
fn containers_share_a_volume_and_its_changes_become_a_version() {
    let Some(m) = Machine::new(small) else { return };
    m.create("v1", &["rev=main@v1"]);
    assert_eq!(m.sh("v1", "cat /v/a; echo two > /v/b"), "one");
    m.start("first", "v1", "sleep 1000");
    m.start("second", "v1", "sleep 1000");
    m.docker(&["rm", "-f", "first"]);
    assert_eq!(m.docker(&["exec", "second", "cat", "/v/b"]), "two");
    let seen: serde_json::Value =
        serde_json::from_str(&m.docker(&["volume", "inspect", &m.volume("v1")])).unwrap();
    let status = &seen[0]["Status"];
    assert!(
        status["revision"] == "main@v1" && status["access"] == "rw" && status["dirty_bytes"] == 4,
        "{seen}"
    );
    // A volume that is in use cannot be removed, even if dvc is called directly.
    m.s.dvc(["volume", "rm", &m.volume("v1")])
        .code(11)
        .complains("in use");
    m.s.dvc(["commit", "--volume", &m.volume("v1"), "-m", "second"])
        .ok()
        .says("[main v2");
    m.docker(&["rm", "-f", "second"]);
    // Create a volume of the new version, and a read-only volume.
    m.create("v2", &["rev=main", "mode=ro"]);
    assert_eq!(
        m.sh("v2", "cat /v/b; echo x > /v/c || echo refused"),
        "two\nrefused"
    );
    // When a volume is removed, its changes move to the trash, from which they can be restored.
    m.sh("v1", "echo three > /v/c");
    m.docker(&["volume", "rm", &m.volume("v1"), &m.volume("v2")]);
    assert!(m.volumes().is_empty());
    let trash = m.s.dvc(["trash", "-q"]).ok().out;
    m.s.dvc(["trash", "restore", trash.trim_end()]).ok();
    assert_eq!(m.sh("v1", "cat /v/c"), "three");
}

#[test]
fn the_first_container_creates_the_volume_or_reports_why_not() {
    let Some(m) = Machine::new(small) else { return };
    let (driver, image) = (m.driver.name(), m.engine.image());
    let mount = format!(
        "type=volume,source={},target=/v,volume-driver={driver}",
        m.volume("auto")
    );
    m.docker(&[
        "run",
        "--rm",
        "--mount",
        &mount,
        image,
        "sh",
        "-c",
        "echo x > /v/x",
    ]);
    assert_eq!(m.sh("auto", "ls /v"), "x");
    // Other users of a container may use the volume if the modes of its files allow it.
    let script = "chmod 777 /v; ls -ldn /v";
    assert!(m.sh("auto", script).starts_with("drwxrwxrwx"));
    let auto = format!("{}:/v", m.volume("auto"));
    let as_user = [
        "run",
        "--rm",
        "--user",
        "1000:1000",
        "-v",
        &auto,
        image,
        "sh",
        "-c",
        "echo mine > /v/u; ls -ln /v/u /v/x; echo no > /v/x || echo refused",
    ];
    let said = m.docker(&as_user);
    assert!(
        said.contains("1000     1000") && said.ends_with("refused"),
        "{said}"
    );
    for (option, part) in [
        ("rev=none", "no branch, tag or version"),
        ("colour=red", "unknown option"),
        ("quota=x", "`quota`"),
    ] {
        let repo = format!("repo={}", m.s.at("r").display());
        let run = m.engine.try_docker([
            "volume", "create", "-d", driver, "-o", &repo, "-o", option, "bad",
        ]);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(
            !run.status.success() && said.contains(part),
            "{option}: {said}"
        );
    }
    let url = "repo=s3://bucket/none?endpoint=http://127.0.0.1:9";
    let run = m
        .engine
        .try_docker(["volume", "create", "-d", driver, "-o", url, "bad"]);
    assert!(!run.status.success() && String::from_utf8_lossy(&run.stderr).contains("127.0.0.1:9"));
    assert_eq!(m.volumes(), ["auto"]);
}

#[test]
fn the_plugin_dies_and_containers_go_on() {
    let Some(mut m) = Machine::new(small) else {
        return;
    };
    m.create("v", &["rev=main"]);
    m.start(
        "runs",
        "v",
        "i=0; while :; do i=$((i+1)); echo $i >> /v/log; sleep 0.05; done",
    );
    let lines = |m: &Machine| {
        m.docker(&["exec", "runs", "sh", "-c", "wc -l < /v/log"])
            .parse::<u64>()
            .unwrap()
    };
    until("it writes", || {
        m.engine
            .try_docker(["exec", "runs", "test", "-s", "/v/log"])
            .status
            .success()
    });
    for signal in [Signal::KILL, Signal::TERM] {
        m.end_plugin(signal);
        let before = lines(&m);
        until("it goes on", || lines(&m) > before);
        m.serve();
        assert_eq!(m.sh("v", "cat /v/a"), "one");
    }
    m.docker(&["restart", "-t", "0", "runs"]);
    let before = lines(&m);
    until("it goes on", || lines(&m) > before);
    m.docker(&["rm", "-f", "runs"]);
    // All lines are present and in order.
    let log = m.sh("v", "cat /v/log");
    let mut runs =
        log.lines()
            .map(|line| line.parse::<u64>().unwrap())
            .fold((0, 0), |(last, runs), n| {
                assert!(n == last + 1 || n == 1, "{last} {n}");
                (n, runs + u64::from(n == 1))
            });
    runs.0 = 0;
    assert_eq!(runs, (0, 2));
}

#[test]
fn the_engine_restarts_again_and_again() {
    let Some(m) = Machine::new(small) else { return };
    m.create("v", &["rev=main"]);
    let rounds = if std::env::var_os("DVC_TEST_LONG").is_some() {
        20
    } else {
        3
    };
    for round in 1..=rounds {
        m.start(
            "once",
            "v",
            &format!("echo {round} >> /v/log; sync; sleep 1000"),
        );
        until("the container has written", || {
            m.engine
                .try_docker(["exec", "once", "grep", "-qx", &round.to_string(), "/v/log"])
                .status
                .success()
        });
        // A killed engine does not unmount the volume. Its containers continue to run until the
        // next engine takes them over.
        if round % 2 == 0 {
            m.engine.kill()
        } else {
            m.engine.stop()
        }
        m.engine.start_again();
        m.docker(&["rm", "-f", "once"]);
    }
    let wanted: Vec<_> = (1..=rounds).map(|n| n.to_string()).collect();
    assert_eq!(m.sh("v", "cat /v/log"), wanted.join("\n"));
    // The mounts of a dead engine count as users for some seconds.
    until("the volume can be removed", || {
        m.engine
            .try_docker(["volume", "rm", &m.volume("v")])
            .status
            .success()
    });
    until("nothing is mounted", || m.mounts().is_empty());
}

#[test]
fn many_containers_leave_nothing_behind() {
    let Some(m) = Machine::new(small) else { return };
    let rounds = if std::env::var_os("DVC_TEST_LONG").is_some() {
        200
    } else {
        12
    };
    m.create("v", &["rev=main"]);
    for n in 0..rounds {
        assert_eq!(m.sh("v", &format!("cat /v/a; echo {n} >> /v/log")), "one");
    }
    assert_eq!(m.sh("v", "wc -l < /v/log"), rounds.to_string());
    until("the mount ends", || m.mounts().is_empty());
    let serving = || {
        let repo = m.s.at("r").display().to_string();
        let lines = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|p| fs::read(p.path().join("cmdline")).unwrap_or_default());
        lines
            .filter(|line| {
                String::from_utf8_lossy(line).contains(&format!("--repo\0{repo}\0mount"))
            })
            .count()
    };
    until("its process ends", || serving() == 0);
    m.docker(&["volume", "rm", &m.volume("v")]);
    let left: Vec<_> = fs::read_dir(m.volumes_dir())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| name == ".locks" || name == ".trash"),
        "{left:?}"
    );
    assert_eq!(
        fs::read_dir(m.volumes_dir().join(".locks"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn ten_private_views_take_only_the_space_they_write() {
    let Some(m) = Machine::new(small) else { return };
    for n in 0..10 {
        m.create(&format!("v{n}"), &["rev=main@v1"]);
        m.start(
            &format!("c{n}"),
            &format!("v{n}"),
            &format!("echo {n} > /v/own; sleep 1000"),
        );
    }
    for n in 0..10 {
        let script = "until [ -s /v/own ]; do sleep 0.05; done; cat /v/own /v/a; wc -c < /v/big";
        let said = m.docker(&["exec", &format!("c{n}"), "sh", "-c", script]);
        assert_eq!(said, format!("{n}\none{}", 8 << 20));
    }
    // The containers have read 80 MiB and written almost nothing.
    let used =
        m.s.sh("du -s --block-size=1 ../r/overlays | cut -f1")
            .ok()
            .out
            .trim()
            .parse::<u64>()
            .unwrap();
    assert!(used < 4 << 20, "{used} bytes");
}

/// Starts a container that runs the MariaDB of the machine on a volume.
fn mariadb(m: &Machine, name: &str, volume: &str) {
    let server = needs::need("mariadbd");
    let data = format!("{}:/v", m.volume(volume));
    let mut args = vec!["run", "-d", "--name", name, "-v", &data];
    for system in [
        "/usr:/usr:ro",
        "/lib:/lib:ro",
        "/lib64:/lib64:ro",
        "/etc:/etc:ro",
    ] {
        args.extend(["-v", system]);
    }
    args.extend([
        m.engine.image(),
        server.to_str().unwrap(),
        "--no-defaults",
        "--user=root",
        "--datadir=/v",
        "--skip-networking",
        "--socket=/tmp/s",
        "--innodb-buffer-pool-size=32M",
    ]);
    m.docker(&args);
}

fn sql(m: &Machine, name: &str, sql: &str) -> Option<String> {
    let run = m.engine.try_docker([
        "exec",
        name,
        "/usr/bin/mariadb",
        "--no-defaults",
        "-N",
        "-B",
        "-S",
        "/tmp/s",
        "-u",
        "root",
        "-e",
        sql,
    ]);
    run.status
        .success()
        .then(|| String::from_utf8_lossy(&run.stdout).trim_end().to_owned())
}

#[test]
fn a_database_is_committed_while_it_runs_in_a_container() {
    let Some(m) = Machine::new(mariadb::install) else {
        return;
    };
    m.create("db", &["rev=main"]);
    mariadb(&m, "server", "db");
    until("the server answers", || {
        sql(&m, "server", "select 1").is_some()
    });
    sql(
        &m,
        "server",
        "create database d; create table d.t (n int primary key) engine=innodb; insert into d.t values (1), (2)",
    )
    .unwrap();
    m.s.dvc(["commit", "--volume", &m.volume("db"), "-m", "with rows"])
        .ok()
        .says("[main v2");
    sql(&m, "server", "insert into d.t values (3)").unwrap();
    // Run a second container on the new version while the first one continues.
    m.create("copy", &["rev=main@v2"]);
    mariadb(&m, "second", "copy");
    until("the second server answers", || {
        sql(&m, "second", "select 1").is_some()
    });
    assert_eq!(
        sql(&m, "second", "select group_concat(n order by n) from d.t").unwrap(),
        "1,2"
    );
    assert!(
        sql(&m, "second", "check table d.t extended")
            .unwrap()
            .ends_with("OK")
    );
    assert_eq!(sql(&m, "server", "select count(*) from d.t").unwrap(), "3");
    // Replace the container by a new one with the same files.
    m.docker(&["stop", "-t", "60", "server"]);
    m.docker(&["rm", "server"]);
    mariadb(&m, "again", "db");
    until("the server answers again", || {
        sql(&m, "again", "select 1").is_some()
    });
    assert_eq!(sql(&m, "again", "select count(*) from d.t").unwrap(), "3");
}

#[test]
fn a_container_sees_only_its_volume() {
    let Some(m) = Machine::new(small) else { return };
    m.create("v", &["rev=main"]);
    m.create("other", &["rev=main"]);
    m.sh("other", "echo secret > /v/secret");
    let said = m.sh("v", "ls -a /v | tr '\\n' ' '; ls /v/..");
    assert!(
        said.starts_with(". .. a big ") && !said.contains("secret") && !said.contains("other"),
        "{said}"
    );
}

/// A quiesced commit of a volume pauses only the container that writes to the volume.
#[test]
fn a_quiesced_commit_of_a_volume_pauses_its_container() {
    let Some(mut m) = Machine::new(|w| fs::write(w.join("a"), "a").unwrap()) else {
        return;
    };
    let host = m.engine.host();
    m.s.set("DOCKER_HOST", &host);
    for name in ["one", "two"] {
        m.create(name, &["rev=main", &format!("branch={name}")]);
        m.start(
            name,
            name,
            "n=0; while true; do n=$((n+1)); echo $n >> /v/log; done",
        );
    }
    until("it writes", || {
        m.docker(&["exec", "one", "wc", "-l", "/v/log"])
            .starts_with(|c: char| ('1'..='9').contains(&c))
    });
    let volume = m.volume("one");
    let committed =
        m.s.dvc([
            "commit",
            "--volume",
            &volume,
            "-m",
            "held",
            "--quiesce",
            "docker:pause",
        ])
        .ok();
    assert!(
        committed.err.contains("paused container `one`") && !committed.err.contains("`two`"),
        "{}",
        committed.err
    );
    assert_eq!(
        ["one", "two"].map(|name| m.engine.state(name)),
        ["running"; 2]
    );
    let log = m.s.dvc(["--repo", "../r", "show", "one:log"]).ok();
    // The log contains no incomplete line.
    assert!(
        log.out
            .lines()
            .enumerate()
            .all(|(n, line)| line == (n + 1).to_string())
            && log.out.ends_with('\n')
    );
    // Repeat with the path of the volume instead of its name.
    let at = m.s.dvc(["volume", "path", &volume]).ok().out;
    let committed =
        m.s.dvc([
            "-C",
            at.trim_end(),
            "commit",
            "-b",
            "one",
            "-m",
            "path",
            "--quiesce",
            "docker:pause",
        ])
        .ok();
    assert!(
        committed.err.contains("paused container `one`") && !committed.err.contains("`two`"),
        "{}",
        committed.err
    );
    for name in ["one", "two"] {
        m.docker(&["rm", "-f", name]);
        m.docker(&["volume", "rm", &m.volume(name)]);
    }
}
