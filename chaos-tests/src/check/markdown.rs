//! A report for people: a table of all promises, one for each, and the times of failovers.

use std::fmt::Write as _;

use super::report::{Failover, Report, Verdict, time};
use crate::history::Micros;

/// Violations that are written out for one promise; a file of the report has all.
const WRITTEN_MAX: usize = 20;

/// How long something took, over many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// How often it was measured.
    pub count: usize,
    /// Half of the times are no longer.
    pub p50: Micros,
    /// Of a hundred times, 99 are no longer.
    pub p99: Micros,
    /// The longest.
    pub max: Micros,
}

impl Latency {
    /// Of these times; none without any. A percentile is the smallest time that the share of all does not exceed.
    pub fn of(times: impl IntoIterator<Item = Micros>) -> Option<Latency> {
        let mut times: Vec<Micros> = times.into_iter().collect();
        times.sort_unstable();
        let percentile = |share: usize| times[(times.len() * share).div_ceil(100).max(1) - 1];
        let max = *times.last()?;
        Some(Latency { count: times.len(), p50: percentile(50), p99: percentile(99), max })
    }
}

impl Report {
    /// From a leader's kill with a majority up to the next start of an attempt, whoever caused it.
    pub fn next_start_after_kill(&self) -> Option<Latency> {
        Latency::of(self.kills().filter_map(|failover| failover.next_start))
    }

    /// From a leader's kill with a majority up to the next start that only a new leader can have caused.
    pub fn decided_start_after_kill(&self) -> Option<Latency> {
        Latency::of(self.kills().filter_map(|failover| failover.next_start_decided_after))
    }

    fn kills(&self) -> impl Iterator<Item = &Failover> {
        self.failovers.iter().filter(|failover| failover.kill && failover.majority)
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("Seed {}.\n\n| the history holds | |\n|---|---:|\n", self.seed);
        for count in &self.contents {
            line(&mut out, &format!("| {} | {} |", cell(&count.what), count.count));
        }
        line(&mut out, "\n| promise | violations | looked at |\n|---|---:|---:|");
        for verdict in &self.verdicts {
            let (title, found) = (verdict.promise.title(), verdict.violations.len());
            line(&mut out, &format!("| {title} | {found} | {} |", verdict.looks));
        }
        self.failover_times(&mut out);
        for verdict in &self.verdicts {
            promise(&mut out, verdict);
        }
        if !self.notes.is_empty() {
            line(&mut out, "\n**Not checked:**\n");
            self.notes.iter().for_each(|note| line(&mut out, &format!("- {note}")));
        }
        out
    }

    fn failover_times(&self, out: &mut String) {
        let rows = [
            ("the next start of an attempt, whoever caused it", self.next_start_after_kill()),
            ("the next start that only a new leader can have caused", self.decided_start_after_kill()),
        ];
        if rows.iter().all(|(_, latency)| latency.is_none()) {
            return;
        }
        line(
            out,
            "\n| from a leader's kill, with a majority up, to | kills | p50 ms | p99 ms | max ms |\n|---|---:|---:|---:|---:|",
        );
        for (what, latency) in rows {
            if let Some(Latency { count, p50, p99, max }) = latency {
                let [p50, p99, max] = [p50, p99, max].map(|micros| micros / 1_000);
                line(out, &format!("| {what} | {count} | {p50} | {p99} | {max} |"));
            }
        }
    }
}

fn promise(out: &mut String, verdict: &Verdict) {
    line(out, &format!("\n| {} was checked on | |\n|---|---:|", verdict.promise.title()));
    for count in &verdict.checked {
        line(out, &format!("| {} | {} |", cell(&count.what), count.count));
    }
    line(out, &format!("| **violations** | **{}** |", verdict.violations.len()));
    if verdict.violations.is_empty() {
        return;
    }
    line(out, "");
    for violation in verdict.violations.iter().take(WRITTEN_MAX) {
        line(out, &format!("- {}: {}", time(violation.at), violation.sentence));
    }
    let more = verdict.violations.len().saturating_sub(WRITTEN_MAX);
    if more > 0 {
        line(out, &format!("- … and {more} more"));
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_times_themselves() {
        assert_eq!(Latency::of([]), None);
        assert_eq!(Latency::of([7]), Some(Latency { count: 1, p50: 7, p99: 7, max: 7 }));
        let latency = Latency::of((1..=200).rev());
        assert_eq!(latency, Some(Latency { count: 200, p50: 100, p99: 198, max: 200 }));
    }
}
