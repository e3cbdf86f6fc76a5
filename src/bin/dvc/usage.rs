//! Reports command lines that cannot be parsed: the error, a hint, and the usage line.

use crate::args::Cli;
use crate::failure::{ErrorFormat, Failed, report};
use crate::foreign;
use crate::signals::Signals;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use dvc::error::Kind;
use dvc::model::suggest::nearest;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// The error message and the hint for an invalid command line.
#[derive(Debug, PartialEq, Eq)]
struct UsageAnswer {
    message: String,
    hint: Option<String>,
}

/// Reports the error in the arguments, or prints the requested help.
pub(crate) fn report_usage(e: &clap::Error, argv: &[OsString], format: &ErrorFormat) -> ExitCode {
    let styled = e.render();
    let shown = |colour: bool| {
        if colour {
            styled.ansi().to_string()
        } else {
            styled.to_string()
        }
    };
    if !e.use_stderr() {
        let text = shown(format.colours(&io::stdout()));
        return match io::stdout()
            .lock()
            .write_all(text.as_bytes())
            .and_then(|()| io::stdout().flush())
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => report(&Failed::Output(e), format, &Signals::default()),
        };
    }
    let kind = Kind::Usage;
    let is_help = e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if is_help && !format.json {
        // An error while an error is printed cannot be reported.
        let _ = io::stderr().write_all(shown(format.colours(&io::stderr())).as_bytes());
    } else {
        let UsageAnswer { message, hint } = answer(e, &TypedLine::of(argv));
        let usage = e.get(ContextKind::Usage).map(ToString::to_string);
        format.print(kind.exit_code(), kind.name(), &message, Vec::new(), hint);
        if let Some(usage) = usage.filter(|_| !format.json) {
            let _ = writeln!(
                io::stderr(),
                "usage: {}",
                usage.trim_start_matches("Usage: ").trim()
            );
        }
    }
    ExitCode::from(kind.exit_code())
}

/// A command line, split at the last command that is known.
struct TypedLine {
    /// The commands: `remote`, `add`.
    path: Vec<String>,
    /// The words after the last known command.
    rest: Vec<String>,
    /// Whether the last command takes paths after `--`.
    has_last: bool,
}

impl TypedLine {
    fn of(argv: &[OsString]) -> Self {
        let words: Vec<String> = argv
            .iter()
            .skip(1)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        // `build` passes the global options on to the subcommands.
        let mut command = Cli::command();
        command.build();
        let (mut command, mut path, mut at) = (&command, Vec::new(), 0);
        let mut next = 0;
        while let Some(word) = words.get(next) {
            next += 1;
            if word == "--" {
                break;
            }
            if word.starts_with('-') && word != "-" {
                next += usize::from(takes_next(command, word));
                continue;
            }
            match command.find_subcommand(word) {
                Some(found) => {
                    command = found;
                    path.push(found.get_name().to_owned());
                    at = next;
                }
                None => break,
            }
        }
        let has_last = command.get_positionals().any(clap::Arg::is_last_set);
        Self {
            path,
            rest: words.get(at..).unwrap_or_default().to_vec(),
            has_last,
        }
    }

