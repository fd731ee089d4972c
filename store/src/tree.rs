//! Files and directories from here to there and back: under another name until all of it is there.

use std::path::{Path, PathBuf};

use tokio::fs;

use crate::limits::ENTRIES_MAX;
use crate::{Error, Kind, Scheme, Store, Uri};

/// What is only half there has a name of this form, which Hadoop and Spark take for hidden.
fn part() -> String {
    format!(".meson-{}.part", uuid::Uuid::new_v4().simple())
}

/// Whether a name is such a one.
pub fn is_part(name: &str) -> bool {
    name.starts_with(".meson-") && name.ends_with(".part")
}

/// Copies out of a store.
pub async fn get(store: &Store, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
    let entry = store.stat(uri).await?;
    let temporary = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            fs::create_dir_all(parent).await.map_err(Error::local(parent))?;
            parent.join(part())
        }
        _ => PathBuf::from(part()),
    };
    let copied = match entry.kind {
        Kind::File => store.read(uri, &temporary, bytes_max).await,
        Kind::Directory => get_tree(store, uri, &temporary, bytes_max).await,
    };
    let done = match copied {
        Ok(bytes) => fs::rename(&temporary, to).await.map(|()| bytes).map_err(Error::local(to)),
        Err(error) => Err(error),
    };
    if done.is_err() {
        // Best effort: the error that is told is the first one.
        let _ = fs::remove_file(&temporary).await;
        let _ = fs::remove_dir_all(&temporary).await;
    }
    done
}

async fn get_tree(store: &Store, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
    let mut open = vec![(uri.clone(), to.to_owned())];
    let (mut bytes, mut entries) = (0, 0);
    while let Some((from, to)) = open.pop() {
        fs::create_dir_all(&to).await.map_err(Error::local(&to))?;
        for entry in store.list(&from).await? {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(Error::refused(uri, format!("it has more than {ENTRIES_MAX} entries")));
            }
            // A store may have names that no path of ours may have.
            let (below, place) = (from.join(&entry.name)?, to.join(&entry.name));
            if entry.name.contains('/') || below.name() != Some(&entry.name) {
                return Err(Error::refused(&from, format!("it has an entry named {:?}", entry.name)));
            }
            match entry.kind {
                Kind::Directory => open.push((below, place)),
                Kind::File => bytes += store.read(&below, &place, bytes_max.saturating_sub(bytes)).await?,
            }
        }
    }
    Ok(bytes)
}

/// Copies into a store.
pub async fn put(store: &Store, from: &Path, uri: &Uri) -> Result<(), Error> {
    if uri.name().is_none() {
        return Err(Error::refused(uri, "it is the root of the store; name a file or directory below it"));
    }
    let is_directory = fs::metadata(from).await.map_err(Error::local(from))?.is_dir();
    match (is_directory, uri.scheme()) {
        (true, Scheme::S3 | Scheme::S3a) => put_tree(store, from, uri).await,
        (false, Scheme::S3 | Scheme::S3a) => store.write(from, uri).await,
        (_, Scheme::File | Scheme::Hdfs) => {
            refuse_if_taken(store, uri, is_directory).await?;
            let temporary = uri.beside(part());
            let copied = if is_directory {
                put_tree(store, from, &temporary).await
            } else {
                store.write(from, &temporary).await
            };
            let done = match copied {
                Ok(()) => give_name(store, &temporary, uri).await,
                Err(error) => Err(error),
            };
            if done.as_ref().is_err_and(|error| !matches!(error, Error::Away { .. })) {
                // Best effort: the error that is told is the first one. A store that is away would take its time again.
                let _ = store.remove(&temporary).await;
            }
            done
        }
    }
}

/// Where the answer to the rename did not come it may be done nevertheless, and a directory would be in the way of the next try.
async fn give_name(store: &Store, temporary: &Uri, uri: &Uri) -> Result<(), Error> {
    let renamed = store.rename(temporary, uri).await;
    if matches!(renamed, Err(Error::Away { .. })) {
        // Nobody else knows the name that it had.
        let is_done = !store.exists(temporary).await? && store.exists(uri).await?;
        return if is_done { Ok(()) } else { renamed };
    }
    renamed
}

