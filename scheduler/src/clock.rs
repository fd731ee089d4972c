//! The replica's clock: Unix time that never goes back and does not follow jumps of the machine's clock after the start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Unix time, carried on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_unix: Duration,
}

impl Clock {
    /// A clock that agrees with the machine's right now.
    pub fn start() -> Clock {
        let started_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::at(started_unix)
    }

    /// A clock that shows this time since 1970 right now.
    pub fn at(started_unix: Duration) -> Clock {
        Clock { started: Instant::now(), started_unix }
    }

    /// Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        let now = self.started_unix + self.started.elapsed();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}
