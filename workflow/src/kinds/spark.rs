//! `spark`: an application of Spark, in Python or from a jar.

use serde_json::{Map, Value};

use super::{ConfigCheck, Kind, describe, is_whole_template};
use crate::units::{Bytes, Millis};

pub(super) static KIND: Kind = Kind {
    name: "spark",
    summary: "Runs a `script` or inline `code` of Python, or the `main_class` of a `jar`, as an application of Spark.",
    fields: &[
        "script",
        "code",
        "jar",
        "main_class",
        "args",
        "interpreter",
        "master",
        "master_ui",
        "gateway",
        "deploy_mode",
        "conf",
        "jars",
        "py_files",
        "files",
        "packages",
        "executors",
        "dynamic_allocation",
        "stall",
    ],
    least_mem,
    check,
};

/// For what submits a driver to the cluster, and waits for it.
const WITHOUT_DRIVER: Bytes = Bytes(256 << 20);

/// Spark refuses a heap below 450 MiB (its `UnifiedMemoryManager`), and a driver's is 60 % of the step's memory. Some collectors
/// of Java take a part of the heap for themselves, and want more.
const WITH_DRIVER: Bytes = Bytes(750 << 20);

fn least_mem(config: &Map<String, Value>) -> Bytes {
    // Where a template says it, only the run knows.
    let is_client = config.get("deploy_mode").is_none_or(|mode| mode == "client");
    let has_usual_heap = match config.get("conf") {
        None => true,
        Some(Value::Object(conf)) => !conf.contains_key("spark.driver.memory"),
        Some(_) => false,
    };
    if is_client && has_usual_heap { WITH_DRIVER } else { WITHOUT_DRIVER }
}

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["script", "code", "jar"], "script: train.py");
    for name in ["script", "code", "jar", "main_class", "interpreter", "master", "master_ui", "gateway"] {
        config.text(name);
    }
    for name in ["args", "jars", "py_files", "files", "packages"] {
        config.texts(name);
    }
    config.choice("deploy_mode", &["client", "cluster"]);
    if config.get("jar").is_some() && config.get("main_class").is_none() {
        let remedy = "add `main_class: org.example.Main`";
        config.report(&["jar"], "a `jar` needs the name of its `main_class`", remedy);
    }
    if config.get("main_class").is_some() && config.get("jar").is_none() {
        config.report(&["main_class"], "`main_class` goes with a `jar`", "add `jar: app.jar`, or remove it");
    }
    if config.get("deploy_mode").is_some_and(|mode| mode == "cluster") && config.get("jar").is_none() {
        let message = "cluster mode takes a `jar`: a Python program runs in client mode";
        config.report(&["deploy_mode"], message, "write `deploy_mode: client`, or remove it");
    }
    check_conf(config);
    if let Some(executors) =
        map(config, "executors", &["count", "cores", "memory"], "{count: 2, memory: 2GiB}")
    {
        whole_numbers(config, "executors", executors, &["count", "cores"], 1);
        size(config, executors);
    }
    if let Some(dynamic) = map(config, "dynamic_allocation", &["min", "max"], "{min: 1, max: 8}") {
        whole_numbers(config, "dynamic_allocation", dynamic, &["min", "max"], 0);
        if !dynamic.contains_key("max") {
            config.report(
                &["dynamic_allocation"],
                "`dynamic_allocation` needs `max`",
                "write `{min: 1, max: 8}`",
            );
        }
        if config.get("executors").is_some_and(|executors| executors.get("count").is_some()) {
            let message = "`executors.count` and `dynamic_allocation` exclude each other";
            config.report(&["dynamic_allocation"], message, "keep one of them");
        }
    }
    if let Some(stall) = map(config, "stall", &["after", "then"], "{after: 10m, then: fail}") {
        check_stall(config, stall);
    }
}

fn check_conf(config: &mut ConfigCheck<'_>) {
    let example = "write `spark.sql.shuffle.partitions: 8` lines below it";
    match config.get("conf") {
        Some(Value::Object(conf)) => {
            for (name, value) in conf {
                if !name.starts_with("spark.") || name.starts_with("spark.meson.") {
                    let message = format!("`{name}` is no property of Spark that a step may set");
                    config.report(
                        &["conf", name],
                        message,
                        "properties begin with `spark.`; `spark.meson.` is Meson's",
                    );
                }
                if matches!(value, Value::Array(_) | Value::Object(_) | Value::Null) {
                    let message = format!("`{name}` must be text, not {}", describe(value));
                    config.report(&["conf", name], message, "write one piece of text");
                }
            }
        }
        Some(value) if is_whole_template(value) => {}
        Some(other) => {
            config.report(&["conf"], format!("`conf` must be a map, not {}", describe(other)), example)
        }
        None => {}
    }
}

/// The map of a name, if there is one, with its fields checked.
fn map<'a>(
    config: &mut ConfigCheck<'a>,
    name: &str,
    fields: &[&str],
    example: &str,
) -> Option<&'a Map<String, Value>> {
    let remedy = format!("write `{name}: {example}`");
    match config.get(name)? {
        Value::Object(map) => {
            for field in map.keys().filter(|field| !fields.contains(&field.as_str())) {
                config.report(&[name, field], format!("unknown field `{field}` of `{name}`"), remedy.clone());
            }
            Some(map)
        }
        value if is_whole_template(value) => None,
        other => {
            config.report(&[name], format!("`{name}` must be a map, not {}", describe(other)), remedy);
            None
        }
    }
}

fn whole_numbers(
    config: &mut ConfigCheck<'_>,
    map: &str,
    fields: &Map<String, Value>,
    names: &[&str],
    least: u64,
) {
    for name in names {
        let Some(value) = fields.get(*name).filter(|value| !is_whole_template(value)) else { continue };
        if !value.as_u64().is_some_and(|number| (least..=u64::from(u32::MAX)).contains(&number)) {
            let message = format!("`{name}` of `{map}` must be a whole number of at least {least}");
            config.report(&[map, name], message, "write a number like 2");
        }
    }
}

fn size(config: &mut ConfigCheck<'_>, executors: &Map<String, Value>) {
    let Some(value) = executors.get("memory").filter(|value| !is_whole_template(value)) else { return };
    if value.as_str().is_none_or(|text| text.parse::<Bytes>().is_err()) {
        config.report(
            &["executors", "memory"],
            "`memory` of `executors` must be a size",
            "write a size like 2GiB",
        );
    }
}

fn check_stall(config: &mut ConfigCheck<'_>, stall: &Map<String, Value>) {
    match stall.get("after") {
        Some(value) if is_whole_template(value) => {}
        Some(Value::String(text)) if text.parse::<Millis>().is_ok_and(|after| after.0 > 0) => {}
        _ => config.report(
            &["stall"],
            "`stall` needs `after`, a duration",
            "write `stall: {after: 10m, then: fail}`",
        ),
    }
    let known = |then: &Value| is_whole_template(then) || then == "fail" || then == "report";
    if stall.get("then").is_some_and(|then| !known(then)) {
        config.report(
            &["stall", "then"],
            "`then` of `stall` must be `fail` or `report`",
            "write one of these words",
        );
    }
}
