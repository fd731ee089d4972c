//! The end of a query that is not its own: cancelled, closed, and asked for once more. By handles that are on the disk before
//! the query is, so that another process can do it on another connection.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::connection::Connection;
use super::service::{Client, Error, Handle, Operation, State};
use super::{Told, Way, spark};
use crate::drive::{Job, Verdict};
use crate::task::{dirs, spec};

/// How long a clean-up tries: well within what the supervisor gives it.
pub const CLEAN_UP_MAX: Duration = Duration::from_secs(20);
/// Longest time for one answer of a server that is asked to end something.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Pause before a server that is away is asked again, or one that still ends a query.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What an attempt has at its server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    pub session: Handle,
    /// The statement that runs; none before the server has told it.
    pub operation: Option<Operation>,
}

impl Held {
    /// Writes it down.
    pub fn keep(&self, job: &Job) -> std::io::Result<()> {
        dirs::write_whole(&file(job), &spec::encode(self))
    }

    /// There is nothing any more.
    pub fn forget(job: &Job) {
        // If it stays, the clean-up asks for what is not there.
        let _ = std::fs::remove_file(file(job));
    }
}

fn file(job: &Job) -> PathBuf {
    job.files().root().join("hive.json")
}

/// Connects with the password there is.
pub fn connect(way: &Way, call_max: Duration) -> Result<Client, Error> {
    let password = match way.password_file.as_str() {
        // What Hive's own clients send where none is asked for: an empty one is refused before it is checked.
        "" => "anonymous".to_owned(),
        path => {
            let read = std::fs::read_to_string(path);
            let text =
                read.map_err(|error| Error::Settings(format!("hive_password_file {path}: {error}")))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    Ok(Client::new(Connection::open(way, &password)?, &way.server, call_max))
}

/// Ends whatever the attempt has at its server, and makes sure.
pub async fn make_sure(job: &Job, told: &Told, patience: Duration) -> Result<(), Verdict> {
    let Some(held) = spec::read::<Held>(&file(job)) else { return Ok(()) };
    let deadline = Instant::now() + patience;
    loop {
        let left = match finish(&told.way, &held) {
            Ok(true) => break,
            Ok(false) => "the server still runs it".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(Verdict::platform("query_left", format!("the query at {}: {left}", told.way.server)));
        }
        sleep(ASK_AGAIN).await;
    }
    while !told.spark_ui.is_empty() {
        match spark::running(&told.spark_ui, &spark::tag(job)).await {
            Some(jobs) if jobs > 0 => {
                if Instant::now() >= deadline {
                    let message = format!("{jobs} jobs of the query still run, says {}", told.spark_ui);
                    return Err(Verdict::platform("query_left", message));
                }
                sleep(ASK_AGAIN).await;
            }
            // None is left, or nobody tells: then the server's word stands.
            _ => break,
        }
    }
    Held::forget(job);
    Ok(())
}

/// Cancels and closes; whether nothing is left.
fn finish(way: &Way, held: &Held) -> Result<bool, Error> {
    let mut client = connect(way, CALL_MAX.min(way.call_timeout()))?;
    if let Some(operation) = &held.operation {
        // What is not there any more cannot be cancelled: the status below tells.
        heard(client.cancel(operation))?;
        heard(client.close_operation(operation))?;
    }
    heard(client.close_session(&held.session))?;
    let Some(operation) = &held.operation else { return Ok(true) };
    match client.status(operation) {
        Ok(status) => Ok(status.state != State::Running),
        // The server knows no such operation.
        Err(Error::Server(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A complaint is an answer too.
fn heard(said: Result<(), Error>) -> Result<(), Error> {
    match said {
        Err(Error::Server(_)) => Ok(()),
        said => said,
    }
}
