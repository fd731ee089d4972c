//! What came of a test, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::check::Report;
use crate::history::{Answer, History, MarkKind, Micros, Request};
use crate::network::Counts;
use crate::schedule::Schedule;
use crate::testbed::Death;

/// For how long after it has room again a process may still end because it had none.
const DISK_FULL_ECHO: Micros = 10_000_000;

/// All that is known of a test.
pub struct Outcome {
    /// What was seen.
    pub history: History,
    /// What the checker says of it.
    pub report: Report,
    /// Processes that ended although nobody had ordered it.
    pub deaths: Vec<Death>,
    /// What the switch did.
    pub frames: Counts,
    /// What was to strike.
    pub schedule: Schedule,
    /// How long the test took.
    pub took: Duration,
}

impl Outcome {
    /// Whether every promise was kept, and no process ended that had no reason to.
    pub fn holds(&self) -> bool {
        self.report.holds() && self.unexplained_deaths().next().is_none()
    }

    /// Processes that ended by themselves although their disk was not full.
    pub fn unexplained_deaths(&self) -> impl Iterator<Item = &Death> {
        self.deaths.iter().filter(|death| {
            !self.history.faults.iter().any(|fault| {
                fault.what.starts_with("disk full")
                    && fault.touches.contains(&death.machine.to_string())
                    && (fault.from..fault.until + DISK_FULL_ECHO).contains(&death.at)
            })
        })
    }

    /// The whole report.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        table(&mut out, "Faults", &["fault", "times"], &self.faults());
        table(&mut out, "Requests", &["request", "answer", "times"], &self.requests());
        table(&mut out, "Attempts", &["mark", "times"], &self.marks());
        self.ends(&mut out);
        out += &self.report.markdown();
        out
    }

    fn head(&self, out: &mut String) {
        let frames = self.frames;
        let rows = [
            ("seed", self.history.seed.to_string()),
            ("faults strike for", format!("{} s", self.schedule.lasts_ms / 1_000)),
            ("whole test", format!("{} s", self.took.as_secs())),
            (
                "machines",
                format!(
                    "{} replicas, {} agents",
                    self.history.end.fingerprints.len(),
                    self.history.agents.len()
                ),
            ),
            ("runs", self.history.end.runs.len().to_string()),
            (
                "frames",
                format!(
                    "{} passed on at once, {} delayed, {} swallowed by cuts, {} lost",
                    frames.passed, frames.delayed, frames.cut, frames.lost
                ),
            ),
        ];
        *out += "# Chaos\n\n| | |\n|---|---|\n";
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "| {name} | {value} |");
        }
    }

    fn faults(&self) -> BTreeMap<Vec<String>, u64> {
        let kind = |what: &str| what.split(": ").next().unwrap_or(what).to_owned();
        counted(self.history.faults.iter().map(|fault| {
            let struck = if fault.leader { " (it led)" } else { "" };
            vec![format!("{}{struck}", kind(&fault.what))]
        }))
    }

    fn requests(&self) -> BTreeMap<Vec<String>, u64> {
        counted(self.history.operations.iter().map(|operation| {
            let request = match &operation.request {
                Request::Submit { .. } => "start",
                Request::Get { stale: false, .. } => "get",
                Request::Get { stale: true, .. } => "get, stale allowed",
                Request::Cancel { .. } => "cancel",
                Request::Signal { .. } => "signal",
            };
            let answer = match &operation.answer {
                Answer::Started { .. } | Answer::Seen(_) | Answer::Accepted => "OK".to_owned(),
                Answer::Refused { code, .. } => format!("refused: {code}"),
                Answer::Unknown { code } => format!("unknown: {code}"),
            };
            vec![request.to_owned(), answer]
        }))
    }

    fn marks(&self) -> BTreeMap<Vec<String>, u64> {
        counted(self.history.marks.iter().map(|mark| {
            let kind = match mark.kind {
                MarkKind::Start => "start",
                MarkKind::Beat => "beat",
                MarkKind::Success => "success",
                MarkKind::Failure => "failure",
            };
            vec![kind.to_owned()]
        }))
    }

    fn ends(&self, out: &mut String) {
        if self.deaths.is_empty() {
            return;
        }
        *out += "\n## Processes that ended by themselves\n\n";
        for death in &self.deaths {
            let unexplained = self.unexplained_deaths().any(|other| other == death);
            let why = if unexplained { "**without a reason that is known**" } else { "its disk was full" };
            let _ = writeln!(out, "- {} at {} µs: {}, {why}", death.machine, death.at, death.status);
        }
    }
}

fn counted(keys: impl Iterator<Item = Vec<String>>) -> BTreeMap<Vec<String>, u64> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn table(out: &mut String, title: &str, heads: &[&str], rows: &BTreeMap<Vec<String>, u64>) {
    let _ = write!(out, "\n## {title}\n\n| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for (cells, count) in rows {
        let _ = writeln!(out, "| {} | {count} |", cells.join(" | "));
    }
    *out += "\n";
}
