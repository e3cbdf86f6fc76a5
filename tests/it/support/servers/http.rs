//! A subset of HTTP/1.1 for the tests: a threaded server for the fakes, and a client that sends one
//! request.
//!
//! In: a function from request to reply. Out: a port on 127.0.0.1. Dropping the server closes its
//! port and all connections.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

type Headers = Vec<(String, String)>;

/// A request that the server has received.
pub struct Request {
    pub method: String,
    /// The path as it was sent, without the query.
    pub raw_path: String,
    /// The decoded path.
    pub path: String,
    /// The decoded arguments of the query. The value of an argument without `=` is empty.
    pub query: Vec<(String, String)>,
    /// The headers, with names in lower case.
    pub headers: Headers,
    pub body: Bytes,
}

/// A response of the server. For HEAD, only the length of the body is sent.
#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Headers,
    pub body: Bytes,
}

/// A response that the client has received.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// The characters that [`encoded`] encodes: all except the unreserved ones of RFC 3986.
pub const STRICT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Percent-encodes text.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// Decodes percent-encoded text.
pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns the value of a header, whose name is given in lower case.
pub fn header_in<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|h| h.0 == name).map(|h| h.1.as_str())
}

impl Request {
    /// Returns the value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_in(&self.headers, name)
    }

    /// Returns the value of a query argument.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|q| q.0 == name)
            .map(|q| q.1.as_str())
    }

    /// Returns the requested range of `bytes` as a response; status 416 for an invalid range.
    pub fn range_of(&self, bytes: &Bytes) -> Reply {
        let len = bytes.len();
        let Some(range) = self.header("range").and_then(|r| r.strip_prefix("bytes=")) else {
            return Reply::with(200, bytes.clone());
        };
        let (first, last) = range.split_once('-').unwrap_or_default();
        let (first, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(len)),
            (Ok(first), Err(_)) => (first, len),
            (Err(_), Ok(tail)) => (len.saturating_sub(tail), len),
            _ => (len, len),
        };
        if first >= end {
            return Reply::new(416).header("Content-Range", format!("bytes */{len}"));
        }
        let reply = Reply::with(206, bytes.slice(first..end));
        reply.header("Content-Range", format!("bytes {first}-{}/{len}", end - 1))
    }
}

impl Reply {
    /// Returns a reply without a body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Returns a reply with a body.
    pub fn with(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Answer {
    /// Returns the value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header_in(&self.headers, name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A running server; stopped when dropped.
pub struct Serving {
    port: u16,
    open: Arc<Open>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Open {
    ends: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// Serves HTTP on a free port until the returned value is dropped.
pub fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Serving {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = Arc::new(Open::default());
    let (watched, answer) = (Arc::clone(&open), Arc::new(answer));
    let accepting = std::thread::spawn(move || {
        let mut threads = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            let Ok(second) = stream.try_clone() else {
                continue;
            };
            watched.connections.lock().unwrap().push(second);
            if watched.ends.load(Ordering::SeqCst) {
                break;
            }
            let answer = Arc::clone(&answer);
            // The client may close the connection at any time.
            threads.push(std::thread::spawn(move || drop(converse(stream, &*answer))));
            threads.retain(|t| !t.is_finished());
        }
        for stream in watched.connections.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in threads {
            let _ = thread.join();
        }
    });
    Serving {
        port,
        open,
        accepting: Some(accepting),
    }
}

impl Serving {
    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.open.ends.store(true, Ordering::SeqCst);
        // Connect, so that the accepting thread wakes up and sees the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
    }
}

fn converse(stream: TcpStream, answer: &dyn Fn(&Request) -> Reply) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::with_capacity(256 << 10, stream);
    while let Some((first, headers)) = read_head(&mut input)? {
        if header_in(&headers, "expect").is_some() {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&mut input, &headers, false)?.into();
        let mut words = first.split(' ');
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let (raw_path, query) = target.split_once('?').unwrap_or((target, ""));
        let pair = |p: &str| {
            let (name, value) = p.split_once('=').unwrap_or((p, ""));
            (decoded(name), decoded(&value.replace('+', " ")))
        };
        let request = Request {
            method: method.to_owned(),
            raw_path: raw_path.to_owned(),
            path: decoded(raw_path),
            query: query
                .split('&')
                .filter(|p| !p.is_empty())
                .map(pair)
                .collect(),
            headers,
            body,
        };
        let reply = answer(&request);
        let mut head = format!("HTTP/1.1 {} {}\r\n", reply.status, words_of(reply.status));
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if reply.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        head.push_str("\r\n");
        out.write_all(head.as_bytes())?;
        if request.method != "HEAD" && reply.status != 204 {
            out.write_all(&reply.body)?;
        }
    }
    Ok(())
}

const fn words_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        308 => "Resume Incomplete",
        404 => "Not Found",
        412 => "Precondition Failed",
        _ => "Other",
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the first line and the headers of a message. Returns `None` if the client has closed the
/// connection.
fn read_head(input: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return if lines.is_empty() {
                Ok(None)
            } else {
                Err(broken("cut inside of a head"))
            };
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next().ok_or_else(|| broken("no first line"))?;
    let header = |l: String| {
        l.split_once(':')
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
    };
    Ok(Some((first, lines.filter_map(header).collect())))
}

fn read_body(
    input: &mut impl BufRead,
    headers: &Headers,
    until_closed: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header_in(headers, "transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let text = line.trim().split(';').next().unwrap_or_default();
            let len = u64::from_str_radix(text, 16).map_err(|_| broken("no length of a chunk"))?;
            if input.take(len).read_to_end(&mut body)? as u64 != len {
                return Err(broken("cut inside of a chunk"));
            }
            // Skip the line break after the chunk.
            input.read_line(&mut line)?;
            if len == 0 {
                return Ok(body);
            }
        }
    }
    let Some(len) = header_in(headers, "content-length") else {
        if until_closed {
            input.read_to_end(&mut body)?;
        }
        return Ok(body);
    };
    let len = len.parse().map_err(|_| broken("no length"))?;
    if input.take(len).read_to_end(&mut body)? as u64 != len {
        return Err(broken("cut inside of a body"));
    }
    Ok(body)
}

/// Sends one request to `http://ADDRESS:PORT/path` over a new connection.
pub fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| broken("only http"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address: SocketAddr = host.parse().map_err(|_| broken("only addresses"))?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    (&stream).write_all(head.as_bytes())?;
    (&stream).write_all(body)?;
    let mut input = BufReader::new(&stream);
    let (first, headers) =
        read_head(&mut input)?.ok_or_else(|| broken("closed without an answer"))?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| broken("no status"))?;
    let empty = method == "HEAD" || status == 204;
    let body = if empty {
        Vec::new()
    } else {
        read_body(&mut input, &headers, true)?
    };
    Ok(Answer {
        status,
        headers,
        body,
    })
}
