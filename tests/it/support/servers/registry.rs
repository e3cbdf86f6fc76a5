//! Debian's `docker-registry`, with or without a password. Blobs can be deleted and garbage
//! collected.

use std::path::PathBuf;

use super::super::needs;
use super::http::ask;
use super::program::{Program, command, directory, listens};

/// The user of [`Registry::with_password`].
pub const USER: &str = "somebody";
/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";

/// A running registry.
pub struct Registry {
    pub program: Program,
    binary: PathBuf,
}

impl Registry {
    /// Starts a registry without access control. Returns `None` if the program is not installed.
    pub fn start() -> Option<Self> {
        Self::begin(false, false)
    }

    /// Starts a registry that requires [`USER`] and [`PASSWORD`].
    pub fn with_password() -> Option<Self> {
        Self::begin(true, false)
    }

    /// Starts a registry with TLS as `registry.test`, without access control. Its certificate is
    /// `cert.pem` in its directory.
    pub fn encrypted() -> Option<Self> {
        Self::begin(false, true)
    }

    fn begin(locked: bool, encrypted: bool) -> Option<Self> {
        let binary = needs::server("docker-registry")?;
        if locked {
            needs::server("htpasswd")?;
        }
        let dir = directory("registry");
        let root = dir.path().to_owned();
        if encrypted {
            let (key, cert) = (root.join("key.pem"), root.join("cert.pem"));
            let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=registry.test \
                         -addext subjectAltName=DNS:registry.test -addext basicConstraints=critical,CA:FALSE -keyout";
            let mut words: Vec<&str> = words.split_whitespace().collect();
            words.extend([key.to_str().unwrap(), "-out", cert.to_str().unwrap()]);
            needs::run("openssl", &words);
        }
        if locked {
            std::fs::write(
                root.join("htpasswd"),
                needs::run_with("htpasswd", &["-Bin", USER], PASSWORD),
            )
            .unwrap();
        }
        let program = binary.clone();
        let start = move |port: u16| {
            let config = root.join("config.yml");
            std::fs::write(
                &config,
                configuration(&root.display().to_string(), port, locked, encrypted),
            )
            .unwrap();
            let mut c = command(&program);
            c.arg("serve").arg(config);
            c
        };
        let ready = move |port| match encrypted {
            true => listens(port),
            false => ask("GET", &format!("http://127.0.0.1:{port}/v2/"), &[], b"").is_ok(),
        };
        Some(Self {
            program: Program::start("docker-registry", dir, start, ready),
            binary,
        })
    }

    /// Stops the registry, deletes all blobs that no tagged manifest references, and starts it
    /// again. Returns the output of the collection.
    pub fn collect(&mut self) -> String {
        self.program.stop();
        let config = self.program.at("config.yml");
        let out = needs::run(
            self.binary.to_str().unwrap(),
            &["garbage-collect", "-m", config.to_str().unwrap()],
        );
        self.program.start_again();
        out
    }

    /// Returns the path of the access log, which has one line per request.
    pub fn access_log(&self) -> PathBuf {
        self.program.at("out.log")
    }

    /// Returns the URL of the registry's HTTP API.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.port())
    }

    /// Returns the URL of a remote for `dvc`.
    pub fn url(&self, repository: &str) -> String {
        format!("oci://127.0.0.1:{}/{repository}", self.program.port())
    }
}

fn configuration(root: &str, port: u16, locked: bool, encrypted: bool) -> String {
    let tls = format!("  tls:\n    certificate: {root}/cert.pem\n    key: {root}/key.pem\n");
    let auth = format!("auth:\n  htpasswd:\n    realm: tests\n    path: {root}/htpasswd\n");
    format!(
        "version: 0.1
log:
  level: info
  accesslog:
    disabled: false
storage:
  filesystem:
    rootdirectory: {root}/data
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
http:
  addr: 127.0.0.1:{port}
{}{}",
        if encrypted { &tls } else { "" },
        if locked { &auth } else { "" }
    )
}
