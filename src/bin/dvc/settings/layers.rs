//! Reads the layers of settings, lowest first: every value that is found, and every problem.

use super::keys::Key;
use super::value::Value;
use super::{Origin, Problem, RemoteEntry, SourceFile, Sources, find_key};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// One value of one layer.
pub(super) struct Found {
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// What was read.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) found: Vec<Found>,
    pub(super) remotes: BTreeMap<String, RemoteEntry>,
    pub(super) problems: Vec<Problem>,
    pub(super) left_out: Vec<Problem>,
}

/// All values of all layers, a later one overrides an earlier one; and all problems.
pub(super) fn read(table: &'static [Key], sources: &Sources<'_>) -> Reading {
    let mut reading = Reading::default();
    for key in table {
        let derived = sources.defaults.iter().find(|(name, _)| *name == key.name).map(|(_, v)| v.as_str());
        if let Some(default) = derived.or(key.default) {
            reading.text(key, default, Origin::BuiltIn);
        }
    }
    for file in &sources.files {
        reading.file(table, file);
    }
    reading.secrets(table, sources);
    for key in table {
        let Some((name, value)) = key.env.and_then(|name| (sources.env)(name).map(|v| (name, v))) else { continue };
        match value.into_string() {
            Ok(text) => reading.text(key, &text, Origin::Environment(name)),
            Err(_) => reading.problem(Origin::Environment(name), "it is not UTF-8"),
        }
    }
    for text in sources.overrides {
        let Some((name, value)) = text.split_once('=') else {
            reading.problem(Origin::CommandLine, format!("`{text}` is not `key=value`"));
            continue;
        };
        match find_key(table, name.trim()) {
            Ok(key) if key.secret => {
                reading.problem(Origin::CommandLine, format!("`{}` is secret and never given here", key.name));
            }
            Ok(key) => reading.text(key, value, Origin::CommandLine),
            Err(text) => reading.problem(Origin::CommandLine, text),
        }
    }
    for (flag, name, value) in &sources.flags {
        match find_key(table, name) {
            Ok(key) => reading.text(key, value, Origin::Flag(flag)),
            Err(text) => reading.problem(Origin::Flag(flag), text),
        }
    }
    reading
}

impl Reading {
    fn problem(&mut self, origin: Origin, text: impl Into<String>) {
        self.problems.push(Problem::new(origin, text));
    }

    fn text(&mut self, key: &Key, text: &str, origin: Origin) {
        self.value(key, key.kind.parse(text), origin);
    }

    fn value(&mut self, key: &Key, value: Result<Value, String>, origin: Origin) {
        match value {
            Ok(value) => self.found.push(Found { key: key.name, value, origin }),
            Err(_) if key.secret => self.problem(origin, format!("the value of `{}` is not valid", key.name)),
            Err(text) => match origin {
                Origin::File(_) | Origin::CommandLine => self.problem(origin, format!("`{}`: {text}", key.name)),
                origin => self.problem(origin, text),
            },
        }
    }

    fn file(&mut self, table: &'static [Key], file: &SourceFile) {
        let origin = || Origin::File(file.path.clone());
        // A pipe of another user would make every command wait.
        if file.in_repository && file.path.metadata().is_ok_and(|m| !m.is_file()) {
            return self.problem(origin(), "it is not a file");
        }
        let text = match fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return,
            Err(e) if file.optional && e.kind() == io::ErrorKind::PermissionDenied => {
                return self.left_out.push(Problem::unreadable(origin(), &e));
            }
            Err(e) => return self.problems.push(Problem::unreadable(origin(), &e)),
        };
        let document: toml::Table = match text.parse() {
            Ok(document) => document,
            Err(e) => return self.problem(origin(), toml_problem(&text, &e)),
        };
        for (name, value) in flatten(&document) {
            if let Some(name) = name.strip_prefix("remote.") {
                if let Err(text) = self.remote(name, &value, file.in_repository) {
                    self.problem(origin(), format!("`remote.{name}`: {text}"));
                }
                continue;
            }
            match find_key(table, &name) {
                Ok(key) if file.in_repository && !key.in_repository => {
                    self.problem(origin(), format!("`{name}` cannot be set by a repository"));
                }
                Ok(key) => self.value(key, key.kind.read_toml(&value), origin()),
                Err(text) => self.problem(origin(), text),
            }
        }
    }

    /// `NAME.url` and `NAME.lazy` of a remote.
    fn remote(&mut self, name: &str, value: &toml::Value, by_repository: bool) -> Result<(), String> {
        let (name, option) = name.rsplit_once('.').ok_or("it is not `remote.NAME.url` or `remote.NAME.lazy`")?;
        let entry = self.remotes.entry(name.to_owned()).or_default();
        match (option, value) {
            ("url", toml::Value::String(url)) => {
                entry.url = Some(url.clone());
                entry.by_repository = by_repository;
            }
            ("lazy", toml::Value::Boolean(lazy)) => entry.lazy = *lazy,
            ("url", _) => return Err("it is not text".to_owned()),
            ("lazy", _) => return Err("it is neither true nor false".to_owned()),
            _ => return Err("a remote has `url` and `lazy`".to_owned()),
        }
        Ok(())
    }

    /// `NAME_FILE` names a file, else `/run/secrets/NAME` is one; for every setting that has a variable.
    fn secrets(&mut self, table: &'static [Key], sources: &Sources<'_>) {
        for key in table {
            let Some(name) = key.env else { continue };
            let named = (sources.env)(&format!("{name}_FILE")).map(Into::into);
            let path = named.clone().unwrap_or_else(|| sources.secrets.join(name));
            match fs::read_to_string(&path) {
                Ok(text) => self.text(key, one_line(&text), Origin::Secret(path)),
                Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.problem(Origin::Secret(path), format!("it cannot be read: {}", e.kind())),
            }
        }
    }
}

