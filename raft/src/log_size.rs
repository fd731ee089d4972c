//! How many bytes the log's entries have, so that its size is bounded and not only its length.

use std::collections::VecDeque;

/// The sizes of entries without a gap.
#[derive(Debug, Default)]
pub struct LogSize {
    /// The index of the first.
    first: u64,
    sizes: VecDeque<u32>,
    total: u64,
}

impl LogSize {
    /// The log has a new last entry.
    pub fn push(&mut self, index: u64, bytes: usize) {
        if self.first + self.sizes.len() as u64 != index {
            *self = Self { first: index, ..Self::default() };
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.sizes.push_back(bytes);
        self.total += u64::from(bytes);
    }

    /// The log ends before an index.
    pub fn truncate(&mut self, index: u64) {
        while self.first + self.sizes.len() as u64 > index {
            let Some(bytes) = self.sizes.pop_back() else { return };
            self.total -= u64::from(bytes);
        }
    }

    /// The log begins after an index.
    pub fn purge(&mut self, index: u64) {
        while self.first <= index {
            let Some(bytes) = self.sizes.pop_front() else { return };
            self.first += 1;
            self.total -= u64::from(bytes);
        }
    }

    /// Bytes of the entries after an index.
    pub fn after(&self, index: Option<u64>) -> u64 {
        let skipped = index.map_or(0, |index| (index + 1).saturating_sub(self.first));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.sizes.len());
        self.sizes.range(skipped..).map(|bytes| u64::from(*bytes)).sum()
    }

    /// The last index that can go so that no more than `bytes` stay, if any has to.
    pub fn excess(&self, bytes: u64) -> Option<u64> {
        let mut total = self.total;
        let mut last = None;
        for (index, size) in (self.first..).zip(&self.sizes) {
            if total <= bytes {
                break;
            }
            total -= u64::from(*size);
            last = Some(index);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_log() {
        let mut size = LogSize::default();
        (5..10).for_each(|index| size.push(index, 10));
        assert_eq!(
            (size.after(None), size.after(None), size.after(Some(7)), size.after(Some(20))),
            (50, 50, 20, 0)
        );
        assert_eq!(
            (size.excess(50), size.excess(49), size.excess(25), size.excess(0)),
            (None, Some(5), Some(7), Some(9))
        );
        size.truncate(9);
        size.purge(5);
        assert_eq!((size.after(None), size.after(Some(4)), size.after(Some(6))), (30, 30, 20));
        size.push(100, 7);
        assert_eq!((size.after(None), size.after(Some(50))), (7, 7), "a gap begins anew");
        size.purge(200);
        assert_eq!(size.after(None), 0);
    }
}
