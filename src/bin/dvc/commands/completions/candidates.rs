//! Computes the completions of an unfinished command line: commands, options and values.
//!
//! The input is [`Typed`], the result is [`Offer`], which the shell scripts display. A command's
//! own options precede the global options.

use super::candidate::Candidate;
use super::names::Names;
use super::typed::{Typed, is_long};
use crate::globals::GLOBAL_HEADING;
use crate::settings::keys::KEYS;
use crate::settings::value::SettingType;
use clap::{Arg, Command, ValueHint};
use std::fmt::Write;

/// The file names that the shell itself adds to the candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Files {
    #[default]
    Without,
    Any,
    Directories,
}

/// All completions of a line.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) words: Vec<Candidate>,
    pub(crate) files: Files,
}

impl Offer {
    /// Returns the text that the shell scripts parse. The first line holds `words`, `files` or
    /// `dirs`, a tab and the completed word. Each further line holds one candidate: `=`, or `+` if
    /// the word continues, then the word, a tab and the description.
    pub(crate) fn shown(&self, word: &str) -> String {
        let kind = match self.files {
            Files::Without => "words",
            Files::Any => "files",
            Files::Directories => "dirs",
        };
        let mut out = format!("{kind}\t{word}\n");
        for Candidate {
            text,
            about,
            goes_on,
        } in &self.words
        {
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "{}{text}\t{about}", if *goes_on { '+' } else { '=' });
        }
        out
    }
}

/// The kind of value that an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Text without completions.
    Text,
    Files,
    Directories,
    /// A version; for `log`, `diff` and `du` also a range.
    Revision,
    /// A version or a path in one.
    RevisionPath,
    Branch,
    /// A branch or tag.
    Ref,
    Remote,
    /// Remotes first, then branches and tags.
    RemoteOrRef,
    Volume,
    Trash,
    Overlay,
    Mount,
    /// `KEY=VALUE` of `-c`.
    Setting,
    Key,
    /// The value of the key that precedes it.
    ValueOfKey,
    Quiesce,
    VolumeOption,
    /// One of some words.
    Words(&'static [&'static str]),
}

/// Profiles of `commit --quiesce`. The user continues those that end with a colon.
const PROFILES: [(&str, &str); 7] = [
    (
        "docker:pause",
        "pause the containers that write to the source",
    ),
    (
        "docker:stop",
        "stop the containers that write to the source",
    ),
    ("exec:", "CONTAINER:CMD, run a command in a container"),
    (
        "mariadb:",
        "lock a MariaDB server; AT is a container, a socket or a URL",
    ),
    ("postgres:", "put a PostgreSQL server in backup mode"),
    ("fsfreeze:", "PATH, freeze a file system"),
    ("none", "do nothing, and do not warn"),
];

/// Options of `docker volume create -d dvc`.
const VOLUME_OPTIONS: [&str; 7] = [
    "repo=", "rev=", "mode=", "branch=", "cache=", "quota=", "live=",
];

