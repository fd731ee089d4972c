//! The workloads: W1 a chain of 50, W2 500 in parallel, 16 at a time, with a join, W3 100 runs of 5 steps at once; each
//! as noop steps, which go the whole way of a step, and as child processes.

use serde_json::{Value, json};

/// A definition and how it is run.
pub struct Workload {
    /// Name of the workflow and of the result.
    pub name: String,
    /// The definition, as JSON.
    pub definition: String,
    /// Runs started at once.
    pub runs: usize,
    /// Steps of one run.
    pub steps: usize,
    /// What DESIGN asks for, in words.
    pub budget: &'static str,
}

/// All of them.
pub fn all() -> Vec<Workload> {
    let noop = || json!({ "kind": "noop" });
    let child = || json!({ "kind": "shell", "config": { "argv": ["/bin/true"] } });
    vec![
        chain("w1-noop", noop(), "at most 2 ms a step"),
        fan_out("w2-noop", noop(), "at least 5000 steps/s"),
        many("w3-noop", noop(), "at least 5000 steps/s"),
        chain("w1-child", child(), "at most 6 ms a step"),
        fan_out("w2-child", child(), "at least 300 steps/s"),
        many("w3-child", child(), "at least 300 steps/s"),
    ]
}

fn step(id: &str, needs: &[String], work: &Value) -> Value {
    let mut step = json!({ "id": id, "needs": needs, "resources": { "cpus": 0.1, "mem": "16MiB" } });
    if let (Some(step), Some(work)) = (step.as_object_mut(), work.as_object()) {
        step.extend(work.clone());
    }
    step
}

fn line(length: usize, work: &Value) -> Value {
    let id = |place: usize| format!("s{place}");
    let needs = |place: usize| place.checked_sub(1).map(id).into_iter().collect::<Vec<_>>();
    (0..length).map(|place| step(&id(place), &needs(place), work)).collect()
}

fn workload(name: &str, nodes: Value, runs: usize, steps: usize, budget: &'static str) -> Workload {
    let definition = json!({ "name": name, "nodes": nodes }).to_string();
    Workload { name: name.to_owned(), definition, runs, steps, budget }
}

fn chain(name: &str, work: Value, budget: &'static str) -> Workload {
    workload(name, line(50, &work), 1, 50, budget)
}

fn many(name: &str, work: Value, budget: &'static str) -> Workload {
    workload(name, line(5, &work), 100, 5, budget)
}

fn fan_out(name: &str, work: Value, budget: &'static str) -> Workload {
    let items: Vec<u32> = (0..500).collect();
    let fan = json!({ "id": "fan", "for_each": { "items": items, "concurrency": 16, "nodes": [step("one", &[], &work)] } });
    workload(name, json!([fan, step("join", &["fan".to_owned()], &work)]), 1, 501, budget)
}
