//! `dvc`: the command line over the library.
//!
//! Arguments in, exit code out. Everything that touches the terminal, the environment or the home directory is in this crate.

mod args;
mod argv;
mod commands;
mod dirs;
mod failure;
mod foreign;
mod fstab;
mod place;
mod print;
mod progress;
mod remotes;
mod render;
mod session;
mod settings;
mod sidecar;
mod signals;
mod trust;
mod usage;

use args::{Cli, Globals, Verb};
use clap::Parser;
use commands as c;
use failure::{CliError, Failed, Outcome, Voice};
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<OsString> = fstab::translated(std::env::args_os().collect());
    argv::hide_passwords(&argv);
    failure::install_panic_hook(Voice::of(&argv));
    std::panic::catch_unwind(|| run(&argv)).unwrap_or_else(|panic| failure::of_panic(&*panic))
}

fn run(argv: &[OsString]) -> ExitCode {
    // No verb: people are not offered it.
    if argv.get(1..).is_some_and(|args| args == [c::watchdog::NAME]) {
        return c::watchdog::run(&signals::install());
    }
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(e) => return usage::report_usage(&e, argv, &Voice::of(argv)),
    };
    let signals = signals::install();
    allow_open_files();
    let globals = merged(&cli);
    let voice = Voice { json: globals.json, colour: globals.color.clone() };
    match start(argv, globals, signals.clone(), &cli) {
        Ok(exit) => exit.into(),
        Err(failed) => failure::report(&failed, &voice, &signals),
    }
}

/// Opens as many files as the system allows; many systems begin with 1024.
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // What is refused stays as it was.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
}

fn start(argv: &[OsString], globals: Globals, signals: signals::Signals, cli: &Cli) -> Outcome {
    if let Some(verb) = without_dry_run(&cli.verb).filter(|_| cli.dry.dry_run) {
        return Err(CliError::NoDryRun(verb).into());
    }
    let session = Session::new(argv, globals, signals, cli.dry.dry_run)?;
    dispatch(&session, &cli.verb)
}

/// The global options of all levels.
fn merged(cli: &Cli) -> Globals {
    let globals = cli.globals.clone().merge(behind(&cli.verb));
    match &cli.verb {
        Verb::Config(with) => with.own.action.iter().fold(globals, |g, action| g.merge(action.globals())),
        Verb::Remote(with) => with.own.action.iter().fold(globals, |g, action| g.merge(action.globals())),
        Verb::Volume(with) => globals.merge(with.own.action.globals()),
        _ => globals,
    }
}

/// The global options behind the verb.
fn behind(verb: &Verb) -> &Globals {
    match verb {
        Verb::Init(with) => &with.globals,
        Verb::Clone(with) => &with.globals,
        Verb::Remote(with) => &with.globals,
        Verb::Push(with) => &with.globals,
        Verb::Fetch(with) => &with.globals,
        Verb::Pull(with) => &with.globals,
        Verb::Commit(with) => &with.globals,
        Verb::Status(with) => &with.globals,
        Verb::Log(with) => &with.globals,
        Verb::Show(with) => &with.globals,
        Verb::Ls(with) => &with.globals,
        Verb::Diff(with) => &with.globals,
        Verb::Checkout(with) => &with.globals,
        Verb::Mount(with) => &with.globals,
        Verb::Umount(with) => &with.globals,
        Verb::Export(with) => &with.globals,
        Verb::Import(with) => &with.globals,
        Verb::Branch(with) => &with.globals,
        Verb::Tag(with) => &with.globals,
        Verb::Volume(with) => &with.globals,
        #[cfg(feature = "docker")]
        Verb::Serve(with) => &with.globals,
        Verb::Fsck(with) => &with.globals,
        Verb::Gc(with) => &with.globals,
        Verb::Du(with) => &with.globals,
        Verb::Doctor(with) => &with.globals,
        Verb::Undo(with) => &with.globals,
        Verb::Pack(with) => &with.globals,
        Verb::Unpack(with) => &with.globals,
        Verb::Config(with) => &with.globals,
        Verb::Completions(with) => &with.globals,
        Verb::Version(with) => &with.globals,
    }
}

