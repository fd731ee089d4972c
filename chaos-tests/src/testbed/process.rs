//! One process under test: killed, paused, started again; and what happens when it ends by itself.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Machine;
use super::shim::Shim;
use crate::clock;
use crate::history::Micros;
use crate::network::Host;

/// Pause of a service manager before it starts again what ended by itself.
const REVIVE_AFTER: Duration = Duration::from_secs(1);

/// How a process is started.
pub(super) struct Recipe {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub env: Vec<(String, String)>,
    pub log: PathBuf,
    pub shim: PathBuf,
    pub shim_control: PathBuf,
}

impl Recipe {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.env.iter().cloned())
            .env("LD_PRELOAD", &self.shim)
            .env("CHAOS_SHIM_CONTROL", &self.shim_control);
        command
    }
}

/// The end of a process that nobody had ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// When it was noticed.
    pub at: Micros,
    /// Whose.
    pub machine: Machine,
    /// How it ended, as in `exit status: 1`.
    pub status: String,
}

/// A process under test.
pub struct Process {
    recipe: Recipe,
    shim: Shim,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    child: Option<Child>,
    /// It ended by itself then.
    dead_since: Option<Instant>,
}

impl Process {
    /// Starts it.
    pub(super) fn new(recipe: Recipe, host: &Host) -> anyhow::Result<Process> {
        let shim = Shim::new(&recipe.shim_control)?;
        let process = Process { recipe, shim, life: Mutex::default() };
        process.start(host)?;
        Ok(process)
    }

    pub(super) fn shim(&self) -> &Shim {
        &self.shim
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it unless it runs.
    pub(super) fn start(&self, host: &Host) -> anyhow::Result<()> {
        let mut life = self.life();
        life.dead_since = None;
        if life.child.is_none() {
            let log = File::options().create(true).append(true).open(&self.recipe.log)?;
            life.child = Some(host.spawn(&self.recipe.command(), log)?);
        }
        Ok(())
    }

    /// Ends it at once, and for as long as nobody starts it.
    pub(super) fn kill(&self) {
        let mut life = self.life();
        life.dead_since = None;
        if let Some(mut child) = life.child.take() {
            // Both only fail when it has ended by itself in this instant.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.life().child {
            // Only fails when it has ended by itself in this instant.
            let _ = kill(Pid::from_raw(child.id() as i32), signal);
        }
    }

    /// Looks whether it ended by itself; starts it again after a pause.
    pub(super) fn revive(&self, machine: Machine, host: &Host) -> anyhow::Result<Option<Death>> {
        let mut life = self.life();
        let mut death = None;
        if let Some(status) = life.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
            life.child = None;
            life.dead_since = Some(Instant::now());
            death = Some(Death { at: clock::now(), machine, status: status.to_string() });
        }
        let due = life.dead_since.is_some_and(|since| since.elapsed() >= REVIVE_AFTER);
        drop(life);
        if due {
            self.start(host)?;
        }
        Ok(death)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
