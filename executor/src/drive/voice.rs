//! How a driver speaks the task contract for the work that it follows.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

/// Appends events, one write each.
#[derive(Debug)]
pub struct Voice(File);

impl Voice {
    /// To this file, which need not be there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(events: &Path) -> io::Result<Self> {
        File::options().create(true).append(true).open(events).map(Voice)
    }

    /// Percent complete, 0 to 100.
    pub fn percent(&self, percent: f64) {
        self.say(&json!({ "percent": percent }));
    }

    /// A message for people.
    pub fn message(&self, message: &str) {
        self.say(&json!({ "message": message }));
    }

    /// Custom data for listeners.
    pub fn data(&self, data: Value) {
        self.say(&json!({ "data": data }));
    }

    /// Outputs for later steps.
    pub fn output(&self, output: Map<String, Value>) {
        self.say(&json!({ "output": output }));
    }

    /// Something published.
    pub fn artifact(&self, name: &str, uri: &str) {
        self.say(&json!({ "artifact": { "name": name, "uri": uri } }));
    }

    /// One event of any fields.
    pub fn say(&self, event: &Value) {
        let line = format!("{event}\n");
        if let Err(error) = (&self.0).write_all(line.as_bytes()) {
            eprintln!("an event was lost: {error}");
        }
    }
}
