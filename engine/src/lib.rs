//! The verbs of Meson: a pure state machine. `apply(state, command) -> (outcome, effects)` is deterministic and total,
//! without clock, randomness, I/O or hash-order iteration; time, ids and evaluated expressions come in with the command.
//!
//! [`command`] lists all that may change the [`state`], [`effect`] all that the outside must then do. [`mod@apply`] has one
//! small file for each command; what they share moves in `flow`. [`mod@recover`] derives the effects a new leader owes,
//! [`invariant`] says what must always hold, [`snapshot`] and [`archive`] are the forms on disk.

pub mod apply;
pub mod archive;
pub mod command;
pub mod effect;
mod flow;
pub mod format;
pub mod ids;
mod index;
pub mod invariant;
pub mod limits;
pub mod outcome;
pub mod plan;
pub mod record;
pub mod recover;
pub mod snapshot;
pub mod state;
pub mod status;

pub use apply::{Applied, apply, apply_bytes, apply_bytes_up_to};
pub use effect::Effect;
pub use recover::recover;
pub use state::State;
