//! Binding a run's parameters.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use meson_workflow::{Definition, bind_params};
use serde_json::{Map, Value, json};

const WORKFLOW: &str = "
name: w
params:
  rounds: { type: integer, default: 3, minimum: 1, maximum: 10 }
  regions: { type: list, min_length: 1, max_length: 3 }
  mode: { type: string, enum: [fast, exact], default: fast }
  rate: { type: number, default: 1, enum: [1, 2.5] }
  dry: { type: boolean, default: false }
  extra: { type: object, default: {} }
nodes:
  - { id: a, kind: noop }
";

fn bind(given: Value) -> Result<Map<String, Value>, String> {
    let definition = Definition::from_yaml(WORKFLOW).unwrap();
    bind_params(&definition, given.as_object().unwrap().clone()).map_err(|problems| problems.to_string())
}

#[test]
fn defaults_fill_what_is_not_given() {
    let bound = bind(json!({"regions": ["US"], "rate": 1.0})).unwrap();
    let expected =
        json!({"regions": ["US"], "rounds": 3, "mode": "fast", "rate": 1.0, "dry": false, "extra": {}});
    assert_eq!(Value::Object(bound), expected);
}

#[test]
fn what_does_not_fit_is_refused_with_reasons() {
    for (given, expected) in [
        (json!({}), "params.regions: the parameter `regions` is missing: give a list"),
        (
            json!({"regions": ["x"], "round": 3}),
            "params.round: workflow `w` has no parameter `round`: did you mean `rounds`?",
        ),
        (
            json!({"regions": ["x"], "rounds": 11}),
            "params.rounds: 11 is more than the maximum 10: give 10 or less",
        ),
        (
            json!({"regions": ["x"], "rounds": 3.0}),
            "params.rounds: it must be a whole number, not the number 3.0: give a whole number",
        ),
        (json!({"regions": []}), "params.regions: it has 0 items, fewer than 1: give 1 or more"),
        (json!({"regions": [1, 2, 3, 4]}), "params.regions: it has 4 items, more than 3: give 3 or fewer"),
        (
            json!({"regions": ["x"], "mode": "slow"}),
            "params.mode: the text `slow` is not one of the allowed values: give one of: the text `fast`, the text `exact`",
        ),
        (json!({"regions": null}), "params.regions: it must be a list, not nothing: give a list"),
        (
            json!({"regions": ["x".repeat(300_000)]}),
            "params: the parameters have 300073 bytes; the limit is 262144: hand large data over as a file or URI",
        ),
    ] {
        assert_eq!(bind(given).unwrap_err(), expected);
    }
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    assert!(bind(json!({"regions": deep})).unwrap_err().contains("nested more than 64 levels deep"));
}
