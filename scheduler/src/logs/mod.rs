//! Output of attempts: this replica's store of it on disk, and the gRPC `LogService` over it.
//!
//! Executors send records to every replica. [`LogStore`] keeps them, one file an attempt, and answers what it has synced;
//! [`Service`] is its face, and asks the other replicas for what this one lacks. Nothing here knows runs or steps:
//! [`AttemptLookup`] turns them into attempt ids.
//!
//! On disk, below the store's root: `<two hex digits>/<attempt id>.log` (frames of `LogRecord`) and
//! `journal/<number>.journal` (frames of `AppendLogsRequest`). A batch of appends is synced once, in the journal; the
//! attempts' files are synced later by the keeper, which then removes the journal. Opening replays what is left of it.

mod attempt;
mod crc;
mod cursor;
mod error;
mod file;
mod followers;
mod frame;
mod journal;
mod keeper;
mod peers;
mod reader;
mod reading;
mod service;
mod settings;
mod state;
mod states;
mod store;
mod writer;

pub use attempt::AttemptName;
pub use error::Error;
pub use reader::{LogReader, Start};
pub use service::{AttemptLookup, LOCAL_ONLY, Lookup, Service};
pub use settings::{ServiceSettings, Settings};
pub use store::{LogStore, Ticket};

#[cfg(test)]
mod tests;
