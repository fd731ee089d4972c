//! How a simulated run's nodes come to be, become ready, and end.

use meson_chaos_tests::history::RunState;

use super::workflows::{Def, Work};
use super::{Run, World};

/// A node of a run.
#[derive(Debug, Clone)]
pub struct Node {
    pub path: String,
    pub is_step: bool,
    pub status: &'static str,
    pub attempts: u32,
    pub failures: u32,
    pub cpu_millis: u64,
    pub attempts_max: u32,
    pub failures_percent: u64,
    /// Whether it is in the queue of ready steps.
    pub queued: bool,
}

pub fn is_over(status: &str) -> bool {
    matches!(status, "SUCCEEDED" | "FAILED" | "CANCELLED" | "SKIPPED")
}

/// How all nodes of one graph stand.
#[derive(Clone, Copy, PartialEq)]
enum Graph {
    Open,
    Succeeded,
    Stopped,
}

impl World {
    /// Moves a run as far as it goes by itself, and puts what became ready into the queue.
    pub(super) fn advance(&mut self, run: usize) {
        if self.runs[run].status != RunState::Active {
            return;
        }
        let workflow = &self.workflows[self.runs[run].workflow];
        let state = &mut self.runs[run];
        // What a node's end makes possible may end others in turn.
        loop {
            let before: Vec<&'static str> = state.nodes.iter().map(|node| node.status).collect();
            let graph = graph(state, "", &workflow.nodes);
            let after = state.nodes.iter().map(|node| node.status);
            if after.eq(before.iter().copied()) && state.nodes.len() == before.len() {
                state.status = match graph {
                    Graph::Open => RunState::Active,
                    _ if state.failing => RunState::Failed,
                    _ if state.cancelling => RunState::Cancelled,
                    _ => RunState::Succeeded,
                };
                break;
            }
        }
        for node in 0..self.runs[run].nodes.len() {
            let state = &mut self.runs[run].nodes[node];
            if state.status == "READY" && !state.queued {
                state.queued = true;
                self.ready.push_back((run, node));
            }
        }
        self.note_view(run);
        self.place();
    }
}

fn graph(run: &mut Run, around: &str, nodes: &[Def]) -> Graph {
    let places: Vec<usize> = nodes.iter().map(|def| place_of(run, around, def)).collect();
    let mut graph = Graph::Succeeded;
    for (def, place) in nodes.iter().zip(&places) {
        move_node(run, around, def, *place);
        graph = match (graph, run.nodes[*place].status) {
            (Graph::Open, _) => Graph::Open,
            (_, status) if !is_over(status) => Graph::Open,
            (known, "SUCCEEDED") => known,
            _ => Graph::Stopped,
        };
    }
    graph
}

fn place_of(run: &mut Run, around: &str, def: &Def) -> usize {
    let path = format!("{around}{}", def.id);
    if let Some(place) = run.places.get(&path) {
        return *place;
    }
    let (cpu_millis, attempts_max, failures_percent) = match def.work {
        Work::Step { cpu_millis, attempts_max, failures } => (cpu_millis, attempts_max, failures),
        _ => (0, 0, 0),
    };
    let place = run.nodes.len();
    run.places.insert(path.clone(), place);
    run.nodes.push(Node {
        path,
        is_step: matches!(def.work, Work::Step { .. }),
        status: "PENDING",
        attempts: 0,
        failures: 0,
        cpu_millis,
        attempts_max,
        failures_percent,
        queued: false,
    });
    place
}

fn move_node(run: &mut Run, around: &str, def: &Def, place: usize) {
    let status = run.nodes[place].status;
    let stopped = run.failing || run.cancelling;
    let unstarted = if run.cancelling { "CANCELLED" } else { "SKIPPED" };
    let next = match status {
        "PENDING" | "READY" | "WAITING" | "BACKING_OFF" if stopped => unstarted,
        "PENDING" => {
            let of = |need: &&str| run.nodes[run.places[&format!("{around}{need}")]].status;
            if def.needs.iter().all(|need| of(need) == "SUCCEEDED") {
                match def.work {
                    Work::Step { .. } => "READY",
                    Work::Wait(_) => "WAITING",
                    Work::ForEach { .. } | Work::Repeat { .. } => "ACTIVE",
                }
            } else {
                status
            }
        }
        "WAITING" => {
            let Work::Wait(signal) = def.work else { return };
            match run.waiting_signals.iter().position(|(name, _)| name == signal) {
                Some(first) => {
                    let (_, id) = run.waiting_signals.remove(first);
                    run.signals.push(id);
                    "SUCCEEDED"
                }
                None => status,
            }
        }
        "ACTIVE" => composite(run, def, place, stopped),
        _ => status,
    };
    run.nodes[place].status = next;
}

fn composite(run: &mut Run, def: &Def, place: usize, stopped: bool) -> &'static str {
    let (scopes, at_a_time, nodes) = match &def.work {
        Work::ForEach { items, at_a_time, nodes } => (*items, *at_a_time, nodes),
        Work::Repeat { iterations, nodes } => (*iterations, 1, nodes),
        Work::Step { .. } | Work::Wait(_) => return run.nodes[place].status,
    };
    let path = run.nodes[place].path.clone();
    let mut open = 0;
    let mut all_well = true;
    for scope in 0..scopes {
        let around = format!("{path}[{scope}]/");
        let begun = run.places.contains_key(&format!("{around}{}", nodes[0].id));
        if !begun && (stopped || open >= at_a_time) {
            all_well = false;
            continue;
        }
        match graph(run, &around, nodes) {
            Graph::Open => open += 1,
            Graph::Succeeded => {}
            Graph::Stopped => all_well = false,
        }
    }
    match (open, all_well) {
        (0, true) => "SUCCEEDED",
        (0, false) if stopped => {
            if run.cancelling {
                "CANCELLED"
            } else {
                "FAILED"
            }
        }
        _ => "ACTIVE",
    }
}
