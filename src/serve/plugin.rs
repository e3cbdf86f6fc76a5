//! The volume plugin of Docker, protocol version 1: JSON over HTTP on a Unix socket, one POST per
//! request.
//!
//! All state is on disk with the volumes, and mounts are separate processes, so the plugin can stop
//! and restart at any time. An unused mount is kept for some seconds, because Docker mounts,
//! unmounts and mounts again to start one container.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::IncomingStream;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Failure, Kind, Result, with_causes};
use crate::ops::volume::{VolumeError, VolumeOptions, VolumeState, Volumes};
use crate::sys::clock;
use crate::sys::create;

/// The time that an unused mount is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of the search for unused mounts.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// The interval of the search for users that Docker has lost. Each search examines all processes.
const LOST_USERS_INTERVAL: Duration = Duration::from_secs(30);
/// The content type of the protocol.
const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";

/// The plugin cannot run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum PluginError {
    /// Another plugin answers on the socket.
    #[error("cannot listen on `{}`: another plugin is listening on it", path.display())]
    Served { path: PathBuf },
    /// The path is another kind of file.
    #[error("cannot listen on `{}`: the path exists and is not a socket", path.display())]
    NoSocket { path: PathBuf },
    /// The socket cannot be used.
    #[error("cannot listen on `{}`", path.display())]
    Socket { path: PathBuf, source: io::Error },
}

impl Failure for PluginError {
    fn kind(&self) -> Kind {
        match self {
            Self::Served { .. } => Kind::Busy,
            Self::NoSocket { .. } => Kind::Usage,
            Self::Socket { source, .. } => Kind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                "run the plugin as root, because only root can write to Docker's plugin directory"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Receives the lines of the log.
pub type PluginLog = dyn Fn(&str) + Send + Sync;

/// A plugin with a bound socket.
pub struct VolumePlugin {
    listener: std::os::unix::net::UnixListener,
    state: Arc<PluginState>,
    socket: PathBuf,
}

struct PluginState {
    volumes: Volumes,
    /// Volumes without containers that may still be mounted, with the time at which each became
    /// unused.
    idle: Mutex<HashMap<String, Instant>>,
    log: Box<PluginLog>,
}

impl VolumePlugin {
    /// Binds the socket. Replaces the socket of a plugin that was killed.
    pub fn bind(socket: &Path, volumes: Volumes, log: Box<PluginLog>) -> Result<Self> {
        let failed = |source| PluginError::Socket {
            path: socket.to_owned(),
            source,
        };
        if let Some(dir) = socket.parent() {
            create::dir_all(dir).map_err(failed)?;
        }
        if UnixStream::connect(socket).is_ok() {
            return Err(PluginError::Served {
                path: socket.to_owned(),
            }
            .into());
        }
        // A socket without a listener was left by a plugin that was killed.
        if std::fs::symlink_metadata(socket).is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(PluginError::NoSocket {
                path: socket.to_owned(),
            }
            .into());
        }
        match std::fs::remove_file(socket) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e).into()),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(socket).map_err(failed)?;
        // The engine runs as root; with a permissive umask every user could request mounts.
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let state = PluginState {
            volumes,
            idle: Mutex::default(),
            log,
        };
        Ok(Self {
            listener,
            state: Arc::new(state),
            socket: socket.to_owned(),
        })
    }

    /// Serves until `stop` returns `true`. Mounts that are in use stay mounted.
    pub fn run(self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let failed = |source| PluginError::Socket {
            path: self.socket.clone(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let state = Arc::clone(&self.state);
        let routes = router(&state);
        let served = runtime.map_err(failed)?.block_on(async {
            let listener = tokio::net::UnixListener::from_std(self.listener)?;
            let watch = tokio::task::spawn(Arc::clone(&state).watch());
            let stopped = async {
                while !stop() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let served = tokio::select! {
                served = async { axum::serve(listener, routes.into_make_service_with_connect_info::<Peer>()).await } => served,
                () = stopped => Ok(()),
            };
            watch.abort();
            served
        });
        // Remove the socket, because an engine waits for a plugin whose socket exists.
        let _ = std::fs::remove_file(&self.socket);
        self.state.unmount_idle(Duration::ZERO);
        Ok(served.map_err(failed)?)
    }
}

fn router(state: &Arc<PluginState>) -> Router {
    type Answer = fn(&PluginState, &PluginRequest) -> Result<Value>;
    let verbs: [(&str, Answer); 8] = [
        ("Create", PluginState::create),
        ("Remove", PluginState::remove),
        ("Mount", PluginState::mount),
        ("Unmount", PluginState::unmount),
        ("Path", PluginState::path),
        ("Get", PluginState::get),
        ("List", PluginState::list),
        ("Capabilities", |_, _| {
            Ok(json!({ "Capabilities": { "Scope": "local" } }))
        }),
    ];
    let hello = || async { answer(json!({ "Implements": ["VolumeDriver"] })) };
    let mut router = Router::new().route("/Plugin.Activate", post(hello));
    for (verb, handler) in verbs {
        let state = Arc::clone(state);
        let handle = move |ConnectInfo(peer): ConnectInfo<Peer>, body: Bytes| async move {
            let done =
                tokio::task::spawn_blocking(move || state.handle(verb, handler, peer, &body)).await;
            answer(done.unwrap_or_else(|_| json!({ "Err": "a bug in dvc: see the plugin's log" })))
        };
        router = router.route(&format!("/VolumeDriver.{verb}"), post(handle));
    }
    router
}

/// The process that sent the request; `None` if the process is in another PID namespace.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        let pid = stream.io().peer_cred().ok().and_then(|peer| peer.pid());
        Self(
            pid.and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid != 0),
        )
    }
}

