//! Arithmetic of resources: laws that hold for all of them, and the rules of Mesos by example.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use meson_mesos::resources::{
    self, Fixed, Quantity, Ranges, Resources, Wanted, allocated, check, may_use, parse, ranges, reserved,
    scalar, set,
};
use meson_mesos::v1::Resource;
use meson_mesos::v1::resource::disk_info::{Persistence, Source, source};
use meson_mesos::v1::resource::{DiskInfo, ReservationInfo, RevocableInfo, SharedInfo};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.numbers().collect()
}

fn any_ranges() -> impl Strategy<Value = Ranges> {
    prop::collection::vec((0_u64..60, 0_u64..8), 0..8)
        .prop_map(|pairs| Ranges::of(pairs.into_iter().map(|(begin, length)| (begin, begin + length))))
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let value = prop_oneof![
        (prop_oneof!["cpus", "mem"], 0_i64..5000)
            .prop_map(|(name, thousandths)| scalar(&name, Fixed::thousandths(thousandths).value())),
        any_ranges().prop_map(|ports| ranges("ports", ports.iter())),
        prop::collection::btree_set("[a-e]", 0..5)
            .prop_map(|items| set("zones", items.iter().map(String::as_str))),
    ];
    let role = prop::option::of(prop_oneof!["eng", "eng/ml", "ads"]);
    (value, role.clone(), role).prop_map(|(value, reserve, allocate)| {
        let value = match reserve {
            Some(role) => reserved(value, &role, None),
            None => value,
        };
        match allocate {
            Some(role) => allocated(value, &role),
            None => value,
        }
    })
}

/// Ranges and sets are sets, so adding what is there already adds nothing: sums are only of scalars.
fn any_resources() -> impl Strategy<Value = Resources> {
    prop::collection::vec(any_resource(), 0..8).prop_map(|list| Resources::of(list).unwrap())
}

fn sum(one: &Resources, two: &Resources) -> Resources {
    let mut sum = one.clone();
    sum.add(two);
    sum
}

proptest! {
    #[test]
    fn ranges_are_sets(one in any_ranges(), two in any_ranges()) {
        let (first, second) = (numbers(&one), numbers(&two));
        prop_assert_eq!(numbers(&one.union(&two)), first.union(&second).copied().collect());
        prop_assert_eq!(numbers(&one.difference(&two)), first.difference(&second).copied().collect());
        prop_assert_eq!(one.contains(&two), second.is_subset(&first));
        prop_assert_eq!(one.overlaps(&two), !first.is_disjoint(&second));
        prop_assert_eq!(one.count(), first.len() as u128);
        let taken: Vec<_> = one.union(&two).iter().collect();
        prop_assert!(taken.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "neither overlap nor touch: {taken:?}");
        for count in 0..=first.len() as u64 {
            let lowest = one.lowest(count).unwrap();
            prop_assert_eq!(numbers(&lowest), first.iter().copied().take(count as usize).collect());
        }
        prop_assert_eq!(one.lowest(first.len() as u64 + 1), None);
    }

    #[test]
    fn thousandths_are_exact(one in -1_000_000_000_i64..1_000_000_000, two in -1_000_000_000_i64..1_000_000_000) {
        let (one, two) = (Fixed::thousandths(one), Fixed::thousandths(two));
        prop_assert_eq!(Fixed::of(one.value()), one);
        prop_assert_eq!(Fixed::of(one.value() + two.value()), one + two);
        prop_assert_eq!(one + two - two, one);
    }

    #[test]
    fn order_does_not_matter(list in prop::collection::vec(any_resource(), 0..8)) {
        let forth = Resources::of(list.clone()).unwrap();
        let back = Resources::of(list.into_iter().rev()).unwrap();
        prop_assert_eq!(&forth, &back);
        prop_assert_eq!(&Resources::of(forth.to_contract()).unwrap(), &forth);
    }

    #[test]
    fn a_sum_contains_its_parts(one in any_resources(), two in any_resources()) {
        let both = sum(&one, &two);
        prop_assert!(both.contains(&one) && both.contains(&two));
        prop_assert_eq!(&both, &sum(&two, &one));
        prop_assert_eq!(both.scalar("cpus"), one.scalar("cpus") + two.scalar("cpus"));
        prop_assert_eq!(both.minus(&both), Some(Resources::new()));
    }

    #[test]
    fn what_is_taken_can_be_given_back(one in any_resources(), two in any_resources()) {
        match one.minus(&two) {
            Some(left) => {
                prop_assert!(one.contains(&two));
                prop_assert_eq!(sum(&left, &two), one);
            }
            None => prop_assert!(!one.contains(&two)),
        }
    }

    #[test]
    fn what_is_found_was_there_and_is_enough(
        offer in any_resources(),
        cpus in 0_i64..6000,
        ports in 0_u64..10,
        role in prop_oneof!["eng", "eng/ml", "ads", "other"],
    ) {
        let cpus = Fixed::thousandths(cpus);
        let wanted = Wanted::new().scalar("cpus", cpus).any("ports", ports);
        let usable = offer.filter(|resource| may_use(&role, resources::reservation_role(resource)));
        match offer.find(&wanted, &role) {
            Some(found) => {
                prop_assert!(usable.contains(&found));
                prop_assert_eq!(found.scalar("cpus"), cpus);
                let ports_found: u128 = found.iter().filter_map(Quantity::of).map(|quantity| match quantity {
                    Quantity::Ranges(ranges) => ranges.count(),
                    _ => 0,
                }).sum();
                prop_assert_eq!(ports_found, u128::from(ports));
            }
            None => {
                let ports_there: u128 = usable.iter().filter(|resource| resource.name == "ports")
                    .filter_map(Quantity::of).map(|quantity| match quantity {
                        Quantity::Ranges(ranges) => ranges.count(),
                        _ => 0,
                    }).sum();
                prop_assert!(usable.scalar("cpus") < cpus || ports_there < u128::from(ports));
            }
        }
    }
}

