//! The search for an order, against one that tries every order: on many small histories both must say the same.

use std::fmt::Debug;

use meson_chaos_tests::check::linear::{Call, Model, Op, Outcome, RunModel, search};
use meson_chaos_tests::history::{Micros, RunState};

use crate::sim::Random;

/// What the slow search needs of a model: every state that an operation may lead to, and every state that the object may
/// reach by itself.
trait Slow<Op> {
    type State: Clone;
    fn initial(&self) -> Self::State;
    fn after(&self, state: &Self::State, op: &Op) -> Option<Self::State>;
    fn by_itself(&self, state: &Self::State) -> Vec<Self::State>;
}

/// Tries every order that the times allow.
fn fits<O, S: Slow<O>>(model: &S, calls: &[Call<O>]) -> bool {
    extend(model, calls, &mut vec![false; calls.len()], &model.initial())
}

fn extend<O, S: Slow<O>>(model: &S, calls: &[Call<O>], done: &mut Vec<bool>, state: &S::State) -> bool {
    let must = |(call, done): (&Call<O>, &bool)| call.answered.is_some() && !done;
    if !calls.iter().zip(done.iter()).any(must) {
        return true;
    }
    for place in 0..calls.len() {
        let first = |(other, done): (&Call<O>, &bool)| {
            *done || other.answered.is_none_or(|answered| answered >= calls[place].called)
        };
        if done[place] || !calls.iter().zip(done.iter()).all(first) {
            continue;
        }
        if let Some(next) = model.after(state, &calls[place].op) {
            done[place] = true;
            let found = extend(model, calls, done, &next);
            done[place] = false;
            if found {
                return true;
            }
        }
    }
    model.by_itself(state).into_iter().any(|next| extend(model, calls, done, &next))
}

/// A register with reads, writes, and compare-and-set.
struct Register;

#[derive(Debug, Clone, PartialEq, Eq)]
enum RegisterOp {
    Read(u8),
    Write(u8),
    Swap { from: u8, to: u8 },
}

impl Model for Register {
    type State = u8;
    type Op = RegisterOp;

    fn initial(&self) -> u8 {
        0
    }

    fn step(&self, state: &u8, op: &RegisterOp) -> Option<u8> {
        match op {
            RegisterOp::Read(value) => (state == value).then_some(*state),
            RegisterOp::Write(value) => Some(*value),
            RegisterOp::Swap { from, to } => (state == from).then_some(*to),
        }
    }

    fn settles(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_))
    }
}

impl Slow<RegisterOp> for Register {
    type State = u8;

    fn initial(&self) -> u8 {
        0
    }

    fn after(&self, state: &u8, op: &RegisterOp) -> Option<u8> {
        self.step(state, op)
    }

    fn by_itself(&self, _: &u8) -> Vec<u8> {
        Vec::new()
    }
}

/// A run, one state at a time, told apart from the checker's sets of states.
struct OneRun;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Absent,
    Running,
    Failing,
    Cancelling,
    Over(RunState),
}

#[derive(Debug, Clone, Copy)]
struct OneState {
    stage: Stage,
    seen: u64,
    seen_at_the_end: Option<u64>,
}

impl Slow<Op> for OneRun {
    type State = OneState;

    fn initial(&self) -> OneState {
        OneState { stage: Stage::Absent, seen: 0, seen_at_the_end: None }
    }

    fn after(&self, state: &OneState, op: &Op) -> Option<OneState> {
        let stage = state.stage;
        match op {
            Op::Submit if stage == Stage::Absent => Some(OneState { stage: Stage::Running, ..*state }),
            Op::Submit => Some(*state),
            Op::Missing => (stage == Stage::Absent).then_some(*state),
            Op::Cancel if stage == Stage::Absent => None,
            Op::Cancel if stage == Stage::Running => Some(OneState { stage: Stage::Cancelling, ..*state }),
            Op::Cancel => Some(*state),
            Op::See { status, stopping, succeeded } => {
                let right = match stage {
                    Stage::Absent => false,
                    Stage::Running => *status == RunState::Active && !stopping,
                    Stage::Failing | Stage::Cancelling => *status == RunState::Active && *stopping,
                    Stage::Over(how) => *status == how,
                };
                let Some(count) = succeeded else { return right.then_some(*state) };
                let over = matches!(stage, Stage::Over(_));
                let grown = *count >= state.seen && state.seen_at_the_end.is_none_or(|end| end == *count);
                let seen_at_the_end = if over { Some(*count) } else { None };
                (right && grown).then_some(OneState { stage, seen: *count, seen_at_the_end })
            }
        }
    }

    fn by_itself(&self, state: &OneState) -> Vec<OneState> {
        use RunState::{Cancelled, Failed, Succeeded};
        let next: &[Stage] = match state.stage {
            Stage::Running => &[Stage::Failing, Stage::Over(Succeeded)],
            Stage::Failing => &[Stage::Over(Failed)],
            Stage::Cancelling => &[Stage::Over(Cancelled), Stage::Over(Failed)],
            Stage::Absent | Stage::Over(_) => &[],
        };
        next.iter().map(|stage| OneState { stage: *stage, ..*state }).collect()
    }
}

