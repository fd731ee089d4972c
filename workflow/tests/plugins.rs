//! Kinds of plugins in definitions: accepted by name where nothing is known of them, held to what was declared where it is.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use meson_workflow::Definition;
use meson_workflow::kinds::{ConfigProblem, Plugin, Plugins, Segment, Stage, is_plugin_kind};
use meson_workflow::units::Bytes;
use serde_json::json;

const TEXT: &str = "
name: w
nodes:
  - id: each
    for_each:
      items: [1]
      nodes:
        - id: tell
          kind: acme/notify
          config: { channel: general, text: '{{ item }}' }
";

/// Wants a channel whose name begins with `#`; only once it is known where it is a template.
fn declared() -> Plugins {
    let check = |config: &serde_json::Map<String, serde_json::Value>, stage| {
        let channel = config.get("channel").and_then(|value| value.as_str()).unwrap_or_default();
        let passes = channel.starts_with('#') || (stage == Stage::Written && channel.contains("{{"));
        let problem = ConfigProblem {
            path: vec![Segment::Name("channel".to_owned())],
            message: "no channel".to_owned(),
            remedy: "begin with `#`".to_owned(),
        };
        if passes { vec![] } else { vec![problem] }
    };
    let notify = Plugin::new("acme/notify", "Tells a channel.", Bytes(100 << 20), check);
    Plugins::declared("the setting `plugins`", [notify])
}

fn refused(text: &str) -> String {
    Definition::from_yaml_with(text, &declared()).unwrap_err().to_string()
}

#[test]
fn where_nothing_is_known_a_name_will_do() {
    let definition = Definition::from_yaml(TEXT).unwrap();
    assert_eq!(definition.plugin_kinds().into_iter().collect::<Vec<_>>(), ["acme/notify"]);
    assert!(meson_workflow::validate(&definition).is_empty());
    assert_eq!(Definition::from_json(&definition.canonical_json()).unwrap(), definition);
    let wrong = Definition::from_yaml(&TEXT.replace("acme/notify", "Acme/notify/x")).unwrap_err().to_string();
    assert!(wrong.contains("`Acme/notify/x` cannot name a kind of a plugin: write two names"), "{wrong}");
    // Templates are looked at all the same.
    assert!(Definition::from_yaml(&TEXT.replace("{{ item }}", "{{ itm }}")).is_err());
}

#[test]
fn what_is_declared_is_held_to() {
    let wrong = refused(TEXT);
    let lines: Vec<&str> = wrong.lines().collect();
    assert!(
        lines[0].contains("64MiB of memory are too little: this acme/notify step needs at least 100MiB"),
        "{wrong}"
    );
    assert_eq!(lines[1], "line 10, column 30: node \"each/tell\": no channel: begin with `#`", "{wrong}");
    let enough = format!("{TEXT}          resources: {{ mem: 100MiB }}\n");
    for channel in ["'#general'", "'{{ item }}'"] {
        let text = enough.replace("channel: general", &format!("channel: {channel}"));
        assert!(Definition::from_yaml_with(&text, &declared()).is_ok(), "{text}");
    }
}

#[test]
fn undeclared_kinds_are_refused_with_the_place_of_declaration() {
    let wrong = refused(&TEXT.replace("acme/notify", "acme/notfy"));
    assert!(
        wrong.contains("no plugin declares the kind `acme/notfy`: did you mean `acme/notify`?"),
        "{wrong}"
    );
    let wrong = refused(&TEXT.replace("acme/notify", "other/thing"));
    let expected = "no plugin declares the kind `other/thing`: add the plugin's folder to the setting `plugins`, which \
                    has `acme/notify`";
    assert!(wrong.contains(expected), "{wrong}");
    let none = Plugins::declared("the setting `plugins`", []);
    let wrong = Definition::from_yaml_with(TEXT, &none).unwrap_err().to_string();
    assert!(wrong.contains("add the plugin's folder to the setting `plugins`, which names none"), "{wrong}");
    let wrong = refused(&TEXT.replace("acme/notify", "notify"));
    assert!(wrong.contains("the kinds are") && wrong.contains("`acme/notify`"), "{wrong}");
}

#[test]
fn rendered_configs_are_checked_as_they_are() {
    let plugins = declared();
    let check = |kind: &str, channel: &str| {
        let config = json!({ "channel": channel });
        plugins.check_rendered(kind, config.as_object().unwrap()).map_err(|problems| problems.to_string())
    };
    assert_eq!(check("acme/notify", "#a"), Ok(()));
    let wrong = "config.channel: no channel: begin with `#`".to_owned();
    assert_eq!(check("acme/notify", "{{ x }}"), Err(wrong));
    // The executors that have it judge it.
    assert_eq!(check("other/thing", "a"), Ok(()));
    assert!(check("cobol", "a").is_err());
}

#[test]
fn names_of_kinds_cannot_be_those_of_this_crate() {
    assert!(is_plugin_kind("acme/notify-2"));
    for bad in ["notify", "/notify", "acme/", "a/b/c", "A/b", "a/B", "1/b", "a /b", ""] {
        assert!(!is_plugin_kind(bad), "{bad}");
    }
}
