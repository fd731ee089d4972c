//! A scheduler's session against a server that does what each test says. Quotes are of the scheduler API's documentation.

mod support;

use std::time::Duration;

use meson_mesos::scheduler::{Accept, Config, Event, Scheduler, Signal, Signals, Subscribed, call};
use meson_mesos::v1::scheduler as wire;
use meson_mesos::v1::scheduler::call::Type;
use meson_mesos::v1::{self, FrameworkInfo, TaskState};
use meson_mesos::{Credentials, Encoding, Error, Masters, Remedy, headers, recordio};
use support::{FakeServer, Reply, Request, Stream, soon};

fn framework() -> FrameworkInfo {
    FrameworkInfo {
        user: "nobody".to_owned(),
        name: "test".to_owned(),
        roles: vec!["eng".to_owned(), "ads".to_owned()],
        failover_timeout: Some(3600.0),
        ..FrameworkInfo::default()
    }
}

fn config(servers: &[&FakeServer]) -> Config {
    let addresses = servers.iter().map(|server| server.address.to_string()).collect();
    let mut config = Config::new(Masters::List(addresses));
    config.backoff_first = Duration::from_millis(1);
    config.backoff_longest = Duration::from_millis(5);
    config
}

fn start(config: Config) -> (Scheduler, Signals) {
    Scheduler::start(config, framework(), Vec::new(), None).unwrap()
}

fn subscribed(id: &str, heartbeat: Duration) -> Event {
    let heartbeat_interval = Some(heartbeat);
    Event::Subscribed(Subscribed { framework_id: id.into(), heartbeat_interval, master: None })
}

async fn subscribe(server: &mut FakeServer, encoding: Encoding) -> (Request, Stream) {
    let (request, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), encoding).await;
    stream.event::<wire::Event>(subscribed("F1", Duration::from_secs(15))).await;
    (request, stream)
}

async fn next(signals: &mut Signals) -> Signal {
    soon("a signal", signals.next()).await
}

/// Reads signals until the subscription is open.
async fn until_subscribed(signals: &mut Signals) {
    while !matches!(next(signals).await, Signal::Subscribed(_)) {}
}

async fn until_disconnected(signals: &mut Signals) -> Error {
    loop {
        match next(signals).await {
            Signal::Disconnected { error, .. } => return error,
            Signal::Ended(error) => panic!("ended: {error}"),
            _ => {}
        }
    }
}

async fn until_ended(signals: &mut Signals) -> Error {
    loop {
        if let Signal::Ended(error) = next(signals).await {
            assert!(signals.next().await.is_none(), "nothing comes after the end");
            return error;
        }
    }
}

