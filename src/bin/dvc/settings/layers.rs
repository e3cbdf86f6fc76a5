//! Reads the layers of settings, the lowest first, and collects every value and every problem.

use super::keys::{SettingKey, find_key};
use super::problem::{ConfigProblem, Origin};
use super::retention::{RetentionEntry, RetentionKey};
use super::value::SettingValue;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use toml_edit::{Document, TableLike};

/// A configuration file, which may be missing.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// Whether the file is in a repository, and so may not set everything.
    pub(crate) in_repository: bool,
    /// Whether the file is in a home that may be another user's. Such a file is ignored if it
    /// cannot be read.
    pub(crate) optional: bool,
}

/// The sources of settings, the lowest first.
pub(crate) struct Sources<'a> {
    /// Defaults that depend on the machine, by the name of the setting.
    pub(crate) defaults: Vec<(&'static str, String)>,
    /// The files, the lowest first.
    pub(crate) files: Vec<SourceFile>,
    /// The directory of secret files, `/run/secrets` except in tests.
    pub(crate) secrets: PathBuf,
    /// Returns the value of an environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The values of `-c`.
    pub(crate) overrides: &'a [String],
    /// The flags that override settings.
    pub(crate) flags: Vec<FlagValue>,
}

/// A flag that overrides a setting.
pub(crate) struct FlagValue {
    pub(crate) flag: &'static str,
    /// The name of the setting.
    pub(crate) key: &'static str,
    pub(crate) value: String,
}

/// The settings of one remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteEntry {
    /// The URL.
    pub(crate) url: Option<String>,
    /// Whether the URL comes from the repository's own configuration.
    pub(crate) by_repository: bool,
    /// Whether missing objects are fetched from the remote when they are read.
    pub(crate) lazy: bool,
}

/// A value of one layer.
pub(super) struct FoundValue {
    pub(super) key: &'static str,
    pub(super) value: SettingValue,
    pub(super) origin: Origin,
}

/// The result of reading the layers.
#[derive(Default)]
pub(super) struct LayerReader {
    pub(super) found: Vec<FoundValue>,
    pub(super) remotes: BTreeMap<String, RemoteEntry>,
    pub(super) retention: BTreeMap<String, RetentionEntry>,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) left_out: Vec<ConfigProblem>,
}

/// Reads all values of all layers, where a later value overrides an earlier one, and all problems.
pub(super) fn read(table: &'static [SettingKey], sources: &Sources<'_>) -> LayerReader {
    let mut reading = LayerReader::default();
    for key in table {
        let derived = sources
            .defaults
            .iter()
            .find(|(name, _)| *name == key.name)
            .map(|(_, v)| v.as_str());
        if let Some(default) = derived.or(key.default) {
            reading.text(key, default, Origin::BuiltIn);
        }
    }
    for file in &sources.files {
        reading.file(table, file);
    }
    reading.secrets(table, sources);
    for key in table {
        let Some((name, value)) = key
            .env
            .and_then(|name| (sources.env)(name).map(|v| (name, v)))
        else {
            continue;
        };
        match value.into_string() {
            Ok(text) => reading.text(key, &text, Origin::Environment(name)),
            Err(_) => reading.problem(Origin::Environment(name), "the value is not UTF-8"),
        }
    }
    for text in sources.overrides {
        let Some((name, value)) = text.split_once('=') else {
            reading.problem(
                Origin::CommandLine,
                format!("invalid argument `{text}`: expected `key=value`"),
            );
            continue;
        };
        if let Some(key) = RetentionKey::parse(name.trim()) {
            reading.retention(key, |key| key.parse_value(value), Origin::CommandLine);
            continue;
        }
        match find_key(table, name.trim()) {
            // Every user of the machine can read the command line of a process.
            Ok(key) if key.secret => {
                reading.problem(
                    Origin::CommandLine,
                    format!(
                        "`{}` is secret and cannot be set on the command line",
                        key.name
                    ),
                );
            }
            Ok(key) => reading.text(key, value, Origin::CommandLine),
            Err(text) => reading.problem(Origin::CommandLine, text),
        }
    }
    for FlagValue { flag, key, value } in &sources.flags {
        match find_key(table, key) {
            Ok(key) => reading.text(key, value, Origin::Flag(flag)),
            Err(text) => reading.problem(Origin::Flag(flag), text),
        }
    }
    reading
}

impl LayerReader {
    fn problem(&mut self, origin: Origin, text: impl Into<String>) {
        self.problems.push(ConfigProblem::new(origin, text));
    }

    fn text(&mut self, key: &SettingKey, text: &str, origin: Origin) {
        self.value(key, key.kind.parse(text), origin);
    }

    fn value(&mut self, key: &SettingKey, value: Result<SettingValue, String>, origin: Origin) {
        match value {
            Ok(value) => self.found.push(FoundValue {
                key: key.name,
                value,
                origin,
            }),
            // The text of the error may contain the value.
            Err(_) if key.secret => {
                self.problem(origin, format!("invalid value of `{}`", key.name))
            }
            Err(text) => match origin {
                Origin::File(_) | Origin::CommandLine => {
                    self.problem(origin, format!("`{}`: {text}", key.name))
                }
                origin => self.problem(origin, text),
            },
        }
    }

