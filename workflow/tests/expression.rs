//! Expressions: types are kept, the sandbox holds, errors say where and why, and hostile text never panics.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use meson_workflow::expression::{
    Context, Reference, check_expression, check_template, evaluate, evaluate_bool, references, render_text,
    render_value, template_references,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn context() -> Context {
    Context::new()
        .params(object(json!({"rounds": 3, "rate": 1.0, "big": u64::MAX, "low": i64::MIN, "none": null})))
        .output("split", object(json!({"regions": ["US", "BR"], "sizes": {"US": 3, "BR": 1.5}})))
        .output("my-node", object(json!({"x": [1, [2.0, {"deep": true}]]})))
        .item("region", json!({"name": "US"}), 4)
        .state(object(json!({"rate": 0.25})))
        .iteration(2)
        .run("g0-x", "train")
        .attempt(1)
}

#[test]
fn values_keep_their_json_types() {
    for (expression, expected) in [
        ("params.rounds", json!(3)),
        ("params.rate", json!(1.0)),
        ("params.big", json!(u64::MAX)),
        ("params.low", json!(i64::MIN)),
        ("params.none", Value::Null),
        ("params.rounds + 1", json!(4)),
        ("params.rounds / 2", json!(1.5)),
        ("params.rounds // 2", json!(1)),
        ("outputs.split", json!({"regions": ["US", "BR"], "sizes": {"US": 3, "BR": 1.5}})),
        ("outputs['my-node'].x", json!([1, [2.0, {"deep": true}]])),
        ("outputs.split.regions | length", json!(2)),
        ("outputs.split.sizes[region.name]", json!(3)),
        ("[index, iteration, attempt, run.workflow]", json!([4, 2, 1, "train"])),
        ("state.rate < 0.5 and region.name == 'US'", json!(true)),
        ("outputs.split.regions | map('lower') | list", json!(["us", "br"])),
        ("outputs.split.missing | default(7)", json!(7)),
        ("range(3)", json!([0, 1, 2])),
        ("{'a': {'b': 1}}", json!({"a": {"b": 1}})),
        ("'x' if params.rounds > 5 else 'y'", json!("y")),
    ] {
        let found = evaluate(expression, &context()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found, expected, "{expression}");
        assert_eq!(found.to_string(), expected.to_string(), "{expression}");
    }
}

#[test]
fn config_strings_are_rendered_and_whole_ones_keep_their_type() {
    let config = json!({
        "whole": "{{ outputs.split.regions }}",
        "number": " {{ params.rounds }}\n",
        "trimmed": "{{- params.rounds -}}",
        "text": "{{ params.rounds }} of {{ params.rate }}\n",
        "braces": "{{ '}}' }}{{ '{{' }}",
        "object": "{{ {'a': {'b': 1}} }}",
        "loop": "{% for r in outputs.split.regions %}{{ r }};{% endfor %}",
        "shell": "echo ${#users[@]} ${x%.csv} {# {{ index }}",
        "plain": [1, true, null, "no {braces}"],
    });
    let expected = json!({
        "whole": ["US", "BR"],
        "number": 3,
        "trimmed": 3,
        "text": "3 of 1.0\n",
        "braces": "}}{{",
        "object": {"a": {"b": 1}},
        "loop": "US;BR;",
        "shell": "echo ${#users[@]} ${x%.csv} {# 4",
        "plain": [1, true, null, "no {braces}"],
    });
    assert_eq!(render_value(&config, &context()).unwrap(), expected);
    assert_eq!(render_text("{{ params.rounds }}", &context()).unwrap(), "3");
    assert_eq!(render_text("plain", &context()).unwrap(), "plain");
}

#[test]
fn errors_say_where_why_and_what_to_do() {
    for (expression, expected) in [
        (
            "outputs.gone.x",
            "expression `outputs.gone.x`: `outputs.gone` is undefined (at character 8): check the names, or give a default: `… | default(0)`",
        ),
        (
            "params.gone",
            "expression `params.gone`: it gives nothing: a name in it is not there: check the names, or give a default: `… | default(0)`",
        ),
        (
            "1 +",
            "expression `1 +`: unexpected end of input, expected expression (at character 3): check brackets, quotes and operators there",
        ),
        (
            "params.rounds.upper()",
            "expression `params.rounds.upper()`: number has no method named upper (at character 14): use a filter instead of a method: `x | upper`, not `x.upper()`",
        ),
        (
            "2 ** 4000",
            "expression `2 ** 4000`: invalid operation: unable to calculate 2 ** 4000 (at character 1): check the types of what it works on",
        ),
        (
            "1e308 * 10",
            "expression `1e308 * 10`: it gives inf, which is no JSON number: keep numbers within 64 bits and finite",
        ),
        (
            "{1: 2}",
            "expression `{1: 2}`: it gives an object with the key 1, but JSON's keys are text: put the keys in quotes",
        ),
    ] {
        assert_eq!(evaluate(expression, &context()).unwrap_err().to_string(), expected);
    }
    let error = render_value(&json!({"env": {"A": "{{ params.gone.x }}"}}), &context()).unwrap_err();
    assert_eq!(error.field, "env.A");
    let error = evaluate_bool("params.rounds", &context()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expression `params.rounds`: it gives `3`, not true or false: compare it with something, like `… > 0`"
    );
}

