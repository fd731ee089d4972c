//! An alarm at a moment of boot time, which rings at once when the machine wakes up after it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

/// A kernel timer.
pub struct Alarm {
    timer: TimerFd,
    ready: AsyncFd<OwnedFd>,
    at: Option<u64>,
}

impl Alarm {
    /// An alarm that is not set.
    ///
    /// # Errors
    /// When the kernel gives no timer.
    pub fn new() -> io::Result<Self> {
        let timer =
            TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        #[allow(deprecated, reason = "its successor is unsafe; an OwnedFd keeps the promise it asks for")]
        let ready = AsyncFd::new(timer.as_fd().try_clone_to_owned()?)?;
        Ok(Self { timer, ready, at: None })
    }

    /// Sets it to ring at `at` boot-time milliseconds; `u64::MAX` is never.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set(&mut self, at: u64) -> io::Result<()> {
        // A year is never, and fits into every time the kernel knows.
        const NEVER_MS: u64 = 365 * 24 * 3600 * 1000;
        if self.at == Some(at) {
            return Ok(());
        }
        self.at = Some(at);
        let bounded = at.clamp(1, crate::clock::boot_ms() + NEVER_MS);
        let moment = Expiration::OneShot(TimeSpec::from(Duration::from_millis(bounded)));
        Ok(self.timer.set(moment, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?)
    }

    /// Waits until it rings. May be cancelled.
    pub async fn rang(&mut self) {
        if let Ok(mut guard) = self.ready.readable().await {
            guard.clear_ready();
            // Reading resets it; nothing to read means that it was set anew.
            let _ = self.timer.wait();
            self.at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_moment_in_the_past_rings_at_once() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(0).unwrap();
        alarm.set(1).unwrap();
        alarm.rang().await;
    }
}
