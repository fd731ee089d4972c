//! The records that make up the state: one for each run, scope, node and agent. They are protobuf messages, so that the
//! snapshot and archive formats only ever grow; a run is never held as one value.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};

use crate::ids::{AttemptId, NodeNo, RunNo, ScopeKey};
use crate::status::{FailureClass, KillCause, NodeStatus, Phase, RunStatus, Stop};

/// A failure, with its class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    /// The class, which decides on retries.
    #[prost(enumeration = "FailureClass", tag = "1")]
    pub class: i32,
    /// A stable word for programs.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// For people.
    #[prost(string, tag = "3")]
    pub message: String,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: FailureClass, reason: &str, message: impl Into<String>) -> Self {
        Failure { class: class as i32, reason: reason.to_owned(), message: message.into() }
    }
}

/// A file or URI that a step published.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifact {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Where it is.
    #[prost(string, tag = "2")]
    pub uri: String,
}

/// Amounts of an agent's resources, in whole numbers so that sums are exact.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Amounts {
    /// Thousandths of a core.
    #[prost(uint64, tag = "1")]
    pub cpus_milli: u64,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub mem_bytes: u64,
    /// Bytes.
    #[prost(uint64, tag = "3")]
    pub disk_bytes: u64,
    /// Graphics processors.
    #[prost(uint32, tag = "4")]
    pub gpus: u32,
}