#[test]
fn the_sandbox_holds() {
    let hostile = [
        "'x' * 99999999".to_owned(),
        "range(100000) | map('string') | join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".to_owned(),
        format!("'a'{}", " | replace('a', 'aaaaaaaaaa')".repeat(20)),
        format!("'\\\\'{}", " | tojson".repeat(400)),
        format!("{}1{}", "[".repeat(1500), "]".repeat(1500)),
        format!("{}1{}", "(".repeat(1500), ")".repeat(1500)),

        "x".repeat(5000),
        "'%999999999d' | format(1)".to_owned(),
        "'a\nb' | indent(99999999)".to_owned(),
        "[1] * 99999999".to_owned(),
        "debug()".to_owned(),
    ];
    for expression in hostile {
        let _ = check_expression(&expression);
        assert!(evaluate(&expression, &context()).is_err(), "{}", &expression[..40.min(expression.len())]);
    }
    let doubling = format!("{{% set a = 'aaaaaaaa' %}}{}{{{{ a }}}}", "{% set a = a ~ a %}".repeat(60));
    let nested = format!("{}x{}", "{% if true %}".repeat(2000), "{% endif %}".repeat(2000));
    for template in [
        doubling.as_str(),
        nested.as_str(),
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
    ] {
        assert!(render_value(&json!(template), &context()).is_err(), "{}", &template[..30]);
    }
    for template in ["{% include 'x' %}", "{%- from 'x' import y %}", "{% block a %}{% endblock %}"] {
        assert!(check_template(template).is_err(), "{template}");
    }
}

#[test]
fn references_are_found_without_evaluating() {
    let names = |found: std::collections::BTreeSet<Reference>| -> Vec<String> {
        let parts = |r: &Reference| {
            [Some(r.root.clone()), r.name.clone(), r.field.clone()].into_iter().flatten().collect::<Vec<_>>()
        };
        found.iter().map(|reference| parts(reference).join("/")).collect()
    };
    for (expression, expected) in [
        ("outputs.a.x < params.y", vec!["outputs/a/x", "params/y"]),
        ("outputs['my-node']['x'] + outputs[\"b\"].y[0]", vec!["outputs/b/y", "outputs/my-node/x"]),
        ("outputs[params.z]", vec!["outputs", "params/z"]),
        ("range(index) | map('upper')", vec!["index"]),
        ("'outputs.fake' ~ item", vec!["item"]),
        ("['a']", vec![]),
    ] {
        assert_eq!(names(references(expression).unwrap()), expected, "{expression}");
    }
    let template = "{% for r in outputs.a.list %}{{ r.x }} {{ loop.index }} {{ params.p }}{% endfor %} ['q']";
    assert_eq!(names(template_references(template).unwrap()), ["outputs/a/list", "params/p"]);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,4}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_goes_through_an_expression_unchanged(value in json_value()) {
        let context = Context::new().item("item", value.clone(), 0);
        let found = evaluate("item", &context).unwrap();
        prop_assert_eq!(found.to_string(), value.to_string());
    }

    #[test]
    fn hostile_text_never_panics(text in "\\PC{0,80}") {
        let _ = check_expression(&text);
        let _ = evaluate(&text, &context());
        let _ = references(&text);
        for template in [format!("{{{{{text}}}}}"), format!("{{%{text}%}}"), text] {
            let _ = check_template(&template);
            let _ = template_references(&template);
            let _ = render_value(&Value::from(template), &context());
        }
    }

    #[test]
    fn text_like_expressions_never_panics(
        parts in prop::collection::vec(
            prop::sample::select(vec!["outputs", "params", ".", "split", "['", "']", "[", "]", "(", ")", "|", " length",
                "1", "0", "-", "*", "**", "//", "%", "~", "'", "\"", "{", "}", " if ", " else ", " in ", " is ", "not ",
                "9223372036854775807", "1e308", ":", ",", "range", "\\", "{{", "}}", "{%", "%}", " for ", " set ", "é"]),
            0..24,
        )
    ) {
        let text = parts.concat();
        let _ = check_expression(&text);
        let _ = evaluate(&text, &context());
        let _ = references(&text);
        let _ = check_template(&text);
        let _ = template_references(&text);
        let _ = render_value(&Value::from(text), &context());
    }
}
