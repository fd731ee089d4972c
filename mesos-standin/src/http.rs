//! The HTTP side that master and agent share: media types, refusals as status codes, event streams, basic credentials.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::StreamExt as _;
use meson_mesos::{
    encoding::Encoding,
    headers::{JSON, PROTOBUF},
    recordio,
};
use prost::{Message, Name};
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::cluster::Refusal;

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            Refusal::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Refusal::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, self.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"mesos-master-scheduler\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// Anything but `POST` is refused.
#[must_use]
pub fn only_post(method: &Method) -> Option<Response> {
    if method == Method::POST {
        return None;
    }
    let body = format!("Expecting one of {{ 'POST' }}, but received '{method}'");
    Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], body).into_response())
}

/// Reads a call in the encoding that its `Content-Type` says.
///
/// # Errors
/// 400 or 415.
pub fn read_call<M: Message + Name + Default>(headers: &HeaderMap, body: &[u8]) -> Result<M, Refusal> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Err(Refusal::BadRequest("Expecting 'Content-Type' to be present".to_owned()));
    };
    // Like Mesos, which compares the whole header: `application/json; charset=utf-8` is another type.
    match content_type.to_str().unwrap_or_default() {
        PROTOBUF => Encoding::Protobuf
            .decode(body)
            .map_err(|_| Refusal::BadRequest("Failed to parse body into Call protobuf".to_owned())),
        JSON => read_json(body),
        _ => Err(Refusal::UnsupportedMediaType(format!("Expecting 'Content-Type' of {JSON} or {PROTOBUF}"))),
    }
}

fn read_json<M: Message + Name + Default>(body: &[u8]) -> Result<M, Refusal> {
    let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(body);
    json.map_err(|error| Refusal::BadRequest(format!("Failed to parse body into JSON: {error}")))?;
    Encoding::Json
        .decode(body)
        .map_err(|error| Refusal::BadRequest(format!("Failed to convert JSON into Call protobuf: {error}")))
}

/// The encoding of events and answers: JSON if it is accepted, else protobuf.
///
/// # Errors
/// 406 when neither is.
pub fn accepted_encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if accept.is_empty() || accepts(&accept, JSON) {
        return Ok(Encoding::Json);
    }
    if accepts(&accept, PROTOBUF) {
        return Ok(Encoding::Protobuf);
    }
    Err(Refusal::NotAcceptable(format!("Expecting 'Accept' to allow '{PROTOBUF}' or '{JSON}'")))
}

/// Whether an `Accept` header allows a media type: by name or wildcard, unless its quality is 0.
fn accepts(accept: &[&str], media_type: &str) -> bool {
    let major = media_type.split('/').next().unwrap_or_default();
    accept.iter().flat_map(|value| value.split(',')).any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        let name = pieces.next().unwrap_or_default();
        let refused = pieces.any(|piece| matches!(piece, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        let matches = name == "*/*" || name == media_type || name.strip_suffix("/*") == Some(major);
        matches && !refused
    })
}

/// Sends events to one subscriber.
#[derive(Clone, Debug)]
pub struct EventSender {
    encoding: Encoding,
    to: UnboundedSender<Bytes>,
    gone: tokio::sync::watch::Receiver<()>,
}

impl EventSender {
    /// Sends one event; nothing happens when the subscriber is gone.
    pub fn send<M: Message + Name>(&self, event: &M) {
        // A closed stream is noticed by whoever watches it.
        let _ = self.to.send(recordio::encode(&self.encoding.encode(event)));
    }

    /// A watcher that does not keep the stream open.
    #[must_use]
    pub fn downgrade(&self) -> Watcher {
        Watcher { gone: self.gone.clone() }
    }
}

/// Learns when a stream is over, from either side.
#[derive(Clone, Debug)]
pub struct Watcher {
    gone: tokio::sync::watch::Receiver<()>,
}

impl Watcher {
    /// Ends when the stream is over.
    pub async fn closed(mut self) {
        // Nothing is ever sent: the sender lives in the body and ends with it.
        while self.gone.changed().await.is_ok() {}
    }
}

/// A response that streams events, and the sender to it. The stream ends when the last sender is dropped.
#[must_use]
pub fn event_stream(encoding: Encoding, headers: &[(&'static str, String)]) -> (EventSender, Response) {
    // Unbounded: the stand-in holds what a slow reader does not take, as Mesos does.
    let (to, events) = tokio::sync::mpsc::unbounded_channel();
    let (alive, gone) = tokio::sync::watch::channel(());
    let events = UnboundedReceiverStream::new(events).map(move |event| {
        let _ = &alive;
        Ok::<_, Infallible>(event)
    });
    let body = Body::from_stream(events);
    let mut response =
        (StatusCode::OK, [(header::CONTENT_TYPE, encoding.media_type())], body).into_response();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    (EventSender { encoding, to, gone }, response)
}

/// The principal of a request by basic authentication; nobody where no credentials are configured.
///
/// # Errors
/// 401 when they are wrong or missing.
pub fn principal(
    headers: &HeaderMap,
    credentials: &BTreeMap<String, String>,
) -> Result<Option<String>, Refusal> {
    if credentials.is_empty() {
        return Ok(None);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for (principal, secret) in credentials {
        let expected = format!("Basic {}", base64(format!("{principal}:{secret}").as_bytes()));
        if given == expected {
            return Ok(Some(principal.clone()));
        }
    }
    Err(Refusal::Unauthorized("Invalid credentials".to_owned()))
}

/// A JSON value as a response.
#[must_use]
pub fn json(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}

/// Reads what the stand-in's own controls take.
///
/// # Errors
/// 400.
pub fn from_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::BadRequest(error.to_string()))
}

/// Base64 with padding, for one header.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS.get((group >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// A random id in the form of a UUID.
#[must_use]
pub fn random_id() -> String {
    let text = format!("{:032x}", ulid::Ulid::generate().0);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_compared_in_base64() {
        assert_eq!(base64(b"meson:secret"), "bWVzb246c2VjcmV0");
        assert_eq!(base64(b"a:b"), "YTpi");
        assert_eq!(base64(b"ab:c"), "YWI6Yw==");
    }

    #[test]
    fn accept_headers_choose_the_encoding() {
        let with = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
            accepted_encoding(&headers)
        };
        assert_eq!(accepted_encoding(&HeaderMap::new()), Ok(Encoding::Json));
        assert_eq!(with("application/x-protobuf"), Ok(Encoding::Protobuf));
        assert_eq!(with("application/json, application/x-protobuf"), Ok(Encoding::Json));
        assert_eq!(with("*/*"), Ok(Encoding::Json));
        assert_eq!(with("application/json;q=0, application/x-protobuf"), Ok(Encoding::Protobuf));
        assert!(matches!(with("text/html"), Err(Refusal::NotAcceptable(_))));
    }
}
