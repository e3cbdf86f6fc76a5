//! Commands inside of containers: run to their end, or talked with line by line.
//!
//! The engine sends standard output and error in frames of one stream: a byte for which, three zeros, a length, bytes.

use std::io;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Upgraded};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Engine, garbled};
use super::error::EngineError;

/// So much is kept of each stream, the rest is read and forgotten.
const OUTPUT_MAX: usize = 1 << 20;
/// So often it is asked whether a command is wanted still.
const TICK: Duration = Duration::from_millis(100);
/// Stream number of standard output, and of standard error.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// A command.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=value`: what nobody may see who lists processes.
    pub env: Vec<String>,
}

/// How a command ended.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Its exit code.
    pub code: i64,
    /// What it printed, at most 1 MiB.
    pub output: Vec<u8>,
    /// What it complained, at most 1 MiB.
    pub complaints: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ended {
    exit_code: Option<i64>,
}

/// Takes frames apart.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
    output: Vec<u8>,
    complaints: Vec<u8>,
}

impl Frames {
    fn take(&mut self, bytes: &[u8], keep_max: usize) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, tail)) = self.rest[at..].split_first_chunk::<8>() {
            let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let Some(content) = tail.get(..len) else { break };
            let kept = match head[0] {
                STDOUT => &mut self.output,
                STDERR => &mut self.complaints,
                _ => &mut Vec::new(),
            };
            kept.extend_from_slice(&content[..len.min(keep_max.saturating_sub(kept.len()))]);
            at += 8 + len;
        }
        self.rest.drain(..at);
    }
}

/// A command that runs, and reads what is sent to it. When it is dropped the engine closes the command's input.
pub struct Session<'e> {
    engine: &'e Engine,
    io: Upgraded,
    what: String,
    frames: Frames,
}

impl Engine {
    /// Runs a command to its end. One that takes longer than `limit`, or that is not wanted any more, is left to itself.
    pub fn exec(
        &self,
        container: &str,
        exec: &Exec,
        limit: Duration,
        unwanted: &mut dyn FnMut() -> bool,
    ) -> Result<Ran, EngineError> {
        let what = format!("run a command in container `{container}`");
        let id = self.prepare(&what, container, exec, false)?;
        let body = json!({ "Detach": false, "Tty": false });
        let request = self.request(&what, Method::POST, &["exec", &id, "start"], &[], Some(&body))?;
        let frames = self.wait(&what, limit, async {
            let mut answer = self.begin(&what, request).await?;
            let mut frames = Frames::default();
            loop {
                match tokio::time::timeout(TICK, answer.chunk()).await {
                    Ok(Ok(Some(piece))) => frames.take(&piece, OUTPUT_MAX),
                    Ok(Ok(None)) => return Ok(frames),
                    Ok(Err(e)) => return Err(self.broken(&what, &e)),
                    Err(_) if unwanted() => return Err(EngineError::Unwanted { what: what.clone() }),
                    Err(_) => {}
                }
            }
        })?;
        let ended: Ended = self.get(&what, &["exec", &id, "json"], &[])?;
        let code = ended.exit_code.ok_or_else(|| garbled(&what, "the command has no exit code"))?;
        Ok(Ran { code, output: frames.output, complaints: frames.complaints })
    }

    /// Starts a command whose input is held open.
    pub fn session(&self, container: &str, exec: &Exec) -> Result<Session<'_>, EngineError> {
        let what = format!("talk with a command in container `{container}`");
        let id = self.prepare(&what, container, exec, true)?;
        let body = json!({ "Detach": false, "Tty": false });
        let request = self.request(&what, Method::POST, &["exec", &id, "start"], &[], Some(&body))?;
        let request = request.header("connection", "Upgrade").header("upgrade", "tcp");
        let io = self.wait(&what, self.limit(), async {
            let answer = self.begin(&what, request).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(garbled(&what, "the connection was not handed over"));
            }
            answer.upgrade().await.map_err(|e| self.broken(&what, &e))
        })?;
        Ok(Session { engine: self, io, what, frames: Frames::default() })
    }

    fn prepare(&self, what: &str, container: &str, exec: &Exec, stdin: bool) -> Result<String, EngineError> {
        let body = json!({
            "AttachStdin": stdin, "AttachStdout": true, "AttachStderr": true, "Tty": false,
            "Cmd": exec.command, "Env": exec.env,
        });
        let made: Made = self.post(what, &["containers", container, "exec"], &body)?;
        Ok(made.id)
    }
}

impl Session<'_> {
    /// Sends to its input.
    pub fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), EngineError> {
        let Self { engine, io, what, .. } = self;
        engine.wait(what, limit, async {
            let sent = async {
                io.write_all(bytes).await?;
                io.flush().await
            };
            sent.await.map_err(|source| EngineError::Broken { what: what.clone(), source })
        })
    }

    /// The next line of its output; `None` if it has ended.
    pub fn line(&mut self, limit: Duration) -> Result<Option<String>, EngineError> {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = self.frames.output.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.frames.output.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            if self.frames.output.len() >= OUTPUT_MAX {
                return Err(garbled(&self.what, "a line does not end"));
            }
            let Self { engine, io, what, frames } = self;
            let left = until.saturating_duration_since(Instant::now());
            let mut buffer = [0; 8192];
            let count = engine.wait(what, left, async {
                let read: io::Result<usize> = io.read(&mut buffer).await;
                read.map_err(|source| EngineError::Broken { what: what.clone(), source })
            })?;
            if count == 0 {
                return Ok(None);
            }
            frames.take(&buffer[..count], OUTPUT_MAX);
        }
    }

    /// What it complained so far.
    pub fn complaints(&self) -> String {
        String::from_utf8_lossy(&self.frames.complaints).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let len = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0][..], &len, text.as_bytes()].concat()
    }

    #[test]
    fn frames_come_in_any_pieces() {
        let all = [frame(1, "ab"), frame(2, "no"), frame(0, "?"), frame(1, ""), frame(1, "cd")].concat();
        for size in 1..=all.len() {
            let mut frames = Frames::default();
            for piece in all.chunks(size) {
                frames.take(piece, OUTPUT_MAX);
            }
            assert_eq!((frames.output.as_slice(), frames.complaints.as_slice()), (&b"abcd"[..], &b"no"[..]), "{size}");
            assert!(frames.rest.is_empty());
        }
        let mut frames = Frames::default();
        frames.take(&all, 3);
        assert_eq!(frames.output, b"abc");
    }
}
