//! The life of a query: a session, its statements one after the other, the rows of the last one. What is held at the server is
//! on the disk before the server is asked for more.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::end::{self, Held};
use super::service::{Client, Complaint, Error, Handle, Operation, State};
use super::sink::Sink;
use super::spark::{self, Place};
use super::{Results, Told, parameters, sql};
use crate::drive::{Job, Verdict, Voice};

/// Rows that are fetched first.
const ROWS_FIRST: i64 = 20;
/// Most rows fetched at once.
const ROWS_MAX: usize = 500;
/// What rows that are fetched at once should take together: a small part of the largest answer, as they may grow, and of the
/// memory of a small step.
const ROWS_BYTES: usize = 4 << 20;
/// Longest time for each answer of a server that is done with the query: nothing depends on it.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// Lines of the server's log fetched at once.
const LOG_LINES: i64 = 1_000;
/// Pause before a server is asked again that does not wait with its answer.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Longest part of a server's message that is kept.
const MESSAGE_BYTES_MAX: usize = 4_096;

/// Runs it to its end, or until it is not to go on.
pub fn run(
    job: &Job,
    told: &Told,
    is_stopped: &AtomicBool,
    place: &watch::Sender<Place>,
) -> Result<(), Verdict> {
    let statements = statements(job, told)?;
    let voice = Voice::open(&job.files().events()).map_err(driver)?;
    let mut client = end::connect(&told.way).map_err(not_begun)?;
    let session = client.open_session(&told.way.user, &properties(told)).map_err(not_begun)?;
    let held = Held { session: session.clone(), operation: None, peer: client.peer() };
    held.keep(job).map_err(driver)?;
    let mut query = Query { job, told, is_stopped, place, voice: &voice, client, has_log: true };
    let ended = query.run_all(&session, &statements);
    query.client.until(Instant::now() + FAREWELL_MAX);
    // With the session ends all that is in it. A connection that is lost leaves it to the clean-up.
    if query.client.close_session(&session).is_ok() {
        Held::forget(job);
    }
    ended
}

fn driver(error: std::io::Error) -> Verdict {
    Verdict::platform("driver", error)
}

/// What it means that there is no session.
fn not_begun(error: Error) -> Verdict {
    match error {
        Error::Server(complaint) => Verdict::user("session_refused", shortened(&complaint.to_string())),
        Error::Strange(_) | Error::TooLarge => {
            Verdict::rejected("bad_answer", format!("{error}; do `auth` and `tls` fit the server?"))
        }
        other => failed(other),
    }
}

/// What a failed call means for the attempt.
fn failed(error: Error) -> Verdict {
    match error {
        Error::Away(message) => Verdict::platform("server_away", message),
        Error::Refused(_) => Verdict::rejected("authentication", shortened(&error.to_string())),
        Error::Settings(message) => Verdict::rejected("bad_setting", message),
        Error::Strange(_) => Verdict::platform("bad_answer", error),
        Error::TooLarge => {
            let message =
                format!("{error}: the rows are too large; ask for smaller values, or write them to a table");
            Verdict::user("result_too_large", message)
        }
        Error::Server(complaint) => complained(&complaint),
    }
}

/// What Spark's server says of queries that end because it does.
const SHUT_DOWN: [&str; 2] = ["SparkContext was shut down", "stopped SparkContext"];

fn complained(complaint: &Complaint) -> Verdict {
    let message = shortened(&complaint.to_string());
    if SHUT_DOWN.iter().any(|words| complaint.message.contains(words)) {
        return Verdict::platform("server_away", message);
    }
    Verdict::user("query_failed", message)
}

/// What Spark's server puts before what matters.
const WRAPPING: &str = "org.apache.hive.service.cli.HiveSQLException: Error running query: ";

