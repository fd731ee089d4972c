//! The task contract: the environment a step's own code sees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meson_proto::v1::Launch;

use crate::task::dirs::AttemptDir;
use crate::task::temporary;

/// Variables of the executor itself that a step does not inherit, beside all of `MESON_*`.
const NOT_INHERITED: [&str; 9] = [
    // With it a step could speak to the Mesos agent as its executor.
    "MESOS_EXECUTOR_AUTHENTICATION_TOKEN",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
];

/// The whole environment, from weak to strong: the executor's own, with the attempt's own place for temporary files, the
/// launch's, the runner's, the contract's.
pub fn environment(
    inherited: impl Iterator<Item = (String, String)>,
    runner: Vec<(String, String)>,
    launch: &Launch,
    dir: &AttemptDir,
    workspace: &str,
) -> BTreeMap<String, String> {
    let inherited =
        inherited.filter(|(name, _)| !name.starts_with("MESON_") && !NOT_INHERITED.contains(&name.as_str()));
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let contract = [
        ("MESON_RUN_ID", launch.run_id.clone()),
        ("MESON_WORKFLOW", launch.workflow.clone()),
        ("MESON_STEP", launch.step.clone()),
        ("MESON_ATTEMPT", launch.attempt.to_string()),
        ("MESON_ATTEMPT_ID", launch.attempt_id.clone()),
        ("MESON_FENCE", launch.fence.to_string()),
        ("MESON_PARAMS", text(dir.params())),
        ("MESON_EVENTS", text(dir.events())),
        ("MESON_WORKSPACE", workspace.to_owned()),
    ];
    let temporary = temporary::of(dir).map(|path| (temporary::VARIABLE.to_owned(), text(path)));
    inherited
        .chain(temporary)
        .chain(launch.env.clone())
        .chain(runner)
        .chain(contract.map(|(name, value)| (name.to_owned(), value)))
        // The system refuses such names and values; better to run without them than not at all.
        .filter(|(name, value)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_wins() {
        let own = [
            ("PATH", "/bin"),
            ("MESON_TOKEN", "secret"),
            ("RUST_LOG", "debug"),
            ("TZ", "UTC"),
            ("TMPDIR", "/big"),
        ];
        let launch = Launch {
            attempt_id: "a-1".into(),
            fence: 9,
            env: [("TZ".to_owned(), "CET".to_owned()), ("MESON_FENCE".to_owned(), "1".to_owned())].into(),
            ..Launch::default()
        };
        let dir = AttemptDir::new(PathBuf::from("/d"));
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = environment(own, vec![], &launch, &dir, "/w");
        assert_eq!(env["PATH"], "/bin");
        assert_eq!(env["TZ"], "CET");
        assert_eq!((env["MESON_FENCE"].as_str(), env["MESON_ATTEMPT_ID"].as_str()), ("9", "a-1"));
        assert_eq!(env["MESON_EVENTS"], "/d/events.jsonl");
        assert_eq!(env["TMPDIR"], "/big", "it has none of its own");
        assert!(!env.contains_key("MESON_TOKEN") && !env.contains_key("RUST_LOG"));
    }
}
