//! The end of a query that is not its own: cancelled, closed, and asked for once more. By handles that are on the disk before
//! the query is, so that another process can do it on another connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::connection::Connection;
use super::service::{Client, Error, Handle, Operation, State};
use super::spark::{self, Spark};
use super::{Told, Way};
use crate::drive::{Job, Verdict};
use crate::task::{dirs, spec};

/// How long a clean-up tries: well within what the supervisor gives it.
pub const CLEAN_UP_MAX: Duration = Duration::from_secs(20);
/// Longest time for one answer of a server that is asked to end something.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Longest time until the server of a query has let it in.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// Pause before a server that is away is asked again, or one that still ends a query.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What an attempt has at its server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    pub session: Handle,
    /// The statement that runs; none before the server has told it.
    pub operation: Option<Operation>,
    /// The very server that knows these: behind a name there may be several.
    #[serde(default)]
    pub peer: Option<SocketAddr>,
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

/// Connects for a query of one's own.
pub fn connect(way: &Way) -> Result<Client, Error> {
    open(way, None, way.call_timeout(), Instant::now() + CONNECT_MAX)
}

/// Connects with the password there is.
fn open(way: &Way, peer: Option<SocketAddr>, call_max: Duration, deadline: Instant) -> Result<Client, Error> {
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
    Ok(Client::new(Connection::open(way, &password, peer, deadline)?, &way.server, call_max))
}

