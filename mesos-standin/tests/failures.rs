//! Agents and masters that fail: what docs/high-availability-framework-guide.md, docs/reconciliation.md and
//! docs/executor-http-api.md of Apache Mesos say of it.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Cluster, Scheduler, framework, post, task, text};

const AWARE: &[&str] = &["PARTITION_AWARE"];

/// A framework with one running task.
fn with_task(cluster: &mut Cluster, capabilities: &[&str], line: &str) -> (Scheduler, String) {
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(capabilities));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[task(&offer, "t", line)]);
    scheduler.status_acknowledged("t", "TASK_RUNNING");
    (scheduler, agent)
}

fn partition(cluster: &Cluster, agent: &str, on: bool) {
    let answer = post(cluster.master(), "/standin/partition", &json!({ "agent_id": agent, "on": on }));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// "If the agent fails health checks, its tasks become TASK_UNREACHABLE"; "when an unreachable agent reregisters, its tasks
/// are running again": the master tells their state with REASON_AGENT_REREGISTERED.
#[test]
fn a_partitioned_agent_is_unreachable_and_comes_back() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "3"]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    partition(&cluster, &agent, true);
    let status = scheduler.status("t", "TASK_UNREACHABLE");
    assert_eq!(status["reason"], "REASON_AGENT_REMOVED");
    assert!(status["uuid"].is_null() && !status["unreachable_time"].is_null(), "{status}");
    let failure = scheduler.next("FAILURE");
    assert_eq!(failure["failure"]["agent_id"]["value"], agent.as_str());
    scheduler.reconcile("t", Some(&agent));
    assert_eq!(scheduler.status("t", "TASK_UNREACHABLE")["reason"], "REASON_RECONCILIATION");
    // The id is not free: the task may come back.
    partition(&cluster, &agent, false);
    let status = scheduler.status("t", "TASK_RUNNING");
    assert_eq!(status["reason"], "REASON_AGENT_REREGISTERED");
    scheduler.accepted("KILL", json!({ "task_id": { "value": "t" } }));
    scheduler.status_acknowledged("t", "TASK_KILLED");
}

/// Frameworks that are not partition-aware are told TASK_LOST.
#[test]
fn a_partition_is_a_loss_to_those_who_know_no_better() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "3"]);
    let (scheduler, agent) = with_task(&mut cluster, &[], "sleep 600");
    partition(&cluster, &agent, true);
    assert_eq!(scheduler.status("t", "TASK_LOST")["reason"], "REASON_AGENT_REMOVED");
}

/// MARK_AGENT_GONE: tasks become TASK_GONE_BY_OPERATOR and the agent may never return.
#[test]
fn an_agent_marked_gone_ends_for_good() {
    let mut cluster = Cluster::new(&[]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    let call = |agent: &str| json!({ "type": "MARK_AGENT_GONE", "mark_agent_gone": { "agent_id": { "value": agent } } });
    assert_eq!(post(cluster.master(), "/api/v1", &call("nobody")).status, 404);
    assert_eq!(post(cluster.master(), "/api/v1", &call(&agent)).status, 200);
    let status = scheduler.status("t", "TASK_GONE_BY_OPERATOR");
    assert_eq!(status["reason"], "REASON_AGENT_REMOVED_BY_OPERATOR");
    scheduler.reconcile("t", Some(&agent));
    assert_eq!(scheduler.status("t", "TASK_GONE_BY_OPERATOR")["reason"], "REASON_RECONCILIATION");
}

/// An agent that leaves takes its tasks with it; it is not waited for.
#[test]
fn an_agent_that_leaves_is_not_waited_for() {
    let mut cluster = Cluster::new(&[]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    assert_eq!(post(&cluster.agents[0].address, "/standin/leave", &json!({})).status, 200);
    scheduler.status("t", "TASK_GONE_BY_OPERATOR");
    assert_eq!(scheduler.next("FAILURE")["failure"]["agent_id"]["value"], agent.as_str());
}

/// "This mode allows the agent to reconnect with any of its old live executors provided the framework has enabled
/// checkpointing": the task lives through the agent's death.
#[test]
fn tasks_survive_the_restart_of_their_agent() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "100"]);
    let flag = cluster.dir.path().join("flag");
    let line = format!("while [ ! -e {} ]; do sleep 0.05; done", flag.display());
    let (scheduler, agent) = with_task(&mut cluster, AWARE, &line);
    let pid = |cluster: &Cluster| {
        support::get(&cluster.agents[0].address, "/standin/state")["executors"][0]["pid"].as_i64()
    };
    let before = pid(&cluster);
    assert!(before.is_some());
    cluster.agents[0].process.kill();
    cluster.start_agent(0);
    support::until("recovery", || {
        let state = support::get(&cluster.agents[0].address, "/standin/state");
        state["recovering"] == false && state["agent_id"] == agent.as_str()
    });
    assert_eq!(pid(&cluster), before);
    std::fs::write(flag, "").expect("written");
    scheduler.status_acknowledged("t", "TASK_FINISHED");
    // The agent is the same to the master: its resources are offered again.
    scheduler.offer(Some(&agent));
}

