//! The HTTP faces of Spark that Meson speaks to: the REST API of an application's driver, the page and JSON of a standalone
//! master, and the gateway that takes drivers in (cluster mode). Usable alone; it decides nothing.
//!
//! Every call is bounded in time and size, and whoever asks must be able to live without an answer: an application may run
//! without its interface, and a master may have none.

mod application;
mod error;
mod http;
mod master;
mod submission;
pub mod tag;

pub use application::{Application, Executor, Job, Origin, Stage, Task};
pub use error::Error;
pub use master::{App, Driver, Master, State, Worker};
pub use submission::{Create, DriverState, Gateway, Status};
