//! URIs of stores, cleaned: a scheme, an authority, and a path whose names are taken as they stand.
//!
//! Nothing is decoded: `%2e%2e` is a name of six characters, as it is to Hadoop. `..` is refused instead of being resolved,
//! so no URI and nothing joined to it leads above where it begins. Credentials have no place in a URI.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::limits::{NAME_BYTES_MAX, URI_BYTES_MAX};

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// This machine's files, or what is mounted among them.
    File,
    /// Hadoop's file system.
    Hdfs,
    /// S3 and what speaks its protocol.
    S3,
    /// The same, as Spark and Hadoop call it.
    S3a,
}

impl Scheme {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::File => "file",
            Scheme::Hdfs => "hdfs",
            Scheme::S3 => "s3",
            Scheme::S3a => "s3a",
        }
    }
}

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uri {
    scheme: Scheme,
    authority: String,
    names: Vec<String>,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// When it has another form, holds credentials, or climbs.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(bad(text, "it has no scheme"));
        };
        // A user and password stand before the first slash; they must not be in the message either.
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if let Some((_, host)) = authority.rsplit_once('@') {
            let why = "it holds credentials; give them by the environment of the process";
            return Err(bad(&format!("{scheme}://…@{host}{path}"), why));
        }
        let scheme = match scheme {
            "file" => Scheme::File,
            "hdfs" => Scheme::Hdfs,
            "s3" => Scheme::S3,
            "s3a" => Scheme::S3a,
            _ => return Err(bad(text, "its scheme is unknown")),
        };
        let authority = match (scheme, authority) {
            (Scheme::File, "" | "localhost") => "",
            (Scheme::File, _) => return Err(bad(text, "a file has no host: three slashes")),
            (Scheme::Hdfs, "") => return Err(bad(text, "it names no name node or name service")),
            (Scheme::S3 | Scheme::S3a, "") => return Err(bad(text, "it names no bucket")),
            (_, authority) => authority,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if !authority.chars().all(plain) {
            return Err(bad(text, "its host or bucket has characters that none may have"));
        }
        Uri { scheme, authority: authority.to_owned(), names: Vec::new() }.with(text, path)
    }

    /// What lies below this one by a relative path.
    ///
    /// # Errors
    /// When the path begins with a slash or climbs.
    pub fn join(&self, relative: &str) -> Result<Self, Error> {
        if relative.starts_with('/') {
            return Err(bad(relative, "it begins with a slash, so it is not below the workspace"));
        }
        self.clone().with(relative, relative)
    }

    fn with(mut self, text: &str, path: &str) -> Result<Self, Error> {
        for name in path.split('/') {
            match name {
                "" | "." => continue,
                ".." => return Err(bad(text, "`..` leads out of its place")),
                _ if name.chars().any(char::is_control) => {
                    return Err(bad(text, "it has a control character"));
                }
                _ if name.len() > NAME_BYTES_MAX => return Err(bad(text, "a name in it is too long")),
                _ => self.names.push(name.to_owned()),
            }
        }
        if self.to_string().len() > URI_BYTES_MAX {
            return Err(bad(text, "it is too long"));
        }
        Ok(self)
    }

    /// The kind of store.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Name node or bucket; empty for files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path, from a slash on.
    pub fn path(&self) -> String {
        format!("/{}", self.names.join("/"))
    }

    /// Names of the path.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The last name; none for the store's root.
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// What this lies in; none for the store's root.
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.names.split_last()?;
        Some(Uri { names: above.to_vec(), ..self.clone() })
    }

    /// Something beside this one, or below the root.
    pub(crate) fn beside(&self, name: String) -> Self {
        let mut names = self.names.clone();
        names.pop();
        names.push(name);
        Uri { names, ..self.clone() }
    }

    /// The file of this machine; none in another store.
    pub(crate) fn local(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| Path::new("/").join(self.names.join("/")))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.path())
    }
}

fn bad(text: &str, why: &str) -> Error {
    // What is shown is bounded, and shows no control characters.
    const SHOWN_MAX: usize = 200;
    let shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    Error::BadUri { uri: shown, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_cleaned() {
        for (text, clean) in [
            ("hdfs://nn:8020/meson//workspaces/./x/", "hdfs://nn:8020/meson/workspaces/x"),
            ("hdfs://service", "hdfs://service/"),
            ("file:///tmp/a b", "file:///tmp/a b"),
            ("file://localhost/tmp", "file:///tmp"),
            ("s3://bucket/a?b#c%20", "s3://bucket/a?b#c%20"),
            ("s3a://bucket/%2e%2e/\"x'", "s3a://bucket/%2e%2e/\"x'"),
        ] {
            assert_eq!(Uri::parse(text).unwrap().to_string(), clean);
        }
    }

    #[test]
    fn what_is_no_uri_is_refused_with_the_reason() {
        for (text, why) in [
            ("/tmp/x", "no scheme"),
            ("gopher://h/x", "unknown"),
            ("file://host/x", "three slashes"),
            ("hdfs:///x", "no name node"),
            ("s3:///x", "no bucket"),
            ("hdfs://nn/a/../b", "leads out"),
            ("hdfs://nn/a\0b", "control"),
            ("hdfs://n n/a", "characters"),
            (&format!("hdfs://nn/{}", "x".repeat(256)), "too long"),
            (&format!("hdfs://nn/{}", "x/".repeat(5_000)), "too long"),
        ] {
            let error = Uri::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        let error = Uri::parse("s3://key:secret@bucket/x").unwrap_err().to_string();
        assert!(
            error.contains("credentials") && !error.contains("secret") && !error.contains("key"),
            "{error}"
        );
        // Behind the authority an @ is part of a name.
        assert!(Uri::parse("hdfs://nn/a@b").is_ok());
    }

    #[test]
    fn nothing_joined_climbs() {
        let base = Uri::parse("hdfs://nn/w/run").unwrap();
        assert_eq!(base.join("a/./b c").unwrap().to_string(), "hdfs://nn/w/run/a/b c");
        assert_eq!(base.join("%2e%2e/x").unwrap().path(), "/w/run/%2e%2e/x");
        for bad in ["../x", "a/../../x", "/etc", "a\nb"] {
            assert!(matches!(base.join(bad), Err(Error::BadUri { .. })), "{bad:?}");
        }
        assert_eq!(base.parent().unwrap().path(), "/w");
        assert_eq!(base.beside("y".into()).path(), "/w/y");
    }
}
