//! The master's settings: the names and defaults of the real master's flags where it has them.

use std::collections::BTreeMap;

/// Settings of a master; times in seconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Between two `HEARTBEAT` events; not settable in Mesos.
    pub heartbeat_interval: f64,
    /// Between two rounds of offers (`--allocation_interval`).
    pub allocation_interval: f64,
    /// After which an unanswered offer is rescinded (`--offer_timeout`).
    pub offer_timeout: Option<f64>,
    /// Between two pings of an agent (`--agent_ping_timeout`).
    pub agent_ping_interval: f64,
    /// Pings that an agent may miss before it is unreachable (`--max_agent_ping_timeouts`).
    pub agent_pings_missed_max: u32,
    /// How long a disconnected agent has to come back, also after a master's failover (`--agent_reregister_timeout`).
    pub agent_reregister_timeout: f64,
    /// Principals and secrets (`--credentials`); frameworks must authenticate when there are any.
    pub credentials: BTreeMap<String, String>,
    /// Weights of roles; 1 where none is given.
    pub weights: BTreeMap<String, f64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            heartbeat_interval: 15.0,
            allocation_interval: 1.0,
            offer_timeout: None,
            agent_ping_interval: 15.0,
            agent_pings_missed_max: 5,
            agent_reregister_timeout: 600.0,
            credentials: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }
}
