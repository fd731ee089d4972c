//! One actor for each living attempt: renders the step, brings it to its agent, and asks for its end until it has ended.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use meson_engine::command::AttemptLost;
use meson_engine::ids::{AttemptId, NodeNo, RunNo};
use meson_engine::record::{Attempt, Failure};
use meson_engine::status::{FailureClass, KillCause};
use meson_proto::v1;
use tracing::warn;

use super::Stop;
use crate::evaluate::{self, Rendered};
use crate::resources::{Placed, manager_of};
use crate::shared::Shared;
use crate::workspaces::Workspaces;

/// How often a kill is asked for again until the attempt is reported ended.
const KILL_REPEAT: Duration = Duration::from_secs(5);

/// The actor of one attempt.
pub struct AttemptActor {
    shared: Shared,
    run: RunNo,
    node: NodeNo,
    id: AttemptId,
    attempt: Attempt,
    rendering: bool,
    launch: Option<v1::Launch>,
    killing: bool,
}

/// Bring the attempt to its agent, if it is not there.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Launch;

/// End the attempt.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Kill;

#[derive(Message)]
#[rtype(result = "()")]
struct Ready(Box<Result<Rendered, evaluate::Error>>);

impl AttemptActor {
    /// The actor of the newest attempt of this step; none when it has no attempt.
    pub fn new(shared: Shared, run: RunNo, node: NodeNo) -> Option<Self> {
        let state = shared.published.state();
        let record = state.runs.get(&run)?;
        let id = record.attempt_id(node)?;
        let attempt = record.nodes.get(&node)?.attempt.as_deref()?.clone();
        let (rendering, launch, killing) = (false, None, false);
        Some(AttemptActor { shared, run, node, id, attempt, rendering, launch, killing })
    }

    /// The attempt's number.
    pub fn number(&self) -> u32 {
        self.attempt.number
    }

    fn placed(&self) -> Placed<'_> {
        Placed { run: self.run, node: self.node, attempt: &self.attempt }
    }

    fn is_killed(&self) -> bool {
        let state = self.shared.published.state();
        let node = state.runs.get(&self.run).and_then(|run| run.nodes.get(&self.node));
        let attempt = node.and_then(|node| node.attempt.as_ref());
        attempt.is_some_and(|attempt| attempt.kill() != KillCause::No)
    }

    /// The run's workspace; empty where executors make directories of their own.
    fn workspace(&self) -> String {
        let workspaces = self.shared.workspaces.as_ref();
        workspaces.map_or_else(String::new, |workspaces| workspaces.of(&self.id.run_id))
    }

    fn deliver(&self) {
        let in_doubt = |workspaces: &Workspaces| workspaces.is_in_doubt(&self.id.run_id);
        if self.shared.workspaces.as_ref().is_some_and(in_doubt) {
            // The run was restarted while its workspace was being removed: the next tick asks again.
            return;
        }
        if let Some(launch) = &self.launch {
            manager_of(&self.shared, &self.attempt).launch(self.placed(), launch.clone());
        }
    }

    fn reject(&self, error: &evaluate::Error) {
        let failure = Failure::new(FailureClass::Rejected, "render_failed", error.to_string());
        let command = AttemptLost { attempt_id: self.id.to_string(), fence: self.attempt.fence, failure };
        let proposer = self.shared.proposer.clone();
        actix::spawn(async move {
            if let Err(error) = proposer.propose(command).await {
                warn!(%error, "an attempt that cannot be rendered was not rejected; the next tick tries again");
            }
        });
    }

    fn message(&self, rendered: Rendered, state: &meson_engine::State) -> Option<v1::Launch> {
        let run = state.runs.get(&self.run)?;
        let fetch = rendered.fetch.into_iter().map(|fetch| v1::Fetch {
            uri: fetch.uri,
            to: fetch.to.unwrap_or_default(),
            sha256: fetch.sha256.unwrap_or_default(),
            extract: fetch.extract,
            executable: fetch.executable,
        });
        let holds = self.attempt.holds;
        Some(v1::Launch {
            term: (*self.shared.leading.borrow())?,
            attempt_id: self.id.to_string(),
            fence: self.attempt.fence,
            run_id: self.id.run_id.clone(),
            workflow: run.info.workflow.clone(),
            step: crate::paths::path_of(state, run, self.node),
            attempt: self.attempt.number,
            kind: rendered.kind,
            config_json: serde_json::Value::Object(rendered.config).to_string(),
            env: rendered.env.into_iter().collect(),
            secrets: rendered.secrets.into_iter().collect(),
            fetch: fetch.collect(),
            resources: Some(crate::api::convert::resources(holds)),
            timeout_ms: rendered.timeout_ms.unwrap_or(0),
            params_json: serde_json::Value::Object(rendered.params).to_string(),
            workspace: self.workspace(),
            kill_grace_ms: self.shared.config.kill_grace_ms,
        })
    }
}

impl Actor for AttemptActor {
    type Context = Context<Self>;
}

impl Handler<Launch> for AttemptActor {
    type Result = ();
    fn handle(&mut self, _: Launch, ctx: &mut Self::Context) {
        // An attempt that is to end is not started only to be killed: an executor that lacks it says so when told to.
        if self.is_killed() {
            return;
        }
        if self.launch.is_some() {
            return self.deliver();
        }
        // Through Mesos only the leader that placed it can launch it; whether it did, reconciliation tells.
        let through_mesos = !self.attempt.executor.is_empty();
        if through_mesos && *self.shared.leading.borrow() != Some(self.attempt.term) {
            return;
        }
        if std::mem::replace(&mut self.rendering, true) {
            return;
        }
        let (state, run, node, me) = (self.shared.published.state(), self.run, self.node, ctx.address());
        let plugins = self.shared.plugins.clone();
        actix::spawn(async move {
            let rendered = meson_raft::blocking(move || evaluate::render(&state, run, node, &plugins)).await;
            if let Ok(rendered) = rendered {
                // The actor may have stopped; then nobody cares.
                let _ = me.send(Ready(Box::new(rendered))).await;
            }
        });
    }
}

impl Handler<Ready> for AttemptActor {
    type Result = ();
    fn handle(&mut self, Ready(rendered): Ready, _: &mut Self::Context) {
        self.rendering = false;
        match *rendered {
            Ok(rendered) => {
                self.launch = self.message(rendered, &self.shared.published.state());
                // A kill may have gone out meanwhile, and the executor's answer that it has no such attempt be on its way.
                if !self.killing && !self.is_killed() {
                    self.deliver();
                }
            }
            Err(evaluate::Error::Gone) => {}
            Err(error) => self.reject(&error),
        }
    }
}

impl Handler<Kill> for AttemptActor {
    type Result = ();
    fn handle(&mut self, _: Kill, ctx: &mut Self::Context) {
        if !std::mem::replace(&mut self.killing, true) {
            self.ask_for_end();
            ctx.run_interval(KILL_REPEAT, |actor, _| actor.ask_for_end());
        }
    }
}

impl AttemptActor {
    fn ask_for_end(&self) {
        let Some(term) = *self.shared.leading.borrow() else { return };
        let kill = v1::Kill {
            term,
            attempt_id: self.id.to_string(),
            fence: self.attempt.fence,
            grace_ms: self.shared.config.kill_grace_ms,
            discard: false,
        };
        manager_of(&self.shared, &self.attempt).kill(self.placed(), kill);
    }
}

impl Handler<Stop> for AttemptActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        let id = self.id.to_string();
        manager_of(&self.shared, &self.attempt).ended(self.placed(), &id);
        self.shared.soft.forget(&id);
        ctx.stop();
    }
}
