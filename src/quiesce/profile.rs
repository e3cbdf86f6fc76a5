//! Parses the profiles of `--quiesce`: `docker:pause`, `exec:CONTAINER:CMD / CMD`, `mariadb:...`,
//! `postgres:...`, `fsfreeze:PATH`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::error::QuiesceError;

/// One way to quiesce writers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuiesceProfile {
    /// Pause the containers that write to the volume.
    Pause,
    /// Stop the containers that write to the volume.
    Stop,
    /// Run a command in a container before the commit, and another one after it.
    Exec {
        container: String,
        /// The shell command to run before the commit.
        before: String,
        /// The shell command to run after the commit.
        after: Option<String>,
    },
    /// Lock all tables of a MariaDB database, or put a PostgreSQL database into backup mode.
    Database {
        server: DatabaseServer,
        /// The server to connect to, or the container that runs it.
        at: DatabaseAddress,
    },
    /// Freeze a file system.
    Freeze {
        /// A path on the file system.
        path: PathBuf,
    },
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseServer {
    /// MariaDB or MySQL.
    MariaDb,
    /// PostgreSQL.
    Postgres,
}

/// The address of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatabaseAddress {
    /// The default address of the client on this machine.
    Here,
    /// A socket, or the directory of a PostgreSQL socket.
    Socket(PathBuf),
    /// A network address.
    Address {
        host: String,
        port: Option<u16>,
        user: Option<String>,
        database: Option<String>,
    },
    /// The server in a container, through the client in that container.
    Container(String),
}

impl QuiesceProfile {
    /// Parses a profile; `none` means no profile.
    pub fn parse(text: &str) -> Result<Option<Self>, QuiesceError> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        // The rest of the text may contain a password, so errors do not repeat it.
        let is_word = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let more = if is_word && text == word { "" } else { ":..." };
        let shown = format!("{}{more}", if is_word { word } else { "" });
        let bad = |problem: &str| QuiesceError::Bad {
            text: shown.clone(),
            problem: problem.to_owned(),
        };
        Ok(Some(match (word, rest) {
            ("none", "") => return Ok(None),
            ("docker", "pause") => Self::Pause,
            ("docker", "stop") => Self::Stop,
            ("docker", _) => return Err(bad("expected `docker:pause` or `docker:stop`")),
            ("exec", rest) => {
                let (container, commands) = rest
                    .split_once(':')
                    .ok_or_else(|| bad("the command is missing"))?;
                let container =
                    name(container).ok_or_else(|| bad("the container's name is missing"))?;
                let (before, after) = commands_of(commands);
                if before.is_empty() {
                    return Err(bad("the command is missing"));
                }
                Self::Exec {
                    container,
                    before,
                    after,
                }
            }
            ("mariadb" | "mysql", at) => Self::Database {
                server: DatabaseServer::MariaDb,
                at: place(at).map_err(bad)?,
            },
            ("postgres" | "postgresql", at) => Self::Database {
                server: DatabaseServer::Postgres,
                at: place(at).map_err(bad)?,
            },
            ("fsfreeze", path) if path.starts_with('/') => Self::Freeze {
                path: PathBuf::from(path),
            },
            ("fsfreeze", _) => return Err(bad("the path of a mounted file system is missing")),
            _ => return Err(bad("unknown name")),
        }))
    }
}

/// Splits `BEFORE / AFTER` into the commands to run before and after the commit. Without ` / `, a
/// `/` also separates them if it is the only one and does not follow a space. With ` /` at the end,
/// there is no second command.
fn commands_of(text: &str) -> (String, Option<String>) {
    let one = || {
        text.split_once('/')
            .filter(|(a, b)| !b.contains('/') && !a.is_empty() && !a.ends_with(' '))
    };
    let parted = match text.strip_suffix(" /") {
        Some(before) => Some((before, "")),
        None => text.split_once(" / ").or_else(one),
    };
    let (before, after) = parted.unwrap_or((text, ""));
    let after = Some(after.trim()).filter(|after| !after.is_empty());
    (before.trim().to_owned(), after.map(str::to_owned))
}

/// Parses the name or id of a container.
fn name(text: &str) -> Option<String> {
    // Docker has the same rule for names: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain))
        .then(|| text.to_owned())
}

