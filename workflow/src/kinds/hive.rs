//! `hive`: statements for a HiveServer2, with parameters bound and rows as outputs or as a file.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{ConfigCheck, Kind, describe, is_whole_template};
use crate::expression::is_template;
use crate::ids::did_you_mean;
use crate::limits;
use crate::sql::{Piece, pieces};
use crate::tree::shorten;
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "hive",
    summary: "Runs the statements of `query` or of a `script` at a HiveServer2.",
    fields: &[
        "query",
        "script",
        "parameters",
        "identifiers",
        "server",
        "database",
        "user",
        "auth",
        "tls",
        "settings",
        "results",
        "path",
        "format",
        "max_rows",
        "spark_ui",
    ],
    least_mem: |_| Bytes(0),
    check,
};

/// Most rows that may be outputs; the executor has the same bound.
const ROWS_MAX: u64 = 10_000;

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["query", "script"], "query: SELECT count(*) AS users FROM users");
    for name in ["query", "script", "server", "database", "user", "path", "spark_ui"] {
        config.text(name);
    }
    config.choice("auth", &["plain", "nosasl"]);
    config.choice("results", &["none", "outputs", "file"]);
    config.choice("format", &["csv", "json_lines"]);
    if config.get("tls").is_some_and(|value| !value.is_boolean() && !is_whole_template(value)) {
        config.report(&["tls"], "`tls` must be true or false", "write `tls: true`");
    }
    check_parameters(config);
    check_query(config);
    check_values(config, "identifiers", "table: ratings", |value| value.is_string());
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    check_values(config, "settings", "hive.exec.parallel: true", is_plain);
    for name in ["script", "path"] {
        check_path(config, name);
    }
    check_results(config);
}

fn check_parameters(config: &mut ConfigCheck<'_>) {
    let is_scalar = |value: &Value| !value.is_array() && !value.is_object();
    let is_bound = |value: &Value| match value {
        Value::Array(items) => items.iter().all(is_scalar),
        other => is_scalar(other),
    };
    let parameters = config.get("parameters").and_then(Value::as_object).into_iter().flatten();
    let empty: Vec<_> = parameters
        .filter(|(_, value)| value.as_array().is_some_and(Vec::is_empty))
        .map(|(name, _)| name)
        .collect();
    for name in empty {
        let message = format!("the list `{}` is empty, which has no form in SQL", shorten(name));
        config.report(&["parameters", name], message, "branch on its length with a `switch`");
    }
    check_values(config, "parameters", "country: BR", is_bound);
    let mut seen = BTreeSet::new();
    for (field, name) in given_names(config) {
        if !is_name(name) {
            let message = format!("`{}` cannot be written as `:name` in a query", shorten(name));
            config.report(&[field, name], message, "use letters, digits and `_`, and no digit first");
        }
        if !seen.insert(name) {
            let message = format!("`{}` is a parameter and an identifier", shorten(name));
            config.report(&[field, name], message, "rename one of them");
        }
    }
}

/// What the query names is given, and the other way round. A query with templates is known only at run time, and a script
/// only at the executor, which reads both in the same way.
fn check_query(config: &mut ConfigCheck<'_>) {
    let query = config.get("query").and_then(Value::as_str).filter(|query| !query.trim().is_empty());
    let Some(query) = query.filter(|query| !is_template(query)) else { return };
    let pieces = match pieces(query) {
        Ok(pieces) => pieces,
        Err(unread) => {
            return config.report(
                &["query"],
                unread.to_string(),
                "write it so that Hive and Spark read it in one way",
            );
        }
    };
    let says_something = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => !text.trim().is_empty(),
        Piece::Quoted(_) | Piece::Parameter(_) => true,
        Piece::Comment(_) | Piece::End => false,
    };
    if !pieces.iter().any(says_something) {
        return config.report(&["query"], "there is no statement in `query`", "write one");
    }
    let named: BTreeSet<&str> = pieces.iter().filter_map(Piece::parameter).collect();
    check_names(config, &named);
}

