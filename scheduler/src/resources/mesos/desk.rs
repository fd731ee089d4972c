//! What the shell shares of Mesos while this replica leads: the open offers, and the attempts that are committed to some
//! of them and not yet on their way. All tasks of a lot go out in one ACCEPT, since that uses its offers up.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meson_engine::State;
use meson_engine::command::{Command, Place};
use meson_engine::ids::{NodeNo, RunNo};
use meson_engine::record::{Agent, Amounts, Failure};
use meson_engine::status::FailureClass;
use meson_mesos::v1::ExecutorInfo;
use meson_proto::v1;
use meson_proto::v1::session_response::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Book, Lot, Offers, Settings, session_of, tasks};
use crate::placement;
use crate::resources::local::Sessions;
use crate::resources::{Placed, ResourceManager, amounts};

/// How long a lot waits for all its attempts to be rendered before it goes out with those that are.
const RENDER_PATIENCE: Duration = Duration::from_secs(2);

/// What the actor is to do for the other parts.
#[derive(Debug)]
pub enum Order {
    /// Launch these tasks with these offers; without tasks, give the offers back.
    Accept(Box<Accepting>),
    /// Ask for the end of an attempt.
    Kill {
        /// Which.
        attempt_id: String,
        /// Where.
        agent: String,
        /// From polite to forceful.
        grace_ms: u64,
    },
    /// Other roles than before are waited in.
    Look,
    /// An attempt cannot be launched.
    Lost {
        /// Which.
        attempt_id: String,
        /// Its fence.
        fence: u64,
        /// Why.
        failure: Failure,
    },
}

/// A lot on its way.
#[derive(Debug)]
pub struct Accepting {
    /// What it consists of.
    pub offers: Offers,
    /// The executor that the attempts were placed on.
    pub executor: ExecutorInfo,
    /// Attempts that are ready to go.
    pub tasks: Vec<Task>,
    /// Whose they are.
    pub lot: Lot,
    /// Steps that were placed on it and are not ready.
    expected: BTreeSet<StepOf>,
    since: Instant,
}

/// A step of a run.
pub type StepOf = (RunNo, NodeNo);

/// An attempt that is ready to go.
#[derive(Debug, Clone)]
pub struct Task {
    /// Of which step.
    pub step: StepOf,
    /// What its executor is told.
    pub launch: v1::Launch,
    /// What it takes.
    pub holds: Amounts,
}

/// How it goes with Mesos, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Our id.
    pub framework_id: String,
    /// Address of the leading master.
    pub master: String,
    /// Whether the master takes us for a scheduler of its own right now.
    pub is_subscribed: bool,
    /// What went wrong last, until it is well again.
    pub trouble: String,
    /// Tasks sent with ACCEPT in this term.
    pub launched: u64,
    /// Open offers.
    pub open: u64,
    /// Offers that were held in this term and are not any more.
    pub held_count: u64,
    /// Half of them were held for no longer.
    pub held_p50_ms: u64,
    /// All but a hundredth of them were held for no longer.
    pub held_p99_ms: u64,
}

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct Mesos {
    settings: Arc<Settings>,
    sessions: Sessions,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Default)]
struct Desk {
    /// The executor for new attempts, while offers may be used.
    executor: Option<ExecutorInfo>,
    book: Book,
    /// More than one of the same agent when it offers again before the steps placed on it are ready.
    accepting: Vec<Accepting>,
    /// Steps that were placed since the desk was set up, until Mesos has answered to their launch or never will. An attempt
    /// that is not among them may be with Mesos already: it is not for us to launch it, nor to say that it never was.
    under_way: HashMap<StepOf, Stage>,
    /// Roles that somebody waits in.
    wanted: BTreeSet<String>,
    orders: Option<mpsc::UnboundedSender<Order>>,
    status: Status,
}

/// How far the launch of a placed step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Placed,
    Ready,
}

impl Mesos {
    /// Closed until the actor opens it.
    pub fn new(settings: Settings, sessions: Sessions) -> Self {
        Mesos { settings: Arc::new(settings), sessions, desk: Arc::default() }
    }

    /// The settings.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A term begins. Nothing is known of offers.
    pub fn begin(&self, orders: mpsc::UnboundedSender<Order>) {
        *self.lock() = Desk { orders: Some(orders), ..Desk::default() };
    }

