//! The command line of `dvc commit`.

use crate::globals::DryRun;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `commit`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc -C /var/lib/mysql commit -m nightly\n  \
    dvc commit --volume db --push -m nightly\n  \
    dvc commit -b dump --exec all.sql -m nightly -- mysqldump --all-databases")]
pub(crate) struct CommitArgs {
    /// Use this message; each further -m adds a paragraph
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Read the message from FILE; `-` is standard input
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "message")]
    pub(crate) file: Option<PathBuf>,
    /// Commit to this branch, which is created if it is missing; cannot be used with several volumes
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Tag the version; `@NAME` is a tag of its branch
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Record this author, `Name <email>`
    #[arg(long, value_name = "AUTHOR")]
    pub(crate) author: Option<String>,
    /// Record this time
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// Add a `Key: value` line about the version
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) trailer: Vec<String>,
    /// Exclude paths that match PATTERN, as in `.dvcsignore`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Exclude files larger than SIZE, such as 4G
    #[arg(long, value_name = "SIZE", conflicts_with = "stream")]
    pub(crate) exclude_larger_than: Option<String>,
    /// Exclude directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Do not descend into other file systems
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Accept git's `commit -a`: all changes are always committed
    #[arg(short, long, hide = true, conflicts_with = "args")]
    pub(crate) all: bool,
    /// Commit even if nothing changed or the source is empty
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Commit standard input as the file NAME
    #[arg(long, value_name = "NAME", conflicts_with = "args", group = "stream")]
    pub(crate) stdin: Option<OsString>,
    /// Commit the output of the command after `--` as the file NAME
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "stdin",
        requires = "args",
        group = "stream"
    )]
    pub(crate) exec: Option<OsString>,
    /// Keep the other files of the previous version (with --stdin or --exec)
    #[arg(long, requires = "stream")]
    pub(crate) add: bool,
    /// Commit a dvc volume or a local-driver volume of Docker, even if it is in use; may be repeated
    #[arg(long, value_name = "VOLUME", conflicts_with_all = ["stream", "args", "all_volumes"])]
    pub(crate) volume: Vec<String>,
    /// Commit every dvc volume, and every named local-driver volume of Docker, one version each
    #[arg(long, conflicts_with_all = ["stream", "args", "branch"])]
    pub(crate) all_volumes: bool,
    /// Quiesce writers while the source is read, or only briefly if it is a mount. Profiles start in the given order and end in
    /// reverse: docker:pause, docker:stop, exec:CONTAINER:CMD[ / CMD], mariadb:[AT], postgres:[AT], fsfreeze:PATH, none
    #[arg(long, value_name = "PROFILE", conflicts_with = "stream")]
    pub(crate) quiesce: Vec<String>,
    /// Release the writers and abort the commit after TIME, such as 90s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub(crate) quiesce_timeout: String,
    /// Push the branch afterwards, to `origin` or to REMOTE
    #[arg(long, value_name = "REMOTE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) push: Option<String>,
    /// Commit only the paths listed in FILE, one per line, and those given as arguments; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stream", "volume", "all_volumes"])]
    pub(crate) files_from: Option<PathBuf>,
    /// Expect a NUL byte, not a line break, after each path of --files-from
    #[arg(short = 'z', requires = "files_from")]
    pub(crate) null: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Commit only these paths; with --exec, the command
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) args: Vec<OsString>,
}
