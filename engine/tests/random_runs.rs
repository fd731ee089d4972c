//! Random definitions under random commands, duplicates and stale terms included. After every command the invariants
//! hold (P5, P6, P8 and the indexes); the same log gives the same state on another replica, also through a snapshot;
//! and from wherever the storm leaves it, a run can be driven to its end.

#![allow(clippy::unwrap_used)] // A test may stop at the first surprise.

use std::collections::BTreeMap;

use meson_engine::command::*;
use meson_engine::ids::{AttemptId, Evaluation};
use meson_engine::plan::PlanWork;
use meson_engine::record::{Agent, Amounts, Failure};
use meson_engine::status::{FailureClass, NodeStatus, RunStatus};
use meson_engine::{State, apply, apply_bytes, format, invariant, snapshot};
use meson_workflow::Definition;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One graph of a random definition: for each node the needs (by earlier node), a shape, a trigger and a mode.
fn graph(depth: u32) -> BoxedStrategy<Value> {
    let node = (any::<[bool; 3]>(), 0..10u8, 0..4usize, 0..3usize, 0..3u32);
    let inner =
        if depth == 0 { Just(json!([{"id": "leaf", "kind": "noop"}])).boxed() } else { graph(depth - 1) };
    prop::collection::vec((node, inner), 1..5)
        .prop_map(|nodes| {
            let nodes =
                nodes.into_iter().enumerate().map(|(place, (shape, inner))| node_json(place, shape, inner));
            Value::Array(nodes.collect())
        })
        .boxed()
}

type Shape = ([bool; 3], u8, usize, usize, u32);

fn node_json(place: usize, (needs, shape, trigger, mode, retries): Shape, inner: Value) -> Value {
    let needs: Vec<String> =
        (0..place.min(3)).filter(|need| needs[*need]).map(|need| format!("n{}", place - 1 - need)).collect();
    let trigger = ["all_succeeded", "all_done", "any_succeeded", "none_failed"][trigger];
    let mode = ["after_running", "now", "ignore"][mode];
    let mut node =
        json!({ "id": format!("n{place}"), "needs": needs, "trigger": trigger, "on_failure": mode });
    let work = match shape {
        0 => json!({ "for_each": { "items": "x", "concurrency": 2, "nodes": inner } }),
        1 => json!({ "for_each": { "items": "x", "nodes": inner, "outputs": { "o": "1" } } }),
        2 => json!({ "repeat": { "until": "x", "max_iterations": 3, "nodes": inner } }),
        3 => {
            json!({ "switch": { "branches": [{ "when": "x", "nodes": inner }], "default": { "nodes": inner } } })
        }
        4 => json!({ "wait": { "signal": "go" }, "timeout": "1m" }),
        5 => {
            let memory = json!({ "factor": 2.5, "max": "400MiB" });
            json!({ "kind": "noop", "retry": { "user": { "retries": retries }, "memory": memory } })
        }
        _ => json!({ "kind": "noop", "timeout": "1m", "retry": { "user": { "retries": retries } } }),
    };
    node.as_object_mut().unwrap().extend(work.as_object().unwrap().clone());
    node
}

