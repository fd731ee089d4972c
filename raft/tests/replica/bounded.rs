//! A data directory under a load that goes on: its log, its old snapshots and the store's dead pages do not pile up.
//!
//! `MESON_BOUNDED_COMMANDS=5000000` is a week at eight commands a second, and takes some minutes; without it the same
//! load is short. The largest directory is printed either way.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::{Group, eventually};
use bytes::Bytes;
use meson_raft::{Config, Replica};

const CLIENTS: u64 = 8;
/// Commands that a client proposes together, which makes one entry or a part of one.
const TOGETHER: u64 = 16;
/// Keys in the state, and as many records in the archive at most.
const KEYS: u64 = 2_000;
const VALUE_BYTES: usize = 200;
/// State, archive, and a log of what is allowed between two snapshots and beyond: about this much is alive.
const ALIVE_BYTES: u64 = 2 * KEYS * VALUE_BYTES as u64 + 2 * LOG_BYTES;
const LOG_BYTES: u64 = 4 << 20;
/// What the store may take for it: it writes in segments of 4 MiB, and collects those that are mostly dead.
const BYTES_MAX: u64 = 8 * ALIVE_BYTES + (64 << 20);

fn small_log(config: &mut Config) {
    config.snapshot_every_entries = 1_000_000;
    config.snapshot_every_bytes = LOG_BYTES;
    config.keep_entries_after_snapshot = 100;
}

fn size_of(path: &Path) -> u64 {
    // Files come and go meanwhile.
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

async fn client(replica: Replica, left: Arc<AtomicU64>) {
    let value = "v".repeat(VALUE_BYTES);
    while let Ok(before) =
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(TOGETHER))
    {
        let commands = (before..before + TOGETHER).map(|number| {
            let key = number % KEYS;
            Bytes::from(match number % 50 {
                0 => format!("end k{key}"),
                1 if number % KEYS == 1 => format!("forget k{}", number / KEYS % 10),
                _ => format!("set k{key} {number}{value}"),
            })
        });
        let commands: Vec<Bytes> = commands.collect();
        eventually("an outcome", || async { replica.propose_all(commands.clone()).await.ok() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_load_leaves_a_small_directory() {
    let count = std::env::var("MESON_BOUNDED_COMMANDS").map_or(60_000, |text| text.parse().unwrap());
    let mut group = Group::start(1, small_log).await;
    group.leader().await;
    let (replica, dir) = (group.node(0).replica.clone(), group.data_dir(0));
    let left = Arc::new(AtomicU64::new(count));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(replica.clone(), left.clone()))).collect();
    let mut largest = 0;
    while !clients.iter().all(|client| client.is_finished()) {
        largest = largest.max(size_of(&dir));
        // tidy: allow sleep: a sample now and then
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let status = replica.status();
    let snapshots = std::fs::read_dir(dir.join("snapshots")).unwrap().count();
    println!(
        "{count} commands in {} entries: at most {:.1} MB, {:.1} MB at the end, {snapshots} snapshots",
        status.last_log_index.unwrap(),
        largest as f64 / 1e6,
        size_of(&dir) as f64 / 1e6
    );
    assert!(status.snapshot_index.is_some(), "bytes alone ask for a snapshot: {status:?}");
    assert!(snapshots <= 2, "one, and perhaps one that is being written");
    assert!(largest < BYTES_MAX, "{largest} bytes for {ALIVE_BYTES} alive");
    group.shutdown().await;
}
