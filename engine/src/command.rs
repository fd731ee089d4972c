//! All that may change the state. A command is wrapped in an envelope that carries the proposer's term and clock, and
//! travels through the log as protobuf: tags are never reused, unknown commands are refused, not guessed.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::record::{Agent, Artifact, Failure};

/// A command with what its proposer knew.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// Term of the leader that proposed it; an older one than the state has seen is refused.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Unix time at the proposer, in milliseconds. The state's clock never goes back.
    #[prost(uint64, tag = "2")]
    pub now_ms: u64,
    /// The command.
    #[prost(oneof = "Command", tags = "3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub command: Option<Command>,
}

impl Envelope {
    /// Its bytes in the log.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

/// The commands.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    /// A new leader begins its term.
    #[prost(message, tag = "3")]
    Lead(Lead),
    /// Store a workflow version.
    #[prost(message, tag = "4")]
    Register(Register),
    /// Start a run.
    #[prost(message, tag = "5")]
    Start(Start),
    /// The leader evaluated expressions.
    #[prost(message, tag = "6")]
    Evaluated(Evaluated),
    /// Go on with work that was cut into pieces.
    #[prost(message, tag = "7")]
    Continue(Continue),
    /// Run a ready step on an agent.
    #[prost(message, tag = "8")]
    Place(Place),
    /// An executor reports on an attempt.
    #[prost(message, tag = "9")]
    Report(Report),
    /// A timer is due.
    #[prost(message, tag = "10")]
    Fire(Fire),
    /// Cancel a run.
    #[prost(message, tag = "11")]
    Cancel(Cancel),
    /// Pause a run.
    #[prost(message, tag = "12")]
    Pause(RunId),
    /// Resume a run.
    #[prost(message, tag = "13")]
    Resume(RunId),
    /// Restart an ended run from what did not succeed.
    #[prost(message, tag = "14")]
    Restart(RunId),
    /// Send a signal.
    #[prost(message, tag = "15")]
    Signal(Signal),
    /// An agent came up, or changed.
    #[prost(message, tag = "16")]
    AgentUp(Agent),
    /// An agent is gone, and its attempts with it.
    #[prost(message, tag = "17")]
    AgentLost(AgentLost),
    /// An attempt is gone, or could not be launched.
    #[prost(message, tag = "18")]
    AttemptLost(AttemptLost),
    /// All replicas understand a newer format.
    #[prost(message, tag = "19")]
    Raise(Raise),
    /// Place nothing more on an agent, or do so again.
    #[prost(message, tag = "20")]
    Drain(Drain),
    /// Mesos gave us an id, or forgot it.
    #[prost(message, tag = "21")]
    Framework(Framework),
}

/// See [`Command::Lead`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Lead {}

/// See [`Command::Register`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Register {
    /// Canonical JSON of a definition that passed validation.
    #[prost(string, tag = "1")]
    pub definition: String,
    /// Its content hash.
    #[prost(string, tag = "2")]
    pub hash: String,
    /// The format that it needs, see [`crate::plan::Plan::format`]; 0 for the first.
    #[prost(uint32, tag = "3")]
    pub format: u32,
}

/// See [`Command::Start`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Start {
    /// The client's request id; empty for none.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// Id for the new run.
    #[prost(string, tag = "2")]
    pub run_id: String,
    /// The workflow.
    #[prost(string, tag = "3")]
    pub workflow: String,
    /// Content hash the parameters were checked against.
    #[prost(string, tag = "4")]
    pub version: String,
    /// Bound parameters, a JSON object.
    #[prost(bytes = "bytes", tag = "5")]
    pub params: Bytes,
    /// Labels.
    #[prost(btree_map = "string, string", tag = "6")]
    pub labels: BTreeMap<String, String>,
    /// Digest of what the client asked for, to tell a repeated request from another one under the same id.
    #[prost(string, tag = "7")]
    pub digest: String,
}

/// See [`Command::Evaluated`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Evaluated {
    /// The run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// The composite, or for `close` the first half of the scope's key.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// Whether a scope closes, rather than a composite opens.
    #[prost(bool, tag = "3")]
    pub close: bool,
    /// Second half of the closing scope's key.
    #[prost(uint32, tag = "4")]
    pub index: u32,
    /// Set when evaluation failed; nothing else then counts.
    #[prost(message, optional, tag = "5")]
    pub failure: Option<Failure>,
    /// Items of a for_each, each as JSON.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub items: Vec<Bytes>,
    /// The branch of a switch, from 0; none when no branch holds.
    #[prost(uint32, optional, tag = "7")]
    pub branch: Option<u32>,
    /// First or next state of a repeat, or parameters of a subworkflow: a JSON object.
    #[prost(bytes = "bytes", tag = "8")]
    pub variables: Bytes,
    /// Outputs of a closing scope, a JSON object.
    #[prost(bytes = "bytes", tag = "9")]
    pub outputs: Bytes,
    /// Whether a repeat's `until` holds.
    #[prost(bool, tag = "10")]
    pub until: bool,
}

