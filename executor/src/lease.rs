//! The lease (promise P3): until when this executor may let attempts run without hearing from the leader.
//!
//! The argument. The leader acknowledges a heartbeat only after a majority confirmed it as leader, and a new leader waits
//! longer than the lease, counted from when it last may have been acknowledged, before it starts another attempt of the
//! same step. The executor counts from the moment *before* it sent that heartbeat, so its end is never later than the
//! end that any leader assumes. Killing takes time, therefore it starts a margin before the end: SIGTERM at `kill_at`,
//! SIGKILL for the whole tree at `force_at`, everything dead by `end`.
//!
//! The executor itself may be stopped or dead while its attempts live on, so the lease is a small file in the data
//! directory that the executor writes and every supervisor reads; the supervisors do the killing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::{clock, sabotage};

/// The margin is at most this part of the lease.
const MARGIN_DIVISOR: u64 = 4;

/// A lease's three moments, in boot-time milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline {
    /// When polite killing starts.
    pub kill_at: u64,
    /// When forceful killing starts.
    pub force_at: u64,
    /// When everything is dead.
    pub end: u64,
}

impl Deadline {
    /// The deadline of a lease of `lease_ms` whose heartbeat was sent at `sent_ms`.
    pub fn new(sent_ms: u64, lease_ms: u64, margin_ms: u64) -> Self {
        let margin = margin_ms.min(lease_ms / MARGIN_DIVISOR);
        let end = sent_ms.saturating_add(lease_ms);
        Self { kill_at: end - margin, force_at: end - margin / 2, end }
    }

    fn encode(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let mut words = [0_u64; 4];
        for (slot, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *slot = u64::from_le_bytes(chunk.try_into().ok()?);
        }
        let deadline = Self { kill_at: words[0], force_at: words[1], end: words[2] };
        (deadline.words() == words).then_some(deadline)
    }

    /// The three moments and their checksum, which shows a read in the middle of a write.
    fn words(self) -> [u64; 4] {
        [
            self.kill_at,
            self.force_at,
            self.end,
            !(self.kill_at ^ self.force_at.rotate_left(21) ^ self.end.rotate_left(42)),
        ]
    }
}

/// Reads a lease file; a missing, unreadable or foreign one is a lease that has ended.
pub fn read(path: &Path) -> Deadline {
    const TRIES: u32 = 16;
    if sabotage::without("lease") {
        return Deadline { kill_at: u64::MAX, force_at: u64::MAX, end: u64::MAX };
    }
    let Ok(file) = File::open(path) else { return Deadline::default() };
    for _ in 0..TRIES {
        let mut bytes = [0; 32];
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return Deadline::default();
        }
        if let Some(deadline) = Deadline::decode(&bytes) {
            return deadline;
        }
    }
    Deadline::default()
}

/// The executor's own end of the lease.
#[derive(Debug)]
pub struct Lease {
    file: File,
    path: PathBuf,
    margin_ms: u64,
    end: AtomicU64,
    current: watch::Sender<Deadline>,
}

impl Lease {
    /// Opens the lease file in `data_dir`; a lease written during this boot goes on.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn open(data_dir: &Path, margin_ms: u64) -> std::io::Result<Self> {
        // The boot id is in the name: boot-time deadlines of an earlier boot mean nothing.
        let path = data_dir.join(format!("lease-{}", clock::boot_id()));
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        let deadline = read(&path);
        let lease = Self {
            file,
            path,
            margin_ms,
            end: AtomicU64::new(deadline.end),
            current: watch::channel(deadline).0,
        };
        remove_others(data_dir, &lease.path);
        Ok(lease)
    }

    /// Where supervisors read it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A heartbeat sent at `sent_ms` was acknowledged. Never shortens the lease.
    ///
    /// # Errors
    /// When the file cannot be written; the lease is then not renewed.
    pub fn renew(&self, sent_ms: u64, lease_ms: u64) -> std::io::Result<()> {
        let deadline = Deadline::new(sent_ms, lease_ms, self.margin_ms);
        if deadline.end <= self.end.load(Ordering::Acquire) {
            return Ok(());
        }
        self.file.write_all_at(&deadline.encode(), 0)?;
        self.end.store(deadline.end, Ordering::Release);
        self.current.send_replace(deadline);
        Ok(())
    }

    /// Whether an attempt may start now.
    pub fn is_held(&self) -> bool {
        clock::boot_ms() < self.current.borrow().kill_at
    }

    /// Waits until the lease is held.
    pub async fn held(&self) {
        let mut changes = self.current.subscribe();
        while !self.is_held() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the lease has ended. For what runs inside the executor; child processes have their supervisors.
    pub async fn expired(&self) {
        // A tick, because tokio's timers stand still while the machine is suspended.
        const TICK: std::time::Duration = std::time::Duration::from_millis(50);
        while self.is_held() {
            tokio::time::sleep(TICK).await;
        }
    }
}

fn remove_others(data_dir: &Path, keep: &Path) {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_lease =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("lease-"));
        if is_lease && path != keep {
            // Left-overs of an earlier boot; harmless if they stay.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_dead_by_the_end() {
        let deadline = Deadline::new(1_000, 10_000, 1_500);
        assert_eq!(deadline, Deadline { kill_at: 9_500, force_at: 10_250, end: 11_000 });
        assert_eq!(Deadline::new(0, 400, 1_500).kill_at, 300);
    }

    #[test]
    fn renewal_never_shortens_and_survives_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::open(dir.path(), 100).unwrap();
        assert!(!lease.is_held());
        let now = clock::boot_ms();
        lease.renew(now, 60_000).unwrap();
        lease.renew(now, 1_000).unwrap();
        assert_eq!(read(lease.path()).end, now + 60_000);
        drop(lease);
        assert!(Lease::open(dir.path(), 100).unwrap().is_held());
    }

    #[test]
    fn torn_or_missing_file_is_an_ended_lease() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease");
        assert_eq!(read(&path), Deadline::default());
        let mut bytes = Deadline::new(5, 1_000, 100).encode();
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path), Deadline::default());
    }
}
