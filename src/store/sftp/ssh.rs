//! The `ssh` program of the system as the transport: its arguments, its process, and the
//! classification of its error messages.
//!
//! Keys, agents, jump hosts and known hosts are configured in `ssh`. The process never asks for a
//! password, and its arguments contain no secrets.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::error::SftpError;
use crate::store::StoreErrorKind;
use crate::store::location::Location;

/// Limit on the stored bytes of the messages.
const MESSAGES_MAX: usize = 8 << 10;
/// Limit on the displayed lines of the messages.
const LINES: usize = 3;
/// The error message if `ssh` reports no cause.
const NO_CAUSE: &str = "`ssh` exited without an error message; see the server's log, and check that the account may use SFTP";
/// Time to wait for the last messages after the connection is lost.
const LAST_MESSAGES_LIMIT: Duration = Duration::from_secs(2);

/// Options that are always set, because a command, a forwarding or a quiet log level in the user's
/// configuration would break the session. An existing shared connection may be used, but none is
/// left open.
const ALWAYS: &[&str] = &[
    "BatchMode=yes",
    "ConnectTimeout=10",
    // `ssh` ends after four unanswered probes, so a dead server is noticed within about a minute.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "ControlMaster=no",
    "LogLevel=INFO",
];

/// The command line for a server.
pub(super) struct Ssh {
    arguments: Vec<String>,
}

/// A running `ssh` process.
pub(super) struct Process {
    /// Killed when this value is dropped.
    pub(super) child: Child,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) messages: SshMessages,
}

impl Ssh {
    /// Returns the command line for a location, or the reason why the location is invalid.
    pub(super) fn to(location: &Location) -> Result<Self, String> {
        let (host, port) = host_and_port(&location.host)?;
        let mut arguments = Vec::new();
        if let Some(config) = location.option("config") {
            arguments.extend(["-F".to_owned(), config.to_owned()]);
        }
        for option in ALWAYS {
            arguments.extend(["-o".to_owned(), (*option).to_owned()]);
        }
        if let Some(port) = port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(key) = location.option("key") {
            arguments.extend(["-i".to_owned(), key.to_owned()]);
        }
        if let Some(user) = &location.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        // After `--`, a host name is never taken for an option.
        arguments.extend(["-s", "--", host, "sftp"].map(str::to_owned));
        Ok(Self { arguments })
    }

    /// Starts `ssh` in its own process group, because ctrl-C in a terminal must not end the
    /// connection that is needed for the cleanup.
    pub(super) fn start(&self) -> Result<Process, SftpError> {
        let piped = || io::Error::other("no pipe");
        let start = || -> io::Result<Process> {
            let mut child = Command::new("ssh")
                .args(&self.arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .kill_on_drop(true)
                .spawn()?;
            let stdin = child.stdin.take().ok_or_else(piped)?;
            let stdout = child.stdout.take().ok_or_else(piped)?;
            let messages = SshMessages::of(child.stderr.take().ok_or_else(piped)?);
            Ok(Process {
                child,
                stdin,
                stdout,
                messages,
            })
        };
        start().map_err(|e| {
            let source = match e.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(e.kind(), "not installed; SFTP remotes need it")
                }
                _ => e,
            };
            SftpError::Local {
                what: "run",
                key: "ssh".to_owned(),
                source,
            }
        })
    }
}

/// Parses `host`, `host:port`, `[v6]` and `[v6]:port`.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let number = |port: &str| {
        port.parse::<u16>()
            .map_err(|_| format!("`{port}` is not a port"))
    };
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, "")) => (v6, None),
        Some((v6, rest)) => (v6, Some(number(rest.trim_start_matches(':'))?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(number(port)?)),
            None => (text, None),
        },
    };
    // `ssh` would take such a name for an option, and a terminal would interpret control
    // characters.
    if host.is_empty()
        || host.starts_with('-')
        || host.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(format!("`{}` is not a host name", host.escape_debug()));
    }
    Ok((host, port))
}

/// The last part of the standard error of `ssh`.
#[derive(Clone)]
pub(super) struct SshMessages {
    text: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<bool>,
}

impl SshMessages {
    fn of(mut stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = watch::channel(false);
        let messages = Self {
            text: Arc::clone(&text),
            ended,
        };
        // Read until the end, because `ssh` would block on a full pipe.
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
                let mut text = text.lock();
                text.extend_from_slice(&buffer[..n]);
                let surplus = text.len().saturating_sub(MESSAGES_MAX);
                text.drain(..surplus);
            }
            // The receiver may already be gone.
            let _ = end.send(true);
        });
        messages
    }

    /// Returns whether the process has closed its standard error, as it does when it ends.
    pub(super) fn have_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Returns the kind of the error and the last messages, or `otherwise` if there are no
    /// messages.
    pub(super) async fn verdict(&self, otherwise: &str) -> (StoreErrorKind, String) {
        let mut ended = self.ended.clone();
        let over = tokio::time::timeout(LAST_MESSAGES_LIMIT, ended.wait_for(|over| *over)).await;
        drop(over);
        let text = String::from_utf8_lossy(&self.text.lock()).into_owned();
        let (error_kind, detail) = classify(&text, otherwise);
        (error_kind.unwrap_or(StoreErrorKind::Unreachable), detail)
    }
}

