//! Sessions of schedulers for tests, and what they are to do.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use meson_mesos::scheduler::{Config, Event, Scheduler, Signal, Signals, Subscribed};
use meson_mesos::v1::FrameworkInfo;
use meson_mesos::v1::scheduler as wire;
use meson_mesos::{Encoding, Error, Masters};

use crate::support::{FakeServer, Request, Stream, soon};

pub fn framework() -> FrameworkInfo {
    FrameworkInfo {
        user: "nobody".to_owned(),
        name: "test".to_owned(),
        roles: vec!["eng".to_owned(), "ads".to_owned()],
        failover_timeout: Some(3600.0),
        ..FrameworkInfo::default()
    }
}

pub fn config(servers: &[&FakeServer]) -> Config {
    let addresses = servers.iter().map(|server| server.address.to_string()).collect();
    let mut config = Config::new(Masters::List(addresses));
    config.backoff_first = Duration::from_millis(1);
    config.backoff_longest = Duration::from_millis(5);
    config
}

pub fn start(config: Config) -> (Scheduler, Signals) {
    Scheduler::start(config, framework(), Vec::new(), None).unwrap()
}

pub fn subscribed(id: &str, heartbeat: Duration) -> Event {
    let heartbeat_interval = Some(heartbeat);
    Event::Subscribed(Subscribed { framework_id: id.into(), heartbeat_interval, master: None })
}

pub async fn subscribe(server: &mut FakeServer, encoding: Encoding) -> (Request, Stream) {
    let (request, reply) = server.next().await;
    let mut stream = reply.stream(Some("stream-1"), encoding).await;
    stream.event::<wire::Event>(subscribed("F1", Duration::from_secs(15))).await;
    (request, stream)
}

pub async fn next(signals: &mut Signals) -> Signal {
    soon("a signal", signals.next()).await
}

/// Reads signals until the subscription is open.
pub async fn until_subscribed(signals: &mut Signals) {
    while !matches!(next(signals).await, Signal::Subscribed(_)) {}
}

pub async fn until_disconnected(signals: &mut Signals) -> Error {
    loop {
        match next(signals).await {
            Signal::Disconnected { error, .. } => return error,
            Signal::Ended(error) => panic!("ended: {error}"),
            _ => {}
        }
    }
}

pub async fn until_ended(signals: &mut Signals) -> Error {
    loop {
        if let Signal::Ended(error) = next(signals).await {
            assert!(signals.next().await.is_none(), "nothing comes after the end");
            return error;
        }
    }
}

/// A session that is subscribed as F1 on stream-1.
pub async fn session() -> (FakeServer, Stream, Scheduler, Signals) {
    let mut server = FakeServer::start().await;
    let (scheduler, mut signals) = start(config(&[&server]));
    let (_, stream) = subscribe(&mut server, Encoding::Protobuf).await;
    until_subscribed(&mut signals).await;
    (server, stream, scheduler, signals)
}