/// Small histories of calls that overlap much.
fn calls<O>(random: &mut Random, most: u64, op: impl Fn(&mut Random) -> O) -> Vec<Call<O>> {
    let count = random.between(1, most);
    let mut calls = Vec::new();
    for _ in 0..count {
        let called: Micros = random.between(0, 12);
        let answered = (!random.percent(15)).then(|| called + random.between(0, 5));
        calls.push(Call { called, answered, op: op(random) });
    }
    calls
}

/// Runs both searches on many histories; both outcomes must be met often.
fn compare<M, S>(model: &M, slow: &S, seeds: u64, most: u64, op: impl Fn(&mut Random) -> M::Op)
where
    M: Model,
    M::Op: Debug + Clone,
    S: Slow<M::Op>,
{
    let (mut fitting, mut breaking) = (0, 0);
    for seed in 0..seeds {
        let calls = calls(&mut Random::new(seed), most, &op);
        let fast = match search(model, &calls, &mut 0) {
            Outcome::Fits => true,
            Outcome::Breaks { .. } => false,
            Outcome::TooMany => panic!("seed {seed}: too many configurations of {calls:?}"),
        };
        assert_eq!(fast, fits(slow, &calls), "seed {seed}: {calls:?}");
        *(if fast { &mut fitting } else { &mut breaking }) += 1;
    }
    assert!(fitting > seeds / 10 && breaking > seeds / 10, "{fitting} fit, {breaking} do not");
}

#[test]
fn the_search_says_the_same_as_all_orders_of_a_register() {
    compare(&Register, &Register, 20_000, 6, |random| {
        let (one, two) = (random.between(0, 2) as u8, random.between(0, 2) as u8);
        match random.below(5) {
            0 | 1 => RegisterOp::Read(one),
            2 | 3 => RegisterOp::Write(one),
            _ => RegisterOp::Swap { from: one, to: two },
        }
    });
}

#[test]
fn the_search_says_the_same_as_all_orders_of_a_run() {
    compare(&RunModel, &OneRun, 30_000, 6, |random| match random.below(10) {
        0..3 => Op::Submit,
        3 | 4 => Op::Cancel,
        5 if random.percent(40) => Op::Missing,
        _ => {
            use RunState::{Active, Cancelled, Failed, Succeeded};
            let status = [Active, Active, Active, Succeeded, Failed, Cancelled][random.below(6)];
            let stopping = status == Active && random.percent(40);
            Op::See { status, stopping, succeeded: random.percent(80).then(|| random.between(0, 2)) }
        }
    });
}

/// The first answer that fits no order is named, with what was known before it.
#[test]
fn the_answer_that_breaks_the_order_is_named() {
    let call = |called, answered, op| Call { called, answered: Some(answered), op };
    let calls = [
        call(0, 10, RegisterOp::Write(1)),
        call(20, 30, RegisterOp::Read(1)),
        call(40, 50, RegisterOp::Read(0)),
        call(60, 70, RegisterOp::Read(7)),
    ];
    let outcome = search(&Register, &calls, &mut 0);
    assert_eq!(outcome, Outcome::Breaks { call: 2, states: vec![1] });
}

/// A write that was never answered explains a read long after, and is never needed.
#[test]
fn what_was_never_answered_may_happen_late_or_never() {
    let open = Call { called: 0, answered: None, op: RegisterOp::Write(1) };
    let read = |called, value| Call { called, answered: Some(called + 1), op: RegisterOp::Read(value) };
    let fits = |calls: &[Call<RegisterOp>]| search(&Register, calls, &mut 0) == Outcome::Fits;
    assert!(fits(&[open.clone(), read(10, 0), read(20, 0)]));
    assert!(fits(&[open.clone(), read(10, 0), read(20, 1)]));
    assert!(!fits(&[open.clone(), read(10, 1), read(20, 0)]));
    assert!(!fits(&[read(10, 1), Call { called: 30, ..open }]), "it cannot happen before it was sent");
}

/// Rather than search for ever, it says so.
#[test]
fn too_many_configurations_are_given_up() {
    let write = |place: u8| Call {
        called: 0,
        answered: Some(100 + Micros::from(place)),
        op: RegisterOp::Write(place),
    };
    let calls: Vec<Call<RegisterOp>> = (1..=24).map(write).collect();
    assert_eq!(search(&Register, &calls, &mut 0), Outcome::TooMany);
}

/// A search without memory would try 2^40 orders here.
#[test]
fn many_overlapping_calls_are_no_trouble() {
    let mut calls: Vec<Call<Op>> = vec![Call { called: 0, answered: Some(1), op: Op::Submit }];
    let see = |status, succeeded| Op::See { status, stopping: false, succeeded: Some(succeeded) };
    for place in 0..40 {
        calls.push(Call { called: 2, answered: Some(1_000 + place), op: see(RunState::Active, place % 4) });
        calls.push(Call { called: 3, answered: None, op: Op::Cancel });
    }
    let mut looks = 0;
    assert_eq!(search(&RunModel, &calls, &mut looks), Outcome::Fits);
    assert!(looks < 200_000, "{looks}");
    calls.push(Call { called: 2_000, answered: Some(2_001), op: Op::Missing });
    assert!(matches!(search(&RunModel, &calls, &mut looks), Outcome::Breaks { call: 81, .. }));
}