/// Phrases in messages of `ssh`, with their meaning. The last matching line counts, because
/// warnings precede errors.
const MEANINGS: &[(&str, StoreErrorKind)] = &[
    ("could not resolve hostname", StoreErrorKind::UnknownHost),
    ("host key verification failed", StoreErrorKind::Untrusted),
    (
        "remote host identification has changed",
        StoreErrorKind::Untrusted,
    ),
    ("no matching host key type found", StoreErrorKind::Untrusted),
    ("too many authentication failures", StoreErrorKind::Denied),
    // The parenthesis distinguishes a rejected login from a local file that `ssh` may not read.
    ("permission denied (", StoreErrorKind::Denied),
    (
        "permission denied, please try again",
        StoreErrorKind::Denied,
    ),
    ("timed out", StoreErrorKind::TimedOut),
    ("not responding", StoreErrorKind::TimedOut),
    ("connection refused", StoreErrorKind::Unreachable),
    ("no route to host", StoreErrorKind::Unreachable),
    ("network is unreachable", StoreErrorKind::Unreachable),
    ("subsystem request failed", StoreErrorKind::NoSftp),
    ("unable to negotiate", StoreErrorKind::Refused),
    ("bad configuration option", StoreErrorKind::Refused),
    ("can't open user config file", StoreErrorKind::Refused),
    (
        "this service allows sftp connections only",
        StoreErrorKind::Refused,
    ),
    ("disk quota exceeded", StoreErrorKind::Full),
    ("no space left on device", StoreErrorKind::Full),
];

/// Beginnings of other messages of `ssh`. All other lines are the banner of the server, or output
/// of a command in the user's configuration.
const MESSAGE_STARTS: &[&str] = &[
    "ssh:",
    "ssh_",
    "kex_",
    "client_loop:",
    "connection ",
    "connection closed",
    "received disconnect",
    "disconnected from",
    "timeout,",
    "bad ",
    "command-line",
    "load key ",
    "no such identity",
    "identity file ",
    "authentication ",
    "unprotected private key file",
    "shared connection to",
    "channel ",
    "banner exchange:",
    "getsockname",
    "write failed",
    "packet_write_wait",
    "ssh_dispatch_run_fatal",
    "offending ",
    "@ warning",
];

/// Returns the kind of the error that the messages of `ssh` report and the lines that name the
/// cause, or `otherwise` if there are no messages.
fn classify(text: &str, otherwise: &str) -> (Option<StoreErrorKind>, String) {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| l.chars().any(|c| c.is_alphanumeric()))
        .collect();
    let of = |line: &str| {
        let line = line.to_ascii_lowercase();
        MEANINGS
            .iter()
            .find(|(phrase, _)| line.contains(phrase))
            .map(|(_, error_kind)| *error_kind)
    };
    let is_own = |line: &str| {
        let line = line.to_ascii_lowercase();
        of(&line).is_some() || MESSAGE_STARTS.iter().any(|start| line.starts_with(start))
    };
    let error_kind = lines.iter().rev().find_map(|line| of(line));
    // The banner precedes the errors and may be long, so it must not displace the cause.
    let own: Vec<&str> = lines.iter().copied().filter(|line| is_own(line)).collect();
    let detail = match (own.is_empty(), lines.is_empty()) {
        (false, _) => own[own.len().saturating_sub(LINES)..].join("; "),
        (true, false) => {
            let mut last = lines[lines.len().saturating_sub(LINES)..].to_vec();
            last.dedup();
            format!("{NO_CAUSE}; before that it printed: {}", last.join("; "))
        }
        (true, true) => otherwise.to_owned(),
    };
    // The text comes from the server, and a terminal would interpret control characters.
    (
        error_kind,
        detail
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_and_port("h"), Ok(("h", None)));
        assert_eq!(host_and_port("h:22"), Ok(("h", Some(22))));
        assert_eq!(host_and_port("[::1]:2222"), Ok(("::1", Some(2222))));
        assert_eq!(host_and_port("[::1]"), Ok(("::1", None)));
        for bad in [
            "",
            "-oProxyCommand=x",
            "[-x]:22",
            "h:x",
            "a b",
            ":22",
            "a\u{1b}",
        ] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn last_words() {
        let table = [
            (
                "ssh: Could not resolve hostname x: Name or service not known",
                Some(StoreErrorKind::UnknownHost),
            ),
            (
                "me@h: Permission denied (publickey,password).",
                Some(StoreErrorKind::Denied),
            ),
            (
                "Host key verification failed.\r\n",
                Some(StoreErrorKind::Untrusted),
            ),
            (
                "Could not create directory '/x/.ssh' (Permission denied).\nssh: connect to host h port 22: Connection refused",
                Some(StoreErrorKind::Unreachable),
            ),
            (
                "ssh: connect to host h port 22: Connection timed out",
                Some(StoreErrorKind::TimedOut),
            ),
            (
                "Timeout, server h not responding.",
                Some(StoreErrorKind::TimedOut),
            ),
            (
                "subsystem request failed on channel 0",
                Some(StoreErrorKind::NoSftp),
            ),
            ("client_loop: send disconnect: Broken pipe", None),
            ("", None),
        ];
        for (text, error_kind) in table {
            assert_eq!(classify(text, "").0, error_kind, "{text}");
        }
        let detail = |text| classify(text, "nothing").1;
        assert_eq!(
            detail("a\n\n@@@\nb\x1b[2J\nc\nd\n"),
            format!("{NO_CAUSE}; before that it printed: b?[2J; c; d")
        );
        assert_eq!(detail(""), "nothing");
    }

    #[test]
    fn a_banner_does_not_crowd_out_the_reason() {
        let banner = "WELCOME, all is logged\n".repeat(20);
        let closed = "Connection closed by 127.0.0.1 port 22";
        assert_eq!(classify(&format!("{closed}\n{banner}"), "").1, closed);
        assert_eq!(classify(&format!("{banner}{closed}"), "").1, closed);
        assert_eq!(
            classify(&banner, "").1,
            format!("{NO_CAUSE}; before that it printed: WELCOME, all is logged")
        );
    }
}
