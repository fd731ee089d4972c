//! Where rows go: the step's outputs, or a file as CSV or JSON lines, in the run's workspace, be that a directory or in a store.
//! A file has its name only once it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use meson_store::Uri;
use serde_json::{Map, Value, json};

use super::rows::{Column, RowSet};
use super::{Format, Results, Told};
use crate::drive::{Job, Verdict, Voice};
use crate::events::OUTPUT_BYTES_MAX;
use crate::fs;
use crate::runners::Rejected;

/// Most rows that a step may ask for as outputs.
pub const ROWS_MAX: u64 = 10_000;
/// Most rows of one that asks for no number.
const ROWS_MAX_DEFAULT: u64 = 1_000;
/// What the other outputs and the names around may take of an attempt's outputs.
const OUTPUT_BYTES_RESERVED: usize = 4 * 1024;

/// The form of a file: as asked for, or as its name tells.
pub fn format(path: &str, format: Option<Format>) -> Result<Format, Rejected> {
    let by_name = match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Some(Format::Csv),
        Some("jsonl" | "ndjson") => Some(Format::JsonLines),
        _ => None,
    };
    let why = || Rejected(format!("`{path}` does not tell its form: give `format`, csv or json_lines"));
    format.or(by_name).ok_or_else(why)
}

/// Where the rows of one result go.
pub struct Sink {
    columns: Vec<Column>,
    row_count: u64,
    to: To,
}

enum To {
    Outputs { rows: Vec<Value>, rows_max: u64, bytes: usize },
    File { place: Place, part: PathBuf, rows: Rows },
}

/// Where a file is to be once it is whole.
enum Place {
    /// As steps know it, and without any links in it.
    Here {
        path: PathBuf,
        real: PathBuf,
    },
    There(Uri),
}

enum Rows {
    Csv(Box<csv::Writer<Bounded>>),
    JsonLines(Bounded),
}

impl Sink {
    /// Ready for rows of these columns.
    pub fn open(job: &Job, told: &Told, columns: Vec<Column>) -> Result<Sink, Verdict> {
        let workspace = std::env::var("MESON_WORKSPACE").unwrap_or_default();
        let to = match (told.config.results, &told.config.path) {
            (Some(Results::File), Some(path)) => {
                let format = format(path, told.config.format)
                    .map_err(|rejected| Verdict::rejected("bad_configuration", rejected))?;
                let (place, part) = place(&workspace, &job.files().work(), path)?;
                let rows = open_file(&part, format, &columns, told.file_bytes_max).map_err(disk)?;
                To::File { place, part, rows }
            }
            _ => outputs(&columns, told.config.max_rows.unwrap_or(ROWS_MAX_DEFAULT))?,
        };
        if !matches!(to, To::File { rows: Rows::Csv(_), .. }) {
            are_distinct(&columns)?;
        }
        Ok(Sink { columns, row_count: 0, to })
    }

    /// Takes some more.
    pub fn take(&mut self, set: &RowSet) -> Result<(), Verdict> {
        for row in set.rows() {
            if row.len() != self.columns.len() {
                return Err(Verdict::platform("bad_answer", "rows have other columns than the result"));
            }
            self.row_count += 1;
            match &mut self.to {
                To::Outputs { rows, rows_max, bytes } => {
                    let row = object(&self.columns, row);
                    *bytes += row.to_string().len() + 1;
                    if self.row_count > *rows_max {
                        return Err(too_large(&format!("more than {rows_max} rows (`max_rows`)")));
                    }
                    are_outputs(*bytes)?;
                    rows.push(row);
                }
                To::File { rows: Rows::JsonLines(file), .. } => {
                    writeln!(file, "{}", object(&self.columns, row)).map_err(disk)?;
                }
                To::File { rows: Rows::Csv(file), .. } => {
                    file.write_record(row.into_iter().map(text)).map_err(|error| disk(io_error(error)))?;
                }
            }
        }
        Ok(())
    }

    /// There are no more: says what there is.
    pub fn finish(self, voice: &Voice) -> Result<(), Verdict> {
        let mut output = Map::new();
        output.insert("row_count".to_owned(), json!(self.row_count));
        match self.to {
            To::Outputs { rows, .. } => {
                output.insert("columns".to_owned(), described(&self.columns));
                output.insert("rows".to_owned(), Value::Array(rows));
            }
            To::File { place, part, rows } => {
                let file = match rows {
                    Rows::JsonLines(file) => file,
                    Rows::Csv(file) => file.into_inner().map_err(|error| disk(error.into_error()))?,
                };
                file.close().map_err(disk)?;
                let (name, path, uri) = place.take(&part)?;
                output.insert("path".to_owned(), json!(path));
                voice.artifact(&name, &uri);
            }
        }
        voice.output(output);
        Ok(())
    }
}

