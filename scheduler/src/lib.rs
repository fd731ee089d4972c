//! THE SHELL: a replica of the scheduler. The engine decides, inside the replicated log (`machine`); while this replica
//! leads, `leader` turns the engine's effects into messages to `actors`, and `api` serves people and programs.
//!
//! `proposer` is the only way to write. `placement` and `evaluate` are functions of values. `resources` is the seam to
//! resource managers, `logs` the store of attempts' output.

#![allow(clippy::result_large_err)] // The errors of gRPC are large, and every face returns them.

pub mod actors;
pub mod api;
pub mod astray;
pub mod clock;
pub mod config;
pub mod evaluate;
pub mod http;
pub mod leader;
pub mod logs;
pub mod machine;
pub mod offline;
pub mod paths;
pub mod placement;
pub mod proposer;
pub mod resources;
pub mod serve;
pub mod shared;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
pub mod soft;
pub mod workspaces;