impl Amounts {
    /// The sum; saturates.
    pub fn plus(self, other: Amounts) -> Amounts {
        Amounts {
            cpus_milli: self.cpus_milli.saturating_add(other.cpus_milli),
            mem_bytes: self.mem_bytes.saturating_add(other.mem_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// What is left after taking `other` away; nothing goes below zero.
    pub fn minus(self, other: Amounts) -> Amounts {
        Amounts {
            cpus_milli: self.cpus_milli.saturating_sub(other.cpus_milli),
            mem_bytes: self.mem_bytes.saturating_sub(other.mem_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(other.disk_bytes),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }

    /// Whether this much fits into `room`, in every dimension.
    pub fn fits(self, room: Amounts) -> bool {
        self.cpus_milli <= room.cpus_milli
            && self.mem_bytes <= room.mem_bytes
            && self.disk_bytes <= room.disk_bytes
            && self.gpus <= room.gpus
    }
}

impl From<&meson_workflow::definition::Resources> for Amounts {
    fn from(resources: &meson_workflow::definition::Resources) -> Self {
        Amounts {
            cpus_milli: (resources.cpus * 1_000.0).round() as u64,
            mem_bytes: resources.mem.0,
            disk_bytes: resources.disk.0,
            gpus: resources.gpus,
        }
    }
}

/// A step's newest attempt, living or ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attempt {
    /// Counts from 1 within the step.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// The agent it was placed on.
    #[prost(string, tag = "2")]
    pub agent: String,
    /// Who may speak for it: grows from attempt to attempt.
    #[prost(uint64, tag = "3")]
    pub fence: u64,
    /// The leader's term at its placement.
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// When it was placed.
    #[prost(uint64, tag = "5")]
    pub placed_ms: u64,
    /// When the executor started it; 0 while unknown.
    #[prost(uint64, tag = "6")]
    pub started_ms: u64,
    /// Why it was asked to end.
    #[prost(enumeration = "KillCause", tag = "7")]
    pub kill: i32,
    /// What it holds of its agent.
    #[prost(message, required, tag = "8")]
    pub holds: Amounts,
    /// Whether its whole log is stored; meaningful once it ended.
    #[prost(bool, tag = "9")]
    pub log_complete: bool,
    /// The executor of its agent that was to run it; empty where an agent has but one.
    #[prost(string, tag = "10")]
    pub executor: String,
}

/// What a composite knows of its scopes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Composite {
    /// Scopes created so far.
    #[prost(uint32, tag = "1")]
    pub created: u32,
    /// Scopes under way.
    #[prost(uint32, tag = "2")]
    pub active: u32,
    /// Scopes ended.
    #[prost(uint32, tag = "3")]
    pub done: u32,
    /// Scopes there will be (a repeat: at most).
    #[prost(uint32, tag = "4")]
    pub total: u32,
    /// Whether and how its scopes are being stopped.
    #[prost(enumeration = "Stop", tag = "5")]
    pub stopping: i32,
    /// What stopped it.
    #[prost(message, optional, tag = "6")]
    pub cause: Option<Failure>,
    /// Whether more scopes may be created right now.
    #[prost(bool, tag = "7")]
    pub expanding: bool,
}

/// One node of a run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// First half of its scope's key.
    #[prost(uint32, tag = "1")]
    pub parent: u32,
    /// Second half of its scope's key.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// Where it stands.
    #[prost(enumeration = "NodeStatus", tag = "3")]
    pub status: i32,
    /// Needs that have not ended.
    #[prost(uint32, tag = "4")]
    pub unmet: u32,
    /// Needs that succeeded.
    #[prost(uint32, tag = "5")]
    pub needs_succeeded: u32,
    /// Needs that failed or were cancelled.
    #[prost(uint32, tag = "6")]
    pub needs_failed: u32,
    /// The run's sequence number at the last change.
    #[prost(uint64, tag = "7")]
    pub sequence: u64,
    /// Attempts that failed by the step's own fault.
    #[prost(uint32, tag = "8")]
    pub failures_user: u32,
    /// Attempts that the platform lost.
    #[prost(uint32, tag = "9")]
    pub failures_platform: u32,
    /// Attempts that took too long.
    #[prost(uint32, tag = "10")]
    pub failures_timeout: u32,
    /// Place in the ready queue; 0 when not in it.
    #[prost(uint64, tag = "11")]
    pub position: u64,
    /// When it became ready, or active.
    #[prost(uint64, tag = "12")]
    pub ready_ms: u64,
    /// When it ended; 0 before.
    #[prost(uint64, tag = "13")]
    pub ended_ms: u64,
    /// When its timer fires; 0 for none.
    #[prost(uint64, tag = "14")]
    pub timer_ms: u64,
    /// The newest attempt.
    #[prost(message, optional, boxed, tag = "15")]
    pub attempt: Option<Box<Attempt>>,
    /// Why the last attempt, or the node, did not succeed.
    #[prost(message, optional, boxed, tag = "16")]
    pub failure: Option<Box<Failure>>,
    /// Outputs, a JSON object; empty for none.
    #[prost(bytes = "bytes", tag = "17")]
    pub outputs: Bytes,
    /// Artifacts.
    #[prost(message, repeated, tag = "18")]
    pub artifacts: Vec<Artifact>,
    /// Set for composites that opened.
    #[prost(message, optional, boxed, tag = "19")]
    pub composite: Option<Box<Composite>>,
    /// Attempts that were killed for using too much memory and followed by one with more.
    #[prost(uint32, tag = "20")]
    pub memory_kills: u32,
}

impl Node {
    /// Key of the scope that holds it.
    pub fn scope(&self) -> ScopeKey {
        (self.parent, self.index)
    }

    /// The number of the newest attempt; 0 before the first.
    pub fn attempts(&self) -> u32 {
        self.attempt.as_ref().map_or(0, |attempt| attempt.number)
    }
}

/// One execution of a graph: the root, an item, an iteration, a branch or a called workflow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scope {
    /// Which of the run's pinned definitions.
    #[prost(uint32, tag = "1")]
    pub pin: u32,
    /// Which graph of that definition.
    #[prost(uint32, tag = "2")]
    pub body: u32,
    /// Number of its first node; the others follow in the graph's order.
    #[prost(uint32, tag = "3")]
    pub first: u32,
    /// Nodes that have not ended.
    #[prost(uint32, tag = "4")]
    pub remaining: u32,
    /// Whether a node failed without being ignored.
    #[prost(bool, tag = "5")]
    pub failed: bool,
    /// Whether and how it is being stopped.
    #[prost(enumeration = "Stop", tag = "6")]
    pub stopping: i32,
    /// The failure that stopped it.
    #[prost(message, optional, boxed, tag = "7")]
    pub cause: Option<Box<Failure>>,
    /// Where it stands.
    #[prost(enumeration = "Phase", tag = "8")]
    pub phase: i32,
    /// A loop's carried state or a called workflow's parameters, a JSON object; empty for none.
    #[prost(bytes = "bytes", tag = "9")]
    pub variables: Bytes,
    /// Its outputs once done, a JSON object; empty for none.
    #[prost(bytes = "bytes", tag = "10")]
    pub outputs: Bytes,
}

/// How many nodes of a run are in which state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Counts {
    /// All.
    #[prost(uint32, tag = "1")]
    pub total: u32,
    /// Placed or running.
    #[prost(uint32, tag = "2")]
    pub live: u32,
    /// Ready, backing off, waiting.
    #[prost(uint32, tag = "3")]
    pub ready: u32,
    /// Succeeded.
    #[prost(uint32, tag = "4")]
    pub succeeded: u32,
    /// Failed.
    #[prost(uint32, tag = "5")]
    pub failed: u32,
    /// Cancelled.
    #[prost(uint32, tag = "6")]
    pub cancelled: u32,
    /// Skipped.
    #[prost(uint32, tag = "7")]
    pub skipped: u32,
    /// Composites evaluating or active.
    #[prost(uint32, tag = "8")]
    pub active: u32,
}

impl Counts {
    /// The counter of a state; pending has none, it is what is left.
    pub(crate) fn of(&mut self, status: NodeStatus) -> Option<&mut u32> {
        use NodeStatus::*;
        match status {
            Unspecified | Pending => None,
            Ready | BackingOff | Waiting => Some(&mut self.ready),
            Placed | Running => Some(&mut self.live),
            Evaluating | Active => Some(&mut self.active),
            Succeeded => Some(&mut self.succeeded),
            Failed => Some(&mut self.failed),
            Cancelled => Some(&mut self.cancelled),
            Skipped => Some(&mut self.skipped),
        }
    }

