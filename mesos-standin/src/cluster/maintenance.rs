//! Planned maintenance: machines with a window of unavailability, and the inverse offers that follow from it.

use std::collections::BTreeSet;

use meson_mesos::v1::{
    AgentId, FrameworkId, InverseOffer as Inverse, MachineId, OfferId, Unavailability,
    maintenance::Schedule,
    scheduler::{Event, event},
};

use super::{Cluster, Now, Refusal, state::InverseOffer};
use crate::link::{self, FromMaster};

/// The schedule, and the machines that are down by it.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    /// As the operator sent it.
    pub schedule: Schedule,
    /// Host names of machines that are down now.
    pub down: BTreeSet<String>,
}

impl Maintenance {
    /// When a machine is unavailable, if it is scheduled.
    pub fn of(&self, hostname: &str) -> Option<&Unavailability> {
        let names = |machine: &MachineId| machine.hostname.as_deref() == Some(hostname);
        self.schedule
            .windows
            .iter()
            .find(|window| window.machine_ids.iter().any(names))
            .map(|window| &window.unavailability)
    }
}

impl Cluster {
    /// Takes a new schedule. Offers of machines that it touches are taken back, to be made again with it.
    ///
    /// # Errors
    /// When a machine that is down is not in it.
    pub fn set_schedule(&mut self, now: Now, schedule: Schedule) -> Result<(), Refusal> {
        self.now = now;
        let next = Maintenance { schedule, down: self.maintenance.down.clone() };
        if let Some(down) = next.down.iter().find(|machine| next.of(machine).is_none()) {
            return Err(Refusal::BadRequest(format!(
                "Machine '{down}' is deactivated and not a part of the proposed schedule"
            )));
        }
        let changed: Vec<String> = self
            .agents
            .iter()
            .filter(|(_, agent)| next.of(&agent.info.hostname) != self.maintenance.of(&agent.info.hostname))
            .map(|(id, _)| id.clone())
            .collect();
        self.maintenance = next;
        for agent in changed {
            self.rescind_offers_on(&agent);
        }
        Ok(())
    }

    /// Machines go down: their agents are told to end, and their tasks are over.
    ///
    /// # Errors
    /// When one of them is not scheduled.
    pub fn start_maintenance(&mut self, now: Now, machines: &[MachineId]) -> Result<(), Refusal> {
        self.now = now;
        for machine in machines {
            if self.maintenance.of(machine.hostname()).is_none() {
                let name = machine.hostname();
                return Err(Refusal::BadRequest(format!(
                    "Machine '{name}' is not part of a maintenance schedule"
                )));
            }
        }
        for machine in machines {
            self.maintenance.down.insert(machine.hostname().to_owned());
            let agents: Vec<String> = self
                .agents
                .iter()
                .filter(|(_, agent)| agent.info.hostname == machine.hostname())
                .map(|(id, _)| id.clone())
                .collect();
            for agent in agents {
                let message = "Operator initiated 'Machine DOWN'".to_owned();
                self.tell(
                    &agent,
                    FromMaster::ShutdownAgent(link::Reason { message: message.clone() }).into(),
                );
                self.end_agent(&agent, &message);
            }
        }
        Ok(())
    }

    /// Machines are back, and out of the schedule.
    pub fn stop_maintenance(&mut self, now: Now, machines: &[MachineId]) {
        self.now = now;
        for machine in machines {
            self.maintenance.down.remove(machine.hostname());
            for window in &mut self.maintenance.schedule.windows {
                window.machine_ids.retain(|listed| listed.hostname != machine.hostname);
            }
        }
        self.maintenance.schedule.windows.retain(|window| !window.machine_ids.is_empty());
    }

    /// The present schedule.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.maintenance.schedule
    }

    /// Asks frameworks to leave the machines that are scheduled, once each until it is answered.
    pub(super) fn offer_inverse(&mut self) {
        let mut asked = Vec::new();
        for (agent_id, agent) in &self.agents {
            let Some(unavailability) = self.maintenance.of(&agent.info.hostname) else { continue };
            for (id, framework) in self.frameworks.iter().filter(|(_, framework)| framework.is_active()) {
                let uses = framework.tasks.values().any(|task| task.agent == *agent_id)
                    || agent.executors.keys().any(|(owner, _)| owner == id);
                let waits = framework.inverse_filters.contains_key(agent_id)
                    || self.inverse_offers.values().any(|o| o.framework == *id && o.agent == *agent_id);
                if uses && !waits {
                    asked.push((id.clone(), agent_id.clone(), *unavailability, agent.info.clone()));
                }
            }
        }
        for (framework, agent, unavailability, info) in asked {
            let id = format!("{}-O{}", self.master.id, self.next_offer);
            self.next_offer += 1;
            let inverse = Inverse {
                id: OfferId { value: id.clone() },
                url: Some(super::view::agent_url(&info)),
                framework_id: FrameworkId { value: framework.clone() },
                agent_id: Some(AgentId { value: agent.clone() }),
                unavailability,
                resources: Vec::new(),
            };
            self.inverse_offers.insert(id, InverseOffer { framework: framework.clone(), agent });
            let event = Event {
                r#type: Some(event::Type::InverseOffers.into()),
                inverse_offers: Some(event::InverseOffers { inverse_offers: vec![inverse] }),
                ..Event::default()
            };
            self.send(&framework, event);
        }
    }

    /// A scheduler accepts or declines inverse offers. Either way it is asked again after the filter's time.
    pub(super) fn answer_inverse(
        &mut self,
        id: &str,
        offers: &[OfferId],
        filters: Option<&meson_mesos::v1::Filters>,
        accepts: bool,
    ) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds).unwrap_or(5.0);
        let until = self.now.elapsed + seconds.max(0.0);
        for offer in offers {
            let own = self.inverse_offers.get(&offer.value).is_some_and(|inverse| inverse.framework == id);
            let inverse = if own { self.inverse_offers.remove(&offer.value) } else { None };
            match (inverse, self.frameworks.get_mut(id)) {
                (Some(inverse), Some(framework)) => {
                    tracing::info!(framework = id, agent = inverse.agent, accepts, "inverse offer answered");
                    framework.inverse_filters.insert(inverse.agent, until);
                }
                _ => tracing::warn!(framework = id, offer = offer.value, "inverse offer is no longer valid"),
            }
        }
    }

    /// Takes an inverse offer back.
    pub(super) fn rescind_inverse(&mut self, id: &str) {
        let Some(offer) = self.inverse_offers.remove(id) else { return };
        let event = Event {
            r#type: Some(event::Type::RescindInverseOffer.into()),
            rescind_inverse_offer: Some(event::RescindInverseOffer {
                inverse_offer_id: OfferId { value: id.to_owned() },
            }),
            ..Event::default()
        };
        self.send(&offer.framework, event);
    }
}
