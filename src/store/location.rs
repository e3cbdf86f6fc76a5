//! Locations of repositories: parses URLs and paths as users write them, including old forms, into
//! one normal form.
//!
//! A password in a URL is removed before other code sees the URL; the normal form never contains a
//! password.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use crate::error::{Failure, Kind};

/// The protocol of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A directory of this machine, local or mounted.
    File,
    /// Amazon S3 and compatible stores.
    S3,
    /// Azure Blob Storage.
    Azblob,
    /// Azure Files.
    Azfile,
    /// Google Cloud Storage.
    Gcs,
    /// A directory on an SFTP server.
    Sftp,
    Webdav,
    /// A container registry.
    Oci,
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Azblob => "azblob",
            Self::Azfile => "azfile",
            Self::Gcs => "gs",
            Self::Sftp => "sftp",
            Self::Webdav => "webdav",
            Self::Oci => "oci",
        }
    }

    /// Returns the names of the options that the scheme supports.
    const fn options(self) -> &'static [&'static str] {
        match self {
            Self::File => &[],
            Self::S3 => &["endpoint", "region", "insecure", "anonymous", "style"],
            Self::Azblob | Self::Azfile => &["endpoint", "insecure"],
            Self::Gcs => &["endpoint", "anonymous", "insecure"],
            Self::Sftp => &["key", "config"],
            Self::Webdav | Self::Oci => &["insecure"],
        }
    }
}

/// A location of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    pub scheme: Scheme,
    pub user: Option<String>,
    /// Host name with port, bucket, or account; empty for a directory.
    pub host: String,
    /// Path without slashes at both ends. The path of a directory or an SFTP location begins with
    /// `/` or `~/`.
    pub path: String,
    /// Options after `?`.
    pub options: BTreeMap<String, String>,
}

/// The result of [`Location::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedLocation {
    pub location: Location,
    /// Whether a password was removed.
    pub had_password: bool,
}

/// The error for text that is not a valid location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL `{text}`: {why}")]
pub struct BadLocation {
    /// The text without a password.
    pub text: String,
    pub why: String,
    /// The hint, if the general one does not help.
    pub remedy: Option<String>,
}

impl BadLocation {
    fn new(text: String, why: impl Into<String>) -> Self {
        let why = why.into();
        Self {
            text,
            why,
            remedy: None,
        }
    }
}

impl Failure for BadLocation {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        let general = "use a path, or s3://, gs://, azblob://, sftp://, webdavs://, oci://; see dvc-remotes(7)";
        Some(self.remedy.clone().unwrap_or_else(|| general.to_owned()))
    }
}

impl Location {
    /// Returns the location of a directory of this machine.
    pub fn directory(path: &Path) -> Self {
        let path = path.to_string_lossy().into_owned();
        Self {
            scheme: Scheme::File,
            user: None,
            host: String::new(),
            path,
            options: BTreeMap::new(),
        }
    }

