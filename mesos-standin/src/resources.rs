//! Resources as the master reckons with them: values without allocation, reservations in the present form.

use std::collections::BTreeSet;

use meson_mesos::v1::{
    Resource,
    resource::{AllocationInfo, ReservationInfo, reservation_info},
    value::{self, Range, Ranges, Scalar, Set, Type},
};

/// Adds resources; equal kinds become one.
pub fn add(to: &mut Vec<Resource>, more: &[Resource]) {
    for resource in more {
        match to.iter_mut().find(|held| is_same_kind(held, resource)) {
            Some(held) => merge(held, resource),
            None => to.push(resource.clone()),
        }
    }
    to.retain(|resource| !is_empty(resource));
}

/// Takes resources away, as far as they are there.
pub fn subtract(from: &mut Vec<Resource>, less: &[Resource]) {
    for resource in less {
        if let Some(held) = from.iter_mut().find(|held| is_same_kind(held, resource)) {
            reduce(held, resource);
        }
    }
    from.retain(|resource| !is_empty(resource));
}

/// Whether `all` has at least `part`.
#[must_use]
pub fn contains(all: &[Resource], part: &[Resource]) -> bool {
    let mut wanted = Vec::new();
    add(&mut wanted, part);
    wanted.iter().all(|wanted| all.iter().any(|held| is_same_kind(held, wanted) && holds(held, wanted)))
}

/// Sum of a scalar, whoever it is reserved for.
#[must_use]
pub fn scalar(all: &[Resource], name: &str) -> f64 {
    let named = all.iter().filter(|resource| resource.name == name);
    named.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
}

/// The same resources allocated to a role.
#[must_use]
pub fn allocated(all: &[Resource], role: &str) -> Vec<Resource> {
    let allocate = |resource: &Resource| Resource {
        allocation_info: Some(AllocationInfo { role: Some(role.to_owned()) }),
        ..resource.clone()
    };
    all.iter().map(allocate).collect()
}

/// The same resources without allocation.
#[must_use]
pub fn unallocated(all: &[Resource]) -> Vec<Resource> {
    all.iter().map(|resource| Resource { allocation_info: None, ..resource.clone() }).collect()
}

/// The role that resources are allocated to, by the first of them.
#[must_use]
pub fn allocation_role(all: &[Resource]) -> Option<&str> {
    all.first()?.allocation_info.as_ref()?.role.as_deref()
}

/// The role that a resource is reserved for.
#[must_use]
pub fn reserved_role(resource: &Resource) -> Option<&str> {
    resource.reservations.last()?.role.as_deref()
}

