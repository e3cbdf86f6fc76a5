//! The options of a volume, as `docker volume create -o KEY=VALUE` passes them, including the
//! options of the Horcrux driver.
//!
//! Options may come from any user, so every value is checked, and an invalid one is rejected with
//! its name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Failure, Kind, Result};
use crate::model::refname::RefName;
use crate::model::revision::{Revision, RevisionSpec};
use crate::model::size;
use crate::model::suggest::nearest;
use crate::store::location::Location;

/// The names of all options.
const KNOWN: [&str; 9] = [
    "repo", "rev", "mode", "branch", "cache", "quota", "live", "--name", "--access",
];

/// The options of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOptions {
    /// The repository, a directory or a URL without a password. `None` is the machine's own
    /// repository, in which the volume gets a branch.
    pub repository: Option<String>,
    /// The version. `None` is the repository's default branch.
    pub revision: Option<Revision>,
    /// The volume is read-only.
    pub read_only: bool,
    /// The branch that commits go to. `None` is the branch of the revision, or else a branch with
    /// the volume's name.
    pub branch: Option<RefName>,
    /// Limit on the cache of remote objects, in bytes.
    pub cache: Option<u64>,
    /// Limit on the overlay, in bytes.
    pub quota: Option<u64>,
    /// Databases may run on the volume during commits.
    pub live: bool,
    /// The URL had a password, which was removed.
    pub had_password: bool,
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self {
            repository: None,
            revision: None,
            read_only: false,
            branch: None,
            cache: None,
            quota: None,
            live: true,
            had_password: false,
        }
    }
}

/// An invalid option.
#[derive(Debug, thiserror::Error)]
#[error("option `{key}`: {problem}")]
pub struct BadOption {
    key: String,
    problem: String,
    near: Option<String>,
}

impl Failure for BadOption {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        self.near
            .as_ref()
            .map(|near| format!("did you mean `{near}`?"))
    }
}

fn bad(key: &str, problem: impl ToString) -> BadOption {
    BadOption {
        key: key.to_owned(),
        problem: problem.to_string(),
        near: None,
    }
}

