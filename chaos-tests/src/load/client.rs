//! What a client does, one thing after the other, as its seed says.

use std::time::Duration;

use super::board::Start;
use super::{Board, Caller};
use crate::chance::Chance;

/// Runs under way beyond which none is started.
const ACTIVE_MAX: usize = 20;

/// What clients do, and how often beside each other.
#[derive(Clone, Copy)]
enum Deed {
    Start,
    StartAgain,
    Get,
    GetStale,
    Cancel,
    Signal,
    SignalAgain,
}

const DEEDS: [(Deed, u64); 7] = [
    (Deed::Start, 30),
    (Deed::StartAgain, 10),
    (Deed::Get, 32),
    (Deed::GetStale, 12),
    (Deed::Cancel, 3),
    (Deed::Signal, 9),
    (Deed::SignalAgain, 4),
];

/// Does one thing after the other until the test is over.
pub async fn drive(mut caller: Caller, number: u32, seed: u64, board: &Board) {
    let mut chance = Chance::part(seed, &format!("client-{number}"));
    let mut count = 0;
    while !board.is_over() {
        caller.turn_to(chance.number());
        let deed = chance.weighted(&DEEDS);
        count += 1;
        act(&mut caller, &mut chance, board, deed, &format!("{number}-{count}")).await;
        // tidy: allow sleep: clients think between requests
        tokio::time::sleep(chance.millis(20, 250)).await;
    }
}

async fn act(caller: &mut Caller, chance: &mut Chance, board: &Board, deed: Deed, id: &str) {
    match deed {
        Deed::Start if board.active().len() < ACTIVE_MAX => {
            let weights: Vec<(usize, u64)> =
                board.workloads.iter().enumerate().map(|(place, of)| (place, of.weight)).collect();
            let workload = &board.workloads[chance.weighted(&weights)];
            let start = Start {
                request_id: format!("start-{id}"),
                workflow: workload.name.to_owned(),
                params: workload.params(chance, board.pace),
            };
            // Others may send the same from now on, even before this one is answered.
            board.about_to_start(&start);
            caller.start(&start).await;
        }
        Deed::StartAgain => {
            if let Some(start) = board.recent_start(chance) {
                caller.start(&start).await;
            }
        }
        Deed::Start | Deed::Get | Deed::GetStale => {
            if let Some(run_id) = board.some_run(chance) {
                caller.get(&run_id, matches!(deed, Deed::GetStale)).await;
            }
        }
        Deed::Cancel => {
            if let Some(run_id) = board.some_run(chance) {
                caller.cancel(&run_id).await;
            }
        }
        Deed::Signal => {
            if let Some((run_id, signal)) = board.some_waiting(chance) {
                let request_id = format!("signal-{id}");
                board.about_to_signal(&run_id, &request_id);
                caller.signal(&run_id, signal, &request_id).await;
            }
        }
        Deed::SignalAgain => {
            if let Some((run_id, request_id)) = board.recent_signal(chance) {
                caller.signal(&run_id, "go", &request_id).await;
            }
        }
    }
}

/// Brings all runs that go on to their end: sends those that wait their signal, and looks until each has ended or the
/// time is over. Gives those that have not.
pub async fn drain(mut caller: Caller, board: &Board, patience: Duration) -> Vec<String> {
    let end = std::time::Instant::now() + patience;
    let mut round = 0;
    loop {
        let active = board.active();
        if active.is_empty() || std::time::Instant::now() > end {
            return active.into_keys().collect();
        }
        for (run_id, workflow) in active {
            let signal = board.workloads.iter().find(|of| of.name == workflow).and_then(|of| of.signal);
            if let Some(signal) = signal.filter(|_| round == 0) {
                caller.signal(&run_id, signal, &format!("last-{run_id}")).await;
            }
            caller.get(&run_id, false).await;
        }
        round += 1;
        // tidy: allow sleep: it asks other processes
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
