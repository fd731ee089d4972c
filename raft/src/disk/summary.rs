//! What a tree should hold, in a few bytes that change together with it: how often it was changed, how many records
//! it has, and a sum over all of them.
//!
//! The embedded store drops what it cannot read, and says nothing. A tree whose records do not add up to its summary
//! has lost some; a tree whose summary is older than the guard file promised (see `guard`) has lost its newest changes.

use super::Tree;
use crate::error::StoreError;

/// The key of a tree's summary. Heads and further chunks begin with other bytes.
pub const KEY: &[u8] = b"s";
/// Bytes of a stored summary.
pub const BYTES: usize = 24;

/// What a tree should hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of the last change; it only grows, also over restarts.
    pub change: u64,
    /// How many records there are.
    pub count: u64,
    /// The sum of their fingerprints, whose order does not matter.
    pub sum: u64,
}

impl Summary {
    /// A record came.
    pub fn add(&mut self, head: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(fingerprint(head));
    }

    /// A record went.
    pub fn subtract(&mut self, head: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(fingerprint(head));
    }

    /// As stored.
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.change, self.count, self.sum]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// As stored.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers =
            bytes.chunks_exact(8).filter_map(|part| part.try_into().ok().map(u64::from_le_bytes));
        let summary = Self { change: numbers.next()?, count: numbers.next()?, sum: numbers.next()? };
        (bytes.len() == BYTES).then_some(summary)
    }
}

/// A record's part of the sum. A head begins with the checksum over key and value, and the value's length.
fn fingerprint(head: &[u8]) -> u64 {
    let part =
        |range| head.get(range).and_then(|bytes: &[u8]| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let mut mixed = (u64::from(part(0..4)) << 32) ^ u64::from(part(4..8));
    // The finishing steps of splitmix64: near checksums come out far apart, so that sums do not meet by chance.
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The stored summary of a tree, unless it never had one.
pub fn read(stored: &sled::Tree, tree: Tree) -> Result<Option<Summary>, StoreError> {
    let found = stored.get(KEY).map_err(|source| super::values::failed(tree, &[], source))?;
    let Some(bytes) = found else { return Ok(None) };
    let decoded = Summary::decode(&bytes);
    decoded.map(Some).ok_or_else(|| StoreError::corrupt(tree.name(), "its summary is not one"))
}

/// What a tree really holds, under the number of a change. Reads all of it.
pub fn count(stored: &sled::Tree, tree: Tree, change: u64) -> Result<Summary, StoreError> {
    let mut summary = Summary { change, ..Summary::default() };
    for head in super::values::heads(stored) {
        let (_, head) = head.map_err(|source| super::values::failed(tree, &[], source))?;
        summary.add(&head);
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same_sum_and_what_goes_is_gone() {
        let heads: Vec<[u8; 12]> = (0..50_u8).map(|number| [number; 12]).collect();
        let (mut forward, mut backward) = (Summary::default(), Summary::default());
        heads.iter().for_each(|head| forward.add(head));
        heads.iter().rev().for_each(|head| backward.add(head));
        assert_eq!(forward, backward);
        assert_eq!(Summary::decode(&forward.encode()), Some(forward));
        heads.iter().for_each(|head| forward.subtract(head));
        assert_eq!(forward, Summary::default());
        assert_eq!(Summary::decode(&[0; 23]), None);
    }
}
