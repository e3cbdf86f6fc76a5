//! A session with a database that quiesces it: the global read lock of MariaDB, the backup mode of
//! PostgreSQL.
//!
//! The session runs in the database's own client, on the host or in a container. The client exits
//! when its input is closed, so the database is released even if the watchdog dies. Passwords are
//! passed in the environment, never as arguments.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::lines::{LineReader, NextLine};
use super::profile::{DatabaseAddress, DatabaseServer};
use crate::docker::{self, DockerEngine, ExecCommand};
use crate::error::with_causes;

/// The lines that the client prints when the database is quiesced, and when it is released.
const QUIESCED: &str = "dvc-quiesced";
const RELEASED: &str = "dvc-released";
/// The time that a client may take to exit.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Shell script that runs the client of MariaDB or MySQL in a container as root, with the password
/// from the variables of the official images.
const MARIADB_INSIDE: &str = r#"p=${MYSQL_PWD-${MARIADB_ROOT_PASSWORD-${MYSQL_ROOT_PASSWORD-}}}
f=${MARIADB_ROOT_PASSWORD_FILE-${MYSQL_ROOT_PASSWORD_FILE-}}
[ -n "$p" ] || [ -z "$f" ] || p=$(cat "$f")
[ -z "$p" ] || export MYSQL_PWD="$p"
c=mariadb; command -v mariadb >/dev/null 2>&1 || c=mysql
exec $c --user=root --batch --skip-column-names --unbuffered --skip-reconnect"#;
/// Shell script that runs the client of PostgreSQL in a container, as the user of the official
/// image.
const POSTGRES_INSIDE: &str = r#"exec psql -X -q -t -A -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" \
-d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}""#;

/// A session that quiesces a database.
pub(super) struct DatabaseSession<'e> {
    server: DatabaseServer,
    client: DatabaseClient<'e>,
}

enum DatabaseClient<'e> {
    Here {
        child: Child,
        input: Option<ChildStdin>,
        output: LineReader,
    },
    Inside(docker::ExecSession<'e>),
}

impl<'e> DatabaseSession<'e> {
    /// Quiesces a database. `gone` returns whether the commit is gone.
    pub(super) fn begin(
        server: DatabaseServer,
        at: &DatabaseAddress,
        password: Option<&str>,
        engine: Option<&'e DockerEngine>,
        until: Instant,
        gone: &mut dyn FnMut() -> bool,
    ) -> Result<Self, String> {
        let client = match (at, engine) {
            (DatabaseAddress::Container(container), Some(engine)) => {
                inside(server, container, password, engine)?
            }
            _ => here(server, at, password)?,
        };
        let mut session = Self { server, client };
        session.send(&begin_script(
            server,
            until.saturating_duration_since(Instant::now()),
        ))?;
        session.expect_line(QUIESCED, until, gone)?;
        Ok(session)
    }

