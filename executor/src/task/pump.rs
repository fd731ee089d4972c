//! Moves the child's two output streams from their pipes to the log: one file of data, and the index.
//!
//! Pipes and not files, because programs open `/dev/stderr` anew, which would truncate a file; and the pipes end at the
//! supervisor, not at the executor, so the executor may die.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use meson_proto::v1::LogStream;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::dirs::AttemptDir;
use crate::clock;
use crate::logs::index::{self, Entry, RECORD_BYTES_MAX};
use crate::secrets::mask::{Mask, Stream};

/// How long the beginning of a line waits for its end.
const HOLD: Duration = Duration::from_millis(100);
/// How long output is awaited after the whole tree is gone, should a stranger hold the pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// Both output streams of a child.
pub struct Output {
    stdout: Pump,
    stderr: Pump,
    store: Store,
}

impl Output {
    /// Takes the child's pipes. What the mask hides never reaches the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(dir: &AttemptDir, child: &mut Child, bytes_max: u64, mask: &Mask) -> io::Result<Self> {
        let missing = || io::Error::other("the child has no output pipe");
        let stdout: OwnedFd = child.stdout.take().ok_or_else(missing)?.into();
        let stderr: OwnedFd = child.stderr.take().ok_or_else(missing)?.into();
        Ok(Self {
            stdout: Pump::new(LogStream::Stdout, stdout, mask)?,
            stderr: Pump::new(LogStream::Stderr, stderr, mask)?,
            store: Store { dir: dir.clone(), files: None, written: 0, bytes_max },
        })
    }

    /// Whether more may come.
    pub fn is_open(&self) -> bool {
        self.stdout.is_open() || self.stderr.is_open()
    }

    /// Waits for output and logs it. May be cancelled.
    pub async fn step(&mut self) {
        let Self { stdout, stderr, store } = self;
        let pump = tokio::select! {
            () = stdout.fill(), if stdout.is_open() => stdout,
            () = stderr.fill(), if stderr.is_open() => stderr,
        };
        pump.log_due(store);
    }

    /// Logs all that is left. On time-out a stranger holds a pipe; what was read so far is the log.
    pub async fn drain(&mut self) {
        let all = async {
            while self.is_open() {
                self.step().await;
            }
        };
        let _ = tokio::time::timeout(DRAIN, all).await;
        for pump in [&mut self.stdout, &mut self.stderr] {
            pump.close();
            pump.log_due(&mut self.store);
        }
    }
}

/// The log on disk, created with the first output.
struct Store {
    dir: AttemptDir,
    files: Option<(File, File)>,
    written: u64,
    bytes_max: u64,
}

impl Store {
    /// A full disk must not stop the step: it loses log, not work.
    fn log(&mut self, stream: LogStream, data: &[u8]) {
        if self.written < self.bytes_max && self.try_log(stream, data).is_err() {
            self.bytes_max = self.written;
        }
    }

    fn try_log(&mut self, stream: LogStream, data: &[u8]) -> io::Result<()> {
        let (output, index) = match &mut self.files {
            Some(files) => files,
            files => {
                let output = File::options().create(true).append(true).open(self.dir.output())?;
                files.insert((output, index::open(&self.dir.log_index())?))
            }
        };
        output.write_all(data)?;
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let entry = Entry { stream, end: false, length, time_ms: clock::unix_ms(), offset: self.written };
        index::append(index, &entry)?;
        self.written += u64::from(length);
        Ok(())
    }
}

/// One stream.
struct Pump {
    stream: LogStream,
    pipe: Option<pipe::Receiver>,
    /// What was read last, before it is masked.
    read: Vec<u8>,
    masked: Stream,
    held: Vec<u8>,
    held_until: Option<Instant>,
    /// Bytes of `held` to log now.
    due: usize,
}

impl Pump {
    fn new(stream: LogStream, pipe: OwnedFd, mask: &Mask) -> io::Result<Self> {
        let pipe = Some(pipe::Receiver::from_owned_fd(pipe)?);
        // A buffer without room would be read into by 64 bytes, for ever.
        let read = Vec::with_capacity(RECORD_BYTES_MAX);
        let (held, masked) = (Vec::new(), Stream::new(mask.clone()));
        Ok(Self { stream, pipe, read, masked, held, held_until: None, due: 0 })
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Waits until something is due: whole lines, or the beginning of one that has waited long enough.
    async fn fill(&mut self) {
        let Some(pipe) = self.pipe.as_mut() else { return };
        let read = match self.held_until {
            Some(until) => tokio::time::timeout_at(until, pipe.read_buf(&mut self.read)).await,
            None => Ok(pipe.read_buf(&mut self.read).await),
        };
        match read {
            Ok(Ok(0) | Err(_)) => self.close(),
            Ok(Ok(_)) => {
                self.masked.push(&mut self.read, &mut self.held);
                self.find_lines();
            }
            Err(_) => self.due = self.held.len(),
        }
    }

    fn find_lines(&mut self) {
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.due = if self.held.len() - whole >= RECORD_BYTES_MAX { self.held.len() } else { whole };
        if self.due < self.held.len() && self.held_until.is_none() {
            self.held_until = Some(Instant::now() + HOLD);
        }
    }

    fn close(&mut self) {
        self.pipe = None;
        self.masked.finish(&mut self.held);
        self.due = self.held.len();
    }

    fn log_due(&mut self, store: &mut Store) {
        for data in self.held[..self.due].chunks(RECORD_BYTES_MAX) {
            store.log(self.stream, data);
        }
        self.held.drain(..self.due);
        if self.due > 0 {
            self.held_until = (!self.held.is_empty()).then(|| Instant::now() + HOLD);
        }
        self.due = 0;
    }
}