    fn file(&mut self, table: &'static [SettingKey], file: &SourceFile) {
        let origin = || Origin::File(file.path.clone());
        // A pipe that another user made in place of the file would block every command.
        if file.in_repository && file.path.metadata().is_ok_and(|m| !m.is_file()) {
            return self.problem(origin(), "not a regular file");
        }
        let text = match fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return;
            }
            Err(e) if file.optional && e.kind() == io::ErrorKind::PermissionDenied => {
                return self.left_out.push(ConfigProblem::unreadable(origin(), &e));
            }
            Err(e) => return self.problems.push(ConfigProblem::unreadable(origin(), &e)),
        };
        let document = match Document::parse(text.as_str()) {
            Ok(document) => document,
            Err(e) => return self.problem(origin(), toml_problem(&text, e.message(), e.span())),
        };
        for (name, value) in flatten(document.as_table()) {
            if let Some(name) = name.strip_prefix("remote.") {
                if let Err(text) = self.remote(name, &value, file.in_repository) {
                    self.problem(origin(), format!("`remote.{name}`: {text}"));
                }
                continue;
            }
            if let Some(key) = RetentionKey::parse(&name) {
                self.retention(key, |key| key.read_toml(&value), origin());
                continue;
            }
            match find_key(table, &name) {
                // A repository may come from a stranger, so it must not set programs, places or
                // trust.
                Ok(key) if file.in_repository && !key.in_repository => {
                    self.problem(origin(), format!("`{name}` cannot be set by a repository"));
                }
                Ok(key) => self.value(key, key.kind.read_toml(&value), origin()),
                Err(text) => self.problem(origin(), text),
            }
        }
    }

    fn retention(
        &mut self,
        key: Result<RetentionKey<'_>, String>,
        read: impl Fn(&RetentionKey<'_>) -> Result<SettingValue, String>,
        origin: Origin,
    ) {
        match key.and_then(|key| Ok((read(&key).map_err(|text| format!("`{key}`: {text}"))?, key)))
        {
            Ok((value, key)) => self
                .retention
                .entry(key.policy.to_owned())
                .or_default()
                .set(key.option, value, origin),
            Err(text) => self.problem(origin, text),
        }
    }

    /// Reads `NAME.url` or `NAME.lazy` of a remote.
    fn remote(
        &mut self,
        name: &str,
        value: &toml_edit::Value,
        by_repository: bool,
    ) -> Result<(), String> {
        let (name, option) = name
            .rsplit_once('.')
            .ok_or("expected `remote.NAME.url` or `remote.NAME.lazy`")?;
        let entry = self.remotes.entry(name.to_owned()).or_default();
        match (option, value) {
            ("url", toml_edit::Value::String(url)) => {
                entry.url = Some(url.value().clone());
                entry.by_repository = by_repository;
            }
            ("lazy", toml_edit::Value::Boolean(lazy)) => entry.lazy = *lazy.value(),
            ("url", _) => return Err("the value is not a string".to_owned()),
            ("lazy", _) => return Err("the value is not a boolean".to_owned()),
            _ => return Err("unknown setting: expected `url` or `lazy`".to_owned()),
        }
        Ok(())
    }

    /// Reads settings from the file that `NAME_FILE` names, or else from `/run/secrets/NAME`.
    fn secrets(&mut self, table: &'static [SettingKey], sources: &Sources<'_>) {
        for key in table {
            let Some(name) = key.env else { continue };
            let named = (sources.env)(&format!("{name}_FILE")).map(Into::into);
            let path = named.clone().unwrap_or_else(|| sources.secrets.join(name));
            match fs::read_to_string(&path) {
                Ok(text) => self.text(key, one_line(&text), Origin::Secret(path)),
                // A file that a variable names must exist; one below /run/secrets is optional.
                Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.problem(
                    Origin::Secret(path),
                    format!("cannot read the file: {}", e.kind()),
                ),
            }
        }
    }
}

