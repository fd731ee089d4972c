//! A client library for the Mesos v1 HTTP APIs of schedulers and executors.
//!
//! - [`scheduler`]: a session with the leading master, which survives masters and connections;
//! - [`executor`]: a session with the agent, which survives the agent's restarts;
//! - [`operator`]: single calls of an operator;
//! - [`resources`]: arithmetic of resources, with the rules of Mesos;
//! - [`v1`]: the wire contract, generated from `proto/mesos/v1`;
//! - [`encoding`], [`recordio`], [`headers`], [`duration`]: for those who speak the other side, too.
//!
//! The README shows how they go together; its code is compiled with the tests.

mod backoff;
mod contract;
mod detect;
pub mod duration;
pub mod encoding;
mod error;
pub mod executor;
pub mod headers;
mod http;
pub mod operator;
pub mod recordio;
pub mod resources;
pub mod scheduler;
mod signals;
pub mod v1;

pub use detect::{MASTER_PORT, Masters, ZooKeeperUrl};
pub use encoding::Encoding;
pub use error::{Error, Remedy};
pub use http::{Credentials, Settings, Tls};
pub use signals::Signals;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
