//! Who is offered what: roles by dominant share over weight, frameworks of a role likewise, whole agents at a time.
//!
//! Like Mesos's hierarchical allocator without quota, limits, groups of roles and fair sharing within an agent.

use std::collections::BTreeMap;

use meson_mesos::v1::{
    self, AgentId, FrameworkId, OfferId, Resource,
    framework_info::capability::Type as Capability,
    resource::AllocationInfo,
    scheduler::{Event, event},
};

use super::{
    Cluster,
    state::{self, Offer},
};
use crate::resources;

/// Less than this much CPU and this much memory is not worth an offer (Mesos's `MIN_CPUS` and `MIN_MEM`).
const CPUS_MIN: f64 = 0.01;
const MEM_MB_MIN: f64 = 32.0;

/// Scalars that shares are reckoned with.
const SHARED: [&str; 4] = ["cpus", "mem", "disk", "gpus"];

/// What roles and frameworks hold already, and what there is in all.
struct Shares {
    total: BTreeMap<&'static str, f64>,
    held: BTreeMap<(String, String), BTreeMap<&'static str, f64>>,
}

impl Cluster {
    /// Offers what is free, on one agent or on all.
    pub(super) fn allocate(&mut self, only: Option<&str>) {
        if self.faults.no_offers || !self.frameworks.values().any(super::Framework::is_active) {
            return;
        }
        let mut used = self.used_by_agent();
        let mut shares = self.shares();
        let mut made: BTreeMap<String, Vec<v1::Offer>> = BTreeMap::new();
        let agents: Vec<String> = match only {
            Some(agent) => vec![agent.to_owned()],
            None => self.agents.keys().cloned().collect(),
        };
        for id in agents {
            let Some(agent) = self.agents.get(&id).filter(|agent| agent.gets_offers()) else { continue };
            let mut free = agent.total.clone();
            resources::subtract(&mut free, &used.remove(&id).unwrap_or_default());
            while let Some((framework, role, part)) = self.next_offer_of(&id, &free, &shares) {
                resources::subtract(&mut free, &part);
                shares.add(&role, &framework, &part);
                let offer = self.make_offer(&id, &framework, &role, &part);
                made.entry(framework).or_default().push(offer);
            }
        }
        for (framework, offers) in made {
            let event = Event {
                r#type: Some(event::Type::Offers.into()),
                offers: Some(event::Offers { offers }),
                ..Event::default()
            };
            self.send(&framework, event);
        }
    }

    /// Resources that tasks, executors and offers hold, by agent, without allocations.
    pub(super) fn used_by_agent(&self) -> BTreeMap<String, Vec<Resource>> {
        let mut used: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
        let mut add = |agent: &str, more: &[Resource]| {
            resources::add(used.entry(agent.to_owned()).or_default(), &resources::unallocated(more));
        };
        for framework in self.frameworks.values() {
            for task in framework.tasks.values().filter(|task| !state::is_terminal(task.state)) {
                add(&task.agent, &task.info.resources);
            }
        }
        for (id, agent) in &self.agents {
            for executor in agent.executors.values() {
                add(id, &executor.resources);
            }
        }
        for offer in self.offers.values() {
            add(&offer.agent, &offer.offer.resources);
        }
        used
    }

