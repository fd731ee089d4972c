//! The master's rules without processes: what each call answers, to whom, in which order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

use meson_mesos::{
    encoding::Encoding,
    v1::{
        AgentInfo, Filters, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskState, TaskStatus,
        scheduler::{Call, Event, call::Subscribe, event},
        task_status::Reason,
    },
};
use meson_mesos_standin::{
    cluster::{Cluster, Config, Now, Output, Registry, Subscription},
    link::{FromAgent, FromMaster, Register, ToAgent},
    resources,
};
use serde_json::{Value, json};

/// Makes a sound task unsound.
type Spoil = Box<dyn Fn(&mut Value)>;

/// A master with a clock that the test moves.
struct Test {
    cluster: Cluster,
    now: f64,
    events: Vec<(String, Event)>,
    messages: Vec<(u64, ToAgent)>,
    closed: Vec<String>,
}

impl Test {
    fn new() -> Test {
        let master = MasterInfo { id: "m".to_owned(), ..MasterInfo::default() };
        let cluster = Cluster::new(Config::default(), master, Registry::default(), Now::default());
        Test { cluster, now: 0.0, events: Vec::new(), messages: Vec::new(), closed: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { elapsed: self.now, unix: 1e9 + self.now }
    }

    fn take(&mut self) {
        for output in self.cluster.take_outputs() {
            match output {
                Output::Event { stream, event } => self.events.push((stream, *event)),
                Output::CloseStream(stream) => self.closed.push(stream),
                Output::Agent { link, message } => self.messages.push((link, message)),
                Output::CloseLink(_) | Output::Registry => {}
            }
        }
    }

    fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        let now = self.now();
        self.cluster.tick(now);
        self.take();
    }

    /// Subscribes a framework on a stream; answers its id.
    fn subscribe(&mut self, stream: &str, info: Value) -> String {
        let framework_info: FrameworkInfo = read(&info);
        let subscribe = Subscribe { framework_info, ..Subscribe::default() };
        let now = self.now();
        self.cluster.subscribe(now, Subscription { stream: stream.to_owned(), subscribe });
        self.take();
        self.cluster.framework_of_stream(stream).unwrap_or_default()
    }

    fn register(&mut self, link: u64, line: &str) -> String {
        let agent = AgentInfo {
            hostname: format!("host-{link}"),
            resources: resources::parse(line).unwrap(),
            ..AgentInfo::default()
        };
        let register = FromAgent::Register(Box::new(Register { agent, ..Register::default() }));
        let now = self.now();
        self.cluster.agent_message(now, link, register.into());
        self.take();
        self.cluster.agent_of_link(link).unwrap()
    }

    fn call(&mut self, stream: &str, framework: &str, mut call: Value) {
        call["framework_id"] = json!({ "value": framework });
        let call: Call = read(&call);
        let now = self.now();
        self.cluster.call(now, None, Some(stream), call).unwrap();
        self.take();
    }

    fn accept(&mut self, stream: &str, framework: &str, offers: &[&Offer], operation: Value) {
        let ids: Vec<Value> = offers.iter().map(|offer| json!({ "value": offer.id.value })).collect();
        let body =
            json!({ "offer_ids": ids, "operations": [operation], "filters": { "refuse_seconds": 0.0 } });
        self.call(stream, framework, json!({ "type": "ACCEPT", "accept": body }));
    }

    fn launch(&mut self, stream: &str, framework: &str, offer: &Offer, tasks: &[Value]) {
        let operation = json!({ "type": "LAUNCH", "launch": { "task_infos": tasks } });
        self.accept(stream, framework, &[offer], operation);
    }

    fn offers(&mut self, stream: &str) -> Vec<Offer> {
        let mut offers = Vec::new();
        self.events.retain(|(to, event)| {
            let is_it = to == stream && event.r#type() == event::Type::Offers;
            if is_it {
                offers.extend(event.offers.clone().unwrap().offers);
            }
            !is_it
        });
        offers
    }

    fn statuses(&mut self, stream: &str) -> Vec<TaskStatus> {
        let mut statuses = Vec::new();
        self.events.retain(|(to, event)| {
            let is_it = to == stream && event.r#type() == event::Type::Update;
            if is_it {
                statuses.push(event.update.clone().unwrap().status);
            }
            !is_it
        });
        statuses
    }

    fn launched(&mut self) -> Vec<Vec<TaskInfo>> {
        let runs = self.messages.iter().filter_map(|(_, message)| match &message.body {
            Some(FromMaster::Run(run)) => Some(run.tasks.clone()),
            _ => None,
        });
        let runs = runs.collect();
        self.messages.clear();
        runs
    }
}

fn read<M: prost::Message + prost::Name + Default>(json: &Value) -> M {
    Encoding::Json.decode(json.to_string().as_bytes()).unwrap()
}

