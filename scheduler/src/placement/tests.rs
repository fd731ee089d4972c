//! Exact solutions of small problems. Properties over many are in `tests/placement.rs`.

use std::sync::Arc;

use meson_workflow::definition::{Constraint, ConstraintOperator};

use super::*;

const SECOND: u64 = 1_000;

fn amounts(cpus: u64) -> Amounts {
    Amounts { cpus_milli: cpus * 1_000, mem_bytes: cpus << 30, ..Amounts::ZERO }
}

fn shape(cpus: u64) -> Shape {
    Shape { kind: "shell".into(), resources: amounts(cpus), constraints: Vec::new(), role: String::new() }
}

fn equals(attribute: &str, value: &str) -> Constraint {
    let (attribute, values) = (attribute.to_owned(), vec![value.to_owned()]);
    Constraint { attribute, operator: ConstraintOperator::Equals, values }
}

/// Position and node are `node`, and it is ready since `ready_at_ms`.
fn demand(node: u32, priority: i32, ready_at_ms: u64, shape: Shape) -> Demand {
    let position = u64::from(node);
    Demand { run: 1, node, priority, position, ready_at_ms, shape: Arc::new(shape) }
}

fn offer(name: &str, free: u64, total: u64) -> Offer {
    let (free, total) = (amounts(free), amounts(total));
    Offer { id: format!("o-{name}"), agent: name.into(), free, total, ..Offer::default() }
}

fn solve_at(now_ms: u64, demands: Vec<Demand>, offers: &[Offer]) -> Solution {
    let limits =
        Limits { starve_after_ms: 10 * SECOND, reservations_max: 1, launches_max: 100, examine_max: 100 };
    let queue = demands.into_iter().collect();
    solve(&Problem { queue: &queue, offers, limits, now_ms }, &BestFit)
}

fn launched(solution: &Solution) -> Vec<(u32, &str)> {
    solution.launches.iter().map(|launch| (launch.node, launch.agent.as_str())).collect()
}

fn reasons(solution: &Solution) -> Vec<(u32, String)> {
    solution.waiting.iter().map(|waiting| (waiting.node, waiting.reason.to_string())).collect()
}

#[test]
fn best_fit_fills_the_fuller_agent_and_spread_the_emptier() {
    let queue = [demand(1, 0, 0, shape(1))].into_iter().collect();
    let offers = [offer("a", 8, 8), offer("b", 2, 8), offer("c", 1, 8)];
    let problem = Problem { queue: &queue, offers: &offers, limits: Limits::default(), now_ms: 0 };
    let launch = |agent: &str| Launch { run: 1, node: 1, offer: format!("o-{agent}"), agent: agent.into() };
    assert_eq!(
        solve(&problem, &BestFit),
        Solution {
            launches: vec![launch("c")],
            unused: vec!["o-a".into(), "o-b".into()],
            ..Solution::default()
        }
    );
    assert_eq!(
        solve(&problem, &Spread),
        Solution {
            launches: vec![launch("a")],
            unused: vec!["o-b".into(), "o-c".into()],
            ..Solution::default()
        }
    );
}

#[test]
fn priority_then_position_decide() {
    let demands = vec![
        demand(1, 0, 0, shape(1)),
        demand(2, 5, 0, shape(1)),
        demand(3, 5, 0, shape(2)),
        demand(4, 0, 0, shape(1)),
    ];
    let solution = solve_at(0, demands, &[offer("a", 4, 4)]);
    assert_eq!(launched(&solution), [(2, "a"), (3, "a"), (1, "a")]);
    assert_eq!(reasons(&solution), [(4, "agents that fit are busy: waits for 1 cpus on a".into())]);
}

#[test]
fn smaller_later_steps_pass_a_large_one_until_it_starves() {
    let demands = || vec![demand(1, 0, 0, shape(4)), demand(2, 0, 0, shape(1)), demand(3, 0, 0, shape(1))];
    let offers = [offer("a", 2, 4), offer("b", 3, 4), offer("c", 0, 2)];
    let early = solve_at(9 * SECOND, demands(), &offers);
    assert_eq!(launched(&early), [(2, "a"), (3, "a")]);
    assert!(early.reservations.is_empty());

    let late = solve_at(10 * SECOND, demands(), &offers);
    assert_eq!(late.reservations, [Reservation { run: 1, node: 1, agent: "b".into() }]);
    assert_eq!(launched(&late), [(2, "a"), (3, "a")]);
    assert_eq!(reasons(&late), [(1, "agents that fit are busy: waits for 1 cpus on b".into())]);
    assert_eq!(late.unused, ["o-b", "o-c"]);

    let only_b = solve_at(10 * SECOND, demands(), &offers[1..2]);
    assert_eq!(launched(&only_b), []);
    assert_eq!(reasons(&only_b)[1], (2, "b is reserved for an older step".into()));

    let drained = solve_at(11 * SECOND, demands(), &[offer("b", 4, 4)]);
    assert_eq!(launched(&drained), [(1, "b")]);
}

#[test]
fn a_level_of_priority_is_worth_one_time_of_starving() {
    let low_and_high = |high_since| vec![demand(1, 0, 0, shape(1)), demand(2, 2, high_since, shape(1))];
    let offers = [offer("a", 1, 1)];
    assert_eq!(launched(&solve_at(20 * SECOND, low_and_high(20 * SECOND), &offers)), [(1, "a")]);
    assert_eq!(launched(&solve_at(20 * SECOND, low_and_high(20 * SECOND - 1), &offers)), [(2, "a")]);
}

