//! The switch between the hosts: a thread for each host reads what it sends, and one more holds what is delayed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{MTU, Port, Rules};
use crate::chance::Chance;

/// Header of an Ethernet frame: two addresses and a type.
const HEADER_BYTES: usize = 14;

/// Frames that wait for their delay at most; more are lost, as in any router.
const HELD_MAX: usize = 50_000;

/// What the switch has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames passed on at once.
    pub passed: u64,
    /// Frames passed on after a delay.
    pub delayed: u64,
    /// Frames that a cut link swallowed.
    pub cut: u64,
    /// Frames that a lossy link lost.
    pub lost: u64,
}

/// Forwards frames between hosts by the rules of their links.
pub struct Switch {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    /// Closing it ends the readers.
    stop: Option<PipeWriter>,
}

struct Inner {
    taps: Vec<File>,
    rules: Rules,
    held: Mutex<Held>,
    wake: Condvar,
    passed: AtomicU64,
    delayed: AtomicU64,
    cut: AtomicU64,
    lost: AtomicU64,
}

/// A frame that waits: when it goes, its place in the order of coming, whom it goes to, and its bytes.
type Waiting = (Instant, u64, Port, Vec<u8>);

#[derive(Default)]
struct Held {
    /// The next to go first.
    frames: BinaryHeap<Reverse<Waiting>>,
    /// When the last frame of each link goes, which none behind it may overtake.
    last: HashMap<(Port, Port), Instant>,
    count: u64,
    over: bool,
}

impl Switch {
    /// Starts forwarding between these devices; the first is that of port 0.
    pub(super) fn start(taps: Vec<File>, seed: u64) -> anyhow::Result<Switch> {
        let ports = 0..taps.len() as u8;
        let inner = Arc::new(Inner {
            taps,
            rules: Rules::default(),
            held: Mutex::default(),
            wake: Condvar::new(),
            passed: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (stopped, stop) = std::io::pipe()?;
        let mut threads = Vec::new();
        for port in ports.map(Port) {
            let (inner, stopped) = (inner.clone(), stopped.try_clone()?);
            let chance = Chance::part(seed, &format!("switch-{}", port.0));
            let reader = std::thread::Builder::new().name(format!("switch-{}", port.0));
            threads.push(reader.spawn(move || inner.read(port, &stopped, chance))?);
        }
        let holder = inner.clone();
        let builder = std::thread::Builder::new().name("switch-delay".to_owned());
        threads.push(builder.spawn(move || holder.release())?);
        Ok(Switch { inner, threads, stop: Some(stop) })
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    pub(super) fn counts(&self) -> Counts {
        let inner = &self.inner;
        Counts {
            passed: inner.passed.load(Ordering::Relaxed),
            delayed: inner.delayed.load(Ordering::Relaxed),
            cut: inner.cut.load(Ordering::Relaxed),
            lost: inner.lost.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop = None;
        self.inner.held().over = true;
        self.inner.wake.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what a host sends until the switch stops.
    fn read(&self, port: Port, stopped: &PipeReader, mut chance: Chance) {
        let mut tap = &self.taps[usize::from(port.0)];
        let mut frame = vec![0; MTU as usize + 64];
        loop {
            let mut sources = [
                PollFd::new(tap.as_fd(), PollFlags::POLLIN),
                PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut sources, PollTimeout::NONE).is_err_and(|error| error != nix::Error::EINTR) {
                return;
            }
            if sources[1].revents().is_some_and(|events| !events.is_empty()) {
                return;
            }
            while let Ok(length) = tap.read(&mut frame) {
                self.forward(port, &frame[..length], &mut chance);
            }
        }
    }

    fn forward(&self, from: Port, frame: &[u8], chance: &mut Chance) {
        // Hosts know each other's addresses for good, so there is nothing to broadcast.
        let Some(to) = frame.get(..6).and_then(Port::of_mac) else { return };
        if frame.len() < HEADER_BYTES || usize::from(to.0) >= self.taps.len() {
            return;
        }
        let link = self.rules.link(from, to);
        if link.cuts > 0 {
            self.cut.fetch_add(1, Ordering::Relaxed);
        } else if link.loss_in_thousand > 0 && chance.in_thousand(u64::from(link.loss_in_thousand)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else if link.delay + link.jitter > Duration::ZERO {
            let jitter = Duration::from_micros(chance.between(0, link.jitter.as_micros() as u64));
            self.hold(from, to, link.delay + jitter, frame);
        } else {
            self.passed.fetch_add(1, Ordering::Relaxed);
            self.send(to, frame);
        }
    }

    fn send(&self, to: Port, frame: &[u8]) {
        // A device that takes no more loses the frame, as a wire would.
        let _ = (&self.taps[usize::from(to.0)]).write(frame);
    }

    fn hold(&self, from: Port, to: Port, delay: Duration, frame: &[u8]) {
        let mut held = self.held();
        if held.frames.len() >= HELD_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let wanted = Instant::now() + delay;
        let at = held.last.get(&(from, to)).map_or(wanted, |last| wanted.max(*last));
        held.last.insert((from, to), at);
        held.count += 1;
        let place = held.count;
        held.frames.push(Reverse((at, place, to, frame.to_vec())));
        self.delayed.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Sends held frames when their time has come.
    fn release(&self) {
        let mut held = self.held();
        while !held.over {
            let now = Instant::now();
            let next = held.frames.peek().map(|Reverse((at, ..))| *at);
            held = match next {
                Some(at) if at <= now => {
                    if let Some(Reverse((_, _, to, frame))) = held.frames.pop() {
                        self.send(to, &frame);
                    }
                    held
                }
                Some(at) => self.wake.wait_timeout(held, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(held).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
