//! Values of any size in a tree: cut into chunks the store can keep in its log, with a checksum over the whole.
//!
//! A value's head lies under `k` + key: checksum, length and the first chunk. Further chunks lie under `c` + key +
//! number. Heads alone are in the order of the keys, whatever bytes those have.

use std::ops::Bound;

use bytes::Bytes;

use super::{Limit, Tree};
use crate::error::StoreError;

/// Larger values might end up in the store's blob files.
const CHUNK_BYTES: usize = 16 << 10;
/// Checksum and length.
const HEAD_BYTES: usize = 12;
const HEAD: u8 = b'k';
const FURTHER: u8 = b'c';
/// Bytes of a chunk's number at the end of its key.
const NUMBER_BYTES: usize = 4;
/// How often a value that does not fit together is looked at again.
const READ_AGAIN_MAX: usize = 3;

/// The key of a value's head.
pub fn head_key(key: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(key.len() + 1);
    head.push(HEAD);
    head.extend_from_slice(key);
    head
}

/// The key of one of a value's further chunks, counted from 1.
pub fn further_key(key: &[u8], number: u32) -> Vec<u8> {
    let mut further = Vec::with_capacity(key.len() + 1 + NUMBER_BYTES);
    further.push(FURTHER);
    further.extend_from_slice(key);
    further.extend_from_slice(&number.to_be_bytes());
    further
}

/// The key that a stored head or further chunk belongs to.
pub fn user_key(stored: &[u8]) -> &[u8] {
    match stored.split_first() {
        Some((&FURTHER, rest)) => &rest[..rest.len().saturating_sub(NUMBER_BYTES)],
        Some((_, rest)) => rest,
        None => stored,
    }
}

/// The parts of a value as they are stored.
pub fn parts<'a>(key: &'a [u8], value: &'a [u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a {
    let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES - HEAD_BYTES));
    let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
    head.extend_from_slice(&checksum(key, value).to_le_bytes());
    head.extend_from_slice(&(value.len() as u64).to_le_bytes());
    head.extend_from_slice(first);
    let further = rest.chunks(CHUNK_BYTES).zip(1..);
    std::iter::once((head_key(key), head))
        .chain(further.map(move |(chunk, number)| (further_key(key, number), chunk.to_vec())))
}

/// The heads of all values with their keys as stored, in order.
pub fn heads(
    stored: &sled::Tree,
) -> impl DoubleEndedIterator<Item = sled::Result<(sled::IVec, sled::IVec)>> + use<> {
    stored.range([HEAD]..[HEAD + 1])
}

/// Whether a stored key is that of a head.
pub fn is_head(stored: &[u8]) -> bool {
    stored.first() == Some(&HEAD)
}

/// How many further chunks a value has, by its stored head.
pub fn further_count(head: &[u8]) -> u32 {
    let length = head_length(head).unwrap_or(0);
    let beyond = length.saturating_sub((CHUNK_BYTES - HEAD_BYTES) as u64);
    u32::try_from(beyond.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX)
}

/// The value of a key.
pub fn get(stored: &sled::Tree, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    let mut found = get_once(stored, tree, key);
    // A value that is replaced while it is read does not fit together; at rest it does.
    for _ in 0..READ_AGAIN_MAX {
        if !matches!(found, Err(StoreError::Corrupt { .. })) {
            break;
        }
        found = get_once(stored, tree, key);
    }
    found
}

fn get_once(stored: &sled::Tree, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    match stored.get(head_key(key)).map_err(|source| failed(tree, key, source))? {
        None => Ok(None),
        Some(head) => join(stored, tree, key, &head).map(Some),
    }
}

/// Keys with their values, in order or in reverse.
pub fn scan(
    stored: &sled::Tree,
    tree: Tree,
    (from, to): (Bound<&[u8]>, Bound<&[u8]>),
    reverse: bool,
    limit: Limit,
) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
    let mut heads = stored.range((first_head(from), last_head(to)));
    let mut found = Vec::new();
    let mut bytes = 0;
    while found.len() < limit.count && (bytes < limit.bytes || found.is_empty()) {
        let Some(next) = (if reverse { heads.next_back() } else { heads.next() }) else { break };
        let (stored_key, head) = next.map_err(|source| failed(tree, &[], source))?;
        let key = user_key(&stored_key);
        match join(stored, tree, key, &head).map(Some).or_else(|_| get(stored, tree, key))? {
            Some(value) => {
                bytes += value.len();
                found.push((key.to_vec(), value));
            }
            // Removed meanwhile.
            None => continue,
        }
    }
    Ok(found)
}

