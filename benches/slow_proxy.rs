//! Runs the slow link of the tests as a program: `slow_proxy LISTEN UPSTREAM [--delay-ms HALF]
//! [--rate MB]`.
//!
//! The program prints its address and runs until its standard input is closed. Without arguments it
//! measures its own throughput and processor time. It uses only `std`, so that plain `rustc -O` can
//! also build it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/it/support/servers/proxy.rs"]
mod proxy;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use proxy::{Link, Proxy};

fn main() {
    // `cargo bench` adds the argument `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if arguments.is_empty() {
        measure();
        return;
    }
    let mut places: Vec<SocketAddr> = Vec::new();
    let mut link = Link::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let mut number = || {
            rest.next()
                .and_then(|n| n.parse::<f64>().ok())
                .expect("a number is missing")
        };
        match word.as_str() {
            "--delay-ms" => link.delay = Duration::from_secs_f64(number() / 1e3),
            "--rate" => link.rate = Some(format!("{:.0}", number() * 1e6).parse().expect("a rate")),
            place => places.push(place.parse().expect("LISTEN and UPSTREAM are ADDRESS:PORT")),
        }
    }
    let [listen, upstream] = places[..] else {
        panic!("LISTEN and UPSTREAM are missing")
    };
    let proxy = Proxy::start_at(listen, upstream, link).expect("cannot listen");
    println!("127.0.0.1:{}", proxy.port());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Returns the processor time of all threads of this process, in seconds.
fn busy_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split(' ').collect();
    // User time and system time, in hundredths of a second.
    fields[12..14]
        .iter()
        .map(|f| f.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

/// Sends zeros to `to` for `time`. Returns the number of bytes sent.
fn pour(to: SocketAddr, time: Duration) -> u64 {
    let mut stream = TcpStream::connect(to).unwrap();
    let (zeros, end) = (vec![0; 1 << 20], Instant::now() + time);
    let mut sent = 0;
    while Instant::now() < end && stream.write_all(&zeros).is_ok() {
        sent += 1 << 20;
    }
    sent
}

/// Returns the throughput of `connections` in MB/s, and the processor time in seconds per GB. Both
/// include the sender and the receiver.
fn run(to: SocketAddr, connections: usize) -> (f64, f64) {
    let (start, busy) = (Instant::now(), busy_seconds());
    let threads: Vec<_> = (0..connections)
        .map(|_| std::thread::spawn(move || pour(to, Duration::from_secs(3))))
        .collect();
    let bytes: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    let gigabytes = bytes as f64 / 1e9;
    (
        gigabytes * 1e3 / start.elapsed().as_secs_f64(),
        (busy_seconds() - busy) / gigabytes,
    )
}

fn measure() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = sink.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = sink.accept() {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
            });
        }
    });
    let (_, direct) = run(upstream, 4);
    let delay = Duration::from_millis(15);
    for (name, link, connections) in [
        ("no delay, no rate", Link::default(), 4),
        (
            "30 ms",
            Link {
                delay,
                ..Link::default()
            },
            4,
        ),
        (
            "30 ms, 40 MB/s each",
            Link {
                delay,
                rate: Some(40_000_000),
                ..Link::default()
            },
            1,
        ),
        (
            "30 ms, 40 MB/s each",
            Link {
                delay,
                rate: Some(40_000_000),
                ..Link::default()
            },
            16,
        ),
    ] {
        let proxy = Proxy::start(upstream, link).unwrap();
        let (rate, cost) = run(
            SocketAddr::from(([127, 0, 0, 1], proxy.port())),
            connections,
        );
        let own = cost - direct;
        println!(
            "{name}, {connections} connections: {rate:.0} MB/s, {own:.2} s of one core for a GB in the proxy"
        );
    }
}
