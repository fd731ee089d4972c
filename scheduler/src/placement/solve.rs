//! The solver: gives waiting steps to offers in order, and keeps agents free for those that would starve.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::explain::{busy, closest, explain_never};
use super::queue::{Key, Rank, Ticket};
use super::{Amounts, Fitness, Launch, Offer, Problem, Reason, Reservation, Shape, Solution, Waiting};

/// Chooses what to launch where. Equal problems have equal solutions.
///
/// **Order.** Steps are served by priority and then by age, with one mixed into the other: waiting for
/// `starve_after_ms` counts as much as one level of priority. So a step goes before all of lower priority, unless one
/// of them has waited `starve_after_ms` longer for every level between them. Among two steps the order never
/// changes as time goes by, because both age alike.
///
/// **Choice.** Each step in turn gets the fittest offer that has room and whose agent is not reserved. Of steps with equal
/// shape and priority only the first is looked at until one of them does not fit; then the others do not fit either.
///
/// **Reservation.** A step that has waited `starve_after_ms`, fits nowhere now, but would fit an idle agent reserves
/// the one that lacks least. Steps that come later in order get nothing of that agent. Reservations are
/// made anew in each call; there are at most `reservations_max`.
///
/// **Why no step starves** (while launched work ends, a suitable agent stays, `reservations_max` ≥ 1 and there are not
/// more than `examine_max` groups): let s be a step that would fit an idle agent. Priorities are bounded, so from
/// some moment on every new step comes after s, and those before s are finitely many. Look at the first of them that
/// would fit an idle agent. Once it has waited long enough it launches or reserves. The agent it reserves is closed to all
/// others, so its free amounts only grow; the reservation moves only to an agent that lacks less (among equals,
/// to one earlier in the alphabet), so it moves finitely often, and the last agent drains until the step
/// fits. So the number of steps before s falls until s is the first.
pub fn solve(problem: &Problem<'_>, fitness: &dyn Fitness) -> Solution {
    let limits = problem.limits;
    let mut heads: BinaryHeap<Head<'_, _>> = problem
        .queue
        .groups()
        .filter_map(|(key, tickets)| Head::first(key, tickets, limits.starve_after_ms))
        .collect();
    let mut table = Table::new(problem, fitness);
    let mut examined = 0;
    while examined < limits.examine_max && table.solution.launches.len() < limits.launches_max {
        let Some(head) = heads.pop() else { break };
        let (shape, ticket) = (&head.key.shape, head.ticket);
        if table.launch(shape, ticket) {
            heads.extend(head.next(limits.starve_after_ms));
            continue;
        }
        examined += 1;
        if table.wait(shape, ticket) {
            heads.extend(head.next(limits.starve_after_ms));
        }
    }
    table.conclude()
}

/// The first step of a group that has not been served yet.
struct Head<'a, I> {
    rank: Rank,
    key: &'a Key,
    ticket: Ticket,
    later: I,
}

impl<'a, I: Iterator<Item = Ticket>> Head<'a, I> {
    fn first(key: &'a Key, mut tickets: I, starve_after_ms: u64) -> Option<Self> {
        let ticket = tickets.next()?;
        Some(Head { rank: Rank::new(key.priority, ticket, starve_after_ms), key, ticket, later: tickets })
    }

    fn next(self, starve_after_ms: u64) -> Option<Self> {
        Head::first(self.key, self.later, starve_after_ms)
    }
}

impl<I> Ord for Head<'_, I> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.cmp(&other.rank)
    }
}

impl<I> PartialOrd for Head<'_, I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I> PartialEq for Head<'_, I> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<I> Eq for Head<'_, I> {}

/// What is left of the offers while they are handed out.
struct Table<'a> {
    problem: &'a Problem<'a>,
    fitness: &'a dyn Fitness,
    rooms: Vec<Room<'a>>,
    solution: Solution,
}

struct Room<'a> {
    offer: &'a Offer,
    left: Amounts,
    is_used: bool,
    is_reserved: bool,
}

