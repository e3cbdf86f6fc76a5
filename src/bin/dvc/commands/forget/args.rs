//! The options of `forget`.

use crate::failure::Failed;
use crate::globals::DryRun;
use crate::settings::retention::RULES;
use clap::Args;
use dvc::error::Error;
use dvc::model::retention::{RetentionPolicy, RetentionRule};
use std::ffi::OsString;

/// Options of `forget`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    dvc forget main@v3 main@v5..v9\n  \
    dvc forget --keep-daily 7 --keep-weekly 4 -n\n  \
    dvc forget --policy all --gc\n  \
    dvc forget --undo")]
pub(crate) struct ForgetArgs {
    /// Forget these versions and ranges; A..B are the versions after A up to B, as in `log`
    #[arg(value_name = "REV")]
    pub(crate) revs: Vec<OsString>,
    #[command(flatten)]
    pub(crate) keep: KeepRules,
    /// Apply the rules only to branches that match GLOB
    #[arg(long, value_name = "GLOB")]
    pub(crate) branch: Vec<String>,
    /// Apply the policy NAME of the settings, or `all` of them
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Vec<String>,
    /// List the versions in the trash
    #[arg(long)]
    pub(crate) list: bool,
    /// Restore versions from the trash: REV, or those of the last forget
    #[arg(long, visible_alias = "restore")]
    pub(crate) undo: bool,
    /// Delete the data of the versions at once, after a confirmation or with -y
    #[arg(long, conflicts_with_all = ["gc", "list", "undo"])]
    pub(crate) now: bool,
    /// Run `gc` afterwards
    #[arg(long, conflicts_with_all = ["list", "undo"])]
    pub(crate) gc: bool,
    /// Forget up to N versions without a confirmation, and fail instead of forgetting more
    #[arg(long, value_name = "N", conflicts_with_all = ["list", "undo"])]
    pub(crate) max_forget: Option<usize>,
    /// Forget versions of REMOTE instead
    #[arg(long, value_name = "REMOTE")]
    pub(crate) remote: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// The rules that are given on the command line. A version is kept if one rule keeps it.
#[derive(Args, Debug, Default)]
pub(crate) struct KeepRules {
    /// Keep the N newest versions of each branch
    #[arg(long, value_name = "N")]
    keep_last: Option<String>,
    /// Keep the newest version of each of N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<String>,
    /// Keep the newest version of each of N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<String>,
    /// Keep the newest version of each of N weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<String>,
    /// Keep the newest version of each of N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<String>,
    /// Keep the newest version of each of N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<String>,
    /// Keep all versions that are at most TIME older than the newest one, such as 1y5m7d2h
    #[arg(long, value_name = "TIME")]
    keep_within: Option<String>,
    /// Keep the newest version of each hour within TIME
    #[arg(long, value_name = "TIME")]
    keep_within_hourly: Option<String>,
    /// Keep the newest version of each day within TIME
    #[arg(long, value_name = "TIME")]
    keep_within_daily: Option<String>,
    /// Keep the newest version of each week within TIME
    #[arg(long, value_name = "TIME")]
    keep_within_weekly: Option<String>,
    /// Keep the newest version of each month within TIME
    #[arg(long, value_name = "TIME")]
    keep_within_monthly: Option<String>,
    /// Keep the newest version of each year within TIME
    #[arg(long, value_name = "TIME")]
    keep_within_yearly: Option<String>,
}

impl KeepRules {
    /// Returns the texts in the order of [`RULES`].
    fn texts(&self) -> [&Option<String>; 12] {
        [
            &self.keep_last,
            &self.keep_hourly,
            &self.keep_daily,
            &self.keep_weekly,
            &self.keep_monthly,
            &self.keep_yearly,
            &self.keep_within,
            &self.keep_within_hourly,
            &self.keep_within_daily,
            &self.keep_within_weekly,
            &self.keep_within_monthly,
            &self.keep_within_yearly,
        ]
    }

    /// Parses the rules.
    pub(crate) fn policy(&self) -> Result<RetentionPolicy, Failed> {
        let mut rules = Vec::new();
        for (name, text) in RULES.iter().zip(self.texts()) {
            if let Some(text) = text {
                rules.push(RetentionRule::parse(name, text).map_err(Error::from)?);
            }
        }
        Ok(RetentionPolicy { rules })
    }
}
