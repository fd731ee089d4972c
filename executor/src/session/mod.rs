//! The session with the leader: find it, say hello, take its orders, send reports and heartbeats; and again.

mod endpoints;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use meson_proto::v1::Hello;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::agent::Agent;
use crate::attempts::Executor;
use crate::identity::Identity;
use crate::{channel, clock};
use endpoints::Endpoints;
pub use endpoints::normal;
use stream::{Ended, Stream};

/// How often gRPC is tried while the session goes through framework messages.
const TRY_GRPC_EVERY: Duration = Duration::from_secs(10);

/// The session's owner. One for the process.
#[derive(Debug)]
pub struct Session {
    executor: Arc<Executor>,
    identity: Identity,
    endpoints: Endpoints,
    /// The way to Mesos, where one of its agents started this process.
    agent: Option<Arc<Agent>>,
    /// When there was a session over gRPC last.
    reached: Instant,
    /// The highest term a leader has spoken in.
    term: u64,
}

impl Session {
    /// A session to come.
    pub fn new(executor: Arc<Executor>, identity: Identity, agent: Option<Arc<Agent>>) -> Self {
        let endpoints = Endpoints::new(&executor.config.endpoints);
        Self { executor, identity, endpoints, agent, reached: Instant::now(), term: 0 }
    }

    /// Keeps a session for ever.
    pub async fn run(mut self) {
        loop {
            let address = self.endpoints.next();
            let ended = self.once(&address).await;
            match ended {
                Ended::Redirected(redirect) => {
                    debug!(address, leader = redirect.leader_address, "redirected");
                    self.endpoints.learn(&redirect.replica_addresses);
                    self.endpoints.prefer(&redirect.leader_address);
                }
                Ended::Lost(why) => info!(address, why, "session lost"),
                Ended::Failed(why) => debug!(address, why, "no session"),
            }
            self.fall_back().await;
            let pause = self.endpoints.pause();
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn once(&mut self, address: &str) -> Ended {
        let connect_timeout = Duration::from_millis(self.executor.config.connect_timeout_ms);
        let stream = match Stream::open(address, connect_timeout, self.hello()).await {
            Ok(stream) => stream,
            Err(why) => return Ended::Failed(why),
        };
        let ended = self.hold(stream, Some(address)).await;
        if matches!(ended, Ended::Lost(_)) {
            self.reached = Instant::now();
        }
        ended
    }

    /// Holds a session, over gRPC with this address or through messages.
    async fn hold(&mut self, mut stream: Stream, address: Option<&str>) -> Ended {
        let welcome = match stream.welcome().await {
            Ok(welcome) => welcome,
            Err(ended) => return ended,
        };
        if welcome.term < self.term {
            warn!(address, term = welcome.term, seen = self.term, "a deposed leader answered");
            return Ended::Failed("a deposed leader".to_owned());
        }
        self.term = welcome.term;
        self.endpoints.learn(&welcome.replica_addresses);
        if let Some(address) = address {
            self.endpoints.settled(address);
        }
        let keepers = &welcome.replica_addresses;
        // A leader that names no replicas is one alone.
        let alone: Vec<String> = address.map(str::to_owned).into_iter().collect();
        self.executor.logs.ship_to(if keepers.is_empty() { &alone } else { keepers });
        info!(address, term = welcome.term, lease_ms = welcome.lease_ms, "session open");
        stream.serve(&self.executor, &welcome, &mut self.term).await
    }

    /// Holds a session through framework messages, once gRPC has not passed for long, until it does again.
    async fn fall_back(&mut self) {
        let patience = Duration::from_millis(self.executor.config.message_fallback_after_ms);
        let Some(agent) = self.agent.clone().filter(|_| self.reached.elapsed() >= patience) else { return };
        let connect_timeout = Duration::from_millis(self.executor.config.connect_timeout_ms);
        let addresses = self.endpoints.all();
        // An id that nobody had before: the process's, and when.
        let session_id = format!("{}-{}", self.identity.incarnation, clock::boot_ms());
        let stream = Stream::through(&agent, &session_id, self.hello());
        info!("gRPC does not pass: going through framework messages");
        let ended = tokio::select! {
            ended = self.hold(stream, None) => ended,
            () = reachable(&addresses, connect_timeout) => {
                self.reached = Instant::now();
                Ended::Lost("gRPC passes again".to_owned())
            }
        };
        debug!(?ended, "the session through framework messages is over");
    }

    fn hello(&self) -> Hello {
        let config = &self.executor.config;
        Hello {
            executor_id: self.identity.executor_id.clone(),
            incarnation: self.identity.incarnation.clone(),
            hostname: config.hostname.clone(),
            resources: Some(config.resources()),
            attributes: config.attributes.clone().into_iter().collect(),
            kinds: self.executor.kinds(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attempts: self.executor.known(),
            mesos: self.agent.as_ref().map(|agent| agent.place()),
        }
    }
}

/// Waits until a replica can be connected to.
async fn reachable(addresses: &[String], connect_timeout: Duration) {
    loop {
        tokio::time::sleep(TRY_GRPC_EVERY).await;
        for address in addresses {
            if channel::connect(address, connect_timeout).await.is_ok() {
                return;
            }
        }
    }
}
