//! Where fetched files may go: below the step's working directory and nowhere else.

use std::path::{Component, Path, PathBuf};

use meson_proto::v1::Fetch;

use super::Error;

/// A path below `root`, its parent created. Refuses all that would leave `root`, also through a symbolic link on the way;
/// the path itself may be one.
pub fn below(root: &Path, relative: &Path) -> Result<PathBuf, Error> {
    let escapes = || Error::User(format!("`{}` leaves the step's directory", relative.display()));
    let mut path = root.to_owned();
    for component in relative.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(escapes()),
        }
        if path.parent().is_some_and(|parent| parent != root && parent.is_symlink()) {
            return Err(escapes());
        }
    }
    if let Some(parent) = path.parent().filter(|_| path != root) {
        std::fs::create_dir_all(parent).map_err(Error::disk(parent))?;
    }
    Ok(path)
}

/// Like [`below`], and the path itself is no symbolic link.
pub fn real_below(root: &Path, relative: &Path) -> Result<PathBuf, Error> {
    let path = below(root, relative)?;
    if path.is_symlink() {
        return Err(Error::User(format!("`{}` is a symbolic link", relative.display())));
    }
    Ok(path)
}

/// The file a fetch goes to: its `to`, or the name at the end of its URI.
pub fn file(work: &Path, fetch: &Fetch) -> Result<PathBuf, Error> {
    let name = if fetch.to.is_empty() { name(&fetch.uri) } else { fetch.to.as_str() };
    if name.is_empty() {
        return Err(Error::User(format!("`{}` names no file; say with `to` where it goes", fetch.uri)));
    }
    let path = real_below(work, Path::new(name))?;
    if path.is_dir() {
        return real_below(work, &Path::new(name).join(self::name(&fetch.uri)));
    }
    Ok(path)
}

/// The directory an archive is unpacked in.
pub fn directory(work: &Path, to: &str) -> Result<PathBuf, Error> {
    let path = real_below(work, Path::new(to))?;
    std::fs::create_dir_all(&path).map_err(Error::disk(&path))?;
    Ok(path)
}

/// The file name at the end of a URI, without query and fragment.
pub fn name(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_root() {
        let root = tempfile::tempdir().unwrap();
        let below = |relative: &str| real_below(root.path(), Path::new(relative));
        assert_eq!(below("a/./b").unwrap(), root.path().join("a/b"));
        assert_eq!(below("").unwrap(), root.path());
        std::os::unix::fs::symlink("/tmp", root.path().join("link")).unwrap();
        for bad in ["../a", "a/../../b", "/etc/passwd", "link/x", "link"] {
            assert!(below(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_come_from_uris() {
        assert_eq!(name("https://host/a/b.tar.gz?x=/y#z"), "b.tar.gz");
        assert_eq!(name("https://host/"), "");
    }
}