#[test]
fn a_reserved_agent_stays_open_to_steps_that_come_before() {
    let demands = vec![demand(1, 0, 0, shape(4)), demand(2, 9, 10 * SECOND, shape(1))];
    let solution = solve_at(10 * SECOND, demands, &[offer("a", 3, 4)]);
    assert_eq!(launched(&solution), [(2, "a")]);
    assert_eq!(solution.reservations.len(), 1);
}

#[test]
fn reservations_are_bounded_and_offers_of_an_agent_are_not_combined() {
    let demands = vec![demand(1, 0, 0, shape(4)), demand(2, 0, 0, shape(4)), demand(3, 0, 0, shape(2))];
    let halves = [offer("a", 2, 4), Offer { id: "o-a2".into(), ..offer("a", 2, 4) }, offer("b", 2, 4)];
    let solution = solve_at(60 * SECOND, demands, &halves);
    assert_eq!(solution.reservations, [Reservation { run: 1, node: 1, agent: "a".into() }]);
    assert_eq!(launched(&solution), [(3, "b")]);
}

#[test]
fn launches_and_examined_groups_are_bounded() {
    let demands: Queue = (1..=9).map(|node| demand(node, 0, 0, shape(u64::from(node)))).collect();
    let offers = [offer("a", 100, 100)];
    let limits = Limits { launches_max: 3, ..Limits::default() };
    let problem = Problem { queue: &demands, offers: &offers, limits, now_ms: 0 };
    assert_eq!(solve(&problem, &BestFit).launches.len(), 3);
    let limits = Limits { examine_max: 2, ..Limits::default() };
    let solution = solve(&Problem { limits, offers: &[], ..problem }, &BestFit);
    assert_eq!(
        reasons(&solution),
        [1, 2].map(|node| (node, "no agents are connected, or they are being drained".to_owned()))
    );
}

#[test]
fn explanations_name_what_is_missing() {
    let agents = [offer("a-1", 2, 4), offer("a-2", 0, 2)];
    let plain = [Offer { kinds: ["shell".to_owned()].into(), ..agents[0].clone() }];
    let gpu = Shape { constraints: vec![equals("gpu", "yes")], ..shape(1) };
    let spark = Shape { kind: "spark".into(), ..shape(1) };
    let table: [(Shape, &[Offer], &str); 6] = [
        (shape(1), &[], "no agents are connected, or they are being drained"),
        (spark, &plain, "no agent runs kind `spark`"),
        (gpu, &agents, "no agent offers attribute gpu=yes (0 of 2 agents)"),
        (shape(8), &agents, "needs 8 cpus; the largest agent has 4"),
        (shape(4), &agents, "agents that fit are busy: waits for 2 cpus on a-1"),
        (shape(2), &agents, "there is room; waits for its turn"),
    ];
    for (shape, offers, expected) in table {
        assert_eq!(explain(&shape, offers).to_string(), expected);
    }
}

#[test]
fn explanations_tell_each_from_all_together() {
    let with = |name: &str, attribute: &str, mut total: Amounts| {
        total.gpus = u32::from(name == "b");
        let attributes = [(attribute.to_owned(), "yes".to_owned())].into();
        Offer { attributes, total, ..offer(name, 0, 0) }
    };
    let agents = [with("a", "gpu", amounts(4)), with("b", "ssd", amounts(1))];
    let both = Shape { constraints: vec![equals("gpu", "yes"), equals("ssd", "yes")], ..shape(1) };
    assert_eq!(explain(&both, &agents), Reason::NoCombination { agents: 2 });
    let large = Shape { resources: Amounts { gpus: 1, ..amounts(4) }, ..shape(1) };
    assert_eq!(explain(&large, &agents), Reason::TooLargeTogether);
}

#[test]
fn constraints_compare_as_their_operators_say() {
    let agent = Offer { attributes: [("zone".to_owned(), "a".to_owned())].into(), ..offer("x", 1, 1) };
    let meets = |attribute: &str, operator, values: &[&str]| {
        let values = values.iter().map(|value| value.to_string()).collect();
        let constraint = Constraint { attribute: attribute.into(), operator, values };
        Shape { constraints: vec![constraint], ..shape(1) }.suits(&agent)
    };
    use ConstraintOperator::{Equals, Exists, In, NotEquals, NotIn};
    assert!(
        meets("zone", Equals, &["a"]) && !meets("zone", Equals, &["b"]) && !meets("rack", Equals, &["a"])
    );
    assert!(!meets("zone", NotEquals, &["a"]) && meets("zone", NotEquals, &["b"]));
    assert!(meets("rack", NotEquals, &["a"]));
    assert!(meets("zone", In, &["b", "a"]) && !meets("zone", In, &["b"]));
    assert!(!meets("zone", NotIn, &["b", "a"]) && meets("rack", NotIn, &["a"]));
    assert!(meets("zone", Exists, &[]) && !meets("rack", Exists, &[]));
}

#[test]
fn the_queue_forgets_what_is_removed_and_moves_what_is_inserted_again() {
    let mut queue: Queue = [demand(1, 0, 0, shape(1)), demand(2, 0, 0, shape(1))].into_iter().collect();
    assert!(queue.remove(1, 1) && !queue.remove(1, 1));
    queue.insert(demand(2, 7, 5, shape(3)));
    assert_eq!(queue.get(1, 2), Some(demand(2, 7, 5, shape(3))));
    assert_eq!((queue.len(), queue.get(1, 1)), (1, None));
    assert!(queue.remove(1, 2) && queue.is_empty());
}

#[test]
fn equal_shapes_are_kept_once() {
    let queue: Queue = (1..=2).map(|node| demand(node, 0, 0, shape(1))).collect();
    let [one, two] = [1, 2].map(|node| queue.get(1, node).unwrap().shape);
    assert!(Arc::ptr_eq(&one, &two));
}
