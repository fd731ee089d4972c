//! The workflow that all runs of the simulation are of: a fan, a loop over items, and steps that may fail.

use meson_workflow::Definition;

const TEXT: &str = r#"
name: simulated
nodes:
  - { id: a, kind: noop, retry: { user: { retries: 2 } } }
  - { id: b, kind: noop, needs: [a] , retry: { user: { retries: 2 } } }
  - { id: c, kind: noop, needs: [a] , retry: { user: { retries: 2 } } }
  - id: each
    needs: [b]
    for_each: { items: "[1, 2, 3]", nodes: [{ id: x, kind: noop, retry: { user: { retries: 2 } } }] }
  - { id: d, kind: noop, needs: [c, each], retry: { user: { retries: 2 } } }
"#;

/// The definition.
pub fn definition() -> Definition {
    Definition::from_yaml(TEXT).expect("the text is a constant of this module")
}

/// The steps, by the last part of their path, that must have succeeded before one starts.
pub fn needs(step: &str) -> &'static [&'static str] {
    match step {
        "b" | "c" => &["a"],
        "x" => &["b"],
        "d" => &["c", "x"],
        _ => &[],
    }
}
