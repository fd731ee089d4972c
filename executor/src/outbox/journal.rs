//! The outbox's file: records appended in order, each with its length and checksum; rewritten when mostly dead.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meson_proto::v1::Report;
use prost::Message as _;

/// The file is not worth rewriting below this size.
const COMPACT_BYTES_MIN: u64 = 4 << 20;
/// Length and checksum before each record.
const HEAD_BYTES: usize = 8;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Report ids up to this one may be in use.
    Reserve(u64),
    /// A report to keep.
    Report(Report),
    /// This report is acknowledged.
    Forget(u64),
}

/// What a journal holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Found {
    /// The newest reservation.
    pub reserved: u64,
    /// Reports not forgotten.
    pub reports: BTreeMap<u64, Report>,
}

impl Found {
    fn take(&mut self, record: Record) {
        match record {
            Record::Reserve(id) => self.reserved = self.reserved.max(id),
            Record::Report(report) => {
                self.reports.retain(|_, older| older.attempt_id != report.attempt_id);
                self.reports.insert(report.report_id, report);
            }
            Record::Forget(id) => {
                self.reports.remove(&id);
            }
        }
    }
}

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Size at which a rewrite is tried next.
    compact_at: u64,
}

impl Journal {
    /// Opens it and reads what it holds; a torn record at the end is cut off.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(path: &Path) -> io::Result<(Self, Found)> {
        let content = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (found, whole) = replay(&content);
        let file = File::options().create(true).append(true).open(path)?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
        sync_parent(path)?;
        Ok((Self { path: path.to_owned(), file, bytes: whole as u64, compact_at: COMPACT_BYTES_MIN }, found))
    }

    /// Appends records, not yet durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        if let Err(error) = self.file.write_all(&bytes) {
            // What was written of it would hide all that follows.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Rewrites the file with what is alive, when it is big.
    ///
    /// # Errors
    /// When the disk refuses; the old file is then kept.
    pub fn compact_when_worth(&mut self) -> io::Result<()> {
        if self.bytes < self.compact_at {
            return Ok(());
        }
        let (found, _) = replay(&std::fs::read(&self.path)?);
        let alive = found.reports.into_values().map(Record::Report);
        let bytes: Vec<u8> = std::iter::once(Record::Reserve(found.reserved))
            .chain(alive)
            .flat_map(|record| encode(&record))
            .collect();
        self.compact_at = (bytes.len() as u64 * 2).max(COMPACT_BYTES_MIN);
        if bytes.len() as u64 > self.bytes / 2 {
            return Ok(());
        }
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        sync_parent(&self.path)?;
        self.file = File::options().append(true).open(&self.path)?;
        self.bytes = bytes.len() as u64;
        Ok(())
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn encode(record: &Record) -> Vec<u8> {
    let mut body = Vec::new();
    match record {
        Record::Reserve(id) => {
            body.push(0);
            body.extend(id.to_le_bytes());
        }
        Record::Report(report) => {
            body.push(1);
            body.extend(report.encode_to_vec());
        }
        Record::Forget(id) => {
            body.push(2);
            body.extend(id.to_le_bytes());
        }
    }
    let length = u32::try_from(body.len()).expect("a report is far below 4 GiB");
    [&length.to_le_bytes()[..], &checksum(&body).to_le_bytes()[..], &body].concat()
}

fn decode(body: &[u8]) -> Option<Record> {
    let (kind, rest) = body.split_first()?;
    let id = || Some(u64::from_le_bytes(rest.try_into().ok()?));
    match kind {
        0 => id().map(Record::Reserve),
        1 => Report::decode(rest).ok().map(Record::Report),
        2 => id().map(Record::Forget),
        _ => None,
    }
}

/// Reads records until the end or the first broken one; also says how many bytes are whole.
fn replay(content: &[u8]) -> (Found, usize) {
    let mut found = Found::default();
    let mut at = 0;
    while let Some((record, bytes)) = next(&content[at..]) {
        found.take(record);
        at += bytes;
    }
    (found, at)
}

fn next(rest: &[u8]) -> Option<(Record, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    let end = HEAD_BYTES.checked_add(usize::try_from(word(0)?).ok()?)?;
    let body = rest.get(HEAD_BYTES..end)?;
    (checksum(body) == word(4)?).then(|| decode(body)).flatten().map(|record| (record, end))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: u64, bytes: usize) -> Record {
        Record::Report(Report {
            report_id: id,
            attempt_id: id.to_string(),
            outputs_json: "x".repeat(bytes),
            ..Report::default()
        })
    }

    #[test]
    fn a_torn_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[Record::Reserve(10), report(1, 10), report(2, 10), Record::Forget(1)]).unwrap();
        let whole = std::fs::metadata(&path).unwrap().len();
        journal.append(&[report(3, 100)]).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(whole + 50).unwrap();

        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found.reserved, 10);
        assert_eq!(found.reports.keys().copied().collect::<Vec<_>>(), vec![2]);
        journal.append(&[report(4, 1)]).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1.reports.len(), 2);
    }

    #[test]
    fn a_big_dead_file_is_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.append(&[Record::Reserve(7), report(1, 3 << 20), report(2, 3 << 20), report(3, 5)]).unwrap();
        journal.append(&[Record::Forget(1), Record::Forget(2)]).unwrap();
        journal.compact_when_worth().unwrap();
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
        journal.append(&[report(4, 1)]).unwrap();
        let (_, found) = Journal::open(&path).unwrap();
        assert_eq!((found.reserved, found.reports.len()), (7, 2));
    }
}
