//! All that the outside must do after a command. Followers drop effects; the leader hands each to one actor. Every one
//! can be derived from the state again (`recover`), so losing one costs time, never truth.

use crate::ids::{Evaluation, NodeNo, RunNo};

/// Something the outside must do. Doing it twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A run is active: it gets an actor.
    RunStarted {
        /// The run.
        run: RunNo,
    },
    /// A run ended: its actor stops.
    RunEnded {
        /// The run.
        run: RunNo,
    },
    /// Evaluate expressions and propose [`crate::command::Evaluated`].
    Evaluate {
        /// The run.
        run: RunNo,
        /// Which.
        evaluation: Evaluation,
    },
    /// Propose [`crate::command::Continue`].
    Continue {
        /// The run.
        run: RunNo,
        /// A for_each, or 0.
        node: NodeNo,
    },
    /// Steps wait in the ready queue, or room was freed: look at the offers.
    WantPlacement,
    /// A timer was set: propose [`crate::command::Fire`] when it is due.
    SetTimer {
        /// Unix time, in milliseconds.
        due_ms: u64,
    },
    /// Bring an attempt to its agent.
    Launch {
        /// The run.
        run: RunNo,
        /// The step.
        node: NodeNo,
    },
    /// End an attempt; repeat until it is reported ended.
    Kill {
        /// The run.
        run: RunNo,
        /// The step.
        node: NodeNo,
    },
    /// An attempt ended: its actor stops.
    AttemptEnded {
        /// The run.
        run: RunNo,
        /// The step.
        node: NodeNo,
    },
}

/// What leaves the working state for the archive on disk. Done by every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveOp {
    /// Store a record.
    Put {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: bytes::Bytes,
    },
}
