//! Choosing resources of an offer for a task: so much of each name, whatever the reservation, the narrowest first.

use super::{Fixed, Quantity, Resources, may_use, reservation_role};
use crate::v1::Resource;

/// How much of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted(Vec<(String, Need)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    Quantity(Quantity),
    /// So many numbers, whichever.
    Count(u64),
}

impl Wanted {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An amount, like cpus.
    pub fn scalar(self, name: &str, amount: Fixed) -> Self {
        self.need(name, Need::Quantity(Quantity::Scalar(amount)))
    }

    /// Exactly these numbers or names.
    pub fn exactly(self, name: &str, quantity: Quantity) -> Self {
        self.need(name, Need::Quantity(quantity))
    }

    /// So many numbers of ranges, whichever, like ports.
    pub fn any(self, name: &str, count: u64) -> Self {
        self.need(name, Need::Count(count))
    }

    fn need(mut self, name: &str, need: Need) -> Self {
        self.0.push((name.to_owned(), need));
        self
    }
}

impl Resources {
    /// Chooses what is wanted for a role: what is reserved for it first, then for roles above it, then what is not
    /// reserved. Volumes, shared and revocable resources are never chosen; whoever wants those names them. `None` if
    /// there is not enough.
    pub fn find(&self, wanted: &Wanted, role: &str) -> Option<Self> {
        let mut left = self.clone();
        let mut chosen = Self::new();
        for (name, need) in &wanted.0 {
            for part in left.choose(name, need, role)? {
                let part = Self(vec![part]);
                left = left.minus(&part)?;
                chosen.add(&part);
            }
        }
        Some(chosen)
    }

    fn choose(&self, name: &str, need: &Need, role: &str) -> Option<Vec<Resource>> {
        let mut candidates: Vec<&Resource> =
            self.iter().filter(|resource| resource.name == name && is_eligible(resource, role)).collect();
        // Longer roles are narrower, since all of them are this role or above it; the unreserved have none.
        candidates.sort_by_key(|resource| {
            let reserved = !resource.reservations.is_empty();
            std::cmp::Reverse(if reserved { 1 + reservation_role(resource).len() } else { 0 })
        });
        let mut parts = Vec::new();
        let mut need = need.clone();
        for candidate in candidates {
            if need.is_met() {
                break;
            }
            let Some(part) = need.take_from(&Quantity::of(candidate)?) else { continue };
            parts.push(part.put_into(candidate.clone()));
        }
        need.is_met().then_some(parts)
    }
}

impl Need {
    fn is_met(&self) -> bool {
        match self {
            Self::Quantity(quantity) => quantity.is_empty(),
            Self::Count(count) => *count == 0,
        }
    }

    /// Takes what it can, and wants less afterwards. `None` if there is nothing for it.
    fn take_from(&mut self, available: &Quantity) -> Option<Quantity> {
        match (self, available) {
            (Self::Quantity(wanted), _) => {
                let part = wanted.common(available).filter(|part| !part.is_empty())?;
                *wanted = wanted.minus(&part)?;
                Some(part)
            }
            (Self::Count(count), Quantity::Ranges(ranges)) => {
                let take = u64::try_from(ranges.count()).unwrap_or(u64::MAX).min(*count);
                let part = ranges.lowest(take).filter(|part| !part.is_empty())?;
                *count -= take;
                Some(Quantity::Ranges(part))
            }
            (Self::Count(_), _) => None,
        }
    }
}

fn is_eligible(resource: &Resource, role: &str) -> bool {
    let special = resource.disk.is_some() || resource.shared.is_some() || resource.revocable.is_some();
    !special && may_use(role, reservation_role(resource))
}
