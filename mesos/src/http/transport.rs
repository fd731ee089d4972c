//! Sends calls and reads their answers. Knows statuses and headers, not what calls mean.

use std::time::Duration;

use bytes::Bytes;
use prost::{Message, Name};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::settings::{Credentials, Settings};
use super::{stream::Records, tls};
use crate::encoding::Encoding;
use crate::error::BODY_KEPT_BYTES_MAX;
use crate::{Error, headers};

/// Connections that nobody uses are closed after this, before a firewall forgets them.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// The kernel asks silent peers whether they are still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The most of an answer to a call that is read; answers to calls are short.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Connections to one or more masters or agents. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    client: Client,
    settings: Settings,
}

/// The answer to SUBSCRIBE.
pub(crate) struct Opened {
    pub stream_id: Option<String>,
    pub records: Records,
}

impl Transport {
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls::configuration(&settings.tls)?)
            // A redirect of Mesos names the leader; credentials and the body have to go there too.
            .redirect(Policy::none())
            .http1_only()
            .no_proxy()
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .pool_idle_timeout(IDLE_MAX)
            .connect_timeout(settings.connect_timeout)
            .user_agent(concat!("meson-mesos/", env!("CARGO_PKG_VERSION")));
        if let Some(socket) = &settings.domain_socket {
            builder = builder.unix_socket(socket.as_path());
        }
        let client = builder.build().map_err(|error| Error::Settings(causes(&error)))?;
        Ok(Self { client, settings })
    }

    pub fn encoding(&self) -> Encoding {
        self.settings.encoding
    }

    /// Sends a call that is answered at once, and gives the answer's body.
    pub async fn call<M: Message + Name>(
        &self,
        name: &'static str,
        url: &Url,
        stream_id: Option<&str>,
        call: &M,
    ) -> Result<Bytes, Error> {
        let mut request = self.request(url, call);
        if let Some(stream_id) = stream_id {
            request = request.header(headers::STREAM_ID, stream_id);
        }
        let answered = async {
            let response = request.send().await.map_err(|error| connection(name, url, &error))?;
            let response = accepted(name, url, response).await?;
            body(response, ANSWER_BYTES_MAX).await.map_err(|error| connection(name, url, &error))
        };
        deadline(name, url, self.settings.call_timeout, answered).await
    }

    /// Sends SUBSCRIBE; the answer goes on until one side ends it.
    pub async fn subscribe<M: Message + Name>(&self, url: &Url, call: &M) -> Result<Opened, Error> {
        const NAME: &str = "SUBSCRIBE";
        let request = self.request(url, call);
        let opened = async {
            let response = request.send().await.map_err(|error| connection(NAME, url, &error))?;
            let response = accepted(NAME, url, response).await?;
            let stream_id = stream_id(url, &response)?;
            let records = Records::new(endpoint(url), response, &self.settings)?;
            Ok(Opened { stream_id, records })
        };
        deadline(NAME, url, self.settings.subscribe_timeout, opened).await
    }

    fn request<M: Message + Name>(&self, url: &Url, call: &M) -> RequestBuilder {
        let encoding = self.settings.encoding;
        let request = self
            .client
            .post(url.clone())
            .header(CONTENT_TYPE, encoding.media_type())
            .header(ACCEPT, encoding.media_type())
            .body(encoding.encode(call));
        match &self.settings.credentials {
            Credentials::None => request,
            Credentials::Basic { principal, secret } => request.basic_auth(principal, Some(secret)),
            Credentials::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// Scheme, host and port, as errors and logs name a peer.
pub(crate) fn endpoint(url: &Url) -> String {
    url.origin().ascii_serialization()
}

async fn deadline<T>(
    call: &'static str,
    url: &Url,
    after: Duration,
    answered: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(after, answered).await {
        Ok(result) => result,
        Err(_) => Err(Error::Deadline { call, endpoint: endpoint(url), after }),
    }
}

/// The response itself if it is a success, else what it says.
async fn accepted(call: &'static str, url: &Url, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let endpoint = endpoint(url);
    if status.is_redirection() {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.unwrap_or_default();
        let leader = redirected(url, location).ok_or_else(|| Error::Protocol {
            endpoint: endpoint.clone(),
            what: format!("{status} to {location:?}, which is no address of a master"),
        })?;
        return Err(Error::Redirected { call, endpoint, leader: leader.to_string() });
    }
    let body = body(response, BODY_KEPT_BYTES_MAX).await.unwrap_or_default();
    let mut body = String::from_utf8_lossy(&body).trim().to_owned();
    if body.is_empty() && status == StatusCode::SERVICE_UNAVAILABLE {
        body = "no leader, or not ready".to_owned();
    }
    Err(Error::Answer { call, endpoint, status: status.as_u16(), body })
}

/// Where a redirect points to: `//host:port/path` as masters say it, a whole URL, or `host:port` as the documentation
/// has it. Only host and port are taken; a redirect never leads from `https` to `http`.
fn redirected(from: &Url, location: &str) -> Option<Url> {
    let absolute = match location {
        "" => return None,
        relative if relative.starts_with("//") => format!("{}:{relative}", from.scheme()),
        whole if whole.contains("://") => whole.to_owned(),
        path if path.starts_with('/') => return None,
        authority => format!("{}://{authority}", from.scheme()),
    };
    let target = Url::parse(&absolute).ok()?;
    let downgraded = from.scheme() == "https" && target.scheme() != "https";
    if downgraded || !matches!(target.scheme(), "http" | "https") {
        return None;
    }
    let mut url = from.clone();
    url.set_scheme(target.scheme()).ok()?;
    url.set_host(target.host_str()).ok()?;
    url.set_port(target.port()).ok()?;
    Some(url)
}

fn stream_id(url: &Url, response: &Response) -> Result<Option<String>, Error> {
    let Some(value) = response.headers().get(headers::STREAM_ID) else { return Ok(None) };
    match value.to_str() {
        Ok(id) if id.len() <= headers::STREAM_ID_BYTES_MAX => Ok(Some(id.to_owned())),
        _ => Err(Error::Protocol {
            endpoint: endpoint(url),
            what: format!("a {} of {} bytes, or not of text", headers::STREAM_ID, value.len()),
        }),
    }
}

/// Reads at most `bytes_max` bytes; the rest is not wanted.
async fn body(mut response: Response, bytes_max: usize) -> Result<Bytes, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = bytes_max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == bytes_max {
            break;
        }
    }
    Ok(body.into())
}

