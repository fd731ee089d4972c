//! The actor of the timers: sleeps until the state's next one is due and proposes what fires. The timers themselves are
//! in the state.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle};
use meson_engine::command::{Command, Fire};
use tracing::warn;

use super::Stop;
use crate::shared::Shared;

/// Timers fired in one entry of the log.
const FIRE_MAX: usize = 256;

/// Longest sleep, against surprises of clocks.
const SLEEP_MS_MAX: u64 = 10_000;

/// The actor.
pub struct TimersActor {
    shared: Shared,
    sleep: Option<SpawnHandle>,
    firing: bool,
}

/// A timer was set: look at the state.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

#[derive(Message)]
#[rtype(result = "()")]
struct Fired;

impl TimersActor {
    /// Over this state.
    pub fn new(shared: Shared) -> Self {
        TimersActor { shared, sleep: None, firing: false }
    }

    fn fire(&mut self, ctx: &mut Context<Self>, now_ms: u64) {
        let state = self.shared.published.state();
        let due = state.index.timers.iter().take_while(|(due_ms, _, _)| *due_ms <= now_ms);
        let commands: Vec<Command> = due
            .take(FIRE_MAX)
            .map(|(due_ms, run, node)| Fire { run: *run, node: *node, due_ms: *due_ms }.into())
            .collect();
        self.firing = true;
        let (proposer, me) = (self.shared.proposer.clone(), ctx.address());
        actix::spawn(async move {
            if let Err(error) = proposer.propose_all(commands).await {
                warn!(%error, "timers did not fire; the next look tries again");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // The actor may have stopped; then nobody cares.
            let _ = me.send(Fired).await;
        });
    }
}

impl Actor for TimersActor {
    type Context = Context<Self>;
}

impl Handler<Look> for TimersActor {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        if self.firing {
            return;
        }
        let state = self.shared.published.state();
        let Some((due_ms, _, _)) = state.index.timers.get_min() else { return };
        let now_ms = self.shared.proposer.now_ms();
        if *due_ms <= now_ms {
            return self.fire(ctx, now_ms);
        }
        if let Some(sleep) = self.sleep.take() {
            ctx.cancel_future(sleep);
        }
        let sleep = Duration::from_millis((due_ms - now_ms).min(SLEEP_MS_MAX));
        self.sleep = Some(ctx.notify_later(Look, sleep));
    }
}

impl Handler<Fired> for TimersActor {
    type Result = ();
    fn handle(&mut self, _: Fired, ctx: &mut Self::Context) {
        self.firing = false;
        self.handle(Look, ctx);
    }
}

impl Handler<Stop> for TimersActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
