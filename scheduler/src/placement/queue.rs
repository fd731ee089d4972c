//! The steps that wait, grouped by what they ask for, so that a call of `solve` costs as much as there are different
//! groups and launches, however many steps wait.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Shape;

/// A step that waits for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The step's run.
    pub run: u64,
    /// The step.
    pub node: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Place in the ready queue; lower is earlier.
    pub position: u64,
    /// When the step began to wait.
    pub ready_at_ms: u64,
    /// What it asks for; steps of one definition share it.
    pub shape: Arc<Shape>,
}

/// All steps that wait. Inserting, removing and finding the first of a group cost the logarithm of the size.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    groups: HashMap<Key, BTreeSet<Ticket>>,
    places: HashMap<(u64, u32), (Key, Ticket)>,
}

/// What the members of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub shape: Arc<Shape>,
    pub priority: i32,
}

/// A step's place within its group; the derived order is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub ready_at_ms: u64,
    pub position: u64,
    pub run: u64,
    pub node: u32,
}

impl Queue {
    /// The roles of Mesos that somebody waits for.
    pub fn roles(&self) -> BTreeSet<&str> {
        self.groups.keys().map(|key| key.shape.role.as_str()).collect()
    }

    /// Adds a step. One that waits already is moved to where it is said to be now.
    pub fn insert(&mut self, demand: Demand) {
        self.remove(demand.run, demand.node);
        let Demand { run, node, priority, position, ready_at_ms, shape } = demand;
        let key = Key { shape, priority };
        // Equal shapes are kept once, however many steps bring their own.
        let key = self.groups.get_key_value(&key).map_or(key, |(known, _)| known.clone());
        let ticket = Ticket { ready_at_ms, position, run, node };
        self.groups.entry(key.clone()).or_default().insert(ticket);
        self.places.insert((run, node), (key, ticket));
    }

    /// Takes a step out; false when it did not wait.
    pub fn remove(&mut self, run: u64, node: u32) -> bool {
        let Some((key, ticket)) = self.places.remove(&(run, node)) else { return false };
        let group = self.groups.get_mut(&key).expect("a step that has a place is in its group");
        group.remove(&ticket);
        if group.is_empty() {
            self.groups.remove(&key);
        }
        true
    }

    /// What a waiting step asks for.
    pub fn get(&self, run: u64, node: u32) -> Option<Demand> {
        let (key, ticket) = self.places.get(&(run, node))?;
        let Ticket { ready_at_ms, position, .. } = *ticket;
        Some(Demand { run, node, priority: key.priority, position, ready_at_ms, shape: key.shape.clone() })
    }

    /// How many steps wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no step waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The groups with their members, in no order.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Key, impl Iterator<Item = Ticket> + use<'_>)> {
        self.groups.iter().map(|(key, tickets)| (key, tickets.iter().copied()))
    }
}

impl FromIterator<Demand> for Queue {
    fn from_iter<I: IntoIterator<Item = Demand>>(demands: I) -> Self {
        let mut queue = Queue::default();
        demands.into_iter().for_each(|demand| queue.insert(demand));
        queue
    }
}

/// A step's place among all groups; the greatest is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank {
    /// Priority and waiting time in one number, see [`super::solve`].
    aged: i128,
    ticket: Ticket,
}

impl Rank {
    pub fn new(priority: i32, ticket: Ticket, starve_after_ms: u64) -> Self {
        // The present would add the same to each, so the time of becoming ready stands for the time of waiting.
        let level_ms = i128::from(starve_after_ms.max(1));
        Rank { aged: i128::from(priority) * level_ms - i128::from(ticket.ready_at_ms), ticket }
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |rank: &Rank| (rank.aged, Reverse((rank.ticket.position, rank.ticket)));
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
