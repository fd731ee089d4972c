//! Every malformed definition in tests/malformed gives exactly the message beside it. `REWRITE=1 cargo test` writes the
//! messages anew, for a person to read.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail by panicking too")]

use std::fs;
use std::path::{Path, PathBuf};

use meson_workflow::Definition;

fn texts(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "json"));
    paths.sort();
    paths
}

fn read(path: &Path) -> Result<Definition, meson_workflow::Problems> {
    let text = fs::read_to_string(path).unwrap();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => Definition::from_json(&text),
        _ => Definition::from_yaml(&text),
    }
}

#[test]
fn malformed_definitions_are_refused_with_exact_messages() {
    let rewrite = std::env::var_os("REWRITE").is_some();
    let paths = texts("malformed");
    assert!(paths.len() >= 45, "only {} malformed definitions", paths.len());
    let mut wrong = Vec::new();
    for path in paths {
        let expected_path = path.with_extension("err");
        let found = match read(&path) {
            Ok(_) => "nothing is wrong with it\n".to_owned(),
            Err(problems) => {
                for problem in &problems {
                    assert!(!problem.remedy.is_empty(), "{}: no remedy: {problem}", path.display());
                }
                format!("{problems}\n")
            }
        };
        if rewrite {
            fs::write(&expected_path, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if expected != found {
            wrong.push(format!("{}\n  expected: {expected}  found:    {found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let examples: Vec<&str> =
        readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 5);
    for example in examples {
        Definition::from_yaml(example).unwrap_or_else(|problems| panic!("{example}\n{problems}"));
    }
}

#[test]
fn valid_definitions_are_accepted_and_survive_every_form() {
    let paths = texts("valid");
    assert!(!paths.is_empty());
    for path in paths {
        let definition = read(&path).unwrap_or_else(|problems| panic!("{}:\n{problems}", path.display()));
        let yaml = definition.to_yaml();
        let again = Definition::from_yaml(&yaml).unwrap_or_else(|problems| panic!("{yaml}\n{problems}"));
        assert_eq!(again, definition, "{yaml}");
        let json = definition.canonical_json();
        let stored: Definition = serde_json::from_str(&json).unwrap();
        assert_eq!(stored, definition);
        assert_eq!(Definition::from_json(&json).unwrap(), definition);
        assert_eq!(stored.content_hash(), definition.content_hash());
        assert_eq!(stored.canonical_json(), json);
    }
}
