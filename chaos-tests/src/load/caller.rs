//! One client's calls. A call tries one replica after the other with the same request until there is an answer or its
//! time is over, and is kept with what came of it.
//!
//! An answer that says no is believed only if no earlier try of the call may have come through: a refusal may then be the
//! echo of that try's own success.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::*;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::Board;
use super::board::Start;
use crate::clock;
use crate::history::{self, Answer, Operation, RunState, RunView};

/// Longest wait for one replica's answer: beyond what a replica waits for a leader.
const TRY_TIMEOUT: Duration = Duration::from_secs(4);

/// When a call is given up.
const CALL_DEADLINE: Duration = Duration::from_secs(15);

/// Pause between tries.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a silent connection is believed in.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// A client.
pub struct Caller {
    number: u32,
    endpoints: Vec<String>,
    channels: HashMap<usize, Channel>,
    at: usize,
    board: Arc<Board>,
}

impl Caller {
    /// A client over these replicas.
    pub fn new(number: u32, endpoints: Vec<String>, board: Arc<Board>) -> Self {
        Caller { number, at: number as usize, endpoints, channels: HashMap::new(), board }
    }

    /// Goes to another replica with the next call.
    pub fn turn_to(&mut self, replica: u64) {
        self.at = replica as usize;
    }

    pub(super) async fn start(&mut self, start: &Start) -> Answer {
        let request = history::Request::Submit {
            request_id: start.request_id.clone(),
            workflow: start.workflow.clone(),
        };
        let answer = self.call(request, Some(&start.params)).await;
        if let Answer::Started { run_id } = &answer {
            self.board.started(run_id, &start.workflow);
        }
        answer
    }

    /// Reads a run.
    pub async fn get(&mut self, run_id: &str, stale: bool) -> Answer {
        let answer = self.call(history::Request::Get { run_id: run_id.to_owned(), stale }, None).await;
        if let Answer::Seen(view) = &answer {
            self.board.seen(run_id, view.status);
        }
        answer
    }

    /// Cancels a run.
    pub async fn cancel(&mut self, run_id: &str) -> Answer {
        self.call(history::Request::Cancel { run_id: run_id.to_owned() }, None).await
    }

    /// Sends a signal, with its request id as the payload.
    pub async fn signal(&mut self, run_id: &str, name: &str, request_id: &str) -> Answer {
        let request = history::Request::Signal {
            run_id: run_id.to_owned(),
            name: name.to_owned(),
            request_id: request_id.to_owned(),
        };
        self.call(request, None).await
    }

    async fn call(&mut self, request: history::Request, params: Option<&str>) -> Answer {
        let called = clock::now();
        let answer = self.tries(&request, params).await;
        let answered = (!matches!(answer, Answer::Unknown { .. })).then(clock::now);
        let operation = Operation { client: self.number, called, answered, request, answer: answer.clone() };
        self.board.record(operation);
        answer
    }

    async fn tries(&mut self, request: &history::Request, params: Option<&str>) -> Answer {
        let begun = Instant::now();
        let is_read = matches!(request, history::Request::Get { .. });
        let mut doubt = false;
        loop {
            let status = match self.attempt(request, params).await {
                Ok(answer) => return answer,
                Err(status) => status,
            };
            let code = format!("{:?}", status.code());
            if !is_uncertain(&status) {
                return if doubt && !is_read {
                    Answer::Unknown { code }
                } else {
                    Answer::Refused { code, message: status.message().to_owned() }
                };
            }
            doubt = true;
            self.channels.remove(&(self.at % self.endpoints.len()));
            self.at += 1;
            if begun.elapsed() > CALL_DEADLINE {
                return Answer::Unknown { code };
            }
            // tidy: allow sleep: a client backs off between replicas, as any client does
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self, request: &history::Request, params: Option<&str>) -> Result<Answer, Status> {
        let runs = RunServiceClient::new(self.channel()?);
        let answer = tokio::time::timeout(TRY_TIMEOUT, ask(runs, request, params.unwrap_or_default())).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
    }

    fn channel(&mut self) -> Result<Channel, Status> {
        let place = self.at % self.endpoints.len();
        if let Some(channel) = self.channels.get(&place) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(self.endpoints[place].clone());
        let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
        let channel = endpoint
            .connect_timeout(Duration::from_millis(700))
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        self.channels.insert(place, channel.clone());
        Ok(channel)
    }
}

async fn ask(
    mut runs: RunServiceClient<Channel>,
    request: &history::Request,
    params: &str,
) -> Result<Answer, Status> {
    match request.clone() {
        history::Request::Submit { request_id, workflow } => {
            let params_json = params.to_owned();
            let request = StartRunRequest { request_id, workflow, params_json, ..Default::default() };
            let run = runs.start_run(request).await?.into_inner().run.unwrap_or_default();
            Ok(Answer::Started { run_id: run.run_id })
        }
        history::Request::Get { run_id, stale } => {
            let answer = runs.get_run(GetRunRequest { run_id, allow_stale: stale }).await?.into_inner();
            Ok(Answer::Seen(view(&answer.run.unwrap_or_default(), answer.stale)))
        }
        history::Request::Cancel { run_id } => {
            let reason = "the test changed its mind".to_owned();
            runs.cancel_run(CancelRunRequest { run_id, reason }).await?;
            Ok(Answer::Accepted)
        }
        history::Request::Signal { run_id, name, request_id } => {
            let payload_json = serde_json::Value::from(request_id.clone()).to_string();
            runs.signal_run(SignalRunRequest { run_id, signal: name, payload_json, request_id }).await?;
            Ok(Answer::Accepted)
        }
    }
}

fn view(run: &Run, stale: bool) -> RunView {
    RunView {
        status: state(run.status()),
        cancelling: run.status() == RunStatus::Stopping,
        succeeded: u64::from(run.counts.unwrap_or_default().succeeded),
        stale,
    }
}

/// How a run stands, in the words of a history.
pub(crate) fn state(status: RunStatus) -> RunState {
    match status {
        RunStatus::Succeeded => RunState::Succeeded,
        RunStatus::Failed => RunState::Failed,
        RunStatus::Cancelled => RunState::Cancelled,
        RunStatus::Unspecified | RunStatus::Running | RunStatus::Paused | RunStatus::Stopping => {
            RunState::Active
        }
    }
}

/// Failures after which nobody knows whether the request was carried out. A broken connection shows as one of several.
fn is_uncertain(status: &Status) -> bool {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, Internal, Unavailable, Unknown};
    matches!(
        status.code(),
        Unavailable | DeadlineExceeded | Cancelled | Unknown | Internal | Aborted | DataLoss
    )
}
