//! Who belongs to the trio, and who leads it. Each change is a few calls that may all be repeated: a command that was
//! interrupted is given again.

use std::time::Duration;

use meson_proto::v1::*;
use serde_json::json;

use super::show_members;
use crate::args::{NewMember, Output};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json};

/// How often a replica that catches up is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A replica that does not come nearer for so many looks is given up.
const LOOKS_WITHOUT_PROGRESS: u32 = 240;

/// Entries that a replica may lack to count as caught up.
const LAG_MAX: u64 = 100;

/// `mesonctl cluster add`.
pub async fn add(client: &Client, member: NewMember, learner: bool, output: Output) -> Result {
    let node_id = member.node_id;
    let members = follow(client, member).await?;
    let members = if learner { members } else { promote(client, node_id, 0).await? };
    show_members(&members, output)
}

/// `mesonctl cluster replace`.
pub async fn replace(client: &Client, lost: u64, member: NewMember, output: Output) -> Result {
    let members = list(client).await?;
    let node_id = member.node_id;
    let known = |id| members.iter().any(|member: &Member| member.node_id == id);
    if !known(lost) {
        // Given again after it had done its work.
        let done = members.iter().any(|member| member.node_id == node_id && member.voter);
        return if done {
            show_members(&members, output)
        } else {
            Err(Error::usage(format!("there is no replica {lost}; see `mesonctl cluster members`")))
        };
    }
    follow(client, member).await?;
    give_up_leadership(client, lost).await?;
    let members = promote(client, node_id, lost).await?;
    show_members(&members, output)
}

/// `mesonctl cluster remove`.
pub async fn remove(client: &Client, node_id: u64, output: Output) -> Result {
    if !list(client).await?.iter().any(|member| member.node_id == node_id) {
        return Err(Error::usage(format!("there is no replica {node_id}; see `mesonctl cluster members`")));
    }
    give_up_leadership(client, node_id).await?;
    let call = |channel| async move {
        client::cluster(channel).remove_member(RemoveMemberRequest { node_id }).await
    };
    show_members(&client.call(call).await?.members, output)
}

/// `mesonctl cluster transfer`.
pub async fn transfer(client: &Client, node_id: u64, output: Output) -> Result {
    let leader = hand_over(client, node_id).await?;
    if output == Output::Json {
        json::print(&json!({ "leader_id": leader.node_id, "api_address": leader.api_address }));
    } else {
        println!("replica {} leads, at {}", leader.node_id, leader.api_address);
    }
    if node_id != 0 && leader.node_id != node_id {
        return Err(Error::usage(format!("replica {} won instead of {node_id}; try again", leader.node_id)));
    }
    Ok(Exit::Succeeded)
}

async fn hand_over(client: &Client, node_id: u64) -> Result<Member> {
    let call = |channel| async move {
        client::cluster(channel).transfer_leadership(TransferLeadershipRequest { node_id }).await
    };
    Ok(client.call(call).await?.leader.unwrap_or_default())
}

/// A leader that is to leave hands over to anybody else.
async fn give_up_leadership(client: &Client, node_id: u64) -> Result<()> {
    for place in 0..client.endpoints().len() {
        let Ok(status) = super::status_of(client, place).await else { continue };
        if status.role() == ReplicaRole::Leader && status.node_id == node_id {
            eprintln!("replica {node_id} leads; it hands over first");
            hand_over(client, 0).await?;
        }
    }
    Ok(())
}

async fn list(client: &Client) -> Result<Vec<Member>> {
    let call = |channel| async move { client::cluster(channel).list_members(ListMembersRequest {}).await };
    Ok(client.call(call).await?.members)
}

/// Adds a replica as one that follows, and waits until it has caught up.
async fn follow(client: &Client, member: NewMember) -> Result<Vec<Member>> {
    let NewMember { node_id, raft, grpc, http } = member;
    let member =
        Member { node_id, raft_address: raft, api_address: grpc, http_address: http, ..Member::default() };
    let request = AddMemberRequest { member: Some(member) };
    let call = |channel| {
        let request = request.clone();
        async move { client::cluster(channel).add_member(request).await }
    };
    let mut members = client.call(call).await?.members;
    let mut least = u64::MAX;
    let mut looks = 0;
    loop {
        let lag = members.iter().find(|member| member.node_id == node_id).and_then(|member| member.lag);
        match lag {
            Some(lag) if lag <= LAG_MAX => return Ok(members),
            Some(lag) if lag < least => (least, looks) = (lag, 0),
            _ => looks += 1,
        }
        if looks >= LOOKS_WITHOUT_PROGRESS {
            return Err(Error::Unreachable(format!(
                "replica {node_id} does not catch up: is it running, and do the others reach its raft address? It \
                 follows without a vote; give the command again, or `mesonctl cluster remove {node_id}`"
            )));
        }
        if looks == 1 {
            eprintln!("replica {node_id} catches up: {least} entries to go");
        }
        tokio::time::sleep(LOOK_EVERY).await;
        members = list(client).await?;
    }
}

async fn promote(client: &Client, node_id: u64, instead_of: u64) -> Result<Vec<Member>> {
    let call = |channel| async move {
        client::cluster(channel).promote_member(PromoteMemberRequest { node_id, instead_of }).await
    };
    Ok(client.call(call).await?.members)
}
