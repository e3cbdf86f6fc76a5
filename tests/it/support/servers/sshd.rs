//! An SSH server with its own keys, and a client configuration for it.
//!
//! The client configuration maps three host names to the server: [`HOST`] works; for [`STRANGER`],
//! the client uses a key that the server does not accept; for [`IMPOSTOR`], the client expects a
//! different host key.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::super::needs::{self, is_root};
use super::program::{Program, command, directory, listens};

/// Host name with a key that the server accepts.
pub const HOST: &str = "dvc-test";
/// Host name for which the client uses a key that the server does not accept.
pub const STRANGER: &str = "dvc-stranger";
/// Host name for which the client expects a different host key.
pub const IMPOSTOR: &str = "dvc-impostor";

/// A running server.
pub struct Sshd {
    pub program: Program,
}

impl Sshd {
    /// Starts a server. Returns `None` if a program is not installed.
    pub fn start() -> Option<Self> {
        let sshd = needs::server("sshd")?;
        needs::server("ssh")?;
        needs::server("ssh-keygen")?;
        if is_root() {
            // sshd needs this directory for privilege separation; usually, only the system service
            // creates it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = directory("sshd");
        let root = dir.path().to_owned();
        for name in ["host_key", "other_host_key", "client_key", "stranger_key"] {
            let path = root.join(name);
            needs::run(
                "ssh-keygen",
                &[
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-f",
                    path.to_str().unwrap(),
                ],
            );
        }
        fs::copy(root.join("client_key.pub"), root.join("authorized_keys")).unwrap();
        fs::create_dir(root.join("data")).unwrap();
        let start = move |port: u16| {
            let at = |name: &str| root.join(name).display().to_string();
            fs::write(root.join("sshd_config"), server(&at, port)).unwrap();
            fs::write(root.join("ssh_config"), client(&at, port)).unwrap();
            for (file, key) in [
                ("known_hosts", "host_key.pub"),
                ("other_known_hosts", "other_host_key.pub"),
            ] {
                let key = fs::read_to_string(root.join(key)).unwrap();
                fs::write(root.join(file), format!("[127.0.0.1]:{port} {key}")).unwrap();
            }
            let mut c = command(&sshd);
            c.args(["-D", "-e", "-f"]).arg(root.join("sshd_config"));
            c
        };
        Some(Self {
            program: Program::start("sshd", dir, start, listens),
        })
    }

    /// Returns the path of the configuration file for `ssh -F`.
    pub fn config(&self) -> PathBuf {
        self.program.at("ssh_config")
    }

    /// Returns the directory in which the server stores the data of remotes.
    pub fn data(&self) -> PathBuf {
        self.program.at("data")
    }

    /// Returns the URL of a directory in [`Sshd::data`] for `dvc`.
    pub fn url(&self, path: &str) -> String {
        self.url_by(HOST, path)
    }

    /// Like [`Self::url`], with any of the host names.
    pub fn url_by(&self, host: &str, path: &str) -> String {
        format!(
            "sftp://{host}{}?config={}",
            self.data().join(path).display(),
            self.config().display()
        )
    }

    /// Returns a command to which the caller appends the command that the server runs.
    pub fn ssh(&self, host: &str) -> Command {
        let mut c = Command::new(needs::need("ssh"));
        c.arg("-F")
            .arg(self.config())
            .arg(host)
            .stdin(Stdio::null());
        c
    }
}

fn server(at: &dyn Fn(&str) -> String, port: u16) -> String {
    format!(
        "Port {port}
ListenAddress 127.0.0.1
HostKey {}
PidFile none
AuthorizedKeysFile {}
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
PrintMotd no
LogLevel VERBOSE
Subsystem sftp internal-sftp
",
        at("host_key"),
        at("authorized_keys")
    )
}

fn client(at: &dyn Fn(&str) -> String, port: u16) -> String {
    let host = |name: &str, key: &str, known: &str| {
        format!(
            "Host {name}
    IdentityFile {}
    UserKnownHostsFile {}

",
            at(key),
            at(known)
        )
    };
    format!(
        "{}{}{}Host *
    HostName 127.0.0.1
    Port {port}
    IdentitiesOnly yes
    IdentityAgent none
    StrictHostKeyChecking yes
    GlobalKnownHostsFile /dev/null
    BatchMode yes
    ConnectTimeout 10
",
        host(HOST, "client_key", "known_hosts"),
        host(STRANGER, "stranger_key", "known_hosts"),
        host(IMPOSTOR, "client_key", "other_known_hosts")
    )
}
