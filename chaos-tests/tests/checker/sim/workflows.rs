//! The workflows that the simulated load uses: chains, fan-outs, repeats, waits, failures and retries.

use meson_chaos_tests::history::{Amounts, Shape, StepShape};

/// A workflow.
pub struct Workflow {
    pub name: &'static str,
    pub nodes: Vec<Def>,
}

/// A node of a definition.
#[derive(Clone)]
pub struct Def {
    pub id: &'static str,
    pub needs: Vec<&'static str>,
    pub work: Work,
}

/// What a node does.
#[derive(Clone)]
pub enum Work {
    /// An attempt holds so much of a core; so many attempts are allowed; so many of a hundred fail.
    Step { cpu_millis: u64, attempts_max: u32, failures: u64 },
    /// It waits for a signal.
    Wait(&'static str),
    /// So many items, so many at a time.
    ForEach { items: usize, at_a_time: usize, nodes: Vec<Def> },
    /// So many iterations, one after the other.
    Repeat { iterations: usize, nodes: Vec<Def> },
}

fn step(id: &'static str, needs: &[&'static str], cpu_millis: u64) -> Def {
    Def { id, needs: needs.to_vec(), work: Work::Step { cpu_millis, attempts_max: 1, failures: 0 } }
}

fn flaky(id: &'static str, needs: &[&'static str], attempts_max: u32, failures: u64) -> Def {
    Def { id, needs: needs.to_vec(), work: Work::Step { cpu_millis: 500, attempts_max, failures } }
}

fn node(id: &'static str, needs: &[&'static str], work: Work) -> Def {
    Def { id, needs: needs.to_vec(), work }
}

pub fn all() -> Vec<Workflow> {
    let pair = || vec![step("one", &[], 500), step("two", &["one"], 250)];
    let train = vec![step("train", &[], 1_000)];
    let regions = Work::ForEach { items: 2, at_a_time: 2, nodes: train };
    vec![
        Workflow {
            name: "chain",
            nodes: vec![step("a", &[], 500), step("b", &["a"], 1_500), step("c", &["b"], 500)],
        },
        Workflow {
            name: "fan",
            nodes: vec![
                step("first", &[], 500),
                node("fan", &["first"], Work::ForEach { items: 4, at_a_time: 2, nodes: pair() }),
                step("last", &["fan"], 500),
            ],
        },
        Workflow {
            name: "rounds",
            nodes: vec![
                step("prepare", &[], 500),
                node(
                    "rounds",
                    &["prepare"],
                    Work::Repeat { iterations: 3, nodes: vec![step("a", &[], 500), step("b", &["a"], 500)] },
                ),
                step("done", &["rounds"], 500),
            ],
        },
        Workflow {
            name: "gate",
            nodes: vec![
                step("before", &[], 500),
                node("gate", &["before"], Work::Wait("go")),
                step("after", &["gate"], 500),
            ],
        },
        Workflow { name: "flaky", nodes: vec![flaky("try", &[], 3, 50), step("then", &["try"], 500)] },
        Workflow {
            name: "nested",
            nodes: vec![node(
                "rounds",
                &[],
                Work::Repeat {
                    iterations: 2,
                    nodes: vec![node("regions", &[], regions), flaky("merge", &["regions"], 2, 15)],
                },
            )],
        },
    ]
}

impl Workflow {
    /// What the checker knows of it.
    pub fn shape(&self) -> Shape {
        let mut shape = Shape::default();
        add(&mut shape, "", &[], &self.nodes);
        shape
    }
}

fn add(shape: &mut Shape, around: &str, inherited: &[String], nodes: &[Def]) {
    for def in nodes {
        let path = format!("{around}{}", def.id);
        let own = def.needs.iter().map(|need| format!("{around}{need}"));
        let needs: Vec<String> = inherited.iter().cloned().chain(own).collect();
        match &def.work {
            Work::Step { cpu_millis, attempts_max, .. } => {
                let amounts = Amounts { cpu_millis: *cpu_millis, mem_bytes: 1 << 28 };
                let step = StepShape { needs, amounts, user_attempts_max: *attempts_max, timeout: None };
                shape.steps.insert(path, step);
            }
            Work::Wait(signal) => {
                shape.waits.insert(path, (*signal).into());
            }
            Work::ForEach { nodes, .. } => add(shape, &format!("{path}/"), &needs, nodes),
            Work::Repeat { nodes, .. } => {
                shape.repeats.insert(path.clone());
                add(shape, &format!("{path}/"), &needs, nodes);
            }
        }
    }
}
