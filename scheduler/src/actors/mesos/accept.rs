//! Launching what was committed, and ending what is not wanted.

use actix::{AsyncContext, Context};
use meson_engine::command::AttemptLost;
use meson_engine::record::Failure;
use meson_engine::status::FailureClass;
use meson_mesos::Error;
use meson_mesos::resources::Resources;
use meson_mesos::scheduler::{Accept, call};
use meson_mesos::v1::scheduler::Call;
use meson_mesos::v1::{ExecutorInfo, KillPolicy, TaskInfo};
use std::time::Duration;
use tracing::{debug, info, warn};

use super::{MesosActor, Uncertain};
use crate::proposer;
use crate::resources::mesos::{Accepting, Lot, Offers, tasks};

/// What is left over of offers comes back at the next allocation.
const REFUSE_LEFTOVER: Duration = Duration::ZERO;

impl MesosActor {
    /// Launches the attempts that are ready with the offers of their lot.
    pub(super) fn accept(&mut self, accepting: Accepting, ctx: &mut Context<Self>) {
        let Accepting { offers, lot: Lot { role, .. }, executor, tasks: ready, .. } = accepting;
        let mut left = offers.resources.clone();
        let executor = with_resources(self.mesos.settings(), executor, &offers, &mut left, &role);
        let agent = offers.agent_id();
        let (mut infos, mut ids) = (Vec::<TaskInfo>::new(), Vec::new());
        let steps: Vec<_> = ready.iter().map(|task| task.step).collect();
        for task in ready {
            let (attempt_id, fence) = (task.launch.attempt_id.clone(), task.launch.fence);
            let taken = executor.as_ref().and_then(|executor| {
                let taken = left.find(&tasks::wanted(task.holds), &role)?;
                left = left.minus(&taken)?;
                Some((executor.clone(), taken))
            });
            let Some((executor, taken)) = taken else {
                let message = "the offer does not hold what the step was promised";
                self.lose(attempt_id, fence, Failure::new(FailureClass::Platform, "offer_short", message));
                continue;
            };
            infos.push(tasks::task(&task.launch, &agent, executor, taken.to_contract()));
            ids.push((attempt_id, fence));
        }
        let tasks = infos.len();
        let (Some(call), Some(scheduler)) = (calls(&offers, infos), self.scheduler()) else {
            return self.mesos.answered(&steps);
        };
        debug!(%agent, tasks, "accepting offers");
        self.mesos.note(|status| status.launched += tasks as u64);
        let (proposer, mesos, me) = (self.shared.proposer.clone(), self.mesos.clone(), ctx.address());
        actix::spawn(async move {
            let answer = scheduler.call(call).await;
            mesos.answered(&steps);
            let Err(error) = answer else { return };
            if !is_refusal(&error) {
                info!(%error, "nobody knows whether offers were accepted: asking Mesos");
                // The actor may have stopped; then a new leader asks.
                let _ = me.send(Uncertain).await;
                return;
            }
            warn!(%error, "the master refused to launch");
            for (attempt_id, fence) in ids {
                let failure = Failure::new(FailureClass::Platform, "launch_refused", error.to_string());
                let lost = proposer.propose(AttemptLost { attempt_id, fence, failure }).await;
                if let Err(error) = lost {
                    debug!(%error, "reconciliation will find that the attempt was not launched");
                }
            }
        });
    }

    /// Asks for the end of a task.
    pub(super) fn kill(&self, attempt_id: &str, agent: &str, grace_ms: u64) {
        let policy = KillPolicy { grace_period: Some(tasks::nanoseconds(grace_ms)) };
        self.call(call::kill(attempt_id.into(), Some(agent.into()), Some(policy)));
    }

    /// Gives an attempt up.
    pub(super) fn lose(&self, attempt_id: String, fence: u64, failure: Failure) {
        info!(attempt_id, reason = failure.reason, why = failure.message, "giving an attempt up");
        let proposer = self.shared.proposer.clone();
        actix::spawn(async move {
            let command = AttemptLost { attempt_id, fence, failure };
            match proposer.propose(command).await {
                Ok(_) | Err(proposer::Error::Refused(_)) => {}
                Err(error) => info!(%error, "an attempt is given up at a later look"),
            }
        });
    }
}

/// ACCEPT, or DECLINE when there is nothing to launch.
fn calls(offers: &Offers, infos: Vec<TaskInfo>) -> Option<Call> {
    let (first, others) = offers.offers.split_first()?;
    if infos.is_empty() {
        let ids = offers.offers.iter().map(|offer| offer.id.clone()).collect();
        return call::decline(ids, REFUSE_LEFTOVER);
    }
    let all = others.iter().try_fold(Accept::of(first), |accept, offer| accept.and(offer));
    match all.and_then(|accept| accept.launch(infos)) {
        Ok(accept) => Some(accept.refuse(REFUSE_LEFTOVER).build()),
        Err(error) => {
            // Offers of a lot are of one agent and role, and tasks are made for it.
            warn!(%error, "offers cannot be accepted; reconciliation gives the attempts up");
            None
        }
    }
}

/// The executor with its own resources. Where it runs already Mesos counts them no more, but wants to be told the same.
fn with_resources(
    settings: &crate::resources::mesos::Settings,
    mut executor: ExecutorInfo,
    offers: &Offers,
    left: &mut Resources,
    role: &str,
) -> Option<ExecutorInfo> {
    let own = tasks::wanted(tasks::own_needs(settings));
    let taken = left.find(&own, role)?;
    if !offers.has_executor(&executor.executor_id.value) {
        *left = left.minus(&taken)?;
    }
    executor.resources = taken.to_contract();
    Some(executor)
}

/// Whether the master said no, rather than that nothing is known.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Answer { status, .. } if (400..500).contains(status) && *status != 408)
}