fn framework(role: &str) -> Value {
    let capabilities = json!([{ "type": "PARTITION_AWARE" }, { "type": "MULTI_ROLE" }]);
    json!({ "user": "u", "name": "n", "failover_timeout": 60.0, "roles": [role], "capabilities": capabilities })
}

fn scalar(name: &str, value: f64) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

fn task(offer: &Offer, id: &str, cpus: f64) -> Value {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": { "value": offer.agent_id.value },
        "command": { "value": "true" },
        "resources": [scalar("cpus", cpus), scalar("mem", 32.0)],
    })
}

fn executor(cpus: f64) -> Value {
    json!({
        "type": "CUSTOM",
        "executor_id": { "value": "e" },
        "command": { "value": "run" },
        "resources": [scalar("cpus", cpus), scalar("mem", 32.0), scalar("disk", 1.0)],
    })
}

fn with_executor(offer: &Offer, id: &str, cpus: f64) -> Value {
    let mut task = task(offer, id, cpus);
    task.as_object_mut().unwrap().remove("command");
    task["executor"] = executor(0.5);
    task
}

fn only(statuses: &[TaskStatus]) -> &TaskStatus {
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    &statuses[0]
}

#[test]
fn roles_share_by_their_dominant_resource() {
    let mut test = Test::new();
    let a = test.subscribe("a", framework("web"));
    test.subscribe("b", framework("batch"));
    for link in 1..=4 {
        test.register(link, "cpus:2;mem:1024");
    }
    assert_eq!((test.offers("a").len(), test.offers("b").len()), (2, 2));
    // One that holds offers and takes none gives way once they are declined.
    test.call("a", &a, json!({ "type": "SUPPRESS" }));
    test.register(5, "cpus:2;mem:1024");
    assert_eq!((test.offers("a").len(), test.offers("b").len()), (0, 1));
}

#[test]
fn what_runs_is_not_offered_and_comes_back_when_it_ends() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;ports:[31000-31009]");
    let offer = test.offers("s").remove(0);
    let mut wish = task(&offer, "t", 1.5);
    let ports = json!({ "name": "ports", "type": "RANGES", "ranges": { "range": [{ "begin": 31002, "end": 31003 }] } });
    wish["resources"].as_array_mut().unwrap().push(ports);
    test.launch("s", &id, &offer, &[wish]);
    test.pass(1.0);
    let rest = test.offers("s").remove(0);
    assert_eq!(resources::scalar(&rest.resources, "cpus"), 0.5);
    assert_eq!(resources::text(&rest.resources), "cpus:0.5; mem:992; ports:[31000-31001, 31004-31009]");
    assert_eq!(test.launched().len(), 1);
}

#[test]
fn more_than_is_left_is_refused_task_by_task() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024");
    let offer = test.offers("s").remove(0);
    test.launch("s", &id, &offer, &[task(&offer, "a", 1.5), task(&offer, "b", 1.0), task(&offer, "c", 0.5)]);
    let refused = test.statuses("s");
    let refused = only(&refused);
    assert_eq!((refused.task_id.value.as_str(), refused.state()), ("b", TaskState::TaskError));
    assert_eq!(refused.reason(), Reason::TaskInvalid);
    assert!(refused.uuid.is_none());
    assert!(refused.message().contains("required by task and its executor is more than available cpus:0.5"));
    assert_eq!(test.launched().len(), 2);
}

#[test]
fn an_executor_is_counted_once_and_must_stay_the_same() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;disk:10");
    let offer = test.offers("s").remove(0);
    // 0.5 for the executor and three times 0.5 for tasks are all there is.
    let tasks: Vec<Value> =
        ["a", "b", "c", "d"].iter().map(|name| with_executor(&offer, name, 0.5)).collect();
    test.launch("s", &id, &offer, &tasks);
    assert_eq!(only(&test.statuses("s")).task_id.value, "d");
    assert_eq!(test.launched().len(), 3);

    test.register(2, "cpus:2;mem:1024;disk:10");
    let offer = test.offers("s").into_iter().find(|offer| offer.hostname == "host-2").unwrap();
    let mut other = with_executor(&offer, "f", 0.1);
    other["executor"]["command"]["value"] = json!("something else");
    test.launch("s", &id, &offer, &[with_executor(&offer, "e", 0.1), other]);
    let statuses = test.statuses("s");
    assert!(
        only(&statuses).message().starts_with("ExecutorInfo is not compatible with existing ExecutorInfo")
    );
}

