//! `docker`: a container of an image, by Docker or Podman.

use serde_json::{Map, Value};

use super::{ConfigCheck, Kind, describe, is_whole_template};
use crate::units::Bytes;

pub(super) static KIND: Kind = Kind {
    name: "docker",
    summary: "Runs a container of `image`, with `command` as its program and arguments.",
    fields: &["image", "command", "entrypoint", "mounts", "user", "workdir", "network", "pull"],
    least_mem: |_| Bytes(0),
    check,
};

const MOUNT_FIELDS: [&str; 3] = ["source", "target", "read_only"];

fn check(config: &mut ConfigCheck<'_>) {
    config.required("image", "image: python:3.13-slim");
    for name in ["image", "user", "workdir", "network"] {
        config.text(name);
    }
    config.texts("command");
    config.texts("entrypoint");
    config.choice("pull", &["always", "missing", "never"]);
    match config.get("mounts") {
        Some(Value::Array(mounts)) => mounts.iter().for_each(|mount| check_mount(config, mount)),
        Some(value) if is_whole_template(value) => {}
        Some(other) => {
            let message = format!("`mounts` must be a list, not {}", describe(other));
            config.report(&["mounts"], message, EXAMPLE);
        }
        None => {}
    }
}

const EXAMPLE: &str = "write `[{source: /data, target: /data, read_only: true}]`";

fn check_mount(config: &mut ConfigCheck<'_>, mount: &Value) {
    let Value::Object(mount) = mount else {
        let message = format!("a mount must be a map, not {}", describe(mount));
        return config.report(&["mounts"], message, EXAMPLE);
    };
    for name in mount.keys().filter(|name| !MOUNT_FIELDS.contains(&name.as_str())) {
        config.report(&["mounts"], format!("unknown field `{name}` of a mount"), EXAMPLE);
    }
    for name in ["source", "target"] {
        check_path(config, mount, name);
    }
    if mount.get("read_only").is_some_and(|value| !value.is_boolean() && !is_whole_template(value)) {
        config.report(&["mounts"], "`read_only` of a mount must be true or false", EXAMPLE);
    }
}

fn check_path(config: &mut ConfigCheck<'_>, mount: &Map<String, Value>, name: &str) {
    match mount.get(name) {
        Some(value) if is_whole_template(value) => {}
        Some(Value::String(path)) if path.starts_with('/') => {}
        Some(_) => {
            config.report(&["mounts"], format!("`{name}` of a mount must be an absolute path"), EXAMPLE)
        }
        None => config.report(&["mounts"], format!("a mount needs `{name}`"), EXAMPLE),
    }
}