/// The verb, if it changes something and has no dry run. A new verb has to be put on one side.
fn without_dry_run(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Clone(_) => Some("clone"),
        Verb::Export(_) => Some("export"),
        #[cfg(feature = "docker")]
        Verb::Serve(_) => Some("serve"),
        Verb::Completions(with) => with.own.dir.as_ref().map(|_| "completions --dir"),
        Verb::Remote(with) => match &with.own.action {
            Some(c::remote::Action::Check(_)) => Some("remote check"),
            _ => None,
        },
        Verb::Volume(with) => match &with.own.action {
            c::volume::Action::Path(_) => Some("volume path"),
            _ => None,
        },
        Verb::Init(_)
        | Verb::Push(_)
        | Verb::Fetch(_)
        | Verb::Pull(_)
        | Verb::Commit(_)
        | Verb::Checkout(_)
        | Verb::Mount(_)
        | Verb::Umount(_)
        | Verb::Import(_)
        | Verb::Branch(_)
        | Verb::Tag(_)
        | Verb::Fsck(_)
        | Verb::Gc(_)
        | Verb::Undo(_)
        | Verb::Pack(_)
        | Verb::Unpack(_)
        | Verb::Config(_) => None,
        // These only read.
        Verb::Status(_)
        | Verb::Log(_)
        | Verb::Show(_)
        | Verb::Ls(_)
        | Verb::Diff(_)
        | Verb::Du(_)
        | Verb::Doctor(_)
        | Verb::Version(_) => None,
    }
}

fn dispatch(session: &Session, verb: &Verb) -> Result<failure::Exit, Failed> {
    match verb {
        Verb::Init(with) => c::init::run(session, &with.own),
        Verb::Clone(with) => c::clone::run(session, &with.own),
        Verb::Remote(with) => c::remote::run(session, &with.own),
        Verb::Push(with) => c::push::run(session, &with.own),
        Verb::Fetch(with) => c::fetch::run(session, &with.own),
        Verb::Pull(with) => c::pull::run(session, &with.own),
        Verb::Commit(with) => c::commit::run(session, &with.own),
        Verb::Status(with) => c::status::run(session, &with.own),
        Verb::Log(with) => c::log::run(session, &with.own),
        Verb::Show(with) => c::show::run(session, &with.own),
        Verb::Ls(with) => c::ls::run(session, &with.own),
        Verb::Diff(with) => c::diff::run(session, &with.own),
        Verb::Checkout(with) => c::checkout::run(session, &with.own),
        Verb::Mount(with) => c::mount::run(session, &with.own),
        Verb::Umount(with) => c::umount::run(session, &with.own),
        Verb::Export(with) => c::export::run(session, &with.own),
        Verb::Import(with) => c::import::run(session, &with.own),
        Verb::Branch(with) => c::branch::run(session, &with.own),
        Verb::Tag(with) => c::tag::run(session, &with.own),
        Verb::Volume(with) => c::volume::run(session, &with.own),
        #[cfg(feature = "docker")]
        Verb::Serve(with) => c::serve::run(session, &with.own),
        Verb::Fsck(with) => c::fsck::run(session, &with.own),
        Verb::Gc(with) => c::gc::run(session, &with.own),
        Verb::Du(with) => c::du::run(session, &with.own),
        Verb::Doctor(with) => c::doctor::run(session, &with.own),
        Verb::Undo(with) => c::undo::run(session, &with.own),
        Verb::Pack(with) => c::pack::run(session, &with.own),
        Verb::Unpack(with) => c::unpack::run(session, &with.own),
        Verb::Config(with) => c::config::run(session, &with.own),
        Verb::Completions(with) => c::completions::run(session, &with.own),
        Verb::Version(with) => c::version::run(session, &with.own),
    }
}
