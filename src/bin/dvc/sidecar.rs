//! The environment of a container that runs `pack` or `unpack`: the variables and their meaning.
//!
//! Each name is looked up as a variable, in the file that `NAME_FILE` names, and in
//! `/run/secrets/NAME`. All problems are reported together. Messages never show the value of a
//! secret.

use crate::settings::{BadConfiguration, ConfigProblem, Origin};
use dvc::model::refname::RefName;
use dvc::model::suggest::nearest;
use dvc::store::location::Location;
use std::path::Path;

/// Looks up the value of a name; `None` if it is not set.
pub(crate) type Lookup<'g> = &'g dyn Fn(&str) -> Result<Option<String>, BadConfiguration>;

/// All names that are not credentials, sorted.
pub(crate) const NAMES: &[&str] = &[
    // S3 bucket and prefix: the remote of `pack`, and of `unpack` if DATA_S3_SRC is not set.
    "DATA_S3_DST",
    // The remote of `unpack`.
    "DATA_S3_SRC",
    // An image, [REGISTRY/]NAME[:TAG]: the remote if no URL and no S3 variable is set. The tag is
    // the branch, unless it is `latest`.
    "DATA_TAG",
    // `unpack` uses no network.
    "NO_PULL",
    // `pack` uses no network.
    "NO_PUSH",
    // The registry, if DATA_TAG names none.
    "REGISTRY",
];

/// The variable that names the URL of `origin`, and overrides [`NAMES`].
const URL: &str = "DVC_REMOTE_ORIGIN_URL";
/// The default tag of an image.
const LATEST: &str = "latest";
/// Credentials that must be set together: scheme, user, password.
const PAIRS: &[(&str, &str, &str)] = &[
    ("oci://", "REGISTRY_USERNAME", "REGISTRY_PASSWORD"),
    ("s3://", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
];

/// The command that reads the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerVerb {
    Pack,
    Unpack,
}

impl ContainerVerb {
    /// Returns the variable that turns the network off.
    pub(crate) fn switch(self) -> &'static str {
        match self {
            Self::Pack => "NO_PUSH",
            Self::Unpack => "NO_PULL",
        }
    }
}

/// The task of `pack` or `unpack`, as the environment describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SidecarPlan {
    /// The remote, if a variable names one.
    pub(crate) origin: Option<Location>,
    /// The branch, if the tag of an image names one.
    pub(crate) branch: Option<RefName>,
    /// Whether the network is off.
    pub(crate) offline: bool,
}

/// Reads the environment for a command. Relative paths are resolved against `current`.
pub(crate) fn plan(
    way: ContainerVerb,
    get: Lookup<'_>,
    current: &Path,
) -> Result<SidecarPlan, Vec<ConfigProblem>> {
    let mut reading = SidecarReader {
        get,
        problems: Vec::new(),
    };
    let offline = reading.switch(way.switch());
    let image = reading.image();
    let url = [
        URL,
        if way == ContainerVerb::Pack {
            "DATA_S3_DST"
        } else {
            "DATA_S3_SRC"
        },
        "DATA_S3_DST",
    ]
    .into_iter()
    .find_map(|name| {
        reading
            .text(name)
            .map(|value| (name, if name == URL { value } else { s3(value) }))
    })
    .or_else(|| image.as_ref().map(|image| ("DATA_TAG", image.url.clone())));
    let origin = url.and_then(|(name, url)| match Location::parse(&url, current) {
        Ok(parsed) => Some(parsed.location),
        Err(e) => {
            reading.problem(name, e.to_string());
            None
        }
    });
    // Without network, no credentials are needed.
    if !offline && let Some(origin) = &origin {
        reading.pairs(&origin.to_string());
    }
    let branch = image
        .and_then(|image| image.tag)
        .filter(|tag| tag != LATEST);
    let branch = branch.and_then(|tag| match RefName::new(&tag) {
        Ok(branch) => Some(branch),
        Err(e) => {
            reading.problem(
                "DATA_TAG",
                format!("cannot use the tag as a branch name: {e}"),
            );
            None
        }
    });
    if reading.problems.is_empty() {
        Ok(SidecarPlan {
            origin,
            branch,
            offline,
        })
    } else {
        Err(reading.problems)
    }
}

/// Returns the URL of `origin` for commands other than `pack` and `unpack`, without validating it.
pub(crate) fn url(get: Lookup<'_>) -> Result<Option<String>, BadConfiguration> {
    for name in ["DATA_S3_DST", "DATA_S3_SRC"] {
        if let Some(value) = get(name)? {
            return Ok(Some(s3(value)));
        }
    }
    let (image, registry) = (get("DATA_TAG")?, get("REGISTRY")?);
    Ok(image.map(|image| Image::of(&image, registry.as_deref()).url))
}

