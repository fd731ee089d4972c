//! What happened, as far as promises are about it: what was applied where, who led, what clients were told, and what ran
//! on executors. Each method says what is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes_of::fingerprint;
use meson_engine::State;
use meson_engine::status::{NodeStatus, RunStatus};
use meson_raft::Position;
use tokio::time::Instant;

use crate::definition::needs;
use crate::world::Host;

/// A step of a run.
pub type Step = (String, u32);

/// One attempt as its executor saw it.
#[derive(Clone, Debug)]
pub struct Ran {
    /// On which executor.
    pub executor: Host,
    /// The last part of the step's path.
    pub name: String,
    /// Thousandths of a core.
    pub cpus_milli: u64,
    /// Set when it ended: whether well.
    pub ended: Option<bool>,
    /// Whether its executor or the lease ended it, rather than it itself.
    pub cut_short: bool,
}

/// See the module.
#[derive(Default)]
pub struct History {
    /// For each entry the term, and a digest of all commands up to it.
    entries: BTreeMap<u64, (u64, u64)>,
    /// For some entries a digest of the state after it.
    states: BTreeMap<u64, u64>,
    /// The state after the newest entry that anybody applied.
    newest: State,
    /// The newest entry that anybody applied.
    pub applied: u64,
    /// The newest entry that each replica has applied.
    applied_by: BTreeMap<Host, u64>,
    /// The newest term of an entry that a replica applied, and since when.
    terms: BTreeMap<Host, (u64, Instant)>,
    leaders: BTreeMap<u64, Host>,
    /// Request ids that were answered, with the run's id.
    pub started: BTreeMap<String, String>,
    /// Runs whose cancel was answered.
    pub cancelled: BTreeSet<String>,
    /// Replicas that were replaced, as the operator was answered, and by which.
    pub replaced: Vec<(Host, Host)>,
    /// Attempts by step and number.
    pub attempts: BTreeMap<(Step, u32), Ran>,
    /// Checks made: what a run is worth.
    pub checks: u64,
}

/// How often the whole state is compared between replicas: after every entry whose index this divides.
const FINGERPRINT_EVERY: u64 = 4;
/// An effect may be on its way from one actor to the next for so long after its term ended.
const EFFECT_PATIENCE: Duration = Duration::from_secs(1);

impl History {
    /// A replica leads in a term.
    pub fn leads(&mut self, host: Host, term: u64) -> Result<(), String> {
        self.checks += 1;
        let first = *self.leaders.entry(term).or_insert(host);
        if first == host { Ok(()) } else { Err(format!("{first} and {host} both lead in term {term}")) }
    }

    /// A replica has applied an entry whose commands have this digest, and is in this state.
    pub fn applied(&mut self, host: Host, at: Position, commands: u64, state: &State) -> Result<(), String> {
        self.checks += 1;
        self.applied_by.insert(host, at.index);
        let entry = (at.term, commands);
        if *self.entries.entry(at.index).or_insert(entry) != entry {
            return Err(format!("{host} applied another entry {} than others did", at.index));
        }
        let (term, since) = self.terms.entry(host).or_insert((0, Instant::now()));
        if at.term > *term {
            (*term, *since) = (at.term, Instant::now());
        }
        if at.index.is_multiple_of(FINGERPRINT_EVERY) {
            let mine = fingerprint(state);
            if *self.states.entry(at.index).or_insert(mine) != mine {
                return Err(format!("{host} has another state than others had after entry {}", at.index));
            }
        }
        if at.index > self.applied {
            meson_engine::invariant::check(state).map_err(|broken| format!("engine invariant: {broken}"))?;
            finished_is_final(&self.newest, state)?;
            self.applied = at.index;
            self.newest = state.clone();
        }
        Ok(())
    }

    /// A replica tells an executor to do something, under a term.
    pub fn ordered(&mut self, host: Host, term: u64) -> Result<(), String> {
        self.checks += 1;
        match self.terms.get(&host) {
            Some((newer, since)) if *newer > term && since.elapsed() > EFFECT_PATIENCE => {
                Err(format!("P3: {host} carries out an effect of term {term}, and knows of term {newer}"))
            }
            _ => Ok(()),
        }
    }

    /// A client was told that its request started a run.
    pub fn answered_start(&mut self, request: &str, run: &str) -> Result<(), String> {
        self.checks += 1;
        let first = self.started.entry(request.to_owned()).or_insert_with(|| run.to_owned());
        if first == run { Ok(()) } else { Err(format!("P2: {request} started {first} and {run}")) }
    }