fn first_head(from: Bound<&[u8]>) -> Bound<Vec<u8>> {
    match from {
        Bound::Unbounded => Bound::Included(vec![HEAD]),
        from => from.map(head_key),
    }
}

fn last_head(to: Bound<&[u8]>) -> Bound<Vec<u8>> {
    match to {
        Bound::Unbounded => Bound::Excluded(vec![HEAD + 1]),
        to => to.map(head_key),
    }
}

fn join(stored: &sled::Tree, tree: Tree, key: &[u8], head: &[u8]) -> Result<Bytes, StoreError> {
    let corrupt = |reason: &str| StoreError::corrupt(place(tree, key), reason);
    let length = head_length(head).ok_or_else(|| corrupt("the head is too short"))?;
    let length = usize::try_from(length).map_err(|_| corrupt("the length is absurd"))?;
    let mut value = head[HEAD_BYTES..].to_vec();
    for number in 1..=further_count(head) {
        let chunk = stored.get(further_key(key, number)).map_err(|source| failed(tree, key, source))?;
        value.extend_from_slice(&chunk.ok_or_else(|| corrupt(&format!("chunk {number} is missing")))?);
    }
    if value.len() != length {
        return Err(corrupt(&format!("{} bytes instead of {length}", value.len())));
    }
    if head[..4] != checksum(key, &value).to_le_bytes() {
        return Err(corrupt("the checksum does not fit"));
    }
    Ok(value.into())
}

fn head_length(head: &[u8]) -> Option<u64> {
    let bytes = head.get(4..HEAD_BYTES)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Over the key as well, so that a value under a wrong key is found.
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// Names a key for a person.
pub fn place(tree: Tree, key: &[u8]) -> String {
    match (tree, <[u8; 8]>::try_from(key)) {
        (Tree::Log, Ok(index)) => format!("log entry {}", u64::from_be_bytes(index)),
        (Tree::Log, Err(_)) => "log".to_owned(),
        (Tree::Meta, _) => format!("meta {}", key.escape_ascii()),
        (Tree::Archive, _) => format!("archive {}", key.escape_ascii()),
    }
}

/// The store's error with the place.
pub fn failed(tree: Tree, key: &[u8], source: sled::Error) -> StoreError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match source {
        sled::Error::Corruption { .. } => StoreError::corrupt(place(tree, key), "the store cannot read it"),
        // Of a file that was cut off.
        sled::Error::Io(error) if matches!(error.kind(), UnexpectedEof | InvalidData) => {
            StoreError::corrupt(place(tree, key), format!("the store cannot read it: {error}"))
        }
        source => StoreError::Sled { place: place(tree, key), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_join_again_at_every_size() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        for length in [0, 1, CHUNK_BYTES - HEAD_BYTES, CHUNK_BYTES, CHUNK_BYTES * 3 + 7] {
            let value: Vec<u8> = (0..length).map(|number| number as u8).collect();
            for (key, part) in parts(b"key", &value) {
                assert!(part.len() <= CHUNK_BYTES);
                db.insert(key, part).unwrap();
            }
            assert_eq!(get(&db, Tree::Archive, b"key").unwrap().unwrap(), value);
        }
    }

    #[test]
    fn what_a_file_that_was_cut_off_lacks_is_damage() {
        let error =
            |kind| failed(Tree::Log, &7_u64.to_be_bytes(), sled::Error::Io(std::io::Error::from(kind)));
        let short = error(std::io::ErrorKind::UnexpectedEof);
        assert!(matches!(&short, StoreError::Corrupt { place, .. } if place == "log entry 7"), "{short}");
        assert!(
            matches!(error(std::io::ErrorKind::StorageFull), StoreError::Sled { .. }),
            "a disk may get room"
        );
    }

    #[test]
    fn a_flipped_bit_is_found_and_its_place_named() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        for (key, mut part) in parts(&7_u64.to_be_bytes(), &[5; 40_000]) {
            if key[0] == FURTHER {
                part[100] ^= 1;
            }
            db.insert(key, part).unwrap();
        }
        let error = get(&db, Tree::Log, &7_u64.to_be_bytes()).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { place, .. } if place == "log entry 7"), "{error}");
    }
}
