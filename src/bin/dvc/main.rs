//! `dvc`: the command line of the library.
//!
//! Only this crate uses the terminal, the environment and the home directory.

mod args;
mod argv;
mod cancellable;
mod commands;
mod config_file;
mod dirs;
mod failure;
mod foreign;
mod fstab;
mod globals;
mod machine;
mod mount_source;
mod place;
mod print;
mod progress;
mod remotes;
mod render;
mod session;
mod settings;
mod sidecar;
mod signals;
mod trash_places;
mod trust;
mod usage;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use commands as c;
use failure::{CliError, CommandResult, ErrorFormat, Failed};
use globals::Globals;
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Vec<OsString> = fstab::translated(std::env::args_os().collect());
    // Other users can read the command line from the start, so hide passwords first.
    argv::hide_passwords(&argv);
    failure::install_panic_hook(ErrorFormat::of(&argv));
    std::panic::catch_unwind(|| run(&argv)).unwrap_or_else(|panic| failure::of_panic(&*panic))
}

fn run(argv: &[OsString]) -> ExitCode {
    // `watchdog` is not a verb, because users must not call it.
    if argv
        .get(1..)
        .is_some_and(|args| args == [c::watchdog::NAME])
    {
        return c::watchdog::run(&signals::install());
    }
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(e) => return usage::report_usage(&e, argv, &ErrorFormat::of(argv)),
    };
    let signals = signals::install();
    allow_open_files();
    let globals = cli.merged_globals();
    let format = ErrorFormat {
        json: globals.json,
        colour: globals.color.clone(),
    };
    match start(argv, globals, signals.clone(), &cli) {
        Ok(exit) => exit.into(),
        Err(failed) => failure::report(&failed, &format, &signals),
    }
}

/// Raises the soft limit on open files to the hard limit, because many systems start processes with
/// a soft limit of 1024.
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // If the system refuses, the process keeps its present limit.
    let _ = setrlimit(
        Resource::Nofile,
        rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

fn start(
    argv: &[OsString],
    globals: Globals,
    signals: signals::Signals,
    cli: &Cli,
) -> CommandResult {
    if let Some(verb) = cli.verb.without_dry_run().filter(|_| cli.dry.dry_run) {
        return Err(CliError::NoDryRun(verb).into());
    }
    let session = Session::new(argv, globals, signals, cli.dry.dry_run)?;
    dispatch(&session, &cli.verb)
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
        Verb::Forget(with) => c::forget::run(session, &with.own),
        Verb::Trash(with) => c::trash::run(session, &with.own),
        Verb::Gc(with) => c::gc::run(session, &with.own),
        Verb::Du(with) => c::du::run(session, &with.own),
        Verb::Doctor(with) => c::doctor::run(session, &with.own),
        Verb::Undo(with) => c::undo::run(session, &with.own),
        Verb::Pack(with) => c::pack::run(session, &with.own),
        Verb::Unpack(with) => c::unpack::run(session, &with.own),
        Verb::Config(with) => c::config::run(session, &with.own),
        Verb::Completions(with) => c::completions::run(session, &with.own, Cli::command()),
        Verb::Version(with) => c::version::run(session, &with.own),
    }
}