    /// Describes the session for users.
    pub(super) const fn description(&self) -> &'static str {
        match self.server {
            DatabaseServer::MariaDb => "locked the tables of the MariaDB server",
            DatabaseServer::Postgres => "put the PostgreSQL server into backup mode",
        }
    }

    /// Releases the database. Fails if the session has ended before.
    pub(super) fn end(mut self) -> Result<(), String> {
        let text = match self.server {
            DatabaseServer::MariaDb => format!("UNLOCK TABLES;\nSELECT '{RELEASED}';\n"),
            // `wait_for_archive` is false, because a failing archive command would block the
            // release (PostgreSQL manual, `pg_backup_stop`).
            DatabaseServer::Postgres => format!(
                "\\if :new\nSELECT count(*) FROM pg_backup_stop(false);\n\\else\nSELECT count(*) FROM pg_stop_backup(false, false);\n\
                 \\endif\nSELECT '{RELEASED}';\n"
            ),
        };
        let lost = |why: String| format!("the database session ended too early: {why}");
        self.send(&text).map_err(lost)?;
        self.expect_line(RELEASED, Instant::now() + END_TIMEOUT * 4, &mut || false)
            .map_err(lost)
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        match &mut self.client {
            DatabaseClient::Here { input, .. } => {
                let sent = input
                    .as_mut()
                    .map_or(Ok(()), |input| input.write_all(text.as_bytes()));
                // If the client has exited, its error output has the reason.
                sent.map_err(|e| self.complaints().unwrap_or_else(|| e.to_string()))
            }
            DatabaseClient::Inside(session) => session
                .send(text.as_bytes(), END_TIMEOUT)
                .map_err(|e| with_causes(&e)),
        }
    }

    /// Waits until the client prints the line `word`, and skips other lines. Fails at `until`, if
    /// the client exits, or if `gone` returns `true`.
    fn expect_line(
        &mut self,
        word: &str,
        until: Instant,
        gone: &mut dyn FnMut() -> bool,
    ) -> Result<(), String> {
        loop {
            if gone() {
                return Err("the commit process no longer runs".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            // The short wait serves to notice that the commit is gone.
            let tick = left.min(Duration::from_millis(200));
            let line = match &mut self.client {
                DatabaseClient::Here { output, .. } => match output.next(tick) {
                    NextLine::Line(line) => Some(line),
                    NextLine::Late => None,
                    NextLine::End => {
                        return Err(self
                            .complaints()
                            .unwrap_or_else(|| "the database client exited".to_owned()));
                    }
                },
                DatabaseClient::Inside(session) => match session.line(tick) {
                    Ok(Some(line)) => Some(line),
                    Err(docker::EngineError::TimedOut { .. }) => None,
                    Ok(None) => {
                        let said = session.complaints();
                        return Err(if said.is_empty() {
                            "the database client exited".to_owned()
                        } else {
                            said
                        });
                    }
                    Err(e) => return Err(with_causes(&e)),
                },
            };
            match line {
                // Other lines are results of the statements.
                Some(line) if line.trim() == word => return Ok(()),
                None if left.is_zero() => {
                    return Err("the database did not respond in time".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Closes the input of a client on this machine, waits until it exits, and returns at most 16
    /// KiB of its error output, in one line.
    fn complaints(&mut self) -> Option<String> {
        let DatabaseClient::Here { child, input, .. } = &mut self.client else {
            return None;
        };
        // The client exits at the end of its input.
        drop(input.take());
        ended(child);
        let mut said = String::new();
        // The client has exited, so the read does not block.
        let _ = child
            .stderr
            .as_mut()?
            .take(16 << 10)
            .read_to_string(&mut said);
        Some(said.trim().replace('\n', "; ")).filter(|said| !said.is_empty())
    }
}

impl Drop for DatabaseSession<'_> {
    fn drop(&mut self) {
        if let DatabaseClient::Here { child, input, .. } = &mut self.client {
            // The client exits at the end of its input, and the server ends the lock or the backup
            // with the session.
            drop(input.take());
            ended(child);
        }
    }
}

/// Waits until a client whose input is closed exits, and kills it after a timeout.
fn ended(child: &mut Child) {
    let until = Instant::now() + END_TIMEOUT;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            // A client that does not exit keeps its session and with it the lock.
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn begin_script(server: DatabaseServer, left: Duration) -> String {
    // A `statement_timeout` of zero would mean no timeout.
    let secs = left.as_secs().max(1);
    match server {
        // Flush the buffers of the log to its file, so that a version has all acknowledged
        // transactions.
        DatabaseServer::MariaDb => format!(
            "SET SESSION lock_wait_timeout = {secs};\nFLUSH TABLES WITH READ LOCK;\nFLUSH ENGINE LOGS;\nSELECT '{QUIESCED}';\n"
        ),
        // PostgreSQL 15 renamed the functions. The argument `true` requests an immediate
        // checkpoint; a spread one takes minutes.
        DatabaseServer::Postgres => format!(
            "SET statement_timeout = '{secs}s';\nSELECT :SERVER_VERSION_NUM >= 150000 AS new \\gset\n\\if :new\n\
             SELECT pg_backup_start('dvc', true);\n\\else\nSELECT pg_start_backup('dvc', true, false);\n\\endif\nSELECT '{QUIESCED}';\n"
        ),
    }
}

/// Returns the environment variable from which a client reads the password.
const fn variable(server: DatabaseServer) -> &'static str {
    match server {
        DatabaseServer::MariaDb => "MYSQL_PWD",
        DatabaseServer::Postgres => "PGPASSWORD",
    }
}

fn inside<'e>(
    server: DatabaseServer,
    container: &str,
    password: Option<&str>,
    engine: &'e DockerEngine,
) -> Result<DatabaseClient<'e>, String> {
    let script = match server {
        DatabaseServer::MariaDb => MARIADB_INSIDE,
        DatabaseServer::Postgres => POSTGRES_INSIDE,
    };
    let exec = ExecCommand {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        // The password is in the environment, because the arguments of a process are visible to all
        // users.
        env: password
            .map(|password| format!("{}={password}", variable(server)))
            .into_iter()
            .collect(),
    };
    engine
        .session(container, &exec)
        .map(DatabaseClient::Inside)
        .map_err(|e| with_causes(&e))
}

fn here<'e>(
    server: DatabaseServer,
    at: &DatabaseAddress,
    password: Option<&str>,
) -> Result<DatabaseClient<'e>, String> {
    // After a reconnect, the client of MariaDB would go on without the lock. For psql, `-X` ignores
    // `.psqlrc`, and `-w` never asks for a password.
    let (programs, fixed): (&[&str], &[&str]) = match server {
        DatabaseServer::MariaDb => (
            &["mariadb", "mysql"],
            &[
                "--batch",
                "--skip-column-names",
                "--unbuffered",
                "--skip-reconnect",
            ],
        ),
        DatabaseServer::Postgres => (
            &["psql"],
            &["-X", "-q", "-t", "-A", "-w", "-v", "ON_ERROR_STOP=1"],
        ),
    };
    let (host, port, user, database) = match server {
        DatabaseServer::MariaDb => ("--host=", "--port=", "--user=", "--database="),
        DatabaseServer::Postgres => ("--host=", "--port=", "--username=", "--dbname="),
    };
    let mut args: Vec<String> = fixed.iter().map(|a| (*a).to_owned()).collect();
    match at {
        DatabaseAddress::Here | DatabaseAddress::Container(_) => {}
        DatabaseAddress::Socket(path) if server == DatabaseServer::MariaDb => {
            args.push(format!("--socket={}", path.display()))
        }
        DatabaseAddress::Socket(path) => args.push(format!("{host}{}", path.display())),
        DatabaseAddress::Address {
            host: name,
            port: number,
            user: who,
            database: which,
        } => {
            args.push(format!("{host}{name}"));
            args.extend(number.map(|number| format!("{port}{number}")));
            args.extend(who.as_ref().map(|who| format!("{user}{who}")));
            args.extend(which.as_ref().map(|which| format!("{database}{which}")));
        }
    }
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    // Older installations have only the program `mysql`.
    for program in programs {
        let mut c = Command::new(program);
        c.args(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // The arguments of a process are visible to all users, but its environment is not.
        c.envs(password.map(|password| (variable(server), password)));
        // By default, libpq waits for a connection without a limit.
        if server == DatabaseServer::Postgres {
            c.env("PGCONNECT_TIMEOUT", "10");
        }
        match c.spawn() {
            Ok(mut child) => {
                let Some(output) = child.stdout.take() else {
                    continue;
                };
                let output = LineReader::new(File::from(OwnedFd::from(output)));
                return Ok(DatabaseClient::Here {
                    input: child.stdin.take(),
                    output,
                    child,
                });
            }
            Err(e) => last = e,
        }
    }
    Err(format!(
        "cannot run `{}`: {last}",
        programs.first().unwrap_or(&"")
    ))
}