/// Returns the kind of value that the argument `arg` of the command `verb` takes.
pub(crate) fn wanted(verb: &str, arg: &Arg) -> Wanted {
    let id = arg.get_id().as_str();
    match (verb, id) {
        (_, "set") => return Wanted::Setting,
        (_, "quiesce") => return Wanted::Quiesce,
        (_, "hydrate") => return Wanted::Words(&["open", "all"]),
        (_, "format") => return Wanted::Words(&["oneline", "medium", "full"]),
        ("forget", "branch") => return Wanted::Branch,
        ("forget", "policy") => return Wanted::Words(&["all"]),
        ("init", "chunker") => return Wanted::Words(&["auto", "cdc:", "fixed:"]),
        ("commit" | "import" | "pack" | "unpack" | "volume create", "branch") => {
            return Wanted::Branch;
        }
        ("commit", "push") | ("remote set" | "remote rm" | "remote check", "name") => {
            return Wanted::Remote;
        }
        ("remote add", "name") | ("init" | "checkout" | "clone", "branch") => return Wanted::Text,
        ("push", "names") => return Wanted::RemoteOrRef,
        ("branch" | "tag", "names") | ("undo", "name") => return Wanted::Ref,
        ("volume create", "name") | ("volume mv", "new") => return Wanted::Text,
        ("volume create", "option") => return Wanted::VolumeOption,
        ("trash restore", "id") | ("trash empty", "ids") => return Wanted::Trash,
        ("trash restore", "name") => return Wanted::Text,
        ("mount", "name" | "salvage") => return Wanted::Overlay,
        ("mount", "stats") => return Wanted::Mount,
        ("umount", "dirs") => return Wanted::Mount,
        (verb, "name" | "names") if verb.starts_with("volume ") => return Wanted::Volume,
        (verb, "key") if verb.starts_with("config") => return Wanted::Key,
        (verb, "value") if verb.starts_with("config") => return Wanted::ValueOfKey,
        _ => {}
    }
    let name = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map_or("", |name| name.as_str());
    match name {
        "REV" | "REV|VOLUME" => Wanted::Revision,
        "REV[:PATH]" => Wanted::RevisionPath,
        "REMOTE" | "REMOTE|REF" => Wanted::Remote,
        "VOLUME" => Wanted::Volume,
        "TIME" => Wanted::Words(&["now", "yesterday"]),
        "URL" | "FILE" | "FILE|-|URL" | "PATH" => Wanted::Files,
        "DIR" => Wanted::Directories,
        _ => match arg.get_value_hint() {
            ValueHint::DirPath => Wanted::Directories,
            ValueHint::AnyPath | ValueHint::FilePath => Wanted::Files,
            _ => Wanted::Text,
        },
    }
}

/// Returns all completions of a line.
pub(crate) fn offer(typed: &Typed<'_>, names: &Names<'_>) -> Offer {
    let word = typed.word.as_str();
    if let Some(arg) = typed.awaited {
        return values(typed, arg, word, names);
    }
    if word.starts_with('-') && !typed.after_dashes {
        if let Some((name, value)) = word
            .strip_prefix("--")
            .and_then(|long| long.split_once('='))
        {
            let Some(arg) = typed.command.get_arguments().find(|arg| is_long(arg, name)) else {
                return Offer::default();
            };
            let mut offer = values(typed, arg, value, names);
            for candidate in &mut offer.words {
                candidate.text = format!("--{name}={}", candidate.text);
            }
            return offer;
        }
        return options(typed, word);
    }
    let mut offer = commands(typed, word);
    if let Some(arg) = typed.positional() {
        let mut values = values(typed, arg, word, names);
        offer.words.append(&mut values.words);
        offer.files = values.files;
    }
    offer
}

fn commands(typed: &Typed<'_>, word: &str) -> Offer {
    let fits = |command: &&Command| {
        typed.positionals.is_empty()
            && !typed.after_dashes
            && !command.is_hide_set()
            && command.get_name().starts_with(word)
    };
    let words = typed.command.get_subcommands().filter(fits);
    let words = words
        .map(|command| Candidate::new(command.get_name(), about(command.get_about())))
        .collect();
    Offer {
        words,
        files: Files::Without,
    }
}

