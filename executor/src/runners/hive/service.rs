//! The calls of HiveServer2 (TCLIService) that a query needs, field by field as its Thrift definition numbers them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thrift::ProtocolErrorKind;
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TInputProtocol as _, TMessageIdentifier, TMessageType,
    TOutputProtocol as _,
};

use super::connection::{Connection, MESSAGE_BYTES_MAX};
use super::rows::{Column, RowSet};
use super::wire::{self, Value};

/// The newest protocol that Hive 2.3 and all later servers know: since it, a status tells the progress.
const PROTOCOL: i32 = 9;
/// Rows in order, each once.
const FETCH_NEXT: i32 = 0;
/// What `FetchResults` gives.
const RESULTS: i16 = 0;
const LOGS: i16 = 1;

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Nobody is there, or nobody any more.
    #[error("{0}")]
    Away(String),
    /// The server does not believe who we are.
    #[error("the server refused to authenticate: {0}")]
    Refused(String),
    /// What the server says is not what it should.
    #[error("the server's answer makes no sense: {0}")]
    Strange(String),
    /// It is larger than any answer may be.
    #[error("an answer of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// What this executor is told of the server cannot be.
    #[error("{0}")]
    Settings(String),
    /// The server says no.
    #[error(transparent)]
    Server(#[from] Complaint),
}

impl Error {
    /// Whether the server says that it knows no such session or operation.
    pub fn is_unknown_handle(&self) -> bool {
        matches!(self, Error::Server(complaint) if complaint.is_unknown_handle)
    }
}

/// What a server says of a failure.
#[derive(Debug, Clone, Default, PartialEq, thiserror::Error)]
#[error("{message}{}{}", suffix(" (SQLSTATE ", .sql_state), suffix(" (error ", .code))]
pub struct Complaint {
    pub message: String,
    /// Empty when there is none.
    pub sql_state: String,
    /// The server's own number of it; empty when there is none.
    pub code: String,
    /// Whether it is that a handle is none of the server's.
    pub is_unknown_handle: bool,
}

fn suffix(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text})") }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Error::Away("no answer in time".to_owned()),
            _ => Error::Away(error.to_string()),
        }
    }
}

impl From<thrift::Error> for Error {
    fn from(error: thrift::Error) -> Self {
        match error {
            thrift::Error::Transport(error) => Error::Away(error.message),
            thrift::Error::Protocol(error) if error.kind == ProtocolErrorKind::SizeLimit => Error::TooLarge,
            other => Error::Strange(other.to_string()),
        }
    }
}

/// By which a server knows a session or an operation, on any connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    id: Vec<u8>,
    secret: Vec<u8>,
}

impl Handle {
    fn of(value: Option<&Value>) -> Result<Self, Error> {
        let part = |id| match value.and_then(|value| value.field(1)).and_then(|value| value.field(id)) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(Error::Strange("a handle without an id".to_owned())),
        };
        Ok(Handle { id: part(1)?, secret: part(2)? })
    }

    fn fields(&self) -> Vec<(i16, Value)> {
        let id = vec![(1, Value::Bytes(self.id.clone())), (2, Value::Bytes(self.secret.clone()))];
        vec![(1, Value::Struct(id))]
    }

    fn value(&self) -> Value {
        Value::Struct(self.fields())
    }
}

/// A statement that the server runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    handle: Handle,
    kind: i32,
    /// Whether rows can be fetched of it.
    pub has_rows: bool,
}

impl Operation {
    fn of(value: Option<&Value>) -> Result<Self, Error> {
        let kind = value.and_then(|value| value.integer(2)).unwrap_or_default();
        let has_rows = matches!(value.and_then(|value| value.field(3)), Some(Value::Bool(true)));
        let kind = i32::try_from(kind).map_err(|_| Error::Strange(format!("an operation of type {kind}")))?;
        Ok(Operation { handle: Handle::of(value)?, kind, has_rows })
    }

    fn value(&self) -> Value {
        let mut fields = self.handle.fields();
        fields.extend([(2, Value::I32(self.kind)), (3, Value::Bool(self.has_rows))]);
        Value::Struct(fields)
    }
}

/// Where an operation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting or running.
    Running,
    Finished,
    /// Somebody cancelled or closed it.
    Cancelled,
    Failed,
}

/// What the server says of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    pub state: State,
    /// Of a failure.
    pub complaint: Complaint,
    /// 0 to 1, where the engine tells.
    pub done: Option<f64>,
    /// Known for sure once it has finished.
    pub has_rows: Option<bool>,
}

