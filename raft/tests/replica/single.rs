//! One replica: what it keeps over a restart, what it refuses, and what it says about damage.

use crate::common::{Group, Shared, eventually, propose, snapshot_path};
use bytes::Bytes;
use meson_raft::{Config, OpenError, ProposeError, ReadError, Replica, RoleKind, StoreError};

fn plain(_: &mut Config) {}

fn few_entries(config: &mut Config) {
    config.snapshot_every_entries = 50;
    config.keep_entries_after_snapshot = 5;
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_keeps_the_state() {
    let mut group = Group::start(1, plain).await;
    assert!(group.node(0).replica.is_initialized().await);
    for number in 0..20 {
        assert_eq!(group.propose(&format!("set k{number} v{number}")).await, format!("set k{number}"));
    }
    group.propose("end k3").await;
    let before = group.node(0).state.toy();

    let term = group.node(0).replica.role().borrow().term;
    group.stop(0).await;
    group.restart(0).await;
    group.leader().await;
    assert!(group.node(0).replica.role().borrow().term > term, "another leadership, another term");
    group.node(0).replica.read_barrier().await.unwrap();
    let after = group.node(0).state.toy();
    assert_eq!((after.values, after.commands), (before.values, before.commands));
    // Founding again does nothing.
    group.node(0).replica.initialize(group.members()).await.unwrap();
    assert_eq!(group.propose("set more data").await, "set more");
    let archived = group.node(0).replica.archive();
    assert_eq!(archived.get(b"k3").unwrap().unwrap(), Bytes::from("v3"));
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_after_a_snapshot_keeps_state_and_archive() {
    let mut group = Group::start(1, few_entries).await;
    let large = "x".repeat(70_000);
    for number in 0..120 {
        group.propose(&format!("set k{number:03} {large}{number}")).await;
        if number % 2 == 0 {
            group.propose(&format!("end k{number:03}")).await;
        }
    }
    let replica = &group.node(0).replica;
    replica.snapshot_now().await.unwrap();
    group.propose("forget k00").await;
    group.propose("set last one").await;
    let status = replica.status();
    assert!(status.snapshot_index.unwrap() > 150, "{status:?}");
    assert_eq!(status.members.len(), 1);
    assert!(status.disk_bytes > 0 && status.failure.is_none(), "{status:?}");
    let before = group.node(0).state.toy();

    group.stop(0).await;
    snapshot_path(&group.data_dir(0));
    let blobs = std::fs::read_dir(group.data_dir(0).join("store/blobs")).unwrap();
    assert_eq!(blobs.count(), 0, "the store never syncs its blob files");
    group.restart(0).await;
    group.holds(0, "last", "one").await;
    let after = group.node(0).state.toy();
    assert_eq!((after.values, after.commands), (before.values, before.commands));
    assert!(after.entries < 50, "only what follows the snapshot is replayed");
    let archive = group.node(0).replica.archive();
    assert!(archive.get(b"k004").unwrap().is_none(), "forgotten");
    let found = archive.scan_prefix(b"k01", Some(b"k012"), 2).unwrap();
    let keys: Vec<_> = found.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["k014", "k016"]);
    assert_eq!(found[0].1.len(), large.len() + 2);
    let found = archive.scan_prefix_reverse(b"k", Some(b"k012"), 10).unwrap();
    let keys: Vec<_> = found.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["k010"]);
    let found = archive.scan_prefix_reverse(b"k11", None, 1).unwrap();
    assert_eq!(found[0].0, b"k118");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_proposals_share_few_entries() {
    let mut group = Group::start(1, plain).await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    let before = replica.status().last_log_index.unwrap();
    let proposals = (0..1000).map(|number| {
        let replica = replica.clone();
        tokio::spawn(async move { propose(&replica, format!("set k{number} v{number}")).await })
    });
    for (number, proposal) in proposals.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(proposal.await.unwrap().unwrap(), format!("set k{number}"), "the outcome is its own");
    }
    let entries = eventually("the metrics follow", || async {
        let status = replica.status();
        (status.applied_index == status.last_log_index).then(|| status.last_log_index.unwrap() - before)
    });
    let entries = entries.await;
    assert!(entries < 200, "{entries} entries for 1000 proposals");
    assert_eq!(group.node(leader).state.toy().commands, 1000);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_together_stays_together() {
    let mut group = Group::start(1, plain).await;
    let leader = group.leader().await;
    let replica = &group.node(leader).replica;
    let entries = group.node(leader).state.toy().entries;
    let commands = (0..600).map(|number| Bytes::from(format!("set k{number} v"))).collect();
    let outcomes = replica.propose_all(commands).await.unwrap();
    assert_eq!(outcomes.len(), 600);
    assert_eq!(outcomes[599], "set k599");
    assert_eq!(group.node(leader).state.toy().entries, entries + 1);
    assert_eq!(replica.propose_all(Vec::new()).await.unwrap(), Vec::<Bytes>::new());
    group.shutdown().await;
}

fn narrow(config: &mut Config) {
    config.batch_bytes_max = 1000;
    config.queue_commands_max = 4;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused() {
    let mut group = Group::found(1, narrow).await;
    let replica = group.node(0).replica.clone();
    assert!(!replica.is_initialized().await);
    let refused = replica.propose(Bytes::from("set a b")).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: None }));
    assert_eq!(replica.read_barrier().await, Err(ReadError::NotLeader { leader: None }));
    assert_eq!(replica.quorum_acked_at(), None);

    replica.initialize(group.members()).await.unwrap();
    group.leader().await;
    let too_large = replica.propose(vec![b'x'; 1001].into()).await;
    assert_eq!(too_large, Err(ProposeError::TooLarge { size: 1001, max: 1000 }));
    let proposals: Vec<_> = (0..200)
        .map(|number| {
            let replica = replica.clone();
            tokio::spawn(async move { propose(&replica, format!("set k{number} v")).await })
        })
        .collect();
    let (mut done, mut full) = (0, 0);
    for proposal in proposals {
        match proposal.await.unwrap() {
            Ok(_) => done += 1,
            Err(ProposeError::QueueFull) => full += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(done >= 4, "{done} done, {full} refused");
    assert_eq!(group.node(0).state.toy().commands, done);

    let before = tokio::time::Instant::now();
    assert!(replica.confirm_leadership().await.unwrap() >= before);
    assert!(replica.quorum_acked_at().unwrap() >= before, "alone it needs nobody");
    replica.shutdown().await;
    assert_eq!(propose(&replica, "set a b".into()).await, Err(ProposeError::Stopped));
    assert_eq!(replica.read_barrier().await, Err(ReadError::Stopped));
    assert_eq!(replica.quorum_acked_at(), None);
    let role = eventually("no leader any more", || async {
        let role = replica.role().borrow().clone();
        (role.kind != RoleKind::Leader).then_some(role)
    });
    assert_eq!(role.await.leader, None);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_a_snapshot_is_told_with_its_place() {
    let mut group = Group::start(1, plain).await;
    for number in 0..10 {
        group.propose(&format!("set k{number} v{number}")).await;
    }
    group.node(0).replica.snapshot_now().await.unwrap();
    group.stop(0).await;
    let path = snapshot_path(&group.data_dir(0));
    let intact = std::fs::read(&path).unwrap();
    for place in [0, 9, 40, intact.len() / 2, intact.len() - 60, intact.len() - 1] {
        let mut damaged = intact.clone();
        damaged[place] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let error = reopen(&group).await.expect_err("damage is found");
        let OpenError::Store(StoreError::Corrupt { place: named, .. }) = &error else { panic!("{error}") };
        assert_eq!(*named, path.display().to_string());
    }
    std::fs::write(&path, &intact[..intact.len() - 1]).unwrap();
    assert!(matches!(reopen(&group).await, Err(OpenError::Store(StoreError::Corrupt { .. }))), "cut short");
    std::fs::write(&path, &intact).unwrap();
    reopen(&group).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replicas_directory_is_refused() {
    let mut group = Group::start(1, plain).await;
    group.leader().await;
    group.stop(0).await;
    let mut config = group.config(0);
    config.node_id = 2;
    let error = Replica::open(config, Shared::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Identity { found_node: 1, node: 2, .. }), "{error}");
    let mut config = group.config(0);
    config.election_min_ms = config.heartbeat_ms;
    let error = Replica::open(config, Shared::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Config(_)), "{error}");
}

/// Opens the first replica without a server, and closes it again. What a failed attempt held may take a moment to go.
async fn reopen(group: &Group) -> Result<(), OpenError> {
    eventually("the store can be locked", || async {
        match Replica::open(group.config(0), Shared::default()).await {
            Ok(replica) => {
                replica.shutdown().await;
                Some(Ok(()))
            }
            Err(OpenError::Store(StoreError::Locked { .. })) => None,
            Err(error) => Some(Err(error)),
        }
    })
    .await
}
