//! The log: a Raft group that replicates opaque commands and applies them to a state machine.
//!
//! It knows nothing of workflows. A single replica and a trio run the same code. Commands that wait together share one
//! entry, entries that wait together share one sync, and what is acknowledged is on the disks of a quorum.

#![allow(clippy::result_large_err)] // The consensus library's errors are large, and so are those of tonic.

mod acks;
mod admin;
mod archive;
mod backup;
mod batcher;
mod blocking;
mod codec;
mod compaction;
mod config;
mod disk;
mod elections;
mod error;
mod files;
mod founding;
mod grpc;
mod inspect;
mod log_size;
mod log_store;
mod machine;
mod network;
mod pace;
mod reads;
mod replica;
mod role;
pub mod sabotage;
mod service;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
mod snapshot;
mod space;
mod state_machine;
mod status;
#[cfg(test)]
mod storage_suite;
mod tail;
#[cfg(test)]
mod tests;
mod types;

pub use archive::{Archive, Records};
pub use backup::{Backup, RestoreError, Restored, restore};
#[doc(hidden)]
pub use blocking::blocking;
pub use config::{Config, Member};
pub use error::{AdminError, OpenError, ProposeError, ReadError, StoreError};
pub use inspect::{Inspection, LogRange, Promised, SnapshotFound, VoteFound, inspect};
pub use replica::Replica;
pub use role::{Role, RoleKind};
pub use state_machine::{Applied, ArchiveOp, Position, SnapshotView, StateMachine};
pub use status::{MemberStatus, Status};
