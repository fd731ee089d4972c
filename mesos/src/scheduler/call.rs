//! Calls of a scheduler, built so that what Mesos would refuse or misread cannot be said by accident.
//!
//! The framework's id is left out; the session adds it. Where an empty list means "all", there are two functions, and the
//! one for some gives `None` for none.

use std::time::Duration;

use bytes::Bytes;

use crate::v1::scheduler::call::{self as body, Type};
use crate::v1::scheduler::{Call, OfferConstraints};
use crate::v1::{
    AgentId, ExecutorId, Filters, FrameworkInfo, KillPolicy, OfferId, OperationId, OperationStatus, Request,
    ResourceProviderId, TaskId, TaskStatus,
};

/// Mesos refuses offers for no longer than this, whatever a filter says.
pub const REFUSE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Filters that keep declined resources away for a time.
pub fn refuse_for(time: Duration) -> Filters {
    Filters { refuse_seconds: Some(time.min(REFUSE_MAX).as_secs_f64()) }
}

/// The name of a call's type, like `ACCEPT`, for logs and errors.
pub fn name(call: &Call) -> &'static str {
    Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown).as_str_name()
}

/// SUBSCRIBE. The id, if there is one, is in `framework`.
pub fn subscribe(
    framework: FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<OfferConstraints>,
) -> Call {
    let framework_id = framework.id.clone();
    let subscribe = body::Subscribe { framework_info: framework, suppressed_roles, offer_constraints };
    Call { framework_id, subscribe: Some(subscribe), ..of(Type::Subscribe) }
}

/// TEARDOWN: ends the framework with all its tasks, for good.
pub fn teardown() -> Call {
    of(Type::Teardown)
}

/// DECLINE, with the time for which the same resources are not to be offered again. `None` if there are no offers.
pub fn decline(offer_ids: Vec<OfferId>, refuse: Duration) -> Option<Call> {
    let filters = Some(refuse_for(refuse));
    (!offer_ids.is_empty())
        .then(|| Call { decline: Some(body::Decline { offer_ids, filters }), ..of(Type::Decline) })
}

