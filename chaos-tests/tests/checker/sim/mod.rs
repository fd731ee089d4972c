//! A small simulated system that keeps all promises, and writes the history of it: clients, a trio of which one leads,
//! executors with leases, and the faults that befall them. It shares nothing with the checker but the history.

mod clients;
mod faults;
mod graph;
mod random;
mod work;
pub mod workflows;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use meson_chaos_tests::history::{
    Amounts, FinalNode, FinalRun, History, Micros, Operation, Request, RunState, RunView,
};

pub use graph::Node;
pub use random::Random;
use workflows::Workflow;

/// When the story begins: the clock of a machine that has run for a while.
const BEGIN: Micros = 1_000_000_000;
pub const MILLI: Micros = 1_000;
/// How long an executor may run attempts without a leader, and what the scheduler waits beyond it.
const LEASE: Micros = 3_000 * MILLI;
const LEASE_MARGIN: Micros = 500 * MILLI;

/// What each agent offers.
const AGENT_CPU_MILLIS: u64 = 4_000;

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Clients, one operation each at a time.
    pub clients: u32,
    /// Operations of each.
    pub operations: u32,
    /// Executors.
    pub executors: usize,
    /// Faults, one after the other.
    pub faults: u32,
    /// Between two beats of an attempt.
    pub beat: Micros,
}

impl Default for Size {
    fn default() -> Self {
        Size { clients: 4, operations: 40, executors: 2, faults: 8, beat: 40 * MILLI }
    }
}

/// A history in which every promise is kept.
pub fn history(seed: u64, size: Size) -> History {
    let mut world = World::new(seed, size);
    while let Some(Reverse((at, _, event))) = world.queue.pop() {
        world.now = at;
        world.happen(event);
    }
    world.finish()
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client sends its next operation.
    Client(u32),
    /// An operation reaches the cluster; the answer reaches the client if it still waits.
    Arrive {
        operation: usize,
        late: bool,
    },
    /// An attempt's process begins.
    Launch(usize),
    /// An attempt's process ends by itself.
    End(usize),
    /// An executor reports the end of an attempt.
    Report(usize),
    /// A pause before a retry is over.
    Retry {
        run: usize,
        node: usize,
    },
    /// The next fault.
    Fault,
    ReplicaUp(usize),
    Elect,
    ExecutorUp(usize),
    LeaseEnd {
        executor: usize,
        since: Micros,
    },
    AgentLost {
        executor: usize,
        since: Micros,
    },
}

/// An operation under way.
struct Sent {
    client: u32,
    called: Micros,
    request: Request,
    /// When the client gives up.
    deadline: Micros,
}

/// A run in the replicated state.
struct Run {
    id: String,
    request_id: String,
    workflow: usize,
    status: RunState,
    failing: bool,
    cancelling: bool,
    nodes: Vec<Node>,
    places: BTreeMap<String, usize>,
    /// Signals that no node has taken.
    waiting_signals: Vec<(String, String)>,
    signals: Vec<String>,
    signal_ids: Vec<String>,
    /// All that could ever be seen of it, for reads from the past.
    views: Vec<(Micros, RunView)>,
    /// Whether some client knows of it.
    known: bool,
}

/// A process of a step.
struct Attempt {
    run: usize,
    node: usize,
    number: u32,
    fence: u64,
    executor: usize,
    process: u32,
    amounts: Amounts,
    started: Option<Micros>,
    succeeds: bool,
    /// Whether the process has ended, and whether the state knows of the attempt's end.
    ended: bool,
    over: bool,
}

struct Executor {
    down: bool,
    /// What its living attempts hold.
    cpu_millis: u64,
    /// When it last lost its leader; none while it has one.
    silent_since: Option<Micros>,
}

struct World {
    random: Random,
    size: Size,
    now: Micros,
    queue: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    events: u64,
    workflows: Vec<Workflow>,
    replicas_down: [bool; 3],
    leader: Option<usize>,
    executors: Vec<Executor>,
    runs: Vec<Run>,
    requests: BTreeMap<String, usize>,
    /// Runs that some client knows of.
    known: Vec<usize>,
    attempts: Vec<Attempt>,
    /// Attempts that are not over.
    live: BTreeSet<usize>,
    /// Ready steps, first come first served: run and node.
    ready: VecDeque<(usize, usize)>,
    sent: Vec<Sent>,
    left: Vec<u32>,
    faults_left: u32,
    history: History,
}

