//! How many offers we want: SUPPRESS for roles that nobody waits in, REVIVE when somebody does, and nothing held that is
//! of no use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meson_mesos::scheduler::call;
use tokio::time::Instant;

use super::MesosActor;

/// A role is told to be quiet when nobody waited in it for so long.
const QUIET_AFTER: Duration = Duration::from_secs(2);

/// Offers are asked for again at most so often.
const REVIVE_EVERY: Duration = Duration::from_secs(1);

/// How long an offer stays away that fits nothing that waits. New work asks for it sooner.
const REFUSE_UNFIT: Duration = Duration::from_secs(5);

/// How long an offer stays away that nobody waits for; REVIVE brings it back.
const REFUSE_IDLE: Duration = Duration::from_secs(3_600);

/// What was told to Mesos, by role.
pub struct Appetite {
    roles: BTreeMap<String, Role>,
}

struct Role {
    is_suppressed: bool,
    /// When somebody waited last.
    wanted: Instant,
    revived: Instant,
    /// How much waited when offers were last asked for: more is a reason to ask again.
    waiting: u64,
    /// Whether offers were declined since then.
    has_declined: bool,
}

/// What to tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tell {
    Suppress(String),
    Revive(String),
}

impl Appetite {
    /// Nobody waits yet in these roles.
    pub fn new(roles: Vec<String>) -> Self {
        let now = Instant::now();
        let role =
            || Role { is_suppressed: true, wanted: now, revived: now, waiting: 0, has_declined: false };
        Appetite { roles: roles.into_iter().map(|name| (name, role())).collect() }
    }

    /// The roles that get no offers.
    pub fn suppressed(&self) -> Vec<String> {
        self.roles.iter().filter(|(_, role)| role.is_suppressed).map(|(name, _)| name.clone()).collect()
    }

    /// Offers were given back.
    pub fn declined(&mut self) {
        self.roles.values_mut().for_each(|role| role.has_declined = true);
    }

    /// What to tell Mesos, given the roles that somebody waits in and the number of the newest step that does.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<String>, newest: u64, now: Instant) -> Vec<Tell> {
        let mut tells = Vec::new();
        for (name, role) in &mut self.roles {
            if !wanted.contains(name) {
                if !role.is_suppressed && now.saturating_duration_since(role.wanted) >= QUIET_AFTER {
                    role.is_suppressed = true;
                    tells.push(Tell::Suppress(name.clone()));
                }
                continue;
            }
            role.wanted = now;
            let more = newest > role.waiting && role.has_declined;
            let due = now.saturating_duration_since(role.revived) >= REVIVE_EVERY;
            if role.is_suppressed || (more && due) {
                *role = Role {
                    is_suppressed: false,
                    wanted: now,
                    revived: now,
                    waiting: newest,
                    has_declined: false,
                };
                tells.push(Tell::Revive(name.clone()));
            }
        }
        tells
    }
}

impl MesosActor {
    /// Gives back what is of no use, and says whether we want more.
    pub(super) fn give_back(&mut self) {
        if self.session.as_ref().is_none_or(|session| session.reconciliation.is_none()) {
            return;
        }
        let state = self.shared.published.state();
        let settings = self.mesos.settings().clone();
        let wanted = if state.index.ready.is_empty() { BTreeSet::new() } else { self.mesos.wanted() };
        let now = Instant::now();
        for tell in self.appetite.follow(&wanted, state.counters.positions, now) {
            let call = match tell {
                Tell::Suppress(role) => call::suppress(vec![role]),
                Tell::Revive(role) => call::revive(vec![role]),
            };
            call.into_iter().for_each(|call| self.call(call));
        }
        let hold = Duration::from_millis(settings.hold_ms);
        let stale = self.mesos.book(|book| book.stale(hold, now));
        if !stale.is_empty() {
            self.appetite.declined();
            let refuse = if wanted.is_empty() { REFUSE_IDLE } else { REFUSE_UNFIT };
            call::decline(stale, refuse).into_iter().for_each(|call| self.call(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_when_idle_and_loud_when_not() {
        let role = || "x".to_owned();
        let mut appetite = Appetite::new(vec![role(), "y".to_owned()]);
        let (nobody, x) = (BTreeSet::new(), BTreeSet::from([role()]));
        let begun = Instant::now();
        assert_eq!(appetite.suppressed().len(), 2);
        assert_eq!(appetite.follow(&x, 1, begun), [Tell::Revive(role())]);
        assert_eq!(appetite.suppressed(), ["y"]);
        assert_eq!(appetite.follow(&x, 2, begun + REVIVE_EVERY), [], "nothing was declined");
        appetite.declined();
        assert_eq!(appetite.follow(&x, 2, begun + REVIVE_EVERY / 2), [], "not so often");
        assert_eq!(appetite.follow(&x, 2, begun + REVIVE_EVERY), [Tell::Revive(role())]);
        appetite.declined();
        let later = begun + 3 * REVIVE_EVERY;
        assert_eq!(appetite.follow(&x, 2, later), [], "the same work as before");
        assert_eq!(appetite.follow(&nobody, 2, later + QUIET_AFTER / 2), []);
        assert_eq!(appetite.follow(&nobody, 2, later + QUIET_AFTER), [Tell::Suppress(role())]);
        assert_eq!(appetite.follow(&nobody, 2, later + 2 * QUIET_AFTER), []);
    }
}
