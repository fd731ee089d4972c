//! The gRPC faces, package `meson.v1`. Any replica answers: what needs the leader is passed on to it (`gate`), errors
//! carry google.rpc details (`errors`), and `convert` is the only place where records meet wire messages.

pub mod cluster;
pub mod convert;
mod errors;
pub mod executors;
pub mod gate;
pub mod history;
mod list;
pub mod logs;
mod members;
pub mod runs;
mod views;
mod watch;
pub mod workflows;
