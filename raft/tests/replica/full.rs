//! A disk that fills up under load, and has room again: new commands are refused, nothing that was acknowledged is
//! lost, and service resumes by itself.
//!
//! The disks are small file systems in memory, which only root may mount.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::{DEADLINE, Group, eventually};
use bytes::Bytes;
use meson_raft::{Config, ProposeError, Replica};
use tokio::task::JoinHandle;

const RESERVE_BYTES: u64 = 24 << 20;

/// A small disk of its own, until dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, megabytes: u64) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "cannot mount a tmpfs at {}: run the tests as root, in a container with the capability SYS_ADMIN",
            path.display()
        );
        Self(path.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("somebody-elses")
    }

    /// Somebody else takes all that is left.
    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let block = vec![1; 64 << 10];
        let full = loop {
            if let Err(error) = file.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Clients that propose until stopped, and what they were told.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(replica: &Replica, bytes: usize) -> Self {
        let (stop, done, refused) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let clients = (0..4).map(|client| {
            let (stop, done, refused) = (stop.clone(), done.clone(), Arc::clone(&refused));
            tokio::spawn(propose_until(replica.clone(), client, bytes, stop, done, refused))
        });
        let clients = clients.collect();
        Self { stop, done, refused, clients }
    }

    /// Waits until so many more were acknowledged.
    async fn goes_on(&self, count: u64) {
        let before = self.done.load(Ordering::SeqCst);
        let reached = || async { (self.done.load(Ordering::SeqCst) >= before + count).then_some(()) };
        eventually("further commands are acknowledged", reached).await;
    }

    /// Waits until nothing more is acknowledged. For a while that goes on, out of what the store has reserved.
    async fn stands_still(&self) {
        let mut before = u64::MAX;
        eventually("the writes wait", || {
            let done = self.done.load(Ordering::SeqCst);
            let same = std::mem::replace(&mut before, done) == done;
            async move {
                // tidy: allow sleep: an acknowledgement within this time shows that the disk is not yet full
                tokio::time::sleep(std::time::Duration::from_millis(600)).await;
                same.then_some(())
            }
        })
        .await;
    }

    /// The keys that were acknowledged.
    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut keys = Vec::new();
        for client in self.clients {
            keys.extend(client.await.unwrap());
        }
        keys
    }
}

