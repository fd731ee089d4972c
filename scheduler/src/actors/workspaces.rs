//! The actor that removes the workspaces of ended runs, where they are in a shared store: those of runs that end while it
//! lives, at once; and by a slow look at all that is there, the first when leadership is gained, what was left over: by
//! failovers, by removals that failed, by runs archived meanwhile.
//!
//! One piece of work at a time, bounded in time, off the actors' thread. A store that is away costs a line in the log and a
//! pause that grows; nothing else waits for it but restarted runs whose workspace is in doubt.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tracing::{info, warn};

use super::Stop;
use crate::shared::Shared;
use crate::workspaces::Workspaces;

/// Ended runs that may wait for their removal; the next look finds what is beyond.
const WAITING_MAX: usize = 10_000;

/// Runs of one piece of work.
const BATCH_MAX: usize = 64;

/// First pause after a store did not answer; it doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Runs whose workspace is to be removed, each once, in the order they came. What could not be removed goes to the back, so that
/// no run that stays so keeps others from their turn.
#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<String>,
    names: BTreeSet<String>,
}

impl Waiting {
    /// Adds them whatever there is: they are in doubt, and a run in doubt that is forgotten is never launched again.
    fn again(&mut self, runs: impl IntoIterator<Item = String>) {
        for run_id in runs {
            if self.names.insert(run_id.clone()) {
                self.order.push_back(run_id);
            }
        }
    }

    /// Adds as many as may wait.
    fn add(&mut self, runs: Vec<String>) {
        let room = WAITING_MAX.saturating_sub(self.order.len());
        let new: Vec<_> = runs.into_iter().filter(|run_id| !self.names.contains(run_id)).take(room).collect();
        self.again(new);
    }

    /// Takes those whose turn it is.
    fn take(&mut self) -> Vec<String> {
        let batch: Vec<_> = self.order.drain(..BATCH_MAX.min(self.order.len())).collect();
        for run_id in &batch {
            self.names.remove(run_id);
        }
        batch
    }

    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// The actor.
pub struct WorkspacesActor {
    shared: Shared,
    workspaces: Workspaces,
    waiting: Waiting,
    look: bool,
    /// Whether the last piece of work was a removal: then a look may come before the next one.
    has_removed: bool,
    working: bool,
    waits: bool,
    failures: u32,
}

/// A run ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Ended {
    /// Its id.
    pub run_id: String,
}

/// Look at all workspaces that are there.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

#[derive(Message)]
#[rtype(result = "()")]
struct Work;

/// What came of a piece of work.
#[derive(Message)]
#[rtype(result = "()")]
enum Done {
    /// These are left over.
    Looked(Vec<String>),
    /// Of so many, these are to be tried again.
    Removed(usize, Vec<String>),
    /// The store did not answer to a look.
    Away(meson_store::Error),
}

impl WorkspacesActor {
    /// For the workspaces of the settings.
    pub fn new(shared: Shared, workspaces: Workspaces) -> Self {
        // What an earlier term of this replica left in doubt is settled first.
        let mut waiting = Waiting::default();
        waiting.again(workspaces.all_in_doubt());
        WorkspacesActor {
            shared,
            workspaces,
            waiting,
            look: true,
            has_removed: false,
            working: false,
            waits: false,
            failures: 0,
        }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let idle = !self.working && !self.waits;
        if idle && (self.look || !self.waiting.is_empty()) {
            self.waits = true;
            let pause = if self.failures == 0 { Duration::ZERO } else { pause(self.failures) };
            ctx.notify_later(Work, pause);
        }
    }
}

fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PAUSE_MAX)
}

impl Actor for WorkspacesActor {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        let every = Duration::from_millis(self.shared.config.workspaces_look_ms);
        ctx.run_interval(every, |actor, ctx| actor.handle(Look, ctx));
        self.go_on(ctx);
    }
}

impl Handler<Ended> for WorkspacesActor {
    type Result = ();
    fn handle(&mut self, Ended { run_id }: Ended, ctx: &mut Self::Context) {
        self.waiting.add(vec![run_id]);
        self.go_on(ctx);
    }
}

impl Handler<Look> for WorkspacesActor {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look = true;
        self.go_on(ctx);
    }
}

impl Handler<Work> for WorkspacesActor {
    type Result = ();
    fn handle(&mut self, _: Work, ctx: &mut Self::Context) {
        self.waits = false;
        self.working = true;
        let (shared, workspaces, me) = (self.shared.clone(), self.workspaces.clone(), ctx.address());
        let look = self.look && (self.has_removed || self.waiting.is_empty());
        self.look &= !look;
        self.has_removed = !look;
        let batch = if look { Vec::new() } else { self.waiting.take() };
        actix::spawn(async move {
            let done = if look {
                workspaces.left_over(&shared).await.map_or_else(Done::Away, Done::Looked)
            } else {
                let count = batch.len();
                Done::Removed(count, workspaces.remove(&shared, batch).await)
            };
            // The actor may have stopped; the next leader looks anew.
            let _ = me.send(done).await;
        });
    }
}

impl Handler<Done> for WorkspacesActor {
    type Result = ();
    fn handle(&mut self, done: Done, ctx: &mut Self::Context) {
        self.working = false;
        match done {
            Done::Looked(runs) => {
                self.failures = 0;
                if !runs.is_empty() {
                    info!(count = runs.len(), "workspaces are left over");
                }
                self.waiting.add(runs);
            }
            Done::Removed(_, again) if again.is_empty() => self.failures = 0,
            Done::Removed(count, again) => {
                self.failures = self.failures.saturating_add(1);
                warn!(of = count, left = again.len(), pause = ?pause(self.failures), "workspaces are not removed yet");
                self.waiting.again(again);
            }
            Done::Away(error) => {
                self.failures = self.failures.saturating_add(1);
                self.look |= error.is_retryable();
                warn!(%error, pause = ?pause(self.failures), "workspaces cannot be looked at");
            }
        }
        self.go_on(ctx);
    }
}

impl Handler<Stop> for WorkspacesActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_has_a_turn() {
        let runs = |from: usize, count: usize| (from..from + count).map(|run| format!("g1-{run:06}"));
        let mut waiting = Waiting::default();
        waiting.add(runs(0, BATCH_MAX + 1).collect());
        waiting.add(runs(0, 1).collect());
        let batch = waiting.take();
        assert_eq!(batch, runs(0, BATCH_MAX).collect::<Vec<_>>());
        waiting.again(batch);
        assert_eq!(waiting.take()[0], "g1-000064", "what failed stands behind what did not");
        // There is no more room, but for those that are in doubt.
        waiting.add(runs(1_000, 2 * WAITING_MAX).collect());
        assert_eq!(waiting.order.len(), WAITING_MAX);
        waiting.again(runs(500, BATCH_MAX));
        assert_eq!(waiting.order.len(), WAITING_MAX + BATCH_MAX);
        while !waiting.is_empty() {
            waiting.take();
        }
        assert!(waiting.names.is_empty());
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let pauses = [1, 2, 3, 7, u32::MAX].map(|failures| pause(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 60, 60]);
    }
}
