//! The seam to resource managers: where offers come from, and how attempts get to their agents. `local` stands behind
//! it: executors that connect by themselves and offer their hosts.

pub mod demand;
pub mod local;

use meson_engine::State;
use meson_engine::record::Amounts;
use meson_proto::v1::{Kill, Launch};

use crate::placement;

/// What the shell needs of a resource manager.
pub trait ResourceManager {
    /// Room on agents right now: what they offered less what living attempts hold.
    fn offers(&self, state: &State) -> Vec<placement::Offer>;

    /// Brings an attempt to its agent; harmless when it is there already. False when the agent cannot be reached now:
    /// it is tried again when it can.
    fn launch(&self, agent: &str, launch: Launch) -> bool;

    /// Asks an agent to end an attempt.
    fn kill(&self, agent: &str, kill: Kill) -> bool;
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
