//! The load: clients that start, read, signal and cancel runs of several forms at the same time, drawn from a seed, and
//! keep a record of all that they asked and were answered.

mod board;
mod caller;
mod client;
mod workflows;

pub use board::Board;
pub use caller::Caller;
pub(crate) use caller::state;
pub use client::{drain, drive};
pub use workflows::{Pace, Workload, workloads};