/// Returns the names that are set, without their values.
pub(crate) fn found(is_set: &dyn Fn(&str) -> bool) -> Vec<String> {
    NAMES
        .iter()
        .filter(|name| is_set(name))
        .map(|name| (*name).to_owned())
        .collect()
}

/// Returns the files in the directory of secrets with unknown names, sorted, each with the most
/// similar known name, if there is one.
pub(crate) fn strangers(dir: &Path, known: &[String]) -> Vec<(String, Option<String>)> {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    // Hidden names are not secrets. Kubernetes, for example, creates `..data` beside the secrets.
    let is_known = |name: &String| {
        name.starts_with('.') || name.starts_with("DVC_REMOTE_") || known.contains(name)
    };
    let mut strangers: Vec<String> = names.filter(|name| !is_known(name)).collect();
    strangers.sort();
    let like = |name: &str| nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    strangers
        .into_iter()
        .map(|name| (name.clone(), like(&name)))
        .collect()
}

struct SidecarReader<'g> {
    get: Lookup<'g>,
    problems: Vec<ConfigProblem>,
}

impl SidecarReader<'_> {
    fn problem(&mut self, name: &'static str, text: impl Into<String>) {
        self.problems
            .push(ConfigProblem::new(Origin::Environment(name), text));
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match (self.get)(name) {
            Ok(value) => value,
            Err(BadConfiguration(problems)) => {
                // A second lookup of a name would report the same problem again.
                let new = problems
                    .into_iter()
                    .filter(|p| !self.problems.contains(p))
                    .collect::<Vec<_>>();
                self.problems.extend(new);
                None
            }
        }
    }

    fn switch(&mut self, name: &'static str) -> bool {
        let Some(value) = self.text(name) else {
            return false;
        };
        match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => true,
            "" | "0" | "false" | "no" | "off" => false,
            _ => {
                self.problem(
                    name,
                    format!("invalid value `{}`: expected 1 or 0", value.escape_debug()),
                );
                false
            }
        }
    }

    fn image(&mut self) -> Option<Image> {
        let (image, registry) = (self.text("DATA_TAG"), self.text("REGISTRY"));
        let Some(text) = image else {
            if registry.is_some() {
                self.problem(
                    "REGISTRY",
                    "DATA_TAG is not set, but must name the image in the registry",
                );
            }
            return None;
        };
        if text.contains('@') {
            self.problem(
                "DATA_TAG",
                "digests and user names are not supported; write [REGISTRY/]NAME[:TAG]",
            );
            return None;
        }
        let image = Image::of(&text, registry.as_deref());
        let other = registry
            .as_deref()
            .map(bare)
            .filter(|r| !r.is_empty() && !image.is_in(r));
        if let Some(other) = other {
            let text = format!(
                "`{}` differs from the registry in DATA_TAG",
                other.escape_debug()
            );
            self.problem("REGISTRY", text);
        }
        Some(image)
    }

    fn pairs(&mut self, url: &str) {
        for (_, user, password) in PAIRS.iter().filter(|pair| url.starts_with(pair.0)) {
            let mut has = |name: &str| {
                let own = self.text(&format!("DVC_REMOTE_ORIGIN_{name}")).is_some();
                own || self.text(name).is_some()
            };
            let lacks = match (has(user), has(password)) {
                (true, false) => Some((*user, *password)),
                (false, true) => Some((*password, *user)),
                _ => None,
            };
            if let Some((name, other)) = lacks {
                self.problems.push(ConfigProblem::denied(
                    Origin::Environment(name),
                    format!("set, but {other} is not"),
                ));
            }
        }
    }
}

/// The parsed name of an image.
struct Image {
    url: String,
    tag: Option<String>,
}

impl Image {
    fn of(text: &str, registry: Option<&str>) -> Self {
        let text = text.rsplit("://").next().unwrap_or_default();
        let (above, last) = text
            .rsplit_once('/')
            .map_or((None, text), |(above, last)| (Some(above), last));
        // A digest is an error for `pack` and `unpack`, but `url` does not validate the name.
        let (last, tag) = match last.split_once(['@', ':']) {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (last, None),
        };
        let name = above.map_or_else(|| last.to_owned(), |above| format!("{above}/{last}"));
        // As Docker does, treat a first component as a host if it has a dot or a port or is
        // `localhost`.
        let has_host = name
            .split_once('/')
            .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost");
        let url = match registry.map(bare).filter(|r| !r.is_empty()) {
            _ if has_host => format!("oci://{name}"),
            Some(registry) => format!("oci://{registry}/{name}"),
            None => format!("oci://docker.io/{name}"),
        };
        Self {
            url,
            tag: tag.filter(|tag| !tag.is_empty()),
        }
    }

