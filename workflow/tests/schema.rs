//! The JSON Schema checked in is the one the types give. `REWRITE=1 cargo test` writes it anew.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use std::path::Path;

#[test]
fn the_schema_checked_in_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/workflow.schema.json");
    let mut found = serde_json::to_string_pretty(&sorted(meson_workflow::schema())).unwrap();
    found.push('\n');
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == found,
        "the schema changed: run `REWRITE=1 cargo test -p meson-workflow` and read the difference"
    );
}

/// Key order depends on the features other crates of a build ask of serde_json; the file's shall not.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(object) => {
            let mut entries: Vec<_> = object.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            serde_json::Value::Object(entries.into_iter().collect())
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        plain => plain,
    }
}
