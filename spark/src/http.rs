//! Questions by HTTP, bounded in time and size.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;

use crate::Error;

/// Longest wait for a whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Longest part of a refusal that is told.
const MESSAGE_BYTES_MAX: usize = 500;

/// One client for all: it keeps connections.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // Fails when somebody installed a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().connect_timeout(CONNECT_MAX).timeout(ANSWER_MAX);
        // Spark answers a kill by sending the browser back to the page. No proxy: these are the cluster's own addresses.
        builder.redirect(Policy::none()).no_proxy().build().expect("these settings make a client")
    })
}

/// The JSON at an address.
pub async fn get<T: DeserializeOwned>(url: &str) -> Result<T, Error> {
    read(url, &fetch(url, client().get(url)).await?)
}

/// The text at an address.
pub async fn text(url: &str) -> Result<String, Error> {
    Ok(String::from_utf8_lossy(&fetch(url, client().get(url)).await?).into_owned())
}

/// Posts JSON and reads JSON.
pub async fn post<T: DeserializeOwned>(url: &str, body: String) -> Result<T, Error> {
    let request = client().post(url).header("Content-Type", "application/json;charset=UTF-8").body(body);
    read(url, &fetch(url, request).await?)
}

/// Posts a form; what it says is of no interest.
pub async fn post_form(url: &str, body: String) -> Result<(), Error> {
    let request = client().post(url).header("Content-Type", "application/x-www-form-urlencoded").body(body);
    fetch(url, request).await.map(drop)
}

async fn fetch(url: &str, request: RequestBuilder) -> Result<Vec<u8>, Error> {
    let away = |error: reqwest::Error| Error::Away { url: url.to_owned(), why: innermost(&error) };
    let mut response = request.send().await.map_err(away)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let why = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(Error::Unreadable { url: url.to_owned(), why });
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_client_error() || status.is_server_error() {
        let message = String::from_utf8_lossy(&body).chars().take(MESSAGE_BYTES_MAX).collect();
        return Err(Error::Refused { url: url.to_owned(), status: status.as_u16(), message });
    }
    Ok(body)
}

fn read<T: DeserializeOwned>(url: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::Unreadable { url: url.to_owned(), why: error.to_string() })
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
