//! Statements of docs/executor-http-api.md of Apache Mesos, each as a test case, and what agents do for executors.

mod support;

use serde_json::{Value, json};
use support::{Cluster, Scheduler, framework, post, request, scalar, task, text};

const PATH: &str = "/api/v1/executor";

fn with_executor(offer: &Value, id: &str, command: Value) -> Value {
    let mut task = task(offer, id, "");
    task.as_object_mut().expect("an object").remove("command");
    task["executor"] = json!({
        "type": "CUSTOM",
        "executor_id": { "value": "e" },
        "command": command,
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
    });
    task
}

/// "The response ... 4xx": who may call what.
#[test]
fn executors_are_refused_for_form_and_place() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&[]);
    let agent = cluster.agents[0].address.clone();
    let call = |kind: &str| json!({ "type": kind, "executor_id": { "value": "e" }, "framework_id": { "value": "f" } });
    let mut subscribe = call("SUBSCRIBE");
    assert!(post(&agent, PATH, &subscribe).body.contains("Expecting 'subscribe' to be present"));
    subscribe["subscribe"] = json!({});
    let answer = post(&agent, PATH, &subscribe);
    assert_eq!((answer.status, answer.body.as_str()), (400, "Framework cannot be found"));
    let mut update = call("UPDATE");
    update["update"] = json!({ "status": { "task_id": { "value": "t" }, "state": "TASK_RUNNING" } });
    let answer = post(&agent, PATH, &update);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("Expecting 'uuid' to be present"), "{}", answer.body);
    update["update"]["status"]["uuid"] = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    assert!(post(&agent, PATH, &update).body.contains("SOURCE_EXECUTOR"));
    update["update"]["status"]["source"] = json!("SOURCE_EXECUTOR");
    update["update"]["status"]["state"] = json!("TASK_STAGING");
    assert!(post(&agent, PATH, &update).body.contains("TASK_STAGING"));
    assert_eq!(request(&agent, "GET", PATH, &[], b"").status, 405);
    assert_eq!(request(&agent, "POST", PATH, &[("Content-Type", "text/plain")], b"x").status, 415);
}

/// "Once an executor is launched, the agent waits for a duration of --executor_registration_timeout for the executor to
/// subscribe. If the executor fails to subscribe within this duration, the agent forcefully destroys" it.
#[test]
fn an_executor_that_does_not_subscribe_is_ended() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&["--executor-registration-timeout", "300ms"]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[with_executor(&offer, "t", json!({ "value": "sleep 600" }))]);
    let status = scheduler.status("t", "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_EXECUTOR_REGISTRATION_TIMEOUT");
    assert_eq!(status["source"], "SOURCE_AGENT");
}

/// The documented environment, the sandbox as working directory, and fetched URIs with their flags.
#[test]
fn executors_get_their_environment_sandbox_and_uris() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let files = cluster.dir.path().join("files");
    std::fs::create_dir(&files).expect("made");
    std::fs::write(files.join("tool"), "#!/bin/sh\nenv > seen; pwd >> seen; cat inner >> seen; exit 7\n")
        .expect("written");
    std::fs::write(files.join("inner"), "from an archive\n").expect("written");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-czf").arg(files.join("a.tgz")).arg("-C").arg(&files).arg("inner");
    assert!(tar.status().expect("tar runs").success());
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(Some(&agent));
    let uri = |name: &str, executable: bool| json!({ "value": files.join(name).to_string_lossy(), "executable": executable });
    let environment = json!({ "variables": [{ "name": "MINE", "value": "yes" }] });
    let command = json!({
        "shell": false,
        "value": "./tool",
        "arguments": ["tool"],
        "uris": [uri("tool", true), uri("a.tgz", false)],
        "environment": environment,
    });
    scheduler.launch(&offer, &[with_executor(&offer, "t", command)]);
    // It never subscribes: its exit is the end of its task, and told to the framework.
    let status = scheduler.status_acknowledged("t", "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_EXECUTOR_TERMINATED");
    let runs = cluster
        .dir
        .path()
        .join("agent-0/slaves")
        .join(&agent)
        .join("frameworks")
        .join(&scheduler.framework_id);
    let seen = std::fs::read_to_string(runs.join("executors/e/runs/latest/seen"))
        .expect("the tool ran in its sandbox");
    for name in [
        "MESOS_FRAMEWORK_ID",
        "MESOS_SANDBOX",
        "MESOS_DIRECTORY",
        "MESOS_SLAVE_PID",
        "MESOS_RECOVERY_TIMEOUT",
    ] {
        assert!(seen.contains(&format!("{name}=")), "{name} is missing:\n{seen}");
    }
    let endpoint = format!("MESOS_AGENT_ENDPOINT={}\n", cluster.agents[0].address);
    for line in
        [&endpoint, "MESOS_EXECUTOR_ID=e\n", "MESOS_CHECKPOINT=1\n", "MINE=yes\n", "from an archive\n"]
    {
        assert!(seen.contains(line), "{line} is missing:\n{seen}");
    }
    assert!(seen.contains("MESOS_RECOVERY_TIMEOUT=15mins\n"), "{seen}");
    assert!(seen.contains("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs\n"), "{seen}");
    assert!(seen.lines().any(|line| line.starts_with('/') && line.contains("/runs/")), "{seen}");
}

