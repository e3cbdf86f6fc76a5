//! `rclone serve webdav` on a directory, with or without a password, over HTTP or over TLS with a
//! self-signed certificate.

use std::path::PathBuf;

use super::super::needs;
use super::program::{Program, command, directory, listens};

/// The user of [`Webdav::with_password`].
pub const USER: &str = "somebody";
/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";

/// A running server.
pub struct Webdav {
    pub program: Program,
    user: bool,
    tls: bool,
}

impl Webdav {
    /// Starts a server without access control. Returns `None` if the program is not installed.
    pub fn start() -> Option<Self> {
        Self::begin(false, false)
    }

    /// Starts a server that requires [`USER`] and [`PASSWORD`].
    pub fn with_password() -> Option<Self> {
        Self::begin(true, false)
    }

    /// Starts a server with TLS and a self-signed certificate.
    pub fn self_signed() -> Option<Self> {
        Self::begin(false, true)
    }

    fn begin(user: bool, tls: bool) -> Option<Self> {
        let rclone = needs::server("rclone")?;
        let dir = directory("webdav");
        let root = dir.path().to_owned();
        std::fs::create_dir(root.join("data")).unwrap();
        if tls {
            let (key, certificate) = (root.join("key.pem"), root.join("cert.pem"));
            let files = [
                "-keyout",
                key.to_str().unwrap(),
                "-out",
                certificate.to_str().unwrap(),
            ];
            let what = [
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ];
            needs::run("openssl", &[&what[..], &files[..]].concat());
        }
        let start = move |port: u16| {
            let mut c = command(&rclone);
            c.args(["serve", "webdav"])
                .arg(root.join("data"))
                .args(["--addr", &format!("127.0.0.1:{port}")]);
            // Changes that a test makes in the directory must be visible immediately.
            c.args(["--dir-cache-time", "0s", "-v", "--config"])
                .arg(root.join("rclone.conf"));
            if user {
                c.args(["--user", USER, "--pass", PASSWORD]);
            }
            if tls {
                c.arg("--cert")
                    .arg(root.join("cert.pem"))
                    .arg("--key")
                    .arg(root.join("key.pem"));
            }
            // The host's settings for other stores must not affect the server.
            c.env_remove("AWS_CA_BUNDLE").env("HOME", &root);
            c
        };
        Some(Self {
            program: Program::start("rclone", dir, start, listens),
            user,
            tls,
        })
    }

    /// Returns the directory that the server serves.
    pub fn data(&self) -> PathBuf {
        self.program.at("data")
    }

    /// Returns the URL of the server's root.
    pub fn endpoint(&self) -> String {
        format!(
            "http{}://127.0.0.1:{}",
            if self.tls { "s" } else { "" },
            self.program.port()
        )
    }

    /// Returns the URL of a remote for `dvc`.
    pub fn url(&self, path: &str) -> String {
        let who = if self.user {
            format!("{USER}@")
        } else {
            String::new()
        };
        format!(
            "webdav{}://{who}127.0.0.1:{}/{path}",
            if self.tls { "s" } else { "" },
            self.program.port()
        )
    }
}