fn one_line(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// What is wrong with a TOML text, with its line.
pub(super) fn toml_problem(text: &str, e: &toml::de::Error) -> String {
    let what = e.message().lines().next().unwrap_or("it is not TOML");
    match e.span() {
        Some(span) => {
            let line = text.get(..span.start).map_or(0, |t| t.matches('\n').count()) + 1;
            format!("line {line}: {what}")
        }
        None => what.to_owned(),
    }
}

/// The values of a document by dotted name; tables are only sections.
pub(super) fn flatten(document: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut out = Vec::new();
    for (name, value) in document {
        match value {
            toml::Value::Table(inner) => {
                out.extend(flatten(inner).into_iter().map(|(n, v)| (format!("{name}.{n}"), v)));
            }
            value => out.push((name.clone(), value.clone())),
        }
    }
    out
}

/// Parses a configuration file's text for editing.
pub(super) fn document(text: &str, path: &Path) -> Result<toml::Table, Problem> {
    text.parse().map_err(|e| Problem::new(Origin::File(path.to_owned()), toml_problem(text, &e)))
}

#[cfg(test)]
mod tests {
    use super::super::value::Type;
    use super::super::{Settings, keys::KEYS};
    use super::*;
    use std::ffi::OsString;

    static WITH_SECRET: [Key; 1] = [Key {
        name: "core.password",
        kind: Type::Text,
        default: None,
        env: Some("DVC_PASSWORD"),
        in_repository: false,
        secret: true,
        about: "",
    }];

    fn sources<'a>(dir: &Path, env: &'a dyn Fn(&str) -> Option<OsString>, overrides: &'a [String]) -> Sources<'a> {
        let file = |name: &str, in_repository| SourceFile { path: dir.join(name), in_repository, optional: false };
        Sources {
            defaults: vec![("core.jobs", "2".to_owned())],
            files: vec![file("system", false), file("user", false), file("repository", true)],
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
        assert_eq!(jobs(&sources(dir.path(), &none, &[])), (Value::Number(2), Origin::BuiltIn));
        for (n, name) in [(3, "system"), (4, "user"), (5, "repository")] {
            fs::write(dir.path().join(name), format!("[core]\njobs = {n}\n")).unwrap();
            let origin = Origin::File(dir.path().join(name));
            assert_eq!(jobs(&sources(dir.path(), &none, &[])), (Value::Number(n), origin));
        }
        let env = |name: &str| (name == "DVC_JOBS").then(|| OsString::from("6"));
        assert_eq!(jobs(&sources(dir.path(), &env, &[])), (Value::Number(6), Origin::Environment("DVC_JOBS")));
        let set = ["core.jobs=7".to_owned()];
        let mut all = sources(dir.path(), &env, &set);
        assert_eq!(jobs(&all), (Value::Number(7), Origin::CommandLine));
        all.flags.push(("--jobs", "core.jobs", "8".to_owned()));
        assert_eq!(jobs(&all), (Value::Number(8), Origin::Flag("--jobs")));
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("system"), "[core]\njob = 3\nmemory = \"1K\"\n").unwrap();
        fs::write(dir.path().join("user"), "[core]\njobs = \n").unwrap();
        fs::write(dir.path().join("repository"), "[ui]\npager = 'rm'\ncolor = 'blue'\n").unwrap();
        let env = |name: &str| (name == "DVC_JOBS").then(|| OsString::from("many"));
        let set = ["nonsense".to_owned(), "usre.name=x".to_owned()];
        let Reading { problems, .. } = read(KEYS, &sources(dir.path(), &env, &set));
        let shown = problems.iter().map(|p| format!("{p}\n")).collect::<String>();
        insta::assert_snapshot!(shown.replace(&dir.path().display().to_string(), ""), @"
        /system: unknown setting `core.job`, did you mean `core.jobs`?
        /system: `core.memory`: 1024 bytes are too few, the least is 67108864
        /user: line 2: string values must be quoted, expected literal string
        /repository: `ui.color`: `blue` is none of auto, always, never
        /repository: `ui.pager` cannot be set by a repository
        DVC_JOBS: `many` is not a whole number from 1 on
        -c: `nonsense` is not `key=value`
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
        assert_eq!(load(&sources(dir.path(), &none, &[])).text("core.password"), Some("from run"));
        let env = |name: &str| (name == "DVC_PASSWORD_FILE").then(|| dir.path().join("named").into_os_string());
        assert_eq!(load(&sources(dir.path(), &env, &[])).text("core.password"), Some("named"));
        let set = ["core.password=oops".to_owned()];
        let Reading { problems, .. } = read(&WITH_SECRET, &sources(dir.path(), &none, &set));
        assert!(!problems[0].to_string().contains("oops"));
    }
}
