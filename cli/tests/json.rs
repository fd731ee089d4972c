//! The shapes of `-o json`, which programs rely on, and the tables beside them.

mod common;

use common::fake::Fake;
use common::*;
use meson_proto::v1::*;
use serde_json::json;

#[tokio::test]
async fn runs_are_listed() {
    let fake = Fake::start();
    let page =
        ListRunsResponse { runs: vec![run(RunStatus::Failed)], next_page_token: "t2".into(), stale: false };
    fake.script.list_runs.then(Ok(page));
    let arguments =
        ["runs", "list", "--status", "failed", "--workflow", "greet", "--limit", "1", "--label", "a=b"];
    let ended = against(&[&fake.address], &[&["-o", "json"], &arguments[..]].concat()).await;
    let answer = ended.json();
    assert_eq!(answer["next_page_token"], "t2");
    let shown = json!({
        "run_id": "1-run", "workflow": "greet", "version": "a".repeat(64), "status": "failed",
        "params": { "name": "you" }, "outputs": null, "failure": null,
        "started_at": "2023-11-14T22:13:20Z", "ended_at": "2023-11-14T22:14:25Z", "sequence": 9,
        "counts": { "total": 3, "pending": 0, "ready": 0, "running": 0, "succeeded": 2, "failed": 1,
            "cancelled": 0, "skipped": 0 },
        "request_id": "request-1", "labels": {},
    });
    assert_eq!(answer["runs"], json!([shown]));
    let asked = fake.script.list_runs.only();
    assert_eq!((asked.statuses, asked.workflow.as_str(), asked.page_size), (vec![5], "greet", 1));
    assert_eq!(asked.labels, [("a".to_owned(), "b".to_owned())].into());

    let table = against(&[&fake.address], &arguments).await.out;
    let mut lines = table.lines();
    assert!(lines.next().is_some_and(|line| line.contains("RUN") && line.contains("TOOK")), "{table}");
    let row = lines.next().unwrap_or_default();
    assert!(
        ["1-run", "failed", "3/3", "2023-11-14 22:13:20", "1m05s"].iter().all(|it| row.contains(it)),
        "{row}"
    );
    assert!(table.contains("--page-token t2"), "{table}");
}

#[tokio::test]
async fn nodes_are_listed() {
    let fake = Fake::start();
    let training = Node {
        percent: Some(40.0),
        message: "fold 2".into(),
        holds: Some(Resources { mem_bytes: 1 << 30, ..Resources::default() }),
        ..node("train", NodeStatus::Running)
    };
    fake.script.list_nodes.then(Ok(ListNodesResponse { nodes: vec![training], ..Default::default() }));
    let arguments = ["-o", "json", "runs", "nodes", "1-run", "--status", "running", "--prefix", "tr"];
    let shown = &against(&[&fake.address], &arguments).await.json()["nodes"][0];
    assert_eq!((&shown["path"], &shown["status"]), (&json!("train"), &json!("running")));
    assert_eq!((&shown["percent"], &shown["ended_at"]), (&json!(40.0), &json!(null)));
    assert_eq!(shown["holds"]["mem_bytes"], json!(1 << 30));
    let asked = fake.script.list_nodes.only();
    assert_eq!((asked.statuses, asked.path_prefix.as_str()), (vec![5], "tr"));
    let table = against(&[&fake.address], &["runs", "nodes", "1-run"]).await.out;
    assert!(table.contains("40% fold 2"), "{table}");
}

#[tokio::test]
async fn steering_shows_the_run() {
    let fake = Fake::start();
    let answer = Some(run(RunStatus::Paused));
    fake.script.pause_run.then(Ok(PauseRunResponse { run: answer.clone() }));
    fake.script.resume_run.then(Ok(ResumeRunResponse { run: answer.clone() }));
    fake.script.restart_run.then(Ok(RestartRunResponse { run: answer.clone() }));
    fake.script.cancel_run.then(Ok(CancelRunResponse { run: answer }));
    for verb in ["pause", "resume", "restart", "cancel"] {
        let ended = against(&[&fake.address], &["-o", "json", "runs", verb, "1-run"]).await;
        assert_eq!(ended.json()["status"], "paused", "{verb}");
    }
    against(&[&fake.address], &["runs", "cancel", "1-run", "--reason", "no more"]).await;
    assert_eq!(fake.script.cancel_run.seen()[1].reason, "no more");
}

#[tokio::test]
async fn workflows_are_listed_over_all_pages() {
    let fake = Fake::start();
    let page =
        |token: &str| ListWorkflowsResponse { workflows: vec![workflow()], next_page_token: token.into() };
    fake.script.list_workflows.then(Ok(page("2"))).then(Ok(page("")));
    let answer = against(&[&fake.address], &["-o", "json", "workflows", "list"]).await.json();
    assert_eq!(answer["workflows"].as_array().map(Vec::len), Some(2));
    assert_eq!(fake.script.list_workflows.seen()[1].page_token, "2");
}