fn of(list: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::of(list).unwrap()
}

#[test]
fn ten_tenths_are_one() {
    let tenths = of((0..10).map(|_| scalar("cpus", 0.1)));
    assert_eq!(tenths, of([scalar("cpus", 1.0)]));
    assert_eq!(tenths.scalar("cpus"), Fixed::of(1.0));
    assert!(of([scalar("cpus", 0.0004)]).is_empty(), "less than half of a thousandth is nothing");
    assert_eq!(Fixed::of(0.0005), Fixed::thousandths(1));
    assert_eq!(Fixed::of(f64::NAN), Fixed::ZERO);
}

#[test]
fn only_what_is_of_one_kind_is_added_up() {
    let cpus = scalar("cpus", 1.0);
    let revocable = Resource { revocable: Some(RevocableInfo {}), ..cpus.clone() };
    let kinds = [
        cpus.clone(),
        allocated(cpus.clone(), "eng"),
        reserved(cpus.clone(), "eng", None),
        reserved(cpus.clone(), "eng", Some("alice")),
        revocable,
        Resource { provider_id: Some("p1".into()), ..cpus.clone() },
        scalar("mem", 1.0),
    ];
    let all = of(kinds.iter().cloned().chain(kinds.iter().cloned()));
    assert_eq!(all.iter().count(), kinds.len());
    for kind in &kinds {
        let twice = of([kind.clone(), kind.clone()]);
        assert!(all.contains(&twice));
        assert_eq!(all.minus(&twice).unwrap().iter().count(), kinds.len() - 1);
    }
    assert!(
        !of([reserved(cpus.clone(), "eng", None)]).contains(&of([cpus])),
        "a reservation is not passed over"
    );
}

fn volume(id: &str, shared: bool) -> Resource {
    let persistence = Some(Persistence { id: id.to_owned(), principal: None });
    let disk = Some(DiskInfo { persistence, ..DiskInfo::default() });
    let shared = shared.then_some(SharedInfo {});
    reserved(Resource { disk, shared, ..scalar("disk", 64.0) }, "eng", None)
}

