//! Real processes under faults: a cluster of the real binaries on free ports of this machine, clients that ride through
//! failovers, and waits on conditions. Tests and benchmarks drive the binaries through this, never scheduler internals.

pub mod chance;
pub mod check;
mod client;
pub mod clock;
mod cluster;
pub mod faults;
pub mod history;
pub mod load;
pub mod network;
pub mod run;
pub mod schedule;
mod steer;
pub mod testbed;
mod wait;

pub use client::Client;
pub use cluster::{Cluster, Options};
pub use wait::{PATIENCE, until};
