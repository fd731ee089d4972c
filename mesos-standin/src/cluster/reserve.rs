//! `RESERVE` and `UNRESERVE`: resources of an offer change hands between roles, and the agent keeps that.

use meson_mesos::v1::{Resource, offer::operation::Reserve, resource::reservation_info};

use super::{Cluster, accept::Ground};
use crate::{
    link::{Checkpoint, FromMaster},
    resources,
};

impl Cluster {
    /// Reserves resources of the offers.
    pub(super) fn reserve(&mut self, id: &str, ground: &mut Ground, reserve: &Reserve) -> Result<(), String> {
        if !reserve.source.is_empty() {
            return Err("Reservation updates are not yet implemented for the scheduler API.".to_owned());
        }
        let wanted: Vec<Resource> =
            resources::unallocated(&reserve.resources).into_iter().map(resources::upgraded).collect();
        let roles = self.frameworks.get(id).map(super::Framework::roles).unwrap_or_default();
        let principal = self.frameworks.get(id).and_then(|framework| framework.info.principal.clone());
        for resource in &wanted {
            let Some(reservation) = resource.reservations.last() else {
                return Err(format!("Resource {} is not reserved", resource.name));
            };
            if reservation.r#type() != reservation_info::Type::Dynamic {
                return Err(format!("Resource {} is not dynamically reserved", resource.name));
            }
            if !roles.iter().any(|role| Some(role) == reservation.role.as_ref()) {
                return Err(format!(
                    "A reserve operation was attempted for a resource allocated to role '{}', but the framework has \
                     roles {roles:?}",
                    reservation.role()
                ));
            }
            if principal.is_some() && reservation.principal != principal {
                return Err(format!(
                    "A reserve operation was attempted by authenticated principal '{}', which does not match a \
                     reserved resource in the request with principal '{}'",
                    principal.clone().unwrap_or_default(),
                    reservation.principal()
                ));
            }
        }
        let source: Vec<Resource> = wanted.iter().cloned().map(without_last_reservation).collect();
        self.convert(ground, &source, &wanted)
    }

    /// Gives reserved resources of the offers back.
    pub(super) fn unreserve(&mut self, ground: &mut Ground, reserved: &[Resource]) -> Result<(), String> {
        let source: Vec<Resource> =
            resources::unallocated(reserved).into_iter().map(resources::upgraded).collect();
        for resource in &source {
            let last = resource.reservations.last();
            if last.is_none_or(|reservation| reservation.r#type() != reservation_info::Type::Dynamic) {
                return Err(format!("Resource {} is not dynamically reserved", resource.name));
            }
        }
        let result: Vec<Resource> = source.iter().cloned().map(without_last_reservation).collect();
        self.convert(ground, &source, &result)
    }

    fn convert(&mut self, ground: &mut Ground, from: &[Resource], to: &[Resource]) -> Result<(), String> {
        if !resources::contains(&ground.left, from) {
            return Err(format!(
                "Invalid operation: {} does not contain {}",
                resources::text(&ground.left),
                resources::text(from)
            ));
        }
        resources::subtract(&mut ground.left, from);
        resources::add(&mut ground.left, to);
        let Some(agent) = self.agents.get_mut(&ground.agent) else { return Ok(()) };
        resources::subtract(&mut agent.total, from);
        resources::add(&mut agent.total, to);
        agent.info.resources.clone_from(&agent.total);
        let resources = agent.total.clone();
        self.tell(&ground.agent, FromMaster::Checkpoint(Checkpoint { resources }).into());
        Ok(())
    }
}

fn without_last_reservation(mut resource: Resource) -> Resource {
    resource.reservations.pop();
    resource
}
