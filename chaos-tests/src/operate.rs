//! What an operator does to a cluster: stop a replica politely, change its settings, lose its disk, add another one.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, free_ports};
use crate::wait::until;

/// How long a replica may take to stop; a supervisor would kill it after some such time.
const STOP_MAX: Duration = Duration::from_secs(30);

impl Cluster {
    /// Stops a replica by SIGTERM and waits until it is gone.
    ///
    /// # Errors
    /// When it was not running, does not stop, or says that it failed.
    pub async fn stop_replica(&mut self, replica: usize) -> anyhow::Result<()> {
        self.signal_replica(replica, Signal::SIGTERM)?;
        let mut child = self.replicas[replica].take().context("the replica is not running")?;
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        let status =
            tokio::time::timeout(STOP_MAX, waiting).await.context("the replica does not stop")???;
        anyhow::ensure!(status.success(), "the replica ended with {status}\n{}", self.log_tails());
        Ok(())
    }

    /// Loses the files of a replica that is not running.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn lose_disk(&self, replica: usize) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.data_dir(replica))?)
    }

    /// Prepares one more replica, with the next number; its members' list then names all, those before do not know it.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn add_replica(&mut self) -> anyhow::Result<usize> {
        self.ports.extend(free_ports(1)?);
        self.replicas.push(None);
        Ok(self.replicas.len() - 1)
    }

    /// Sets a `MESON_*` variable for the processes that are started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.options.env.retain(|(known, _)| known != name);
        self.options.env.push((name.to_owned(), value.to_owned()));
    }

    /// Waits until a replica that was started has all that another one had applied when this was called.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub async fn caught_up(&self, replica: usize, with: usize) -> anyhow::Result<()> {
        let ahead = until("the other replica's status", || self.status(with)).await?.applied_index;
        until("the replica catches up", || async {
            self.status(replica).await.filter(|status| status.applied_index >= ahead).map(drop)
        })
        .await
    }

    /// Whether a replica that was started has ended by itself; then how.
    pub fn ended(&mut self, replica: usize) -> Option<std::process::ExitStatus> {
        self.replicas[replica].as_mut()?.try_wait().ok()?
    }
}