/// Reservations as a stack, whichever form they came in.
#[must_use]
pub fn upgraded(mut resource: Resource) -> Resource {
    let role = resource.role.take().filter(|role| role != "*");
    let dynamic = resource.reservation.take();
    if let (Some(role), true) = (role, resource.reservations.is_empty()) {
        let kind =
            if dynamic.is_some() { reservation_info::Type::Dynamic } else { reservation_info::Type::Static };
        let given = dynamic.unwrap_or_default();
        resource.reservations.push(ReservationInfo { r#type: Some(kind.into()), role: Some(role), ..given });
    }
    resource
}

/// Reservations as `role` and `reservation`, for schedulers that know no stack.
#[must_use]
pub fn downgraded(mut resource: Resource) -> Resource {
    let Some(last) = resource.reservations.pop() else {
        resource.role = Some("*".to_owned());
        return resource;
    };
    resource.reservations.clear();
    resource.role.clone_from(&last.role);
    if last.r#type() == reservation_info::Type::Dynamic {
        resource.reservation = Some(ReservationInfo { r#type: None, role: None, ..last });
    }
    resource
}

/// Resources in one line, like `cpus:4; mem(web):512; ports:[31000-32000]`.
#[must_use]
pub fn text(all: &[Resource]) -> String {
    let one = |resource: &Resource| {
        let role = reserved_role(resource).map_or_else(String::new, |role| format!("({role})"));
        format!("{}{role}:{}", resource.name, text_of_value(resource))
    };
    if all.is_empty() { "{}".to_owned() } else { all.iter().map(one).collect::<Vec<_>>().join("; ") }
}

/// Reads what `--resources` takes: `cpus:4;mem(web):512;ports:[31000-32000,40000-40010];disks:{a,b}`.
///
/// # Errors
/// When a part is not of that form.
pub fn parse(line: &str) -> anyhow::Result<Vec<Resource>> {
    let mut all = Vec::new();
    for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) =
            part.split_once(':').ok_or_else(|| anyhow::anyhow!("`{part}` has no value: name:value"))?;
        let (name, role) = match name.split_once('(') {
            Some((name, role)) => (name, Some(role.trim_end_matches(')').to_owned())),
            None => (name, None),
        };
        let mut resource = Resource { name: name.trim().to_owned(), role, ..Resource::default() };
        set_value(&mut resource, value.trim())?;
        add(&mut all, &[upgraded(resource)]);
    }
    Ok(all)
}

fn set_value(resource: &mut Resource, value: &str) -> anyhow::Result<()> {
    if let Some(list) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let ranges = list.split(',').map(|range| {
            let (begin, end) =
                range.split_once('-').ok_or_else(|| anyhow::anyhow!("`{range}` is no range: begin-end"))?;
            anyhow::Ok(Range { begin: begin.trim().parse()?, end: end.trim().parse()? })
        });
        resource.r#type = Type::Ranges.into();
        resource.ranges = Some(Ranges { range: ranges.collect::<Result<_, _>>()? });
    } else if let Some(list) = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        resource.r#type = Type::Set.into();
        resource.set = Some(Set { item: list.split(',').map(|item| item.trim().to_owned()).collect() });
    } else {
        resource.r#type = Type::Scalar.into();
        resource.scalar = Some(Scalar { value: value.parse()? });
    }
    Ok(())
}

fn text_of_value(resource: &Resource) -> String {
    if let Some(scalar) = &resource.scalar {
        return scalar.value.to_string();
    }
    if let Some(ranges) = &resource.ranges {
        let ranges = ranges.range.iter().map(|range| format!("{}-{}", range.begin, range.end));
        return format!("[{}]", ranges.collect::<Vec<_>>().join(", "));
    }
    format!(
        "{{{}}}",
        resource.set.iter().flat_map(|set| set.item.iter().cloned()).collect::<Vec<_>>().join(", ")
    )
}

fn is_same_kind(a: &Resource, b: &Resource) -> bool {
    a.name == b.name
        && a.r#type == b.r#type
        && a.reservations == b.reservations
        && a.allocation_info == b.allocation_info
        && a.disk == b.disk
        && a.revocable == b.revocable
        && a.shared == b.shared
        && a.provider_id == b.provider_id
}

fn is_empty(resource: &Resource) -> bool {
    match resource.r#type() {
        value::Type::Scalar => thousandths(resource) <= 0,
        value::Type::Ranges => points(resource).is_empty(),
        value::Type::Set | value::Type::Text => items(resource).is_empty(),
    }
}

/// Mesos reckons with three decimals.
#[expect(clippy::cast_possible_truncation, reason = "amounts are far below the limit")]
fn thousandths(resource: &Resource) -> i64 {
    resource.scalar.as_ref().map_or(0, |scalar| (scalar.value * 1000.0).round() as i64)
}

