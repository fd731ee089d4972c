//! One process that is many agents: each registers, launches what it is told to, and none is given more than it has.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use support::{Cluster, Process, Scheduler, framework, offers, task, text};

const AGENTS: usize = 200;
const TASKS: usize = 400;

/// The resources that an offer has of a kind.
fn amount(offer: &Value, name: &str) -> f64 {
    let all = offer["resources"].as_array().expect("resources");
    all.iter().filter(|resource| resource["name"] == name).filter_map(|r| r["scalar"]["value"].as_f64()).sum()
}

#[test]
fn two_hundred_agents_run_short_tasks() {
    let cluster = Cluster::new(&["--max-agent-ping-timeouts", "1000"]);
    let arguments = [
        ("--master", cluster.master().to_owned()),
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--work-dir", cluster.dir.path().join("agents").to_string_lossy().into_owned()),
        ("--agents", AGENTS.to_string()),
        ("--resources", "cpus:1;mem:128".to_owned()),
    ];
    let arguments: Vec<String> =
        arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let log = cluster.dir.path().join("agents.log");
    let _agents = Process::start(env!("CARGO_BIN_EXE_standin-agent"), &arguments, &log);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&["PARTITION_AWARE"]));
    let mut launched = 0;
    let mut used = BTreeSet::new();
    let mut finished = BTreeMap::new();
    while finished.len() < TASKS {
        let event = scheduler.any();
        for offer in offers(&event) {
            // Never more than the agent has: what runs there is not offered.
            assert!(amount(&offer, "cpus") <= 1.0 && amount(&offer, "mem") <= 128.0, "{offer}");
            used.insert(text(&offer["agent_id"]["value"]));
            if launched == TASKS {
                scheduler.accepted("DECLINE", json!({ "offer_ids": [offer["id"]] }));
                continue;
            }
            let mut tasks = Vec::new();
            while tasks.len() < 2
                && amount(&offer, "cpus") >= 0.5 * (tasks.len() + 1) as f64
                && launched < TASKS
            {
                tasks.push(task(&offer, &format!("t{launched}"), "true"));
                launched += 1;
            }
            scheduler.launch(&offer, &tasks);
        }
        if event["type"] == "UPDATE" {
            let status = &event["update"]["status"];
            if !status["uuid"].is_null() {
                scheduler.acknowledge(status);
            }
            let state = text(&status["state"]);
            if state == "TASK_FINISHED" {
                *finished.entry(text(&status["task_id"]["value"])).or_insert(0) += 1;
            } else {
                assert!(["TASK_STARTING", "TASK_RUNNING"].contains(&state.as_str()), "{status}");
            }
        }
    }
    assert!(finished.values().all(|times| *times == 1), "{finished:?}");
    assert_eq!(used.len(), AGENTS);
}
