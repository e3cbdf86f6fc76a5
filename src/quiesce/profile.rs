//! Profiles as people write them: `docker:pause`, `exec:CONTAINER:CMD / CMD`, `mariadb:...`, `postgres:...`, `fsfreeze:PATH`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::quiesce::QuiesceError;

/// What may be written.
pub(super) const FORMS: &str = "there is docker:pause, docker:stop, exec:CONTAINER:CMD[ / CMD], mariadb:[CONTAINER|SOCKET|URL], \
                                postgres:[CONTAINER|SOCKET|URL], fsfreeze:PATH, none";

/// One way to hold writers still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Containers that write to the volume are paused.
    Pause,
    /// Containers that write to the volume are stopped.
    Stop,
    /// A command in a container before, and one after.
    Exec {
        /// The container.
        container: String,
        /// For a shell, before.
        before: String,
        /// For a shell, after.
        after: Option<String>,
    },
    /// A session with a database that keeps it from committing, or in backup mode.
    Database {
        /// Which.
        server: Server,
        /// How it is reached.
        at: Where,
    },
    /// A file system takes no writes.
    Freeze {
        /// A path on it.
        path: PathBuf,
    },
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// MariaDB or MySQL.
    MariaDb,
    /// PostgreSQL.
    Postgres,
}

/// How a database is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// As its client does by itself.
    Here,
    /// By a socket, of PostgreSQL its directory.
    Socket(PathBuf),
    /// By an address.
    Address {
        /// The host.
        host: String,
        /// The port.
        port: Option<u16>,
        /// The user.
        user: Option<String>,
        /// The database.
        database: Option<String>,
    },
    /// By the client in a container.
    Container(String),
}

impl Profile {
    /// Reads a profile; `none` is no profile.
    pub fn parse(text: &str) -> Result<Option<Self>, QuiesceError> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        // What follows the word may hold a password, and is not repeated.
        let is_word = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let more = if is_word && text == word { "" } else { ":..." };
        let shown = format!("{}{more}", if is_word { word } else { "" });
        let bad = |problem: &str| QuiesceError::Bad { text: shown.clone(), problem: problem.to_owned() };
        Ok(Some(match (word, rest) {
            ("none", "") => return Ok(None),
            ("docker", "pause") => Self::Pause,
            ("docker", "stop") => Self::Stop,
            ("docker", _) => return Err(bad("a container is paused or stopped")),
            ("exec", rest) => {
                let (container, commands) = rest.split_once(':').ok_or_else(|| bad("the command is missing"))?;
                let container = name(container).ok_or_else(|| bad("the container's name is missing"))?;
                let (before, after) = commands_of(commands);
                if before.is_empty() {
                    return Err(bad("the command is missing"));
                }
                Self::Exec { container, before, after }
            }
            ("mariadb" | "mysql", at) => Self::Database { server: Server::MariaDb, at: place(at).map_err(bad)? },
            ("postgres" | "postgresql", at) => Self::Database { server: Server::Postgres, at: place(at).map_err(bad)? },
            ("fsfreeze", path) if path.starts_with('/') => Self::Freeze { path: PathBuf::from(path) },
            ("fsfreeze", _) => return Err(bad("the path of a mounted file system is missing")),
            _ => return Err(bad("there is none of that name")),
        }))
    }
}

/// The command before, and the one after. A `/` between blanks parts them; one without, if there is no other.
fn commands_of(text: &str) -> (String, Option<String>) {
    let one = || text.split_once('/').filter(|(a, b)| !b.contains('/') && !a.is_empty() && !a.ends_with(' '));
    let parted = match text.strip_suffix(" /") {
        Some(before) => Some((before, "")),
        None => text.split_once(" / ").or_else(one),
    };
    let (before, after) = parted.unwrap_or((text, ""));
    let after = Some(after.trim()).filter(|after| !after.is_empty());
    (before.trim().to_owned(), after.map(str::to_owned))
}

