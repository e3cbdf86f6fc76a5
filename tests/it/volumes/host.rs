//! A machine with a repository, volumes, and a plugin that receives requests like those of Docker.
//!
//! All state is in a sandbox. Dropping the machine unmounts the volumes and kills the plugin by its
//! process id.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::mount::harness::Volume;
use crate::mount_live::until;
use crate::support::sandbox::Run;

/// The sandbox of the machine, and its plugin if it runs.
pub struct Host {
    pub v: Volume,
    plugin: Option<Child>,
}

impl Host {
    /// Creates a machine with one version on `main`: file `a` contains `one`, file `big` is 1 MiB.
    /// Returns `None` if mounting is impossible.
    pub fn new() -> Option<Self> {
        Some(Self {
            v: Volume::of(fill)?,
            plugin: None,
        })
    }

    /// Creates a machine with an existing repository.
    pub fn of(v: Volume) -> Self {
        Self { v, plugin: None }
    }

    /// Runs `dvc` without naming the repository.
    pub fn dvc(&self, args: &[&str]) -> Run {
        self.v.s.dvc(args)
    }

    /// Creates a volume from a version of the repository.
    #[track_caller]
    pub fn create(&self, name: &str, rev: &str, more: &[&str]) {
        let mut args = vec!["volume", "create", name, "--from", rev];
        args.extend(more);
        self.v.dvc(&args).ok();
    }

    /// Mounts a volume if it is not mounted. Returns the path of the mount.
    #[track_caller]
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.dvc(&["volume", "path", name]).ok().out.trim_end())
    }

    /// Returns the JSON object of `dvc volume inspect`.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        self.dvc(&["--json", "volume", "inspect", name]).ok().json()
    }

    /// Returns the directory that contains all volumes.
    pub fn volumes_dir(&self) -> PathBuf {
        self.v.s.at("home/state/dvc/volumes")
    }

    pub fn socket(&self) -> PathBuf {
        self.v.s.at("p.sock")
    }

    /// Starts the plugin, waits until it listens, and activates it as Docker does.
    pub fn serve(&mut self) {
        let mut command = self.v.s.command(
            [format!("serve --plugin={}", self.socket().display()).split(' ')]
                .into_iter()
                .flatten(),
        );
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.v.s.at("plugin.log"))
            .unwrap();
        self.plugin = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        until("the plugin answers", || {
            UnixStream::connect(self.socket()).is_ok()
        });
        assert_eq!(
            self.ask("Plugin.Activate", &json!(null))["Implements"],
            json!(["VolumeDriver"])
        );
    }

    /// Sends a signal to the plugin (SIGKILL, or SIGTERM as a service manager does) and waits until
    /// it exits.
    pub fn stop(&mut self, signal: rustix::process::Signal) {
        let mut child = self.plugin.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        child.wait().unwrap();
    }

    /// Kills the process of a volume's mount, and waits until the mount is dead.
    pub fn kill_mount(&self, name: &str) {
        let at = self.path(name);
        let stats = self
            .dvc(&["--json", "mount", "--stats", at.to_str().unwrap()])
            .ok()
            .json();
        let pid = i32::try_from(stats["pid"].as_i64().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        until("its process is gone", || std::fs::read_dir(&at).is_err());
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.v.s.at("plugin.log")).unwrap_or_default()
    }

    /// Sends a request to the plugin. Returns the JSON of the response.
    pub fn ask(&self, what: &str, question: &Value) -> Value {
        let body = if question.is_null() {
            String::new()
        } else {
            question.to_string()
        };
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!(
            "POST /{what} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// Sends a volume driver request that must succeed. Returns the response.
    #[track_caller]
    pub fn driver(&self, verb: &str, question: &Value) -> Value {
        let answer = self.ask(&format!("VolumeDriver.{verb}"), question);
        assert_eq!(answer["Err"], "", "{verb} {question}: {answer}");
        answer
    }

    /// Sends a volume driver request that must fail. Returns the error message.
    #[track_caller]
    pub fn refused(&self, verb: &str, question: &Value) -> String {
        let answer = self.ask(&format!("VolumeDriver.{verb}"), question);
        let said = answer["Err"].as_str().unwrap_or_default().to_owned();
        assert!(!said.is_empty(), "{verb} {question}: {answer}");
        said
    }

    /// Creates a volume through the plugin.
    #[track_caller]
    pub fn made(&self, name: &str, options: &[(&str, &str)]) {
        let options: serde_json::Map<_, _> = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect();
        self.driver("Create", &json!({ "Name": name, "Opts": options }));
    }

    #[track_caller]
    pub fn mounted(&self, name: &str, id: &str) -> PathBuf {
        let answer = self.driver("Mount", &json!({ "Name": name, "ID": id }));
        PathBuf::from(answer["Mountpoint"].as_str().unwrap())
    }

    /// Returns whether a volume is in the mount table.
    pub fn is_mounted(&self, name: &str) -> bool {
        let at = self.volumes_dir().join(name).join("data");
        table().contains(&format!(" {} ", at.display()))
    }

    pub fn repository(&self) -> String {
        self.v.s.at("r").display().to_string()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.plugin.is_some() {
            self.stop(rustix::process::Signal::KILL);
        }
        let volumes_dir = self.volumes_dir();
        for line in table()
            .lines()
            .filter(|line| line.contains(&format!(" {}/", volumes_dir.display())))
        {
            let at = line.split(' ').nth(4).unwrap();
            let ended = self.dvc(&["umount", at]);
            if ended.code != 0 {
                let _ = rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH);
            }
        }
    }
}

/// Creates the files of the first version.
pub fn fill(dir: &Path) {
    std::fs::write(dir.join("a"), "one").unwrap();
    std::fs::write(dir.join("big"), crate::support::zoo::noise(5, 1 << 20)).unwrap();
}

fn table() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}
