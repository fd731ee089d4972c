//! Ships all logs to one replica, over one stream, for as long as both live.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meson_proto::v1::log_service_client::LogServiceClient;
use meson_proto::v1::{AppendLogsRequest, AppendLogsResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use tracing::debug;

use super::{AttemptLog, Logs, Replica};
use crate::channel;

/// Requests that may wait for the network, of up to 1 MiB each.
const QUEUE_MAX: usize = 4;
/// Longest time to connect and to open the stream.
const PATIENCE: Duration = Duration::from_secs(1);
/// First and longest pause between tries.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Ships for ever; the caller aborts it when the replica leaves.
pub async fn run(logs: Logs, replica: Arc<Replica>) {
    let mut pause = PAUSE_MIN;
    loop {
        match open(&replica).await {
            Ok((requests, responses)) => {
                pause = PAUSE_MIN;
                replica.set_keeps_no_logs(false);
                // Both directions at once: a replica that waits for us to read must not stop us from writing.
                tokio::select! {
                    () = send(&logs, &replica, requests) => {}
                    code = receive(&logs, &replica, responses) => refused(&logs, &replica, code),
                }
            }
            Err(code) => refused(&logs, &replica, code),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

type Open = (mpsc::Sender<AppendLogsRequest>, Streaming<AppendLogsResponse>);

async fn open(replica: &Replica) -> Result<Open, Code> {
    let channel = channel::connect(replica.address(), PATIENCE).await.map_err(|_| Code::Unavailable)?;
    let (requests, queue) = mpsc::channel(QUEUE_MAX);
    let mut client = LogServiceClient::new(channel);
    match tokio::time::timeout(PATIENCE, client.append_logs(ReceiverStream::new(queue))).await {
        Ok(opened) => {
            opened.map(|response| (requests, response.into_inner())).map_err(|status| status.code())
        }
        Err(_) => Err(Code::DeadlineExceeded),
    }
}

fn refused(logs: &Logs, replica: &Replica, code: Code) {
    debug!(replica = replica.address(), %code, "no log stream");
    if code == Code::Unimplemented {
        replica.set_keeps_no_logs(true);
        for log in logs.all_open() {
            log.notify();
        }
    }
}

/// Sends what is new, beginning with everything that is not acknowledged.
async fn send(logs: &Logs, replica: &Replica, requests: mpsc::Sender<AppendLogsRequest>) {
    for log in logs.all_open() {
        replica.mark(log);
    }
    let mut sent: HashMap<String, u64> = HashMap::new();
    loop {
        for log in replica.marked().await {
            let next = sent.remove(log.attempt_id());
            let next = send_log(&log, replica, next, &requests).await;
            if requests.is_closed() {
                return;
            }
            if !log.is_ended() {
                sent.insert(log.attempt_id().to_owned(), next);
            }
        }
    }
}

/// Sends the rest of one log; returns the sequence number after it.
async fn send_log(
    log: &AttemptLog,
    replica: &Replica,
    sent: Option<u64>,
    requests: &mpsc::Sender<AppendLogsRequest>,
) -> u64 {
    let lacks = log.lacks(replica.address());
    // A replica that went back gets all again; one that is ahead (it knew the log before) is not bored.
    let mut next = if log.take_regress(replica.address()) { lacks } else { sent.unwrap_or(lacks).max(lacks) };
    loop {
        let records = log.read(next);
        let Some(last) = records.last() else { return next };
        next = last.sequence + 1;
        let request = AppendLogsRequest {
            run_id: log.run_id().to_owned(),
            attempt_id: log.attempt_id().to_owned(),
            records,
        };
        if requests.send(request).await.is_err() {
            return next;
        }
    }
}

async fn receive(logs: &Logs, replica: &Arc<Replica>, mut responses: Streaming<AppendLogsResponse>) -> Code {
    loop {
        match responses.message().await {
            Ok(Some(response)) => logs.acknowledged(replica, &response.attempt_id, response.next_sequence),
            Ok(None) => return Code::Ok,
            Err(status) => return status.code(),
        }
    }
}