/// The name or id of a container.
fn name(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain)).then(|| text.to_owned())
}

fn place(text: &str) -> Result<Where, &'static str> {
    if text.is_empty() {
        return Ok(Where::Here);
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(Where::Socket(PathBuf::from(text)));
    }
    if !text.contains("//") {
        return name(text).map(Where::Container).ok_or("that is neither a container nor a URL");
    }
    // `mariadb://host` and `mariadb:mariadb://host` are the same.
    let url = if text.starts_with("//") { format!("db:{text}") } else { text.to_owned() };
    let url = Url::parse(&url).map_err(|_| "that is no URL")?;
    if url.password().is_some() {
        return Err("a password is never given here, everybody who lists processes would see it; use \
                    DVC_QUIESCE_PASSWORD_FILE or the client's own file");
    }
    let plain = |text: &str| {
        let decoded = url_decoded(text);
        (!decoded.is_empty() && !decoded.starts_with('-') && !decoded.contains(['\0', '\n'])).then_some(decoded)
    };
    let host = url.host_str().and_then(plain).ok_or("the host is missing")?;
    let database = url.path().trim_start_matches('/');
    Ok(Where::Address { host, port: url.port(), user: plain(url.username()), database: plain(database) })
}

fn url_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B").replace('&', "%26")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(before: &str, after: Option<&str>) -> Profile {
        let after = after.map(str::to_owned);
        Profile::Exec { container: "db".to_owned(), before: before.to_owned(), after }
    }

    #[test]
    fn every_form_is_read() {
        let of = |server, at| Profile::Database { server, at };
        let address = |host: &str, port, user: Option<&str>, database: Option<&str>| Where::Address {
            host: host.to_owned(),
            port,
            user: user.map(str::to_owned),
            database: database.map(str::to_owned),
        };
        let table = [
            ("docker:pause", Profile::Pause),
            ("docker:stop", Profile::Stop),
            ("exec:db:lock", exec("lock", None)),
            ("exec:db:lock/unlock", exec("lock", Some("unlock"))),
            ("exec:db:/bin/lock a", exec("/bin/lock a", None)),
            ("exec:db:/bin/lock /", exec("/bin/lock", None)),
            ("exec:db:/bin/lock a / /bin/unlock b:c", exec("/bin/lock a", Some("/bin/unlock b:c"))),
            ("mariadb:", of(Server::MariaDb, Where::Here)),
            ("mysql:/run/m.sock", of(Server::MariaDb, Where::Socket("/run/m.sock".into()))),
            ("mariadb:shop-db.1", of(Server::MariaDb, Where::Container("shop-db.1".to_owned()))),
            ("mariadb://a%40b@h:33/x", of(Server::MariaDb, address("h", Some(33), Some("a@b"), Some("x")))),
            ("postgres:postgresql://h", of(Server::Postgres, address("h", None, None, None))),
            ("postgres", of(Server::Postgres, Where::Here)),
            ("fsfreeze:/mnt", Profile::Freeze { path: "/mnt".into() }),
        ];
        for (text, expected) in table {
            assert_eq!(Profile::parse(text).unwrap(), Some(expected), "{text}");
        }
        assert_eq!(Profile::parse("none").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let table = [
            ("docker", "paused or stopped"),
            ("docker:kill", "paused or stopped"),
            ("exec:db", "command is missing"),
            ("exec:db:", "command is missing"),
            ("exec:../x:a", "name is missing"),
            ("mariadb:a b", "neither"),
            ("postgres://u:secret@h", "never given here"),
            ("postgres://-oops", "host is missing"),
            ("fsfreeze:mnt", "path"),
            ("mysql:root:secret", "neither"),
            ("mariadb:root/secret", "neither"),
            ("mysql://[secret", "no URL"),
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
            let said = Profile::parse(text).unwrap_err();
            assert!(said.to_string().contains(expected) && !said.to_string().contains("secret"), "{text}: {said}");
        }
    }
}
