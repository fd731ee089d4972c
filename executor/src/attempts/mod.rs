//! The attempts of this executor: launch, kill, what is known of them, and what became of them.

mod adopt;
mod child;
mod contract;
mod in_process;
mod known;
mod retention;
mod table;
mod workspace;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use meson_plugins::Plugin;
use meson_proto::v1::{AttemptState, Failure, FailureClass, Kill, Launch, Report};
use meson_store::{Limits, Store};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::claims::Claims;
use crate::clock;
use crate::config::Config;
use crate::fetch::Fetcher;
use crate::helpers;
use crate::lease::Lease;
use crate::logs::Logs;
use crate::outbox::Outbox;
use crate::runners::{self, Place, Plan};
use crate::task::dirs::{AttemptDir, is_safe_name};
use crate::task::record::{self, Fact};
use crate::task::{cgroup, exit};
use table::{Active, Table};

pub use table::Progress;

/// Orders to one attempt that may wait; more than a few make no sense.
const ORDERS_MAX: usize = 16;

/// All that attempts need. One for the process.
#[derive(Debug)]
pub struct Executor {
    /// The settings.
    pub config: Config,
    /// Reports on their way.
    pub outbox: Outbox,
    /// Until when attempts may run.
    pub lease: Lease,
    /// Logs on their way.
    pub logs: Logs,
    /// Attempts that wait for the leader's permission.
    pub claims: Claims,
    plugins: Vec<Plugin>,
    fetcher: Fetcher,
    /// Where workspaces are that have a URI.
    store: Store,
    /// Where attempts get cgroups of their own.
    cgroup: Option<PathBuf>,
    /// Where everything runs that may touch the disk. The session has a thread of its own, so that a disk that stalls
    /// cannot hold up heartbeats and thereby cost the lease of all attempts.
    workers: Handle,
    table: Mutex<Table>,
}

/// What an attempt is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Stop it.
    Kill {
        /// Milliseconds from SIGTERM to SIGKILL.
        grace_ms: u64,
        /// Nobody wants its report.
        discard: bool,
    },
}