fn place(text: &str) -> Result<DatabaseAddress, &'static str> {
    if text.is_empty() {
        return Ok(DatabaseAddress::Here);
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(DatabaseAddress::Socket(PathBuf::from(text)));
    }
    if !text.contains("//") {
        return name(text)
            .map(DatabaseAddress::Container)
            .ok_or("the address is not a container, socket or URL");
    }
    // `mariadb://host` and `mariadb:mariadb://host` are the same.
    let url = if text.starts_with("//") {
        format!("db:{text}")
    } else {
        text.to_owned()
    };
    let url = Url::parse(&url).map_err(|_| "the URL is invalid")?;
    if url.password().is_some() {
        return Err(
            "a password on the command line would be visible to all users; use \
                    DVC_QUIESCE_PASSWORD_FILE or the client's own file",
        );
    }
    // A value must not look like an option of the database client.
    let plain = |text: &str| {
        let decoded = url_decoded(text);
        (!decoded.is_empty() && !decoded.starts_with('-') && !decoded.contains(['\0', '\n']))
            .then_some(decoded)
    };
    let host = url
        .host_str()
        .and_then(plain)
        .ok_or("the host is missing")?;
    let database = url.path().trim_start_matches('/');
    Ok(DatabaseAddress::Address {
        host,
        port: url.port(),
        user: plain(url.username()),
        database: plain(database),
    })
}

fn url_decoded(text: &str) -> String {
    // In form data, `+` is a space and `&` a separator; in these parts of a URL, both are plain.
    url::form_urlencoded::parse(
        format!("x={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes(),
    )
    .next()
    .map(|(_, value)| value.into_owned())
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(before: &str, after: Option<&str>) -> QuiesceProfile {
        let after = after.map(str::to_owned);
        QuiesceProfile::Exec {
            container: "db".to_owned(),
            before: before.to_owned(),
            after,
        }
    }

    #[test]
    fn every_form_is_parsed() {
        let of = |server, at| QuiesceProfile::Database { server, at };
        let address = |host: &str, port, user: Option<&str>, database: Option<&str>| {
            DatabaseAddress::Address {
                host: host.to_owned(),
                port,
                user: user.map(str::to_owned),
                database: database.map(str::to_owned),
            }
        };
        let table = [
            ("docker:pause", QuiesceProfile::Pause),
            ("docker:stop", QuiesceProfile::Stop),
            ("exec:db:lock", exec("lock", None)),
            ("exec:db:lock/unlock", exec("lock", Some("unlock"))),
            ("exec:db:/bin/lock a", exec("/bin/lock a", None)),
            ("exec:db:/bin/lock /", exec("/bin/lock", None)),
            (
                "exec:db:/bin/lock a / /bin/unlock b:c",
                exec("/bin/lock a", Some("/bin/unlock b:c")),
            ),
            (
                "mariadb:",
                of(DatabaseServer::MariaDb, DatabaseAddress::Here),
            ),
            (
                "mysql:/run/m.sock",
                of(
                    DatabaseServer::MariaDb,
                    DatabaseAddress::Socket("/run/m.sock".into()),
                ),
            ),
            (
                "mariadb:shop-db.1",
                of(
                    DatabaseServer::MariaDb,
                    DatabaseAddress::Container("shop-db.1".to_owned()),
                ),
            ),
            (
                "mariadb://a%40b@h:33/x",
                of(
                    DatabaseServer::MariaDb,
                    address("h", Some(33), Some("a@b"), Some("x")),
                ),
            ),
            (
                "postgres:postgresql://h",
                of(DatabaseServer::Postgres, address("h", None, None, None)),
            ),
            (
                "postgres",
                of(DatabaseServer::Postgres, DatabaseAddress::Here),
            ),
            (
                "fsfreeze:/mnt",
                QuiesceProfile::Freeze {
                    path: "/mnt".into(),
                },
            ),
        ];
        for (text, expected) in table {
            assert_eq!(
                QuiesceProfile::parse(text).unwrap(),
                Some(expected),
                "{text}"
            );
        }
        assert_eq!(QuiesceProfile::parse("none").unwrap(), None);
    }

    #[test]
    fn invalid_profiles_are_rejected() {
        let table = [
            ("docker", "docker:pause"),
            ("docker:kill", "docker:pause"),
            ("exec:db", "command is missing"),
            ("exec:db:", "command is missing"),
            ("exec:../x:a", "name is missing"),
            ("mariadb:a b", "not a container, socket or URL"),
            ("postgres://u:secret@h", "visible to all users"),
            ("postgres://-oops", "host is missing"),
            ("fsfreeze:mnt", "path"),
            ("mysql:root:secret", "not a container, socket or URL"),
            ("mariadb:root/secret", "not a container, socket or URL"),
            ("mysql://[secret", "URL is invalid"),
            ("exec:secret", "`exec:...`"),
            ("exec:a secret:b", "`exec:...`"),
            ("docker:secret", "`docker:...`"),
            ("none:secret", "`none:...`"),
            ("fsfreeze:secret", "`fsfreeze:...`"),
            ("my@secret", "`:...`"),
            ("sql:secret", "`sql:...`"),
            ("pause", "`pause`"),
        ];
        for (text, expected) in table {
            // A password in the wrong place must not appear in the message.
            let said = QuiesceProfile::parse(text).unwrap_err();
            assert!(
                said.to_string().contains(expected) && !said.to_string().contains("secret"),
                "{text}: {said}"
            );
        }
    }
}
