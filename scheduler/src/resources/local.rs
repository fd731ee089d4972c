//! The embedded resource manager: each executor that has a session with the leader offers its host.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meson_engine::State;
use meson_engine::command::{Command, Place};
use meson_engine::ids::{NodeNo, RunNo};
use meson_proto::v1::{Kill, Launch, SessionResponse, session_response::Message};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::{Placed, ResourceManager, amounts};
use crate::placement;

/// What a session sends to its executor.
pub type Outbound = mpsc::Sender<Result<SessionResponse, Status>>;

/// The living sessions, by agent, and when each agent was last heard of. An agent of Mesos may have several executors:
/// there, the key is that of [`super::mesos::session_key`]. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// The term that this replica leads, and since when.
    leading: Option<(u64, Instant)>,
    next_id: u64,
    sessions: HashMap<String, Session>,
    /// Also of agents without a session; nothing in it is older than the leadership.
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

    /// This replica leads: what was heard in an earlier term counts no more. An agent that a former leader heard of
    /// last would else be given up before its lease ends.
    pub fn begin(&self, term: u64) {
        let mut inner = self.lock();
        inner.leading = Some((term, Instant::now()));
        inner.sessions.clear();
        inner.last_heard.clear();
    }

    /// This replica no longer leads: all sessions are closed, and none is opened.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.leading = None;
        inner.sessions.clear();
        inner.last_heard.clear();
    }

    /// Opens a session of an agent, in place of an older one, whose stream ends. Returns the session's id; none when
    /// this replica does not lead in that term any more.
    pub fn open(&self, term: u64, agent: &str, outbound: Outbound, has: HashSet<String>) -> Option<u64> {
        let mut inner = self.lock();
        inner.leading.filter(|(leading, _)| *leading == term)?;
        inner.next_id += 1;
        let id = inner.next_id;
        inner.sessions.insert(agent.to_owned(), Session { id, outbound, launched: has });
        inner.last_heard.insert(agent.to_owned(), Instant::now());
        Some(id)
    }

    /// Closes a session, unless a newer one has taken its place.
    pub fn close(&self, agent: &str, id: u64) {
        let mut inner = self.lock();
        if inner.sessions.get(agent).is_some_and(|session| session.id == id) {
            inner.sessions.remove(agent);
        }
    }

    /// Notes that an executor spoke in this session; words of one that is closed come too late.
    pub fn heard(&self, agent: &str, id: u64) {
        let mut inner = self.lock();
        if inner.sessions.get(agent).is_some_and(|session| session.id == id) {
            inner.last_heard.insert(agent.to_owned(), Instant::now());
        }
    }

    /// When an agent was last heard of; for one never heard of, when this replica began to lead. None without
    /// leadership.
    pub fn last_heard(&self, agent: &str) -> Option<Instant> {
        let inner = self.lock();
        let (_, since) = inner.leading?;
        Some(inner.last_heard.get(agent).copied().unwrap_or(since))
    }

    /// Whether the agent has a session.
    pub fn is_connected(&self, agent: &str) -> bool {
        self.lock().sessions.contains_key(agent)
    }

    /// Whether any executor of this agent of Mesos has a session.
    pub fn is_any_connected(&self, agent: &str) -> bool {
        let of_agent = |key: &String| key.split_once('/').is_some_and(|(known, _)| known == agent);
        self.lock().sessions.keys().any(of_agent)
    }

    /// Says something to an executor; false when it cannot be heard now.
    pub fn send(&self, agent: &str, message: Message) -> bool {
        let inner = self.lock();
        let Some(session) = inner.sessions.get(agent) else { return false };
        session.outbound.try_send(Ok(SessionResponse { message: Some(message) })).is_ok()
    }
}

impl ResourceManager for Sessions {
    fn offers(&self, state: &State, _: u64) -> Vec<placement::Offer> {
        let up = state.agents.values().filter(|agent| {
            agent.up && !agent.draining && !agent.mesos && self.is_connected(&agent.agent_id)
        });
        up.map(|agent| placement::Offer {
            id: agent.agent_id.clone(),
            agent: agent.agent_id.clone(),
            free: amounts(agent.total.minus(state.held(&agent.agent_id))),
            total: amounts(agent.total),
            attributes: agent.attributes.clone(),
            kinds: agent.kinds.iter().cloned().collect(),
            role: None,
        })
        .collect()
    }

    fn place(&self, _: &State, launches: Vec<placement::Launch>) -> Vec<Command> {
        let place = |launch: placement::Launch| {
            let (run, node, agent) = (launch.run, launch.node, launch.agent);
            Place { run, node, agent, executor: String::new() }.into()
        };
        launches.into_iter().map(place).collect()
    }

    fn refused(&self, _: RunNo, _: NodeNo) {}

    fn launch(&self, placed: Placed<'_>, launch: Launch) {
        let mut inner = self.lock();
        // An agent that is away gets it when it is back: its session asks for all that it should have.
        let Some(session) = inner.sessions.get_mut(&placed.attempt.agent) else { return };
        if session.launched.contains(&launch.attempt_id) {
            return;
        }
        let id = launch.attempt_id.clone();
        let message = SessionResponse { message: Some(Message::Launch(launch)) };
        if session.outbound.try_send(Ok(message)).is_ok() {
            session.launched.insert(id);
        }
    }

    fn kill(&self, placed: Placed<'_>, kill: Kill) {
        self.send(&placed.attempt.agent, Message::Kill(kill));
    }

    fn ended(&self, placed: Placed<'_>, attempt_id: &str) {
        if let Some(session) = self.lock().sessions.get_mut(&placed.attempt.agent) {
            session.launched.remove(attempt_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &Sessions, term: u64) -> Option<u64> {
        sessions.open(term, "a", mpsc::channel(1).0, HashSet::new())
    }

    #[test]
    fn a_new_term_hears_of_every_agent_anew() {
        let sessions = Sessions::default();
        sessions.begin(1);
        let first = open(&sessions, 1).unwrap();
        sessions.end();
        sessions.heard("a", first);
        assert_eq!(sessions.last_heard("a"), None);
        assert_eq!(open(&sessions, 1), None);

        let before = Instant::now();
        sessions.begin(3);
        sessions.heard("a", first);
        assert_eq!(open(&sessions, 1), None, "its welcome told of another term");
        assert!(sessions.last_heard("a").unwrap() >= before);
        assert!(!sessions.is_connected("a"));
        assert_ne!(open(&sessions, 3), Some(first));
    }
}
