//! A scheduler's session when masters redirect, refuse, forget, lie or are slow. Quotes are of the scheduler API's
//! documentation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;
#[path = "support/scheduler.rs"]
mod with_scheduler;

use std::time::Duration;

use meson_mesos::scheduler::{Event, Scheduler, Signal, call};
use meson_mesos::v1::FrameworkInfo;
use meson_mesos::v1::scheduler as wire;
use meson_mesos::{Credentials, Encoding, Error, Remedy, recordio};
use support::FakeServer;
use with_scheduler::*;

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
    let record =
        |event: Event| recordio::encode(&Encoding::Protobuf.encode(&wire::Event::from(event))).to_vec();
    let good = record(subscribed("F1", Duration::from_secs(15)));
    let long = "x".repeat(129);
    for (stream_id, bytes, named) in [
        (Some("s"), record(Event::Heartbeat), "not SUBSCRIBED"),
        (None, good.clone(), "Mesos-Stream-Id"),
        (Some(long.as_str()), good.clone(), "129 bytes"),
        (Some("s"), [good.clone(), good].concat(), "a second time"),
        (Some("s"), b"1000001\n".to_vec(), "1000001 bytes, more than 1000000"),
        (Some("s"), b"{\"type\":\"SUBSCRIBED\"}".to_vec(), "not a number"),
        (Some("s"), b"4\nnope".to_vec(), "not a mesos.v1.scheduler.Event"),
    ] {
        let mut server = FakeServer::start().await;
        let mut config = config(&[&server]);
        config.http.record_bytes_max = 1_000_000;
        let (_scheduler, mut signals) = start(config);
        let (_, reply) = server.next().await;
        let mut stream = reply.stream(stream_id, Encoding::Protobuf).await;
        stream.chunk(&bytes).await;
        let error = until_disconnected(&mut signals).await;
        assert!(error.to_string().contains(named), "{error}, not {named}");
        server.next().await;
    }
}

#[tokio::test]
async fn a_master_that_points_elsewhere_leads_no_more() {
    let (mut server, _stream, scheduler, mut signals) = session().await;
    let sent = tokio::spawn(async move { scheduler.call(call::revive_all()).await });
    let (_, reply) = server.next().await;
    reply.status("307 Temporary Redirect", &[("Location", "//127.0.0.1:9/")], "").await;
    let error = sent.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Redirected { .. }), "{error}");
    until_disconnected(&mut signals).await;
    server.next().await;
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
async fn a_torn_down_session_ends_at_once_even_while_it_waits() {
    let mut server = FakeServer::start().await;
    let mut config = config(&[&server]);
    config.backoff_first = Duration::from_secs(600);
    config.backoff_longest = Duration::from_secs(600);
    let (scheduler, mut signals) = start(config);
    let (_, stream) = subscribe(&mut server, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
    let sent = tokio::spawn(async move { scheduler.call(call::teardown()).await });
    let (_, reply) = server.next().await;
    // The master ends the stream before it answers the call.
    stream.finish().await;
    until_disconnected(&mut signals).await;
    reply.accepted().await;
    sent.await.unwrap().unwrap();
    assert!(matches!(until_ended(&mut signals).await, Error::Stopped));
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