impl World {
    fn new(seed: u64, size: Size) -> Self {
        let workflows = workflows::all();
        let mut history = History { seed, ..History::default() };
        for workflow in &workflows {
            history.workflows.insert(workflow.name.into(), workflow.shape());
        }
        for executor in 0..size.executors {
            let offered = Amounts { cpu_millis: AGENT_CPU_MILLIS, mem_bytes: 8 << 30 };
            history.agents.insert(executor_name(executor), offered);
        }
        let executors = (0..size.executors)
            .map(|_| Executor { down: false, cpu_millis: 0, silent_since: None })
            .collect();
        let mut world = World {
            random: Random::new(seed),
            size,
            now: BEGIN,
            queue: BinaryHeap::new(),
            events: 0,
            workflows,
            replicas_down: [false; 3],
            leader: Some(0),
            executors,
            runs: Vec::new(),
            requests: BTreeMap::new(),
            known: Vec::new(),
            attempts: Vec::new(),
            live: BTreeSet::new(),
            ready: VecDeque::new(),
            sent: Vec::new(),
            left: vec![size.operations; size.clients as usize],
            faults_left: size.faults,
            history,
        };
        for client in 0..size.clients {
            world.after(MILLI, Event::Client(client));
        }
        world.after(300 * MILLI, Event::Fault);
        world
    }

    fn after(&mut self, pause: Micros, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((self.now + pause, self.events, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Client(client) => self.send_next(client),
            Event::Arrive { operation, late } => self.arrive(operation, late),
            Event::Launch(attempt) => self.launch(attempt),
            Event::End(attempt) => self.end(attempt),
            Event::Report(attempt) => self.report(attempt),
            Event::Retry { run, node } => self.retry(run, node),
            Event::Fault => self.next_fault(),
            Event::ReplicaUp(replica) => self.replica_up(replica),
            Event::Elect => self.elect(),
            Event::ExecutorUp(executor) => self.executor_up(executor),
            Event::LeaseEnd { executor, since } => self.lease_end(executor, since),
            Event::AgentLost { executor, since } => self.agent_lost(executor, since),
        }
    }

    /// Notes how a run can be seen from now on.
    fn note_view(&mut self, run: usize) {
        let view = self.runs[run].view();
        self.runs[run].views.push((self.now, view));
    }

    fn finish(mut self) -> History {
        self.history.marks.sort_by_key(|mark| mark.at);
        self.history.end.at = self.now + 1_000 * MILLI;
        for replica in 0..3 {
            self.history.end.fingerprints.insert(replica_name(replica), format!("{:016x}", self.fence()));
        }
        self.history.end.runs =
            self.runs.iter().map(|run| run.finish(&self.workflows[run.workflow])).collect();
        self.history
    }

    fn fence(&self) -> u64 {
        self.attempts.len() as u64
    }

    fn answer(&mut self, operation: Operation) {
        self.history.operations.push(operation);
    }
}

impl Run {
    fn view(&self) -> RunView {
        let succeeded = self.nodes.iter().filter(|node| node.status == "SUCCEEDED").count() as u64;
        let active = self.status == RunState::Active;
        let cancelling = active && (self.cancelling || self.failing);
        RunView { status: self.status, cancelling, succeeded, stale: false }
    }

    fn finish(&self, workflow: &Workflow) -> FinalRun {
        let node = |node: &Node| FinalNode {
            path: node.path.clone(),
            is_step: node.is_step,
            status: node.status.into(),
            attempts: node.attempts,
        };
        FinalRun {
            run_id: self.id.clone(),
            request_id: self.request_id.clone(),
            workflow: workflow.name.into(),
            status: self.status,
            signals: self.signals.clone(),
            nodes: self.nodes.iter().map(node).collect(),
        }
    }
}

pub fn replica_name(replica: usize) -> String {
    format!("replica-{}", replica + 1)
}

pub fn executor_name(executor: usize) -> String {
    format!("executor-{}", executor + 1)
}
