//! Parses an unfinished command line: its verb, the directory and the repository that it selects,
//! and the role of its last word.
//!
//! The input is the list of words, the last one unfinished; the result is [`Typed`]. This module
//! reads neither the disk nor the repository.

use crate::globals::Globals;
use clap::{Arg, Command};
use std::path::PathBuf;

/// An unfinished command line.
pub(crate) struct Typed<'c> {
    /// The command that the last word belongs to.
    pub(crate) command: &'c Command,
    /// The names of the command and its parents: `remote`, `add`.
    pub(crate) path: Vec<&'c str>,
    /// `-C`, `--repo` and `-c`; they select the repository and the settings.
    pub(crate) globals: Globals,
    /// Complete words that are neither options nor commands.
    pub(crate) positionals: Vec<String>,
    /// The option that takes the last word as its value, if one does.
    pub(crate) awaited: Option<&'c Arg>,
    /// Whether the line contains `--` before the last word.
    pub(crate) after_dashes: bool,
    /// Options before the last word.
    pub(crate) options: Vec<&'c Arg>,
    /// The last word, without quotes.
    pub(crate) word: String,
}

impl<'c> Typed<'c> {
    /// Parses the words after the program's name. The caller must have built `program`.
    pub(crate) fn new(program: &'c Command, words: &[String]) -> Self {
        let (word, before) = words
            .split_last()
            .map_or((String::new(), words), |(last, rest)| (last.clone(), rest));
        let mut typed = Self {
            command: program,
            path: Vec::new(),
            globals: Globals::default(),
            positionals: Vec::new(),
            awaited: None,
            after_dashes: false,
            options: Vec::new(),
            word,
        };
        for word in before {
            typed.push(word);
        }
        typed
    }

    /// Returns the command as one text: `remote add`.
    pub(crate) fn verb(&self) -> String {
        self.path.join(" ")
    }

    /// Returns whether the line contains an option before the last word.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.options.iter().any(|arg| arg.get_id() == id)
    }

    /// Returns the positional argument that takes the last word.
    pub(crate) fn positional(&self) -> Option<&'c Arg> {
        let mut arguments: Vec<&Arg> = self.command.get_positionals().collect();
        arguments.sort_by_key(|arg| arg.get_index());
        if self.after_dashes
            && let Some(last) = arguments.iter().find(|arg| arg.is_last_set())
        {
            return Some(last);
        }
        arguments.retain(|arg| !arg.is_last_set());
        let many = |arg: &&Arg| {
            arg.get_num_args()
                .is_some_and(|range| range.max_values() > 1)
        };
        arguments
            .get(self.positionals.len())
            .or_else(|| arguments.last().filter(|last| many(last)))
            .copied()
    }

    fn push(&mut self, word: &str) {
        if let Some(arg) = self.awaited.take() {
            return self.note(arg, word);
        }
        if self.after_dashes {
            return self.positionals.push(word.to_owned());
        }
        if word == "--" {
            self.after_dashes = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long
                .split_once('=')
                .map_or((long, None), |(name, value)| (name, Some(value)));
            let Some(arg) = self.command.get_arguments().find(|arg| is_long(arg, name)) else {
                return;
            };
            self.options.push(arg);
            match value {
                Some(value) => self.note(arg, value),
                None if takes_next(arg) => self.awaited = Some(arg),
                None => {}
            }
        } else if word.starts_with('-') && word != "-" {
            self.push_letters(&word[1..]);
        } else if self.positionals.is_empty()
            && let Some(command) = self.command.find_subcommand(word)
        {
            self.command = command;
            self.path.push(command.get_name());
        } else {
            self.positionals.push(word.to_owned());
        }
    }

    /// Parses a group of short options: `-vC DIR`, `-vCDIR`.
    fn push_letters(&mut self, letters: &str) {
        for (at, letter) in letters.char_indices() {
            let Some(arg) = self
                .command
                .get_arguments()
                .find(|arg| arg.get_short() == Some(letter))
            else {
                return;
            };
            self.options.push(arg);
            if takes_next(arg) {
                match &letters[at + letter.len_utf8()..] {
                    "" => self.awaited = Some(arg),
                    value => self.note(arg, value),
                }
                return;
            }
        }
    }

    /// Records a value that selects the repository or the settings.
    fn note(&mut self, arg: &Arg, value: &str) {
        match arg.get_id().as_str() {
            "start_in" => self.globals.start_in.push(at_home(value)),
            "repo" => self.globals.repo = Some(at_home(value)),
            "set" => self.globals.set.push(value.to_owned()),
            _ => {}
        }
    }
}

