//! `ACCEPT`: checks the offers, then carries out the operations one after the other on what they leave of each other.

use meson_mesos::v1::{
    OfferId, OperationId, OperationState, OperationStatus, Resource, TaskInfo, TaskState,
    offer::{Operation, operation},
    scheduler::{Event, call, event},
    task_status::Reason,
};

use super::{Cluster, tasks::Told};
use crate::resources;

/// Where an `ACCEPT` works: one agent, one role, and what is left there.
pub(super) struct Ground {
    /// The agent.
    pub agent: String,
    /// The offers' role.
    pub role: String,
    /// Resources of the offers that no operation has used yet, without allocation.
    pub left: Vec<Resource>,
}

impl Cluster {
    /// Processes an `ACCEPT` call.
    pub(super) fn accept(&mut self, id: &str, accept: call::Accept) {
        if let Err(error) = self.check_offers(id, &accept.offer_ids) {
            // Valid offers among the named ones are gone too.
            for offer in &accept.offer_ids {
                self.discard_offer(&offer.value, None);
            }
            return self.refuse_operations(id, &accept.operations, &error);
        }
        let mut offered = Vec::new();
        let mut place = None;
        for offer in &accept.offer_ids {
            let Some(held) = self.offers.get(&offer.value) else { continue };
            resources::add(&mut offered, &resources::unallocated(&held.offer.resources));
            place = Some((held.agent.clone(), held.role.clone()));
            self.discard_offer(&offer.value, None);
        }
        let Some((agent, role)) = place else { return };
        let mut ground = Ground { agent, role, left: offered };
        for operation in accept.operations {
            self.operate(id, &mut ground, operation);
        }
        self.filter(id, &ground.role, &ground.agent, ground.left, accept.filters.as_ref());
    }

    /// The rules for offers in one `ACCEPT`, in Mesos's order.
    fn check_offers(&self, id: &str, offers: &[OfferId]) -> Result<(), String> {
        if offers.is_empty() {
            return Err("No offers specified".to_owned());
        }
        for (index, offer) in offers.iter().enumerate() {
            if offers.iter().take(index).any(|earlier| earlier == offer) {
                return Err(format!("Duplicate offer {} in offer list", offer.value));
            }
        }
        let held = |offer: &OfferId| {
            self.offers.get(&offer.value).ok_or_else(|| format!("Offer {} is no longer valid", offer.value))
        };
        let all: Vec<&super::Offer> = offers.iter().map(held).collect::<Result<_, _>>()?;
        let Some(first) = all.first() else { return Ok(()) };
        for offer in &all {
            let name = &offer.offer.id.value;
            if offer.framework != id {
                let other = &offer.framework;
                return Err(format!(
                    "Offer {name} has invalid framework {other} while framework {id} is expected"
                ));
            }
        }
        if let Some(offer) = all.iter().find(|offer| offer.role != first.role) {
            return Err(format!(
                "Aggregated offers must be allocated to the same role. Offer {} uses role '{} but another is using \
                 role '{}",
                offer.offer.id.value, offer.role, first.role
            ));
        }
        if let Some(offer) = all.iter().find(|offer| offer.agent != first.agent) {
            return Err(format!(
                "Aggregated offers must belong to one single agent. Offer {} uses agent {} and agent {}",
                offer.offer.id.value, offer.agent, first.agent
            ));
        }
        Ok(())
    }

    /// Tasks launched with invalid offers are dropped (lost, for frameworks that know no better).
    fn refuse_operations(&mut self, id: &str, operations: &[Operation], error: &str) {
        tracing::warn!(framework = id, error, "ACCEPT call used invalid offers");
        let aware = self.frameworks.get(id).is_some_and(super::Framework::is_partition_aware);
        let told = Told {
            state: if aware { TaskState::TaskDropped } else { TaskState::TaskLost },
            reason: Reason::InvalidOffers,
            message: format!("Task launched with invalid offers: {error}"),
        };
        for operation in operations {
            for task in tasks_of(operation) {
                self.say(id, &task.task_id.value, Some(&task.agent_id.value), &told);
            }
            if !is_launch(operation) {
                self.drop_operation(
                    id,
                    operation,
                    &format!("Operation attempted with invalid offers: {error}"),
                );
            }
        }
    }

    fn operate(&mut self, id: &str, ground: &mut Ground, operation: Operation) {
        if is_launch(&operation) && operation.id.is_some() {
            let group = operation.r#type() == operation::Type::LaunchGroup;
            let told = Told {
                state: TaskState::TaskError,
                reason: if group { Reason::TaskGroupInvalid } else { Reason::TaskInvalid },
                message: format!(
                    "The `id` field cannot be set on {} operations",
                    operation.r#type().as_str_name()
                ),
            };
            for task in tasks_of(&operation) {
                self.say(id, &task.task_id.value, Some(&task.agent_id.value), &told);
            }
            return;
        }
        match operation.r#type() {
            operation::Type::Launch => {
                self.launch(id, ground, operation.launch.unwrap_or_default().task_infos)
            }
            operation::Type::LaunchGroup => {
                self.launch_group(id, ground, operation.launch_group.unwrap_or_default());
            }
            operation::Type::Reserve => {
                let reserve = operation.reserve.clone().unwrap_or_default();
                let done = self.reserve(id, ground, &reserve);
                self.conclude(id, &operation, done);
            }
            operation::Type::Unreserve => {
                let done = self.unreserve(ground, &operation.unreserve.clone().unwrap_or_default().resources);
                self.conclude(id, &operation, done);
            }
            operation::Type::Unknown => tracing::warn!(framework = id, "unknown operation ignored"),
            operation::Type::Create
            | operation::Type::Destroy
            | operation::Type::GrowVolume
            | operation::Type::ShrinkVolume
            | operation::Type::CreateDisk
            | operation::Type::DestroyDisk => {
                self.drop_operation(id, &operation, "the stand-in has no persistent volumes");
            }
        }
    }

    fn conclude(&mut self, id: &str, operation: &Operation, done: Result<(), String>) {
        match done {
            Ok(()) => self.say_operation(id, operation.id.clone(), OperationState::OperationFinished, None),
            Err(error) => self.drop_operation(id, operation, &error),
        }
    }

    fn drop_operation(&mut self, id: &str, operation: &Operation, message: &str) {
        tracing::warn!(framework = id, message, kind = operation.r#type().as_str_name(), "operation dropped");
        let message = Some(message.to_owned());
        self.say_operation(id, operation.id.clone(), OperationState::OperationError, message);
    }

    /// Operations with an id are answered by an event. The stand-in tells each once and wants no acknowledgement.
    fn say_operation(
        &mut self,
        id: &str,
        operation_id: Option<OperationId>,
        state: OperationState,
        message: Option<String>,
    ) {
        if operation_id.is_none() {
            return;
        }
        let status =
            OperationStatus { operation_id, state: state.into(), message, ..OperationStatus::default() };
        let event = Event {
            r#type: Some(event::Type::UpdateOperationStatus.into()),
            update_operation_status: Some(event::UpdateOperationStatus { status }),
            ..Event::default()
        };
        self.send(id, event);
    }
}

fn is_launch(operation: &Operation) -> bool {
    matches!(operation.r#type(), operation::Type::Launch | operation::Type::LaunchGroup)
}

fn tasks_of(operation: &Operation) -> Vec<TaskInfo> {
    let launch = operation.launch.iter().flat_map(|launch| launch.task_infos.iter());
    let group = operation.launch_group.iter().flat_map(|group| group.task_group.tasks.iter());
    launch.chain(group).cloned().collect()
}
