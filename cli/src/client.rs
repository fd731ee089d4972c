//! One client over all replicas: what one cannot answer, the next is asked, until time is up. Everything sent is
//! idempotent or carries a request id, so asking again is safe.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::log_service_client::LogServiceClient;
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::workflow_service_client::WorkflowServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::error::Error;

/// Longest time to connect to one replica.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for one answer, when the whole may take longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between rounds over all replicas: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Interval of keepalive on streams.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Largest answer taken in, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Talks to the cluster.
pub struct Client {
    endpoints: Vec<String>,
    channels: Vec<Option<Channel>>,
    next: AtomicUsize,
    timeout: Duration,
}

impl Client {
    /// Over these addresses; connects when it first calls.
    pub fn new(endpoints: &[String], timeout: Duration) -> Self {
        let endpoints: Vec<String> =
            endpoints.iter().map(|endpoint| endpoint.trim().to_owned()).filter(|e| !e.is_empty()).collect();
        let channels = endpoints.iter().map(|endpoint| connect(endpoint)).collect();
        Client { endpoints, channels, next: AtomicUsize::new(0), timeout }
    }

    /// The addresses.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The channel to one replica.
    pub fn channel(&self, place: usize) -> Result<Channel, Error> {
        self.channels.get(place).cloned().flatten().ok_or_else(|| {
            let endpoint = self.endpoints.get(place).map_or("", String::as_str);
            Error::usage(format!("`{endpoint}` is not an address; write it like http://127.0.0.1:7400"))
        })
    }

    /// Calls until a replica answers; gives what it says.
    pub async fn call<T, F>(&self, mut call: impl FnMut(Channel) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let started = Instant::now();
        let mut pause = PAUSE.0;
        let mut failures = 0;
        loop {
            let place = self.next.load(Ordering::Relaxed) % self.endpoints.len().max(1);
            let channel = self.channel(place)?;
            let share = self.share(self.timeout.saturating_sub(started.elapsed()));
            let answer = tokio::time::timeout(share, call(channel)).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !is_passing(&status) => return Err(status.into()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if started.elapsed() >= self.timeout {
                let address = &self.endpoints[place];
                return Err(Error::Unreachable(format!("{address}: {}", status.message())));
            }
            self.next.fetch_add(1, Ordering::Relaxed);
            failures += 1;
            if failures % self.endpoints.len() == 0 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// How much of the time that is left one replica gets: where there are others, one that hangs must leave them some.
    fn share(&self, left: Duration) -> Duration {
        let share = if self.endpoints.len() > 1 { (left / 2).max(PAUSE.1).min(left) } else { left };
        share.min(CALL_TIMEOUT)
    }

    /// For a stream that is to be opened again when it breaks.
    pub fn breaks(&self) -> Breaks<'_> {
        Breaks { client: self, since: None, opened: Instant::now(), pause: PAUSE.0 }
    }
}

/// The breaks of one stream: a pause after each, at the next replica after it, and an end when streams do nothing but
/// break for the client's timeout.
pub struct Breaks<'a> {
    client: &'a Client,
    since: Option<Instant>,
    opened: Instant,
    pause: Duration,
}

impl Breaks<'_> {
    /// The stream is open.
    pub fn opened(&mut self) {
        self.opened = Instant::now();
    }

    /// The stream brought something.
    pub fn progress(&mut self) {
        self.since = None;
        self.pause = PAUSE.0;
    }

    /// The stream broke: waits a little.
    pub async fn pause(&mut self) -> Result<(), Error> {
        // One that stayed open was well; it only had nothing to say.
        if self.opened.elapsed() >= CALL_TIMEOUT {
            self.progress();
        }
        if self.since.get_or_insert_with(Instant::now).elapsed() >= self.client.timeout {
            return Err(Error::Unreachable("streams break as soon as they are open".to_owned()));
        }
        self.client.next.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        Ok(())
    }
}

fn connect(endpoint: &str) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).ok()?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    Some(endpoint.connect_lazy())
}

/// Whether another replica, or the same a little later, may do better. A connection that breaks shows as an error that
/// has the transport's error behind it.
pub fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        Code::Unknown | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    }
}

/// The services, by channel.
pub fn runs(channel: Channel) -> RunServiceClient<Channel> {
    RunServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// See [`runs`].
pub fn workflows(channel: Channel) -> WorkflowServiceClient<Channel> {
    WorkflowServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// See [`runs`].
pub fn logs(channel: Channel) -> LogServiceClient<Channel> {
    LogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// See [`runs`].
pub fn cluster(channel: Channel) -> ClusterServiceClient<Channel> {
    ClusterServiceClient::new(channel)
}
