//! `meson-executor fs …`: by it the code of a step, in any language, reaches storage that the executor's machine reaches:
//! file://, hdfs:// and s3://. Steps find this program by the variable `MESON_FS`.
//!
//! A URI without a scheme is meant within the run's workspace, be that a directory or a URI.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use meson_store::{Entry, Error, Kind, Store, Uri};

/// The subcommand.
pub const FS: &str = "fs";

/// The variable by which a step's code finds this program.
pub const VARIABLE: &str = "MESON_FS";

/// What it understands.
const USAGE: &str =
    "usage: $MESON_FS fs get URI PATH | put PATH URI | list URI | exists URI | mkdir URI | remove URI
URI: file:///path, hdfs://host:port/path, s3://bucket/path, or a path within the run's workspace";

/// How often a store is asked that does not answer.
const TRIES_MAX: u32 = 3;

/// Pause before the second try; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Not done, and the same would not be done later.
const FAILED: u8 = 1;

/// `exists`: there is nothing.
const NOT_THERE: u8 = 1;

/// A command that is none.
const MISUSED: u8 = 2;

/// Not done, but it may be later: the store is away. As in `sysexits.h`.
const TRY_LATER: u8 = 75;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    Get(Uri, PathBuf),
    Put(PathBuf, Uri),
    List(Uri),
    Exists(Uri),
    MakeDir(Uri),
    Remove(Uri),
}

/// What came of it.
enum Done {
    Nothing,
    Listed(Vec<Entry>),
    Missing,
}

/// Does what the arguments say; none when the subcommand is another.
pub fn run(what: &str, arguments: &[String]) -> Option<ExitCode> {
    if what != FS {
        return None;
    }
    let workspace = std::env::var("MESON_WORKSPACE").unwrap_or_default();
    let order = match order(arguments, &workspace) {
        Ok(Some(order)) => order,
        Ok(None) => {
            eprintln!("{USAGE}");
            return Some(MISUSED.into());
        }
        Err(error) => {
            eprintln!("meson-executor fs: {error}");
            return Some(FAILED.into());
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime.map(|runtime| runtime.block_on(insist(&Store::default(), &order))) {
        Ok(Ok(Done::Nothing)) => ExitCode::SUCCESS,
        Ok(Ok(Done::Missing)) => NOT_THERE.into(),
        Ok(Ok(Done::Listed(entries))) => {
            entries.iter().for_each(|entry| println!("{}", line(entry)));
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("meson-executor fs: {error}");
            if error.is_retryable() { TRY_LATER.into() } else { FAILED.into() }
        }
        Err(error) => {
            eprintln!("meson-executor fs: no runtime: {error}");
            TRY_LATER.into()
        }
    };
    Some(code)
}

/// As listed: a directory ends with a slash.
fn line(entry: &Entry) -> String {
    let slash = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{}{slash}", entry.name)
}

/// What the arguments say; none when they say nothing that makes sense.
fn order(arguments: &[String], workspace: &str) -> Result<Option<Order>, Error> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let uri = |text: &str| resolve(text, workspace);
    // A variable that was not set: by it a step would take the workspace from all others.
    let below = |text: &str| match text.split('/').all(|name| name.is_empty() || name == ".") {
        true => {
            let why = "it names nothing in the workspace, and all of that is not one step's".to_owned();
            Err(Error::BadUri { uri: text.to_owned(), why })
        }
        false => uri(text),
    };
    Ok(Some(match arguments.as_slice() {
        ["get", from, to] => Order::Get(uri(from)?, PathBuf::from(to)),
        ["put", from, to] => Order::Put(PathBuf::from(from), below(to)?),
        ["list", of] => Order::List(uri(of)?),
        ["exists", what] => Order::Exists(uri(what)?),
        ["mkdir", what] => Order::MakeDir(uri(what)?),
        ["remove", what] => Order::Remove(below(what)?),
        _ => return Ok(None),
    }))
}

/// A URI as it is, or a path within the workspace.
fn resolve(text: &str, workspace: &str) -> Result<Uri, Error> {
    if text.contains("://") {
        return Uri::parse(text);
    }
    let base = if workspace.contains("://") { workspace.to_owned() } else { format!("file://{workspace}") };
    if workspace.is_empty() {
        let why = "it is relative, and no MESON_WORKSPACE says to what".to_owned();
        return Err(Error::BadUri { uri: text.to_owned(), why });
    }
    Uri::parse(&base)?.join(text)
}

/// Copies a file of this machine into a store.
///
/// # Errors
/// When the store refuses, or is still away after some tries.
pub async fn put(from: &Path, to: &Uri) -> Result<(), Error> {
    insist(&Store::default(), &Order::Put(from.to_owned(), to.clone())).await.map(drop)
}

async fn insist(store: &Store, order: &Order) -> Result<Done, Error> {
    let mut pause = PAUSE;
    for _ in 1..TRIES_MAX {
        match carry_out(store, order).await {
            Err(error @ Error::Away { .. }) => eprintln!("meson-executor fs: {error}; trying again"),
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    carry_out(store, order).await
}

async fn carry_out(store: &Store, order: &Order) -> Result<Done, Error> {
    match order {
        Order::Get(uri, path) => store.get(uri, path, u64::MAX).await.map(|_| Done::Nothing),
        Order::Put(path, uri) => store.put(Path::new(path), uri).await.map(|()| Done::Nothing),
        Order::List(uri) => store.list(uri).await.map(Done::Listed),
        Order::Exists(uri) => Ok(if store.exists(uri).await? { Done::Nothing } else { Done::Missing }),
        Order::MakeDir(uri) => store.make_dir(uri).await.map(|()| Done::Nothing),
        Order::Remove(uri) => store.remove(uri).await.map(|()| Done::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, workspace: &str) -> Result<Option<Order>, Error> {
        order(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), workspace)
    }

    #[test]
    fn paths_are_within_the_workspace() {
        let uri = |text| Uri::parse(text).unwrap();
        let put = Order::Put("x".into(), uri("hdfs://nn:1/w/run/a/b"));
        assert_eq!(read("put x a/b", "hdfs://nn:1/w/run").unwrap(), Some(put));
        assert_eq!(read("list .", "/w/run").unwrap(), Some(Order::List(uri("file:///w/run"))));
        let get = Order::Get(uri("s3://b/k"), "x".into());
        assert_eq!(read("get s3://b/k x", "/w/run").unwrap(), Some(get));
        for (bad, workspace) in [
            ("remove ../other", "hdfs://nn:1/w/run"),
            ("remove /w/other", "hdfs://nn:1/w/run"),
            ("mkdir a/../../b", "/w/run"),
            ("remove ", "hdfs://nn:1/w/run"),
            ("remove ./", "/w/run"),
            ("put x .", "/w/run"),
            ("list a", ""),
            ("list gopher://x/y", "/w/run"),
        ] {
            assert!(read(bad, workspace).is_err(), "{bad}");
        }
        for nothing in ["", "get", "get a", "list a b", "rm a"] {
            assert_eq!(read(nothing, "/w/run").unwrap(), None, "{nothing}");
        }
    }

    #[test]
    fn other_subcommands_are_not_ours() {
        assert!(run("drive", &[]).is_none());
    }
}
