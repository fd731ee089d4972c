//! Statements of docs/scheduler-http-api.md of Apache Mesos, each as a test case.

mod support;

use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;
use support::{Cluster, Scheduler, framework, offers, post, request, scalar, task, text};

const PATH: &str = "/api/v1/scheduler";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Method, headers, body; status and words of the refusal.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

/// "A scheduler might also receive a 400 Bad Request response if the HTTP request is malformed"; "data encoded as JSON
/// (Content-Type: application/json) or binary Protobuf (Content-Type: application/x-protobuf)".
#[test]
fn requests_are_refused_for_their_form() {
    let cluster = Cluster::new(&[]);
    let master = cluster.master();
    let subscribe =
        json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": framework(&[]) } }).to_string();
    let cases: [Case<'_>; 8] = [
        ("GET", &[JSON], "", 405, "POST"),
        ("POST", &[], &subscribe, 400, "Expecting 'Content-Type' to be present"),
        (
            "POST",
            &[("Content-Type", "text/plain")],
            &subscribe,
            415,
            "Expecting 'Content-Type' of application/json",
        ),
        ("POST", &[JSON, ("Accept", "text/html")], &subscribe, 406, "Expecting 'Accept' to allow"),
        ("POST", &[JSON], "{", 400, "Failed to parse body into JSON"),
        (
            "POST",
            &[JSON],
            r#"{"type":"SUBSCRIBE","subscribe":{}}"#,
            400,
            "Failed to convert JSON into Call protobuf",
        ),
        ("POST", &[JSON], "{}", 400, "Failed to validate scheduler::Call: Expecting 'type' to be present"),
        // "SUBSCRIBE calls should never include the Mesos-Stream-Id header."
        (
            "POST",
            &[JSON, ("Mesos-Stream-Id", "x")],
            &subscribe,
            400,
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ),
    ];
    for (method, headers, body, status, words) in cases {
        let answer = request(master, method, PATH, headers, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {headers:?} {body}: {}", answer.body);
        assert!(answer.body.contains(words), "{}", answer.body);
    }
}

/// "The event stream begins with either a SUBSCRIBED event or an ERROR event. The response also includes the
/// Mesos-Stream-Id header", "at most 128 bytes in length"; HEARTBEAT is "periodically sent by the master".
#[test]
fn a_subscription_begins_with_subscribed_and_has_heartbeats() {
    let cluster = Cluster::new(&[]);
    let scheduler = Scheduler::open(cluster.master(), &framework(&[]));
    assert!((1..=128).contains(&scheduler.stream_id.len()));
    let first = scheduler.events_within(Duration::from_millis(300)).into_iter().next().expect("an event");
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 0.5);
    assert!(!text(&first["subscribed"]["framework_id"]["value"]).is_empty());
    scheduler.next("HEARTBEAT");
}

/// "Calls made without subscription will result in 403 Forbidden instead of a 202 Accepted response"; the stream id
/// "should be included in all subsequent non-SUBSCRIBE calls".
#[test]
fn calls_need_a_subscription_and_its_stream() {
    let cluster = Cluster::new(&[]);
    let master = cluster.master();
    let scheduler = Scheduler::subscribe(master, &framework(&[]));
    let call = |framework_id: &str, stream: Option<&str>| {
        let body = json!({ "type": "REVIVE", "framework_id": { "value": framework_id } }).to_string();
        let mut headers = vec![JSON];
        headers.extend(stream.map(|stream| ("Mesos-Stream-Id", stream)));
        let answer = request(master, "POST", PATH, &headers, body.as_bytes());
        (answer.status, answer.body)
    };
    let id = scheduler.framework_id.clone();
    assert_eq!(call("nobody", Some("x")), (400, "Framework cannot be found".to_owned()));
    assert_eq!(call(&id, None).0, 400);
    let (status, words) = call(&id, Some("other"));
    assert_eq!(status, 400);
    assert!(words.contains("didn't match the stream ID currently associated with framework ID"), "{words}");
    assert_eq!(call(&id, Some(&scheduler.stream_id)), (202, String::new()));
    let stream = scheduler.stream_id.clone();
    scheduler.disconnect();
    support::until("refusal", || call(&id, Some(&stream)) == (403, "Framework is not subscribed".to_owned()));
}

