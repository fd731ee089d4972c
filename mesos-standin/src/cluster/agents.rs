//! Agents register, answer pings, are lost, come back, or are marked gone.

use meson_mesos::v1::{
    AgentId, ExecutorId, TaskState,
    scheduler::{Event, event},
    task_status::Reason,
};

use super::{
    Cluster, Now, Output,
    frameworks::id_of,
    state::{self, Agent, Task},
    tasks::Told,
};
use crate::link::{self, ExitedExecutor, FromAgent, FromMaster, Register, Registered, ToMaster};

impl Cluster {
    /// A message came over an agent's link.
    pub fn agent_message(&mut self, now: Now, link: u64, message: ToMaster) {
        self.now = now;
        let Some(body) = message.body else { return };
        if let FromAgent::Register(register) = body {
            return self.register(link, *register);
        }
        let Some(agent) = self.agent_of_link(link) else { return };
        match body {
            FromAgent::Register(_) => {}
            FromAgent::Update(update) => self.agent_update(&agent, *update),
            FromAgent::Message(message) => self.executor_message(&agent, message),
            FromAgent::Exited(exited) => self.executor_exited(&agent, exited),
            FromAgent::Pong(_) => {
                if let Some(agent) = self.agents.get_mut(&agent) {
                    agent.pings_missed = 0;
                }
            }
            FromAgent::Unregister(_) => {
                self.end_agent(&agent, "Agent unregistered");
            }
        }
    }

    /// An agent's link ended. It keeps its tasks for a while, its offers are rescinded at once.
    pub fn link_closed(&mut self, now: Now, link: u64) {
        self.now = now;
        let Some(id) = self.agent_of_link(link) else { return };
        tracing::info!(agent = id, "agent disconnected");
        let lost_at = now.elapsed + self.config.agent_reregister_timeout;
        let mut host = String::new();
        if let Some(agent) = self.agents.get_mut(&id) {
            agent.link = None;
            agent.lost_at = Some(lost_at);
            host.clone_from(&agent.info.hostname);
        }
        self.rescind_offers_on(&id);
        self.drop_tasks_without_checkpoint(&id, &host);
    }

