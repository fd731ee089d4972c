//! Settings of a scheduler's session, with the defaults that the protocol's documentation recommends.

use std::time::Duration;

use crate::detect::Masters;
use crate::http::Settings;

/// After so many heartbeats that did not come the subscription is taken for dead.
pub const HEARTBEATS_MISSED_MAX: u32 = 5;
/// How often heartbeats come if the master does not say.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// The first wait before a new subscription.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait before a new subscription.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(15);
/// Signals that wait for the user; further ones stay on the network.
pub const SIGNALS_QUEUED_MAX: usize = 256;
/// Redirects that one subscription follows; a healthy cluster needs one.
pub const REDIRECTS_MAX: usize = 4;

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the masters are.
    pub masters: Masters,
    /// Whether addresses that do not say it are talked to over TLS.
    pub https: bool,
    /// Connections.
    pub http: Settings,
    /// After so many heartbeats that did not come the subscription is taken for dead.
    pub heartbeats_missed_max: u32,
    /// The first wait before a new subscription.
    pub backoff_first: Duration,
    /// The longest wait before a new subscription.
    pub backoff_longest: Duration,
    /// Signals that wait for the user; further ones stay on the network.
    pub signals_queued_max: usize,
}

impl Config {
    /// Defaults for everything but the masters.
    pub fn new(masters: Masters) -> Self {
        Self {
            masters,
            https: false,
            http: Settings::default(),
            heartbeats_missed_max: HEARTBEATS_MISSED_MAX,
            backoff_first: BACKOFF_FIRST,
            backoff_longest: BACKOFF_LONGEST,
            signals_queued_max: SIGNALS_QUEUED_MAX,
        }
    }
}
