//! The newest entries of the log in memory, so that replicating and applying them need not read the disk.

use std::collections::VecDeque;

use crate::codec::entry_size;
use crate::types::Entry;

/// Entries without a gap up to the end of the log; the oldest leave when there are too many bytes.
pub struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty one.
    pub fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// The entries between two indices (the second exclusive), if all of them that the log has are here; no more
    /// than `bytes_max` of them, but at least one.
    pub fn read(&self, from: u64, to: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.log_id.index;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for (entry, size) in self.entries.iter().skip(skipped) {
            bytes += size;
            if entry.log_id.index >= to || (!found.is_empty() && bytes > bytes_max) {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }

    /// The log has a new last entry.
    pub fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index;
        if self.entries.back().is_some_and(|(last, _)| last.log_id.index + 1 != index) {
            self.clear();
        }
        let size = entry_size(&entry);
        self.bytes += size;
        self.entries.push_back((entry, size));
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    /// The log ends before an index.
    pub fn truncate(&mut self, index: u64) {
        while self.entries.back().is_some_and(|(entry, _)| entry.log_id.index >= index) {
            if let Some((_, size)) = self.entries.pop_back() {
                self.bytes -= size;
            }
        }
    }

    /// The log begins after an index.
    pub fn purge(&mut self, index: u64) {
        while self.entries.front().is_some_and(|(entry, _)| entry.log_id.index <= index) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, size)) = self.entries.pop_front() {
            self.bytes -= size;
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::LogId;

    fn entry(index: u64) -> Entry {
        let log_id = LogId::new(openraft::CommittedLeaderId::new(1, 1), index);
        Entry { log_id, ..Entry::default() }
    }

    fn indices(found: Option<Vec<Entry>>) -> Option<Vec<u64>> {
        found.map(|entries| entries.iter().map(|entry| entry.log_id.index).collect())
    }

    #[test]
    fn answers_only_what_it_has_in_full() {
        let mut tail = Tail::new(32 * 4);
        (0..6).for_each(|index| tail.push(entry(index)));
        assert_eq!(indices(tail.read(1, 6, 1000)), None, "the oldest have left");
        assert_eq!(indices(tail.read(2, 9, 1000)), Some(vec![2, 3, 4, 5]));
        assert_eq!(indices(tail.read(2, 9, 1)), Some(vec![2]), "at least one");
        assert_eq!(indices(tail.read(6, 9, 1000)), Some(vec![]));
        tail.truncate(4);
        assert_eq!(indices(tail.read(2, 9, 1000)), Some(vec![2, 3]));
        tail.purge(2);
        assert_eq!(indices(tail.read(3, 9, 1000)), Some(vec![3]));
        tail.push(entry(9));
        assert_eq!(indices(tail.read(3, 10, 1000)), None, "a gap empties it");
    }
}
