//! What is done to the cluster: each fault with its names, what it strikes, and how it is done and healed.

mod inject;
mod links;

pub use inject::Injected;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::testbed::{Machine, Size};

/// Who is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Whoever leads when the fault strikes.
    Leader,
    /// This machine.
    Machine(Machine),
    /// All replicas at once.
    AllReplicas,
    /// All executors at once.
    AllExecutors,
}

/// Others whom links are struck.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// The other replicas.
    Replicas,
    /// Everybody who is under test: replicas, executors and clients.
    Everybody,
    /// These machines.
    Machines(Vec<Machine>),
}

/// Which directions of a link are struck, as seen from who is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It hears and is heard no more.
    Both,
    /// It hears no more.
    In,
    /// It is heard no more.
    Out,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// kill -9, and started again when healed.
    Kill {
        /// Whose process.
        who: Who,
    },
    /// kill -9 of all processes of an executor's machine, attempts included; the executor is started again when healed.
    LoseAgent {
        /// Whose processes.
        who: Who,
    },
    /// kill -9, and whatever was not synced to the disk is lost; started again when healed.
    PowerCut {
        /// Whose power.
        who: Who,
    },
    /// SIGSTOP, and SIGCONT when healed.
    Pause {
        /// Whose process.
        who: Who,
    },
    /// Links are cut.
    Cut {
        /// Who is cut off.
        who: Who,
        /// Others whom.
        from: Others,
        /// In which direction.
        way: Way,
    },
    /// Links are slow.
    Delay {
        /// Whose links.
        who: Who,
        /// To whom.
        from: Others,
        /// How much later each frame comes.
        delay_ms: u64,
        /// Up to how much later still, drawn for each frame.
        jitter_ms: u64,
    },
    /// Links lose frames.
    Loss {
        /// Whose links.
        who: Who,
        /// To whom.
        from: Others,
        /// How many of a thousand frames are lost.
        in_thousand: u32,
    },
    /// The wall clock of a process jumps, and jumps back when healed. The monotonic clock does not.
    ClockJump {
        /// Whose clock.
        who: Who,
        /// By how much.
        by_ms: i64,
    },
    /// A replica's disk has no room left.
    DiskFull {
        /// Whose disk.
        who: Who,
    },
    /// Each sync to a process's disk takes longer.
    DiskSlow {
        /// Whose disk.
        who: Who,
        /// By how much.
        by_ms: u64,
    },
}

impl Fault {
    /// Whom it strikes.
    pub fn who(&self) -> Who {
        match self {
            Fault::Kill { who }
            | Fault::LoseAgent { who }
            | Fault::PowerCut { who }
            | Fault::Pause { who }
            | Fault::Cut { who, .. }
            | Fault::Delay { who, .. }
            | Fault::Loss { who, .. }
            | Fault::ClockJump { who, .. }
            | Fault::DiskFull { who }
            | Fault::DiskSlow { who, .. } => *who,
        }
    }

    /// Its kind, by which reports count.
    pub fn kind(&self) -> String {
        let who = match self.who() {
            Who::Leader => "leader",
            Who::Machine(Machine::Replica(_)) => "replica",
            Who::Machine(Machine::Executor(_)) => "executor",
            Who::Machine(Machine::Master(_)) => "master",
            Who::Machine(Machine::Client(_)) => "client",
            Who::Machine(Machine::Control) => "control",
            Who::AllReplicas => "all replicas",
            Who::AllExecutors => "all executors",
        };
        match self {
            Fault::Kill { .. } => format!("kill -9 {who}"),
            Fault::LoseAgent { .. } => format!("kill -9 {who} and its attempts"),
            Fault::PowerCut { .. } => format!("power cut of {who}"),
            Fault::Pause { .. } => format!("pause {who}"),
            Fault::Cut { from, way, .. } => format!("cut {who} {way} {from}"),
            Fault::Delay { .. } => format!("delay links of {who}"),
            Fault::Loss { .. } => format!("lossy links of {who}"),
            Fault::ClockJump { .. } => format!("clock jump of {who}"),
            Fault::DiskFull { .. } => format!("disk full of {who}"),
            Fault::DiskSlow { .. } => format!("slow disk of {who}"),
        }
    }
}

impl Fault {
    /// What its kind leaves out: how much, and whom else it concerns.
    pub fn detail(&self) -> String {
        match self {
            Fault::Cut { from: Others::Machines(machines), .. } => {
                let names: Vec<String> = machines.iter().map(Machine::to_string).collect();
                format!(" (from {})", names.join(", "))
            }
            Fault::Delay { delay_ms, jitter_ms, .. } => {
                format!(" (by {delay_ms} ms and up to {jitter_ms} ms more)")
            }
            Fault::Loss { in_thousand, .. } => format!(" ({in_thousand} of 1000 frames)"),
            Fault::ClockJump { by_ms, .. } => format!(" (by {by_ms} ms)"),
            Fault::DiskSlow { by_ms, .. } => format!(" ({by_ms} ms a sync)"),
            Fault::Kill { .. }
            | Fault::LoseAgent { .. }
            | Fault::PowerCut { .. }
            | Fault::Pause { .. }
            | Fault::Cut { .. }
            | Fault::DiskFull { .. } => String::new(),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Way::Both => "off",
            Way::In => "one way (deaf)",
            Way::Out => "one way (mute)",
        })
    }
}

impl fmt::Display for Others {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Others::Replicas => out.write_str("from the other replicas"),
            Others::Everybody => out.write_str("from everybody"),
            Others::Machines(machines) => {
                let replicas = machines.iter().filter(|machine| matches!(machine, Machine::Replica(_)));
                match (replicas.count(), machines.len()) {
                    (replicas, all) if replicas == all => write!(out, "from {all} replica(s)"),
                    (_, all) => write!(out, "from {all} machine(s)"),
                }
            }
        }
    }
}

impl Who {
    /// The machines that this means now.
    fn machines(self, size: Size, leader: Option<Machine>) -> Vec<Machine> {
        match self {
            // Without a leader the first replica has to do.
            Who::Leader => vec![leader.unwrap_or(Machine::Replica(0))],
            Who::Machine(machine) => vec![machine],
            Who::AllReplicas => size.replicas().collect(),
            Who::AllExecutors => size.executors().collect(),
        }
    }
}

impl Others {
    /// The machines that this means for one that is struck.
    fn machines(&self, size: Size, struck: Machine) -> Vec<Machine> {
        let others = |machines: Vec<Machine>| machines.into_iter().filter(|other| *other != struck).collect();
        match self {
            Others::Replicas => others(size.replicas().collect()),
            Others::Everybody => {
                others(size.machines().filter(|machine| *machine != Machine::Control).collect())
            }
            Others::Machines(machines) => others(machines.clone()),
        }
    }
}
