//! How `ReadLogs` is answered: from this replica's disk, and where that lacks records, from the peer that has most.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use meson_proto::v1::{LogRecord, ReadLogsRequest, ReadLogsResponse};
use tokio::time::timeout;
use tonic::{Code, Status};
use tracing::debug;

use super::peers::{Holder, PeerLog, Peers};
use super::service::AttemptLookup;
use super::settings::ServiceSettings;
use super::{AttemptName, LogReader, LogStore, Start};

/// Peers that fail in the midst of their answer before the client is told.
const PEER_FAILURES_MAX: u32 = 3;

/// A call of `ReadLogs`.
pub(super) struct Reading<L> {
    pub store: LogStore,
    pub peers: Arc<Peers<L>>,
    pub settings: Arc<ServiceSettings>,
    pub attempt: AttemptName,
    pub request: ReadLogsRequest,
}

/// Answers a peer: what is on this disk, and with `follow` what comes to it.
pub(super) async fn local(
    store: LogStore,
    attempt: AttemptName,
    request: ReadLogsRequest,
    settings: Arc<ServiceSettings>,
) -> Result<impl Stream<Item = Result<ReadLogsResponse, Status>> + Send, Status> {
    let reader = store.reader(&attempt, start(&request)).await?;
    let chunks = reader.chunks(settings.chunk_bytes, request.follow);
    Ok(chunks.map(move |records| Ok(response(&attempt, records?))))
}

impl<L: AttemptLookup> Reading<L> {
    /// All chunks. `has_ended` says whether the attempt has.
    pub async fn chunks(
        self,
        has_ended: bool,
    ) -> Result<impl Stream<Item = Result<ReadLogsResponse, Status>> + Send, Status> {
        let progress = self.begin(has_ended).await?;
        Ok(futures::stream::try_unfold(progress, |mut progress| async move {
            let records = progress.next().await?;
            Ok(records.map(|records| (response(&progress.reading.attempt, records), progress)))
        }))
    }

    async fn begin(self, has_ended: bool) -> Result<Progress<L>, Status> {
        let reader = self.store.reader(&self.attempt, start(&self.request)).await?;
        let mut source = Source::Disk;
        if self.request.tail > 0 {
            let last = self.store.tail(&self.attempt, 1, self.settings.chunk_bytes).await?.pop();
            let next_sequence = last.as_ref().map_or(1, |record| record.sequence.saturating_add(1));
            if !last.is_some_and(|record| record.end)
                && let Some(holder) = self.peers.holder_of_most(&self.attempt, next_sequence).await
            {
                let request = ReadLogsRequest { tail: self.request.tail, ..ReadLogsRequest::default() };
                let answer = self.peers.read(&holder, &self.attempt, request).await;
                // Else this disk's own tail has to do.
                source = answer.map_or(Source::Disk, |log| Source::Peer(Box::new(log)));
            }
        }
        Ok(Progress {
            reading: self,
            reader,
            source,
            has_ended,
            has_last: false,
            is_empty: true,
            failures: 0,
        })
    }
}

/// Where records come from at the moment.
enum Source {
    Disk,
    Peer(Box<PeerLog>),
}

/// How far the answer has come. Records go out in order and once: the reader of the disk stands behind the last one that
/// went out, wherever that came from.
struct Progress<L> {
    reading: Reading<L>,
    reader: LogReader,
    source: Source,
    /// The attempt has ended: the disk will get no more records.
    has_ended: bool,
    /// The attempt's last record went out.
    has_last: bool,
    is_empty: bool,
    /// Answers of peers that brought nothing, one after the other.
    failures: u32,
}

impl<L: AttemptLookup> Progress<L> {
    async fn next(&mut self) -> Result<Option<Vec<LogRecord>>, Status> {
        while !self.has_last {
            let records = match &mut self.source {
                Source::Disk => self.reader.next_chunk(self.reading.settings.chunk_bytes).await?,
                Source::Peer(log) => match log.next().await {
                    Ok(Some(message)) => self.unseen(message.records),
                    end => {
                        self.source = Source::Disk;
                        self.count_failure(end.err())?;
                        continue;
                    }
                },
            };
            if let Some(last) = records.last() {
                self.has_last = last.end;
                self.is_empty = false;
                self.failures = 0;
                return Ok(Some(records));
            }
            if matches!(self.source, Source::Disk) && !self.find_more().await? {
                break;
            }
        }
        if self.is_empty && self.has_ended {
            let text = format!("no replica within reach has a log of attempt {}", self.reading.attempt);
            return Err(Status::not_found(text));
        }
        Ok(None)
    }

    /// The disk has no more: waits for it, or turns to a peer. False when there is nobody to wait for.
    async fn find_more(&mut self) -> Result<bool, Status> {
        if self.is_waiting() {
            if let Ok(grown) = timeout(self.reading.settings.patience, self.reader.grown()).await {
                grown?;
                return Ok(true);
            }
            self.has_ended = self.look_again().await;
            if self.has_ended {
                // What came to the disk in the meantime goes first.
                return Ok(true);
            }
        }
        let next_sequence = self.reader.next_sequence();
        match self.reading.peers.holder_of_most(&self.reading.attempt, next_sequence).await {
            Some(holder) => self.turn_to(&holder).await.map(|()| true),
            None => Ok(self.is_waiting()),
        }
    }

    async fn turn_to(&mut self, holder: &Holder) -> Result<(), Status> {
        let from_sequence = self.reader.next_sequence();
        let request =
            ReadLogsRequest { from_sequence, follow: self.is_waiting(), ..ReadLogsRequest::default() };
        match self.reading.peers.read(holder, &self.reading.attempt, request).await {
            Ok(log) => self.source = Source::Peer(Box::new(log)),
            Err(status) => self.count_failure(Some(status))?,
        }
        Ok(())
    }

    /// Whether the attempt has ended, also because there is a newer one or the run is gone.
    async fn look_again(&self) -> bool {
        match self.reading.peers.look_up(&self.reading.request).await {
            Ok(lookup) => lookup.ended || lookup.attempt_id != self.reading.attempt.as_str(),
            Err(status) => status.code() == Code::NotFound,
        }
    }

    fn is_waiting(&self) -> bool {
        self.reading.request.follow && !self.has_ended
    }

    /// Lets pass that a peer's answer ends. One that has failed again and again ends the call, unless it goes on waiting.
    fn count_failure(&mut self, status: Option<Status>) -> Result<(), Status> {
        self.failures += 1;
        debug!(attempt = %self.reading.attempt, failures = self.failures, ?status, "a peer sends no more");
        if self.failures < PEER_FAILURES_MAX || self.is_waiting() {
            return Ok(());
        }
        Err(Status::unavailable("a replica that has the rest of the log does not send it; try again later"))
    }

    /// The records that did not go out yet; the disk's reader moves behind them.
    fn unseen(&mut self, mut records: Vec<LogRecord>) -> Vec<LogRecord> {
        records.retain(|record| {
            let is_unseen = record.sequence >= self.reader.next_sequence();
            if is_unseen {
                self.reader.skip_to(record.sequence.saturating_add(1));
            }
            is_unseen
        });
        records
    }
}

fn start(request: &ReadLogsRequest) -> Start {
    match request.tail {
        0 => Start::Sequence(request.from_sequence),
        count => Start::Tail(count),
    }
}

fn response(attempt: &AttemptName, records: Vec<LogRecord>) -> ReadLogsResponse {
    ReadLogsResponse { records, attempt_id: attempt.to_string() }
}
