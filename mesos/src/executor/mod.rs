//! The executor's side: a session with the agent that started this process, calls and events.
//!
//! [`Environment`] reads what the agent says at the start. [`Executor::start`] begins a session: it subscribes, and with
//! checkpointing subscribes again when the agent was away, with what the agent may have missed.

mod environment;
mod event;
mod handle;
mod session;
mod unacknowledged;

pub use environment::{
    Environment, RECOVERY_TIMEOUT, SHUTDOWN_GRACE_PERIOD, SUBSCRIPTION_BACKOFF_MAX, TlsFiles, Token,
};
pub use event::{Event, Subscribed};
pub use handle::Executor;
pub use session::{Config, HEARTBEAT_INTERVAL, REGISTRATION_TIMEOUT, SIGNALS_QUEUED_MAX, Signal};
pub use unacknowledged::Unacknowledged;

/// What happens in a session, in order, until it ends.
pub type Signals = crate::signals::Signals<Signal>;
