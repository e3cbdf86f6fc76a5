//! The command line: the verbs and the global options.
//!
//! The options of a verb are in its file below `commands/`.

use crate::commands;
use crate::globals::{DryRun, Globals, With};
use clap::{Parser, Subcommand};

/// The parsed command line.
#[derive(Parser, Debug)]
#[command(
    name = "dvc",
    bin_name = "dvc",
    version = concat!("(data-volume control) ", env!("CARGO_PKG_VERSION")),
    about = "git for data volumes",
    long_about = "Data-volume control: git for data volumes. Stores the content of a volume as versions that share their \
                  common data, and restores any version.",
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

/// The verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Create a repository
    Init(With<commands::init::InitArgs>),
    /// Copy a repository and check out a version
    Clone(With<commands::clone::CloneArgs>),
    /// Record the worktree as a new version
    Commit(With<commands::commit::CommitArgs>),
    /// Show differences between the worktree and its version
    Status(With<commands::status::StatusArgs>),
    /// List versions
    Log(With<commands::log::LogArgs>),
    /// Show a version, or print a file of it
    Show(With<commands::show::ShowArgs>),
    /// List the files of a version
    Ls(With<commands::ls::LsArgs>),
    /// Show differences between two versions, or between a version and the worktree
    Diff(With<commands::diff::DiffArgs>),
    /// Write a version, or paths of it, to the worktree
    Checkout(With<commands::checkout::CheckoutArgs>),
    /// Mount a version as a writable directory, or list mounts
    Mount(With<commands::mount::MountArgs>),
    /// Unmount a version
    #[command(alias = "unmount")]
    Umount(With<commands::umount::UmountArgs>),
    /// Write a version as a tar archive or a container image
    Export(With<commands::export::ExportArgs>),
    /// Create a version from a tar archive or a container image
    Import(With<commands::import::ImportArgs>),
    /// List, create, rename or delete branches
    Branch(With<commands::branch::BranchArgs>),
    /// List, create or delete tags
    Tag(With<commands::tag::TagArgs>),
    /// List, add, change, remove and check remotes
    Remote(With<commands::remote::RemoteArgs>),
    /// Send branches and tags to a remote
    Push(With<commands::push::PushArgs>),
    /// Fetch branches, tags and data from a remote
    Fetch(With<commands::fetch::FetchArgs>),
    /// Fetch, and fast-forward the current branch
    Pull(With<commands::pull::PullArgs>),
    /// Create, list and remove volumes for containers
    Volume(With<commands::volume::VolumeArgs>),
    /// Run the Docker volume plugin
    #[cfg(feature = "docker")]
    Serve(With<commands::serve::ServeArgs>),
    /// Check the repository
    Fsck(With<commands::fsck::FsckArgs>),
    /// Move versions to the trash, by name or by age
    Forget(With<commands::forget::ForgetArgs>),
    /// List, restore or delete what commands have removed
    Trash(With<commands::trash::TrashArgs>),
    /// Delete data that no version needs, or caches
    Gc(With<commands::gc::GcArgs>),
    /// Show the disk usage of versions and branches
    Du(With<commands::du::DuArgs>),
    /// Check what works on this machine, and show how to fix what does not
    Doctor(With<commands::doctor::DoctorArgs>),
    /// Undo the last change of a branch or tag, or the last move to the trash
    Undo(With<commands::undo::UndoArgs>),
    /// Commit and push the volumes below /source (container entry point)
    Pack(With<commands::pack::PackArgs>),
    /// Check out the newest version to the volumes below /source (container entry point)
    Unpack(With<commands::unpack::UnpackArgs>),
    /// Show and change settings
    Config(With<commands::config::ConfigArgs>),
    /// Print completions for a shell, or write the manual pages
    Completions(With<commands::completions::CompletionsArgs>),
    /// Print the version
    Version(With<commands::version::VersionArgs>),
}

impl Cli {
    /// Returns the global options of all levels, combined by [`Globals::merge`].
    pub(crate) fn merged_globals(&self) -> Globals {
        let globals = self.globals.clone().merge(self.verb.globals());
        match &self.verb {
            Verb::Config(with) => with
                .own
                .action
                .iter()
                .fold(globals, |g, action| g.merge(action.globals())),
            Verb::Remote(with) => with
                .own
                .action
                .iter()
                .fold(globals, |g, action| g.merge(action.globals())),
            Verb::Trash(with) => with
                .own
                .action
                .iter()
                .fold(globals, |g, action| g.merge(action.globals())),
            Verb::Volume(with) => globals.merge(with.own.action.globals()),
            _ => globals,
        }
    }
}

