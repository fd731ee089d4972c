//! An executor's session against a server that does what each test says. Quotes are of the executor API's documentation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::time::Duration;

use meson_mesos::executor::{Config, Environment, Event, Executor, Signal, Signals, Subscribed};
use meson_mesos::v1::executor as wire;
use meson_mesos::v1::executor::call::Type;
use meson_mesos::v1::{self, TaskInfo, TaskState, TaskStatus};
use meson_mesos::{Encoding, Error};
use support::{FakeServer, Request, Stream, soon};

fn environment(server: &FakeServer, more: &[(&str, &str)]) -> Environment {
    let endpoint = server.address.to_string();
    let base = [
        ("MESOS_FRAMEWORK_ID", "F1"),
        ("MESOS_EXECUTOR_ID", "E1"),
        ("MESOS_AGENT_ENDPOINT", endpoint.as_str()),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "5ms"),
    ];
    let all = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::of(all).unwrap()
}

fn start(environment: &Environment) -> (Executor, Signals) {
    Executor::start(environment, Config::of(environment).unwrap()).unwrap()
}

fn subscribed() -> Event {
    Event::Subscribed(Subscribed {
        executor_info: v1::ExecutorInfo { executor_id: "E1".into(), ..v1::ExecutorInfo::default() },
        framework_info: v1::FrameworkInfo::default(),
        agent_info: v1::AgentInfo { hostname: "agent.host".to_owned(), ..v1::AgentInfo::default() },
        container_id: None,
    })
}

async fn subscribe(server: &mut FakeServer) -> (Request, Stream) {
    let (request, reply) = server.next().await;
    let mut stream = reply.stream(None, Encoding::Protobuf).await;
    stream.event::<wire::Event>(subscribed()).await;
    (request, stream)
}

async fn next(signals: &mut Signals) -> Signal {
    soon("a signal", signals.next()).await
}

async fn until_subscribed(signals: &mut Signals) {
    while !matches!(next(signals).await, Signal::Subscribed(_)) {}
}

async fn until_ended(signals: &mut Signals) -> Error {
    loop {
        if let Signal::Ended(error) = next(signals).await {
            assert!(signals.next().await.is_none(), "nothing comes after the end");
            return error;
        }
    }
}

fn task(id: &str) -> TaskInfo {
    TaskInfo { name: id.to_owned(), task_id: id.into(), agent_id: "A1".into(), ..TaskInfo::default() }
}

fn status(id: &str, state: TaskState) -> TaskStatus {
    TaskStatus { task_id: id.into(), state: state as i32, ..TaskStatus::default() }
}

