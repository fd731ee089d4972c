//! How long this replica's disk has lately taken to make something durable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The slowest write of the present window and of the one before it is remembered.
const WINDOW: Duration = Duration::from_secs(2);

/// Measures; clones share it.
#[derive(Clone, Default)]
pub struct Pace {
    inner: Arc<Mutex<Windows>>,
}

#[derive(Default)]
struct Windows {
    since: Option<Instant>,
    present: Duration,
    before: Duration,
}

impl Pace {
    /// A durable write began at `begun` and has ended.
    pub fn record(&self, begun: Instant) {
        let mut windows = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(Instant::now());
        windows.present = windows.present.max(begun.elapsed());
    }

    /// The slowest of the last few seconds; nothing if there was none.
    pub fn slowest(&self) -> Duration {
        let mut windows = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(Instant::now());
        windows.present.max(windows.before)
    }
}

impl Windows {
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.duration_since(since);
        if passed < WINDOW {
            return;
        }
        self.before = if passed < 2 * WINDOW { self.present } else { Duration::ZERO };
        self.present = Duration::ZERO;
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_is_remembered_for_a_while() {
        let start = Instant::now();
        let mut windows =
            Windows { since: Some(start), present: Duration::from_millis(70), ..Windows::default() };
        windows.turn(start + WINDOW / 2);
        assert_eq!(windows.present, Duration::from_millis(70));
        windows.turn(start + WINDOW);
        assert_eq!((windows.present, windows.before), (Duration::ZERO, Duration::from_millis(70)));
        windows.turn(start + 4 * WINDOW);
        assert_eq!((windows.present, windows.before), (Duration::ZERO, Duration::ZERO));
    }
}
