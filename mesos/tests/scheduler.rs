//! A scheduler's session against a server that does what each test says: what goes over the wire, and when it begins anew.
//! Quotes are of the scheduler API's documentation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;
#[path = "support/scheduler.rs"]
mod with_scheduler;

use std::time::Duration;

use meson_mesos::scheduler::{Event, Scheduler, Signal, call};
use meson_mesos::v1::scheduler as wire;
use meson_mesos::v1::scheduler::call::Type;
use meson_mesos::v1::{self, TaskState};
use meson_mesos::{Encoding, Error, Remedy, headers, recordio};
use support::FakeServer;
use with_scheduler::*;

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
    config.heartbeats_missed_max = 5;
    let (_scheduler, mut signals) = start(config);
    let (_, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), Encoding::Protobuf).await;
    let heartbeat = Duration::from_millis(400);
    stream.event::<wire::Event>(subscribed("F1", heartbeat)).await;
    until_subscribed(&mut signals).await;
    for _ in 0..6 {
        // tidy: allow sleep: heartbeats come at intervals, longer together than the silence that ends a stream
        tokio::time::sleep(heartbeat).await;
        stream.event::<wire::Event>(Event::Heartbeat).await;
    }
    let error = until_disconnected(&mut signals).await;
    assert!(matches!(error, Error::Silent { after, .. } if after == heartbeat * 5), "{error}");
    stream.closed_by_client().await;
    server.next().await;
}
