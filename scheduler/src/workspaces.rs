//! The runs' workspaces in a shared store: `<base>/<run id>`, by the setting `workspaces`. Executors make them; the leader
//! removes them ([`crate::actors::workspaces`]). Here is what may be removed, and the removing.
//!
//! The argument that no living run loses its workspace. Whoever removes has first listed or been told of a run, then passed a
//! read barrier, and then looks at the state. A directory that was listed was made for an attempt, whose run's start was
//! committed before; after the barrier that commit is applied here. So a run that is not in the state then has ended, or was
//! never of this group. A run may be restarted between that look and the removal's end: meanwhile its attempts are not
//! launched ([`Workspaces::is_in_doubt`]), and no longer than until the store has answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use meson_engine::State;
use meson_engine::archive::head_key;
use meson_engine::ids::RunNo;
use meson_store::{Error, Kind, Store, Uri};
use meson_workflow::RunId;
use tracing::{debug, warn};

use crate::config::Config;
use crate::shared::Shared;

/// Removals at once.
const REMOVALS_MAX: usize = 8;

/// An answer that took so long is taken for one that did not come.
const SLOW: Duration = Duration::from_secs(5);

/// The workspace of a run that neither the state nor the archive knows is kept for so long after the run's beginning. It may
/// be of another cluster that was given the same base by mistake, or be forgotten by a backup that was restored.
const UNKNOWN_KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// The setting and what is under way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspaces {
    base: Uri,
    store: Store,
    /// Runs whose workspace is being removed, or for whose removal the store gave no answer.
    in_doubt: Arc<Mutex<BTreeSet<String>>>,
}

/// What is to become of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// The state does not know the run: the archive may.
    Unknown,
}

impl Workspaces {
    /// As the settings say; none when executors make directories of their own.
    pub fn new(config: &Config) -> Option<Self> {
        if !config.shares_workspaces() {
            return None;
        }
        // Checked when the settings were read.
        let base = Uri::parse(&config.workspaces).ok()?;
        Some(Workspaces { base, store: Store::default(), in_doubt: Arc::default() })
    }

    /// The workspace of a run, as its steps are told.
    pub fn of(&self, run_id: &str) -> String {
        self.uri(run_id).map_or_else(|_| String::new(), |uri| uri.to_string())
    }

    fn uri(&self, run_id: &str) -> Result<Uri, Error> {
        self.base.join(run_id)
    }

    /// Whether attempts of a run must wait, because what they would find may be removed under their hands.
    pub fn is_in_doubt(&self, run_id: &str) -> bool {
        self.doubts().contains(run_id)
    }

    /// All such runs.
    pub fn all_in_doubt(&self) -> BTreeSet<String> {
        self.doubts().clone()
    }

