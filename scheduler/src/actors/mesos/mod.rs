//! The actor of the offer stream of Mesos: one for a term of leadership. It subscribes under the framework id that is in
//! the state, reconciles before it lets offers be used, launches what was committed, and acknowledges an update only
//! once what it says is decided.

mod accept;
mod appetite;
mod channel;
mod doubts;
mod framework;
mod updates;

use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, StreamHandler};
use meson_engine::ids::{NodeNo, RunNo};
use meson_engine::record::Attempt;
use meson_mesos::scheduler::{Event, Reconciliation, Scheduler, Signal, call};
use meson_mesos::v1::scheduler::Call;
use meson_mesos::v1::{AgentId, TaskId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tracing::{debug, info, warn};

use super::offers::{self, OffersActor};
use super::{Stop, tell};
use crate::resources::mesos::{Mesos, Order};
use crate::shared::Shared;
use appetite::Appetite;
use channel::Channels;
use doubts::Doubts;

/// How often the actor looks at what time brings: reconciliation, silence, offers that nobody wants.
const TICK: Duration = Duration::from_millis(250);

/// Offers are used at the latest so long after a subscription: an agent that is away answers for no task.
const RECONCILE_PATIENCE: Duration = Duration::from_secs(3);

/// First and longest pause between two explicit reconciliations of what nothing was heard of.
const RECONCILE_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often all is reconciled anew, in case something was lost.
const RECONCILE_AGAIN: Duration = Duration::from_secs(60);

/// The same, while attempts are on their way that nothing was heard of.
const RECONCILE_PLACED: Duration = Duration::from_secs(10);

/// Pause before the session is begun anew after an end that it cannot repair itself.
const BEGIN_AGAIN: Duration = Duration::from_secs(5);

/// The actor.
pub struct MesosActor {
    shared: Shared,
    mesos: Mesos,
    offers: Addr<OffersActor>,
    session: Option<Session>,
    /// When the session may be begun.
    begin_at: Instant,
    doubts: Doubts,
    appetite: Appetite,
    channels: Channels,
    looked_for_agents: Instant,
}

/// The session with the master, while there is one.
struct Session {
    scheduler: Scheduler,
    /// Tells its signals from those of an earlier one.
    number: u64,
    /// What its signals come by.
    stream: SpawnHandle,
    /// The id that it subscribed with; none before Mesos gave one.
    framework_id: Option<String>,
    /// Whether the id is new, and perhaps not in the state yet.
    is_registering: bool,
    /// Since the subscription; none without one.
    reconciliation: Option<Round>,
}

/// Reconciliation since a subscription, or since the last time that all was asked for.
struct Round {
    run: Reconciliation,
    begun: Instant,
    /// Whether offers are used.
    is_open: bool,
}

/// A signal of the session of this number.
struct Heard(u64, Signal);

/// The framework id is in the state: go on.
#[derive(Message)]
#[rtype(result = "()")]
struct Registered(u64);

/// A call failed so that nobody knows whether it had an effect: ask for the state of all tasks soon.
#[derive(Message)]
#[rtype(result = "()")]
struct Uncertain;

impl MesosActor {
    /// For this term. New offers are told to `offers`.
    pub fn new(shared: Shared, mesos: Mesos, offers: Addr<OffersActor>) -> Self {
        let now = Instant::now();
        MesosActor {
            appetite: Appetite::new(mesos.settings().all_roles()),
            shared,
            mesos,
            offers,
            session: None,
            begin_at: now,
            doubts: Doubts::default(),
            channels: Channels::default(),
            looked_for_agents: now,
        }
    }

    /// Sends a call whose loss is repaired by what comes later.
    fn call(&self, call: Call) {
        let Some(session) = &self.session else { return };
        let scheduler = session.scheduler.clone();
        actix::spawn(async move {
            if let Err(error) = scheduler.call(call).await {
                debug!(%error, "a call to the master failed");
            }
        });
    }

    /// All attempts on agents of Mesos, with where they are.
    fn live(&self) -> Vec<(RunNo, NodeNo, String, Attempt)> {
        let state = self.shared.published.state();
        let mut live = Vec::new();
        for (run, node) in state.index.live.values().flatten() {
            let Some(record) = state.runs.get(run) else { continue };
            let attempt = record.nodes.get(node).and_then(|node| node.attempt.as_deref());
            let Some(attempt) = attempt.filter(|attempt| !attempt.executor.is_empty()) else { continue };
            let Some(id) = record.attempt_id(*node) else { continue };
            live.push((*run, *node, id.to_string(), attempt.clone()));
        }
        live
    }

    /// Asks for the state of all tasks that we take for alive, and then for those that Mesos takes for alive.
    fn reconcile(&mut self) {
        let tasks: Vec<_> = self
            .live()
            .into_iter()
            .filter(|(run, node, ..)| !self.mesos.is_under_way((*run, *node)))
            .map(|(_, _, id, attempt)| (TaskId::from(id), Some(AgentId::from(attempt.agent))))
            .collect();
        let Some(session) = &mut self.session else { return };
        let now = Instant::now();
        let (first, longest) = RECONCILE_WAITS;
        let is_open = session.reconciliation.as_ref().is_some_and(|round| round.is_open);
        info!(tasks = tasks.len(), "reconciling with Mesos");
        let run = Reconciliation::with_waits(now.into_std(), tasks, first, longest);
        session.reconciliation = Some(Round { run, begun: now, is_open });
        self.go_on_reconciling();
    }

    /// Sends what is due, and opens the desk when enough is known.
    fn go_on_reconciling(&mut self) {
        let live = self.doubts.waits_for_word();
        let Some(session) = &mut self.session else { return };
        let Some(round) = &mut session.reconciliation else { return };
        let now = Instant::now();
        let calls = round.run.due(now.into_std());
        let age = now.saturating_duration_since(round.begun);
        let opens = !round.is_open && (round.run.is_done() || age >= RECONCILE_PATIENCE);
        round.is_open |= opens;
        let again = if live { RECONCILE_PLACED } else { RECONCILE_AGAIN };
        let anew = round.is_open && age >= again;
        calls.into_iter().for_each(|call| self.call(call));
        if opens {
            // The other way round: tasks that Mesos knows and we do not are ended when their updates come.
            self.call(call::reconcile_all());
            self.use_offers();
        } else if anew {
            self.reconcile();
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.keep_session(ctx);
        self.go_on_reconciling();
        self.mesos.send_late();
        self.look_for_silence();
        self.give_back();
        self.forget_agents();
    }

    fn on_event(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::Offers(offers) => {
                let role = self.mesos.settings().role.clone();
                let unreadable = self.mesos.book(|book| book.add(offers, &role, Instant::now()));
                call::decline(unreadable, Duration::from_secs(3600))
                    .into_iter()
                    .for_each(|call| self.call(call));
                tell(&self.offers, offers::Look);
            }
            Event::Rescind(offer) => self.mesos.book(|book| book.rescind(&offer, Instant::now())),
            Event::Update(status) => self.on_update(status, ctx),
            Event::Message(message) => self.channels.heard(&self.shared, self.scheduler(), message),
            Event::InverseOffers(inverse) => {
                // What runs there goes on until it ends, or the agent does: then it is tried elsewhere. New work is kept
                // away by what the agent's offers say of its maintenance.
                let ids = inverse.into_iter().map(|offer| offer.id).collect();
                call::accept_inverse_offers(ids, None).into_iter().for_each(|call| self.call(call));
            }
            Event::Failure { agent_id, executor_id, status } => {
                let (agent, executor) = (agent_id.unwrap_or_default(), executor_id.unwrap_or_default());
                info!(%agent, %executor, status, "Mesos says that an executor ended, or an agent left");
            }
            Event::UpdateOperationStatus(status) => {
                call::acknowledge_operation(&status).into_iter().for_each(|call| self.call(call));
            }
            Event::Error(message) => warn!(message, "the master reports an error"),
            Event::Subscribed(_) | Event::RescindInverseOffer(_) | Event::Heartbeat | Event::Unknown(_) => {}
        }
    }

    fn scheduler(&self) -> Option<Scheduler> {
        self.session.as_ref().map(|session| session.scheduler.clone())
    }
}

impl Actor for MesosActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (orders, queue) = mpsc::unbounded_channel();
        self.mesos.begin(orders);
        ctx.add_stream(UnboundedReceiverStream::new(queue));
        ctx.run_interval(TICK, |actor, ctx| actor.tick(ctx));
        self.keep_session(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.mesos.end();
    }
}