/// What a storm does next; the number picks among what there is.
#[derive(Debug, Clone)]
enum Act {
    Evaluate(usize, u8),
    Continue(usize),
    Place(usize),
    Report(usize, u8),
    Timer(usize),
    Cancel,
    Pause,
    Resume,
    Restart,
    Signal,
    AgentLost(usize),
    AgentUp(usize),
    Raise,
    Drain(usize, bool),
    Again(usize),
    StaleTerm(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let pick = any::<usize>;
    prop_oneof![
        6 => (pick(), any::<u8>()).prop_map(|(at, with)| Act::Evaluate(at, with)),
        2 => pick().prop_map(Act::Continue),
        8 => pick().prop_map(Act::Place),
        8 => (pick(), any::<u8>()).prop_map(|(at, with)| Act::Report(at, with)),
        3 => pick().prop_map(Act::Timer),
        1 => Just(Act::Cancel),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        2 => Just(Act::Restart),
        1 => Just(Act::Signal),
        1 => pick().prop_map(Act::AgentLost),
        1 => pick().prop_map(Act::AgentUp),
        1 => Just(Act::Raise),
        1 => (pick(), any::<bool>()).prop_map(|(at, draining)| Act::Drain(at, draining)),
        3 => pick().prop_map(Act::Again),
        1 => pick().prop_map(Act::StaleTerm),
    ]
}

struct World {
    state: State,
    log: Vec<Envelope>,
    now_ms: u64,
    terminal: BTreeMap<(u64, u32), NodeStatus>,
}

const RUN: &str = "g1-run";
const AGENTS: [&str; 2] = ["a", "b"];

impl World {
    fn new(definition: &Value) -> World {
        let mut world =
            World { state: State::default(), log: Vec::new(), now_ms: 1_000, terminal: BTreeMap::new() };
        let definition: Definition = serde_json::from_value(definition.clone()).unwrap();
        let register = Register { hash: "hash".into(), ..Register::new(&definition) };
        if register.format > world.state.format() {
            world.propose(Raise { format: register.format }.into());
        }
        world.propose(register.into());
        AGENTS.iter().for_each(|agent| world.propose(agent_up(agent)));
        world.propose(start("first").into());
        world
    }

    fn propose(&mut self, command: Command) {
        let envelope = Envelope { term: 2, now_ms: self.now_ms, command: Some(command) };
        self.feed(envelope);
    }

    fn feed(&mut self, envelope: Envelope) {
        self.log.push(envelope.clone());
        let applied = apply(&mut self.state, envelope.clone());
        if let Err(broken) = invariant::check(&self.state) {
            panic!("{broken}\nafter {envelope:?} -> {:?}", applied.outcome);
        }
        let restarted = matches!(envelope.command, Some(Command::Restart(_)));
        self.check_final(restarted);
    }

    /// P5: success never changes; other ends change only by a restart.
    fn check_final(&mut self, restarted: bool) {
        if restarted {
            self.terminal.retain(|_, status| *status == NodeStatus::Succeeded);
        }
        for (no, run) in self.state.runs.iter() {
            for (node, record) in run.nodes.iter().filter(|(_, record)| record.status().is_terminal()) {
                let known = self.terminal.entry((*no, *node)).or_insert(record.status());
                assert_eq!(*known, record.status(), "P5: node {node}");
            }
        }
    }

    fn act(&mut self, act: Act) {
        self.now_ms += 10;
        let state = self.state.clone();
        match act {
            Act::Evaluate(at, with) => {
                if let Some((run, evaluation)) = pick(state.index.evaluating.iter(), at) {
                    self.propose(evaluated(*run, *evaluation, with).into());
                }
            }
            Act::Continue(at) => {
                if let Some((run, node)) = pick(state.index.continuing.iter(), at) {
                    self.propose(Continue { run: *run, node: *node }.into());
                }
            }
            Act::Place(at) => {
                if let Some(key) = pick(state.index.ready.iter(), at) {
                    let agent = AGENTS[at % AGENTS.len()].to_owned();
                    let raised = self.state.format() >= format::NEWEST;
                    let executor = if raised && at % 2 == 0 { "warm".to_owned() } else { String::new() };
                    self.propose(Place { run: key.run, node: key.node, agent, executor }.into());
                }
            }
            Act::Report(at, with) => {
                if let Some((run, node)) = pick(state.index.live.values().flatten(), at) {
                    self.propose(report(&state, *run, *node, with).into());
                }
            }
            Act::Timer(at) => self.fire(at),
            Act::Cancel => self.propose(Cancel { run_id: RUN.into(), reason: String::new() }.into()),
            Act::Pause => self.propose(Command::Pause(RunId { run_id: RUN.into() })),
            Act::Resume => self.propose(Command::Resume(RunId { run_id: RUN.into() })),
            Act::Restart => self.propose(Command::Restart(RunId { run_id: RUN.into() })),
            Act::Signal => self.propose(signal().into()),
            Act::AgentLost(at) => {
                let agent_id = AGENTS[at % AGENTS.len()].to_owned();
                let forget = at % 2 == 0 && self.state.format() >= format::NEWEST;
                self.propose(AgentLost { agent_id, message: "gone".into(), forget }.into());
            }
            Act::AgentUp(at) => self.propose(agent_up(AGENTS[at % AGENTS.len()])),
            Act::Raise => self.propose(Raise { format: format::NEWEST }.into()),
            Act::Drain(at, draining) => {
                let agent_id = AGENTS[at % AGENTS.len()].to_owned();
                self.propose(Drain { agent_id: agent_id.clone(), draining }.into());
                let drained = draining && self.state.format() >= format::NEWEST;
                let agent = self.state.agents.get(&agent_id);
                assert!(!drained || agent.is_none_or(|agent| agent.draining));
            }
            Act::Again(at) => {
                if let Some(envelope) = pick(self.log.clone().iter(), at) {
                    self.feed(envelope.clone());
                }
            }
            Act::StaleTerm(at) => {
                if let Some(envelope) = pick(self.log.clone().iter(), at) {
                    let before = self.state.clone();
                    self.feed(Envelope { term: 1, ..envelope.clone() });
                    assert_eq!(before, self.state, "a stale term changes nothing");
                }
            }
        }
    }

