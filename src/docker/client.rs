//! Requests to a Docker engine, and the decoding of its responses.

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
use super::types::{Container, ContainerDetails, EngineVersion, LOCAL, SOCKET, Volume};

/// The newest API version that this client supports. Older engines, such as 20.10, support 1.41.
const NEWEST: (u32, u32) = (1, 44);
/// The default time limit for a request.
const LIMIT: Duration = Duration::from_secs(30);
/// Limit on the length of a response, in bytes.
const RESPONSE_MAX: usize = 64 << 20;

/// A connection to an engine.
pub struct DockerEngine {
    http: reqwest::Client,
    runtime: Runtime,
    socket: PathBuf,
    limit: Duration,
    api: OnceLock<String>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeList {
    #[serde(default)]
    volumes: Option<Vec<Volume>>,
}

impl DockerEngine {
    /// Returns a client for the engine at `unix:///path`, or at [`SOCKET`] by default. Sends no
    /// request.
    pub fn new(host: Option<&str>) -> Result<Self, EngineError> {
        let host = host.filter(|h| !h.is_empty());
        let socket = match host {
            None => PathBuf::from(SOCKET),
            Some(host) => match host.strip_prefix("unix://").unwrap_or(host) {
                path if path.starts_with('/') => PathBuf::from(path),
                _ => {
                    return Err(EngineError::Host {
                        host: host.to_owned(),
                    });
                }
            },
        };
        let client = |e: reqwest::Error| EngineError::Client(io::Error::other(e));
        // A proxy from the environment must not receive requests to the local socket.
        let http = reqwest::Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .http1_only();
        // The socket needs no TLS, and a client with system certificates cannot be built on a
        // machine without certificates.
        let http = http.tls_certs_only([]).build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let (http, runtime) = (http.map_err(client)?, runtime.map_err(EngineError::Client)?);
        Ok(Self {
            http,
            runtime,
            socket,
            limit: LIMIT,
            api: OnceLock::new(),
        })
    }

    /// Sets the time limit of each request.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Checks that the engine responds. Sends no request if the engine has responded before.
    pub fn ping(&self) -> Result<(), EngineError> {
        self.api().map(drop)
    }

    /// Returns the versions of the engine and of its API.
    pub fn version(&self) -> Result<EngineVersion, EngineError> {
        self.get("query the engine version", &["version"], &[])
    }

    /// Returns the local volumes of the engine. The filter keeps the engine from querying other
    /// drivers, one of which may hang and delay the response.
    pub fn local_volumes(&self) -> Result<Vec<Volume>, EngineError> {
        let filters = json!({ "driver": [LOCAL] }).to_string();
        let found: VolumeList = self.get("list volumes", &["volumes"], &[("filters", &filters)])?;
        Ok(found
            .volumes
            // The engine may return null instead of an empty list.
            .unwrap_or_default()
            .into_iter()
            .filter(|volume| volume.driver == LOCAL)
            .collect())
    }

    /// Creates a local volume.
    pub fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Volume, EngineError> {
        let body = json!({ "Name": name, "Driver": LOCAL, "Labels": labels });
        self.post(
            &format!("create volume `{name}`"),
            &["volumes", "create"],
            &body,
        )
    }

    /// Removes a volume that no container uses.
    pub fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let what = format!("remove volume `{name}`");
        let request = self.request(&what, Method::DELETE, &["volumes", name], &[], None)?;
        self.finish(&what, self.limit, request).map(drop)
    }