impl<'a> Table<'a> {
    fn new(problem: &'a Problem<'a>, fitness: &'a dyn Fitness) -> Self {
        let room = |offer: &'a Offer| Room { offer, left: offer.free, is_used: false, is_reserved: false };
        let rooms = problem.offers.iter().map(room).collect();
        Table { problem, fitness, rooms, solution: Solution::default() }
    }

    /// Launches a step on the fittest offer; false when it fits none.
    fn launch(&mut self, shape: &Shape, ticket: Ticket) -> bool {
        let mut best: Option<(f64, usize)> = None;
        for (index, room) in self.rooms.iter().enumerate() {
            // Amounts first: they are the cheaper check.
            if room.is_reserved || !room.left.fits(&shape.resources) || !shape.suits(room.offer) {
                continue;
            }
            let score = self.fitness.score(shape, room.offer, &room.left);
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, index));
            }
        }
        let Some((_, index)) = best else { return false };
        let room = &mut self.rooms[index];
        room.left = room.left.checked_sub(&shape.resources).expect("the step was found to fit");
        room.is_used = true;
        let (offer, agent) = (room.offer.id.clone(), room.offer.agent.clone());
        self.solution.launches.push(Launch { run: ticket.run, node: ticket.node, offer, agent });
        true
    }

    /// Notes that a step waits, and reserves an agent for it where it starves; true when it did.
    fn wait(&mut self, shape: &Shape, ticket: Ticket) -> bool {
        let reserved = self.is_starving(ticket).then(|| self.reserve(shape, ticket)).flatten();
        let is_reserved = reserved.is_some();
        let reason = reserved.unwrap_or_else(|| self.reason(shape));
        self.solution.waiting.push(Waiting { run: ticket.run, node: ticket.node, reason });
        is_reserved
    }

    fn is_starving(&self, ticket: Ticket) -> bool {
        let limits = self.problem.limits;
        let waiting_ms = self.problem.now_ms.saturating_sub(ticket.ready_at_ms);
        waiting_ms >= limits.starve_after_ms && self.solution.reservations.len() < limits.reservations_max
    }

    /// Closes the agent that lacks least to all later steps.
    fn reserve(&mut self, shape: &Shape, ticket: Ticket) -> Option<Reason> {
        let (agent, _) = closest(&shape.resources, self.open_rooms(shape))?;
        let reason = busy(&shape.resources, self.open_rooms(shape))?;
        for room in self.rooms.iter_mut().filter(|room| room.offer.agent == agent) {
            room.is_reserved = true;
        }
        let agent = agent.to_owned();
        self.solution.reservations.push(Reservation { run: ticket.run, node: ticket.node, agent });
        Some(reason)
    }

    fn reason(&self, shape: &Shape) -> Reason {
        let need = &shape.resources;
        let mut reserved = self.large_enough(shape).filter(|room| room.is_reserved);
        let agent_of = |room: &Room<'_>| Reason::Reserved { agent: room.offer.agent.clone() };
        if let Some(room) = reserved.clone().find(|room| room.left.fits(need)) {
            return agent_of(room);
        }
        busy(need, self.open_rooms(shape))
            .or_else(|| reserved.next().map(agent_of))
            .unwrap_or_else(|| explain_never(shape, self.problem.offers))
    }

    /// What is left on the agents that would do when idle and are not reserved.
    fn open_rooms(&self, shape: &Shape) -> impl Iterator<Item = (&'a str, Amounts)> {
        let open = self.large_enough(shape).filter(|room| !room.is_reserved);
        open.map(|room| (room.offer.agent.as_str(), room.left))
    }

    fn large_enough(&self, shape: &Shape) -> impl Iterator<Item = &Room<'a>> + Clone {
        self.rooms.iter().filter(|room| room.offer.total.fits(&shape.resources) && shape.suits(room.offer))
    }

    fn conclude(mut self) -> Solution {
        let unused = self.rooms.iter().filter(|room| !room.is_used);
        self.solution.unused = unused.map(|room| room.offer.id.clone()).collect();
        self.solution
    }
}
