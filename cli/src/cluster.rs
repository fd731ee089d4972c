//! `mesonctl cluster` and `mesonctl executors`: who is there and how they are; changes and backups beside it.

mod backup;
mod changes;

use std::time::Duration;

use meson_proto::v1::*;
use serde_json::json;

use crate::args::{Cluster, Executors, Output};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, show};

/// How long one replica may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(3);

/// Carries out the command.
pub async fn run(client: &Client, command: Cluster, output: Output) -> Result {
    match command {
        Cluster::Status => status(client, output).await,
        Cluster::Members => members(client, output).await,
        Cluster::Add { member, learner } => changes::add(client, member, learner, output).await,
        Cluster::Replace { lost, member } => changes::replace(client, lost, member, output).await,
        Cluster::Remove { node_id } => changes::remove(client, node_id, output).await,
        Cluster::Transfer { node_id } => changes::transfer(client, node_id, output).await,
        Cluster::Snapshot => backup::snapshot(client, output).await,
        Cluster::Backup { file } => backup::backup(client, &file, output).await,
        Cluster::Check { data_dir } => backup::check(&data_dir).await,
        Cluster::Restore { file, config, node_id, data_dir, peers } => {
            let settings = [
                ("--config", config.map(|path| path.into_os_string())),
                ("--node-id", node_id.map(|id| id.to_string().into())),
                ("--data-dir", data_dir.map(|path| path.into_os_string())),
                ("--peers", peers.map(Into::into)),
            ];
            backup::restore(&file, settings).await
        }
    }
}

/// What one replica says of itself.
pub async fn status_of(client: &Client, place: usize) -> Result<GetClusterStatusResponse> {
    let mut service = client::cluster(client.channel(place)?);
    let answer =
        tokio::time::timeout(STATUS_TIMEOUT, service.get_cluster_status(GetClusterStatusRequest {})).await;
    match answer {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Error::Unreachable("no answer in time".to_owned())),
    }
}

async fn status(client: &Client, output: Output) -> Result {
    let mut rows = Vec::new();
    let mut found = Vec::new();
    let mut answered = false;
    for (place, endpoint) in client.endpoints().iter().enumerate() {
        match status_of(client, place).await {
            Ok(status) => {
                answered = true;
                rows.push(row(endpoint, &status));
                found.push(status_json(endpoint, &status));
            }
            Err(error) => {
                let why = error.to_string().lines().next().unwrap_or_default().to_owned();
                rows.push(vec!["?".into(), endpoint.clone(), "unreachable".into(), why]);
                found.push(json!({ "endpoint": endpoint, "error": error.to_string() }));
            }
        }
    }
    if output == Output::Json {
        json::print(&json!({ "replicas": found }));
    } else {
        let headings = [
            "replica", "address", "role", "term", "applied", "log", "snapshot", "disk", "runs", "ready",
            "live", "version", "format",
        ];
        show::table(&headings, rows);
    }
    if answered { Ok(Exit::Succeeded) } else { Err(Error::Unreachable("no replica answered".to_owned())) }
}

fn row(endpoint: &str, status: &GetClusterStatusResponse) -> Vec<String> {
    vec![
        status.node_id.to_string(),
        endpoint.to_owned(),
        show::word(status.role().as_str_name(), "REPLICA_ROLE_"),
        status.term.to_string(),
        status.applied_index.to_string(),
        status.last_log_index.to_string(),
        status.snapshot_index.to_string(),
        show::bytes(status.disk_bytes),
        status.runs_active.to_string(),
        status.steps_ready.to_string(),
        status.attempts_live.to_string(),
        status.version.clone(),
        format!("{} of {}", status.format, status.format_max),
    ]
}