fn answer(value: Value) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], value.to_string()).into_response()
}

/// A request, with the fields of all verbs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PluginRequest {
    name: String,
    opts: Option<BTreeMap<String, String>>,
    #[serde(rename = "ID")]
    id: String,
    #[serde(skip)]
    by: Option<u32>,
}

fn now_secs() -> i64 {
    clock::now().secs
}

impl PluginState {
    fn handle(
        &self,
        verb: &str,
        handler: fn(&Self, &PluginRequest) -> Result<Value>,
        Peer(by): Peer,
        body: &[u8],
    ) -> Value {
        let mut request: PluginRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            // Requests without content have an empty body.
            Err(_) if body.is_empty() => PluginRequest::default(),
            Err(e) => return json!({ "Err": format!("cannot parse the request: {e}") }),
        };
        request.by = by;
        match handler(self, &request) {
            Ok(mut value) => {
                value["Err"] = "".into();
                value
            }
            Err(e) => {
                let mut message = with_causes(e.as_error());
                if let Some(hint) = e.hint() {
                    message = format!("{message} ({hint})");
                }
                // A missing volume is not logged, because Docker looks up every unknown volume name
                // in all plugins.
                if e.kind() != Kind::NotFound {
                    (self.log)(&format!("{verb} {}: {message}", request.name));
                }
                json!({ "Err": message })
            }
        }
    }

    fn create(&self, request: &PluginRequest) -> Result<Value> {
        let options = VolumeOptions::parse(request.opts.as_ref().unwrap_or(&BTreeMap::new()))?;
        if options.had_password {
            let message = "the password in the URL was removed; passwords are read from the environment or /run/secrets";
            (self.log)(&format!("Create {}: {message}", request.name));
        }
        if self
            .volumes
            .create(&request.name, &options, &jiff::Timestamp::now())?
        {
            (self.log)(&format!("created {}", request.name));
            self.mark_idle(&request.name);
        }
        Ok(json!({}))
    }

    fn remove(&self, request: &PluginRequest) -> Result<Value> {
        let removed = self.volumes.remove(&request.name, false, now_secs())?;
        self.idle().remove(&request.name);
        (self.log)(&match removed.trash {
            Some(id) => format!(
                "removed {}; its changes are in the trash: run `dvc trash restore {id}` to restore it",
                request.name
            ),
            None => format!("removed {}", request.name),
        });
        Ok(json!({}))
    }

    fn mount(&self, request: &PluginRequest) -> Result<Value> {
        self.idle().remove(&request.name);
        let at = self.volumes.mount(&request.name, &request.id, now_secs())?;
        if let Some(Err(e)) = request
            .by
            .map(|engine| self.volumes.ensure_visible(&request.name, engine))
        {
            self.unmount(request)?;
            return Err(e);
        }
        Ok(json!({ "Mountpoint": at.to_string_lossy() }))
    }

    fn unmount(&self, request: &PluginRequest) -> Result<Value> {
        if self.volumes.unmount(&request.name, &request.id)? {
            self.mark_idle(&request.name);
        }
        Ok(json!({}))
    }

    fn path(&self, request: &PluginRequest) -> Result<Value> {
        self.ensure_exists(&request.name)?;
        Ok(json!({ "Mountpoint": self.mount_point(&request.name) }))
    }

    fn get(&self, request: &PluginRequest) -> Result<Value> {
        let state = self.volumes.state(&request.name)?;
        Ok(json!({ "Volume": {
            "Name": request.name, "Mountpoint": self.mount_point(&request.name),
            "CreatedAt": state.record.created, "Status": VolumeStatus::new(&state),
        } }))
    }

    fn list(&self, _request: &PluginRequest) -> Result<Value> {
        let all = self.volumes.list()?;
        let each = |name: &str| json!({ "Name": name, "Mountpoint": self.mount_point(name) });
        Ok(json!({ "Volumes": all.iter().map(|record| each(&record.name)).collect::<Vec<_>>() }))
    }

    fn ensure_exists(&self, name: &str) -> Result<()> {
        let found = self.volumes.find(name)?;
        Ok(found
            .map(drop)
            .ok_or_else(|| VolumeError::Missing(name.to_owned()))?)
    }

    /// Returns the mount point of a volume, or an empty string if it is not mounted.
    fn mount_point(&self, name: &str) -> String {
        self.volumes
            .mounted(name)
            .map_or_else(String::new, |at| at.to_string_lossy().into_owned())
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.idle.lock()
    }

    fn mark_idle(&self, name: &str) {
        self.idle().insert(name.to_owned(), Instant::now());
    }

    /// Restores the state of an earlier plugin: remounts pinned volumes, and finds mounts without
    /// users.
    fn resume(&self) {
        for name in self
            .volumes
            .list()
            .unwrap_or_default()
            .into_iter()
            .map(|record| record.name)
        {
            if let Err(e) = self.volumes.remount_pinned(&name) {
                (self.log)(&format!("{name}: {}", with_causes(e.as_error())));
            }
        }
        self.remove_lost_users();
    }

    /// Removes users that Docker has lost, and marks mounts without users as idle.
    fn remove_lost_users(&self) {
        for record in self.volumes.list().unwrap_or_default() {
            match self.volumes.remove_lost_users(&record.name, now_secs()) {
                Ok(false) if self.volumes.mounted(&record.name).is_some() => {
                    self.idle().entry(record.name).or_insert_with(Instant::now);
                }
                Ok(_) => {}
                Err(e) => (self.log)(&format!("{}: {}", record.name, with_causes(e.as_error()))),
            }
        }
    }

    /// Unmounts volumes that have had no user for `timeout`.
    fn unmount_idle(&self, timeout: Duration) {
        let due: Vec<String> = self
            .idle()
            .iter()
            .filter(|(_, since)| since.elapsed() >= timeout)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.idle().remove(&name);
            // A volume with a new user stays mounted. If the unmount fails, `remove_lost_users`
            // lists the mount as idle again, so it is retried later.
            if let Err(e) = self.volumes.unmount_unused(&name) {
                (self.log)(&format!("{name}: {}", with_causes(e.as_error())));
            }
        }
    }

    async fn watch(self: Arc<Self>) {
        // Remount on another thread, so that requests of Docker need not wait: a remount with an
        // unreachable remote takes time to fail.
        let state = Arc::clone(&self);
        let _ = tokio::task::spawn_blocking(move || state.resume()).await;
        let mut searched = Instant::now();
        loop {
            tokio::time::sleep(IDLE_INTERVAL).await;
            let state = Arc::clone(&self);
            let lost = searched.elapsed() >= LOST_USERS_INTERVAL;
            if lost {
                searched = Instant::now();
            }
            let search = move || {
                if lost {
                    state.remove_lost_users();
                }
                state.unmount_idle(IDLE_TIMEOUT);
            };
            let _ = tokio::task::spawn_blocking(search).await;
        }
    }
}