async fn propose_until(
    replica: Replica,
    client: u64,
    bytes: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("k{client}-{number}");
        let command = format!("set {key} {}", "x".repeat(bytes));
        match replica.propose(command.into()).await {
            Ok(_) => {
                acknowledged.push(key);
                done.fetch_add(1, Ordering::SeqCst);
            }
            Err(ProposeError::DiskFull { free, needed, .. }) => {
                assert!(free < needed);
                refused.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            Err(ProposeError::Stopped) => break,
            Err(ProposeError::Unknown | ProposeError::NotLeader { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

fn with_reserve(config: &mut Config) {
    // Long enough that a busy machine does not make anybody stand for election.
    (config.election_min_ms, config.election_max_ms) = (1_500, 3_000);
    config.disk_reserve_bytes = RESERVE_BYTES;
    config.snapshot_every_entries = 200;
    config.keep_entries_after_snapshot = 10;
}

fn without_reserve(config: &mut Config) {
    with_reserve(config);
    config.disk_reserve_bytes = 0;
    config.snapshot_every_entries = 1_000_000;
    config.propose_timeout_ms = 500;
}

async fn start_one(configure: fn(&mut Config)) -> (SmallDisk, Group) {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("node-1"), 160);
    let group = Group::found_in(dir, 1, configure).await;
    group.node(0).replica.initialize(group.members()).await.unwrap();
    group.leader().await;
    (disk, group)
}

async fn all_there(group: &mut Group, keys: &[String]) {
    for opened in ["at once", "after a restart"] {
        group.leader().await;
        eventually("a current state", || async { group.node(0).replica.read_barrier().await.ok() }).await;
        let toy = group.node(0).state.toy();
        for key in keys {
            assert!(toy.values.contains_key(key), "{key} of {} is lost {opened}", keys.len());
        }
        group.stop(0).await;
        group.restart(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_commands_are_refused_before_the_disk_is_full_and_taken_again_after() {
    let (disk, mut group) = start_one(with_reserve).await;
    let replica = group.node(0).replica.clone();
    let load = Load::start(&replica, 100);
    load.goes_on(200).await;
    assert!(!replica.status().disk_low);
    disk.fill();
    eventually("a refusal", || async { (load.refused.load(Ordering::SeqCst) > 0).then_some(()) }).await;
    let status = replica.status();
    assert!(status.disk_low && status.disk_free_bytes < Some(RESERVE_BYTES), "{status:?}");
    let error = replica.propose(Bytes::from_static(b"set full x")).await.unwrap_err();
    let ProposeError::DiskFull { path, free, needed } = &error else { panic!("{error}") };
    assert!(*path == group.data_dir(0) && free < needed && *needed >= RESERVE_BYTES, "{error}");
    replica.read_barrier().await.unwrap();
    assert_eq!(replica.status().failure, None);

    disk.free();
    load.goes_on(200).await;
    assert!(!replica.status().disk_low);
    let keys = load.stop().await;
    all_there(&mut group, &keys).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_finish_what_was_begun_may_use_half_of_the_reserve() {
    let (disk, mut group) = start_one(with_reserve).await;
    let replica = group.node(0).replica.clone();
    // Somebody leaves two thirds of the reserve.
    let free = replica.status().disk_free_bytes.unwrap();
    let file = File::create(disk.filler()).unwrap();
    let taken = vec![1; (free - RESERVE_BYTES * 2 / 3) as usize];
    (&file).write_all(&taken).unwrap();
    eventually("a refusal", || async { replica.propose(Bytes::from_static(b"set new x")).await.err() }).await;
    let urgent = replica.propose_urgent(vec![Bytes::from_static(b"set begun x")]).await.unwrap();
    assert_eq!(urgent, ["set begun"]);
    disk.free();
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_for_a_full_disk_and_lose_nothing() {
    let (disk, mut group) = start_one(without_reserve).await;
    let replica = group.node(0).replica.clone();
    let load = Load::start(&replica, 100_000);
    load.goes_on(20).await;
    disk.fill();
    load.stands_still().await;
    assert_eq!(replica.status().failure, None);
    disk.free();
    load.goes_on(20).await;
    let keys = load.stop().await;
    all_there(&mut group, &keys).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_on_a_full_disk_is_whole_when_it_comes_back() {
    let (disk, mut group) = start_one(without_reserve).await;
    let load = Load::start(&group.node(0).replica, 100_000);
    load.goes_on(20).await;
    disk.fill();
    load.stands_still().await;
    tokio::time::timeout(DEADLINE, group.stop(0)).await.expect("nobody waits for room any more");
    let keys = load.stop().await;
    disk.free();
    group.restart(0).await;
    all_there(&mut group, &keys).await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_room_stays_a_follower_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&dir.path().join("node-3"), 160);
    let mut group = Group::found_in(dir, 3, with_reserve).await;
    // The first founds it, so that it leads and not the one with the small disk.
    group.node(0).replica.initialize(group.members()).await.unwrap();
    let leader = group.leader().await;
    if leader == 2 {
        group.stop(2).await;
        group.leader().await;
        group.restart(2).await;
    }
    let leader = group.leader().await;
    assert_ne!(leader, 2);
    group.propose("set before x").await;
    group.holds(2, "before", "x").await;
    let term = group.node(leader).replica.status().term;

    disk.fill();
    let small = group.node(2).replica.clone();
    let large = "y".repeat(100_000);
    // So much that the room which its store had reserved is used up, and it takes no more.
    eventually("it lags", || async {
        group.propose(&format!("set large {large}")).await;
        let status = group.node(leader).replica.status();
        let lag =
            status.members.iter().find(|member| member.member.node_id == 3).and_then(|member| member.lag);
        (lag > Some(20)).then_some(())
    })
    .await;
    assert!(small.status().disk_low && small.status().failure.is_none(), "{:?}", small.status());
    assert_eq!(group.node(leader).replica.status().term, term, "nobody stood for election");

    disk.free();
    group.propose("set after x").await;
    group.holds(2, "after", "x").await;
    assert_eq!(group.node(leader).replica.status().term, term);
    group.shutdown().await;
    drop(disk);
}
