//! `dvc completions`: completions for shells, and the manual pages, all made from the command line's own description.

use crate::args::Cli;
use crate::failure::{CliError, Exit, Outcome};
use crate::session::Session;
use clap::{Args, CommandFactory, ValueEnum};
use dvc::model::refname::RefKind;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// What to print
    pub(crate) what: What,
    /// Write files to DIR instead of standard output
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, required_if_eq_any = [("what", "all"), ("what", "man")])]
    pub(crate) dir: Option<PathBuf>,
}

/// What can be generated.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
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
    /// The names of remotes, branches and tags here
    Names,
}

/// Runs `completions`.
pub(crate) fn run(session: &Session, args: &CompletionsArgs) -> Outcome {
    if args.what == What::Names {
        return names(session);
    }
    let mut files = Vec::new();
    for (what, shell, name) in [
        (What::Bash, clap_complete::Shell::Bash, "dvc.bash"),
        (What::Zsh, clap_complete::Shell::Zsh, "_dvc"),
        (What::Fish, clap_complete::Shell::Fish, "dvc.fish"),
    ] {
        if args.what == what || args.what == What::All {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "dvc", &mut text);
            files.push((name.to_owned(), with_names(what, text)));
        }
    }
    if matches!(args.what, What::Man | What::All) {
        let folder = if args.what == What::All { "man/" } else { "" };
        for (name, text) in manual()? {
            files.push((format!("{folder}{name}"), text));
        }
    }
    match &args.dir {
        Some(dir) => files.iter().try_for_each(|(name, text)| write(&dir.join(name), text))?,
        None => {
            let mut out = session.plain_out();
            files.iter().try_for_each(|(_, text)| out.write_all(text))?;
            out.finish()?;
        }
    }
    Ok(Exit::DONE)
}

/// How arguments begin in the completions of zsh that are names of remotes, branches, tags or versions.
const NAMES: [&str; 10] = [
    "'::rev ",
    "'*::revs ",
    "'*::remotes ",
    "'::remote ",
    "'::range ",
    "'*::names -- The new ",
    "'*::names -- Remotes ",
    "'::name -- The branch or tag",
    "':name -- The remote",
    "'::name -- Its name or URL",
];

/// The generated completions, and the names of the repository at hand.
fn with_names(what: What, text: Vec<u8>) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(&text).into_owned();
    match what {
        What::Zsh => {
            let named = |line: &str| NAMES.iter().any(|name| line.starts_with(name));
            let line =
                |line: &str| if named(line) { line.replace(":_default'", ":_dvc_names'") } else { line.to_owned() };
            text = text.lines().map(|l| line(l) + "\n").collect();
            let last = text.rfind("if [ \"$funcstack").unwrap_or(text.len());
            text.insert_str(last, include_str!("completions/names.zsh"));
        }
        What::Bash => text.push_str(include_str!("completions/names.bash")),
        What::Fish => text.push_str(include_str!("completions/names.fish")),
        What::Names | What::Man | What::All => {}
    }
    text.into_bytes()
}

/// Prints the names of remotes, branches and tags, for the completions.
fn names(session: &Session) -> Outcome {
    let (_, context) = session.here()?;
    let repo = context.repo()?;
    let mut out = session.plain_out();
    for remote in &context.remotes {
        writeln!(out, "{}", remote.name)?;
    }
    for kind in RefKind::ALL {
        for tip in repo.refs().readable(kind)?.tips {
            writeln!(out, "{}", tip.name)?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// One page for the program and one for each verb, and for the verbs of a verb.
fn manual() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = Cli::command();
    program.build();
    let mut pages = Vec::new();
    add_pages(&program, "dvc", &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    let named = command.clone().name(name.to_owned()).version(env!("CARGO_PKG_VERSION"));
    let named = if name == "dvc" { command.clone() } else { named };
    pages.push((format!("{name}.1"), page(named)?));
    for verb in command.get_subcommands().filter(|v| !v.is_hide_set() && v.get_name() != "help") {
        add_pages(verb, &format!("{name}-{}", verb.get_name()), pages)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).date("").render(&mut text)?;
    Ok(text)
}

fn write(path: &Path, text: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::File { doing: "write", path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}