    /// Returns one volume. The engine queries all drivers if it does not know the name.
    pub fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        self.volume_within(name, self.limit)
    }

    /// Like [`Self::volume`], with a separate time limit.
    pub fn volume_within(&self, name: &str, limit: Duration) -> Result<Volume, EngineError> {
        let what = format!("inspect volume `{name}`");
        let response = self.finish(
            &what,
            limit,
            self.request(&what, Method::GET, &["volumes", name], &[], None)?,
        )?;
        parse_response(&what, &response)
    }

    /// Returns all containers, including those that do not run.
    pub fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.get("list containers", &["containers", "json"], &[("all", "1")])
    }

    /// Returns the details of one container by name or id.
    pub fn container(&self, name: &str) -> Result<ContainerDetails, EngineError> {
        self.get(
            &format!("inspect container `{name}`"),
            &["containers", name, "json"],
            &[],
        )
    }

    /// Pauses all processes of a container.
    pub fn pause(&self, container: &str) -> Result<(), EngineError> {
        self.act("pause", container, self.limit)
    }

    /// Resumes all processes of a container.
    pub fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.act("unpause", container, self.limit)
    }

    /// Stops a container. The engine kills its processes after the stop timeout of the container.
    /// Waits at most `limit`. Does nothing if the container does not run.
    pub fn stop(&self, container: &str, limit: Duration) -> Result<(), EngineError> {
        self.act("stop", container, limit)
    }

    /// Starts a container. Does nothing if the container already runs.
    pub fn start(&self, container: &str) -> Result<(), EngineError> {
        self.act("start", container, self.limit)
    }

    fn act(&self, verb: &str, container: &str, limit: Duration) -> Result<(), EngineError> {
        let (what, path) = (
            format!("{verb} container `{container}`"),
            ["containers", container, verb],
        );
        self.finish(
            &what,
            limit,
            self.request(&what, Method::POST, &path, &[], None)?,
        )
        .map(drop)
    }

    pub(super) fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, EngineError> {
        let response = self.finish(
            what,
            self.limit,
            self.request(what, Method::GET, path, query, None)?,
        )?;
        parse_response(what, &response)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        body: &Value,
    ) -> Result<T, EngineError> {
        let response = self.finish(
            what,
            self.limit,
            self.request(what, Method::POST, path, &[], Some(body))?,
        )?;
        parse_response(what, &response)
    }

    /// Returns the API version to use in requests: the newest one that both sides support.
    fn api(&self) -> Result<&str, EngineError> {
        if let Some(api) = self.api.get() {
            return Ok(api);
        }
        let what = "connect to the Docker engine";
        // The path of `_ping` has no API version, because the version is not known yet.
        let request = self.http.get(self.url(what, &["_ping"], &[])?);
        let response = self.wait(what, self.limit, async { Ok(request.send().await) })?;
        let response = response.map_err(|e| self.connection_error(what, &e))?;
        let theirs = response
            .headers()
            .get("api-version")
            .and_then(|v| v.to_str().ok())
            .and_then(|text| {
                let (major, minor) = text.split_once('.')?;
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
            });
        // An engine accepts its own API version and older ones.
        let (major, minor) = theirs.map_or(NEWEST, |theirs| theirs.min(NEWEST));
        Ok(self.api.get_or_init(|| format!("v{major}.{minor}")))
    }

    fn url(&self, what: &str, path: &[&str], query: &[(&str, &str)]) -> Result<Url, EngineError> {
        let wrong = |message: &str| EngineError::NotFound {
            what: what.to_owned(),
            message: message.to_owned(),
        };
        // Reject names that would change the path of the URL.
        if path.iter().any(|piece| ["", ".", ".."].contains(piece)) {
            return Err(wrong("invalid name"));
        }
        // The host has no effect, because requests go to the socket.
        let mut url = Url::parse("http://docker/").map_err(|e| wrong(&e.to_string()))?;
        url.path_segments_mut()
            .map_err(|()| wrong("not a path"))?
            .pop_if_empty()
            .extend(path);
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
        let path: Vec<&str> = std::iter::once(self.api()?)
            .chain(path.iter().copied())
            .collect();
        let request = self.http.request(method, self.url(what, &path, query)?);
        Ok(match body {
            None => request,
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
        })
    }

    /// Sends a request and reads the whole response.
    fn finish(
        &self,
        what: &str,
        limit: Duration,
        request: reqwest::RequestBuilder,
    ) -> Result<Vec<u8>, EngineError> {
        self.wait(what, limit, async {
            let response = self.begin(what, request).await?;
            self.body(what, response).await
        })
    }

    /// Sends a request and returns the response. An unsuccessful status is an error.
    pub(super) async fn begin(
        &self,
        what: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, EngineError> {
        let response = request
            .send()
            .await
            .map_err(|e| self.connection_error(what, &e))?;
        let status = response.status();
        // The engine returns 304 for a container that already runs, or that is already stopped.
        if status.is_success()
            || matches!(
                status,
                StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
            )
        {
            return Ok(response);
        }
        let body = self.body(what, response).await?;
        let message = serde_json::from_slice(&body)
            .map_or_else(|_| status.to_string(), |error: ErrorResponse| error.message);
        let (what, message) = (what.to_owned(), message.trim().to_owned());
        Err(match status {
            StatusCode::NOT_FOUND => EngineError::NotFound { what, message },
            status => EngineError::Refused {
                what,
                status: status.as_u16(),
                message,
            },
        })
    }

    async fn body(&self, what: &str, mut response: Response) -> Result<Vec<u8>, EngineError> {
        let mut bytes = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|e| self.connection_error(what, &e))?
        {
            bytes.extend_from_slice(&piece);
            if bytes.len() > RESPONSE_MAX {
                return Err(invalid_response(what, "response too long"));
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
        // `timeout` is created inside of `block_on`, because it needs the clock of the runtime.
        let limited = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, future).await });
        limited.unwrap_or_else(|_| {
            Err(EngineError::TimedOut {
                what: what.to_owned(),
                limit,
            })
        })
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn connection_error(&self, what: &str, e: &reqwest::Error) -> EngineError {
        let (mut next, mut last) = (e.source(), e.to_string());
        // The `io::Error` is inside the errors of the HTTP libraries.
        while let Some(cause) = next {
            last = cause.to_string();
            let socket = || self.socket.clone();
            // Once the connection has been established, such an error is not about the socket.
            match cause
                .downcast_ref::<io::Error>()
                .filter(|_| e.is_connect())
                .map(io::Error::kind)
            {
                Some(io::ErrorKind::NotFound) => return EngineError::Missing { socket: socket() },
                Some(io::ErrorKind::PermissionDenied) => {
                    return EngineError::Denied { socket: socket() };
                }
                Some(io::ErrorKind::ConnectionRefused) => {
                    return EngineError::NotListening { socket: socket() };
                }
                _ => {}
            }
            next = cause.source();
        }
        EngineError::ConnectionLost {
            what: what.to_owned(),
            source: io::Error::other(last),
        }
    }
}

fn parse_response<T: DeserializeOwned>(what: &str, response: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(response).map_err(|e| invalid_response(what, &e.to_string()))
}

pub(super) fn invalid_response(what: &str, why: &str) -> EngineError {
    EngineError::InvalidResponse {
        what: what.to_owned(),
        source: io::Error::other(why.to_owned()),
    }
}