impl VolumeOptions {
    /// Parses options.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self::default();
        for (key, value) in given {
            options.set(key, value)?;
        }
        if options.read_only && options.branch.is_some() {
            return Err(bad("branch", "a read-only volume cannot commit to a branch").into());
        }
        Ok(options)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let text = |e: &dyn std::fmt::Display| bad(key, e);
        match key {
            "repo" | "--access" => self.repository(key, value)?,
            "rev" | "--name" => {
                let once = self.revision.is_none();
                let revision = Revision::parse(value).map_err(|e| text(&e))?;
                self.revision = Some(revision).filter(|_| once);
                if !once {
                    return Err(bad(key, "the version is given more than once").into());
                }
            }
            "mode" => {
                self.read_only = match value {
                    "rw" => false,
                    "ro" => true,
                    _ => {
                        return Err(bad(
                            key,
                            format!("invalid value `{value}`: expected `rw` or `ro`"),
                        )
                        .into());
                    }
                }
            }
            "branch" => self.branch = Some(RefName::new(value).map_err(|e| text(&e))?),
            "cache" => self.cache = Some(size::parse(value).map_err(|e| text(&e))?),
            "quota" => self.quota = Some(size::parse(value).map_err(|e| text(&e))?),
            "live" => {
                self.live = match value {
                    "1" | "true" | "yes" | "on" => true,
                    "0" | "false" | "no" | "off" => false,
                    _ => {
                        return Err(bad(
                            key,
                            format!("invalid value `{value}`: expected `1` or `0`"),
                        )
                        .into());
                    }
                }
            }
            _ => {
                let near = nearest(key, KNOWN.iter().copied()).map(ToString::to_string);
                return Err(BadOption {
                    near,
                    ..bad(key, "unknown option")
                }
                .into());
            }
        }
        Ok(())
    }

    fn repository(&mut self, key: &str, value: &str) -> Result<()> {
        if self.repository.is_some() {
            return Err(bad(key, "the repository is given more than once").into());
        }
        // A stable address names a version with its repository.
        let spec = RevisionSpec::parse_located(value.as_bytes())
            .ok()
            .filter(|spec| spec.url.is_some());
        let place = match spec {
            Some(RevisionSpec {
                url: Some(url),
                revision,
                path: None,
            }) => {
                if self.revision.replace(revision).is_some() {
                    return Err(bad(key, "the version is given more than once").into());
                }
                url
            }
            _ => value.to_owned(),
        };
        let parsed = Location::parse(&place, Path::new("/")).map_err(|e| bad(key, e))?;
        // A relative path would depend on the directory of the driver's process.
        if parsed.location.as_directory().is_some()
            && !place.starts_with('/')
            && !place.contains("://")
        {
            return Err(bad(key, "the path of a directory must start with `/`").into());
        }
        self.had_password |= parsed.had_password;
        self.repository = Some(match parsed.location.as_directory() {
            Some(dir) => dir.display().to_string(),
            None => parsed.location.to_string(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<VolumeOptions> {
        VolumeOptions::parse(
            &given
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn all_options() {
        let options = parse(&[
            ("repo", "s3://bucket/db"),
            ("rev", "AMCC@v3"),
            ("branch", "dev/me"),
            ("cache", "1g"),
            ("quota", "40g"),
            ("live", "0"),
        ])
        .unwrap();
        assert_eq!(options.repository.as_deref(), Some("s3://bucket/db"));
        assert_eq!(options.revision.as_ref().unwrap().to_string(), "AMCC@v3");
        assert_eq!(options.branch.as_ref().unwrap().as_str(), "dev/me");
        assert_eq!(
            (options.cache, options.quota),
            (Some(1 << 30), Some(40 << 30))
        );
        assert!(!options.live && !options.read_only);
        assert!(parse(&[("mode", "ro")]).unwrap().read_only);
        assert_eq!(parse(&[]).unwrap(), VolumeOptions::default());
    }

    #[test]
    fn forms_of_the_old_driver_and_of_addresses() {
        let old = parse(&[
            ("--name", "AMCC"),
            ("--access", "scp://me:secret@host/srv/db"),
        ])
        .unwrap();
        assert!(old.had_password);
        assert_eq!(old.revision.as_ref().unwrap().to_string(), "AMCC");
        assert!(
            !old.repository.as_ref().unwrap().contains("secret"),
            "{:?}",
            old.repository
        );
        assert_eq!(
            parse(&[("--access", "cp:///srv/repo")])
                .unwrap()
                .repository
                .as_deref(),
            Some("/srv/repo")
        );
        let address = parse(&[("repo", "s3://bucket/db#AMCC@v7")]).unwrap();
        assert_eq!(address.repository.as_deref(), Some("s3://bucket/db"));
        assert_eq!(address.revision.unwrap().to_string(), "AMCC@v7");
    }

    #[test]
    fn invalid_options_are_rejected_by_name() {
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("mode", "rx")], "`mode`"),
            (&[("live", "maybe")], "`live`"),
            (&[("quota", "-1")], "`quota`"),
            (&[("cache", "much")], "`cache`"),
            (&[("repo", "relative/path")], "`repo`"),
            (&[("repo", "nonsense://x")], "`repo`"),
            (&[("repo", "s3://b/x#A"), ("rev", "B")], "more than once"),
            (&[("rev", "--help")], "`rev`"),
            (&[("rev", "a;rm -rf /")], "`rev`"),
            (&[("rev", "A"), ("--name", "B")], "more than once"),
            (&[("branch", "../../etc")], "`branch`"),
            (&[("mode", "ro"), ("branch", "x")], "`branch`"),
            (&[("o", "bind")], "unknown option"),
            (&[("device", "/dev/sda")], "unknown option"),
        ];
        for (given, word) in table {
            let e = parse(given).expect_err(word);
            assert!(
                e.kind() == Kind::Usage && e.to_string().contains(word),
                "{given:?}: {e}"
            );
        }
        assert_eq!(
            parse(&[("revv", "A")]).unwrap_err().hint().as_deref(),
            Some("did you mean `rev`?")
        );
    }
}