/// For rows that are outputs. Their columns are outputs too.
fn outputs(columns: &[Column], rows_max: u64) -> Result<To, Verdict> {
    let bytes = described(columns).to_string().len();
    are_outputs(bytes)?;
    Ok(To::Outputs { rows: Vec::new(), rows_max, bytes })
}

/// That so many bytes may be.
fn are_outputs(bytes: usize) -> Result<(), Verdict> {
    match bytes > OUTPUT_BYTES_MAX - OUTPUT_BYTES_RESERVED {
        true => Err(too_large(&format!("more than the {OUTPUT_BYTES_MAX} bytes of outputs"))),
        false => Ok(()),
    }
}

impl Place {
    /// Gives what is whole its place; its name, its path and its URI.
    fn take(self, part: &Path) -> Result<(String, String, String), Verdict> {
        match self {
            Place::Here { path, real } => {
                // A link of that name is replaced, not followed.
                std::fs::rename(part, real).map_err(disk)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok((name, path.display().to_string(), format!("file://{}", path.display())))
            }
            Place::There(uri) => {
                // This thread is the query's own, so it may wait.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(disk)?.block_on(fs::put(part, &uri)).map_err(|error| {
                    if error.is_retryable() {
                        Verdict::platform("workspace_unavailable", error)
                    } else {
                        Verdict::user("result_refused", error)
                    }
                })?;
                // Otherwise it goes with the attempt's other files.
                let _ = std::fs::remove_file(part);
                let name = uri.name().unwrap_or_default().to_owned();
                Ok((name, uri.to_string(), uri.to_string()))
            }
        }
    }
}

/// Where a file is to be, by its path in the workspace, and where it grows. What grows for a store does so among the attempt's
/// own files; so does all where there is no workspace.
fn place(workspace: &str, work: &Path, path: &str) -> Result<(Place, PathBuf), Verdict> {
    if workspace.contains("://") {
        let bad = |error| Verdict::user("bad_path", error);
        let uri = Uri::parse(workspace).and_then(|base| base.join(path)).map_err(bad)?;
        return Ok((Place::There(uri), part_of(&real(work, path)?)));
    }
    let base = if workspace.starts_with('/') { Path::new(workspace) } else { work };
    let real = real(base, path)?;
    let part = part_of(&real);
    Ok((Place::Here { path: base.join(path), real }, part))
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    part.into()
}

/// The path with the directories above it, made now, and without links: a step in a container that is given the workspace
/// may have left one there that leads to where only this process may write.
fn real(base: &Path, path: &str) -> Result<PathBuf, Verdict> {
    let base = base.canonicalize().map_err(disk)?;
    let path = Path::new(path);
    let mut real = base.clone();
    for name in path.parent().into_iter().flat_map(Path::components) {
        let Component::Normal(name) = name else { continue };
        real.push(name);
        match std::fs::create_dir(&real) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(disk(error)),
            Ok(()) | Err(_) => real = real.canonicalize().map_err(disk)?,
        }
        if !real.starts_with(&base) {
            let message = format!("`{}` leads out of the workspace by a link in it", path.display());
            return Err(Verdict::user("bad_path", message));
        }
    }
    real.push(path.file_name().unwrap_or_default());
    Ok(real)
}

fn open_file(part: &Path, format: Format, columns: &[Column], bytes_max: u64) -> io::Result<Rows> {
    // What an earlier attempt left. Made anew it is no link of anybody's.
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = Bounded { file: BufWriter::new(File::create_new(part)?), left: bytes_max };
    Ok(match format {
        Format::JsonLines => Rows::JsonLines(file),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(columns.iter().map(|column| &column.name)).map_err(io_error)?;
            Rows::Csv(Box::new(writer))
        }
    })
}

/// What is told of columns beside their rows.
fn described(columns: &[Column]) -> Value {
    columns.iter().map(|column| json!({ "name": column.name, "type": column.kind })).collect()
}

/// As the file said it: the writer of CSV hides what sort of error it was.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

