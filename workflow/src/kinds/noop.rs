//! `noop`: does nothing, for joins, examples, tests and benchmarks.

use serde_json::Value;

use super::{ConfigCheck, Kind, describe, is_whole_template};
use crate::units::{Bytes, Millis};

pub(super) static KIND: Kind = Kind {
    name: "noop",
    summary: "Does nothing, after `duration`, then gives `outputs` or fails with the message in `fail`.",
    fields: &["duration", "outputs", "fail"],
    least_mem: |_| Bytes(0),
    check,
};

fn check(config: &mut ConfigCheck<'_>) {
    config.text("fail");
    match config.get("duration") {
        Some(Value::String(text)) if !is_whole_template(&Value::from(text.as_str())) => {
            if text.parse::<Millis>().is_err() {
                let message = format!("`duration` must be a duration, not the text `{text}`");
                let remedy = "write a whole number and a unit, one of ms, s, m, h and d, like `90s`";
                config.report(&["duration"], message, remedy);
            }
        }
        Some(Value::String(_)) | None => {}
        Some(other) => {
            let message = format!("`duration` must be a duration, not {}", describe(other));
            config.report(&["duration"], message, "write a whole number and a unit, like `90s`");
        }
    }
    match config.get("outputs") {
        Some(Value::Object(_)) | None => {}
        Some(value) if is_whole_template(value) => {}
        Some(other) => {
            let message = format!("`outputs` must be a map, not {}", describe(other));
            config.report(&["outputs"], message, "write `name: value` lines below it");
        }
    }
}