/// Returns the options that start with the word, the command's own options first.
fn options(typed: &Typed<'_>, word: &str) -> Offer {
    let is_global = |arg: &Arg| arg.get_help_heading() == Some(GLOBAL_HEADING);
    // Offer an option again only if it may be repeated.
    let is_wanted = |arg: &&Arg| {
        let repeats = matches!(
            arg.get_action(),
            clap::ArgAction::Append | clap::ArgAction::Count
        );
        !arg.is_hide_set() && !arg.is_positional() && (repeats || !typed.has(arg.get_id().as_str()))
    };
    let (mut own, mut global) = (Vec::new(), Vec::new());
    for arg in typed.command.get_arguments().filter(is_wanted) {
        let text = match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(letter)) => format!("-{letter}"),
            (None, None) => continue,
        };
        if !text.starts_with(word) {
            continue;
        }
        let candidate = Candidate::new(text.clone(), about(arg.get_help()));
        let list = if is_global(arg) {
            &mut global
        } else {
            &mut own
        };
        // The value of such an option is optional, so both forms are offered.
        if arg.is_require_equals_set() {
            list.push(
                Candidate {
                    text: format!("{text}="),
                    ..candidate.clone()
                }
                .going_on(),
            );
        }
        list.push(candidate);
    }
    own.append(&mut global);
    Offer {
        words: own,
        files: Files::Without,
    }
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn values(typed: &Typed<'_>, arg: &Arg, word: &str, names: &Names<'_>) -> Offer {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let words = shown.map(|value| Candidate::new(value.get_name(), about(value.get_help())));
        return fitting(words, word);
    }
    match wanted(&typed.verb(), arg) {
        Wanted::Text => Offer::default(),
        Wanted::Files => files(typed, names, word, Files::Any),
        Wanted::Directories => files(typed, names, word, Files::Directories),
        Wanted::Words(words) => fitting(words.iter().map(|text| whole_or_part(text, "")), word),
        Wanted::Quiesce => fitting(
            PROFILES
                .iter()
                .map(|(text, about)| whole_or_part(text, about)),
            word,
        ),
        Wanted::VolumeOption => fitting(
            VOLUME_OPTIONS.iter().map(|text| whole_or_part(text, "")),
            word,
        ),
        Wanted::Setting => match word.split_once('=') {
            Some((key, value)) => with_prefix(value_of(key, value), &format!("{key}=")),
            None => fitting(
                KEYS.iter()
                    // Every user can read the command line of a process, so secrets are not
                    // accepted there.
                    .filter(|k| !k.secret)
                    .map(|k| Candidate::new(format!("{}=", k.name), k.about).going_on()),
                word,
            ),
        },
        Wanted::Key => fitting(
            KEYS.iter().map(|key| Candidate::new(key.name, key.about)),
            word,
        ),
        Wanted::ValueOfKey => value_of(typed.positionals.first().map_or("", String::as_str), word),
        Wanted::Revision => fitting(names.revisions(word, is_range(typed), true), word),
        Wanted::RevisionPath => fitting(names.revisions(word, false, true), word),
        Wanted::Branch => fitting(names.branches(), word),
        Wanted::Ref => fitting(names.refs(), word),
        Wanted::Remote => fitting(names.remotes(), word),
        Wanted::RemoteOrRef if typed.positionals.is_empty() => {
            fitting(names.remotes().into_iter().chain(names.refs()), word)
        }
        Wanted::RemoteOrRef => fitting(names.refs(), word),
        Wanted::Volume => fitting(names.volumes(), word),
        Wanted::Trash => fitting(names.trash(), word),
        Wanted::Overlay => fitting(names.overlays(), word),
        Wanted::Mount => {
            let overlays = if typed.has("discard") {
                names.overlays()
            } else {
                Vec::new()
            };
            let mounts = names.mounts().into_iter().chain(overlays);
            Offer {
                files: Files::Directories,
                ..fitting(mounts, word)
            }
        }
    }
}

/// Returns whether ranges are offered for the command.
fn is_range(typed: &Typed<'_>) -> bool {
    matches!(typed.path.first(), Some(&("log" | "diff" | "du")))
}

/// Returns a candidate that continues if it ends with `:` or `=`.
fn whole_or_part(text: &str, about: &str) -> Candidate {
    Candidate {
        goes_on: text.ends_with([':', '=']),
        ..Candidate::new(text, about)
    }
}

fn fitting(words: impl IntoIterator<Item = Candidate>, word: &str) -> Offer {
    let words = words
        .into_iter()
        .filter(|candidate| candidate.text.starts_with(word))
        .collect();
    Offer {
        words,
        files: Files::Without,
    }
}

fn with_prefix(mut offer: Offer, prefix: &str) -> Offer {
    for candidate in &mut offer.words {
        candidate.text.insert_str(0, prefix);
    }
    offer
}

