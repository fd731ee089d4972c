//! Offers from the moment they are made until they are used, declined, rescinded or out of time.

use meson_mesos::v1::{
    Filters, OfferId, Resource,
    scheduler::{Event, event},
};

use super::{Cluster, state::Filter};
use crate::resources;

/// What a declining scheduler means when it sets no filter.
const REFUSE_SECONDS: f64 = 5.0;
/// Longest time that a filter lasts: Mesos's cap.
const REFUSE_SECONDS_MAX: f64 = 31_536_000.0;

impl Cluster {
    /// Takes an offer back without a word: it was answered, or its scheduler is gone. `filters` is absent when nobody
    /// declined, and `Some(None)` when somebody did without naming any.
    pub(super) fn discard_offer(&mut self, offer: &str, filters: Option<Option<&Filters>>) {
        let Some(offer) = self.offers.remove(offer) else { return };
        if let Some(filters) = filters {
            let resources = resources::unallocated(&offer.offer.resources);
            self.filter(&offer.framework, &offer.role, &offer.agent, resources, filters);
        }
    }

    /// Resources that a scheduler did not want are not offered to it again for a while.
    pub(super) fn filter(
        &mut self,
        framework: &str,
        role: &str,
        agent: &str,
        resources: Vec<Resource>,
        filters: Option<&Filters>,
    ) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds).unwrap_or(REFUSE_SECONDS);
        let seconds = if seconds < 0.0 { REFUSE_SECONDS } else { seconds.min(REFUSE_SECONDS_MAX) };
        if seconds == 0.0 || resources.is_empty() {
            return;
        }
        let until = self.now.elapsed + seconds;
        if let Some(framework) = self.frameworks.get_mut(framework) {
            framework.filters.push(Filter {
                role: role.to_owned(),
                agent: agent.to_owned(),
                resources,
                until,
            });
        }
    }

    /// Takes an offer back and tells its scheduler.
    pub(super) fn rescind_offer(&mut self, id: &str) {
        let Some(offer) = self.offers.remove(id) else { return };
        let event = Event {
            r#type: Some(event::Type::Rescind.into()),
            rescind: Some(event::Rescind { offer_id: OfferId { value: id.to_owned() } }),
            ..Event::default()
        };
        self.send(&offer.framework, event);
    }

    /// Takes all offers of an agent back.
    pub(super) fn rescind_offers_on(&mut self, agent: &str) {
        for id in self.offers_where(|offer| offer.agent == agent) {
            self.rescind_offer(&id);
        }
        let inverse: Vec<String> = self
            .inverse_offers
            .iter()
            .filter(|(_, offer)| offer.agent == agent)
            .map(|(id, _)| id.clone())
            .collect();
        for id in inverse {
            self.rescind_inverse(&id);
        }
    }

    /// Takes the offers of a framework back without a word: they do not outlive its subscription.
    pub(super) fn discard_offers_of(&mut self, framework: &str) {
        for id in self.offers_where(|offer| offer.framework == framework) {
            self.discard_offer(&id, None);
        }
        self.inverse_offers.retain(|_, offer| offer.framework != framework);
    }

    /// Takes back what was offered to roles that a framework no longer has.
    pub(super) fn rescind_offers_of_lost_roles(&mut self, framework: &str) {
        let Some(roles) = self.frameworks.get(framework).map(super::Framework::roles) else { return };
        for id in self.offers_where(|offer| offer.framework == framework && !roles.contains(&offer.role)) {
            self.rescind_offer(&id);
        }
    }

    /// Rescinds offers that nobody answered in time.
    pub(super) fn expire_offers(&mut self) {
        let now = self.now.elapsed;
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|filter| filter.until > now);
            framework.inverse_filters.retain(|_, until| *until > now);
        }
        let Some(timeout) = self.config.offer_timeout else { return };
        for id in self.offers_where(|offer| offer.made_at + timeout <= now) {
            self.rescind_offer(&id);
        }
    }

    /// Takes all offers back: a fault that tests ask for.
    pub(super) fn rescind_all_offers(&mut self) {
        for id in self.offers_where(|_| true) {
            self.rescind_offer(&id);
        }
    }

    fn offers_where(&self, wanted: impl Fn(&super::Offer) -> bool) -> Vec<String> {
        self.offers.iter().filter(|(_, offer)| wanted(offer)).map(|(id, _)| id.clone()).collect()
    }
}
