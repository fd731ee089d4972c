//! What happened, from three sources that know nothing of each other: what clients were answered ([`Operation`]), what
//! the attempts wrote about themselves ([`Mark`]), and what the replicas say when all is quiet again ([`FinalState`]).
//! Beside them, what was done to the cluster ([`Fault`]), which only the rules about timing need.
//!
//! All times are microseconds of the machine's monotonic clock (`CLOCK_MONOTONIC`), which every process of one machine
//! shares and no fault moves. A history is plain data: it can be written to a file, read again, and checked again.

use std::collections::{BTreeMap, BTreeSet};

mod file;
mod marks;

pub use marks::{parse_marks, read_marks};

use serde::{Deserialize, Serialize};

/// Microseconds of `CLOCK_MONOTONIC`.
pub type Micros = u64;

/// One whole test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Seed of the schedule and the load.
    pub seed: u64,
    /// The workflows that the load uses, by name.
    pub workflows: BTreeMap<String, Shape>,
    /// What clients asked and were answered.
    pub operations: Vec<Operation>,
    /// What attempts wrote, in the order of the file.
    pub marks: Vec<Mark>,
    /// What was done to the cluster.
    pub faults: Vec<Fault>,
    /// What each agent offered, by its name.
    pub agents: BTreeMap<String, Amounts>,
    /// What the replicas said at the end.
    pub end: FinalState,
}

/// What the rules need to know of a workflow: its steps and what each of them waits for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Steps by the path of their definition (`fan/one` for the step `one` in the composite `fan`).
    pub steps: BTreeMap<String, StepShape>,
    /// Nodes that wait for a signal, by the path of their definition, with the signal's name.
    #[serde(default)]
    pub waits: BTreeMap<String, String>,
    /// Paths of the definitions of `repeat` composites, whose iterations run one after the other.
    #[serde(default)]
    pub repeats: BTreeSet<String>,
}

/// One step of a [`Shape`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepShape {
    /// Paths of steps and composites that must all have succeeded before this starts: its own `needs` and those of the
    /// composites around it.
    pub needs: Vec<String>,
    /// What one attempt holds.
    pub amounts: Amounts,
    /// Attempts that the step's own retries allow for failures of its code: 1 without retries.
    pub user_attempts_max: u32,
    /// How long an attempt may take before it is ended, if that is limited.
    #[serde(default)]
    pub timeout: Option<Micros>,
}

/// Resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub mem_bytes: u64,
}

/// One call of one client, with all its tries at several replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The client, which has one operation under way at a time.
    pub client: u32,
    /// When it was sent first.
    pub called: Micros,
    /// When the answer was there; none if no answer ever came.
    pub answered: Option<Micros>,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub answer: Answer,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Start a run.
    Submit {
        /// The client's own id of the request; the same one again means the same run.
        request_id: String,
        /// Name of the workflow.
        workflow: String,
    },
    /// Read a run, through the log unless `stale`.
    Get {
        /// The run.
        run_id: String,
        /// Whether the client allowed an answer from the past.
        stale: bool,
    },
    /// Cancel a run.
    Cancel {
        /// The run.
        run_id: String,
    },
    /// Send a signal to a run.
    Signal {
        /// The run.
        run_id: String,
        /// The signal.
        name: String,
        /// Told apart from other signals of that name by this.
        request_id: String,
    },
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The run was started, or had been by the same request before.
    Started {
        /// The run.
        run_id: String,
    },
    /// The run as it is.
    Seen(RunView),
    /// The change was accepted.
    Accepted,
    /// The change was refused, and certainly not made; or there is no such thing.
    Refused {
        /// The gRPC code, as `NotFound`.
        code: String,
        /// The message.
        message: String,
    },
    /// Nobody knows: a deadline passed or a connection broke, and no later try was answered.
    Unknown {
        /// The last gRPC code.
        code: String,
    },
}

/// A run as one answer shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// How it stands.
    pub status: RunState,
    /// Whether it winds down: the service's `STOPPING`, after a cancel was asked for or something failed.
    pub cancelling: bool,
    /// Nodes that have succeeded.
    pub succeeded: u64,
    /// Whether the answer says of itself that it may be from the past.
    pub stale: bool,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunState {
    /// It goes on, or is paused.
    #[default]
    Active,
    /// It has ended well.
    Succeeded,
    /// It has failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// One line that an attempt wrote about itself into a file outside of everybody's control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// When it was written.
    pub at: Micros,
    /// What it says.
    pub kind: MarkKind,
    /// The run.
    pub run_id: String,
    /// Path of the step's node as in `MESON_STEP`, with the places of iterations in it: `fan[3]/one`.
    pub step: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The fence.
    pub fence: u64,
    /// The agent it ran on.
    pub agent: String,
    /// The process that wrote, which tells an attempt that was started twice from itself.
    pub process: u32,
}

/// What a [`Mark`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MarkKind {
    /// The attempt has begun.
    Start,
    /// It lives; written every few tens of milliseconds, so that the end of one that was killed is known as well.
    Beat,
    /// It is about to end with success.
    Success,
    /// It is about to end with a failure, as it was told to.
    Failure,
}

/// Something done to the cluster, from when to when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it was done.
    pub from: Micros,
    /// When it was healed; the same as `from` for a blow without a duration.
    pub until: Micros,
    /// What it was, as in `kill replica-1`.
    pub what: String,
    /// Processes that it touches: `replica-1`, `executor-2`; by the names in [`FinalState::fingerprints`] and
    /// [`History::agents`].
    pub touches: Vec<String>,
    /// Whether it struck the replica that led at that time.
    pub leader: bool,
}

/// What the replicas say after all faults were healed and nothing moves any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalState {
    /// When it was read.
    pub at: Micros,
    /// All runs, as the leader gives them.
    pub runs: Vec<FinalRun>,
    /// For each replica, a fingerprint of all its runs and nodes: equal on all of them.
    pub fingerprints: BTreeMap<String, String>,
}

/// A run at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalRun {
    /// The run.
    pub run_id: String,
    /// The request that started it.
    pub request_id: String,
    /// Name of the workflow.
    pub workflow: String,
    /// How it stands.
    pub status: RunState,
    /// Request ids of the signals it took: the load sends each as the payload, which its `wait` node gives as output.
    pub signals: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<FinalNode>,
}

/// A node at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalNode {
    /// Path, with the places of iterations in it, as the service gives it: `fan[3]/one`.
    pub path: String,
    /// Whether it is a step, and not a composite.
    pub is_step: bool,
    /// The service's word for how it stands, as `SUCCEEDED`.
    pub status: String,
    /// Attempts it took.
    pub attempts: u32,
}
