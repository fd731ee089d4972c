//! The workflows of the load, each with its shape: what the checker has to know of it. The two stand side by side,
//! because the checker must not believe the service about what a workflow looks like.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::chance::Chance;
use crate::history::{Amounts, Shape, StepShape};

/// What one step holds.
const CPU_MILLIS: u64 = 500;
const MEM_MIB: u64 = 256;

/// Retries of a step that fails at first.
const RETRIES: u32 = 3;

/// How long steps work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Mostly short, some for seconds, so that faults find them at work.
    Mixed,
    /// All short, so that at any time some step is about to start.
    Quick,
    /// All of some seconds, so that they outlast a short lease.
    Slow,
}

/// A workflow of the load.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Its definition, JSON.
    pub definition: String,
    /// What the checker knows of it.
    pub shape: Shape,
    /// Name of the signal it waits for.
    pub signal: Option<&'static str>,
    /// How often it is started, beside the others.
    pub weight: u64,
}

impl Workload {
    /// Parameters of one run, JSON.
    pub fn params(&self, chance: &mut Chance, pace: Pace) -> String {
        let work_ms = match chance.between(0, 9) {
            _ if pace == Pace::Slow => chance.between(3_000, 5_000),
            0..=3 if pace == Pace::Quick => chance.between(20, 100),
            0 => chance.between(1_500, 4_000),
            1..=3 => chance.between(300, 1_000),
            _ => chance.between(20, 250),
        };
        let items: Vec<u64> = (0..chance.between(2, 8)).collect();
        json!({ "work": work_ms, "items": items, "rounds": chance.between(1, 4) }).to_string()
    }
}

/// Makes steps that mark what they do.
struct Steps<'a> {
    program: &'a Path,
    marks: &'a Path,
}

impl Steps<'_> {
    fn step(&self, id: &str, needs: &[&str], more: &[&str]) -> Value {
        let mut argv = vec![
            self.program.to_string_lossy().into_owned(),
            self.marks.to_string_lossy().into_owned(),
            // With a word beside it: an expression alone would stay a number, and arguments are words.
            "--work-ms={{ params.work }}".to_owned(),
        ];
        argv.extend(more.iter().map(ToString::to_string));
        json!({
            "id": id, "needs": needs, "kind": "shell", "config": { "argv": argv },
            "resources": { "cpus": CPU_MILLIS as f64 / 1_000.0, "mem": format!("{MEM_MIB}MiB") },
            "retry": { "platform": { "retries": 100, "delay": "200ms", "max_delay": "1s" } },
        })
    }

    fn plain(&self, id: &str, needs: &[&str]) -> Value {
        self.step(id, needs, &[])
    }

    /// A step whose first attempts fail.
    fn failing(&self, id: &str, needs: &[&str], failures: u32, retries: u32) -> Value {
        let mut step = self.step(id, needs, &["--fail-until-attempt", &failures.to_string()]);
        step["retry"]["user"] = json!({ "retries": retries, "delay": "200ms", "factor": 1.5 });
        step
    }
}

fn definition(name: &str, nodes: Value) -> String {
    let params = json!({
        "work": { "type": "integer" },
        "items": { "type": "list" },
        "rounds": { "type": "integer" },
    });
    json!({ "name": name, "params": params, "nodes": nodes }).to_string()
}

/// A shape of steps, each with what it needs.
fn shape(steps: &[(&str, &[&str])]) -> Shape {
    let step = |needs: &[&str]| StepShape {
        needs: needs.iter().map(ToString::to_string).collect(),
        amounts: Amounts { cpu_millis: CPU_MILLIS, mem_bytes: MEM_MIB << 20 },
        user_attempts_max: 1,
        ..StepShape::default()
    };
    let steps = steps.iter().map(|(path, needs)| ((*path).to_owned(), step(needs)));
    Shape { steps: steps.collect(), ..Shape::default() }
}

fn with_retries(mut shape: Shape, path: &str, retries: u32) -> Shape {
    if let Some(step) = shape.steps.get_mut(path) {
        step.user_attempts_max = retries + 1;
    }
    shape
}

/// All workflows of the load; their steps run `program` and write to `marks`.
pub fn workloads(program: &Path, marks: &Path) -> Vec<Workload> {
    let steps = Steps { program, marks };
    vec![chain(&steps), fan(&steps), rounds(&steps), gated(&steps), flaky(&steps), hopeless(&steps)]
}

fn chain(steps: &Steps<'_>) -> Workload {
    let nodes = json!([
        steps.plain("one", &[]),
        steps.plain("two", &["one"]),
        steps.plain("three", &["two"]),
        steps.plain("four", &["three"]),
    ]);
    Workload {
        name: "chain",
        definition: definition("chain", nodes),
        shape: shape(&[("one", &[]), ("two", &["one"]), ("three", &["two"]), ("four", &["three"])]),
        signal: None,
        weight: 30,
    }
}

