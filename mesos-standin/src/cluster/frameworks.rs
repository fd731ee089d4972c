//! Frameworks come, fail over, go away and are removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meson_mesos::v1::{
    FrameworkId, FrameworkInfo, TaskState,
    scheduler::{Event, call::Subscribe, event},
    task_status::Reason,
};

use super::{Cluster, Output, state, state::Framework, tasks::Told};
use crate::{
    link::{FromMaster, ShutdownExecutor},
    validate,
};

/// A `SUBSCRIBE` call on its new stream.
#[derive(Debug)]
pub struct Subscription {
    /// The stream that the master answers on.
    pub stream: String,
    /// What the scheduler asked for.
    pub subscribe: Subscribe,
}

impl Cluster {
    /// A scheduler subscribes. Refusals are `ERROR` events on the new stream, which is then closed.
    pub fn subscribe(&mut self, now: super::Now, subscription: Subscription) {
        self.now = now;
        let Subscription { stream, subscribe } = subscription;
        let mut info = subscribe.framework_info;
        let suppressed: BTreeSet<String> = subscribe.suppressed_roles.into_iter().collect();
        let refused = validate::framework(&info)
            .err()
            .or_else(|| self.is_completed(&info).then(|| "Framework has been removed".to_owned()))
            .or_else(|| validate::suppressed_roles(&state::roles(&info), &suppressed).err());
        if let Some(message) = refused {
            return self.refuse(stream, message);
        }
        if id_of(&info).is_empty() {
            info.id = Some(FrameworkId { value: self.new_framework_id() });
            let id = id_of(&info).to_owned();
            self.frameworks.insert(id.clone(), fresh(info, suppressed));
            return self.connect(&id, stream);
        }
        let id = id_of(&info).to_owned();
        let Some(known) = self.frameworks.get_mut(&id) else {
            // A master that took over knows nothing of frameworks: one with an id is believed.
            self.frameworks.insert(id.clone(), fresh(info, suppressed));
            return self.connect(&id, stream);
        };
        info.user.clone_from(&known.info.user);
        info.checkpoint = known.info.checkpoint;
        if info.principal != known.info.principal && !known.recovered {
            return self.refuse(stream, "Changing framework's principal is not allowed.".to_owned());
        }
        known.info = info;
        known.recovered = false;
        self.set_suppressed(&id, suppressed);
        if let Some(old) = self.frameworks.get(&id).and_then(|known| known.stream.clone()) {
            self.send(&id, error("Framework failed over"));
            self.out.push(Output::CloseStream(old));
        }
        self.discard_offers_of(&id);
        self.connect(&id, stream);
        self.tell_agents_of_framework(&id);
    }

    /// A stream ended. Nothing happens unless it is still the framework's own.
    pub fn stream_closed(&mut self, now: super::Now, stream: &str) {
        self.now = now;
        let Some(id) = self.framework_of_stream(stream) else { return };
        tracing::info!(framework = id, "scheduler disconnected");
        self.discard_offers_of(&id);
        if let Some(framework) = self.frameworks.get_mut(&id) {
            framework.stream = None;
            framework.removed_at = Some(now.elapsed + framework.info.failover_timeout.unwrap_or(0.0));
        }
        self.expire_frameworks();
    }

