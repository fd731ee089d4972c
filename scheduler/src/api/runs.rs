//! RunService: starts, shows and steers runs.

use std::sync::Arc;

use futures::TryStreamExt as _;
use meson_engine::command::{Cancel, Command, RunId, Signal, Start};
use meson_engine::outcome::RefusalKind;
use meson_engine::record::Run as Record;
use meson_engine::status::RunStatus as Status_;
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::run_service_server::RunService;
use meson_proto::v1::*;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tonic::codegen::BoxStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::gate::{Gate, forwarded, pass_on};
use super::history::History;
use super::list;
use super::workflows::find;
use super::{convert, errors, gate, views, watch};
use crate::paths;
use crate::proposer::Error;
use crate::shared::Shared;

/// Longest request id and run label, in characters.
const ID_CHARS_MAX: usize = 128;

/// Most labels of a run.
const LABELS_MAX: usize = 32;

/// Largest parameters of a run and payload of a signal, in bytes of JSON.
const PARAMS_BYTES_MAX: usize = 256 << 10;
const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// Longest reason of a cancel, in bytes: as long as any failure's message.
const REASON_BYTES_MAX: usize = meson_engine::limits::MESSAGE_BYTES_MAX;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Runs {
    /// What all faces share.
    pub shared: Shared,
    /// Who answers.
    pub gate: Arc<Gate>,
    /// Archived runs.
    pub history: History,
}

