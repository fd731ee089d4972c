//! Gathers proposals that wait into entries, a bounded number of them under way at once, in the order they came.
//!
//! Nothing is delayed to make batches larger: while entries are under way others come to wait, and go together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::config::Config;
use crate::error::ProposeError;
use crate::role::{Role, RoleKind};
use crate::space::{Shortage, Space};
use crate::types::{Batch, Raft, TypeConfig, Written};

type Reply = Result<Vec<Bytes>, ProposeError>;
type LibraryReply = oneshot::Receiver<ClientWriteResult<TypeConfig>>;

/// Where proposals queue; clones share it.
#[derive(Clone)]
pub struct Proposals {
    queue: mpsc::UnboundedSender<Item>,
    /// One permit per command that waits or is under way: this, and not the channel, bounds the queue.
    places: Arc<Semaphore>,
    role: watch::Receiver<Role>,
    /// How many ask for proposals to be held back.
    holds: watch::Sender<usize>,
    space: Space,
    limits: Limits,
}

/// Proposals wait while this lives.
pub struct Hold(watch::Sender<usize>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|holds| *holds -= 1);
    }
}

#[derive(Clone, Copy)]
struct Limits {
    commands: usize,
    bytes: usize,
    queue: usize,
    timeout: Duration,
    grace: Duration,
}

/// Commands that stay together.
struct Item {
    commands: Vec<Bytes>,
    bytes: usize,
    reply: oneshot::Sender<Reply>,
    _places: OwnedSemaphorePermit,
}

impl Proposals {
    /// Starts the batcher, which ends when `stop` turns true.
    pub fn start(
        config: &Config,
        raft: Raft,
        role: watch::Receiver<Role>,
        space: Space,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let limits = Limits {
            commands: config.batch_commands_max,
            bytes: config.batch_bytes_max,
            queue: config.queue_commands_max,
            timeout: Duration::from_millis(config.propose_timeout_ms),
            grace: Duration::from_millis(config.election_max_ms),
        };
        let slots = Arc::new(Semaphore::new(config.batches_in_flight_max));
        let batcher = Batcher { items, carried: None, slots, raft, role: role.clone(), limits };
        tokio::spawn(batcher.run(stop));
        let places = Arc::new(Semaphore::new(config.queue_commands_max));
        Self { queue, places, role, space, holds: watch::Sender::new(0), limits }
    }

    /// Holds new proposals back, so that another replica can take over with all entries.
    pub fn hold(&self) -> Hold {
        self.holds.send_modify(|holds| *holds += 1);
        Hold(self.holds.clone())
    }

    /// Whether proposals are held back.
    pub fn are_held(&self) -> bool {
        *self.holds.borrow() > 0
    }

    /// Has commands written next to each other, and gives their outcomes.
    pub async fn propose(&self, commands: Vec<Bytes>, urgent: bool) -> Reply {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        // Even an empty command takes room.
        let size = commands.iter().map(|command| command.len().max(1)).sum();
        let max = self.limits.bytes;
        if size > max {
            return Err(ProposeError::TooLarge { size, max });
        }
        let free = self.holds.subscribe();
        if tokio::time::timeout(self.limits.timeout, wait_for_none(free)).await.is_err() {
            return Err(ProposeError::QueueFull);
        }
        {
            let role = self.role.borrow();
            if role.kind != RoleKind::Leader {
                return Err(ProposeError::NotLeader { leader: role.leader.clone() });
            }
        }
        if let Some(Shortage { path, free, needed }) = self.space.shortage(urgent) {
            return Err(ProposeError::DiskFull { path, free, needed });
        }
        // More commands than the queue has places may still go together when it is empty.
        let places = u32::try_from(commands.len().min(self.limits.queue)).unwrap_or(u32::MAX);
        let places = self.places.clone().try_acquire_many_owned(places);
        let places = places.map_err(|_| ProposeError::QueueFull)?;
        let (reply, answer) = oneshot::channel();
        let item = Item { commands, bytes: size, reply, _places: places };
        self.queue.send(item).map_err(|_| ProposeError::Stopped)?;
        match tokio::time::timeout(self.limits.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }
}

async fn wait_for_none(mut holds: watch::Receiver<usize>) {
    // The sender lives as long as whoever asks.
    let _ = holds.wait_for(|holds| *holds == 0).await;
}

/// The task.
struct Batcher {
    items: mpsc::UnboundedReceiver<Item>,
    /// Taken from the queue, but did not fit into the last entry.
    carried: Option<Item>,
    slots: Arc<Semaphore>,
    raft: Raft,
    role: watch::Receiver<Role>,
    limits: Limits,
}

impl Batcher {
    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // Everything that still waits was never written.
        self.items.close();
        while let Some(item) = self.next().await {
            let _ = item.reply.send(Err(ProposeError::Stopped));
        }
    }