    /// The term is over.
    pub fn end(&self) {
        *self.lock() = Desk::default();
    }

    /// Offers may be used from now on: by this executor.
    pub fn open(&self, executor: ExecutorInfo) {
        self.lock().executor = Some(executor);
    }

    /// The subscription is over, and with it all offers. Attempts that were placed on them cannot go out.
    pub fn close(&self) {
        let mut desk = self.lock();
        desk.executor = None;
        desk.book.clear(Instant::now());
        let dropped = std::mem::take(&mut desk.accepting);
        for task in dropped.into_iter().flat_map(|lot| lot.tasks) {
            desk.under_way.remove(&task.step);
        }
    }

    /// Mesos has answered to the launch of these steps, or never will.
    pub fn answered(&self, steps: &[StepOf]) {
        let mut desk = self.lock();
        for step in steps {
            desk.under_way.remove(step);
        }
    }

    /// Whether the launch of a step is under way, so that Mesos may know of it or not.
    pub fn is_under_way(&self, step: StepOf) -> bool {
        self.lock().under_way.contains_key(&step)
    }

    /// The open offers, for the actor.
    pub fn book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.lock().book)
    }

    /// The agent as the state is to know it, if that is news.
    fn news_of(&self, state: &State, lot: &Lot, offers: &Offers) -> Option<Agent> {
        let known = state.agents.get(&lot.agent);
        let offered = tasks::amounts(&offers.resources, &lot.role).plus(state.held(&lot.agent));
        let agent = Agent {
            agent_id: lot.agent.clone(),
            total: most(known.map_or(Amounts::default(), |agent| agent.total), offered),
            attributes: offers.attributes(),
            kinds: self.settings.kinds.clone(),
            hostname: offers.hostname(),
            mesos: true,
            up: true,
            since_ms: known.map_or(0, |agent| agent.since_ms),
            draining: known.is_some_and(|agent| agent.draining),
            version: String::new(),
        };
        known.is_none_or(|known| **known != agent).then_some(agent)
    }

    /// Somebody waits in these roles, and in no others.
    pub fn want(&self, roles: BTreeSet<&str>) {
        let mut desk = self.lock();
        if desk.wanted.iter().map(String::as_str).eq(roles.iter().copied()) {
            return;
        }
        desk.wanted = roles.into_iter().map(str::to_owned).collect();
        desk.order(Order::Look);
    }

    /// The roles that somebody waits in.
    pub fn wanted(&self) -> BTreeSet<String> {
        self.lock().wanted.clone()
    }

    /// Notes something for people.
    pub fn note(&self, note: impl FnOnce(&mut Status)) {
        note(&mut self.lock().status);
    }

    /// What people see of it. Empty on a replica that does not lead.
    pub fn status(&self) -> Status {
        let desk = self.lock();
        let (held_count, held_p50_ms) = desk.book.held_ms(0.5);
        let (_, held_p99_ms) = desk.book.held_ms(0.99);
        Status { open: desk.book.len() as u64, held_count, held_p50_ms, held_p99_ms, ..desk.status.clone() }
    }

    /// Sends lots that have waited long enough for the last of their attempts.
    pub fn send_late(&self) {
        self.lock().send_those(|accepting| accepting.since.elapsed() >= RENDER_PATIENCE);
    }
}

impl ResourceManager for Mesos {
    /// Agents that nothing is offered of are there too, so that a step can say what it waits for.
    fn offers(&self, state: &State, now_ms: u64) -> Vec<placement::Offer> {
        let desk = self.lock();
        let Some(executor) = &desk.executor else { return Vec::new() };
        let mut offers = Vec::new();
        let mut seen = HashSet::new();
        for (lot, open) in desk.book.lots() {
            let known = state.agents.get(&lot.agent);
            let ahead_ms = self.settings.maintenance_ahead_ms;
            let leaves = open.maintenance_ms().is_some_and(|start| start <= now_ms.saturating_add(ahead_ms));
            if leaves || known.is_some_and(|agent| agent.draining) {
                continue;
            }
            seen.insert(lot.agent.clone());
            let offered = tasks::amounts(&open.resources, &lot.role);
            let own = own_needs(&self.settings, &open, executor);
            let total = known.map_or(Amounts::default(), |agent| agent.total);
            offers.push(placement::Offer {
                id: lot.id(),
                free: amounts(offered.minus(own)),
                total: amounts(most(total, offered.plus(state.held(&lot.agent)))),
                attributes: open.attributes(),
                kinds: self.settings.kinds.iter().cloned().collect(),
                agent: lot.agent,
                role: Some(lot.role),
            });
        }
        let others = state.agents.values().filter(|agent| agent.mesos && agent.up && !agent.draining);
        for agent in others.filter(|agent| !seen.contains(&agent.agent_id)) {
            offers.push(placement::Offer {
                id: agent.agent_id.clone(),
                agent: agent.agent_id.clone(),
                total: amounts(agent.total),
                attributes: agent.attributes.clone(),
                kinds: agent.kinds.iter().cloned().collect(),
                ..placement::Offer::default()
            });
        }
        offers
    }

