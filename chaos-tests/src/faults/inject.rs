//! Doing a fault and healing it.

use nix::sys::signal::Signal;

use super::{Fault, links};
use crate::clock;
use crate::history::{self, Micros};
use crate::testbed::{Machine, Size, Testbed};

/// A fault that was done and is to be healed.
#[derive(Debug)]
pub struct Injected {
    fault: Fault,
    machines: Vec<Machine>,
    leader: Option<Machine>,
    size: Size,
    from: Micros,
}

impl Injected {
    /// Does a fault now, to the leader that is known if it asks for the leader.
    ///
    /// # Errors
    /// When the machines it strikes cannot be struck so.
    pub fn inject(testbed: &Testbed, fault: Fault, leader: Option<Machine>) -> anyhow::Result<Injected> {
        let machines = fault.who().machines(testbed.options().size, leader);
        let from = clock::now();
        let size = testbed.options().size;
        let injected = Injected { fault, machines, leader, size, from };
        links::change(testbed, &injected.machines, &injected.fault, false);
        if let Fault::PowerCut { .. } = injected.fault {
            // All at once, before any of them loses what it has not synced, which takes a moment.
            injected.machines.iter().try_for_each(|machine| testbed.kill_all_on(*machine))?;
        }
        injected.machines.iter().try_for_each(|machine| injected.strike(testbed, *machine))?;
        Ok(injected)
    }

    fn strike(&self, testbed: &Testbed, machine: Machine) -> anyhow::Result<()> {
        match &self.fault {
            Fault::Kill { .. } => testbed.kill(machine),
            Fault::LoseAgent { .. } => testbed.kill_all_on(machine),
            Fault::PowerCut { .. } => testbed.lose_unsynced(machine),
            Fault::Pause { .. } => testbed.signal(machine, Signal::SIGSTOP),
            Fault::Cut { .. } | Fault::Delay { .. } | Fault::Loss { .. } => Ok(()),
            Fault::ClockJump { by_ms, .. } => testbed.shift_clock(machine, *by_ms),
            Fault::DiskFull { .. } => testbed.fill_disk(machine),
            Fault::DiskSlow { by_ms, .. } => testbed.slow_syncs(machine, *by_ms),
        }
    }

    /// Heals it; gives what goes into the history.
    ///
    /// # Errors
    /// When something cannot be healed.
    pub fn heal(self, testbed: &Testbed) -> anyhow::Result<history::Fault> {
        links::change(testbed, &self.machines, &self.fault, true);
        for machine in &self.machines {
            match &self.fault {
                Fault::Kill { .. } | Fault::LoseAgent { .. } | Fault::PowerCut { .. } => {
                    testbed.restart(*machine)?
                }
                Fault::Pause { .. } => testbed.signal(*machine, Signal::SIGCONT)?,
                Fault::Cut { .. } | Fault::Delay { .. } | Fault::Loss { .. } => {}
                Fault::ClockJump { .. } => testbed.shift_clock(*machine, 0)?,
                Fault::DiskFull { .. } => testbed.free_disk(*machine)?,
                Fault::DiskSlow { .. } => testbed.slow_syncs(*machine, 0)?,
            }
        }
        Ok(self.record())
    }

    /// What goes into the history, as if it were healed now.
    pub fn record(&self) -> history::Fault {
        let names: Vec<String> = self.machines.iter().map(Machine::to_string).collect();
        history::Fault {
            from: self.from,
            until: clock::now(),
            what: format!("{}: {}{}", self.fault.kind(), names.join(", "), self.fault.detail()),
            touches: self.touched().iter().map(Machine::to_string).collect(),
            leader: self.leader.is_some_and(|leader| self.machines.contains(&leader)),
        }
    }

    /// Machines whose work the fault may hinder: those that it strikes. A leader that is cut off is one machine, whoever
    /// it was cut off from: the others are to go on without it. What a fault does to clients excuses nobody.
    fn touched(&self) -> Vec<Machine> {
        if self.machines.iter().any(|machine| matches!(machine, Machine::Master(_))) {
            // Without its master no agent gets new work, though what runs there goes on.
            return self.size.executors().collect();
        }
        let hinders = |machine: &&Machine| matches!(machine, Machine::Replica(_) | Machine::Executor(_));
        self.machines.iter().filter(hinders).copied().collect()
    }
}