impl Verb {
    /// Returns the global options that follow the verb.
    fn globals(&self) -> &Globals {
        match self {
            Self::Init(with) => &with.globals,
            Self::Clone(with) => &with.globals,
            Self::Remote(with) => &with.globals,
            Self::Push(with) => &with.globals,
            Self::Fetch(with) => &with.globals,
            Self::Pull(with) => &with.globals,
            Self::Commit(with) => &with.globals,
            Self::Status(with) => &with.globals,
            Self::Log(with) => &with.globals,
            Self::Show(with) => &with.globals,
            Self::Ls(with) => &with.globals,
            Self::Diff(with) => &with.globals,
            Self::Checkout(with) => &with.globals,
            Self::Mount(with) => &with.globals,
            Self::Umount(with) => &with.globals,
            Self::Export(with) => &with.globals,
            Self::Import(with) => &with.globals,
            Self::Branch(with) => &with.globals,
            Self::Tag(with) => &with.globals,
            Self::Volume(with) => &with.globals,
            #[cfg(feature = "docker")]
            Self::Serve(with) => &with.globals,
            Self::Fsck(with) => &with.globals,
            Self::Forget(with) => &with.globals,
            Self::Trash(with) => &with.globals,
            Self::Gc(with) => &with.globals,
            Self::Du(with) => &with.globals,
            Self::Doctor(with) => &with.globals,
            Self::Undo(with) => &with.globals,
            Self::Pack(with) => &with.globals,
            Self::Unpack(with) => &with.globals,
            Self::Config(with) => &with.globals,
            Self::Completions(with) => &with.globals,
            Self::Version(with) => &with.globals,
        }
    }

    /// Returns the name of a verb that changes something but has no dry run. The match lists every
    /// verb, so that a new verb cannot be forgotten.
    pub(crate) fn without_dry_run(&self) -> Option<&'static str> {
        match self {
            Self::Clone(_) => Some("clone"),
            Self::Export(_) => Some("export"),
            #[cfg(feature = "docker")]
            Self::Serve(_) => Some("serve"),
            Self::Completions(with) => with.own.dir.as_ref().map(|_| "completions --dir"),
            Self::Remote(with) => match &with.own.action {
                Some(commands::remote::RemoteAction::Check(_)) => Some("remote check"),
                _ => None,
            },
            Self::Volume(with) => match &with.own.action {
                commands::volume::VolumeAction::Path(_) => Some("volume path"),
                _ => None,
            },
            Self::Init(_)
            | Self::Push(_)
            | Self::Fetch(_)
            | Self::Pull(_)
            | Self::Commit(_)
            | Self::Checkout(_)
            | Self::Mount(_)
            | Self::Umount(_)
            | Self::Import(_)
            | Self::Branch(_)
            | Self::Tag(_)
            | Self::Fsck(_)
            | Self::Forget(_)
            | Self::Trash(_)
            | Self::Gc(_)
            | Self::Undo(_)
            | Self::Pack(_)
            | Self::Unpack(_)
            | Self::Config(_) => None,
            // These verbs only read.
            Self::Status(_)
            | Self::Log(_)
            | Self::Show(_)
            | Self::Ls(_)
            | Self::Diff(_)
            | Self::Du(_)
            | Self::Doctor(_)
            | Self::Version(_) => None,
        }
    }
}

/// Returns the complete description of the command line.
#[cfg(test)]
pub(crate) fn program() -> clap::Command {
    let mut program = <Cli as clap::CommandFactory>::command();
    program.build();
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::path::PathBuf;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn globals_are_accepted_before_and_after_the_verb() {
        let cli = Cli::try_parse_from([
            "dvc", "-c", "a=1", "-v", "status", "-c", "b=2", "-v", "--json",
        ])
        .unwrap();
        let Verb::Status(with) = &cli.verb else {
            unreachable!("it is `status`")
        };
        let merged = cli.globals.merge(&with.globals);
        assert_eq!(merged.set, ["a=1", "b=2"]);
        assert_eq!(merged.verbose, 2);
        assert!(merged.json);
    }

    #[test]
    fn the_last_of_a_repeated_option_wins() {
        let twice = [
            "--color", "always", "--color", "never", "--repo", "a", "--repo", "b", "--json",
            "--json",
        ];
        let more = [
            "-C",
            "c",
            "-C",
            "d",
            "status",
            "-C",
            "e",
            "--repo",
            "f",
            "--repo",
            "g",
            "--porcelain",
            "--porcelain",
        ];
        let cli = Cli::try_parse_from(["dvc"].iter().chain(&twice).chain(&more)).unwrap();
        let Verb::Status(with) = &cli.verb else {
            unreachable!("it is `status`")
        };
        let merged = cli.globals.merge(&with.globals);
        assert_eq!(
            (merged.color.as_deref(), merged.repo),
            (Some("never"), Some("g".into()))
        );
        assert_eq!(
            merged.start_in.iter().collect::<PathBuf>(),
            PathBuf::from("c/d/e")
        );
    }

    #[test]
    fn n_is_a_count_in_log_and_a_dry_run_elsewhere() {
        let cli = Cli::try_parse_from(["dvc", "log", "-n", "3"]).unwrap();
        let Verb::Log(with) = &cli.verb else {
            unreachable!("it is `log`")
        };
        assert_eq!(with.own.max_count, Some(3));
        let cli = Cli::try_parse_from(["dvc", "commit", "-n", "a"]).unwrap();
        let Verb::Commit(with) = &cli.verb else {
            unreachable!("it is `commit`")
        };
        assert!(with.own.dry.dry_run);
    }
}