#[test]
fn tasks_are_refused_for_what_they_lack() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:8;mem:1024");
    let mut cases: Vec<(Spoil, &str)> = Vec::new();
    cases.push((Box::new(|task| task["resources"] = json!([])), "Task uses no resources"));
    cases.push((
        Box::new(|task| task["agent_id"]["value"] = json!("x")),
        "Task uses invalid agent x while agent",
    ));
    cases.push((
        Box::new(|task| task["executor"] = executor(0.1)),
        "Task should have at least one (but not both)",
    ));
    cases.push((
        Box::new(|task| task["task_id"]["value"] = json!("a/b")),
        "'a/b' contains invalid characters",
    ));
    cases.push((Box::new(|task| task["task_id"]["value"] = json!("")), "ID must not be empty"));
    cases.push((
        Box::new(|task| task["resources"][0]["scalar"]["value"] = json!(-1.0)),
        "Task uses invalid resources",
    ));
    cases.push((
        Box::new(|task| task["kill_policy"] = json!({ "grace_period": { "nanoseconds": -1 } })),
        "Task's 'kill_policy.grace_period' must be non-negative",
    ));
    for (spoil, words) in cases {
        let offer = test.offers("s").remove(0);
        let mut wish = task(&offer, "t", 1.0);
        spoil(&mut wish);
        test.launch("s", &id, &offer, &[wish]);
        let statuses = test.statuses("s");
        assert_eq!(only(&statuses).state(), TaskState::TaskError);
        assert!(only(&statuses).message().contains(words), "{}", only(&statuses).message());
        test.pass(1.0);
    }
    let offer = test.offers("s").remove(0);
    test.launch("s", &id, &offer, &[task(&offer, "t", 1.0), task(&offer, "t", 1.0)]);
    assert_eq!(only(&test.statuses("s")).message(), "Task has duplicate ID: t");
}

#[test]
fn a_group_is_launched_whole_or_not_at_all() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;disk:10");
    let group = |offer: &Offer, cpus: f64| {
        let tasks: Vec<Value> = ["a", "b"]
            .iter()
            .map(|name| {
                let mut task = task(offer, name, cpus);
                task.as_object_mut().unwrap().remove("command");
                task
            })
            .collect();
        json!({ "type": "LAUNCH_GROUP", "launch_group": { "executor": executor(0.5), "task_group": { "tasks": tasks } } })
    };
    let offer = test.offers("s").remove(0);
    test.accept("s", &id, &[&offer], group(&offer, 1.0));
    let refused = test.statuses("s");
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|status| status.reason() == Reason::TaskGroupInvalid));
    test.pass(1.0);
    let offer = test.offers("s").remove(0);
    test.accept("s", &id, &[&offer], group(&offer, 0.5));
    assert_eq!(test.launched().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
}

#[test]
fn offers_of_one_agent_are_combined_and_of_two_are_not() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    test.register(2, "cpus:1;mem:1024");
    let offers = test.offers("s");
    let operation = json!({ "type": "LAUNCH", "launch": { "task_infos": [task(&offers[0], "t", 0.5)] } });
    test.accept("s", &id, &[&offers[0], &offers[1]], operation.clone());
    let statuses = test.statuses("s");
    assert_eq!(only(&statuses).state(), TaskState::TaskDropped);
    assert!(only(&statuses).message().contains("Aggregated offers must belong to one single agent."));
    // Both are used up.
    test.accept("s", &id, &[&offers[1]], operation);
    assert!(only(&test.statuses("s")).message().ends_with("is no longer valid"));
}

#[test]
fn offers_end_with_the_subscription_without_a_word() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    assert_eq!(test.offers("s").len(), 1);
    let mut info = framework("web");
    info["id"] = json!({ "value": id });
    test.subscribe("s2", info);
    assert!(test.events.iter().all(|(_, event)| event.r#type() != event::Type::Rescind));
    assert_eq!(test.closed, ["s"]);
    assert_eq!(test.offers("s2").len(), 1);
    // The old stream's end is not the framework's.
    let now = test.now();
    test.cluster.stream_closed(now, "s");
    assert_eq!(test.cluster.framework_of_stream("s2"), Some(id));
}

#[test]
fn filters_hold_what_they_name_and_no_longer_than_they_say() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    let offer = test.offers("s").remove(0);
    let filters: Filters = Filters { refuse_seconds: Some(10.0) };
    let body = json!({ "offer_ids": [{ "value": offer.id.value }], "filters": { "refuse_seconds": filters.refuse_seconds } });
    test.call("s", &id, json!({ "type": "DECLINE", "decline": body }));
    test.pass(9.0);
    assert!(test.offers("s").is_empty());
    test.pass(2.0);
    assert_eq!(test.offers("s").len(), 1);
}

#[test]
fn frameworks_with_wrong_roles_are_refused() {
    let mut test = Test::new();
    let cases = [
        (json!({ "user": "u", "name": "n", "roles": ["a"] }), "'FrameworkInfo.roles' must not be set"),
        (json!({ "user": "u", "name": "n", "role": "-a" }), "'FrameworkInfo.role' is not a valid role"),
    ];
    for (info, words) in cases {
        assert_eq!(test.subscribe("s", info), "");
        let (_, event) = test.events.pop().unwrap();
        assert!(event.error.unwrap().message.contains(words));
        assert_eq!(test.closed.pop().as_deref(), Some("s"));
    }
}
