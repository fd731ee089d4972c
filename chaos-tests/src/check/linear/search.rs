//! Whether answers fit some order of instants, each between its call and its answer: the search of Wing and Gong, with
//! Lowe's just-in-time order and memory. It goes through calls and answers in the order of time and keeps all
//! configurations that are still possible: a state of the model, and which of the calls under way have taken effect.
//! An operation takes effect only when an answer forces it to; a configuration that was met before is not followed again.
//!
//! `stateright` 0.31 has a `LinearizabilityTester` that knows of operations without an answer, but it keeps no memory of
//! configurations, copies the whole history at each step, does not say which answer broke the order, and brings a web
//! server along; hence this.
//!
//! Three rules keep the configurations few without losing any order. A call that must still take effect, would not change
//! the state, and [settles](Model::settles), does so at once. A call that was never answered does not take effect where
//! it would not change the state: it can still do so later. And of several equal ones the first does.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Micros;

/// What an object is: its states and how operations move it.
pub trait Model {
    /// A state. Equal states must have equal futures.
    type State: Clone + Eq + Hash;
    /// An operation with its answer.
    type Op: Eq;

    /// The state before anything.
    fn initial(&self) -> Self::State;

    /// The state after an operation; none if it cannot have been answered so in this state.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether this operation may as well take effect wherever it changes nothing: whatever was possible with it in a
    /// later place must be possible without it there. So it is with reads, which only say what is possible, and with
    /// operations that, once without effect, stay so. It is not so with the write of a register: it may change nothing
    /// now, and be needed later to bring a value back.
    fn settles(&self, op: &Self::Op) -> bool;
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Call<Op> {
    /// When it was sent.
    pub called: Micros,
    /// When its answer came; none if it may take effect at any time, or never.
    pub answered: Option<Micros>,
    /// What it is.
    pub op: Op,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<State> {
    /// There is an order.
    Fits,
    /// There is none: this call's answer, the first in time, cannot be reconciled with what was before, after which the
    /// object could only be in these states.
    Breaks {
        /// Place of the call.
        call: usize,
        /// The states.
        states: Vec<State>,
    },
    /// More configurations than [`CONFIGURATIONS_MAX`].
    TooMany,
}

/// Bound on the configurations of one instant.
pub const CONFIGURATIONS_MAX: usize = 1 << 18;

/// A state, and the calls under way that have taken effect, in order of their places.
type Configuration<State> = (State, Vec<usize>);

/// Looks for an order. Adds the number of steps of the model that it took to `looks`.
pub fn search<M: Model>(model: &M, calls: &[Call<M::Op>], looks: &mut u64) -> Outcome<M::State> {
    let mut events: Vec<(Micros, bool, usize)> = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        events.push((call.called, false, place));
        events.extend(call.answered.map(|answered| (answered, true, place)));
    }
    // At one instant calls come first: only what was answered before a call precedes it.
    events.sort_unstable();
    let mut under_way: Vec<usize> = Vec::new();
    let mut possible = HashSet::from([(model.initial(), Vec::new())]);
    for (_, answer, place) in events {
        if !answer {
            under_way.push(place);
            continue;
        }
        let Some(next) = forced(model, calls, &under_way, place, &possible, looks) else {
            return Outcome::TooMany;
        };
        if next.is_empty() {
            let mut states: Vec<M::State> = Vec::new();
            for (state, _) in possible {
                if !states.contains(&state) {
                    states.push(state);
                }
            }
            return Outcome::Breaks { call: place, states };
        }
        possible = next;
        under_way.retain(|known| *known != place);
    }
    Outcome::Fits
}

/// All configurations in which this call has taken effect, by way of others if need be; none if there are too many.
fn forced<M: Model>(
    model: &M,
    calls: &[Call<M::Op>],
    under_way: &[usize],
    place: usize,
    possible: &HashSet<Configuration<M::State>>,
    looks: &mut u64,
) -> Option<HashSet<Configuration<M::State>>> {
    let mut done = HashSet::new();
    let mut met: HashSet<Configuration<M::State>> = possible.clone();
    let mut left: Vec<Configuration<M::State>> = possible.iter().cloned().collect();
    while let Some((state, effective)) = left.pop() {
        if effective.binary_search(&place).is_ok() {
            let others = effective.into_iter().filter(|known| *known != place).collect();
            done.insert((state, others));
            continue;
        }
        for next in successors(model, calls, under_way, &state, &effective, looks) {
            if met.insert(next.clone()) {
                left.push(next);
            }
        }
        if met.len() > CONFIGURATIONS_MAX {
            return None;
        }
    }
    Some(done)
}

/// The configurations after one more call took effect.
fn successors<M: Model>(
    model: &M,
    calls: &[Call<M::Op>],
    under_way: &[usize],
    state: &M::State,
    effective: &[usize],
    looks: &mut u64,
) -> Vec<Configuration<M::State>> {
    let mut successors = Vec::new();
    let mut open: Vec<&M::Op> = Vec::new();
    for place in under_way {
        let Err(at) = effective.binary_search(place) else { continue };
        let call = &calls[*place];
        if call.answered.is_none() {
            if open.contains(&&call.op) {
                continue;
            }
            open.push(&call.op);
        }
        *looks += 1;
        let Some(next) = model.step(state, &call.op) else { continue };
        let changes = next != *state;
        if !changes && call.answered.is_none() {
            continue;
        }
        let mut effective = effective.to_vec();
        effective.insert(at, *place);
        if !changes && model.settles(&call.op) {
            return vec![(next, effective)];
        }
        successors.push((next, effective));
    }
    successors
}
