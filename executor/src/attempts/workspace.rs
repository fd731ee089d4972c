//! The run's workspace: a directory of this executor, or a URI in a store that all executors share.
//!
//! It is made before each attempt, whoever made it before: so it is there for the first one, for one that comes after a
//! restart of the run, and where the scheduler was told of a store only lately. The store is asked once an attempt.

use std::path::Path;

use meson_proto::v1::{Failure, FailureClass, Launch};
use meson_store::{Scheme, Store, Uri};

use crate::task::exit;

/// What the launch says, or a directory among those of this executor.
pub fn of(launch: &Launch, workspaces: &Path) -> String {
    if launch.workspace.is_empty() {
        return workspaces.join(&launch.run_id).to_string_lossy().into_owned();
    }
    match Uri::parse(&launch.workspace) {
        // Files that all machines share are a directory to steps, and to containers a mount.
        Ok(uri) if uri.scheme() == Scheme::File => uri.path(),
        _ => launch.workspace.clone(),
    }
}

/// Makes what the launch says, if it says anything.
///
/// # Errors
/// When the store refuses or is away. That is no fault of the step's.
pub async fn make(store: &Store, launch: &Launch) -> Result<(), Failure> {
    if launch.workspace.is_empty() {
        return Ok(());
    }
    let made = match Uri::parse(&launch.workspace) {
        Ok(uri) => store.make_dir(&uri).await,
        Err(error) => Err(error),
    };
    made.map_err(|error| {
        exit::new(FailureClass::Platform, "workspace_unavailable", &format!("the run's workspace: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_made_where_the_launch_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut launch = Launch { run_id: "g1-x".into(), ..Launch::default() };
        assert_eq!(of(&launch, dir.path()), dir.path().join("g1-x").to_string_lossy());
        make(&Store::default(), &launch).await.unwrap();
        assert!(
            !dir.path().join("g1-x").exists(),
            "directories of the executor are made with its other files"
        );
        launch.workspace = format!("file://{}/shared/g1-x", dir.path().display());
        make(&Store::default(), &launch).await.unwrap();
        assert!(dir.path().join("shared/g1-x").is_dir());
        assert_eq!(of(&launch, dir.path()), dir.path().join("shared/g1-x").to_string_lossy());
        launch.workspace = "hdfs://127.0.0.1:1/w/../x".into();
        let failure = make(&Store::default(), &launch).await.unwrap_err();
        assert_eq!(
            (failure.class(), failure.reason.as_str()),
            (FailureClass::Platform, "workspace_unavailable")
        );
    }
}