    /// Removes frameworks whose schedulers stayed away too long.
    pub(super) fn expire_frameworks(&mut self) {
        let now = self.now.elapsed;
        let expired: Vec<String> = self
            .frameworks
            .iter()
            .filter(|(_, framework)| framework.removed_at.is_some_and(|at| at <= now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            self.remove_framework(&id);
        }
    }

    /// Ends a framework: its executors are shut down, its id is never accepted again by this master.
    pub(super) fn remove_framework(&mut self, id: &str) {
        tracing::info!(framework = id, "framework removed");
        self.discard_offers_of(id);
        let agents: Vec<String> = self.agents.keys().cloned().collect();
        for agent in &agents {
            let shutdown = ShutdownExecutor { framework_id: id.to_owned(), executor_id: String::new() };
            self.tell(agent, FromMaster::Shutdown(shutdown).into());
        }
        if let Some(framework) = self.frameworks.get(id) {
            let tasks: Vec<String> =
                framework.tasks.keys().chain(framework.unreachable.keys()).cloned().collect();
            let told = Told {
                state: TaskState::TaskKilled,
                reason: Reason::FrameworkRemoved,
                message: format!("Framework {id} removed"),
            };
            for task in tasks {
                self.settle(id, &task, &told);
            }
        }
        for agent in self.agents.values_mut() {
            agent.executors.retain(|(framework, _), _| framework != id);
        }
        if let Some(framework) = self.frameworks.remove(id) {
            self.out.extend(framework.stream.map(Output::CloseStream));
        }
        self.completed.insert(id.to_owned());
    }

    /// Sends `HEARTBEAT` to all schedulers.
    pub(super) fn send_heartbeats(&mut self) {
        for id in self.framework_ids() {
            self.send(&id, Event { r#type: Some(event::Type::Heartbeat.into()), ..Event::default() });
        }
    }

    /// The framework whose present stream this is.
    #[must_use]
    pub fn framework_of_stream(&self, stream: &str) -> Option<String> {
        let mut all = self.frameworks.iter();
        all.find(|(_, framework)| framework.stream.as_deref() == Some(stream)).map(|(id, _)| id.clone())
    }

    /// Ids of all frameworks.
    pub(super) fn framework_ids(&self) -> Vec<String> {
        self.frameworks.keys().cloned().collect()
    }

    /// Makes room for a framework that an agent reported before its scheduler came.
    pub(super) fn recover_framework(&mut self, info: &FrameworkInfo) {
        let id = id_of(info).to_owned();
        if self.completed.contains(&id) {
            return;
        }
        self.frameworks.entry(id).or_insert_with(|| {
            let mut framework = fresh(info.clone(), BTreeSet::new());
            framework.recovered = true;
            framework
        });
    }

    /// Changes a framework's information by `UPDATE_FRAMEWORK`.
    pub(super) fn update_framework(
        &mut self,
        id: &str,
        info: FrameworkInfo,
        suppressed: BTreeSet<String>,
    ) -> Result<(), String> {
        validate::framework(&info)?;
        validate::suppressed_roles(&state::roles(&info), &suppressed)?;
        let Some(known) = self.frameworks.get_mut(id) else { return Ok(()) };
        validate::framework_update(&known.info, &info)?;
        known.info = info;
        self.set_suppressed(id, suppressed);
        self.rescind_offers_of_lost_roles(id);
        self.tell_agents_of_framework(id);
        self.allocate(None);
        Ok(())
    }

    /// Roles that are suppressed no longer lose their filters, as after `REVIVE`.
    fn set_suppressed(&mut self, id: &str, suppressed: BTreeSet<String>) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let woken: BTreeSet<String> = framework.suppressed.difference(&suppressed).cloned().collect();
        framework.filters.retain(|filter| !woken.contains(&filter.role));
        framework.suppressed = suppressed;
    }

    fn connect(&mut self, id: &str, stream: String) {
        tracing::info!(framework = id, stream, "scheduler subscribed");
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.stream = Some(stream);
            framework.removed_at = None;
        }
        let subscribed = event::Subscribed {
            framework_id: FrameworkId { value: id.to_owned() },
            heartbeat_interval_seconds: Some(self.config.heartbeat_interval),
            master_info: Some(self.master.clone()),
        };
        self.send(
            id,
            Event {
                r#type: Some(event::Type::Subscribed.into()),
                subscribed: Some(subscribed),
                ..Event::default()
            },
        );
        self.send(id, Event { r#type: Some(event::Type::Heartbeat.into()), ..Event::default() });
        self.allocate(None);
    }

    fn refuse(&mut self, stream: String, message: String) {
        tracing::info!(stream, message, "subscription refused");
        self.out.push(Output::Event { stream: stream.clone(), event: Box::new(error(&message)) });
        self.out.push(Output::CloseStream(stream));
    }

    fn is_completed(&self, info: &FrameworkInfo) -> bool {
        self.completed.contains(id_of(info))
    }

    fn new_framework_id(&mut self) -> String {
        let id = format!("{}-{:04}", self.master.id, self.next_framework);
        self.next_framework += 1;
        id
    }

    /// Agents keep the newest information of frameworks, for their executors and for the next master.
    fn tell_agents_of_framework(&mut self, id: &str) {
        let Some(info) = self.frameworks.get(id).map(|framework| framework.info.clone()) else { return };
        let agents: Vec<String> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.executors.keys().any(|(framework, _)| framework == id))
            .map(|(agent, _)| agent.clone())
            .collect();
        for agent in agents {
            self.tell(&agent, FromMaster::UpdateFramework(Box::new(info.clone())).into());
        }
    }
}

/// The id in a framework's information, empty where there is none.
pub(super) fn id_of(info: &FrameworkInfo) -> &str {
    info.id.as_ref().map_or("", |id| id.value.as_str())
}

/// An `ERROR` event.
fn error(message: &str) -> Event {
    Event {
        r#type: Some(event::Type::Error.into()),
        error: Some(event::Error { message: message.to_owned() }),
        ..Event::default()
    }
}

fn fresh(info: FrameworkInfo, suppressed: BTreeSet<String>) -> Framework {
    Framework {
        info,
        stream: None,
        removed_at: None,
        recovered: false,
        suppressed,
        filters: Vec::new(),
        inverse_filters: BTreeMap::new(),
        tasks: BTreeMap::new(),
        unreachable: BTreeMap::new(),
        completed: VecDeque::new(),
    }
}
