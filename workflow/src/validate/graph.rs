//! The edges of a graph: ids, needs, cycles, and which nodes come before which.

use std::collections::HashMap;

use super::Check;
use crate::definition::{Node, TriggerRule};
use crate::ids::{did_you_mean, is_node_id};
use crate::limits;
use crate::tree::shorten;

/// What is known of a graph's edges.
pub(super) struct Shape<'a> {
    pub nodes: &'a [Node],
    pub index: HashMap<&'a str, usize>,
    /// For each node, a bit for each node that comes before it; `None` for a graph with cycles, where "before" means
    /// nothing.
    before: Option<Vec<Vec<u64>>>,
}

impl Shape<'_> {
    /// Whether one node is (transitively) needed by another. In a broken graph everything is, so that one cycle does not
    /// drag a tail of further problems.
    pub fn comes_before(&self, one: usize, other: usize) -> bool {
        match &self.before {
            Some(before) => before[other][one / 64] & (1 << (one % 64)) != 0,
            None => true,
        }
    }
}

impl Check<'_> {
    /// Checks the ids and edges of a graph.
    pub(super) fn shape<'a>(&mut self, nodes: &'a [Node]) -> Shape<'a> {
        if nodes.is_empty() {
            self.report("the graph has no nodes", "add at least one");
        }
        let index = self.index(nodes);
        let edges = self.edges(nodes, &index);
        let before = match order(&edges) {
            Ok(order) => Some(closure(&edges, &order)),
            Err(cycles) => {
                for cycle in cycles {
                    self.cycle(nodes, &cycle);
                }
                None
            }
        };
        Shape { nodes, index, before }
    }

    fn index<'a>(&mut self, nodes: &'a [Node]) -> HashMap<&'a str, usize> {
        let mut index = HashMap::with_capacity(nodes.len());
        for (place, node) in nodes.iter().enumerate() {
            let Some(first) = index.insert(node.id.as_str(), place) else { continue };
            let first_at = self.at_index(first, |check| check.at("id", |check| check.location()));
            let first_at = first_at.map(|at| format!("; first at {at}")).unwrap_or_default();
            self.at_index(place, |check| {
                check.nodes.push(shorten(&node.id));
                let message = format!("the id `{}` is used twice in one graph{first_at}", shorten(&node.id));
                check.at("id", |check| check.report(message, "give one of the two another id"));
                check.nodes.pop();
            });
            index.insert(node.id.as_str(), first);
        }
        index
    }

    /// The needs of each node as places; those that name nothing are reported.
    fn edges(&mut self, nodes: &[Node], index: &HashMap<&str, usize>) -> Vec<Vec<usize>> {
        let mut edges = Vec::with_capacity(nodes.len());
        for (place, node) in nodes.iter().enumerate() {
            let mut needs = Vec::with_capacity(node.needs.len());
            for (number, need) in node.needs.iter().enumerate() {
                if self.problems.is_full() {
                    break;
                }
                match index.get(need.as_str()) {
                    Some(&needed) if needed == place => {
                        self.need_problem(
                            place,
                            node,
                            number,
                            "the node needs itself".to_owned(),
                            "remove it".to_owned(),
                        );
                    }
                    Some(needed) if needs.contains(needed) => {
                        let message = format!("`{need}` is needed twice");
                        self.need_problem(place, node, number, message, "name it once".to_owned());
                    }
                    Some(&needed) => needs.push(needed),
                    None => {
                        let remedy = match did_you_mean(need, index.keys().copied()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => "needs name nodes of the same graph".to_owned(),
                        };
                        let message =
                            format!("the node needs `{}`, which is not in its graph", shorten(need));
                        self.need_problem(place, node, number, message, remedy);
                    }
                }
            }
            edges.push(needs);
        }
        edges
    }

    fn need_problem(&mut self, place: usize, node: &Node, number: usize, message: String, remedy: String) {
        self.at_index(place, |check| {
            check.nodes.push(shorten(&node.id));
            check.at("needs", |check| check.at_index(number, |check| check.report(message, remedy)));
            check.nodes.pop();
        });
    }

    fn cycle(&mut self, nodes: &[Node], cycle: &[usize]) {
        const SHOWN: usize = 12;
        let mut names: Vec<&str> = cycle.iter().take(SHOWN).map(|place| nodes[*place].id.as_str()).collect();
        if cycle.len() > SHOWN {
            names.push("…");
        }
        names.push(&nodes[cycle[0]].id);
        let message = format!("nodes wait for each other in a cycle: {}", names.join(" -> "));
        self.at_index(cycle[0], |check| {
            check.at("needs", |check| check.report(message, "remove one of these needs"));
        });
    }

    /// What any node has of its own: id and needs.
    pub(super) fn node_basics(&mut self, node: &Node) {
        if !is_node_id(&node.id) {
            let remedy = format!(
                "use letters, digits, `_` and `-`, starting with a letter, at most {} characters",
                limits::NAME_CHARS
            );
            let message = format!("`{}` cannot be a node's id", shorten(&node.id));
            self.at("id", |check| check.report(message, remedy));
        }
        if node.needs.len() > limits::NEEDS {
            let message = format!("the node has {} needs; the limit is {}", node.needs.len(), limits::NEEDS);
            self.at("needs", |check| check.report(message, "join them first with `noop` nodes"));
        }
        if node.trigger == TriggerRule::AnySucceeded && node.needs.is_empty() {
            let message = "`any_succeeded` can never be met by a node that needs nothing";
            self.at("trigger", |check| check.report(message, "add `needs`, or remove `trigger`"));
        }
    }
}

