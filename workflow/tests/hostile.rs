//! Texts made to hurt are refused quickly and without a panic.

use std::time::{Duration, Instant};

use meson_workflow::{Definition, Problems, kinds};
use serde_json::json;

fn refused(text: &str) -> Problems {
    let started = Instant::now();
    let problems = Definition::from_yaml(text).expect_err("a hostile text is refused");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    problems
}

#[test]
fn too_large() {
    let problems = refused(&"x".repeat(2_000_000));
    assert_eq!(
        problems.to_string(),
        "the text has 2000000 bytes; the limit is 1048576: split the workflow into subworkflows"
    );
    assert!(Definition::from_json(&" ".repeat(2_000_000)).is_err());
}

#[test]
fn too_deep() {
    refused(&format!("name: {}{}", "[".repeat(100_000), "]".repeat(100_000)));
    refused(&format!("name: {}", "{a: ".repeat(100_000)));
    refused(&(0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
    assert!(Definition::from_json(&"[".repeat(500_000)).is_err());
    let deep = |levels: usize| {
        let value = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!("{{name: w, nodes: [{{id: a, kind: noop, config: {{outputs: {{x: {value}}}}}}}]}}")
    };
    let problems = refused(&deep(100));
    assert!(problems.to_string().contains("nested more than 64 levels deep"), "{problems}");
    let definition = Definition::from_yaml(&deep(60)).expect("60 levels are allowed");
    let stored: Definition =
        serde_json::from_str(&definition.canonical_json()).expect("it can be read again");
    assert_eq!(stored, definition);
}

#[test]
fn anchors_inside_anchors() {
    let mut text = "name: w\nnodes: ".to_owned();
    (0..100).for_each(|level| text.push_str(&format!("&a{level} [")));
    text.push_str(&"x,".repeat(150_000));
    text.push_str(&"]".repeat(100));
    refused(&text);
}

#[test]
fn many_mistakes() {
    let ids: String =
        (0..10_000).map(|id| format!("  - {{ id: name-of-a-node-{id}, kind: noop }}\n")).collect();
    let needs: String = (0..20_000).map(|id| format!("name-of-some-node-{id}, ")).collect();
    let text = format!("name: w\nnodes:\n  - {{ id: z, kind: noop, needs: [{needs}] }}\n{ids}");
    let problems = refused(&text);
    assert_eq!(problems.len(), 100);
    assert!(problems.to_string().ends_with("only the first 100 problems are shown"));
    refused(&format!(
        "name: w\n{}",
        (0..100_000)
            .map(|field| format!("f{field}: 1\n"))
            .collect::<String>()
            .get(..1_000_000)
            .unwrap_or("a: 1")
    ));
}

#[test]
fn many_parameters() {
    let step = |query: &str, parameters: &str| {
        let config = format!("{{ query: \"select {query}\", parameters: {{ {parameters} }} }}");
        format!("name: w\nnodes:\n  - {{ id: a, kind: hive, config: {config} }}\n")
    };
    let each = |count: usize, text: fn(usize) -> String| (0..count).map(text).collect::<String>();
    refused(&step(&each(80_000, |name| format!(" :a{name}")), &each(20_000, |name| format!("b{name}: 1, "))));
    refused(&step("1", &each(70_000, |name| format!("b{name}: 1, "))));
}

#[test]
fn a_rendered_config_is_judged_by_what_it_became() {
    let check = |kind: &str, config: serde_json::Value| match config {
        serde_json::Value::Object(config) => {
            kinds::check_rendered(kind, &config).map_err(|problems| problems.to_string())
        }
        other => panic!("{other} is no object"),
    };
    assert_eq!(check("shell", json!({"argv": ["ls", 3]})), Ok(()));
    assert_eq!(
        check("noop", json!({"duration": 5})),
        Err("config.duration: `duration` must be a duration, not the number 5: write a whole number and a unit, like `90s`".to_owned())
    );
    assert_eq!(
        check("cobol", json!({})),
        Err("config: there is no kind `cobol`: the kinds are `docker`, `hive`, `noop`, `python`, `r`, `scala`, `shell` and `spark`".to_owned())
    );
}