/// A session that is subscribed as F1 on stream-1.
async fn session() -> (FakeServer, Stream, Scheduler, Signals) {
    let mut server = FakeServer::start().await;
    let (scheduler, mut signals) = start(config(&[&server]));
    let (_, stream) = subscribe(&mut server, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
    (server, stream, scheduler, signals)
}

// "if "subscribe.framework_info.id" and "FrameworkID" are not set, the master considers the scheduler as a new one";
// "SUBSCRIBE calls should never include the Mesos-Stream-Id header."
#[tokio::test]
async fn the_first_subscribe_has_no_id_and_no_stream_id() {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let mut server = FakeServer::start().await;
        let mut config = config(&[&server]);
        config.http.encoding = encoding;
        let (scheduler, mut signals) =
            Scheduler::start(config, framework(), vec!["ads".to_owned()], None).unwrap();
        let (request, _stream) = subscribe(&mut server, encoding).await;
        assert_eq!(request.path, "/api/v1/scheduler");
        assert_eq!(request.header("content-type"), Some(encoding.media_type()));
        assert_eq!(request.header("accept"), Some(encoding.media_type()));
        assert_eq!(request.header(headers::STREAM_ID), None);
        let call: wire::Call = request.call();
        assert_eq!(call.framework_id, None);
        assert_eq!(call.r#type, Some(Type::Subscribe as i32));
        let subscribe = call.subscribe.unwrap();
        assert_eq!(subscribe.framework_info, framework());
        assert_eq!(subscribe.suppressed_roles, ["ads"]);
        assert!(matches!(next(&mut signals).await, Signal::Connected { .. }));
        let Signal::Subscribed(told) = next(&mut signals).await else { panic!() };
        assert_eq!(told.framework_id, "F1".into());
        assert_eq!(scheduler.framework_id(), Some("F1".into()));
    }
}

// "This stream ID header should be included in all subsequent non-SUBSCRIBE calls"
#[tokio::test]
async fn calls_carry_the_stream_id_and_the_framework_id() {
    let (mut server, _stream, scheduler, _signals) = session().await;
    let call = call::decline(vec!["O1".into(), "O2".into()], Duration::from_secs(60)).unwrap();
    let sent = tokio::spawn(async move { scheduler.call(call).await });
    let (request, reply) = server.next().await;
    assert_eq!(request.header(headers::STREAM_ID), Some("stream-1"));
    let call: wire::Call = request.call();
    assert_eq!(call.framework_id, Some("F1".into()));
    assert_eq!(call.decline.unwrap().filters.unwrap().refuse_seconds, Some(60.0));
    reply.accepted().await;
    sent.await.unwrap().unwrap();
}

// "It should not send new non-subscribe HTTP requests to "/scheduler" unless it receives a SUBSCRIBED event"
#[tokio::test]
async fn nothing_is_sent_before_subscribed() {
    let mut server = FakeServer::start().await;
    let (scheduler, mut signals) = start(config(&[&server]));
    let (_, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), Encoding::Protobuf).await;
    assert!(matches!(next(&mut signals).await, Signal::Connected { .. }));
    let error = scheduler.call(call::revive_all()).await.unwrap_err();
    assert!(matches!(error, Error::NotSubscribed("REVIVE")), "{error}");
    assert_eq!(error.remedy(), Remedy::Resubscribe);
    assert!(server.is_idle());
    stream.event::<wire::Event>(subscribed("F1", Duration::from_secs(15))).await;
    until_subscribed(&mut signals).await;
    assert!(scheduler.is_subscribed());
}

#[tokio::test]
async fn events_come_whole_however_they_are_cut() {
    let (_server, mut stream, _scheduler, mut signals) = session().await;
    let status = v1::TaskStatus {
        task_id: "T1".into(),
        state: TaskState::TaskFinished as i32,
        data: Some(vec![7; 5000].into()),
        ..v1::TaskStatus::default()
    };
    let events =
        [Event::Rescind("O1".into()), Event::Update(status), Event::Heartbeat, Event::Rescind("O2".into())];
    let mut bytes = Vec::new();
    for event in &events {
        bytes.extend_from_slice(&recordio::encode(
            &Encoding::Protobuf.encode(&wire::Event::from(event.clone())),
        ));
    }
    let (single, rest) = bytes.split_at(40);
    for byte in single {
        stream.chunk(&[*byte]).await;
    }
    for chunk in rest.chunks(1333) {
        stream.chunk(chunk).await;
    }
    for event in events.into_iter().filter(|event| *event != Event::Heartbeat) {
        let Signal::Event(told) = next(&mut signals).await else { panic!() };
        assert_eq!(told, event);
    }
}

