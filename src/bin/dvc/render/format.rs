//! `--format`: text with placeholders, `%h %s`, for each version.

use super::{iso, long_date};
use crate::failure::CliError;
use crate::print::ago;
use dvc::query::describe::DescribedVersion;

/// A parsed argument of `--format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionFormat(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// Placeholders without parentheses, the longer ones first.
const FIELDS: [&str; 22] = [
    "an", "ae", "aI", "ai", "ar", "at", "ad", "H", "h", "T", "t", "P", "p", "O", "d", "D", "s",
    "b", "B", "U", "n", "%",
];
/// Placeholders in parentheses; `trailer:KEY` is accepted too.
const NAMED: [&str; 5] = ["size", "new", "stored", "files", "host"];

/// The values that a format may use in addition to the version.
pub(crate) struct FormatContext<'a> {
    /// The current time, in seconds since 1970.
    pub(crate) now: i64,
    /// The URL of the repository.
    pub(crate) url: &'a str,
}

impl VersionFormat {
    /// Parses and checks a format.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        let wrong = |problem: String| CliError::option("--format", problem);
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('%') {
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.to_owned()));
            }
            if let Some(inner) = after.strip_prefix('(') {
                let (name, after) = inner
                    .split_once(')')
                    .ok_or_else(|| wrong("`%(` is not closed".to_owned()))?;
                if !NAMED.contains(&name) && !name.starts_with("trailer:") {
                    let near = dvc::model::suggest::nearest(name, NAMED);
                    let near = near
                        .map(|n| format!(", did you mean `%({n})`?"))
                        .unwrap_or_default();
                    return Err(wrong(format!("unknown placeholder `%({name})`{near}")));
                }
                pieces.push(Piece::Field(name.to_owned()));
                rest = after;
                continue;
            }
            let field = FIELDS.iter().find(|f| after.starts_with(**f));
            let field = field.ok_or_else(|| {
                wrong(format!(
                    "unknown placeholder `%{}`",
                    after.chars().next().map(String::from).unwrap_or_default()
                ))
            })?;
            pieces.push(Piece::Field((*field).to_owned()));
            rest = &after[field.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Returns whether the format uses the address of a version.
    pub(crate) fn wants_address(&self) -> bool {
        self.0.contains(&Piece::Field("U".to_owned()))
    }

    /// Returns the text for one version.
    pub(crate) fn fill(&self, version: &DescribedVersion, around: &FormatContext<'_>) -> String {
        let field = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(name) => value(name, version, around),
        };
        self.0.iter().map(field).collect()
    }
}

fn value(field: &str, version: &DescribedVersion, around: &FormatContext<'_>) -> String {
    let commit = &version.commit;
    let (name, mail) = match commit.author.split_once('<') {
        Some((name, mail)) => (name.trim(), mail.trim_end_matches('>')),
        None => (commit.author.as_str(), ""),
    };
    let parents = |f: fn(&dvc::model::id::Id) -> String| {
        commit.parents.iter().map(f).collect::<Vec<_>>().join(" ")
    };
    match field {
        "H" => version.id.to_string(),
        "h" => version.id.short(),
        "T" => commit.tree.to_string(),
        "t" => commit.tree.short(),
        "P" => parents(ToString::to_string),
        "p" => parents(dvc::model::id::Id::short),
        "O" => commit.ordinal.to_string(),
        "an" => name.to_owned(),
        "ae" => mail.to_owned(),
        "aI" | "ai" => iso(&commit.time),
        "ad" => long_date(&commit.time),
        "ar" => ago(around.now.saturating_sub(commit.time.secs)),
        "at" => commit.time.secs.to_string(),
        "d" => super::version::names(version)
            .map(|n| format!(" ({n})"))
            .unwrap_or_default(),
        "D" => super::version::names(version).unwrap_or_default(),
        "s" => commit.subject().to_owned(),
        "b" => commit
            .message
            .split_once('\n')
            .map(|(_, b)| b.trim_start_matches('\n').to_owned())
            .unwrap_or_default(),
        "B" => commit.message.clone(),
        "U" => match &version.address {
            Some(address) => format!("{}#{address}", around.url),
            None => format!("{}#{}", around.url, version.id),
        },
        "n" => "\n".to_owned(),
        "%" => "%".to_owned(),
        "size" => commit.counts.bytes.to_string(),
        "new" => commit.counts.new_bytes.to_string(),
        "stored" => commit.counts.stored_bytes.to_string(),
        "files" => commit.counts.files.to_string(),
        "host" => commit.host.clone(),
        other => {
            let key = other.strip_prefix("trailer:").unwrap_or(other);
            // As in git, the case of the keys of trailers does not matter.
            let fits = |(k, v): &(String, String)| k.eq_ignore_ascii_case(key).then(|| v.clone());
            commit
                .trailers
                .iter()
                .filter_map(fits)
                .collect::<Vec<_>>()
                .join(",")
        }
    }
}