fn are_distinct(columns: &[Column]) -> Result<(), Verdict> {
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|two| two[0] == two[1]) {
        None => Ok(()),
        Some(two) => {
            let message = format!("two columns are named `{}`; name one of them with AS", two[0]);
            Err(Verdict::user("bad_columns", message))
        }
    }
}

fn object(columns: &[Column], row: Vec<&Value>) -> Value {
    let names = columns.iter().map(|column| column.name.clone());
    Value::Object(names.zip(row.into_iter().cloned()).collect())
}

/// A field of CSV. It has no nulls: they are empty.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn too_large(what: &str) -> Verdict {
    let message = format!("the result has {what}; write it with `results: file`, or ask for less of it");
    Verdict::user("result_too_large", message)
}

fn disk(error: io::Error) -> Verdict {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Verdict::user("result_too_large", error),
        _ => Verdict::platform("disk", error),
    }
}

/// A file that must not become larger than it may.
#[derive(Debug)]
struct Bounded {
    file: BufWriter<File>,
    left: u64,
}

impl Bounded {
    fn close(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let too_large = || {
            let why =
                "the file of the result would be larger than the executor's setting `hive_file_bytes_max`";
            io::Error::new(io::ErrorKind::FileTooLarge, why)
        };
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        self.file.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(count: usize) -> Vec<Column> {
        (0..count).map(|number| Column { name: format!("column{number}"), kind: "string" }).collect()
    }

    fn rows(text: &str) -> RowSet {
        RowSet::of_texts(&[text])
    }

    fn reason(failed: Verdict) -> String {
        failed.failure().reason
    }

    #[test]
    fn a_file_that_becomes_too_large_is_the_steps_own_fault() {
        let dir = tempfile::tempdir().unwrap();
        for format in [Format::Csv, Format::JsonLines] {
            let part = dir.path().join("x.part");
            let rows_of = open_file(&part, format, &columns(1), 10).unwrap();
            let place = Place::Here { path: dir.path().join("x"), real: dir.path().join("x") };
            let mut sink =
                Sink { columns: columns(1), row_count: 0, to: To::File { place, part, rows: rows_of } };
            // CSV has a buffer of its own.
            let taken = sink.take(&rows(&"x".repeat(100_000)));
            assert_eq!(reason(taken.unwrap_err()), "result_too_large", "{format:?}");
        }
    }

    #[test]
    fn columns_count_as_outputs() {
        assert_eq!(reason(outputs(&columns(2_000), 10).err().unwrap()), "result_too_large");
        let To::Outputs { bytes, .. } = outputs(&columns(1_000), 10).unwrap() else { panic!("no outputs") };
        let left = OUTPUT_BYTES_MAX - OUTPUT_BYTES_RESERVED - bytes;
        for (text_bytes, fits) in [(left - 20, true), (left, false)] {
            let to = outputs(&columns(1_000), 10).unwrap();
            let mut sink = Sink { columns: columns(1), row_count: 0, to };
            assert_eq!(sink.take(&rows(&"x".repeat(text_bytes))).is_ok(), fits);
        }
    }

    #[test]
    fn a_link_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let (base, outside) = (dir.path().join("base"), dir.path().join("outside"));
        std::fs::create_dir_all(&base).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, base.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.join("target"), base.join("x.csv.part")).unwrap();
        let workspace = base.display().to_string();
        for path in ["out/x.csv", "out/new/x.csv"] {
            let refused = place(&workspace, &base, path).err().unwrap();
            assert_eq!(reason(refused), "bad_path", "{path}");
        }
        let (place, part) = place(&workspace, &base, "./x.csv").unwrap();
        open_file(&part, Format::Csv, &columns(1), 100).unwrap();
        let (name, path, uri) = place.take(&part).unwrap();
        assert_eq!((name.as_str(), uri), ("x.csv", format!("file://{path}")));
        assert!(base.join("x.csv").is_file());
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
    }

    #[test]
    fn a_workspace_in_a_store_gets_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        std::fs::create_dir_all(&work).unwrap();
        let workspace = format!("file://{}/shared/g1-x", dir.path().display());
        let (place, part) = place(&workspace, &work, "out/x.jsonl").unwrap();
        open_file(&part, Format::JsonLines, &columns(1), 100).unwrap();
        let (name, path, uri) = place.take(&part).unwrap();
        assert_eq!((name.as_str(), path, uri.clone()), ("x.jsonl", uri, format!("{workspace}/out/x.jsonl")));
        assert!(dir.path().join("shared/g1-x/out/x.jsonl").is_file() && !part.exists());
    }
}
