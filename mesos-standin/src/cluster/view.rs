//! The master's knowledge as operators see it.

use meson_mesos::v1::{
    self, Address, AgentId, AgentInfo, ExecutorId, FrameworkId, Resource, Url,
    master::response::{
        GetAgents, GetExecutors, GetFrameworks, GetTasks, get_agents, get_executors, get_frameworks,
    },
};

use super::{
    Cluster, operator,
    state::{self, Framework, Task},
};
use crate::resources;

impl Cluster {
    /// All tasks.
    pub(super) fn view_tasks(&self) -> GetTasks {
        let mut view = GetTasks::default();
        for (id, framework) in &self.frameworks {
            view.tasks.extend(framework.tasks.values().map(|task| view_task(id, task)));
            view.unreachable_tasks.extend(framework.unreachable.values().map(|task| view_task(id, task)));
            view.completed_tasks.extend(framework.completed.iter().map(|task| view_task(id, task)));
        }
        view
    }

    /// All agents with what they have, what is used and what is offered.
    pub(super) fn view_agents(&self) -> GetAgents {
        let used = self.used_by_agent();
        let agents = self.agents.iter().map(|(id, agent)| {
            let mut offered = Vec::new();
            for offer in self.offers.values().filter(|offer| offer.agent == *id) {
                resources::add(&mut offered, &resources::unallocated(&offer.offer.resources));
            }
            let mut allocated: Vec<Resource> = used.get(id).cloned().unwrap_or_default();
            resources::subtract(&mut allocated, &offered);
            get_agents::Agent {
                agent_info: agent.info.clone(),
                active: agent.link.is_some() && !agent.deactivated,
                deactivated: Some(agent.deactivated),
                version: operator::VERSION.to_owned(),
                total_resources: agent.total.clone(),
                allocated_resources: allocated,
                offered_resources: offered,
                ..get_agents::Agent::default()
            }
        });
        let recovered = self
            .recovered
            .keys()
            .map(|id| AgentInfo { id: Some(AgentId { value: id.clone() }), ..AgentInfo::default() });
        GetAgents { agents: agents.collect(), recovered_agents: recovered.collect() }
    }

    /// All frameworks.
    pub(super) fn view_frameworks(&self) -> GetFrameworks {
        let frameworks = self.frameworks.iter().map(|(id, framework)| self.view_framework(id, framework));
        let completed = self.completed.iter().map(|id| get_frameworks::Framework {
            framework_info: v1::FrameworkInfo {
                id: Some(FrameworkId { value: id.clone() }),
                ..v1::FrameworkInfo::default()
            },
            ..get_frameworks::Framework::default()
        });
        GetFrameworks { frameworks: frameworks.collect(), completed_frameworks: completed.collect() }
    }

    /// All executors.
    pub(super) fn view_executors(&self) -> GetExecutors {
        let executors = self.agents.iter().flat_map(|(id, agent)| {
            agent.executors.values().map(|executor| get_executors::Executor {
                executor_info: executor.clone(),
                agent_id: AgentId { value: id.clone() },
            })
        });
        GetExecutors { executors: executors.collect() }
    }

    fn view_framework(&self, id: &str, framework: &Framework) -> get_frameworks::Framework {
        let offers = self.offers.values().filter(|offer| offer.framework == id);
        let offers: Vec<v1::Offer> = offers.map(|offer| offer.offer.clone()).collect();
        let mut allocated = Vec::new();
        for task in framework.tasks.values().filter(|task| !state::is_terminal(task.state)) {
            resources::add(&mut allocated, &task.info.resources);
        }
        let mut offered = Vec::new();
        for offer in &offers {
            resources::add(&mut offered, &offer.resources);
        }
        get_frameworks::Framework {
            framework_info: framework.info.clone(),
            active: framework.is_active(),
            connected: framework.is_active(),
            recovered: framework.recovered,
            offers,
            allocated_resources: allocated,
            offered_resources: offered,
            ..get_frameworks::Framework::default()
        }
    }
}

fn view_task(framework: &str, task: &Task) -> v1::Task {
    v1::Task {
        name: task.info.name.clone(),
        task_id: task.info.task_id.clone(),
        framework_id: FrameworkId { value: framework.to_owned() },
        executor_id: task.executor.clone().map(|value| ExecutorId { value }),
        agent_id: AgentId { value: task.agent.clone() },
        state: task.state.into(),
        resources: task.info.resources.clone(),
        statuses: task.statuses.iter().cloned().collect(),
        status_update_state: task.update.as_ref().map(|(state, _)| (*state).into()),
        status_update_uuid: task.update.as_ref().map(|(_, uuid)| uuid.clone().into()),
        labels: task.info.labels.clone(),
        discovery: task.info.discovery.clone(),
        ..v1::Task::default()
    }
}

/// Where an agent answers.
pub(super) fn agent_url(info: &AgentInfo) -> Url {
    Url {
        scheme: "http".to_owned(),
        address: Address { hostname: Some(info.hostname.clone()), ip: None, port: info.port.unwrap_or(5051) },
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}
