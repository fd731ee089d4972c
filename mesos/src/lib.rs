//! A client of the Mesos v1 HTTP APIs for schedulers and executors.
//!
//! [`v1`] is the wire contract.

pub mod v1;
