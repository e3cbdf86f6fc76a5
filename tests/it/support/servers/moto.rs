//! `moto_server`: an independent implementation of S3. It supports `If-None-Match: *` and accepts
//! any credentials.

use super::super::needs;
use super::http::ask;
use super::program::{Program, command, directory};

/// A running server.
pub struct Moto {
    pub program: Program,
}

impl Moto {
    /// Starts a server without any bucket. Returns `None` if the program is not installed.
    pub fn start() -> Option<Self> {
        let moto = needs::server("moto_server")?;
        let dir = directory("moto");
        let start = move |port: u16| {
            let mut c = command(&moto);
            c.args(["-H", "127.0.0.1", "-p"]).arg(port.to_string());
            c
        };
        let ready = |port| {
            ask(
                "GET",
                &format!("http://127.0.0.1:{port}/moto-api/"),
                &[],
                b"",
            )
            .is_ok()
        };
        Some(Self {
            program: Program::start("moto_server", dir, start, ready),
        })
    }

    /// Returns the value of `endpoint=` in URLs.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.port())
    }

    /// Creates a bucket.
    #[track_caller]
    pub fn make_bucket(&self, name: &str) {
        let answer = ask("PUT", &format!("{}/{name}", self.endpoint()), &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Returns the URL of a remote for `dvc`.
    pub fn url(&self, bucket: &str, prefix: &str) -> String {
        format!("s3://{bucket}/{prefix}?endpoint={}", self.endpoint())
    }

    /// Returns credentials as environment variables; the server accepts any.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let pair = |name, value: &str| (name, value.to_owned());
        vec![
            pair("AWS_ACCESS_KEY_ID", "testing"),
            pair("AWS_SECRET_ACCESS_KEY", "testing"),
            pair("AWS_REGION", "us-east-1"),
        ]
    }
}
