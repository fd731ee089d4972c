//! The operator's side, as far as tools around a framework need it: single calls to the leading master, such as TEARDOWN,
//! DRAIN_AGENT, MARK_AGENT_GONE and the GET calls.

use reqwest::Url;

use crate::detect::address;
use crate::http::{Settings, Transport};
use crate::scheduler::REDIRECTS_MAX;
use crate::v1::master::call::Type;
use crate::v1::master::{Call, Response};
use crate::{Error, headers};

/// Sends operators' calls to one cluster.
#[derive(Debug, Clone)]
pub struct Operator {
    transport: Transport,
    url: Url,
}

impl Operator {
    /// `master` is any of the masters, as `host`, `host:port` or a URL; one that does not lead points to the leader.
    /// `https` is for addresses that do not say how to talk to them.
    pub fn new(master: &str, https: bool, settings: Settings) -> Result<Self, Error> {
        let mut url = address(master, https)?;
        url.set_path(headers::OPERATOR_PATH);
        Ok(Self { transport: Transport::new(settings)?, url })
    }

    /// Sends a call. GET calls are answered with a response; others, if they are taken, with none.
    pub async fn call(&self, call: &Call) -> Result<Option<Response>, Error> {
        let kind = Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            match self.transport.call(kind.as_str_name(), &url, None, call).await {
                Ok(body) if body.is_empty() => return Ok(None),
                Ok(body) => {
                    let response = self.transport.encoding().decode(&body);
                    let endpoint = url.to_string();
                    return response.map(Some).map_err(|source| Error::Message { endpoint, source });
                }
                Err(Error::Redirected { leader, .. }) => {
                    url =
                        Url::parse(&leader).map_err(|error| Error::Settings(format!("{leader}: {error}")))?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::NoLeader(format!("{REDIRECTS_MAX} redirects in a row, the last one to {url}")))
    }
}
