//! The only way to write: commands, under the present leader's term and clock.

use std::path::PathBuf;

use bytes::Bytes;
use meson_engine::command::{Command, Envelope};
use meson_engine::outcome::{Outcome, Refusal};
use meson_raft::{Member, ProposeError, Replica, sabotage};
use prost::Message as _;

use crate::clock::Clock;
use crate::machine::Published;

/// Proposes commands through this replica, which must lead. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    replica: Replica,
    published: Published,
    clock: Clock,
}

/// Why a command did not get through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another replica leads, or none.
    #[error("this replica does not lead")]
    NotLeader(Option<Member>),
    /// Too much waits already; try again.
    #[error("too many proposals are waiting; try again")]
    Busy,
    /// The leader's disk is nearly full; try again once there is room.
    #[error("the leader's disk is nearly full: {free} bytes are free and {needed} are needed in {}", .path.display())]
    DiskFull {
        /// A directory on that disk.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that have to be free.
        needed: u64,
    },
    /// The command is larger than a log entry may be.
    #[error("the command of {size} bytes is larger than the {max} that an entry may have")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The bound.
        max: usize,
    },
    /// No answer in time: it may or may not take effect. Try again with the same request id.
    #[error("no majority of replicas confirmed it in time; it may or may not take effect")]
    Unknown,
    /// Not all replicas are known to understand it.
    #[error(
        "this needs format {needed}, and the replicas have agreed on {reached}: an upgrade is under way, or `format_max` \
         holds it back; see `mesonctl cluster status`"
    )]
    Format {
        /// The format that the command came with.
        needed: u32,
        /// The state's.
        reached: u32,
    },
    /// The replica is shutting down.
    #[error("the replica is shutting down")]
    Stopped,
    /// The state refused it.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => Error::NotLeader(leader),
            ProposeError::QueueFull => Error::Busy,
            ProposeError::DiskFull { path, free, needed } => Error::DiskFull { path, free, needed },
            ProposeError::TooLarge { size, max } => Error::TooLarge { size, max },
            ProposeError::Unknown => Error::Unknown,
            ProposeError::Stopped => Error::Stopped,
        }
    }
}

impl Proposer {
    /// Writes through this replica.
    pub fn new(replica: Replica, published: Published, clock: Clock) -> Self {
        Proposer { replica, published, clock }
    }

    /// Unix time in milliseconds, by the clock that stamps commands.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Proposes a command and waits for its outcome.
    ///
    /// # Errors
    /// See [`Error`]; a refusal is one of them.
    pub async fn propose(&self, command: impl Into<Command>) -> Result<Outcome, Error> {
        let command = command.into();
        if let Command::Cancel(cancel) = &command
            && sabotage::without("commit-before-ack")
        {
            let (proposer, run_id) = (self.clone(), cancel.run_id.clone());
            tokio::spawn(async move { proposer.propose_all([command]).await });
            return Ok(Outcome::run(&run_id, true));
        }
        let mut results = self.propose_all([command]).await?;
        results.pop().unwrap_or(Err(Error::Unknown))
    }

    /// Proposes several commands that stand next to each other in one entry. Refusals are among the results.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn propose_all(
        &self,
        commands: impl IntoIterator<Item = Command>,
    ) -> Result<Vec<Result<Outcome, Error>>, Error> {
        let commands: Vec<Command> = commands.into_iter().collect();
        commands.iter().try_for_each(|command| self.check(command))?;
        let urgent = commands.iter().all(is_urgent);
        let commands = commands.into_iter().map(|command| self.envelope(command)).collect();
        let answers = match urgent {
            true => self.replica.propose_urgent(commands).await?,
            false => self.replica.propose_all(commands).await?,
        };
        Ok(answers.iter().map(into_result).collect())
    }

    /// A replica that does not know a command would have to stop on meeting it in the log.
    fn check(&self, command: &Command) -> Result<(), Error> {
        let (needed, reached) = (command.format(), self.published.state().format());
        let raises = matches!(command, Command::Raise(_));
        if needed <= reached || raises { Ok(()) } else { Err(Error::Format { needed, reached }) }
    }

    fn envelope(&self, command: Command) -> Bytes {
        // The term is read when the command is made: if leadership is lost before it is applied, the new leader's term
        // stands in the state and this command is refused there.
        let term = self.replica.role().borrow().term;
        Envelope { term, now_ms: self.clock.now_ms(), command: Some(command) }.to_bytes()
    }
}

/// Whether a command is taken even on a disk that is nearly full: what goes on with work that was accepted, or ends it.
fn is_urgent(command: &Command) -> bool {
    match command {
        Command::Register(_)
        | Command::Start(_)
        | Command::Resume(_)
        | Command::Restart(_)
        | Command::Signal(_) => false,
        Command::Lead(_)
        | Command::Evaluated(_)
        | Command::Continue(_)
        | Command::Place(_)
        | Command::Report(_)
        | Command::Fire(_)
        | Command::Cancel(_)
        | Command::Pause(_)
        | Command::AgentUp(_)
        | Command::AgentLost(_)
        | Command::AttemptLost(_)
        | Command::Raise(_)
        | Command::Drain(_)
        | Command::Framework(_) => true,
    }
}

fn into_result(answer: &Bytes) -> Result<Outcome, Error> {
    let outcome = Outcome::decode(answer.clone()).map_err(|_| Error::Unknown)?;
    match outcome.refusal {
        Some(refusal) => Err(Error::Refused(refusal)),
        None => Ok(outcome),
    }
}
