//! Servers for the tests: a real registry as a separate process, and stub servers with programmed
//! responses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A `docker-registry` process with its files in a temporary directory. Dropping the value kills
/// the process.
pub(super) struct Registry {
    dir: tempfile::TempDir,
    pub(super) host: String,
    config: PathBuf,
    child: Option<Child>,
}

impl Registry {
    /// Starts a registry without authentication. Returns `None` if the program is not installed.
    pub(super) fn start() -> Option<Self> {
        Self::with(|_| String::new(), true)
    }

    /// Starts a registry. `more` returns additional lines of configuration, given the directory of
    /// the registry.
    pub(super) fn with(more: impl Fn(&Path) -> String, deletes: bool) -> Option<Self> {
        if Command::new("docker-registry")
            .arg("--version")
            .output()
            .is_err()
        {
            println!("skipped: docker-registry is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        let more = more(dir.path());
        // Another test may have taken the free port in the meantime.
        for _ in 0..5 {
            let host = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .to_string();
            let text = format!(
                "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
                 delete:\n    enabled: {deletes}\nhttp:\n  addr: {host}\n{more}",
                dir.path().join("data").display()
            );
            std::fs::write(&config, text).unwrap();
            if let Some(child) = serve(&config, &host) {
                return Some(Self {
                    dir,
                    host,
                    config,
                    child: Some(child),
                });
            }
        }
        panic!("docker-registry does not start");
    }

    /// Stops the registry during a garbage collection, and returns the output of the collection.
    pub(super) fn collect(&mut self) -> String {
        self.stop();
        // `-m` also deletes manifests without a tag.
        let run = Command::new("docker-registry")
            .args(["garbage-collect", "-m"])
            .arg(&self.config)
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        self.child = serve(&self.config, &self.host);
        assert!(self.child.is_some(), "does not start again");
        String::from_utf8_lossy(&run.stdout).into_owned()
    }

    /// Writes a blob into the files of the registry, which is much faster than an upload.
    pub(super) fn plant(&self, name: &str, bytes: &[u8]) {
        let write = |path: String, bytes: &[u8]| {
            let path = self.dir.path().join("data/docker/registry/v2").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write(format!("blobs/sha256/{}/{name}/data", &name[..2]), bytes);
        let link = format!("sha256:{name}");
        write(
            format!("repositories/team/data/_layers/sha256/{name}/link"),
            link.as_bytes(),
        );
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the program and waits until it accepts connections.
fn serve(config: &Path, host: &str) -> Option<Child> {
    let mut command = Command::new("docker-registry");
    let quiet = command
        .arg("serve")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(host).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // The process may have ended already.
    let _ = child.kill();
    child.wait().unwrap();
    None
}

/// A request to a [`Stub`].
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// `GET /path?query`.
    pub(super) line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|h| h.0 == name)
            .map(|h| h.1.as_str())
    }
}

/// Status, headers and body of a response.
pub(super) type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server whose responses a function computes. Records all requests; its thread ends with the
/// process.
pub(super) struct Stub {
    pub(super) host: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub(super) fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client may close its connection early.
                let _ = respond(stream.unwrap(), &answer, &log);
            }
        });
        Self { host, seen }
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().clone()
    }
}

fn respond(
    stream: TcpStream,
    answer: &impl Fn(&Request) -> Answer,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines
        .first()
        .map(|l| l.trim_end_matches(" HTTP/1.1").to_owned())
        .unwrap_or_default();
    let headers = lines.iter().skip(1).filter_map(|l| l.split_once(": "));
    let headers = headers
        .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
        .collect();
    let request = Request { line, headers };
    let length = request
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    log.lock().push(request.clone());
    let (status, headers, body) = answer(&request);
    // Each connection carries one request, because the loop serves one connection at a time.
    let mut out = format!(
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    let mut stream = stream;
    stream.write_all(out.as_bytes())?;
    if !request.line.starts_with("HEAD") {
        stream.write_all(&body)?;
    }
    Ok(())
}
