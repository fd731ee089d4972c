//! The embedded resource manager: each executor that has a session with the leader offers its host.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meson_engine::State;
use meson_proto::v1::{Kill, Launch, SessionResponse, session_response::Message};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::{ResourceManager, amounts};
use crate::placement;

/// What a session sends to its executor.
pub type Outbound = mpsc::Sender<Result<SessionResponse, Status>>;

/// The living sessions, by agent, and when each agent was last heard of. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next_id: u64,
    sessions: HashMap<String, Session>,
    /// Also of agents without a session; begins with leadership.
    last_heard: HashMap<String, Instant>,
}

struct Session {
    id: u64,
    outbound: Outbound,
    /// Attempts that were launched in this session or that the executor said it has.
    launched: HashSet<String>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is a single step, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session of an agent, in place of an older one, whose stream ends. Returns the session's id.
    pub fn open(&self, agent: &str, outbound: Outbound, has: HashSet<String>) -> u64 {
        let mut inner = self.lock();
        inner.next_id += 1;
        let id = inner.next_id;
        inner.sessions.insert(agent.to_owned(), Session { id, outbound, launched: has });
        inner.last_heard.insert(agent.to_owned(), Instant::now());
        id
    }

    /// Closes a session, unless a newer one has taken its place.
    pub fn close(&self, agent: &str, id: u64) {
        let mut inner = self.lock();
        if inner.sessions.get(agent).is_some_and(|session| session.id == id) {
            inner.sessions.remove(agent);
        }
    }

    /// Closes all sessions: this replica no longer leads.
    pub fn close_all(&self) {
        let mut inner = self.lock();
        inner.sessions.clear();
        inner.last_heard.clear();
    }

    /// Notes that an executor spoke.
    pub fn heard(&self, agent: &str) {
        self.lock().last_heard.insert(agent.to_owned(), Instant::now());
    }

    /// When an agent was last heard of; an agent never heard of counts from the first time it is asked for, which is
    /// when this replica began to lead.
    pub fn last_heard(&self, agent: &str) -> Instant {
        *self.lock().last_heard.entry(agent.to_owned()).or_insert_with(Instant::now)
    }

    /// Whether the agent has a session.
    pub fn is_connected(&self, agent: &str) -> bool {
        self.lock().sessions.contains_key(agent)
    }

    fn send(&self, agent: &str, message: Message) -> bool {
        let inner = self.lock();
        let Some(session) = inner.sessions.get(agent) else { return false };
        session.outbound.try_send(Ok(SessionResponse { message: Some(message) })).is_ok()
    }
}

impl ResourceManager for Sessions {
    fn offers(&self, state: &State) -> Vec<placement::Offer> {
        let up = state
            .agents
            .values()
            .filter(|agent| agent.up && !agent.draining && self.is_connected(&agent.agent_id));
        up.map(|agent| placement::Offer {
            id: agent.agent_id.clone(),
            agent: agent.agent_id.clone(),
            free: amounts(agent.total.minus(state.held(&agent.agent_id))),
            total: amounts(agent.total),
            attributes: agent.attributes.clone(),
            kinds: agent.kinds.iter().cloned().collect(),
        })
        .collect()
    }

    fn launch(&self, agent: &str, launch: Launch) -> bool {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get_mut(agent) else { return false };
        if session.launched.contains(&launch.attempt_id) {
            return true;
        }
        let id = launch.attempt_id.clone();
        let message = SessionResponse { message: Some(Message::Launch(launch)) };
        let sent = session.outbound.try_send(Ok(message)).is_ok();
        if sent {
            session.launched.insert(id);
        }
        sent
    }

    fn kill(&self, agent: &str, kill: Kill) -> bool {
        self.send(agent, Message::Kill(kill))
    }
}

impl Sessions {
    /// Forgets an attempt that ended.
    pub fn ended(&self, agent: &str, attempt_id: &str) {
        if let Some(session) = self.lock().sessions.get_mut(agent) {
            session.launched.remove(attempt_id);
        }
    }
}