fn one_line(text: &str) -> &str {
    // `echo` and editors append a line break, which is not part of the value.
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Returns the problem of a TOML text, with its line number.
pub(super) fn toml_problem(text: &str, message: &str, span: Option<Range<usize>>) -> String {
    let what = message.lines().next().unwrap_or("not TOML");
    match span {
        Some(span) => {
            let line = text
                .get(..span.start)
                .map_or(0, |t| t.matches('\n').count())
                + 1;
            format!("line {line}: {what}")
        }
        None => what.to_owned(),
    }
}

/// Returns the values of a document by dotted name, sorted, with all tables flattened.
fn flatten(table: &dyn TableLike) -> Vec<(String, toml_edit::Value)> {
    let mut out = Vec::new();
    for (name, item) in table.iter().collect::<BTreeMap<_, _>>() {
        match item.as_table_like() {
            Some(inner) => out.extend(
                flatten(inner)
                    .into_iter()
                    .map(|(n, v)| (format!("{name}.{n}"), v)),
            ),
            None => out.extend(
                item.clone()
                    .into_value()
                    .ok()
                    .map(|value| (name.to_owned(), value)),
            ),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::value::SettingType;
    use super::super::{Settings, keys::KEYS};
    use super::*;
    use std::ffi::OsString;
    use std::path::Path;

    static WITH_SECRET: [SettingKey; 1] = [SettingKey {
        name: "core.password",
        kind: SettingType::Text,
        default: None,
        env: Some("DVC_PASSWORD"),
        in_repository: false,
        secret: true,
        about: "",
    }];

    fn sources<'a>(
        dir: &Path,
        env: &'a dyn Fn(&str) -> Option<OsString>,
        overrides: &'a [String],
    ) -> Sources<'a> {
        let file = |name: &str, in_repository| SourceFile {
            path: dir.join(name),
            in_repository,
            optional: false,
        };
        Sources {
            defaults: vec![("core.jobs", "2".to_owned())],
            files: vec![
                file("system", false),
                file("user", false),
                file("repository", true),
            ],
            secrets: dir.join("secrets"),
            env,
            overrides,
            flags: Vec::new(),
        }
    }

    #[test]
    fn each_layer_overrides_the_one_below() {
        let dir = tempfile::tempdir().unwrap();
        let none = |_: &str| None;
        let jobs = |s: &Sources<'_>| Settings::load(s).unwrap().values["core.jobs"].clone();
        assert_eq!(
            jobs(&sources(dir.path(), &none, &[])),
            (SettingValue::Number(2), Origin::BuiltIn)
        );
        for (n, name) in [(3, "system"), (4, "user"), (5, "repository")] {
            fs::write(dir.path().join(name), format!("[core]\njobs = {n}\n")).unwrap();
            let origin = Origin::File(dir.path().join(name));
            assert_eq!(
                jobs(&sources(dir.path(), &none, &[])),
                (SettingValue::Number(n), origin)
            );
        }
        let env = |name: &str| (name == "DVC_JOBS").then(|| OsString::from("6"));
        assert_eq!(
            jobs(&sources(dir.path(), &env, &[])),
            (SettingValue::Number(6), Origin::Environment("DVC_JOBS"))
        );
        let set = ["core.jobs=7".to_owned()];
        let mut all = sources(dir.path(), &env, &set);
        assert_eq!(jobs(&all), (SettingValue::Number(7), Origin::CommandLine));
        all.flags.push(FlagValue {
            flag: "--jobs",
            key: "core.jobs",
            value: "8".to_owned(),
        });
        assert_eq!(
            jobs(&all),
            (SettingValue::Number(8), Origin::Flag("--jobs"))
        );
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("system"),
            "[core]\njob = 3\nmemory = \"1K\"\n",
        )
        .unwrap();
        fs::write(dir.path().join("user"), "[core]\njobs = \n").unwrap();
        fs::write(
            dir.path().join("repository"),
            "[ui]\npager = 'rm'\ncolor = 'blue'\n",
        )
        .unwrap();
        let env = |name: &str| (name == "DVC_JOBS").then(|| OsString::from("many"));
        let set = ["nonsense".to_owned(), "usre.name=x".to_owned()];
        let LayerReader { problems, .. } = read(KEYS, &sources(dir.path(), &env, &set));
        let shown = problems
            .iter()
            .map(|p| format!("{p}\n"))
            .collect::<String>();
        insta::assert_snapshot!(shown.replace(&dir.path().display().to_string(), ""), @"
        /system: unknown setting `core.job`, did you mean `core.jobs`?
        /system: `core.memory`: 1024 bytes are less than the minimum of 67108864
        /user: line 2: string values must be quoted, expected literal string
        /repository: `ui.color`: invalid value `blue`: expected one of auto, always, never
        /repository: `ui.pager` cannot be set by a repository
        DVC_JOBS: invalid number `many`: expected a whole number of at least 1
        -c: invalid argument `nonsense`: expected `key=value`
        -c: unknown setting `usre.name`, did you mean `user.name`?
        ");
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        fs::write(dir.path().join("secrets/DVC_PASSWORD"), "from run\n").unwrap();
        fs::write(dir.path().join("named"), "named\r\n").unwrap();
        let load = |s: &Sources<'_>| Settings::load_table(&WITH_SECRET, s).unwrap();
        let none = |_: &str| None;
        assert_eq!(
            load(&sources(dir.path(), &none, &[])).text("core.password"),
            Some("from run")
        );
        let env = |name: &str| {
            (name == "DVC_PASSWORD_FILE").then(|| dir.path().join("named").into_os_string())
        };
        assert_eq!(
            load(&sources(dir.path(), &env, &[])).text("core.password"),
            Some("named")
        );
        let set = ["core.password=oops".to_owned()];
        let LayerReader { problems, .. } = read(&WITH_SECRET, &sources(dir.path(), &none, &set));
        assert!(!problems[0].to_string().contains("oops"));
    }
}