/// ACCEPT_INVERSE_OFFERS. `None` if there are none.
pub fn accept_inverse_offers(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Option<Call> {
    (!inverse_offer_ids.is_empty()).then(|| {
        let accept = body::AcceptInverseOffers { inverse_offer_ids, filters };
        Call { accept_inverse_offers: Some(accept), ..of(Type::AcceptInverseOffers) }
    })
}

/// DECLINE_INVERSE_OFFERS. `None` if there are none.
pub fn decline_inverse_offers(inverse_offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Option<Call> {
    (!inverse_offer_ids.is_empty()).then(|| {
        let decline = body::DeclineInverseOffers { inverse_offer_ids, filters };
        Call { decline_inverse_offers: Some(decline), ..of(Type::DeclineInverseOffers) }
    })
}

/// REVIVE of some roles. `None` if there are none: to Mesos, an empty list means all.
pub fn revive(roles: Vec<String>) -> Option<Call> {
    (!roles.is_empty()).then(|| Call { revive: Some(body::Revive { roles }), ..of(Type::Revive) })
}

/// REVIVE of all roles.
pub fn revive_all() -> Call {
    of(Type::Revive)
}

/// SUPPRESS of some roles. `None` if there are none: to Mesos, an empty list means all.
pub fn suppress(roles: Vec<String>) -> Option<Call> {
    (!roles.is_empty()).then(|| Call { suppress: Some(body::Suppress { roles }), ..of(Type::Suppress) })
}

/// SUPPRESS of all roles.
pub fn suppress_all() -> Call {
    of(Type::Suppress)
}

/// KILL. With an agent, Mesos can answer for tasks that the master does not know.
pub fn kill(task_id: TaskId, agent_id: Option<AgentId>, kill_policy: Option<KillPolicy>) -> Call {
    Call { kill: Some(body::Kill { task_id, agent_id, kill_policy }), ..of(Type::Kill) }
}

/// SHUTDOWN of an executor, with all its tasks.
pub fn shutdown(executor_id: ExecutorId, agent_id: AgentId) -> Call {
    Call { shutdown: Some(body::Shutdown { executor_id, agent_id }), ..of(Type::Shutdown) }
}

/// ACKNOWLEDGE of a status update. `None` if it has no uuid: such an update must not be acknowledged.
pub fn acknowledge(status: &TaskStatus) -> Option<Call> {
    let uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty())?;
    let agent_id = status.agent_id.clone()?;
    let acknowledge = body::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
    Some(Call { acknowledge: Some(acknowledge), ..of(Type::Acknowledge) })
}

/// ACKNOWLEDGE_OPERATION_STATUS. `None` if the update has no uuid, or its operation no id.
pub fn acknowledge_operation(status: &OperationStatus) -> Option<Call> {
    let acknowledge = body::AcknowledgeOperationStatus {
        agent_id: status.agent_id.clone(),
        resource_provider_id: status.resource_provider_id.clone(),
        uuid: status.uuid.as_ref()?.value.clone(),
        operation_id: status.operation_id.clone()?,
    };
    Some(Call { acknowledge_operation_status: Some(acknowledge), ..of(Type::AcknowledgeOperationStatus) })
}

/// RECONCILE of tasks that the scheduler takes for alive. `None` if there are none: to Mesos, an empty list means all.
pub fn reconcile(tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Option<Call> {
    let tasks: Vec<_> =
        tasks.into_iter().map(|(task_id, agent_id)| body::reconcile::Task { task_id, agent_id }).collect();
    (!tasks.is_empty()).then(|| Call { reconcile: Some(body::Reconcile { tasks }), ..of(Type::Reconcile) })
}

/// RECONCILE of all tasks that the master knows.
pub fn reconcile_all() -> Call {
    Call { reconcile: Some(body::Reconcile::default()), ..of(Type::Reconcile) }
}

/// RECONCILE_OPERATIONS of some operations. `None` if there are none: to Mesos, an empty list means all.
pub fn reconcile_operations(
    operations: impl IntoIterator<Item = (OperationId, Option<AgentId>, Option<ResourceProviderId>)>,
) -> Option<Call> {
    let operations: Vec<_> = operations
        .into_iter()
        .map(|(operation_id, agent_id, resource_provider_id)| body::reconcile_operations::Operation {
            operation_id,
            agent_id,
            resource_provider_id,
        })
        .collect();
    (!operations.is_empty()).then(|| {
        let reconcile = body::ReconcileOperations { operations };
        Call { reconcile_operations: Some(reconcile), ..of(Type::ReconcileOperations) }
    })
}

/// RECONCILE_OPERATIONS of all operations that the master knows.
pub fn reconcile_all_operations() -> Call {
    Call { reconcile_operations: Some(body::ReconcileOperations::default()), ..of(Type::ReconcileOperations) }
}

/// MESSAGE to an executor. Mesos does not promise that it arrives.
pub fn message(executor_id: ExecutorId, agent_id: AgentId, data: Bytes) -> Call {
    Call { message: Some(body::Message { agent_id, executor_id, data }), ..of(Type::Message) }
}

/// REQUEST of resources. The allocator that Mesos brings does nothing with it.
pub fn request(requests: Vec<Request>) -> Call {
    Call { request: Some(body::Request { requests }), ..of(Type::Request) }
}

/// UPDATE_FRAMEWORK: changes what SUBSCRIBE said. User, principal and checkpoint have to stay.
pub fn update_framework(
    framework_info: FrameworkInfo,
    suppressed_roles: Vec<String>,
    offer_constraints: Option<OfferConstraints>,
) -> Call {
    let update = body::UpdateFramework { framework_info, suppressed_roles, offer_constraints };
    Call { update_framework: Some(update), ..of(Type::UpdateFramework) }
}

pub(super) fn of(kind: Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}
