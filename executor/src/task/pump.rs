//! Moves the child's two output streams from their pipes to the log: one file of data, and the index.
//!
//! Pipes and not files, because programs open `/dev/stderr` anew, which would truncate a file; and the pipes end at the
//! supervisor, not at the executor, so the executor may die.
//!
//! What is more than a log may hold is left out of its middle: the end of each stream, where the reason of a failure is,
//! follows when all processes have ended.

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

/// How much of a stream's end follows where the log has no room for all.
const LAST_BYTES_MAX: usize = 64 << 10;

/// How much less that may be for the sake of a whole line.
const LINE_BYTES_MAX: usize = LAST_BYTES_MAX / 4;

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
            store: Store { dir: dir.clone(), files: None, written: 0, bytes_max, failed: false },
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
        for pump in [&mut self.stdout, &mut self.stderr] {
            pump.log_last(&mut self.store);
        }
    }
}

/// The log on disk, created with the first output.
struct Store {
    dir: AttemptDir,
    files: Option<(File, File)>,
    written: u64,
    bytes_max: u64,
    /// Whether the disk refused.
    failed: bool,
}

impl Store {
    /// Whether the data is in the log. A full disk must not stop the step: it loses log, not work.
    fn log(&mut self, stream: LogStream, data: &[u8]) -> bool {
        if self.written >= self.bytes_max {
            return false;
        }
        let is_logged = self.try_log(stream, data).is_ok();
        if !is_logged {
            (self.bytes_max, self.failed) = (self.written, true);
        }
        is_logged
    }

    /// Adds what comes after all else, whatever the log has already.
    fn log_last(&mut self, stream: LogStream, data: &[u8]) -> io::Result<()> {
        if let (Some((output, index)), true) = (&self.files, self.failed) {
            // The disk may have taken a part, of an entry, too.
            self.written = output.metadata()?.len();
            index::mend(index)?;
        }
        data.chunks(RECORD_BYTES_MAX).try_for_each(|data| self.try_log(stream, data))
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
    /// The end of what the log had no room for.
    last: Vec<u8>,
    /// How much of that is not even there.
    left_out: usize,
}

impl Pump {
    fn new(stream: LogStream, pipe: OwnedFd, mask: &Mask) -> io::Result<Self> {
        let pipe = Some(pipe::Receiver::from_owned_fd(pipe)?);
        // A buffer without room would be read into by 64 bytes, for ever.
        let read = Vec::with_capacity(RECORD_BYTES_MAX);
        let (held, masked) = (Vec::new(), Stream::new(mask.clone()));
        Ok(Self { stream, pipe, read, masked, held, held_until: None, due: 0, last: Vec::new(), left_out: 0 })
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
            if !store.log(self.stream, data) {
                self.last.extend_from_slice(data);
                // Not at each line.
                if self.last.len() > 2 * LAST_BYTES_MAX {
                    self.left_out += shorten(&mut self.last);
                }
            }
        }
        self.held.drain(..self.due);
        if self.due > 0 {
            self.held_until = (!self.held.is_empty()).then(|| Instant::now() + HOLD);
        }
        self.due = 0;
    }

    /// Logs the end of what there was no room for.
    fn log_last(&mut self, store: &mut Store) {
        let mut last = std::mem::take(&mut self.last);
        if last.is_empty() {
            return;
        }
        let left_out = self.left_out + shorten(&mut last);
        if left_out > 0 {
            let note = format!("\n[meson: no room in the log; {left_out} bytes are left out here]\n");
            last.splice(..0, note.into_bytes());
        }
        // There may still be no room on the disk.
        let _ = store.log_last(self.stream, &last);
    }
}

/// Takes the beginning away from what is too long, up to the end of a line where one is near; says how much that was.
fn shorten(last: &mut Vec<u8>) -> usize {
    let too_many = last.len().saturating_sub(LAST_BYTES_MAX);
    if too_many == 0 {
        return 0;
    }
    let line = last[too_many - 1..][..LINE_BYTES_MAX].iter().position(|byte| *byte == b'\n').unwrap_or(0);
    last.drain(..too_many + line).len()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::secrets::Secrets;

    /// What a log of that size holds of a script's output, stream by stream.
    async fn logged(script: &str, bytes_max: u64) -> [String; 2] {
        let root = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(root.path().to_owned());
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = Output::new(&dir, &mut child, bytes_max, &Mask::new(&Secrets::default())).unwrap();
        while output.is_open() {
            output.step().await;
        }
        output.drain().await;
        child.wait().unwrap();
        let entries = index::read(&index::open(&dir.log_index()).unwrap(), 1, usize::MAX).unwrap();
        let file = File::open(dir.output()).unwrap();
        [LogStream::Stdout, LogStream::Stderr].map(|stream| {
            let of_stream = entries.iter().filter(|entry| entry.stream == stream);
            let data = of_stream.flat_map(|entry| {
                let mut data = vec![0; entry.length as usize];
                file.read_exact_at(&mut data, entry.offset).unwrap();
                data
            });
            String::from_utf8(data.collect()).unwrap()
        })
    }

    #[tokio::test]
    async fn a_log_without_room_has_its_beginning_and_its_end() {
        let script = "seq 100000; echo the reason >&2";
        let all: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(logged(script, 1 << 20).await, [all.clone(), "the reason\n".to_owned()]);

        let [stdout, stderr] = logged(script, 1_000).await;
        let (begin, rest) = stdout.split_once("\n[meson: no room in the log; ").unwrap();
        let (left_out, end) = rest.split_once(" bytes are left out here]\n").unwrap();
        assert!(all.starts_with(begin) && begin.len() >= 1_000, "{begin}");
        assert!(
            all.ends_with(&format!("\n{end}")) && (60_000..=LAST_BYTES_MAX).contains(&end.len()),
            "{end}"
        );
        assert_eq!(begin.len() + left_out.parse::<usize>().unwrap() + end.len(), all.len());
        assert_eq!(stderr, "the reason\n");

        let [stdout, _] = logged("yes | head -c 200000 | tr '\\n' x; echo", 1_000).await;
        let (_, end) = stdout.split_once(" bytes are left out here]\n").unwrap();
        assert_eq!((end.len(), end.ends_with("xyx\n")), (LAST_BYTES_MAX, true), "a long line keeps its end");
    }
}
