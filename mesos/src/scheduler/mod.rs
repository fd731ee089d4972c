//! The scheduler's side: a session with the leading master, calls and events.
//!
//! [`Scheduler::start`] begins a session. It subscribes, and after every loss subscribes again with the same framework
//! id, at whoever leads then; [`Signals`] tells what happens, [`Scheduler::call`] sends calls.

pub mod accept;
pub mod call;
mod config;
mod event;
mod handle;
pub mod reconciliation;
mod session;

pub use accept::Accept;
pub use config::{
    BACKOFF_FIRST, BACKOFF_LONGEST, Config, HEARTBEAT_INTERVAL, HEARTBEATS_MISSED_MAX, REDIRECTS_MAX,
    SIGNALS_QUEUED_MAX,
};
pub use event::{Event, Message, Subscribed};
pub use handle::Scheduler;
pub use reconciliation::Reconciliation;
pub use session::Signal;

/// What happens in a session, in order, until it ends.
pub type Signals = crate::signals::Signals<Signal>;