/// Expands `~/`, because the shell has not expanded the unfinished line.
fn at_home(value: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    match value.strip_prefix("~/") {
        Some(rest) => home().map_or_else(|| PathBuf::from(value), |home| home.join(rest)),
        None if value == "~" => home().unwrap_or_else(|| PathBuf::from(value)),
        None => PathBuf::from(value),
    }
}

pub(crate) fn is_long(arg: &Arg, name: &str) -> bool {
    arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
}

/// Returns whether the next word is the value of the option.
fn takes_next(arg: &Arg) -> bool {
    let is_optional = arg
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0);
    arg.get_action().takes_values() && !arg.is_require_equals_set() && !is_optional
}

/// Splits a line into words as a POSIX shell does, without expansion. The last word may be
/// unfinished, and is empty after whitespace. Returns the words of the last command in the line.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_open) = (String::new(), false);
    let mut chars = line.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            // Between single quotes, a backslash is an ordinary character.
            (Some('"') | None, '\\') => {
                is_open = true;
                word.extend(chars.next());
            }
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                is_open = true;
            }
            (None, c) if c.is_whitespace() => {
                if is_open {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            // A new command begins here.
            (None, ';' | '|' | '&') => {
                words.clear();
                word.clear();
                is_open = false;
            }
            (None, c) => {
                word.push(c);
                is_open = true;
            }
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::program;

    #[test]
    fn a_line_is_split_as_a_shell_does() {
        for (line, expected) in [
            ("dvc", &["dvc"][..]),
            ("dvc ", &["dvc", ""]),
            ("dvc  log  main:a", &["dvc", "log", "main:a"]),
            ("cd x && FOO=1 dvc log ", &["FOO=1", "dvc", "log", ""]),
            (
                "dvc -C 'a b' show \"main:c d",
                &["dvc", "-C", "a b", "show", "main:c d"],
            ),
            ("dvc show main:a\\ b", &["dvc", "show", "main:a b"]),
            ("dvc commit -m '' ", &["dvc", "commit", "-m", "", ""]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn the_last_word_is_recognised() {
        let program = program();
        let of = |line: &str| {
            let words = words(line);
            let typed = Typed::new(&program, &words[1..]);
            let id = typed
                .awaited
                .or_else(|| typed.positional())
                .map(|arg| arg.get_id().to_string());
            (
                typed.verb(),
                id.unwrap_or_default(),
                typed.globals.start_in.len(),
            )
        };
        for (line, verb, id, dirs) in [
            ("dvc -C a -C b log ", "log", "revs", 2),
            ("dvc -vC ", "", "start_in", 0),
            ("dvc -vCa log --color ", "log", "color", 1),
            ("dvc log --color=x ", "log", "revs", 0),
            ("dvc remote set ", "remote set", "name", 0),
            ("dvc remote set nas ", "remote set", "url", 0),
            ("dvc checkout main -- a ", "checkout", "paths", 0),
            ("dvc config set ui.color ", "config set", "value", 0),
            ("dvc commit --push ", "commit", "args", 0),
        ] {
            assert_eq!(of(line), (verb.to_owned(), id.to_owned(), dirs), "{line}");
        }
    }
}
