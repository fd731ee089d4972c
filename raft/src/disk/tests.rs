//! Stores that are old, cut short, or less than was promised.

use super::*;

const CACHE_BYTES: u64 = 8 << 20;

fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn put(number: u64) -> Op {
    Op::Put(Tree::Log, key(number), Bytes::from(vec![number as u8; 100]))
}

fn numbers(disk: &Disk) -> Vec<u64> {
    let limit = Limit { count: usize::MAX, bytes: usize::MAX };
    let found = disk.scan(Tree::Log, (Bound::Unbounded, Bound::Unbounded), false, limit).unwrap();
    found.into_iter().map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect()
}

/// As stores were before there were summaries and a guard.
fn make_old(directory: &Path, count: u64) {
    let trees = opening::open_trees(directory, CACHE_BYTES).unwrap();
    for number in 0..count {
        for (key, part) in values::parts(&key(number), &[7; 40_000]) {
            trees.log.insert(key, part).unwrap();
        }
    }
    trees.db.flush().unwrap();
}

#[test]
fn an_old_store_is_adopted_once() {
    let dir = tempfile::tempdir().unwrap();
    make_old(dir.path(), 5);
    for added in 5..8 {
        let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
        assert_eq!(numbers(&disk), (0..added).collect::<Vec<_>>());
        disk.write(vec![put(added)], true).wait_blocking().unwrap();
        disk.close();
    }
    std::fs::remove_file(dir.path().join(guard::NAME)).unwrap();
    let error = Disk::open(dir.path(), CACHE_BYTES).map(|_| ()).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { place, .. } if place.ends_with("guard")), "{error}");
}

#[test]
fn an_adoption_cut_short_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    make_old(dir.path(), 5);
    guard::Guard::create(dir.path()).unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    assert_eq!(numbers(&disk), [0, 1, 2, 3, 4]);
    disk.close();
}

#[test]
fn a_creation_cut_short_is_done_again_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("creating"), "").unwrap();
    std::fs::write(dir.path().join("conf"), "segm").unwrap();
    std::fs::write(dir.path().join("db"), "torn").unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    disk.write(vec![put(1)], true).wait_blocking().unwrap();
    disk.close();
    assert!(!dir.path().join("creating").exists());
    // A mark that came from elsewhere removes nothing that was promised.
    std::fs::write(dir.path().join("creating"), "").unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    assert_eq!(numbers(&disk), [1]);
    disk.close();
}

/// The store goes back in time, as a lost tail would have it, while the guard stays.
#[test]
fn what_was_promised_and_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    disk.write((0..10).map(put).collect(), true).wait_blocking().unwrap();
    disk.close();
    let before = std::fs::read(dir.path().join(FILE)).unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    disk.write((10..20).map(put).collect(), true).wait_blocking().unwrap();
    disk.close();
    std::fs::write(dir.path().join(FILE), before).unwrap();
    let error = Disk::open(dir.path(), CACHE_BYTES).map(|_| ()).unwrap_err().to_string();
    for sign in
        ["10 records up to log entry 9", "20 records was promised up to log entry 19", "rebuild the replica"]
    {
        assert!(error.contains(sign), "{error}");
    }
}

/// Records that vanish without a change of their tree, as a lost page would have it.
#[test]
fn a_record_that_vanished_is_missed() {
    for tree in TREES {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
        let ops = (0..10).map(|number| Op::Put(tree, key(number), Bytes::from_static(b"value")));
        disk.write(ops.collect(), true).wait_blocking().unwrap();
        disk.close();
        let trees = opening::open_trees(dir.path(), CACHE_BYTES).unwrap();
        trees.get(tree).remove(values::head_key(&key(4))).unwrap();
        drop(trees);
        let error = Disk::open(dir.path(), CACHE_BYTES).map(|_| ()).unwrap_err().to_string();
        let sign = format!("the {} has 9 records where its summary says 10", tree.name());
        assert!(error.contains(&sign), "{error}");
    }
}

/// What is left of a truncation that was cut short after any of its batches.
#[test]
fn a_truncation_goes_from_the_end_and_a_purge_from_the_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), CACHE_BYTES).unwrap();
    disk.write((0..3000).map(put).collect(), true).wait_blocking().unwrap();
    let mut looks = 0;
    std::thread::scope(|scope| {
        let truncating = scope.spawn(|| {
            disk.write(vec![Op::RemoveRange(Tree::Log, key(1000), None)], false).wait_blocking().unwrap();
            disk.write(vec![Op::RemoveRange(Tree::Log, key(0), Some(key(900)))], false)
                .wait_blocking()
                .unwrap();
        });
        while !truncating.is_finished() {
            let (first, last) = (numbers_at(&disk, false), numbers_at(&disk, true));
            // Whoever looks between two batches finds no hole.
            if let (Some(first), Some(last)) = (first, last) {
                assert!(last + 1 >= 1000 && first <= 900, "from {first} to {last}");
                assert_eq!(disk.get(Tree::Log, &key(950)).unwrap().map(|value| value.len()), Some(100));
                looks += 1;
            }
        }
    });
    assert!(looks > 0);
    assert_eq!(numbers(&disk), (900..1000).collect::<Vec<_>>());
    disk.close();
}

fn numbers_at(disk: &Disk, end: bool) -> Option<u64> {
    let limit = Limit { count: 1, bytes: usize::MAX };
    let found = disk.scan(Tree::Log, (Bound::Unbounded, Bound::Unbounded), end, limit).unwrap();
    found.first().map(|(key, _)| u64::from_be_bytes(key.as_slice().try_into().unwrap()))
}
