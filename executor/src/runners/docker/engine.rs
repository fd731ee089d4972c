//! The way to the container engine, and what it is asked of containers by their labels.

use std::collections::HashMap;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use crate::drive::Verdict;

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
    for id in find(engine, labels).await? {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match engine.remove_container(&id, Some(options)).await {
            Ok(()) => {}
            Err(error) if is_missing(&error) => {}
            Err(error) => {
                return Err(Verdict::platform("container_left", format!("container {id}: {error}")));
            }
        }
    }
    match &find(engine, labels).await?[..] {
        [] => Ok(()),
        left => Err(Verdict::platform(
            "container_left",
            format!("containers that are still there: {}", left.join(", ")),
        )),
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
