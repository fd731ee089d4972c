//! The actor of the offer stream of the local resource manager: matches ready steps with room, commits each placement
//! before anything is launched, and gives up agents that have been silent for longer than their lease.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use meson_engine::State;
use meson_engine::command::{AgentLost, Command};
use meson_engine::outcome::Outcome;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Stop;
use crate::placement::{self, BestFit, Limits, Problem};
use crate::proposer::Error;
use crate::resources::demand::Waiting;
use crate::resources::{self, ResourceManager as _};
use crate::shared::Shared;

/// How often silent agents are looked for.
const LOOK_FOR_LOST: Duration = Duration::from_millis(500);

/// Pause after a placement that could not be proposed.
const PAUSE: Duration = Duration::from_millis(50);

/// The actor.
pub struct OffersActor {
    shared: Shared,
    waiting: Waiting,
    placing: bool,
    looked_for_lost: Instant,
}

/// Steps may be ready, or room may be free.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

#[derive(Message)]
#[rtype(result = "()")]
struct Placed;

impl OffersActor {
    /// Over this state.
    pub fn new(shared: Shared) -> Self {
        let waiting = Waiting::new(Arc::new(shared.config.mesos.clone()));
        OffersActor { shared, waiting, placing: false, looked_for_lost: Instant::now() }
    }

    fn give_up_silent_agents(&mut self) {
        // A process that was paused is given all ticks that it missed at once.
        if self.looked_for_lost.elapsed() < LOOK_FOR_LOST / 2 {
            return;
        }
        self.looked_for_lost = Instant::now();
        // The executor's lease ends `lease_ms` after it sent the last heartbeat that was acknowledged, which is before
        // that heartbeat was heard here; `lease_margin_ms` covers the kill and clocks that run unlike (P3).
        let config = &self.shared.config;
        let patience = Duration::from_millis(config.lease_ms + config.lease_margin_ms);
        let state = self.shared.published.state();
        for agent in state.agents.values().filter(|agent| agent.up && !agent.mesos) {
            let Some(last_heard) = self.shared.sessions.last_heard(&agent.agent_id) else { return };
            let silent = last_heard.elapsed();
            if silent <= patience {
                continue;
            }
            warn!(agent = agent.agent_id, silent_ms = silent.as_millis() as u64, "giving up a silent agent");
            let message = format!("the executor was silent for {} s", silent.as_secs());
            let command = AgentLost { agent_id: agent.agent_id.clone(), message, forget: false };
            let proposer = self.shared.proposer.clone();
            actix::spawn(async move {
                if let Err(error) = proposer.propose(command).await {
                    info!(%error, "giving up an agent has to wait for the next look");
                }
            });
        }
    }
}

/// Commands for all that fits right now.
fn solve(shared: &Shared, waiting: &mut Waiting, state: &State) -> Vec<Command> {
    let queue = waiting.follow(state);
    if let Some(mesos) = &shared.mesos {
        mesos.want(queue.roles());
    }
    if queue.is_empty() {
        return Vec::new();
    }
    let offers = resources::offers(shared, state);
    let problem = Problem { queue, offers: &offers, limits: Limits::default(), now_ms: state.now_ms };
    let solution = placement::solve(&problem, &BestFit);
    resources::place(shared, state, solution.launches)
}

/// Offers of Mesos that were set aside for placements that were refused need not wait for them.
fn release(shared: &Shared, commands: &[Command], results: &[Result<Outcome, Error>]) {
    let Some(mesos) = &shared.mesos else { return };
    for (command, result) in commands.iter().zip(results) {
        if let (Command::Place(place), Err(_)) = (command, result) {
            mesos.refused(place.run, place.node);
        }
    }
}

impl Actor for OffersActor {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_FOR_LOST, |actor, _| actor.give_up_silent_agents());
    }
}

impl Handler<Look> for OffersActor {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        // Placements that are proposed but not applied would be solved for again: one batch at a time, and a look
        // after it.
        if self.placing {
            return;
        }
        let commands = solve(&self.shared, &mut self.waiting, &self.shared.published.state());
        if commands.is_empty() {
            return;
        }
        self.placing = true;
        let (shared, me) = (self.shared.clone(), ctx.address());
        actix::spawn(async move {
            let results = shared.proposer.propose_all(commands.clone()).await;
            release(&shared, &commands, results.as_deref().unwrap_or_default());
            // When nothing got through, trying the same again at once would only burn time.
            if !results.is_ok_and(|results| results.iter().any(Result::is_ok)) {
                info!("no placement was committed; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            // The actor may have stopped; then nobody cares.
            let _ = me.send(Placed).await;
        });
    }
}

impl Handler<Placed> for OffersActor {
    type Result = ();
    fn handle(&mut self, _: Placed, ctx: &mut Self::Context) {
        self.placing = false;
        self.handle(Look, ctx);
    }
}

impl Handler<Stop> for OffersActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
