//! `mesonctl submit`: registers a definition file, or takes a workflow that is registered, and starts a run.

use std::path::Path;

use meson_proto::v1::*;
use meson_workflow::Definition;
use meson_workflow::definition::ParamType;
use serde_json::{Map, Value, json};

use crate::args::{Output, Submit};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, runs, watch, workflows};

/// Starts the run and, if asked to, follows it.
pub async fn run(client: &Client, options: Submit, output: Output) -> Result {
    let (name, version, definition) = resolve(client, &options).await?;
    let params = params(&options, &definition)?;
    let request = StartRunRequest {
        request_id: options.request_id.clone().unwrap_or_else(|| ulid::Ulid::generate().to_string()),
        workflow: name,
        version,
        params_json: Value::Object(params).to_string(),
        labels: runs::pairs(&options.labels)?,
    };
    let call = |channel| {
        let request = request.clone();
        async move { client::runs(channel).start_run(request).await }
    };
    let answer = client.call(call).await?;
    let run = answer.run.unwrap_or_default();
    match output {
        Output::Json => json::print(&json!({ "run": json::run(&run), "created": answer.created })),
        Output::Table if options.watch => eprintln!("run {}", run.run_id),
        Output::Table => println!("{}", run.run_id),
    }
    if options.watch { watch::follow(client, &run.run_id, output).await } else { Ok(Exit::Succeeded) }
}

/// The workflow's name, the version to run, and its definition.
async fn resolve(client: &Client, options: &Submit) -> Result<(String, String, Definition)> {
    let given = &options.workflow;
    if given.contains(['.', '/']) {
        if !options.version.is_empty() {
            return Err(Error::usage(
                "--version goes with the name of a registered workflow, not with a file",
            ));
        }
        let (definition, text) = workflows::read(Path::new(given))?;
        let workflow = workflows::register(client, text).await?.workflow.unwrap_or_default();
        return Ok((workflow.name, workflow.version, definition));
    }
    let workflow = workflows::get(client, given, &options.version).await?.workflow.unwrap_or_default();
    let definition = Definition::from_json(&workflow.definition_json)
        .map_err(|problems| Error::usage(format!("the registered definition cannot be read: {problems}")))?;
    // The newest is left to the cluster, so that the same request means the same on a second try.
    Ok((workflow.name, options.version.clone(), definition))
}

fn params(options: &Submit, definition: &Definition) -> Result<Map<String, Value>> {
    let mut params = Map::new();
    if let Some(file) = &options.params_file {
        params = read_params(file)?;
    }
    for given in &options.params {
        let Some((name, text)) = given.split_once('=') else {
            return Err(Error::usage(format!("-p {given}: write it as NAME=VALUE")));
        };
        let kind = definition.params.get(name).map(|param| param.kind);
        params.insert(name.to_owned(), value(name, text, kind)?);
    }
    Ok(params)
}

/// A value as its parameter's type says: text as it is, anything else as JSON.
fn value(name: &str, text: &str, kind: Option<ParamType>) -> Result<Value> {
    match kind {
        Some(ParamType::String) => Ok(Value::String(text.to_owned())),
        // Unknown: the cluster says so, with what it may have meant.
        None => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))),
        Some(_) => serde_json::from_str(text).map_err(|_| {
            Error::usage(format!("-p {name}={text}: the value must be JSON, like 5, true or [1, 2]"))
        }),
    }
}

fn read_params(file: &Path) -> Result<Map<String, Value>> {
    let text = workflows::read_text(file)?;
    serde_json::from_str(&text)
        .map_err(|error| Error::usage(format!("{}: not a JSON object: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_type_of_their_parameter() {
        assert_eq!(value("x", "5", Some(ParamType::String)).unwrap(), json!("5"));
        assert_eq!(value("x", "5", Some(ParamType::Integer)).unwrap(), json!(5));
        assert_eq!(value("x", "[1]", Some(ParamType::List)).unwrap(), json!([1]));
        assert_eq!(value("x", "US", None).unwrap(), json!("US"));
        assert!(value("x", "US", Some(ParamType::Integer)).is_err());
    }
}
