//! Resources of an agent, an offer or a task, added up by kind.

use super::format::{Problem, check, upgraded};
use super::kind::{is_shared, is_whole, kind};
use super::{Fixed, Quantity, Ranges, reservation_role};
use crate::v1::Resource;

/// Resources, each kind once. What is handed out as a whole (persistent volumes, mounted disks) stays an entry of its own.
/// Equality does not mind the order.
#[derive(Debug, Clone, Default)]
pub struct Resources(pub(super) Vec<Resource>);

impl Resources {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds up resources of the contract. Reservations in the older form are read too. Malformed ones are refused.
    pub fn of(resources: impl IntoIterator<Item = Resource>) -> Result<Self, Problem> {
        let mut sum = Self::new();
        for resource in resources {
            let resource = upgraded(resource);
            check(&resource)?;
            sum.add_one(resource);
        }
        Ok(sum)
    }

    /// The entries, as the contract has them.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter()
    }

    /// The entries, for a message.
    pub fn to_contract(&self) -> Vec<Resource> {
        self.0.clone()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|resource| self.add_one(resource.clone()));
    }

    /// Whether all of the other is in this, kind by kind.
    pub fn contains(&self, other: &Self) -> bool {
        self.minus(other).is_some()
    }

    /// This without the other, or `None` if it does not contain it.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        let mut left = self.clone();
        other.0.iter().all(|resource| left.take_one(resource)).then_some(left)
    }

    /// The entries that a rule lets pass.
    pub fn filter(&self, rule: impl Fn(&Resource) -> bool) -> Self {
        Self(self.0.iter().filter(|resource| rule(resource)).cloned().collect())
    }

    /// What is not reserved.
    pub fn unreserved(&self) -> Self {
        self.filter(|resource| resource.reservations.is_empty())
    }

    /// What is reserved for exactly this role.
    pub fn reserved_for(&self, role: &str) -> Self {
        self.filter(|resource| !resource.reservations.is_empty() && reservation_role(resource) == role)
    }

    /// What is allocated to this role.
    pub fn allocated_to(&self, role: &str) -> Self {
        let to = |resource: &Resource| resource.allocation_info.as_ref().and_then(|info| info.role.clone());
        self.filter(|resource| to(resource).as_deref() == Some(role))
    }

    /// All of it allocated to a role.
    pub fn allocate(&self, role: &str) -> Self {
        let mut sum = Self::new();
        self.0.iter().for_each(|resource| sum.add_one(super::allocated(resource.clone(), role)));
        sum
    }

    /// All of it without an allocation.
    pub fn unallocated(&self) -> Self {
        let mut sum = Self::new();
        for resource in &self.0 {
            sum.add_one(Resource { allocation_info: None, ..resource.clone() });
        }
        sum
    }

    /// How much of a scalar resource, of all kinds together. A shared volume counts once for each time it is held.
    pub fn scalar(&self, name: &str) -> Fixed {
        self.quantities(name)
            .filter_map(|quantity| if let Quantity::Scalar(amount) = quantity { Some(amount) } else { None })
            .sum()
    }

    /// The numbers of a resource of ranges, of all kinds together.
    pub fn ranges(&self, name: &str) -> Ranges {
        let found = self.quantities(name).filter_map(|quantity| match quantity {
            Quantity::Ranges(ranges) => Some(ranges),
            _ => None,
        });
        found.fold(Ranges::default(), |sum, ranges| sum.union(&ranges))
    }

    /// The names of all resources, in order.
    pub fn names(&self) -> std::collections::BTreeSet<&str> {
        self.0.iter().map(|resource| resource.name.as_str()).collect()
    }

    fn quantities<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Quantity> + 'a {
        self.0.iter().filter(move |resource| resource.name == name).filter_map(Quantity::of)
    }

    pub(super) fn add_one(&mut self, resource: Resource) {
        let Some(quantity) = Quantity::of(&resource).filter(|quantity| !quantity.is_empty()) else { return };
        let wanted = kind(&resource);
        let merges = !is_whole(&resource) && !is_shared(&resource);
        let same = self.0.iter_mut().find(|own| merges && kind(own) == wanted);
        let Some(own) = same else {
            self.0.push(quantity.put_into(wanted));
            return;
        };
        if let Some(sum) = Quantity::of(own).and_then(|own| own.plus(&quantity)) {
            *own = sum.put_into(wanted);
        }
    }

    /// Takes away a resource if it is there in full, and says whether it was.
    fn take_one(&mut self, resource: &Resource) -> bool {
        let Some(quantity) = Quantity::of(resource) else { return false };
        let wanted = kind(resource);
        let whole = is_whole(resource) || is_shared(resource);
        let found = self.0.iter().enumerate().find_map(|(index, own)| {
            let own_quantity = Quantity::of(own).filter(|_| kind(own) == wanted)?;
            let fits = if whole { own_quantity == quantity } else { own_quantity.contains(&quantity) };
            if fits { Some((index, own_quantity)) } else { None }
        });
        let Some((index, own_quantity)) = found else { return false };
        match own_quantity.minus(&quantity) {
            Some(left) if !left.is_empty() => self.0[index] = left.put_into(wanted),
            _ => {
                self.0.remove(index);
            }
        }
        true
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.minus(other).is_some_and(|left| left.is_empty())
    }
}

impl From<Resources> for Vec<Resource> {
    fn from(resources: Resources) -> Self {
        resources.0
    }
}
