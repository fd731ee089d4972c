//! Watching a run: a stream of what changes, from any point. Nothing is kept for watchers; the run's records know at
//! which of its sequence numbers each last changed, so a watcher that comes back sees the last state of all it missed.

use std::time::Duration;

use futures::Stream;
use meson_engine::ids::AttemptId;
use meson_engine::record::Run as Record;
use meson_engine::status::RunStatus;
use meson_proto::v1::{AttemptProgress, Progress, WatchRunResponse, watch_run_response::Update};
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::runs::Runs;
use super::{convert, errors, views};
use crate::paths;

/// Nodes sent before the state is looked at again.
const CHUNK: usize = 500;

/// Pause between looks, so that a storm of changes is sent as a few larger pieces.
const GATHER: Duration = Duration::from_millis(20);

/// The stream of a run's changes after `from`; ends after the terminal update, or with UNAVAILABLE when this replica
/// stops leading.
pub fn stream(
    runs: Runs,
    run_id: String,
    from: u64,
) -> impl Stream<Item = Result<WatchRunResponse, Status>> + Send {
    async_stream::try_stream! {
        let mut changes = runs.shared.published.changes();
        let mut progress = runs.shared.soft.subscribe();
        let mut leading = runs.shared.leading.subscribe();
        let mut from = from;
        loop {
            changes.mark_unchanged();
            let run = runs.record(&run_id).await?;
            let (updates, complete) = updates(&runs, &run, from);
            let news = !updates.is_empty();
            for update in updates {
                from = from.max(update.sequence);
                yield update;
            }
            let terminal = RunStatus::try_from(run.head.status).is_ok_and(RunStatus::is_terminal);
            if complete && (news || terminal) {
                yield WatchRunResponse { update: Some(Update::Run(convert::run(&run))), sequence: from };
            }
            if !complete {
                continue;
            }
            if terminal {
                return;
            }
            tokio::time::sleep(GATHER).await;
            tokio::select! {
                _ = changes.changed() => {}
                said = progress.recv() => match said {
                    Ok(said) => {
                        if let Some(update) = progress_update(&runs, &run, &said, from) {
                            yield update;
                        }
                        while let Ok(said) = progress.try_recv() {
                            if let Some(update) = progress_update(&runs, &run, &said, from) {
                                yield update;
                            }
                        }
                    }
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = leading.changed() => {}
            }
            if !runs.shared.is_leading() {
                Err(errors::unavailable("the leader changed; watch on from the last sequence number"))?;
            }
        }
    }
}

/// Nodes changed after `from`, in the order of their change, and whether that is all.
fn updates(runs: &Runs, run: &Record, from: u64) -> (Vec<WatchRunResponse>, bool) {
    let state = runs.shared.published.state();
    let mut changed = run.changed.range(from.saturating_add(1)..);
    let update = |(sequence, no): (&u64, &u32)| {
        let node = views::node(&runs.shared, &state, run, *no)?;
        Some(WatchRunResponse { update: Some(Update::Node(node)), sequence: *sequence })
    };
    let mut updates: Vec<WatchRunResponse> = changed.by_ref().take(CHUNK).filter_map(update).collect();
    let complete = changed.next().is_none();
    if complete && run.head.head_sequence > from && updates.is_empty() {
        let update = Some(Update::Run(convert::run(run)));
        updates.push(WatchRunResponse { update, sequence: run.head.head_sequence });
    }
    (updates, complete)
}

fn progress_update(runs: &Runs, run: &Record, said: &AttemptProgress, from: u64) -> Option<WatchRunResponse> {
    let id: AttemptId = said.attempt_id.parse().ok()?;
    if id.run_id != run.info.run_id {
        return None;
    }
    let state = runs.shared.published.state();
    let progress = Progress {
        path: paths::path_of(&state, run, id.node),
        attempt_id: said.attempt_id.clone(),
        percent: said.percent,
        message: said.message.clone(),
        data_json: said.data_json.clone(),
    };
    Some(WatchRunResponse { update: Some(Update::Progress(progress)), sequence: from })
}
