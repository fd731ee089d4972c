//! Who belongs to a group and who leads it: founding, adding, replacing, removing, handing over, and the refusal of a
//! replica that lost its files.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::common::{Group, eventually};
use meson_raft::{AdminError, Config, Member, RestoreError, Restored, RoleKind};

fn few_entries(config: &mut Config) {
    config.snapshot_every_entries = 50;
    config.keep_entries_after_snapshot = 10;
}

fn guarded(config: &mut Config) {
    config.hold_until_founded = true;
}

async fn found_all(group: &Group) {
    let founding = group.nodes.iter().flatten().map(|node| node.replica.found(group.members()));
    for founded in futures::future::join_all(founding).await {
        founded.unwrap();
    }
}

fn restore(config: &Config, members: Vec<Member>, file: &Path) -> Result<Restored, RestoreError> {
    tokio::task::block_in_place(|| meson_raft::restore(config, members, file))
}

fn voters(group: &Group, place: usize) -> BTreeSet<u64> {
    let members = group.node(place).replica.status().members;
    members.into_iter().filter(|member| member.voter).map(|member| member.member.node_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_voter_is_replaced_and_one_is_removed() {
    let mut group = Group::start(3, few_entries).await;
    for number in 0..120 {
        group.propose(&format!("set k{number} v")).await;
    }
    let place = group.add().await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    let gone = (0..3).find(|place| *place != leader).unwrap();
    group.stop(gone).await;

    replica.add_learner(group.member(place)).await.unwrap();
    group.holds(place, "k119", "v").await;
    let role = group.node(place).replica.role();
    eventually("a learner", || async { (role.borrow().kind == RoleKind::Learner).then_some(()) }).await;
    let mut moved = group.member(place);
    moved.raft_address = "http://127.0.0.1:1".into();
    let refused = replica.add_learner(moved).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");

    let (old, new) = (gone as u64 + 1, place as u64 + 1);
    eventually("promoted", || async { replica.promote(new, Some(old)).await.ok() }).await;
    let expected: BTreeSet<u64> = (1..=4).filter(|id| *id != old).collect();
    assert_eq!(voters(&group, leader), expected);
    assert_eq!(replica.members().len(), 3, "the dead one is forgotten");
    group.propose("set after change").await;
    group.holds(place, "after", "change").await;

    let refused = replica.promote(77, None).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    let refused = replica.remove(leader as u64 + 1).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "it leads: {refused:?}");
    replica.remove(new).await.unwrap();
    replica.remove(new).await.unwrap();
    assert!(!voters(&group, leader).contains(&new));
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_leave_no_majority_is_refused() {
    let mut group = Group::start(3, few_entries).await;
    group.propose("set a b").await;
    let leader = group.leader().await;
    let mut others = (0..3).filter(|place| *place != leader);
    let (away, stays) = (others.next().unwrap(), others.next().unwrap());
    group.stop(away).await;
    let replica = group.node(leader).replica.clone();
    let refused = eventually("the silence is noticed", || async {
        match replica.remove(stays as u64 + 1).await {
            Err(AdminError::Refused(text)) => Some(text),
            other => panic!("only the living one was left: {other:?}"),
        }
    })
    .await;
    assert!(refused.contains("stand still"), "{refused}");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_may_still_be_lost_is_not_confirmed() {
    let mut group = Group::start(3, few_entries).await;
    group.propose("set a b").await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    for place in (0..3).filter(|place| *place != leader) {
        group.stop(place).await;
    }
    let member = Member { node_id: 9, raft_address: "http://127.0.0.1:1".into(), ..Member::default() };
    for _ in 0..2 {
        let asked = replica.add_learner(member.clone());
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        assert!(!matches!(answer, Ok(Ok(()))), "nobody else has it: {answer:?}");
        assert!(replica.members().contains(&member), "it is on its way");
    }
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_never_answered_gets_no_vote() {
    let mut group = Group::start(3, few_entries).await;
    group.propose("set a b").await;
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    let member = Member { node_id: 9, raft_address: "http://127.0.0.1:1".into(), ..Member::default() };
    replica.add_learner(member).await.unwrap();
    let refused = replica.promote(9, None).await;
    assert!(matches!(&refused, Err(AdminError::Refused(text)) if text.contains("nothing")), "{refused:?}");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_without_losing_a_proposal() {
    let mut group = Group::start(3, few_entries).await;
    group.propose("set a b").await;
    for round in 0..6 {
        let leader = group.leader().await;
        let replica = group.node(leader).replica.clone();
        let term = replica.role().borrow().term;
        let to = (round % 2 == 0).then_some(((leader + 1) % 3) as u64 + 1);
        let successor = eventually("handed over", || async { replica.hand_over(to).await.ok() }).await;
        assert_ne!(successor.node_id, leader as u64 + 1);
        assert!(to.is_none_or(|to| to == successor.node_id));
        let place = successor.node_id as usize - 1;
        let role = group.node(place).replica.role();
        eventually("the successor leads", || async {
            let role = role.borrow();
            (role.kind == RoleKind::Leader && role.term > term).then_some(())
        })
        .await;
        group.propose(&format!("set round {round}")).await;
        group.holds(leader, "round", &round.to_string()).await;
    }
    let leader = group.leader().await;
    let refused = group.node(leader).replica.hand_over(Some(9)).await;
    assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    let follower = group.node((leader + 1) % 3).replica.clone();
    let refused = follower.hand_over(None).await;
    assert!(matches!(refused, Err(AdminError::NotLeader { .. })), "{refused:?}");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_found_a_group_together() {
    let mut group = Group::found(3, guarded).await;
    let last = group.add().await;
    group.stop(last).await;
    let replicas: Vec<_> = group.nodes.iter().flatten().map(|node| node.replica.clone()).collect();
    let members = group.members();
    let waiting: Vec<_> = replicas
        .iter()
        .map(|replica| {
            let (replica, members) = (replica.clone(), members.clone());
            tokio::spawn(async move { replica.found(members).await })
        })
        .collect();
    for _ in 0..20 {
        assert!(!group.node(0).replica.is_initialized().await, "one member has not been seen");
        tokio::task::yield_now().await;
    }
    group.restart(last).await;
    group.node(last).replica.found(members).await.unwrap();
    for founded in waiting {
        founded.await.unwrap().unwrap();
    }
    group.propose("set a b").await;
    for place in 0..4 {
        group.holds(place, "a", "b").await;
    }
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_lost_its_files_does_not_come_back() {
    let mut group = Group::found(3, guarded).await;
    found_all(&group).await;
    group.propose("set a b").await;
    for place in 0..3 {
        group.holds(place, "a", "b").await;
    }
    group.stop(1).await;
    group.restart(1).await;
    group.node(1).replica.found(group.members()).await.unwrap();
    group.holds(1, "a", "b").await;

    group.stop(1).await;
    std::fs::remove_dir_all(group.data_dir(1)).unwrap();
    group.restart(1).await;
    let refused = group.node(1).replica.found(group.members()).await;
    assert!(matches!(&refused, Err(AdminError::Forgotten { node_id: 2, .. })), "{refused:?}");
    group.propose("set c d").await;
    assert_eq!(group.node(1).state.get("c"), None, "it takes no part");

    let place = group.add().await;
    group.node(place).replica.found(group.members()).await.unwrap();
    let leader = group.leader().await;
    let replica = group.node(leader).replica.clone();
    replica.add_learner(group.member(place)).await.unwrap();
    group.holds(place, "c", "d").await;
    eventually("promoted", || async { replica.promote(4, Some(2)).await.ok() }).await;
    assert_eq!(voters(&group, leader), BTreeSet::from([1, 3, 4]));
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restores_a_group_whose_files_are_all_lost() {
    let mut group = Group::found(3, guarded).await;
    found_all(&group).await;
    for number in 0..200 {
        group.propose(&format!("set k{number} v")).await;
    }
    group.propose("end k7").await;
    let leader = group.leader().await;
    let term = group.node(leader).replica.role().borrow().term;
    let backup = group.node(leader).replica.backup().await.unwrap();
    let file = group.data_dir(0).with_file_name("backup");
    std::fs::write(&file, backup.read_at(0, backup.size_bytes() as usize).unwrap()).unwrap();
    group.propose("set late lost").await;
    group.shutdown().await;
    for place in 0..3 {
        std::fs::remove_dir_all(group.data_dir(place)).unwrap();
        let restored = restore(&group.config(place), group.members(), &file).unwrap();
        assert_eq!(restored.position, backup.position());
        let again = restore(&group.config(place), group.members(), &file);
        assert!(matches!(again, Err(RestoreError::NotEmpty(_))), "{again:?}");
    }
    for place in 0..3 {
        group.restart(place).await;
    }
    found_all(&group).await;
    group.propose("set after restore").await;
    for place in 0..3 {
        group.holds(place, "k199", "v").await;
        group.holds(place, "after", "restore").await;
        assert_eq!(group.node(place).state.get("late"), None);
        let archived = group.node(place).replica.archive().get(b"k7").unwrap();
        assert_eq!(archived.as_deref(), Some(&b"v"[..]));
    }
    let leader = group.leader().await;
    assert!(group.node(leader).replica.role().borrow().term > term + 1_000, "old terms are not used again");
    group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let mut group = Group::start(1, few_entries).await;
    group.propose("set a b").await;
    let backup = group.node(0).replica.backup().await.unwrap();
    let mut bytes = backup.read_at(0, backup.size_bytes() as usize).unwrap();
    group.shutdown().await;
    let file = group.data_dir(0).with_file_name("backup");
    let mut config = group.config(0);
    config.data_dir = group.data_dir(0).with_file_name("restored");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let refused = restore(&config, group.members(), &file);
    assert!(matches!(refused, Err(RestoreError::Store(_))), "{refused:?}");
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    config.node_id = 9;
    let refused = restore(&config, group.members(), &file);
    assert!(matches!(refused, Err(RestoreError::NotAmongMembers(9))), "{refused:?}");
    config.node_id = 1;
    config.group_id = 8;
    let refused = restore(&config, group.members(), &file);
    assert!(refused.is_err_and(|error| error.to_string().contains("group 7")));
    config.group_id = 7;
    restore(&config, group.members(), &file).unwrap();
}