    /// Sets the offers aside; what is new of the agents is committed with the placements.
    fn place(&self, state: &State, launches: Vec<placement::Launch>) -> Vec<Command> {
        let mut desk = self.lock();
        let Some(executor) = desk.executor.clone() else { return Vec::new() };
        let now = Instant::now();
        let lots: HashMap<String, Lot> = desk.book.lots().into_keys().map(|lot| (lot.id(), lot)).collect();
        let (mut agents, mut places) = (Vec::new(), Vec::new());
        let mut chosen: HashMap<Lot, BTreeSet<StepOf>> = HashMap::new();
        for launch in launches {
            let Some(lot) = lots.get(&launch.offer) else { continue };
            chosen.entry(lot.clone()).or_default().insert((launch.run, launch.node));
            desk.under_way.insert((launch.run, launch.node), Stage::Placed);
            let executor = executor.executor_id.value.clone();
            places.push(Place { run: launch.run, node: launch.node, agent: launch.agent, executor }.into());
        }
        for (lot, expected) in chosen {
            let offers = desk.book.take(&lot, now);
            agents.extend(self.news_of(state, &lot, &offers).map(Command::from));
            let (tasks, executor) = (Vec::new(), executor.clone());
            desk.accepting.push(Accepting { offers, lot, executor, tasks, expected, since: now });
        }
        agents.extend(places);
        agents
    }

    fn refused(&self, run: RunNo, node: NodeNo) {
        let mut desk = self.lock();
        desk.under_way.remove(&(run, node));
        desk.forget((run, node));
    }

    fn launch(&self, placed: Placed<'_>, launch: v1::Launch) {
        let step = (placed.run, placed.node);
        let mut desk = self.lock();
        // One that another leader placed, or this one before it lost its place, may be with Mesos: reconciliation tells.
        match desk.under_way.get_mut(&step) {
            Some(stage) if *stage == Stage::Placed => *stage = Stage::Ready,
            Some(_) | None => return,
        }
        let task = Task { step, launch, holds: placed.attempt.holds };
        let mut lots = desk.accepting.iter_mut();
        let Some(accepting) = lots.find_map(|lot| lot.expected.remove(&step).then_some(lot)) else {
            let message = "the offer was gone before the step could be sent there";
            let failure = Failure::new(FailureClass::Platform, "offer_gone", message);
            let (attempt_id, fence) = (task.launch.attempt_id, task.launch.fence);
            desk.under_way.remove(&step);
            return desk.order(Order::Lost { attempt_id, fence, failure });
        };
        accepting.tasks.push(task);
        desk.send_complete();
    }

    /// One that did not go out yet never will.
    fn kill(&self, placed: Placed<'_>, kill: v1::Kill) {
        let step = (placed.run, placed.node);
        // The session is the quicker way, and Mesos the one that always comes through.
        self.sessions.send(&session_of(placed.attempt), Message::Kill(kill.clone()));
        let mut desk = self.lock();
        let attempt_id = kill.attempt_id.clone();
        if desk.accepting.iter().any(|accepting| accepting.expected.contains(&step)) {
            desk.under_way.remove(&step);
            let failure =
                Failure::new(FailureClass::Platform, "not_launched", "it was to end before it began");
            desk.order(Order::Lost { attempt_id, fence: kill.fence, failure });
            return desk.forget(step);
        }
        let agent = placed.attempt.agent.clone();
        desk.order(Order::Kill { attempt_id, agent, grace_ms: kill.grace_ms });
    }

    fn ended(&self, placed: Placed<'_>, _: &str) {
        let step = (placed.run, placed.node);
        let mut desk = self.lock();
        desk.under_way.remove(&step);
        desk.forget(step);
    }
}

