//! What a well-formed resource is, the older form of reservations, and the form of agents' flags.

use super::{Fixed, Quantity, Ranges, Resources, UNRESERVED};
use crate::v1::Resource;
use crate::v1::resource::{ReservationInfo, reservation_info};
use crate::v1::value::Type;

/// What is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resource {name:?}: {reason}")]
pub struct Problem {
    /// Its name, or the text that should have held one.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

fn problem(name: &str, reason: impl Into<String>) -> Problem {
    Problem { name: name.to_owned(), reason: reason.into() }
}

/// Whether a resource is well-formed, with reservations in the form of today.
pub fn check(resource: &Resource) -> Result<(), Problem> {
    let wrong = |reason: &str| Err(problem(&resource.name, reason));
    if resource.name.is_empty() {
        return wrong("no name");
    }
    let (scalar, ranges, set) =
        (resource.scalar.is_some(), resource.ranges.is_some(), resource.set.is_some());
    let fits = match Type::try_from(resource.r#type) {
        Ok(Type::Scalar) => scalar && !ranges && !set,
        Ok(Type::Ranges) => !scalar && ranges && !set,
        Ok(Type::Set) => !scalar && !ranges && set,
        Ok(Type::Text) | Err(_) => return wrong("neither a scalar nor ranges nor a set"),
    };
    if !fits {
        return wrong("its value is not of its type");
    }
    if let Some(scalar) = &resource.scalar
        && !(scalar.value.is_finite() && scalar.value >= 0.0)
    {
        return wrong("an amount below 0, or none");
    }
    if let Some(ranges) = &resource.ranges {
        check_ranges(resource, ranges)?;
    }
    if let Some(set) = &resource.set {
        let distinct: std::collections::BTreeSet<_> = set.item.iter().collect();
        if distinct.len() < set.item.len() {
            return wrong("an item twice");
        }
    }
    if resource.name == "gpus"
        && resource.scalar.as_ref().is_some_and(|scalar| Fixed::of(scalar.value).as_thousandths() % 1000 != 0)
    {
        return wrong("a part of a gpu");
    }
    if resource.disk.is_some() && resource.name != "disk" {
        return wrong("has a disk and is none");
    }
    check_reservations(resource)
}

fn check_ranges(resource: &Resource, ranges: &crate::v1::value::Ranges) -> Result<(), Problem> {
    let mut count: u128 = 0;
    for range in &ranges.range {
        if range.begin > range.end {
            let reason = format!("the range {}-{} ends before it begins", range.begin, range.end);
            return Err(problem(&resource.name, reason));
        }
        count += u128::from(range.end - range.begin) + 1;
    }
    if Ranges::of_contract(ranges).count() < count {
        return Err(problem(&resource.name, "ranges overlap"));
    }
    Ok(())
}

/// Reservations go from a role to roles below it, and only the first may be static.
fn check_reservations(resource: &Resource) -> Result<(), Problem> {
    let mut above: Option<&str> = None;
    for (index, reservation) in resource.reservations.iter().enumerate() {
        let role = reservation.role.as_deref().unwrap_or_default();
        if role.is_empty() || role == UNRESERVED {
            return Err(problem(&resource.name, "a reservation for no role"));
        }
        let is_static = reservation.r#type == Some(reservation_info::Type::Static as i32);
        if index > 0 && is_static {
            return Err(problem(&resource.name, "a static reservation on top of another"));
        }
        if let Some(above) = above
            && !(role != above && super::may_use(role, above))
        {
            return Err(problem(
                &resource.name,
                format!("a reservation for {role}, which is not below {above}"),
            ));
        }
        above = Some(role);
    }
    Ok(())
}

/// A reservation in the older form (`role`, with or without `reservation`) becomes one of today. Others stay.
pub(super) fn upgraded(mut resource: Resource) -> Resource {
    let role = resource.role.take().filter(|role| role != UNRESERVED);
    let dynamic = resource.reservation.take();
    if !resource.reservations.is_empty() {
        return resource;
    }
    if let Some(role) = role {
        let kind =
            if dynamic.is_some() { reservation_info::Type::Dynamic } else { reservation_info::Type::Static };
        resource.reservations.push(ReservationInfo {
            r#type: Some(kind as i32),
            role: Some(role),
            ..dynamic.unwrap_or_default()
        });
    }
    resource
}

/// Reads `name:value` and `name(role):value`, separated by `;`.
pub(super) fn parse(text: &str) -> Result<Resources, Problem> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let resources: Vec<_> = parts.map(parse_one).collect::<Result<_, _>>()?;
    Resources::of(resources)
}

fn parse_one(text: &str) -> Result<Resource, Problem> {
    let (name, value) = text.split_once(':').ok_or_else(|| problem(text, "no `name:value`"))?;
    let name = name.trim();
    let (name, role) = match name.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((name, role)) => (name.trim(), Some(role.trim().to_owned())),
        None => (name, None),
    };
    let value = value.trim();
    let inner = |open, close| value.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let quantity = if let Some(ranges) = inner('[', ']') {
        Quantity::Ranges(parse_ranges(name, ranges)?)
    } else if let Some(items) = inner('{', '}') {
        Quantity::Set(items.split(',').map(|item| item.trim().to_owned()).collect())
    } else {
        let amount: f64 = value.parse().map_err(|_| problem(name, format!("{value:?} is no number")))?;
        if !(amount.is_finite() && amount >= 0.0) {
            return Err(problem(name, format!("{value} is no amount")));
        }
        Quantity::Scalar(Fixed::of(amount))
    };
    Ok(quantity.put_into(Resource { name: name.to_owned(), role, ..Resource::default() }))
}

fn parse_ranges(name: &str, text: &str) -> Result<Ranges, Problem> {
    let mut ranges = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || problem(name, format!("{part:?} is no range"));
        let (begin, end) = part.split_once('-').ok_or_else(wrong)?;
        let begin: u64 = begin.trim().parse().map_err(|_| wrong())?;
        let end: u64 = end.trim().parse().map_err(|_| wrong())?;
        if begin > end {
            return Err(wrong());
        }
        ranges.push((begin, end));
    }
    Ok(Ranges::of(ranges))
}
