//! `python`: a script file, a module, or code given in place; in an environment of its own if it asks for packages.

use meson_proto::v1::Launch;
use serde::Deserialize;

use super::{Place, Plan, Program, Rejected, Runner, is_program, path_argument, read, texts};
use crate::config;
use crate::ways;

/// Without it what a step prints comes only when it ends.
const UNBUFFERED: &str = "PYTHONUNBUFFERED";

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
    #[serde(default, deserialize_with = "texts")]
    args: Vec<String>,
    interpreter: Option<String>,
    /// Packages, each as a line of a requirements file.
    #[serde(default, deserialize_with = "texts")]
    requirements: Vec<String>,
}

impl Runner for Python {
    fn kind(&self) -> &'static str {
        "python"
    }

    fn is_available(&self, config: &config::Config) -> bool {
        is_program(&config.python)
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let mut files = Vec::new();
        let mut argv = Vec::new();
        match (config.script, config.code, config.module) {
            (Some(script), None, None) => argv.push(path_argument(script)),
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
        let interpreter = config.interpreter.unwrap_or_else(|| place.config.python.clone());
        if config.requirements.is_empty() {
            argv.insert(0, interpreter);
        } else {
            // An option of pip, be it by a line break, could bring in anything, and its files are no part of what is kept.
            let is_option = |line: &String| line.contains(['\n', '\r']) || line.trim_start().starts_with('-');
            if config.requirements.iter().any(is_option) {
                return Err(Rejected("a requirement is one line, and no option of pip".to_owned()));
            }
            let path = place.dir.root().join("requirements.txt");
            let kept = place.config.data_dir.join("venvs").to_string_lossy().into_owned();
            let file = path.to_string_lossy();
            argv.splice(0..0, ways::command(ways::IN_VENV, &[&kept, &interpreter, &file]));
            files.push((path, config.requirements.join("\n")));
        }
        let mut env = vec![("PYTHONPATH".to_owned(), python_path(launch, place.config.helper("python")))];
        if !launch.env.contains_key(UNBUFFERED) {
            env.push((UNBUFFERED.to_owned(), "1".to_owned()));
        }
        Ok(Plan::Process(Program { argv, files, env, ..Program::default() }))
    }
}

/// Meson's own helper comes last, behind what the step and the machine name.
pub(super) fn python_path(launch: &Launch, helper: String) -> String {
    let of_machine = std::env::var("PYTHONPATH").ok();
    let before = launch.env.get("PYTHONPATH").cloned().or(of_machine).filter(|path| !path.is_empty());
    before.into_iter().chain([helper]).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use crate::runners::Plan;
    use crate::runners::testing::{argv, plan};

    #[test]
    fn script_module_or_code() {
        assert_eq!(argv("python", r#"{"script": "t.py", "args": ["-v"]}"#), ["python3", "t.py", "-v"]);
        assert_eq!(argv("python", r#"{"module": "a.b", "interpreter": "pypy"}"#), ["pypy", "-m", "a.b"]);
        assert_eq!(argv("python", r#"{"code": "print(1)"}"#), ["python3", "/attempt/work/step.py"]);
        assert_eq!(argv("python", r#"{"script": "-c", "args": ["evil"]}"#), ["python3", "./-c", "evil"]);
        for bad in ["{}", r#"{"script": "a", "code": "b"}"#] {
            assert!(plan("python", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requirements_are_lines() {
        let Ok(Plan::Process(program)) =
            plan("python", r#"{"script": "t.py", "requirements": ["a==1", "b"]}"#)
        else {
            panic!("no process")
        };
        assert_eq!((program.argv[1].as_str(), program.argv.last().unwrap().as_str()), ("in-venv", "t.py"));
        assert_eq!(program.files[0].1, "a==1\nb");
        for option in [r"a\n--index-url=x", "--index-url=x", " -r other.txt"] {
            let config = format!(r#"{{"script": "t.py", "requirements": ["{option}"]}}"#);
            assert!(plan("python", &config).is_err(), "{option}");
        }
    }
}
