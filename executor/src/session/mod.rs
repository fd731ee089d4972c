//! The session with the leader: find it, say hello, take its orders, send reports and heartbeats; and again.

mod endpoints;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use meson_proto::v1::Hello;
use tracing::{debug, info, warn};

use crate::attempts::Executor;
use crate::identity::Identity;
use crate::runners;
use endpoints::Endpoints;
pub use endpoints::normal;
use stream::{Ended, Stream};

/// The session's owner. One for the process.
#[derive(Debug)]
pub struct Session {
    executor: Arc<Executor>,
    identity: Identity,
    endpoints: Endpoints,
    /// The highest term a leader has spoken in.
    term: u64,
}

impl Session {
    /// A session to come.
    pub fn new(executor: Arc<Executor>, identity: Identity) -> Self {
        let endpoints = Endpoints::new(&executor.config.endpoints);
        Self { executor, identity, endpoints, term: 0 }
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
            let pause = self.endpoints.pause();
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn once(&mut self, address: &str) -> Ended {
        let connect_timeout = Duration::from_millis(self.executor.config.connect_timeout_ms);
        let mut stream = match Stream::open(address, connect_timeout, self.hello()).await {
            Ok(stream) => stream,
            Err(why) => return Ended::Failed(why),
        };
        let welcome = match stream.welcome().await {
            Ok(welcome) => welcome,
            Err(ended) => return ended,
        };
        if welcome.term < self.term {
            warn!(address, term = welcome.term, seen = self.term, "a deposed leader answered");
            return Ended::Failed("a deposed leader".to_owned());
        }
        self.term = welcome.term;
        self.endpoints.settled(address);
        self.endpoints.learn(&welcome.replica_addresses);
        let keepers = &welcome.replica_addresses;
        // A leader that names no replicas is one alone.
        let alone = [address.to_owned()];
        self.executor.logs.ship_to(if keepers.is_empty() { &alone } else { keepers });
        info!(address, term = welcome.term, lease_ms = welcome.lease_ms, "session open");
        stream.serve(&self.executor, &welcome, &mut self.term).await
    }

    fn hello(&self) -> Hello {
        let config = &self.executor.config;
        Hello {
            executor_id: self.identity.executor_id.clone(),
            incarnation: self.identity.incarnation.clone(),
            hostname: config.hostname.clone(),
            resources: Some(config.resources()),
            attributes: config.attributes.clone().into_iter().collect(),
            kinds: runners::kinds(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            attempts: self.executor.known(),
        }
    }
}
