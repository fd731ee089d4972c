//! The only way to write: commands, under the present leader's term and clock.

use bytes::Bytes;
use meson_engine::command::{Command, Envelope};
use meson_engine::outcome::{Outcome, Refusal};
use meson_raft::{Member, ProposeError, Replica};
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
        self.check(&command)?;
        let answer = self.replica.propose(self.envelope(command)).await?;
        into_result(&answer)
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
        let commands = commands.into_iter().map(|command| self.envelope(command)).collect();
        let answers = self.replica.propose_all(commands).await?;
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

fn into_result(answer: &Bytes) -> Result<Outcome, Error> {
    let outcome = Outcome::decode(answer.clone()).map_err(|_| Error::Unknown)?;
    match outcome.refusal {
        Some(refusal) => Err(Error::Refused(refusal)),
        None => Ok(outcome),
    }
}