/// What ends while the agent is away is told when it is back: "The executor must maintain a list of unacknowledged updates".
#[test]
fn a_task_that_ends_while_its_agent_is_away_is_finished() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "100"]);
    let flag = cluster.dir.path().join("flag");
    let line = format!("while [ ! -e {} ]; do sleep 0.05; done", flag.display());
    let (scheduler, _) = with_task(&mut cluster, AWARE, &line);
    cluster.agents[0].process.kill();
    std::fs::write(flag, "").expect("written");
    cluster.start_agent(0);
    let status = scheduler.status_acknowledged("t", "TASK_FINISHED");
    assert_eq!(status["source"], "SOURCE_EXECUTOR");
}

/// A kill of a task on an agent that is away is told when the agent is back.
#[test]
fn a_kill_reaches_an_agent_that_was_away() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "100"]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    cluster.agents[0].process.kill();
    support::until("loss of the agent", || {
        let answer = post(cluster.master(), "/api/v1", &json!({ "type": "GET_AGENTS" }));
        let view: Value = serde_json::from_str(&answer.body).expect("JSON");
        view["get_agents"]["agents"][0]["active"] != true
    });
    scheduler.accepted("KILL", json!({ "task_id": { "value": "t" }, "agent_id": { "value": agent } }));
    cluster.start_agent(0);
    scheduler.status_acknowledged("t", "TASK_KILLED");
}

/// "hung executors have been destroyed": what does not come back after the agent's restart is ended.
#[test]
fn executors_that_do_not_come_back_are_ended() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "100"]);
    let (scheduler, _) = with_task(&mut cluster, AWARE, "sleep 600");
    let state = support::get(&cluster.agents[0].address, "/standin/state");
    let pid = state["executors"][0]["pid"].as_i64().expect("a process").to_string();
    let signal =
        |name: &str| std::process::Command::new("kill").args([name, &pid]).status().expect("kill runs");
    cluster.agents[0].process.kill();
    // Stopped earlier it would get a hang-up when the agent dies.
    assert!(signal("-STOP").success());
    cluster.start_agent(0);
    let status = scheduler.status_acknowledged("t", "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_EXECUTOR_REREGISTRATION_TIMEOUT");
}

/// A task that its agent lost without a word is TASK_GONE when asked for after the agent registered again.
#[test]
fn a_forgotten_task_is_found_out_when_the_agent_registers_again() {
    let mut cluster = Cluster::new(&[]);
    let (scheduler, _) = with_task(&mut cluster, AWARE, "sleep 600");
    let forget = json!({ "framework_id": scheduler.framework_id, "task_id": "t" });
    assert_eq!(post(&cluster.agents[0].address, "/standin/forget", &forget).status, 200);
    assert_eq!(post(cluster.master(), "/standin/fault", &json!({ "fault": "close_links" })).status, 200);
    let status = scheduler.status_acknowledged("t", "TASK_DROPPED");
    assert_eq!(status["reason"], "REASON_RECONCILIATION");
    assert_eq!(status["source"], "SOURCE_AGENT");
}

