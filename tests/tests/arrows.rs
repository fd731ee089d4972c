//! The arrows of use between crates go one way only, and the engine stays pure.
//!
//! The table below is the drawing in docs/architecture.md as data. Development dependencies obey it too.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use meson_tests::{Findings, output_of, tracked_files};
use serde_json::Value;

/// Crate, and the workspace crates it may use. A crate that is missing here may use none and fails the test.
const ARROWS: [(&str, &[&str]); 17] = [
    ("meson-workflow", &[]),
    ("meson-proto", &[]),
    ("meson-mesos", &[]),
    ("meson-mesos-standin", &["meson-mesos"]),
    ("meson-spark", &[]),
    ("meson-engine", &["meson-workflow"]),
    ("meson-raft", &["meson-proto"]),
    ("meson-store", &[]),
    ("meson-plugins", &["meson-workflow"]),
    (
        "meson-scheduler",
        &[
            "meson-engine",
            "meson-raft",
            "meson-mesos",
            "meson-plugins",
            "meson-proto",
            "meson-spark",
            "meson-store",
            "meson-workflow",
        ],
    ),
    (
        "meson-executor",
        &["meson-mesos", "meson-plugins", "meson-proto", "meson-spark", "meson-store", "meson-workflow"],
    ),
    ("meson-cli", &["meson-plugins", "meson-proto", "meson-workflow"]),
    ("meson-chaos-tests", &["meson-proto", "meson-engine"]),
    ("meson-sim", &["meson-raft", "meson-engine", "meson-scheduler", "meson-proto", "meson-workflow"]),
    ("meson-engines", &["meson-chaos-tests", "meson-spark"]),
    ("meson-bench", &["meson-chaos-tests", "meson-proto"]),
    (
        "meson-tests",
        &[
            "meson-chaos-tests",
            "meson-engines",
            "meson-mesos",
            "meson-proto",
            "meson-store",
            "meson-workflow",
        ],
    ),
];

/// Crates that decide and do not act, and what must not be anywhere below them.
const PURE: [&str; 2] = ["meson-workflow", "meson-engine"];
const IMPURE: [&str; 9] = ["tokio", "tonic", "actix", "mio", "hyper", "reqwest", "sled", "openraft", "rand"];

/// Libraries with one home each, so that changing one is a change in one place.
const HOMES: [(&str, &[&str]); 10] = [
    ("openraft", &["meson-raft"]),
    ("sled", &["meson-raft", "meson-executor"]),
    ("actix", &["meson-scheduler"]),
    ("hdfs-native", &["meson-store"]),
    ("jsonschema", &["meson-plugins"]),
    ("minijinja", &["meson-workflow"]),
    ("object_store", &["meson-store"]),
    ("reqwest", &["meson-executor", "meson-mesos", "meson-spark", "meson-store"]),
    ("clap_complete", &["meson-cli"]),
    ("zookeeper-client", &["meson-mesos"]),
];

/// Dependencies that only generated code names.
const USED_BY_GENERATED_CODE: [(&str, &str); 4] = [
    ("meson-mesos", "prost-types"),
    ("meson-proto", "prost"),
    ("meson-proto", "prost-types"),
    ("meson-proto", "tonic-prost"),
];

#[test]
fn crates_use_only_what_is_below_them() -> anyhow::Result<()> {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let packages = workspace_packages()?;
    let members: BTreeSet<&str> = packages.iter().map(|(name, _)| name.as_str()).collect();
    let mut findings = Findings::default();
    for (name, dependencies) in &packages {
        let Some(allowed) = allowed.get(name.as_str()) else {
            findings.add(name, "is not in the table of arrows", "add it to ARROWS in tests/tests/arrows.rs");
            continue;
        };
        for dependency in dependencies.iter().filter(|dependency| members.contains(dependency.as_str())) {
            if !allowed.contains(&dependency.as_str()) {
                let remedy = "move the shared part down, or hand the value in";
                findings.add(name, format!("must not use {dependency}"), remedy);
            }
        }
    }
    findings.conclude()
}

#[test]
fn libraries_stay_in_their_homes() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for (name, dependencies) in &workspace_packages()? {
        for (library, homes) in HOMES {
            if dependencies.contains(library) && !homes.contains(&name.as_str()) {
                let remedy = format!("use it through {}", homes.join(" or "));
                findings.add(name, format!("must not use {library}"), &remedy);
            }
        }
    }
    findings.conclude()
}

