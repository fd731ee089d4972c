//! A client that nobody here wrote: grpcurl lists, describes and calls the services by reflection alone.

use std::process::Command;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Cluster, Options};

/// Runs grpcurl, which `scripts/setup test` builds and `make test` puts on the path.
fn grpcurl(arguments: &[&str]) -> anyhow::Result<String> {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools");
    let path = format!("{tools}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("grpcurl")
        .arg("-plaintext")
        .args(arguments)
        .env("PATH", path)
        .output()
        .context("grpcurl is missing: run scripts/setup test")?;
    ensure!(output.status.success(), "grpcurl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_and_calls_the_services() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options { replicas: 1, ..Options::default() }).await?;
    let endpoint = cluster.endpoints()[0].clone();
    let address = endpoint.trim_start_matches("http://");

    let services = grpcurl(&[address, "list"])?;
    for service in ["ClusterService", "ExecutorService", "LogService", "RunService", "WorkflowService"] {
        assert!(services.contains(&format!("meson.v1.{service}")), "{services}");
    }
    let described = grpcurl(&[address, "describe", "meson.v1.RunService.StartRun"])?;
    assert!(described.contains("meson.v1.StartRunRequest"), "{described}");
    let health =
        grpcurl(&["-d", "{\"service\": \"meson.v1.RunService\"}", address, "grpc.health.v1.Health/Check"])?;
    assert!(health.contains("SERVING"), "{health}");

    let definition = r#"{"definition": "name: by-hand\nnodes:\n  - { id: a, kind: noop }\n"}"#;
    let registered = grpcurl(&["-d", definition, address, "meson.v1.WorkflowService/RegisterWorkflow"])?;
    assert!(registered.contains("\"created\": true"), "{registered}");
    let started = grpcurl(&[
        "-d",
        r#"{"workflow": "by-hand", "request_id": "r"}"#,
        address,
        "meson.v1.RunService/StartRun",
    ])?;
    let run_id = serde_json::from_str::<serde_json::Value>(&started)?["run"]["runId"].clone();
    let watch = format!("{{\"run_id\": {run_id}}}");
    let watched = grpcurl(&["-d", &watch, address, "meson.v1.RunService/WatchRun"])?;
    assert!(watched.contains("RUN_STATUS_SUCCEEDED"), "{watched}");
    Ok(())
}