    /// Gives up agents that stayed away.
    pub(super) fn expire_agents(&mut self) {
        let now = self.now.elapsed;
        let lost = self.agents.iter().filter(|(_, agent)| agent.lost_at.is_some_and(|at| at <= now));
        let lost: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.mark_unreachable(&id, "agent did not reregister in time");
        }
        let given_up = self.recovered.iter().filter(|(_, at)| **at <= now);
        let given_up: Vec<String> = given_up.map(|(id, _)| id.clone()).collect();
        for id in given_up {
            tracing::info!(agent = id, "agent did not come back after the master's failover");
            self.recovered.remove(&id);
            self.registry.agents.remove(&id);
            self.registry.unreachable.insert(id.clone(), self.now.unix);
            self.out.push(Output::Registry);
            self.send_failure(&id, None, None);
        }
    }

    /// Pings all connected agents; one that missed too many is unreachable.
    pub(super) fn ping_agents(&mut self) {
        let missed_max = self.config.agent_pings_missed_max;
        let mut lost = Vec::new();
        for (id, agent) in &mut self.agents {
            if agent.pings_missed >= missed_max {
                lost.push(id.clone());
            }
            agent.pings_missed += 1;
        }
        for id in lost {
            self.mark_unreachable(&id, "health check timed out");
        }
        let agents: Vec<String> = self.agents.keys().cloned().collect();
        for id in agents {
            self.tell(&id, FromMaster::Ping(link::Nothing {}).into());
        }
    }

    /// Marks an agent gone by an operator's word. An agent that is not known is an error, as in Mesos.
    pub fn mark_gone(&mut self, now: Now, id: &str) -> Result<(), super::Refusal> {
        self.now = now;
        if self.registry.gone.contains_key(id) {
            return Ok(());
        }
        let known = self.agents.contains_key(id)
            || self.recovered.contains_key(id)
            || self.registry.unreachable.contains_key(id);
        if !known {
            return Err(super::Refusal::NotFound(format!("Agent '{id}' not found")));
        }
        self.registry.agents.remove(id);
        self.registry.unreachable.remove(id);
        self.registry.gone.insert(id.to_owned(), now.unix);
        self.out.push(Output::Registry);
        self.recovered.remove(id);
        let message = "Agent has been marked gone";
        self.tell(id, FromMaster::ShutdownAgent(link::Reason { message: message.to_owned() }).into());
        self.settle_unreachable_of(id, message);
        if self.agents.contains_key(id) {
            self.remove_agent(id, message);
        }
        Ok(())
    }

    /// The agent of a link.
    #[must_use]
    pub fn agent_of_link(&self, link: u64) -> Option<String> {
        self.agents.iter().find(|(_, agent)| agent.link == Some(link)).map(|(id, _)| id.clone())
    }

    /// The link of an agent.
    #[must_use]
    pub fn link_of(&self, agent: &str) -> Option<u64> {
        self.agents.get(agent)?.link
    }

    fn register(&mut self, link: u64, register: Register) {
        let mut info = register.agent.clone();
        let mut id = info.id.as_ref().map_or_else(String::new, |id| id.value.clone());
        let down = self.maintenance.down.contains(&info.hostname);
        if down || self.registry.gone.contains_key(&id) {
            let message =
                if down { "Operator initiated 'Machine DOWN'" } else { "Agent has been marked gone" };
            let message = message.to_owned();
            let message = FromMaster::ShutdownAgent(link::Reason { message }).into();
            return self.out.push(Output::Agent { link, message });
        }
        if id.is_empty() {
            id = format!("{}-S{}", self.master.id, self.next_agent);
            self.next_agent += 1;
            info.id = Some(AgentId { value: id.clone() });
        }
        tracing::info!(agent = id, hostname = info.hostname, "agent registered");
        for framework in &register.frameworks {
            self.recover_framework(framework);
        }
        let was_registered = self.agents.contains_key(&id);
        let returns = (!was_registered && !self.recovered.contains_key(&id)).then(|| {
            if self.registry.unreachable.contains_key(&id) {
                "Unreachable agent re-reregistered"
            } else {
                "Unknown agent reregistered"
            }
        });
        let killed = self.agents.get(&id).map(|agent| agent.killed.clone()).unwrap_or_default();
        self.rescind_offers_on(&id);
        if let Some(old) = self.agents.get(&id).and_then(|agent| agent.link).filter(|old| *old != link) {
            self.out.push(Output::CloseLink(old));
        }
        let agent = Agent {
            total: info.resources.clone(),
            info,
            link: Some(link),
            pings_missed: 0,
            lost_at: None,
            deactivated: self.agents.get(&id).is_some_and(|agent| agent.deactivated),
            executors: register
                .executors
                .iter()
                .map(|executor| (executor_key(executor), executor.clone()))
                .collect(),
            killed: killed.clone(),
        };
        self.agents.insert(id.clone(), agent);
        self.admit(&id);
        let reconcile = self.unreported_tasks(&id, &register);
        let ping_timeout = self.config.agent_ping_interval * f64::from(self.config.agent_pings_missed_max);
        self.tell(
            &id,
            FromMaster::Registered(Registered { agent_id: id.clone(), reconcile, ping_timeout }).into(),
        );
        self.take_tasks(&id, &register, returns);
        self.tell_of_ended(&id, &register, &killed);
        self.allocate(Some(&id));
    }

    /// The registry holds every agent that was let in.
    fn admit(&mut self, id: &str) {
        self.recovered.remove(id);
        let returned = self.registry.unreachable.remove(id).is_some();
        if self.registry.agents.insert(id.to_owned()) || returned {
            self.out.push(Output::Registry);
        }
    }

    /// Tasks that the master has on an agent and that the agent did not report: the agent is asked for them.
    fn unreported_tasks(&self, id: &str, register: &Register) -> Vec<link::KillTask> {
        let mut unreported = Vec::new();
        for (framework_id, framework) in &self.frameworks {
            for (task_id, task) in &framework.tasks {
                let reported = register.tasks.iter().any(|report| {
                    report.framework_id == *framework_id && report.task.task_id.value == *task_id
                });
                if task.agent == id && !reported {
                    unreported.push(link::KillTask {
                        framework_id: framework_id.clone(),
                        task_id: task_id.clone(),
                        kill_policy: None,
                        partition_aware: framework.is_partition_aware(),
                    });
                }
            }
        }
        unreported
    }

    /// Takes the tasks that an agent reports. Those that were unreachable are told to their schedulers.
    fn take_tasks(&mut self, id: &str, register: &Register, returns: Option<&str>) {
        for report in &register.tasks {
            let task_id = report.task.task_id.value.clone();
            let Some(framework) = self.frameworks.get_mut(&report.framework_id) else { continue };
            let known = framework.unreachable.remove(&task_id);
            framework.completed.retain(|task| task.info.task_id.value != task_id);
            let state = TaskState::try_from(report.state).unwrap_or(TaskState::TaskStaging);
            let update_state = report.update_state.and_then(|state| TaskState::try_from(state).ok());
            if let Some(task) = framework.tasks.get_mut(&task_id) {
                if !state::is_terminal(task.state) {
                    task.state = state;
                }
                continue;
            }
            let task = Task {
                info: report.task.clone(),
                agent: id.to_owned(),
                executor: report.task.executor.as_ref().map(|executor| executor.executor_id.value.clone()),
                state,
                update: update_state.zip(report.update_uuid.clone()),
                statuses: known.map(|task| task.statuses).unwrap_or_default(),
            };
            let told_state = task.state;
            framework.tasks.insert(task_id.clone(), task);
            if let Some(message) = returns {
                let told = Told {
                    state: told_state,
                    reason: Reason::AgentReregistered,
                    message: message.to_owned(),
                };
                self.say(&report.framework_id, &task_id, Some(id), &told);
            }
        }
    }

    /// An agent that comes back hears what was decided without it: kills, and frameworks that are over.
    fn tell_of_ended(
        &mut self,
        id: &str,
        register: &Register,
        killed: &std::collections::BTreeSet<(String, String)>,
    ) {
        for report in &register.tasks {
            let task_id = report.task.task_id.value.clone();
            let over = TaskState::try_from(report.state).is_ok_and(state::is_terminal);
            if over || !killed.contains(&(report.framework_id.clone(), task_id.clone())) {
                continue;
            }
            let framework = self.frameworks.get(&report.framework_id);
            let kill = link::KillTask {
                framework_id: report.framework_id.clone(),
                task_id,
                kill_policy: None,
                partition_aware: framework.is_some_and(state::Framework::is_partition_aware),
            };
            self.tell(id, FromMaster::Kill(kill).into());
        }
        for framework in &register.frameworks {
            let framework_id = id_of(framework).to_owned();
            if self.completed.contains(&framework_id) {
                let shutdown = link::ShutdownExecutor { framework_id, executor_id: String::new() };
                self.tell(id, FromMaster::Shutdown(shutdown).into());
            } else if let Some(newest) = self.frameworks.get(&framework_id).filter(|known| !known.recovered) {
                let newest = Box::new(newest.info.clone());
                self.tell(id, FromMaster::UpdateFramework(newest).into());
            }
        }
    }

    fn executor_message(&mut self, agent: &str, message: link::FrameworkMessage) {
        let event = Event {
            r#type: Some(event::Type::Message.into()),
            message: Some(event::Message {
                agent_id: AgentId { value: agent.to_owned() },
                executor_id: ExecutorId { value: message.executor_id },
                data: message.data.into(),
            }),
            ..Event::default()
        };
        self.send(&message.framework_id, event);
    }

    fn executor_exited(&mut self, agent_id: &str, exited: ExitedExecutor) {
        let key = (exited.framework_id.clone(), exited.executor_id.clone());
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        if agent.executors.remove(&key).is_some() {
            let event = failure(agent_id, Some(&exited.executor_id), Some(exited.status));
            self.send(&exited.framework_id, event);
        }
    }

    /// Tells all schedulers that an agent, or one of its executors, is lost.
    pub(super) fn send_failure(&mut self, agent: &str, executor: Option<&str>, status: Option<i32>) {
        for id in self.framework_ids() {
            self.send(&id, failure(agent, executor, status));
        }
    }

    fn mark_unreachable(&mut self, id: &str, why: &str) {
        tracing::info!(agent = id, why, "agent marked unreachable");
        self.registry.agents.remove(id);
        self.registry.unreachable.insert(id.to_owned(), self.now.unix);
        self.out.push(Output::Registry);
        let host = self.agents.get(id).map(|agent| agent.info.hostname.clone()).unwrap_or_default();
        let message = format!("Agent {host} is unreachable: {why}");
        for (framework_id, tasks) in self.tasks_on(id) {
            let aware = self.frameworks.get(&framework_id).is_some_and(state::Framework::is_partition_aware);
            let state = if aware { TaskState::TaskUnreachable } else { TaskState::TaskLost };
            let told = Told { state, reason: Reason::AgentRemoved, message: message.clone() };
            for task in tasks {
                self.set_unreachable(&framework_id, &task, &told);
            }
        }
        self.drop_agent(id);
    }

    /// An agent is over for good.
    fn remove_agent(&mut self, id: &str, message: &str) {
        for (framework_id, tasks) in self.tasks_on(id) {
            let told = self.gone_told(&framework_id, message);
            for task in tasks {
                self.settle(&framework_id, &task, &told);
            }
        }
        self.drop_agent(id);
    }

    /// An agent ends by an operator's word: it leaves the registry, and its tasks are over.
    pub(super) fn end_agent(&mut self, id: &str, message: &str) {
        self.remove_agent(id, message);
        self.registry.agents.remove(id);
        self.out.push(Output::Registry);
    }

    fn settle_unreachable_of(&mut self, id: &str, message: &str) {
        for framework_id in self.framework_ids() {
            let told = self.gone_told(&framework_id, message);
            let Some(framework) = self.frameworks.get(&framework_id) else { continue };
            let tasks = framework.unreachable.iter().filter(|(_, task)| task.agent == id);
            let tasks: Vec<String> = tasks.map(|(task, _)| task.clone()).collect();
            for task in tasks {
                self.settle(&framework_id, &task, &told);
            }
        }
    }

    fn gone_told(&self, framework_id: &str, message: &str) -> Told {
        let aware = self.frameworks.get(framework_id).is_some_and(state::Framework::is_partition_aware);
        let (state, reason) = if aware {
            (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator)
        } else {
            (TaskState::TaskLost, Reason::AgentRemoved)
        };
        Told { state, reason, message: message.to_owned() }
    }

    fn drop_agent(&mut self, id: &str) {
        self.rescind_offers_on(id);
        if let Some(agent) = self.agents.remove(id) {
            self.out.extend(agent.link.map(Output::CloseLink));
        }
        self.send_failure(id, None, None);
    }

    /// Tasks on an agent, by framework.
    fn tasks_on(&self, id: &str) -> Vec<(String, Vec<String>)> {
        let of = |framework: &state::Framework| -> Vec<String> {
            framework
                .tasks
                .iter()
                .filter(|(_, task)| task.agent == id)
                .map(|(task, _)| task.clone())
                .collect()
        };
        self.frameworks
            .iter()
            .map(|(framework_id, framework)| (framework_id.clone(), of(framework)))
            .collect()
    }

    /// Frameworks that do not checkpoint lose what ran on an agent when it disconnects.
    fn drop_tasks_without_checkpoint(&mut self, id: &str, host: &str) {
        let message = format!("Agent {host} disconnected");
        for (framework_id, tasks) in self.tasks_on(id) {
            let Some(framework) = self.frameworks.get(&framework_id) else { continue };
            if framework.info.checkpoint.unwrap_or(false) {
                continue;
            }
            let told = Told {
                state: TaskState::TaskLost,
                reason: Reason::AgentDisconnected,
                message: message.clone(),
            };
            for task in tasks {
                self.settle(&framework_id, &task, &told);
            }
            if let Some(agent) = self.agents.get_mut(id) {
                agent.executors.retain(|(framework, _), _| *framework != framework_id);
            }
        }
    }
}

fn executor_key(executor: &meson_mesos::v1::ExecutorInfo) -> (String, String) {
    let framework = executor.framework_id.as_ref().map_or_else(String::new, |id| id.value.clone());
    (framework, executor.executor_id.value.clone())
}

fn failure(agent: &str, executor: Option<&str>, status: Option<i32>) -> Event {
    Event {
        r#type: Some(event::Type::Failure.into()),
        failure: Some(event::Failure {
            agent_id: Some(AgentId { value: agent.to_owned() }),
            executor_id: executor.map(|executor| ExecutorId { value: executor.to_owned() }),
            status,
        }),
        ..Event::default()
    }
}
