//! A server that plays a replica: takes sessions and logs, records all it hears, says what the test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meson_proto::v1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use meson_proto::v1::log_service_server::{LogService, LogServiceServer};
use meson_proto::v1::session_request::Message as Said;
use meson_proto::v1::session_response::Message as Heard;
use meson_proto::v1::{
    AppendLogsRequest, AppendLogsResponse, Heartbeat, HeartbeatAck, Hello, Kill, Launch, LogRecord, Permit,
    ReadLogsRequest, ReadLogsResponse, Redirect, Report, ReportAck, SessionRequest, SessionResponse, Welcome,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How the leader behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    pub term: u64,
    pub lease_ms: u64,
    pub heartbeat_ms: u64,
    pub ack_reports: bool,
    pub ack_heartbeats: bool,
    pub redirect_to: Option<String>,
    pub replicas: Vec<String>,
    pub take_logs: bool,
    /// Answers claims by a permit; else by kills that discard.
    pub permit: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            term: 1,
            lease_ms: 20_000,
            heartbeat_ms: 50,
            ack_reports: true,
            ack_heartbeats: true,
            redirect_to: None,
            replicas: Vec::new(),
            take_logs: true,
            permit: true,
        }
    }
}

/// What was heard so far.
#[derive(Debug, Default, Clone)]
pub struct Record {
    pub hellos: Vec<Hello>,
    pub heartbeats: Vec<Heartbeat>,
    pub reports: Vec<Report>,
    pub logs: BTreeMap<String, Vec<LogRecord>>,
    pub log_requests: usize,
    pub claims: Vec<String>,
}

impl Record {
    /// The terminal reports of an attempt, without repetitions.
    pub fn ends_of(&self, attempt_id: &str) -> Vec<Report> {
        let mut ends: Vec<Report> = self
            .reports
            .iter()
            .filter(|r| r.attempt_id == attempt_id && super::is_terminal(r))
            .cloned()
            .collect();
        ends.dedup_by_key(|report| report.report_id);
        ends
    }

    /// The text of an attempt's log.
    pub fn log_text(&self, attempt_id: &str) -> String {
        let records = self.logs.get(attempt_id).cloned().unwrap_or_default();
        records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
    }
}

