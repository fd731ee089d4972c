//! Secrets of steps: named by the definition, read on this machine right before the start from files below `secrets_dir`, and
//! put into the environment of the attempt's process alone. Here their values stay in memory; `mask` keeps them out of what
//! the step writes and says.

pub mod mask;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use meson_proto::v1::{Failure, FailureClass};

use crate::task::exit;
use mask::MASKED_BYTES_MIN;

/// Longest value. The system takes no variable of more than 128 KiB.
pub const SECRET_BYTES_MAX: u64 = 32 << 10;
/// All values of a step.
pub const SECRETS_BYTES_MAX: usize = 128 << 10;
/// Bits of a file's mode by which others than its owner may write it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// How the names begin of the variables by which a supervisor holds secrets.
const HELD: &str = "MESON_HELD_";

/// Values by the names of their variables.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

impl std::fmt::Debug for Secrets {
    /// Names only: whatever is logged, values are not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("secret `{name}`, for the variable {variable}: {why}")]
pub struct Error {
    variable: String,
    name: String,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("this executor has no secrets: its setting `secrets_dir` is empty")]
    NoDirectory,
    #[error("there is no such file in {}; lay it there and restart the run", .0.display())]
    Missing(PathBuf),
    #[error("the name is not a relative path of letters, digits, `.`, `_` and `-`")]
    Name,
    #[error("{} is not a file below the setting `secrets_dir`, {}", .0.display(), .1.display())]
    Place(PathBuf, PathBuf),
    #[error("others than its owner may write {}; take that from them (chmod go-w)", .0.display())]
    Writable(PathBuf),
    #[error("{} is longer than {SECRET_BYTES_MAX} bytes", .0.display())]
    Long(PathBuf),
    #[error("with it the secrets of this step are longer than {SECRETS_BYTES_MAX} bytes")]
    LongTogether,
    #[error("{} holds fewer than {MASKED_BYTES_MIN} bytes, too few to be told from other text in a log", .0.display())]
    Short(PathBuf),
    #[error("{} is not text (UTF-8, without NUL)", .0.display())]
    Text(PathBuf),
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Read(PathBuf, #[source] io::Error),
}

impl Error {
    /// As it is reported. What is not there, or not as it must be, stays so until somebody mends it: tried again, the step
    /// would only fail later. A disk that fails is the platform's.
    pub fn failure(&self) -> Failure {
        let (class, reason) = match &self.why {
            Why::NoDirectory | Why::Missing(_) => (FailureClass::Rejected, "secret_missing"),
            Why::Read(_, error) if error.kind() != io::ErrorKind::PermissionDenied => {
                (FailureClass::Platform, "secret_unreadable")
            }
            Why::Name
            | Why::Place(..)
            | Why::Writable(_)
            | Why::Long(_)
            | Why::LongTogether
            | Why::Short(_)
            | Why::Text(_)
            | Why::Read(..) => (FailureClass::Rejected, "secret_refused"),
        };
        exit::new(class, reason, &self.to_string())
    }
}

impl Secrets {
    /// Reads all that a launch names, by variable.
    ///
    /// # Errors
    /// The first that cannot be had.
    pub fn read(dir: &Path, wanted: &HashMap<String, String>) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        let mut left = SECRETS_BYTES_MAX;
        for (variable, name) in wanted {
            let value = value(dir, name).and_then(|value| {
                left = left.checked_sub(value.len()).ok_or(Why::LongTogether)?;
                Ok(value)
            });
            let failed = |why| Error { variable: variable.clone(), name: name.clone(), why };
            values.insert(variable.clone(), value.map_err(failed)?);
        }
        Ok(Secrets(values))
    }

    /// Variables by which a supervisor holds them for the next executor: not by their own names, which may mean something
    /// to a program, as `LD_PRELOAD` does.
    pub fn held(&self) -> impl Iterator<Item = (String, &String)> {
        self.0.iter().map(|(name, value)| (format!("{HELD}{name}"), value))
    }

    /// Those that a supervisor holds; of one that is gone none.
    pub fn held_by(pid: i32, variables: &[String]) -> Self {
        let block = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let pairs = block
            .split(|byte| *byte == 0)
            .filter_map(|pair| std::str::from_utf8(pair).ok()?.strip_prefix(HELD)?.split_once('='));
        Self::of(&pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), variables)
    }

    /// Those variables of an environment that hold secrets.
    pub fn of(env: &BTreeMap<String, String>, variables: &[String]) -> Self {
        let known = |name: &String| Some((name.clone(), env.get(name)?.clone()));
        Secrets(variables.iter().filter_map(known).collect())
    }

    /// These, and of the others those that are missing here.
    #[must_use]
    pub fn or(self, mut others: Self) -> Self {
        others.0.extend(self.0);
        others
    }

    /// Variables and values.
    pub fn variables(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.values().map(String::as_str)
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain))
}