// "SUBSCRIBE request (with framework ID set) on a new persistent connection"
#[tokio::test]
async fn a_lost_stream_is_opened_again_with_the_same_id() {
    let (mut server, stream, scheduler, mut signals) = session().await;
    stream.finish().await;
    let error = until_disconnected(&mut signals).await;
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(!scheduler.is_subscribed());

    let (request, reply) = server.next().await;
    let call: wire::Call = request.call();
    assert_eq!(call.framework_id, Some("F1".into()));
    assert_eq!(call.subscribe.unwrap().framework_info.id, Some("F1".into()));
    assert_eq!(request.header(headers::STREAM_ID), None);
    let mut stream = reply.stream(Some("stream-2"), Encoding::Protobuf).await;
    stream.event::<wire::Event>(subscribed("F1", Duration::from_secs(15))).await;
    until_subscribed(&mut signals).await;

    // "Whenever a new subscription connection is established, a new stream ID is generated and should be used"
    let sent = tokio::spawn(async move { scheduler.call(call::reconcile_all()).await });
    let (request, reply) = server.next().await;
    assert_eq!(request.header(headers::STREAM_ID), Some("stream-2"));
    reply.accepted().await;
    sent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_end_either() {
    let (mut server, mut stream, _scheduler, mut signals) = session().await;
    stream.chunk(b"100\nbut then").await;
    drop(stream);
    let error = until_disconnected(&mut signals).await;
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    server.next().await;
}

// "If a scheduler doesn't receive a bunch (e.g., 5) of these heartbeats within a time window, it should immediately
// disconnect and try to resubscribe."
#[tokio::test]
async fn silence_means_a_new_subscription() {
    let mut server = FakeServer::start().await;
    let mut config = config(&[&server]);
    config.heartbeats_missed_max = 3;
    let (_scheduler, mut signals) = start(config);
    let (_, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), Encoding::Protobuf).await;
    let heartbeat = Duration::from_millis(100);
    stream.event::<wire::Event>(subscribed("F1", heartbeat)).await;
    until_subscribed(&mut signals).await;
    for _ in 0..6 {
        // tidy: allow sleep: heartbeats come at intervals, longer together than the silence that ends a stream
        tokio::time::sleep(heartbeat).await;
        stream.event::<wire::Event>(Event::Heartbeat).await;
    }
    let error = until_disconnected(&mut signals).await;
    assert!(matches!(error, Error::Silent { after, .. } if after == heartbeat * 3), "{error}");
    stream.closed_by_client().await;
    server.next().await;
}

// "If requests are made to a non-leading master a "HTTP 307 Temporary Redirect" will be received with the "Location"
// header pointing to the leading master."
#[tokio::test]
async fn redirects_lead_to_the_leader_with_body_and_credentials() {
    let (mut follower, mut leader) = (FakeServer::start().await, FakeServer::start().await);
    let mut config = config(&[&follower]);
    let (principal, secret) = ("alice".to_owned(), "sesame".to_owned());
    config.http.credentials = Credentials::Basic { principal, secret };
    let (_scheduler, mut signals) = start(config);
    let (first, reply) = follower.next().await;
    let location = format!("//{}/api/v1/scheduler", leader.address);
    reply.status("307 Temporary Redirect", &[("Location", &location)], "").await;
    let (second, _stream) = subscribe(&mut leader, Encoding::Protobuf).await;
    assert_eq!(second.body, first.body);
    assert_eq!(second.path, "/api/v1/scheduler");
    assert_eq!(second.header("authorization"), Some("Basic YWxpY2U6c2VzYW1l"));
    until_subscribed(&mut signals).await;
}

#[tokio::test]
async fn masters_that_point_at_each_other_are_left_after_a_while() {
    let mut server = FakeServer::start().await;
    let (_scheduler, mut signals) = start(config(&[&server]));
    let location = format!("//{}", server.address);
    tokio::spawn(async move {
        loop {
            let (_, reply) = server.next().await;
            reply.status("307 Temporary Redirect", &[("Location", &location)], "").await;
        }
    });
    let error = until_disconnected(&mut signals).await;
    assert!(matches!(error, Error::NoLeader(_)), "{error}");
}

