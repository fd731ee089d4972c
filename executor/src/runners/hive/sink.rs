//! Where rows go: the step's outputs, or a file as CSV or JSON lines. A file has its name only once it is whole.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::rows::{Column, RowSet};
use super::{Format, Results, Told};
use crate::drive::{Job, Verdict, Voice};
use crate::events::OUTPUT_BYTES_MAX;
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
    File { path: PathBuf, part: PathBuf, rows: Rows },
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
                // A workspace that is an URI is no place for files of this machine.
                let base = if workspace.starts_with('/') { workspace.into() } else { job.files().work() };
                open_file(base.join(path), format, &columns, told.file_bytes_max).map_err(disk)?
            }
            _ => {
                let rows_max = told.config.max_rows.unwrap_or(ROWS_MAX_DEFAULT);
                To::Outputs { rows: Vec::new(), rows_max, bytes: 0 }
            }
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
                    if *bytes > OUTPUT_BYTES_MAX - OUTPUT_BYTES_RESERVED {
                        return Err(too_large(&format!("more than the {OUTPUT_BYTES_MAX} bytes of outputs")));
                    }
                    rows.push(row);
                }
                To::File { rows: Rows::JsonLines(file), .. } => {
                    writeln!(file, "{}", object(&self.columns, row)).map_err(disk)?;
                }
                To::File { rows: Rows::Csv(file), .. } => {
                    file.write_record(row.into_iter().map(text)).map_err(|error| disk(error.into()))?;
                }
            }
        }
        Ok(())
    }

    /// There are no more: says what there is.
    pub fn finish(self, voice: &Voice) -> Result<(), Verdict> {
        let columns: Vec<_> =
            self.columns.iter().map(|column| json!({ "name": column.name, "type": column.kind })).collect();
        let mut output = Map::new();
        output.insert("row_count".to_owned(), json!(self.row_count));
        match self.to {
            To::Outputs { rows, .. } => {
                output.insert("columns".to_owned(), json!(columns));
                output.insert("rows".to_owned(), Value::Array(rows));
            }
            To::File { path, part, rows } => {
                let file = match rows {
                    Rows::JsonLines(file) => file,
                    Rows::Csv(file) => file.into_inner().map_err(|error| disk(error.into_error()))?,
                };
                file.close().and_then(|()| std::fs::rename(&part, &path)).map_err(disk)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                output.insert("path".to_owned(), json!(path));
                voice.artifact(&name, &format!("file://{}", path.display()));
            }
        }
        voice.output(output);
        Ok(())
    }
}

fn open_file(path: PathBuf, format: Format, columns: &[Column], bytes_max: u64) -> io::Result<To> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = Bounded { file: BufWriter::new(File::create(&part)?), left: bytes_max };
    let rows = match format {
        Format::JsonLines => Rows::JsonLines(file),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(columns.iter().map(|column| &column.name))?;
            Rows::Csv(Box::new(writer))
        }
    };
    Ok(To::File { path, part, rows })
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