impl Desk {
    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // The actor may be stopping; then a new leader does what is to be done.
            let _ = orders.send(order);
        }
    }

    fn forget(&mut self, step: StepOf) {
        if self.accepting.iter_mut().any(|accepting| accepting.expected.remove(&step)) {
            self.send_complete();
        }
    }

    fn send_complete(&mut self) {
        self.send_those(|accepting| accepting.expected.is_empty());
    }

    fn send_those(&mut self, is_due: impl Fn(&Accepting) -> bool) {
        let due: Vec<_> = self.accepting.extract_if(.., |accepting| is_due(accepting)).collect();
        due.into_iter().for_each(|accepting| self.order(Order::Accept(Box::new(accepting))));
    }
}

/// What the executor itself still needs of a lot: nothing where it runs.
fn own_needs(settings: &Settings, offers: &Offers, executor: &ExecutorInfo) -> Amounts {
    if offers.has_executor(&executor.executor_id.value) {
        return Amounts::default();
    }
    tasks::own_needs(settings)
}

fn most(one: Amounts, other: Amounts) -> Amounts {
    Amounts {
        cpus_milli: one.cpus_milli.max(other.cpus_milli),
        mem_bytes: one.mem_bytes.max(other.mem_bytes),
        disk_bytes: one.disk_bytes.max(other.disk_bytes),
        gpus: one.gpus.max(other.gpus),
    }
}

#[cfg(test)]
mod tests {
    use meson_engine::record::Attempt;
    use meson_mesos::resources::parse;
    use meson_mesos::v1::Offer;

    use super::*;

    /// Places a step on the only offer.
    fn place(mesos: &Mesos, node: NodeNo) {
        mesos.book(|book| {
            let resources = parse("cpus:4;mem:4096;disk:4096").unwrap().to_contract();
            let id = format!("offer-{node}").as_str().into();
            let offer = Offer { id, agent_id: "a".into(), resources, ..Offer::default() };
            book.add(vec![offer], "*", Instant::now())
        });
        let offer = mesos.offers(&State::default(), 0).remove(0);
        let launch = placement::Launch { run: 1, node, offer: offer.id, agent: offer.agent };
        assert!(mesos.place(&State::default(), vec![launch]).len() > 1, "agent and placement");
    }

    fn launch(mesos: &Mesos, node: NodeNo) {
        let attempt = Attempt { term: 5, executor: "e".to_owned(), ..Attempt::default() };
        let launch = v1::Launch { term: 5, attempt_id: format!("1.{node}.1"), ..v1::Launch::default() };
        mesos.launch(Placed { run: 1, node, attempt: &attempt }, launch);
    }

    fn lead(mesos: &Mesos) -> mpsc::UnboundedReceiver<Order> {
        let (orders, queue) = mpsc::unbounded_channel();
        mesos.begin(orders);
        mesos.open(ExecutorInfo::default());
        queue
    }

    #[tokio::test]
    async fn an_agent_may_offer_again_before_what_was_placed_on_it_is_ready() {
        let mesos = Mesos::new(Settings::default(), Sessions::default());
        let mut orders = lead(&mesos);
        place(&mesos, 1);
        place(&mesos, 2);
        for node in [2, 1] {
            assert!(mesos.is_under_way((1, node)));
            launch(&mesos, node);
            launch(&mesos, node);
            let order = orders.try_recv().unwrap();
            assert!(matches!(order, Order::Accept(accepting) if accepting.tasks[0].step == (1, node)));
            mesos.answered(&[(1, node)]);
            assert!(!mesos.is_under_way((1, node)));
        }
        assert!(orders.try_recv().is_err(), "each went out once");
    }

    /// Found by chaos on Mesos: a leader that is paused steps down, and may lead again in the same term.
    #[tokio::test]
    async fn what_was_launched_before_is_neither_launched_nor_given_up_by_who_leads_again() {
        let mesos = Mesos::new(Settings::default(), Sessions::default());
        let mut orders = lead(&mesos);
        place(&mesos, 1);
        launch(&mesos, 1);
        assert!(orders.try_recv().is_ok());
        mesos.end();
        let mut orders = lead(&mesos);
        launch(&mesos, 1);
        assert!(orders.try_recv().is_err());
        assert!(!mesos.is_under_way((1, 1)), "so Mesos is asked about it");
    }
}
