//! The log service of several replicas over real connections.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meson_proto::v1::log_service_client::LogServiceClient;
use meson_proto::v1::{AppendLogsRequest, AppendLogsResponse, LogRecord, ReadLogsRequest, ReadLogsResponse};
use meson_scheduler::logs::{AttemptLookup, LogStore, Lookup, Service, ServiceSettings, Settings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Code, Status, Streaming};

const ATTEMPT: &str = "g1-run.1.1";

/// Knows one run with one attempt.
#[derive(Debug, Default)]
struct Known {
    ended: AtomicBool,
    peers: Mutex<Vec<String>>,
}

impl AttemptLookup for Known {
    async fn attempt_id(&self, run_id: &str, _: &str, _: u32) -> Result<Lookup, Status> {
        if run_id != "g1-run" {
            return Err(Status::not_found("no such run"));
        }
        Ok(Lookup { attempt_id: ATTEMPT.into(), ended: self.ended.load(Ordering::SeqCst) })
    }

    fn peers(&self) -> Vec<String> {
        self.peers.lock().unwrap().clone()
    }
}

/// A replica that stops when it is dropped.
struct Replica {
    known: Arc<Known>,
    address: String,
    server: AbortHandle,
    _folder: TempDir,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Replica {
    async fn start() -> Replica {
        let folder = TempDir::new().unwrap();
        let store = LogStore::open(Settings::new(folder.path())).unwrap();
        let known = Arc::new(Known::default());
        let settings = ServiceSettings {
            patience: Duration::from_millis(20),
            peer_idle_timeout: Duration::from_millis(500),
            chunk_bytes: 300,
            readers_max: 4,
            ..ServiceSettings::default()
        };
        let service = Service::new(store, known.clone(), settings).into_server();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(serve).abort_handle();
        Replica { known, address, server, _folder: folder }
    }

    /// Two replicas that know of each other.
    async fn start_two() -> [Replica; 2] {
        let [a, b] = [Replica::start().await, Replica::start().await];
        *a.known.peers.lock().unwrap() = vec!["127.0.0.1:1".into(), b.address.clone()];
        *b.known.peers.lock().unwrap() = vec![a.address.clone()];
        [a, b]
    }

    async fn client(&self) -> LogServiceClient<Channel> {
        LogServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    async fn executor(&self) -> Executor {
        let (requests, queue) = mpsc::channel(64);
        let answers = self.client().await.append_logs(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Executor { requests, answers }
    }

    async fn read(&self, request: ReadLogsRequest) -> Result<Reader, Status> {
        let messages = self.client().await.read_logs(request).await?.into_inner();
        Ok(Reader { messages, seen: Vec::new() })
    }

    async fn read_all(&self, request: ReadLogsRequest) -> Result<Vec<u64>, Status> {
        let mut reader = self.read(request).await?;
        reader.rest().await?;
        Ok(reader.seen)
    }
}

struct Executor {
    requests: mpsc::Sender<AppendLogsRequest>,
    answers: Streaming<AppendLogsResponse>,
}

impl Executor {
    async fn append(&mut self, attempt_id: &str, records: Vec<LogRecord>) -> Result<u64, Status> {
        let request = AppendLogsRequest { run_id: "g1-run".into(), attempt_id: attempt_id.into(), records };
        self.requests.send(request).await.unwrap();
        let answer = self.answers.message().await?.expect("every message is answered");
        assert_eq!(answer.attempt_id, attempt_id);
        Ok(answer.next_sequence)
    }
}

struct Reader {
    messages: Streaming<ReadLogsResponse>,
    seen: Vec<u64>,
}

impl Reader {
    async fn next(&mut self) -> Result<bool, Status> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.messages.message());
        let Some(message) = next.await.expect("the log goes on")? else { return Ok(false) };
        assert_eq!(message.attempt_id, ATTEMPT);
        self.seen.extend(message.records.iter().map(|record| record.sequence));
        Ok(true)
    }

    async fn until(&mut self, sequence: u64) {
        while self.seen.last().is_none_or(|last| *last < sequence) {
            assert!(self.next().await.unwrap(), "ended at {:?}", self.seen.last());
        }
    }

    async fn rest(&mut self) -> Result<(), Status> {
        while self.next().await? {}
        Ok(())
    }
}

fn records(sequences: std::ops::RangeInclusive<u64>) -> Vec<LogRecord> {
    let record = |sequence| LogRecord { sequence, data: vec![b'x'; 50].into(), ..LogRecord::default() };
    sequences.map(record).collect()
}

fn end(sequence: u64) -> Vec<LogRecord> {
    vec![LogRecord { sequence, end: true, ..LogRecord::default() }]
}

fn request() -> ReadLogsRequest {
    ReadLogsRequest { run_id: "g1-run".into(), step: "train".into(), ..ReadLogsRequest::default() }
}

fn follow() -> ReadLogsRequest {
    ReadLogsRequest { follow: true, ..request() }
}

fn count(range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test]
async fn two_executors_append_while_a_client_follows() {
    let replica = Replica::start().await;
    let (mut one, mut two) = (replica.executor().await, replica.executor().await);
    let mut follower = replica.read(follow()).await.unwrap();
    assert_eq!(one.append(ATTEMPT, records(1..=20)).await.unwrap(), 21);
    assert_eq!(two.append("g1-run.2.1", records(1..=3)).await.unwrap(), 4);
    follower.until(20).await;
    assert_eq!(two.append(ATTEMPT, records(15..=25)).await.unwrap(), 26);
    assert_eq!(one.append(ATTEMPT, records(21..=30)).await.unwrap(), 31);
    assert_eq!(one.append(ATTEMPT, end(31)).await.unwrap(), 32);
    follower.rest().await.unwrap();
    assert_eq!(follower.seen, count(1..=31));
    let tail = ReadLogsRequest { tail: 2, ..follow() };
    assert_eq!(replica.read_all(tail).await.unwrap(), [30, 31]);
    let later = ReadLogsRequest { from_sequence: 29, ..request() };
    assert_eq!(replica.read_all(later).await.unwrap(), [29, 30, 31]);
}

#[tokio::test]
async fn many_messages_wait_for_their_sync_together_and_are_answered_in_order() {
    let replica = Replica::start().await;
    let mut executor = replica.executor().await;
    for sequence in 1..=60 {
        let records = records(sequence..=sequence);
        let request = AppendLogsRequest { run_id: String::new(), attempt_id: ATTEMPT.into(), records };
        executor.requests.send(request).await.unwrap();
    }
    for sequence in 1..=60 {
        let answer = executor.answers.message().await.unwrap().unwrap();
        assert_eq!(answer.next_sequence, sequence + 1);
    }
}

#[tokio::test]
async fn what_this_replica_lacks_comes_from_a_peer() {
    let [a, b] = Replica::start_two().await;
    a.executor().await.append(ATTEMPT, records(1..=4)).await.unwrap();
    let mut executor = b.executor().await;
    executor.append(ATTEMPT, records(1..=20)).await.unwrap();
    assert_eq!(a.read_all(request()).await.unwrap(), count(1..=20));
    assert_eq!(
        b.read_all(request()).await.unwrap(),
        count(1..=20),
        "nothing comes back from the one that has less"
    );
    let tail = ReadLogsRequest { tail: 3, ..request() };
    assert_eq!(a.read_all(tail.clone()).await.unwrap(), [18, 19, 20]);
    executor.append(ATTEMPT, end(21)).await.unwrap();
    a.known.ended.store(true, Ordering::SeqCst);
    assert_eq!(a.read_all(follow()).await.unwrap(), count(1..=21));
    assert_eq!(a.read_all(tail).await.unwrap(), [19, 20, 21]);
}

#[tokio::test]
async fn a_follower_goes_over_to_a_peer_and_back() {
    let [a, b] = Replica::start_two().await;
    let (mut to_a, mut to_b) = (a.executor().await, b.executor().await);
    to_a.append(ATTEMPT, records(1..=2)).await.unwrap();
    let mut follower = a.read(follow()).await.unwrap();
    follower.until(2).await;
    to_b.append(ATTEMPT, records(1..=5)).await.unwrap();
    follower.until(5).await;
    to_b.append(ATTEMPT, records(6..=9)).await.unwrap();
    follower.until(9).await;
    drop(to_b);
    drop(b);
    to_a.append(ATTEMPT, records(1..=12)).await.unwrap();
    follower.until(12).await;
    to_a.append(ATTEMPT, end(13)).await.unwrap();
    follower.rest().await.unwrap();
    assert_eq!(follower.seen, count(1..=13));
}

#[tokio::test]
async fn a_follower_of_an_attempt_that_ended_without_its_last_record_is_let_go() {
    let [a, b] = Replica::start_two().await;
    b.executor().await.append(ATTEMPT, records(1..=3)).await.unwrap();
    let mut follower = a.read(follow()).await.unwrap();
    follower.until(3).await;
    a.known.ended.store(true, Ordering::SeqCst);
    follower.rest().await.unwrap();
    assert_eq!(follower.seen, [1, 2, 3]);
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    let [a, _b] = Replica::start_two().await;
    assert_eq!(a.read_all(request()).await.unwrap(), Vec::<u64>::new(), "it runs and has said nothing");
    a.known.ended.store(true, Ordering::SeqCst);
    assert_eq!(a.read_all(request()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(a.read_all(follow()).await.unwrap_err().code(), Code::NotFound);
    let unknown = ReadLogsRequest { run_id: "g1-other".into(), ..request() };
    assert_eq!(a.read_all(unknown).await.unwrap_err().code(), Code::NotFound);
    let both = ReadLogsRequest { tail: 1, from_sequence: 1, ..request() };
    assert_eq!(a.read_all(both).await.unwrap_err().code(), Code::InvalidArgument);
    let refused = a.executor().await.append("../escape", records(1..=1)).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn readers_are_bounded() {
    let replica = Replica::start().await;
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(replica.read(follow()).await.unwrap());
    }
    assert_eq!(replica.read_all(request()).await.unwrap_err().code(), Code::ResourceExhausted);
    readers.clear();
    let freed = async {
        while replica.read_all(request()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("their places are given back");
}
