//! Kinds that plugins bring, through a real trio: the example plugin of this repository does its work, bad configs are
//! refused before and at run time with their places, and a step that is ended in the middle leaves nothing, whatever ends it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_proto::v1::*;
use meson_tests::root;
use meson_tests::system::{in_attempts_of, start, with};
use meson_tests::waiting::Waiting;
use serde_json::{Value, json};

/// A text that breaks out of its place wherever it can.
const HOSTILE: &str = "'; drop table plays; -- \" $(touch pwned)";

async fn cluster() -> anyhow::Result<(Cluster, Client)> {
    let folders = ["examples/plugins", "tests/plugins"].map(|folder| root().join(folder));
    let folders = folders.map(|folder| folder.to_string_lossy().into_owned()).join(",");
    let env = vec![("MESON_PLUGINS".to_owned(), folders)];
    let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((cluster, client))
}

fn sql(id: &str, config: Value) -> Value {
    json!({ "id": id, "kind": "example/sql", "config": config })
}

fn one(name: &str, config: Value) -> Value {
    json!({ "name": name, "nodes": [sql("a", config)],
        "params": { "text": { "type": "string", "default": HOSTILE }, "n": { "type": "string", "default": "many" } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_does_its_work_and_fails_as_itself() -> anyhow::Result<()> {
    let (cluster, client) = cluster().await?;
    let example = std::fs::read_to_string(root().join("examples/plugins/workflow.yaml"))?;
    let name = client.register(&example).await?;
    let plays = client.start(&name, "", "").await?;
    let bound = json!({ "database": "a.db", "before": ["create table t (x text)", "insert into t values (:text)"],
        "query": "select x, x = :text as same from t", "params": { "text": "{{ params.text }}" }, "csv": "rows.csv" });
    let bound = start(&client, one("bound", bound)).await?;
    let fails = json!({ "database": "a.db", "query": "select * from nowhere" });
    let fails = start(&client, one("fails", fails)).await?;
    let too_many = json!({ "database": "a.db", "rows_max": 2, "query": "values (1), (2), (3)" });
    let too_many = start(&client, one("too-many", too_many)).await?;
    // What its template gives is seen only now.
    let rendered = json!({ "database": "a.db", "query": "select 1", "rows_max": "{{ params.n }}" });
    let rendered = start(&client, one("rendered", rendered)).await?;

    client.succeed(&plays).await?;
    let count = client.nodes(&plays).await?.into_iter().find(|node| node.path == "count").unwrap_or_default();
    let outputs: Value = serde_json::from_str(&count.outputs_json)?;
    let rows = json!([{ "title": "one", "plays": 1 }, { "title": "two", "plays": 1 }]);
    ensure!(outputs == json!({ "count": 2, "rows": rows }), "{outputs}");

    client.succeed(&bound).await?;
    let workspace = cluster.dir().join("executor-1/workspaces").join(&bound);
    let written = std::fs::read_to_string(workspace.join("rows.csv"))?;
    let quoted = HOSTILE.replace('"', "\"\"");
    ensure!(written == format!("x,same\r\n\"{quoted}\",1\r\n"), "{written}");
    ensure!(leftovers(&workspace)?.is_empty(), "nothing is left aside");

    for (run_id, class, text) in [
        (fails, FailureClass::User, "SQLite: no such table: nowhere"),
        (too_many, FailureClass::User, "the query gives more than 2 rows"),
        (rendered, FailureClass::Rejected, "config.rows_max: `rows_max` is not of type \"integer\""),
    ] {
        let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
        ensure!(failure.class() == class && failure.message.contains(text), "{text}: {failure:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_does_not_allow_is_refused_at_registration() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    for (config, expected) in [
        (json!({ "database": "a.db" }), "kind `example/sql` needs `query`"),
        (json!({ "database": "a.db", "querry": "x" }), "unknown field `querry`: did you mean `query`?"),
        (json!({ "database": 7, "query": "x" }), "`database` is not of type \"string\""),
        (json!({ "database": "a", "query": "x", "params": { "x": [1] } }), "`x` is not of type"),
        (json!({ "database": "a", "query": "x", "csv": "../x" }), "`csv` does not match"),
        (
            json!({ "database": "a", "query": "x", "csv": "x", "rows_max": 5 }),
            "`rows_max` may not be given here",
        ),
        (json!({ "database": "a", "query": "{{ parms.text }}" }), "parms"),
    ] {
        refused(&client, &one("refused", config), expected).await?;
    }
    let unknown = json!({ "name": "unknown", "nodes": [{ "id": "a", "kind": "example/other" }] });
    let expected =
        "no plugin declares the kind `example/other`: add the plugin's folder to the setting `plugins`";
    refused(&client, &unknown, expected).await
}

async fn refused(client: &Client, definition: &Value, expected: &str) -> anyhow::Result<()> {
    match client.register(&definition.to_string()).await {
        Ok(name) => anyhow::bail!("{name} was registered, not refused for: {expected}"),
        Err(error) => {
            let said = format!("{error:#}").replace("\\\"", "\"");
            ensure!(said.contains(expected), "{expected}: {said}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_leaves_neither_process_nor_row_nor_file() -> anyhow::Result<()> {
    let (cluster, client) = cluster().await?;
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n";
    let config = json!({ "database": "a.db", "csv": "n.csv", "query": endless,
        "before": ["create table made (x)", "insert into made values (1)"] });
    let run_id = start(&client, one("endless", config)).await?;
    let workspace = cluster.dir().join("executor-1/workspaces").join(&run_id);
    until("it writes its file", || async {
        let parts = leftovers(&workspace).ok()?;
        parts.iter().any(|part| part.metadata().is_ok_and(|facts| facts.len() > 0)).then_some(())
    })
    .await?;
    ensure!(!in_attempts_of(&run_id)?.is_empty(), "it runs");
    client.cancel(&run_id).await?;
    ensure!(client.wait(&run_id).await?.status() == RunStatus::Cancelled, "cancelled");
    ensure!(in_attempts_of(&run_id)?.is_empty(), "{:?}", in_attempts_of(&run_id)?);
    ensure!(leftovers(&workspace)?.is_empty(), "{:?}", leftovers(&workspace)?);
    ensure!(!workspace.join("n.csv").exists(), "half a file has not its name");
    let tables = Command::new("python3")
        .args(["-c", "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from sqlite_master').fetchone()[0])"])
        .arg(workspace.join("a.db"))
        .output()?;
    ensure!(String::from_utf8_lossy(&tables.stdout).trim() == "0", "rolled back: {tables:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_step_it_runs_once_and_its_plugin_cleans_up() -> anyhow::Result<()> {
    let (mut cluster, client) = cluster().await?;
    let waits = |config: Value| json!({ "id": "a", "kind": "test/waits", "config": config, "resources": { "cpus": 0.5, "mem": "64MiB" } });
    let waiting = Waiting::start(&cluster, &client, "waits", &[waits(json!({}))]).await?;
    waiting.outlives_crashes(&mut cluster).await?;
    let late = with(waits(json!({})), json!({ "timeout": "2s" }));
    let late = Waiting::start(&cluster, &client, "is-late", &[late]).await?;
    let eats = Waiting::start(&cluster, &client, "eats", &[waits(json!({ "eats": 300 << 20 }))]).await?;
    waiting.ends(3).await?;
    ensure!(held(&waiting)?.is_empty(), "{:?}", held(&waiting)?);
    for (run, class, reason) in
        [(late, FailureClass::Timeout, "timeout"), (eats, FailureClass::User, "out_of_memory")]
    {
        let failure = client.wait(run.run_id()).await?.failure.unwrap_or_default();
        ensure!(failure.class() == class && failure.reason == reason, "{reason}: {failure:?}");
        ensure!(held(&run)?.is_empty(), "{reason}: {:?}", held(&run)?);
        ensure!(in_attempts_of(run.run_id())?.is_empty(), "{reason}: {:?}", in_attempts_of(run.run_id())?);
    }
    Ok(())
}

/// What attempts of `test/waits` hold.
fn held(run: &Waiting<'_>) -> anyhow::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(run.workspace())?.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.to_string_lossy().contains("a.held-")).collect())
}

/// Files that a step writes aside.
fn leftovers(workspace: &std::path::Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(workspace)?.flatten().map(|entry| entry.path());
    Ok(files.filter(|path| path.to_string_lossy().contains(".part-")).collect())
}
