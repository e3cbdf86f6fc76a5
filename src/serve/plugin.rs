//! Docker's volume plugin, version 1: JSON over HTTP on a Unix socket, one POST a question.
//!
//! In: questions of dockerd. Out: answers, in each of them what went wrong. All state is on disk with the volumes, so that the plugin
//! may end and begin at any time: mounts are processes of their own and stay. A mount that nobody uses stays warm for a
//! moment, since Docker mounts, unmounts and mounts again to start one container.

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
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, Kind, Result, with_causes};
use crate::ops::volume::{VolumeError, VolumeOptions, VolumeState, Volumes};
use crate::sys::clock;
use crate::sys::create;

/// So long a mount that nobody uses stays.
const WARM: Duration = Duration::from_secs(5);
/// So often it is looked for such mounts.
const LOOK: Duration = Duration::from_secs(1);
/// So often it is looked for users that Docker never took back, by looking at all processes.
const LOST: Duration = Duration::from_secs(30);
/// The type that Docker's own client sends and takes.
const TYPE: &str = "application/vnd.docker.plugins.v1.1+json";

/// The plugin cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Another one answers there.
    #[error("a plugin serves `{}` already", path.display())]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("`{}` is no socket", path.display())]
    NoSocket {
        /// What is there.
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot serve `{}`", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
            Self::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("Docker looks for plugins where only root may write".to_owned())
            }
            _ => None,
        }
    }
}

/// Told what is done and what went wrong, a line at a time.
pub type Tell = dyn Fn(&str) + Send + Sync;

/// A plugin that has its socket.
pub struct Plugin {
    listener: std::os::unix::net::UnixListener,
    shared: Arc<Shared>,
    socket: PathBuf,
}

struct Shared {
    volumes: Volumes,
    /// Since when nobody uses a volume that is mounted.
    idle: Mutex<HashMap<String, Instant>>,
    tell: Box<Tell>,
}

impl Plugin {
    /// Takes the socket, and what an earlier plugin left.
    pub fn bind(socket: &Path, volumes: Volumes, tell: Box<Tell>) -> Result<Self> {
        let failed = |source| PluginError::Socket { path: socket.to_owned(), source };
        if let Some(dir) = socket.parent() {
            create::dir_all(dir).map_err(failed)?;
        }
        if UnixStream::connect(socket).is_ok() {
            return Err(PluginError::Served { path: socket.to_owned() }.into());
        }
        // One that nobody answers at was left by a plugin that was killed.
        if std::fs::symlink_metadata(socket).is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(PluginError::NoSocket { path: socket.to_owned() }.into());
        }
        match std::fs::remove_file(socket) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e).into()),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(socket).map_err(failed)?;
        // The engine runs as root; with a permissive umask every user could ask for mounts.
        std::fs::set_permissions(socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let shared = Shared { volumes, idle: Mutex::default(), tell };
        Ok(Self { listener, shared: Arc::new(shared), socket: socket.to_owned() })
    }

    /// Serves until `stop` says so. Mounts that somebody uses stay.
    pub fn run(self, stop: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let failed = |source| PluginError::Socket { path: self.socket.clone(), source };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let shared = Arc::clone(&self.shared);
        let routes = router(&shared);
        let served = runtime.map_err(failed)?.block_on(async {
            let listener = tokio::net::UnixListener::from_std(self.listener)?;
            let look = tokio::task::spawn(Arc::clone(&shared).watch());
            let stopped = async {
                while !stop() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let served = tokio::select! {
                served = async { axum::serve(listener, routes.into_make_service_with_connect_info::<Peer>()).await } => served,
                () = stopped => Ok(()),
            };
            look.abort();
            served
        });
        // Whoever takes the socket over must find none.
        let _ = std::fs::remove_file(&self.socket);
        self.shared.rest(Duration::ZERO);
        Ok(served.map_err(failed)?)
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    type Answer = fn(&Shared, &Asked) -> Result<Value>;
    let verbs: [(&str, Answer); 8] = [
        ("Create", Shared::create),
        ("Remove", Shared::remove),
        ("Mount", Shared::mount),
        ("Unmount", Shared::unmount),
        ("Path", Shared::path),
        ("Get", Shared::get),
        ("List", Shared::list),
        ("Capabilities", |_, _| Ok(json!({ "Capabilities": { "Scope": "local" } }))),
    ];
    let hello = || async { answer(json!({ "Implements": ["VolumeDriver"] })) };
    let mut router = Router::new().route("/Plugin.Activate", post(hello));
    for (verb, what) in verbs {
        let shared = Arc::clone(shared);
        let handle = move |ConnectInfo(peer): ConnectInfo<Peer>, body: Bytes| async move {
            let done = tokio::task::spawn_blocking(move || shared.asked(verb, what, peer, &body)).await;
            answer(done.unwrap_or_else(|_| json!({ "Err": "a bug in dvc: see the plugin's log" })))
        };
        router = router.route(&format!("/VolumeDriver.{verb}"), post(handle));
    }
    router
}

/// The process that asks; `None` if it is in another namespace of processes.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, tokio::net::UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, tokio::net::UnixListener>) -> Self {
        let pid = stream.io().peer_cred().ok().and_then(|peer| peer.pid());
        Self(pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0))
    }
}

