//! Faults of links: which directions they touch, and what they do there. What one fault adds its healing takes away,
//! so that faults may overlap.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Fault, Others, Way};
use crate::network::Link;
use crate::testbed::{Machine, Testbed};

/// Does a fault of links between machines and others, or takes it back.
pub(super) fn change(testbed: &Testbed, struck: &[Machine], fault: &Fault, heal: bool) {
    let (from, way) = match fault {
        Fault::Cut { from, way, .. } => (from, *way),
        Fault::Delay { from, .. } | Fault::Loss { from, .. } => (from, Way::Both),
        _ => return,
    };
    // Each direction once, also where both ends are struck.
    let directions: BTreeSet<(Machine, Machine)> =
        struck.iter().flat_map(|machine| directions(testbed, *machine, from, way)).collect();
    for (sender, receiver) in directions {
        let (sender, receiver) = (testbed.port(sender), testbed.port(receiver));
        testbed.network().rules().change(sender, receiver, |link| apply(link, fault, heal));
    }
}

fn directions(testbed: &Testbed, struck: Machine, from: &Others, way: Way) -> Vec<(Machine, Machine)> {
    let others = from.machines(testbed.options().size, struck);
    let both = others.into_iter().flat_map(|other| [(other, struck, Way::In), (struck, other, Way::Out)]);
    both.filter(|(.., direction)| way == Way::Both || way == *direction)
        .map(|(sender, receiver, _)| (sender, receiver))
        .collect()
}

fn apply(link: &mut Link, fault: &Fault, heal: bool) {
    match fault {
        Fault::Cut { .. } => {
            link.cuts = if heal { link.cuts.saturating_sub(1) } else { link.cuts + 1 };
        }
        Fault::Delay { delay_ms, jitter_ms, .. } => {
            let change = |now: Duration, by_ms: u64| {
                let by = Duration::from_millis(by_ms);
                if heal { now.saturating_sub(by) } else { now + by }
            };
            link.delay = change(link.delay, *delay_ms);
            link.jitter = change(link.jitter, *jitter_ms);
        }
        Fault::Loss { in_thousand, .. } => {
            let loss = link.loss_in_thousand;
            link.loss_in_thousand = if heal { loss.saturating_sub(*in_thousand) } else { loss + in_thousand };
        }
        _ => {}
    }
}
