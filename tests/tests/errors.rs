//! What the cluster says to requests that are wrong: the code, the field, the place and the remedy, from any replica.

use std::future::Future;

use meson_chaos_tests::Client;
use meson_proto::v1::workflow_service_client::WorkflowServiceClient;
use meson_proto::v1::*;
use meson_tests::system::{noop, shared, shell, start};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A run id that nobody made.
const NOBODYS: &str = "g1-01jd2k3m4n5p6q7r8s9t0v1w2x";

/// Fields and descriptions of the status's google.rpc.BadRequest.
fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

/// INVALID_ARGUMENT with exactly these fields, and these words about them.
fn assert_invalid(status: &Status, expected: &[(&str, &str)]) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let found = violations(status);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((field, description), (expected_field, words)) in found.iter().zip(expected) {
        assert_eq!(field, expected_field, "{description}");
        assert!(description.contains(words), "{field}: {description} lacks `{words}`");
    }
}

async fn refused<T>(call: impl Future<Output = Result<T, Status>>) -> Status {
    match call.await {
        Ok(_) => panic!("it should have been refused"),
        Err(status) => status,
    }
}

async fn cancel_because(client: &Client, run_id: &str, reason: &str) -> Result<CancelRunResponse, Status> {
    let request = CancelRunRequest { run_id: run_id.to_owned(), reason: reason.to_owned() };
    client.runs(request, |mut runs, request| async move { runs.cancel_run(request).await }).await
}

