//! Unpacks .tar, .tar.gz, .tgz and .zip without letting anything out of the target directory.
//!
//! The argument for symbolic links. No entry is written through a link (every parent must be a real directory), so the
//! place of a link is what its path says. Its target may climb with leading `..` as far as the target directory and then
//! only descend; climbing is therefore through real directories, and descending passes only links of the same kind. By
//! induction every link leads to something inside.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::{Error, target};

/// Entries of one archive.
const ENTRIES_MAX: usize = 1_000_000;

/// Unpacks the archive, whose kind its name says, into `root`.
pub fn unpack(file: File, uri: &str, root: &Path, bytes_max: u64) -> Result<(), Error> {
    let name = target::name(uri).to_ascii_lowercase();
    let reader = io::BufReader::new(file);
    if name.ends_with(".tar") {
        unpack_tar(reader, root, bytes_max)
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        unpack_tar(MultiGzDecoder::new(reader), root, bytes_max)
    } else if name.ends_with(".zip") {
        unpack_zip(reader, root, bytes_max)
    } else {
        Err(Error::User(format!("{uri} is no .tar, .tar.gz, .tgz or .zip")))
    }
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::User(format!("the archive cannot be unpacked: {error}"))
}

/// Counts what is unpacked.
struct Budget {
    bytes: u64,
    entries: usize,
}

impl Budget {
    fn new(bytes: u64) -> Self {
        Self { bytes, entries: ENTRIES_MAX }
    }

    fn take(&mut self, bytes: u64) -> Result<(), Error> {
        let large = || Error::User("the archive is larger than its limit when unpacked".to_owned());
        self.entries = self.entries.checked_sub(1).ok_or_else(large)?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(large)?;
        Ok(())
    }
}