/// A client of one server on one connection.
pub struct Client {
    connection: Connection,
    /// Its address, for messages.
    server: String,
    /// Longest time for one answer.
    wait: Duration,
    /// When all of it must have an end.
    deadline: Option<Instant>,
    sequence: i32,
}

impl Client {
    pub fn new(connection: Connection, server: &str, wait: Duration) -> Self {
        Client { connection, server: server.to_owned(), wait, deadline: None, sequence: 0 }
    }

    /// From now on nothing is waited for longer than until then.
    pub fn until(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }

    /// Where the server is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.connection.peer()
    }

    /// Size of the last answer.
    pub fn received(&self) -> usize {
        self.connection.received()
    }

    /// Opens a session with these properties.
    pub fn open_session(&mut self, user: &str, properties: &[(String, String)]) -> Result<Handle, Error> {
        let properties = properties.iter().map(|(name, value)| (Value::text(name), Value::text(value)));
        let request = Value::Struct(vec![
            (1, Value::I32(PROTOCOL)),
            (2, Value::text(user)),
            (4, Value::Map(properties.collect())),
        ]);
        Handle::of(self.call("OpenSession", request)?.field(3))
    }

    /// Begins a statement and does not wait for its end.
    pub fn execute(&mut self, session: &Handle, statement: &str) -> Result<Operation, Error> {
        let request = Value::Struct(vec![
            (1, session.value()),
            (2, Value::text(statement)),
            (3, Value::Map(Vec::new())),
            (4, Value::Bool(true)),
        ]);
        Operation::of(self.call("ExecuteStatement", request)?.field(2))
    }

    /// How a statement fares. The server answers when it has ended, or some seconds later.
    pub fn status(&mut self, operation: &Operation) -> Result<Status, Error> {
        let request = Value::Struct(vec![(1, operation.value()), (2, Value::Bool(true))]);
        let said = self.call("GetOperationStatus", request)?;
        let state = match said.integer(2) {
            Some(0 | 1 | 6 | 7) => State::Running,
            Some(2) => State::Finished,
            Some(3 | 4) => State::Cancelled,
            Some(5 | 8) => State::Failed,
            other => return Err(Error::Strange(format!("an operation in state {other:?}"))),
        };
        let code = said.integer(4).filter(|code| *code != 0);
        let complaint = Complaint {
            message: said.string(5).unwrap_or_default(),
            sql_state: said.string(3).unwrap_or_default(),
            code: code.map(|code| code.to_string()).unwrap_or_default(),
            ..Complaint::default()
        };
        let done = match said.field(10).and_then(|progress| progress.field(3)) {
            Some(Value::Double(done)) if done.is_finite() => Some(done.clamp(0.0, 1.0)),
            _ => None,
        };
        let has_rows = match said.field(9) {
            Some(Value::Bool(has_rows)) => Some(*has_rows),
            _ => None,
        };
        Ok(Status { state, complaint, done, has_rows })
    }

    /// The columns of its result.
    pub fn columns(&mut self, operation: &Operation) -> Result<Vec<Column>, Error> {
        let request = Value::Struct(vec![(1, operation.value())]);
        let said = self.call("GetResultSetMetadata", request)?;
        said.field(2).map_or(Ok(Vec::new()), Column::all)
    }

    /// The next rows of its result, none when there are no more.
    pub fn fetch(&mut self, operation: &Operation, rows_max: i64) -> Result<RowSet, Error> {
        self.fetch_of(operation, rows_max, RESULTS)
    }

    /// New lines of the server's log of it, one a row.
    pub fn fetch_log(&mut self, operation: &Operation, rows_max: i64) -> Result<RowSet, Error> {
        self.fetch_of(operation, rows_max, LOGS)
    }

    fn fetch_of(&mut self, operation: &Operation, rows_max: i64, what: i16) -> Result<RowSet, Error> {
        let request = Value::Struct(vec![
            (1, operation.value()),
            (2, Value::I32(FETCH_NEXT)),
            (3, Value::I64(rows_max)),
            (4, Value::I16(what)),
        ]);
        RowSet::of(self.call("FetchResults", request)?.into_field(3))
    }

    /// Ends a statement that runs.
    pub fn cancel(&mut self, operation: &Operation) -> Result<(), Error> {
        self.call("CancelOperation", Value::Struct(vec![(1, operation.value())])).map(drop)
    }

    /// Lets the server forget a statement and its result.
    pub fn close_operation(&mut self, operation: &Operation) -> Result<(), Error> {
        self.call("CloseOperation", Value::Struct(vec![(1, operation.value())])).map(drop)
    }

    /// Ends a session with all that runs in it.
    pub fn close_session(&mut self, session: &Handle) -> Result<(), Error> {
        self.call("CloseSession", Value::Struct(vec![(1, session.value())])).map(drop)
    }

    /// Calls, and gives the response if its status is a good one.
    fn call(&mut self, method: &str, request: Value) -> Result<Value, Error> {
        let response = self.exchange(method, request).map_err(|error| match error {
            Error::Away(why) => Error::Away(format!("{} no longer answers: {method}: {why}", self.server)),
            other => other,
        })?;
        let status = response.field(1);
        match status.and_then(|status| status.integer(1)) {
            Some(0..=2) => Ok(response),
            Some(_) => Err(Error::Server(complaint(status))),
            None => Err(Error::Strange(format!("{method} without a status"))),
        }
    }

    fn exchange(&mut self, method: &str, request: Value) -> Result<Value, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::new();
        let mut protocol = TBinaryOutputProtocol::new(&mut message, true);
        protocol.write_message_begin(&TMessageIdentifier::new(method, TMessageType::Call, self.sequence))?;
        Value::Struct(vec![(1, request)]).write(&mut protocol)?;
        protocol.write_message_end()?;
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.connection.send(&message, left.map_or(self.wait, |left| self.wait.min(left)))?;
        let answer = self.receive(method);
        if self.connection.is_too_large() { Err(Error::TooLarge) } else { answer }
    }

    fn receive(&mut self, method: &str) -> Result<Value, Error> {
        let limits = thrift::TConfiguration::builder().max_string_size(Some(MESSAGE_BYTES_MAX)).build()?;
        let mut protocol = TBinaryInputProtocol::with_config(&mut self.connection, true, limits);
        let begun = protocol.read_message_begin()?;
        if begun.message_type == TMessageType::Exception {
            let error = thrift::Error::read_application_error_from_in_protocol(&mut protocol)?;
            let message = format!("{method}: {}", error.message);
            return Err(Error::Server(Complaint { message, ..Complaint::default() }));
        }
        if begun.sequence_number != self.sequence || begun.message_type != TMessageType::Reply {
            return Err(Error::Strange(format!("an answer to something else than {method}")));
        }
        let result = wire::read_struct(&mut protocol)?;
        protocol.read_message_end()?;
        result.into_field(0).ok_or_else(|| Error::Strange(format!("{method} without a result")))
    }
}