/// "The old scheduler instance gets an ERROR event and its connection is closed" when another subscribes with the same id;
/// after TEARDOWN the framework cannot subscribe again.
#[test]
fn a_framework_fails_over_and_is_removed() {
    let cluster = Cluster::new(&[]);
    let first = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let mut info = framework(&[]);
    info["id"] = json!({ "value": first.framework_id });
    let second = Scheduler::subscribe(cluster.master(), &info);
    assert_eq!(first.framework_id, second.framework_id);
    assert_ne!(first.stream_id, second.stream_id);
    assert_eq!(first.next("ERROR")["error"]["message"], "Framework failed over");
    assert!(first.is_closed());
    second.accepted("TEARDOWN", json!({}));
    assert!(second.is_closed());
    let third = Scheduler::open(cluster.master(), &info);
    assert_eq!(third.next("ERROR")["error"]["message"], "Framework has been removed");
    assert!(third.is_closed());
}

/// FrameworkInfo.failover_timeout: "the amount of time that the master will wait for the scheduler to failover before it
/// tears down the framework", by default at once.
#[test]
fn a_framework_without_failover_timeout_is_removed_when_it_disconnects() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&[]);
    let mut info = framework(&[]);
    info["failover_timeout"] = json!(0.0);
    let scheduler = Scheduler::subscribe(cluster.master(), &info);
    let offer = scheduler.offer(None);
    scheduler.launch(&offer, &[task(&offer, "t", "sleep 600")]);
    scheduler.status_acknowledged("t", "TASK_RUNNING");
    info["id"] = json!({ "value": scheduler.framework_id });
    scheduler.disconnect();
    let agent = cluster.agents[0].address.clone();
    support::until("end of the executor", || {
        support::get(&agent, "/standin/state")["executors"].as_array().is_some_and(Vec::is_empty)
    });
    let again = Scheduler::open(cluster.master(), &info);
    assert_eq!(again.next("ERROR")["error"]["message"], "Framework has been removed");
}

/// "If a request is made to a non-leading master, 307 Temporary Redirect with the Location header pointing to the leading
/// master"; without a leader there is nobody to point to.
#[test]
fn masters_that_do_not_lead_redirect() {
    let mut cluster = Cluster::new(&[]);
    let follower = cluster.add_master(&[]);
    let answer = post(&follower, PATH, &json!({}));
    assert_eq!(answer.status, 307);
    let location = format!("location: //{}{PATH}", cluster.master());
    assert!(answer.head.contains(&location), "{}", answer.head);
    cluster.masters.remove(0);
    support::until("another leader", || support::get(&follower, "/standin/leader")["leading"] == true);
    Scheduler::subscribe(&follower, &framework(&[]));
}

/// As long as no master leads there is nobody to point to: 503.
#[test]
fn without_a_leader_nobody_serves() {
    let mut cluster = Cluster::new(&[]);
    let directory = cluster.dir.path().join("masters");
    cluster.masters[0].0.kill();
    let file =
        std::fs::OpenOptions::new().write(true).open(directory.join("leader.lock")).expect("the lock's file");
    let lock = Flock::lock(file, FlockArg::LockExclusive).expect("the lock");
    std::fs::remove_file(directory.join("leader")).expect("the leader's address");
    let master = cluster.add_master(&[]);
    let answer = post(&master, PATH, &json!({}));
    assert_eq!((answer.status, answer.body.as_str()), (503, "No leader elected"));
    lock.unlock().expect("unlocked");
    support::until("a leader", || post(&master, PATH, &json!({})).status == 400);
}

/// "These status updates are retried until they are acknowledged by the scheduler"; agents send the oldest update of a
/// task only.
#[test]
fn updates_come_in_order_and_again_until_acknowledged() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(None);
    scheduler.launch(&offer, &[task(&offer, "t", "true")]);
    let first = scheduler.status("t", "TASK_STARTING");
    let again = scheduler.next("UPDATE")["update"]["status"].clone();
    assert_eq!((&again["state"], &again["uuid"]), (&first["state"], &first["uuid"]));
    // An acknowledgement of another update changes nothing.
    let mut wrong = first.clone();
    wrong["uuid"] = json!("AAAAAAAAAAAAAAAAAAAAAA==");
    scheduler.acknowledge(&wrong);
    assert_eq!(scheduler.next("UPDATE")["update"]["status"]["state"], "TASK_STARTING");
    scheduler.acknowledge(&first);
    let running = scheduler.status("t", "TASK_RUNNING");
    scheduler.acknowledge(&running);
    let finished = scheduler.status("t", "TASK_FINISHED");
    // The state is known to the master before it is acknowledged: its resources are free.
    scheduler.acknowledge(&finished);
    scheduler.reconcile("t", Some(&text(&offer["agent_id"]["value"])));
    assert_eq!(scheduler.next("UPDATE")["update"]["status"]["state"], "TASK_LOST");
}