/// Sends an update and lets the agent take it; gives what the agent got.
async fn update(executor: &Executor, server: &mut FakeServer, status: TaskStatus) -> TaskStatus {
    let executor = executor.clone();
    let sent = tokio::spawn(async move { executor.update(status).await });
    let (request, reply) = server.next().await;
    reply.accepted().await;
    sent.await.unwrap().unwrap();
    let call: wire::Call = request.call();
    assert_eq!(call.r#type, Some(Type::Update as i32));
    call.update.unwrap().status
}

const CHECKPOINT: [(&str, &str); 2] = [("MESOS_CHECKPOINT", "1"), ("MESOS_RECOVERY_TIMEOUT", "15mins")];

#[tokio::test]
async fn subscribe_says_who_and_shows_the_token() {
    let mut server = FakeServer::start().await;
    let environment = environment(&server, &[("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "eyJ.token")]);
    let (_executor, mut signals) = start(&environment);
    let (request, _stream) = subscribe(&mut server).await;
    assert_eq!(request.path, "/api/v1/executor");
    assert_eq!(request.header("authorization"), Some("Bearer eyJ.token"));
    let call: wire::Call = request.call();
    assert_eq!((call.framework_id, call.executor_id), ("F1".into(), "E1".into()));
    assert_eq!(call.r#type, Some(Type::Subscribe as i32));
    assert_eq!(call.subscribe, Some(wire::call::Subscribe::default()));
    assert!(matches!(next(&mut signals).await, Signal::Connected));
    let Signal::Subscribed(told) = next(&mut signals).await else { panic!() };
    assert_eq!(told.agent_info.hostname, "agent.host");
}

#[tokio::test]
async fn updates_are_whole_and_kept_until_acknowledged() {
    let mut server = FakeServer::start().await;
    let (executor, mut signals) = start(&environment(&server, &[]));
    let (_, mut stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    let got = update(&executor, &mut server, status("T1", TaskState::TaskRunning)).await;
    // Mesos takes only what is a UUID by its own bits.
    let uuid = uuid::Uuid::from_slice(got.uuid.as_ref().unwrap()).unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(got.source, Some(v1::task_status::Source::Executor as i32));
    assert_eq!(got.executor_id, Some("E1".into()));
    assert!(got.timestamp.unwrap() > 1.7e9);
    assert_eq!(executor.unacknowledged_updates(), 1);
    assert!(!executor.drained(Duration::from_millis(1)).await);
    let acknowledged = Event::Acknowledged { task_id: got.task_id, uuid: got.uuid.unwrap() };
    stream.event::<wire::Event>(acknowledged.clone()).await;
    let Signal::Event(told) = next(&mut signals).await else { panic!() };
    assert_eq!(told, acknowledged);
    assert!(executor.drained(Duration::from_secs(10)).await);
    let second = update(&executor, &mut server, status("T1", TaskState::TaskFinished)).await;
    assert!(second.timestamp >= got.timestamp);
}

// "The executor must maintain a list of unacknowledged updates. If for some reason, the executor is disconnected from the
// agent, these updates must be sent as part of SUBSCRIBE request"; the same for tasks.
#[tokio::test]
async fn a_new_subscription_tells_what_the_agent_may_have_missed() {
    let mut server = FakeServer::start().await;
    let (executor, mut signals) = start(&environment(&server, &CHECKPOINT));
    let (_, mut stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    for id in ["T1", "T2"] {
        stream.event::<wire::Event>(Event::Launch(task(id))).await;
        assert!(matches!(next(&mut signals).await, Signal::Event(Event::Launch(_))));
    }
    let first = update(&executor, &mut server, status("T1", TaskState::TaskRunning)).await;
    let second = update(&executor, &mut server, status("T1", TaskState::TaskFinished)).await;
    let acknowledged = Event::Acknowledged { task_id: "T1".into(), uuid: first.uuid.unwrap() };
    stream.event::<wire::Event>(acknowledged).await;
    assert!(matches!(next(&mut signals).await, Signal::Event(Event::Acknowledged { .. })));
    drop(stream);
    let Signal::Disconnected { recovery_left, .. } = next(&mut signals).await else { panic!() };
    assert!(recovery_left > Duration::from_secs(890), "{recovery_left:?}");
    // What happens meanwhile is not lost.
    let offline = executor.update(status("T2", TaskState::TaskFailed)).await;
    assert!(matches!(offline, Err(Error::NotSubscribed("UPDATE"))) || offline.is_err());

    let (request, _stream) = loop {
        let (request, stream) = subscribe(&mut server).await;
        let told = request.call::<wire::Call>().subscribe.unwrap();
        if told.unacknowledged_updates.len() == 2 {
            break (request, stream);
        }
        // The attempt went out before the update did: break it off.
        drop(stream);
    };
    let told = request.call::<wire::Call>().subscribe.unwrap();
    assert_eq!(told.unacknowledged_tasks, [task("T2")], "of T1 an update was acknowledged");
    assert_eq!(told.unacknowledged_updates[0].status, second);
    assert_eq!(told.unacknowledged_updates[1].status.state, TaskState::TaskFailed as i32);
}

#[tokio::test]
async fn an_update_that_fails_is_told_again_at_once() {
    let mut server = FakeServer::start().await;
    let (executor, mut signals) = start(&environment(&server, &CHECKPOINT));
    let (_, stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    let sender = executor.clone();
    let sent = tokio::spawn(async move { sender.update(status("T1", TaskState::TaskRunning)).await });
    let (_, reply) = server.next().await;
    reply.status("503 Service Unavailable", &[], "Agent has not finished recovery").await;
    assert!(sent.await.unwrap().is_err());
    let (request, _stream) = subscribe(&mut server).await;
    stream.closed_by_client().await;
    assert_eq!(request.call::<wire::Call>().subscribe.unwrap().unacknowledged_updates.len(), 1);
}

// "If framework checkpointing is disabled, the executor is not supposed to retry subscription and gracefully exit."
#[tokio::test]
async fn without_checkpointing_the_executor_ends_with_its_agent() {
    let mut server = FakeServer::start().await;
    let (_executor, mut signals) = start(&environment(&server, &[]));
    let (_, stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    drop(stream);
    let error = until_ended(&mut signals).await;
    assert!(matches!(error, Error::AgentGone { .. }), "{error}");
    assert!(error.to_string().contains("no checkpointing"), "{error}");
    assert!(server.is_idle());
}

// "the executor is supposed to retry subscription using a suitable backoff strategy for a duration of
// MESOS_RECOVERY_TIMEOUT. If it is not able to establish a subscription with the agent within this duration, it should
// gracefully exit."
#[tokio::test]
async fn the_agent_may_be_away_for_the_recovery_timeout() {
    let mut server = FakeServer::start().await;
    let more = [("MESOS_CHECKPOINT", "1"), ("MESOS_RECOVERY_TIMEOUT", "2secs")];
    let (_executor, mut signals) = start(&environment(&server, &more));
    for _ in 0..2 {
        let (_, stream) = subscribe(&mut server).await;
        until_subscribed(&mut signals).await;
        drop(stream);
    }
    let began = std::time::Instant::now();
    let refusals = tokio::spawn(async move {
        loop {
            let (_, reply) = server.next().await;
            reply.status("503 Service Unavailable", &[], "Agent has not finished recovery").await;
        }
    });
    let error = until_ended(&mut signals).await;
    assert!(error.to_string().contains("recovery timeout"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    refusals.abort();
}

#[tokio::test]
async fn an_agent_that_does_not_answer_at_the_start_is_tried_again_for_a_while() {
    let mut server = FakeServer::start().await;
    let environment = environment(&server, &[]);
    let (_executor, mut signals) = start(&environment);
    let (_, reply) = server.next().await;
    reply.status("503 Service Unavailable", &[], "Agent has not finished recovery").await;
    let (_, _stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;

    let mut config = Config::of(&environment).unwrap();
    config.registration_timeout = Duration::from_secs(2);
    let (_second, mut signals) = Executor::start(&environment, config).unwrap();
    // This time the agent takes the call and says nothing.
    let (_request, _held) = server.next().await;
    let error = until_ended(&mut signals).await;
    assert!(error.to_string().contains("registration timeout"), "{error}");
}

#[tokio::test]
async fn an_executor_that_the_agent_does_not_know_ends() {
    let mut server = FakeServer::start().await;
    let (_executor, mut signals) = start(&environment(&server, &CHECKPOINT));
    let (_, reply) = server.next().await;
    reply.status("400 Bad Request", &[], "Executor cannot be found").await;
    let error = until_ended(&mut signals).await;
    assert!(error.to_string().contains("Executor cannot be found"), "{error}");
}

#[tokio::test]
async fn everything_an_agent_asks_for_arrives_in_order() {
    let mut server = FakeServer::start().await;
    let (executor, mut signals) = start(&environment(&server, &[]));
    let (_, mut stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    let grace_period = Some(meson_mesos::duration::to_contract(Duration::from_secs(3)));
    let events = [
        Event::LaunchGroup(v1::TaskGroupInfo { tasks: vec![task("T1"), task("T2")] }),
        Event::Kill { task_id: "T1".into(), kill_policy: Some(v1::KillPolicy { grace_period }) },
        Event::Message(vec![0, 1, 2].into()),
        Event::Shutdown,
    ];
    for event in &events {
        stream.event::<wire::Event>(event.clone()).await;
        stream.event::<wire::Event>(Event::Heartbeat).await;
    }
    for event in events {
        let Signal::Event(told) = next(&mut signals).await else { panic!() };
        assert_eq!(told, event);
    }
    // After SHUTDOWN the stream stays open for the last updates.
    let got = update(&executor, &mut server, status("T2", TaskState::TaskKilled)).await;
    assert_eq!(got.state, TaskState::TaskKilled as i32);
}

#[tokio::test]
async fn messages_and_heartbeats_are_sent() {
    let mut server = FakeServer::start().await;
    let environment = environment(&server, &[]);
    let mut config = Config::of(&environment).unwrap();
    config.heartbeat_interval = Duration::from_millis(50);
    let (executor, mut signals) = Executor::start(&environment, config).unwrap();
    let (_, _stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    let (request, reply) = server.next().await;
    assert_eq!(request.call::<wire::Call>().r#type, Some(Type::Heartbeat as i32));
    // Agents before 1.10 do not know the call; that is no trouble.
    reply.status("400 Bad Request", &[], "").await;
    let sent = tokio::spawn(async move { executor.message(vec![9].into()).await });
    loop {
        let (request, reply) = server.next().await;
        let call: wire::Call = request.call();
        reply.accepted().await;
        if let Some(message) = call.message {
            assert_eq!(message.data.as_ref(), [9]);
            break;
        }
    }
    sent.await.unwrap().unwrap();
}

// "the executor endpoint is also served on a Unix domain socket"
#[tokio::test]
async fn the_agents_unix_socket_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("executor.sock");
    let mut server = FakeServer::start_unix(tokio::net::UnixListener::bind(&path).unwrap());
    let socket = ("MESOS_DOMAIN_SOCKET", path.to_str().unwrap());
    // There, agents serve `/slave(N)/api/v1/executor` and forbid everything else; they do not speak TLS on it.
    let more = [socket, ("MESOS_SLAVE_PID", "slave(7)@10.0.0.1:5051"), ("LIBPROCESS_SSL_ENABLED", "1")];
    let (_executor, mut signals) = start(&environment(&server, &more));
    let (request, _stream) = subscribe(&mut server).await;
    assert_eq!(request.path, "/slave(7)/api/v1/executor");
    until_subscribed(&mut signals).await;
}

#[tokio::test]
async fn an_update_on_its_way_outlives_who_sent_it() {
    let mut server = FakeServer::start().await;
    let (executor, mut signals) = start(&environment(&server, &[]));
    let (_, _stream) = subscribe(&mut server).await;
    until_subscribed(&mut signals).await;
    let update = executor.update(status("T1", TaskState::TaskRunning));
    // The first poll takes the update; then nobody waits for it any more.
    assert!(futures::FutureExt::now_or_never(update).is_none());
    let (request, reply) = server.next().await;
    reply.accepted().await;
    assert_eq!(request.call::<wire::Call>().update.unwrap().status.task_id, "T1".into());
}
