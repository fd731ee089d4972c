//! Sets of whole numbers, kept as ranges that neither overlap nor touch.

use crate::v1::value;

/// A set of whole numbers, such as ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The union of ranges with both ends included, in any order; a range that ends before it begins is empty.
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|(begin, end)| begin <= end).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self(merged)
    }

    /// From the contract.
    pub fn of_contract(ranges: &value::Ranges) -> Self {
        Self::of(ranges.range.iter().map(|range| (range.begin, range.end)))
    }

    /// For the contract.
    pub fn to_contract(&self) -> value::Ranges {
        let range = self.0.iter().map(|&(begin, end)| value::Range { begin, end }).collect();
        value::Ranges { range }
    }

    /// In order, both ends included.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// All numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|&(begin, end)| begin..=end)
    }

    /// How many numbers.
    pub fn count(&self) -> u128 {
        self.0.iter().map(|(begin, end)| u128::from(end - begin) + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in either.
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.iter().chain(other.iter()))
    }

    /// What is in this and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut taken = other.0.iter().copied().peekable();
        for (mut begin, end) in self.iter() {
            let mut used_up = false;
            while let Some(&(from, to)) = taken.peek() {
                if to < begin {
                    taken.next();
                } else if from > end {
                    break;
                } else {
                    if from > begin {
                        left.push((begin, from - 1));
                    }
                    if to >= end {
                        used_up = true;
                        break;
                    }
                    // Safe: `to` is less than `end`.
                    begin = to + 1;
                    taken.next();
                }
            }
            if !used_up {
                left.push((begin, end));
            }
        }
        Self(left)
    }

    /// Whether all of the other is in this.
    pub fn contains(&self, other: &Self) -> bool {
        other.difference(self).is_empty()
    }

    /// Whether the two have a number in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.difference(other).count() < self.count()
    }

    /// The lowest `count` numbers, if there are so many.
    pub fn lowest(&self, count: u64) -> Option<Self> {
        let mut missing = count;
        let mut found = Vec::new();
        for (begin, end) in self.iter() {
            if missing == 0 {
                break;
            }
            let last = end.min(begin.saturating_add(missing - 1));
            found.push((begin, last));
            missing -= last - begin + 1;
        }
        (missing == 0).then_some(Self(found))
    }
}
