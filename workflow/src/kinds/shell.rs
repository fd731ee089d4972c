//! `shell`: a command line for `/bin/sh -c`, or a program and its arguments without a shell between.

use serde_json::Value;

use super::{ConfigCheck, Kind};
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "shell",
    summary: "Runs `command` with /bin/sh -c, or the program and arguments in `argv`.",
    fields: &["command", "argv"],
    least_mem: |_| Bytes(0),
    check,
};

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["command", "argv"], "command: ./train.sh");
    config.text("command");
    config.texts("argv");
    if config.get("argv").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        config.report(&["argv"], "`argv` is empty", "write the program and its arguments");
    }
}