#[tokio::test]
async fn versions_are_compared() {
    let fake = Fake::start();
    let newer = meson_workflow::Definition::from_yaml(&DEFINITION.replace("default: you", "default: all"));
    let newer = newer.expect("the definition is well").canonical_json();
    let newer = Workflow { number: 2, definition_json: newer, ..workflow() };
    let answer = |workflow| Ok(GetWorkflowResponse { workflow: Some(workflow), versions: vec![] });
    fake.script.get_workflow.then(answer(workflow())).then(answer(newer));
    let ended = against(&[&fake.address], &["workflows", "diff", "greet", "abcdef01"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("--- greet version 1 @ "), "{}", ended.out);
    let changed = |sign: char, word: &str| ended.out.lines().any(|l| l.starts_with(sign) && l.contains(word));
    assert!(changed('-', "you") && changed('+', "all"), "{}", ended.out);
}

#[tokio::test]
async fn replicas_and_executors_are_shown() {
    let fake = Fake::start();
    let role = ReplicaRole::Leader.into();
    fake.script.status.then(Ok(GetClusterStatusResponse { node_id: 2, role, term: 7, ..Default::default() }));
    let member = Member { node_id: 2, voter: true, lag: Some(3), ..Default::default() };
    fake.script.list_members.then(Ok(ListMembersResponse { members: vec![member] }));
    let executor = Executor { executor_id: "e1".into(), connected: true, ..Default::default() };
    fake.script.list_executors.then(Ok(ListExecutorsResponse { executors: vec![executor] }));
    let dead = nobody();
    let status = against(&[&fake.address, &dead], &["-o", "json", "cluster", "status"]).await;
    let replicas = &status.json()["replicas"];
    assert_eq!((&replicas[0]["role"], &replicas[0]["term"]), (&json!("leader"), &json!(7)));
    assert!(
        replicas[1]["error"].is_string(),
        "one that does not answer is shown, and no failure: {replicas}"
    );
    assert_eq!(status.code, 0);
    let members = against(&[&fake.address], &["-o", "json", "cluster", "members"]).await.json();
    assert_eq!(members["members"][0]["lag"], 3);
    let executors = against(&[&fake.address], &["-o", "json", "executors", "list"]).await.json();
    assert_eq!(executors["executors"][0]["connected"], true);
}

#[tokio::test]
async fn validation_needs_no_cluster() {
    let (well, wrong) =
        (file("well.yaml", DEFINITION), file("wrong.yaml", "name: x\nnodes: [{ id: a, kin: noop }]\n"));
    let ended = alone(&["validate", &well]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let ended = alone(&["validate", &well, &wrong]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("wrong.yaml:2:") && ended.err.contains("did you mean `kind`?"),
        "{}",
        ended.err
    );
    let lines = alone(&["-o", "json", "validate", &well, &wrong]).await.json_lines();
    assert_eq!((&lines[0]["problems"], &lines[1]["problems"][0]["line"]), (&json!([]), &json!(2)));
}

#[tokio::test]
async fn kinds_of_plugins_are_checked_where_their_folders_are_given() {
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/plugins");
    let well = format!("{plugins}/workflow.yaml");
    let ended = alone(&["validate", &well]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.contains("kind `example/sql` was not checked: name its plugin's folder"),
        "{}",
        ended.out
    );
    let ended = alone(&["-o", "json", "validate", "--plugins", plugins, &well]).await;
    assert_eq!((ended.code, &ended.json()["unchecked_kinds"]), (0, &json!([])), "{}", ended.err);

    let text = std::fs::read_to_string(&well).expect("the example").replace("database:", "databas:");
    let wrong = file("sql.yaml", &text);
    assert_eq!(alone(&["validate", &wrong]).await.code, 0, "only the name was looked at");
    let ended = alone(&["validate", "--plugins", plugins, &wrong]).await;
    assert_eq!(ended.code, 2);
    let expected = "unknown field `databas`: did you mean `database`?";
    assert!(ended.err.contains("sql.yaml:9:") && ended.err.contains(expected), "{}", ended.err);
    let ended = alone(&["validate", "--plugins", "/no-such-folder", &well]).await;
    assert!(ended.code == 2 && ended.err.contains("plugin: /no-such-folder: "), "{}", ended.err);
}

#[tokio::test]
async fn problems_begin_with_their_place_and_a_missing_file_hides_none() {
    let wrong = file("wrong.yaml", "name: x\nnodes: [{ id: a, kin: noop }]\n");
    let other = file("other.yaml", "name: x\nnodes: [{ id: a, kin: noop }]\n");
    let ended = alone(&["validate", &wrong, "no-such-file.yaml", &other]).await;
    assert_eq!(ended.code, 2);
    let begins = |path: &str| ended.err.lines().any(|line| line.starts_with(&format!("{path}:2:")));
    assert!(begins(&wrong) && begins(&other), "{}", ended.err);
    assert!(ended.err.contains("no-such-file.yaml: "), "{}", ended.err);
}

#[tokio::test]
async fn schema_and_completions_are_printed() {
    assert!(alone(&["schema"]).await.json()["$defs"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        let ended = alone(&["completions", shell]).await;
        assert!(ended.code == 0 && ended.out.contains("mesonctl"), "{shell}");
    }
}
