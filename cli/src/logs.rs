//! `mesonctl logs`: what a step wrote, as it wrote it; standard error goes to standard error.

use std::io::Write as _;

use meson_proto::v1::*;
use serde_json::json;

use crate::args::{Logs, Output};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, show};

/// Prints the log; with --follow, until the step has ended.
pub async fn run(client: &Client, options: Logs, output: Output) -> Result {
    let mut from_sequence = 0;
    let mut breaks = client.breaks();
    loop {
        let request = ReadLogsRequest {
            run_id: options.run.clone(),
            step: options.step.clone(),
            attempt: options.attempt,
            from_sequence,
            follow: options.follow,
            tail: if from_sequence == 0 { options.tail } else { 0 },
        };
        let call = |channel| {
            let request = request.clone();
            async move { client::logs(channel).read_logs(request).await }
        };
        let mut stream = client.call(call).await?;
        breaks.opened();
        loop {
            match stream.message().await {
                Ok(Some(piece)) => {
                    breaks.progress();
                    for record in &piece.records {
                        print(record, output)?;
                        from_sequence = record.sequence + 1;
                    }
                }
                Ok(None) => return Ok(Exit::Succeeded),
                // Go on where it broke, at another replica.
                Err(status) if client::is_passing(&status) => break,
                Err(status) => return Err(status.into()),
            }
        }
        breaks.pause().await?;
    }
}

fn print(record: &LogRecord, output: Output) -> Result<()> {
    if output == Output::Json {
        json::print(&json!({ "sequence": record.sequence, "time_ms": record.time_ms, "end": record.end,
            "stream": show::word(record.stream().as_str_name(), "LOG_STREAM_"),
            "text": String::from_utf8_lossy(&record.data) }));
        return Ok(());
    }
    let written = match record.stream() {
        LogStream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(&record.data).and_then(|()| out.flush())
        }
        LogStream::Stderr => std::io::stderr().write_all(&record.data),
        LogStream::System | LogStream::Unspecified if record.data.is_empty() => Ok(()),
        LogStream::System | LogStream::Unspecified => {
            writeln!(std::io::stderr(), "[meson] {}", String::from_utf8_lossy(&record.data).trim_end())
        }
    };
    written.map_err(|error| Error::usage(format!("cannot write: {error}")))
}
