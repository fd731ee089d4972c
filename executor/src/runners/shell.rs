//! `shell`: a command line for `/bin/sh`, or a program with its arguments.

use meson_proto::v1::Launch;
use serde::Deserialize;

use super::{Place, Plan, Program, Rejected, Runner, read, some_texts};

/// The runner.
pub struct Shell;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    command: Option<String>,
    #[serde(default, deserialize_with = "some_texts")]
    argv: Option<Vec<String>>,
}

impl Runner for Shell {
    fn kind(&self) -> &'static str {
        "shell"
    }

    fn prepare(&self, launch: &Launch, _place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let argv = match (config.command, config.argv) {
            (Some(command), None) => vec!["/bin/sh".to_owned(), "-c".to_owned(), command],
            (None, Some(argv)) if !argv.is_empty() => argv,
            _ => return Err(Rejected("a shell step needs either `command` or `argv`".to_owned())),
        };
        Ok(Plan::Process(Program { argv, ..Program::default() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::runners::testing::{argv, plan};

    #[test]
    fn command_or_argv() {
        assert_eq!(
            argv("shell", r#"{"command": "echo a && echo b"}"#),
            ["/bin/sh", "-c", "echo a && echo b"]
        );
        assert_eq!(argv("shell", r#"{"argv": ["ls", "-l"]}"#), ["ls", "-l"]);
        assert_eq!(argv("shell", r#"{"argv": ["seq", 1.5, true]}"#), ["seq", "1.5", "true"]);
        for bad in [
            "{}",
            r#"{"argv": []}"#,
            r#"{"command": "a", "argv": ["b"]}"#,
            r#"{"cmd": "a"}"#,
            r#"{"argv": [["a"]]}"#,
            "[]",
        ] {
            assert!(plan("shell", bad).is_err(), "{bad}");
        }
    }
}
