//! The offers that are open: what they hold, for how long, and what becomes of them. Offers of one agent to one role are
//! used together. Pure: the time comes in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use hdrhistogram::Histogram;
use meson_mesos::resources::Resources;
use meson_mesos::v1::{AgentId, Attribute, Offer, OfferId, value};
use tokio::time::Instant;

/// Longest time of holding that is told apart, in milliseconds.
const HELD_MS_MAX: u64 = 3_600_000;

/// What offers are used together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lot {
    /// The agent.
    pub agent: String,
    /// The role they are for.
    pub role: String,
}

impl Lot {
    /// Its name as an offer of the solver.
    pub fn id(&self) -> String {
        format!("{} {}", self.agent, self.role)
    }
}

/// The offers of a lot.
#[derive(Debug, Clone, Default)]
pub struct Offers {
    /// Each of them.
    pub offers: Vec<Offer>,
    /// What they hold together.
    pub resources: Resources,
}

impl Offers {
    /// The agent's id in Mesos.
    pub fn agent_id(&self) -> AgentId {
        self.offers.first().map(|offer| offer.agent_id.clone()).unwrap_or_default()
    }

    /// The agent's host.
    pub fn hostname(&self) -> String {
        self.offers.first().map(|offer| offer.hostname.clone()).unwrap_or_default()
    }

    /// Whether this executor of ours runs on the agent.
    pub fn has_executor(&self, executor: &str) -> bool {
        self.offers.iter().any(|offer| offer.executor_ids.iter().any(|id| id.value == executor))
    }

    /// When planned maintenance of the agent begins, Unix milliseconds.
    pub fn maintenance_ms(&self) -> Option<u64> {
        let starts = self.offers.iter().filter_map(|offer| offer.unavailability.as_ref());
        starts.map(|planned| u64::try_from(planned.start.nanoseconds / 1_000_000).unwrap_or(0)).min()
    }

    /// The agent's attributes as constraints see them; its host, region and zone are among them.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        let Some(offer) = self.offers.first() else { return BTreeMap::new() };
        let mut attributes = BTreeMap::from([("hostname".to_owned(), offer.hostname.clone())]);
        if let Some(domain) = offer.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref()) {
            attributes.insert("region".to_owned(), domain.region.name.clone());
            attributes.insert("zone".to_owned(), domain.zone.name.clone());
        }
        attributes.extend(offer.attributes.iter().map(|one| (one.name.clone(), text_of(one))));
        attributes
    }
}

/// An attribute's value as text. Numbers as Mesos writes them, ranges and sets in its notation.
fn text_of(attribute: &Attribute) -> String {
    match attribute.r#type() {
        value::Type::Text => attribute.text.as_ref().map(|text| text.value.clone()),
        value::Type::Scalar => attribute.scalar.as_ref().map(|scalar| scalar.value.to_string()),
        value::Type::Ranges => attribute.ranges.as_ref().map(|ranges| {
            let ranges: Vec<_> =
                ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end)).collect();
            format!("[{}]", ranges.join(","))
        }),
        value::Type::Set => attribute.set.as_ref().map(|set| format!("{{{}}}", set.item.join(","))),
    }
    .unwrap_or_default()
}

struct Held {
    offer: Offer,
    lot: Lot,
    resources: Resources,
    since: Instant,
}

/// The open offers.
pub struct Book {
    held: HashMap<String, Held>,
    times: Histogram<u64>,
}

impl Default for Book {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(1, HELD_MS_MAX, 3).expect("the bounds are in order");
        Book { held: HashMap::new(), times }
    }
}

impl Book {
    /// New offers. Those that cannot be read are returned, to be declined.
    pub fn add(&mut self, offers: Vec<Offer>, default_role: &str, now: Instant) -> Vec<OfferId> {
        let mut unreadable = Vec::new();
        for offer in offers {
            let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
            let lot =
                Lot { agent: offer.agent_id.value.clone(), role: role.unwrap_or(default_role).to_owned() };
            match Resources::of(offer.resources.clone()) {
                Ok(resources) => {
                    self.held.insert(offer.id.value.clone(), Held { offer, lot, resources, since: now });
                }
                Err(problem) => {
                    tracing::warn!(offer = offer.id.value, %problem, "an offer that cannot be read");
                    unreadable.push(offer.id);
                }
            }
        }
        unreadable
    }

    /// An offer is void.
    pub fn rescind(&mut self, offer: &OfferId, now: Instant) {
        if let Some(held) = self.held.remove(&offer.value) {
            self.note(held.since, now);
        }
    }

    /// All offers are void: the subscription that they came by is over.
    pub fn clear(&mut self, now: Instant) {
        let all: Vec<_> = self.held.drain().map(|(_, held)| held.since).collect();
        all.into_iter().for_each(|since| self.note(since, now));
    }

    /// The open offers, by lot.
    pub fn lots(&self) -> BTreeMap<Lot, Offers> {
        let mut lots: BTreeMap<Lot, Offers> = BTreeMap::new();
        let mut held: Vec<&Held> = self.held.values().collect();
        held.sort_by(|one, other| one.offer.id.value.cmp(&other.offer.id.value));
        for held in held {
            let lot = lots.entry(held.lot.clone()).or_default();
            lot.offers.push(held.offer.clone());
            lot.resources.add(&held.resources);
        }
        lots
    }