async fn register(client: &Client, definition: &str) -> Result<RegisterWorkflowResponse, Status> {
    let call = |channel| async move {
        let request = RegisterWorkflowRequest { definition: definition.to_owned() };
        WorkflowServiceClient::new(channel).register_workflow(request).await
    };
    client.call(call).await
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_refused_with_the_place_of_each_problem() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let malformed = "\
name: malformed
params:
  n: { type: integer, default: x }
nodes:
  - { id: a, kind: shel }
  - id: b
    kind: noop
    needs: [c]
  - { id: d, kind: shell, config: { command: \"echo {{ outputs.b.x }}\" } }
";
    let expected = [
        ("definition.params.n.default", "line 3, column 32"),
        (
            "definition.nodes[0].kind",
            "line 5, column 20: node \"a\": there is no kind `shel`: did you mean `shell`?",
        ),
        ("definition.nodes[1].needs[0]", "line 8, column 13"),
        ("definition.nodes[2].config.command", "line 9, column 46"),
    ];
    assert_invalid(&refused(register(&client, malformed)).await, &expected);
    let open = refused(register(&client, "name: w\nnodes: [\n")).await;
    assert_invalid(&open, &[("definition", "line 2, column 8: not valid YAML")]);
    let large = format!("name: w\ndescription: {}\n", "x".repeat(1 << 20));
    assert_invalid(&refused(register(&client, &large)).await, &[("definition", "1048576")]);
    // Nothing of it was stored.
    let unknown = refused(client.start("malformed", "", "")).await;
    assert_eq!(unknown.code(), Code::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_refused_by_name() -> anyhow::Result<()> {
    let (cluster, client) = shared().await?;
    let typed = json!({ "name": "typed-params", "nodes": [noop("a", &[])], "params": {
        "rounds": { "type": "integer", "maximum": 9 }, "name": { "type": "string", "default": "x" } } });
    client.register(&typed.to_string()).await?;
    let large = json!({ "rounds": 1, "name": "x".repeat(256 << 10) }).to_string();
    let deep = format!("{{\"rounds\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    let wrong: [(&str, &[(&str, &str)]); 8] = [
        ("", &[("params_json.params.rounds", "missing")]),
        ("{\"rounds\": \"x\"}", &[("params_json.params.rounds", "whole number")]),
        ("{\"rounds\": 10}", &[("params_json.params.rounds", "9")]),
        (
            "{\"round\": 1}",
            &[
                ("params_json.params.round", "did you mean `rounds`?"),
                ("params_json.params.rounds", "missing"),
            ],
        ),
        ("[1]", &[("params_json", "not a JSON object")]),
        ("{\"rounds\": 1", &[("params_json", "not a JSON object")]),
        (&large, &[("params_json", "262144 are allowed")]),
        (&deep, &[("params_json.params.rounds", "nested")]),
    ];
    // Each replica says the same, whether it leads or passes the request on.
    for endpoint in cluster.endpoints() {
        let client = Client::new(vec![endpoint]);
        for (params, expected) in wrong {
            assert_invalid(&refused(client.start("typed-params", "", params)).await, expected);
        }
        let typo = refused(client.start("typed-param", "", "")).await;
        assert_eq!(typo.code(), Code::NotFound);
        assert!(typo.message().contains("did you mean `typed-params`?"), "{}", typo.message());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_name_one_request() -> anyhow::Result<()> {
    let (cluster, client) = shared().await?;
    let definition =
        json!({ "name": "requested", "params": { "n": { "type": "integer" } }, "nodes": [noop("a", &[])] });
    client.register(&definition.to_string()).await?;
    let run_id = client.start("requested", "errors-1", "{\"n\": 1}").await?;
    for endpoint in cluster.endpoints() {
        let client = Client::new(vec![endpoint]);
        assert_eq!(
            client.start("requested", "errors-1", "{ \"n\":1 }").await?,
            run_id,
            "white space is no matter"
        );
        let reused = refused(client.start("requested", "errors-1", "{\"n\": 2}")).await;
        assert_eq!(reused.code(), Code::AlreadyExists, "{reused:?}");
        assert!(reused.message().contains("errors-1") && reused.message().contains(&run_id), "{reused:?}");
    }
    for request_id in ["with space", "ünlaut", "tab\t", &"x".repeat(129)] {
        let status = refused(client.start("requested", request_id, "{\"n\": 1}")).await;
        assert_invalid(&status, &[("request_id", "visible ASCII")]);
        let status = refused(client.signal(&run_id, "go", "", request_id)).await;
        assert_invalid(&status, &[("request_id", "visible ASCII")]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    for run_id in [NOBODYS, "", "nonsense", &"x".repeat(10_000)] {
        let answers = [
            refused(client.run(run_id)).await,
            refused(client.nodes(run_id)).await,
            refused(client.node(run_id, "a")).await,
            refused(client.cancel(run_id)).await,
            refused(client.pause(run_id)).await,
            refused(client.resume(run_id)).await,
            refused(client.restart(run_id)).await,
            refused(client.signal(run_id, "go", "", "")).await,
            refused(client.watch(run_id, 0)).await,
        ];
        for status in answers {
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
        }
    }
    let malformed = refused(client.run("nonsense")).await;
    assert!(
        malformed.message().contains("nonsense") && malformed.message().contains("looks like `g0-"),
        "says how ids look: {malformed:?}"
    );
    let run_id = start(&client, json!({ "name": "one-node", "nodes": [noop("a", &[])] })).await?;
    for path in ["b", "", "a/b", "a[0]", "a[99999999999999999999]/b"] {
        let status = refused(client.node(&run_id, path)).await;
        assert_eq!(status.code(), Code::NotFound, "{path}: {status:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_bounds_and_tokens_of_former_answers() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let run_id = start(&client, json!({ "name": "paged", "nodes": [noop("a", &[])] })).await?;
    let runs = |page_size, page_token: &str| {
        let request = ListRunsRequest { page_size, page_token: page_token.to_owned(), ..Default::default() };
        client.runs(request, |mut runs, request| async move { runs.list_runs(request).await })
    };
    let nodes = |page_size, page_token: &str| {
        let (run_id, page_token) = (run_id.clone(), page_token.to_owned());
        let request = ListNodesRequest { run_id, page_size, page_token, ..Default::default() };
        client.runs(request, |mut runs, request| async move { runs.list_nodes(request).await })
    };
    assert_invalid(&refused(runs(1_001, "")).await, &[("page_size", "1000 allowed")]);
    assert_invalid(&refused(nodes(1_001, "")).await, &[("page_size", "1000 allowed")]);
    for token in ["nonsense", "-1", "18446744073709551616", "g1-"] {
        assert_invalid(&refused(nodes(1, token)).await, &[("page_token", "former answer")]);
        assert_invalid(&refused(runs(1, token)).await, &[("page_token", "former answer")]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_not_steered_against_their_state() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let gated = json!({ "name": "gated-state", "nodes": [{ "id": "gate", "wait": { "signal": "go" } }] });
    let running = start(&client, gated).await?;
    let too_early = refused(client.restart(&running)).await;
    assert_eq!(too_early.code(), Code::FailedPrecondition);
    assert!(too_early.message().contains("has not ended"), "{too_early:?}");
    let large = format!("\"{}\"", "x".repeat(64 << 10));
    assert_invalid(&refused(client.signal(&running, "go", &large, "")).await, &[("payload_json", "65536")]);
    assert_invalid(&refused(client.signal(&running, "go", "{", "")).await, &[("payload_json", "not JSON")]);
    assert_invalid(&refused(client.signal(&running, "", "", "")).await, &[("signal", "name")]);

    let succeeded = start(&client, json!({ "name": "succeeds", "nodes": [noop("a", &[])] })).await?;
    client.succeed(&succeeded).await?;
    let failed = start(&client, json!({ "name": "fails", "nodes": [shell("a", &[], "exit 3")] })).await?;
    assert_eq!(client.wait(&failed).await?.status(), RunStatus::Failed);
    let ended = [
        refused(client.restart(&succeeded)).await,
        refused(client.signal(&succeeded, "go", "", "")).await,
        refused(client.signal(&failed, "go", "", "")).await,
        refused(client.pause(&succeeded)).await,
        refused(client.resume(&failed)).await,
    ];
    for status in ended {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains(&succeeded) || status.message().contains(&failed), "{status:?}");
    }
    // What is wished for is so already.
    assert_eq!(client.cancel(&succeeded).await?.status(), RunStatus::Succeeded);
    assert_eq!(client.cancel(&failed).await?.status(), RunStatus::Failed);
    client.cancel(&running).await?;
    assert_eq!(client.wait(&running).await?.status(), RunStatus::Cancelled);
    Ok(())
}

/// Many clients take no more than 8 KiB of trailers, and drop the connection, with all that goes over it, when there
/// is more.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_stay_short_whatever_was_asked() -> anyhow::Result<()> {
    let (cluster, _) = shared().await?;
    let nodes: Vec<_> = (0..100).map(|n| json!({ "id": format!("n{n}"), "kind": "shel" })).collect();
    let definition = json!({ "name": "many-problems", "nodes": nodes }).to_string();
    let long = "ü".repeat(100_000);
    let params: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("ünknown-{n}"), json!(1))).collect();
    let params = serde_json::Value::Object(params).to_string();
    for endpoint in cluster.endpoints() {
        let client = Client::new(vec![endpoint]);
        let run_id = start(
            &client,
            json!({ "name": "short", "nodes": [{ "id": "gate", "wait": { "signal": "go" } }] }),
        )
        .await?;
        let status = refused(register(&client, &definition)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let found = violations(&status);
        assert!(found.len() > 5, "{found:#?}");
        assert!(
            found.last().is_some_and(|(_, last)| last.contains("more")),
            "says that these are not all: {found:#?}"
        );
        let answers = [
            (Code::InvalidArgument, refused(client.start("short", "", &params)).await),
            (Code::InvalidArgument, refused(client.start("short", "", &format!("\"{long}\""))).await),
            (Code::InvalidArgument, refused(client.start("short", &long, "")).await),
            (Code::NotFound, refused(client.start(&long, "", "")).await),
            (Code::NotFound, refused(client.node(&run_id, &long)).await),
            (Code::NotFound, refused(client.cancel(&long)).await),
            (Code::InvalidArgument, refused(cancel_because(&client, &run_id, &long)).await),
            (Code::InvalidArgument, refused(client.signal(&run_id, &long, "", "")).await),
            (Code::InvalidArgument, refused(client.signal(&run_id, "go", &long, "")).await),
        ];
        for (code, status) in answers {
            assert_eq!(status.code(), code, "{status:?}");
            let encoded = status.message().len() * 3 + status.details().len() * 4 / 3;
            assert!(encoded < 8 << 10, "{encoded} bytes: {}", status.message());
        }
        client.cancel(&run_id).await?;
    }
    Ok(())
}
