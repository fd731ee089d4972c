//! The face: gRPC `LogService`. Appends go to this replica's store; reads to [`super::reading`].

use std::future::Future;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use meson_proto::v1::log_service_server::{LogService, LogServiceServer};
use meson_proto::v1::{AppendLogsRequest, AppendLogsResponse, ReadLogsRequest, ReadLogsResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::peers::Peers;
use super::reading::{self, Reading};
use super::settings::ServiceSettings;
use super::{AttemptName, Error, LogStore, Ticket};

/// Metadata of a replica's question to another one: only what you have yourself, of the attempt that is the value.
/// Nothing is looked up then, as the asked replica may not know yet what the asking one does.
pub const LOCAL_ONLY: &str = "meson-local-only";

/// An attempt that was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Its id.
    pub attempt_id: String,
    /// Whether it has ended: no more output is to be expected.
    pub ended: bool,
}

/// What the service has to be told of runs and of the other replicas.
pub trait AttemptLookup: Send + Sync + 'static {
    /// Finds the attempt of a step, 0 being the newest. The status of an error is what the client gets.
    fn attempt_id(
        &self,
        run_id: &str,
        step: &str,
        attempt: u32,
    ) -> impl Future<Output = Result<Lookup, Status>> + Send;

    /// Addresses of the other replicas' public faces, `host:port` or with a scheme.
    fn peers(&self) -> Vec<String>;

    /// A channel to a peer that connects when it is used. Asked once for each address.
    ///
    /// # Errors
    /// When that is no address.
    fn connect(&self, address: &str) -> Result<Channel, Status> {
        let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let endpoint = Endpoint::from_shared(uri).map_err(|error| Status::internal(error.to_string()))?;
        Ok(endpoint.connect_timeout(std::time::Duration::from_secs(1)).connect_lazy())
    }

    /// Adds credentials to a question to a peer.
    fn sign(&self, _metadata: &mut MetadataMap) {}
}

/// The `LogService` of a replica.
#[derive(Debug)]
pub struct Service<L> {
    store: LogStore,
    peers: Arc<Peers<L>>,
    settings: Arc<ServiceSettings>,
    appenders: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl<L: AttemptLookup> Service<L> {
    /// A service over a store.
    pub fn new(store: LogStore, lookup: Arc<L>, settings: ServiceSettings) -> Self {
        let appenders = Arc::new(Semaphore::new(settings.appenders_max));
        let readers = Arc::new(Semaphore::new(settings.readers_max));
        let settings = Arc::new(settings);
        Service { store, peers: Arc::new(Peers::new(lookup, settings.clone())), settings, appenders, readers }
    }

    /// The service with its message sizes, to be added to a server.
    pub fn into_server(self) -> LogServiceServer<Self> {
        let bytes = self.settings.message_bytes_max;
        LogServiceServer::new(self).max_decoding_message_size(bytes).max_encoding_message_size(bytes)
    }
}

#[tonic::async_trait]
impl<L: AttemptLookup> LogService for Service<L> {
    type AppendLogsStream = BoxStream<'static, Result<AppendLogsResponse, Status>>;
    type ReadLogsStream = BoxStream<'static, Result<ReadLogsResponse, Status>>;

    async fn append_logs(
        &self,
        request: Request<Streaming<AppendLogsRequest>>,
    ) -> Result<Response<Self::AppendLogsStream>, Status> {
        let permit = admit(&self.appenders, "executors send logs")?;
        let (store, settings) = (self.store.clone(), self.settings.clone());
        let deadline = settings.append_timeout;
        // One after the other into the store, so that the order stays; then many wait for their sync together.
        let submitted = request.into_inner().and_then(move |message| {
            let store = store.clone();
            async move { timeout(deadline, submit(&store, message)).await.unwrap_or(Err(Error::Late.into())) }
        });
        let answers = submitted
            .map(move |submitted| async move {
                timeout(deadline, answer(submitted)).await.unwrap_or(Err(Error::Late.into()))
            })
            .buffered(settings.appends_in_flight);
        Ok(Response::new(hold(permit, answers.boxed())))
    }

    async fn read_logs(
        &self,
        request: Request<ReadLogsRequest>,
    ) -> Result<Response<Self::ReadLogsStream>, Status> {
        let permit = admit(&self.readers, "clients read logs")?;
        let local_only =
            request.metadata().get(LOCAL_ONLY).map(|attempt| attempt.to_str().map(str::to_owned));
        let request = request.into_inner();
        if request.tail > 0 && request.from_sequence > 0 {
            return Err(Status::invalid_argument("`tail` and `from_sequence` exclude each other"));
        }
        let (store, settings) = (self.store.clone(), self.settings.clone());
        if let Some(attempt) = local_only {
            let attempt = attempt.map_err(|_| Status::invalid_argument("the attempt's id is no text"))?;
            let attempt = AttemptName::parse(&attempt)?;
            let chunks = reading::local(store, attempt, request, settings).await?;
            return Ok(Response::new(hold(permit, chunks.boxed())));
        }
        let lookup = self.peers.look_up(&request).await?;
        let attempt = AttemptName::parse(&lookup.attempt_id)?;
        let reading = Reading { store, peers: self.peers.clone(), settings, attempt, request };
        Ok(Response::new(hold(permit, reading.chunks(lookup.ended).await?.boxed())))
    }
}

async fn submit(store: &LogStore, message: AppendLogsRequest) -> Result<(String, Ticket), Status> {
    let attempt = AttemptName::parse(&message.attempt_id)?;
    let ticket = store.submit(&attempt, message.records).await?;
    Ok((message.attempt_id, ticket))
}

async fn answer(submitted: Result<(String, Ticket), Status>) -> Result<AppendLogsResponse, Status> {
    let (attempt_id, ticket) = submitted?;
    Ok(AppendLogsResponse { attempt_id, next_sequence: ticket.synced().await? })
}

fn admit(places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Status> {
    let full = || Status::resource_exhausted(format!("too many {what} at the moment; try again later"));
    places.clone().try_acquire_owned().map_err(|_| full())
}

/// Ends after the first error, and gives the place back when the stream is gone.
fn hold<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    stream: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let step = |(mut stream, permit): (BoxStream<'static, Result<T, Status>>, _)| async move {
        Ok(stream.try_next().await?.map(|item| (item, (stream, permit))))
    };
    futures::stream::try_unfold((stream, permit), step).boxed()
}