    async fn work(&mut self) {
        while let Some(first) = self.next().await {
            let Ok(slot) = self.carry_until_slot(first).await else { return };
            let items = self.gather();
            if !items.is_empty() {
                self.submit(items, slot).await;
            }
        }
    }

    async fn next(&mut self) -> Option<Item> {
        match self.carried.take() {
            Some(item) => Some(item),
            None => self.items.recv().await,
        }
    }

    /// Keeps the item where a stop finds it while there is no room for another entry.
    async fn carry_until_slot(&mut self, item: Item) -> Result<OwnedSemaphorePermit, ()> {
        self.carried = Some(item);
        self.slots.clone().acquire_owned().await.map_err(|_| ())
    }

    /// What waits and fits into one entry. Proposals whose makers have given up are left out.
    fn gather(&mut self) -> Vec<Item> {
        let (mut items, mut commands, mut bytes) = (Vec::new(), 0, 0);
        while let Some(item) = self.carried.take().or_else(|| self.items.try_recv().ok()) {
            if item.reply.is_closed() {
                continue;
            }
            commands += item.commands.len();
            bytes += item.bytes;
            let full = commands > self.limits.commands || bytes > self.limits.bytes;
            if full && !items.is_empty() {
                self.carried = Some(item);
                break;
            }
            items.push(item);
        }
        items
    }

    async fn submit(&mut self, items: Vec<Item>, slot: OwnedSemaphorePermit) {
        let written = Written::tracked();
        let commands = items.iter().flat_map(|item| item.commands.iter().cloned()).collect();
        let term = self.role.borrow().term;
        let submitted = self.raft.client_write_ff(Batch { commands, written: written.clone() }).await;
        let Ok(answer) = submitted else {
            answer_all(items, &Err(ProposeError::Stopped));
            return;
        };
        let (role, limits) = (self.role.clone(), self.limits);
        tokio::spawn(async move {
            let answer = outcome(answer, &written, role, term, limits).await;
            drop(slot);
            answer_all(items, &answer);
        });
    }
}

/// Waits for what becomes of an entry, but not for ever.
async fn outcome(
    mut answer: LibraryReply,
    written: &Written,
    role: watch::Receiver<Role>,
    term: u64,
    limits: Limits,
) -> Reply {
    let lost = leadership_lost(role.clone(), term, limits.grace);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        () = lost => return Err(ProposeError::Unknown),
        () = tokio::time::sleep(limits.timeout) => return Err(ProposeError::Unknown),
    };
    match answer {
        Ok(Ok(response)) => Ok(response.data.0),
        // An entry that was cut off here again may live on elsewhere, and come back.
        _ if written.get() => Err(ProposeError::Unknown),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
            Err(ProposeError::NotLeader { leader: forward.leader_node })
        }
        Ok(Err(ClientWriteError::ChangeMembershipError(_))) | Err(_) => Err(ProposeError::Stopped),
    }
}

/// Ends some time after this replica no longer leads in a term; an answer is often just behind.
async fn leadership_lost(mut role: watch::Receiver<Role>, term: u64, grace: Duration) {
    let _ = role.wait_for(|role| role.kind != RoleKind::Leader || role.term != term).await;
    tokio::time::sleep(grace).await;
}

fn answer_all(items: Vec<Item>, answer: &Reply) {
    let mut outcomes = answer.as_deref().unwrap_or_default().iter().cloned();
    for item in items {
        let reply = match answer {
            Ok(_) => Ok(outcomes.by_ref().take(item.commands.len()).collect()),
            Err(error) => Err(error.clone()),
        };
        // Who no longer waits needs no answer.
        let _ = item.reply.send(reply);
    }
}
