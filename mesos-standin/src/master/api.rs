//! The master's HTTP face: schedulers, operators, health, and the stand-in's own controls under `/standin`.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use meson_mesos::{
    headers::STREAM_ID,
    v1::{
        master::Call as OperatorCall,
        scheduler::{Call, call},
    },
};
use serde::Deserialize;
use serde_json::json;

use super::Master;
use crate::{
    cluster::{Answer, Fault, Refusal, Subscription, VERSION},
    http, validate,
};

/// All routes.
pub(super) fn router(master: Arc<Master>) -> Router {
    Router::new()
        .route("/api/v1/scheduler", any(scheduler))
        .route("/master/api/v1/scheduler", any(scheduler))
        .route("/api/v1", any(operator))
        .route("/master/api/v1", any(operator))
        .route("/redirect", get(redirect))
        .route("/master/redirect", get(redirect))
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/master/health", get(|| async { StatusCode::OK }))
        .route("/version", get(|| async { http::json(&json!({ "version": VERSION })) }))
        .route("/standin/leader", get(leader))
        .route("/standin/fault", post(fault))
        .route("/standin/partition", post(partition))
        .route("/standin/exit", post(exit))
        .with_state(master)
}

type Shared = State<Arc<Master>>;

async fn scheduler(
    State(master): Shared,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let principal = match http::principal(&headers, &master.settings.config.credentials) {
        Ok(principal) => principal,
        Err(refusal) => return refusal.into_response(),
    };
    if !master.leads() {
        return master.elsewhere(&uri.to_string());
    }
    if let Some(refusal) = http::only_post(&method) {
        return refusal;
    }
    match master.scheduler_call(&headers, &body, principal) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn operator(
    State(master): Shared,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !master.leads() {
        return master.elsewhere(&uri.to_string());
    }
    if let Some(refusal) = http::only_post(&method) {
        return refusal;
    }
    match master.operator_call(&headers, &body) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn redirect(State(master): Shared) -> Response {
    master.elsewhere("")
}

async fn leader(State(master): Shared) -> Response {
    http::json(&json!({ "leader": master.leader(), "leading": master.leads() }))
}

async fn fault(State(master): Shared, body: Bytes) -> Response {
    let fault: Fault = match http::from_json(&body) {
        Ok(fault) => fault,
        Err(refusal) => return refusal.into_response(),
    };
    let now = master.now();
    let done = master.with(|cluster| cluster.fault(now, fault));
    if done.is_some() { StatusCode::OK.into_response() } else { master.elsewhere("/standin/fault") }
}

/// What `POST /standin/partition` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partition {
    /// The agent's id.
    agent_id: String,
    /// Whether nothing passes between it and the master; `false` heals.
    on: bool,
}

async fn partition(State(master): Shared, body: Bytes) -> Response {
    let partition: Partition = match http::from_json(&body) {
        Ok(partition) => partition,
        Err(refusal) => return refusal.into_response(),
    };
    if !master.leads() {
        return master.elsewhere("/standin/partition");
    }
    master.partition(&partition.agent_id, partition.on);
    StatusCode::OK.into_response()
}

/// The process ends at once, as masters of Mesos do when they lose their leadership.
async fn exit() -> Response {
    std::process::exit(0)
}

impl Master {
    fn scheduler_call(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &[u8],
        principal: Option<String>,
    ) -> Result<Response, Refusal> {
        let mut call: Call = http::read_call(headers, body)?;
        validate::call(&call, principal.as_deref())
            .map_err(|error| Refusal::BadRequest(format!("Failed to validate scheduler::Call: {error}")))?;
        let stream = headers.get(STREAM_ID).map(|value| value.to_str().unwrap_or_default());
        if call.r#type() == call::Type::Subscribe {
            let encoding = http::accepted_encoding(headers)?;
            if stream.is_some() {
                return Err(Refusal::BadRequest(
                    "Subscribe calls should not include the 'Mesos-Stream-Id' header".to_owned(),
                ));
            }
            let Some(mut subscribe) = call.subscribe.take() else {
                return Err(Refusal::BadRequest("Expecting 'subscribe' to be present".to_owned()));
            };
            if subscribe.framework_info.principal.is_none() {
                subscribe.framework_info.principal = principal;
            }
            return Ok(self.subscribe(subscribe, encoding));
        }
        let now = self.now();
        let answer = self.with(|cluster| cluster.call(now, principal.as_deref(), stream, call));
        match answer.unwrap_or_else(|| Err(Refusal::Unavailable("Not leading".to_owned())))? {
            Answer::Accepted => Ok(StatusCode::ACCEPTED.into_response()),
            Answer::Done => Ok(StatusCode::OK.into_response()),
        }
    }

    fn subscribe(
        self: &Arc<Self>,
        subscribe: call::Subscribe,
        encoding: meson_mesos::encoding::Encoding,
    ) -> Response {
        let stream = http::random_id();
        let (sender, response) = http::event_stream(encoding, &[(STREAM_ID, stream.clone())]);
        let watched = sender.clone();
        self.lock().streams.insert(stream.clone(), sender);
        let now = self.now();
        self.with(|cluster| cluster.subscribe(now, Subscription { stream: stream.clone(), subscribe }));
        tokio::spawn(Arc::clone(self).watch(stream, watched));
        response
    }

    /// Tells the rules when a scheduler's connection is gone, or was closed from here.
    async fn watch(self: Arc<Self>, stream: String, sender: http::EventSender) {
        let weak = sender.downgrade();
        drop(sender);
        weak.closed().await;
        self.lock().streams.remove(&stream);
        let now = self.now();
        self.with(|cluster| cluster.stream_closed(now, &stream));
    }

    fn operator_call(&self, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
        let call: OperatorCall = http::read_call(headers, body)?;
        let encoding = http::accepted_encoding(headers)?;
        let now = self.now();
        let answer = self.with(|cluster| cluster.operator_call(now, call));
        let answer = answer.unwrap_or_else(|| Err(Refusal::Unavailable("Not leading".to_owned())))?;
        Ok(match answer {
            Some(answer) => {
                ([(header::CONTENT_TYPE, encoding.media_type())], encoding.encode(&answer)).into_response()
            }
            None => StatusCode::OK.into_response(),
        })
    }

    /// Sends a client to the leading master.
    fn elsewhere(&self, path: &str) -> Response {
        match self.leader() {
            // While it wins its own election, a master would send clients to itself.
            Some(leader) if leader == self.address && path.is_empty() && self.leads() => {
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("//{leader}"))]).into_response()
            }
            Some(leader) if leader != self.address => {
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("//{leader}{path}"))])
                    .into_response()
            }
            _ => Refusal::Unavailable("No leader elected".to_owned()).into_response(),
        }
    }

    fn partition(&self, agent: &str, on: bool) {
        let mut state = self.lock();
        tracing::info!(agent, on, "partition");
        if on {
            let link = state.cluster.as_ref().and_then(|cluster| cluster.link_of(agent));
            state.partitioned.insert(agent.to_owned(), link);
            return;
        }
        state.partitioned.remove(agent);
        // What was swallowed is lost, so the agent must say anew what it has, as after a broken connection.
        let link = state.cluster.as_ref().and_then(|cluster| cluster.link_of(agent));
        if let Some(link) = link {
            state.links.remove(&link);
        }
    }
}
