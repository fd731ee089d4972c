//! The link to the leading master: found among the given ones, kept, and made anew whenever it breaks or is silent.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, time::timeout};

use super::Agent;
use crate::{
    cluster::is_terminal,
    link::{self, FromAgent, FromMaster, Nothing, PREAMBLE, Register, TaskReport, ToAgent, ToMaster},
};

/// Pauses between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a master may take to answer a registration.
const REGISTRATION_WAIT: Duration = Duration::from_secs(2);

impl Agent {
    /// Keeps the agent registered for as long as the process lives.
    pub(super) async fn stay_registered(self: Arc<Self>) {
        let mut pause = PAUSE_MIN;
        let mut masters: VecDeque<String> = self.settings.masters.iter().cloned().collect();
        loop {
            let Some(master) = masters.front().cloned() else { return };
            let hint = match self.serve_master(&master).await {
                Ok((registered, hint)) => {
                    pause = if registered { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                    hint
                }
                Err(error) => {
                    tracing::debug!(master, %error, "no link to the master");
                    pause = (pause * 2).min(PAUSE_MAX);
                    None
                }
            };
            {
                let mut state = self.lock();
                state.master = None;
                if state.ended {
                    return;
                }
            }
            masters.rotate_left(1);
            if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
                masters.retain(|master| *master != hint);
                masters.push_front(hint);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One link, from connection to end; answers whether the agent was registered on it, and who leads instead.
    async fn serve_master(self: &Arc<Self>, master: &str) -> io::Result<(bool, Option<String>)> {
        let stream = timeout(REGISTRATION_WAIT, TcpStream::connect(master)).await??;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(PREAMBLE).await?;
        let register: ToMaster = FromAgent::Register(Box::new(self.registration())).into();
        link::write(&mut writer, &register).await?;
        let first = timeout(REGISTRATION_WAIT, link::read::<ToAgent, _>(&mut reader)).await??;
        let registered = match first.and_then(|message| message.body) {
            Some(FromMaster::Registered(registered)) => registered,
            Some(FromMaster::NotLeading(reason)) => return Ok((false, Some(reason.message))),
            Some(FromMaster::ShutdownAgent(reason)) => {
                self.obey_shutdown(&reason.message);
                return Ok((false, None));
            }
            _ => return Ok((false, None)),
        };
        let (sender, mut outgoing) = mpsc::unbounded_channel::<ToMaster>();
        self.registered(&registered, sender);
        let silence_max = Duration::from_secs_f64(registered.ping_timeout.max(0.1));
        self.deny_tasks(registered.reconcile);
        let write = async {
            while let Some(message) = outgoing.recv().await {
                if link::write(&mut writer, &message).await.is_err() {
                    return;
                }
            }
        };
        let read = async {
            // A master that is silent for so long is lost, or this agent is lost to it.
            while let Ok(Ok(Some(message))) =
                timeout(silence_max, link::read::<ToAgent, _>(&mut reader)).await
            {
                if let Some(body) = message.body {
                    self.obey(body);
                }
            }
        };
        tokio::select! {
            () = write => {}
            () = read => {}
        }
        tracing::info!(master, "the link to the master ended");
        Ok((true, None))
    }

    fn registered(&self, registered: &link::Registered, sender: mpsc::UnboundedSender<ToMaster>) {
        let mut state = self.lock();
        if state.id() != registered.agent_id {
            state.set_id(registered.agent_id.clone());
            self.checkpoint(&state);
            // Scripts and tests read this line to learn the id.
            println!("standin-agent {} registered as {}", self.address, registered.agent_id);
        }
        state.master = Some(sender);
        for (framework, status) in state.updates.restart(self.elapsed()) {
            self.forward(&state, &framework, status);
        }
    }

    fn obey(self: &Arc<Self>, body: FromMaster) {
        match body {
            FromMaster::Registered(_) | FromMaster::NotLeading(_) => {}
            FromMaster::Run(run) => self.run_tasks(*run),
            FromMaster::Kill(kill) => self.kill_task(kill),
            FromMaster::Shutdown(shutdown) => self.shutdown(&shutdown),
            FromMaster::Acknowledge(acknowledge) => self.acknowledged(&acknowledge),
            FromMaster::Message(message) => self.to_executor(message),
            FromMaster::Ping(_) => self.lock().to_master(FromAgent::Pong(Nothing {})),
            FromMaster::Checkpoint(checkpoint) => self.resources_changed(checkpoint),
            FromMaster::UpdateFramework(info) => self.framework_changed(*info),
            FromMaster::ShutdownAgent(reason) => self.obey_shutdown(&reason.message),
        }
    }

    /// A real agent ends its process here. One of many in a process only falls silent for good.
    fn obey_shutdown(&self, reason: &str) {
        tracing::warn!(reason, agent = self.address, "the master told this agent to end");
        self.end_all();
        if self.settings.alone {
            std::process::exit(1);
        }
        self.lock().ended = true;
    }

    /// What the agent says of itself.
    fn registration(&self) -> Register {
        let state = self.lock();
        let mut register = Register {
            agent: state.info.clone(),
            frameworks: state.frameworks.values().cloned().collect(),
            ..Register::default()
        };
        for ((framework, _), executor) in &state.executors {
            if !executor.generated && executor.phase != super::executor::Phase::Terminated {
                register.executors.push(executor.info.clone());
            }
            for (id, task) in &executor.tasks {
                let oldest = state.updates.oldest(framework, id);
                if is_terminal(task.state) && oldest.is_none() {
                    continue;
                }
                register.tasks.push(TaskReport {
                    framework_id: framework.clone(),
                    task: task.info.clone(),
                    executor_id: executor.info.executor_id.value.clone(),
                    state: task.state.into(),
                    update_state: oldest.map(|status| status.state),
                    update_uuid: oldest.map(|status| status.uuid().to_vec()),
                });
            }
        }
        register
    }
}
