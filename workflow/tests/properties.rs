//! Properties over random graphs and random text.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use std::collections::BTreeMap;

use meson_workflow::definition::{Definition, MemoryGrowth, Node, Retry, Step, TriggerRule, Work};
use meson_workflow::units::{Bytes, Millis};
use meson_workflow::validate;
use proptest::prelude::*;
use serde_json::Value;

fn step(id: usize, needs: Vec<usize>) -> Node {
    let step = Step {
        kind: "noop".into(),
        config: serde_json::Map::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        fetch: vec![],
        resources: Default::default(),
        constraints: vec![],
        priority: 0,
        retry: Retry::default(),
    };
    Node {
        id: format!("n{id}"),
        needs: needs.into_iter().map(|need| format!("n{need}")).collect(),
        trigger: TriggerRule::default(),
        on_failure: Default::default(),
        timeout: None,
        work: Work::Step(step),
    }
}

fn definition(nodes: Vec<Node>) -> Definition {
    Definition {
        name: "w".into(),
        description: String::new(),
        params: BTreeMap::new(),
        timeout: None,
        nodes,
        outputs: BTreeMap::new(),
    }
}

/// Nodes that need only earlier ones, in any order of the text.
fn dag() -> impl Strategy<Value = Vec<Node>> {
    (1usize..40)
        .prop_flat_map(|count| {
            let needs = (0..count).map(|id| prop::collection::btree_set(0..id.max(1), 0..4.min(id + 1)));
            needs.collect::<Vec<_>>()
        })
        .prop_map(|needs| {
            needs
                .into_iter()
                .enumerate()
                .map(|(id, needs)| step(id, needs.into_iter().filter(|need| *need < id).collect()))
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", "[ -~\\n\\t]{0,30}", Just("yes".into()), Just("1.0".into()), Just("~".into())]
}

fn decorated() -> impl Strategy<Value = Definition> {
    let extras =
        (texts(), prop::collection::vec((texts(), any::<i64>(), any::<f64>()), 0..6), 1u64..1_000_000);
    (dag(), extras).prop_map(|(mut nodes, (description, values, timeout))| {
        let count = nodes.len();
        for (index, (text, whole, float)) in values.into_iter().enumerate() {
            let node = &mut nodes[index % count];
            node.timeout = Some(Millis(timeout));
            let Work::Step(step) = &mut node.work else { continue };
            let text = text.replace(['{', '\0'], "");
            step.env.insert("NAME".into(), text.clone());
            let float = if float.is_finite() { float } else { 0.5 };
            let outputs =
                serde_json::json!({"text": text.clone(), "whole": whole, "float": float, text: [null, true]});
            step.config.insert("outputs".into(), outputs);
            step.retry.user.retries = 3;
        }
        Definition { description, ..definition(nodes) }
    })
}

const VALID: &str = include_str!("valid/models.yaml");

proptest! {
    #[test]
    fn yaml_and_json_keep_a_definition_and_its_hash(definition in decorated()) {
        prop_assert!(validate(&definition).is_empty(), "{}", validate(&definition));
        let yaml = definition.to_yaml();
        let again = Definition::from_yaml(&yaml);
        prop_assert_eq!(again.as_ref(), Ok(&definition), "{}", yaml);
        let json = definition.canonical_json();
        let from_json = Definition::from_json(&json);
        prop_assert_eq!(from_json.as_ref(), Ok(&definition), "{}", json);
        let stored: Definition = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(stored.content_hash(), definition.content_hash());
    }

    #[test]
    fn a_graph_without_cycles_is_accepted_and_a_back_edge_refused(mut nodes in dag(), pick in any::<prop::sample::Index>()) {
        prop_assert!(validate(&definition(nodes.clone())).is_empty());
        // From a node with needs, walk back to the beginning and make that need the node.
        let late = pick.index(nodes.len());
        let mut early = late;
        while let Some(need) = nodes[early].needs.first().cloned() {
            early = nodes.iter().position(|node| node.id == need).unwrap();
        }
        let id = nodes[late].id.clone();
        nodes[early].needs.push(id.clone());
        let problems = validate(&definition(nodes));
        prop_assert!(!problems.is_empty());
        let text = problems.to_string();
        prop_assert!(text.contains("cycle") || text.contains("needs itself"), "{}", text);
        prop_assert!(text.contains(&id));
    }

    #[test]
    fn memory_grows_from_the_steps_own_to_the_most(
        mem in 1u64..1 << 46, more in 0u64..1 << 46, factor in 1.0001f64..100.0, retries in prop::option::of(0u32..20),
    ) {
        let growth = MemoryGrowth { factor, retries, ..MemoryGrowth::up_to(Bytes(mem + more)) };
        let sizes: Vec<u64> = growth.sizes(Bytes(mem)).map(|size| size.0).collect();
        prop_assert_eq!(sizes[0], mem);
        for pair in sizes.windows(2) {
            let exact = pair[0] as f64 * factor;
            prop_assert!(pair[1] > pair[0] && pair[1] as f64 <= exact.max(pair[0] as f64 + 1.0) + 1.0, "{:?}", pair);
            prop_assert!(pair[1] == mem + more || pair[1] as f64 >= exact);
        }
        let last = sizes[sizes.len() - 1];
        prop_assert!(sizes.len() <= retries.unwrap_or(1_000) as usize + 1);
        prop_assert!(last == mem + more || sizes.len() == retries.unwrap_or(1_000) as usize + 1);
        for kills in [0, 1, sizes.len(), 5_000] {
            prop_assert_eq!(growth.size_after(Bytes(mem), kills as u32).0, *sizes.get(kills).unwrap_or(&last));
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Definition::from_yaml(&text);
        let _ = Definition::from_json(&text);
    }

    #[test]
    fn yaml_like_text_never_panics(
        parts in prop::collection::vec(
            prop::sample::select(vec!["name", ": ", "nodes", ":\n", "  ", "- ", "\n", "[", "]", "{", "}", "&a ", "*a", "!!str ",
                "!x ", "|", ">", "'", "\"", "#", "? ", "---\n", "...\n", "\t", ",", "kind: noop", "id: a", "<<", "~", "é", "%",
                "needs", "for_each", "items", "{{ ", " }}", "1e5", ".nan", "\u{feff}", "\\"]),
            0..40,
        )
    ) {
        let text = parts.concat();
        let _ = Definition::from_yaml(&text);
        let _ = Definition::from_json(&text);
    }

    #[test]
    fn mutated_definitions_never_panic_and_every_problem_has_a_remedy(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, "[ -~\\n]{0,3}"), 1..6)
    ) {
        let mut text: Vec<char> = VALID.chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(text.len());
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = Definition::from_yaml(&text) {
            for problem in &problems {
                prop_assert!(!problem.message.is_empty() && !problem.remedy.is_empty(), "{}", problem);
                prop_assert!(problem.location.is_some() || text.trim().is_empty(), "{}", problem);
            }
        }
    }

    #[test]
    fn any_json_in_place_of_any_part_is_refused_with_a_place(part in 0usize..9, value in prop::sample::select(vec![
        Value::Null, Value::from(true), Value::from(-1), Value::from(1.5), Value::from("x"), Value::from(vec![1]), serde_json::json!({"x": 1}),
    ])) {
        let pointers = ["/name", "/params", "/timeout", "/nodes", "/nodes/1", "/nodes/1/env", "/nodes/1/retry", "/nodes/2/for_each", "/outputs"];
        let definition = Definition::from_yaml(VALID).unwrap();
        let mut json: Value = serde_json::from_str(&definition.canonical_json()).unwrap();
        *json.pointer_mut(pointers[part]).unwrap() = value.clone();
        if let Err(problems) = Definition::from_json(&json.to_string()) {
            prop_assert!(problems.iter().all(|problem| problem.location.is_some()), "{}", problems);
        } else {
            // A name is text, and outputs are expressions, of which `1` is one.
            let is_right = (value == "x" && part == 0) || (value.is_object() && part == 8);
            prop_assert!(is_right, "{} accepted at {}", value, pointers[part]);
        }
        // The engine's way must agree on what has the right shape.
        let _ = serde_json::from_value::<Definition>(json);
    }
}

#[test]
fn the_largest_graph_is_validated_quickly_and_one_larger_refused() {
    let chain = |count: usize| -> Vec<Node> {
        (0..count).map(|id| step(id, if id == 0 { vec![] } else { vec![id - 1] })).collect()
    };
    let started = std::time::Instant::now();
    assert!(validate(&definition(chain(10_000))).is_empty());
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    let problems = validate(&definition(chain(10_001)));
    assert!(problems.to_string().contains("more than 10000 nodes"), "{problems}");
}
