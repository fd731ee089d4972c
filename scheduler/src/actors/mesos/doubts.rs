//! What is said of attempts and not yet believed. An executor's own word decides; where there is none, only its silence
//! for longer than its lease (P3).

use std::collections::HashMap;
use std::time::Duration;

use meson_engine::command::AgentLost;
use meson_engine::record::{Attempt, Failure};
use meson_engine::status::{FailureClass, NodeStatus};
use meson_mesos::scheduler::call;
use meson_mesos::v1::TaskStatus;
use meson_proto::v1;
use meson_proto::v1::session_response::Message;
use tokio::time::Instant;
use tracing::info;

use super::MesosActor;
use crate::resources::mesos::session_of;

/// How often an executor that still speaks is asked to end what Mesos takes for over.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// How often agents that are gone are looked for.
const LOOK_FOR_AGENTS: Duration = Duration::from_secs(30);

/// Attempts that are over to Mesos, and may not be.
#[derive(Default)]
pub struct Doubts {
    over: HashMap<String, Over>,
    /// When each agent of Mesos was last seen to have something to do with us.
    agents: HashMap<String, Instant>,
    has_placed: bool,
}

struct Over {
    failure: Failure,
    asked: Option<Instant>,
    /// The update that is acknowledged once it is decided.
    update: Option<TaskStatus>,
}

impl Doubts {
    /// To Mesos, an attempt is over.
    pub fn note(&mut self, attempt_id: &str, failure: Failure, update: TaskStatus) {
        let update = update.uuid.is_some().then_some(update);
        match self.over.get_mut(attempt_id) {
            // The agent repeats itself until it is acknowledged.
            Some(over) => over.update = update.or(over.update.take()),
            None => {
                info!(attempt_id, why = failure.message, "over, as far as Mesos knows");
                self.over.insert(attempt_id.to_owned(), Over { failure, asked: None, update });
            }
        }
    }

    /// Whether attempts are on their way that nothing was heard of.
    pub fn waits_for_word(&self) -> bool {
        self.has_placed
    }
}

impl MesosActor {
    /// Gives up attempts whose executors have been silent for longer than their lease, or that Mesos takes for over and
    /// whose executors do not know them.
    pub(super) fn look_for_silence(&mut self) {
        let config = &self.shared.config;
        let patience = Duration::from_millis(config.lease_ms + config.lease_margin_ms);
        let launch_patience_ms = self.mesos.settings().launch_patience_ms;
        let state = self.shared.published.state();
        let (now, now_ms) = (Instant::now(), self.shared.proposer.now_ms());
        let live = self.live();
        self.doubts.has_placed = false;
        let mut known = HashMap::with_capacity(self.doubts.over.len());
        for (run, node, attempt_id, attempt) in live {
            let status = state.runs.get(&run).and_then(|run| run.nodes.get(&node)).map(|node| node.status());
            let is_placed = status == Some(NodeStatus::Placed);
            self.doubts.has_placed |= is_placed;
            let session = session_of(&attempt);
            let Some(heard) = self.shared.sessions.last_heard(&session) else { return };
            let is_silent = heard.elapsed() > patience;
            let waited_ms = now_ms.saturating_sub(attempt.placed_ms);
            let mut over = self.doubts.over.remove(&attempt_id);
            if over.is_none() && is_placed && waited_ms > launch_patience_ms {
                over = Some(not_launched(waited_ms));
                self.kill(&attempt_id, &attempt.agent, 0);
            }
            match over {
                Some(over) if is_silent => self.give_up(attempt_id, &attempt, over),
                Some(mut over) => {
                    self.ask_to_end(&attempt_id, &attempt, &mut over, now);
                    known.insert(attempt_id, over);
                }
                None if is_silent && !is_placed => {
                    let message = format!("the executor was silent for {} s", heard.elapsed().as_secs());
                    let failure = Failure::new(FailureClass::Platform, "agent_lost", message);
                    self.kill(&attempt_id, &attempt.agent, 0);
                    self.lose(attempt_id, attempt.fence, failure);
                }
                None => {}
            }
        }
        // What is left is of attempts that ended: their last words are to be acknowledged.
        for over in std::mem::replace(&mut self.doubts.over, known).into_values() {
            over.update.as_ref().and_then(call::acknowledge).into_iter().for_each(|call| self.call(call));
        }
    }

    fn give_up(&mut self, attempt_id: String, attempt: &Attempt, over: Over) {
        self.lose(attempt_id.clone(), attempt.fence, over.failure.clone());
        // Until it is committed: then it is not among the living, and is acknowledged.
        self.doubts.over.insert(attempt_id, over);
    }

    /// An executor that speaks to us and has the attempt ends it; one that does not have it says so. Its report decides.
    fn ask_to_end(&self, attempt_id: &str, attempt: &Attempt, over: &mut Over, now: Instant) {
        if over.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN) {
            return;
        }
        let Some(term) = *self.shared.leading.borrow() else { return };
        over.asked = Some(now);
        let (attempt_id, fence) = (attempt_id.to_owned(), attempt.fence);
        let kill = v1::Kill { term, attempt_id, fence, grace_ms: 1, discard: false };
        self.shared.sessions.send(&session_of(attempt), Message::Kill(kill));
    }

    /// Agents that come never again, since Mesos gave them names for one life only, leave the state.
    pub(super) fn forget_agents(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked_for_agents) < LOOK_FOR_AGENTS {
            return;
        }
        self.looked_for_agents = now;
        let state = self.shared.published.state();
        let patience = Duration::from_millis(self.mesos.settings().forget_agents_ms);
        let offered: Vec<String> =
            self.mesos.book(|book| book.agents().into_iter().map(str::to_owned).collect());
        for agent in state.agents.values().filter(|agent| agent.mesos) {
            let id = &agent.agent_id;
            let has_work = state.index.live.get(id).is_some_and(|live| !live.is_empty());
            let seen = self.doubts.agents.entry(id.clone()).or_insert(now);
            if has_work || agent.draining || offered.contains(id) || self.shared.sessions.is_any_connected(id)
            {
                *seen = now;
            } else if now.saturating_duration_since(*seen) >= patience {
                let message = "nothing was heard of it for long".to_owned();
                let command = AgentLost { agent_id: id.clone(), message, forget: true };
                let proposer = self.shared.proposer.clone();
                actix::spawn(async move {
                    if let Err(error) = proposer.propose(command).await {
                        info!(%error, "an agent is forgotten at a later look");
                    }
                });
            }
        }
        self.doubts.agents.retain(|id, _| state.agents.contains_key(id));
    }
}

fn not_launched(waited_ms: u64) -> Over {
    let message = format!("nobody heard of it within {} s of its launch", waited_ms / 1_000);
    let failure = Failure::new(FailureClass::Platform, "launch_timeout", message);
    Over { failure, asked: None, update: None }
}
