//! Checks of the environment: other programs of our name, clock, settings, repository, remotes,
//! credentials.

use super::check::DoctorCheck;
use crate::failure::{CliError, Failed};
use crate::remotes::{FoundCredentials, credential};
use crate::session::Session;
use crate::settings::{Settings, keys::KEYS};
use crate::sidecar;
use dvc::error::Failure;
use dvc::model::path::display;
use dvc::store::location::without_password;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Years that the clock may plausibly show.
const YEARS: std::ops::RangeInclusive<i16> = 2024..=2100;
/// The name of this program.
const NAME: &str = "dvc";

/// Runs all checks.
pub(super) fn checks(session: &Session) -> Vec<DoctorCheck> {
    let mut checks = vec![namesakes(), clock(&session.now)];
    match session.settings() {
        Ok(settings) => {
            checks.extend([
                repository(session),
                remotes(session, settings),
                credentials(session, settings),
            ]);
            checks.push(environment(session));
        }
        // The other checks need the settings.
        Err(e) => checks.push(DoctorCheck::no(
            "settings",
            e.to_string().replace('\n', ";"),
            e.hint(),
        )),
    }
    checks
}

/// Looks for other programs named `dvc` on `PATH`. They are not run, so they may be copies of this
/// program.
fn namesakes() -> DoctorCheck {
    let name = "other dvc";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|dir| dir.join(NAME))
        .filter(|p| is_program(p))
        .collect();
    // A link to this program is not another program.
    let own = std::env::current_exe().ok().and_then(|p| identity(&p));
    let is_other = |p: &&PathBuf| own.is_none() || identity(p) != own;
    let others: Vec<&PathBuf> = found.iter().filter(is_other).collect();
    let Some(first) = others.first() else {
        return DoctorCheck::ok(name, "no other program with this name on `PATH`");
    };
    let shown = display(first.as_os_str().as_bytes());
    if found.first() == Some(first) {
        let what = format!(
            "the command `{NAME}` runs `{shown}`: an unrelated program, or another copy of this one"
        );
        DoctorCheck::note(
            name,
            what,
            "put this program first on `PATH`, or call it `git-dvc`".to_owned(),
        )
    } else {
        DoctorCheck::note(
            name,
            format!("`{shown}` comes later on `PATH`: an unrelated program, or another copy"),
            None,
        )
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|m| (m.dev(), m.ino()))
}

fn clock(now: &jiff::Zoned) -> DoctorCheck {
    let (name, shown) = ("clock", now.strftime("%Y-%m-%d %H:%M:%S %z"));
    if YEARS.contains(&now.year()) {
        return DoctorCheck::ok(name, shown.to_string());
    }
    let what = format!(
        "the clock shows {shown}, so versions will have wrong times and remotes will reject signed requests"
    );
    DoctorCheck::note(name, what, "set the clock".to_owned())
}

fn repository(session: &Session) -> DoctorCheck {
    let name = "repository";
    match session.place() {
        Ok(place) => DoctorCheck::ok(
            name,
            format!("`{}`", display(place.repository.as_os_str().as_bytes())),
        ),
        Err(CliError::Remote(_)) => {
            let url = session.named_repository().unwrap_or_default();
            DoctorCheck::ok(
                name,
                format!("remote, `{}`", without_password(&url.to_string_lossy())),
            )
        }
        Err(e) => DoctorCheck::note(name, e.to_string(), e.hint()),
    }
}

fn remotes(session: &Session, settings: &Settings) -> DoctorCheck {
    let name = "remotes";
    match session.remotes(settings) {
        Ok(remotes) if remotes.is_empty() => DoctorCheck::ok(name, "none"),
        Ok(remotes) => DoctorCheck::ok(
            name,
            remotes
                .iter()
                .map(|r| r.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        ),
        Err(Failed::Operation(e)) => DoctorCheck::note(name, e.to_string(), e.hint()),
        Err(Failed::Output(e)) => DoctorCheck::note(name, e.to_string(), None),
    }
}

/// Lists the sources of credentials. Values are never shown.
fn credentials(session: &Session, settings: &Settings) -> DoctorCheck {
    let name = "credentials";
    let FoundCredentials {
        sources: mut found,
        problems,
    } = session.found_credentials(settings);
    let is_secret = |key: &str| KEYS.iter().any(|k| k.secret && k.name == key);
    found.extend(
        settings
            .iter()
            .filter(|(key, _, _)| is_secret(key))
            .map(|(key, _, origin)| format!("{key} ({origin})")),
    );
    let list = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    match problems.as_slice() {
        [] => DoctorCheck::ok(name, list),
        some => DoctorCheck::note(name, format!("{list}; {}", some.join("; ")), None),
    }
}

/// Lists the variables that are set: those of `pack` and `unpack`, those of the settings, and
/// `DVC_REPO`. Reports secrets with unknown names.
fn environment(session: &Session) -> DoctorCheck {
    let name = "environment";
    let is_set = |name: &str| credential(name).is_ok_and(|value| value.is_some());
    let ours = KEYS.iter().filter_map(|key| key.env).chain(["DVC_REPO"]);
    let ours = ours
        .filter(|name| std::env::var_os(name).is_some())
        .map(str::to_owned);
    let found: Vec<String> = sidecar::found(&is_set).into_iter().chain(ours).collect();
    let list = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    let strange: Vec<String> = session
        .strange_secrets()
        .into_iter()
        .map(|(name, like)| {
            let like = like
                .map(|like| format!(" (did you mean `{like}`?)"))
                .unwrap_or_default();
            format!("`{}`{like}", name.escape_debug())
        })
        .collect();
    if strange.is_empty() {
        DoctorCheck::ok(name, list)
    } else {
        DoctorCheck::note(
            name,
            format!("{list}; unknown secrets: {}", strange.join(", ")),
            None,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckState;
    use super::*;

    #[test]
    fn implausible_years_are_noted() {
        let state = |time: &str| clock(&format!("{time}T00:00:00[UTC]").parse().unwrap()).state;
        assert_eq!(state("2026-11-20"), CheckState::Ok);
        assert_eq!(
            (
                state("1970-01-01"),
                state("2023-12-31"),
                state("2101-01-01")
            ),
            (CheckState::Note, CheckState::Note, CheckState::Note)
        );
    }
}
