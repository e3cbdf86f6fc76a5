//! `dvc completions`: shell completions and manual pages.
//!
//! The shell scripts are checked in below `completions/`. The scripts call `dvc completions
//! candidates` with the unfinished line, so that completions match the installed version and the
//! repository that `-C` and `--repo` select.

mod candidate;
mod candidates;
mod manual;
mod names;
mod typed;

use crate::failure::{CliError, CommandResult, Exit};
use crate::session::Session;
use candidates::offer;
use clap::{Args, Command, ValueEnum};
use names::Names;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use typed::Typed;

/// Options of `completions`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  source <(dvc completions bash)\n  \
                        dvc completions zsh > ~/.zfunc/_dvc\n  \
                        dvc completions man --dir ~/.local/share/man")]
pub(crate) struct CompletionsArgs {
    /// Generate these files
    pub(crate) what: GeneratedFile,
    /// Write files to DIR instead of standard output
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, required_if_eq_any = [("what", "all"), ("what", "man")])]
    pub(crate) dir: Option<PathBuf>,
    /// The line up to the cursor, as typed; for the shell scripts.
    #[arg(long, hide = true, value_name = "TEXT")]
    pub(crate) line: Option<String>,
    /// The words up to the cursor, without quotes; for the shell scripts.
    #[arg(last = true, hide = true)]
    pub(crate) words: Vec<OsString>,
}

/// The files that can be generated.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GeneratedFile {
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
    /// Manual pages, below DIR
    Man,
    /// Everything, below DIR
    All,
    /// Completions of a line, for the shell scripts
    #[value(hide = true)]
    Candidates,
}

/// Shell scripts and their file names.
const SCRIPTS: [(GeneratedFile, &str, &str); 3] = [
    (
        GeneratedFile::Bash,
        "dvc.bash",
        include_str!("../../../../completions/dvc.bash"),
    ),
    (
        GeneratedFile::Zsh,
        "_dvc",
        include_str!("../../../../completions/_dvc"),
    ),
    (
        GeneratedFile::Fish,
        "dvc.fish",
        include_str!("../../../../completions/dvc.fish"),
    ),
];

/// Runs `completions` for the command line that `program` describes.
pub(crate) fn run(
    session: &Session,
    args: &CompletionsArgs,
    mut program: Command,
) -> CommandResult {
    program.build();
    if args.what == GeneratedFile::Candidates {
        return candidates(session, args, &program);
    }
    let mut files = Vec::new();
    for (what, name, script) in SCRIPTS {
        if args.what == what || args.what == GeneratedFile::All {
            files.push((name.to_owned(), script.as_bytes().to_vec()));
        }
    }
    if matches!(args.what, GeneratedFile::Man | GeneratedFile::All) {
        let folder = if args.what == GeneratedFile::All {
            "man/"
        } else {
            ""
        };
        for (name, text) in manual::pages(&program)
            .map_err(|missing| CliError::option("man", missing.to_string()))?
        {
            files.push((format!("{folder}{name}"), text));
        }
    }
    match &args.dir {
        Some(dir) => files
            .iter()
            .try_for_each(|(name, text)| write(&dir.join(name), text))?,
        None => {
            let mut out = session.plain_out();
            files.iter().try_for_each(|(_, text)| out.write_all(text))?;
            out.finish()?;
        }
    }
    Ok(Exit::DONE)
}

/// Prints the completions of a line. Succeeds even if names cannot be read, because a shell cannot
/// show the reason.
fn candidates(session: &Session, args: &CompletionsArgs, program: &Command) -> CommandResult {
    let mut words = match &args.line {
        Some(line) => typed::words(line),
        None => args
            .words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    };
    // `git dvc log` means `dvc log`.
    let is_git = words
        .first()
        .is_some_and(|first| Path::new(first).ends_with("git"));
    words.drain(..words.len().min(if is_git { 2 } else { 1 }));
    let typed = Typed::new(program, &words);
    // Without a session, commands and options are still offered.
    let there = Session::new(
        &session.argv,
        names::globals(&typed),
        session.signals.clone(),
        true,
    )
    .ok();
    let offer = offer(&typed, &Names::new(there.as_ref()));
    let mut out = session.plain_out();
    out.write_all(offer.shown(&typed.word).as_bytes())?;
    out.finish()?;
    Ok(Exit::DONE)
}

fn write(path: &Path, text: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
