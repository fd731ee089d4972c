//! `python`: a script, a module or a few lines of code for a Python interpreter.

use super::{ConfigCheck, Kind};
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "python",
    summary: "Runs a `script`, a `module` or inline `code` with a Python interpreter.",
    fields: &["script", "code", "module", "args", "interpreter", "requirements"],
    least_mem: |_| Bytes(0),
    check,
};

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["script", "code", "module"], "script: train.py");
    for name in ["script", "code", "module", "interpreter"] {
        config.text(name);
    }
    config.texts("args");
    config.texts("requirements");
}
