//! Steps that get more memory after a kill for using too much: what each attempt holds, on which budget it counts, and that
//! nothing of it reaches a state whose replicas do not all know it.

#![allow(clippy::unwrap_used)] // A test may stop at the first surprise.

use meson_engine::command::*;
use meson_engine::effect::Effect;
use meson_engine::ids::AttemptId;
use meson_engine::outcome::{Outcome, RefusalKind};
use meson_engine::record::{Agent, Amounts, Failure, Node};
use meson_engine::status::{FailureClass, NodeStatus, RunStatus};
use meson_engine::{State, apply, format, invariant};
use meson_workflow::Definition;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const RUN: &str = "g1-run";

struct World {
    state: State,
    effects: Vec<Effect>,
}

impl World {
    /// A started run of one step, and an agent with 1 GiB.
    fn new(retry: Value) -> World {
        let step = json!({ "id": "a", "kind": "noop", "resources": { "mem": "100MiB" }, "retry": retry });
        let definition: Definition = serde_json::from_value(json!({ "name": "w", "nodes": [step] })).unwrap();
        let mut world = World { state: State::default(), effects: Vec::new() };
        world.done(Raise { format: format::NEWEST });
        world.done(Register { hash: "hash".into(), ..Register::new(&definition) });
        let total = Amounts { cpus_milli: 1_000, mem_bytes: 1_024 * MIB, disk_bytes: 0, gpus: 0 };
        world.done(Agent { agent_id: "x".into(), total, kinds: vec!["noop".into()], ..Agent::default() });
        let run_id = RUN.to_owned();
        world.done(Start { run_id, workflow: "w".into(), version: "hash".into(), ..Start::default() });
        world
    }

    fn propose(&mut self, command: impl Into<Command>) -> Outcome {
        let envelope = Envelope { term: 1, now_ms: self.state.now_ms + 1, command: Some(command.into()) };
        let applied = apply(&mut self.state, envelope);
        invariant::check(&self.state).unwrap();
        self.effects = applied.effects;
        applied.outcome
    }

    fn done(&mut self, command: impl Into<Command>) {
        let outcome = self.propose(command);
        assert_eq!(outcome.refusal, None);
    }

    fn node(&self) -> &Node {
        &self.state.run(RUN).unwrap().nodes[&1]
    }

    /// Lets the pause pass, if there is one, and places the step: what its attempt holds, in MiB.
    fn place(&mut self) -> u64 {
        if self.node().status() == NodeStatus::BackingOff {
            let due_ms = self.node().timer_ms;
            self.state.now_ms = due_ms;
            self.done(Fire { run: 1, node: 1, due_ms });
        }
        self.done(Place { run: 1, node: 1, agent: "x".into(), executor: String::new() });
        self.node().attempt.as_ref().unwrap().holds.mem_bytes / MIB
    }

    /// The attempt fails by this class and reason: the message that is kept.
    fn fail(&mut self, class: FailureClass, reason: &str) -> String {
        let attempt = self.node().attempt.as_ref().unwrap();
        let id = AttemptId { run_id: RUN.into(), node: 1, attempt: attempt.number };
        let fence = attempt.fence;
        let failure = Some(Failure::new(class, reason, "used too much"));
        let event = Event::Failed as i32;
        self.done(Report { attempt_id: id.to_string(), fence, event, failure, ..Report::default() });
        self.node().failure.as_ref().unwrap().message.clone()
    }

    fn killed(&mut self) -> String {
        self.fail(FailureClass::User, "out_of_memory")
    }
}

