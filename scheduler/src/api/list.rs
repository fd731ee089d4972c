//! Lists in pages: runs newest first, over the working state and the archive; nodes in the order they came to be.

use std::sync::Arc;

use meson_engine::State;
use meson_engine::record::Run as Record;
use meson_proto::v1::*;
use tonic::Status;

use super::history::History;
use super::workflows::page;
use super::{convert, errors, views};
use crate::shared::Shared;

/// Page sizes: the default and the most.
const RUNS_PAGE: (u32, u32) = (50, 1_000);
const NODES_PAGE: (u32, u32) = (200, 1_000);

/// Runs looked at for one page; a page may end early and say where to go on.
const EXAMINED_MAX: usize = 20_000;

/// Archived heads read at once.
const CHUNK: usize = 200;

/// One page of runs.
pub async fn runs(
    state: Arc<State>,
    history: &History,
    request: &ListRunsRequest,
) -> Result<ListRunsResponse, Status> {
    let size = page(request.page_size, RUNS_PAGE)?;
    if !request.page_token.is_empty() && request.page_token.parse::<meson_workflow::RunId>().is_err() {
        return Err(foreign_token());
    }
    let mut listing =
        Listing { runs: Vec::new(), size, examined: 0, last: request.page_token.clone(), full: false };
    let mut archived: Vec<Record> = Vec::new();
    let mut cursor = request.page_token.clone();
    let mut exhausted = false;
    while !listing.full {
        if archived.is_empty() && !exhausted {
            archived = history.heads(&cursor, CHUNK).await?;
            exhausted = archived.len() < CHUNK;
            cursor = archived.last().map_or(cursor, |run| run.info.run_id.clone());
            archived.reverse();
        }
        let active = next_active(&state, &listing.last);
        let id = |run: &Record| run.info.run_id.clone();
        match (active, archived.last()) {
            (None, None) => return Ok(listing.done()),
            // Archived while we look: it is in both.
            (Some(new), Some(old)) if id(new) == id(old) => drop(archived.pop()),
            (Some(new), old) if old.is_none_or(|old| id(new) > id(old)) => listing.add(new, request),
            _ => {
                if let Some(run) = archived.pop() {
                    listing.add(&run, request);
                }
            }
        }
    }
    Ok(listing.more())
}

/// The status for a page token that no answer of ours had.
pub(super) fn foreign_token() -> Status {
    errors::invalid("page_token", "not one of a former answer")
}

/// The newest run of the working state with an id below this one.
fn next_active<'a>(state: &'a State, before: &str) -> Option<&'a Arc<Record>> {
    let next = match before {
        "" => state.run_ids.iter().next_back(),
        before => state.run_ids.range(..before.to_owned()).next_back(),
    };
    next.and_then(|(_, no)| state.runs.get(no))
}

struct Listing {
    runs: Vec<Run>,
    size: usize,
    examined: usize,
    last: String,
    full: bool,
}

impl Listing {
    fn add(&mut self, run: &Record, request: &ListRunsRequest) {
        self.examined += 1;
        self.last = run.info.run_id.clone();
        if matches(run, request) {
            self.runs.push(convert::run(run));
        }
        self.full = self.runs.len() >= self.size || self.examined >= EXAMINED_MAX;
    }

    fn done(self) -> ListRunsResponse {
        ListRunsResponse { runs: self.runs, ..ListRunsResponse::default() }
    }

    fn more(self) -> ListRunsResponse {
        ListRunsResponse { runs: self.runs, next_page_token: self.last, stale: false }
    }
}

fn matches(run: &Record, request: &ListRunsRequest) -> bool {
    let info = &run.info;
    let after = request.started_after.as_ref().is_none_or(|time| info.started_ms > convert::unix_ms(time));
    let before = request.started_before.as_ref().is_none_or(|time| info.started_ms < convert::unix_ms(time));
    (request.workflow.is_empty() || request.workflow == info.workflow)
        && (request.statuses.is_empty() || request.statuses.contains(&run.head.status))
        && request.labels.iter().all(|(key, value)| info.labels.get(key) == Some(value))
        && after
        && before
}

/// One page of a run's nodes.
pub fn nodes(shared: &Shared, run: &Record, request: &ListNodesRequest) -> Result<ListNodesResponse, Status> {
    let size = page(request.page_size, NODES_PAGE)?;
    let after: u32 = match request.page_token.as_str() {
        "" => 0,
        token => token.parse().map_err(|_| foreign_token())?,
    };
    let state = shared.published.state();
    let mut nodes = Vec::new();
    for (no, record) in run.nodes.range(after.saturating_add(1)..) {
        if !request.statuses.is_empty() && !request.statuses.contains(&record.status) {
            continue;
        }
        if nodes.len() == size {
            let next_page_token = nodes.last().map_or(0, |node: &Node| node.number).to_string();
            return Ok(ListNodesResponse { nodes, next_page_token, stale: false });
        }
        let path = crate::paths::path_of(&state, run, *no);
        if path.starts_with(&request.path_prefix) {
            nodes.extend(views::node(shared, &state, run, *no));
        }
    }
    Ok(ListNodesResponse { nodes, ..ListNodesResponse::default() })
}
