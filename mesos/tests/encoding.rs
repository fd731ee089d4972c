//! Both encodings, and JSON as it is in the public documentation of the HTTP APIs (quoted, abridged).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use meson_mesos::encoding::Error;
use meson_mesos::v1::scheduler::{Call, Event, call, event};
use meson_mesos::v1::value::Type;
use meson_mesos::v1::{self, TaskState, task_status};
use meson_mesos::{Encoding, executor, scheduler};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

fn from_json<M: prost::Message + prost::Name + Default>(json: Value) -> Result<M, Error> {
    Encoding::Json.decode(json.to_string().as_bytes())
}

fn to_json<M: prost::Message + prost::Name>(message: &M) -> Value {
    serde_json::from_slice(&Encoding::Json.encode(message)).unwrap()
}

#[test]
fn the_documented_subscribe_is_read_and_written() {
    let documented = json!({
        "type": "SUBSCRIBE",
        "subscribe": {
            "framework_info": {
                "user": "foo",
                "name": "Example HTTP Framework",
                "roles": ["test1", "test2"],
                "capabilities": [{"type": "MULTI_ROLE"}]
            },
            "suppressed_roles": ["test2"],
            "offer_constraints": {"role_constraints": {"test1": {"groups": [{"attribute_constraints": [{
                "selector": {"attribute_name": "foo"},
                "predicate": {"exists": {}}
            }]}]}}}
        }
    });
    let call: Call = from_json(documented.clone()).unwrap();
    assert_eq!(call.r#type, Some(call::Type::Subscribe as i32));
    assert_eq!(call.subscribe.as_ref().unwrap().suppressed_roles, ["test2"]);
    assert_eq!(to_json(&call), documented);
    assert_eq!(Encoding::Protobuf.decode::<Call>(&Encoding::Protobuf.encode(&call)).unwrap(), call);
}

#[test]
fn the_documented_events_are_read() {
    let subscribed: Event = from_json(json!({
        "type": "SUBSCRIBED",
        "subscribed": {"framework_id": {"value": "12220-3440-12532-2345"}, "heartbeat_interval_seconds": 15}
    }))
    .unwrap();
    let scheduler::Event::Subscribed(subscribed) = subscribed.try_into().unwrap() else { panic!() };
    assert_eq!(subscribed.heartbeat_interval, Some(std::time::Duration::from_secs(15)));

    let failure: Event = from_json(json!({
        "type": "FAILURE",
        "failure": {"agent_id": {"value": "S1"}, "executor_id": {"value": "E1"}, "status": 1}
    }))
    .unwrap();
    let (agent_id, executor_id) = (Some("S1".into()), Some("E1".into()));
    let wanted = scheduler::Event::Failure { agent_id, executor_id, status: Some(1) };
    assert_eq!(scheduler::Event::try_from(failure).unwrap(), wanted);

    let heartbeat: Event = from_json(json!({"type": "HEARTBEAT"})).unwrap();
    assert_eq!(scheduler::Event::try_from(heartbeat).unwrap(), scheduler::Event::Heartbeat);

    let shutdown: v1::executor::Event = from_json(json!({"type": "SHUTDOWN"})).unwrap();
    assert_eq!(executor::Event::try_from(shutdown).unwrap(), executor::Event::Shutdown);
}

// "raw bytes in Base64 and strings in UTF-8"
#[test]
fn bytes_are_base64_and_enums_are_names() {
    let status = v1::TaskStatus {
        task_id: "täsk".into(),
        state: TaskState::TaskRunning as i32,
        source: Some(task_status::Source::Executor as i32),
        reason: Some(task_status::Reason::Reconciliation as i32),
        uuid: Some(vec![0xff, 0x00, 0x10].into()),
        unreachable_time: Some(v1::TimeInfo { nanoseconds: 1_700_000_000_000_000_001 }),
        ..v1::TaskStatus::default()
    };
    let wanted = json!({
        "task_id": {"value": "täsk"},
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "reason": "REASON_RECONCILIATION",
        "uuid": "/wAQ",
        // 64-bit numbers are numbers, not text.
        "unreachable_time": {"nanoseconds": 1_700_000_000_000_000_001_i64}
    });
    assert_eq!(to_json(&status), wanted);
    assert_eq!(from_json::<v1::TaskStatus>(wanted).unwrap(), status);
}

#[test]
fn numbers_without_bound_are_infinity() {
    let task: v1::TaskInfo = from_json(json!({
        "name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"},
        "limits": {"cpus": {"value": "Infinity"}, "mem": {"value": 512.0}}
    }))
    .unwrap();
    assert!(task.limits["cpus"].value.is_infinite());
    assert_eq!(to_json(&task)["limits"]["cpus"]["value"], json!("Infinity"));
}

