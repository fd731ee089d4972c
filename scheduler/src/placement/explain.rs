//! Why a step waits, in words for its owner. The same reasons come from `solve`, which alone knows of reservations.

use std::collections::BTreeMap;
use std::fmt;

use super::shape::{describe, holds, runs};
use super::{Amounts, Offer, Resource, Shape};

/// Why a step waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no agent at all.
    NoAgents,
    /// No agent runs steps of this kind.
    NoKind {
        /// The kind.
        kind: String,
    },
    /// No agent that runs the kind meets this constraint.
    NoAttribute {
        /// The constraint, as people write it.
        constraint: String,
        /// How many agents run the kind.
        agents: usize,
    },
    /// Each constraint is met by some agent, but none meets them all.
    NoCombination {
        /// How many agents run the kind.
        agents: usize,
    },
    /// The step needs more of a resource than any suitable agent has, even when idle.
    TooLarge {
        /// The resource.
        resource: Resource,
        /// What the step needs of it.
        need: u64,
        /// What the largest suitable agent has of it.
        largest: u64,
    },
    /// Each resource is there on some suitable agent, but on none together.
    TooLargeTogether,
    /// Agents that are large enough are busy.
    Busy {
        /// The agent that is closest to fitting.
        agent: String,
        /// The resource it lacks most.
        resource: Resource,
        /// How much of it is missing there.
        missing: u64,
    },
    /// There is room, but only on agents kept for steps that come before.
    Reserved {
        /// One of those agents.
        agent: String,
    },
    /// There is room; the step's turn has not come yet.
    Turn,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoAgents => write!(f, "no agents are connected, or they are being drained"),
            Reason::NoKind { kind } => write!(f, "no agent runs kind `{kind}`"),
            Reason::NoAttribute { constraint, agents } => {
                write!(f, "no agent offers attribute {constraint} (0 of {agents} agents)")
            }
            Reason::NoCombination { agents } => {
                write!(f, "no agent meets all constraints together (0 of {agents} agents)")
            }
            Reason::TooLarge { resource, need, largest } => {
                let (need, largest) = (resource.describe(*need), resource.describe_bare(*largest));
                write!(f, "needs {need}; the largest agent has {largest}")
            }
            Reason::TooLargeTogether => write!(f, "no agent has all the resources it needs together"),
            Reason::Busy { agent, resource, missing } => {
                write!(f, "agents that fit are busy: waits for {} on {agent}", resource.describe(*missing))
            }
            Reason::Reserved { agent } => write!(f, "{agent} is reserved for an older step"),
            Reason::Turn => write!(f, "there is room; waits for its turn"),
        }
    }
}

/// Why a step of this shape waits, given all agents. Does not know of other steps, so it never says `Reserved`, and says
/// `Turn` when there is room.
pub fn explain(shape: &Shape, offers: &[Offer]) -> Reason {
    let suitable: Vec<&Offer> = offers.iter().filter(|offer| shape.suits(offer)).collect();
    let need = &shape.resources;
    if suitable.iter().any(|offer| offer.free.fits(need)) {
        return Reason::Turn;
    }
    let large_enough = suitable.iter().filter(|offer| offer.total.fits(need));
    let free = large_enough.map(|offer| (offer.agent.as_str(), offer.free));
    busy(need, free).unwrap_or_else(|| explain_never(shape, offers))
}

/// Why no agent would do even when idle.
pub(super) fn explain_never(shape: &Shape, offers: &[Offer]) -> Reason {
    let suitable: Vec<&Offer> = offers.iter().filter(|offer| shape.suits(offer)).collect();
    if suitable.is_empty() {
        return explain_unsuitable(shape, offers);
    }
    explain_too_large(&shape.resources, &suitable)
}

/// No agent runs the kind and meets the constraints: which of these is it?
fn explain_unsuitable(shape: &Shape, offers: &[Offer]) -> Reason {
    if offers.is_empty() {
        return Reason::NoAgents;
    }
    let mut agents: BTreeMap<&str, &Offer> = BTreeMap::new();
    for offer in offers.iter().filter(|offer| runs(offer, &shape.kind)) {
        agents.insert(&offer.agent, offer);
    }
    if agents.is_empty() {
        return Reason::NoKind { kind: shape.kind.clone() };
    }
    let is_missed = |constraint: &&_| !agents.values().any(|offer| holds(constraint, offer));
    match shape.constraints.iter().find(is_missed) {
        Some(missed) => Reason::NoAttribute { constraint: describe(missed), agents: agents.len() },
        None => Reason::NoCombination { agents: agents.len() },
    }
}

fn explain_too_large(need: &Amounts, suitable: &[&Offer]) -> Reason {
    for resource in Resource::ALL {
        let largest = suitable.iter().map(|offer| offer.total.of(resource)).max().unwrap_or(0);
        if need.of(resource) > largest {
            return Reason::TooLarge { resource, need: need.of(resource), largest };
        }
    }
    Reason::TooLargeTogether
}

/// What is missing on the agent that is closest to fitting. None without agents.
pub(super) fn busy<'a>(need: &Amounts, free: impl Iterator<Item = (&'a str, Amounts)>) -> Option<Reason> {
    let (agent, free) = closest(need, free)?;
    let lacking = |resource: &Resource| free.of(*resource) as f64 / need.of(*resource).max(1) as f64;
    let short = Resource::ALL.into_iter().filter(|resource| free.of(*resource) < need.of(*resource));
    let resource = short.min_by(|a, b| lacking(a).total_cmp(&lacking(b)))?;
    let missing = need.of(resource).saturating_sub(free.of(resource));
    Some(Reason::Busy { agent: agent.to_owned(), resource, missing })
}

/// The agent that lacks the smallest share; the alphabet decides among equals.
pub(super) fn closest<'a>(
    need: &Amounts,
    free: impl Iterator<Item = (&'a str, Amounts)>,
) -> Option<(&'a str, Amounts)> {
    let mut best: Option<(f64, &str, Amounts)> = None;
    for (agent, free) in free {
        let share = free.share_of(need);
        if best.is_none_or(|(most, name, _)| share > most || (share == most && agent < name)) {
            best = Some((share, agent, free));
        }
    }
    best.map(|(_, agent, free)| (agent, free))
}