    fn is_in(&self, registry: &str) -> bool {
        self.url
            .strip_prefix("oci://")
            .and_then(|rest| rest.strip_prefix(registry))
            .is_some_and(|r| r.starts_with('/'))
    }
}

/// Returns a registry without scheme and trailing slash.
fn bare(registry: &str) -> &str {
    registry
        .rsplit("://")
        .next()
        .unwrap_or_default()
        .trim_end_matches('/')
}

fn s3(value: String) -> String {
    if value.contains("://") {
        value
    } else {
        format!("s3://{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(set: &[(&str, &str)], run: impl FnOnce(Lookup<'_>) -> T) -> T {
        run(&|name: &str| Ok(set.iter().find(|v| v.0 == name).map(|v| v.1.to_owned())))
    }

    #[test]
    fn variables_of_older_images() {
        let url = |set: &[(&str, &str)]| with(set, |get| url(get).ok().flatten());
        let same = Some("oci://registry.example:5000/team/data".to_owned());
        assert_eq!(
            url(&[("DATA_TAG", "registry.example:5000/team/data:latest")]),
            same
        );
        assert_eq!(
            url(&[
                ("REGISTRY", "registry.example:5000"),
                ("DATA_TAG", "team/data:v1")
            ]),
            same
        );
        let both = [
            ("REGISTRY", "registry.example:5000"),
            ("DATA_TAG", "registry.example:5000/team/data"),
        ];
        assert_eq!(url(&both), same);
        assert_eq!(
            url(&[("DATA_TAG", "data:latest")]).as_deref(),
            Some("oci://docker.io/data")
        );
        assert_eq!(
            url(&[("DATA_TAG", "localhost/data")]).as_deref(),
            Some("oci://localhost/data")
        );
        assert_eq!(
            url(&[("DATA_S3_DST", "bucket/data")]).as_deref(),
            Some("s3://bucket/data")
        );
        let region = "s3://bucket@eu-west-1/data";
        assert_eq!(url(&[("DATA_S3_DST", region)]).as_deref(), Some(region));
        assert_eq!(
            url(&[("DATA_S3_SRC", "bucket/data")]).as_deref(),
            Some("s3://bucket/data")
        );
        assert_eq!(url(&[("REGISTRY", "registry.example")]), None);
    }

    #[test]
    fn the_environment_becomes_a_plan() {
        let of = |way, set: &[(&str, &str)]| {
            let plan = with(set, |get| plan(way, get, Path::new("/"))).unwrap();
            let origin = plan.origin.map(|o| o.to_string()).unwrap_or_default();
            (
                origin,
                plan.branch.map(|b| b.to_string()).unwrap_or_default(),
                plan.offline,
            )
        };
        let expected =
            |origin: &str, branch: &str, offline| (origin.to_owned(), branch.to_owned(), offline);
        let data = "oci://registry.example/team/data";
        assert_eq!(
            of(
                ContainerVerb::Pack,
                &[("DATA_TAG", "registry.example/team/data")]
            ),
            expected(data, "", false)
        );
        assert_eq!(
            of(
                ContainerVerb::Pack,
                &[("DATA_TAG", "registry.example/team/data:latest")]
            ),
            expected(data, "", false)
        );
        let three = [
            ("DATA_TAG", "team/data:v1"),
            ("REGISTRY", "https://registry.example/"),
            ("NO_PUSH", "1"),
        ];
        assert_eq!(of(ContainerVerb::Pack, &three), expected(data, "v1", true));
        // NO_PUSH turns the network off for `pack` only.
        assert_eq!(
            of(ContainerVerb::Unpack, &three),
            expected(data, "v1", false)
        );
        let s3 = [
            ("DATA_S3_DST", "b/dst"),
            ("DATA_S3_SRC", "s3://b/src"),
            ("DATA_TAG", "x:v1"),
            ("NO_PULL", "yes"),
        ];
        assert_eq!(
            of(ContainerVerb::Pack, &s3),
            expected("s3://b/dst", "v1", false)
        );
        assert_eq!(
            of(ContainerVerb::Unpack, &s3),
            expected("s3://b/src", "v1", true)
        );
        assert_eq!(
            of(ContainerVerb::Unpack, &s3[..1]),
            expected("s3://b/dst", "", false)
        );
        assert_eq!(
            of(
                ContainerVerb::Pack,
                &[("DATA_S3_DST", "b"), (URL, "/srv/x")]
            )
            .0,
            "file:///srv/x"
        );
        assert_eq!(
            of(ContainerVerb::Pack, &[("NO_PUSH", "off")]),
            expected("", "", false)
        );
    }

    /// Checks invalid environments, each with the names that the messages must contain.
    #[test]
    fn all_problems_are_reported_at_once() {
        type Row<'t> = (&'t [(&'t str, &'t str)], &'t [&'t str]);
        let table: &[Row] = &[
            (
                &[("REGISTRY", "r.example")],
                &["REGISTRY: DATA_TAG is not set"],
            ),
            (&[("DATA_TAG", "r.example/Team/Data")], &["DATA_TAG: "]),
            (
                &[("DATA_TAG", "r.example/data@sha256:00")],
                &["DATA_TAG: digests"],
            ),
            (
                &[("DATA_TAG", "me:hush@r.example/data")],
                &["DATA_TAG: digests and user names"],
            ),
            (
                &[("DATA_TAG", "r.example/data:a..b")],
                &["DATA_TAG: cannot use the tag as a branch name"],
            ),
            (
                &[
                    ("DATA_TAG", "r.example/data"),
                    ("REGISTRY", "other.example"),
                ],
                &["REGISTRY: `other.example` differs from the registry"],
            ),
            (
                &[("NO_PUSH", "perhaps")],
                &["NO_PUSH: invalid value `perhaps`: expected 1 or 0"],
            ),
            (&[("DATA_S3_DST", "s3://")], &["DATA_S3_DST: "]),
            (
                &[("DATA_TAG", "r.example/data"), ("REGISTRY_USERNAME", "me")],
                &["REGISTRY_USERNAME: set, but REGISTRY_PASSWORD is not"],
            ),
            (
                &[
                    ("DATA_TAG", "r.example/data"),
                    ("DVC_REMOTE_ORIGIN_REGISTRY_PASSWORD", "hush"),
                ],
                &["REGISTRY_PASSWORD: set, but REGISTRY_USERNAME is not"],
            ),
            (
                &[("DATA_S3_DST", "b/x"), ("AWS_SECRET_ACCESS_KEY", "hush")],
                &["AWS_SECRET_ACCESS_KEY: set, but AWS_ACCESS_KEY_ID is not"],
            ),
            (
                &[
                    ("NO_PUSH", "2"),
                    ("REGISTRY", "r"),
                    ("DATA_S3_DST", "s3://"),
                ],
                &["NO_PUSH: ", "REGISTRY: ", "DATA_S3_DST: "],
            ),
        ];
        for (set, expected) in table {
            let problems =
                with(set, |get| plan(ContainerVerb::Pack, get, Path::new("/"))).unwrap_err();
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), expected.len(), "{set:?}: {told:?}");
            for part in *expected {
                assert!(
                    told.iter().any(|t| t.starts_with(part)),
                    "{set:?}: {told:?}"
                );
            }
            assert!(!told.concat().contains("hush"), "{told:?}");
        }
        // A complete pair is accepted, and so is an incomplete pair that is not used.
        let whole = [
            ("DATA_TAG", "r.example/data"),
            ("REGISTRY_USERNAME", "me"),
            ("REGISTRY_PASSWORD", "hush"),
        ];
        assert!(with(&whole, |get| plan(ContainerVerb::Pack, get, Path::new("/"))).is_ok());
        let unused = [
            ("DATA_TAG", "r.example/data"),
            ("REGISTRY_USERNAME", "me"),
            ("NO_PUSH", "1"),
        ];
        assert!(
            with(&unused, |get| plan(
                ContainerVerb::Pack,
                get,
                Path::new("/")
            ))
            .is_ok()
        );
    }

    #[test]
    fn unknown_secrets_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let known = [
            "AWS_ACCESS_KEY_ID".to_owned(),
            "REGISTRY_PASSWORD".to_owned(),
        ];
        assert_eq!(strangers(&dir.path().join("none"), &known), []);
        assert_eq!(strangers(dir.path(), &known), []);
        // Kubernetes puts a link `..data` into each directory of secrets.
        for name in [
            "my-key.pem",
            "REGISTRY_PASWORD",
            "AWS_ACCESS_KEY_ID",
            "DVC_REMOTE_NAS_WEBDAV_TOKEN",
            "..data",
        ] {
            std::fs::write(dir.path().join(name), "hush").unwrap();
        }
        let like = Some("REGISTRY_PASSWORD".to_owned());
        let expected = [
            ("REGISTRY_PASWORD".to_owned(), like),
            ("my-key.pem".to_owned(), None),
        ];
        assert_eq!(strangers(dir.path(), &known), expected);
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(NAMES.windows(2).all(|w| w[0] < w[1]));
    }
}
