//! Clients: they start runs under request ids of their own and ask again until they are answered, cancel some, and read.

use std::future::Future;
use std::time::Duration;

use meson_engine::command::{Cancel, Command, Register, Start};
use meson_engine::outcome::{Outcome, RefusalKind};
use meson_raft::sim::random_in;
use meson_scheduler::proposer::Error;
use meson_scheduler::shared::Shared;

use crate::definition::definition;
use crate::world::{Host, World};

/// Runs that one client starts.
const RUNS: u64 = 3;
/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client.
#[derive(Clone)]
pub struct Client {
    /// The world.
    pub world: World,
    /// Which one.
    pub host: Host,
}

impl Client {
    /// Registers the workflow.
    pub async fn register(&self) {
        self.until_answered(Register::new(&definition()).into()).await;
    }

    /// All that a client does, spread over a time.
    pub async fn work(self, over: Duration) {
        let pause_max = (over.as_millis() as u64 / RUNS / 4).max(1);
        for number in 0..RUNS {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(random_in(1..pause_max))).await;
                self.read().await;
            }
            tokio::time::sleep(Duration::from_millis(random_in(1..pause_max))).await;
            let run = self.start(number).await;
            if random_in(0..5) == 0 {
                tokio::time::sleep(Duration::from_millis(random_in(1..1_000))).await;
                self.cancel(&run).await;
            }
        }
        self.read().await;
    }

    /// Reads again and again, spread over a time.
    pub async fn watch(self, over: Duration) {
        let end = self.world.elapsed() + over;
        while self.world.elapsed() < end {
            tokio::time::sleep(Duration::from_millis(random_in(10..60))).await;
            self.read().await;
        }
    }

    async fn start(&self, number: u64) -> String {
        let request = format!("request-{}-{number}", self.host);
        let mut tries = 0;
        let command = || {
            tries += 1;
            // Each try asks for another run: only the request id says that it is the same.
            let run_id = format!("g1-{:020}{:06}", self.host * 100 + number, tries);
            Start {
                request_id: request.clone(),
                run_id,
                workflow: "simulated".into(),
                version: definition().content_hash().as_str().to_owned(),
                params: "{}".into(),
                digest: "the same".into(),
                ..Start::default()
            }
        };
        let run = self.retry(command).await;
        self.world.note(format!("{request} is answered: {run}"));
        self.world.history(|history| history.answered_start(&request, &run));
        run
    }

    /// Starts a run, and asks again until that is answered. Now and then it asks twice at once.
    async fn retry(&self, mut command: impl FnMut() -> Start) -> String {
        loop {
            let (first, second) = (command(), (random_in(0..4) == 0).then(&mut command));
            let asked = first.run_id.clone();
            let second = async {
                if let Some(second) = second {
                    drop(self.propose(second.into()).await);
                }
            };
            let (answer, ()) = tokio::join!(self.propose(first.into()), second);
            if let Some(outcome) = answer {
                // A planted bug answers without an outcome.
                return if outcome.run_id.is_empty() { asked } else { outcome.run_id };
            }
            tokio::time::sleep(Duration::from_millis(random_in(20..200))).await;
        }
    }

    async fn cancel(&self, run: &str) {
        self.until_answered(Cancel { run_id: run.to_owned(), reason: "simulated".into() }.into()).await;
        self.world.note(format!("the cancel of {run} is answered"));
        self.world.history(|history| history.answered_cancel(run));
    }

    async fn until_answered(&self, command: Command) {
        while self.propose(command.clone()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(random_in(20..200))).await;
        }
    }

    /// One try at some replica. A refusal is an answer as well.
    async fn propose(&self, command: Command) -> Option<Outcome> {
        let ask = |shared: Shared| async move {
            if !shared.is_leading() {
                return None;
            }
            match shared.proposer.propose(command).await {
                Ok(outcome) => Some(outcome),
                Err(Error::Refused(refusal)) if refusal.kind() == RefusalKind::StaleTerm => None,
                Err(Error::Refused(refusal)) => {
                    Some(Outcome { refusal: Some(refusal), ..Outcome::default() })
                }
                Err(_) => None,
            }
        };
        self.call(ask).await
    }

    /// A linearizable read of everything, at whatever replica believes that it leads.
    async fn read(&self) {
        let Some(known) = self.world.history(|history| Ok(history.known())) else { return };
        let world = self.world.clone();
        let ask = |shared: Shared| async move {
            if !shared.is_leading() || shared.replica.read_barrier().await.is_err() {
                return None;
            }
            let node = shared.config.node_id;
            let applied = world.history(|history| Ok(history.applied_by(node)))?;
            Some((shared.published.state(), applied))
        };
        if let Some((state, applied)) = self.call(ask).await {
            self.world.note(format!("client {} has read as of {applied}", self.host));
            self.world.history(|history| history.answered_read(&known, applied, &state));
        }
    }

    async fn call<A, F: Future<Output = Option<A>>>(&self, ask: impl FnOnce(Shared) -> F) -> Option<A> {
        let to = self.world.any_replica();
        let calling = async {
            if !self.world.carry(self.host, to).await {
                return std::future::pending().await;
            }
            let up = self.world.up(to)?;
            let answer = ask(up.shared).await;
            if self.world.is_up(to, up.incarnation) && self.world.carry(to, self.host).await {
                answer
            } else {
                std::future::pending().await
            }
        };
        tokio::time::timeout(PATIENCE, calling).await.ok().flatten()
    }
}
