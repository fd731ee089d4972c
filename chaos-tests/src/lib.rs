//! Real processes under faults: a cluster of the real binaries on free ports of this machine, clients that ride through
//! failovers, and waits on conditions. Tests and benchmarks drive the binaries through this, never scheduler internals.

pub mod check;
mod client;
mod cluster;
pub mod history;
mod operate;
mod steer;
mod wait;

pub use client::Client;
pub use cluster::{Cluster, Options, binary_path};
pub use wait::{PATIENCE, until};
