//! One actor for each active run: evaluates its expressions, off the actors' thread, and carries on its work that was
//! cut into pieces. A run whose expressions are slow or wrong holds up nobody but itself.

use std::collections::HashSet;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use meson_engine::command::{Command, Continue};
use meson_engine::ids::{Evaluation, NodeNo, RunNo};
use tracing::warn;

use super::Stop;
use crate::evaluate;
use crate::proposer::Error;
use crate::shared::Shared;

/// Messages a run's actor may have waiting.
const MAILBOX_MAX: usize = 1_024;

/// The actor of one run.
pub struct RunActor {
    shared: Shared,
    run: RunNo,
    /// What is under way, so that the reconcile tick does not start it twice.
    under_way: HashSet<Job>,
}

/// What a run's actor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Message)]
#[rtype(result = "()")]
pub enum Job {
    /// Evaluate expressions.
    Evaluate(Evaluation),
    /// Go on with work that was cut up.
    Continue(NodeNo),
}

#[derive(Message)]
#[rtype(result = "()")]
struct Done(Job, Result<(), Error>);

impl RunActor {
    /// The actor of this run.
    pub fn new(shared: Shared, run: RunNo) -> Self {
        RunActor { shared, run, under_way: HashSet::new() }
    }
}

impl Actor for RunActor {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
    }
}

impl Handler<Job> for RunActor {
    type Result = ();
    fn handle(&mut self, job: Job, ctx: &mut Self::Context) {
        if !self.under_way.insert(job) {
            return;
        }
        let (shared, run, me) = (self.shared.clone(), self.run, ctx.address());
        actix::spawn(async move {
            let result = carry_out(shared, run, job).await;
            // The actor may have stopped; then nobody cares.
            let _ = me.send(Done(job, result)).await;
        });
    }
}

impl Handler<Done> for RunActor {
    type Result = ();
    fn handle(&mut self, Done(job, result): Done, _: &mut Self::Context) {
        self.under_way.remove(&job);
        match result {
            Ok(()) | Err(Error::Refused(_) | Error::NotLeader(_) | Error::Stopped) => {}
            Err(error) => warn!(run = self.run, ?job, %error, "the next tick tries again"),
        }
    }
}

impl Handler<Stop> for RunActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

async fn carry_out(shared: Shared, run: RunNo, job: Job) -> Result<(), Error> {
    let command: Command = match job {
        Job::Continue(node) => Continue { run, node }.into(),
        Job::Evaluate(evaluation) => {
            let state = shared.published.state();
            let evaluated = meson_raft::blocking(move || evaluate::evaluate(&state, run, evaluation)).await;
            match evaluated {
                Ok(Some(command)) => command.into(),
                Ok(None) => return Ok(()),
                Err(_) => return Err(Error::Stopped),
            }
        }
    };
    shared.proposer.propose(command).await.map(|_| ())
}