impl StreamHandler<Order> for MesosActor {
    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Accept(accepting) => self.accept(*accepting, ctx),
            Order::Kill { attempt_id, agent, grace_ms } => self.kill(&attempt_id, &agent, grace_ms),
            Order::Look => self.give_back(),
            Order::Lost { attempt_id, fence, failure } => self.lose(attempt_id, fence, failure),
        }
    }

    // The desk lets go of its end when the next term begins; there is nothing to finish.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl StreamHandler<Heard> for MesosActor {
    fn handle(&mut self, Heard(number, signal): Heard, ctx: &mut Self::Context) {
        if self.session.as_ref().is_none_or(|session| session.number != number) {
            return;
        }
        match signal {
            Signal::Connected { master } => debug!(master, "connected"),
            Signal::Subscribed(subscribed) => self.on_subscribed(&subscribed, ctx),
            Signal::Event(event) => self.on_event(event, ctx),
            Signal::Disconnected { error, retry_in } => {
                info!(%error, ?retry_in, "no subscription with Mesos");
                self.on_disconnected(&error);
            }
            Signal::Ended(error) => self.on_ended(&error, ctx),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Uncertain> for MesosActor {
    type Result = ();
    fn handle(&mut self, _: Uncertain, _: &mut Self::Context) {
        if self.session.as_ref().is_some_and(|session| session.reconciliation.is_some()) {
            self.reconcile();
        }
    }
}

impl Handler<Stop> for MesosActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.drop_session(ctx);
        ctx.stop();
    }
}
