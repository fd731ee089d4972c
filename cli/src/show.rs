//! Words, times, amounts and tables for people.

use comfy_table::presets;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
use meson_proto::v1::{NodeStatus, RunStatus};
use prost_types::Timestamp;

/// The word of an enum value: its name without the prefix, in lower case.
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}

/// The word of a run's status.
pub fn run_status(status: RunStatus) -> String {
    word(status.as_str_name(), "RUN_STATUS_")
}

/// The word of a node's status.
pub fn node_status(status: NodeStatus) -> String {
    word(status.as_str_name(), "NODE_STATUS_")
}

/// The status of a word.
pub fn parse_run_status(text: &str) -> Option<RunStatus> {
    RunStatus::from_str_name(&format!("RUN_STATUS_{}", text.to_uppercase()))
}

/// The status of a word.
pub fn parse_node_status(text: &str) -> Option<NodeStatus> {
    NodeStatus::from_str_name(&format!("NODE_STATUS_{}", text.to_uppercase()))
}

/// Whether the run has ended.
pub fn is_terminal(status: RunStatus) -> bool {
    matches!(status, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled)
}

/// A time of the wire.
pub fn instant(time: &Timestamp) -> Option<Instant> {
    Instant::new(time.seconds, time.nanos).ok()
}

/// A time in this place's clock; empty when there is none.
pub fn time(time: &Option<Timestamp>) -> String {
    let local = time.as_ref().and_then(instant).map(|instant| instant.to_zoned(TimeZone::system()));
    local.map(|local| local.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// Milliseconds between two times; up to now when there is no end.
pub fn elapsed_ms(from: &Option<Timestamp>, to: &Option<Timestamp>) -> Option<u64> {
    let from = from.as_ref().and_then(instant)?;
    let to = to.as_ref().and_then(instant).unwrap_or_else(Instant::now);
    u64::try_from(to.as_millisecond() - from.as_millisecond()).ok()
}

/// A duration: `840ms`, `12.3s`, `4m05s`, `2h10m`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A size: `512 B`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1_024.0 && unit + 1 < units.len() {
        amount /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", units[unit]) }
}

/// Words of a step without the control characters in them, which could redraw the reader's terminal.
pub fn words(text: &str) -> String {
    text.trim_end().chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

/// Prints rows under headings.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    println!("{table}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_short() {
        let durations =
            [(0, "0ms"), (999, "999ms"), (12_345, "12.3s"), (245_000, "4m05s"), (7_800_000, "2h10m")];
        for (ms, text) in durations {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }

    #[test]
    fn words_of_steps_cannot_steer_the_terminal() {
        assert_eq!(words("a\u{1b}[31mred\u{7}\n\tb\r\n"), "a[31mred\n\tb");
    }

    #[test]
    fn words_of_statuses_round_trip() {
        assert_eq!(run_status(RunStatus::Succeeded), "succeeded");
        assert_eq!(parse_run_status("succeeded"), Some(RunStatus::Succeeded));
        assert_eq!(parse_node_status("backing_off"), Some(NodeStatus::BackingOff));
        assert_eq!(parse_node_status("x"), None);
    }
}
