//! Storage by URI: `file:///…`, `hdfs://host:port/…` and `s3://bucket/…` behind one small API. Used for the workspaces of
//! runs, for files that steps fetch, and for what steps bring and take by `meson-executor fs`.
//!
//! Every call is bounded in time ([`Limits`]), and every error ([`Error`]) names the URI and what to do about it. What is put
//! is there whole or not at all, as far as the store can do so. Nothing here knows of runs or steps.

mod error;
mod hdfs;
mod limits;
mod local;
mod s3;
mod store;
mod tree;
mod uri;

pub use error::Error;
pub use limits::Limits;
pub use store::{Entry, Kind, Store};
pub use uri::{Scheme, Uri};