/// ACKNOWLEDGE: "uuid" is raw bytes of a UUID.
#[test]
fn an_acknowledgement_needs_a_uuid() {
    let cluster = Cluster::new(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let body = json!({ "agent_id": { "value": "a" }, "task_id": { "value": "t" }, "uuid": "AAAA" });
    assert_eq!(scheduler.call("ACKNOWLEDGE", body).status, 400);
}

/// DECLINE: "resources will not be reoffered to the scheduler for the amount of time defined by the filter"; REVIVE
/// "clears all filters"; SUPPRESS: "it will stop sending offers".
#[test]
fn declined_resources_stay_away_until_revive() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&[]));
    let offer = scheduler.offer(None);
    let filters = json!({ "refuse_seconds": 3600.0 });
    scheduler.accepted("DECLINE", json!({ "offer_ids": [offer["id"]], "filters": filters }));
    let quiet = scheduler.events_within(Duration::from_millis(600));
    assert!(quiet.iter().all(|event| offers(event).is_empty()), "{quiet:?}");
    scheduler.accepted("REVIVE", json!({}));
    let offer = scheduler.offer(None);
    scheduler.accepted("SUPPRESS", json!({}));
    scheduler
        .accepted("DECLINE", json!({ "offer_ids": [offer["id"]], "filters": { "refuse_seconds": 0.0 } }));
    let quiet = scheduler.events_within(Duration::from_millis(600));
    assert!(quiet.iter().all(|event| offers(event).is_empty()), "{quiet:?}");
    scheduler.accepted("REVIVE", json!({}));
    scheduler.offer(None);
}

/// RESCIND: "Sent by the master when a particular offer is no longer valid"; its use then gives TASK_LOST, or TASK_DROPPED
/// to frameworks that know it.
#[test]
fn rescinded_offers_cannot_be_used() {
    let mut cluster = Cluster::new(&["--offer-timeout", "0.5"]);
    cluster.add_agent(&[]);
    let scheduler = Scheduler::subscribe(cluster.master(), &framework(&["PARTITION_AWARE"]));
    let offer = scheduler.offer(None);
    let rescinded = scheduler.next("RESCIND");
    assert_eq!(rescinded["rescind"]["offer_id"], offer["id"]);
    scheduler.launch(&offer, &[task(&offer, "t", "true")]);
    let status = scheduler.status("t", "TASK_DROPPED");
    assert_eq!(status["reason"], "REASON_INVALID_OFFERS");
    assert_eq!(status["source"], "SOURCE_MASTER");
    assert!(text(&status["message"]).ends_with("is no longer valid"), "{status}");
}

/// RESERVE: reserved resources are offered with their reservation, to the role only, and UNRESERVE takes it back.
#[test]
fn resources_are_reserved_and_given_back() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&["--resources", "cpus:4;mem:1024"]);
    let mut info = framework(&["MULTI_ROLE", "RESERVATION_REFINEMENT"]);
    info["roles"] = json!(["web"]);
    info["principal"] = json!("p");
    let scheduler = Scheduler::subscribe(cluster.master(), &info);
    let offer = scheduler.offer(None);
    assert_eq!(offer["allocation_info"]["role"], "web");
    let mut reserved = scalar("cpus", 1.5);
    reserved["reservations"] = json!([{ "type": "DYNAMIC", "role": "web", "principal": "p" }]);
    let filters = json!({ "refuse_seconds": 0.0 });
    let operation = json!({ "type": "RESERVE", "reserve": { "resources": [reserved] } });
    let body = json!({ "offer_ids": [offer["id"]], "operations": [operation], "filters": filters });
    scheduler.accepted("ACCEPT", body);
    let offer = scheduler.offer(None);
    let cpus = |offer: &serde_json::Value, is_reserved: bool| -> f64 {
        let all = offer["resources"].as_array().expect("resources").clone();
        let of = all.iter().filter(|r| r["name"] == "cpus" && r["reservations"].is_array() == is_reserved);
        of.filter_map(|resource| resource["scalar"]["value"].as_f64()).sum()
    };
    assert_eq!((cpus(&offer, true), cpus(&offer, false)), (1.5, 2.5), "{offer}");
    let operation = json!({ "type": "UNRESERVE", "unreserve": { "resources": [reserved] } });
    let body = json!({ "offer_ids": [offer["id"]], "operations": [operation], "filters": filters });
    scheduler.accepted("ACCEPT", body);
    let offer = scheduler.offer(None);
    assert_eq!((cpus(&offer, true), cpus(&offer, false)), (0.0, 4.0), "{offer}");
}