#[test]
fn memory_grows_to_the_most_and_then_the_step_fails() {
    let mut world = World::new(json!({ "memory": { "max": "350MiB" } }));
    assert_eq!(world.place(), 100);
    assert_eq!(world.killed(), "used too much\ntoo little memory with 100MiB; the next attempt gets 200MiB");
    assert_eq!(world.node().status(), NodeStatus::BackingOff);
    assert_eq!(world.node().timer_ms, world.state.now_ms + 1_000, "the default pause");
    assert_eq!(world.place(), 200);
    world.killed();
    assert_eq!(world.place(), 350, "not 400");
    let message = "used too much\ntoo little memory with 350MiB, the most that it may have; \
                   3 sizes were tried, from 100MiB on";
    assert_eq!(world.killed(), message);
    assert_eq!(world.state.run(RUN).unwrap().head.status(), RunStatus::Failed);
    let failure = world.node().failure.as_ref().unwrap();
    assert_eq!((failure.class(), failure.reason.as_str()), (FailureClass::User, "out_of_memory"));

    world.done(Command::Restart(RunId { run_id: RUN.into() }));
    assert_eq!(world.place(), 100, "a restart begins anew");
}

#[test]
fn growth_is_a_budget_of_its_own() {
    let memory = json!({ "max": "400MiB", "factor": 4, "delay": "0s" });
    let mut world = World::new(json!({ "user": { "retries": 1, "delay": "0s" }, "memory": memory }));
    assert_eq!(world.place(), 100);
    world.killed();
    assert_eq!(world.node().status(), NodeStatus::Ready, "without a pause");
    assert!(world.effects.contains(&Effect::WantPlacement));
    assert_eq!(world.node().failures_user, 0);
    assert_eq!(world.place(), 400);
    world.fail(FailureClass::Platform, "executor_lost");
    assert_eq!(world.place(), 400, "other failures keep what has grown");
    world.killed();
    assert_eq!(world.node().failures_user, 1, "beyond the most it is a failure of the step's own");
    assert_eq!(world.place(), 400, "which retries of that class follow");
    world.killed();
    assert_eq!(world.node().status(), NodeStatus::Failed);
}

#[test]
fn only_kills_for_memory_make_it_grow() {
    let mut world = World::new(json!({ "user": { "retries": 9 }, "memory": { "max": "1GiB" } }));
    world.place();
    assert_eq!(world.fail(FailureClass::User, "exit_status"), "used too much");
    assert_eq!(world.place(), 100);
    assert_eq!((world.node().memory_kills, world.node().failures_user), (0, 1));

    let mut world = World::new(json!({ "memory": { "max": "1GiB", "retries": 1 } }));
    world.place();
    world.killed();
    assert_eq!(world.place(), 200);
    world.killed();
    assert_eq!(world.node().status(), NodeStatus::Failed, "it said how often");

    let mut world = World::new(json!({}));
    world.place();
    assert_eq!(world.killed(), "used too much");
    assert_eq!(world.node().status(), NodeStatus::Failed, "it did not ask for it");
}

#[test]
fn an_agent_without_room_for_the_grown_size_is_refused() {
    let mut world = World::new(json!({ "memory": { "max": "2GiB", "factor": 20, "delay": "0s" } }));
    world.place();
    world.killed();
    let place = Place { run: 1, node: 1, agent: "x".into(), executor: String::new() };
    let refusal = world.propose(place).refusal.unwrap();
    assert_eq!(refusal.kind(), RefusalKind::NoRoom);
    let run = world.state.run(RUN).unwrap();
    assert_eq!(world.state.needs(run, 1).unwrap().mem_bytes, 2_000 * MIB);
}

#[test]
fn a_definition_with_growth_waits_until_all_replicas_know_it() {
    let step = json!({ "id": "a", "kind": "noop", "retry": { "memory": { "max": "1GiB" } } });
    let definition: Definition = serde_json::from_value(json!({ "name": "w", "nodes": [step] })).unwrap();
    let register = Register::new(&definition);
    assert_eq!(Command::from(register.clone()).format(), 4);
    let mut world = World { state: State::default(), effects: Vec::new() };
    let refused = |outcome: Outcome| outcome.refusal.map(|refusal| refusal.kind());
    world.done(Raise { format: 3 });
    assert_eq!(refused(world.propose(register.clone())), Some(RefusalKind::WrongState));
    world.done(Raise { format: 4 });
    let silent = Register { format: 0, ..register.clone() };
    assert_eq!(refused(world.propose(silent)), Some(RefusalKind::WrongState), "it must say what it needs");
    assert!(world.state.definitions.is_empty());
    world.done(register);
}