/// Without the stack of a server's own code, and not longer than people read.
fn shortened(message: &str) -> String {
    let is_stack =
        |line: &str| line.starts_with("at ") || line.starts_with("... ") || line == "Driver stacktrace:";
    let message = message.strip_prefix(WRAPPING).unwrap_or(message);
    let lines: Vec<&str> = message.lines().filter(|line| !is_stack(line.trim())).collect();
    let mut text = lines.join("\n").trim().to_owned();
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn statements(job: &Job, told: &Told) -> Result<Vec<String>, Verdict> {
    let query = match &told.config.script {
        Some(script) => read_script(job, script)?,
        None => told.config.query.clone().unwrap_or_default(),
    };
    let bound = parameters(&told.config).and_then(|parameters| sql::statements(&query, &parameters));
    bound.map_err(|rejected| Verdict::rejected("bad_query", rejected))
}

fn read_script(job: &Job, script: &str) -> Result<String, Verdict> {
    let mut text = String::new();
    let path = job.files().work().join(script);
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(sql::QUERY_BYTES_MAX as u64 + 1).read_to_string(&mut text))
        .map_err(|error| Verdict::user("no_script", format!("script {script}: {error}")))?;
    if read > sql::QUERY_BYTES_MAX {
        let message = format!("script {script} is longer than {} bytes", sql::QUERY_BYTES_MAX);
        return Err(Verdict::user("no_script", message));
    }
    Ok(text)
}

/// Properties of the session, as Hive's own clients name them.
fn properties(told: &Told) -> Vec<(String, String)> {
    let own = told.properties.iter().map(|(name, value)| (format!("set:hiveconf:{name}"), value.clone()));
    let database = Some(&told.database).filter(|name| !name.is_empty());
    own.chain(database.map(|name| ("use:database".to_owned(), name.clone()))).collect()
}

struct Query<'a> {
    job: &'a Job,
    told: &'a Told,
    is_stopped: &'a AtomicBool,
    place: &'a watch::Sender<Place>,
    voice: &'a Voice,
    client: Client,
    /// Whether the server gives a log.
    has_log: bool,
}