#[tokio::test]
async fn masters_that_are_not_ready_are_asked_again_in_turn() {
    let (mut first, mut second) = (FakeServer::start().await, FakeServer::start().await);
    let (_scheduler, mut signals) = start(config(&[&first, &second]));
    let (_, reply) = first.next().await;
    reply.status("503 Service Unavailable", &[], "Master has not finished recovery").await;
    let error = until_disconnected(&mut signals).await;
    assert!(error.to_string().contains("503 Master has not finished recovery"), "{error}");
    assert_eq!(error.remedy(), Remedy::Retry);
    let (_, _stream) = subscribe(&mut second, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
}

// "If subscription fails for whatever reason (e.g., invalid request), an HTTP 4xx response is returned with the error
// message as part of the body"
#[tokio::test]
async fn a_refused_subscription_ends_the_session_with_what_was_said() {
    for (status, body) in [
        ("400 Bad Request", "Failed to validate scheduler::Call"),
        ("401 Unauthorized", ""),
        ("403 Forbidden", "not authorized"),
    ] {
        let mut server = FakeServer::start().await;
        let (_scheduler, mut signals) = start(config(&[&server]));
        let (_, reply) = server.next().await;
        reply.status(status, &[], body).await;
        let error = until_ended(&mut signals).await;
        let wanted = format!("{} {body}", &status[..3]);
        assert!(error.to_string().contains(wanted.trim()), "{error}");
        assert!(server.is_idle(), "no second attempt");
    }
}

// "As the first event (in lieu of SUBSCRIBED) when the scheduler's SUBSCRIBE request is invalid"
#[tokio::test]
async fn an_error_in_place_of_subscribed_ends_the_session() {
    let mut server = FakeServer::start().await;
    let (_scheduler, mut signals) = start(config(&[&server]));
    let (_, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), Encoding::Protobuf).await;
    stream.event::<wire::Event>(Event::Error("Framework has been removed".to_owned())).await;
    let error = until_ended(&mut signals).await;
    assert!(error.is_framework_removed(), "{error}");
    assert_eq!(error.remedy(), Remedy::GiveUp);
}

// "the master detects a newer subscription from a failed over instance of the scheduler"
#[tokio::test]
async fn a_scheduler_that_was_replaced_does_not_fight() {
    let (mut server, mut stream, _scheduler, mut signals) = session().await;
    stream.event::<wire::Event>(Event::Error("Framework failed over".to_owned())).await;
    let error = until_ended(&mut signals).await;
    assert!(error.is_failed_over() && !error.is_framework_removed(), "{error}");
    assert!(server.is_idle());
}

#[tokio::test]
async fn another_error_later_means_a_new_subscription() {
    let (mut server, mut stream, _scheduler, mut signals) = session().await;
    stream.event::<wire::Event>(Event::Error("Something went wrong".to_owned())).await;
    assert!(matches!(next(&mut signals).await, Signal::Event(Event::Error(_))));
    let error = until_disconnected(&mut signals).await;
    assert!(error.to_string().contains("Something went wrong"), "{error}");
    server.next().await;
}

async fn answer(scheduler: &Scheduler, server: &mut FakeServer, status: &str, body: &str) -> Error {
    let scheduler = scheduler.clone();
    let sent = tokio::spawn(async move { scheduler.call(call::revive_all()).await });
    let (_, reply) = server.next().await;
    reply.status(status, &[], body).await;
    sent.await.unwrap().unwrap_err()
}

// "Calls made without subscription will result in "403 Forbidden" instead of a "202 Accepted" response."
#[tokio::test]
async fn a_master_that_forgot_us_is_subscribed_to_again() {
    let (mut server, stream, scheduler, mut signals) = session().await;
    let error = answer(&scheduler, &mut server, "403 Forbidden", "Framework is not subscribed").await;
    assert_eq!(error.remedy(), Remedy::Resubscribe);
    until_disconnected(&mut signals).await;
    stream.closed_by_client().await;
    let (_, _stream) = subscribe(&mut server, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
}

#[tokio::test]
async fn answers_say_what_helps() {
    let (mut server, _stream, scheduler, _signals) = session().await;
    let mismatch =
        "The stream ID 'stream-1' included in this request didn't match the stream ID currently associated";
    for (status, body, remedy) in [
        (
            "400 Bad Request",
            "Failed to validate scheduler::Call: Expecting 'accept' to be present",
            Remedy::GiveUp,
        ),
        ("400 Bad Request", mismatch, Remedy::Resubscribe),
        ("415 Unsupported Media Type", "", Remedy::GiveUp),
        ("501 Not Implemented", "", Remedy::GiveUp),
        ("503 Service Unavailable", "", Remedy::Retry),
        ("429 Too Many Requests", "", Remedy::Retry),
    ] {
        let error = answer(&scheduler, &mut server, status, body).await;
        assert_eq!(error.remedy(), remedy, "{error}");
        assert!(error.to_string().contains("REVIVE") && error.to_string().contains(body), "{error}");
    }
    assert!(scheduler.is_subscribed(), "a wrong stream id is not answered with a new subscription by itself");
}

#[tokio::test]
async fn a_call_without_an_answer_has_a_deadline() {
    let mut server = FakeServer::start().await;
    let mut config = config(&[&server]);
    config.http.call_timeout = Duration::from_millis(50);
    let (scheduler, mut signals) = start(config);
    let (_, _stream) = subscribe(&mut server, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
    let sent = tokio::spawn(async move { scheduler.call(call::revive_all()).await });
    let (_request, _held) = server.next().await;
    let error = sent.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Deadline { call: "REVIVE", .. }), "{error}");
}

