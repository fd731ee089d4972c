//! What of an application's output tells why it failed. Spark says much, and what it says last is rarely the reason: it is
//! among the lines that are no log of Spark and no frame of a stack.

use std::collections::VecDeque;

/// Telling lines that are kept.
const LINES_MAX: usize = 60;
/// Longest part of a line.
const LINE_CHARS_MAX: usize = 600;
/// Longest excerpt.
const BYTES_MAX: usize = 4_000;

/// What the first telling line holds; the last is YARN's, before all else fails for it.
const NAMES_OF_ERRORS: [&str; 4] = ["Traceback", "Exception", "Error", "YARN application has"];

/// What both streams said, so far.
#[derive(Debug, Default)]
pub struct Excerpt {
    lines: VecDeque<String>,
}

/// The id that the master gave an application, where its log says so.
pub fn application_id(line: &str) -> Option<&str> {
    let (_, id) = line.split_once("Connected to Spark cluster with app ID ")?;
    Some(id.trim()).filter(|id| !id.is_empty())
}

impl Excerpt {
    /// Takes a line in.
    pub fn take(&mut self, line: &str) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with([' ', '\t']) || is_chatter(line) {
            return;
        }
        let line: String = line.chars().take(LINE_CHARS_MAX).collect();
        // The same reason comes back with every cause of a cause.
        if self.lines.contains(&line) {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// From the first line that names an error on, or else the last lines.
    pub fn text(&self) -> String {
        let names_error = |line: &String| NAMES_OF_ERRORS.iter().any(|words| line.contains(words));
        let start =
            self.lines.iter().position(names_error).unwrap_or_else(|| self.lines.len().saturating_sub(10));
        let mut text = self.lines.iter().skip(start).cloned().collect::<Vec<_>>().join("\n");
        if text.len() > BYTES_MAX {
            let end = (0..=BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
        }
        text
    }
}

/// How lines begin that launchers and workers write around the log.
const BEGINNINGS: [&str; 5] = [
    "WARNING:",
    "Using Spark's default log4j profile",
    "Setting default log level",
    "Launch Command:",
    "====",
];

/// A line of Spark's log below an error: `26/11/28 13:35:00 INFO Class: …`, or a warning of the launcher.
fn is_chatter(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_date =
        words.next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'/'));
    let level = words.nth(1);
    is_date && matches!(level, Some("INFO" | "WARN" | "DEBUG" | "TRACE"))
        || BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found() {
        let mut excerpt = Excerpt::default();
        let connected = "26/11/28 13:35:00 INFO Backend: Connected to Spark cluster with app ID app-1";
        assert_eq!(application_id(connected), Some("app-1"));
        for line in [
            connected,
            "780",
            "Traceback (most recent call last):",
            "  File \"/tmp/app.py\", line 11, in <module>",
            ": org.apache.spark.SparkException: Job aborted due to stage failure: Task 1",
            "ValueError: the reason",
            "\tat org.apache.spark.api.python.X(PythonRunner.scala:572)",
            "ValueError: the reason",
            "26/11/28 13:35:40 INFO ShutdownHookManager: Shutdown hook called",
        ] {
            excerpt.take(line);
        }
        let expected = "Traceback (most recent call last):\n: org.apache.spark.SparkException: Job aborted due to \
                        stage failure: Task 1\nValueError: the reason";
        assert_eq!(excerpt.text(), expected);
    }

    #[test]
    fn the_end_of_an_application_on_yarn_is_told() {
        let mut excerpt = Excerpt::default();
        let told = [
            "26/11/28 13:35:40 ERROR YarnClientSchedulerBackend: YARN application has exited unexpectedly with state KILLED!",
            "Traceback (most recent call last):",
        ];
        for line in ["780", told[0], told[1]] {
            excerpt.take(line);
        }
        assert_eq!(excerpt.text(), told.join("\n"));
    }
}
