//! Read barriers: those that wait together share one round of confirmations.

use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::Config;
use crate::error::ReadError;
use crate::types::Raft;

/// Barriers that may wait for the next round.
const WAITING_MAX: usize = 4096;
/// A round of confirmations that finds no quorum is repeated after this long, within the deadline.
const RETRY: Duration = Duration::from_millis(20);
/// No deadline is shorter, however short elections are.
const DEADLINE_MIN: Duration = Duration::from_secs(2);

type Answer = Result<(), ReadError>;

/// Where barriers queue; clones share it.
#[derive(Clone)]
pub struct Reads {
    queue: mpsc::Sender<oneshot::Sender<Answer>>,
}

impl Reads {
    /// Starts the task that confirms, which ends when `stop` turns true.
    pub fn start(config: &Config, raft: Raft, mut stop: watch::Receiver<bool>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let deadline = Duration::from_millis(config.election_max_ms * 2).max(DEADLINE_MIN);
        tokio::spawn(async move {
            tokio::select! {
                () = work(raft, waiting, deadline) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        Self { queue }
    }

    /// Returns once this replica is known to have led after the call, and to have applied all that was committed then.
    pub async fn barrier(&self) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.queue.try_send(sender).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Unavailable,
            mpsc::error::TrySendError::Closed(_) => ReadError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ReadError::Stopped))
    }
}

async fn work(raft: Raft, mut waiting: mpsc::Receiver<oneshot::Sender<Answer>>, deadline: Duration) {
    let mut group = Vec::new();
    // All of a group came before the confirmation begins, so it holds for each of them.
    while waiting.recv_many(&mut group, WAITING_MAX).await > 0 {
        let answer = confirm(&raft, Instant::now() + deadline).await;
        for sender in group.drain(..) {
            let _ = sender.send(answer.clone());
        }
    }
}

async fn confirm(raft: &Raft, deadline: Instant) -> Answer {
    loop {
        let confirmed = tokio::time::timeout_at(deadline, raft.ensure_linearizable()).await;
        match confirmed {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward)))) => {
                return Err(ReadError::NotLeader { leader: forward.leader_node });
            }
            Ok(Err(RaftError::Fatal(_))) => return Err(ReadError::Stopped),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))))
                if Instant::now() + RETRY < deadline =>
            {
                tokio::time::sleep(RETRY).await;
            }
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
                return Err(ReadError::Unavailable);
            }
        }
    }
}
