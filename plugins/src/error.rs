//! What can be wrong with a plugin's folder: always the place, and what to do.

use std::path::PathBuf;

/// Why plugins cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file cannot be read.
    #[error("plugin: {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file larger than any sensible one.
    #[error("plugin: {path} has more than {bytes_max} bytes: make it smaller", path = path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// No plugin is there.
    #[error(
        "plugin: {path} has no plugin.toml (or plugin.json), nor has any folder in it: name a plugin's folder, or one \
         that holds such folders",
        path = path.display()
    )]
    NoPlugin {
        /// Where.
        path: PathBuf,
    },
    /// Two manifests that may contradict each other.
    #[error("plugin: {path} has both a plugin.toml and a plugin.json: keep one of them", path = path.display())]
    TwoManifests {
        /// Where.
        path: PathBuf,
    },
    /// A manifest that is not of its form.
    #[error("plugin: {path}: {problem}", path = path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A schema that is none.
    #[error("plugin: {path}: not a JSON Schema of draft 2020-12: {problem}", path = path.display())]
    Schema {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A program that cannot be run.
    #[error("plugin `{kind}`: {path}: {problem}", path = path.display())]
    Program {
        /// Whose.
        kind: String,
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A kind that two plugins bring.
    #[error(
        "plugin: {first} and {second} both declare the kind `{kind}`: remove one of them, or rename its kind",
        first = first.display(), second = second.display()
    )]
    Twice {
        /// The kind.
        kind: String,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// More than anybody means to have.
    #[error("plugin: there are more than {plugins_max}: name fewer folders")]
    TooMany {
        /// The limit.
        plugins_max: usize,
    },
}