fn answer(value: Value) -> Response {
    ([(header::CONTENT_TYPE, TYPE)], value.to_string()).into_response()
}

/// A question; each has some of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
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

impl Shared {
    fn asked(&self, verb: &str, what: fn(&Self, &Asked) -> Result<Value>, Peer(by): Peer, body: &[u8]) -> Value {
        let mut asked: Asked = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            // Questions without content have an empty body.
            Err(_) if body.is_empty() => Asked::default(),
            Err(e) => return json!({ "Err": format!("not understood: {e}") }),
        };
        asked.by = by;
        match what(self, &asked) {
            Ok(mut value) => {
                value["Err"] = "".into();
                value
            }
            Err(e) => {
                let mut said = with_causes(e.as_error());
                if let Some(hint) = e.hint() {
                    said = format!("{said} ({hint})");
                }
                // Docker asks for volumes of every name that it meets.
                if e.kind() != Kind::NotFound {
                    (self.tell)(&format!("{verb} {}: {said}", asked.name));
                }
                json!({ "Err": said })
            }
        }
    }

    fn create(&self, asked: &Asked) -> Result<Value> {
        let options = VolumeOptions::parse(asked.opts.as_ref().unwrap_or(&BTreeMap::new()))?;
        if options.had_password {
            let what = "the password in its URL was left out: passwords come from the environment or /run/secrets";
            (self.tell)(&format!("Create {}: {what}", asked.name));
        }
        if self.volumes.create(&asked.name, &options, &jiff::Timestamp::now())? {
            (self.tell)(&format!("created {}", asked.name));
            self.is_idle(&asked.name);
        }
        Ok(json!({}))
    }

    fn remove(&self, asked: &Asked) -> Result<Value> {
        let removed = self.volumes.remove(&asked.name, false, now_secs())?;
        self.idle().remove(&asked.name);
        (self.tell)(&match removed.parked {
            Some(parked) => format!(
                "removed {}; its changes are put aside: `dvc volume create {} --parked {parked}` brings them back",
                asked.name, asked.name
            ),
            None => format!("removed {}", asked.name),
        });
        Ok(json!({}))
    }

    fn mount(&self, asked: &Asked) -> Result<Value> {
        self.idle().remove(&asked.name);
        let at = self.volumes.mount(&asked.name, &asked.id, now_secs())?;
        if let Some(Err(e)) = asked.by.map(|engine| self.volumes.is_seen(&asked.name, engine)) {
            self.unmount(asked)?;
            return Err(e);
        }
        Ok(json!({ "Mountpoint": at.to_string_lossy() }))
    }

    fn unmount(&self, asked: &Asked) -> Result<Value> {
        if self.volumes.unmount(&asked.name, &asked.id)? {
            self.is_idle(&asked.name);
        }
        Ok(json!({}))
    }

    fn path(&self, asked: &Asked) -> Result<Value> {
        self.known(&asked.name)?;
        Ok(json!({ "Mountpoint": self.place(&asked.name) }))
    }

    fn get(&self, asked: &Asked) -> Result<Value> {
        let state = self.volumes.state(&asked.name)?;
        Ok(json!({ "Volume": {
            "Name": asked.name, "Mountpoint": self.place(&asked.name),
            "CreatedAt": state.record.created, "Status": status(&state),
        } }))
    }

    fn list(&self, _asked: &Asked) -> Result<Value> {
        let all = self.volumes.list()?;
        let each = |name: &str| json!({ "Name": name, "Mountpoint": self.place(name) });
        Ok(json!({ "Volumes": all.iter().map(|record| each(&record.name)).collect::<Vec<_>>() }))
    }

    fn known(&self, name: &str) -> Result<()> {
        let there = self.volumes.find(name)?;
        Ok(there.map(drop).ok_or_else(|| VolumeError::Missing(name.to_owned()))?)
    }

    /// Where a volume is, empty if it is not mounted.
    fn place(&self, name: &str) -> String {
        self.volumes.mounted(name).map_or_else(String::new, |at| at.to_string_lossy().into_owned())
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.idle.lock()
    }

    fn is_idle(&self, name: &str) {
        self.idle().insert(name.to_owned(), Instant::now());
    }

    /// Looks at what an earlier plugin left: what is mounted, for whom, and what is to stay mounted.
    fn begin(&self) {
        for name in self.volumes.list().unwrap_or_default().into_iter().map(|record| record.name) {
            if let Err(e) = self.volumes.stand_held(&name) {
                (self.tell)(&format!("{name}: {}", with_causes(e.as_error())));
            }
        }
        self.take_back();
    }

    /// Takes users off that Docker never took back.
    fn take_back(&self) {
        for record in self.volumes.list().unwrap_or_default() {
            match self.volumes.settle(&record.name, now_secs()) {
                Ok(false) if self.volumes.mounted(&record.name).is_some() => {
                    self.idle().entry(record.name).or_insert_with(Instant::now);
                }
                Ok(_) => {}
                Err(e) => (self.tell)(&format!("{}: {}", record.name, with_causes(e.as_error()))),
            }
        }
    }

    /// Ends mounts that nobody has used for so long.
    fn rest(&self, warm: Duration) {
        let due: Vec<String> =
            self.idle().iter().filter(|(_, since)| since.elapsed() >= warm).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.idle().remove(&name);
            // One that somebody took meanwhile stays. What cannot be ended now is found again by `take_back`.
            if let Err(e) = self.volumes.rest(&name) {
                (self.tell)(&format!("{name}: {}", with_causes(e.as_error())));
            }
        }
    }

    async fn watch(self: Arc<Self>) {
        // Docker does not wait for what stays mounted: each whose remote is gone takes its time to fail.
        let shared = Arc::clone(&self);
        let _ = tokio::task::spawn_blocking(move || shared.begin()).await;
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let shared = Arc::clone(&self);
            let lost = looked.elapsed() >= LOST;
            if lost {
                looked = Instant::now();
            }
            let look = move || {
                if lost {
                    shared.take_back();
                }
                shared.rest(WARM);
            };
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }
}

/// What `docker volume inspect` shows.
fn status(state: &VolumeState) -> Value {
    let (record, facts) = (&state.record, state.facts.as_ref());
    json!({
        "repository": record.repository, "revision": record.revision, "version": state.version,
        "branch": facts.and_then(|f| f.branch.clone()).or_else(|| record.branch.clone()),
        "access": if record.read_only { "ro" } else { "rw" }, "mode": state.note.as_ref().map(|n| n.mode.clone()),
        "live": record.live, "changed": state.changed,
        "dirty_bytes": facts.map(|f| f.dirty_bytes), "overlay_bytes": facts.map(|f| f.overlay_bytes),
        "fetched_bytes": facts.map(|f| f.fetched_bytes), "users": state.users.ids.len(),
    })
}
