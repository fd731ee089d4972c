//! `scala`: a script or code given in place, run by the compiler's runner, or a main class of a jar.

use meson_proto::v1::Launch;
use serde::Deserialize;

use super::{Place, Plan, Program, Rejected, Runner, is_program, path_argument, read, texts};
use crate::config;
use crate::ways;

/// The runner.
pub struct Scala;

/// Share of the step's memory that is the heap's; the rest is for the virtual machine itself.
const HEAP_PERCENT: u64 = 70;

/// The class that compiles a script and runs it, with all that Java has on its class path, without a server beside it.
const RUNNER: [&str; 3] = ["scala.tools.nsc.MainGenericRunner", "-usejavacp", "-nc"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Path of a script, relative to the attempt's directory.
    script: Option<String>,
    /// The program itself.
    code: Option<String>,
    /// Path of a jar, with the name of a class in it.
    jar: Option<String>,
    main_class: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    classpath: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    args: Vec<String>,
    #[serde(default, deserialize_with = "texts")]
    java_options: Vec<String>,
}

impl Runner for Scala {
    fn kind(&self) -> &'static str {
        "scala"
    }

    fn is_available(&self, config: &config::Config) -> bool {
        !config.scala_classpath.is_empty() && is_program(&config.java)
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        let mut options = heap(launch);
        options.extend(ENDS_WHEN_FULL.map(str::to_owned));
        options.extend(config.java_options);
        let settings = place.config;
        let mut argv: Vec<String>;
        let mut files = Vec::new();
        match (config.script, config.code, config.jar, config.main_class) {
            (None, None, Some(jar), Some(main)) => {
                let classpath: Vec<String> = std::iter::once(jar).chain(config.classpath).collect();
                argv = ways::command(ways::JAVA, &[&settings.java]);
                argv.extend(options);
                argv.extend(["-cp".to_owned(), classpath.join(":"), main]);
            }
            (script, code, None, None) if script.is_some() != code.is_some() => {
                let kept = settings.data_dir.join("scala").to_string_lossy().into_owned();
                let helper = settings.helper("Meson.scala");
                argv = ways::command(
                    ways::WITH_SCALA_HELPER,
                    &[&kept, &helper, &settings.java, &settings.scala_classpath],
                );
                argv.extend(options);
                argv.extend(RUNNER.map(str::to_owned));
                if !config.classpath.is_empty() {
                    argv.extend(["-classpath".to_owned(), config.classpath.join(":")]);
                }
                argv.push(script.map(path_argument).unwrap_or_else(|| {
                    let path = place.dir.work().join("step.scala");
                    let name = path.to_string_lossy().into_owned();
                    files.extend(code.map(|code| (path, code)));
                    name
                }));
            }
            _ => {
                let message = "a scala step needs one of `script`, `code`, and `jar` with `main_class`";
                return Err(Rejected(message.to_owned()));
            }
        }
        argv.extend(config.args);
        Ok(Plan::Process(Program { argv, files, ..Program::default() }))
    }
}

/// So that a virtual machine whose heap is full ends at once, and its last words tell why (`task::exit` reads them).
const ENDS_WHEN_FULL: [&str; 2] = ["-XX:+ExitOnOutOfMemoryError", "-XX:+DisplayVMOutputToStderr"];

/// By itself a virtual machine takes a share of the whole machine.
fn heap(launch: &Launch) -> Vec<String> {
    let bytes = launch.resources.as_ref().map_or(0, |resources| resources.mem_bytes);
    if bytes == 0 { Vec::new() } else { vec![format!("-Xmx{}k", bytes / 100 * HEAP_PERCENT / 1_024)] }
}

#[cfg(test)]
mod tests {
    use super::{ENDS_WHEN_FULL, RUNNER};
    use crate::runners::testing::{argv, plan};

    #[test]
    fn script_code_or_jar() {
        let script = argv("scala", r#"{"script": "t.scala", "args": ["1"]}"#);
        assert_eq!(script[1], "with-scala-helper");
        assert_eq!(script[6..], [&ENDS_WHEN_FULL[..], &RUNNER, &["t.scala", "1"]].concat());
        assert_eq!(argv("scala", r#"{"code": "1"}"#).last().unwrap(), "/attempt/work/step.scala");
        let jar = r#"{"jar": "a.jar", "main_class": "M", "classpath": ["b.jar"], "java_options": ["-ea"]}"#;
        assert_eq!(
            argv("scala", jar)[1..],
            [&["java", "java"], &ENDS_WHEN_FULL[..], &["-ea", "-cp", "a.jar:b.jar", "M"]].concat()
        );
        for bad in [
            "{}",
            r#"{"script": "a", "code": "b"}"#,
            r#"{"jar": "a"}"#,
            r#"{"code": "a", "main_class": "M"}"#,
        ] {
            assert!(plan("scala", bad).is_err(), "{bad}");
        }
    }
}
