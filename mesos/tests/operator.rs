//! Operators' calls against a server that does what each test says.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use meson_mesos::operator::Operator;
use meson_mesos::v1::master::call::{MarkAgentGone, Type};
use meson_mesos::v1::master::{Call, Response, response};
use meson_mesos::{Encoding, Error, Settings};
use support::FakeServer;

fn operator(server: &FakeServer, encoding: Encoding) -> Operator {
    let settings = Settings { encoding, ..Settings::default() };
    Operator::new(&server.address.to_string(), false, settings).unwrap()
}

#[tokio::test]
async fn a_call_finds_the_leader_and_needs_no_answer() {
    let (mut follower, mut leader) = (FakeServer::start().await, FakeServer::start().await);
    let operator = operator(&follower, Encoding::Protobuf);
    let mark_agent_gone = Some(MarkAgentGone { agent_id: "A1".into() });
    let call = Call { r#type: Some(Type::MarkAgentGone as i32), mark_agent_gone, ..Call::default() };
    let sent = {
        let call = call.clone();
        tokio::spawn(async move { operator.call(&call).await })
    };
    let (request, reply) = follower.next().await;
    assert_eq!(request.path, "/api/v1");
    let location = format!("//{}/api/v1", leader.address);
    reply.status("307 Temporary Redirect", &[("Location", &location)], "").await;
    let (request, reply) = leader.next().await;
    assert_eq!(request.path, "/api/v1");
    assert_eq!(request.call::<Call>(), call);
    reply.status("200 OK", &[], "").await;
    assert_eq!(sent.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn an_answer_is_read_or_named() {
    let mut server = FakeServer::start().await;
    let operator = operator(&server, Encoding::Json);
    for (status, body) in [
        ("200 OK", r#"{"type": "GET_HEALTH", "get_health": {"healthy": true}}"#),
        ("200 OK", r#"{"type": "GET_HEALTH", "get_health": {}}"#),
        ("403 Forbidden", "not you"),
    ] {
        let call = Call { r#type: Some(Type::GetHealth as i32), ..Call::default() };
        let operator = operator.clone();
        let sent = tokio::spawn(async move { operator.call(&call).await });
        let (_, reply) = server.next().await;
        reply.status(status, &[], body).await;
        match (sent.await.unwrap(), body) {
            (Ok(Some(Response { get_health: Some(response::GetHealth { healthy }), .. })), _) => {
                assert!(healthy && body.contains("true"));
            }
            (Err(Error::Message { source, .. }), _) => {
                assert!(source.to_string().contains("get_health.healthy"), "{source}");
            }
            (Err(Error::Answer { call, status, body, .. }), _) => {
                assert_eq!((call, status, body.as_str()), ("GET_HEALTH", 403, "not you"));
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}