impl Query<'_> {
    fn run_all(&mut self, session: &Handle, statements: &[String]) -> Result<(), Verdict> {
        let count = u32::try_from(statements.len()).unwrap_or(u32::MAX);
        for (index, statement) in (0..).zip(statements) {
            let place = Place { index, count };
            self.place.send_replace(place);
            if self.is_stopped.load(Ordering::SeqCst) {
                return Err(Verdict::user("killed", "the query was cancelled"));
            }
            let tagged = match sql::may_follow_comment(statement) {
                true => format!("{}\n{statement}", spark::comment(&spark::tag(self.job), place)),
                false => statement.clone(),
            };
            let mut operation = self.client.execute(session, &tagged).map_err(failed)?;
            let peer = self.client.peer();
            let held = |operation| Held { session: session.clone(), operation, peer };
            held(Some(operation.clone())).keep(self.job).map_err(driver)?;
            self.wait(&mut operation, place)?;
            if index + 1 == count {
                // What is left to say to the server is not worth another run of what is done: the session's end follows, and
                // the clean-up where that fails.
                self.take_rows(&operation)?;
                break;
            }
            self.client.close_operation(&operation).map_err(failed)?;
            held(None).keep(self.job).map_err(driver)?;
        }
        self.voice.percent(100.0);
        Ok(())
    }

    /// Until the statement has ended.
    fn wait(&mut self, operation: &mut Operation, place: Place) -> Result<(), Verdict> {
        let percent = |done: f64| 100.0 * (f64::from(place.index) + done) / f64::from(place.count);
        let mut told = percent(0.0).floor();
        if told > 0.0 {
            self.voice.percent(told);
        }
        loop {
            self.copy_log(operation);
            let asked = Instant::now();
            let status = self.client.status(operation).map_err(failed)?;
            operation.has_rows = status.has_rows.unwrap_or(operation.has_rows);
            match status.state {
                State::Running => {}
                State::Finished => {
                    self.copy_log(operation);
                    return Ok(());
                }
                State::Cancelled => {
                    return Err(Verdict::user(
                        "query_cancelled",
                        "somebody cancelled the query at the server",
                    ));
                }
                State::Failed => {
                    self.copy_log(operation);
                    return Err(complained(&status.complaint));
                }
            }
            let percent = percent(status.done.unwrap_or_default()).floor();
            if percent > told {
                told = percent;
                self.voice.percent(percent);
            }
            std::thread::sleep(ASK_AGAIN.saturating_sub(asked.elapsed()));
        }
    }

    /// What the server has logged since, to the attempt's log. No query fails because of it: a server may keep none, and that a
    /// connection is lost shows at the next call that matters.
    fn copy_log(&mut self, operation: &Operation) {
        while self.has_log {
            let Ok(lines) = self.client.fetch_log(operation, LOG_LINES) else {
                self.has_log = false;
                return;
            };
            let mut out = std::io::stdout().lock();
            for line in lines.rows().filter_map(|row| row.first()?.as_str()) {
                // Nobody reads any more only when the attempt is over.
                let _ = writeln!(out, "{line}");
            }
            let _ = out.flush();
            if lines.len() == 0 {
                return;
            }
        }
    }

    fn take_rows(&mut self, operation: &Operation) -> Result<(), Verdict> {
        let wanted = self.told.config.results;
        if wanted == Some(Results::None) || wanted.is_none() && !operation.has_rows {
            return Ok(());
        }
        if !operation.has_rows {
            let message = "the last statement has no rows; write `results: none`";
            return Err(Verdict::user("no_rows", message));
        }
        let columns = self.client.columns(operation).map_err(failed)?;
        let mut sink = Sink::open(self.job, self.told, columns)?;
        let mut rows_max = ROWS_FIRST;
        loop {
            let rows = self.client.fetch(operation, rows_max).map_err(failed)?;
            if rows.len() == 0 {
                return sink.finish(self.voice);
            }
            rows_max = next_rows(rows.len(), self.client.received());
            sink.take(&rows)?;
        }
    }
}

/// How many rows are fetched next, after so many of so many bytes.
fn next_rows(rows: usize, bytes: usize) -> i64 {
    let fit = ROWS_BYTES.saturating_mul(rows) / bytes.max(1);
    i64::try_from(fit.clamp(1, ROWS_MAX)).unwrap_or(ROWS_FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_read_by_people() {
        let complaint = Complaint {
            message: format!(
                "{WRAPPING}no such table\n\tat org.apache.A.b(C.java:1)\n\t... 3 more\nCaused by: x"
            ),
            sql_state: "42P01".to_owned(),
            code: "10".to_owned(),
            ..Complaint::default()
        };
        let said = complained(&complaint);
        assert_eq!(said.message(), "no such table\nCaused by: x (SQLSTATE 42P01) (error 10)");
        assert!(shortened(&"é".repeat(MESSAGE_BYTES_MAX)).len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn large_rows_are_fetched_few_at_once() {
        assert_eq!(next_rows(20, 2_000), 500);
        assert_eq!(next_rows(20, 20 * 140_000), 29);
        assert_eq!(next_rows(1, 60 << 20), 1);
        assert_eq!(next_rows(usize::MAX, 0), 500);
    }

    #[test]
    fn failures_have_their_classes() {
        let class = |error: Error| failed(error).failure().reason;
        assert_eq!(class(Error::Away(String::new())), "server_away");
        assert_eq!(class(Error::Refused(String::new())), "authentication");
        let shut = Complaint {
            message: "Job 1 cancelled because SparkContext was shut down".into(),
            ..Complaint::default()
        };
        assert_eq!(class(Error::Server(shut)), "server_away");
        assert_eq!(class(Error::Server(Complaint::default())), "query_failed");
        assert_eq!(class(Error::TooLarge), "result_too_large");
        assert_eq!(not_begun(Error::TooLarge).failure().reason, "bad_answer");
    }
}
