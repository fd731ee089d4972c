//! Names of attempts as they come from outside, checked so that they are safe as file names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use super::crc::crc32;

const LENGTH_MAX: usize = 200;
const SUFFIX: &str = ".log";

/// An attempt's id: 1 to 200 of the characters `A-Z a-z 0-9 . _ -`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptName(Arc<str>);

impl AttemptName {
    /// Checks an id.
    ///
    /// # Errors
    /// When it is too long, empty, or has other characters.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > LENGTH_MAX || !text.bytes().all(is_allowed) {
            return Err(Error::AttemptName(text.chars().take(LENGTH_MAX).collect()));
        }
        Ok(AttemptName(text.into()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the attempt's log is. The folder is a hash, because the first characters of ids that are made in the same
    /// days are all the same.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        let folder = format!("{:02x}", crc32(&[self.0.as_bytes()]) & 0xff);
        root.join(folder).join(format!("{}{SUFFIX}", self.0))
    }

    /// The attempt whose log has this file name.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        AttemptName::parse(name.strip_suffix(SUFFIX)?).ok()
    }
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for bad in ["", "a/b", "../x", "a\\b", "a b", "a\0", "ä", &"x".repeat(201)] {
            assert!(AttemptName::parse(bad).is_err(), "{bad}");
        }
        let root = Path::new("/logs");
        for good in ["g1-01J.7.2", "..", ".", "-", &"x".repeat(200)] {
            let name = AttemptName::parse(good).unwrap();
            let path = name.path(root);
            assert_eq!(path.parent().and_then(Path::parent), Some(root));
            assert_eq!(AttemptName::of_file(path.file_name().unwrap().to_str().unwrap()), Some(name));
        }
    }
}