/// The state that `docker volume inspect` shows.
#[derive(Serialize)]
struct VolumeStatus<'s> {
    repository: &'s str,
    revision: &'s str,
    version: Option<&'s str>,
    branch: Option<&'s str>,
    access: &'static str,
    mode: Option<&'s str>,
    live: bool,
    changed: bool,
    dirty_bytes: Option<u64>,
    overlay_bytes: Option<u64>,
    fetched_bytes: Option<u64>,
    users: usize,
}

impl<'s> VolumeStatus<'s> {
    fn new(state: &'s VolumeState) -> Self {
        let (record, facts) = (&state.record, state.facts.as_ref());
        Self {
            repository: &record.repository,
            revision: &record.revision,
            version: state.version.as_deref(),
            branch: facts
                .and_then(|f| f.branch.as_deref())
                .or(record.branch.as_deref()),
            access: if record.read_only { "ro" } else { "rw" },
            mode: state.note.as_ref().map(|n| n.mode.as_str()),
            live: record.live,
            changed: state.changed,
            dirty_bytes: facts.map(|f| f.dirty_bytes),
            overlay_bytes: facts.map(|f| f.overlay_bytes),
            fetched_bytes: facts.map(|f| f.fetched_bytes),
            users: state.users.ids.len(),
        }
    }
}
