//! Moves one output stream of the child from its pipe to the log: the stream's file and the index.
//!
//! A pipe and not a file, because programs open `/dev/stderr` anew, which would truncate a file; and the pipe ends at the
//! supervisor, not at the executor, so the executor may die.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use meson_proto::v1::LogStream;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use crate::clock;
use crate::logs::index::{self, Entry, RECORD_BYTES_MAX};

/// How long the beginning of a line waits for its end.
const HOLD: Duration = Duration::from_millis(100);

/// One stream on its way to the log.
pub struct Pump {
    stream: LogStream,
    pipe: Option<pipe::Receiver>,
    file: File,
    index: File,
    written: u64,
    bytes_max: u64,
    held: Vec<u8>,
    held_until: Option<Instant>,
}

impl Pump {
    /// A pump from `pipe` to the file at `path`.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn new(
        stream: LogStream,
        pipe: OwnedFd,
        path: &Path,
        index: File,
        bytes_max: u64,
    ) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let pipe = Some(pipe::Receiver::from_owned_fd(pipe)?);
        let held = Vec::with_capacity(1024);
        Ok(Self { stream, pipe, file, index, written: 0, bytes_max, held, held_until: None })
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits for output, or for the end of the time an unfinished line may wait, and logs it. May be cancelled.
    pub async fn step(&mut self) {
        let Some(pipe) = self.pipe.as_mut() else { return };
        let read = match self.held_until {
            Some(until) => tokio::time::timeout_at(until, pipe.read_buf(&mut self.held)).await,
            None => Ok(pipe.read_buf(&mut self.held).await),
        };
        match read {
            Ok(Ok(0) | Err(_)) => self.close(),
            Ok(Ok(_)) => self.log_lines(),
            Err(_) => self.log(self.held.len()),
        }
    }

    /// Logs what is held and reads no more.
    pub fn close(&mut self) {
        self.pipe = None;
        self.log(self.held.len());
    }

    fn log_lines(&mut self) {
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let ready = if self.held.len() - whole >= RECORD_BYTES_MAX { self.held.len() } else { whole };
        self.log(ready);
        if !self.held.is_empty() && self.held_until.is_none() {
            self.held_until = Some(Instant::now() + HOLD);
        }
    }

    fn log(&mut self, bytes: usize) {
        self.held_until = None;
        let ready: Vec<u8> = self.held.drain(..bytes).collect();
        for data in ready.chunks(RECORD_BYTES_MAX) {
            // A full disk must not stop the step: it loses log, not work.
            if self.written < self.bytes_max && self.log_record(data).is_err() {
                self.bytes_max = self.written;
            }
        }
    }

    fn log_record(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)?;
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let time_ms = clock::unix_ms();
        index::append(
            &self.index,
            &Entry { stream: self.stream, end: false, length, time_ms, offset: self.written },
        )?;
        self.written += u64::from(length);
        Ok(())
    }
}
