//! Three replicas over real connections: elections, restarts, a replica that was away, and members that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::{Group, Shared, eventually, propose};
use bytes::Bytes;
use meson_raft::{AdminError, Config, ProposeError, ReadError, Replica, RoleKind};
use tokio::time::Instant;

fn plain(_: &mut Config) {}

/// For tests in which the leader is to stay, however busy the machine is.
fn steady(config: &mut Config) {
    config.election_min_ms = 3_000;
    config.election_max_ms = 6_000;
}

fn few_entries(config: &mut Config) {
    config.snapshot_every_entries = 50;
    config.keep_entries_after_snapshot = 5;
}

/// A running follower.
async fn follower(group: &Group) -> usize {
    let leader = group.leader().await;
    (0..3).find(|place| *place != leader && group.nodes[*place].is_some()).expect("a follower runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_takes_all_apply() {
    let mut group = Group::start(3, steady).await;
    for number in 0..20 {
        group.propose(&format!("set k{number} v{number}")).await;
    }
    group.propose("set large ").await;
    let large = "x".repeat(300_000);
    group.propose(&format!("set large {large}")).await;
    for place in 0..3 {
        group.holds(place, "k19", "v19").await;
        group.holds(place, "large", &large).await;
    }
    let leader = group.leader().await;
    let replica = &group.node(leader).replica;
    let status = eventually("no member is behind", || async {
        let status = replica.status();
        status.members.iter().all(|member| member.lag == Some(0)).then_some(status)
    });
    let status = status.await;
    assert_eq!(status.leader_id, Some(leader as u64 + 1));
    assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
    assert_eq!(replica.members(), group.members());
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_name_the_leader() {
    let mut group = Group::start(3, steady).await;
    group.propose("set a b").await;
    let (leader, follower) = (group.leader().await, follower(&group).await);
    let member = group.member(leader);
    let replica = group.node(follower).replica.clone();
    eventually("the follower knows the leader", || async {
        let role = replica.role().borrow().clone();
        (role.kind == RoleKind::Follower && role.leader.as_ref() == Some(&member)).then_some(())
    })
    .await;
    let refused = propose(&replica, "set a c".into()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(member.clone()) }));
    assert_eq!(replica.read_barrier().await, Err(ReadError::NotLeader { leader: Some(member.clone()) }));
    let refused = replica.remove(1).await;
    assert_eq!(refused, Err(AdminError::NotLeader { leader: Some(member) }));
    assert_eq!(replica.quorum_acked_at(), None);
    group.shutdown().await;
}

