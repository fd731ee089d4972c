//! Which replica to try next, and how long to wait before: all known ones in turn, the named leader first.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// First pause after a failure.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause while a failover is likely: it must cost less than a second.
const PAUSE_SOON_MAX: Duration = Duration::from_millis(100);
/// Longest pause at all.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Tries in quick succession, several seconds of them.
const SOON_TRIES: u32 = 60;
/// Redirects in a row that are followed without a pause.
const HOPS_MAX: u32 = 2;

/// The addresses.
#[derive(Debug)]
pub struct Endpoints {
    configured: Vec<String>,
    known: VecDeque<String>,
    preferred: Option<String>,
    tries: u32,
    hops: u32,
}

impl Endpoints {
    /// The configured addresses.
    pub fn new(configured: &[String]) -> Self {
        let configured: Vec<String> = configured.iter().map(|address| normal(address)).collect();
        Self { known: configured.clone().into(), configured, preferred: None, tries: 0, hops: 0 }
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.known.iter().cloned().collect()
    }

    /// The address to try now.
    pub fn next(&mut self) -> String {
        if let Some(address) = self.preferred.take() {
            return address;
        }
        self.known.rotate_left(1);
        self.known.back().cloned().unwrap_or_default()
    }

    /// Takes the replicas that a replica named; the configured ones stay.
    pub fn learn(&mut self, addresses: &[String]) {
        let addresses: Vec<String> = addresses.iter().map(|address| normal(address)).collect();
        if addresses.is_empty() {
            return;
        }
        self.known.retain(|known| addresses.contains(known) || self.configured.contains(known));
        for address in addresses {
            if !self.known.contains(&address) {
                self.known.push_back(address);
            }
        }
    }

    /// The leader, as a replica named it; empty when it knows none.
    pub fn prefer(&mut self, leader: &str) {
        if !leader.is_empty() && self.hops < HOPS_MAX {
            self.hops += 1;
            self.preferred = Some(normal(leader));
        }
    }

    /// A session is open there.
    pub fn settled(&mut self, address: &str) {
        self.tries = 0;
        self.hops = 0;
        // The others first, should it be lost.
        self.known.retain(|known| known != address);
        self.known.push_back(address.to_owned());
    }

    /// How long to wait before the next try.
    pub fn pause(&mut self) -> Duration {
        if self.preferred.is_some() {
            return Duration::ZERO;
        }
        self.hops = 0;
        let most = if self.tries < SOON_TRIES { PAUSE_SOON_MAX } else { PAUSE_MAX };
        let pause = PAUSE_MIN.saturating_mul(1 << self.tries.min(10)).min(most);
        self.tries = self.tries.saturating_add(1);
        pause.mul_f64(jitter())
    }
}

/// A factor from 0.5 to 1.5, so that executors do not come all at once.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0);
    0.5 + (random % 1_000) as f64 / 1_000.0
}

/// An address with its scheme.
pub fn normal(address: &str) -> String {
    let address = address.trim().trim_end_matches('/');
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn all_are_tried_in_turn_and_the_named_leader_first() {
        let mut endpoints = Endpoints::new(&names(&["a:1", "http://b:1/"]));
        assert_eq!(endpoints.next(), "http://a:1");
        endpoints.learn(&names(&["b:1", "c:1"]));
        let mut seen = [endpoints.next(), endpoints.next(), endpoints.next()];
        seen.sort();
        assert_eq!(seen, ["http://a:1", "http://b:1", "http://c:1"]);
        endpoints.prefer("c:1");
        assert_eq!(endpoints.pause(), Duration::ZERO);
        assert_eq!(endpoints.next(), "http://c:1");
    }

    #[test]
    fn a_circle_of_redirects_is_left() {
        let mut endpoints = Endpoints::new(&names(&["a:1", "b:1"]));
        let mut pauses = 0;
        for _ in 0..9 {
            endpoints.prefer("a:1");
            pauses += u32::from(endpoints.pause() > Duration::ZERO);
            endpoints.next();
        }
        assert_eq!(pauses, 3);
    }

    #[test]
    fn pauses_grow_to_a_second() {
        let mut endpoints = Endpoints::new(&names(&["a:1"]));
        let pauses: Vec<Duration> = (0..70).map(|_| endpoints.pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(30));
        assert!(pauses[..60].iter().all(|pause| *pause <= Duration::from_millis(150)));
        assert!(pauses[69] >= Duration::from_millis(500) && pauses[69] <= Duration::from_millis(1500));
    }
}
