//! The action that a command line of `forget` asks for.

use super::args::ForgetArgs;
use crate::failure::{CliError, Failed};
use crate::session::Session;
use crate::settings::retention::ALL;
use dvc::error::Error;
use dvc::model::revision::RevisionQuery;
use dvc::ops::forget::{BranchPolicy, ForgetTarget};
use std::os::unix::ffi::OsStrExt;

/// The action.
pub(crate) enum ForgetAction {
    List,
    Undo(Vec<RevisionQuery>),
    Forget(ForgetTarget),
}

/// Returns the action that the command line asks for. Exactly one of versions, rules, policies,
/// `--list` and `--undo` is required, except that `--undo` accepts versions.
pub(crate) fn action(session: &Session, args: &ForgetArgs) -> Result<ForgetAction, Failed> {
    let bad = |option: &str, problem: &str| Failed::from(CliError::option(option, problem));
    let policy = args.keep.policy()?;
    let has_rules = !policy.rules.is_empty();
    let queries = args
        .revs
        .iter()
        .map(|rev| RevisionQuery::parse(rev.as_bytes()).map_err(Error::from));
    let queries: Vec<RevisionQuery> = queries.collect::<Result<_, _>>()?;
    if !args.branch.is_empty() && !has_rules {
        return Err(bad("--branch", "needs a rule such as `--keep-daily 7`"));
    }
    if args.list || args.undo {
        let option = if args.list { "--list" } else { "--undo" };
        if has_rules || !args.policy.is_empty() || args.list && (args.undo || !queries.is_empty()) {
            return Err(bad(option, "cannot be used with versions to forget"));
        }
        return Ok(if args.list {
            ForgetAction::List
        } else {
            ForgetAction::Undo(queries)
        });
    }
    let chosen = [!queries.is_empty(), has_rules, !args.policy.is_empty()];
    match chosen.iter().filter(|chosen| **chosen).count() {
        0 => {
            return Err(bad(
                "forget",
                "expected versions, a rule such as `--keep-daily 7`, `--policy`, or `--list`",
            ));
        }
        1 => {}
        _ => {
            return Err(bad(
                "forget",
                "expected only one of versions, rules and `--policy`",
            ));
        }
    }
    if has_rules {
        let branches = if args.branch.is_empty() {
            vec!["*".to_owned()]
        } else {
            args.branch.clone()
        };
        let name = None;
        return Ok(ForgetAction::Forget(ForgetTarget::Policies(vec![
            BranchPolicy {
                name,
                branches,
                policy,
            },
        ])));
    }
    Ok(ForgetAction::Forget(match queries.is_empty() {
        true => ForgetTarget::Policies(named_policies(session, &args.policy)?),
        false => ForgetTarget::Versions(queries),
    }))
}

/// Returns the named policies of the settings, or all of them if one name is `all`.
fn named_policies(session: &Session, names: &[String]) -> Result<Vec<BranchPolicy>, Failed> {
    let settings = session.settings()?;
    let all: Vec<BranchPolicy> = settings
        .retention()
        .map(|(name, entry)| BranchPolicy {
            name: Some(name.to_owned()),
            branches: entry.branches(),
            policy: entry.policy(),
        })
        .collect();
    if names.iter().any(|name| name == ALL) {
        let missing = || CliError::NotSet("retention.NAME.daily".to_owned());
        return if all.is_empty() {
            Err(missing().into())
        } else {
            Ok(all)
        };
    }
    let mut chosen: Vec<BranchPolicy> = Vec::new();
    for name in names {
        let found = all.iter().find(|policy| policy.name.as_ref() == Some(name));
        chosen.push(
            found
                .cloned()
                .ok_or_else(|| CliError::NotSet(format!("retention.{name}.daily")))?,
        );
    }
    Ok(chosen)
}
