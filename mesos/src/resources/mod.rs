//! Arithmetic of resources, with the rules of Mesos: scalars have three decimals, ranges and sets are sets, and only what
//! is of one kind (same name, reservation, allocation, disk, …) can be added up. Pure: no I/O, no clock.

mod collection;
mod find;
mod fixed;
mod format;
mod kind;
mod quantity;
mod ranges;

pub use collection::Resources;
pub use find::Wanted;
pub use fixed::Fixed;
pub use format::{Problem, check};
pub use quantity::Quantity;
pub use ranges::Ranges;

use crate::v1::resource::{AllocationInfo, ReservationInfo, reservation_info};
use crate::v1::value::{self, Type};
use crate::v1::{Resource, Value};

/// The role of what is not reserved.
pub const UNRESERVED: &str = "*";

/// A scalar resource without a reservation.
pub fn scalar(name: &str, amount: f64) -> Resource {
    let scalar = Some(value::Scalar { value: Fixed::of(amount).value() });
    Resource { name: name.to_owned(), r#type: Type::Scalar as i32, scalar, ..Resource::default() }
}

/// A resource of ranges, both ends included, without a reservation.
pub fn ranges(name: &str, ranges: impl IntoIterator<Item = (u64, u64)>) -> Resource {
    let ranges = Some(Ranges::of(ranges).to_contract());
    Resource { name: name.to_owned(), r#type: Type::Ranges as i32, ranges, ..Resource::default() }
}

/// A resource of a set, without a reservation.
pub fn set<'a>(name: &str, items: impl IntoIterator<Item = &'a str>) -> Resource {
    let item = items.into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let set = Some(value::Set { item: item.into_iter().collect() });
    Resource { name: name.to_owned(), r#type: Type::Set as i32, set, ..Resource::default() }
}

/// The same resource, allocated to a role.
pub fn allocated(resource: Resource, role: &str) -> Resource {
    let allocation_info = Some(AllocationInfo { role: Some(role.to_owned()) });
    Resource { allocation_info, ..resource }
}

/// The same resource, reserved further: on top of the reservations that it has.
pub fn reserved(mut resource: Resource, role: &str, principal: Option<&str>) -> Resource {
    resource.reservations.push(ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(role.to_owned()),
        principal: principal.map(str::to_owned),
        labels: None,
    });
    resource
}

/// The role that a resource is reserved for, or [`UNRESERVED`].
pub fn reservation_role(resource: &Resource) -> &str {
    resource.reservations.last().and_then(|reservation| reservation.role.as_deref()).unwrap_or(UNRESERVED)
}

/// Whether somebody of this role may use what is reserved for `reserved`: for itself, or for a role above it.
pub fn may_use(role: &str, reserved: &str) -> bool {
    reserved == UNRESERVED
        || role == reserved
        || role.strip_prefix(reserved).is_some_and(|rest| rest.starts_with('/'))
}

/// Reads resources as flags of agents write them: `cpus:4;mem:1024;ports:[31000-32000];zones:{a,b};cpus(role):2`.
pub fn parse(text: &str) -> Result<Resources, Problem> {
    format::parse(text)
}

/// A value of the contract from a quantity.
impl From<&Quantity> for Value {
    fn from(quantity: &Quantity) -> Self {
        let mut written = Self { r#type: quantity.kind() as i32, ..Self::default() };
        match quantity {
            Quantity::Scalar(amount) => written.scalar = Some(value::Scalar { value: amount.value() }),
            Quantity::Ranges(ranges) => written.ranges = Some(ranges.to_contract()),
            Quantity::Set(items) => {
                written.set = Some(value::Set { item: items.iter().cloned().collect() });
            }
        }
        written
    }
}
