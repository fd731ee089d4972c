//! What the log's user implements: a state machine that applies commands, and what comes out of it.
//!
//! The log neither looks into commands nor into outcomes. Everything here is called on threads of its own, so it may
//! compute and block, but every replica must come to the same result.

use std::io;

use bytes::Bytes;

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// What applying one entry gave.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// One outcome per command, in order; each goes back to its proposer.
    pub outcomes: Vec<Bytes>,
    /// What to write into the archive, in order.
    pub archive: Vec<ArchiveOp>,
}

/// A change to the archive. Doing it again on replay must do no harm, which puts and deletes do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value, of any size.
        value: Bytes,
    },
    /// Deletes every key that starts with a prefix.
    DeletePrefix {
        /// The prefix.
        prefix: Vec<u8>,
    },
}

/// The replicated state.
pub trait StateMachine: Send + 'static {
    /// Applies the commands of one entry, and returns one outcome per command.
    ///
    /// # Errors
    /// When a command cannot be understood. The replica then stops: its state would no longer be what the others have.
    fn apply(&mut self, at: Position, commands: &[Bytes]) -> io::Result<Applied>;
    /// A consistent view of the state as it is now, to be written by another thread while `apply` goes on. Must be
    /// cheap: nothing is applied while it is taken.
    fn snapshot(&self) -> Box<dyn SnapshotView>;
    /// Replaces the state by one that a [`SnapshotView`] wrote.
    fn restore(&mut self, input: &mut dyn io::Read) -> io::Result<()>;
}

/// A consistent view of the state.
pub trait SnapshotView: Send {
    /// Writes the state out, for [`StateMachine::restore`] to read.
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()>;
}