    /// Returns whether a text is meant as a URL and not as a path.
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
            || scp_like(text).is_some()
            || has_password_like_scp(text)
            || host_and_path(text).is_some()
    }

    /// Parses a URL or path. A relative path is resolved against `base`.
    pub fn parse(text: &str, base: &Path) -> Result<ParsedLocation, BadLocation> {
        if let Some(scp) = scp_like(text) {
            return sftp(text, Some(scp.user), scp.host, scp.path).map(|location| ParsedLocation {
                location,
                had_password: false,
            });
        }
        let Some((word, rest)) = text.split_once("://") else {
            if has_password_like_scp(text) {
                let why = "SSH locations cannot contain a password";
                return Err(BadLocation::new(without_password(text), why));
            }
            // An existing file wins, because a file name may contain a colon.
            if let Some((host, path)) = host_and_path(text).filter(|_| !base.join(text).exists()) {
                let path = if path.starts_with('/') {
                    path.to_owned()
                } else {
                    format!("/~/{path}")
                };
                return Err(BadLocation {
                    text: text.to_owned(),
                    why: "ambiguous: a host with a path, or a local path".to_owned(),
                    remedy: Some(format!(
                        "write `sftp://{host}{path}` for another host, or `./{text}` for a local directory"
                    )),
                });
            }
            return Ok(ParsedLocation {
                location: Self::directory(&absolute(text, base)),
                had_password: false,
            });
        };
        let bad = |why: &str| BadLocation::new(without_password(text), why);
        if matches!(word, "file" | "cp" | "vfs") {
            let path = percent_decoded(rest);
            // RFC 8089 allows `file://localhost/path`.
            let path = path
                .strip_prefix("localhost/")
                .map_or(path.clone(), |p| format!("/{p}"));
            if word == "file" && !path.starts_with('/') {
                return Err(bad("a file URL must begin with `file:///`"));
            }
            return Ok(ParsedLocation {
                location: Self::directory(&absolute(&path, base)),
                had_password: false,
            });
        }
        // In `scp://user@host:path`, the colon precedes a path and not a port.
        let (authority, below) = rest
            .split_once('/')
            .map_or((rest, None), |(host, below)| (host, Some(below)));
        if word == "scp"
            && let Some((who, first)) = authority.rsplit_once(':')
            && first.parse::<u16>().is_err()
            && !first.contains('@')
        {
            let (user, host) = who
                .rsplit_once('@')
                .map_or((None, who), |(user, host)| (Some(user), host));
            let had_password = user.is_some_and(|user| user.contains(':'));
            let path = below.map_or(first.to_owned(), |below| format!("{first}/{below}"));
            return sftp(text, user.map(user_of), host, &path).map(|location| ParsedLocation {
                location,
                had_password,
            });
        }
        let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
        let had_password = url.password().is_some();
        let mut options: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let user = Some(percent_decoded(url.username())).filter(|u| !u.is_empty());
        let name = url.host_str().map(percent_decoded).unwrap_or_default();
        let host = url
            .port()
            .map_or(name.clone(), |port| format!("{name}:{port}"));
        let path = percent_decoded(url.path());
        let trimmed = path.trim_matches('/').to_owned();
        let no_user = |user: Option<String>| match user {
            None => Ok(None),
            Some(_) => Err(bad("a URL cannot contain credentials")),
        };
        let location = match word {
            "s3" => match user {
                // In the old form `s3://bucket@region/path`, the host is the region.
                Some(bucket) if !had_password => {
                    options.entry("region".to_owned()).or_insert(name);
                    Self {
                        scheme: Scheme::S3,
                        user: None,
                        host: bucket,
                        path: trimmed,
                        options,
                    }
                }
                _ => Self {
                    scheme: Scheme::S3,
                    user: None,
                    host: name,
                    path: trimmed,
                    options,
                },
            },
            "minio" => {
                let (bucket, below) = trimmed.split_once('/').unwrap_or((&trimmed, ""));
                let insecure = options.get("insecure").is_some_and(|v| v == "1");
                let scheme = if is_local(&host) || insecure {
                    "http"
                } else {
                    "https"
                };
                options
                    .entry("endpoint".to_owned())
                    .or_insert(format!("{scheme}://{host}"));
                Self {
                    scheme: Scheme::S3,
                    user: None,
                    host: bucket.to_owned(),
                    path: below.to_owned(),
                    options,
                }
            }
            "azblob" | "azure" | "az" => Self {
                scheme: Scheme::Azblob,
                user: no_user(user)?,
                host,
                path: trimmed,
                options,
            },
            "azfile" => Self {
                scheme: Scheme::Azfile,
                user: no_user(user)?,
                host,
                path: trimmed,
                options,
            },
            "gs" | "gcs" => Self {
                scheme: Scheme::Gcs,
                user: no_user(user)?,
                host,
                path: trimmed,
                options,
            },
            "sftp" | "ssh" | "scp" => {
                let path = match path.strip_prefix("/~/") {
                    Some(home) => format!("~/{}", home.trim_matches('/')),
                    None => format!("/{trimmed}"),
                };
                Self {
                    scheme: Scheme::Sftp,
                    user,
                    host,
                    path,
                    options,
                }
            }
            "webdav" | "webdavs" | "dav" | "davs" => {
                if !word.ends_with('s')
                    && !is_local(&host)
                    && options.get("insecure").is_none_or(|v| v != "1")
                {
                    return Err(bad(
                        "unencrypted HTTP is allowed only to this machine; write `webdavs://`, or add `?insecure=1`",
                    ));
                }
                // `webdavs://` requires TLS even for this machine, where `plain_http` allows plain
                // HTTP by default.
                if word.ends_with('s') {
                    options.insert("insecure".to_owned(), "0".to_owned());
                }
                Self {
                    scheme: Scheme::Webdav,
                    user,
                    host,
                    path: trimmed,
                    options,
                }
            }
            "oci" => Self {
                scheme: Scheme::Oci,
                user: no_user(user)?,
                host,
                path: trimmed,
                options,
            },
            "http" | "https" => {
                return Err(bad(
                    "ambiguous protocol; write `webdavs://`, `s3://...?endpoint=` or `oci://`",
                ));
            }
            _ => return Err(bad(&format!("unknown protocol `{word}`"))),
        };
        if location.host.is_empty() {
            return Err(bad("missing name after `://`"));
        }
        let needs_path = matches!(
            location.scheme,
            Scheme::Azblob | Scheme::Azfile | Scheme::Oci
        );
        if needs_path && location.path.is_empty() {
            return Err(bad("missing container, share or repository"));
        }
        if location.scheme == Scheme::Oci {
            registry_name(&location.path).map_err(|why| bad(&why))?;
        }
        // The URL is stored in the configuration and shown in messages, so no part of it may
        // contain a secret.
        let endpoint = location
            .options
            .get("endpoint")
            .map(String::as_str)
            .unwrap_or_default();
        if endpoint.split_once("://").is_some_and(|(_, rest)| {
            rest.split('/')
                .next()
                .is_some_and(|host| host.contains('@'))
        }) {
            return Err(bad("an endpoint cannot contain credentials"));
        }
        // A misspelt `region` or `insecure` must not be ignored.
        if let Some(unknown) = location
            .options
            .keys()
            .find(|o| !location.scheme.options().contains(&o.as_str()))
        {
            return Err(bad(&format!(
                "unknown option `{unknown}` for {}",
                location.scheme.name()
            )));
        }
        Ok(ParsedLocation {
            location,
            had_password,
        })
    }

    /// Returns the directory, if the location is one on this machine.
    pub fn as_directory(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| PathBuf::from(&self.path))
    }

    /// Returns the value of an option, or `None` if the location does not set it.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Returns whether a boolean option is set.
    pub fn is_on(&self, name: &str) -> bool {
        self.option(name)
            .is_some_and(|v| matches!(v, "1" | "true" | "yes"))
    }

    /// Returns whether unencrypted HTTP is allowed: as the option `insecure` says, or without that
    /// option if the host is this machine.
    pub fn plain_http(&self) -> bool {
        match self.option("insecure") {
            Some(_) => self.is_on("insecure"),
            None => is_local(&self.host),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options: Vec<(&str, &str)> = self
            .options
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let mut word = self.scheme.name();
        if self.scheme == Scheme::Webdav && !self.plain_http() {
            word = "webdavs";
            options.retain(|o| o.0 != "insecure");
        }
        let path = match self.path.as_str() {
            "" => String::new(),
            path if path.starts_with('/') => encoded(path),
            path => format!("/{}", encoded(path)),
        };
        write!(f, "{word}://")?;
        if let Some(user) = &self.user {
            write!(
                f,
                "{}@",
                encoded(user)
                    .replace(':', "%3A")
                    .replace('/', "%2F")
                    .replace('@', "%40")
            )?;
        }
        write!(f, "{}{path}", self.host)?;
        for (n, (key, value)) in options.iter().enumerate() {
            write!(
                f,
                "{}{key}={}",
                if n == 0 { '?' } else { '&' },
                // `query_pairs` decodes `+` as a space.
                encoded(value).replace('+', "%2B")
            )?;
        }
        Ok(())
    }
}

