//! The report of a campaign of kills: how long it took from a leader's death to the next step, and how that was measured.

use std::fmt::Write as _;

use super::Outcome;
use crate::check::Latency;

impl Outcome {
    /// Times of failovers with what is needed to judge them.
    pub fn failover_markdown(&self) -> String {
        let mut out = format!(
            "# Failover\n\nLeader after leader was killed with `kill -9` under load, {} in a row, by \
             `make chaos-kills` with the seed {}; each was started again {} later, and the next one \
             killed when all replicas were well. {}\n\n",
            self.kills(),
            self.history.seed,
            "1 to 2.5 s",
            machine()
        );
        out += "| from the kill of a leader to | times | p50 | p99 | longest |\n|---|---:|---:|---:|---:|\n";
        row(&mut out, "the next start of a step", self.report.next_start_after_kill());
        row(
            &mut out,
            "the next start that only a new leader can have decided",
            self.report.decided_start_after_kill(),
        );
        out += HOW;
        let broken = self.report.broken();
        let names: Vec<&str> = broken.iter().map(|promise| promise.title()).collect();
        let verdict = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let starts = self.history.marks.iter().filter(|mark| mark.kind == crate::history::MarkKind::Start);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "\nPromises broken meanwhile: {verdict}. They were checked on {} operations of clients and {} attempts of {} \
             runs. Processes that ended by themselves: {}.",
            self.history.operations.len(),
            starts.count(),
            self.history.end.runs.len(),
            self.deaths.len()
        );
        out
    }

    fn kills(&self) -> usize {
        self.report.failovers.iter().filter(|failover| failover.kill).count()
    }
}

const HOW: &str = "
How it was measured: three replicas and three executors are processes in network namespaces of one machine, joined by a
switch in user space; each replica has a file system of its own. Clients start chains, loops, fan-outs and runs that wait
for signals all the while. The kill's time is taken just before the signal is sent, a start's time by the step itself, as
the first thing it does; both are `CLOCK_MONOTONIC` of the one machine. The first row is the next start of any step, which
the dead leader may still have decided. The second counts only starts whose cause came after the kill: the step before it
ended after it, or the run was asked for after it; so detecting the death, the election, the new leader's start, the
executors' way to it, placement and launch are all in it.
";

fn row(out: &mut String, what: &str, latency: Option<Latency>) {
    let cells = latency.map_or("0 | – | – | –".to_owned(), |latency| {
        let ms = |micros: u64| format!("{} ms", micros / 1_000);
        format!("{} | {} | {} | {}", latency.count, ms(latency.p50), ms(latency.p99), ms(latency.max))
    });
    // Writing to a string cannot fail.
    let _ = writeln!(out, "| {what} | {cells} |");
}

/// What the figures depend on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "Machine: {cores} cores ({}), Linux {}; its load at the end was {load}.",
        model.unwrap_or("unknown processor"),
        read("/proc/sys/kernel/osrelease").trim()
    )
}