    /// The framework and role that are next in line for what an agent has free, and the part they can have.
    fn next_offer_of(
        &self,
        agent: &str,
        free: &[Resource],
        shares: &Shares,
    ) -> Option<(String, String, Vec<Resource>)> {
        let mut line: Vec<(f64, f64, &String, String)> = Vec::new();
        for (id, framework) in self.frameworks.iter().filter(|(_, framework)| framework.is_active()) {
            for role in framework.roles().into_iter().filter(|role| !framework.suppressed.contains(role)) {
                let weight = self.config.weights.get(&role).copied().unwrap_or(1.0);
                line.push((shares.of_role(&role) / weight, shares.of_framework(&role, id), id, role));
            }
        }
        line.sort_by(|a, b| {
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(b.2)).then(a.3.cmp(&b.3))
        });
        line.into_iter().find_map(|(_, _, id, role)| {
            let part = self.part_for(agent, id, &role, free);
            (!part.is_empty()).then(|| (id.clone(), role, part))
        })
    }

    /// The free resources of an agent that a framework may be offered for a role.
    fn part_for(&self, agent_id: &str, id: &str, role: &str, free: &[Resource]) -> Vec<Resource> {
        let (Some(framework), Some(agent)) = (self.frameworks.get(id), self.agents.get(agent_id)) else {
            return Vec::new();
        };
        // Agents with GPUs are kept for frameworks that know what those are.
        let has_gpus = resources::scalar(&agent.total, "gpus") > 0.0;
        if has_gpus && !state::has_capability(&framework.info, Capability::GpuResources) {
            return Vec::new();
        }
        let fits =
            |resource: &&Resource| resources::reserved_role(resource).is_none_or(|reserved| reserved == role);
        let part: Vec<Resource> = free.iter().filter(fits).cloned().collect();
        let worth =
            resources::scalar(&part, "cpus") >= CPUS_MIN || resources::scalar(&part, "mem") >= MEM_MB_MIN;
        let filtered = framework.filters.iter().any(|filter| {
            filter.agent == agent_id && filter.role == role && resources::contains(&filter.resources, &part)
        });
        if worth && !filtered { part } else { Vec::new() }
    }

    /// Makes an offer; answers the form in which the framework gets to see it.
    fn make_offer(&mut self, agent_id: &str, framework_id: &str, role: &str, part: &[Resource]) -> v1::Offer {
        let id = format!("{}-O{}", self.master.id, self.next_offer);
        self.next_offer += 1;
        let info = self.agents.get(agent_id).map(|agent| agent.info.clone()).unwrap_or_default();
        let executors = self.agents.get(agent_id).into_iter().flat_map(|agent| agent.executors.iter());
        let executor_ids = executors
            .filter(|((framework, _), _)| framework == framework_id)
            .map(|(_, e)| e.executor_id.clone());
        let offer = v1::Offer {
            id: OfferId { value: id.clone() },
            framework_id: FrameworkId { value: framework_id.to_owned() },
            agent_id: AgentId { value: agent_id.to_owned() },
            hostname: info.hostname.clone(),
            url: Some(super::view::agent_url(&info)),
            resources: resources::allocated(part, role),
            attributes: info.attributes.clone(),
            executor_ids: executor_ids.collect(),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
            unavailability: self.maintenance.of(&info.hostname).cloned(),
            ..v1::Offer::default()
        };
        let held = Offer {
            offer: offer.clone(),
            framework: framework_id.to_owned(),
            agent: agent_id.to_owned(),
            role: role.to_owned(),
            made_at: self.now.elapsed,
        };
        self.offers.insert(id, held);
        let capabilities = self.frameworks.get(framework_id).map(|framework| &framework.info);
        capabilities.map_or(offer.clone(), |info| as_seen_by(info, offer))
    }

    fn shares(&self) -> Shares {
        let mut shares = Shares { total: BTreeMap::new(), held: BTreeMap::new() };
        for agent in self.agents.values() {
            for name in SHARED {
                *shares.total.entry(name).or_default() += resources::scalar(&agent.total, name);
            }
        }
        for (id, framework) in &self.frameworks {
            let fallback = framework.roles().into_iter().next().unwrap_or_default();
            for task in framework.tasks.values().filter(|task| !state::is_terminal(task.state)) {
                let role = resources::allocation_role(&task.info.resources).unwrap_or(&fallback).to_owned();
                shares.add(&role, id, &task.info.resources);
            }
        }
        for offer in self.offers.values() {
            shares.add(&offer.role, &offer.framework, &offer.offer.resources);
        }
        shares
    }
}

impl Shares {
    fn add(&mut self, role: &str, framework: &str, more: &[Resource]) {
        let held = self.held.entry((role.to_owned(), framework.to_owned())).or_default();
        for name in SHARED {
            *held.entry(name).or_default() += resources::scalar(more, name);
        }
    }

    fn of_framework(&self, role: &str, framework: &str) -> f64 {
        let held = self.held.get(&(role.to_owned(), framework.to_owned()));
        held.map_or(0.0, |held| self.dominant(|name| held.get(name).copied().unwrap_or(0.0)))
    }

    fn of_role(&self, role: &str) -> f64 {
        self.dominant(|name| {
            let of_role = self.held.iter().filter(|((held_role, _), _)| held_role == role);
            of_role.map(|(_, held)| held.get(name).copied().unwrap_or(0.0)).sum()
        })
    }

    fn dominant(&self, held: impl Fn(&str) -> f64) -> f64 {
        let share =
            |(name, total): (&&'static str, &f64)| if *total > 0.0 { held(name) / total } else { 0.0 };
        self.total.iter().map(share).fold(0.0, f64::max)
    }
}

/// An offer without what a framework of lesser capabilities does not understand.
fn as_seen_by(info: &v1::FrameworkInfo, mut offer: v1::Offer) -> v1::Offer {
    if !state::has_capability(info, Capability::MultiRole) {
        offer.allocation_info = None;
        offer.resources = resources::unallocated(&offer.resources);
    }
    if !state::has_capability(info, Capability::ReservationRefinement) {
        offer.resources = offer.resources.into_iter().map(resources::downgraded).collect();
    }
    offer
}