    fn fire(&mut self, at: usize) {
        if let Some((due_ms, run, node)) = pick(self.state.index.timers.clone().iter(), at) {
            self.now_ms = self.now_ms.max(*due_ms);
            self.propose(Fire { run: *run, node: *node, due_ms: *due_ms }.into());
        }
    }

    /// Lets everything succeed until the run has ended.
    fn finish(&mut self) {
        AGENTS.iter().for_each(|agent| self.propose(agent_up(agent)));
        for agent in AGENTS {
            self.propose(Drain { agent_id: agent.into(), draining: false }.into());
        }
        self.propose(Command::Resume(RunId { run_id: RUN.into() }));
        for _ in 0..20_000 {
            let state = self.state.clone();
            if state.run(RUN).is_none_or(|run| run.head.status().is_terminal()) {
                return;
            }
            if let Some((run, node)) = state.index.live.values().flatten().next() {
                self.propose(report(&state, *run, *node, 1).into());
            } else if let Some((run, evaluation)) = state.index.evaluating.get_min() {
                self.propose(evaluated(*run, *evaluation, 101).into());
            } else if let Some((run, node)) = state.index.continuing.get_min() {
                self.propose(Continue { run: *run, node: *node }.into());
            } else if let Some(key) = state.index.ready.get_min() {
                self.propose(
                    Place { run: key.run, node: key.node, agent: "a".into(), executor: String::new() }.into(),
                );
            } else if state.run(RUN).is_some_and(|run| !run.waits.is_empty()) {
                self.propose(signal().into());
            } else {
                assert!(!state.index.timers.is_empty(), "P7: nothing is owed, yet the run has not ended");
                self.fire(0);
            }
        }
        panic!("the run does not end");
    }
}

fn pick<T>(of: impl Iterator<Item = T>, at: usize) -> Option<T> {
    let all: Vec<T> = of.collect();
    let count = all.len();
    all.into_iter().nth(if count == 0 { 0 } else { at % count })
}

fn start(request_id: &str) -> Start {
    Start {
        request_id: request_id.into(),
        run_id: RUN.into(),
        workflow: "w".into(),
        version: "hash".into(),
        digest: "d".into(),
        ..Start::default()
    }
}

fn signal() -> Signal {
    Signal { run_id: RUN.into(), signal: "go".into(), payload: "1".into(), request_id: String::new() }
}

fn agent_up(agent: &str) -> Command {
    let total = Amounts { cpus_milli: 300, mem_bytes: 1 << 30, disk_bytes: 0, gpus: 0 };
    let kinds = vec!["noop".to_owned()];
    Agent { agent_id: agent.into(), total, kinds, ..Agent::default() }.into()
}

fn evaluated(run: u64, evaluation: Evaluation, with: u8) -> Evaluated {
    let (close, node, index) = match evaluation {
        Evaluation::Open { node } => (false, node, 0),
        Evaluation::Close { scope } => (true, scope.0, scope.1),
    };
    let failure = with.is_multiple_of(16).then(|| Failure::new(FailureClass::Rejected, "x", "x"));
    let items = (0..with % 5).map(|item| item.to_string().into()).collect();
    let branch = with.is_multiple_of(2).then_some(0);
    Evaluated {
        run,
        node,
        close,
        index,
        failure,
        items,
        branch,
        until: !with.is_multiple_of(3),
        ..Evaluated::default()
    }
}

fn report(state: &State, run: u64, node: u32, with: u8) -> Report {
    let run = &state.runs[&run];
    let attempt = run.nodes[&node].attempt.as_ref().unwrap();
    let id = AttemptId { run_id: run.info.run_id.clone(), node, attempt: attempt.number };
    let (event, class, reason) = match with % 9 {
        0 => (Event::Running, None, ""),
        1..=4 => (Event::Succeeded, None, ""),
        5 => (Event::Failed, Some(FailureClass::User), "x"),
        6 => (Event::Failed, Some(FailureClass::Platform), "x"),
        7 => (Event::Failed, Some(FailureClass::User), "out_of_memory"),
        _ => (Event::Failed, Some(FailureClass::Timeout), "x"),
    };
    Report {
        attempt_id: id.to_string(),
        fence: attempt.fence,
        event: event as i32,
        failure: class.map(|class| Failure::new(class, reason, "x")),
        ..Report::default()
    }
}

fn bytes(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::write(state, &mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_every_run_can_end(nodes in graph(2), acts in prop::collection::vec(act(), 0..120)) {
        let definition = json!({ "name": "w", "nodes": nodes });
        let mut world = World::new(&definition);
        acts.into_iter().for_each(|act| world.act(act));
        world.finish();
        let log = world.log.clone();

        let mut replica = State::default();
        for (place, envelope) in log.iter().enumerate() {
            if place == log.len() / 2 {
                // The second half goes on from a snapshot.
                let restored = snapshot::read(&mut bytes(&replica).as_slice()).unwrap();
                prop_assert_eq!(&restored, &replica);
                replica = restored;
            }
            apply_bytes(&mut replica, &envelope.to_bytes());
        }
        prop_assert_eq!(&replica, &world.state);
        prop_assert_eq!(bytes(&replica), bytes(&world.state));
    }

    #[test]
    fn the_same_request_gives_the_same_run(acts in prop::collection::vec(act(), 0..20)) {
        let definition = json!({ "name": "w", "nodes": [{ "id": "n", "kind": "noop" }] });
        let mut world = World::new(&definition);
        acts.into_iter().for_each(|act| world.act(act));
        let mut again = start("first");
        again.run_id = "g1-other".into();
        let envelope = Envelope { term: 2, now_ms: 9, command: Some(again.clone().into()) };
        let applied = apply(&mut world.state, envelope);
        prop_assert_eq!(applied.outcome.run_id, RUN);
        again.digest = "other".into();
        let applied = apply(&mut world.state, Envelope { term: 2, now_ms: 9, command: Some(again.into()) });
        prop_assert!(applied.outcome.refusal.is_some());
        prop_assert_eq!(world.state.runs.len(), 1);
    }

    #[test]
    fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        apply_bytes(&mut State::default(), &bytes);
    }
}

#[test]
fn the_random_graphs_reach_every_kind_of_node() {
    // Guards the generator itself: a property over graphs that are all alike would prove little.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let nodes = proptest::strategy::ValueTree::current(&graph(2).new_tree(&mut runner).unwrap());
        let world = World::new(&json!({ "name": "w", "nodes": nodes }));
        let plan = &world.state.definitions["hash"].plan;
        for node in plan.bodies.iter().flat_map(|body| &body.nodes) {
            kinds.insert(node.kind().to_owned());
            assert!(!matches!(&node.work, PlanWork::Subworkflow(_)));
        }
        assert_eq!(world.state.run(RUN).unwrap().head.status(), RunStatus::Running);
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}
