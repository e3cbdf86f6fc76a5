//! A slow and unreliable link: a threaded TCP proxy with a delay, a rate per connection, and
//! faults.
//!
//! Uses only `std`, because `benches/slow_proxy.rs` includes this file too. The proxy understands
//! no protocol: a request begins when the client sends bytes after the server has sent some. This
//! is exact unless the client pipelines requests.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Maximum number of bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Maximum number of bytes that are read at a time if there is a rate; small, so that the bytes
/// flow evenly.
const SMALL_PIECE: usize = 64 << 10;
/// Limit on the bytes in transit in one direction of a connection without a rate.
const UNDER_WAY: usize = 16 << 20;
/// Limit on the delay that is caught up on after a thread wakes up late, so that the rate stays
/// correct without bursts.
const LATE: Duration = Duration::from_millis(5);

/// The properties of the link. A change applies to all bytes that are sent afterwards.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Half of the round-trip time. The first bytes of a connection also wait for the round trip of
    /// the handshake.
    pub delay: Duration,
    /// Bytes per second in each direction of each connection.
    pub rate: Option<u64>,
    /// Requests whose replies are lost.
    pub lost: Vec<LostReply>,
    /// Whether and when connections are cut.
    pub cut: Option<Cut>,
    /// Random faults.
    pub chance: Option<Chance>,
}

/// A request whose reply is lost: the proxy forwards the whole request, and cuts the connection
/// before the first byte of the reply.
#[derive(Clone, Debug)]
pub struct LostReply {
    /// Only requests whose first piece contains this text count. The empty text matches all.
    pub matching: String,
    /// Position of the request among the matching ones, from 1. The proxy counts it down; 0 means
    /// that the fault has occurred.
    pub nth: u32,
}

/// Cuts connections in the middle of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Number of bytes in one direction that pass before the cut.
    pub after_bytes: u64,
    /// Whether to count the bytes to the server; otherwise those from the server.
    pub to_server: bool,
    /// Number of connections that remain to be cut.
    pub connections: u32,
}

/// Makes a share of events fail at random. The same seed causes the same faults, if the events
/// occur in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    pub percent: u64,
    pub what: Fails,
    /// Seed, not 0.
    pub seed: u64,
}

/// The kind of event that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// A connection fails before its first byte.
    Connection,
    /// A request fails before it reaches the server.
    Request,
    /// The reply to an executed request is lost.
    Reply,
}

/// Counters of the traffic since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub connections: u64,
    pub requests: u64,
    pub to_server_bytes: u64,
    pub from_server_bytes: u64,
    /// Number of connections that the proxy has cut deliberately.
    pub cuts: u64,
}

/// A running proxy; dropping it cuts all connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    link: Mutex<Link>,
    ends: AtomicBool,
    open: Mutex<Vec<Arc<Connection>>>,
    connections: AtomicU64,
    requests: AtomicU64,
    to_server: AtomicU64,
    from_server: AtomicU64,
    cuts: AtomicU64,
}

