//! Programs that need something made before they start: this same program makes it, within the attempt, and then becomes
//! them. Python in an environment with its requirements; Scala with Meson's helper, compiled by the compiler at hand; Java with
//! the attempt's own place for temporary files.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::drive::OWN_PROGRAM;
use crate::kept::{self, Kept};
use crate::task::temporary;

/// The hidden subcommand: `in-venv KEPT INTERPRETER REQUIREMENTS ARGUMENT…`.
pub const IN_VENV: &str = "in-venv";
/// The hidden subcommand: `with-scala-helper KEPT HELPER JAVA CLASSPATH ARGUMENT…`.
pub const WITH_SCALA_HELPER: &str = "with-scala-helper";

/// The hidden subcommand: `java JAVA ARGUMENT…`.
pub const JAVA: &str = "java";

/// The start of a command that this program understands.
pub fn command(what: &str, rest: &[&str]) -> Vec<String> {
    [OWN_PROGRAM, what].iter().chain(rest).map(|part| (*part).to_owned()).collect()
}

/// Becomes the program, or says why not; none when the subcommand is no such thing.
pub fn run(what: &str, arguments: &[String]) -> Option<ExitCode> {
    let error = match (what, arguments) {
        (IN_VENV, [kept, interpreter, requirements, rest @ ..]) => {
            in_venv(Path::new(kept), interpreter, Path::new(requirements), rest)
        }
        (WITH_SCALA_HELPER, [kept, helper, java, classpath, rest @ ..]) => {
            with_scala_helper(Path::new(kept), Path::new(helper), java, classpath, rest)
        }
        (JAVA, [java, rest @ ..]) => {
            io::Error::other(format!("{java}: {}", virtual_machine(java).args(rest).exec()))
        }
        _ => return None,
    };
    eprintln!("{error}");
    Some(ExitCode::FAILURE)
}

/// Comes back only with an error.
fn in_venv(all: &Path, interpreter: &str, requirements: &Path, rest: &[String]) -> io::Error {
    let bring = || -> io::Result<Kept> {
        let print = ["-c", "import sys; print(sys.executable, sys.version)"];
        let version = Command::new(interpreter).args(print).output()?;
        let wanted = std::fs::read(requirements)?;
        // Other steps share it: nothing of this one's directories may be in it (`-I`), and what pip is told by variables is
        // part of what it is kept by.
        let told: Vec<_> = std::env::vars().filter(|(name, _)| name.starts_with("PIP_")).collect();
        let told = format!("{told:?}");
        kept::bring(all, &[interpreter.as_bytes(), &version.stdout, &wanted, told.as_bytes()], |dir| {
            eprintln!("making a Python environment");
            say(Command::new(interpreter).args(["-I", "-m", "venv"]).arg(dir))?;
            let pip =
                ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
            say(Command::new(dir.join("bin/python")).args(pip).arg(requirements))
        })
    };
    match bring() {
        Ok(venv) => Command::new(venv.dir.join("bin/python")).args(rest).exec(),
        Err(error) => io::Error::other(format!("no Python environment for this step: {error}")),
    }
}

/// Comes back only with an error.
fn with_scala_helper(all: &Path, helper: &Path, java: &str, classpath: &str, rest: &[String]) -> io::Error {
    let bring = || -> io::Result<Kept> {
        let source = std::fs::read(helper)?;
        kept::bring(all, &[java.as_bytes(), classpath.as_bytes(), &source], |dir| {
            std::fs::create_dir(dir)?;
            let compile = ["-cp", classpath, "scala.tools.nsc.Main", "-usejavacp", "-d"];
            say(Command::new(java).args(compile).arg(dir).arg(helper))
        })
    };
    match bring() {
        Ok(classes) => {
            // Options of Java come before the class to run, and what follows is as given.
            let classpath = format!("{}:{classpath}", classes.dir.display());
            virtual_machine(java).args(["-cp", &classpath]).args(rest).exec()
        }
        Err(error) => io::Error::other(format!("Meson's helper for Scala cannot be compiled: {error}")),
    }
}

/// A virtual machine does not look at `TMPDIR` by itself.
fn virtual_machine(java: &str) -> Command {
    let mut command = Command::new(java);
    command.args(temporary_files());
    command
}

/// The option that tells a virtual machine of Java where temporary files go.
pub fn temporary_files() -> Option<String> {
    let path = std::env::var(temporary::VARIABLE).ok()?;
    Some(format!("-Djava.io.tmpdir={path}"))
}

/// Runs it with its output on stderr: the attempt's log shows it, and the message of a failure ends with it.
fn say(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    io::stderr().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("{command:?}: {}", output.status)))
    }
}
