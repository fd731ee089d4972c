//! What can go wrong between us and Mesos: where, what was said, and what helps.

use std::time::Duration;

use crate::{encoding, recordio};

/// The most of an answer's body that an error keeps.
pub(crate) const BODY_KEPT_BYTES_MAX: usize = 4096;

/// Text of an ERROR event or an answer with which a master says that a framework id is used up.
const REMOVED: &str = "has been removed";
/// Text of the ERROR event for a scheduler whose framework id another one subscribed with.
const FAILED_OVER: &str = "failed over";

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The settings cannot work.
    #[error("settings: {0}")]
    Settings(String),
    /// No connection, or it broke.
    #[error("{call} to {endpoint}: {reason}")]
    Connection {
        /// Which call.
        call: &'static str,
        /// To whom.
        endpoint: String,
        /// What the network says.
        reason: String,
    },
    /// The deadline passed. Whether the call had an effect is not known.
    #[error("{call} to {endpoint}: no answer within {after:?}")]
    Deadline {
        /// Which call.
        call: &'static str,
        /// To whom.
        endpoint: String,
        /// The deadline.
        after: Duration,
    },
    /// An answer that is not a success.
    #[error("{call} to {endpoint}: {status} {body}")]
    Answer {
        /// Which call.
        call: &'static str,
        /// To whom.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// What Mesos says about it.
        body: String,
    },
    /// The master does not lead and points to the one that does.
    #[error("{call} to {endpoint}: not the leader, which is {leader}")]
    Redirected {
        /// Which call.
        call: &'static str,
        /// Who pointed.
        endpoint: String,
        /// To whom.
        leader: String,
    },
    /// Nobody leads, as far as we know.
    #[error("no leading master is known: {0}")]
    NoLeader(String),
    /// Another master leads now.
    #[error("the leader changed from {from} to {to}")]
    LeaderChanged {
        /// Who led.
        from: String,
        /// Who leads; empty for nobody.
        to: String,
    },
    /// There is no subscription at the moment, so the call was not sent.
    #[error("{0} was not sent: there is no subscription at the moment")]
    NotSubscribed(&'static str),
    /// The stream of events ended.
    #[error("{endpoint} ended the stream of events")]
    Ended {
        /// Who ended it.
        endpoint: String,
    },
    /// No event and no heartbeat for too long.
    #[error("{endpoint} was silent for {after:?}")]
    Silent {
        /// Who was silent.
        endpoint: String,
        /// For how long.
        after: Duration,
    },
    /// The stream of events cannot be cut into records.
    #[error("the stream of {endpoint}: {source}")]
    Framing {
        /// Whose stream.
        endpoint: String,
        /// What is wrong with it.
        source: recordio::Error,
    },
    /// A message cannot be read.
    #[error("from {endpoint}: {source}")]
    Message {
        /// Who sent it.
        endpoint: String,
        /// What is wrong with it.
        source: encoding::Error,
    },
    /// Something that the protocol does not allow.
    #[error("{endpoint} broke the protocol: {what}")]
    Protocol {
        /// Who did.
        endpoint: String,
        /// What.
        what: String,
    },
    /// An ERROR event.
    #[error("{endpoint} says: {message}")]
    Said {
        /// Who said it.
        endpoint: String,
        /// In place of SUBSCRIBED, or later.
        subscribed: bool,
        /// What.
        message: String,
    },
    /// ZooKeeper cannot be reached or does not hold what it should.
    #[error("ZooKeeper {servers}: {reason}")]
    ZooKeeper {
        /// Which servers.
        servers: String,
        /// What is wrong.
        reason: String,
    },
    /// An executor was without its agent for longer than the recovery timeout, or may not wait for it at all.
    #[error("the agent is gone: {reason}; last: {last}")]
    AgentGone {
        /// Which rule says so.
        reason: String,
        /// The last attempt's error.
        last: Box<Error>,
    },
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}

/// What helps against an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same call again, later.
    Retry,
    /// A new subscription first; sessions do that by themselves.
    Resubscribe,
    /// Nothing: the same again would fail again.
    GiveUp,
}

impl Error {
    /// What helps.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Settings(_) | Self::Stopped | Self::AgentGone { .. } => Remedy::GiveUp,
            Self::Connection { .. } | Self::Deadline { .. } => Remedy::Retry,
            Self::NoLeader(_) | Self::ZooKeeper { .. } => Remedy::Retry,
            Self::Answer { call, status, body, .. } => remedy_of_answer(call, *status, body),
            Self::Said { subscribed: false, .. } => Remedy::GiveUp,
            Self::Said { message, .. } if is_final(message) => Remedy::GiveUp,
            Self::Said { .. } => Remedy::Resubscribe,
            Self::Redirected { .. } | Self::LeaderChanged { .. } | Self::NotSubscribed(_) => {
                Remedy::Resubscribe
            }
            Self::Ended { .. } | Self::Silent { .. } | Self::Framing { .. } => Remedy::Resubscribe,
            Self::Message { .. } | Self::Protocol { .. } => Remedy::Resubscribe,
        }
    }

    /// Whether Mesos forgot the framework for good: its failover timeout passed, or somebody tore it down. The id will
    /// never be accepted again.
    pub fn is_framework_removed(&self) -> bool {
        match self {
            Self::Said { message, .. } => message.contains(REMOVED),
            Self::Answer { body, .. } => body.contains(REMOVED),
            _ => false,
        }
    }

    /// Whether another scheduler subscribed with our framework id.
    pub fn is_failed_over(&self) -> bool {
        matches!(self, Self::Said { message, .. } if message.contains(FAILED_OVER))
    }
}

fn is_final(message: &str) -> bool {
    message.contains(REMOVED) || message.contains(FAILED_OVER)
}

fn remedy_of_answer(call: &str, status: u16, body: &str) -> Remedy {
    let of_subscription = body.contains("not subscribed")
        || body.contains("not connected")
        || body.contains("stream ID")
        || body.contains("cannot be found");
    match status {
        501 => Remedy::GiveUp,
        408 | 429 | 500..=599 => Remedy::Retry,
        400 | 403 if call != "SUBSCRIBE" && of_subscription => Remedy::Resubscribe,
        _ => Remedy::GiveUp,
    }
}
