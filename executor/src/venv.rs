//! Python environments, one for each set of requirements and interpreter, kept for the next step that wants the same. Made
//! within the attempt that needs it, so that its timeout, kill and log hold for that too; then this process becomes Python.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sha2::{Digest as _, Sha256};

use crate::drive::OWN_PROGRAM;

/// The hidden subcommand.
pub const IN_VENV: &str = "in-venv";

/// Environments that are kept; of more, those that were not used for longest go.
const KEPT_MAX: usize = 20;

/// The command that runs what follows in an environment with these requirements.
pub fn command(data_dir: &Path, interpreter: &str, requirements: &Path) -> [String; 5] {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    [
        OWN_PROGRAM.to_owned(),
        IN_VENV.to_owned(),
        text(&data_dir.join("venvs")),
        interpreter.to_owned(),
        text(requirements),
    ]
}

/// Becomes Python, or says why not. The arguments are those after [`IN_VENV`].
pub fn run(arguments: &[String]) -> ExitCode {
    let [venvs, interpreter, requirements, program @ ..] = arguments else { return ExitCode::FAILURE };
    match bring(Path::new(venvs), interpreter, Path::new(requirements)) {
        Ok(venv) => {
            let error = Command::new(venv.dir.join("bin/python")).args(program).exec();
            eprintln!("{} cannot be started: {error}", venv.dir.display());
        }
        Err(error) => eprintln!("the environment of this step cannot be made: {error}"),
    }
    ExitCode::FAILURE
}

struct Venv {
    dir: PathBuf,
    /// Shared by all that run in it; Python inherits it, so that nobody removes the environment below it.
    _lock: File,
}

fn bring(venvs: &Path, interpreter: &str, requirements: &Path) -> io::Result<Venv> {
    std::fs::create_dir_all(venvs)?;
    let version =
        Command::new(interpreter).args(["-c", "import sys; print(sys.executable, sys.version)"]).output()?;
    let mut hash = Sha256::new();
    hash.update(interpreter.as_bytes());
    hash.update(&version.stdout);
    hash.update(std::fs::read(requirements)?);
    let name: String = hash.finalize().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let dir = venvs.join(&name);
    let lock = File::create(venvs.join(format!("{name}.lock")))?;
    let is_made = dir.join(STAMP);
    lock.lock_shared()?;
    if !is_made.exists() {
        lock.unlock()?;
        lock.lock()?;
        // Another attempt may have made it while this one waited.
        if !is_made.exists() {
            make(&dir, interpreter, requirements)?;
            File::create(&is_made)?;
        }
        lock.unlock()?;
        lock.lock_shared()?;
    }
    File::open(&is_made)?.set_modified(SystemTime::now())?;
    fcntl(&lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
    prune(venvs, &name);
    Ok(Venv { dir, _lock: lock })
}

/// Bytes of the hash that name an environment.
const NAME_BYTES: usize = 16;
/// There once all is installed. Its time is that of the last use.
const STAMP: &str = ".meson-made";

fn make(dir: &Path, interpreter: &str, requirements: &Path) -> io::Result<()> {
    eprintln!("making a Python environment");
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    say(Command::new(interpreter).args(["-m", "venv"]).arg(dir))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
    say(Command::new(dir.join("bin/python")).args(pip).arg(requirements))
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

/// Removes what nobody used for longest. What cannot be removed now may be so the next time.
fn prune(venvs: &Path, used: &str) {
    let Ok(entries) = std::fs::read_dir(venvs) else { return };
    let mut kept: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name() != *used)
        .filter_map(|entry| Some((entry.path().join(STAMP).metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(KEPT_MAX);
    for (_, dir) in &kept[..surplus] {
        let Ok(lock) = File::create(dir.with_extension("lock")) else { continue };
        match lock.try_lock() {
            // The stamp first: what is half removed is not taken for whole.
            Ok(()) => drop(std::fs::remove_file(dir.join(STAMP)).and_then(|()| std::fs::remove_dir_all(dir))),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_nobody_uses_go() {
        let venvs = tempfile::tempdir().unwrap();
        let venvs = venvs.path();
        for number in 0..KEPT_MAX as u64 + 2 {
            let dir = venvs.join(format!("{number:03}"));
            std::fs::create_dir(&dir).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
            File::create(dir.join(STAMP)).unwrap().set_modified(time).unwrap();
        }
        let in_use = File::create(venvs.join("001.lock")).unwrap();
        in_use.lock_shared().unwrap();
        prune(venvs, "021");
        let is_there = |name: &str| venvs.join(name).exists();
        assert_eq!(["000", "001", "002", "021"].map(is_there), [false, true, true, true]);
    }
}
