//! What the deterministic simulation needs of the actors: a system of theirs on a runtime that it made.

use std::future::Future;

use tokio::runtime::Runtime;

/// Runs a future on a new system of actors, whose only thread this is.
pub fn block_on<F: Future>(runtime: impl Fn() -> Runtime, future: F) -> F::Output {
    actix::System::with_tokio_rt(runtime).block_on(future)
}
