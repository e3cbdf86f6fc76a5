//! Requests to an engine, and what its answers mean.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::error::EngineError;
use super::{Container, Inspected, LOCAL, SOCKET, Version, Volume};

/// The newest version of the API whose answers are known here. The oldest engine that is asked speaks 1.41.
const NEWEST: (u32, u32) = (1, 44);
/// Nobody waits longer for an answer, unless he says so.
const LIMIT: Duration = Duration::from_secs(30);
/// An answer that is longer is none.
const ANSWER_MAX: usize = 64 << 20;

/// A connection to an engine.
pub struct Engine {
    http: reqwest::Client,
    runtime: Runtime,
    socket: PathBuf,
    limit: Duration,
    api: OnceLock<String>,
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    #[serde(default)]
    volumes: Option<Vec<Volume>>,
}

impl Engine {
    /// The engine at `unix:///path`, or at [`SOCKET`]. Nothing is asked yet.
    pub fn new(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host.filter(|h| !h.is_empty());
        let socket = match host {
            None => PathBuf::from(SOCKET),
            Some(host) => match host.strip_prefix("unix://").unwrap_or(host) {
                path if path.starts_with('/') => PathBuf::from(path),
                _ => return Err(EngineError::Host { host: host.to_owned() }),
            },
        };
        let client = |e: reqwest::Error| EngineError::Client(io::Error::other(e));
        let http = reqwest::Client::builder().unix_socket(socket.as_path()).no_proxy().http1_only();
        // Nothing here is encrypted, and where there are no certificates of the system a client with them cannot be made.
        let http = http.tls_certs_only([]).build();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (http, runtime) = (http.map_err(client)?, runtime.map_err(EngineError::Client)?);
        Ok(Self { http, runtime, socket, limit: LIMIT, api: OnceLock::new() })
    }

    /// The same with another time limit for each request.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it answers.
    pub fn ping(&self) -> Result<(), EngineError> {
        self.api().map(drop)
    }

    /// What it is.
    pub fn version(&self) -> Result<Version, EngineError> {
        self.get("tell its version", &["version"], &[])
    }

    /// The volumes that the engine keeps itself. No other driver is asked: one that does not answer would hold this up.
    pub fn local_volumes(&self) -> Result<Vec<Volume>, EngineError> {
        let filters = json!({ "driver": [LOCAL] }).to_string();
        let found: Volumes = self.get("list volumes", &["volumes"], &[("filters", &filters)])?;
        Ok(found.volumes.unwrap_or_default().into_iter().filter(|volume| volume.driver == LOCAL).collect())
    }

    /// Makes a volume that the engine keeps itself.
    pub fn create_volume(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<Volume, EngineError> {
        let body = json!({ "Name": name, "Driver": LOCAL, "Labels": labels });
        self.post(&format!("make volume `{name}`"), &["volumes", "create"], &body)
    }

    /// Removes a volume that no container has.
    pub fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let what = format!("remove volume `{name}`");
        let request = self.request(&what, Method::DELETE, &["volumes", name], &[], None)?;
        self.finish(&what, self.limit, request).map(drop)
    }

