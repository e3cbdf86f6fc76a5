//! A Docker engine of the tests' own: `dockerd` with everything it has in one temporary directory.
//!
//! In: nothing, or options of `dockerd`. Out: an engine that answers on a socket of its own, so that there may be several.
//! What ends it is a process that waits for the tests to be gone (`guard.sh`), so nothing is left when they fail or are
//! killed. Containers have no network.

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
/// Nobody waits longer for the engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where engines look for the sockets of plugins.
const PLUGINS: &str = "/etc/docker/plugins";
const SOCKETS: &str = "/run/docker/plugins";

/// An engine; ended when dropped, with its containers, volumes and mounts.
pub struct Engine {
    dir: PathBuf,
    /// Whether it runs in the guard's mount namespace.
    alone: bool,
    daemon: Mutex<Option<Child>>,
    image: OnceLock<()>,
    guard: Child,
}

/// A volume driver that engines find under its name; forgotten when dropped.
pub struct Plugin {
    name: String,
    spec: PathBuf,
}

impl Engine {
    /// The engine that the tests of this process share; nothing where none can run. Whoever uses it removes what he made,
    /// and leaves alone what he did not. It finds no plugins: an engine remembers each that it saw, and waits for those that
    /// are gone whenever it is asked for a volume that it does not know. Nor does it see what others mount.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Engine>> = OnceLock::new();
        SHARED.get_or_init(|| Self::begin(true)).as_ref()
    }

    /// An engine of one's own; nothing where none can run.
    pub fn start() -> Option<Self> {
        Self::begin(false)
    }

    fn begin(alone: bool) -> Option<Self> {
        if !can_run() {
            return None;
        }
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
        // Its output would keep a pipe open that somebody reads the tests' through.
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").process_group(0);
        let engine =
            Self { dir, alone, daemon: Mutex::new(None), image: OnceLock::new(), guard: guard.spawn().unwrap() };
        let until = Instant::now() + PATIENCE;
        while alone && !engine.dir.join("ready").exists() {
            assert!(Instant::now() < until, "no place for an engine was made");
            std::thread::sleep(Duration::from_millis(5));
        }
        engine.start_again();
        Some(engine)
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
        // Where the machine's own containerd runs, the engine uses that one.
        c.args([&format!("--containerd-namespace={name}"), &format!("--containerd-plugins-namespace={name}-plugins")]);
        c.env("PATH", search_path()).env_remove("DOCKER_HOST").env("TMPDIR", &self.dir);
        c.stdin(Stdio::null()).stdout(log()).stderr(log()).current_dir("/").process_group(0);
        let mut daemon = self.daemon.lock().unwrap();
        assert!(daemon.is_none(), "it runs already");
        let child = daemon.insert(c.spawn().unwrap());
        let until = Instant::now() + PATIENCE;
        while !self.try_docker(["version"]).status.success() {
            assert!(child.try_wait().unwrap().is_none(), "dockerd ended:\n{}", self.log());
            assert!(Instant::now() < until, "dockerd does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends `dockerd` as its service does; containers end with it.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Kills `dockerd`; containers run on.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    fn end(&self, signal: Signal) {
        let mut child = self.daemon.lock().unwrap().take().expect("it does not run");
        let its = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid")).ok();
        let containerd = its.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let until = Instant::now() + PATIENCE;
        // The kernel ends containerd after its parent; a new dockerd that still sees it would wait for it in vain.
        while child.try_wait().unwrap().is_none() || containerd.is_some_and(is_alive) {
            assert!(Instant::now() < until, "dockerd does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        // A new dockerd takes the number of a process that is gone for a containerd that runs, if somebody else has it by then.
        for file in ["containerd.pid", "containerd.sock", "containerd.sock.ttrpc"] {
            let _ = fs::remove_file(self.dir.join("exec/containerd").join(file));
        }
    }

    /// Its directory: place for sockets and files of a test, removed with it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A name that no other engine has.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The socket of its API.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The socket as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What `dockerd` said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The client, not yet started.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut c = Command::new(needs::need("docker"));
        c.args(args).env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.dir.join("client"));
        c.stdin(Stdio::null());
        c
    }

    /// Runs the client.
    pub fn try_docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs the client, which must succeed: what it prints, without the last line break.
    #[track_caller]
    pub fn docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> String {
        let mut c = self.command(args);
        let out = c.output().unwrap();
        assert!(out.status.success(), "{c:?}: {}\n{}", String::from_utf8_lossy(&out.stderr), self.log());
        String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
    }

    /// The name of an image in which busybox is every program, made at the first call.
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

    /// Makes an image of a directory.
    pub fn import(&self, root: &Path, name: &str) {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root).args(["--numeric-owner", "-c", "."]).stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let mut c = self.command(["import", "-", name]);
        let out = c.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(tar.wait().unwrap().success() && out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Makes a volume that the engine keeps itself. Else it would ask all drivers first, and those of tests that have ended do
    /// not answer.
    pub fn make_volume(&self, name: &str, options: &[&str]) {
        let options = options.iter().flat_map(|option| ["-o", option]);
        self.docker(["volume", "create", "-d", "local"].into_iter().chain(options).chain([name]));
    }

    /// How a container stands: `running`, `paused`, `exited`.
    #[track_caller]
    pub fn state(&self, container: &str) -> String {
        self.docker(["inspect", "--type", "container", "--format", "{{.State.Status}}", container])
    }

    /// Lets engines find a volume driver by its socket. The name must be one that nobody else takes: all engines of the
    /// machine look in the same place.
    pub fn plugin(&self, name: &str, socket: &Path) -> Plugin {
        fs::create_dir_all(PLUGINS).unwrap();
        let spec = Path::new(PLUGINS).join(name).with_extension("spec");
        // The guard removes it if we cannot.
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
            // The guard ends it.
            let _ = daemon.wait();
        }
        let _ = self.guard.wait();
    }
}

impl Plugin {
    /// The name of the driver.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.spec);
    }
}

/// Whether an engine can run here. Where not, says so; with `DVC_TEST_ALL=1` that is a failure.
#[allow(clippy::print_stderr)]
fn can_run() -> bool {
    if !needs::is_root() {
        assert!(std::env::var_os("DVC_TEST_ALL").is_none(), "an engine cannot run without root");
        eprintln!("left out: no Docker engine without root");
        return false;
    }
    ["dockerd", "docker", "busybox"].iter().all(|program| needs::server(program).is_some())
}

/// Where it finds containerd, runc and what they need.
fn search_path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin", std::env::var("PATH").unwrap_or_default())
}
