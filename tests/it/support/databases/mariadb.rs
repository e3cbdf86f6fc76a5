//! A MariaDB server on a data directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::needs::{is_root, need};

/// A running server; killed when dropped.
pub struct MariaDb {
    child: Child,
    socket: PathBuf,
}

fn user(command: &mut Command) -> &mut Command {
    if is_root() {
        command.arg("--user=root")
    } else {
        command
    }
}

/// Creates an empty data directory.
pub fn install(data: &Path) {
    let mut c = Command::new(need("mariadb-install-db"));
    c.arg("--no-defaults");
    user(&mut c)
        .arg(format!("--datadir={}", data.display()))
        .arg("--auth-root-authentication-method=normal");
    let out = c.arg("--skip-test-db").output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

impl MariaDb {
    /// Starts a server and waits until it accepts connections.
    pub fn start(data: &Path, socket: PathBuf) -> Self {
        Self::start_with(data, socket, &["--innodb-buffer-pool-size=64M"])
    }

    /// Starts a server that uses little memory, for tests with many servers.
    pub fn start_small(data: &Path, socket: PathBuf) -> Self {
        let little = [
            "--innodb-buffer-pool-size=8M",
            "--aria-pagecache-buffer-size=8M",
            "--key-buffer-size=1M",
        ];
        Self::start_with(data, socket, &little)
    }

    fn start_with(data: &Path, socket: PathBuf, options: &[&str]) -> Self {
        let log = fs::File::create(socket.with_extension("log")).unwrap();
        let mut c = Command::new(need("mariadbd"));
        c.args(["--no-defaults", "--skip-networking"]).args(options);
        user(&mut c)
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", socket.display()));
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut server = Self {
            child: c.spawn().unwrap(),
            socket,
        };
        let until = Instant::now() + Duration::from_secs(120);
        while server.run("select 1").is_err() {
            assert!(
                server.child.try_wait().unwrap().is_none(),
                "the server ended: {}",
                server.log()
            );
            assert!(
                Instant::now() < until,
                "the server does not answer: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.socket.with_extension("log")).unwrap_or_default()
    }

    /// Returns a client command that reads statements from its input and prints each result
    /// immediately.
    pub fn client(&self) -> Command {
        let mut c = Command::new(need("mariadb"));
        c.args(["--no-defaults", "-uroot", "-N", "-B", "-n"])
            .arg(format!("--socket={}", self.socket.display()));
        c
    }

    /// Runs statements. Returns their output, or the error message.
    pub fn run(&self, sql: &str) -> Result<String, String> {
        let out = self
            .client()
            .args(["-e", sql])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() {
            Ok(text(&out.stdout))
        } else {
            Err(text(&out.stderr))
        }
    }

    /// Runs statements that must succeed. Returns their output.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.run(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}\n{}", self.log()))
    }

    /// Asserts that the server's own check of a table reports no error.
    #[track_caller]
    pub fn check(&self, table: &str) {
        let found = self.sql(&format!("check table {table} extended"));
        assert!(found.ends_with("status\tOK"), "{found}\n{}", self.log());
    }

    /// Stops the server cleanly.
    pub fn stop(mut self) {
        self.sql("shutdown");
        assert!(self.child.wait().unwrap().success());
    }

    /// Kills the server, as a power failure would.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // After `stop`, the server has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