/// Ends whatever the attempt has at its server, and makes sure.
pub async fn make_sure(job: &Job, told: &Told, patience: Duration) -> Result<(), Verdict> {
    let Some(held) = spec::read::<Held>(&file(job)) else { return Ok(()) };
    let deadline = Instant::now() + patience;
    loop {
        let finished = finish(&told.way, &held, deadline);
        let left = match &finished {
            Ok(true) => break,
            Ok(false) => "the server still runs it".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() + ASK_AGAIN >= deadline {
            if finished.is_ok() {
                // Its end may come with that of the session; nobody waits for it any more.
                let _ = close(&told.way, &held);
            }
            return Err(Verdict::platform("query_left", format!("the query at {}: {left}", told.way.server)));
        }
        sleep(ASK_AGAIN).await;
    }
    if !told.spark_ui.is_empty() {
        let (mut spark, tag) = (Spark::new(&told.spark_ui)?, spark::tag(job));
        // None is left, or nobody tells: then the server's word stands.
        while let Some(jobs) = spark.running(&tag).await.map(|jobs| jobs.len()).filter(|jobs| *jobs > 0) {
            if Instant::now() >= deadline {
                let message = format!("{jobs} jobs of the query still run, says {}", told.spark_ui);
                return Err(Verdict::platform("query_left", message));
            }
            sleep(ASK_AGAIN).await;
        }
    }
    Held::forget(job);
    Ok(())
}

/// Cancels, asks whether that was the end, and closes; whether nothing is left. By what it says of its handles alone a server
/// is believed that something has gone: whatever else it complains of may pass.
fn finish(way: &Way, held: &Held, deadline: Instant) -> Result<bool, Error> {
    let mut client = open(way, held.peer, CALL_MAX.min(way.call_timeout()), deadline)?;
    client.until(deadline);
    if let Some(operation) = &held.operation {
        // What cannot be cancelled may be over: the status tells.
        answered(client.cancel(operation))?;
        match client.status(operation) {
            // Closed it would be forgotten, and nobody could be asked for it any more.
            Ok(status) if status.state == State::Running => return Ok(false),
            Err(error) if !error.is_unknown_handle() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        // With the session it is closed as well.
        answered(client.close_operation(operation))?;
    }
    match client.close_session(&held.session) {
        Err(error) if !error.is_unknown_handle() => Err(error),
        Ok(()) | Err(_) => Ok(true),
    }
}

fn close(way: &Way, held: &Held) -> Result<(), Error> {
    let deadline = Instant::now() + CALL_MAX;
    let mut client = open(way, held.peer, CALL_MAX, deadline)?;
    client.until(deadline);
    client.close_session(&held.session)
}

/// A complaint is an answer too.
fn answered(said: Result<(), Error>) -> Result<(), Error> {
    match said {
        Err(Error::Server(_)) => Ok(()),
        said => said,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use serde_json::json;
    use thrift::protocol::{
        TBinaryInputProtocol, TBinaryOutputProtocol, TInputProtocol as _, TMessageIdentifier, TMessageType,
        TOutputProtocol as _,
    };

    use super::*;
    use crate::runners::hive::Auth;
    use crate::runners::hive::wire::{self, Value};

    /// Status codes of answers.
    const GOOD: i32 = 0;
    const BAD: i32 = 3;
    /// States of operations.
    const RUNS: i32 = 1;
    const CANCELLED: i32 = 3;

    fn answer(code: i32, message: &str, state: i32) -> Value {
        let status = Value::Struct(vec![(1, Value::I32(code)), (5, Value::text(message))]);
        Value::Struct(vec![(1, status), (2, Value::I32(state))])
    }

    /// A server that gives these answers to one client; in the end, what it was asked for.
    fn server(answers: Vec<Value>) -> (SocketAddr, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let stream = listener.accept().unwrap().0;
            let mut from = TBinaryInputProtocol::new(stream.try_clone().unwrap(), true);
            let mut to = TBinaryOutputProtocol::new(stream, true);
            let mut calls = Vec::new();
            for answer in answers {
                let Ok(asked) = from.read_message_begin() else { break };
                wire::read_struct(&mut from).unwrap();
                let reply = TMessageIdentifier::new(&*asked.name, TMessageType::Reply, asked.sequence_number);
                to.write_message_begin(&reply).unwrap();
                Value::Struct(vec![(0, answer)]).write(&mut to).unwrap();
                to.flush().unwrap();
                calls.push(asked.name);
            }
            calls
        };
        (address, std::thread::spawn(serve))
    }

    /// How the end goes at a server with these answers, and what it was asked for.
    fn ended(answers: Vec<Value>) -> (Result<bool, Error>, Vec<String>) {
        let (address, server) = server(answers);
        let way = Way {
            // Nobody: what is held tells where to go.
            server: "127.0.0.1:1".to_owned(),
            user: String::new(),
            auth: Auth::Nosasl,
            tls: false,
            ca_file: String::new(),
            password_file: String::new(),
            call_timeout_ms: 10_000,
        };
        let handle = json!({ "id": [1], "secret": [2] });
        let operation = json!({ "handle": handle, "kind": 0, "has_rows": false });
        let held = json!({ "session": handle, "operation": operation, "peer": address });
        let held: Held = serde_json::from_value(held).unwrap();
        let done = finish(&way, &held, Instant::now() + CALL_MAX);
        (done, server.join().unwrap())
    }

    #[test]
    fn the_end_is_asked_for_before_the_server_forgets() {
        let good = || answer(GOOD, "", CANCELLED);
        let (done, calls) = ended(vec![good(), good(), good(), good()]);
        assert_eq!(done, Ok(true));
        assert_eq!(calls, ["CancelOperation", "GetOperationStatus", "CloseOperation", "CloseSession"]);
        let (done, calls) = ended(vec![good(), answer(GOOD, "", RUNS)]);
        assert_eq!((done, calls.len()), (Ok(false), 2));
    }

    #[test]
    fn only_what_the_server_does_not_know_is_gone() {
        let (good, away) = (|| answer(GOOD, "", CANCELLED), || answer(BAD, "the metastore is down", 0));
        let gone = |what: &str| answer(BAD, &format!("Invalid {what}: x"), 0);
        let operation = || gone("OperationHandle");
        let (done, _) = ended(vec![operation(), operation(), operation(), gone("SessionHandle")]);
        assert_eq!(done, Ok(true));
        for answers in [vec![away(), away()], vec![good(), good(), away(), away()]] {
            let (done, _) = ended(answers);
            assert!(matches!(done, Err(Error::Server(_))), "{done:?}");
        }
    }
}