    /// Returns the command with its parents: `dvc remote add`.
    fn program(&self) -> String {
        ["dvc"]
            .into_iter()
            .chain(self.path.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns the words after `word`.
    fn after(&self, word: &str) -> &[String] {
        let at = self.rest.iter().position(|other| other == word);
        at.and_then(|at| self.rest.get(at + 1..))
            .unwrap_or_default()
    }
}

/// Returns whether the next word is the value of the option `word`.
fn takes_next(command: &clap::Command, word: &str) -> bool {
    let takes = |arg: &clap::Arg| {
        let optional = arg
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        arg.get_action().takes_values() && !optional
    };
    if let Some(long) = word.strip_prefix("--") {
        return !long.contains('=')
            && command
                .get_arguments()
                .any(|arg| arg.get_long() == Some(long) && takes(arg));
    }
    let mut letters = word.chars().skip(1).peekable();
    while let Some(letter) = letters.next() {
        if command
            .get_arguments()
            .any(|arg| arg.get_short() == Some(letter) && takes(arg))
        {
            // The rest of the word is the value, unless the letter is the last one.
            return letters.peek().is_none();
        }
    }
    false
}

fn answer(e: &clap::Error, typed: &TypedLine) -> UsageAnswer {
    let program = typed.program();
    let text = |kind| e.get(kind).map(context_text).unwrap_or_default();
    let near = |kind, word: &str| {
        e.get(kind)
            .and_then(|value| nearest_of(value, word))
            .map(|near| format!("did you mean `{near}`?"))
    };
    let help = || Some(format!("run `{program} --help` to list the arguments"));
    let (arg, value) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    );
    match e.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand);
            let hint = foreign::hint(&typed.path, &word, typed.after(&word)).map(str::to_owned);
            let hint = hint.or_else(|| near(ContextKind::SuggestedSubcommand, &word));
            let hint =
                hint.or_else(|| Some(format!("run `{program} --help` to list the commands")));
            UsageAnswer {
                message: format!("`{program}` has no command `{word}`"),
                hint,
            }
        }
        ErrorKind::UnknownArgument if arg.starts_with('-') => {
            let hint = foreign::hint(&typed.path, &arg, &[]).map(str::to_owned);
            let hint = hint
                .or_else(|| near(ContextKind::SuggestedArg, &arg))
                .or_else(help);
            UsageAnswer {
                message: format!("`{program}` has no option `{arg}`"),
                hint,
            }
        }
        ErrorKind::UnknownArgument => {
            let paths = typed
                .has_last
                .then(|| format!("write paths after `--`: `{program} .. -- {arg}`"));
            UsageAnswer {
                message: format!("unexpected argument `{arg}` for `{program}`"),
                hint: paths.or_else(help),
            }
        }
        ErrorKind::MissingRequiredArgument => UsageAnswer {
            message: format!("`{program}` needs {arg}"),
            hint: help(),
        },
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            UsageAnswer {
                message: format!("`{program}` needs a command"),
                hint: help(),
            }
        }
        ErrorKind::InvalidValue => {
            let known = e
                .get(ContextKind::ValidValue)
                .map(context_text)
                .filter(|known| !known.is_empty());
            let message = match (value.is_empty(), &known) {
                (true, _) => format!("`{arg}` needs a value"),
                (false, _) => format!("invalid value `{value}` for `{arg}`"),
            };
            let hint = near(ContextKind::SuggestedValue, &value)
                .or_else(|| known.map(|known| format!("write one of {known}")));
            UsageAnswer {
                message,
                hint: hint.or_else(help),
            }
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(e).map(|why| match why.to_string().as_str() {
                // The message of Rust's `ParseIntError` means little to users.
                "invalid digit found in string" => "not a number".to_owned(),
                other => other.to_owned(),
            });
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            UsageAnswer {
                message: format!("invalid value `{value}` for `{arg}`{why}"),
                hint: help(),
            }
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg);
            let message = match (other.is_empty(), other == arg) {
                (true, _) => format!("`{arg}` cannot be used with the other arguments"),
                (_, true) => format!("`{arg}` is given more than once"),
                _ => format!("`{arg}` and `{other}` cannot be used together"),
            };
            UsageAnswer {
                message,
                hint: Some(format!(
                    "omit one of them; `{program} --help` describes both"
                )),
            }
        }
        ErrorKind::NoEquals => UsageAnswer {
            message: format!("`{arg}` needs its value after `=`"),
            hint: help(),
        },
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            UsageAnswer {
                message: format!("`{arg}` has the wrong number of values"),
                hint: help(),
            }
        }
        _ => {
            let all = e.render().to_string();
            let first = all
                .split("\n\n")
                .next()
                .unwrap_or("wrong usage")
                .trim_start_matches("error: ")
                .trim();
            UsageAnswer {
                message: first.to_owned(),
                hint: help(),
            }
        }
    }
}

/// Returns a value of clap's error context as text: `--json`, or `<URL>, <DIR>`.
fn context_text(value: &ContextValue) -> String {
    match value {
        ContextValue::String(one) => one.clone(),
        ContextValue::Strings(many) => many.join(", "),
        other => other.to_string(),
    }
}

/// Returns the suggestion most similar to `word`; if none is similar, the last one, which clap
/// considers the best.
fn nearest_of<'a>(value: &'a ContextValue, word: &str) -> Option<&'a str> {
    match value {
        ContextValue::String(one) => Some(one),
        ContextValue::Strings(many) => nearest(word, many.iter().map(String::as_str))
            .or_else(|| many.last().map(String::as_str)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn of(line: &str) -> (String, String) {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let e = Cli::try_parse_from(&argv).unwrap_err();
        let UsageAnswer { message, hint } = answer(&e, &TypedLine::of(&argv));
        (message, hint.unwrap_or_default())
    }

    #[test]
    fn each_error_has_a_hint() {
        for (line, message, hint) in [
            (
                "dvc -C x stats",
                "`dvc` has no command `stats`",
                "run `dvc du`",
            ),
            (
                "dvc comit",
                "`dvc` has no command `comit`",
                "did you mean `commit`?",
            ),
            (
                "dvc volume lst",
                "`dvc volume` has no command `lst`",
                "did you mean `ls`?",
            ),
            (
                "dvc commit --jsno",
                "`dvc commit` has no option `--jsno`",
                "did you mean `--json`?",
            ),
            (
                "dvc checkout main a b",
                "unexpected argument `a` for `dvc checkout`",
                "write paths after `--`: `dvc checkout .. -- a`",
            ),
            (
                "dvc clone",
                "`dvc clone` needs <URL>",
                "run `dvc clone --help` to list the arguments",
            ),
            (
                "dvc log -n x",
                "invalid value `x` for `--max-count <N>`: not a number",
                "run `dvc log --help` to list the arguments",
            ),
            (
                "dvc log -n",
                "`--max-count <N>` needs a value",
                "run `dvc log --help` to list the arguments",
            ),
            (
                "dvc log --color purple",
                "invalid value `purple` for `--color <WHEN>`",
                "write one of auto, always, never",
            ),
            (
                "dvc -c a=b log --graph --reverse",
                "`--graph` and `--reverse` cannot be used together",
                "omit one of them; `dvc log --help` describes both",
            ),
        ] {
            assert_eq!(of(line), (message.to_owned(), hint.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_commands_are_found_among_options() {
        let typed =
            |line: &str| TypedLine::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(
            typed("dvc -C log -vc a=b remote --repo x add n u").path,
            ["remote", "add"]
        );
        assert_eq!(
            typed("dvc --repo=log snapshot create x").rest,
            ["--repo=log", "snapshot", "create", "x"]
        );
    }
}
