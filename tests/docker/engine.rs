//! A Docker engine for the tests: `dockerd` with all its data in one temporary directory.
//!
//! In: nothing. Out: an engine that listens on its own socket, so that several can run at once. A
//! separate process (`guard.sh`) ends the engine as soon as the test process has gone, so nothing
//! is left behind even if the tests fail or are killed. Containers have no network.

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

/// The image that [`Engine::image`] makes.
pub const IMAGE: &str = "busybox";
/// Time limit for starting and ending the engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Directory in which engines look for the sockets of plugins.
const PLUGINS: &str = "/etc/docker/plugins";
const SOCKETS: &str = "/run/docker/plugins";

/// An engine. Dropping it removes its containers, volumes and mounts.
pub struct Engine {
    dir: PathBuf,
    /// Whether the engine runs in the guard's mount namespace.
    alone: bool,
    daemon: Mutex<Option<Child>>,
    image: OnceLock<()>,
    guard: Child,
}

/// A volume driver that engines find by name until it is dropped.
pub struct Plugin {
    name: String,
    spec: PathBuf,
}

impl Engine {
    /// Returns the engine that the tests of this process share, or `None` if no engine can run
    /// here. A test removes its own objects and leaves those of other tests alone.
    ///
    /// The engine sees no plugins, because an engine remembers each plugin it has seen and later
    /// waits for dead ones whenever it looks up an unknown volume. It does not see other mounts
    /// either.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        can_run().then(|| SHARED.get_or_init(|| Self::begin(true)))
    }

    /// Starts an engine for one test. Returns `None` if no engine can run here.
    pub fn start() -> Option<Self> {
        can_run().then(|| Self::begin(false))
    }

    fn begin(alone: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("dvc-docker-").tempdir().unwrap().keep();
        for file in ["plugins", "daemon.json"] {
            fs::write(dir.join(file), if file == "plugins" { "" } else { "{}" }).unwrap();
        }
        let mut guard = Command::new(if alone { "unshare" } else { "bash" });
        if alone {
            [PLUGINS, SOCKETS].into_iter().for_each(|place| fs::create_dir_all(place).unwrap());
            guard.args(["--mount", "--propagation", "slave", "bash"]);
        }
        guard.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker/guard.sh")).arg(&dir);
        guard.arg(if std::env::var_os("DVC_TEST_KEEP").is_some() { "keep" } else { "" });
        guard.args(alone.then_some("alone"));
        // The guard outlives the tests. If it inherited their output, a process that reads this
        // output would wait for it.
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").process_group(0);
        let engine =
            Self { dir, alone, daemon: Mutex::new(None), image: OnceLock::new(), guard: guard.spawn().unwrap() };
        let until = Instant::now() + PATIENCE;
        while alone && !engine.dir.join("ready").exists() {
            assert!(Instant::now() < until, "no mount namespace for the engine");
            std::thread::sleep(Duration::from_millis(5));
        }
        engine.start_again();
        engine
    }

    /// Starts `dockerd` after [`Self::stop`] or [`Self::kill`], and waits until it answers.
    pub fn start_again(&self) {
        let at = |name: &str| self.dir.join(name);
        let log = || File::options().append(true).create(true).open(at("log")).unwrap();
        let dockerd = needs::need("dockerd");
        let mut c = match self.alone {
            true => {
                let mut c = Command::new("nsenter");
                c.arg(format!("--mount=/proc/{}/ns/mnt", self.guard.id())).arg("--").arg(dockerd);
                c
            }
            false => Command::new(dockerd),
        };
        for (option, value) in
            [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid"), ("config-file", "daemon.json")]
        {
            c.arg(format!("--{option}={}", at(value).display()));
        }
        let name = self.name();
        c.args(["--host", &self.host(), "--bridge=none", "--iptables=false", "--ip-masq=false"]);
        c.args(["--exec-opt=native.cgroupdriver=cgroupfs", &format!("--cgroup-parent=/{name}")]);
        // The engine uses the machine's containerd if there is one, so it needs its own namespaces
        // in it.
        c.args([&format!("--containerd-namespace={name}"), &format!("--containerd-plugins-namespace={name}-plugins")]);
        c.env("PATH", search_path()).env_remove("DOCKER_HOST").env("TMPDIR", &self.dir);
        c.stdin(Stdio::null()).stdout(log()).stderr(log()).current_dir("/").process_group(0);
        let mut daemon = self.daemon.lock().unwrap();
        assert!(daemon.is_none(), "dockerd runs already");
        let child = daemon.insert(c.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.try_docker(["version"]).status.success() {
            assert!(child.try_wait().unwrap().is_none(), "dockerd ended:\n{}", self.log());
            assert!(Instant::now() < until, "dockerd does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends `dockerd` in an orderly way; its containers end with it.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Kills `dockerd`; its containers continue to run.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    fn end(&self, signal: Signal) {
        let mut child = self.daemon.lock().unwrap().take().expect("dockerd does not run");
        let its = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid")).ok();
        let containerd = its.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let until = Instant::now() + PATIENCE;
        // The kernel ends containerd after its parent. A new dockerd that still sees the old
        // containerd would wait for it forever.
        while child.try_wait().unwrap().is_none() || containerd.is_some_and(is_alive) {
            assert!(Instant::now() < until, "dockerd does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // Otherwise a new dockerd could take another process with the recorded id for its
        // containerd.
        for file in ["containerd.pid", "containerd.sock", "containerd.sock.ttrpc"] {
            let _ = fs::remove_file(self.dir.join("exec/containerd").join(file));
        }
    }

    /// Returns the engine's directory, in which tests create sockets and files. The guard removes
    /// it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns a name that no other engine has.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Returns the socket of the API.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// Returns the socket in the form of `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Returns the log of `dockerd`.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Prepares a command of the client.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut c = Command::new(needs::need("docker"));
        c.args(args).env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.join("client"));
        c.stdin(Stdio::null());
        c
    }

    /// Runs the client, which may fail.
    pub fn try_docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the client, which must succeed. Returns its output without the last line break.
    #[track_caller]
    pub fn docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> String {
        let mut c = self.command(args);
        let out = c.output().unwrap();
        assert!(out.status.success(), "{c:?}: {}\n{}", String::from_utf8_lossy(&out.stderr), self.log());
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// Returns the name of an image with busybox as all its programs. The first call creates it.
    pub fn image(&self) -> &'static str {
        self.image.get_or_init(|| {
            let root = self.dir.join("busybox-root");
            fs::create_dir_all(root.join("bin")).unwrap();
            for dir in ["etc", "tmp", "var", "proc", "sys", "dev"] {
                fs::create_dir(root.join(dir)).unwrap();
            }
            let busybox = needs::need("busybox");
            fs::copy(&busybox, root.join("bin/busybox")).unwrap();
            for applet in needs::run("busybox", &["--list"]).lines().filter(|a| *a != "busybox") {
                std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
            fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
            self.import(&root, IMAGE);
            fs::remove_dir_all(&root).unwrap();
        });
        IMAGE
    }

    /// Creates an image from a directory.
    pub fn import(&self, root: &Path, name: &str) {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root).args(["--numeric-owner", "-c", "."]).stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let mut c = self.command(["import", "-", name]);
        let out = c.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(tar.wait().unwrap().success() && out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Creates a volume of the local driver. Naming the driver keeps the engine from querying all
    /// drivers first; those of tests that have ended would not answer.
    pub fn make_volume(&self, name: &str, options: &[&str]) {
        let options = options.iter().flat_map(|option| ["-o", option]);
        self.docker(["volume", "create", "-d", "local"].into_iter().chain(options).chain([name]));
    }

    /// Returns the state of a container: `running`, `paused`, `exited`.
    #[track_caller]
    pub fn state(&self, container: &str) -> String {
        self.docker(["inspect", "--type", "container", "--format", "{{.State.Status}}", container])
    }

    /// Lets engines find a volume driver by its socket. The name must be unique, because all
    /// engines of the machine look in the same directory.
    pub fn plugin(&self, name: &str, socket: &Path) -> Plugin {
        fs::create_dir_all(PLUGINS).unwrap();
        let spec = Path::new(PLUGINS).join(name).with_extension("spec");
        // The guard removes the entry if this process cannot.
        let mut list = File::options().append(true).open(self.dir.join("plugins")).unwrap();
        writeln!(list, "{}", spec.display()).unwrap();
        let mut file = File::options().write(true).create_new(true).open(&spec).unwrap();
        write!(file, "unix://{}", socket.display()).unwrap();
        Plugin { name: name.to_owned(), spec }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Some(mut daemon) = self.daemon.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            // The guard ends dockerd.
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

/// Returns whether an engine can run here. Otherwise tests are skipped with a message, or fail if
/// `DVC_TEST_ALL=1` is set.
fn can_run() -> bool {
    if !needs::is_root() {
        needs::skip_or_fail("only root can run a Docker engine");
        return false;
    }
    ["dockerd", "docker", "busybox"].iter().all(|program| needs::server(program).is_some())
}

/// Returns the search path with the directories of containerd and runc.
fn search_path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin", std::env::var("PATH").unwrap_or_default())
}
