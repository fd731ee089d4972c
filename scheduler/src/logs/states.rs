//! The states of the attempts that were written last; others are read from their files again.

use std::collections::{BTreeMap, HashMap};

use super::attempt::AttemptName;
use super::state::LogState;

/// A cache that forgets what was not used for the longest time.
#[derive(Debug)]
pub(super) struct States {
    capacity: usize,
    clock: u64,
    known: HashMap<AttemptName, (LogState, u64)>,
    used: BTreeMap<u64, AttemptName>,
}

impl States {
    pub fn new(capacity: usize) -> Self {
        States { capacity: capacity.max(1), clock: 0, known: HashMap::new(), used: BTreeMap::new() }
    }

    /// The state of an attempt, and from now on the one used last.
    pub fn get(&mut self, attempt: &AttemptName) -> Option<LogState> {
        let state = self.known.get(attempt)?.0;
        self.put(attempt, state);
        Some(state)
    }

    /// Keeps a state.
    pub fn put(&mut self, attempt: &AttemptName, state: LogState) {
        self.clock += 1;
        if let Some((_, before)) = self.known.insert(attempt.clone(), (state, self.clock)) {
            self.used.remove(&before);
        }
        self.used.insert(self.clock, attempt.clone());
        while self.known.len() > self.capacity {
            let (_, oldest) = self.used.pop_first().expect("what is known was used");
            self.known.remove(&oldest);
        }
    }

    /// Forgets a state: the file has to be read again.
    pub fn forget(&mut self, attempt: &AttemptName) {
        if let Some((_, used)) = self.known.remove(attempt) {
            self.used.remove(&used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_is_forgotten() {
        let [a, b, c] = ["a", "b", "c"].map(|name| AttemptName::parse(name).unwrap());
        let mut states = States::new(2);
        states.put(&a, LogState::default());
        states.put(&b, LogState::default());
        assert!(states.get(&a).is_some());
        states.put(&c, LogState::default());
        assert!(states.get(&b).is_none() && states.get(&a).is_some() && states.get(&c).is_some());
        states.forget(&a);
        assert!(states.get(&a).is_none() && states.known.len() == states.used.len());
    }
}