    fn doubts(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs whose workspace is left over: it is there, and no living run's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn left_over(&self, shared: &Shared) -> Result<Vec<String>, Error> {
        let listed = match self.store.list(&self.base).await {
            Ok(listed) => listed,
            // Before the first run.
            Err(Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let directories = listed.into_iter().filter(|entry| entry.kind == Kind::Directory);
        let runs: Vec<String> =
            directories.map(|entry| entry.name).filter(|name| is_own(name, shared.config.group_id)).collect();
        Ok(self.removable(shared, runs).await.unwrap_or_default())
    }

    /// Those of these runs whose workspace may be removed now. Nothing is said unless this replica surely leads.
    async fn removable(&self, shared: &Shared, runs: Vec<String>) -> Option<Vec<String>> {
        if let Err(error) = shared.replica.read_barrier().await {
            debug!(%error, "not confirmed as leader: no workspace is removed");
            return None;
        }
        let (state, now_ms) = (shared.published.state(), shared.proposer.now_ms());
        let archive = shared.replica.archive();
        let sorted = meson_raft::blocking(move || {
            let living = living_attempts(&state);
            let goes = |run_id: &String| match fate(&state, &living, run_id) {
                Fate::Goes => true,
                Fate::Stays => false,
                Fate::Unknown => {
                    // An archive that cannot be read knows nothing; the replica finds that out by itself.
                    let ended = archive.get(&head_key(run_id)).is_ok_and(|head| head.is_some());
                    ended || age_ms(run_id, now_ms) > UNKNOWN_KEPT_MS
                }
            };
            runs.into_iter().filter(goes).collect::<Vec<_>>()
        });
        sorted.await.ok()
    }

    /// Removes the workspaces of those of these runs that have ended. Gives those for which it is to be tried again.
    pub async fn remove(&self, shared: &Shared, runs: Vec<String>) -> Vec<String> {
        // From here on no attempt of them is launched; so a run that is restarted after the look below waits.
        self.doubts().extend(runs.iter().cloned());
        let Some(removable) = self.removable(shared, runs.clone()).await else { return runs };
        let away = AtomicBool::new(false);
        let work = runs.into_iter().map(|run_id| {
            let (goes, away) = (removable.contains(&run_id), &away);
            async move {
                // One answer that did not come is enough to wait for. What a store says of a single workspace, however often, tells
                // nothing of the others.
                if away.load(Ordering::Relaxed) || !shared.is_leading() {
                    return Some(run_id);
                }
                let asked = Instant::now();
                let done = match self.uri(&run_id) {
                    Ok(uri) if goes => self.store.remove(&uri).await,
                    // An earlier removal may still be on its way, unless the store has answered since.
                    Ok(uri) => self.store.exists(&uri).await.map(drop),
                    Err(error) => Err(error),
                };
                let again = self.settle(run_id, done);
                away.fetch_or(again.is_some() && asked.elapsed() >= SLOW, Ordering::Relaxed);
                again
            }
        });
        futures::stream::iter(work)
            .buffer_unordered(REMOVALS_MAX)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Gives the run again when it must be tried again.
    fn settle(&self, run_id: String, done: Result<(), Error>) -> Option<String> {
        match done {
            Ok(()) => debug!(run_id, "its workspace is gone, or stays"),
            Err(error) if error.is_retryable() => {
                debug!(run_id, %error, "its workspace is not removed yet");
                return Some(run_id);
            }
            Err(error) => warn!(run_id, %error, "its workspace cannot be removed"),
        }
        self.doubts().remove(&run_id);
        None
    }
}

/// Whether a name is the id of a run of this group.
fn is_own(name: &str, group_id: u64) -> bool {
    name.parse::<RunId>().is_ok_and(|id| u64::from(id.group()) == group_id)
}

/// How long ago a run began, by its id.
fn age_ms(run_id: &str, now_ms: u64) -> u64 {
    let ulid =
        run_id.parse::<RunId>().ok().and_then(|id| id.ulid().to_ascii_uppercase().parse::<ulid::Ulid>().ok());
    ulid.map_or(0, |ulid| now_ms.saturating_sub(ulid.timestamp_ms()))
}

fn living_attempts(state: &State) -> BTreeSet<RunNo> {
    state.index.live.values().flatten().map(|(run, _)| *run).collect()
}

fn fate(state: &State, living: &BTreeSet<RunNo>, run_id: &str) -> Fate {
    let Some(no) = state.run_ids.get(run_id) else { return Fate::Unknown };
    let ended = state.runs.get(no).is_some_and(|run| run.head.status().is_terminal());
    if ended && !living.contains(no) { Fate::Goes } else { Fate::Stays }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_own_runs_are_touched() {
        assert!(is_own("g1-01jd2k3m4n5p6q7r8s9t0v1w2x", 1));
        for other in [
            "g2-01jd2k3m4n5p6q7r8s9t0v1w2x",
            "g01-01jd2k3m4n5p6q7r8s9t0v1w2x",
            "g1-01jd2k3m4n5p6q7r8s9t0v1w2x.old",
            "g1-01JD2K3M4N5P6Q7R8S9T0V1W2X",
            "data",
            "",
        ] {
            assert!(!is_own(other, 1), "{other}");
        }
    }

    #[test]
    fn a_run_that_nobody_knows_is_as_old_as_its_id() {
        let ulid = ulid::Ulid::from_parts(1_000, 7).to_string().to_ascii_lowercase();
        assert_eq!(age_ms(&format!("g1-{ulid}"), 5_000), 4_000);
        assert_eq!(age_ms("nonsense", 5_000), 0);
        assert_eq!(fate(&State::default(), &BTreeSet::new(), "g1-x"), Fate::Unknown);
    }

    #[test]
    fn the_workspace_is_named_by_the_run() {
        let config = Config { workspaces: "hdfs://nn:8020/w/".into(), ..Config::default() };
        let workspaces = Workspaces::new(&config).unwrap();
        assert_eq!(workspaces.of("g1-x"), "hdfs://nn:8020/w/g1-x");
        assert!(Workspaces::new(&Config::default()).is_none());
    }
}