/// The running server.
pub struct Leader {
    pub address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

pub struct Shared {
    manners: Mutex<Manners>,
    record: watch::Sender<Record>,
    session: Mutex<Option<mpsc::Sender<Result<SessionResponse, Status>>>>,
}

impl Leader {
    /// Starts on a free port.
    pub async fn start(manners: Manners) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            record: watch::channel(Record::default()).0,
            session: Mutex::new(None),
        });
        let server = tonic::transport::Server::builder()
            .add_service(ExecutorServiceServer::new(Face(shared.clone())).max_decoding_message_size(64 << 20))
            .add_service(LogServiceServer::new(Face(shared.clone())))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.unwrap() });
        Self { address, shared, server }
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.manners.lock().unwrap());
    }

    /// What was heard so far.
    pub fn record(&self) -> Record {
        self.shared.record.borrow().clone()
    }

    /// Waits until what was heard fits.
    pub async fn until<T>(&self, what: &str, mut fits: impl FnMut(&Record) -> Option<T>) -> T {
        let mut changes = self.shared.record.subscribe();
        let search = async {
            loop {
                if let Some(found) = fits(&changes.borrow_and_update()) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("never heard: {what}; heard: {:#?}", self.record().reports),
        }
    }

    /// Waits for the last report of an attempt.
    pub async fn end_of(&self, attempt_id: &str) -> Report {
        self.until(&format!("the end of {attempt_id}"), |record| record.ends_of(attempt_id).pop()).await
    }

    /// Waits for the `count`th hello.
    pub async fn hello(&self, count: usize) -> Hello {
        self.until("hello", |record| record.hellos.get(count - 1).cloned()).await
    }

    /// Says something in the open session.
    pub async fn say(&self, message: Heard) {
        let session = self.shared.session.lock().unwrap().clone().expect("a session is open");
        session.send(Ok(SessionResponse { message: Some(message) })).await.unwrap();
    }

    pub async fn launch(&self, launch: Launch) {
        self.say(Heard::Launch(launch)).await;
    }

    pub async fn kill(&self, attempt_id: &str, grace_ms: u64, discard: bool) {
        self.say(Heard::Kill(Kill { term: 1, attempt_id: attempt_id.into(), fence: 1, grace_ms, discard }))
            .await;
    }

    /// What the leader answers, for sessions that come another way.
    pub fn answer(&self, said: Said) -> Option<Heard> {
        self.shared.answer(said)
    }

    /// Ends the open session from this side.
    pub fn drop_session(&self) {
        self.shared.session.lock().unwrap().take();
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Face(Arc<Shared>);

impl Shared {
    fn manners(&self) -> Manners {
        self.manners.lock().unwrap().clone()
    }

    pub fn answer(&self, said: Said) -> Option<Heard> {
        let manners = self.manners();
        match said {
            Said::Hello(hello) => {
                self.record.send_modify(|record| record.hellos.push(hello));
                Some(match manners.redirect_to {
                    Some(leader_address) => {
                        Heard::Redirect(Redirect { leader_address, replica_addresses: vec![] })
                    }
                    None => Heard::Welcome(Welcome {
                        term: manners.term,
                        lease_ms: manners.lease_ms,
                        heartbeat_ms: manners.heartbeat_ms,
                        replica_addresses: manners.replicas,
                    }),
                })
            }
            Said::Heartbeat(heartbeat) => {
                let sequence = heartbeat.sequence;
                self.record.send_modify(|record| record.heartbeats.push(heartbeat));
                manners.ack_heartbeats.then_some(Heard::HeartbeatAck(HeartbeatAck { sequence }))
            }
            Said::Claim(claim) => {
                let ids: Vec<String> = claim.attempts.into_iter().map(|attempt| attempt.attempt_id).collect();
                self.record.send_modify(|record| record.claims.extend(ids.clone()));
                if manners.permit {
                    return Some(Heard::Permit(Permit { attempt_ids: ids }));
                }
                // Tests refuse one at a time.
                let attempt_id = ids.first()?.clone();
                Some(Heard::Kill(Kill { term: manners.term, attempt_id, discard: true, ..Kill::default() }))
            }
            Said::Report(report) => {
                let report_id = report.report_id;
                self.record.send_modify(|record| record.reports.push(report));
                manners.ack_reports.then(|| Heard::ReportAck(ReportAck { report_id, refused: String::new() }))
            }
        }
    }
}

#[tonic::async_trait]
impl ExecutorService for Face {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (sender, receiver) = mpsc::channel(1024);
        let (shared, mut requests) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(SessionRequest { message: Some(said) })) = requests.message().await {
                let is_hello = matches!(said, Said::Hello(_));
                // Only a test that drops the session holds no sender; the stream then ends.
                let ours = sender.clone();
                if is_hello {
                    *shared.session.lock().unwrap() = Some(sender.clone());
                }
                let answer = shared.answer(said);
                let redirected = matches!(answer, Some(Heard::Redirect(_)));
                if let Some(message) = answer
                    && ours.send(Ok(SessionResponse { message: Some(message) })).await.is_err()
                {
                    return;
                }
                if redirected || shared.session.lock().unwrap().is_none() {
                    shared.session.lock().unwrap().take();
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl LogService for Face {
    type AppendLogsStream = ReceiverStream<Result<AppendLogsResponse, Status>>;
    type ReadLogsStream = ReceiverStream<Result<ReadLogsResponse, Status>>;

    async fn append_logs(
        &self,
        request: Request<Streaming<AppendLogsRequest>>,
    ) -> Result<Response<Self::AppendLogsStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let (shared, mut requests) = (self.0.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if !shared.manners().take_logs {
                    continue;
                }
                let attempt_id = request.attempt_id.clone();
                let mut next_sequence = 0;
                shared.record.send_modify(|record| {
                    record.log_requests += 1;
                    let log = record.logs.entry(attempt_id.clone()).or_default();
                    for record in request.records {
                        if record.sequence == log.len() as u64 + 1 {
                            log.push(record);
                        }
                    }
                    next_sequence = log.len() as u64 + 1;
                });
                if sender.send(Ok(AppendLogsResponse { attempt_id, next_sequence })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn read_logs(&self, _: Request<ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
        Err(Status::unimplemented("tests read the record"))
    }
}