    /// Takes the offers of a lot, which are to be accepted now.
    pub fn take(&mut self, lot: &Lot, now: Instant) -> Offers {
        let ids: Vec<String> =
            self.held.iter().filter(|(_, held)| held.lot == *lot).map(|(id, _)| id.clone()).collect();
        let mut taken = Offers::default();
        for held in ids.iter().filter_map(|id| self.held.remove(id)).collect::<Vec<_>>() {
            self.note(held.since, now);
            taken.resources.add(&held.resources);
            taken.offers.push(held.offer);
        }
        taken
    }

    /// Takes the offers that have been held for so long without use, to be declined.
    pub fn stale(&mut self, hold: Duration, now: Instant) -> Vec<OfferId> {
        let old = |held: &Held| now.saturating_duration_since(held.since) >= hold;
        let ids: Vec<String> =
            self.held.iter().filter(|(_, held)| old(held)).map(|(id, _)| id.clone()).collect();
        let stale: Vec<Held> = ids.iter().filter_map(|id| self.held.remove(id)).collect();
        stale.iter().for_each(|held| self.note(held.since, now));
        stale.into_iter().map(|held| held.offer.id).collect()
    }

    /// Agents that offers are open of.
    pub fn agents(&self) -> BTreeSet<&str> {
        self.held.values().map(|held| held.lot.agent.as_str()).collect()
    }

    /// How many offers are open.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How long offers were held, in milliseconds: how many, and the time that this share of them did not pass.
    pub fn held_ms(&self, quantile: f64) -> (u64, u64) {
        (self.times.len(), self.times.value_at_quantile(quantile))
    }

    fn note(&mut self, since: Instant, now: Instant) {
        let held = now.saturating_duration_since(since).as_millis() as u64;
        self.times.saturating_record(held.max(1));
    }
}

#[cfg(test)]
mod tests {
    use meson_mesos::resources::parse;
    use meson_mesos::v1::resource::AllocationInfo;

    use super::*;

    fn offer(id: &str, agent: &str, role: &str, resources: &str) -> Offer {
        Offer {
            id: id.into(),
            agent_id: agent.into(),
            hostname: format!("{agent}.example"),
            resources: parse(resources).unwrap().to_contract(),
            allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
            ..Offer::default()
        }
    }

    #[test]
    fn offers_of_an_agent_to_a_role_are_used_together() {
        let mut book = Book::default();
        let now = Instant::now();
        let offers = vec![
            offer("o1", "a", "x", "cpus:1;mem:100"),
            offer("o2", "a", "x", "cpus:2"),
            offer("o3", "a", "y", "cpus:4"),
            offer("o4", "b", "x", "cpus:8"),
        ];
        assert!(book.add(offers, "*", now).is_empty());
        assert_eq!(book.lots().len(), 3);
        let lot = Lot { agent: "a".into(), role: "x".into() };
        let taken = book.take(&lot, now);
        assert_eq!(taken.offers.len(), 2);
        assert_eq!(taken.resources, parse("cpus:3;mem:100").unwrap());
        assert_eq!(book.take(&lot, now).offers.len(), 0, "an offer is taken once");
        book.rescind(&"o4".into(), now);
        assert_eq!(book.agents(), ["a"].into());
        book.clear(now);
        assert!(book.is_empty());
        assert_eq!(book.held_ms(1.0).0, 4);
    }

    #[test]
    fn what_is_held_for_too_long_is_given_back() {
        let mut book = Book::default();
        let hold = Duration::from_secs(1);
        let begun = Instant::now();
        book.add(vec![offer("o1", "a", "*", "cpus:1")], "*", begun);
        book.add(vec![offer("o2", "b", "*", "cpus:1")], "*", begun + hold / 2);
        assert!(book.stale(hold, begun + hold / 2).is_empty());
        assert_eq!(book.stale(hold, begun + hold), [OfferId::from("o1")]);
        assert_eq!(book.len(), 1);
        assert_eq!(book.held_ms(1.0), (1, 1_000));
    }

    #[test]
    fn attributes_are_text() {
        let mut one = offer("o1", "a", "*", "cpus:1");
        let attribute =
            |name: &str, kind| Attribute { name: name.into(), r#type: kind as i32, ..Attribute::default() };
        one.attributes = vec![
            Attribute {
                text: Some(value::Text { value: "r1".into() }),
                ..attribute("rack", value::Type::Text)
            },
            Attribute {
                scalar: Some(value::Scalar { value: 2.0 }),
                ..attribute("generation", value::Type::Scalar)
            },
            Attribute {
                set: Some(value::Set { item: vec!["ssd".into(), "nvme".into()] }),
                ..attribute("disks", value::Type::Set)
            },
        ];
        let offers = Offers { offers: vec![one], ..Offers::default() };
        let attributes = offers.attributes();
        let wanted =
            [("disks", "{ssd,nvme}"), ("generation", "2"), ("hostname", "a.example"), ("rack", "r1")];
        assert_eq!(attributes, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