/// The parts of the scp address `user@host:path`.
struct ScpAddress<'a> {
    user: &'a str,
    host: &'a str,
    path: &'a str,
}

/// Parses `user@host:path`, the form of scp. The user is required, so that a file name with a colon
/// is never taken for a host.
fn scp_like(text: &str) -> Option<ScpAddress<'_>> {
    if text.contains("://") {
        return None;
    }
    let (who, path) = text.split_once(':')?;
    let (user, host) = who.split_once('@')?;
    let plain = |s: &str| !s.is_empty() && !s.contains(['/', ' ']);
    (plain(user) && plain(host)).then_some(ScpAddress { user, host, path })
}

/// Parses `host:path`, which scp, rsync and git take for a path on another host. A local path with
/// a colon must have a `/` before the colon.
fn host_and_path(text: &str) -> Option<(&str, &str)> {
    let (host, path) = text.split_once(':')?;
    let is_host = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    (is_host && !host.starts_with('.') && !path.starts_with("//")).then_some((host, path))
}

fn sftp(text: &str, user: Option<&str>, host: &str, path: &str) -> Result<Location, BadLocation> {
    let path = path.trim_end_matches('/');
    let path = match path {
        p if p.starts_with('/') || p.starts_with("~/") => p.to_owned(),
        p => format!("~/{p}"),
    };
    // ssh would treat a host that starts with `-` as an option (CVE-2017-1000117 of git).
    if host.is_empty() || host.starts_with('-') {
        return Err(BadLocation::new(
            without_password(text),
            "missing host name",
        ));
    }
    let (user, host) = (user.map(str::to_owned), host.to_owned());
    Ok(Location {
        scheme: Scheme::Sftp,
        user,
        host,
        path,
        options: BTreeMap::new(),
    })
}