impl Executor {
    /// An executor on its data directory, which nobody else may use.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(config: Config, plugins: Vec<Plugin>, workers: Handle) -> io::Result<Self> {
        std::fs::create_dir_all(config.data_dir.join("attempts"))?;
        std::fs::create_dir_all(config.workspaces())?;
        helpers::write(&config.helpers())?;
        let outbox = Outbox::open(&config.data_dir)?;
        let lease = Lease::open(&config.data_dir, config.lease_margin_ms)?;
        let idle = Duration::from_millis(config.fetch_timeout_ms);
        let store = Store::new(Limits { idle, ..Limits::default() });
        let fetcher = Fetcher::open(&config, store.clone())?;
        let cgroup = cgroup::find(&config.cgroup);
        let logs = Logs::new(workers.clone());
        Ok(Self {
            config,
            outbox,
            lease,
            logs,
            claims: Claims::default(),
            plugins,
            fetcher,
            store,
            cgroup,
            workers,
            table: Mutex::default(),
        })
    }

    /// The kinds of steps that it runs: its own, as far as this machine can, and those of its plugins.
    pub fn kinds(&self) -> Vec<String> {
        let of_plugins = self.plugins.iter().map(|plugin| plugin.kind.name.clone());
        runners::kinds(&self.config).into_iter().chain(of_plugins).collect()
    }

    /// Starts an attempt, unless it is known, stale or wrong. Waits for nothing, not even the disk.
    pub fn launch(self: &Arc<Self>, launch: Launch) {
        if self.table().knows(&launch.attempt_id) {
            debug!(attempt_id = launch.attempt_id, "launched again");
            self.outbox.send_again(&launch.attempt_id);
            return;
        }
        if self.table().has_renounced(&launch.attempt_id) {
            warn!(attempt_id = launch.attempt_id, "launched after its kill; refused");
            return;
        }
        let Ok(replaced) = self.table().renew(&launch) else {
            warn!(attempt_id = launch.attempt_id, fence = launch.fence, "stale launch refused");
            let failure =
                exit::new(FailureClass::Platform, "stale_fence", "a newer attempt of the step was launched");
            self.refuse(&launch, failure);
            return;
        };
        if let Some(orders) = &replaced {
            warn!(
                attempt_id = launch.attempt_id,
                "an older attempt of the step still runs here; killed first"
            );
            let _ = orders.try_send(Order::Kill { grace_ms: 0, discard: false });
        }
        match self.plan(&launch) {
            Err(failure) => self.refuse(&launch, failure),
            Ok(Plan::InProcess(ending)) if ending.after.is_zero() => {
                self.outbox.push(in_process::end(&launch, ending));
            }
            Ok(Plan::InProcess(ending)) => {
                let (_, orders) = self.add(&launch);
                self.workers.spawn(in_process::run(self.clone(), launch, ending, orders));
            }
            Ok(Plan::Process(program)) => {
                let (progress, orders) = self.add(&launch);
                let start = child::Start { program, replaced };
                self.workers.spawn(child::launch(self.clone(), launch, start, progress, orders));
            }
        }
    }

    /// The leader permits attempts that Mesos brought.
    pub fn permit(self: &Arc<Self>, attempt_ids: &[String]) {
        attempt_ids.iter().filter_map(|id| self.claims.take(id)).for_each(|launch| self.launch(launch));
    }

    /// Stops an attempt. One that is not here is reported as gone.
    pub fn kill(self: &Arc<Self>, kill: &Kill) {
        if let Some(launch) = self.claims.take(&kill.attempt_id) {
            let failure = exit::new(FailureClass::Cancelled, "killed", "killed before its start");
            return if kill.discard {
                self.outbox.dropped(&kill.attempt_id)
            } else {
                self.refuse(&launch, failure)
            };
        }
        let grace_ms = if kill.grace_ms == 0 { self.config.kill_grace_ms } else { kill.grace_ms };
        if self.table().order(&kill.attempt_id, Order::Kill { grace_ms, discard: kill.discard }) {
            return;
        }
        if kill.discard {
            self.discard(&kill.attempt_id);
        } else if self.table().knows(&kill.attempt_id) || self.outbox.send_again(&kill.attempt_id) {
            debug!(attempt_id = kill.attempt_id, "it ended before it could be killed");
        } else {
            let failure = exit::new(
                FailureClass::Platform,
                "unknown_attempt",
                "the executor does not have this attempt",
            );
            self.table().renounce(&kill.attempt_id);
            self.outbox.push(failed(&kill.attempt_id, kill.fence, failure));
        }
    }

    fn discard(self: &Arc<Self>, attempt_id: &str) {
        if self.outbox.discard(attempt_id) && self.table().has_ended(attempt_id) {
            let (executor, attempt_id) = (self.clone(), attempt_id.to_owned());
            self.workers.spawn(async move { executor.finish(&attempt_id) });
        }
    }

    /// The leader has decided on a report.
    pub fn acknowledge(self: &Arc<Self>, report_id: u64, refused: &str) {
        let Some((attempt_id, state)) = self.outbox.subject(report_id) else { return };
        if !refused.is_empty() {
            warn!(attempt_id, refused, "report refused");
        }
        if state == AttemptState::Running || !self.table().has_ended(&attempt_id) {
            self.outbox.acknowledge(report_id);
            return;
        }
        let executor = self.clone();
        self.workers.spawn(async move {
            // Before the report is forgotten, or a crash in between would report the end of these files again.
            executor.finish(&attempt_id);
            executor.outbox.acknowledge(report_id);
        });
    }

    /// Nothing is left to be said of an attempt that ran as a child process: its files are only kept for people.
    fn finish(&self, attempt_id: &str) {
        if let Err(error) = record::append(&self.dir(attempt_id).record(), &Fact::Done) {
            warn!(attempt_id, %error, "the end will be reported again after a restart");
        }
        self.table().finish(attempt_id, SystemTime::now());
    }

    /// The files of an attempt.
    pub fn dir(&self, attempt_id: &str) -> AttemptDir {
        AttemptDir::new(self.attempts_dir().join(attempt_id))
    }

    fn attempts_dir(&self) -> PathBuf {
        self.config.data_dir.join("attempts")
    }

    fn plan(&self, launch: &Launch) -> Result<Plan, Failure> {
        let rejected = |reason, message: &str| exit::new(FailureClass::Rejected, reason, message);
        if !is_safe_name(&launch.attempt_id) || !is_safe_name(&launch.run_id) {
            return Err(rejected("bad_id", "attempt and run ids must be names of files"));
        }
        let dir = self.dir(&launch.attempt_id);
        let place = Place { config: &self.config, dir: &dir };
        let plugin = || self.plugins.iter().find(|plugin| plugin.kind.name == launch.kind);
        let plan = if let Some(runner) = runners::find(&launch.kind) {
            runner.prepare(launch, &place)
        } else if let Some(plugin) = plugin() {
            runners::plugin::prepare(plugin, launch, &place)
        } else {
            let message = format!("this executor cannot run steps of kind `{}`", launch.kind);
            return Err(rejected("unknown_kind", &message));
        };
        plan.map_err(|error| rejected("bad_configuration", &error.to_string()))
    }

    fn add(&self, launch: &Launch) -> (Arc<Progress>, mpsc::Receiver<Order>) {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let progress = Arc::new(Progress::default());
        self.table().add(launch, Active::new(launch, orders, progress.clone()));
        (progress, receiver)
    }

    fn refuse(&self, launch: &Launch, failure: Failure) {
        self.outbox.push(failed(&launch.attempt_id, launch.fence, failure));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report of a failure now.
fn failed(attempt_id: &str, fence: u64, failure: Failure) -> Report {
    let now = clock::unix_ms();
    Report {
        attempt_id: attempt_id.to_owned(),
        fence,
        state: AttemptState::Failed.into(),
        failure: Some(failure),
        started_at_ms: now,
        ended_at_ms: now,
        log_complete: true,
        ..Report::default()
    }
}