fn value(dir: &Path, name: &str) -> Result<String, Why> {
    if dir.as_os_str().is_empty() {
        return Err(Why::NoDirectory);
    }
    // Definitions are checked for it; this is what keeps the file inside, should one not have been.
    if !is_name(name) {
        return Err(Why::Name);
    }
    let path = dir.join(name);
    let found = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Why::Missing(dir.to_owned()),
        _ => Why::Read(path.clone(), error),
    };
    // Kubernetes lays links to files beside them; a link that leads elsewhere is not followed.
    let place = path.canonicalize().map_err(found)?;
    let inside = dir.canonicalize().map_err(found)?;
    // Whatever it is, opening it must not wait.
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&place).map_err(found)?;
    let data = file.metadata().map_err(found)?;
    if !place.starts_with(inside) || !data.is_file() {
        return Err(Why::Place(path, dir.to_owned()));
    }
    if data.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Why::Writable(path));
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(found)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(Why::Long(path));
    }
    let text = String::from_utf8(bytes).map_err(|_| Why::Text(path.clone()))?;
    if text.contains('\0') {
        return Err(Why::Text(path));
    }
    // Editors and `echo` end a file with a line end that is not part of the secret.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.len() < MASKED_BYTES_MIN {
        return Err(Why::Short(path));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn read(dir: &Path, name: &str) -> Result<String, (FailureClass, String, String)> {
        let wanted = HashMap::from([("TOKEN".to_owned(), name.to_owned())]);
        let told = |error: Error| {
            let failure = error.failure();
            (failure.class(), failure.reason, failure.message)
        };
        Ok(Secrets::read(dir, &wanted).map_err(told)?.0["TOKEN"].clone())
    }

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("hive")).unwrap();
        for (name, content) in [
            ("hive/password", &b"correct horse\n"[..]),
            ("crlf", b"correct horse\r\n"),
            ("lines", b"correct\nhorse\n\n"),
            ("short", b"1234567\n"),
            ("binary", b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"),
            ("nul", b"correct\0horse"),
            ("long", &[b'x'; SECRET_BYTES_MAX as usize + 1]),
            ("longest", &[b'x'; SECRET_BYTES_MAX as usize]),
            ("open", b"correct horse"),
        ] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o666)).unwrap();
        dir
    }

    #[test]
    fn values_are_what_the_files_hold_without_the_last_line_end() {
        let dir = directory();
        assert_eq!(read(dir.path(), "hive/password").unwrap(), "correct horse");
        assert_eq!(read(dir.path(), "crlf").unwrap(), "correct horse");
        assert_eq!(read(dir.path(), "lines").unwrap(), "correct\nhorse\n");
        assert_eq!(read(dir.path(), "longest").unwrap().len() as u64, SECRET_BYTES_MAX);
        // As Kubernetes lays them.
        symlink("hive", dir.path().join("..data")).unwrap();
        symlink("..data/password", dir.path().join("linked")).unwrap();
        assert_eq!(read(dir.path(), "linked").unwrap(), "correct horse");
    }

    #[test]
    fn what_cannot_be_had_is_named_with_its_place() {
        let dir = directory();
        symlink("/etc/hostname", dir.path().join("outside")).unwrap();
        let place = dir.path().to_str().unwrap();
        for (name, reason, text) in [
            ("hive/user", "secret_missing", place),
            ("hive/password/x", "secret_missing", place),
            ("hive", "secret_refused", "is not a file below"),
            ("outside", "secret_refused", "is not a file below"),
            ("../x", "secret_refused", "relative path"),
            ("/etc/hostname", "secret_refused", "relative path"),
            ("short", "secret_refused", "fewer than 8 bytes"),
            ("long", "secret_refused", "longer than 32768 bytes"),
            ("binary", "secret_refused", "not text"),
            ("nul", "secret_refused", "not text"),
            ("open", "secret_refused", "chmod go-w"),
        ] {
            let (class, found, message) = read(dir.path(), name).unwrap_err();
            assert_eq!((class, found.as_str()), (FailureClass::Rejected, reason), "{message}");
            assert!(
                message.contains(text) && message.contains(&format!("`{name}`, for the variable TOKEN")),
                "{message}"
            );
            assert!(!message.contains("horse"), "{message}");
        }
        let (_, reason, message) = read(Path::new(""), "a").unwrap_err();
        assert_eq!(reason, "secret_missing");
        assert!(message.contains("`secrets_dir` is empty"), "{message}");
        let many = (0..5).map(|number| (format!("S{number}"), "longest".to_owned())).collect();
        assert!(
            Secrets::read(dir.path(), &many).unwrap_err().to_string().contains("longer than 131072 bytes")
        );
    }

    #[test]
    fn values_are_never_told_by_debug() {
        let dir = directory();
        let wanted = HashMap::from([("TOKEN".to_owned(), "hive/password".to_owned())]);
        assert_eq!(format!("{:?}", Secrets::read(dir.path(), &wanted).unwrap()), r#"{"TOKEN"}"#);
    }

    #[test]
    fn a_supervisor_holds_the_values_that_its_step_began_with() {
        let begun = Secrets(BTreeMap::from([("TOKEN".to_owned(), "correct horse".to_owned())]));
        let mut child = std::process::Command::new("sleep").arg("60").envs(begun.held()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let variables = ["TOKEN".to_owned(), "OTHER".to_owned()];
        // The environment is there a moment after the program.
        let mut own = Secrets::default();
        while own == Secrets::default() {
            own = Secrets::held_by(pid, &variables);
        }
        crate::task::proc::kill_hard(&[pid]);
        child.wait().unwrap();
        let newer =
            BTreeMap::from([("TOKEN".to_owned(), "new".to_owned()), ("OTHER".to_owned(), "more".to_owned())]);
        let both = own.or(Secrets::of(&newer, &variables));
        assert_eq!(both.values().collect::<Vec<_>>(), ["more", "correct horse"]);
        assert_eq!(Secrets::held_by(pid, &variables), Secrets::default());
    }
}
