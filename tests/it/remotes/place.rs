//! Every kind of store behind one type: its URL, the environment that `dvc` needs for it, and
//! observations on the server, such as the data packs that were read.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::sandbox::Sandbox;
use crate::support::servers::azurite::Azurite;
use crate::support::servers::gcs::Gcs;
use crate::support::servers::moto::Moto;
use crate::support::servers::registry::{self, Registry};
use crate::support::servers::s3::{Conditions, S3, Switches};
use crate::support::servers::sshd::Sshd;
use crate::support::servers::webdav::{self, Webdav};

/// Pause between the check of a condition and the write in [`s3_that_checks_then_writes`].
const GAP: Duration = Duration::from_millis(30);

/// A remote store, without a repository at first.
pub struct Place {
    pub url: String,
    /// Environment variables that `dvc` needs to use the remote.
    pub env: Vec<(String, String)>,
    /// Whether reports contain the number of requests; they do not for a directory.
    pub counts: bool,
    /// Whether the store supports conditional writes. `None` if that depends on timing.
    pub exclusive: Option<bool>,
    /// The directory of the repository, if the server stores one file per object.
    pub files: Option<PathBuf>,
    /// Returns the keys of all objects, if the server can list them.
    keys: Option<Box<dyn Fn() -> Vec<String>>>,
    /// Returns the keys of the data packs that were read, if the server records reads.
    reads: Option<Box<dyn Fn() -> Vec<String>>>,
    /// Returns the number of bytes that the server has sent, if it counts them.
    sent: Option<Box<dyn Fn() -> u64>>,
    /// The server; it runs until it is dropped.
    _server: Box<dyn Any>,
}

impl Place {
    fn new(url: String, env: Vec<(&'static str, String)>, server: impl Any) -> Self {
        let env = env
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let server = Box::new(server);
        Self {
            url,
            env,
            counts: true,
            exclusive: Some(true),
            files: None,
            keys: None,
            reads: None,
            sent: None,
            _server: server,
        }
    }

    fn guarded(self) -> Self {
        Self {
            exclusive: Some(false),
            ..self
        }
    }

    /// Checks the report of `remote add` or `remote check` for an empty remote.
    #[track_caller]
    pub fn assert_reported(&self, report: &Value) {
        assert_eq!(report["repository"], Value::Null, "{report}");
        let exclusive = report["conditional_writes"].as_bool();
        assert!(
            exclusive.is_some() && (self.exclusive.is_none() || exclusive == self.exclusive),
            "{report}"
        );
    }

    /// Creates the sandbox of a user of the remote, with a home, a cache and a worktree.
    pub fn person(&self, name: &str) -> Sandbox {
        let mut sandbox = Sandbox::new();
        sandbox.set("DVC_AUTHOR", &format!("{name} <{name}@example.org>"));
        for (name, value) in &self.env {
            sandbox.set(name, value);
        }
        sandbox
    }

    /// Returns the keys of all objects, including locks and probes. `None` if the server cannot
    /// list them.
    pub fn keys(&self) -> Option<Vec<String>> {
        let files = || {
            self.files
                .as_ref()
                .map(|dir| below(dir).iter().map(|f| f.display().to_string()).collect())
        };
        self.keys.as_ref().map(|keys| keys()).or_else(files)
    }

    /// Returns the keys of the data packs that were read so far. `None` if the server does not
    /// record reads.
    pub fn data_packs_read(&self) -> Option<Vec<String>> {
        self.reads.as_ref().map(|reads| reads())
    }

    /// Returns the number of bytes that the server has sent so far. `None` if it does not count
    /// them.
    pub fn bytes_sent(&self) -> Option<u64> {
        self.sent.as_ref().map(|sent| sent())
    }

    /// Hides the data packs while `work` runs. Has no effect on them if the server does not store
    /// one file per object.
    pub fn without_data<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(files) = &self.files else {
            return work();
        };
        let mut moved = Vec::new();
        for pack in below(&files.join("packs")) {
            if is_data(&fs::read(&pack).unwrap()) {
                let aside = pack.with_extension("aside");
                fs::rename(&pack, &aside).unwrap();
                moved.push((pack, aside));
            }
        }
        assert!(
            !moved.is_empty(),
            "a repository without data packs shows nothing"
        );
        let done = work();
        moved
            .into_iter()
            .for_each(|(pack, aside)| fs::rename(aside, pack).unwrap());
        done
    }
}

/// Returns all files below a directory, sorted. Returns none if it does not exist.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files.sort();
    files
}

/// Returns whether these are the bytes of a data pack.
pub fn is_data(bytes: &[u8]) -> bool {
    bytes.starts_with(b"DVCPACK") && bytes.get(8) == Some(&0)
}

/// Returns a local directory, addressed by its path.
pub fn directory() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repo");
    let place = Place::new(path.display().to_string(), Vec::new(), dir);
    Place {
        counts: false,
        files: Some(path),
        ..place
    }
}

/// Returns a local directory, addressed by a `file:` URL.
pub fn file_url() -> Place {
    let place = directory();
    Place {
        url: format!("file://{}", place.url),
        ..place
    }
}

/// Returns the independent S3 implementation moto. Its check of a condition and the write are not
/// atomic, so a collision of two writers depends on timing.
pub fn moto() -> Option<Place> {
    let moto = Moto::start()?;
    moto.make_bucket("bucket");
    Some(Place {
        exclusive: None,
        ..Place::new(moto.url("bucket", "a/repo"), moto.env(), moto)
    })
}

/// Returns an S3 server with correct conditional writes.
pub fn s3() -> Place {
    s3_with(Conditions::Honest)
}