/// How servers say that a session or an operation is none of theirs: Hive's own and Spark's, which has its code.
const UNKNOWN_HANDLE: [&str; 4] = [
    "Invalid SessionHandle",
    "Invalid OperationHandle",
    "Session does not exist",
    "Operation does not exist",
];

fn complaint(status: Option<&Value>) -> Complaint {
    let text = |id| status.and_then(|status| status.string(id)).unwrap_or_default();
    let code = status.and_then(|status| status.integer(4)).filter(|code| *code != 0);
    let is_invalid_handle = status.and_then(|status| status.integer(1)) == Some(4);
    let mut message = text(5);
    let is_unknown_handle = is_invalid_handle || UNKNOWN_HANDLE.iter().any(|words| message.contains(words));
    if message.is_empty() {
        message = if is_invalid_handle { "unknown handle" } else { "no reason given" }.to_owned();
    }
    let code = code.map(|code| code.to_string()).unwrap_or_default();
    Complaint { message, sql_state: text(3), code, is_unknown_handle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_knows_no_such_handle_says_that_it_is_gone() {
        let said = |code, message: &str| {
            let status = Value::Struct(vec![(1, Value::I32(code)), (5, Value::text(message))]);
            Error::from(complaint(Some(&status))).is_unknown_handle()
        };
        let spark =
            "Invalid OperationHandle: OperationHandle [opType=EXECUTE_STATEMENT, getHandleIdentifier()=1]";
        assert!(said(3, spark) && said(3, "Session does not exist!") && said(4, ""));
        assert!(!said(3, "") && !said(3, "the metastore is down"));
        assert!(!Error::Away("Invalid SessionHandle".to_owned()).is_unknown_handle());
    }
}