/// See [`Command::Continue`]: which work goes on is in the state.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Continue {
    /// The run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// A for_each that has more scopes to create; 0 for a sweep over the run's nodes, or its archiving.
    #[prost(uint32, tag = "2")]
    pub node: u32,
}

/// See [`Command::Place`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Place {
    /// The run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// The step.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// The agent.
    #[prost(string, tag = "3")]
    pub agent: String,
    /// The executor that is to run it, where an agent may have several; else empty.
    #[prost(string, tag = "4")]
    pub executor: String,
}

/// See [`Command::Report`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// Text form of the attempt's id.
    #[prost(string, tag = "1")]
    pub attempt_id: String,
    /// The fence the executor was given.
    #[prost(uint64, tag = "2")]
    pub fence: u64,
    /// What happened.
    #[prost(enumeration = "Event", tag = "3")]
    pub event: i32,
    /// For a failure: why.
    #[prost(message, optional, tag = "4")]
    pub failure: Option<Failure>,
    /// Outputs, a JSON object.
    #[prost(bytes = "bytes", tag = "5")]
    pub outputs: Bytes,
    /// Artifacts.
    #[prost(message, repeated, tag = "6")]
    pub artifacts: Vec<Artifact>,
    /// When the executor started it.
    #[prost(uint64, tag = "7")]
    pub started_ms: u64,
    /// Whether the whole log is stored.
    #[prost(bool, tag = "8")]
    pub log_complete: bool,
}

/// What an executor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Event {
    /// Never sent.
    Unspecified = 0,
    /// It runs.
    Running = 1,
    /// It ended well.
    Succeeded = 2,
    /// It ended otherwise.
    Failed = 3,
}

/// See [`Command::Fire`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Fire {
    /// The run.
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// The node; 0 for the run's own timer.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// When it was due: a timer that was set anew since does not match and is left alone.
    #[prost(uint64, tag = "3")]
    pub due_ms: u64,
}

/// See [`Command::Cancel`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cancel {
    /// The run's id.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// A command that only names a run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunId {
    /// The run's id.
    #[prost(string, tag = "1")]
    pub run_id: String,
}

/// See [`Command::Signal`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Signal {
    /// The run's id.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// The signal's name.
    #[prost(string, tag = "2")]
    pub signal: String,
    /// Its payload, JSON.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// The same id is delivered once; empty for none.
    #[prost(string, tag = "4")]
    pub request_id: String,
}

/// See [`Command::AgentLost`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentLost {
    /// The agent.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// Why, for people.
    #[prost(string, tag = "2")]
    pub message: String,
    /// Whether its record goes too: a resource manager named it, and never gives that name again.
    #[prost(bool, tag = "3")]
    pub forget: bool,
}

/// See [`Command::AttemptLost`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttemptLost {
    /// Text form of the attempt's id.
    #[prost(string, tag = "1")]
    pub attempt_id: String,
    /// Its fence.
    #[prost(uint64, tag = "2")]
    pub fence: u64,
    /// Why.
    #[prost(message, required, tag = "3")]
    pub failure: Failure,
}

/// See [`Command::Raise`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Raise {
    /// The format that all replicas understand.
    #[prost(uint32, tag = "1")]
    pub format: u32,
}

/// See [`Command::Drain`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Drain {
    /// The agent.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// Whether to place nothing more on it.
    #[prost(bool, tag = "2")]
    pub draining: bool,
}

/// See [`Command::Framework`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Framework {
    /// The id that the state is to have; empty for none.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The id that it must have now; empty for none. Two who ask at once are thus told apart.
    #[prost(string, tag = "2")]
    pub instead_of: String,
}

macro_rules! into_command {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Command {
            fn from(command: $type) -> Command {
                Command::$variant(command)
            }
        })*
    };
}

into_command! {
    Lead => Lead, Register => Register, Start => Start, Evaluated => Evaluated, Continue => Continue, Place => Place,
    Report => Report, Fire => Fire, Cancel => Cancel, Signal => Signal, Agent => AgentUp, AgentLost => AgentLost,
    AttemptLost => AttemptLost, Raise => Raise, Drain => Drain, Framework => Framework,
}
