//! Words between schedulers and executors that pass through the agent, and news of frameworks.

use meson_mesos::v1::{
    FrameworkInfo,
    executor::{Event, event},
};

use super::{Agent, executor::Phase};
use crate::link::{Checkpoint, FrameworkMessage};

impl Agent {
    /// A scheduler's message: delivered to a running executor, else dropped, as Mesos promises nothing.
    pub(super) fn to_executor(&self, message: FrameworkMessage) {
        let state = self.lock();
        let key = (message.framework_id, message.executor_id);
        let executor = state.executors.get(&key).filter(|executor| executor.phase == Phase::Running);
        match executor.and_then(|executor| executor.stream.as_ref()) {
            Some(stream) => stream.send(&Event {
                r#type: Some(event::Type::Message.into()),
                message: Some(event::Message { data: message.data.into() }),
                ..Event::default()
            }),
            None => {
                tracing::info!(framework = key.0, executor = key.1, "message dropped: no running executor")
            }
        }
    }

    /// A framework's newest information.
    pub(super) fn framework_changed(&self, info: FrameworkInfo) {
        let mut state = self.lock();
        let id = info.id.as_ref().map_or_else(String::new, |id| id.value.clone());
        if let Some(known) = state.frameworks.get_mut(&id) {
            *known = info;
        }
        self.checkpoint(&state);
    }

    /// Reservations changed.
    pub(super) fn resources_changed(&self, checkpoint: Checkpoint) {
        let mut state = self.lock();
        state.info.resources = checkpoint.resources;
        self.checkpoint(&state);
    }
}