    /// Nodes that wait for their needs.
    pub fn pending(&self) -> u32 {
        let others = self.live + self.ready + self.succeeded + self.failed + self.cancelled + self.skipped;
        self.total.saturating_sub(others + self.active)
    }
}

/// What of a run never changes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunInfo {
    /// The run's number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Its id.
    #[prost(string, tag = "2")]
    pub run_id: String,
    /// Name of its workflow.
    #[prost(string, tag = "3")]
    pub workflow: String,
    /// Content hashes of the definitions it may use; the first is its own.
    #[prost(string, repeated, tag = "4")]
    pub pins: Vec<String>,
    /// Bound parameters, a JSON object.
    #[prost(bytes = "bytes", tag = "5")]
    pub params: Bytes,
    /// The client's request id; empty for none.
    #[prost(string, tag = "6")]
    pub request_id: String,
    /// Labels.
    #[prost(btree_map = "string, string", tag = "7")]
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    #[prost(uint64, tag = "8")]
    pub started_ms: u64,
}

/// What of a run changes, besides its nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunHead {
    /// Where it stands.
    #[prost(enumeration = "RunStatus", tag = "1")]
    pub status: i32,
    /// Grows with every change.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// The sequence number at the last change of the head itself.
    #[prost(uint64, tag = "3")]
    pub head_sequence: u64,
    /// The number the next node gets.
    #[prost(uint32, tag = "4")]
    pub next_node: u32,
    /// Whether it is paused.
    #[prost(bool, tag = "5")]
    pub paused: bool,
    /// Nodes from this number on have to be brought in line with a stop, a pause or a resume; 0 for none.
    #[prost(uint32, tag = "6")]
    pub sweep: u32,
    /// When it ended; 0 before.
    #[prost(uint64, tag = "7")]
    pub ended_ms: u64,
    /// Why it failed.
    #[prost(message, optional, boxed, tag = "8")]
    pub failure: Option<Box<Failure>>,
    /// Outputs, a JSON object; empty for none.
    #[prost(bytes = "bytes", tag = "9")]
    pub outputs: Bytes,
    /// Tallies.
    #[prost(message, required, tag = "10")]
    pub counts: Counts,
    /// When its timeout passes; 0 for none.
    #[prost(uint64, tag = "11")]
    pub timer_ms: u64,
    /// Nodes below this number are archived already; 0 while it is not being archived.
    #[prost(uint32, tag = "12")]
    pub archived: u32,
    /// Request ids of the newest signals, oldest first.
    #[prost(string, repeated, tag = "13")]
    pub signal_ids: Vec<String>,
}

/// One execution of one workflow version. Cloning costs a few reference counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What never changes.
    pub info: Arc<RunInfo>,
    /// What changes.
    pub head: RunHead,
    /// Its nodes.
    pub nodes: OrdMap<NodeNo, Arc<Node>>,
    /// Its scopes.
    pub scopes: OrdMap<ScopeKey, Arc<Scope>>,
    /// Items of its for_each nodes, each as JSON.
    pub items: OrdMap<NodeNo, Vector<Bytes>>,
    /// Signals that no node has taken yet, by name, oldest first.
    pub signals: OrdMap<String, Vector<Bytes>>,
    /// Nodes that wait for a signal, by its name.
    pub waits: OrdMap<String, OrdSet<NodeNo>>,
    /// Nodes in the order of their last change.
    pub changed: OrdMap<u64, NodeNo>,
}

impl Run {
    /// The run's number.
    pub fn number(&self) -> RunNo {
        self.info.number
    }

    /// Id of a node's newest attempt; none before the first.
    pub fn attempt_id(&self, node: NodeNo) -> Option<AttemptId> {
        let attempt = self.nodes.get(&node)?.attempt.as_ref()?;
        Some(AttemptId { run_id: self.info.run_id.clone(), node, attempt: attempt.number })
    }
}

/// Where attempts run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Agent {
    /// Its id.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// All it has.
    #[prost(message, required, tag = "2")]
    pub total: Amounts,
    /// Attributes that constraints look at.
    #[prost(btree_map = "string, string", tag = "3")]
    pub attributes: BTreeMap<String, String>,
    /// Step kinds it can run.
    #[prost(string, repeated, tag = "4")]
    pub kinds: Vec<String>,
    /// Its host's name.
    #[prost(string, tag = "5")]
    pub hostname: String,
    /// False from its loss until it comes back.
    #[prost(bool, tag = "6")]
    pub up: bool,
    /// The executor's version.
    #[prost(string, tag = "7")]
    pub version: String,
    /// When it was lost or came up.
    #[prost(uint64, tag = "8")]
    pub since_ms: u64,
    /// Nothing more is placed on it.
    #[prost(bool, tag = "9")]
    pub draining: bool,
    /// Whether Mesos offers it; else it is an executor that connected by itself.
    #[prost(bool, tag = "10")]
    pub mesos: bool,
}
