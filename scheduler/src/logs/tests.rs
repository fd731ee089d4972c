//! Tests of the store on a real disk: what it takes, what survives, what goes.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use meson_proto::v1::{LogRecord, LogStream};
use tempfile::TempDir;

use super::*;

const ALL: usize = usize::MAX;

fn record(sequence: u64) -> LogRecord {
    let data = format!("line {sequence}\n").into_bytes().into();
    LogRecord { sequence, stream: LogStream::Stdout.into(), time_ms: 7, data, end: false }
}

fn end(sequence: u64) -> LogRecord {
    LogRecord { end: true, ..record(sequence) }
}

fn records(sequences: std::ops::RangeInclusive<u64>) -> Vec<LogRecord> {
    sequences.map(record).collect()
}

fn numbers(records: &[LogRecord]) -> Vec<u64> {
    records.iter().map(|record| record.sequence).collect()
}

fn name(text: &str) -> AttemptName {
    AttemptName::parse(text).unwrap()
}

fn settings(folder: &TempDir) -> Settings {
    Settings::new(folder.path().join("logs"))
}

fn open(folder: &TempDir) -> LogStore {
    LogStore::open(settings(folder)).unwrap()
}

fn journals(root: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(root.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Looks again and again until it holds; fails after ten seconds.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let wait = async {
        while !holds().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it never came to hold");
}

#[tokio::test]
async fn records_are_read_as_they_were_appended() {
    let folder = TempDir::new().unwrap();
    let (store, a) = (open(&folder), name("a"));
    assert_eq!(store.append(&a, vec![]).await.unwrap(), 1);
    assert_eq!(store.append(&a, records(1..=5)).await.unwrap(), 6);
    assert_eq!(
        store.append(&a, [records(4..=6), records(8..=9)].concat()).await.unwrap(),
        7,
        "8 comes too early"
    );
    assert_eq!(store.read(&a, 0, ALL).await.unwrap(), records(1..=6));
    assert_eq!(numbers(&store.read(&a, 4, ALL).await.unwrap()), [4, 5, 6]);
    assert_eq!(numbers(&store.read(&a, 2, 1).await.unwrap()), [2], "at least one");
    assert_eq!(numbers(&store.tail(&a, 2, ALL).await.unwrap()), [5, 6]);
    assert_eq!(numbers(&store.tail(&a, 99, ALL).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(store.read(&name("b"), 0, ALL).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_answered_survives_the_loss_of_all_files_but_the_journal() {
    let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(&before);
    store.append(&name("a"), records(1..=3)).await.unwrap();
    store.append(&name("b"), vec![record(1), end(2)]).await.unwrap();
    fs::create_dir_all(settings(&after).root.join("journal")).unwrap();
    for journal in journals(&settings(&before).root) {
        fs::copy(&journal, settings(&after).root.join("journal").join(journal.file_name().unwrap())).unwrap();
    }
    let store = open(&after);
    assert_eq!(store.append(&name("a"), vec![]).await.unwrap(), 4);
    assert_eq!(store.read(&name("b"), 0, ALL).await.unwrap(), [record(1), end(2)]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_comes_again_from_the_journal() {
    for (has_journal, expected) in [(true, 4), (false, 3)] {
        let folder = TempDir::new().unwrap();
        let (store, a) = (open(&folder), name("a"));
        store.append(&a, records(1..=3)).await.unwrap();
        store.close().await;
        let path = a.path(&settings(&folder).root);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        if !has_journal {
            fs::remove_dir_all(settings(&folder).root.join("journal")).unwrap();
        }
        let store = open(&folder);
        assert_eq!(numbers(&store.read(&a, 0, ALL).await.unwrap()), (1..expected).collect::<Vec<_>>());
        assert_eq!(store.append(&a, vec![]).await.unwrap(), expected);
        assert_eq!(store.append(&a, records(1..=4)).await.unwrap(), 5);
        assert_eq!(store.read(&a, 0, ALL).await.unwrap(), records(1..=4));
    }
}

#[tokio::test]
async fn a_damaged_journal_is_used_up_to_the_damage() {
    let folder = TempDir::new().unwrap();
    let (store, a) = (open(&folder), name("a"));
    store.append(&a, records(1..=2)).await.unwrap();
    store.append(&a, records(3..=4)).await.unwrap();
    store.close().await;
    let root = settings(&folder).root;
    let mut journal = fs::read(&journals(&root)[0]).unwrap();
    *journal.last_mut().unwrap() ^= 1;
    fs::write(&journals(&root)[0], journal).unwrap();
    fs::remove_file(a.path(&root)).unwrap();
    assert_eq!(open(&folder).append(&a, vec![]).await.unwrap(), 3);
}

#[tokio::test]
async fn sealed_journals_go_once_their_files_are_synced() {
    let folder = TempDir::new().unwrap();
    let store = LogStore::open(Settings { journal_bytes: 1, ..settings(&folder) }).unwrap();
    for sequence in 1..=20 {
        store.append(&name("a"), vec![record(sequence)]).await.unwrap();
    }
    store.close().await;
    assert_eq!(journals(&settings(&folder).root).len(), 1, "only the empty one that was begun last");
    let store = open(&folder);
    assert_eq!(store.read(&name("a"), 0, ALL).await.unwrap(), records(1..=20));
}

#[tokio::test]
async fn many_attempts_append_at_once_with_little_memory() {
    let folder = TempDir::new().unwrap();
    let little =
        Settings { attempts_cached: 3, waiting_bytes_max: 500, journal_bytes: 4_000, ..settings(&folder) };
    let store = LogStore::open(little).unwrap();
    let attempts: Vec<_> = (0..50).map(|number| name(&format!("a{number}"))).collect();
    for sequence in 1..=5 {
        let appends = attempts.iter().map(|attempt| store.append(attempt, vec![record(sequence)]));
        for next in futures::future::join_all(appends).await {
            assert_eq!(next.unwrap(), sequence + 1);
        }
    }
    for attempt in &attempts {
        assert_eq!(store.read(attempt, 0, ALL).await.unwrap(), records(1..=5));
    }
}

#[tokio::test]
async fn a_log_that_grows_too_large_is_truncated_and_still_ends() {
    let folder = TempDir::new().unwrap();
    let small = || Settings { attempt_bytes_max: 100, ..settings(&folder) };
    let (store, a) = (LogStore::open(small()).unwrap(), name("a"));
    assert_eq!(store.append(&a, records(1..=50)).await.unwrap(), 51);
    store.close().await;
    let store = LogStore::open(small()).unwrap();
    assert_eq!(store.append(&a, vec![record(51), end(52), record(53)]).await.unwrap(), 53);
    let stored = store.read(&a, 0, ALL).await.unwrap();
    let [.., mark, last] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(mark.stream(), LogStream::System);
    assert_eq!(&mark.data[..], b"log truncated at 100 bytes\n");
    assert_eq!(last, &end(52));
    assert_eq!(store.tail(&a, 2, ALL).await.unwrap(), [mark.clone(), last.clone()]);
}

#[tokio::test]
async fn followers_get_what_comes_until_the_end() {
    let folder = TempDir::new().unwrap();
    let (store, a) = (open(&folder), name("a"));
    store.append(&a, records(1..=3)).await.unwrap();
    let mut chunks = store.follow(&a, Start::Sequence(2), ALL).await.unwrap().boxed();
    assert_eq!(numbers(&chunks.try_next().await.unwrap().unwrap()), [2, 3]);
    let (chunk, _) = tokio::join!(chunks.try_next(), store.append(&a, records(4..=4)));
    assert_eq!(numbers(&chunk.unwrap().unwrap()), [4]);
    store.append(&a, vec![record(5), end(6)]).await.unwrap();
    let rest: Vec<_> = chunks.try_collect::<Vec<_>>().await.unwrap().concat();
    assert_eq!(rest, [record(5), end(6)]);
    let tail = store.follow(&a, Start::Tail(1), ALL).await.unwrap().try_concat().await.unwrap();
    assert_eq!(tail, [end(6)]);
}

#[tokio::test]
async fn old_logs_are_removed_and_may_come_again() {
    let folder = TempDir::new().unwrap();
    let eager = Settings {
        age_max: Duration::ZERO,
        spared_age: Duration::ZERO,
        sweep_interval: Duration::from_millis(1),
        ..settings(&folder)
    };
    let (store, a) = (LogStore::open(eager).unwrap(), name("a"));
    store.append(&a, records(1..=3)).await.unwrap();
    until(|| async { store.read(&a, 0, ALL).await.unwrap().is_empty() }).await;
    until(|| async { store.append(&a, vec![]).await.unwrap() == 1 }).await;
}

#[tokio::test]
async fn a_disk_that_refuses_loses_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let (store, a) = (open(&folder), name("a"));
    let path = a.path(&settings(&folder).root);
    let obstacle = path.parent().unwrap();
    fs::write(obstacle, "a file where a folder should be").unwrap();
    assert!(matches!(store.append(&a, records(1..=1)).await, Err(Error::Disk(_))));
    fs::remove_file(obstacle).unwrap();
    assert_eq!(store.append(&a, records(1..=2)).await.unwrap(), 3);
}

#[tokio::test]
async fn the_excessive_is_refused_and_a_closed_store_says_so() {
    let folder = TempDir::new().unwrap();
    let (store, a) = (open(&folder), name("a"));
    let large = LogRecord { data: vec![0; 65_537].into(), ..record(1) };
    assert!(matches!(store.append(&a, vec![large]).await, Err(Error::RecordTooLarge(65_537))));
    assert!(matches!(store.append(&a, records(1..=8_193)).await, Err(Error::TooManyRecords(8_193))));
    let mut reader = store.reader(&a, Start::Sequence(0)).await.unwrap();
    let (grown, ()) = tokio::join!(reader.grown(), store.close());
    assert!(matches!(grown, Err(Error::Closed)));
    assert!(matches!(store.append(&a, records(1..=1)).await, Err(Error::Closed)));
    store.close().await;
}