/// A file replaces a file; all else is in the way.
async fn refuse_if_taken(store: &Store, uri: &Uri, is_directory: bool) -> Result<(), Error> {
    match store.stat(uri).await {
        Ok(entry) if entry.kind == Kind::File && !is_directory => Ok(()),
        Ok(entry) if entry.kind == Kind::File => Err(Error::refused(uri, "a file is there; remove it first")),
        Ok(_) => Err(Error::refused(uri, "a directory is there; remove it first, or name a file in it")),
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn put_tree(store: &Store, from: &Path, uri: &Uri) -> Result<(), Error> {
    let mut open = vec![(from.to_owned(), uri.clone())];
    let mut entries = 0;
    while let Some((from, to)) = open.pop() {
        store.make_dir(&to).await?;
        let mut reading = fs::read_dir(&from).await.map_err(Error::local(&from))?;
        while let Some(entry) = reading.next_entry().await.map_err(Error::local(&from))? {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(Error::refused(uri, format!("there are more than {ENTRIES_MAX} entries")));
            }
            let path = entry.path();
            let name = entry.file_name().into_string().ok();
            let below = name.as_deref().map(|name| to.join(name)).transpose()?;
            let kind = entry.file_type().await.map_err(Error::local(&path))?;
            match below {
                Some(below) if kind.is_dir() => open.push((path, below)),
                Some(below) if kind.is_file() => store.write(&path, &below).await?,
                _ => {
                    let why = format!(
                        "{} is neither file nor directory, or has no name in Unicode",
                        path.display()
                    );
                    return Err(Error::refused(uri, why));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(path: &Path) -> Uri {
        Uri::parse(&format!("file://{}", path.display())).unwrap()
    }

    #[tokio::test]
    async fn files_and_directories_go_there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let (store, base) = (Store::default(), uri(dir.path()));
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("a/empty")).unwrap();
        std::fs::write(source.join("a/x y"), "one").unwrap();
        std::fs::write(source.join("%2e%2e"), "two").unwrap();
        let there = base.join("there/deep").unwrap();
        store.put(&source, &there).await.unwrap();
        let names: Vec<_> = store.list(&there).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["%2e%2e", "a"]);
        let back = dir.path().join("back");
        assert_eq!(store.get(&there, &back, 6).await.unwrap(), 6);
        assert_eq!(std::fs::read_to_string(back.join("a/x y")).unwrap(), "one");
        assert!(back.join("a/empty").is_dir());
        assert!(
            matches!(store.put(&source, &there).await, Err(Error::Refused { .. })),
            "directories do not merge"
        );
        store.remove(&there).await.unwrap();
        store.remove(&there).await.unwrap();
        assert!(!store.exists(&there).await.unwrap());
    }

    #[tokio::test]
    async fn what_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, base) = (Store::default(), uri(dir.path()));
        std::fs::create_dir_all(dir.path().join("source")).unwrap();
        std::fs::write(dir.path().join("source/file"), "0123456789").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("source/link")).unwrap();
        let source = base.join("source").unwrap();
        let to = dir.path().join("to");
        assert!(matches!(store.get(&source, &to, 9).await, Err(Error::TooLarge { .. })));
        let file = source.join("file").unwrap();
        assert!(matches!(store.get(&file, &to, 9).await, Err(Error::TooLarge { .. })));
        let link = store.put(&dir.path().join("source"), &base.join("to").unwrap()).await;
        assert!(matches!(link, Err(Error::Refused { .. })));
        let missing = store.get(&base.join("missing").unwrap(), &to, 9).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let root = Uri::parse("file:///").unwrap();
        assert!(matches!(store.remove(&root).await, Err(Error::Refused { .. })));
    }

    #[tokio::test]
    async fn a_file_replaces_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (store, to) = (Store::default(), uri(dir.path()).join("d/to").unwrap());
        for text in ["one", "two"] {
            std::fs::write(dir.path().join("from"), text).unwrap();
            store.put(&dir.path().join("from"), &to).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("d/to")).unwrap(), "two");
    }
}
