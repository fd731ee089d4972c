//! The actor that removes the workspaces of ended runs, where they are in a shared store: those of runs that end while it
//! lives, at once; and by a slow look at all that is there, the first when leadership is gained, what was left over: by
//! failovers, by removals that failed, by runs archived meanwhile.
//!
//! One piece of work at a time, bounded in time, off the actors' thread. A store that is away costs a line in the log and a
//! pause that grows; nothing else waits for it but restarted runs whose workspace is in doubt.

use std::collections::BTreeSet;
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

/// The actor.
pub struct WorkspacesActor {
    shared: Shared,
    workspaces: Workspaces,
    waiting: BTreeSet<String>,
    look: bool,
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
        let waiting = workspaces.all_in_doubt();
        WorkspacesActor { shared, workspaces, waiting, look: true, working: false, waits: false, failures: 0 }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let idle = !self.working && !self.waits;
        if idle && (self.look || !self.waiting.is_empty()) {
            self.waits = true;
            let pause = if self.failures == 0 { Duration::ZERO } else { pause(self.failures) };
            ctx.notify_later(Work, pause);
        }
    }

    fn add(&mut self, runs: Vec<String>) {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        self.waiting.extend(runs.into_iter().take(room));
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
        self.add(vec![run_id]);
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
        let batch: Vec<String> = self.waiting.iter().take(BATCH_MAX).cloned().collect();
        let look = batch.is_empty() && std::mem::take(&mut self.look);
        for run_id in &batch {
            self.waiting.remove(run_id);
        }
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
                self.add(runs);
            }
            Done::Removed(_, again) if again.is_empty() => self.failures = 0,
            Done::Removed(count, again) => {
                self.failures = self.failures.saturating_add(1);
                warn!(of = count, left = again.len(), pause = ?pause(self.failures), "workspaces are not removed yet");
                self.add(again);
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
    fn pauses_grow_and_are_bounded() {
        let pauses = [1, 2, 3, 7, u32::MAX].map(|failures| pause(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 60, 60]);
    }
}
