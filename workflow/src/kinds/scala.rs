//! `scala`: a script, a few lines of code, or a main class of a jar.

use super::{ConfigCheck, Kind};
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "scala",
    summary: "Runs a `script` or inline `code` with the Scala runner, or the `main_class` of a `jar`.",
    fields: &["script", "code", "jar", "main_class", "classpath", "args", "java_options"],
    least_mem: |_| Bytes(256 << 20),
    check,
};

fn check(config: &mut ConfigCheck<'_>) {
    config.exactly_one(&["script", "code", "jar"], "script: validate.scala");
    for name in ["script", "code", "jar", "main_class"] {
        config.text(name);
    }
    for name in ["classpath", "args", "java_options"] {
        config.texts(name);
    }
    if config.get("jar").is_some() && config.get("main_class").is_none() {
        config.report(
            &["jar"],
            "a `jar` needs the name of its `main_class`",
            "add `main_class: org.example.Main`",
        );
    }
    if config.get("main_class").is_some() && config.get("jar").is_none() {
        config.report(&["main_class"], "`main_class` goes with a `jar`", "add `jar: app.jar`, or remove it");
    }
}
