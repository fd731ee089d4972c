//! A history as a file: JSON lines, one fact each, so that `grep` finds all that is known of a run. The end comes last
//! and must be there: a file that was cut off is an error, not a shorter history.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{Amounts, Fault, FinalState, History, Mark, Operation, Shape};

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Setup { seed: u64, workflows: BTreeMap<String, Shape>, agents: BTreeMap<String, Amounts> },
    Operation(Operation),
    Mark(Mark),
    Fault(Fault),
    End(FinalState),
}

impl History {
    /// Writes the history; over what is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = BufWriter::new(file);
        let setup =
            Line::Setup { seed: self.seed, workflows: self.workflows.clone(), agents: self.agents.clone() };
        let lines = std::iter::once(setup)
            .chain(self.operations.iter().cloned().map(Line::Operation))
            .chain(self.marks.iter().cloned().map(Line::Mark))
            .chain(self.faults.iter().cloned().map(Line::Fault))
            .chain(std::iter::once(Line::End(self.end.clone())));
        for line in lines {
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        file.flush().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a history that [`History::save`] wrote.
    ///
    /// # Errors
    /// When the file cannot be read, a line is none of ours, or the file does not reach to its end.
    pub fn load(path: &Path) -> anyhow::Result<History> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let mut history = History::default();
        let mut ended = false;
        for (place, line) in BufReader::new(file).lines().enumerate() {
            let number = place + 1;
            let line = line.with_context(|| format!("{name}, line {number}"))?;
            let line = serde_json::from_str(&line).with_context(|| format!("{name}, line {number}"))?;
            if ended {
                bail!("{name}, line {number}: something follows the end");
            }
            match (place, line) {
                (0, Line::Setup { seed, workflows, agents }) => {
                    history = History { seed, workflows, agents, ..history };
                }
                (0, _) => bail!("{name} does not begin with the setup"),
                (_, Line::Setup { .. }) => bail!("{name}, line {number}: a second setup"),
                (_, Line::Operation(operation)) => history.operations.push(operation),
                (_, Line::Mark(mark)) => history.marks.push(mark),
                (_, Line::Fault(fault)) => history.faults.push(fault),
                (_, Line::End(end)) => (history.end, ended) = (end, true),
            }
        }
        if !ended {
            bail!("{name} was cut off: its end is not there");
        }
        Ok(history)
    }
}
