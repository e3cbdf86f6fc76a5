//! Layered settings: built-in < files < secret files < environment < `-c` < flags. Each value
//! records its origin.
//!
//! All problems are collected and reported together.

pub(crate) mod edit;
pub(crate) mod keys;
mod layers;
mod problem;
pub(crate) mod retention;
pub(crate) mod value;

use keys::SettingKey;
use layers::RemoteEntry;
pub(crate) use layers::{FlagValue, SourceFile, Sources};
pub(crate) use problem::{BadConfiguration, ConfigProblem, Origin};
use retention::RetentionEntry;
use std::collections::BTreeMap;
use value::SettingValue;

/// The effective settings.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (SettingValue, Origin)>,
    remotes: BTreeMap<String, RemoteEntry>,
    retention: BTreeMap<String, RetentionEntry>,
    left_out: Vec<ConfigProblem>,
}

impl Settings {
    /// Reads all layers.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, BadConfiguration> {
        Self::load_table(keys::KEYS, sources)
    }

    fn load_table(
        table: &'static [SettingKey],
        sources: &Sources<'_>,
    ) -> Result<Self, BadConfiguration> {
        let layers::LayerReader {
            found,
            remotes,
            retention,
            problems,
            left_out,
        } = layers::read(table, sources);
        if !problems.is_empty() {
            return Err(BadConfiguration(problems));
        }
        Ok(Self {
            remotes,
            retention,
            left_out,
            // The value of a later layer replaces that of an earlier one.
            values: found
                .into_iter()
                .map(|f| (f.key, (f.value, f.origin)))
                .collect(),
        })
    }

    /// Returns a text, an author, a choice or a path.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some((SettingValue::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// Returns a number, a duration in seconds, or a size in bytes.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some((SettingValue::Number(n), _)) => Some(*n),
            _ => None,
        }
    }

    /// Returns whether a switch is on; switches are off by default.
    pub(crate) fn on(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some((SettingValue::Bool(true), _)))
    }

    /// Returns a list, which is empty by default.
    pub(crate) fn list(&self, key: &str) -> &[String] {
        match self.values.get(key) {
            Some((SettingValue::List(items), _)) => items,
            _ => &[],
        }
    }

    /// Returns the problems of files in another user's home that cannot be read. Such files are
    /// ignored.
    pub(crate) fn left_out(&self) -> &[ConfigProblem] {
        &self.left_out
    }

    /// Returns the remotes, sorted by name.
    pub(crate) fn remotes(&self) -> impl Iterator<Item = (&str, &RemoteEntry)> {
        self.remotes
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// Returns the retention policies, sorted by name.
    pub(crate) fn retention(&self) -> impl Iterator<Item = (&str, &RetentionEntry)> {
        self.retention
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// Returns every effective value with its origin, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &SettingValue, &Origin)> {
        self.values
            .iter()
            .map(|(key, (value, origin))| (*key, value, origin))
    }
}
