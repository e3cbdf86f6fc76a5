//! A Docker engine for the tests: `dockerd` with all its data in a temporary directory.
//!
//! In: nothing. Out: an engine with its own socket, so that several engines can run at the same
//! time. A separate process (`guard.sh`) ends the engine when the test process has ended, so that
//! nothing remains even if the tests fail or are killed. Containers have no network.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::needs;
use crate::support::servers::program::is_alive;

/// The image that [`Engine::image`] creates.
pub const IMAGE: &str = "busybox";
/// Time limit for the start and the end of the engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Directory in which engines search for the sockets of plugins.
const PLUGINS: &str = "/etc/docker/plugins";
const SOCKETS: &str = "/run/docker/plugins";

/// An engine. When it is dropped, its containers, volumes and mounts are removed.
pub struct Engine {
    dir: PathBuf,
    /// Whether the engine runs in the mount namespace of the guard.
    alone: bool,
    daemon: Mutex<Option<Child>>,
    image: OnceLock<()>,
    guard: Child,
}

/// A volume driver that engines can find by name until it is dropped.
pub struct Plugin {
    name: String,
    spec: PathBuf,
}

impl Engine {
    /// Returns the engine that all tests of this process share, or `None` if an engine cannot run
    /// here. Each test must remove its own objects and must not touch those of other tests.
    ///
    /// The engine sees no plugins: an engine remembers each plugin that it has seen, and later
    /// waits for dead plugins whenever it looks up an unknown volume. The engine also sees no other
    /// mounts of dvc.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        can_run().then(|| SHARED.get_or_init(|| Self::begin(true)))
    }

    /// Starts an engine for one test. Returns `None` if an engine cannot run here.
    pub fn start() -> Option<Self> {
        can_run().then(|| Self::begin(false))
    }

    fn begin(alone: bool) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dvc-docker-")
            .tempdir()
            .unwrap()
            .keep();
        for file in ["plugins", "daemon.json"] {
            fs::write(dir.join(file), if file == "plugins" { "" } else { "{}" }).unwrap();
        }
        let mut guard = Command::new(if alone { "unshare" } else { "bash" });
        if alone {
            [PLUGINS, SOCKETS]
                .into_iter()
                .for_each(|place| fs::create_dir_all(place).unwrap());
            guard.args(["--mount", "--propagation", "slave", "bash"]);
        }
        guard
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker/guard.sh"))
            .arg(&dir);
        guard.arg(if std::env::var_os("DVC_TEST_KEEP").is_some() {
            "keep"
        } else {
            ""
        });
        guard.args(alone.then_some("alone"));
        // The guard outlives the tests. If it inherited their output, a reader of this output would
        // wait until the guard ends.
        guard
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0);
        let engine = Self {
            dir,
            alone,
            daemon: Mutex::new(None),
            image: OnceLock::new(),
            guard: guard.spawn().unwrap(),
        };
        let until = Instant::now() + PATIENCE;
        while alone && !engine.dir.join("ready").exists() {
            assert!(Instant::now() < until, "no mount namespace for the engine");
            std::thread::sleep(Duration::from_millis(5));
        }
        engine.start_again();
        engine
    }

    /// Starts `dockerd` after [`Self::stop`] or [`Self::kill`], and waits until it responds.
    pub fn start_again(&self) {
        let at = |name: &str| self.dir.join(name);
        let log = || {
            File::options()
                .append(true)
                .create(true)
                .open(at("log"))
                .unwrap()
        };
        let dockerd = needs::need("dockerd");
        let mut c = match self.alone {
            true => {
                let mut c = Command::new("nsenter");
                c.arg(format!("--mount=/proc/{}/ns/mnt", self.guard.id()))
                    .arg("--")
                    .arg(dockerd);
                c
            }
            false => Command::new(dockerd),
        };
        for (option, value) in [
            ("data-root", "data"),
            ("exec-root", "exec"),
            ("pidfile", "pid"),
            ("config-file", "daemon.json"),
        ] {
            c.arg(format!("--{option}={}", at(value).display()));
        }
        let name = self.name();
        c.args([
            "--host",
            &self.host(),
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
        ]);
        c.args([
            "--exec-opt=native.cgroupdriver=cgroupfs",
            &format!("--cgroup-parent=/{name}"),
        ]);
        // If the machine has a containerd, the engine uses it, so it needs its own namespaces
        // there.
        c.args([
            &format!("--containerd-namespace={name}"),
            &format!("--containerd-plugins-namespace={name}-plugins"),
        ]);
        c.env("PATH", search_path())
            .env_remove("DOCKER_HOST")
            .env("TMPDIR", &self.dir);
        c.stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .current_dir("/")
            .process_group(0);
        let mut daemon = self.daemon.lock().unwrap();
        assert!(daemon.is_none(), "dockerd runs already");
        let child = daemon.insert(c.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.try_docker(["version"]).status.success() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "dockerd ended:\n{}",
                self.log()
            );
            assert!(
                Instant::now() < until,
                "dockerd does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops `dockerd` with SIGTERM, which also ends its containers.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Kills `dockerd`. Its containers continue to run.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    fn end(&self, signal: Signal) {
        let mut child = self
            .daemon
            .lock()
            .unwrap()
            .take()
            .expect("dockerd does not run");
        let its = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid")).ok();
        let containerd = its.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let until = Instant::now() + PATIENCE;
        // The kernel ends containerd after its parent. If a new dockerd still sees the old
        // containerd, it waits for it forever.
        while child.try_wait().unwrap().is_none() || containerd.is_some_and(is_alive) {
            assert!(
                Instant::now() < until,
                "dockerd does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        // If these files remained, a new dockerd could take an unrelated process with the recorded
        // id for its containerd.
        for file in ["containerd.pid", "containerd.sock", "containerd.sock.ttrpc"] {
            let _ = fs::remove_file(self.dir.join("exec/containerd").join(file));
        }
    }

    /// Returns the engine's directory, where tests can create sockets and files. The guard removes
    /// the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the unique name of this engine.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Returns the path of the API socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// Returns the API socket as a value for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Returns the log of `dockerd`.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Returns a command that runs the docker client with the given arguments.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut c = Command::new(needs::need("docker"));
        c.args(args)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.dir.join("client"));
        c.stdin(Stdio::null());
        c
    }

    /// Runs the docker client, which may fail.
    pub fn try_docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the docker client, which must succeed. Returns its output without the last line break.
    #[track_caller]
    pub fn docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> String {
        let mut c = self.command(args);
        let out = c.output().unwrap();
        assert!(
            out.status.success(),
            "{c:?}: {}\n{}",
            String::from_utf8_lossy(&out.stderr),
            self.log()
        );
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Returns the name of an image with busybox. The first call creates it.
    pub fn image(&self) -> &'static str {
        self.image.get_or_init(|| {
            let root = self.dir.join("busybox-root");
            fs::create_dir_all(root.join("bin")).unwrap();
            for dir in ["etc", "tmp", "var", "proc", "sys", "dev"] {
                fs::create_dir(root.join(dir)).unwrap();
            }
            let busybox = needs::need("busybox");
            fs::copy(&busybox, root.join("bin/busybox")).unwrap();
            for applet in needs::run("busybox", &["--list"])
                .lines()
                .filter(|a| *a != "busybox")
            {
                std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
            fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
            self.import(&root, IMAGE);
            fs::remove_dir_all(&root).unwrap();
        });
        IMAGE
    }

    /// Creates an image from the directory `root`.
    pub fn import(&self, root: &Path, name: &str) {
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(root)
            .args(["--numeric-owner", "-c", "."])
            .stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let mut c = self.command(["import", "-", name]);
        let out = c.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(
            tar.wait().unwrap().success() && out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    /// Creates a volume of the local driver. Names the driver, because otherwise the engine would
    /// first query all drivers, and those of ended tests would not respond.
    pub fn make_volume(&self, name: &str, options: &[&str]) {
        let options = options.iter().flat_map(|option| ["-o", option]);
        self.docker(
            ["volume", "create", "-d", "local"]
                .into_iter()
                .chain(options)
                .chain([name]),
        );
    }

    /// Returns the state of a container, such as `running`, `paused` or `exited`.
    #[track_caller]
    pub fn state(&self, container: &str) -> String {
        self.docker([
            "inspect",
            "--type",
            "container",
            "--format",
            "{{.State.Status}}",
            container,
        ])
    }

    /// Registers a volume driver by its socket. The name must be unique, because all engines of the
    /// machine search the same directory.
    pub fn plugin(&self, name: &str, socket: &Path) -> Plugin {
        fs::create_dir_all(PLUGINS).unwrap();
        let spec = Path::new(PLUGINS).join(name).with_extension("spec");
        // Register the entry with the guard, which removes it if this process cannot.
        let mut list = File::options()
            .append(true)
            .open(self.dir.join("plugins"))
            .unwrap();
        writeln!(list, "{}", spec.display()).unwrap();
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .open(&spec)
            .unwrap();
        write!(file, "unix://{}", socket.display()).unwrap();
        Plugin {
            name: name.to_owned(),
            spec,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Some(mut daemon) = self
            .daemon
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
        {
            // The guard stops dockerd.
            let _ = daemon.wait();
        }
        let _ = self.guard.wait();
    }
}

impl Plugin {
    /// Returns the name of the driver.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.spec);
    }
}

/// Returns whether an engine can run here. If not, the test is skipped with a message, or fails if
/// `DVC_TEST_ALL=1` is set.
fn can_run() -> bool {
    if !needs::is_root() {
        needs::skip_or_fail("only root can run a Docker engine");
        return false;
    }
    ["dockerd", "docker", "busybox"]
        .iter()
        .all(|program| needs::server(program).is_some())
}

/// Returns the search path, extended by the directories of containerd and runc.
fn search_path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin",
        std::env::var("PATH").unwrap_or_default()
    )
}