/// "the master must reregister all of the agents to rebuild its set of known tasks": until then it does not answer of
/// tasks on agents that may come back; after that it answers with their state.
#[test]
fn a_new_master_learns_from_agents_and_frameworks() {
    let mut cluster = Cluster::new(&[]);
    let next = cluster.add_master(&[]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    let id = scheduler.framework_id.clone();
    let mut info = framework(AWARE);
    info["id"] = json!({ "value": id });
    cluster.agents[0].process.kill();
    cluster.masters[0].0.kill();
    assert!(scheduler.is_closed());
    support::until("another leader", || support::get(&next, "/standin/leader")["leading"] == true);
    let scheduler = Scheduler::subscribe(&next, &info);
    assert_eq!(scheduler.framework_id, id);
    scheduler.reconcile("t", Some(&agent));
    scheduler.reconcile("nothing", None);
    let silence = scheduler.events_within(Duration::from_millis(500));
    assert!(silence.iter().all(|event| event["type"] != "UPDATE"), "{silence:?}");
    cluster.start_agent(0);
    scheduler.offer(Some(&agent));
    scheduler.reconcile("t", Some(&agent));
    // Beside updates whose acknowledgement was lost with the agent.
    scheduler.reconciled("t", "TASK_RUNNING");
    scheduler.reconcile("nothing", None);
    scheduler.status("nothing", "TASK_UNKNOWN");
    scheduler.accepted("KILL", json!({ "task_id": { "value": "t" } }));
    scheduler.status_acknowledged("t", "TASK_KILLED");
}

/// Updates may be lost, doubled, late and out of order on their way to a scheduler; agents send again what is lost.
#[test]
fn updates_pass_through_the_faults_that_are_asked_for() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(AWARE));
    let fault = |fault: Value| assert_eq!(post(cluster.master(), "/standin/fault", &fault).status, 200);
    fault(json!({ "fault": "drop_updates", "count": 1 }));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[task(&offer, "a", "sleep 600")]);
    scheduler.status_acknowledged("a", "TASK_RUNNING");
    fault(json!({ "fault": "duplicate_updates", "count": 1 }));
    let ask = || scheduler.accepted("RECONCILE", json!({ "tasks": [] }));
    ask();
    scheduler.status("a", "TASK_RUNNING");
    scheduler.status("a", "TASK_RUNNING");
    fault(json!({ "fault": "reorder_updates", "count": 2 }));
    scheduler.reconcile("first", None);
    scheduler.reconcile("second", None);
    let told = scheduler.next("UPDATE");
    assert_eq!(text(&told["update"]["status"]["task_id"]["value"]), "second");
    scheduler.status("first", "TASK_UNKNOWN");
    fault(json!({ "fault": "drop_calls", "count": 1, "kind": "RECONCILE" }));
    ask();
    let silence = scheduler.events_within(Duration::from_millis(300));
    assert!(silence.iter().all(|event| event["type"] != "UPDATE"), "{silence:?}");
}

/// Maintenance: inverse offers ask frameworks to leave; offers of such machines carry their unavailability.
#[test]
fn maintenance_asks_frameworks_to_leave() {
    let mut cluster = Cluster::new(&[]);
    let (scheduler, agent) = with_task(&mut cluster, AWARE, "sleep 600");
    let window = json!({
        "machine_ids": [{ "hostname": "agent-0" }],
        "unavailability": { "start": { "nanoseconds": 1 } },
    });
    let schedule = json!({ "schedule": { "windows": [window] } });
    let call = json!({ "type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": schedule });
    assert_eq!(post(cluster.master(), "/api/v1", &call).status, 200);
    let event = scheduler.next("INVERSE_OFFERS");
    let inverse = &event["inverse_offers"]["inverse_offers"][0];
    assert_eq!(inverse["agent_id"]["value"], agent.as_str());
    let answer = json!({ "inverse_offer_ids": [inverse["id"]] });
    scheduler.accepted("ACCEPT_INVERSE_OFFERS", answer);
    let call = json!({ "type": "START_MAINTENANCE", "start_maintenance": { "machines": [{ "hostname": "agent-0" }] } });
    assert_eq!(post(cluster.master(), "/api/v1", &call).status, 200);
    scheduler.status("t", "TASK_GONE_BY_OPERATOR");
}
