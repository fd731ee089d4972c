//! Properties of placement over random problems, and a simulation that shows that no step starves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meson_scheduler::placement::{
    Amounts, BestFit, Demand, Fitness, Limits, Offer, Problem, Queue, Reason, Shape, Solution, Spread,
    explain, solve,
};
use meson_workflow::definition::{Constraint, ConstraintOperator};
use proptest::prelude::*;

const STARVE_AFTER_MS: u64 = 100;

fn shapes() -> impl Strategy<Value = Shape> {
    let kind = prop_oneof![Just("shell"), Just("spark")];
    let zone = prop_oneof![3 => Just(None), 1 => Just(Some("a")), 1 => Just(Some("b"))];
    (kind, 0..5u64, 0..5u64, 0..2u32, zone).prop_map(|(kind, cpus_milli, mem_bytes, gpus, zone)| {
        let resources = Amounts { cpus_milli, mem_bytes, disk_bytes: 0, gpus };
        let constraint = |zone: &str| {
            let operator = ConstraintOperator::Equals;
            Constraint { attribute: "zone".into(), operator, values: vec![zone.into()] }
        };
        Shape {
            kind: kind.into(),
            resources,
            constraints: zone.map(constraint).into_iter().collect(),
            role: String::new(),
        }
    })
}

/// Positions and nodes count up, and later ones became ready later.
fn demands(count: usize) -> impl Strategy<Value = Vec<Demand>> {
    prop::collection::vec((-2..3i32, 0..60u64, shapes()), 0..count).prop_map(|rows| {
        let mut ready_at_ms = 0;
        let numbered = rows.into_iter().enumerate();
        let demand = |(index, (priority, pause_ms, shape)): (usize, (i32, u64, Shape))| {
            ready_at_ms += pause_ms;
            let shape = Arc::new(shape);
            Demand { run: 1, node: index as u32, priority, position: index as u64, ready_at_ms, shape }
        };
        numbered.map(demand).collect()
    })
}

