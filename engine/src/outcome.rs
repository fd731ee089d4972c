//! What a command's proposer is told. A refusal is an outcome, never an error: it is decided in the state, alike on
//! every replica.

use bytes::Bytes;
use prost::Message as _;

/// The answer to a command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outcome {
    /// Set when the command was refused; the state is then unchanged (but for its clock and term).
    #[prost(message, optional, tag = "1")]
    pub refusal: Option<Refusal>,
    /// Id of the run concerned, where the command has one.
    #[prost(string, tag = "2")]
    pub run_id: String,
    /// Start and register: whether something new came to be. Others: whether anything changed.
    #[prost(bool, tag = "3")]
    pub changed: bool,
}

impl Outcome {
    /// Done, or done before.
    pub fn done(changed: bool) -> Self {
        Outcome { refusal: None, run_id: String::new(), changed }
    }

    /// Done, with the run concerned.
    pub fn run(run_id: &str, changed: bool) -> Self {
        Outcome { refusal: None, run_id: run_id.to_owned(), changed }
    }

    /// Its bytes, as the replicated log hands them back.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

/// Why a command was refused.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refusal {
    /// The kind.
    #[prost(enumeration = "RefusalKind", tag = "1")]
    pub kind: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RefusalKind {
    /// Never made.
    Unspecified = 0,
    /// The proposer no longer leads.
    StaleTerm = 1,
    /// There is no such workflow, version, run or node.
    NotFound = 2,
    /// The request id was used for something else.
    RequestIdReused = 3,
    /// The run is not in a state that allows it.
    WrongState = 4,
    /// The speaker is not who may speak for the attempt (P3, P5).
    StaleFence = 5,
    /// The agent has no room, or is not there (P8).
    NoRoom = 6,
    /// A bound would be passed.
    LimitExceeded = 7,
    /// The command cannot be read: from a newer version, or damaged.
    Unreadable = 8,
    /// What it was about has moved on; nothing to do.
    Stale = 9,
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Outcome { refusal: Some(refusal), run_id: String::new(), changed: false }
    }
}

/// A refusal of this kind.
pub(crate) fn refused(kind: RefusalKind, message: impl Into<String>) -> Refusal {
    Refusal { kind: kind as i32, message: message.into() }
}