/// Ranges, sorted and joined.
fn points(resource: &Resource) -> Vec<Range> {
    let mut ranges: Vec<Range> = resource.ranges.iter().flat_map(|ranges| ranges.range.clone()).collect();
    ranges.retain(|range| range.begin <= range.end);
    ranges.sort_by_key(|range| range.begin);
    let mut joined: Vec<Range> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn items(resource: &Resource) -> BTreeSet<String> {
    resource.set.iter().flat_map(|set| set.item.iter().cloned()).collect()
}

fn holds(all: &Resource, part: &Resource) -> bool {
    match all.r#type() {
        value::Type::Scalar => thousandths(all) >= thousandths(part),
        value::Type::Ranges => {
            let all = points(all);
            points(part)
                .iter()
                .all(|part| all.iter().any(|all| all.begin <= part.begin && part.end <= all.end))
        }
        value::Type::Set | value::Type::Text => items(all).is_superset(&items(part)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "amounts are far below the limit")]
fn set_thousandths(resource: &mut Resource, value: i64) {
    resource.scalar = Some(Scalar { value: value as f64 / 1000.0 });
}

fn merge(held: &mut Resource, more: &Resource) {
    match held.r#type() {
        value::Type::Scalar => set_thousandths(held, thousandths(held) + thousandths(more)),
        value::Type::Ranges => {
            let all: Vec<Range> = points(held).into_iter().chain(points(more)).collect();
            held.ranges = Some(Ranges { range: all });
            held.ranges = Some(Ranges { range: points(held) });
        }
        value::Type::Set | value::Type::Text => {
            let all = items(held).union(&items(more)).cloned().collect();
            held.set = Some(Set { item: all });
        }
    }
}

fn reduce(held: &mut Resource, less: &Resource) {
    match held.r#type() {
        value::Type::Scalar => set_thousandths(held, thousandths(held) - thousandths(less)),
        value::Type::Ranges => {
            let mut left = points(held);
            for hole in points(less) {
                left = left.into_iter().flat_map(|range| without(range, hole)).collect();
            }
            held.ranges = Some(Ranges { range: left });
        }
        value::Type::Set | value::Type::Text => {
            let all = items(held).difference(&items(less)).cloned().collect();
            held.set = Some(Set { item: all });
        }
    }
}

fn without(range: Range, hole: Range) -> Vec<Range> {
    if hole.end < range.begin || range.end < hole.begin {
        return vec![range];
    }
    let mut left = Vec::new();
    if range.begin < hole.begin {
        left.push(Range { begin: range.begin, end: hole.begin - 1 });
    }
    if hole.end < range.end {
        left.push(Range { begin: hole.end + 1, end: range.end });
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<Resource> {
        parse(line).expect("resources")
    }

    #[test]
    fn amounts_are_added_and_taken_away() {
        let mut all = of("cpus:1.5;mem:100;ports:[1-10];disks:{a,b}");
        add(&mut all, &of("cpus:0.1;cpus(web):1;ports:[11-12]"));
        assert_eq!(text(&all), "cpus:1.6; mem:100; ports:[1-12]; disks:{a, b}; cpus(web):1");
        subtract(&mut all, &of("cpus:1.6;ports:[3-4,9-9];disks:{b}"));
        assert_eq!(text(&all), "mem:100; ports:[1-2, 5-8, 10-12]; disks:{a}; cpus(web):1");
    }

    #[test]
    fn a_part_must_be_there_as_a_whole_and_for_the_role() {
        let all = of("cpus:1;cpus(web):1;ports:[1-2,4-5]");
        for (part, fits) in [
            ("cpus:1", true),
            ("cpus:1.001", false),
            ("cpus:2", false),
            ("cpus(web):1;cpus:1", true),
            ("cpus(batch):0.1", false),
            ("ports:[1-1,5-5]", true),
            ("ports:[2-4]", false),
            ("gpus:1", false),
        ] {
            assert_eq!(contains(&all, &of(part)), fits, "{part}");
        }
        // Twice the same is as much as both.
        let twice = [of("cpus:0.6"), of("cpus:0.6")].concat();
        assert!(!contains(&all, &twice));
    }

    #[test]
    fn both_forms_of_reservations_mean_the_same() {
        let resource = of("cpus(web):1").remove(0);
        let old = downgraded(resource.clone());
        assert_eq!((old.role.as_deref(), old.reservations.len()), (Some("web"), 0));
        assert_eq!(upgraded(old), resource);
        let plain = of("cpus:1").remove(0);
        assert_eq!(upgraded(downgraded(plain.clone())), plain);
    }
}