#[test]
fn dependencies_are_used() -> anyhow::Result<()> {
    let files = tracked_files()?;
    let mut findings = Findings::default();
    for (name, dependencies) in &workspace_packages()? {
        let folder = format!("{}/", name.trim_start_matches("meson-"));
        let sources: Vec<_> =
            files.iter().filter(|file| file.extension() == "rs" && file.path.starts_with(&folder)).collect();
        for dependency in dependencies {
            let used = sources.iter().any(|file| names(&file.text, dependency));
            if !used && !USED_BY_GENERATED_CODE.contains(&(name.as_str(), dependency.as_str())) {
                findings.add(
                    format!("{folder}Cargo.toml"),
                    format!("{dependency} is not used"),
                    "take it out",
                );
            }
        }
    }
    findings.conclude()
}

#[test]
fn pure_crates_have_nothing_impure_below_them() -> anyhow::Result<()> {
    let host = output_of("rustc", &["-vV"])?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let metadata = metadata(&["--filter-platform", host])?;
    let graph = normal_graph(&metadata)?;
    let mut findings = Findings::default();
    for pure in PURE {
        for path in paths_below(&graph, pure)? {
            let last = path.last().context("a path is never empty")?;
            if IMPURE.contains(&last.as_str()) {
                let remedy = "decide here, act in the scheduler";
                findings.add(pure, format!("has {last} below it: {}", path.join(" -> ")), remedy);
            }
        }
    }
    findings.conclude()
}

#[test]
fn the_seams_of_the_simulation_are_in_no_program() -> anyhow::Result<()> {
    // Features as cargo unites them when it builds all programs; only tests have development dependencies.
    let seam = "feature \"sim\"";
    let programs = ["tree", "--workspace", "--locked", "--edges", "normal,build,features"];
    let mut findings = Findings::default();
    for line in output_of("cargo", &programs)?.lines().filter(|line| line.contains(seam)) {
        findings.add(
            line.trim(),
            "would be built into a program",
            "ask for it in sim/ only, as a dev-dependency",
        );
    }
    findings.conclude()?;
    let tests = output_of("cargo", &["tree", "-p", "meson-sim", "--locked", "--edges", "features"])?;
    anyhow::ensure!(
        tests.contains(seam),
        "the simulation itself has no seams, or they have another name now"
    );
    Ok(())
}

/// Whether a source names something of a library, like `serde::Serialize`.
fn names(source: &str, library: &str) -> bool {
    source.match_indices(&format!("{}::", library.replace('-', "_"))).any(|(start, _)| {
        let before = source[..start].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

fn metadata(more: &[&str]) -> anyhow::Result<Value> {
    let mut arguments = vec!["metadata", "--format-version", "1", "--locked"];
    arguments.extend_from_slice(more);
    Ok(serde_json::from_str(&output_of("cargo", &arguments)?)?)
}

/// Every crate of the workspace with all its direct dependencies, of any kind.
fn workspace_packages() -> anyhow::Result<Vec<(String, BTreeSet<String>)>> {
    let metadata = metadata(&["--no-deps"])?;
    let mut packages = Vec::new();
    for package in array(&metadata["packages"])? {
        let dependencies: Result<_, _> =
            array(&package["dependencies"])?.iter().map(|dependency| text(&dependency["name"])).collect();
        packages.push((text(&package["name"])?, dependencies?));
    }
    Ok(packages)
}

/// Normal dependencies (not build, not development) by name. Versions of one name are one vertex: good enough to
/// refuse a name anywhere below.
fn normal_graph(metadata: &Value) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut names = BTreeMap::new();
    for package in array(&metadata["packages"])? {
        names.insert(text(&package["id"])?, text(&package["name"])?);
    }
    let name_of = |id: &Value| -> anyhow::Result<String> {
        let id = text(id)?;
        names.get(&id).cloned().with_context(|| format!("package {id} is not listed"))
    };
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in array(&metadata["resolve"]["nodes"])? {
        let below = graph.entry(name_of(&node["id"])?).or_default();
        for dependency in array(&node["deps"])? {
            if array(&dependency["dep_kinds"])?.iter().any(|kind| kind["kind"].is_null()) {
                below.insert(name_of(&dependency["pkg"])?);
            }
        }
    }
    Ok(graph)
}

/// One path to each crate below `start`.
fn paths_below(graph: &BTreeMap<String, BTreeSet<String>>, start: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut open = vec![vec![start.to_owned()]];
    let mut paths = Vec::new();
    while let Some(path) = open.pop() {
        let last = path.last().context("a path is never empty")?;
        for next in graph.get(last).with_context(|| format!("{last} is not in the graph"))? {
            if seen.insert(next.clone()) {
                let longer = [path.as_slice(), std::slice::from_ref(next)].concat();
                paths.push(longer.clone());
                open.push(longer);
            }
        }
    }
    Ok(paths)
}

fn array(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().context("cargo metadata: a list was expected")
}

fn text(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().context("cargo metadata: a string was expected")?.to_owned())
}