fn check_names(config: &mut ConfigCheck<'_>, named: &BTreeSet<&str>) {
    if NAMING.iter().any(|field| config.get(field).is_some_and(|value| !value.is_object())) {
        return;
    }
    let given = given_names(config);
    let names: BTreeSet<&str> = given.iter().map(|(_, name)| *name).collect();
    let mut meant = BTreeSet::new();
    // More problems are not shown, and more names would be too much to compare them with.
    for name in named.difference(&names).take(limits::PROBLEMS) {
        let remedy = match did_you_mean(name, names.iter().copied().take(limits::PROBLEMS)) {
            Some(near) => {
                meant.insert(near);
                format!("did you mean `:{near}`?")
            }
            None => format!("add `{}` to one of them", shorten(name)),
        };
        let message =
            format!("`query` names `:{}`, which is in neither `parameters` nor `identifiers`", shorten(name));
        config.report(&["query"], message, remedy);
    }
    let is_unused = |name: &str| is_name(name) && !named.contains(name) && !meant.contains(name);
    for (field, name) in given.iter().filter(|(_, name)| is_unused(name)) {
        let message = format!("`query` does not use `{}` of `{field}`", shorten(name));
        let remedy =
            format!("write `:{}` in it, outside of quotes and comments, or remove it", shorten(name));
        config.report(&[field, name], message, remedy);
    }
}

/// The fields whose names stand in a query.
const NAMING: [&str; 2] = ["parameters", "identifiers"];

fn given_names<'a>(config: &ConfigCheck<'a>) -> Vec<(&'static str, &'a str)> {
    let names = |field| config.get(field).and_then(Value::as_object).into_iter().flat_map(Map::keys);
    NAMING.into_iter().flat_map(|field| names(field).map(move |name| (field, name.as_str()))).collect()
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A field that is a map, of values such as these.
fn check_values(config: &mut ConfigCheck<'_>, field: &str, example: &str, is_good: impl Fn(&Value) -> bool) {
    match config.get(field) {
        None => {}
        Some(Value::Object(values)) => {
            for (name, value) in values.iter().filter(|(_, value)| !is_good(value)) {
                let message = format!("`{name}` in `{field}` cannot be {}", describe(value));
                config.report(&[field, name], message, format!("write it as in `{example}`"));
            }
        }
        Some(value) if is_whole_template(value) => {}
        Some(other) => {
            let message = format!("`{field}` must be a map, not {}", describe(other));
            config.report(&[field], message, format!("write `{example}` below it"));
        }
    }
}

fn check_path(config: &mut ConfigCheck<'_>, field: &str) {
    let Some(Value::String(path)) = config.get(field) else { return };
    if !is_template(path) && (path.starts_with('/') || path.split('/').any(|part| part == "..")) {
        let message = format!("`{field}` must be a relative path without `..`, not `{}`", shorten(path));
        config.report(&[field], message, "name a file below the directory of the attempt or the run");
    }
}

fn check_results(config: &mut ConfigCheck<'_>) {
    let results = config.get("results").cloned();
    if results.as_ref().is_some_and(is_whole_template) {
        return;
    }
    let is_file = results == Some(Value::from("file"));
    let path = config.get("path").and_then(Value::as_str).map(str::to_owned);
    match path {
        None if is_file => config.required("path", "path: rows.csv"),
        Some(_) if !is_file => {
            config.report(
                &["path"],
                "`path` is only for rows in a file",
                "add `results: file`, or remove it",
            );
        }
        Some(path) if config.get("format").is_none() && !is_template(&path) && !tells_format(&path) => {
            let message = format!("`{}` does not tell in which form to write", shorten(&path));
            config.report(&["path"], message, "add `format: csv` or `format: json_lines`");
        }
        _ => {}
    }
    match config.get("max_rows") {
        None => {}
        Some(value) if is_whole_template(value) => {}
        Some(value) if value.as_u64().is_some_and(|rows| (1..=ROWS_MAX).contains(&rows)) => {}
        Some(other) => {
            let message =
                format!("`max_rows` must be a number from 1 to {ROWS_MAX}, not {}", describe(other));
            config.report(&["max_rows"], message, "use `results: file` for larger results");
        }
    }
}

fn tells_format(path: &str) -> bool {
    [".csv", ".jsonl", ".ndjson"].iter().any(|end| path.ends_with(end))
}
