//! The way to the container engine, and what it is asked of containers by their labels.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use tokio::time::{Instant, sleep};

use crate::drive::Verdict;

/// How long a container may take to be gone.
const REMOVE_MAX: Duration = Duration::from_secs(20);
/// Pause after an engine did not remove one.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Connects, and makes sure that somebody is there.
pub async fn connect(host: &str) -> Result<Docker, Verdict> {
    let engine =
        Docker::connect_with_host(host).map_err(|error| Verdict::platform("engine_address", error))?;
    let away = |error| Verdict::platform("engine_away", format!("no container engine at {host}: {error}"));
    // Older engines refuse what is newer than they are.
    engine.negotiate_version().await.map_err(away)
}

/// Ends and removes all containers with these labels, and makes sure that none is left.
pub async fn remove_all(engine: &Docker, labels: &[String]) -> Result<(), Verdict> {
    let begun = Instant::now();
    let mut refusal = String::new();
    let mut is_again = false;
    loop {
        let left = find(engine, labels).await?;
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > REMOVE_MAX {
            let message = format!("containers that are still there: {}{refusal}", left.join(", "));
            return Err(Verdict::platform("container_left", message));
        }
        if is_again {
            sleep(ASK_AGAIN).await;
        }
        is_again = true;
        for id in left {
            // Podman is polite first, even where it is told to use force.
            let kill = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
            let _ = engine.kill_container(&id, Some(kill)).await;
            let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            // The next look tells whether it is gone; somebody else may be removing it, too.
            if let Err(error) = engine.remove_container(&id, Some(options)).await {
                refusal = format!(" ({error})");
            }
        }
    }
}

async fn find(engine: &Docker, labels: &[String]) -> Result<Vec<String>, Verdict> {
    let filters = HashMap::from([("label", labels.iter().map(String::as_str).collect::<Vec<_>>())]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found =
        engine.list_containers(Some(options)).await.map_err(|error| Verdict::platform("engine", error))?;
    Ok(found.into_iter().filter_map(|container| container.id).collect())
}

/// Whether the engine says that there is no such thing.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine did not answer, rather than that it said no.
pub fn is_away(error: &Error) -> bool {
    !matches!(error, Error::DockerResponseServerError { .. })
}
