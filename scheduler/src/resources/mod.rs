//! The seam to resource managers: where offers come from, and how attempts get to their agents. Two stand behind it:
//! `local`, executors that connect by themselves and offer their hosts, and `mesos`.

pub mod demand;
pub mod local;
pub mod mesos;

use meson_engine::State;
use meson_engine::command::Command;
use meson_engine::ids::{NodeNo, RunNo};
use meson_engine::record::{Amounts, Attempt};
use meson_proto::v1::{Kill, Launch};

use crate::placement;
use crate::shared::Shared;

/// An attempt, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// Its run.
    pub run: RunNo,
    /// Its step.
    pub node: NodeNo,
    /// Its record.
    pub attempt: &'a Attempt,
}

/// What the shell needs of a resource manager.
pub trait ResourceManager {
    /// Room on agents right now: what they offered less what living attempts hold.
    fn offers(&self, state: &State, now_ms: u64) -> Vec<placement::Offer>;

    /// What to commit for launches on its offers, in order.
    fn place(&self, state: &State, launches: Vec<placement::Launch>) -> Vec<Command>;

    /// A placement was refused in the end.
    fn refused(&self, run: RunNo, node: NodeNo);

    /// Brings an attempt to its agent; harmless when it is there already. An agent that cannot be reached now gets it
    /// later.
    fn launch(&self, placed: Placed<'_>, launch: Launch);

    /// Asks an agent to end an attempt.
    fn kill(&self, placed: Placed<'_>, kill: Kill);

    /// Forgets an attempt that ended.
    fn ended(&self, placed: Placed<'_>, attempt_id: &str);
}

/// The resource manager that an attempt was placed through.
pub fn manager_of<'a>(shared: &'a Shared, attempt: &Attempt) -> &'a dyn ResourceManager {
    match &shared.mesos {
        Some(mesos) if !attempt.executor.is_empty() => mesos,
        _ => &shared.sessions,
    }
}

/// All offers of all resource managers.
pub fn offers(shared: &Shared, state: &State) -> Vec<placement::Offer> {
    let now_ms = shared.proposer.now_ms();
    let mut offers = shared.sessions.offers(state, now_ms);
    if let Some(mesos) = &shared.mesos {
        offers.extend(mesos.offers(state, now_ms));
    }
    offers
}

/// What to commit for launches, by the resource managers whose offers they are on.
pub fn place(shared: &Shared, state: &State, launches: Vec<placement::Launch>) -> Vec<Command> {
    let is_local =
        |launch: &placement::Launch| state.agents.get(&launch.agent).is_some_and(|agent| !agent.mesos);
    let (local, offered) = launches.into_iter().partition(is_local);
    let mut commands = shared.sessions.place(state, local);
    if let Some(mesos) = &shared.mesos {
        commands.extend(mesos.place(state, offered));
    }
    commands
}

/// Amounts as the solver counts them.
pub fn amounts(amounts: Amounts) -> placement::Amounts {
    placement::Amounts {
        cpus_milli: amounts.cpus_milli,
        mem_bytes: amounts.mem_bytes,
        disk_bytes: amounts.disk_bytes,
        gpus: amounts.gpus,
    }
}
