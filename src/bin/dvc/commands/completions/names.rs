//! Looks up names for the completions: branches, tags, remotes, versions and their paths, volumes,
//! mounts, files.
//!
//! Lookups do not use the network and do not fail: names that cannot be read are left out.

use super::candidate::Candidate;
use super::typed::Typed;
use crate::commands::overlays;
use crate::commands::trash::described;
use crate::globals::Globals;
use crate::machine::volumes;
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use dvc::context::Context;
use dvc::model::entry::Node;
use dvc::model::refname::RefKind;
use dvc::model::revision::RevisionSpec;
use dvc::ops::ls::{LsOptions, ls};
use dvc::ops::trash::{TrashEntry, list};
use dvc::sys::mountinfo;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// Limit on the number of ordinals that are offered for one branch.
const ORDINALS_MAX: u64 = 20;
/// Limit on the number of paths that are offered for one directory.
const PATHS_MAX: usize = 1000;

/// Names in the repository and on the machine of a session. Without a session all lists are empty.
pub(crate) struct Names<'s>(Option<&'s Session>);

impl<'s> Names<'s> {
    pub(crate) fn new(session: Option<&'s Session>) -> Self {
        Self(session)
    }

    #[cfg(test)]
    pub(crate) fn none() -> Names<'static> {
        Names(None)
    }

    fn context(&self) -> Option<Context> {
        Some(self.0?.anywhere().ok()?.1)
    }

    fn tips(&self, kinds: &[RefKind]) -> Vec<Candidate> {
        let Some(context) = self.context() else {
            return Vec::new();
        };
        let Ok(repo) = context.repo() else {
            return Vec::new();
        };
        let mut names = Vec::new();
        for kind in kinds {
            let about = match kind {
                RefKind::Branch => "branch",
                RefKind::Tag => "tag",
                RefKind::Remote => "branch of a remote",
                RefKind::Trash => "overwritten files",
            };
            let tips = repo
                .refs()
                .readable(*kind)
                .map(|readable| readable.tips)
                .unwrap_or_default();
            names.extend(
                tips.into_iter()
                    .map(|tip| Candidate::new(tip.name.to_string(), about)),
            );
        }
        names
    }

    pub(crate) fn branches(&self) -> Vec<Candidate> {
        self.tips(&[RefKind::Branch])
    }

    pub(crate) fn refs(&self) -> Vec<Candidate> {
        self.tips(&[RefKind::Branch, RefKind::Tag])
    }

    pub(crate) fn remotes(&self) -> Vec<Candidate> {
        let remotes = self
            .context()
            .map(|context| context.remotes)
            .unwrap_or_default();
        remotes
            .iter()
            .map(|remote| Candidate::new(remote.name.to_string(), remote.location.to_string()))
            .collect()
    }

    /// Returns revisions for an unfinished word: names, `BRANCH@...`, the right side of a range,
    /// `REV:PATH`.
    pub(crate) fn revisions(&self, word: &str, ranges: bool, paths: bool) -> Vec<Candidate> {
        // The colon is searched first, because a path may contain `..`.
        if let Some(colon) = colon(word).filter(|_| paths) {
            return self.paths(word, colon);
        }
        if let Some(dots) = word.rfind("..").filter(|_| ranges) {
            let (left, right) = word.split_at(dots + 2);
            let mut right = self.revisions(right, false, false);
            right
                .iter_mut()
                .for_each(|candidate| candidate.text.insert_str(0, left));
            return right;
        }
        let mut all = self.tips(&RefKind::ALL);
        match word.split_once('@') {
            Some((branch, _)) => all.extend(self.versions(branch)),
            None => all.push(Candidate::new("HEAD", "the current version")),
        }
        all
    }

    /// Returns `BRANCH@latest` and the newest ordinals. An empty name means the current branch, of
    /// which only the ordinals are returned.
    fn versions(&self, branch: &str) -> Vec<Candidate> {
        let tip = || {
            let context = self.context()?;
            let repo = context.repo().ok()?;
            let spec = RevisionSpec::parse(if branch.is_empty() {
                b"HEAD"
            } else {
                branch.as_bytes()
            })
            .ok()?;
            let version = dvc::query::resolve::Resolver::new(&repo, &context)
                .ok()?
                .spec(&spec)
                .ok()?
                .version;
            Some(repo.commit_cached(&version).ok()?.ordinal)
        };
        let Some(newest) = tip() else {
            return Vec::new();
        };
        let oldest = newest.saturating_sub(ORDINALS_MAX - 1).max(1);
        let latest = (!branch.is_empty())
            .then(|| Candidate::new(format!("{branch}@latest"), "its newest version"));
        let numbers = (oldest..=newest)
            .rev()
            .map(|n| Candidate::new(format!("{branch}@v{n}"), ""));
        latest.into_iter().chain(numbers).collect()
    }

    /// Returns the entries of DIR for the word `REV:DIR/NAME`.
    fn paths(&self, word: &str, colon: usize) -> Vec<Candidate> {
        let dir = word[colon + 1..].rfind('/').map_or(0, |slash| slash + 1) + colon + 1;
        let mut found = Vec::new();
        let mut list = || {
            let session = self.0?;
            let context = self.context()?;
            let place = if dir > colon + 1 {
                &word[..dir - 1]
            } else {
                &word[..dir]
            };
            let spec = RevisionSpec::parse(place.as_bytes()).ok()?;
            let options = LsOptions {
                spec,
                paths: Vec::new(),
                recursive: false,
                directory: false,
            };
            ls(&context, &options, &session.watch(), &mut |path, entry| {
                let name = path
                    .rsplit(|b| *b == b'/')
                    .next()
                    .and_then(|name| std::str::from_utf8(name).ok());
                // The scripts read one candidate per line.
                if let Some(name) = name.filter(|name| !name.chars().any(char::is_control)) {
                    let text = format!("{}{name}", &word[..dir]);
                    found.push(match entry.node {
                        Node::Dir { .. } => Candidate::new(text + "/", "directory").going_on(),
                        _ => Candidate::new(text, ""),
                    });
                }
                if found.len() < PATHS_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })
            .ok()
        };
        let _ = list();
        found
    }

    pub(crate) fn volumes(&self) -> Vec<Candidate> {
        let records = self
            .0
            .and_then(|session| volumes(session).ok()?.list().ok())
            .unwrap_or_default();
        records
            .into_iter()
            .map(|record| Candidate::new(record.name, record.repository))
            .collect()
    }

    /// Returns the entries of the trash of volumes.
    pub(crate) fn trash(&self) -> Vec<Candidate> {
        let found = self.0.and_then(|session| {
            let places = TrashPlaces::of(session).ok()?;
            Some(list(&places.scope()).entries)
        });
        let candidate = |entry: TrashEntry| {
            let what = described(&entry);
            Candidate::new(entry.id, what)
        };
        found.into_iter().flatten().map(candidate).collect()
    }

    pub(crate) fn overlays(&self) -> Vec<Candidate> {
        let names = self.0.map(overlays::names).unwrap_or_default();
        names
            .into_iter()
            .map(|name| Candidate::new(name, "overlay"))
            .collect()
    }

    pub(crate) fn mounts(&self) -> Vec<Candidate> {
        let mounts = if self.0.is_some() {
            mountinfo::ours().unwrap_or_default()
        } else {
            Vec::new()
        };
        let shown = |mount: mountinfo::Mounted| {
            let source = String::from_utf8_lossy(&mount.source).into_owned();
            Some(Candidate::new(mount.at.to_str()?, source))
        };
        mounts.into_iter().filter_map(shown).collect()
    }

    /// Returns files relative to the directory of `-C`.
    pub(crate) fn files(&self, word: &str, only_directories: bool) -> Vec<Candidate> {
        let Some(session) = self.0 else {
            return Vec::new();
        };
        let dir = word.rfind('/').map_or("", |slash| &word[..=slash]);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(session.current.join(dir))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Some(name) = std::str::from_utf8(entry.file_name().as_bytes())
                .ok()
                .map(str::to_owned)
            else {
                continue;
            };
            let is_dir = entry.path().is_dir();
            // Like shells, offer hidden names only after a typed dot.
            let is_shown = !name.starts_with('.') || word[dir.len()..].starts_with('.');
            let is_printable = !name.chars().any(char::is_control);
            let text = format!("{dir}{name}");
            if !is_shown || !is_printable || !text.starts_with(word) || only_directories && !is_dir
            {
                continue;
            }
            found.push(if is_dir {
                Candidate::new(text + "/", "").going_on()
            } else {
                Candidate::new(text, "")
            });
        }
        found.sort_by(|a, b| a.text.cmp(&b.text));
        found
    }
}

/// Returns the global options for looking up names: those of the line, but without network and
/// messages.
pub(crate) fn globals(typed: &Typed<'_>) -> Globals {
    Globals {
        // Completion must not wait for a server, and must not show messages.
        offline: true,
        quiet: 3,
        no_pager: true,
        ..typed.globals.clone()
    }
}

/// Finds the colon of `REV:PATH`. A colon within braces, as in `@{2026-11-20 03:00}`, belongs to
/// the revision.
fn colon(word: &str) -> Option<usize> {
    let mut depth = 0_usize;
    word.char_indices().find_map(|(at, c)| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (c == ':' && depth == 0).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_time_is_no_path() {
        assert_eq!(colon("main:a"), Some(4));
        assert_eq!(colon("main@{2026-11-20 03:00}"), None);
        assert_eq!(colon("main@{2026-11-20 03:00}:a"), Some(23));
        assert_eq!(colon("main"), None);
    }
}