#[tokio::test]
async fn streams_that_break_the_protocol_are_left_and_named() {
    type Act = Box<dyn FnOnce(Reply) -> std::pin::Pin<Box<dyn Future<Output = Stream> + Send>>>;
    let heartbeat_first: Act = Box::new(|reply| {
        Box::pin(async {
            let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
            stream.event::<wire::Event>(Event::Heartbeat).await;
            stream
        })
    });
    let no_stream_id: Act = Box::new(|reply| {
        Box::pin(async {
            let mut stream = reply.stream(None, Encoding::Protobuf).await;
            stream.event::<wire::Event>(subscribed("F1", Duration::from_secs(15))).await;
            stream
        })
    });
    let too_large: Act = Box::new(|reply| {
        Box::pin(async {
            let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
            stream.chunk(b"1000001\n").await;
            stream
        })
    });
    let no_length: Act = Box::new(|reply| {
        Box::pin(async {
            let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
            stream.chunk(b"{\"type\":\"SUBSCRIBED\"}").await;
            stream
        })
    });
    let no_message: Act = Box::new(|reply| {
        Box::pin(async {
            let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
            stream.chunk(b"4\nnope").await;
            stream
        })
    });
    let long_stream_id: Act = Box::new(|reply| {
        Box::pin(async move { reply.stream(Some(&"x".repeat(129)), Encoding::Protobuf).await })
    });
    for (act, named) in [
        (heartbeat_first, "not SUBSCRIBED"),
        (no_stream_id, "Mesos-Stream-Id"),
        (too_large, "1000001 bytes, more than 1000000"),
        (no_length, "not a number"),
        (no_message, "not a mesos.v1.scheduler.Event"),
        (long_stream_id, "129 bytes"),
    ] {
        let mut server = FakeServer::start().await;
        let mut config = config(&[&server]);
        config.http.record_bytes_max = 1_000_000;
        let (_scheduler, mut signals) = start(config);
        let (_, reply) = server.next().await;
        let _stream = act(reply).await;
        let error = until_disconnected(&mut signals).await;
        assert!(error.to_string().contains(named), "{error}, not {named}");
        server.next().await;
    }
}

#[tokio::test]
async fn another_framework_id_than_asked_for_is_not_taken() {
    let mut server = FakeServer::start().await;
    let own = FrameworkInfo { id: Some("F0".into()), ..framework() };
    let (scheduler, mut signals) = Scheduler::start(config(&[&server]), own, Vec::new(), None).unwrap();
    let (request, _stream) = subscribe(&mut server, Encoding::Protobuf).await;
    assert_eq!(request.call::<wire::Call>().framework_id, Some("F0".into()));
    let error = until_disconnected(&mut signals).await;
    assert!(error.to_string().contains("F1") && error.to_string().contains("F0"), "{error}");
    assert_eq!(scheduler.framework_id(), Some("F0".into()));
}

#[tokio::test]
async fn what_was_suppressed_stays_so_at_the_next_master() {
    let (mut server, stream, scheduler, mut signals) = session().await;
    let handle = scheduler.clone();
    let sent = tokio::spawn(async move {
        handle.call(call::suppress_all()).await?;
        handle.call(call::revive(vec!["eng".to_owned()]).unwrap()).await
    });
    for _ in 0..2 {
        let (_, reply) = server.next().await;
        reply.accepted().await;
    }
    sent.await.unwrap().unwrap();
    drop(stream);
    until_disconnected(&mut signals).await;
    let (request, _stream) = subscribe(&mut server, Encoding::Protobuf).await;
    assert_eq!(request.call::<wire::Call>().subscribe.unwrap().suppressed_roles, ["ads"]);
}

