//! What a step says about itself: the JSON lines it appends to `$MESON_EVENTS`, and what they add up to.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use meson_proto::v1::{Artifact, AttemptProgress};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::secrets::mask::Mask;

/// Outputs of an attempt in all, as JSON.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Longest line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Longest message and custom data kept of one line.
const SOFT_BYTES_MAX: usize = 16 * 1024;
/// Artifacts of an attempt.
const ARTIFACTS_MAX: usize = 1_000;
/// Read at once.
const READ_BYTES: usize = 256 * 1024;
/// Read in one look, more or less: what a step says has no bound, and must not fill the memory.
const LOOK_BYTES_MAX: u64 = 4 << 20;

/// One line. Unknown fields are left alone, for later versions of the helpers.
#[derive(Debug, Deserialize)]
struct Line {
    percent: Option<f64>,
    message: Option<String>,
    output: Option<Map<String, Value>>,
    artifact: Option<PublishedArtifact>,
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct PublishedArtifact {
    name: String,
    uri: String,
}

/// What an attempt has said so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// The newest progress.
    pub percent: Option<f64>,
    /// The newest message.
    pub message: String,
    /// The newest custom data, JSON.
    pub data_json: String,
    /// All outputs, merged; later ones win.
    pub outputs: Map<String, Value>,
    /// All artifacts; a later one of the same name wins.
    pub artifacts: Vec<Artifact>,
}

/// A line that cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Not what the task contract describes; the attempt goes on.
    #[error("an event was ignored: {0}")]
    Malformed(String),
    /// The attempt fails.
    #[error(
        "outputs are larger than {OUTPUT_BYTES_MAX} bytes in all; publish large values as an artifact and hand on its URI"
    )]
    OutputTooLarge,
}

