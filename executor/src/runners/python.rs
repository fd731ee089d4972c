//! `python`: a script file, a module, or code given in place.

use meson_proto::v1::Launch;
use serde::Deserialize;

use super::{Place, Plan, Program, Rejected, Runner, read};

/// The runner.
pub struct Python;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Path of a script, relative to the attempt's directory.
    script: Option<String>,
    /// The program itself.
    code: Option<String>,
    /// A module, as after `python -m`.
    module: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    interpreter: Option<String>,
}

impl Runner for Python {
    fn kind(&self) -> &'static str {
        "python"
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let mut argv = vec![config.interpreter.unwrap_or_else(|| place.config.python.clone())];
        let mut files = Vec::new();
        match (config.script, config.code, config.module) {
            (Some(script), None, None) => argv.push(script),
            (None, None, Some(module)) => argv.extend(["-m".to_owned(), module]),
            (None, Some(code), None) => {
                // A file and not `-c`, so that tracebacks show lines and the code may be of any length.
                let path = place.dir.work().join("step.py");
                argv.push(path.to_string_lossy().into_owned());
                files.push((path, code));
            }
            _ => return Err(Rejected("a python step needs one of `script`, `code` and `module`".to_owned())),
        }
        argv.extend(config.args);
        Ok(Plan::Process(Program { argv, files, env: vec![("PYTHONUNBUFFERED".to_owned(), "1".to_owned())], ..Program::default() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::runners::testing::{argv, plan};

    #[test]
    fn script_module_or_code() {
        assert_eq!(argv("python", r#"{"script": "t.py", "args": ["-v"]}"#), ["python3", "t.py", "-v"]);
        assert_eq!(argv("python", r#"{"module": "a.b", "interpreter": "pypy"}"#), ["pypy", "-m", "a.b"]);
        assert_eq!(argv("python", r#"{"code": "print(1)"}"#), ["python3", "/attempt/work/step.py"]);
        for bad in ["{}", r#"{"script": "a", "code": "b"}"#] {
            assert!(plan("python", bad).is_err(), "{bad}");
        }
    }
}