/// FAILURE: "Sent by the master when an executor terminates", with its wait status.
#[test]
fn the_end_of_an_executor_is_told() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[with_executor(&offer, "t", json!({ "value": "exit 7" }))]);
    let failure = scheduler.next("FAILURE");
    assert_eq!(text(&failure["failure"]["executor_id"]["value"]), "e");
    assert_eq!(failure["failure"]["status"], 7 << 8);
}

/// A URI that cannot be fetched fails the launch.
#[test]
fn a_uri_that_cannot_be_fetched_fails_the_launch() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(Some(&agent));
    let command = json!({ "value": "true", "uris": [{ "value": "/no/such/file" }] });
    scheduler.launch(&offer, &[with_executor(&offer, "t", command)]);
    let status = scheduler.status("t", "TASK_FAILED");
    assert_eq!(status["reason"], "REASON_CONTAINER_LAUNCH_FAILED");
    assert!(text(&status["message"]).contains("Failed to fetch all URIs"), "{status}");
}

/// KILL with a kill policy: SIGTERM, and SIGKILL after the grace period.
#[test]
fn kill_policies_are_honoured() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&["TASK_KILLING_STATE"]));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[task(&offer, "t", "trap '' TERM; while true; do sleep 0.05; done")]);
    scheduler.status_acknowledged("t", "TASK_RUNNING");
    let policy = json!({ "grace_period": { "nanoseconds": 100_000_000 } });
    scheduler.accepted("KILL", json!({ "task_id": { "value": "t" }, "kill_policy": policy }));
    scheduler.status_acknowledged("t", "TASK_KILLING");
    let status = scheduler.status_acknowledged("t", "TASK_KILLED");
    assert!(text(&status["message"]).contains("signal: 9"), "{status}");
}

/// SHUTDOWN: "When an executor gets a shutdown event, it is expected to kill all its tasks (and send TASK_KILLED updates)".
#[test]
fn a_shut_down_executor_kills_its_tasks() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(Some(&agent));
    scheduler.launch(&offer, &[task(&offer, "t", "sleep 600")]);
    scheduler.status_acknowledged("t", "TASK_RUNNING");
    scheduler
        .accepted("SHUTDOWN", json!({ "executor_id": { "value": "t" }, "agent_id": { "value": agent } }));
    scheduler.status_acknowledged("t", "TASK_KILLED");
}

/// KILL: "If the task hasn't yet been delivered to the executor when Mesos master or agent receives the kill request, a
/// TASK_KILLED is generated and the task launch is not forwarded to the executor."
#[test]
fn a_task_is_killed_before_its_executor_has_it() {
    let mut cluster = Cluster::new(&[]);
    let agent = cluster.add_agent(&["--executor-shutdown-grace-period", "100ms"]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&["PARTITION_AWARE"]));
    let offer = scheduler.offer(Some(&agent));
    let slow = json!({ "value": "sleep 600" });
    scheduler.launch(&offer, &[with_executor(&offer, "t", slow.clone())]);
    let rest = scheduler.offer(Some(&agent));
    scheduler.accepted("KILL", json!({ "task_id": { "value": "t" } }));
    let status = scheduler.status("t", "TASK_KILLED");
    assert_eq!(status["reason"], "REASON_TASK_KILLED_DURING_LAUNCH");
    // Its executor has nothing to do any more and is shut down. Until the end is acknowledged its id is not free.
    scheduler.next("FAILURE");
    scheduler.launch(&rest, &[with_executor(&rest, "u", slow)]);
    let refused = scheduler.status("u", "TASK_DROPPED");
    assert_eq!(refused["reason"], "REASON_EXECUTOR_TERMINATED");
    scheduler.acknowledge(&status);
}
