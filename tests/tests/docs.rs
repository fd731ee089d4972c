//! The documents stay true where a machine can tell: links lead somewhere, the README's workflow is valid, and every
//! library has its line in docs/dependencies.md. The README's Rust is compiled as a doctest of this crate.

use std::collections::BTreeSet;

use anyhow::Context as _;
use meson_tests::{Findings, TrackedFile, output_of, root, tracked_files};
use meson_workflow::Definition;

#[test]
fn links_lead_somewhere() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for file in tracked_files()?.iter().filter(|file| file.extension() == "md") {
        for (number, line) in file.lines() {
            for target in links(line) {
                if let Some(wrong) = dead(file, target)? {
                    findings.add(format!("{}:{number}", file.path), wrong, "correct the link");
                }
            }
        }
    }
    findings.conclude()
}

#[test]
fn workflows_in_the_documents_are_valid() -> anyhow::Result<()> {
    for name in ["README.md", "docs/kinds.md", "docs/secrets.md", "docs/storage.md"] {
        let document = std::fs::read_to_string(root().join(name))?;
        let workflows = blocks(&document, "yaml");
        anyhow::ensure!(!workflows.is_empty(), "{name} shows no workflow");
        for text in workflows {
            let definition = Definition::from_yaml(&text).with_context(|| format!("in {name}:\n{text}"))?;
            let problems = meson_workflow::validate(&definition).to_string();
            anyhow::ensure!(problems.is_empty(), "{problems}, in {name}:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn every_library_has_its_reason() -> anyhow::Result<()> {
    let metadata = output_of("cargo", &["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let used: BTreeSet<&str> = packages
        .iter()
        .flat_map(|package| package["dependencies"].as_array().into_iter().flatten())
        .filter(|dependency| !dependency["source"].is_null())
        .filter_map(|dependency| dependency["name"].as_str())
        .collect();
    let page = std::fs::read_to_string(root().join("docs/dependencies.md"))?;
    let explained: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let mut findings = Findings::default();
    for name in used.difference(&explained) {
        findings.add(
            "docs/dependencies.md",
            format!("nothing on {name}"),
            "say why it is there, and its caveats",
        );
    }
    for name in explained.difference(&used) {
        findings.add("docs/dependencies.md", format!("{name} is not used"), "take its line out");
    }
    findings.conclude()
}

/// What a line's Markdown links point at.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// What is wrong with a link, if it leads into the repository and nowhere.
fn dead(file: &TrackedFile, target: &str) -> anyhow::Result<Option<String>> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(None);
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let here = root().join(&file.path);
    let there = match path {
        "" => here.clone(),
        path => here.parent().context("a file is in a folder")?.join(path),
    };
    if !there.exists() {
        return Ok(Some(format!("{path} is not there")));
    }
    if anchor.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&there)?;
    let found = text.lines().filter(|line| line.starts_with('#')).any(|line| anchor_of(line) == anchor);
    Ok((!found).then(|| format!("{path} has no heading #{anchor}")))
}

/// The anchor that a heading gets.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The fenced blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    text.split(opening.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}
