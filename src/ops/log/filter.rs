//! Selects versions by time, author, message and paths.

use super::options::{LogError, LogOptions};
use crate::error::Result;
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::path::{display, split};
use crate::query::describe::VersionDescriber;
use crate::query::forgotten::VersionData;
use crate::repo::Repo;
use regex::{Regex, RegexBuilder};

/// The filters of `log`, with compiled patterns and split paths.
pub(super) struct LogFilter<'o> {
    options: &'o LogOptions,
    pub(super) author: Option<Regex>,
    pub(super) grep: Option<Regex>,
    paths: Vec<Vec<Vec<u8>>>,
}

impl<'o> LogFilter<'o> {
    /// Compiles the patterns and splits the paths. Fails if one of them is invalid.
    pub(super) fn new(options: &'o LogOptions) -> Result<Self> {
        let pattern = |text: &Option<String>| -> Result<Option<Regex>> {
            let Some(text) = text else { return Ok(None) };
            let built = RegexBuilder::new(text)
                .case_insensitive(options.ignore_case)
                .build();
            Ok(Some(built.map_err(|source| LogError::Pattern {
                pattern: text.clone(),
                source,
            })?))
        };
        let path = |p: &Vec<u8>| split(p).ok_or_else(|| LogError::BadPath(display(p)));
        let paths = options.paths.iter().map(path).collect::<Result<_, _>>()?;
        Ok(Self {
            options,
            author: pattern(&options.author)?,
            grep: pattern(&options.grep)?,
            paths,
        })
    }

    /// Returns whether a text matches a pattern; without a pattern every text does.
    pub(super) fn matches(&self, pattern: &Option<Regex>, text: &str) -> bool {
        pattern.as_ref().is_none_or(|p| p.is_match(text))
    }

    /// Returns whether a version passes all filters. If there are paths, one of them must differ
    /// from the first parent.
    pub(super) fn takes(
        &self,
        repo: &Repo,
        describe: &VersionDescriber<'_>,
        id: &Id,
        commit: &Commit,
    ) -> Result<bool> {
        let time = commit.time.secs;
        let fits = self.options.since.is_none_or(|s| time >= s)
            && self.options.until.is_none_or(|u| time <= u)
            && self.matches(&self.author, &commit.author)
            && self.matches(&self.grep, &commit.message);
        if !fits || self.paths.is_empty() {
            return Ok(fits);
        }
        // The changed paths of a version without data are unknown.
        if describe.forgotten().data(id, commit)? == VersionData::Collected {
            return Ok(false);
        }
        let before = describe
            .forgotten()
            .before(commit)?
            .map(|before| before.tree);
        if before == Some(commit.tree) {
            return Ok(false);
        }
        for path in &self.paths {
            let old = before
                .as_ref()
                .map(|tree| repo.find(tree, path))
                .transpose()?
                .flatten();
            // The root has no entry to compare, but it has changed, because the trees differ.
            if path.is_empty() || old != repo.find(&commit.tree, path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
