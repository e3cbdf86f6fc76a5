//! Commands in containers: run to completion, or controlled line by line.
//!
//! The engine multiplexes standard output and standard error in one stream of frames: one byte for
//! the stream, three zeros, the length, and the bytes.

use std::io;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Upgraded};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{DockerEngine, invalid_response};
use super::error::EngineError;
use super::types::{ExecCommand, ExecResult};

/// Limit on the bytes of each stream that are kept; further output is read and discarded.
const OUTPUT_MAX: usize = 1 << 20;
/// Interval at which a running command checks whether the caller has cancelled it.
const TICK: Duration = Duration::from_millis(100);
/// Stream numbers of standard output and standard error in a frame.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecCreated {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExecStatus {
    exit_code: Option<i64>,
}

/// Decodes the frames of a stream.
#[derive(Default)]
struct FrameDecoder {
    rest: Vec<u8>,
    output: Vec<u8>,
    complaints: Vec<u8>,
}

impl FrameDecoder {
    fn take(&mut self, bytes: &[u8], keep_max: usize) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, tail)) = self.rest[at..].split_first_chunk::<8>() {
            let len = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let Some(content) = tail.get(..len) else {
                break;
            };
            let kept = match head[0] {
                STDOUT => &mut self.output,
                STDERR => &mut self.complaints,
                _ => &mut Vec::new(),
            };
            // Output beyond the limit is read but not kept, so that the command does not block on a
            // full pipe.
            kept.extend_from_slice(&content[..len.min(keep_max.saturating_sub(kept.len()))]);
            at += 8 + len;
        }
        self.rest.drain(..at);
    }
}

/// A running command whose input is open. Dropping the session closes the input of the command.
pub struct ExecSession<'e> {
    engine: &'e DockerEngine,
    io: Upgraded,
    what: String,
    frames: FrameDecoder,
}

impl DockerEngine {
    /// Runs a command and waits until it exits. A command that takes longer than `limit`, or that
    /// the caller cancels, continues to run in the container.
    pub fn exec(
        &self,
        container: &str,
        exec: &ExecCommand,
        limit: Duration,
        cancelled: &mut dyn FnMut() -> bool,
    ) -> Result<ExecResult, EngineError> {
        let what = format!("run a command in container `{container}`");
        let id = self.prepare(&what, container, exec, false)?;
        // Without a terminal, the engine separates standard output and standard error.
        let body = json!({ "Detach": false, "Tty": false });
        let request = self.request(
            &what,
            Method::POST,
            &["exec", &id, "start"],
            &[],
            Some(&body),
        )?;
        let frames = self.wait(&what, limit, async {
            let mut answer = self.begin(&what, request).await?;
            let mut frames = FrameDecoder::default();
            loop {
                // The short wait only serves to notice a cancellation.
                match tokio::time::timeout(TICK, answer.chunk()).await {
                    Ok(Ok(Some(piece))) => frames.take(&piece, OUTPUT_MAX),
                    Ok(Ok(None)) => return Ok(frames),
                    Ok(Err(e)) => return Err(self.connection_error(&what, &e)),
                    // The API has no request that stops a command of `exec`.
                    Err(_) if cancelled() => {
                        return Err(EngineError::Cancelled { what: what.clone() });
                    }
                    Err(_) => {}
                }
            }
        })?;
        // The stream does not contain the exit code.
        let status: ExecStatus = self.get(&what, &["exec", &id, "json"], &[])?;
        let code = status
            .exit_code
            .ok_or_else(|| invalid_response(&what, "the command has no exit code"))?;
        Ok(ExecResult {
            code,
            output: frames.output,
            complaints: frames.complaints,
        })
    }

    /// Starts a command and keeps its input open.
    pub fn session(
        &self,
        container: &str,
        exec: &ExecCommand,
    ) -> Result<ExecSession<'_>, EngineError> {
        let what = format!("attach to a command in container `{container}`");
        let id = self.prepare(&what, container, exec, true)?;
        let body = json!({ "Detach": false, "Tty": false });
        let request = self.request(
            &what,
            Method::POST,
            &["exec", &id, "start"],
            &[],
            Some(&body),
        )?;
        // Only an upgraded connection stays open in both directions, which the input needs.
        let request = request
            .header("connection", "Upgrade")
            .header("upgrade", "tcp");
        let io = self.wait(&what, self.limit(), async {
            let answer = self.begin(&what, request).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(invalid_response(&what, "the connection was not upgraded"));
            }
            answer
                .upgrade()
                .await
                .map_err(|e| self.connection_error(&what, &e))
        })?;
        Ok(ExecSession {
            engine: self,
            io,
            what,
            frames: FrameDecoder::default(),
        })
    }

    fn prepare(
        &self,
        what: &str,
        container: &str,
        exec: &ExecCommand,
        stdin: bool,
    ) -> Result<String, EngineError> {
        let body = json!({
            "AttachStdin": stdin, "AttachStdout": true, "AttachStderr": true, "Tty": false,
            "Cmd": exec.command, "Env": exec.env,
        });
        let created: ExecCreated = self.post(what, &["containers", container, "exec"], &body)?;
        Ok(created.id)
    }
}

impl ExecSession<'_> {
    /// Writes to the input of the command.
    pub fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), EngineError> {
        let Self {
            engine, io, what, ..
        } = self;
        engine.wait(what, limit, async {
            let sent = async {
                io.write_all(bytes).await?;
                io.flush().await
            };
            sent.await.map_err(|source| EngineError::ConnectionLost {
                what: what.clone(),
                source,
            })
        })
    }

    /// Returns the next line of the output, or `None` at its end. An incomplete last line is
    /// dropped.
    pub fn line(&mut self, limit: Duration) -> Result<Option<String>, EngineError> {
        let until = Instant::now() + limit;
        loop {
            if let Some(end) = self.frames.output.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.frames.output.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            // The decoder discards what exceeds the limit, so a longer line would lose its end.
            if self.frames.output.len() >= OUTPUT_MAX {
                return Err(invalid_response(&self.what, "line too long"));
            }
            let Self {
                engine,
                io,
                what,
                frames,
            } = self;
            let left = until.saturating_duration_since(Instant::now());
            let mut buffer = [0; 8192];
            let count = engine.wait(what, left, async {
                let read: io::Result<usize> = io.read(&mut buffer).await;
                read.map_err(|source| EngineError::ConnectionLost {
                    what: what.clone(),
                    source,
                })
            })?;
            if count == 0 {
                return Ok(None);
            }
            frames.take(&buffer[..count], OUTPUT_MAX);
        }
    }

    /// Returns the standard error that was received so far.
    pub fn complaints(&self) -> String {
        String::from_utf8_lossy(&self.frames.complaints)
            .trim()
            .to_owned()
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
        let all = [
            frame(1, "ab"),
            frame(2, "no"),
            frame(0, "?"),
            frame(1, ""),
            frame(1, "cd"),
        ]
        .concat();
        for size in 1..=all.len() {
            let mut frames = FrameDecoder::default();
            for piece in all.chunks(size) {
                frames.take(piece, OUTPUT_MAX);
            }
            assert_eq!(
                (frames.output.as_slice(), frames.complaints.as_slice()),
                (&b"abcd"[..], &b"no"[..]),
                "{size}"
            );
            assert!(frames.rest.is_empty());
        }
        let mut frames = FrameDecoder::default();
        frames.take(&all, 3);
        assert_eq!(frames.output, b"abc");
    }
}