/// Returns an S3 server that ignores the condition of a write.
pub fn s3_that_ignores_conditions() -> Place {
    s3_with(Conditions::Ignored).guarded()
}

/// Returns an S3 server that checks the condition of a write and writes after a pause.
pub fn s3_that_checks_then_writes() -> Place {
    s3_with(Conditions::CheckThenWrite(GAP)).guarded()
}

fn s3_with(conditions: Conditions) -> Place {
    let key = Some(("who".to_owned(), "s3cret".to_owned()));
    of_s3(
        "a/repo",
        Switches {
            conditions,
            key,
            ..Switches::default()
        },
    )
}

/// Returns an S3 server without credentials; its prefix needs encoding in URLs.
pub fn s3_without_signatures() -> Place {
    let place = of_s3("a%20b/r%C3%A9+po", Switches::default());
    Place {
        url: format!("{}&anonymous=1", place.url),
        env: Vec::new(),
        ..place
    }
}

fn of_s3(prefix: &str, switches: Switches) -> Place {
    // Use small pages, so that a complete listing takes several requests.
    let s3 = Arc::new(S3::start(Switches {
        page: 20,
        ..switches
    }));
    let (asked, sending, holding) = (Arc::clone(&s3), Arc::clone(&s3), Arc::clone(&s3));
    let reads = move || {
        let read = asked
            .requests()
            .into_iter()
            .filter_map(|line| Some(line.strip_prefix("GET ")?.to_owned()));
        read.filter(|key| asked.object(key).is_some_and(|bytes| is_data(&bytes)))
            .collect()
    };
    let sent = move || sending.traffic("GET").bytes_out;
    let place = Place::new(s3.url(prefix), s3.env(), s3);
    Place {
        keys: Some(Box::new(move || holding.keys())),
        reads: Some(Box::new(reads)),
        sent: Some(Box::new(sent)),
        ..place
    }
}

/// Returns Azure Blob Storage.
pub fn azblob() -> Option<Place> {
    let azurite = Azurite::start()?;
    azurite.make_container("container");
    Some(Place::new(
        azurite.url("container", "a/repo"),
        azurite.env(),
        azurite,
    ))
}

/// Returns Google Cloud Storage.
pub fn gcs() -> Place {
    of_gcs("a/repo")
}

/// Returns Google Cloud Storage with a prefix that needs encoding in URLs.
pub fn gcs_with_odd_names() -> Place {
    of_gcs("a%20b/r%C3%A9+po")
}

fn of_gcs(prefix: &str) -> Place {
    let gcs = Arc::new(Gcs::start());
    gcs.set_page(20);
    let (asked, holding) = (Arc::clone(&gcs), Arc::clone(&gcs));
    let reads = move || {
        let media = asked
            .requests()
            .into_iter()
            .filter(|line| line.starts_with("GET ") && line.contains("alt=media"));
        let key = |line: String| Some(line.split_once("/o/")?.1.split_once('?')?.0.to_owned());
        media
            .filter_map(key)
            .filter(|key| asked.object(key).is_some_and(|bytes| is_data(&bytes)))
            .collect()
    };
    let place = Place::new(gcs.url(prefix), Vec::new(), gcs);
    Place {
        keys: Some(Box::new(move || holding.keys())),
        reads: Some(Box::new(reads)),
        ..place
    }
}

/// Returns a directory behind an SSH server.
pub fn sftp() -> Option<Place> {
    let sshd = Sshd::start()?;
    let files = Some(sshd.data().join("a/repo"));
    Some(Place {
        files,
        ..Place::new(sshd.url("a/repo"), Vec::new(), sshd)
    })
}

/// Returns a WebDAV server without credentials.
pub fn webdav() -> Option<Place> {
    let webdav = Webdav::start()?;
    let files = Some(webdav.data().join("a/repo"));
    Some(
        Place {
            files,
            ..Place::new(webdav.url("a/repo"), Vec::new(), webdav)
        }
        .guarded(),
    )
}

/// Returns a WebDAV server with a password.
pub fn webdav_with_password() -> Option<Place> {
    let webdav = Webdav::with_password()?;
    let env = vec![("WEBDAV_PASSWORD", webdav::PASSWORD.to_owned())];
    // This name needs encoding in URLs.
    let files = Some(webdav.data().join("a b/ré+po"));
    Some(
        Place {
            files,
            ..Place::new(webdav.url("a%20b/r%C3%A9+po"), env, webdav)
        }
        .guarded(),
    )
}

/// Returns a registry without credentials.
pub fn oci() -> Option<Place> {
    Some(of_registry(Registry::start()?, Vec::new()))
}

/// Returns a registry with a password.
pub fn oci_with_password() -> Option<Place> {
    let password = ("REGISTRY_PASSWORD", registry::PASSWORD.to_owned());
    Some(of_registry(
        Registry::with_password()?,
        vec![("REGISTRY_USERNAME", registry::USER.to_owned()), password],
    ))
}

fn of_registry(registry: Registry, env: Vec<(&'static str, String)>) -> Place {
    let (log, blobs) = (
        registry.access_log(),
        registry.program.at("data/docker/registry/v2/blobs/sha256"),
    );
    let reads = move || {
        let text = fs::read_to_string(&log).unwrap();
        let read = text
            .lines()
            .filter(|line| line.contains("\"GET "))
            .filter_map(|line| {
                let digest = line.split_once("/blobs/sha256:")?.1.get(..64)?;
                fs::read(blobs.join(&digest[..2]).join(digest).join("data"))
                    .is_ok_and(|b| is_data(&b))
                    .then(|| digest.to_owned())
            });
        read.collect()
    };
    let place = Place::new(registry.url("a/repo"), env, registry).guarded();
    Place {
        reads: Some(Box::new(reads)),
        ..place
    }
}