    /// One volume. For a name that it does not know the engine asks all drivers.
    pub fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        self.volume_within(name, self.limit)
    }

    /// The same, if it is known in so short a time.
    pub fn volume_within(&self, name: &str, limit: Duration) -> Result<Volume, EngineError> {
        let what = format!("show volume `{name}`");
        let answer = self.finish(&what, limit, self.request(&what, Method::GET, &["volumes", name], &[], None)?)?;
        understood(&what, &answer)
    }

    /// All containers, also those that do not run.
    pub fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.get("list containers", &["containers", "json"], &[("all", "1")])
    }

    /// One container by name or id.
    pub fn container(&self, name: &str) -> Result<Inspected, EngineError> {
        self.get(&format!("show container `{name}`"), &["containers", name, "json"], &[])
    }

    /// Halts all processes of a container.
    pub fn pause(&self, container: &str) -> Result<(), EngineError> {
        self.act("pause", container, self.limit)
    }

    /// Lets them go on.
    pub fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.act("unpause", container, self.limit)
    }

    /// Asks a container to end; after the time that it was created with its processes are killed. Waits at most `limit`.
    /// One that does not run stays as it is.
    pub fn stop(&self, container: &str, limit: Duration) -> Result<(), EngineError> {
        self.act("stop", container, limit)
    }

    /// Starts a container. One that runs stays as it is.
    pub fn start(&self, container: &str) -> Result<(), EngineError> {
        self.act("start", container, self.limit)
    }

    fn act(&self, verb: &str, container: &str, limit: Duration) -> Result<(), EngineError> {
        let (what, path) = (format!("{verb} container `{container}`"), ["containers", container, verb]);
        self.finish(&what, limit, self.request(&what, Method::POST, &path, &[], None)?).map(drop)
    }

    pub(super) fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, EngineError> {
        let answer = self.finish(what, self.limit, self.request(what, Method::GET, path, query, None)?)?;
        understood(what, &answer)
    }

    pub(super) fn post<T: DeserializeOwned>(&self, what: &str, path: &[&str], body: &Value) -> Result<T, EngineError> {
        let answer = self.finish(what, self.limit, self.request(what, Method::POST, path, &[], Some(body))?)?;
        understood(what, &answer)
    }

    /// The version of the API that both know.
    fn api(&self) -> Result<&str, EngineError> {
        if let Some(api) = self.api.get() {
            return Ok(api);
        }
        let what = "answer";
        let request = self.http.get(self.url(what, &["_ping"], &[])?);
        let answer = self.wait(what, self.limit, async { Ok(request.send().await) })?;
        let answer = answer.map_err(|e| self.broken(what, &e))?;
        let theirs = answer.headers().get("api-version").and_then(|v| v.to_str().ok()).and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let (major, minor) = theirs.map_or(NEWEST, |theirs| theirs.min(NEWEST));
        Ok(self.api.get_or_init(|| format!("v{major}.{minor}")))
    }

    fn url(&self, what: &str, path: &[&str], query: &[(&str, &str)]) -> Result<Url, EngineError> {
        let wrong = |message: &str| EngineError::NotFound { what: what.to_owned(), message: message.to_owned() };
        // A name that would be another path.
        if path.iter().any(|piece| ["", ".", ".."].contains(piece)) {
            return Err(wrong("there can be none of that name"));
        }
        let mut url = Url::parse("http://docker/").map_err(|e| wrong(&e.to_string()))?;
        url.path_segments_mut().map_err(|()| wrong("not a path"))?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    pub(super) fn request(
        &self,
        what: &str,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<reqwest::RequestBuilder, EngineError> {
        let path: Vec<&str> = std::iter::once(self.api()?).chain(path.iter().copied()).collect();
        let request = self.http.request(method, self.url(what, &path, query)?);
        Ok(match body {
            None => request,
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        })
    }

    /// Sends a request, and waits for all of the answer.
    fn finish(&self, what: &str, limit: Duration, request: reqwest::RequestBuilder) -> Result<Vec<u8>, EngineError> {
        self.wait(what, limit, async {
            let answer = self.begin(what, request).await?;
            self.body(what, answer).await
        })
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn begin(&self, what: &str, request: reqwest::RequestBuilder) -> Result<Response, EngineError> {
        let answer = request.send().await.map_err(|e| self.broken(what, &e))?;
        let status = answer.status();
        if status.is_success() || matches!(status, StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(answer);
        }
        let said = self.body(what, answer).await?;
        let message = serde_json::from_slice(&said).map_or_else(|_| status.to_string(), |said: Said| said.message);
        let (what, message) = (what.to_owned(), message.trim().to_owned());
        Err(match status {
            StatusCode::NOT_FOUND => EngineError::NotFound { what, message },
            status => EngineError::Refused { what, status: status.as_u16(), message },
        })
    }

    async fn body(&self, what: &str, mut answer: Response) -> Result<Vec<u8>, EngineError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| self.broken(what, &e))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_MAX {
                return Err(garbled(what, "it does not end"));
            }
        }
        Ok(bytes)
    }

    pub(super) fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        future: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let limited = self.runtime.block_on(async { tokio::time::timeout(limit, future).await });
        limited.unwrap_or_else(|_| Err(EngineError::TimedOut { what: what.to_owned(), limit }))
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn broken(&self, what: &str, e: &reqwest::Error) -> EngineError {
        let (mut next, mut last) = (e.source(), e.to_string());
        while let Some(cause) = next {
            last = cause.to_string();
            let socket = || self.socket.clone();
            match cause.downcast_ref::<io::Error>().filter(|_| e.is_connect()).map(io::Error::kind) {
                Some(io::ErrorKind::NotFound) => return EngineError::Missing { socket: socket() },
                Some(io::ErrorKind::PermissionDenied) => return EngineError::Denied { socket: socket() },
                Some(io::ErrorKind::ConnectionRefused) => return EngineError::Deaf { socket: socket() },
                _ => {}
            }
            next = cause.source();
        }
        EngineError::Broken { what: what.to_owned(), source: io::Error::other(last) }
    }
}

fn understood<T: DeserializeOwned>(what: &str, answer: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(answer).map_err(|e| garbled(what, &e.to_string()))
}

pub(super) fn garbled(what: &str, why: &str) -> EngineError {
    EngineError::Garbled { what: what.to_owned(), source: io::Error::other(why.to_owned()) }
}
