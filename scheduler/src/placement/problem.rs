//! The values that placement works on: offers and limits in, launches and reservations out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Amounts, Queue, Reason};

/// Resources of one agent, as a resource manager gave them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// Unique among the offers of a problem.
    pub id: String,
    /// The agent; several offers may be of one agent, and are never combined.
    pub agent: String,
    /// What this offer holds. An offer without anything free is welcome: it shows that the agent exists, so that a
    /// step can wait for it or reserve it.
    pub free: Amounts,
    /// All that the agent has when nothing runs on it.
    pub total: Amounts,
    /// The agent's attributes.
    pub attributes: BTreeMap<String, String>,
    /// Step kinds the agent runs; empty for any.
    pub kinds: BTreeSet<String>,
    /// The role of Mesos that it is for; none for everybody.
    pub role: Option<String>,
}

/// Bounds of one call of [`super::solve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a step waits before it may reserve an agent; also the time whose wait counts as one level of priority.
    pub starve_after_ms: u64,
    /// Most agents that are kept free for starving steps at a time. With 0, large steps may starve.
    pub reservations_max: usize,
    /// Most launches of one call.
    pub launches_max: usize,
    /// Most groups (steps of equal shape and priority) that one call looks at, first in order first.
    pub examine_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { starve_after_ms: 300_000, reservations_max: 2, launches_max: 1_000, examine_max: 10_000 }
    }
}

/// What [`super::solve`] solves.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The steps that wait.
    pub queue: &'a Queue,
    /// What there is to give.
    pub offers: &'a [Offer],
    /// Bounds of the call.
    pub limits: Limits,
    /// The time on the clock of [`super::Demand::ready_at_ms`].
    pub now_ms: u64,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Solution {
    /// Steps to launch, in the order in which they were chosen.
    pub launches: Vec<Launch>,
    /// The first step of each group that was examined and waits, in order.
    pub waiting: Vec<Waiting>,
    /// Agents kept for a starving step. Their unused offers are in `unused` too: give those back for a short time, since
    /// a resource manager grows an agent's offer only when it holds all of it.
    pub reservations: Vec<Reservation>,
    /// Offers that nothing is launched on, in the problem's order.
    pub unused: Vec<String>,
}

/// A step that is given a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The step's run.
    pub run: u64,
    /// The step.
    pub node: u32,
    /// The offer to take from.
    pub offer: String,
    /// The offer's agent.
    pub agent: String,
}

/// A step that waits, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The step's run.
    pub run: u64,
    /// The step.
    pub node: u32,
    /// Why.
    pub reason: Reason,
}

/// An agent that is kept for a starving step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The step's run.
    pub run: u64,
    /// The step.
    pub node: u32,
    /// The agent that later steps may not use.
    pub agent: String,
}