fn value_of(key: &str, word: &str) -> Offer {
    let Some(key) = KEYS.iter().find(|known| known.name == key) else {
        return Offer::default();
    };
    let words: &[&str] = match key.kind {
        SettingType::Bool => &["true", "false"],
        SettingType::Choice(words) => words,
        _ => return Offer::default(),
    };
    fitting(words.iter().map(|text| Candidate::new(*text, "")), word)
}

/// Leaves file names to the shell, except those relative to `-C`, because the shell only knows its
/// own directory.
fn files(typed: &Typed<'_>, names: &Names<'_>, word: &str, files: Files) -> Offer {
    let is_relative_to_option = !typed.globals.start_in.is_empty() && !word.starts_with(['/', '~']);
    if is_relative_to_option {
        Offer {
            words: names.files(word, files == Files::Directories),
            files: Files::Without,
        }
    } else {
        Offer {
            words: Vec::new(),
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::program;

    /// Names of values that have no completions.
    const FREE: &[&str] = &[
        "AUTHOR",
        "COMMAND",
        "FORMAT",
        "KEY=VALUE",
        "N",
        "NAME",
        "NAME[:TAG]",
        "NEW",
        "PATTERN",
        "PCT",
        "PERCENT",
        "RATE",
        "SIZE",
        "SPEC",
        "TEXT",
        "UID:GID",
        "URL",
    ];

    fn each(command: &Command, verb: &str, seen: &mut dyn FnMut(&str, &Arg)) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            seen(verb, arg);
        }
        for sub in command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            each(sub, format!("{verb} {}", sub.get_name()).trim(), seen);
        }
    }

    /// A new argument needs completions, or a value name that is known to have none.
    #[test]
    fn every_value_is_known() {
        let program = program();
        let mut unknown = Vec::new();
        each(&program, "", &mut |verb, arg| {
            let takes = arg.is_positional() || arg.get_action().takes_values();
            let name = arg
                .get_value_names()
                .and_then(|names| names.first())
                .map_or("", |name| name.as_str());
            let is_text = arg.get_possible_values().is_empty() && wanted(verb, arg) == Wanted::Text;
            if takes && is_text && !FREE.contains(&name) {
                unknown.push(format!("{verb} {} {name}", arg.get_id()));
            }
        });
        assert!(
            unknown.is_empty(),
            "add what completes them to `wanted`:\n{}",
            unknown.join("\n")
        );
    }

    fn offered(line: &str) -> Vec<String> {
        let program = program();
        let words = super::super::typed::words(line);
        let typed = Typed::new(&program, &words[1..]);
        offer(&typed, &Names::none())
            .words
            .into_iter()
            .map(|candidate| candidate.text)
            .collect()
    }

    #[test]
    fn words_that_need_no_repository() {
        assert_eq!(offered("dvc log --color "), ["auto", "always", "never"]);
        assert_eq!(offered("dvc log --color=al"), ["--color=always"]);
        assert_eq!(
            offered("dvc commit --quiesce docker:"),
            ["docker:pause", "docker:stop"]
        );
        assert_eq!(offered("dvc -c ui.c"), ["ui.color="]);
        assert_eq!(offered("dvc -c ui.color=n"), ["ui.color=never"]);
        assert_eq!(offered("dvc config set ui.pro"), ["ui.progress"]);
        assert_eq!(
            offered("dvc config set commit.one-file-system "),
            ["true", "false"]
        );
        assert_eq!(offered("dvc -C /x remote s"), ["set"]);
        assert!(offered("dvc ").starts_with(&["init".to_owned(), "clone".to_owned()]));
        assert_eq!(offered("dvc commit --pus"), ["--push=", "--push"]);
        assert!(offered("dvc tag x -- --").is_empty());
    }

    #[test]
    fn own_options_come_first_and_none_is_offered_twice() {
        let all = offered("dvc tag --");
        let at = |name: &str| all.iter().position(|text| text == name);
        assert!(
            at("--delete") < at("--json") && at("--force") < at("--color"),
            "{all:?}"
        );
        assert!(at("--json").is_some());
        assert!(!offered("dvc tag --json --").contains(&"--json".to_owned()));
        assert!(offered("dvc tag --verbose --").contains(&"--verbose".to_owned()));
    }
}
