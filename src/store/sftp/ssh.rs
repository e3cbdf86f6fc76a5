//! The system's `ssh` as the way to a server: its arguments, its process, and what its last words mean.
//!
//! Keys, agents, jump hosts and known hosts are the business of `ssh` and its configuration. Nobody is asked for a
//! password, and nothing secret stands among the arguments.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::Wrong;
use crate::store::Trouble;
use crate::store::location::Location;

/// Bytes of its messages that are kept.
const WORDS: usize = 8 << 10;
/// Lines of them that are shown.
const LINES: usize = 3;
/// What is said where `ssh` gives no reason of its own.
const ENDED: &str = "`ssh` ended without a reason; the server's log has it (does the account have sftp there?)";
/// How long its last words are waited for once the connection broke.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is always set. A command, a forwarding or a silence of the user's configuration would get in the way; a
/// shared connection that is open already may be used, but none is left behind.
const ALWAYS: &[&str] = &[
    "BatchMode=yes",
    "ConnectTimeout=10",
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

/// How a server is called.
pub(super) struct Ssh {
    arguments: Vec<String>,
}

/// A running `ssh`.
pub(super) struct Process {
    /// Ends with this value.
    pub(super) child: Child,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) words: Words,
}

impl Ssh {
    /// The call for a location, or what is wrong with it.
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
        arguments.extend(["-s", "--", host, "sftp"].map(str::to_owned));
        Ok(Self { arguments })
    }

    /// Starts it. It has a process group of its own: ctrl-C in a terminal must not take away the connection by which
    /// we end cleanly.
    pub(super) fn start(&self) -> Result<Process, Wrong> {
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
            let words = Words::of(child.stderr.take().ok_or_else(piped)?);
            Ok(Process { child, stdin, stdout, words })
        };
        start().map_err(|e| {
            let source = match e.kind() {
                io::ErrorKind::NotFound => io::Error::new(e.kind(), "it is not installed, and sftp needs it"),
                _ => e,
            };
            Wrong::Here { what: "run", key: "ssh".to_owned(), source }
        })
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let number = |port: &str| port.parse::<u16>().map_err(|_| format!("`{port}` is no port"));
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, "")) => (v6, None),
        Some((v6, rest)) => (v6, Some(number(rest.trim_start_matches(':'))?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(number(port)?)),
            None => (text, None),
        },
    };
    // `ssh` would take such a name for an option, or a control character for what it is to the terminal.
    if host.is_empty() || host.starts_with('-') || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("`{}` is no host name", host.escape_debug()));
    }
    Ok((host, port))
}

/// What `ssh` writes to its standard error, the last of it.
#[derive(Clone)]
pub(super) struct Words {
    text: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<bool>,
}

impl Words {
    fn of(mut stderr: ChildStderr) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = watch::channel(false);
        let words = Self { text: Arc::clone(&text), ended };
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
                let mut text = text.lock();
                text.extend_from_slice(&buffer[..n]);
                let surplus = text.len().saturating_sub(WORDS);
                text.drain(..surplus);
            }
            // Nobody waits any more if this fails.
            let _ = end.send(true);
        });
        words
    }

    /// Whether the process is at its end.
    pub(super) fn are_over(&self) -> bool {
        *self.ended.borrow()
    }

    /// What went wrong, by its last words; `otherwise` where it said nothing.
    pub(super) async fn verdict(&self, otherwise: &str) -> (Trouble, String) {
        let mut ended = self.ended.clone();
        let over = tokio::time::timeout(LAST_WORDS, ended.wait_for(|over| *over)).await;
        drop(over);
        let text = String::from_utf8_lossy(&self.text.lock()).into_owned();
        let (trouble, said) = meaning(&text, otherwise);
        (trouble.unwrap_or(Trouble::Unreachable), said)
    }
}