fn offers() -> impl Strategy<Value = Vec<Offer>> {
    let zone = prop_oneof![Just("a"), Just("b")];
    let row = (0..3u8, 0..8u64, 0..8u64, 0..2u32, 0..4u64, zone, any::<bool>());
    prop::collection::vec(row, 0..6).prop_map(|rows| {
        let offer = |(index, (agent, cpus_milli, mem_bytes, gpus, used, zone, is_general))| {
            let agent: u8 = agent;
            let free = Amounts { cpus_milli, mem_bytes, disk_bytes: 0, gpus };
            let used = Amounts { cpus_milli: used, mem_bytes: used, disk_bytes: 0, gpus: 0 };
            let kinds = if is_general { BTreeSet::new() } else { ["shell".to_owned()].into() };
            Offer {
                id: format!("o-{index}"),
                agent: format!("a-{agent}"),
                free,
                total: free.saturating_add(&used),
                attributes: [("zone".to_owned(), String::from(zone))].into(),
                kinds,
                role: None,
            }
        };
        rows.into_iter().enumerate().map(offer).collect()
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (0..4usize, 1..40usize).prop_map(|(reservations_max, launches_max)| Limits {
        starve_after_ms: STARVE_AFTER_MS,
        reservations_max,
        launches_max,
        examine_max: 1_000,
    })
}

fn fitnesses() -> impl Strategy<Value = &'static dyn Fitness> {
    prop_oneof![Just(&BestFit as &dyn Fitness), Just(&Spread as &dyn Fitness)]
}

/// The documented order, written down a second time: the first is served first.
fn order(demand: &Demand) -> (i64, u64) {
    let aged = i64::from(demand.priority) * STARVE_AFTER_MS as i64 - demand.ready_at_ms as i64;
    (-aged, demand.position)
}

/// What is left of each offer; fails when more was taken than there was.
fn left(
    demands: &[Demand],
    offers: &[Offer],
    solution: &Solution,
) -> Result<BTreeMap<String, Amounts>, TestCaseError> {
    let mut left: BTreeMap<_, _> = offers.iter().map(|offer| (offer.id.clone(), offer.free)).collect();
    for launch in &solution.launches {
        let taken = &demands[launch.node as usize].shape.resources;
        let room = left[&launch.offer].checked_sub(taken);
        left.insert(launch.offer.clone(), room.ok_or_else(|| TestCaseError::fail("overcommitted"))?);
    }
    Ok(left)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn launches_are_sound(demands in demands(40), offers in offers(), limits in limits(), fitness in fitnesses()) {
        let queue: Queue = demands.iter().cloned().collect();
        let solution = solve(&Problem { queue: &queue, offers: &offers, limits, now_ms: 2_000 }, fitness);
        left(&demands, &offers, &solution)?;
        prop_assert!(solution.launches.len() <= limits.launches_max);
        prop_assert!(solution.reservations.len() <= limits.reservations_max);
        let mut seen = BTreeSet::new();
        for launch in &solution.launches {
            let offer = offers.iter().find(|offer| offer.id == launch.offer).expect("launched on an offer");
            prop_assert!(seen.insert(launch.node), "launched twice");
            prop_assert_eq!(&offer.agent, &launch.agent);
            prop_assert!(demands[launch.node as usize].shape.suits(offer));
        }
        let used: BTreeSet<_> = solution.launches.iter().map(|launch| &launch.offer).collect();
        let unused: Vec<_> = offers.iter().map(|offer| &offer.id).filter(|id| !used.contains(id)).collect();
        prop_assert_eq!(solution.unused.iter().collect::<Vec<_>>(), unused);
    }

    #[test]
    fn order_is_kept(demands in demands(40), offers in offers(), limits in limits(), fitness in fitnesses()) {
        let queue: Queue = demands.iter().cloned().collect();
        let solution = solve(&Problem { queue: &queue, offers: &offers, limits, now_ms: 2_000 }, fitness);
        let launched: Vec<_> = solution.launches.iter().map(|launch| launch.node).collect();
        let ranks: Vec<_> = launched.iter().map(|node| order(&demands[*node as usize])).collect();
        prop_assert!(ranks.is_sorted());
        for waiting in demands.iter().filter(|demand| !launched.contains(&demand.node)) {
            for node in &launched {
                let other = &demands[*node as usize];
                prop_assert!(other.shape != waiting.shape || order(other) < order(waiting));
            }
        }
    }

    #[test]
    fn room_is_left_only_where_reserved(demands in demands(40), offers in offers(), fitness in fitnesses()) {
        let queue: Queue = demands.iter().cloned().collect();
        let limits = Limits { starve_after_ms: STARVE_AFTER_MS, reservations_max: 1, launches_max: 100, examine_max: 100 };
        let solution = solve(&Problem { queue: &queue, offers: &offers, limits, now_ms: 1_000 }, fitness);
        let left = left(&demands, &offers, &solution)?;
        let is_open = |offer: &&Offer| solution.reservations.iter().all(|kept| kept.agent != offer.agent);
        for demand in &demands {
            let is_launched = solution.launches.iter().any(|launch| launch.node == demand.node);
            let has_room = offers.iter().filter(is_open).any(|offer| {
                demand.shape.suits(offer) && left[&offer.id].fits(&demand.shape.resources)
            });
            prop_assert!(is_launched || !has_room);
        }
    }

    #[test]
    fn equal_problems_have_equal_solutions(demands in demands(40), offers in offers(), limits in limits()) {
        let queue: Queue = demands.iter().cloned().collect();
        let reversed: Queue = demands.iter().rev().cloned().collect();
        let problem = Problem { queue: &queue, offers: &offers, limits, now_ms: 1_000 };
        prop_assert_eq!(solve(&problem, &BestFit), solve(&Problem { queue: &reversed, ..problem }, &BestFit));
    }

    #[test]
    fn reasons_agree_with_what_was_done(demands in demands(40), offers in offers(), limits in limits()) {
        let queue: Queue = demands.iter().cloned().collect();
        let limits = Limits { launches_max: 100, ..limits };
        let solution = solve(&Problem { queue: &queue, offers: &offers, limits, now_ms: 1_000 }, &BestFit);
        for waiting in &solution.waiting {
            let shape = &demands[waiting.node as usize].shape;
            let would_fit = |offer: &Offer| shape.suits(offer) && offer.total.fits(&shape.resources);
            let fits_idle = offers.iter().any(would_fit);
            let may_change = matches!(waiting.reason, Reason::Busy { .. } | Reason::Reserved { .. });
            prop_assert_eq!(may_change, fits_idle);
            prop_assert!(waiting.reason != Reason::Turn && !waiting.reason.to_string().is_empty());
            let alone = explain(shape, &offers);
            prop_assert!(!alone.to_string().is_empty());
            prop_assert_eq!(matches!(alone, Reason::Busy { .. } | Reason::Turn), fits_idle);
            if !fits_idle {
                prop_assert_eq!(alone, waiting.reason.clone());
            }
        }
    }
}

/// Agents whose work ends after a fixed time, fed with steps that come for ever.
struct Simulation {
    agents: Vec<Offer>,
    /// When it ends, which agent, what it holds.
    running: Vec<(u64, String, Amounts)>,
    queue: Queue,
    now_ms: u64,
    next: u32,
}

impl Simulation {
    fn arrive(&mut self, priority: i32, shape: Shape) -> u32 {
        let (node, position) = (self.next, u64::from(self.next));
        self.next += 1;
        let ready_at_ms = self.now_ms;
        self.queue.insert(Demand { run: 1, node, priority, position, ready_at_ms, shape: Arc::new(shape) });
        node
    }

    /// Ends what is due and places what may be placed. Nothing that is free may be more than the total.
    fn step(&mut self, work_ms: u64) -> Vec<u32> {
        let (now_ms, running) = (self.now_ms, std::mem::take(&mut self.running));
        let (ended, running): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|(end_ms, ..)| *end_ms <= now_ms);
        self.running = running;
        for (_, agent, held) in ended {
            let agent = self.agents.iter_mut().find(|offer| offer.agent == agent).expect("agents stay");
            agent.free = agent.free.saturating_add(&held);
            assert!(agent.total.fits(&agent.free));
        }
        let limits = Limits {
            starve_after_ms: STARVE_AFTER_MS,
            reservations_max: 1,
            launches_max: 10,
            examine_max: 100,
        };
        let problem = Problem { queue: &self.queue, offers: &self.agents, limits, now_ms };
        let solution = solve(&problem, &BestFit);
        for launch in &solution.launches {
            let held =
                self.queue.get(launch.run, launch.node).expect("launched from the queue").shape.resources;
            self.queue.remove(launch.run, launch.node);
            let agent = self.agents.iter_mut().find(|offer| offer.id == launch.offer).expect("agents stay");
            agent.free = agent.free.checked_sub(&held).expect("never overcommitted");
            self.running.push((now_ms + work_ms, launch.agent.clone(), held));
        }
        self.now_ms += 10;
        solution.launches.iter().map(|launch| launch.node).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A flood of small steps of the highest priority keeps every agent busy, for ever; steps of any size and priority
    /// that would fit an idle agent are placed all the same.
    #[test]
    fn no_step_starves(
        sizes in prop::collection::vec(1..7u64, 1..4),
        steps in prop::collection::vec((-2..3i32, shapes()), 1..6),
        work_ms in 5..80u64,
    ) {
        let agent = |(index, size): (usize, u64)| {
            let total = Amounts { cpus_milli: size, mem_bytes: size, disk_bytes: 0, gpus: 1 };
            Offer { id: format!("o-{index}"), agent: format!("a-{index}"), free: total, total, ..Offer::default() }
        };
        let agents: Vec<Offer> = sizes.into_iter().enumerate().map(agent).collect();
        let mut simulation = Simulation { agents, running: Vec::new(), queue: Queue::default(), now_ms: 0, next: 0 };
        let small = Shape {
            kind: "shell".into(),
            resources: Amounts { cpus_milli: 1, mem_bytes: 1, ..Amounts::ZERO },
            constraints: Vec::new(),
            role: String::new(),
        };
        let mut owed = BTreeSet::new();
        for (priority, shape) in steps {
            let fits = simulation.agents.iter().any(|offer| shape.suits(offer) && offer.total.fits(&shape.resources));
            let node = simulation.arrive(priority, shape);
            if fits {
                owed.insert(node);
            }
        }
        // Before an owed step come at most those of the four levels' time: 40 ticks, three each, one after the other.
        for _ in 0..2_000 {
            for _ in 0..3 {
                simulation.arrive(2, small.clone());
            }
            for node in simulation.step(work_ms) {
                owed.remove(&node);
            }
            if owed.is_empty() {
                break;
            }
        }
        prop_assert!(owed.is_empty(), "still waiting: {:?}", owed);
    }
}
