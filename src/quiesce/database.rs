//! A session with a database that holds it still while it lasts: in MariaDB the global read lock, in PostgreSQL the backup mode.
//!
//! It is led through the database's own client, here or in a container, which ends with its input: so the hold ends with
//! whoever leads it. Passwords go by the environment, never by arguments.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::docker::{self, DockerEngine, ExecCommand};
use crate::error::with_causes;
use crate::quiesce::lines::{Lines, Next};
use crate::quiesce::profile::{Server, Where};

/// What the client prints when the hold stands, and when it has ended.
const HELD: &str = "dvc-held";
const DONE: &str = "dvc-done";
/// So long a client may take to end.
const END: Duration = Duration::from_secs(5);

/// The client of MariaDB or MySQL in a container, as the user that its images make.
const MARIADB_INSIDE: &str = r#"p=${MYSQL_PWD-${MARIADB_ROOT_PASSWORD-${MYSQL_ROOT_PASSWORD-}}}
f=${MARIADB_ROOT_PASSWORD_FILE-${MYSQL_ROOT_PASSWORD_FILE-}}
[ -n "$p" ] || [ -z "$f" ] || p=$(cat "$f")
[ -z "$p" ] || export MYSQL_PWD="$p"
c=mariadb; command -v mariadb >/dev/null 2>&1 || c=mysql
exec $c --user=root --batch --skip-column-names --unbuffered --skip-reconnect"#;
/// The client of PostgreSQL in a container, likewise.
const POSTGRES_INSIDE: &str = r#"exec psql -X -q -t -A -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" \
-d "${POSTGRES_DB:-${POSTGRES_USER:-postgres}}""#;

/// A session that holds.
pub(super) struct Session<'e> {
    server: Server,
    client: Client<'e>,
}

enum Client<'e> {
    Here { child: Child, input: Option<ChildStdin>, output: Lines },
    Inside(docker::ExecSession<'e>),
}

impl<'e> Session<'e> {
    /// Begins to hold. `gone` tells whether nobody wants it any more.
    pub(super) fn begin(
        server: Server,
        at: &Where,
        password: Option<&str>,
        engine: Option<&'e DockerEngine>,
        until: Instant,
        gone: &mut dyn FnMut() -> bool,
    ) -> Result<Self, String> {
        let client = match (at, engine) {
            (Where::Container(container), Some(engine)) => inside(server, container, password, engine)?,
            _ => here(server, at, password)?,
        };
        let mut session = Self { server, client };
        session.send(&begin(server, until.saturating_duration_since(Instant::now())))?;
        session.hears(HELD, until, gone)?;
        Ok(session)
    }

