//! `azurite-blob`: Microsoft's emulator of Azure Blob Storage, with the emulator's well-known
//! account.

use jiff::Timestamp;

use super::super::needs;
use super::http::{Answer, ask};
use super::objects::http_date;
use super::program::{Program, command, directory};
use super::signing::shared_key;

/// The account of every Azurite server.
pub const ACCOUNT: &str = "devstoreaccount1";
/// The well-known key of [`ACCOUNT`].
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const VERSION: &str = "2021-12-02";

/// A running server.
pub struct Azurite {
    pub program: Program,
}

impl Azurite {
    /// Starts a server without any container. Returns `None` if the program is not installed.
    pub fn start() -> Option<Self> {
        let azurite = needs::server("azurite-blob")?;
        let dir = directory("azurite");
        let location = dir.path().join("data");
        let start = move |port: u16| {
            let mut c = command(&azurite);
            c.args([
                "--silent",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--location",
            ])
            .arg(&location);
            c.args(["--blobHost", "127.0.0.1", "--blobPort"])
                .arg(port.to_string());
            c
        };
        let ready = |port| {
            ask(
                "GET",
                &format!("http://127.0.0.1:{port}/{ACCOUNT}?comp=list"),
                &[],
                b"",
            )
            .is_ok()
        };
        Some(Self {
            program: Program::start("azurite-blob", dir, start, ready),
        })
    }

    /// Returns the value of `endpoint=` in URLs. The account is a part of the path.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.program.port())
    }

    /// Creates a blob container.
    #[track_caller]
    pub fn make_container(&self, name: &str) {
        let answer = self.ask(
            "PUT",
            &format!("/{name}"),
            &[("restype", "container")],
            &[],
            b"",
        );
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    /// Sends a signed request. `headers` must be `x-ms-` headers; `path` is relative to the
    /// account.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let date = http_date(Timestamp::now(), 0);
        let mut all = headers.to_vec();
        all.extend([("x-ms-date", date.as_str()), ("x-ms-version", VERSION)]);
        all.sort_unstable();
        let mut resource = format!("/{ACCOUNT}{path}");
        let mut query = query.to_vec();
        query.sort_unstable();
        for (name, value) in &query {
            resource.push_str(&format!("\n{name}:{value}"));
        }
        let authorization = shared_key(ACCOUNT, KEY, method, &all, &resource, body.len());
        all.push(("Authorization", &authorization));
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mark = if query.is_empty() { "" } else { "?" };
        ask(
            method,
            &format!("{}{path}{mark}{}", self.endpoint(), query.join("&")),
            &all,
            body,
        )
        .unwrap()
    }

    /// Returns the URL of a remote for `dvc`.
    pub fn url(&self, container: &str, prefix: &str) -> String {
        format!(
            "azblob://{ACCOUNT}/{container}/{prefix}?endpoint={}",
            self.endpoint()
        )
    }

    /// Returns the credentials, as environment variables.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_STORAGE_ACCOUNT", ACCOUNT.to_owned()),
            ("AZURE_STORAGE_KEY", KEY.to_owned()),
        ]
    }
}
