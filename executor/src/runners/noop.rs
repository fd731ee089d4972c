//! `noop`: does nothing, for tests, benchmarks and joints of a graph. No process, no directory, no disk write.

use std::time::Duration;

use meson_proto::v1::Launch;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Ending, Place, Plan, Rejected, Runner, read};
use crate::units;

/// The runner.
pub struct Noop;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How long it takes, e.g. `10ms`.
    duration: Option<String>,
    #[serde(default)]
    outputs: Map<String, Value>,
    /// Fails with this message.
    fail: Option<String>,
}

impl Runner for Noop {
    fn kind(&self) -> &'static str {
        "noop"
    }

    fn prepare(&self, launch: &Launch, _place: &Place<'_>) -> Result<Plan, Rejected> {
        if matches!(launch.config_json.as_str(), "" | "{}") {
            return Ok(Plan::InProcess(Ending::default()));
        }
        let config: Config = read(launch)?;
        let after = match config.duration {
            Some(text) => units::parse_duration(&text)
                .ok_or_else(|| Rejected(format!("`{text}` is no duration, e.g. 10ms or 2s")))?,
            None => Duration::ZERO,
        };
        Ok(Plan::InProcess(Ending { after, outputs: config.outputs, fail: config.fail }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::testing::plan;

    #[test]
    fn nothing_or_a_little() {
        assert_eq!(plan("noop", ""), Ok(Plan::InProcess(Ending::default())));
        let Ok(Plan::InProcess(ending)) =
            plan("noop", r#"{"duration": "10ms", "outputs": {"a": 1}, "fail": "no"}"#)
        else {
            panic!("a process for nothing")
        };
        assert_eq!((ending.after.as_millis(), ending.fail.as_deref()), (10, Some("no")));
        assert_eq!(ending.outputs["a"], 1);
        assert!(plan("noop", r#"{"duration": "soon"}"#).is_err());
    }
}