/// Proposes distinct keys to whoever takes them until told to stop; gives those that were acknowledged.
async fn write(
    name: String,
    replicas: Vec<Replica>,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for (number, replica) in replicas.iter().cycle().enumerate() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut result = Ok(Bytes::new());
        for step in 0.. {
            let key = format!("{name}n{number}s{step}");
            result = propose(replica, format!("set {key} v")).await;
            if result.is_err() || stop.load(Ordering::SeqCst) {
                break;
            }
            acknowledged.push(key);
            count.fetch_add(1, Ordering::SeqCst);
        }
        match result {
            Ok(_) | Err(ProposeError::Unknown | ProposeError::Stopped) => {}
            Err(ProposeError::NotLeader { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_the_leader() {
    let mut group = Group::start(3, plain).await;
    let replicas: Vec<Replica> = group.nodes.iter().flatten().map(|node| node.replica.clone()).collect();
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            tokio::spawn(write(format!("w{writer}"), replicas.clone(), count.clone(), stop.clone()))
        })
        .collect();
    let more = |than: u64| {
        let count = count.clone();
        async move { eventually("writes", || async { (count.load(Ordering::SeqCst) > than).then_some(()) }).await }
    };
    more(200).await;
    let old = group.leader().await;
    group.stop(old).await;
    let before = count.load(Ordering::SeqCst);
    more(before + 200).await;
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }

    group.restart(old).await;
    group.propose("set after all").await;
    for place in 0..3 {
        group.holds(place, "after", "all").await;
        let values = group.node(place).state.toy().values;
        for key in &acknowledged {
            assert!(values.contains_key(key), "{key} was acknowledged, replica {} lacks it", place + 1);
        }
        assert_eq!(values, group.node(0).state.toy().values);
    }
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_restart() {
    let mut group = Group::start(3, plain).await;
    for number in 0..50 {
        group.propose(&format!("set k{number} v")).await;
    }
    let term = group.node(0).replica.role().borrow().term;
    group.shutdown().await;
    for place in 0..3 {
        group.restart(place).await;
    }
    group.propose("set after all").await;
    for place in 0..3 {
        group.holds(place, "after", "all").await;
        assert_eq!(group.node(place).state.toy().commands, 51);
        let role = group.node(place).replica.role();
        eventually("a new term", || async { (role.borrow().term > term).then_some(()) }).await;
    }
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_catches_up_by_snapshot_with_the_archive() {
    let mut group = Group::start(3, few_entries).await;
    group.propose("set early bird").await;
    let away = follower(&group).await;
    group.holds(away, "early", "bird").await;
    group.propose("end early").await;
    group.propose("set doomed thing").await;
    group.propose("end doomed").await;
    let archive = group.node(away).replica.archive();
    eventually("the archive follows", || async { archive.get(b"doomed").unwrap() }).await;
    let seen = group.node(away).replica.status().last_log_index.unwrap();
    group.stop(away).await;

    let large = "x".repeat(40_000);
    for number in 0..150 {
        group.propose(&format!("set k{number:03} {large}{number}")).await;
        group.propose(&format!("end k{number:03}")).await;
    }
    group.propose("forget doomed").await;
    group.propose("set late riser").await;
    let leader = group.leader().await;
    group.node(leader).replica.snapshot_now().await.unwrap();
    assert!(group.node(leader).replica.status().snapshot_index.unwrap() > seen + 200);

    group.restart(away).await;
    group.holds(away, "late", "riser").await;
    let replica = group.node(away).replica.clone();
    let toy = group.node(away).state.toy();
    assert!(toy.entries < 100, "{} entries applied one by one", toy.entries);
    eventually("it came by snapshot", || async {
        replica.status().snapshot_index.filter(|index| *index > seen + 200)
    })
    .await;
    let archive = replica.archive();
    let archived = eventually("the archive is replaced", || async {
        let found = archive.scan_prefix(b"", None, 1000).unwrap();
        (found.len() == 151).then_some(found)
    });
    let archived = archived.await;
    assert_eq!(archived, group.node(leader).replica.archive().scan_prefix(b"", None, 1000).unwrap());
    assert!(archived.iter().all(|(key, _)| key != b"doomed"));

    // What was installed is there after a restart, too.
    group.stop(away).await;
    group.restart(away).await;
    group.holds(away, "late", "riser").await;
    assert_eq!(group.node(away).replica.archive().scan_prefix(b"", None, 1000).unwrap(), archived);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_knows_when_it_was_confirmed_and_that_it_is_no_more() {
    let mut group = Group::start(3, steady).await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    let before = Instant::now();
    assert!(replica.confirm_leadership().await.unwrap() >= before);
    let confirmed = eventually("followers answer", || async {
        replica.quorum_acked_at().filter(|confirmed| *confirmed > before)
    });
    assert!(confirmed.await <= Instant::now());
    for place in (0..3).filter(|place| *place != leader) {
        group.stop(place).await;
    }
    let alone = Instant::now();
    assert_eq!(replica.confirm_leadership().await, Err(ReadError::Unavailable));
    assert!(replica.quorum_acked_at().is_none_or(|confirmed| confirmed <= alone));
    group.shutdown().await;
}

fn impatient(config: &mut Config) {
    steady(config);
    config.propose_timeout_ms = 500;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_the_outcome_is_unknown() {
    let mut group = Group::start(3, impatient).await;
    group.propose("set a b").await;
    let leader = group.leader().await;
    for place in (0..3).filter(|place| *place != leader) {
        group.stop(place).await;
    }
    let replica = group.node(leader).replica.clone();
    assert_eq!(propose(&replica, "set a c".into()).await, Err(ProposeError::Unknown));
    group.shutdown().await;
}

/// The procedure of docs/operations.md, "A damaged replica".
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_replica_is_rebuilt_from_its_peers_under_a_new_number() {
    let mut group = Group::start(3, few_entries).await;
    for number in 0..120 {
        group.propose(&format!("set k{number} v{number}")).await;
        group.propose(&format!("end k{}", number / 2)).await;
    }
    let damaged = follower(&group).await;
    group.stop(damaged).await;
    let file = group.data_dir(damaged).join("store/db");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length / 2).unwrap();
    let error = Replica::open(group.config(damaged), Shared::default()).await.map(|_| ()).unwrap_err();
    let told = error.to_string();
    assert!(told.contains(&file.display().to_string()) && told.contains("rebuild the replica"), "{told}");

    let place = group.add().await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    replica.add_learner(group.member(place)).await.unwrap();
    let (new, old) = (place as u64 + 1, damaged as u64 + 1);
    eventually("promoted", || async { replica.promote(new, Some(old)).await.ok() }).await;
    group.propose("set after rebuild").await;
    group.holds(place, "after", "rebuild").await;
    let (old, new) = (group.node(leader), group.node(place));
    assert_eq!(new.state.toy().values, old.state.toy().values);
    let archived = |node: &crate::common::Node| node.replica.archive().scan_prefix(b"", None, 1000).unwrap();
    assert_eq!(archived(new), archived(old));
    assert_eq!(archived(new).len(), 60);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_another_group_are_refused() {
    let mut group = Group::start(1, plain).await;
    let member = group.member(0);
    let mut client =
        meson_proto::raft::v1::raft_service_client::RaftServiceClient::connect(member.raft_address)
            .await
            .unwrap();
    let message = |group_id| meson_proto::raft::v1::RequestVoteRequest { group_id, ..Default::default() };
    let refused = client.request_vote(message(8)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("group"), "{refused}");
    let refused = client.request_vote(message(7)).await.unwrap_err();
    assert!(refused.message().contains("replica 1"), "meant for nobody: {refused}");
    let other = tempfile::tempdir().unwrap();
    let other = Replica::open(Config::new(8, 1, other.path()), Shared::default()).await.unwrap();
    other.shutdown().await;
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_not_taken_over() {
    use meson_proto::raft::v1::{InstallSnapshotRequest, SnapshotHeader};

    let mut group = Group::start(2, steady).await;
    group.propose("set a b").await;
    let leader = group.leader().await;
    group.node(leader).replica.snapshot_now().await.unwrap();
    group.stop(leader).await;
    let intact = std::fs::read(crate::common::snapshot_path(&group.data_dir(leader))).unwrap();
    let other = 1 - leader;
    group.holds(other, "a", "b").await;
    let address = group.member(other).raft_address;
    let mut client =
        meson_proto::raft::v1::raft_service_client::RaftServiceClient::connect(address).await.unwrap();
    let meta_length = u32::from_le_bytes(intact[12..16].try_into().unwrap()) as usize;
    let description: serde_json::Value = serde_json::from_slice(&intact[16..16 + meta_length]).unwrap();
    for flipped in [3, intact.len() / 2, intact.len() - 1] {
        let mut damaged = intact.clone();
        damaged[flipped] ^= 1;
        // Field 1: the target; field 2: the description. The vote is of term 99, so that it is not what is refused.
        let mut meta = vec![8, other as u8 + 1, 18];
        let json = serde_json::to_vec(&description["meta"]).unwrap();
        meta.extend([(json.len() % 128) as u8 | 128, (json.len() / 128) as u8]);
        meta.extend(json);
        let header = SnapshotHeader {
            group_id: 7,
            vote: Bytes::from_static(&[8, 99, 16, 1, 24, 1]),
            meta: meta.into(),
            size_bytes: damaged.len() as u64,
            sha256: Bytes::copy_from_slice(&intact[intact.len() - 32..]),
        };
        let first = InstallSnapshotRequest { header: Some(header), chunk: Bytes::new() };
        let second = InstallSnapshotRequest { header: None, chunk: damaged.into() };
        let refused = client.install_snapshot(tokio_stream::iter([first, second])).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::DataLoss, "{refused}");
        assert!(refused.message().contains("corrupt"), "{refused}");
    }
    let left = std::fs::read_dir(group.data_dir(other).join("snapshots")).unwrap();
    assert_eq!(left.count(), 0, "nothing stays behind");
    group.shutdown().await;
}
