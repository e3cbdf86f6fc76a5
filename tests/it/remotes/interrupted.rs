//! Ctrl-C ends every wait: for a response, for the rest of a response, for the next attempt, during
//! a push, for a server behind ssh, for a hook, for a mount, and for input.
//!
//! Each server withholds its response until the end of the test. If a program does not end on the
//! signal, it exceeds the time limit, which is far above the normal duration.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::journey::noise;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::http::{Reply, Request, ask, encoded, serve};
use crate::support::servers::s3::{S3, Switches};
use crate::support::spawned::Spawned;

/// Time limit for a program to reach its wait, and to end after the signal.
const LIMIT: Duration = Duration::from_secs(45);

/// Runs `dvc` and sends SIGINT as soon as `reached` reports that the program waits.
#[track_caller]
fn interrupt(s: &Sandbox, args: &[&str], reached: &Receiver<()>) -> Run {
    let mut command = s.command(args);
    let mut child = Spawned::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    reached
        .recv_timeout(LIMIT)
        .expect("the program gets to where it waits");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    if !ends(&mut child) {
        child.kill().unwrap();
        let run = child.finish();
        panic!("`{}` goes on after ctrl-C: {}", run.line, run.err);
    }
    child.finish()
}

fn ends(child: &mut Child) -> bool {
    let since = Instant::now();
    while since.elapsed() < LIMIT {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A server that starts a response and continues it very slowly, or not at all, until it is
/// dropped.
struct Slow {
    port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Slow {
    /// Starts a server. After `head`, it sends a byte every tenth of a second if `drips` is set,
    /// and nothing otherwise.
    fn start(head: &'static str, drips: bool) -> (Self, Receiver<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, reached) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(mut stream) = stream else { break };
                let (tell, end) = (tell.clone(), Arc::clone(&end));
                held.push(std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    drop(stream.read(&mut request));
                    drop(stream.write_all(head.as_bytes()));
                    let _ = tell.send(());
                    while !end.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(100));
                        if drips && stream.write_all(b"x").is_err() {
                            return;
                        }
                    }
                }));
            }
            for thread in held {
                thread.join().unwrap();
            }
        });
        (
            Self {
                port,
                over,
                thread: Some(thread),
            },
            reached,
        )
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn person() -> Sandbox {
    let mut s = Sandbox::with_repo();
    s.set("AWS_ACCESS_KEY_ID", "a")
        .set("AWS_SECRET_ACCESS_KEY", "b");
    s.write("data", noise(5, 200_000));
    s.dvc(["commit", "-m", "one"]).ok();
    s
}

/// Returns a URL of a server for each protocol over HTTP.
fn urls(port: u16) -> [String; 3] {
    [
        format!("s3://b/p?endpoint=http://127.0.0.1:{port}"),
        format!("webdav://127.0.0.1:{port}/p"),
        format!("oci://127.0.0.1:{port}/p"),
    ]
}

#[test]
fn ctrl_c_while_nothing_answers() {
    let s = person();
    for verb in [&["push"][..], &["fetch"], &["remote", "check"]] {
        let (server, reached) = Slow::start("", false);
        for url in urls(server.port) {
            interrupt(&s, &[verb, &[&url]].concat(), &reached).code(130);
        }
    }
}

#[test]
fn ctrl_c_while_an_answer_drips() {
    let s = person();
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n",
    ];
    for head in heads {
        let (server, reached) = Slow::start(head, true);
        for url in urls(server.port) {
            interrupt(&s, &["fetch", &url], &reached).code(130);
        }
    }
}

#[test]
fn ctrl_c_before_the_next_attempt() {
    let s = person();
    let (tell, reached) = channel();
    let (tell, count) = (Mutex::new(tell), Mutex::new(0));
    let serving = serve(move |_: &Request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        // The pauses grow with each attempt, so the program is most likely in a pause after the
        // fifth one.
        if *count == 5 {
            let _ = tell.lock().unwrap().send(());
        }
        Reply::new(503)
    });
    interrupt(&s, &["fetch", &urls(serving.port())[0]], &reached).code(130);
}

