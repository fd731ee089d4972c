//! `submit`: which definition, which parameters, and what is printed.

mod common;

use common::fake::Fake;
use common::*;
use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;
use serde_json::{Value, json};

/// A cluster that takes everything.
fn willing() -> Fake {
    let fake = Fake::start();
    let script = &fake.script;
    script.get_workflow.then(Ok(GetWorkflowResponse { workflow: Some(workflow()), versions: vec![] }));
    script.register_workflow.then(Ok(RegisterWorkflowResponse { workflow: Some(workflow()), created: true }));
    script.start_run.then(Ok(StartRunResponse { run: Some(run(RunStatus::Running)), created: true }));
    fake
}

/// The parameters that the fake was sent.
fn params(fake: &Fake) -> Value {
    serde_json::from_str(&fake.script.start_run.only().params_json).expect("parameters are JSON")
}

#[tokio::test]
async fn values_follow_the_types_of_the_definition() {
    let fake = willing();
    let arguments = ["submit", "greet", "-p", "name=7=x", "-p", "times=3", "-p", r#"regions=["SE","BR"]"#];
    let ended = against(&[&fake.address], &arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(params(&fake), json!({ "name": "7=x", "times": 3, "regions": ["SE", "BR"] }));
}

#[tokio::test]
async fn a_value_of_another_type_is_refused_before_anything_starts() {
    for (given, said) in [("times=three", "must be JSON"), ("times", "NAME=VALUE")] {
        let fake = willing();
        let ended = against(&[&fake.address], &["submit", "greet", "-p", given]).await;
        assert_eq!((ended.code, fake.script.start_run.seen().len()), (2, 0));
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}

#[tokio::test]
async fn single_parameters_go_over_the_file() {
    let params_file = file("params.json", r#"{ "name": "ann", "times": 2 }"#);
    let fake = willing();
    let arguments = ["submit", "greet", "--params-file", &params_file, "-p", "times=9"];
    let ended = against(&[&fake.address], &arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(params(&fake), json!({ "name": "ann", "times": 9 }));
}

#[tokio::test]
async fn labels_and_version_are_passed_on() {
    let fake = willing();
    let arguments = ["submit", "greet", "--version", "abcdef01", "--label", "team=ml", "--label", "env=a=b"];
    let ended = against(&[&fake.address], &arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let asked = fake.script.start_run.only();
    assert_eq!((asked.workflow.as_str(), asked.version.as_str()), ("greet", "abcdef01"));
    assert_eq!(asked.labels, [("team", "ml"), ("env", "a=b")].map(|(k, v)| (k.into(), v.into())).into());
}

#[tokio::test]
async fn a_file_is_registered_and_its_version_runs() {
    let path = file("greet.yaml", DEFINITION);
    let fake = willing();
    let ended = against(&[&fake.address], &["submit", &path, "-p", "name=ann"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "1-run\n"), "{}", ended.err);
    assert_eq!(fake.script.register_workflow.only().definition, DEFINITION);
    assert_eq!(fake.script.start_run.only().version, workflow().version, "pinned to what the file says");
}

#[tokio::test]
async fn a_file_with_mistakes_is_shown_with_places_and_not_sent() {
    let path = file("wrong.yaml", &DEFINITION.replace("kind: shell", "kind: shel"));
    let fake = willing();
    let ended = against(&[&fake.address], &["submit", &path]).await;
    assert_eq!((ended.code, fake.script.register_workflow.seen().len()), (2, 0));
    assert!(ended.err.contains("wrong.yaml:7:"), "{}", ended.err);
}

#[tokio::test]
async fn json_gives_the_run_and_whether_it_is_new() {
    let fake = willing();
    let ended = against(&[&fake.address], &["-o", "json", "submit", "greet"]).await;
    let answer = ended.json();
    assert_eq!((&answer["run"]["run_id"], &answer["created"]), (&json!("1-run"), &json!(true)));
}

#[tokio::test]
async fn watch_follows_to_the_end_and_exits_as_the_run() {
    let fake = willing();
    fake.script.watch_run.then(Ok(vec![Ok(update(9, Update::Run(run(RunStatus::Failed))))]));
    fake.script.list_nodes.then(Ok(ListNodesResponse::default()));
    let ended = against(&[&fake.address], &["submit", "greet", "--watch"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (1, "run 1-run\n"));
    assert!(ended.out.contains("run 1-run failed in 1m05s"), "{}", ended.out);
}
