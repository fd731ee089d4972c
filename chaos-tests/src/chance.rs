//! Chance from a seed: SplitMix64. Kept here rather than taken from a library because a saved seed must give the same
//! schedule after any upgrade, which libraries of random numbers do not promise.

use std::time::{Duration, SystemTime};

/// A stream of numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Chance { state: seed }
    }

    /// A stream of its own for one part of a test: what one part draws does not move the others.
    pub fn part(seed: u64, part: &str) -> Self {
        let folded = part.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut chance = Chance::new(folded);
        chance.number();
        chance
    }

    /// A seed that nobody has chosen.
    pub fn fresh_seed() -> u64 {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut chance = Chance::new(now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 32));
        // Short enough to be typed again.
        chance.number() % 1_000_000_000
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// A duration from `low` to `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// True in this many of a thousand draws.
    pub fn in_thousand(&mut self, count: u64) -> bool {
        self.number() % 1_000 < count
    }

    /// One of these, each as likely as any other; none of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get((self.number() % of.len() as u64) as usize) }
    }

    /// One of these, as likely as its weight; there must be one.
    pub fn weighted<K: Copy>(&mut self, kinds: &[(K, u64)]) -> K {
        let total: u64 = kinds.iter().map(|(_, weight)| weight).sum();
        let mut left = self.between(0, total.saturating_sub(1));
        for (kind, weight) in kinds {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        kinds[kinds.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        // The reference values of SplitMix64 for the seed 1234567.
        let mut chance = Chance::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| chance.number()).collect();
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn parts_are_streams_of_their_own() {
        let draw = |part| Chance::part(7, part).number();
        assert_eq!(draw("load"), draw("load"));
        assert_ne!(draw("load"), draw("faults"));
    }

    #[test]
    fn bounds_are_kept() {
        let mut chance = Chance::new(1);
        let numbers: Vec<u64> = (0..1_000).map(|_| chance.between(3, 5)).collect();
        assert!((3..=5).all(|wanted| numbers.contains(&wanted)));
        assert!(numbers.iter().all(|number| (3..=5).contains(number)));
        assert_eq!(chance.pick::<u8>(&[]), None);
    }
}