    /// A client was told that a run is cancelled: somebody must have applied that.
    pub fn answered_cancel(&mut self, run: &str) -> Result<(), String> {
        self.checks += 1;
        self.cancelled.insert(run.to_owned());
        let status = self.newest.run(run).map(|run| run.head.status).unwrap_or_default();
        match RunStatus::try_from(status) {
            Ok(RunStatus::Stopping) => Ok(()),
            Ok(status) if status.is_terminal() => Ok(()),
            _ => Err(format!("P1: the cancel of {run} was answered, and it is in {status} everywhere")),
        }
    }

    /// A client read everything: what was known when it began must be there.
    pub fn answered_read(&mut self, known: &Known, applied: u64, state: &State) -> Result<(), String> {
        self.checks += 1;
        if let Some(lost) = known.runs.iter().find(|run| state.run(run).is_none()) {
            return Err(format!("a linearizable read does not see run {lost}, which was answered before"));
        }
        if applied < known.applied {
            let text = "a linearizable read sees the state after entry";
            return Err(format!("{text} {applied}, but {} had been applied before it began", known.applied));
        }
        Ok(())
    }

    /// The newest entry that a replica has applied.
    pub fn applied_by(&self, host: Host) -> u64 {
        self.applied_by.get(&host).copied().unwrap_or_default()
    }

    /// What a read that begins now must see.
    pub fn known(&self) -> Known {
        Known { applied: self.applied, runs: self.started.values().cloned().collect() }
    }

    /// An executor starts an attempt.
    pub fn attempt_starts(&mut self, step: Step, number: u32, ran: Ran, room: u64) -> Result<(), String> {
        self.checks += 1;
        let of_step = self.attempts.iter().filter(|((other, _), _)| *other == step);
        if let Some(((_, other), before)) = of_step.clone().find(|(_, before)| before.ended.is_none()) {
            return Err(format!("P3: {step:?} runs as attempt {other} on {} and {number}", before.executor));
        }
        for need in needs(&ran.name) {
            let done = self.attempts.iter().any(|(((run, _), _), other)| {
                *run == step.0 && other.name == *need && other.ended == Some(true)
            });
            if !done {
                return Err(format!("P6: {step:?} ({}) starts before {need} succeeded", ran.name));
            }
        }
        let living =
            self.attempts.values().filter(|other| other.executor == ran.executor && other.ended.is_none());
        let held: u64 = living.map(|other| other.cpus_milli).sum::<u64>() + ran.cpus_milli;
        if held > room {
            return Err(format!("P8: attempts on {} hold {held} of {room}", ran.executor));
        }
        if self.attempts.contains_key(&(step.clone(), number)) {
            return Err(format!("P3: attempt {number} of {step:?} starts twice"));
        }
        self.attempts.insert((step, number), ran);
        Ok(())
    }

    /// An attempt ended.
    pub fn attempt_ends(&mut self, step: &Step, number: u32, well: bool, cut_short: bool) {
        if let Some(ran) = self.attempts.get_mut(&(step.clone(), number)) {
            ran.ended = Some(well);
            ran.cut_short = cut_short;
        }
    }

    /// The state after the newest entry that anybody applied.
    pub fn newest(&self) -> &State {
        &self.newest
    }
}

/// What a read must see.
pub struct Known {
    applied: u64,
    runs: Vec<String>,
}

/// P5. No run is restarted in the simulation, so nothing may leave a terminal state.
fn finished_is_final(before: &State, after: &State) -> Result<(), String> {
    for run in before.runs.values() {
        let Some(now) = after.runs.get(&run.number()) else { continue };
        let (was, is) = (run.head.status, now.head.status);
        if RunStatus::try_from(was).is_ok_and(RunStatus::is_terminal) && is != was {
            return Err(format!("P5: run {} was {was} and is {is}", run.info.run_id));
        }
        for (no, node) in &run.nodes {
            let is = now.nodes.get(no).map(|node| node.status);
            if NodeStatus::try_from(node.status).is_ok_and(NodeStatus::is_terminal) && is != Some(node.status)
            {
                return Err(format!(
                    "P5: node {no} of {} was {} and is {is:?}",
                    run.info.run_id, node.status
                ));
            }
        }
    }
    Ok(())
}

/// Digests of states.
pub mod bytes_of {
    use std::io;

    use meson_engine::State;

    use crate::world::fnv;

    struct Digest(u64);

    impl io::Write for Digest {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = fnv(self.0, bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A digest of the bytes that the state's snapshot would have.
    pub fn fingerprint(state: &State) -> u64 {
        let mut digest = Digest(0);
        meson_engine::snapshot::write(state, &mut digest).expect("a digest takes every byte");
        digest.0
    }
}
