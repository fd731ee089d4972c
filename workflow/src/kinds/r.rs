//! `r`: a script or a few lines of code for Rscript.

use super::{ConfigCheck, Kind};
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "r",
    summary: "Runs a `script` or inline `code` with Rscript.",
    fields: &["script", "code", "args", "interpreter"],
    least_mem: |_| Bytes(0),
    check,
};

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["script", "code"], "script: train.R");
    for name in ["script", "code", "interpreter"] {
        config.text(name);
    }
    config.texts("args");
}