fn fan(steps: &Steps<'_>) -> Workload {
    let inner = json!([steps.plain("left", &[]), steps.plain("right", &["left"])]);
    let nodes = json!([
        steps.plain("first", &[]),
        { "id": "fan", "needs": ["first"], "for_each": { "items": "params.items", "concurrency": 4, "nodes": inner } },
        steps.plain("last", &["fan"]),
    ]);
    Workload {
        name: "fan",
        definition: definition("fan", nodes),
        shape: shape(&[
            ("first", &[]),
            ("fan/left", &["first"]),
            ("fan/right", &["first", "fan/left"]),
            ("last", &["fan"]),
        ]),
        signal: None,
        weight: 20,
    }
}

fn rounds(steps: &Steps<'_>) -> Workload {
    let inner = json!([steps.plain("turn", &[]), steps.plain("check", &["turn"])]);
    let nodes = json!([
        steps.plain("first", &[]),
        { "id": "rounds", "needs": ["first"],
          "repeat": { "until": "iteration >= params.rounds", "max_iterations": 10, "nodes": inner } },
        steps.plain("last", &["rounds"]),
    ]);
    let mut shape = shape(&[
        ("first", &[]),
        ("rounds/turn", &["first"]),
        ("rounds/check", &["first", "rounds/turn"]),
        ("last", &["rounds"]),
    ]);
    shape.repeats.insert("rounds".to_owned());
    Workload { name: "rounds", definition: definition("rounds", nodes), shape, signal: None, weight: 15 }
}

fn gated(steps: &Steps<'_>) -> Workload {
    let nodes = json!([
        steps.plain("before", &[]),
        { "id": "gate", "needs": ["before"], "wait": { "signal": "go" } },
        steps.plain("after", &["gate"]),
    ]);
    let mut shape = shape(&[("before", &[]), ("after", &["gate"])]);
    shape.waits = BTreeMap::from([("gate".to_owned(), "go".to_owned())]);
    Workload { name: "gated", definition: definition("gated", nodes), shape, signal: Some("go"), weight: 15 }
}

/// Fails at first, and then does not.
fn flaky(steps: &Steps<'_>) -> Workload {
    let nodes = json!([
        steps.plain("first", &[]),
        steps.failing("flaky", &["first"], 2, RETRIES),
        steps.plain("last", &["flaky"]),
    ]);
    let shape = shape(&[("first", &[]), ("flaky", &["first"]), ("last", &["flaky"])]);
    Workload {
        name: "flaky",
        definition: definition("flaky", nodes),
        shape: with_retries(shape, "flaky", RETRIES),
        signal: None,
        weight: 12,
    }
}

/// Fails for good: the run must fail, and what needs the step must never start.
fn hopeless(steps: &Steps<'_>) -> Workload {
    let nodes = json!([
        steps.plain("beside", &[]),
        steps.failing("hopeless", &[], 1_000_000, 1),
        steps.plain("never", &["hopeless"]),
    ]);
    let shape = shape(&[("beside", &[]), ("hopeless", &[]), ("never", &["hopeless"])]);
    Workload {
        name: "hopeless",
        definition: definition("hopeless", nodes),
        shape: with_retries(shape, "hopeless", 1),
        signal: None,
        weight: 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Needs = BTreeMap<String, BTreeSet<String>>;

    /// The needs of all steps beneath these nodes, and the waits and repeats among them.
    fn read(nodes: &Value, within: &str, outer: &BTreeSet<String>, shape: &mut Shape) -> Needs {
        let mut all = Needs::new();
        for node in nodes.as_array().into_iter().flatten() {
            let path = format!("{within}{}", node["id"].as_str().unwrap_or_default());
            let own = node["needs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut needs: BTreeSet<String> = own.map(|need| format!("{within}{need}")).collect();
            needs.extend(outer.clone());
            let inner = format!("{path}/");
            if node.get("kind").is_some() {
                all.insert(path, needs);
            } else if let Some(signal) = node["wait"]["signal"].as_str() {
                shape.waits.insert(path, signal.to_owned());
            } else if node.get("repeat").is_some() {
                shape.repeats.insert(path);
                all.extend(read(&node["repeat"]["nodes"], &inner, &needs, shape));
            } else {
                all.extend(read(&node["for_each"]["nodes"], &inner, &needs, shape));
            }
        }
        all
    }

    #[test]
    fn shapes_say_what_definitions_say() -> anyhow::Result<()> {
        for workload in workloads(Path::new("step"), Path::new("marks")) {
            let definition: Value = serde_json::from_str(&workload.definition)?;
            let mut read_shape = Shape::default();
            let needs = read(&definition["nodes"], "", &BTreeSet::new(), &mut read_shape);
            let said =
                workload.shape.steps.iter().map(|(path, step)| {
                    (path.clone(), step.needs.iter().cloned().collect::<BTreeSet<String>>())
                });
            assert_eq!(said.collect::<Needs>(), needs, "{}", workload.name);
            assert_eq!(workload.shape.waits, read_shape.waits, "{}", workload.name);
            assert_eq!(workload.shape.repeats, read_shape.repeats, "{}", workload.name);
            assert_eq!(workload.signal, workload.shape.waits.values().next().map(String::as_str));
        }
        Ok(())
    }
}
