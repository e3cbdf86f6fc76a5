//! The options that every verb takes, and the ones that many verbs share.
//!
//! clap accepts the global options before and after the verb. Each level of the command line
//! declares them, and [`Globals::merge`] combines the levels, so that `-c` accumulates and `-n` can
//! mean a count in `log`.

use crate::settings::FlagValue;
use clap::Args;
use std::path::PathBuf;

/// The help heading of the options that every verb accepts.
pub(crate) const GLOBAL_HEADING: &str = "Global options";

/// The options that every verb accepts.
#[derive(Args, Debug, Default, Clone)]
#[command(next_help_heading = GLOBAL_HEADING)]
pub(crate) struct Globals {
    /// Run as if started in DIR
    #[arg(short = 'C', value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) start_in: Vec<PathBuf>,
    /// Use the repository at DIR or URL; a repository on another machine can only be read
    #[arg(long, value_name = "DIR|URL", value_hint = clap::ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    /// Set a configuration value for this run
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print more messages; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print fewer messages; may be repeated
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Print JSON: one object, or one per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Colour the output: auto, always or never
    #[arg(long, value_name = "WHEN", num_args = 1, value_parser = ["auto", "always", "never"])]
    pub(crate) color: Option<String>,
    /// Show progress bars: auto, always or never
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "always", "never"])]
    pub(crate) progress: Option<String>,
    /// Do not page the output
    #[arg(long)]
    pub(crate) no_pager: bool,
    /// Use N threads
    #[arg(short = 'j', long, value_name = "N")]
    pub(crate) jobs: Option<String>,
    /// Use at most SIZE for buffers and tables, such as 256M
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Send at most RATE bytes per second, such as 4M
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_up: Option<String>,
    /// Receive at most RATE bytes per second
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_down: Option<String>,
    /// Do not use the network
    #[arg(long)]
    pub(crate) offline: bool,
    /// Answer yes to every question
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// The option of every verb that changes something.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(crate) struct DryRun {
    /// Show what would be done, without doing it
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// The options of a verb, and the global options that follow the verb.
#[derive(Args, Debug)]
pub(crate) struct With<T: Args> {
    #[command(flatten)]
    pub(crate) own: T,
    #[command(flatten)]
    pub(crate) globals: Globals,
}

impl Globals {
    /// Merges options further to the right: they win, but `-C`, `-c`, `-v` and `-q` accumulate.
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

    /// Returns the flags that override settings.
    pub(crate) fn flags(&self) -> Vec<FlagValue> {
        let pager = self.no_pager.then(String::new);
        [
            ("--color", "ui.color", self.color.clone()),
            ("--progress", "ui.progress", self.progress.clone()),
            ("--no-pager", "ui.pager", pager),
            ("--jobs", "core.jobs", self.jobs.clone()),
            ("--memory", "core.memory", self.memory.clone()),
            ("--limit-up", "network.limit-up", self.limit_up.clone()),
            (
                "--limit-down",
                "network.limit-down",
                self.limit_down.clone(),
            ),
            (
                "--offline",
                "network.offline",
                self.offline.then(|| "true".to_owned()),
            ),
        ]
        .into_iter()
        .filter_map(|(flag, key, value)| {
            Some(FlagValue {
                flag,
                key,
                value: value?,
            })
        })
        .collect()
    }
}
