//! The engine inside the replicated log: applies committed commands, publishes a consistent view of the state after each
//! entry, and hands the effects to whoever leads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use meson_engine::effect::ArchiveOp as EngineArchiveOp;
use meson_engine::outcome::{Refusal, RefusalKind};
use meson_engine::{Effect, State, apply_bytes_up_to, snapshot};
use meson_raft::{Applied, ArchiveOp, Position, SnapshotView, StateMachine};
use tokio::sync::{mpsc, watch};

/// Entries whose effects may wait for the leader's dispatch; beyond it they are dropped and derived again.
const EFFECTS_QUEUE_MAX: usize = 4_096;

/// The engine's state behind the log.
pub struct Machine {
    state: State,
    /// The newest format to understand.
    newest: u32,
    published: Published,
    effects: mpsc::Sender<Vec<Effect>>,
}

/// What the rest of the process sees of the state. Cheap to clone.
#[derive(Clone)]
pub struct Published {
    state: Arc<ArcSwap<State>>,
    version: watch::Sender<u64>,
    dropped: Arc<AtomicBool>,
}

/// Where the effects of applied commands come out. There is one.
pub struct Effects {
    queue: mpsc::Receiver<Vec<Effect>>,
    dropped: Arc<AtomicBool>,
}

/// What the effects queue gives.
pub enum Next {
    /// Effects in the order of their commands.
    Effects(Vec<Effect>),
    /// Some were dropped: derive all from the state.
    Dropped,
    /// The machine is gone.
    Closed,
}

impl Machine {
    /// An empty machine that understands commands up to this format.
    pub fn new(newest: u32) -> (Machine, Published, Effects) {
        let (sender, queue) = mpsc::channel(EFFECTS_QUEUE_MAX);
        let published = Published {
            state: Arc::new(ArcSwap::from_pointee(State::default())),
            version: watch::Sender::new(0),
            dropped: Arc::new(AtomicBool::new(false)),
        };
        let effects = Effects { queue, dropped: published.dropped.clone() };
        let machine =
            Machine { state: State::default(), newest, published: published.clone(), effects: sender };
        (machine, published, effects)
    }

    fn publish(&self) {
        self.published.state.store(Arc::new(self.state.clone()));
        self.published.version.send_modify(|version| *version += 1);
    }
}

impl Published {
    /// The state as of the newest applied entry.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Wakes whenever a newer state is there.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

impl Effects {
    /// The next effects, with all that wait behind them.
    pub async fn next(&mut self) -> Next {
        let Some(mut effects) = self.queue.recv().await else { return Next::Closed };
        while let Ok(more) = self.queue.try_recv() {
            effects.extend(more);
        }
        if self.dropped.swap(false, Ordering::AcqRel) { Next::Dropped } else { Next::Effects(effects) }
    }

    /// Forgets all that waits: a new leader derives what is owed from the state.
    pub fn clear(&mut self) {
        while self.queue.try_recv().is_ok() {}
        self.dropped.store(false, Ordering::Release);
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, _: Position, commands: &[Bytes]) -> io::Result<Applied> {
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut archive = Vec::new();
        let mut effects = Vec::new();
        for command in commands {
            let applied = apply_bytes_up_to(&mut self.state, command, self.newest);
            if let Some(refusal) = applied.outcome.refusal.as_ref().filter(|refusal| is_unreadable(refusal)) {
                let message = format!("{}; run the version that the other replicas run", refusal.message);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            outcomes.push(applied.outcome.to_bytes());
            effects.extend(applied.effects);
            archive.extend(
                applied
                    .archive
                    .into_iter()
                    .map(|EngineArchiveOp::Put { key, value }| ArchiveOp::Put { key, value }),
            );
        }
        self.publish();
        // Followers send into a queue that nobody reads and that soon is full: that is meant to be cheap.
        if !effects.is_empty() && self.effects.try_send(effects).is_err() {
            self.published.dropped.store(true, Ordering::Release);
        }
        Ok(Applied { outcomes, archive })
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        Box::new(View(self.state.clone()))
    }

    fn restore(&mut self, input: &mut dyn io::Read) -> io::Result<()> {
        let state = snapshot::read(input)?;
        if state.format() > self.newest {
            let message = format!(
                "the state needs format {}, and this replica is to understand {} at most; see format_max",
                state.format(),
                self.newest
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.state = state;
        self.publish();
        Ok(())
    }
}

fn is_unreadable(refusal: &Refusal) -> bool {
    refusal.kind() == RefusalKind::Unreadable
}

struct View(State);

impl SnapshotView for View {
    fn write(self: Box<Self>, out: &mut dyn io::Write) -> io::Result<()> {
        snapshot::write(&self.0, out)
    }
}
