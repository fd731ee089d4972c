//! Graphs put together from smaller ones.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::definition::{Expression, Node};
use crate::problem::Problem;

/// A graph under construction: its nodes, and where it begins and ends.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    nodes: Vec<Node>,
    index: HashMap<String, usize>,
    sources: Vec<usize>,
    sinks: Vec<usize>,
    outputs: BTreeMap<String, Expression>,
    faults: Vec<Problem>,
}

/// What can be part of a graph: a graph, or the builder of one node.
pub trait IntoFlow: Sized {
    /// It as a graph.
    fn into_flow(self) -> Flow;

    /// This, then that: every node that ends this one is needed by every node that begins that one.
    #[must_use]
    fn then(self, next: impl IntoFlow) -> Flow {
        self.into_flow().sequence(next.into_flow())
    }

    /// This and that side by side. A node that is in both (equal but for its needs) is one node, with the needs of both.
    #[must_use]
    fn and(self, other: impl IntoFlow) -> Flow {
        self.into_flow().parallel(other.into_flow())
    }
}

impl IntoFlow for Flow {
    fn into_flow(self) -> Flow {
        self
    }
}

impl Flow {
    /// A graph without nodes, which changes nothing it is put together with: a start for loops.
    pub fn new() -> Self {
        Flow::default()
    }

    /// Adds an output of the graph, for a loop's or branch's graph.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, expression: impl Into<Expression>) -> Self {
        self.outputs.insert(name.into(), expression.into());
        self
    }

    pub(super) fn of(node: Node, faults: Vec<Problem>) -> Self {
        Flow {
            index: HashMap::from([(node.id.clone(), 0)]),
            nodes: vec![node],
            sources: vec![0],
            sinks: vec![0],
            outputs: BTreeMap::new(),
            faults,
        }
    }

    pub(super) fn into_parts(self) -> (Vec<Node>, BTreeMap<String, Expression>, Vec<Problem>) {
        (self.nodes, self.outputs, self.faults)
    }

    fn sequence(mut self, mut next: Flow) -> Flow {
        if self.nodes.is_empty() || next.nodes.is_empty() {
            return self.parallel(next);
        }
        let ends: Vec<String> = self.sinks.iter().map(|sink| self.nodes[*sink].id.clone()).collect();
        for source in next.sources.clone() {
            add_needs(&mut next.nodes[source].needs, ends.iter());
        }
        let (next_sinks, mut overlap) = (next.sinks.clone(), false);
        let places = self.absorb(next, &mut overlap);
        if overlap {
            self.find_ends();
        } else {
            self.sinks = next_sinks.into_iter().map(|sink| places[sink]).collect();
        }
        self
    }

    fn parallel(mut self, other: Flow) -> Flow {
        let (sources, sinks, mut overlap) = (other.sources.clone(), other.sinks.clone(), false);
        let places = self.absorb(other, &mut overlap);
        if overlap {
            self.find_ends();
        } else {
            self.sources.extend(sources.into_iter().map(|place| places[place]));
            self.sinks.extend(sinks.into_iter().map(|place| places[place]));
        }
        self
    }

    /// Takes over the nodes of another graph; gives where each is now.
    fn absorb(&mut self, other: Flow, overlap: &mut bool) -> Vec<usize> {
        self.outputs.extend(other.outputs);
        self.faults.extend(other.faults);
        let mut places = Vec::with_capacity(other.nodes.len());
        for node in other.nodes {
            match self.index.get(&node.id) {
                Some(&place) if same_but_needs(&self.nodes[place], &node) => {
                    *overlap = true;
                    add_needs(&mut self.nodes[place].needs, node.needs.iter());
                    places.push(place);
                }
                // Two different nodes of one id both stay, for validation to name them.
                found => {
                    *overlap |= found.is_some();
                    self.index.entry(node.id.clone()).or_insert(self.nodes.len());
                    places.push(self.nodes.len());
                    self.nodes.push(node);
                }
            }
        }
        places
    }

    /// Finds anew where the graph begins and ends.
    fn find_ends(&mut self) {
        let needed: HashSet<&str> =
            self.nodes.iter().flat_map(|node| node.needs.iter().map(String::as_str)).collect();
        let places = 0..self.nodes.len();
        self.sinks =
            places.clone().filter(|place| !needed.contains(self.nodes[*place].id.as_str())).collect();
        self.sources = places
            .filter(|place| !self.nodes[*place].needs.iter().any(|need| self.index.contains_key(need)))
            .collect();
    }
}

fn add_needs<'a>(needs: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for need in more {
        if !needs.contains(need) {
            needs.push(need.clone());
        }
    }
}

fn same_but_needs(one: &Node, other: &Node) -> bool {
    (one.trigger, one.on_failure, one.timeout) == (other.trigger, other.on_failure, other.timeout)
        && one.work == other.work
}

/// Gives a type that can be part of a graph the operators `>>` and `|`.
macro_rules! operators {
    ($($type:ty),*) => { $(
        impl<R: $crate::dsl::IntoFlow> std::ops::Shr<R> for $type {
            type Output = $crate::dsl::Flow;
            fn shr(self, next: R) -> $crate::dsl::Flow {
                $crate::dsl::IntoFlow::then(self, next)
            }
        }
        impl<R: $crate::dsl::IntoFlow> std::ops::BitOr<R> for $type {
            type Output = $crate::dsl::Flow;
            fn bitor(self, other: R) -> $crate::dsl::Flow {
                $crate::dsl::IntoFlow::and(self, other)
            }
        }
    )* };
}
pub(super) use operators;

operators!(Flow);