/// Checks a repository name by the rules of registries: components of lower-case letters and
/// digits, joined by `.`, `_`, `-` and `/`.
fn registry_name(path: &str) -> Result<(), String> {
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) {
        return Err(
            "remove the tag or digest from the repository name, because dvc creates its own tags"
                .to_owned(),
        );
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let piece = |p: &str| p.bytes().all(good) && edge(p.bytes().next()) && edge(p.bytes().last());
    match path.split('/').all(piece) {
        true => Ok(()),
        false => Err(format!(
            "invalid repository name `{path}`; use lower-case letters, digits, `.`, `_`, `-`, `/`"
        )),
    }
}

fn user_of(userinfo: &str) -> &str {
    userinfo.split(':').next().unwrap_or_default()
}

/// Returns whether a host is `localhost`, `127.0.0.1` or `::1`, with or without a port.
pub fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

fn absolute(text: &str, base: &Path) -> PathBuf {
    let joined = base.join(text);
    // Removes `.` and trailing slashes. `..` remains, because its meaning depends on symbolic
    // links.
    joined.components().collect()
}

/// Removes the password after `user:` from a text, and hides the query of a URL.
pub fn without_password(text: &str) -> String {
    // The query may contain a token, so the query is hidden.
    let (text, query) = text
        .split_once('?')
        .map_or((text, ""), |(text, _)| (text, "?..."));
    let Some((scheme, rest)) = text.split_once("://") else {
        return match text.rsplit_once('@') {
            Some((who, host)) if who.contains(':') => format!("{}@{host}{query}", user_of(who)),
            _ => format!("{text}{query}"),
        };
    };
    // A password should not contain a slash, but it may, so search for the last `@`.
    match rest.rsplit_once('@') {
        Some((who, host)) => format!("{scheme}://{}@{host}{query}", user_of(who)),
        None => format!("{scheme}://{rest}{query}"),
    }
}

/// Returns the range of the password in the first URL of a text, including the colon before it.
pub fn password_in(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let host = text.windows(3).position(|at| at == b"://")? + 3;
    let length = text[host..]
        .iter()
        .position(|b| b"/?#".contains(b))
        .unwrap_or(text.len() - host);
    let at = text[host..host + length].iter().rposition(|b| *b == b'@')?;
    let colon = text[host..host + at].iter().position(|b| *b == b':')?;
    Some(host + colon..host + at)
}

