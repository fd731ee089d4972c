//! How long to wait before the next attempt: twice as long each time, up to a bound, and never the same for all.

use std::time::Duration;

/// Waits that grow and are random, so that many clients of a master that comes back do not come at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// The first wait is at most `first`, none is more than `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first: first.min(longest), longest, attempts: 0 }
    }

    /// The next wait: between half of the bound and the bound, which doubles.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    fn bound(&self) -> Duration {
        let factor = 2_u32.checked_pow(self.attempts).unwrap_or(u32::MAX);
        self.first.checked_mul(factor).unwrap_or(self.longest).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(700));
        for bound in [100, 200, 400, 700, 700] {
            let wait = backoff.next_wait();
            assert!(wait <= Duration::from_millis(bound), "{wait:?} of at most {bound} ms");
            assert!(wait >= Duration::from_millis(bound / 2), "{wait:?} of at least {} ms", bound / 2);
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(100));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
        let longest = (0..100).map(|_| backoff.next_wait()).max();
        assert!(longest <= Some(Duration::from_secs(15)));
    }

    #[test]
    fn two_clients_wait_differently() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits.len() > 10, "of 20 waits only {} differ", waits.len());
    }
}
