//! From effects to actors: one exhaustive match. The actors are made here when an effect first names them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use actix::{Actor, Addr};
use meson_engine::Effect;
use meson_engine::ids::{NodeNo, RunNo};

use crate::actors::attempt::{self, AttemptActor};
use crate::actors::mesos::MesosActor;
use crate::actors::offers::{self, OffersActor};
use crate::actors::run::{Job, RunActor};
use crate::actors::timers::{self, TimersActor};
use crate::actors::workspaces::{Ended, Look, WorkspacesActor};
use crate::actors::{Stop, tell};
use crate::shared::Shared;

/// The actors of one term of leadership, but for the sessions, which the executors open.
pub struct Dispatch {
    shared: Shared,
    runs: HashMap<RunNo, Addr<RunActor>>,
    attempts: HashMap<(RunNo, NodeNo), (u32, Addr<AttemptActor>)>,
    offers: Addr<OffersActor>,
    mesos: Option<Addr<MesosActor>>,
    timers: Addr<TimersActor>,
    workspaces: Option<Addr<WorkspacesActor>>,
}

impl Dispatch {
    /// No runs and attempts yet.
    pub fn new(shared: Shared) -> Self {
        let offers = OffersActor::new(shared.clone()).start();
        let mesos = shared.mesos.clone();
        let mesos = mesos.map(|mesos| MesosActor::new(shared.clone(), mesos, offers.clone()).start());
        let workspaces = shared.workspaces.clone();
        let workspaces =
            workspaces.map(|workspaces| WorkspacesActor::new(shared.clone(), workspaces).start());
        Dispatch {
            runs: HashMap::new(),
            attempts: HashMap::new(),
            offers,
            mesos,
            timers: TimersActor::new(shared.clone()).start(),
            workspaces,
            shared,
        }
    }

    /// Hands each effect to its actor.
    pub fn all(&mut self, effects: Vec<Effect>) {
        let mut want_placement = false;
        let mut set_timer = false;
        for effect in effects {
            match effect {
                Effect::RunStarted { run } => {
                    self.run(run);
                }
                Effect::RunEnded { run } => {
                    if let Some(actor) = self.runs.remove(&run) {
                        tell(&actor, Stop);
                    }
                    self.ended(run);
                }
                Effect::Evaluate { run, evaluation } => tell(self.run(run), Job::Evaluate(evaluation)),
                Effect::Continue { run, node } => tell(self.run(run), Job::Continue(node)),
                Effect::WantPlacement => want_placement = true,
                Effect::SetTimer { .. } => set_timer = true,
                Effect::Launch { run, node } => self.attempt(run, node, attempt::Launch),
                Effect::Kill { run, node } => self.attempt(run, node, attempt::Kill),
                Effect::AttemptEnded { run, node } => {
                    if let Some((_, actor)) = self.attempts.remove(&(run, node)) {
                        tell(&actor, Stop);
                    }
                }
            }
        }
        // These two look at the whole state: once is enough.
        if want_placement {
            tell(&self.offers, offers::Look);
        }
        if set_timer {
            tell(&self.timers, timers::Look);
        }
    }

    fn run(&mut self, run: RunNo) -> &Addr<RunActor> {
        self.runs.entry(run).or_insert_with(|| RunActor::new(self.shared.clone(), run).start())
    }

    /// Has the run's workspace removed. One that has left the state already is found by the next look.
    fn ended(&self, run: RunNo) {
        let Some(actor) = &self.workspaces else { return };
        let state = self.shared.published.state();
        match state.runs.get(&run) {
            Some(run) => tell(actor, Ended { run_id: run.info.run_id.clone() }),
            None => tell(actor, Look),
        }
    }

    /// Tells the actor of a step's newest attempt; the actor of an older one is replaced.
    fn attempt<M>(&mut self, run: RunNo, node: NodeNo, message: M)
    where
        M: actix::Message<Result = ()> + Send + 'static,
        AttemptActor: actix::Handler<M>,
        actix::Context<AttemptActor>: actix::dev::ToEnvelope<AttemptActor, M>,
    {
        let Some(actor) = AttemptActor::new(self.shared.clone(), run, node) else { return };
        let number = actor.number();
        let entry = match self.attempts.entry((run, node)) {
            Entry::Occupied(mut entry) => {
                if entry.get().0 != number {
                    stop_attempt(&entry.get().1);
                    entry.insert((number, actor.start()));
                }
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert((number, actor.start())),
        };
        tell(&entry.1, message);
    }

    /// Has everything looked at that only an effect would have told of.
    pub fn lost_effects(&self) {
        self.workspaces.iter().for_each(|actor| tell(actor, Look));
    }

    /// Stops all actors.
    pub fn stop(self) {
        self.runs.values().for_each(|actor| tell(actor, Stop));
        self.attempts.values().for_each(|(_, actor)| tell(actor, Stop));
        tell(&self.offers, Stop);
        tell(&self.timers, Stop);
        self.mesos.iter().for_each(|actor| tell(actor, Stop));
        self.workspaces.iter().for_each(|actor| tell(actor, Stop));
    }
}

/// Apart from where messages are of any type: there the compiler would take this one for that type.
fn stop_attempt(actor: &Addr<AttemptActor>) {
    tell(actor, Stop);
}
