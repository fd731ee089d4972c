//! Bytes of a data directory are flipped, torn, zeroed, cut off or gone: what opens has everything that was
//! acknowledged, and what has not says which file it is.
//!
//! `MESON_DAMAGE_CASES` and `MESON_DAMAGE_SEED` make it longer or repeat it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::common::{Shared, eventually};
use bytes::Bytes;
use meson_raft::{Config, Member, OpenError, Replica, StoreError, inspect};

/// What a directory holds by its replica's word.
#[derive(Debug, Default, PartialEq)]
struct Acknowledged {
    values: BTreeMap<String, String>,
    archived: BTreeMap<Vec<u8>, Bytes>,
}

/// Numbers that look random (xorshift64*), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end.max(1)
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(7, 1, dir);
    (config.heartbeat_ms, config.election_min_ms, config.election_max_ms) = (10, 30, 60);
    config.cache_bytes = 8 << 20;
    config.keep_entries_after_snapshot = 5;
    config
}

/// Opens a directory, waits until all of its log is applied, and tells what it holds.
async fn hold(dir: &Path) -> Result<Acknowledged, OpenError> {
    let state = Shared::default();
    let replica = Replica::open(config(dir), state.clone()).await?;
    eventually("the log is applied", || async { replica.read_barrier().await.ok() }).await;
    let found = replica.archive().scan_prefix(b"", None, usize::MAX);
    replica.shutdown().await;
    let archived = found?.into_iter().collect();
    Ok(Acknowledged { values: state.toy().values, archived })
}

/// Proposes until it is acknowledged; the commands here may be applied twice.
async fn propose(replica: &Replica, command: String) {
    eventually("an outcome", || async { replica.propose(command.clone().into()).await.ok() }).await;
}

/// Fills a directory: so many values of so many bytes, every third archived, a snapshot in the middle.
async fn fill(dir: &Path, count: usize, bytes: usize) -> Acknowledged {
    let state = Shared::default();
    let replica = Replica::open(config(dir), state.clone()).await.unwrap();
    replica.initialize(vec![Member { node_id: 1, ..Member::default() }]).await.unwrap();
    eventually("a leader", || async { replica.read_barrier().await.ok() }).await;
    for key in 0..count {
        let value: String =
            (0..bytes).map(|place| char::from(b'a' + ((place * 7 + key) % 26) as u8)).collect();
        propose(&replica, format!("set k{key:04} {value}")).await;
        if key % 3 == 0 {
            propose(&replica, format!("end k{key:04}")).await;
        }
        if key == count / 2 {
            replica.snapshot_now().await.unwrap();
        }
    }
    // The last acknowledged is one that leaves the archive and the log different.
    propose(&replica, format!("end k{:04}", count - 2)).await;
    replica.shutdown().await;
    hold(dir).await.unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, target).unwrap();
    }
}

/// Damages one file; gives a description for a person.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let length = bytes.len() as u64;
    // Most of the store's file is room for later; damage there would show nothing.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last as u64 + 1);
    let at = dice.below(used) as usize;
    let sector = at / 512 * 512;
    let sector_end = (sector + 512).min(bytes.len());
    let what = match dice.below(6) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << dice.below(8);
            }
            format!("bit of byte {at} flipped")
        }
        2 => {
            bytes[sector.min(length as usize)..sector_end].fill(0);
            format!("sector at {sector} zeroed")
        }
        3 => {
            bytes[sector.min(length as usize)..sector_end].fill_with(|| dice.below(256) as u8);
            format!("sector at {sector} scrambled")
        }
        4 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        _ => {
            std::fs::remove_file(path).unwrap();
            return "removed".into();
        }
    };
    std::fs::write(path, bytes).unwrap();
    what
}

#[derive(Debug, Default)]
struct Counts {
    intact: u64,
    named: u64,
}

async fn check(dir: &Path, held: &Acknowledged, seed: u64, counts: &mut Counts) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let case = tempfile::tempdir().unwrap();
    copy(dir, case.path());
    let mut files = files(case.path());
    // The store's own file is the largest, and the one that matters most.
    let db = files.iter().position(|path| path.ends_with("store/db")).unwrap();
    let chosen = if dice.below(2) == 0 { db } else { dice.below(files.len() as u64) as usize };
    let path = files.swap_remove(chosen);
    let what = format!("seed {seed}: {} {}", path.display(), damage(&path, &mut dice));
    let dir = case.path().to_owned();
    let looked = tokio::task::spawn_blocking(move || inspect(&dir)).await.unwrap();
    let opened = hold(case.path()).await;
    assert_eq!(looked.is_ok(), opened.is_ok(), "{what}: looking and opening differ: {looked:?}");
    match opened {
        Ok(found) => {
            assert!(found == *held, "{what}: opened with less or other than was acknowledged");
            counts.intact += 1;
        }
        // What is only read when entries are applied is found by the consensus library's first steps.
        Err(error @ (OpenError::Store(StoreError::Corrupt { .. }) | OpenError::Consensus(_))) => {
            let said = error.to_string();
            assert!(said.contains(&case.path().display().to_string()), "{what}: names no file: {said}");
            assert!(said.contains("rebuild the replica from its peers"), "{what}: names no remedy: {said}");
            counts.named += 1;
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

/// The store's panics are expected here, and each would print a long trace.
fn quiet_about_the_store() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|location| location.file().contains("sled-")) {
                report(info);
            }
        }));
    });
}

async fn run(count: usize, bytes: usize, cases: u64) -> Counts {
    quiet_about_the_store();
    let dir = tempfile::tempdir().unwrap();
    let held = fill(dir.path(), count, bytes).await;
    assert_eq!(held.values.len() + held.archived.len(), count);
    let first = number("MESON_DAMAGE_SEED", 1);
    let mut counts = Counts::default();
    for seed in first..first + number("MESON_DAMAGE_CASES", cases) {
        check(dir.path(), &held, seed, &mut counts).await;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_directory_is_whole_or_says_what_is_not() {
    let counts = run(40, 20, 150).await;
    assert!(counts.intact > 5 && counts.named > 40, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_directory_is_whole_or_says_what_is_not() {
    let counts = run(400, 20_000, 50).await;
    assert!(counts.intact > 3 && counts.named > 15, "{counts:?}");
}
