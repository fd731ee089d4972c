//! `mesonctl validate` and `mesonctl workflows`: checks, stores, shows and compares definitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use meson_proto::v1::*;
use meson_workflow::kinds::Plugins;
use meson_workflow::{Definition, Problems};
use serde_json::json;
use similar::TextDiff;

use crate::args::{Output, Workflows};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, show};

/// Largest definition file, in bytes; the cluster takes no larger one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Checks files without a cluster. Of kinds that plugins bring only the name, unless folders of plugins are given.
pub fn validate(files: &[PathBuf], folders: &[PathBuf], output: Output) -> Result {
    let plugins = match folders {
        [] => Plugins::default(),
        folders => {
            let found = meson_plugins::load(folders).map_err(|error| Error::usage(error.to_string()))?;
            meson_plugins::kinds(&found, "`--plugins`")
        }
    };
    let mut wrong = Vec::new();
    for file in files {
        let text = match read_text(file) {
            Ok(text) => text,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        match Definition::from_yaml_with(&text, &plugins) {
            Ok(definition) => {
                let unchecked = if folders.is_empty() { definition.plugin_kinds() } else { BTreeSet::new() };
                say_well(file, &definition, &unchecked, output);
            }
            Err(problems) => {
                if output == Output::Json {
                    json::print(&json!({ "file": file.display().to_string(), "problems": list(&problems) }));
                }
                wrong.push(located(file, &problems));
            }
        }
    }
    if wrong.is_empty() { Ok(Exit::Succeeded) } else { Err(Error::Mistakes(wrong.join("\n"))) }
}

/// `unchecked` are kinds of which only the name was looked at.
fn say_well(file: &Path, definition: &Definition, unchecked: &BTreeSet<&str>, output: Output) {
    let (file, hash) = (file.display(), definition.content_hash());
    if output == Output::Json {
        let said = json!({ "file": file.to_string(), "name": definition.name, "version": hash.as_str(),
            "problems": [], "unchecked_kinds": unchecked });
        return json::print(&said);
    }
    println!("{file}: well ({} @ {:.12})", definition.name, hash.as_str());
    for kind in unchecked {
        println!(
            "{file}: the config of kind `{kind}` was not checked: name its plugin's folder in --plugins"
        );
    }
}

fn list(problems: &Problems) -> Vec<serde_json::Value> {
    let problem = |problem: &meson_workflow::Problem| {
        let location = problem.location.as_ref();
        json!({ "line": location.map(|location| location.line), "column": location.map(|location| location.column),
            "path": problem.path, "node": problem.node, "message": problem.message, "remedy": problem.remedy })
    };
    problems.iter().map(problem).collect()
}

/// One line for each problem, with the place in the file first, as editors understand it.
fn located(file: &Path, problems: &Problems) -> String {
    let line = |problem: &meson_workflow::Problem| {
        let place = match &problem.location {
            Some(location) => format!("{}:{}:{}", file.display(), location.line, location.column),
            None => file.display().to_string(),
        };
        let node = problem.node.as_ref().map(|node| format!("node \"{node}\": ")).unwrap_or_default();
        let remedy = if problem.remedy.is_empty() { String::new() } else { format!(": {}", problem.remedy) };
        format!("{place}: {node}{}{remedy}", problem.message)
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A definition file's text.
pub fn read_text(file: &Path) -> Result<String> {
    let cannot = |error: std::io::Error| Error::usage(format!("{}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Error::usage(format!("{}: {size} bytes; {FILE_BYTES_MAX} are allowed", file.display())));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

/// A definition file, checked.
pub fn read(file: &Path) -> Result<(Definition, String)> {
    let text = read_text(file)?;
    let definition =
        Definition::from_yaml(&text).map_err(|problems| Error::Mistakes(located(file, &problems)))?;
    Ok((definition, text))
}

/// Stores a definition.
pub async fn register(client: &Client, definition: String) -> Result<RegisterWorkflowResponse> {
    let call = |channel| {
        let request = RegisterWorkflowRequest { definition: definition.clone() };
        async move { client::workflows(channel).register_workflow(request).await }
    };
    client.call(call).await
}

/// A registered workflow.
pub async fn get(client: &Client, name: &str, version: &str) -> Result<GetWorkflowResponse> {
    let call = |channel| {
        let request = GetWorkflowRequest { name: name.to_owned(), version: version.to_owned() };
        async move { client::workflows(channel).get_workflow(request).await }
    };
    client.call(call).await
}

/// Carries out the command.
pub async fn run(client: &Client, command: Workflows, output: Output) -> Result {
    match command {
        Workflows::List => list_all(client, output).await?,
        Workflows::Get { name, version } => show_one(client, &name, &version, output).await?,
        Workflows::Diff { name, from, to } => diff(client, &name, &from, &to, output).await?,
        Workflows::Register { file } => {
            let (_, text) = read(&file)?;
            let answer = register(client, text).await?;
            let workflow = answer.workflow.unwrap_or_default();
            match output {
                Output::Json => {
                    json::print(&json!({ "workflow": json::workflow(&workflow), "created": answer.created }));
                }
                Output::Table => {
                    let news = if answer.created { "registered" } else { "was registered already" };
                    println!(
                        "{} version {} ({:.12}) {news}",
                        workflow.name, workflow.number, workflow.version
                    );
                }
            }
        }
    }
    Ok(Exit::Succeeded)
}

async fn list_all(client: &Client, output: Output) -> Result<()> {
    let mut workflows = Vec::new();
    let mut page_token = String::new();
    loop {
        let call = |channel| {
            let request = ListWorkflowsRequest { page_size: 1_000, page_token: page_token.clone() };
            async move { client::workflows(channel).list_workflows(request).await }
        };
        let page = client.call(call).await?;
        workflows.extend(page.workflows);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if output == Output::Json {
        json::print(&json!({ "workflows": workflows.iter().map(json::workflow).collect::<Vec<_>>() }));
        return Ok(());
    }
    let row = |workflow: &Workflow| {
        let version = format!("{:.12}", workflow.version);
        let number = workflow.number.to_string();
        let registered = show::time(&workflow.registered_at);
        vec![workflow.name.clone(), number, version, registered, workflow.description.clone()]
    };
    show::table(&["workflow", "number", "version", "registered", "description"], workflows.iter().map(row));
    Ok(())
}

fn yaml(workflow: &Workflow) -> Result<String> {
    Definition::from_json(&workflow.definition_json)
        .map(|definition| definition.to_yaml())
        .map_err(|problems| Error::usage(format!("the registered definition cannot be read: {problems}")))
}

async fn show_one(client: &Client, name: &str, version: &str, output: Output) -> Result<()> {
    let answer = get(client, name, version).await?;
    let workflow = answer.workflow.unwrap_or_default();
    if output == Output::Json {
        let versions: Vec<_> = answer.versions.iter().map(json::workflow).collect();
        json::print(&json!({ "workflow": json::workflow(&workflow), "versions": versions }));
        return Ok(());
    }
    println!("# version {} @ {}", workflow.number, workflow.version);
    for version in &answer.versions {
        println!(
            "#   {} @ {:.12}, registered {}",
            version.number,
            version.version,
            show::time(&version.registered_at)
        );
    }
    print!("{}", yaml(&workflow)?);
    Ok(())
}

async fn diff(client: &Client, name: &str, from: &str, to: &str, output: Output) -> Result<()> {
    let from = get(client, name, from).await?.workflow.unwrap_or_default();
    let to = get(client, name, to).await?.workflow.unwrap_or_default();
    let (old, new) = (yaml(&from)?, yaml(&to)?);
    let heading =
        |workflow: &Workflow| format!("{name} version {} @ {:.12}", workflow.number, workflow.version);
    let diff = TextDiff::from_lines(&old, &new);
    let text = diff.unified_diff().header(&heading(&from), &heading(&to)).to_string();
    match output {
        Output::Json => json::print(&json!({ "from": from.version, "to": to.version, "diff": text })),
        Output::Table => print!("{text}"),
    }
    Ok(())
}
