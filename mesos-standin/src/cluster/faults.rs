//! Faults that tests ask for: what a network or a master may do to a framework, made to happen.

use meson_mesos::v1::scheduler::{Event, call};
use serde::{Deserialize, Serialize};

use super::{Cluster, Now};

/// Something to go wrong, as `POST /standin/fault` takes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next status updates to schedulers are lost (agents send them again).
    DropUpdates {
        /// How many.
        count: u32,
    },
    /// The next status updates are sent twice.
    DuplicateUpdates {
        /// How many.
        count: u32,
    },
    /// The next status updates are held and then sent in reverse order.
    ReorderUpdates {
        /// How many.
        count: u32,
    },
    /// Status updates are sent this many seconds late, until it is set to 0.
    DelayUpdates {
        /// Seconds.
        seconds: f64,
    },
    /// The next calls of schedulers are answered with 202 and lost.
    DropCalls {
        /// How many.
        count: u32,
        /// Only calls of this type, like `ACCEPT`; of any if it is absent.
        #[serde(default)]
        kind: Option<String>,
    },
    /// All offers are rescinded.
    RescindOffers,
    /// No offers are made, until it is set to false.
    NoOffers {
        /// Whether.
        on: bool,
    },
    /// The streams of all schedulers are closed without a word.
    CloseStreams,
    /// The links of all agents are closed; they connect again.
    CloseLinks,
}

/// What is to go wrong still.
#[derive(Debug, Default)]
pub struct Faults {
    pub(super) no_offers: bool,
    drop_updates: u32,
    duplicate_updates: u32,
    reorder_updates: u32,
    reorder_held: Vec<(String, Event)>,
    delay: f64,
    delayed: Vec<(f64, String, Event)>,
    drop_calls: u32,
    drop_kind: Option<String>,
}

impl Cluster {
    /// Makes something go wrong.
    pub fn fault(&mut self, now: Now, fault: Fault) {
        self.now = now;
        tracing::info!(?fault, "fault");
        match fault {
            Fault::DropUpdates { count } => self.faults.drop_updates = count,
            Fault::DuplicateUpdates { count } => self.faults.duplicate_updates = count,
            Fault::ReorderUpdates { count } => self.faults.reorder_updates = count,
            Fault::DelayUpdates { seconds } => self.faults.delay = seconds,
            Fault::DropCalls { count, kind } => {
                self.faults.drop_calls = count;
                self.faults.drop_kind = kind;
            }
            Fault::RescindOffers => self.rescind_all_offers(),
            Fault::NoOffers { on } => self.faults.no_offers = on,
            Fault::CloseStreams => {
                let streams: Vec<String> =
                    self.frameworks.values().filter_map(|framework| framework.stream.clone()).collect();
                self.out.extend(streams.into_iter().map(super::Output::CloseStream));
            }
            Fault::CloseLinks => {
                let links: Vec<u64> = self.agents.values().filter_map(|agent| agent.link).collect();
                self.out.extend(links.into_iter().map(super::Output::CloseLink));
            }
        }
    }

    /// Whether a call is lost by a fault.
    pub(super) fn swallows_call(&mut self, kind: &call::Type) -> bool {
        let meant = self.faults.drop_kind.as_deref().is_none_or(|wanted| wanted == kind.as_str_name());
        let swallows = self.faults.drop_calls > 0 && meant;
        if swallows {
            self.faults.drop_calls -= 1;
        }
        swallows
    }

    /// Sends a status update unless a fault has it otherwise.
    pub(super) fn send_through_faults(&mut self, framework: &str, event: Event) {
        let faults = &mut self.faults;
        if faults.drop_updates > 0 {
            faults.drop_updates -= 1;
            return;
        }
        if faults.reorder_updates > 0 {
            faults.reorder_held.push((framework.to_owned(), event));
            faults.reorder_updates -= 1;
            if faults.reorder_updates == 0 {
                for (framework, event) in std::mem::take(&mut faults.reorder_held).into_iter().rev() {
                    self.send(&framework, event);
                }
            }
            return;
        }
        if faults.delay > 0.0 {
            faults.delayed.push((self.now.elapsed + faults.delay, framework.to_owned(), event));
            return;
        }
        if faults.duplicate_updates > 0 {
            faults.duplicate_updates -= 1;
            self.send(framework, event.clone());
        }
        self.send(framework, event);
    }

    /// Sends what was held back long enough.
    pub(super) fn release_delayed(&mut self) {
        let now = self.now.elapsed;
        let all = std::mem::take(&mut self.faults.delayed);
        let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, ..)| *at <= now);
        self.faults.delayed = later;
        for (_, framework, event) in due {
            self.send(&framework, event);
        }
    }
}
