//! Changes as bytes, for the guard to carry.
//!
//! Those of the archive are left out: what was archived since the last snapshot comes back when the log is applied
//! again, and what a snapshot relies on is synced in the store before.

use bytes::Bytes;

use super::{Op, Tree};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_RANGE: u8 = 3;
const REMOVE_TO_THE_END: u8 = 4;
const REMOVE_PREFIX: u8 = 5;

/// Appends a change.
pub fn encode(op: &Op, bytes: &mut Vec<u8>) {
    let (kind, first, second): (u8, &[u8], &[u8]) = match op {
        Op::Put(_, key, value) => (PUT, key, value),
        Op::Remove(_, key) => (REMOVE, key, &[]),
        Op::RemoveRange(_, from, Some(to)) => (REMOVE_RANGE, from, to),
        Op::RemoveRange(_, from, None) => (REMOVE_TO_THE_END, from, &[]),
        Op::RemovePrefix(_, prefix) => (REMOVE_PREFIX, prefix, &[]),
    };
    let tree = match op.tree() {
        Tree::Log => 0,
        Tree::Meta => 1,
        Tree::Archive => return,
    };
    bytes.extend_from_slice(&[kind, tree]);
    for part in [first, second] {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
}

/// All changes in order, unless these bytes are no changes.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Op>> {
    let mut ops = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<2>() {
        bytes = rest;
        let tree = match head[1] {
            0 => Tree::Log,
            1 => Tree::Meta,
            _ => return None,
        };
        let first = part(&mut bytes)?.to_vec();
        let second = part(&mut bytes)?;
        ops.push(match head[0] {
            PUT => Op::Put(tree, first, Bytes::copy_from_slice(second)),
            REMOVE => Op::Remove(tree, first),
            REMOVE_RANGE => Op::RemoveRange(tree, first, Some(second.to_vec())),
            REMOVE_TO_THE_END => Op::RemoveRange(tree, first, None),
            REMOVE_PREFIX => Op::RemovePrefix(tree, first),
            _ => return None,
        });
    }
    bytes.is_empty().then_some(ops)
}

fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_they_were() {
        let ops = [
            Op::Put(Tree::Log, vec![1, 2], Bytes::from_static(b"value")),
            Op::Put(Tree::Archive, vec![1, 2], Bytes::from_static(b"left out")),
            Op::Remove(Tree::Meta, vec![3]),
            Op::RemoveRange(Tree::Log, vec![4], Some(vec![5])),
            Op::RemoveRange(Tree::Log, vec![], None),
            Op::RemovePrefix(Tree::Meta, vec![6]),
        ];
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| encode(op, &mut bytes));
        let found: Vec<String> = decode(&bytes).unwrap().iter().map(|op| format!("{op:?}")).collect();
        let kept = ops.iter().filter(|op| op.tree() != Tree::Archive);
        assert_eq!(found, kept.map(|op| format!("{op:?}")).collect::<Vec<_>>());
        assert!(decode(&bytes[..bytes.len() - 1]).is_none());
    }
}