type Client = RunServiceClient<Channel>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RunService for Runs {
    async fn start_run(&self, request: Request<StartRunRequest>) -> Answer<StartRunResponse> {
        let params = check_start(request.get_ref())?;
        pass_on!(self.gate, Client, start_run, request);
        let request = request.into_inner();
        let command = self.start_command(request, params)?;
        let outcome = self.shared.proposer.propose(command).await.map_err(|error| errors::propose(&error))?;
        let run = self.record(&outcome.run_id).await?;
        Ok(Response::new(StartRunResponse { run: Some(convert::run(&run)), created: outcome.changed }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Answer<GetRunResponse> {
        let stale = request.get_ref().allow_stale;
        if !stale {
            pass_on!(self.gate, Client, get_run, request);
            self.gate.barrier().await?;
        }
        let run = self.record(&request.get_ref().run_id).await?;
        Ok(Response::new(GetRunResponse { run: Some(convert::run(&run)), stale }))
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Answer<ListRunsResponse> {
        let stale = request.get_ref().allow_stale;
        if !stale {
            pass_on!(self.gate, Client, list_runs, request);
            self.gate.barrier().await?;
        }
        let mut answer = list::runs(self.shared.published.state(), &self.history, request.get_ref()).await?;
        answer.stale = stale;
        Ok(Response::new(answer))
    }

    async fn list_nodes(&self, request: Request<ListNodesRequest>) -> Answer<ListNodesResponse> {
        let stale = request.get_ref().allow_stale;
        if !stale {
            pass_on!(self.gate, Client, list_nodes, request);
            self.gate.barrier().await?;
        }
        let run = self.record(&request.get_ref().run_id).await?;
        let mut answer = list::nodes(&self.shared, &run, request.get_ref())?;
        answer.stale = stale;
        Ok(Response::new(answer))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Answer<GetNodeResponse> {
        pass_on!(self.gate, Client, get_node, request);
        self.gate.barrier().await?;
        let GetNodeRequest { run_id, path } = request.into_inner();
        let run = self.record(&run_id).await?;
        let state = self.shared.published.state();
        let node =
            paths::find(&state, &run, &path).and_then(|no| views::node(&self.shared, &state, &run, no));
        match node {
            Some(node) => Ok(Response::new(GetNodeResponse { node: Some(node) })),
            None => Err(errors::not_found("node", &path, "see `mesonctl runs nodes`")),
        }
    }

    type WatchRunStream = BoxStream<WatchRunResponse>;

    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Answer<Self::WatchRunStream> {
        // Progress is known to the leader only, so watching goes there.
        if let gate::Route::Leader(channel) = self.gate.route(request.metadata()).await? {
            let answer = Client::new(channel).watch_run(forwarded(request)).await.map_err(gate::broken)?;
            return Ok(Response::new(Box::pin(answer.into_inner().map_err(gate::broken))));
        }
        self.gate.barrier().await?;
        let WatchRunRequest { run_id, from_sequence } = request.into_inner();
        self.record(&run_id).await?;
        Ok(Response::new(Box::pin(watch::stream(self.clone(), run_id, from_sequence))))
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Answer<CancelRunResponse> {
        let length = request.get_ref().reason.len();
        if length > REASON_BYTES_MAX {
            let message = format!("{length} bytes; {REASON_BYTES_MAX} are allowed");
            return Err(errors::invalid("reason", message));
        }
        pass_on!(self.gate, Client, cancel_run, request);
        let CancelRunRequest { run_id, reason } = request.into_inner();
        let run = self.steer(&run_id, Cancel { run_id: run_id.clone(), reason }.into()).await?;
        Ok(Response::new(CancelRunResponse { run: Some(run) }))
    }

    async fn pause_run(&self, request: Request<PauseRunRequest>) -> Answer<PauseRunResponse> {
        pass_on!(self.gate, Client, pause_run, request);
        let PauseRunRequest { run_id } = request.into_inner();
        let run = self.steer(&run_id, Command::Pause(RunId { run_id: run_id.clone() })).await?;
        Ok(Response::new(PauseRunResponse { run: Some(run) }))
    }

    async fn resume_run(&self, request: Request<ResumeRunRequest>) -> Answer<ResumeRunResponse> {
        pass_on!(self.gate, Client, resume_run, request);
        let ResumeRunRequest { run_id } = request.into_inner();
        let run = self.steer(&run_id, Command::Resume(RunId { run_id: run_id.clone() })).await?;
        Ok(Response::new(ResumeRunResponse { run: Some(run) }))
    }

    async fn restart_run(&self, request: Request<RestartRunRequest>) -> Answer<RestartRunResponse> {
        pass_on!(self.gate, Client, restart_run, request);
        let RestartRunRequest { run_id } = request.into_inner();
        let run = self.steer(&run_id, Command::Restart(RunId { run_id: run_id.clone() })).await?;
        Ok(Response::new(RestartRunResponse { run: Some(run) }))
    }

    async fn signal_run(&self, request: Request<SignalRunRequest>) -> Answer<SignalRunResponse> {
        let payload = check_signal(request.get_ref())?;
        pass_on!(self.gate, Client, signal_run, request);
        let SignalRunRequest { run_id, signal, request_id, .. } = request.into_inner();
        let command =
            Signal { run_id: run_id.clone(), signal, payload: payload.to_string().into(), request_id };
        let run = self.steer(&run_id, command.into()).await?;
        Ok(Response::new(SignalRunResponse { run: Some(run) }))
    }
}

impl Runs {
    /// The run of this id, active or archived.
    pub(super) async fn record(&self, run_id: &str) -> Result<Arc<Record>, Status> {
        if let Some(run) = self.shared.published.state().run(run_id) {
            return Ok(run.clone());
        }
        if let Some(run) = self.history.run(run_id).await? {
            return Ok(run);
        }
        Err(no_run(run_id))
    }

    fn start_command(&self, request: StartRunRequest, params: Map<String, Value>) -> Result<Start, Status> {
        let state = self.shared.published.state();
        let version = find(&state, &request.workflow, &request.version)?;
        let json = state.definitions.get(&version.hash).map(|registered| registered.json.as_str());
        let definition: meson_workflow::Definition = serde_json::from_str(json.unwrap_or_default())
            .map_err(|error| Status::internal(format!("the definition cannot be read: {error}")))?;
        let digest = digest(&request, &params);
        let bound = meson_workflow::bind_params(&definition, params)
            .map_err(|problems| errors::problems("params_json", &problems))?;
        let ulid = ulid::Ulid::generate().to_string();
        let group = u32::try_from(self.shared.config.group_id).unwrap_or_default();
        let run_id =
            meson_workflow::RunId::new(group, &ulid).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Start {
            request_id: request.request_id,
            run_id: run_id.to_string(),
            workflow: request.workflow,
            version: version.hash.clone(),
            params: Value::Object(bound).to_string().into(),
            labels: request.labels.into_iter().collect(),
            digest,
        })
    }

    /// Proposes a command about a run and returns the run as it then is.
    async fn steer(&self, run_id: &str, command: Command) -> Result<Run, Status> {
        if run_id.parse::<meson_workflow::RunId>().is_err() {
            return Err(no_run(run_id));
        }
        let cancel = matches!(command, Command::Cancel(_));
        match self.shared.proposer.propose(command).await {
            Ok(_) => Ok(convert::run(&*self.record(run_id).await?)),
            Err(Error::Refused(refusal)) if refusal.kind() == RefusalKind::NotFound => {
                // It may be in the archive: then it has ended, which is all that a cancel wants.
                let run = self.record(run_id).await?;
                debug_assert!(Status_::try_from(run.head.status).is_ok_and(Status_::is_terminal));
                if cancel {
                    Ok(convert::run(&run))
                } else {
                    Err(Status::failed_precondition(format!("run `{run_id}` has ended and is archived")))
                }
            }
            Err(error) => Err(errors::propose(&error)),
        }
    }
}

fn no_run(run_id: &str) -> Status {
    let hint = match run_id.parse::<meson_workflow::RunId>() {
        Ok(_) => "",
        Err(_) => "a run's id looks like `g0-01jd2k3m4n5p6q7r8s9t0v1w2x`",
    };
    errors::not_found("run", run_id, hint)
}

/// What the client asked for, so that a repeated request can be told from another under the same id. The version counts
/// as asked: an unnamed one stays "the newest" even when a newer was registered between the two requests.
fn digest(request: &StartRunRequest, params: &Map<String, Value>) -> String {
    let labels: std::collections::BTreeMap<_, _> = request.labels.iter().collect();
    let asked = serde_json::json!([request.workflow, request.version, params, labels]);
    Sha256::digest(asked.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_start(request: &StartRunRequest) -> Result<Map<String, Value>, Status> {
    check_request_id(&request.request_id)?;
    if request.labels.len() > LABELS_MAX {
        return Err(errors::invalid("labels", format!("a run may have {LABELS_MAX} labels")));
    }
    let long = |text: &String| text.chars().count() > ID_CHARS_MAX;
    if let Some((label, _)) =
        request.labels.iter().find(|(key, value)| long(key) || long(value) || key.is_empty())
    {
        let message = format!("label `{label:.40}`: keys and values have 1 to {ID_CHARS_MAX} characters");
        return Err(errors::invalid("labels", message));
    }
    let text = &request.params_json;
    if text.len() > PARAMS_BYTES_MAX {
        let message = format!("{} bytes; {PARAMS_BYTES_MAX} are allowed", text.len());
        return Err(errors::invalid("params_json", message));
    }
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|error| errors::invalid("params_json", format!("not a JSON object: {error}")))
}

fn check_signal(request: &SignalRunRequest) -> Result<Value, Status> {
    check_request_id(&request.request_id)?;
    if request.signal.is_empty() || request.signal.len() > ID_CHARS_MAX {
        return Err(errors::invalid("signal", format!("a name has 1 to {ID_CHARS_MAX} characters")));
    }
    let text = &request.payload_json;
    if text.len() > PAYLOAD_BYTES_MAX {
        let message = format!("{} bytes; {PAYLOAD_BYTES_MAX} are allowed", text.len());
        return Err(errors::invalid("payload_json", message));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| errors::invalid("payload_json", format!("not JSON: {error}")))
}

fn check_request_id(request_id: &str) -> Result<(), Status> {
    let visible = request_id.chars().all(|c| c.is_ascii_graphic());
    if visible && request_id.len() <= ID_CHARS_MAX {
        return Ok(());
    }
    let message = format!("a request id has 1 to {ID_CHARS_MAX} visible ASCII characters, without spaces");
    Err(errors::invalid("request_id", message))
}