fn unpack_tar(reader: impl Read, root: &Path, bytes_max: u64) -> Result<(), Error> {
    let mut budget = Budget::new(bytes_max);
    for entry in tar::Archive::new(reader).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        // A sparse file is as large as it will be, not as its data.
        budget.take(entry.header().size().map_err(broken)?.max(entry.size()))?;
        match entry.header().entry_type() {
            EntryType::Directory => drop(target::directory(root, &path.to_string_lossy())?),
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().unwrap_or(0o644);
                write(&mut entry, root, &path, mode)?;
            }
            EntryType::Symlink => {
                let to =
                    entry.link_name().map_err(broken)?.ok_or_else(|| broken("a link without a target"))?;
                link(root, &path, &to)?;
            }
            EntryType::Link => {
                let to =
                    entry.link_name().map_err(broken)?.ok_or_else(|| broken("a link without a target"))?;
                // A link to a symbolic link would carry it to another depth, where it may lead out.
                let (from, to) = (target::real_below(root, &to)?, target::below(root, &path)?);
                replace(&to)?;
                std::fs::hard_link(from, &to).map_err(broken)?;
            }
            EntryType::XGlobalHeader => {}
            other => {
                return Err(broken(format!(
                    "{} is of a kind that is not allowed: {other:?}",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

fn unpack_zip(reader: impl Read + Seek, root: &Path, bytes_max: u64) -> Result<(), Error> {
    let mut archive = zip::ZipArchive::new(reader).map_err(broken)?;
    let mut budget = Budget::new(bytes_max);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        let path = Path::new(&name);
        if entry.is_dir() {
            budget.take(0)?;
            target::directory(root, &name)?;
        } else if entry.is_symlink() {
            budget.take(0)?;
            let mut to = String::new();
            (&mut entry).take(4096).read_to_string(&mut to).map_err(broken)?;
            link(root, path, Path::new(&to))?;
        } else {
            let mode = entry.unix_mode().unwrap_or(0o644);
            // The header may lie about the size: what really comes out counts.
            let left = budget.bytes;
            let written = write(&mut (&mut entry).take(left.saturating_add(1)), root, path, mode)?;
            budget.take(written)?;
        }
    }
    Ok(())
}

fn write(content: &mut impl Read, root: &Path, path: &Path, mode: u32) -> Result<u64, Error> {
    let path = target::below(root, path)?;
    replace(&path)?;
    let mut file = File::options().write(true).create_new(true).open(&path).map_err(broken)?;
    let written = io::copy(content, &mut file).map_err(broken)?;
    // No set-user-id and the like from strangers; always readable by its owner.
    file.set_permissions(PermissionsExt::from_mode((mode & 0o777) | 0o600)).map_err(broken)?;
    Ok(written)
}

fn link(root: &Path, path: &Path, to: &Path) -> Result<(), Error> {
    let place = target::below(root, path)?;
    let depth = place.strip_prefix(root).map_or(0, |inside| inside.components().count().saturating_sub(1));
    if !stays_inside(to, depth) {
        return Err(Error::User(format!(
            "the link {} -> {} leaves the archive",
            path.display(),
            to.display()
        )));
    }
    replace(&place)?;
    std::os::unix::fs::symlink(to, place).map_err(broken)
}

/// Whether a link's target climbs at most `depth` directories, and only at its beginning.
fn stays_inside(to: &Path, depth: usize) -> bool {
    let mut climbed = 0;
    let mut descending = false;
    to.components().all(|component| match component {
        Component::CurDir => true,
        Component::Normal(_) => {
            descending = true;
            true
        }
        Component::ParentDir => {
            climbed += 1;
            !descending && climbed <= depth
        }
        Component::RootDir | Component::Prefix(_) => false,
    })
}

/// Makes room for an entry that the archive has twice.
fn replace(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const MAX: u64 = 10_000;

    enum Item<'a> {
        File(&'a str, &'a [u8]),
        Link(&'a str, &'a str),
    }

    fn tar(items: &[Item<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for item in items {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            let (Item::File(path, _) | Item::Link(path, _)) = item;
            // Written by hand, because the crate refuses to build what attackers build.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            let data = match item {
                Item::File(_, data) => *data,
                Item::Link(_, to) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
                    b""
                }
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpack_bytes(name: &str, bytes: &[u8], root: &Path) -> Result<(), Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        unpack(file, name, root, MAX)
    }

    #[test]
    fn tar_and_gzip_are_unpacked() {
        let root = tempfile::tempdir().unwrap();
        let plain = tar(&[Item::File("a/b", b"x"), Item::Link("a/c", "b"), Item::Link("a/d/e", "../../a/b")]);
        unpack_bytes("x.tar", &plain, root.path()).unwrap();
        assert_eq!(std::fs::read(root.path().join("a/d/e")).unwrap(), b"x");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        unpack_bytes("http://h/y.tgz?z", &gzip.finish().unwrap(), root.path()).unwrap();
        assert!(unpack_bytes("x.rar", b"", root.path()).is_err());
        assert!(unpack_bytes("x.tar", b"nonsense that is no archive at all", root.path()).is_err());
    }

    #[test]
    fn nothing_escapes_from_a_tar() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let bad: [&[Item<'_>]; 7] = [
            &[Item::File("../escaped", b"x")],
            &[Item::File("/tmp/meson-escaped", b"x")],
            &[Item::Link("l", "/etc")],
            &[Item::Link("l", "..")],
            &[Item::Link("in", "."), Item::File("in/x", b"x")],
            &[Item::Link("d/e/up", "../.."), Item::Link("d/e/up/s", "../../../etc")],
            &[Item::Link("a/b/up", "../.."), Item::Link("evil", "a/b/up/../escaped")],
        ];
        for items in bad {
            assert!(matches!(unpack_bytes("x.tar", &tar(items), &root), Err(Error::User(_))));
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        writer.start_file("zeros", zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&vec![0; 1_000_000]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert!(matches!(unpack_bytes("x.zip", &bytes, root.path()), Err(Error::User(_))));
        assert!(std::fs::metadata(root.path().join("zeros")).unwrap().len() <= MAX + 1);
        assert!(unpack_bytes("x.tar", &tar(&[Item::File("zeros", &[0; 20_000])]), root.path()).is_err());
    }

    #[test]
    fn zip_is_unpacked_and_does_not_escape() {
        let root = tempfile::tempdir().unwrap();
        let build = |name: &str| {
            let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(b"x").unwrap();
            writer.finish().unwrap().into_inner()
        };
        unpack_bytes("x.zip", &build("a/b"), root.path()).unwrap();
        assert_eq!(std::fs::read(root.path().join("a/b")).unwrap(), b"x");
        assert!(unpack_bytes("x.zip", &build("../escaped"), root.path()).is_err());
    }
}
