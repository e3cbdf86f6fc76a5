//! How a store is reached: credentials, limits, and who is told. Comes in from the caller, nothing is looked up here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::meter::Meter;
use crate::observe::{Observer, Silent};

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for whoever must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why a location is not used: a repository that the caller does not trust names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Distrusted {
    /// The reason for the distrust.
    pub why: String,
    /// What the caller can do about it.
    pub hint: String,
}

/// Makes one store of another.
pub type Wrap = dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync;

/// How a store is reached.
#[derive(Clone)]
pub struct Access {
    /// Credentials by the name of their environment variable (`AWS_ACCESS_KEY_ID`), where the caller found any in the
    /// environment, in a file or in `/run/secrets`. What is not here, the store's own library looks for.
    pub credentials: BTreeMap<String, Secret>,
    /// No network at all.
    pub offline: bool,
    /// Counts, and sets rates.
    pub meter: Arc<Meter>,
    /// Told of every new attempt.
    pub observer: Arc<dyn Observer>,
    /// A read that has taken so long is not tried again; `None`: as often as any request.
    pub patience: Option<Duration>,
    /// Whether a probe found that the store does not keep what it says about exclusive creation.
    pub guarded: bool,
    /// Why the store is not to be opened at all.
    pub distrusted: Option<Distrusted>,
    /// Put around the store itself, below all that repeats and guards; for tests.
    pub wrap: Option<Arc<Wrap>>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            credentials: BTreeMap::new(),
            offline: false,
            meter: Arc::default(),
            observer: Arc::new(Silent),
            patience: None,
            guarded: false,
            distrusted: None,
            wrap: None,
        }
    }
}

impl Access {
    /// A credential by name.
    pub fn credential(&self, name: &str) -> Option<&str> {
        self.credentials.get(name).map(Secret::reveal)
    }
}
