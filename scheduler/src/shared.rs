//! What all parts of the shell hold: the view of the state, the way to write, and the leader's soft knowledge.

use std::sync::Arc;

use meson_raft::Replica;
use meson_workflow::kinds::Plugins;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::config::Config;
use crate::machine::Published;
use crate::proposer::Proposer;
use crate::resources::local::Sessions;
use crate::resources::mesos::Mesos;
use crate::soft::Soft;
use crate::workspaces::Workspaces;

/// Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// Settings.
    pub config: Arc<Config>,
    /// The kinds of steps that plugins bring; `serve` puts in those that the settings name.
    pub plugins: Arc<Plugins>,
    /// The replicated state, as applied here.
    pub published: Published,
    /// The only way to write.
    pub proposer: Proposer,
    /// This replica of the log.
    pub replica: Replica,
    /// Sessions with executors, while this replica leads.
    pub sessions: Sessions,
    /// Mesos, where it is the resource manager.
    pub mesos: Option<Mesos>,
    /// Workspaces in a shared store, where the settings name one.
    pub workspaces: Option<Workspaces>,
    /// Progress of running attempts, while this replica leads.
    pub soft: Soft,
    /// The term this replica leads in with its actors running; none otherwise. Faces serve as leader only then.
    pub leading: watch::Sender<Option<u64>>,
    /// Asks for all owed effects to be derived from the state now, rather than at the next tick.
    pub reconcile: Arc<Notify>,
    /// The thread that actors live on.
    pub arbiter: actix::ArbiterHandle,
}

impl Shared {
    /// For a replica that does not lead yet. To be called on the actors' thread.
    pub fn new(config: Config, published: Published, replica: Replica, clock: Clock) -> Shared {
        let sessions = Sessions::default();
        let mesos = config.mesos.is_on().then(|| Mesos::new(config.mesos.clone(), sessions.clone()));
        Shared {
            workspaces: Workspaces::new(&config),
            config: Arc::new(config),
            plugins: Arc::default(),
            proposer: Proposer::new(replica.clone(), published.clone(), clock),
            published,
            replica,
            sessions,
            mesos,
            soft: Soft::default(),
            leading: watch::Sender::new(None),
            reconcile: Arc::new(Notify::new()),
            arbiter: actix::Arbiter::current(),
        }
    }

    /// Whether this replica leads and is ready to serve as leader.
    pub fn is_leading(&self) -> bool {
        self.leading.borrow().is_some()
    }
}
