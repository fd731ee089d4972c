//! Real processes under faults. Two ways in: [`Cluster`] starts the real binaries on free ports of this machine, for tests
//! and benchmarks that kill or pause them; [`run`] gives each of them a machine of its own in a network of namespaces,
//! strikes them by a schedule under load, and has the checker judge what was seen. Never scheduler internals.

pub mod chance;
pub mod check;
mod client;
pub mod clock;
mod cluster;
pub mod faults;
pub mod history;
pub mod load;
pub mod mesos;
pub mod network;
mod operate;
pub mod run;
pub mod schedule;
mod steer;
pub mod testbed;
mod wait;

pub use client::Client;
pub use cluster::{Cluster, Options, binary_path};
pub use wait::{PATIENCE, until};