fn connection(call: &'static str, url: &Url, error: &reqwest::Error) -> Error {
    Error::Connection { call, endpoint: endpoint(url), reason: causes(error) }
}

/// An error with all that caused it; reqwest's own text names only the outermost.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(from: &str, location: &str) -> Option<String> {
        redirected(&Url::parse(from).unwrap(), location).map(|url| url.to_string())
    }

    #[test]
    fn redirects_of_masters_name_the_leader() {
        let from = "http://m1:5050/api/v1/scheduler";
        let leader = Some("http://m2:5051/api/v1/scheduler".to_owned());
        assert_eq!(to(from, "//m2:5051/api/v1/scheduler"), leader, "what masters send");
        assert_eq!(to(from, "//m2:5051"), leader);
        assert_eq!(to(from, "m2:5051"), leader, "what the documentation shows");
        assert_eq!(to(from, "http://m2:5051/master/redirect"), leader);
        assert_eq!(to(from, "//[::1]:5051"), Some("http://[::1]:5051/api/v1/scheduler".to_owned()));
    }

    #[test]
    fn redirects_to_nowhere_are_refused() {
        let from = "http://m1:5050/api/v1/scheduler";
        for location in ["", "/api/v1/scheduler", "ftp://m2:5051", "//", "//:5050"] {
            assert_eq!(to(from, location), None, "{location:?}");
        }
    }

    #[test]
    fn redirects_do_not_leave_tls() {
        assert_eq!(to("https://m1:5050/api", "//m2:5050"), Some("https://m2:5050/api".to_owned()));
        assert_eq!(to("https://m1:5050/api", "http://m2:5050"), None);
    }
}
