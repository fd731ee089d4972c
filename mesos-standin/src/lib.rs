//! A stand-in of the Mesos master and agent, for tests and demonstrations.
//!
//! It speaks the public v1 scheduler, executor and operator HTTP APIs and refuses what Mesos refuses. `cluster` and
//! `updates` are the pure rules, `master` and `agent` the processes around them. The README says what is faithful, what is
//! simplified and what is unknown. Never part of a deployment.

pub mod agent;
pub mod cluster;
pub mod command_executor;
pub mod http;
pub mod link;
pub mod master;
pub mod resources;
pub mod updates;
pub mod validate;
