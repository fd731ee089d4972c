//! ACCEPT, step by step: offers of one agent, operations in order, and what to refuse of the rest.

use std::time::Duration;

use super::call;
use crate::v1::offer::Operation;
use crate::v1::offer::operation::{self as body, Type};
use crate::v1::scheduler::Call;
use crate::v1::scheduler::call as calls;
use crate::v1::{
    AgentId, ExecutorInfo, Filters, Offer, OfferId, OperationId, Resource, TaskGroupInfo, TaskInfo,
};

/// Why operations do not fit the offers. Mesos would answer with TASK_ERROR or drop them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Offers of one ACCEPT are all of one agent.
    #[error("offer {offer_id} is of agent {found}, the others are of {wanted}")]
    AnotherAgent {
        /// The offer that does not fit.
        offer_id: OfferId,
        /// Its agent.
        found: AgentId,
        /// The agent of the first offer.
        wanted: AgentId,
    },
    /// Offers of one ACCEPT are all for one role.
    #[error("offer {offer_id} is allocated to another role than the first")]
    AnotherRole {
        /// The offer that does not fit.
        offer_id: OfferId,
    },
    /// A task names another agent than the offers.
    #[error("task {task_id} is for agent {found}, the offers are of {wanted}")]
    TaskOfAnotherAgent {
        /// The task.
        task_id: String,
        /// Its agent.
        found: AgentId,
        /// The agent of the offers.
        wanted: AgentId,
    },
    /// A task runs either with an executor or as a command; in a group, as the group's executor says.
    #[error("task {task_id}: {what}")]
    Task {
        /// The task.
        task_id: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// An ACCEPT in the making.
#[derive(Debug, Clone)]
pub struct Accept {
    agent_id: AgentId,
    role: Option<String>,
    offer_ids: Vec<OfferId>,
    operations: Vec<Operation>,
    filters: Option<Filters>,
}

impl Accept {
    /// Begins with an offer.
    pub fn of(offer: &Offer) -> Self {
        Self {
            agent_id: offer.agent_id.clone(),
            role: role(offer),
            offer_ids: vec![offer.id.clone()],
            operations: Vec::new(),
            filters: None,
        }
    }

    /// Adds another offer of the same agent and role.
    pub fn and(mut self, offer: &Offer) -> Result<Self, Error> {
        let offer_id = offer.id.clone();
        if offer.agent_id != self.agent_id {
            return Err(Error::AnotherAgent {
                offer_id,
                found: offer.agent_id.clone(),
                wanted: self.agent_id,
            });
        }
        if role(offer) != self.role {
            return Err(Error::AnotherRole { offer_id });
        }
        self.offer_ids.push(offer_id);
        Ok(self)
    }

    /// LAUNCH: tasks that stand each for itself.
    pub fn launch(self, task_infos: Vec<TaskInfo>) -> Result<Self, Error> {
        for task in &task_infos {
            self.check_agent(task)?;
            let wrong = match (&task.executor, &task.command) {
                (Some(_), Some(_)) => Some("has an executor and a command, which exclude each other"),
                (None, None) => Some("has neither an executor nor a command"),
                _ => None,
            };
            if let Some(what) = wrong {
                return Err(Error::Task { task_id: task.task_id.value.clone(), what });
            }
        }
        let launch = Some(body::Launch { task_infos });
        Ok(self.operation(Operation { launch, ..of(Type::Launch, None) }))
    }

    /// LAUNCH_GROUP: tasks that start together on one executor.
    pub fn launch_group(self, executor: ExecutorInfo, tasks: Vec<TaskInfo>) -> Result<Self, Error> {
        for task in &tasks {
            self.check_agent(task)?;
            if task.executor.as_ref().is_some_and(|own| own != &executor) {
                let what = "has another executor than its group";
                return Err(Error::Task { task_id: task.task_id.value.clone(), what });
            }
        }
        let launch_group = Some(body::LaunchGroup { executor, task_group: TaskGroupInfo { tasks } });
        Ok(self.operation(Operation { launch_group, ..of(Type::LaunchGroup, None) }))
    }

    /// RESERVE. With an id, the framework hears of the outcome.
    pub fn reserve(self, resources: Vec<Resource>, id: Option<OperationId>) -> Self {
        let reserve = Some(body::Reserve { source: Vec::new(), resources });
        self.operation(Operation { reserve, ..of(Type::Reserve, id) })
    }

    /// UNRESERVE.
    pub fn unreserve(self, resources: Vec<Resource>, id: Option<OperationId>) -> Self {
        let unreserve = Some(body::Unreserve { resources });
        self.operation(Operation { unreserve, ..of(Type::Unreserve, id) })
    }

    /// CREATE of persistent volumes.
    pub fn create(self, volumes: Vec<Resource>, id: Option<OperationId>) -> Self {
        let create = Some(body::Create { volumes });
        self.operation(Operation { create, ..of(Type::Create, id) })
    }

    /// DESTROY of persistent volumes.
    pub fn destroy(self, volumes: Vec<Resource>, id: Option<OperationId>) -> Self {
        let destroy = Some(body::Destroy { volumes });
        self.operation(Operation { destroy, ..of(Type::Destroy, id) })
    }

    /// Any operation, unchecked.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// How long not to be offered again what is left over; 5 s if not said.
    pub fn refuse(mut self, time: Duration) -> Self {
        self.filters = Some(call::refuse_for(time));
        self
    }

    /// The agent of the offers.
    pub fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    /// The call.
    pub fn build(self) -> Call {
        let Self { offer_ids, operations, filters, .. } = self;
        Call {
            accept: Some(calls::Accept { offer_ids, operations, filters }),
            ..call::of(calls::Type::Accept)
        }
    }

    fn check_agent(&self, task: &TaskInfo) -> Result<(), Error> {
        if task.agent_id == self.agent_id {
            return Ok(());
        }
        Err(Error::TaskOfAnotherAgent {
            task_id: task.task_id.value.clone(),
            found: task.agent_id.clone(),
            wanted: self.agent_id.clone(),
        })
    }
}

fn role(offer: &Offer) -> Option<String> {
    offer.allocation_info.as_ref()?.role.clone()
}

fn of(kind: Type, id: Option<OperationId>) -> Operation {
    Operation { r#type: Some(kind as i32), id, ..Operation::default() }
}
