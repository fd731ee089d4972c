//! Three replicas over real connections: elections, restarts, a replica that was away, and members that come and go.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::{Group, Shared, eventually, propose};
use meson_raft::{AdminError, Config, ProposeError, ReadError, Replica, RoleKind};

fn plain(_: &mut Config) {}

fn few_entries(config: &mut Config) {
    config.snapshot_every_entries = 50;
    config.keep_entries_after_snapshot = 5;
}

/// A running follower.
async fn follower(group: &Group) -> usize {
    let leader = group.leader().await;
    (0..3).find(|place| *place != leader && group.nodes[*place].is_some()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_leader_takes_all_apply() {
    let mut group = Group::start(3, plain).await;
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
    let mut group = Group::start(3, plain).await;
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
    let refused = replica.change_voters(BTreeSet::from([1])).await;
    assert_eq!(refused, Err(AdminError::NotLeader { leader: Some(member) }));
    assert_eq!(replica.quorum_acked_at(), None);
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_the_leader() {
    let mut group = Group::start(3, plain).await;
    let old = group.leader().await;
    let replica = group.node(old).replica.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (replica, stop) = (replica.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let key = format!("w{writer}n{number}");
                    match propose(&replica, format!("set {key} v")).await {
                        Ok(_) => acknowledged.push(key),
                        Err(ProposeError::Unknown | ProposeError::Stopped) => break,
                        Err(ProposeError::NotLeader { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
                acknowledged
            })
        })
        .collect();
    let state = group.node(old).state.clone();
    eventually("some writes", || async { (state.toy().commands > 200).then_some(()) }).await;
    group.stop(old).await;
    stop.store(true, Ordering::SeqCst);
    let new = group.leader().await;
    assert_ne!(new, old);
    group.node(new).replica.read_barrier().await.unwrap();
    let mut count = 0;
    for writer in writers {
        for key in writer.await.unwrap() {
            assert!(group.node(new).state.get(&key).is_some(), "{key} was acknowledged");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");

    group.restart(old).await;
    group.propose("set after all").await;
    group.holds(old, "after", "all").await;
    assert_eq!(group.node(old).state.toy().values, group.node(new).state.toy().values);
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
    let mut group = Group::start(3, plain).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_becomes_a_voter_and_a_voter_leaves() {
    let mut group = Group::start(3, few_entries).await;
    for number in 0..120 {
        group.propose(&format!("set k{number} v")).await;
    }
    let place = group.add().await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    replica.add_learner(group.member(place)).await.unwrap();
    group.holds(place, "k119", "v").await;
    let role = group.node(place).replica.role();
    eventually("a learner", || async { (role.borrow().kind == RoleKind::Learner).then_some(()) }).await;

    let gone = (0..3).find(|place| *place != leader).unwrap();
    let voters: BTreeSet<u64> = (1..=4).filter(|id| *id != gone as u64 + 1).collect();
    replica.change_voters(voters.clone()).await.unwrap();
    let refused = replica.change_voters(BTreeSet::from([77])).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    group.stop(gone).await;
    group.propose("set after change").await;
    group.holds(place, "after", "change").await;
    let status = group.node(place).replica.status();
    let voting = status.members.iter().filter(|member| member.voter);
    assert_eq!(voting.map(|member| member.member.node_id).collect::<BTreeSet<_>>(), voters);
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
