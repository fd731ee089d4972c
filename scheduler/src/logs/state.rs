//! What the store knows of one attempt's log, and which records it takes.

use meson_proto::v1::{LogRecord, LogStream};

use super::frame;

const MARK: &str = "log truncated at ";

/// What the store knows of one attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogState {
    /// The next sequence number that is lacking.
    pub next_sequence: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The last record was stored.
    pub has_end: bool,
    /// The log is full: only the last record is still stored.
    pub is_full: bool,
}

impl Default for LogState {
    fn default() -> Self {
        LogState { next_sequence: 1, bytes: 0, has_end: false, is_full: false }
    }
}

impl LogState {
    /// Whether a record with this number continues the log. A full log has holes: what it dropped was acknowledged,
    /// and after a restart nobody remembers how far.
    pub fn continues_with(&self, sequence: u64) -> bool {
        !self.has_end && (sequence == self.next_sequence || (self.is_full && sequence > self.next_sequence))
    }

    /// Takes note of a record that is stored.
    pub fn observe(&mut self, record: &LogRecord) {
        self.next_sequence = record.sequence.saturating_add(1);
        self.bytes += frame::size_of(record);
        self.has_end = record.end;
        self.is_full |= record.stream() == LogStream::System && record.data.starts_with(MARK.as_bytes());
    }

    /// The records to store, out of those that came; all that continue the log are acknowledged. A full log gets a
    /// record that says so and keeps only the end.
    pub fn admit(&mut self, records: Vec<LogRecord>, bytes_max: u64) -> Vec<LogRecord> {
        let mut stored = Vec::with_capacity(records.len());
        for record in records {
            if !self.continues_with(record.sequence) {
                continue;
            }
            let is_over = self.is_full || self.bytes + frame::size_of(&record) > bytes_max;
            if is_over && !record.end {
                if self.is_full {
                    self.next_sequence = record.sequence.saturating_add(1);
                    continue;
                }
                stored.push(mark(&record, bytes_max));
            } else {
                stored.push(record);
            }
            self.observe(stored.last().expect("a record was just pushed"));
        }
        stored
    }
}

/// Stands in the place of the first record that is dropped.
fn mark(record: &LogRecord, bytes_max: u64) -> LogRecord {
    let data = format!("{MARK}{bytes_max} bytes\n").into_bytes().into();
    LogRecord { stream: LogStream::System.into(), data, ..record.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> LogRecord {
        LogRecord { sequence, data: vec![b'x'; 100].into(), ..LogRecord::default() }
    }

    fn end(sequence: u64) -> LogRecord {
        LogRecord { end: true, ..record(sequence) }
    }

    fn numbers(records: &[LogRecord]) -> Vec<u64> {
        records.iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn duplicates_and_holes_are_skipped() {
        let mut state = LogState::default();
        let records = [0, 2, 1, 1, 2, 4, 3].map(record).to_vec();
        assert_eq!(numbers(&state.admit(records, u64::MAX)), [1, 2, 3]);
        assert_eq!(state.next_sequence, 4);
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut state = LogState::default();
        assert_eq!(numbers(&state.admit(vec![record(1), end(2), record(3)], u64::MAX)), [1, 2]);
        assert_eq!((state.next_sequence, state.has_end), (3, true));
    }

    #[test]
    fn a_full_log_says_so_drops_the_rest_and_keeps_the_end() {
        let mut state = LogState::default();
        let stored = state.admit((1..=5).map(record).collect(), 300);
        assert_eq!(numbers(&stored), [1, 2, 3]);
        assert_eq!(&stored[2].data[..], b"log truncated at 300 bytes\n");
        assert_eq!(state.next_sequence, 6, "what is dropped is acknowledged");

        // After a restart only the file is known.
        let mut again = LogState::default();
        stored.iter().for_each(|record| again.observe(record));
        assert_eq!((again.next_sequence, again.is_full), (4, true));
        assert_eq!(numbers(&again.admit(vec![record(6), end(7)], 300)), [7]);
        assert!(again.has_end);
    }

    #[test]
    fn the_largest_number_does_not_wrap() {
        let mut state = LogState { is_full: true, ..LogState::default() };
        state.admit(vec![record(u64::MAX), record(u64::MAX), record(1)], 300);
        assert_eq!(state.next_sequence, u64::MAX);
    }
}
