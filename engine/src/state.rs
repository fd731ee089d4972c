//! The replicated state: records, and indexes that are derived from them. Maps are persistent, so a clone is O(1) and
//! gives readers, snapshots and planners a consistent view while commands go on being applied.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};

use crate::ids::{Evaluation, NodeNo, ReadyKey, RunNo};
use crate::plan::{Plan, PlanNode};
use crate::record::{Agent, Amounts, Run};

/// All that the replicas agree on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The highest term a command carried.
    pub term: u64,
    /// The state's clock: the latest time a command carried, Unix milliseconds.
    pub now_ms: u64,
    /// The format that all replicas understand, as far as one beyond the first was ever needed.
    pub raised: u32,
    /// Counters for numbers given out.
    pub counters: Counters,
    /// Versions of each workflow, oldest first.
    pub workflows: OrdMap<String, Vector<Version>>,
    /// Definitions by content hash.
    pub definitions: OrdMap<String, Arc<Registered>>,
    /// Runs in the working state.
    pub runs: OrdMap<RunNo, Arc<Run>>,
    /// Run ids in the working state.
    pub run_ids: OrdMap<String, RunNo>,
    /// Requests that started a run, by request id.
    pub requests: OrdMap<String, Request>,
    /// Request ids in the order of their use, for forgetting the oldest.
    pub request_order: OrdMap<u64, String>,
    /// The id that Mesos knows us by; empty before it gave one.
    pub framework_id: String,
    /// Agents, by id.
    pub agents: OrdMap<String, Arc<Agent>>,
    /// What can be derived from the records above.
    pub index: Index,
}

/// Numbers given out so far.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Counters {
    /// Runs.
    #[prost(uint64, tag = "1")]
    pub runs: u64,
    /// Fences.
    #[prost(uint64, tag = "2")]
    pub fences: u64,
    /// Places in the ready queue.
    #[prost(uint64, tag = "3")]
    pub positions: u64,
    /// Requests.
    #[prost(uint64, tag = "4")]
    pub requests: u64,
}

/// One registered version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Version {
    /// Content hash.
    #[prost(string, tag = "1")]
    pub hash: String,
    /// Counts from 1 within the name.
    #[prost(uint32, tag = "2")]
    pub number: u32,
    /// When it was registered.
    #[prost(uint64, tag = "3")]
    pub registered_ms: u64,
}

/// A definition in the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// Canonical JSON.
    pub json: String,
    /// Made ready for running.
    pub plan: Plan,
}

/// A request that started a run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// The run it started.
    #[prost(string, tag = "1")]
    pub run_id: String,
    /// Digest of what was asked for.
    #[prost(string, tag = "2")]
    pub digest: String,
    /// Its key in `request_order`.
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

/// Derived from the records: `invariant::check` builds it anew and compares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// Steps that may be placed, in the order to try.
    pub ready: OrdSet<ReadyKey>,
    /// Evaluations the leader owes.
    pub evaluating: OrdSet<(RunNo, Evaluation)>,
    /// Timers: due time, run, node (0: the run's own).
    pub timers: OrdSet<(u64, RunNo, NodeNo)>,
    /// Work cut into pieces that goes on: run and for_each, or run and 0 for a sweep or archiving.
    pub continuing: OrdSet<(RunNo, NodeNo)>,
    /// Living attempts, by agent.
    pub live: OrdMap<String, OrdSet<(RunNo, NodeNo)>>,
    /// Runs that ended and are not being archived, by end.
    pub ended: OrdSet<(u64, RunNo)>,
}

impl State {
    /// The format that all replicas understand.
    pub fn format(&self) -> u32 {
        self.raised.max(crate::format::FIRST)
    }

    /// The run of this id in the working state.
    pub fn run(&self, run_id: &str) -> Option<&Arc<Run>> {
        self.runs.get(self.run_ids.get(run_id)?)
    }

    /// What living attempts hold of an agent: computed from them, never counted in a variable (P8).
    pub fn held(&self, agent: &str) -> Amounts {
        let none = Amounts::default();
        let Some(live) = self.index.live.get(agent) else { return none };
        live.iter().fold(none, |sum, (run, node)| {
            let attempt = self.runs.get(run).and_then(|run| run.nodes.get(node)?.attempt.as_ref());
            attempt.map_or(sum, |attempt| sum.plus(attempt.holds))
        })
    }

    /// The plan of one of a run's pinned definitions.
    pub fn plan(&self, run: &Run, pin: u32) -> Option<&Plan> {
        let hash = run.info.pins.get(pin as usize)?;
        self.definitions.get(hash).map(|registered| &registered.plan)
    }

    /// The definition's side of a node.
    pub fn planned(&self, run: &Run, no: NodeNo) -> Option<&PlanNode> {
        let scope = run.scopes.get(&run.nodes.get(&no)?.scope())?;
        let body = self.plan(run, scope.pin)?.bodies.get(scope.body as usize)?;
        body.nodes.get((no - scope.first) as usize)
    }

    /// What the next attempt of a step is to hold of its agent, or the living one holds; none for other nodes.
    pub fn needs(&self, run: &Run, no: NodeNo) -> Option<Amounts> {
        let step = self.planned(run, no)?.step()?;
        let needs = Amounts::from(&step.resources);
        let Some(growth) = &step.retry.memory else { return Some(needs) };
        let kills = run.nodes.get(&no)?.memory_kills;
        Some(Amounts { mem_bytes: growth.size_after(step.resources.mem, kills).0, ..needs })
    }

    /// Number of living attempts.
    pub fn live_count(&self) -> usize {
        self.index.live.values().map(OrdSet::len).sum()
    }
}

/// An empty JSON object.
pub(crate) const EMPTY_OBJECT: Bytes = Bytes::from_static(b"{}");