fn status_json(endpoint: &str, status: &GetClusterStatusResponse) -> serde_json::Value {
    json!({
        "endpoint": endpoint, "group_id": status.group_id, "node_id": status.node_id,
        "role": show::word(status.role().as_str_name(), "REPLICA_ROLE_"), "term": status.term,
        "leader_id": status.leader_id, "last_log_index": status.last_log_index,
        "committed_index": status.committed_index, "format": status.format, "format_max": status.format_max, "applied_index": status.applied_index,
        "snapshot_index": status.snapshot_index, "disk_bytes": status.disk_bytes, "version": status.version,
        "runs_active": status.runs_active, "steps_ready": status.steps_ready, "attempts_live": status.attempts_live,
        "members": status.members.iter().map(member_json).collect::<Vec<_>>(),
    })
}

fn member_json(member: &Member) -> serde_json::Value {
    json!({ "node_id": member.node_id, "raft_address": member.raft_address, "api_address": member.api_address,
        "http_address": member.http_address, "voter": member.voter, "lag": member.lag })
}

async fn members(client: &Client, output: Output) -> Result {
    let call = |channel| async move { client::cluster(channel).list_members(ListMembersRequest {}).await };
    show_members(&client.call(call).await?.members, output)
}

fn show_members(members: &[Member], output: Output) -> Result {
    if output == Output::Json {
        json::print(&json!({ "members": members.iter().map(member_json).collect::<Vec<_>>() }));
        return Ok(Exit::Succeeded);
    }
    let row = |member: &Member| {
        vec![
            member.node_id.to_string(),
            if member.voter { "voter" } else { "learner" }.to_owned(),
            member.api_address.clone(),
            member.raft_address.clone(),
            member.lag.map(|lag| lag.to_string()).unwrap_or_default(),
        ]
    };
    show::table(&["replica", "votes", "grpc", "raft", "lag"], members.iter().map(row));
    Ok(Exit::Succeeded)
}

/// The executors that the leader knows.
pub async fn list_executors(client: &Client) -> Result<Vec<Executor>> {
    let call =
        |channel| async move { client::cluster(channel).list_executors(ListExecutorsRequest {}).await };
    Ok(client.call(call).await?.executors)
}

async fn drain(client: &Client, executor_id: String, draining: bool) -> Result {
    let request = DrainExecutorRequest { executor_id, draining };
    let call = |channel| {
        let request = request.clone();
        async move { client::cluster(channel).drain_executor(request).await }
    };
    client.call(call).await?;
    Ok(Exit::Succeeded)
}

fn session(executor: &Executor) -> &'static str {
    match (executor.connected, executor.draining) {
        (true, false) => "connected",
        (true, true) => "draining",
        (false, false) => "away",
        (false, true) => "away, draining",
    }
}

/// `mesonctl executors`.
pub async fn executors(client: &Client, command: Executors, output: Output) -> Result {
    match command {
        Executors::List => {}
        Executors::Drain { executor } => return drain(client, executor, true).await,
        Executors::Undrain { executor } => return drain(client, executor, false).await,
    }
    let executors = list_executors(client).await?;
    if output == Output::Json {
        let one = |executor: &Executor| {
            json!({ "executor_id": executor.executor_id, "hostname": executor.hostname,
                "resources": json::resources(&executor.resources), "held": json::resources(&executor.held),
                "attributes": executor.attributes, "kinds": executor.kinds, "connected": executor.connected,
                "attempts": executor.attempts, "version": executor.version, "draining": executor.draining })
        };
        json::print(&json!({ "executors": executors.iter().map(one).collect::<Vec<_>>() }));
        return Ok(Exit::Succeeded);
    }
    let row = |executor: &Executor| {
        let (all, held) = (executor.resources.unwrap_or_default(), executor.held.unwrap_or_default());
        vec![
            executor.executor_id.clone(),
            executor.hostname.clone(),
            session(executor).to_owned(),
            executor.attempts.to_string(),
            format!("{}/{}", held.cpus_milli as f64 / 1e3, all.cpus_milli as f64 / 1e3),
            format!("{}/{}", show::bytes(held.mem_bytes), show::bytes(all.mem_bytes)),
            executor.kinds.join(" "),
        ]
    };
    show::table(
        &["executor", "host", "session", "attempts", "cpus", "memory", "kinds"],
        executors.iter().map(row),
    );
    Ok(Exit::Succeeded)
}