    /// What it is, for people.
    pub(super) const fn words(&self) -> &'static str {
        match self.server {
            Server::MariaDb => "locked the tables of the database",
            Server::Postgres => "put the database into backup mode",
        }
    }

    /// Ends the hold; an error if it had ended before.
    pub(super) fn end(mut self) -> Result<(), String> {
        let text = match self.server {
            Server::MariaDb => format!("UNLOCK TABLES;\nSELECT '{DONE}';\n"),
            Server::Postgres => format!(
                "\\if :new\nSELECT count(*) FROM pg_backup_stop(false);\n\\else\nSELECT count(*) FROM pg_stop_backup(false, false);\n\
                 \\endif\nSELECT '{DONE}';\n"
            ),
        };
        let lost = |why: String| format!("the session with the database did not last: {why}");
        self.send(&text).map_err(lost)?;
        self.hears(DONE, Instant::now() + END * 4, &mut || false).map_err(lost)
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        match &mut self.client {
            Client::Here { input, .. } => {
                let sent = input.as_mut().map_or(Ok(()), |input| input.write_all(text.as_bytes()));
                // One that has ended says why.
                sent.map_err(|e| self.complaints().unwrap_or_else(|| e.to_string()))
            }
            Client::Inside(session) => session.send(text.as_bytes(), END).map_err(|e| with_causes(&e)),
        }
    }

    /// Waits for a line.
    fn hears(&mut self, word: &str, until: Instant, gone: &mut dyn FnMut() -> bool) -> Result<(), String> {
        loop {
            if gone() {
                return Err("it is not wanted any more".to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            let tick = left.min(Duration::from_millis(200));
            let line = match &mut self.client {
                Client::Here { output, .. } => match output.next(tick) {
                    Next::Line(line) => Some(line),
                    Next::Late => None,
                    Next::End => return Err(self.complaints().unwrap_or_else(|| "its client has ended".to_owned())),
                },
                Client::Inside(session) => match session.line(tick) {
                    Ok(Some(line)) => Some(line),
                    Err(docker::EngineError::TimedOut { .. }) => None,
                    Ok(None) => {
                        let said = session.complaints();
                        return Err(if said.is_empty() { "its client has ended".to_owned() } else { said });
                    }
                    Err(e) => return Err(with_causes(&e)),
                },
            };
            match line {
                Some(line) if line.trim() == word => return Ok(()),
                None if left.is_zero() => return Err("the database did not answer in time".to_owned()),
                _ => {}
            }
        }
    }

    /// What the client said before it ended.
    fn complaints(&mut self) -> Option<String> {
        let Client::Here { child, input, .. } = &mut self.client else { return None };
        drop(input.take());
        ended(child);
        let mut said = String::new();
        // A few lines at most; it has ended.
        let _ = child.stderr.as_mut()?.take(16 << 10).read_to_string(&mut said);
        Some(said.trim().replace('\n', "; ")).filter(|said| !said.is_empty())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Client::Here { child, input, .. } = &mut self.client {
            drop(input.take());
            ended(child);
        }
    }
}

/// Waits for the end of a client whose input is closed, and brings it about if need be.
fn ended(child: &mut Child) {
    let until = Instant::now() + END;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn begin(server: Server, left: Duration) -> String {
    let secs = left.as_secs().max(1);
    match server {
        // What is in the buffers of the log goes to its file, so that a version has all that was acknowledged.
        Server::MariaDb => format!(
            "SET SESSION lock_wait_timeout = {secs};\nFLUSH TABLES WITH READ LOCK;\nFLUSH ENGINE LOGS;\nSELECT '{HELD}';\n"
        ),
        Server::Postgres => format!(
            "SET statement_timeout = '{secs}s';\nSELECT :SERVER_VERSION_NUM >= 150000 AS new \\gset\n\\if :new\n\
             SELECT pg_backup_start('dvc', true);\n\\else\nSELECT pg_start_backup('dvc', true, false);\n\\endif\nSELECT '{HELD}';\n"
        ),
    }
}

/// The variable by which a client takes a password.
const fn variable(server: Server) -> &'static str {
    match server {
        Server::MariaDb => "MYSQL_PWD",
        Server::Postgres => "PGPASSWORD",
    }
}

fn inside<'e>(
    server: Server,
    container: &str,
    password: Option<&str>,
    engine: &'e DockerEngine,
) -> Result<Client<'e>, String> {
    let script = match server {
        Server::MariaDb => MARIADB_INSIDE,
        Server::Postgres => POSTGRES_INSIDE,
    };
    let exec = ExecCommand {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: password.map(|password| format!("{}={password}", variable(server))).into_iter().collect(),
    };
    engine.session(container, &exec).map(Client::Inside).map_err(|e| with_causes(&e))
}

fn here<'e>(server: Server, at: &Where, password: Option<&str>) -> Result<Client<'e>, String> {
    let (programs, fixed): (&[&str], &[&str]) = match server {
        Server::MariaDb => {
            (&["mariadb", "mysql"], &["--batch", "--skip-column-names", "--unbuffered", "--skip-reconnect"])
        }
        Server::Postgres => (&["psql"], &["-X", "-q", "-t", "-A", "-w", "-v", "ON_ERROR_STOP=1"]),
    };
    let (host, port, user, database) = match server {
        Server::MariaDb => ("--host=", "--port=", "--user=", "--database="),
        Server::Postgres => ("--host=", "--port=", "--username=", "--dbname="),
    };
    let mut args: Vec<String> = fixed.iter().map(|a| (*a).to_owned()).collect();
    match at {
        Where::Here | Where::Container(_) => {}
        Where::Socket(path) if server == Server::MariaDb => args.push(format!("--socket={}", path.display())),
        Where::Socket(path) => args.push(format!("{host}{}", path.display())),
        Where::Address { host: name, port: number, user: who, database: which } => {
            args.push(format!("{host}{name}"));
            args.extend(number.map(|number| format!("{port}{number}")));
            args.extend(who.as_ref().map(|who| format!("{user}{who}")));
            args.extend(which.as_ref().map(|which| format!("{database}{which}")));
        }
    }
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for program in programs {
        let mut c = Command::new(program);
        c.args(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        c.envs(password.map(|password| (variable(server), password)));
        if server == Server::Postgres {
            c.env("PGCONNECT_TIMEOUT", "10");
        }
        match c.spawn() {
            Ok(mut child) => {
                let Some(output) = child.stdout.take() else { continue };
                let output = Lines::new(File::from(OwnedFd::from(output)));
                return Ok(Client::Here { input: child.stdin.take(), output, child });
            }
            Err(e) => last = e,
        }
    }
    Err(format!("cannot run `{}`: {last}", programs.first().unwrap_or(&"")))
}
