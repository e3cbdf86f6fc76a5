//! The command line: global options, accepted before and after the verb, and the verbs.
//!
//! A verb's own options stand in its file below `commands/`. Global options are declared at every level and merged here,
//! so that `-c` adds up wherever it stands and `-n` can mean a count in `log`.

use crate::commands;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "dvc",
    bin_name = "dvc",
    version = concat!("(data-volume control) ", env!("CARGO_PKG_VERSION")),
    about = "git for data volumes",
    long_about = "Data-volume control: git for data volumes. Turns the content of a volume into versions that share \
                  everything they have in common, and gives any version back.",
    subcommand_required = true,
    arg_required_else_help = true,
    args_override_self = true,
    after_help = "Revisions: main, main~2, AMCC@v3, AMCC@release, main@{yesterday}, 1c0ffee0, A..B, REV:PATH",
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options that every verb takes.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Run as if started in DIR: the worktree, and the base of relative paths
    #[arg(short = 'C', value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) start_in: Vec<PathBuf>,
    /// The repository, where it does not lie in the worktree; one that is elsewhere is only read
    #[arg(long, value_name = "DIR|URL", value_hint = clap::ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Set a configuration value for this run
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Say more; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say less; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Write JSON: one object, or one per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Colour: auto, always or never
    #[arg(long, value_name = "WHEN", num_args = 1, value_parser = ["auto", "always", "never"])]
    pub(crate) color: Option<String>,
    /// Progress bars: auto, always or never
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "always", "never"])]
    pub(crate) progress: Option<String>,
    /// Never show output through a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
    /// Threads that work at the same time
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) jobs: Option<String>,
    /// Memory for buffers and tables, such as 256M
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Send at most so many bytes a second, such as 4M
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_up: Option<String>,
    /// Receive at most so many bytes a second
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_down: Option<String>,
    /// Use no network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Answer every question with yes
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The option of every verb that changes state.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(crate) struct DryRun {
    /// Show what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// A verb's own options and the global ones behind the verb.
#[derive(Args, Debug)]
pub(crate) struct With<T: Args> {
    #[command(flatten)]
    pub(crate) own: T,
    #[command(flatten)]
    pub(crate) globals: Globals,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a repository
    Init(With<commands::init::InitArgs>),
    /// Copy a repository, and check a version out
    Clone(With<commands::clone::CloneArgs>),
    /// Make a version of the worktree
    Commit(With<commands::commit::CommitArgs>),
    /// Show what differs between the worktree and its version
    Status(With<commands::status::StatusArgs>),
    /// List versions
    Log(With<commands::log::LogArgs>),
    /// Show a version, or write a file of it to standard output
    Show(With<commands::show::ShowArgs>),
    /// List what a version holds
    Ls(With<commands::ls::LsArgs>),
    /// Show what differs between two versions, or a version and the worktree
    Diff(With<commands::diff::DiffArgs>),
    /// Bring a version, or paths of it, into the worktree
    Checkout(With<commands::checkout::CheckoutArgs>),
    /// Show a version as a directory that can be written, or list what is mounted
    Mount(With<commands::mount::MountArgs>),
    /// End a mount
    #[command(alias = "unmount")]
    Umount(With<commands::umount::UmountArgs>),
    /// Write a version as a tar archive or as an image for container engines
    Export(With<commands::export::ExportArgs>),
    /// Make a version of a tar archive or of an image of a container engine
    Import(With<commands::import::ImportArgs>),
    /// List, create, rename or delete branches
    Branch(With<commands::branch::BranchArgs>),
    /// List, create or delete tags
    Tag(With<commands::tag::TagArgs>),
    /// List, add, change, remove and check remotes
    Remote(With<commands::remote::RemoteArgs>),
    /// Bring branches and tags to a remote
    Push(With<commands::push::PushArgs>),
    /// Bring what a remote has
    Fetch(With<commands::fetch::FetchArgs>),
    /// Fetch, and move the current branch forward
    Pull(With<commands::pull::PullArgs>),
    /// Make, list and remove volumes for containers
    Volume(With<commands::volume::VolumeArgs>),
    /// Be Docker's volume driver
    #[cfg(feature = "docker")]
    Serve(With<commands::serve::ServeArgs>),
    /// Check the repository
    Fsck(With<commands::fsck::FsckArgs>),
    /// Give back what can be made again
    Gc(With<commands::gc::GcArgs>),
    /// Show what versions and branches take
    Du(With<commands::du::DuArgs>),
    /// Show what works here, what does not, and how to mend it
    Doctor(With<commands::doctor::DoctorArgs>),
    /// Take back the last change of a branch or tag
    Undo(With<commands::undo::UndoArgs>),
    /// Make a version of the volumes below /source, and push it; the word of a container
    Pack(With<commands::pack::PackArgs>),
    /// Bring the newest version onto the volumes below /source; the word of a container
    Unpack(With<commands::unpack::UnpackArgs>),
    /// Show and change settings
    Config(With<commands::config::ConfigArgs>),
    /// Print completions for a shell, or write the manual pages
    Completions(With<commands::completions::CompletionsArgs>),
    /// Print the version
    Version(With<commands::version::VersionArgs>),
}

impl Globals {
    /// Adds options that stand further to the right: they win, and `-C`, `-c`, `-v`, `-q` add up.
    pub(crate) fn merge(mut self, right: &Self) -> Self {
        self.set.extend(right.set.iter().cloned());
        self.start_in.extend(right.start_in.iter().cloned());
        Self {
            start_in: self.start_in,
            repo: right.repo.clone().or(self.repo),
            set: self.set,
            verbose: self.verbose.saturating_add(right.verbose),
            quiet: self.quiet.saturating_add(right.quiet),
            json: self.json || right.json,
            color: right.color.clone().or(self.color),
            progress: right.progress.clone().or(self.progress),
            no_pager: self.no_pager || right.no_pager,
            jobs: right.jobs.clone().or(self.jobs),
            memory: right.memory.clone().or(self.memory),
            limit_up: right.limit_up.clone().or(self.limit_up),
            limit_down: right.limit_down.clone().or(self.limit_down),
            offline: self.offline || right.offline,
            yes: self.yes || right.yes,
        }
    }

    /// The flags that are settings: flag, setting, value.
    pub(crate) fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        let pager = self.no_pager.then(String::new);
        [
            ("--color", "ui.color", self.color.clone()),
            ("--progress", "ui.progress", self.progress.clone()),
            ("--no-pager", "ui.pager", pager),
            ("--jobs", "core.jobs", self.jobs.clone()),
            ("--memory", "core.memory", self.memory.clone()),
            ("--limit-up", "network.limit-up", self.limit_up.clone()),
            ("--limit-down", "network.limit-down", self.limit_down.clone()),
            ("--offline", "network.offline", self.offline.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| Some((flag, key, value?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn globals_stand_on_both_sides() {
        let cli = Cli::try_parse_from(["dvc", "-c", "a=1", "-v", "status", "-c", "b=2", "-v", "--json"]).unwrap();
        let Verb::Status(with) = &cli.verb else { unreachable!("it is `status`") };
        let merged = cli.globals.merge(&with.globals);
        assert_eq!(merged.set, ["a=1", "b=2"]);
        assert_eq!(merged.verbose, 2);
        assert!(merged.json);
    }

    #[test]
    fn the_last_of_a_repeated_option_counts() {
        let twice = ["--color", "always", "--color", "never", "--repo", "a", "--repo", "b", "--json", "--json"];
        let more =
            ["-C", "c", "-C", "d", "status", "-C", "e", "--repo", "f", "--repo", "g", "--porcelain", "--porcelain"];
        let cli = Cli::try_parse_from(["dvc"].iter().chain(&twice).chain(&more)).unwrap();
        let Verb::Status(with) = &cli.verb else { unreachable!("it is `status`") };
        let merged = cli.globals.merge(&with.globals);
        assert_eq!((merged.color.as_deref(), merged.repo), (Some("never"), Some("g".into())));
        assert_eq!(merged.start_in.iter().collect::<PathBuf>(), PathBuf::from("c/d/e"));
    }

    #[test]
    fn n_counts_in_log_and_is_dry_elsewhere() {
        let cli = Cli::try_parse_from(["dvc", "log", "-n", "3"]).unwrap();
        let Verb::Log(with) = &cli.verb else { unreachable!("it is `log`") };
        assert_eq!(with.own.max_count, Some(3));
        let cli = Cli::try_parse_from(["dvc", "commit", "-n", "a"]).unwrap();
        let Verb::Commit(with) = &cli.verb else { unreachable!("it is `commit`") };
        assert!(with.own.dry.dry_run);
    }
}