#[test]
fn what_is_not_known_is_skipped() {
    let call: Call = from_json(json!({"type": "TEARDOWN", "from_the_future": {"a": [1]}})).unwrap();
    assert_eq!(call.r#type, Some(call::Type::Teardown as i32));
    // An enum value of a newer protocol leaves an optional field unset.
    let capability: v1::framework_info::Capability = from_json(json!({"type": "FROM_THE_FUTURE"})).unwrap();
    assert_eq!(capability.r#type, None);
    // Field 1000, a length-delimited one.
    let mut bytes = Encoding::Protobuf.encode(&scheduler::call::teardown()).to_vec();
    bytes.extend_from_slice(&[0xc2, 0x3e, 0x01, 0x07]);
    assert_eq!(Encoding::Protobuf.decode::<Call>(&bytes).unwrap(), scheduler::call::teardown());
    // An event type of a newer protocol.
    let event = Event { r#type: Some(1000), ..Event::default() };
    assert_eq!(scheduler::Event::try_from(event).unwrap(), scheduler::Event::Unknown(1000));
}

#[test]
fn a_required_field_that_is_missing_is_named() {
    let missing = |json: Value| match from_json::<Call>(json).unwrap_err() {
        Error::Missing { path, .. } => path,
        other => panic!("{other}"),
    };
    assert_eq!(missing(json!({"type": "KILL", "kill": {}})), "kill.task_id");
    assert_eq!(missing(json!({"type": "KILL", "kill": {"task_id": {}}})), "kill.task_id.value");
    let offers = json!({"accept": {"operations": [{"launch": {"task_infos": [{"name": "n"}]}}]}});
    assert_eq!(missing(offers), "accept.operations.launch.task_infos.task_id");

    // The same in protobuf: field 6 (kill), empty.
    let error = Encoding::Protobuf.decode::<Call>(&[0x32, 0x00]).unwrap_err();
    assert_eq!(error.to_string(), "mesos.v1.scheduler.Call lacks the required field kill.task_id");
    // And the field that the type of an event announces.
    let event = Event { r#type: Some(event::Type::Update as i32), ..Event::default() };
    assert!(scheduler::Event::try_from(event).unwrap_err().to_string().contains("update"));
}

#[test]
fn what_is_no_message_is_refused() {
    for (encoding, bytes) in [
        (Encoding::Protobuf, &b"{\"type\":1}"[..]),
        (Encoding::Protobuf, &[0x32, 0x7f][..]),
        (Encoding::Json, b""),
        (Encoding::Json, b"[]"),
        (Encoding::Json, b"{\"type\":\"TEARDOWN\"} and more"),
        (Encoding::Json, b"{\"framework_id\":\"not an object\"}"),
    ] {
        let error = encoding.decode::<Call>(bytes).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{encoding} {bytes:?}: {error}");
    }
}

#[test]
fn defaults_are_those_of_the_protocol() {
    assert_eq!(v1::Filters::default().refuse_seconds(), 5.0);
    assert!(v1::CommandInfo::default().shell());
    assert!(v1::command_info::Uri::default().extract());
    assert_eq!(v1::Resource::default().role(), "*");
    assert_eq!(v1::FrameworkInfo::default().failover_timeout(), 0.0);
    assert_eq!(v1::HealthCheck::default().grace_period_seconds(), 10.0);
    assert_eq!(v1::AgentInfo::default().port(), 5051);
    let set = v1::CommandInfo { shell: Some(false), ..v1::CommandInfo::default() };
    assert_eq!(to_json(&set), json!({"shell": false}), "what is set to nothing is written");
}

#[test]
fn events_go_there_and_back() {
    let offer = v1::Offer {
        id: "O1".into(),
        framework_id: "F1".into(),
        agent_id: "A1".into(),
        hostname: "agent.host".to_owned(),
        resources: vec![meson_mesos::resources::scalar("cpus", 2.0)],
        attributes: vec![v1::Attribute {
            name: "os".to_owned(),
            r#type: Type::Text as i32,
            text: Some(v1::value::Text { value: "debian".to_owned() }),
            ..v1::Attribute::default()
        }],
        ..v1::Offer::default()
    };
    for event in [
        scheduler::Event::Offers(vec![offer]),
        scheduler::Event::Rescind("O1".into()),
        scheduler::Event::RescindInverseOffer("O2".into()),
        scheduler::Event::Error("no".to_owned()),
        scheduler::Event::Message(scheduler::Message {
            agent_id: "A1".into(),
            executor_id: "E1".into(),
            data: vec![1, 2].into(),
        }),
        scheduler::Event::Heartbeat,
    ] {
        let written = Event::from(event.clone());
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            let read: Event = encoding.decode(&encoding.encode(&written)).unwrap();
            assert_eq!(scheduler::Event::try_from(read).unwrap(), event, "{encoding}");
        }
        assert!(!written.encode_to_vec().is_empty());
    }
}

#[test]
fn nesting_has_a_bound() {
    // A container in a container in a container …: `value` is field 1, `parent` field 2.
    let mut nested = vec![0x0a, 0x01, b'c'];
    for _ in 0..10_000 {
        let mut length = nested.len();
        let mut outer = vec![0x0a, 0x01, b'c', 0x12];
        while length >= 0x80 {
            outer.push((length % 0x80) as u8 | 0x80);
            length /= 0x80;
        }
        outer.push(length as u8);
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    assert!(matches!(Encoding::Protobuf.decode::<v1::ContainerId>(&nested), Err(Error::Malformed { .. })));
    let json = format!("{}{}", r#"{"value":"c","parent":"#.repeat(10_000), "}".repeat(10_000));
    assert!(matches!(
        Encoding::Json.decode::<v1::ContainerId>(json.as_bytes()),
        Err(Error::Malformed { .. })
    ));
}

/// A message with much in it, to be damaged.
fn rich() -> Event {
    let resources =
        meson_mesos::resources::parse("cpus:4;ports:[31000-32000];zones:{a,b};mem(eng):1024").unwrap();
    let status = v1::TaskStatus {
        task_id: "T1".into(),
        state: TaskState::TaskFailed as i32,
        data: Some(vec![0xff; 10].into()),
        timestamp: Some(1.5),
        ..v1::TaskStatus::default()
    };
    let offer = v1::Offer {
        id: "O1".into(),
        framework_id: "F1".into(),
        agent_id: "A1".into(),
        hostname: "agent.host".to_owned(),
        resources: resources.to_contract(),
        ..v1::Offer::default()
    };
    let mut event = Event::from(scheduler::Event::Offers(vec![offer.clone(), offer]));
    event.update = Some(event::Update { status });
    event
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            if let Ok(call) = encoding.decode::<Call>(&bytes) {
                let again = encoding.decode::<Call>(&encoding.encode(&call)).unwrap();
                prop_assert_eq!(encoding.encode(&again), encoding.encode(&call));
            }
        }
    }

    #[test]
    fn damaged_messages_are_read_alike_or_refused(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        json in any::<bool>(),
    ) {
        let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
        let mut bytes = encoding.encode(&rich()).to_vec();
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if let Ok(event) = encoding.decode::<Event>(&bytes) {
            // What was read is a whole message, so it can be sent on, in either encoding.
            for other in [Encoding::Protobuf, Encoding::Json] {
                let _: Event = other.decode(&other.encode(&event)).unwrap();
            }
            let _ = scheduler::Event::try_from(event);
        }
    }
}