impl Said {
    /// Takes one line.
    ///
    /// # Errors
    /// When the line is malformed, or makes the outputs too large.
    pub fn take(&mut self, line: &[u8]) -> Result<(), Refused> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        // Nothing legal is so long but a value that should have been an artifact; dropping it would lose an output.
        if line.len() > LINE_BYTES_MAX {
            return Err(Refused::OutputTooLarge);
        }
        let line: Line =
            serde_json::from_slice(line).map_err(|error| Refused::Malformed(error.to_string()))?;
        if let Some(percent) = line.percent {
            self.percent = Some(percent.clamp(0.0, 100.0));
        }
        if let Some(message) = line.message {
            self.message = bounded(message);
        }
        if let Some(data) = line.data {
            self.take_data(&data)?;
        }
        if let Some(artifact) = line.artifact {
            self.take_artifact(artifact)?;
        }
        line.output.map_or(Ok(()), |output| self.take_output(output))
    }

    fn take_data(&mut self, data: &Value) -> Result<(), Refused> {
        let text = data.to_string();
        if text.len() > SOFT_BYTES_MAX {
            return Err(Refused::Malformed(format!("data is larger than {SOFT_BYTES_MAX} bytes")));
        }
        self.data_json = text;
        Ok(())
    }

    fn take_artifact(&mut self, artifact: PublishedArtifact) -> Result<(), Refused> {
        self.artifacts.retain(|older| older.name != artifact.name);
        if self.artifacts.len() >= ARTIFACTS_MAX {
            return Err(Refused::Malformed(format!("more than {ARTIFACTS_MAX} artifacts")));
        }
        self.artifacts.push(Artifact { name: artifact.name, uri: artifact.uri });
        Ok(())
    }

    fn take_output(&mut self, output: Map<String, Value>) -> Result<(), Refused> {
        self.outputs.extend(output);
        let bytes = self.outputs_json().len();
        if bytes > OUTPUT_BYTES_MAX { Err(Refused::OutputTooLarge) } else { Ok(()) }
    }

    /// The outputs as a JSON object; empty when there are none.
    pub fn outputs_json(&self) -> String {
        if self.outputs.is_empty() { String::new() } else { Value::from(self.outputs.clone()).to_string() }
    }

    /// The soft part, for heartbeats.
    pub fn progress(&self, attempt_id: &str) -> AttemptProgress {
        AttemptProgress {
            attempt_id: attempt_id.to_owned(),
            percent: self.percent,
            message: self.message.clone(),
            data_json: self.data_json.clone(),
        }
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > SOFT_BYTES_MAX {
        let end = (0..=SOFT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Takes what a mask hides out of the events file of a step that has ended, for those who look at it later.
///
/// # Errors
/// When the disk refuses.
pub fn scrub(path: &Path, mask: &Mask) -> io::Result<()> {
    if mask.is_empty() {
        return Ok(());
    }
    let mut tail = Tail::default();
    let scrubbed = path.with_extension("scrubbed");
    let mut file = io::BufWriter::new(File::create(&scrubbed)?);
    let mut is_changed = false;
    loop {
        let lines = tail.read(path, true)?;
        if lines.is_empty() && tail.is_at_end {
            break;
        }
        for line in &lines {
            let masked = mask.line(line);
            is_changed |= masked != line.as_slice();
            file.write_all(masked.trim_ascii_end()).and_then(|()| file.write_all(b"\n"))?;
        }
    }
    file.flush()?;
    if is_changed { std::fs::rename(&scrubbed, path) } else { std::fs::remove_file(&scrubbed) }
}

/// Reads lines from an events file as it grows.
#[derive(Debug, Default)]
pub struct Tail {
    file: Option<File>,
    offset: u64,
    partial: Vec<u8>,
    skipping: bool,
    /// Whether the last look came to the end of the file.
    pub is_at_end: bool,
}

impl Tail {
    /// New whole lines, those of `LOOK_BYTES_MAX` bytes at most; with `last`, also an unfinished one at the end. Of a line that
    /// is too long comes just so much that `take` sees it.
    ///
    /// # Errors
    /// When the disk refuses. A missing file is an empty one.
    pub fn read(&mut self, path: &Path, last: bool) -> io::Result<Vec<Vec<u8>>> {
        if self.file.is_none() {
            self.file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.is_at_end = true;
                    return Ok(Vec::new());
                }
                opened => Some(opened?),
            };
        }
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        self.is_at_end = file.metadata()?.len() <= self.offset;
        if !self.is_at_end {
            let mut buffer = vec![0; READ_BYTES];
            let until = self.offset + LOOK_BYTES_MAX;
            while self.offset < until {
                let bytes = file.read_at(&mut buffer, self.offset)?;
                if bytes == 0 {
                    self.is_at_end = true;
                    break;
                }
                self.offset += bytes as u64;
                split(&mut self.partial, &mut self.skipping, &buffer[..bytes], &mut lines);
            }
        }
        if last && self.is_at_end && !self.partial.is_empty() {
            lines.push(std::mem::take(&mut self.partial));
        }
        Ok(lines)
    }
}

fn split(partial: &mut Vec<u8>, skipping: &mut bool, bytes: &[u8], lines: &mut Vec<Vec<u8>>) {
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ends = piece.ends_with(b"\n");
        if !*skipping {
            partial.extend_from_slice(piece);
        }
        if partial.len() > LINE_BYTES_MAX {
            partial.truncate(LINE_BYTES_MAX + 1);
            *skipping = true;
        }
        if ends {
            *skipping = false;
            lines.push(std::mem::take(partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_add_up() {
        let mut said = Said::default();
        for line in [
            r#"{"percent": 40, "message": "fold 3 of 5"}"#,
            r#"{"output": {"a": 1, "b": 1}}"#,
            r#"{"output": {"b": [2]}, "percent": 400}"#,
            r#"{"artifact": {"name": "model", "uri": "s3://old"}}"#,
            r#"{"artifact": {"name": "model", "uri": "s3://new"}}"#,
            r#"{"data": {"loss": 0.5}, "unknown": true}"#,
            "  ",
        ] {
            said.take(line.as_bytes()).unwrap();
        }
        assert_eq!(said.outputs_json(), r#"{"a":1,"b":[2]}"#);
        assert_eq!(said.artifacts, [Artifact { name: "model".into(), uri: "s3://new".into() }]);
        let progress = said.progress("x");
        assert_eq!((progress.percent, progress.message.as_str()), (Some(100.0), "fold 3 of 5"));
        assert_eq!(progress.data_json, r#"{"loss":0.5}"#);
    }

    #[test]
    fn bad_lines_are_refused_and_change_nothing() {
        let mut said = Said::default();
        for line in
            ["nonsense", "[1]", r#"{"percent": "x"}"#, r#"{"output": 5}"#, r#"{"artifact": {"name": "a"}}"#]
        {
            assert!(matches!(said.take(line.as_bytes()), Err(Refused::Malformed(_))), "{line}");
        }
        assert_eq!(said, Said::default());
        let large = format!(r#"{{"output": {{"x": "{}"}}}}"#, "y".repeat(OUTPUT_BYTES_MAX));
        assert_eq!(said.take(large.as_bytes()), Err(Refused::OutputTooLarge));
    }

    #[test]
    fn a_growing_file_gives_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut tail = Tail::default();
        assert!(tail.read(&path, false).unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.read(&path, false).unwrap(), [b"one\n"]);
        file.write_all(b"o\nthree").unwrap();
        assert_eq!(tail.read(&path, false).unwrap(), [b"two\n"]);
        assert_eq!(tail.read(&path, true).unwrap(), [b"three"]);
        file.write_all(&vec![b'x'; 3 << 20]).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        let lines = tail.read(&path, true).unwrap();
        assert_eq!((lines[0].len(), lines[1].as_slice()), (LINE_BYTES_MAX + 1, &b"last\n"[..]));
        assert_eq!(Said::default().take(&lines[0]), Err(Refused::OutputTooLarge));
    }
}
