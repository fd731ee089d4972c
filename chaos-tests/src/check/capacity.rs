//! P8: at no instant do the attempts alive on an agent hold more than it offered. A sweep over the begins and ends of
//! all lives; a life by marks lies within the true one, so what is found here was so.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{Index, Life};
use super::report::{Promise, Verdict, time};
use crate::history::{Amounts, Micros};

/// One attempt on an agent, and what it holds.
struct Held<'i, 'h> {
    run_id: &'h str,
    path: &'h str,
    life: &'i Life<'h>,
    amounts: Amounts,
}

/// Attempts that a sentence names.
const NAMED_MAX: usize = 8;

pub(super) fn check(index: &Index<'_>, notes: &mut BTreeSet<String>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P8);
    verdict.count("agents", index.history.agents.len() as u64);
    verdict.count("attempts that hold something", 0);
    verdict.count("instants at which something began or ended", 0);
    let mut agents: BTreeMap<&str, Vec<Held<'_, '_>>> = BTreeMap::new();
    for (run, path, step) in index.steps() {
        verdict.looked(step.lives.len() as u64);
        let Some(shape) = step.shape else {
            let workflow = run.workflow.unwrap_or("(unknown)");
            notes.insert(format!(
                "P8: what step `{}` of workflow `{workflow}` holds is not known",
                step.definition
            ));
            continue;
        };
        for life in &step.lives {
            let held = Held { run_id: run.id, path, life, amounts: shape.amounts };
            agents.entry(life.agent).or_default().push(held);
        }
    }
    for (agent, held) in agents {
        verdict.count("attempts that hold something", held.len() as u64);
        match index.history.agents.get(agent) {
            Some(offered) => sweep(agent, *offered, &held, &mut verdict),
            None => {
                let first = held.iter().map(|held| held.life.first).min().unwrap_or_default();
                let sentence = format!("{} attempts ran on `{agent}`, which offered nothing", held.len());
                verdict.violation(first, sentence);
            }
        }
    }
    verdict
}

fn sweep(agent: &str, offered: Amounts, held: &[Held<'_, '_>], verdict: &mut Verdict) {
    // What ends at an instant is counted before what begins at it: times are cut to microseconds.
    let begins = held.iter().enumerate().map(|(place, held)| (held.life.first, true, place));
    let ends = held.iter().enumerate().map(|(place, held)| (held.life.last, false, place));
    // A life of one mark begins and ends at one instant and holds nothing in between.
    let mut edges: Vec<(Micros, bool, usize)> =
        begins.chain(ends).filter(|(.., place)| held[*place].life.first < held[*place].life.last).collect();
    edges.sort_unstable();
    verdict.looked(edges.len() as u64);
    verdict.count("instants at which something began or ended", edges.len() as u64);
    let (mut cpu_millis, mut mem_bytes) = (0_u128, 0_u128);
    let mut alive = BTreeSet::new();
    let mut over = false;
    for (at, begins, place) in edges {
        let amounts = held[place].amounts;
        if begins {
            alive.insert(place);
            cpu_millis += u128::from(amounts.cpu_millis);
            mem_bytes += u128::from(amounts.mem_bytes);
        } else {
            alive.remove(&place);
            cpu_millis -= u128::from(amounts.cpu_millis);
            mem_bytes -= u128::from(amounts.mem_bytes);
        }
        let too_much = cpu_millis > offered.cpu_millis.into() || mem_bytes > offered.mem_bytes.into();
        if too_much && !over {
            let names = alive.iter().rev().take(NAMED_MAX).map(|place| {
                let Held { run_id, path, life, .. } = &held[*place];
                format!("`{path}` of run `{run_id}`, {}", life.name())
            });
            let names: Vec<String> = names.collect();
            verdict.violation(
                at,
                format!(
                    "agent `{agent}` offered {}, and at {} its {} living attempts held {}; among them {}",
                    told(offered.cpu_millis.into(), offered.mem_bytes.into()),
                    time(at),
                    alive.len(),
                    told(cpu_millis, mem_bytes),
                    names.join("; ")
                ),
            );
        }
        over = too_much;
    }
}

fn told(cpu_millis: u128, mem_bytes: u128) -> String {
    format!("{cpu_millis} thousandths of a core and {mem_bytes} bytes")
}
