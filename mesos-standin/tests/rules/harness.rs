//! A master with a clock that the test moves, and ways to speak to it.

use meson_mesos::{
    encoding::Encoding,
    v1::{
        AgentInfo, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskStatus,
        scheduler::{Call, Event, call::Subscribe, event},
    },
};
use meson_mesos_standin::{
    cluster::{Cluster, Config, Now, Output, Registry, Subscription},
    link::{FromAgent, FromMaster, Register, ToAgent},
    resources,
};
use serde_json::{Value, json};

/// A master with a clock that the test moves.
pub struct Test {
    pub cluster: Cluster,
    pub now: f64,
    pub events: Vec<(String, Event)>,
    pub messages: Vec<(u64, ToAgent)>,
    pub closed: Vec<String>,
}

impl Test {
    /// A master that was just elected.
    pub fn new() -> Test {
        let master = MasterInfo { id: "m".to_owned(), ..MasterInfo::default() };
        let cluster = Cluster::new(Config::default(), master, Registry::default(), Now::default());
        Test { cluster, now: 0.0, events: Vec::new(), messages: Vec::new(), closed: Vec::new() }
    }

    pub fn now(&self) -> Now {
        Now { elapsed: self.now, unix: 1e9 + self.now }
    }

    pub fn take(&mut self) {
        for output in self.cluster.take_outputs() {
            match output {
                Output::Event { stream, event } => self.events.push((stream, *event)),
                Output::CloseStream(stream) => self.closed.push(stream),
                Output::Agent { link, message } => self.messages.push((link, message)),
                Output::CloseLink(_) | Output::Registry => {}
            }
        }
    }

    pub fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        let now = self.now();
        self.cluster.tick(now);
        self.take();
    }

    /// Subscribes a framework on a stream; answers its id.
    pub fn subscribe(&mut self, stream: &str, info: Value) -> String {
        let framework_info: FrameworkInfo = read(&info);
        let subscribe = Subscribe { framework_info, ..Subscribe::default() };
        let now = self.now();
        self.cluster.subscribe(now, Subscription { stream: stream.to_owned(), subscribe });
        self.take();
        self.cluster.framework_of_stream(stream).unwrap_or_default()
    }

    pub fn register(&mut self, link: u64, line: &str) -> String {
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

    pub fn call(&mut self, stream: &str, framework: &str, mut call: Value) {
        call["framework_id"] = json!({ "value": framework });
        let call: Call = read(&call);
        let now = self.now();
        self.cluster.call(now, None, Some(stream), call).unwrap();
        self.take();
    }

    pub fn accept(&mut self, stream: &str, framework: &str, offers: &[&Offer], operation: Value) {
        let ids: Vec<Value> = offers.iter().map(|offer| json!({ "value": offer.id.value })).collect();
        let body =
            json!({ "offer_ids": ids, "operations": [operation], "filters": { "refuse_seconds": 0.0 } });
        self.call(stream, framework, json!({ "type": "ACCEPT", "accept": body }));
    }

    pub fn launch(&mut self, stream: &str, framework: &str, offer: &Offer, tasks: &[Value]) {
        let operation = json!({ "type": "LAUNCH", "launch": { "task_infos": tasks } });
        self.accept(stream, framework, &[offer], operation);
    }

    pub fn offers(&mut self, stream: &str) -> Vec<Offer> {
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

    pub fn statuses(&mut self, stream: &str) -> Vec<TaskStatus> {
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

    pub fn launched(&mut self) -> Vec<Vec<TaskInfo>> {
        let runs = self.messages.iter().filter_map(|(_, message)| match &message.body {
            Some(FromMaster::Run(run)) => Some(run.tasks.clone()),
            _ => None,
        });
        let runs = runs.collect();
        self.messages.clear();
        runs
    }
}

pub fn read<M: prost::Message + prost::Name + Default>(json: &Value) -> M {
    Encoding::Json.decode(json.to_string().as_bytes()).unwrap()
}

pub fn framework(role: &str) -> Value {
    let capabilities = json!([{ "type": "PARTITION_AWARE" }, { "type": "MULTI_ROLE" }]);
    json!({ "user": "u", "name": "n", "failover_timeout": 60.0, "roles": [role], "capabilities": capabilities })
}

pub fn scalar(name: &str, value: f64) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

pub fn task(offer: &Offer, id: &str, cpus: f64) -> Value {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": { "value": offer.agent_id.value },
        "command": { "value": "true" },
        "resources": [scalar("cpus", cpus), scalar("mem", 32.0)],
    })
}

pub fn executor(cpus: f64) -> Value {
    json!({
        "type": "CUSTOM",
        "executor_id": { "value": "e" },
        "command": { "value": "run" },
        "resources": [scalar("cpus", cpus), scalar("mem", 32.0), scalar("disk", 1.0)],
    })
}

pub fn with_executor(offer: &Offer, id: &str, cpus: f64) -> Value {
    let mut task = task(offer, id, cpus);
    task.as_object_mut().unwrap().remove("command");
    task["executor"] = executor(0.5);
    task
}

pub fn only(statuses: &[TaskStatus]) -> &TaskStatus {
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    &statuses[0]
}