#[test]
fn volumes_are_whole() {
    let two = of([volume("v1", false), volume("v2", false)]);
    assert_eq!(two.iter().count(), 2);
    let mut half = volume("v1", false);
    half.scalar = Some(meson_mesos::v1::value::Scalar { value: 32.0 });
    assert!(!two.contains(&of([half])), "no part of a volume");
    assert_eq!(two.minus(&of([volume("v1", false)])).unwrap(), of([volume("v2", false)]));

    let shared = of([volume("v1", true), volume("v1", true)]);
    assert_eq!(shared.minus(&of([volume("v1", true)])).unwrap(), of([volume("v1", true)]), "held once less");

    let mount = |megabytes: f64| {
        let source = Some(Source { r#type: source::Type::Mount as i32, ..Source::default() });
        Resource { disk: Some(DiskInfo { source, ..DiskInfo::default() }), ..scalar("disk", megabytes) }
    };
    let mounts = of([mount(100.0), mount(100.0)]);
    assert_eq!(mounts.iter().count(), 2, "two file systems are not one of twice the size");
    assert!(!mounts.contains(&of([mount(50.0)])));
}

#[test]
fn the_narrowest_reservation_is_used_first() {
    let cpus = || scalar("cpus", 1.0);
    let offer = of([
        cpus(),
        reserved(cpus(), "eng", None),
        reserved(reserved(cpus(), "eng", None), "eng/ml", None),
        reserved(cpus(), "ads", None),
    ]);
    let wanted = |amount| Wanted::new().scalar("cpus", Fixed::of(amount));
    let found = offer.find(&wanted(1.5), "eng/ml").unwrap();
    assert_eq!(found.reserved_for("eng/ml").scalar("cpus"), Fixed::of(1.0));
    assert_eq!(found.reserved_for("eng").scalar("cpus"), Fixed::of(0.5));
    assert!(found.unreserved().is_empty());
    assert!(offer.find(&wanted(3.0), "eng/ml").is_some());
    assert!(offer.find(&wanted(3.1), "eng/ml").is_none(), "what is for ads is not for eng");
    assert!(offer.find(&wanted(2.1), "eng").is_none(), "nor is what is for those below");
}

#[test]
fn older_reservations_are_read() {
    let old = Resource { role: Some("eng".to_owned()), ..scalar("cpus", 1.0) };
    assert_eq!(resources::reservation_role(of([old.clone()]).iter().next().unwrap()), "eng");
    let principal = Some("alice".to_owned());
    let dynamic =
        Resource { reservation: Some(ReservationInfo { principal, ..ReservationInfo::default() }), ..old };
    assert_eq!(of([dynamic]), of([reserved(scalar("cpus", 1.0), "eng", Some("alice"))]));
    let star = Resource { role: Some("*".to_owned()), ..scalar("cpus", 1.0) };
    assert_eq!(of([star]), of([scalar("cpus", 1.0)]));
}

#[test]
fn malformed_resources_are_named() {
    let cpus = || scalar("cpus", 1.0);
    let amount = |value| Some(meson_mesos::v1::value::Scalar { value });
    let backwards = |begin, end| {
        let mut resource = ranges("ports", [(1, 2)]);
        resource.ranges.as_mut().unwrap().range.push(meson_mesos::v1::value::Range { begin, end });
        resource
    };
    for (wrong, reason) in [
        (Resource { name: String::new(), ..cpus() }, "no name"),
        (Resource { scalar: None, ..cpus() }, "not of its type"),
        (Resource { scalar: amount(-1.0), ..cpus() }, "below 0"),
        (Resource { scalar: amount(f64::NAN), ..cpus() }, "below 0"),
        (Resource { r#type: 3, ..cpus() }, "neither"),
        (scalar("gpus", 0.5), "part of a gpu"),
        (backwards(9, 8), "ends before it begins"),
        (backwards(2, 5), "overlap"),
        (reserved(cpus(), "*", None), "no role"),
        (reserved(reserved(cpus(), "eng", None), "ads", None), "not below"),
        (reserved(reserved(cpus(), "eng", None), "eng", None), "not below"),
        (reserved(reserved(cpus(), "eng", None), "engine", None), "not below"),
    ] {
        let problem = check(&wrong).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem}, not {reason}");
        assert!(Resources::of([wrong]).is_err());
    }
}

#[test]
fn flags_of_agents_are_read() {
    let read = parse("cpus:4; mem:1024.5;ports:[31000-31001, 31005-31005];zones:{a,b};disk(eng):10;cpus:0.5")
        .unwrap();
    let wanted = of([
        scalar("cpus", 4.5),
        scalar("mem", 1024.5),
        ranges("ports", [(31005, 31005), (31000, 31001)]),
        set("zones", ["a", "b"]),
        Resource { role: Some("eng".to_owned()), ..scalar("disk", 10.0) },
    ]);
    assert_eq!(read, wanted);
    assert_eq!(parse("").unwrap(), Resources::new());
    for wrong in ["cpus", "cpus:x", "cpus:-1", "cpus:inf", "ports:[5]", "ports:[5-4]", "ports:[a-b]", ":1"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
