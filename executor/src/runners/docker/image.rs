//! Fetching an image from its registry.

use std::collections::HashMap;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt as _;
use serde::Deserialize;

use super::engine::is_missing;
use super::{Pull, Told};
use crate::drive::{Verdict, Voice};

/// The registry of names that say none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// The part of Docker's `config.json` that is read.
#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: HashMap<String, DockerCredentials>,
}

/// Makes sure that the machine has the image, as its policy says.
pub async fn bring(engine: &Docker, told: &Told, voice: &Voice) -> Result<(), Verdict> {
    let image = &told.config.image;
    let is_here = match engine.inspect_image(image).await {
        Ok(_) => true,
        Err(error) if is_missing(&error) => false,
        Err(error) => return Err(Verdict::platform("engine", error)),
    };
    match told.config.pull {
        Pull::Missing if is_here => Ok(()),
        Pull::Never if is_here => Ok(()),
        Pull::Never => {
            let message = format!("the image `{image}` is not on this machine, and the step never pulls");
            Err(Verdict::user("no_image", message))
        }
        Pull::Always | Pull::Missing => pull(engine, told, voice).await,
    }
}

async fn pull(engine: &Docker, told: &Told, voice: &Voice) -> Result<(), Verdict> {
    let image = &told.config.image;
    voice.message(&format!("pulling {image}"));
    let credentials = credentials(&told.auth_file, image)?;
    let options = CreateImageOptionsBuilder::default().from_image(&tagged(image)).build();
    let mut news = engine.create_image(Some(options), None, credentials);
    while let Some(news) = news.next().await {
        news.map_err(|error| {
            let message = format!("the image `{image}` cannot be pulled: {error}");
            match is_refusal(&error) {
                true => Verdict::user("image_pull", message),
                false => Verdict::platform("image_pull", message),
            }
        })?;
    }
    Ok(())
}

/// Whether a registry says that there is no such image, or not for us: it would say so again.
fn is_refusal(error: &Error) -> bool {
    const WORDS: [&str; 6] =
        ["manifest unknown", "not found", "does not exist", "denied", "unauthorized", "invalid reference"];
    let is_said = |text: &str| WORDS.iter().any(|words| text.to_lowercase().contains(words));
    match error {
        Error::DockerResponseServerError { status_code: 400..=404, .. } => true,
        // Podman tells all in the text of a server's error.
        Error::DockerResponseServerError { message, .. } => is_said(message),
        Error::DockerStreamError { error } => is_said(error),
        _ => false,
    }
}

/// An image without tag and digest would mean all its tags.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// The first part of a name is a registry when it looks like a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DEFAULT_REGISTRY,
    }
}

fn credentials(file: &str, image: &str) -> Result<Option<DockerCredentials>, Verdict> {
    if file.is_empty() {
        return Ok(None);
    }
    let bad =
        |error: &dyn std::fmt::Display| Verdict::platform("docker_auth_file", format!("{file}: {error}"));
    let text = std::fs::read(file).map_err(|error| bad(&error))?;
    // Not the error itself: it may show a password.
    let place = |error: serde_json::Error| {
        format!("line {}, column {}: it is not as Docker writes it", error.line(), error.column())
    };
    let auths: AuthFile = serde_json::from_slice(&text).map_err(|error| bad(&place(error)))?;
    let registry = registry(image);
    let of_registry = |name: &str| name.trim_start_matches("https://").split('/').next() == Some(registry);
    let found = auths.auths.into_iter().find(|(name, _)| of_registry(name) || is_hub(name, registry));
    Ok(found.map(|(name, found)| DockerCredentials { serveraddress: Some(name), ..found }))
}

/// Docker keeps the default registry under an old name.
fn is_hub(name: &str, registry: &str) -> bool {
    registry == DEFAULT_REGISTRY && name.contains("index.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        assert_eq!(tagged("a"), "a:latest");
        assert_eq!(tagged("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(tagged("a@sha256:1"), "a@sha256:1");
        assert_eq!(
            (registry("a/b"), registry("r.org/a/b"), registry("localhost/a")),
            ("docker.io", "r.org", "localhost")
        );
    }

    #[test]
    fn credentials_are_those_of_the_registry() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(
            &file,
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "hub"}, "r.org": {"auth": "r"}}}"#,
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let auth = |image| credentials(file, image).unwrap().and_then(|found| found.auth);
        assert_eq!(auth("r.org/a"), Some("r".to_owned()));
        assert_eq!(auth("debian"), Some("hub".to_owned()));
        assert_eq!(auth("other.org/a"), None);
        assert!(credentials("/nowhere", "a").is_err());
        std::fs::write(file, r#"{"auths": {"r.org": "dXNlcjpwYXNz"}}"#).unwrap();
        let refused = credentials(file, "r.org/a").unwrap_err();
        assert!(refused.message().contains("line 1") && !refused.message().contains("dXNl"), "{refused:?}");
    }
}