/// An order in which every node follows its needs, or cycles, each in the order of flow. Without recursion: a chain may
/// be as long as the limit on nodes.
fn order(edges: &[Vec<usize>]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    const CYCLES: usize = 5;
    #[derive(Clone, Copy, PartialEq)]
    enum Color {
        White,
        Gray,
        Black,
    }
    let mut color = vec![Color::White; edges.len()];
    let mut order = Vec::with_capacity(edges.len());
    let mut cycles = Vec::new();
    for start in 0..edges.len() {
        if color[start] != Color::White {
            continue;
        }
        color[start] = Color::Gray;
        let mut trail = vec![(start, 0)];
        while let Some((node, next)) = trail.last_mut() {
            let Some(&need) = edges[*node].get(*next) else {
                color[*node] = Color::Black;
                order.push(*node);
                trail.pop();
                continue;
            };
            *next += 1;
            match color[need] {
                Color::White => {
                    color[need] = Color::Gray;
                    trail.push((need, 0));
                }
                Color::Gray if cycles.len() < CYCLES => cycles.push(cycle_of(&trail, need)),
                Color::Gray | Color::Black => {}
            }
        }
    }
    if cycles.is_empty() { Ok(order) } else { Err(cycles) }
}

/// The cycle that closes at `need`, beginning with its first node in the text. The trail goes from a node to what it
/// needs, so the flow is its reverse.
fn cycle_of(trail: &[(usize, usize)], need: usize) -> Vec<usize> {
    let start = trail.iter().position(|(node, _)| *node == need).unwrap_or(0);
    let mut cycle: Vec<usize> = trail[start..].iter().rev().map(|(node, _)| *node).collect();
    let first = (0..cycle.len()).min_by_key(|place| cycle[*place]).unwrap_or(0);
    cycle.rotate_left(first);
    cycle
}

fn closure(edges: &[Vec<usize>], order: &[usize]) -> Vec<Vec<u64>> {
    let words = edges.len().div_ceil(64);
    let mut before = vec![Vec::new(); edges.len()];
    for &node in order {
        let mut bits = vec![0u64; words];
        for &need in &edges[node] {
            let earlier: &Vec<u64> = &before[need];
            bits.iter_mut().zip(earlier).for_each(|(bit, other)| *bit |= other);
            bits[need / 64] |= 1 << (need % 64);
        }
        before[node] = bits;
    }
    before
}
