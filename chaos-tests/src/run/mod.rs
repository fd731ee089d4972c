//! A whole test: machines are made, clients load them, faults strike by a schedule, all is healed, everything comes to
//! rest; then what was seen is gathered into a history, and the checker says what it thinks of it.

mod collect;
mod failover;
mod lanes;
mod ready;
mod report;

pub use report::Outcome;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::check::check;
use crate::cluster::binary_path;
use crate::history::{Fault, FinalState, History, read_marks};
use crate::load::{Board, Caller, Pace, drain, drive, workloads};
use crate::schedule::Schedule;
use crate::testbed::{Death, Machine, Options, Testbed};

/// How long all runs may take to end once all faults are healed.
const DRAIN: Duration = Duration::from_secs(180);

/// A client of its own number, for what the test itself asks at the end.
const LAST_CLIENT: u32 = 1_000;

/// What is to be run.
pub struct Plan {
    /// The machines, and where everything is written.
    pub options: Options,
    /// Which faults strike when; its seed is also the load's.
    pub schedule: Schedule,
    /// Clients on each machine for clients.
    pub clients_each: u32,
    /// How long steps work.
    pub pace: Pace,
}

/// What happened beside the history.
#[derive(Default)]
struct Happened {
    faults: Mutex<Vec<Fault>>,
    deaths: Mutex<Vec<Death>>,
}

impl Happened {
    fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    fn death(&self, death: Death) {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner).push(death);
    }
}

/// Runs a plan and judges it. All that was seen is in the plan's directory afterwards, also when this fails.
///
/// # Errors
/// When the machines cannot be made, the cluster does not come up, or does not come to rest at the end.
pub fn run(plan: Plan) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let dir = plan.options.dir.clone();
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("schedule.json"), serde_json::to_vec_pretty(&plan.schedule)?)?;
    let marks = dir.join("marks");
    std::fs::write(&marks, "")?;
    let board = Arc::new(Board::new(workloads(&step_program()?, &marks), plan.pace));
    let testbed = Arc::new(Testbed::start(plan.options.clone())?);
    let happened = Arc::new(Happened::default());

    let test = Test {
        testbed: testbed.clone(),
        board: board.clone(),
        happened: happened.clone(),
        schedule: plan.schedule.clone(),
        clients_each: plan.clients_each,
    };
    let end = testbed.host(Machine::Control).run(move || in_runtime(test.run()))?;

    let mut history = History {
        seed: plan.schedule.seed,
        workflows: board.workloads.iter().map(|of| (of.name.to_owned(), of.shape.clone())).collect(),
        operations: board.operations(),
        marks: read_marks(&marks)?,
        faults: happened.faults.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        agents: plan.options.size.executors().map(|of| (of.to_string(), plan.options.offer)).collect(),
        end: FinalState::default(),
    };
    match end {
        Ok(end) => history.end = end,
        Err(error) => {
            // Without its end it cannot be checked, but people can read it.
            history.save(&dir.join("history.jsonl"))?;
            return Err(error);
        }
    }
    history.save(&dir.join("history.jsonl"))?;
    let deaths = happened.deaths.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = check(&history);
    let outcome = Outcome {
        report,
        deaths,
        frames: testbed.network().counts(),
        schedule: plan.schedule,
        took: begun.elapsed(),
        history,
    };
    std::fs::write(dir.join("report.md"), outcome.markdown())?;
    Ok(outcome)
}

/// The program that all steps run: beside the binary that is running, or beside the tests of it.
fn step_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("chaos-step")).find(|path| path.exists());
    match found {
        Some(path) => Ok(path),
        None => binary_path("chaos-step"),
    }
}

fn in_runtime<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// What runs on the machine that no fault touches.
struct Test {
    testbed: Arc<Testbed>,
    board: Arc<Board>,
    happened: Arc<Happened>,
    schedule: Schedule,
    clients_each: u32,
}

impl Test {
    async fn run(self) -> anyhow::Result<FinalState> {
        let end = self.steps().await;
        // Clients end in any case, or their machines would not.
        self.board.end();
        end.with_context(|| self.log_tails())
    }

    async fn steps(&self) -> anyhow::Result<FinalState> {
        let revival = tokio::spawn(lanes::revive(self.testbed.clone(), self.happened.clone()));
        ready::until_ready(&self.testbed).await?;
        ready::register(&self.testbed, &self.board).await?;
        let clients = self.start_clients();

        let begun = Instant::now();
        let when_well = self.schedule.each_when_well;
        let lane = |planned| {
            tokio::spawn(lanes::play(self.testbed.clone(), self.happened.clone(), planned, begun, when_well))
        };
        let (replicas, others) = (lane(self.schedule.replicas.clone()), lane(self.schedule.others.clone()));
        let end = tokio::time::sleep_until((begun + Duration::from_millis(self.schedule.lasts_ms)).into());
        let (replicas, others, ()) = tokio::join!(replicas, others, end);
        replicas??;
        others??;

        self.board.end();
        for client in clients {
            tokio::task::spawn_blocking(move || {
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))
            })
            .await???;
        }
        let caller = Caller::new(LAST_CLIENT, self.testbed.endpoints(), self.board.clone());
        drain(caller, &self.board, DRAIN).await;
        let end = collect::final_state(&self.testbed).await;
        revival.abort();
        end
    }

    /// Clients call from machines of their own, each in a thread there.
    fn start_clients(&self) -> Vec<std::thread::JoinHandle<anyhow::Result<()>>> {
        let machines = self.testbed.options().size.clients();
        let (each, seed) = (self.clients_each, self.schedule.seed);
        let start = |(place, machine)| {
            let (testbed, board) = (self.testbed.clone(), self.board.clone());
            let numbers = (0..each).map(move |number| place as u32 * each + number);
            std::thread::spawn(move || {
                let endpoints = testbed.endpoints();
                let clients = async move {
                    let all = numbers.map(|number| {
                        let caller = Caller::new(number, endpoints.clone(), board.clone());
                        drive(caller, number, seed, &board)
                    });
                    futures::future::join_all(all).await;
                    Ok(())
                };
                testbed.host(machine).run(move || in_runtime(clients))?
            })
        };
        machines.enumerate().map(start).collect()
    }

    fn log_tails(&self) -> String {
        let size = self.testbed.options().size;
        let logs = size
            .replicas()
            .chain(size.executors())
            .chain(size.masters())
            .map(|machine| format!("{machine}.log"));
        logs.map(|log| format!("--- {log}\n{}", tail(&self.testbed.dir().join(&log)))).collect()
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].iter().map(|line| format!("{line}\n")).collect()
}