/// Both sockets of a proxied connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    asked: bool,
    loses_reply: bool,
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream`.
    pub fn start(upstream: SocketAddr, link: Link) -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), upstream, link)
    }

    /// Listens on `at` and forwards to `upstream`.
    pub fn start_at(at: SocketAddr, upstream: SocketAddr, link: Link) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            link: Mutex::new(link),
            ends: AtomicBool::new(false),
            open: Mutex::default(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            from_server: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
        });
        let accepted = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || accept(&listener, upstream, &accepted));
        Ok(Self {
            port,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Returns the port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Changes the properties of the link.
    pub fn change(&self, change: impl FnOnce(&mut Link)) {
        change(&mut lock(&self.shared.link));
    }

    /// Loses the reply to the next request whose first piece contains `matching`.
    pub fn lose_reply(&self, matching: &str) {
        self.change(|link| {
            link.lost.push(LostReply {
                matching: matching.to_owned(),
                nth: 1,
            })
        });
    }

    /// Cuts all open connections.
    pub fn cut_all(&self) {
        for connection in lock(&self.shared.open).drain(..) {
            connection.cut();
        }
    }

    /// Returns the counters of the traffic so far.
    pub fn passed(&self) -> Passed {
        let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Passed {
            connections: count(&self.shared.connections),
            requests: count(&self.shared.requests),
            to_server_bytes: count(&self.shared.to_server),
            from_server_bytes: count(&self.shared.from_server),
            cuts: count(&self.shared.cuts),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        // Connect, so that the accepting thread wakes up and sees the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        self.cut_all();
    }
}

/// Locks a mutex even if another thread has panicked while holding it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn accept(listener: &TcpListener, upstream: SocketAddr, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.ends.load(Ordering::SeqCst) {
            break;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.by_chance(Fails::Connection) {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        // If the server does not listen, drop the client's connection.
        let Ok(server) = TcpStream::connect(upstream) else {
            continue;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let connection = Arc::new(Connection {
            client,
            server,
            turn: Mutex::default(),
        });
        let mut open = lock(&shared.open);
        open.retain(|c| Arc::strong_count(c) > 1);
        open.push(Arc::clone(&connection));
        drop(open);
        for to_server in [true, false] {
            let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
            std::thread::spawn(move || {
                Direction {
                    shared,
                    connection,
                    to_server,
                    passed: 0,
                }
                .run()
            });
        }
    }
}

impl Connection {
    fn cut(&self) {
        // The connection may already be closed.
        let _ = (
            self.client.shutdown(Shutdown::Both),
            self.server.shutdown(Shutdown::Both),
        );
    }
}

impl Shared {
    fn by_chance(&self, what: Fails) -> bool {
        let mut link = lock(&self.link);
        let Some(chance) = link.chance.as_mut().filter(|c| c.what == what) else {
            return false;
        };
        chance.seed ^= chance.seed << 13;
        chance.seed ^= chance.seed >> 7;
        chance.seed ^= chance.seed << 17;
        (chance.seed >> 32) % 100 < chance.percent
    }

    /// Consumes the matching faults. Returns whether the reply to the request that begins with
    /// these bytes is lost.
    fn loses(&self, piece: &[u8]) -> bool {
        let mut link = lock(&self.link);
        let mut found = false;
        for lost in link.lost.iter_mut().filter(|l| l.nth > 0) {
            let text = lost.matching.as_bytes();
            if text.is_empty() || piece.windows(text.len()).any(|w| w == text) {
                lost.nth -= 1;
                found |= lost.nth == 0;
            }
        }
        link.lost.retain(|l| l.nth > 0);
        drop(link);
        found || self.by_chance(Fails::Reply)
    }

    /// Returns how many of `len` bytes to forward before the connection is cut, if it is to be cut
    /// within them. `passed` bytes were forwarded before.
    fn cut_at(&self, to_server: bool, passed: u64, len: usize) -> Option<usize> {
        let mut link = lock(&self.link);
        let cut = link
            .cut
            .as_mut()
            .filter(|c| c.to_server == to_server && c.connections > 0)?;
        let left = usize::try_from(cut.after_bytes.saturating_sub(passed)).unwrap_or(usize::MAX);
        if left >= len {
            return None;
        }
        cut.connections -= 1;
        Some(left)
    }
}

/// The action after a piece has been forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Go,
    /// Close this direction, because the sender has finished.
    Close,
    /// Cut both directions.
    Break,
}

/// One direction of a connection.
struct Direction {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    to_server: bool,
    passed: u64,
}

impl Direction {
    fn run(mut self) {
        let link = lock(&self.shared.link).clone();
        let ended = if link.delay.is_zero() {
            self.straight()
        } else {
            self.delayed()
        };
        if ended.is_err() {
            self.connection.cut();
        }
    }

    fn ends(&self) -> (&TcpStream, &TcpStream) {
        let (client, server) = (&self.connection.client, &self.connection.server);
        if self.to_server {
            (client, server)
        } else {
            (server, client)
        }
    }

    /// Reads a piece, applies faults, and waits as the rate requires. Returns how many bytes of the
    /// piece to forward, and the action afterwards.
    fn take(&mut self, buffer: &mut [u8], free_at: &mut Instant) -> io::Result<(usize, Then)> {
        let rate = lock(&self.shared.link).rate;
        let most = if rate.is_some() { SMALL_PIECE } else { PIECE };
        let len = self.ends().0.read(&mut buffer[..most])?;
        if len == 0 {
            return Ok((0, Then::Close));
        }
        self.faults(&buffer[..len])?;
        let cut = self.shared.cut_at(self.to_server, self.passed, len);
        let kept = cut.unwrap_or(len);
        let counter = if self.to_server {
            &self.shared.to_server
        } else {
            &self.shared.from_server
        };
        counter.fetch_add(kept as u64, Ordering::SeqCst);
        self.passed += kept as u64;
        if let Some(rate) = rate {
            let earliest = Instant::now().checked_sub(LATE).unwrap_or(*free_at);
            *free_at =
                (*free_at).max(earliest) + Duration::from_secs_f64(kept as f64 / rate as f64);
            sleep_until(*free_at);
        }
        Ok((kept, if cut.is_some() { Then::Break } else { Then::Go }))
    }

    fn broken<T>(&self) -> io::Result<T> {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    fn faults(&self, piece: &[u8]) -> io::Result<()> {
        let mut turn = lock(&self.connection.turn);
        if !self.to_server {
            turn.asked = false;
            return if turn.loses_reply {
                self.broken()
            } else {
                Ok(())
            };
        }
        if !turn.asked {
            turn.asked = true;
            self.shared.requests.fetch_add(1, Ordering::SeqCst);
            if self.shared.by_chance(Fails::Request) {
                return self.broken();
            }
            turn.loses_reply = self.shared.loses(piece);
        }
        Ok(())
    }

    /// Forwards without a delay, on a single thread.
    fn straight(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut free_at = Instant::now();
        loop {
            let (len, then) = self.take(&mut buffer, &mut free_at)?;
            self.ends().1.write_all(&buffer[..len])?;
            match then {
                Then::Go => {}
                Then::Close => return self.ends().1.shutdown(Shutdown::Write),
                Then::Break => return self.broken(),
            }
        }
    }

    /// Forwards with a delay: this thread reads, and a second one writes each piece when it is due.
    fn delayed(&mut self) -> io::Result<()> {
        let queue = Arc::new(Queue::default());
        let (due, connection, to_server) = (
            Arc::clone(&queue),
            Arc::clone(&self.connection),
            self.to_server,
        );
        let writer = std::thread::spawn(move || {
            let target = if to_server {
                &connection.server
            } else {
                &connection.client
            };
            let ended = due.deliver(target);
            if ended.is_err() {
                connection.cut();
            }
            ended
        });
        let mut free_at = Instant::now();
        let mut handshake = self.to_server;
        let read = loop {
            let mut buffer = queue.buffer();
            match self.take(&mut buffer, &mut free_at) {
                Ok((len, then)) => {
                    let link = lock(&self.shared.link);
                    let wait = link.delay * if handshake { 3 } else { 1 };
                    let room = link.rate.map_or(UNDER_WAY, |r| {
                        usize::try_from(r / 4)
                            .unwrap_or(UNDER_WAY)
                            .clamp(PIECE, UNDER_WAY)
                    });
                    drop(link);
                    handshake = false;
                    let taken = queue.push(
                        Piece {
                            due: Instant::now() + wait,
                            buffer,
                            len,
                            then,
                        },
                        room,
                    );
                    if !taken || then != Then::Go {
                        break Ok(());
                    }
                }
                Err(e) => break Err(e),
            }
        };
        if read.is_err() {
            queue.close();
        }
        let written = writer
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        match written {
            Ok(Then::Break) => self.broken(),
            written => written.and(read),
        }
    }
}

/// The pieces in transit in one direction, in order.
#[derive(Default)]
struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    pieces: VecDeque<Piece>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
    closed: bool,
}

struct Piece {
    due: Instant,
    buffer: Vec<u8>,
    len: usize,
    then: Then,
}

impl Queue {
    fn buffer(&self) -> Vec<u8> {
        lock(&self.inner)
            .spare
            .pop()
            .unwrap_or_else(|| vec![0; PIECE])
    }

    /// Waits until there is space in the queue. Returns false if the receiving side has closed.
    fn push(&self, piece: Piece, room: usize) -> bool {
        let mut inner = lock(&self.inner);
        while inner.bytes > room && !inner.closed {
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        inner.bytes += piece.len;
        // Copy a short piece, so that it does not occupy a long buffer.
        let piece = if piece.len < SMALL_PIECE {
            let Piece {
                due,
                buffer: spare,
                len,
                then,
            } = piece;
            let short = Piece {
                due,
                buffer: spare[..len].to_vec(),
                len,
                then,
            };
            inner.spare.push(spare);
            short
        } else {
            piece
        };
        inner.pieces.push_back(piece);
        self.changed.notify_all();
        !inner.closed
    }

    fn close(&self) {
        lock(&self.inner).closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Piece> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.closed {
                return None;
            }
            if let Some(piece) = inner.pieces.pop_front() {
                return Some(piece);
            }
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn deliver(&self, mut target: &TcpStream) -> io::Result<Then> {
        while let Some(piece) = self.next() {
            sleep_until(piece.due);
            let then = piece.then;
            let written = target.write_all(&piece.buffer[..piece.len]);
            let mut inner = lock(&self.inner);
            inner.bytes -= piece.len;
            if piece.buffer.len() == PIECE && inner.spare.len() < 16 {
                inner.spare.push(piece.buffer);
            }
            inner.closed |= written.is_err();
            drop(inner);
            self.changed.notify_all();
            written?;
            if then == Then::Close {
                target.shutdown(Shutdown::Write)?;
            }
            if then != Then::Go {
                return Ok(then);
            }
        }
        Ok(Then::Go)
    }
}

fn sleep_until(at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}