/// Returns whether a text looks like `user:password@host:path`, which is not a plausible file name.
fn has_password_like_scp(text: &str) -> bool {
    let Some((who, rest)) = text.split_once('@') else {
        return false;
    };
    who.contains(':')
        && !who.contains('/')
        && rest
            .split('/')
            .next()
            .is_some_and(|host| host.contains(':'))
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn encoded(text: &str) -> String {
    const LEFT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
        .add(b' ')
        .add(b'%')
        .add(b'?')
        .add(b'#')
        .add(b'&')
        .add(b'"')
        .add(b'<')
        .add(b'>');
    percent_encoding::utf8_percent_encode(text, LEFT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_reads_the_same_again() {
        for text in [
            "sftp://nas/srv?key=/keys/a%2Bb",
            "sftp://dom%3Auser@nas/srv",
            "sftp://a%40b@nas/srv",
            "s3://b/a%20b?endpoint=http://127.0.0.1:9",
        ] {
            let parse = |text: &str| Location::parse(text, Path::new("/")).unwrap().location;
            let once = parse(text);
            assert_eq!(parse(&once.to_string()), once, "{text}");
        }
        let key = Location::parse("sftp://nas/srv?key=/keys/a%2Bb", Path::new("/"))
            .unwrap()
            .location;
        assert_eq!(key.option("key"), Some("/keys/a+b"));
    }

    fn normal(text: &str) -> String {
        Location::parse(text, Path::new("/base"))
            .unwrap()
            .location
            .to_string()
    }

    #[test]
    fn every_form_has_one_normal_form() {
        let table = [
            ("s3://bucket/a/b", "s3://bucket/a/b"),
            ("s3://bucket", "s3://bucket"),
            (
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=x",
                "s3://b/p?endpoint=http://127.0.0.1:9000&region=x",
            ),
            ("s3://bucket@eu-west-1/", "s3://bucket?region=eu-west-1"),
            (
                "s3://bucket@eu-west-1/dir/x",
                "s3://bucket/dir/x?region=eu-west-1",
            ),
            (
                "minio://localhost:9000/bucket",
                "s3://bucket?endpoint=http://localhost:9000",
            ),
            (
                "minio://nas:9000/bucket/dir",
                "s3://bucket/dir?endpoint=https://nas:9000",
            ),
            (
                "azblob://account/container/p",
                "azblob://account/container/p",
            ),
            ("azfile://account/share/dir", "azfile://account/share/dir"),
            ("gs://bucket/p/", "gs://bucket/p"),
            ("gcs://bucket", "gs://bucket"),
            ("sftp://me@host:2222/srv/x", "sftp://me@host:2222/srv/x"),
            ("ssh://host/srv", "sftp://host/srv"),
            ("scp://me@host/srv", "sftp://me@host/srv"),
            ("scp://me@host:srv/x", "sftp://me@host/~/srv/x"),
            ("scp://me@host:/srv/x", "sftp://me@host/srv/x"),
            ("scp://me@host:2222/srv/x", "sftp://me@host:2222/srv/x"),
            ("me@host:srv/x", "sftp://me@host/~/srv/x"),
            ("me@host:/srv/x", "sftp://me@host/srv/x"),
            ("webdavs://me@host/dav/x", "webdavs://me@host/dav/x"),
            ("webdav://localhost:8080/x", "webdav://localhost:8080/x"),
            ("file:///srv/x", "file:///srv/x"),
            ("cp:///srv/x", "file:///srv/x"),
            ("vfs://srv/x", "file:///base/srv/x"),
            ("vfs:///srv/x", "file:///srv/x"),
            ("/srv/x/", "file:///srv/x"),
            ("x/./y", "file:///base/x/y"),
            ("oci://host:5000/a/b", "oci://host:5000/a/b"),
        ];
        for (text, expected) in table {
            assert_eq!(normal(text), expected, "{text}");
            assert_eq!(
                normal(expected),
                expected,
                "the normal form of {text} is stable"
            );
        }
    }

    #[test]
    fn passwords_are_taken_out() {
        for text in [
            "sftp://me:s3cret@host/x",
            "scp://me:s3cret@host:x",
            "webdavs://me:s3cret@host/x",
        ] {
            let parsed = Location::parse(text, Path::new("/")).unwrap();
            assert!(parsed.had_password, "{text}");
            assert!(!parsed.location.to_string().contains("s3cret"));
        }
        let e = Location::parse("nonsense://me:s3cret@host/x", Path::new("/")).unwrap_err();
        assert!(!format!("{e:?} {e}").contains("s3cret"));
        let e = Location::parse("gs://me:s3cret@host/x", Path::new("/")).unwrap_err();
        assert!(!format!("{e:?} {e}").contains("s3cret"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "http://host/x",
            "s3://",
            "azblob://account",
            "s3://b?colour=red",
            "ftp://x/y",
            "file://x/y",
            "webdav://far.example/x",
            "me@-oProxyCommand:x",
        ] {
            assert!(Location::parse(text, Path::new("/")).is_err(), "{text}");
        }
        let e = Location::parse("nas:/srv/backup", Path::new("/base")).unwrap_err();
        let hint = e.hint().unwrap();
        assert!(hint.contains("`sftp://nas/srv/backup`"), "{hint}");
        let e = Location::parse("nas:backup", Path::new("/base")).unwrap_err();
        let hint = e.hint().unwrap();
        assert!(
            hint.contains(
                "`sftp://nas/~/backup` for another host, or `./nas:backup` for a local directory"
            ),
            "{hint}"
        );
        assert!(
            Location::is_url("nas:/srv")
                && !Location::is_url("./nas:/srv")
                && !Location::is_url("a/b:c")
        );
        assert!(
            !Location::is_url("./me@host:x")
                && !Location::is_url("/a:b")
                && Location::is_url("me@host:x")
        );
    }
}