#[tokio::test]
async fn a_framework_that_was_torn_down_does_not_come_back() {
    let (mut server, stream, scheduler, mut signals) = session().await;
    let sent = tokio::spawn(async move { scheduler.call(call::teardown()).await });
    let (_, reply) = server.next().await;
    reply.accepted().await;
    sent.await.unwrap().unwrap();
    let error = until_ended(&mut signals).await;
    assert!(matches!(error, Error::Stopped), "{error}");
    stream.closed_by_client().await;
    assert!(server.is_idle());
}

#[tokio::test]
async fn a_slow_user_slows_the_master_down_and_loses_nothing() {
    let mut server = FakeServer::start().await;
    let mut config = config(&[&server]);
    config.signals_queued_max = 1;
    let (_scheduler, mut signals) = start(config);
    let (_, mut stream) = subscribe(&mut server, Encoding::Protobuf).await;
    for number in 0..500 {
        stream.event::<wire::Event>(Event::Rescind(format!("O{number}").into())).await;
    }
    until_subscribed(&mut signals).await;
    for number in 0..500 {
        let Signal::Event(Event::Rescind(offer)) = next(&mut signals).await else { panic!() };
        assert_eq!(offer.value, format!("O{number}"));
    }
}

#[tokio::test]
async fn dropping_the_signals_closes_the_connection() {
    let (_server, stream, scheduler, signals) = session().await;
    drop(signals);
    stream.closed_by_client().await;
    drop(scheduler);
}

#[test]
fn what_mesos_would_misread_cannot_be_said() {
    // "If the list of tasks is empty, master will send UPDATE events for all currently known tasks of the framework."
    assert!(call::reconcile(Vec::new()).is_none());
    // "If no role is specified, the operation will apply to all of the scheduler's subscribed roles."
    assert!(call::revive(Vec::new()).is_none() && call::suppress(Vec::new()).is_none());
    // "The scheduler must not acknowledge status updates that do not have status.uuid set"
    let mut status = v1::TaskStatus { agent_id: Some("A1".into()), ..v1::TaskStatus::default() };
    assert!(call::acknowledge(&status).is_none());
    status.uuid = Some(vec![1; 16].into());
    assert!(call::acknowledge(&status).is_some());
    // "Mesos will cap Filters.refuse_seconds at 31536000 seconds (365 days)."
    assert_eq!(call::refuse_for(Duration::from_secs(u64::MAX)).refuse_seconds, Some(31_536_000.0));
}

#[test]
fn an_accept_is_of_one_agent_and_one_role() {
    let offer = |id: &str, agent: &str, role: &str| v1::Offer {
        id: id.into(),
        agent_id: agent.into(),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) }),
        ..v1::Offer::default()
    };
    let first = offer("O1", "A1", "eng");
    let accept = Accept::of(&first).and(&offer("O2", "A1", "eng")).unwrap();
    assert!(accept.clone().and(&offer("O3", "A2", "eng")).unwrap_err().to_string().contains("A2"));
    assert!(accept.clone().and(&offer("O3", "A1", "ads")).is_err());
    let command = Some(v1::CommandInfo::default());
    let task = v1::TaskInfo { agent_id: "A1".into(), command, ..v1::TaskInfo::default() };
    let elsewhere = v1::TaskInfo { agent_id: "A2".into(), ..task.clone() };
    assert!(accept.clone().launch(vec![elsewhere]).is_err());
    let both = v1::TaskInfo { executor: Some(v1::ExecutorInfo::default()), ..task.clone() };
    assert!(accept.clone().launch(vec![both]).is_err());
    let call = accept.launch(vec![task]).unwrap().refuse(Duration::from_secs(1)).build();
    assert_eq!(call::name(&call), "ACCEPT");
    let accept = call.accept.unwrap();
    assert_eq!(accept.offer_ids, ["O1".into(), "O2".into()]);
    assert_eq!(accept.operations[0].launch.as_ref().unwrap().task_infos.len(), 1);
}
