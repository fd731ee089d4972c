//! The file of marks: one line each, separated by spaces, appended by the attempts themselves:
//! `<micros> <start|beat|success|failure> <run id> <step path> <attempt> <fence> <agent> <pid>`.
//!
//! A line that cannot be read is an error, never skipped: a checker that overlooks what it does not understand proves
//! nothing. Only a last line without its end is left out: its writer was killed while it wrote.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::{Mark, MarkKind};

/// Reads a file of marks.
///
/// # Errors
/// When the file cannot be read; or the first line that is no mark, with its number.
pub fn read_marks(path: &Path) -> anyhow::Result<Vec<Mark>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_marks(&path.display().to_string(), &bytes)
}

/// The marks in the text of a file; `name` is the file's, for errors.
///
/// # Errors
/// The first line that is no mark, with its number.
pub fn parse_marks(name: &str, text: &[u8]) -> anyhow::Result<Vec<Mark>> {
    // What follows the last end of a line was not written to its end.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split_inclusive(|byte| *byte == b'\n');
    lines
        .enumerate()
        .map(|(place, line)| {
            let line = std::str::from_utf8(&line[..line.len() - 1]).context("not UTF-8");
            line.and_then(mark).with_context(|| format!("{name}, line {}", place + 1))
        })
        .collect()
}

fn mark(line: &str) -> anyhow::Result<Mark> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [at, kind, run_id, step, attempt, fence, agent, process] = parts[..] else {
        bail!("{} words instead of 8: `{line}`", parts.len());
    };
    for (name, word) in [("run id", run_id), ("step path", step), ("agent", agent)] {
        if word.is_empty() {
            bail!("the {name} is empty: `{line}`");
        }
    }
    let kind = match kind {
        "start" => MarkKind::Start,
        "beat" => MarkKind::Beat,
        "success" => MarkKind::Success,
        "failure" => MarkKind::Failure,
        other => bail!("`{other}` is no kind of mark: `{line}`"),
    };
    Ok(Mark {
        at: number("time", at, line)?,
        kind,
        run_id: run_id.to_owned(),
        step: step.to_owned(),
        attempt: number("attempt", attempt, line)?,
        fence: number("fence", fence, line)?,
        agent: agent.to_owned(),
        process: number("process", process, line)?,
    })
}

fn number<T: std::str::FromStr>(name: &str, word: &str, line: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    word.parse().with_context(|| format!("the {name} `{word}` is no number of its size: `{line}`"))
}
