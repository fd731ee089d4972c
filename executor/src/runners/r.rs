//! `r`: a script file, or code given in place, for Rscript.

use meson_proto::v1::Launch;
use serde::Deserialize;

use super::{Place, Plan, Program, Rejected, Runner, is_program, path_argument, read, texts};
use crate::config;

/// The runner.
pub struct R;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Path of a script, relative to the attempt's directory.
    script: Option<String>,
    /// The program itself.
    code: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    args: Vec<String>,
    interpreter: Option<String>,
}

impl Runner for R {
    fn kind(&self) -> &'static str {
        "r"
    }

    fn is_available(&self, config: &config::Config) -> bool {
        is_program(&config.rscript)
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let mut argv = vec![config.interpreter.unwrap_or_else(|| place.config.rscript.clone())];
        // What a user's start-up files do is no part of the workflow.
        argv.push("--no-init-file".to_owned());
        let mut files = Vec::new();
        match (config.script, config.code) {
            (Some(script), None) => argv.push(path_argument(script)),
            (None, Some(code)) => {
                let path = place.dir.work().join("step.R");
                argv.push(path.to_string_lossy().into_owned());
                files.push((path, code));
            }
            _ => return Err(Rejected("an r step needs either `script` or `code`".to_owned())),
        }
        argv.extend(config.args);
        let env = vec![
            ("MESON_R".to_owned(), place.config.helper("meson.R")),
            // In place of `.Renviron`; that of the machine is read, it says where packages are.
            ("R_ENVIRON_USER".to_owned(), "/dev/null".to_owned()),
        ];
        Ok(Plan::Process(Program { argv, files, env, ..Program::default() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::runners::testing::{argv, plan};

    #[test]
    fn script_or_code() {
        let script = argv("r", r#"{"script": "t.R", "args": ["a b"]}"#);
        assert_eq!(script, ["Rscript", "--no-init-file", "t.R", "a b"]);
        assert_eq!(argv("r", r#"{"code": "1"}"#)[2], "/attempt/work/step.R");
        for bad in ["{}", r#"{"script": "a", "code": "b"}"#, r#"{"module": "a"}"#] {
            assert!(plan("r", bad).is_err(), "{bad}");
        }
    }
}
