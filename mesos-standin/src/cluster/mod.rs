//! The master's rules as a state machine without clock, network or disk.
//!
//! Whatever arrives (a call, a message of an agent, a moment in time) is handed to one method of `Cluster`; what follows
//! from it is collected as `Output`s, which the shell in `master` carries out in their order.

mod accept;
mod agents;
mod allocate;
mod calls;
mod config;
mod faults;
mod frameworks;
mod launch;
mod maintenance;
mod offers;
mod operator;
mod reconcile;
mod reserve;
mod state;
mod tasks;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use meson_mesos::v1::{MasterInfo, scheduler::Event};

pub use calls::{Answer, Refusal};
pub use config::Config;
pub use faults::{Fault, Faults};
pub use frameworks::Subscription;
pub use operator::VERSION;
pub use state::{Agent, Framework, InverseOffer, Offer, Registry, Task, has_capability, is_terminal};

use crate::link::ToAgent;

/// What the shell must do next.
#[derive(Debug)]
pub enum Output {
    /// Send an event on a subscription's stream.
    Event {
        /// The stream.
        stream: String,
        /// The event.
        event: Box<Event>,
    },
    /// Close a subscription's stream after what was sent on it.
    CloseStream(String),
    /// Send a message to an agent.
    Agent {
        /// The link, not the agent's id: an agent that came back has another one.
        link: u64,
        /// The message.
        message: ToAgent,
    },
    /// Close an agent's link after what was sent on it.
    CloseLink(u64),
    /// The registry changed and must be written before anything after it is sent.
    Registry,
}

/// The moment of a call: a monotonic clock for time-outs, the wall clock for time stamps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Seconds since the process started.
    pub elapsed: f64,
    /// Seconds since 1970.
    pub unix: f64,
}

/// All that one leading master knows.
pub struct Cluster {
    /// Settings of the master.
    pub config: Config,
    /// Who this master is, as `SUBSCRIBED` tells it.
    pub master: MasterInfo,
    /// Faults asked for by tests.
    pub faults: Faults,
    now: Now,
    frameworks: BTreeMap<String, Framework>,
    completed: BTreeSet<String>,
    agents: BTreeMap<String, Agent>,
    registry: Registry,
    /// Agents of the registry that did not come back since this master leads, with the time when they are given up.
    recovered: BTreeMap<String, f64>,
    offers: BTreeMap<String, Offer>,
    inverse_offers: BTreeMap<String, InverseOffer>,
    maintenance: maintenance::Maintenance,
    next_framework: u64,
    next_agent: u64,
    next_offer: u64,
    next_allocation: f64,
    next_heartbeat: f64,
    next_ping: f64,
    out: Vec<Output>,
}

impl Cluster {
    /// A master that was just elected and has read the registry.
    #[must_use]
    pub fn new(config: Config, master: MasterInfo, registry: Registry, now: Now) -> Self {
        let give_up = now.elapsed + config.agent_reregister_timeout;
        let recovered = registry.agents.iter().map(|id| (id.clone(), give_up)).collect();
        Cluster {
            next_allocation: now.elapsed + config.allocation_interval,
            next_heartbeat: now.elapsed + config.heartbeat_interval,
            next_ping: now.elapsed + config.agent_ping_interval,
            config,
            master,
            registry,
            recovered,
            now,
            faults: Faults::default(),
            frameworks: BTreeMap::new(),
            completed: BTreeSet::new(),
            agents: BTreeMap::new(),
            offers: BTreeMap::new(),
            inverse_offers: BTreeMap::new(),
            maintenance: maintenance::Maintenance::default(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            out: Vec::new(),
        }
    }

    /// What must be done since the last time that this was asked.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// What must survive this master.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Lets time pass: everything that is due happens.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        self.release_delayed();
        self.expire_frameworks();
        self.expire_offers();
        self.expire_agents();
        if now.elapsed >= self.next_heartbeat {
            self.next_heartbeat = now.elapsed + self.config.heartbeat_interval;
            self.send_heartbeats();
        }
        if now.elapsed >= self.next_ping {
            self.next_ping = now.elapsed + self.config.agent_ping_interval;
            self.ping_agents();
        }
        if now.elapsed >= self.next_allocation {
            self.next_allocation = now.elapsed + self.config.allocation_interval;
            self.offer_inverse();
            self.allocate(None);
        }
    }

    /// Sends an event to a framework, unless its scheduler is away.
    fn send(&mut self, framework: &str, event: Event) {
        let Some(stream) = self.frameworks.get(framework).and_then(|framework| framework.stream.clone())
        else {
            return;
        };
        self.out.push(Output::Event { stream, event: Box::new(event) });
    }

    /// Sends a message to an agent, unless it is away.
    fn tell(&mut self, agent: &str, message: ToAgent) {
        let Some(link) = self.agents.get(agent).and_then(|agent| agent.link) else { return };
        self.out.push(Output::Agent { link, message });
    }
}