#[test]
fn ctrl_c_in_the_middle_of_a_push() {
    let s = person();
    let (tell, reached) = channel();
    let tell = Mutex::new(tell);
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&over);
    let s3 = S3::start(Switches::default());
    let behind = s3.port();
    // The server is a working store, but uploads of packs never complete.
    let serving = serve(move |r: &Request| {
        if r.method == "PUT" && r.path.contains("/packs/") {
            let _ = tell.lock().unwrap().send(());
            let over = held.0.lock().unwrap();
            drop(
                held.1
                    .wait_timeout_while(over, 2 * LIMIT, |over| !*over)
                    .unwrap(),
            );
            return Reply::new(200);
        }
        let query: Vec<String> = r
            .query
            .iter()
            .map(|(n, v)| format!("{}={}", encoded(n), encoded(v)))
            .collect();
        let url = format!(
            "http://127.0.0.1:{behind}{}?{}",
            r.raw_path,
            query.join("&")
        );
        let kept = |name: &str| !matches!(name, "host" | "connection" | "content-length");
        let headers: Vec<(&str, &str)> = r
            .headers
            .iter()
            .filter(|h| kept(&h.0))
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let answer = ask(&r.method, &url, &headers, &r.body).unwrap();
        let headers = answer.headers.iter().filter(|h| kept(&h.0));
        headers.fold(
            Reply::with(answer.status, answer.body.clone()),
            |reply, (n, v)| reply.header(n, v.clone()),
        )
    });
    let url = s3
        .url("p")
        .replace(&behind.to_string(), &serving.port().to_string());
    let run = interrupt(&s, &["push", &url], &reached);
    *over.0.lock().unwrap() = true;
    over.1.notify_all();
    run.code(130);
}

/// Creates a program that signals its start and then sleeps.
fn sleeper(s: &Sandbox, path: &std::path::Path) -> Receiver<()> {
    let started = s.at("started");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(
        path,
        format!("#!/bin/sh\n: >'{}'\nexec sleep 100\n", started.display()),
    )
    .unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (tell, reached) = channel();
    std::thread::spawn(move || {
        let since = Instant::now();
        while since.elapsed() < LIMIT {
            if started.exists() {
                let _ = tell.send(());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    reached
}

#[test]
fn ctrl_c_while_ssh_connects() {
    let mut s = person();
    let reached = sleeper(&s, &s.at("bin/ssh"));
    let path = format!(
        "{}:{}",
        s.at("bin").display(),
        std::env::var("PATH").unwrap()
    );
    s.set("PATH", &path);
    interrupt(&s, &["fetch", "sftp://nas/srv/amcc"], &reached).code(130);
}

#[test]
fn ctrl_c_while_a_hook_runs() {
    let s = person();
    let reached = sleeper(&s, &s.w(".dvcs/hooks/pre-commit"));
    s.write("data", "changed");
    interrupt(&s, &["commit", "-m", "two"], &reached).code(130);
}

#[test]
fn ctrl_c_while_a_mount_waits_for_its_server() {
    let s = person();
    std::fs::create_dir(s.at("m")).unwrap();
    let at = s.at("m").display().to_string();
    let (server, reached) = Slow::start("", false);
    for url in urls(server.port) {
        // The signal reaches only the command and not the process that serves the mount.
        interrupt(&s, &["mount", &url, &at], &reached).code(130);
    }
}

#[test]
fn ctrl_c_while_a_command_has_no_output() {
    let s = person();
    let program = s.at("bin/quiet");
    let reached = sleeper(&s, &program);
    interrupt(
        &s,
        &[
            "commit",
            "-m",
            "x",
            "--exec",
            "f",
            "--",
            &program.display().to_string(),
        ],
        &reached,
    )
    .code(130);
}

/// A command that reads its input ends although its input is neither continued nor closed.
#[test]
fn ctrl_c_while_the_input_does_not_go_on() {
    let s = person();
    for args in [
        &["import", "-"][..],
        &["commit", "-m", "x", "--stdin", "f"],
        &["commit", "-m", "x", "--files-from", "-"],
        &["commit", "-F", "-"],
    ] {
        let mut command = s.command(args);
        let mut child = Spawned::start(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"x").unwrap();
        let since = Instant::now();
        while rustix::io::ioctl_fionread(&input).unwrap() > 0 {
            assert!(since.elapsed() < LIMIT, "{args:?} does not read");
            std::thread::sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert!(ends(&mut child), "{args:?} goes on after ctrl-C");
        child.finish().code(130);
        drop(input);
    }
    s.dvc(["log", "main~1"]).code(13);
}