/// Which trouble a line of `ssh` tells of. The last line counts: warnings come before.
const MEANINGS: &[(&str, Trouble)] = &[
    ("could not resolve hostname", Trouble::UnknownHost),
    ("host key verification failed", Trouble::Untrusted),
    ("remote host identification has changed", Trouble::Untrusted),
    ("no matching host key type found", Trouble::Untrusted),
    ("too many authentication failures", Trouble::Denied),
    ("permission denied (", Trouble::Denied),
    ("permission denied, please try again", Trouble::Denied),
    ("timed out", Trouble::TimedOut),
    ("not responding", Trouble::TimedOut),
    ("connection refused", Trouble::Unreachable),
    ("no route to host", Trouble::Unreachable),
    ("network is unreachable", Trouble::Unreachable),
    ("subsystem request failed", Trouble::NoSftp),
    ("unable to negotiate", Trouble::Refused),
    ("bad configuration option", Trouble::Refused),
    ("can't open user config file", Trouble::Refused),
    ("this service allows sftp connections only", Trouble::Refused),
    ("disk quota exceeded", Trouble::Full),
    ("no space left on device", Trouble::Full),
];

/// How other lines of `ssh` begin. All else is the server's banner, or what a command of the user's configuration says.
const OWN: &[&str] = &[
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

/// The trouble that the last words of `ssh` tell of, and those of them that say why; `otherwise` where it said nothing.
fn meaning(text: &str, otherwise: &str) -> (Option<Trouble>, String) {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| l.chars().any(|c| c.is_alphanumeric())).collect();
    let of = |line: &str| {
        let line = line.to_ascii_lowercase();
        MEANINGS.iter().find(|(words, _)| line.contains(words)).map(|(_, trouble)| *trouble)
    };
    let is_own = |line: &str| {
        let line = line.to_ascii_lowercase();
        of(&line).is_some() || OWN.iter().any(|words| line.starts_with(words))
    };
    let trouble = lines.iter().rev().find_map(|line| of(line));
    // A banner comes before all that matters and may be long, so it must not crowd out the reason.
    let own: Vec<&str> = lines.iter().copied().filter(|line| is_own(line)).collect();
    let said = match (own.is_empty(), lines.is_empty()) {
        (false, _) => own[own.len().saturating_sub(LINES)..].join("; "),
        (true, false) => {
            let mut last = lines[lines.len().saturating_sub(LINES)..].to_vec();
            last.dedup();
            format!("{ENDED}; before that it printed: {}", last.join("; "))
        }
        (true, true) => otherwise.to_owned(),
    };
    // A server may send anything; a terminal would obey it.
    (trouble, said.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
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
        for bad in ["", "-oProxyCommand=x", "[-x]:22", "h:x", "a b", ":22", "a\u{1b}"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn last_words() {
        let table = [
            ("ssh: Could not resolve hostname x: Name or service not known", Some(Trouble::UnknownHost)),
            ("me@h: Permission denied (publickey,password).", Some(Trouble::Denied)),
            ("Host key verification failed.\r\n", Some(Trouble::Untrusted)),
            (
                "Could not create directory '/x/.ssh' (Permission denied).\nssh: connect to host h port 22: Connection refused",
                Some(Trouble::Unreachable),
            ),
            ("ssh: connect to host h port 22: Connection timed out", Some(Trouble::TimedOut)),
            ("Timeout, server h not responding.", Some(Trouble::TimedOut)),
            ("subsystem request failed on channel 0", Some(Trouble::NoSftp)),
            ("client_loop: send disconnect: Broken pipe", None),
            ("", None),
        ];
        for (text, trouble) in table {
            assert_eq!(meaning(text, "").0, trouble, "{text}");
        }
        let said = |text| meaning(text, "nothing").1;
        assert_eq!(said("a\n\n@@@\nb\x1b[2J\nc\nd\n"), format!("{ENDED}; before that it printed: b?[2J; c; d"));
        assert_eq!(said(""), "nothing");
    }

    #[test]
    fn a_banner_does_not_crowd_out_the_reason() {
        let banner = "WELCOME, all is logged\n".repeat(20);
        let closed = "Connection closed by 127.0.0.1 port 22";
        assert_eq!(meaning(&format!("{closed}\n{banner}"), "").1, closed);
        assert_eq!(meaning(&format!("{banner}{closed}"), "").1, closed);
        assert_eq!(meaning(&banner, "").1, format!("{ENDED}; before that it printed: WELCOME, all is logged"));
    }
}
