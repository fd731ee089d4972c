//! `hive` steps at a real HiveServer2 (Spark's Thrift server), through a real trio: what comes out of them, how they fail, and
//! that no query of them goes on or runs twice, whatever is killed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::hive::ThriftServer;
use meson_proto::v1::*;
use meson_tests::system::{start, with};
use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

async fn cluster() -> anyhow::Result<(Arc<ThriftServer>, Cluster, Client)> {
    let server = ThriftServer::shared().await?;
    let env = [("MESON_HIVE_SERVER", server.host()), ("MESON_HIVE_SPARK_UI", server.ui())];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((server, cluster, client))
}

/// A step with a query and more fields of its config.
fn query(id: &str, query: &str, more: Value) -> Value {
    let mut config = json!({ "query": query });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    json!({ "id": id, "kind": "hive", "config": config, "resources": { "cpus": 0.1, "mem": "64MiB" } })
}

fn one(name: &str, step: Value) -> Value {
    json!({ "name": name, "nodes": [step] })
}

/// A query of this many tasks, two at a time, that take this long each.
fn sleeps(tasks: u32, task_ms: u32) -> String {
    // tidy: allow sleep: it is the query that sleeps
    let sleeps = format!(
        "SELECT java_method('java.lang.Thread', 'sleep', {task_ms}L) AS x FROM range(0, {tasks}, 1, {tasks})"
    );
    format!("SELECT count(x) AS slept FROM ({sleeps})")
}

async fn outputs(client: &Client, run_id: &str, path: &str) -> anyhow::Result<Value> {
    let nodes = client.nodes(run_id).await?;
    let node = nodes.iter().find(|node| node.path == path).context("the node")?;
    serde_json::from_str(&node.outputs_json).with_context(|| format!("{node:?}"))
}

/// Values that break out of their place wherever they can.
fn hostile() -> Map<String, Value> {
    let texts = [
        "'; DROP TABLE t; --",
        "\\' OR 1=1 --",
        "\\\\' OR '1'='1",
        "\" OR \"\"=\"",
        "${env:HOME} ${hiveconf:x} ${x}",
        "a*/ SELECT 1 /*+ b */ -- c",
        "line one\nline two\r\n\ttab \\n \\u0041 \\x",
        "‘Zürich’ “中文” ＇ 😀 :name ::int %_",
        "`back` r'raw\\",
        "nul \u{0} end",
        "",
        " ",
    ];
    texts.into_iter().enumerate().map(|(number, text)| (format!("p{number}"), json!(text))).collect()
}

/// One of every type, then a row of nulls.
const TYPES: &str = "SELECT true AS a_boolean, 1Y AS a_tinyint, 2S AS a_smallint, 3 AS an_int, 9223372036854775807 AS a_bigint,
    CAST(1.1 AS FLOAT) AS a_float, 0.1D AS a_double, CAST('NaN' AS DOUBLE) AS a_nan, 1.10BD AS a_decimal, 'ü\"\\'' AS a_string,
    DATE'2026-11-28' AS a_date, TIMESTAMP'2026-11-28 01:02:03.456' AS a_timestamp, X'00ff' AS a_binary,
    array(1, null) AS an_array, map('k', 1) AS a_map, named_struct('x', 1) AS a_struct, to_json(array('\"')) AS a_json
    UNION ALL SELECT null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null";

/// Two statements, a view that only their session has, and semicolons that end none.
const SCRIPT: &str = "-- a view; then its rows
CREATE TEMPORARY VIEW `v;1` AS SELECT id, if(id % 2 = 0, null, concat('a,\"', id)) AS name FROM range(1500);
/* ; */ SELECT id, name FROM `v;1` WHERE id NOT IN (:none) ORDER BY id;
";

/// One step for everything that comes back from a query.
fn speaking(script: &Path) -> Value {
    let rows_in = |id: &str, path: &str| {
        let config = json!({ "script": "cohort.sql", "parameters": { "none": [-1, -2] }, "results": "file", "path": path });
        json!({ "id": id, "kind": "hive", "config": config, "fetch": [{ "uri": script.display().to_string() }],
            "resources": { "cpus": 0.1, "mem": "64MiB" } })
    };
    let names =
        hostile().into_iter().map(|(name, _)| format!(":{name} AS {name}")).collect::<Vec<_>>().join(", ");
    let creates = "CREATE DATABASE IF NOT EXISTS db1; CREATE TABLE t USING parquet AS SELECT 1 AS x";
    let bound =
        "SELECT :n + 0 AS n, 0-:n AS m, :f AS f, :b AS b, :z AS z, 2 IN (:l) AS l, :t = 'x' AS t FROM :table";
    let parameters =
        json!({ "n": -7, "f": -0.5, "b": false, "z": null, "l": [1, "{{ 1 + 1 }}"], "t": "{{ params.x }}" });
    json!([
        query("types", TYPES, json!({ "settings": { "hive.server2.logging.operation.level": "VERBOSE" } })),
        query("hostile", &format!("SELECT {names}"), json!({ "parameters": hostile() })),
        rows_in("csv", "out/rows.csv"),
        rows_in("lines", "rows.jsonl"),
        query(
            "set",
            "SET spark.sql.shuffle.partitions",
            json!({ "settings": { "spark.sql.shuffle.partitions": 7 } })
        ),
        query("creates", creates, json!({ "results": "none" })),
        with(
            query(
                "bound",
                bound,
                json!({ "parameters": parameters, "identifiers": { "table": "default.t" } })
            ),
            json!({ "needs": ["creates"] })
        ),
        with(
            query("db", "SELECT current_database() AS db", json!({ "database": "db1" })),
            json!({ "needs": ["creates"] })
        ),
    ])
}

/// Everything that comes back from a query: types, nulls, parameters, files, the log.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_queries() -> anyhow::Result<()> {
    let (_server, cluster, client) = cluster().await?;
    let script = cluster.dir().join("cohort.sql");
    std::fs::write(&script, SCRIPT)?;
    let params = json!({ "x": { "type": "string", "default": "x" } });
    let definition = json!({ "name": "speaks", "params": params, "nodes": speaking(&script) });
    let run_id = start(&client, definition).await?;
    client.succeed(&run_id).await?;
    check_values(&client, &run_id).await?;
    check_files(&cluster, &client, &run_id).await
}

async fn check_values(client: &Client, run_id: &str) -> anyhow::Result<()> {
    let types = outputs(client, run_id, "types").await?;
    let expected = json!({ "a_boolean": true, "a_tinyint": 1, "a_smallint": 2, "an_int": 3, "a_bigint": i64::MAX,
        "a_float": 1.1, "a_double": 0.1, "a_nan": "NaN", "a_decimal": "1.10", "a_string": "ü\"'", "a_date": "2026-11-28",
        "a_timestamp": "2026-11-28 01:02:03.456", "a_binary": "AP8=", "an_array": "[1,null]", "a_map": "{\"k\":1}",
        "a_struct": "{\"x\":1}", "a_json": "[\"\\\"\"]" });
    assert_eq!(types["rows"][0], expected);
    let nulls = types["rows"][1].as_object().context("a row")?;
    ensure!(nulls.len() == 17 && nulls.values().all(Value::is_null), "{nulls:?}");
    assert_eq!(types["row_count"], 2);
    assert_eq!(types["columns"][8], json!({ "name": "a_decimal", "type": "decimal" }));

    assert_eq!(outputs(client, run_id, "hostile").await?["rows"][0], Value::Object(hostile()));
    let bound = outputs(client, run_id, "bound").await?;
    let expected = json!({ "n": -7, "m": 7, "f": "-0.5", "b": false, "z": null, "l": true, "t": true });
    assert_eq!(bound["rows"], json!([expected]));
    assert_eq!(outputs(client, run_id, "db").await?["rows"][0]["db"], "db1");
    assert_eq!(outputs(client, run_id, "set").await?["rows"][0]["value"], "7");
    Ok(())
}

async fn check_files(cluster: &Cluster, client: &Client, run_id: &str) -> anyhow::Result<()> {
    let workspace = cluster.dir().join("executor-1/workspaces").join(run_id);
    let csv = std::fs::read_to_string(workspace.join("out/rows.csv"))?;
    ensure!(csv.starts_with("id,name\n0,\n1,\"a,\"\"1\"\n") && csv.lines().count() == 1501, "{}", &csv[..80]);
    let lines = std::fs::read_to_string(workspace.join("rows.jsonl"))?;
    let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!((lines.len(), &lines[1499]), (1500, &json!({ "id": 1499, "name": "a,\"1499" })));
    let file = outputs(client, run_id, "lines").await?;
    assert_eq!(file, json!({ "row_count": 1500, "path": workspace.join("rows.jsonl") }));
    let nodes = client.nodes(run_id).await?;
    let node = nodes.iter().find(|node| node.path == "lines").context("the node")?;
    assert_eq!(node.artifacts[0].uri, format!("file://{}", workspace.join("rows.jsonl").display()));
    let types = nodes.iter().find(|node| node.path == "types").context("the node")?;
    let log = cluster.dir().join("executor-1/attempts").join(&types.attempt_id).join("log.output");
    let log = std::fs::read_to_string(log)?;
    // Which of its lines a server keeps for an operation varies with what else it does.
    ensure!(log.contains("INFO"), "what the server logs is the step's log: {log}");
    Ok(())
}

/// How queries fail: by whose fault, and in whose words.
#[tokio::test(flavor = "multi_thread")]
async fn how_queries_fail() -> anyhow::Result<()> {
    let (server, _cluster, client) = cluster().await?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let away = with(
        query("a", "SELECT 1", json!({ "server": nobody })),
        json!({ "retry": { "platform": { "retries": 1, "delay": "100ms" } } }),
    );
    let late = with(query("a", &sleeps(2, 300_000), json!({})), json!({ "timeout": "4s" }));
    // Less than what follows the query needs by itself.
    let eats = with(
        query("a", &sleeps(2, 300_000), json!({})),
        json!({ "resources": { "cpus": 0.1, "mem": "2MiB" } }),
    );
    let cases = [
        (query("a", "SELECT * FROM nowhere", json!({})), "query_failed", "TABLE_OR_VIEW_NOT_FOUND"),
        (query("a", "SELEC 1", json!({})), "query_failed", "PARSE_SYNTAX_ERROR"),
        (query("a", "SELECT raise_error('the reason')", json!({})), "query_failed", "the reason"),
        (query("a", "SELECT id FROM range(2000)", json!({})), "result_too_large", "`results: file`"),
        (query("a", "SELECT repeat('x', 70000)", json!({})), "result_too_large", "`results: file`"),
        (query("a", "SELECT 1 AS a, 2 AS a", json!({})), "bad_columns", "two columns are named `a`"),
        (query("a", "SELECT 1", json!({ "database": "nowhere" })), "session_refused", "nowhere"),
        (query("a", "SELECT :{{ 'x' }}", json!({})), "rejected", "`:x`, which is in neither"),
        (query("a", "SELECT 1", json!({ "auth": "nosasl" })), "bad_answer", "`auth`"),
        (away, "server_away", "no HiveServer2 at 127.0.0.1"),
        (late, "", ""),
        (eats, "out_of_memory", "limit of 2097152"),
    ];
    let mut runs = Vec::new();
    for (number, (step, reason, text)) in cases.into_iter().enumerate() {
        runs.push((start(&client, one(&format!("fails-{number}"), step)).await?, reason, text));
    }
    for (run_id, reason, text) in &runs {
        let failure = client.wait(run_id).await?.failure.unwrap_or_default();
        let class = match *reason {
            "server_away" => FailureClass::Platform,
            "rejected" | "bad_answer" => FailureClass::Rejected,
            // Executor and scheduler both keep the time, and either may be first.
            "" => FailureClass::Timeout,
            _ => FailureClass::User,
        };
        ensure!(failure.class() == class, "{reason}: {failure:?}");
        ensure!(failure.message.contains(text), "{text}: {failure:?}");
        ensure!(["rejected", "", failure.reason.as_str()].contains(reason), "{reason}: {failure:?}");
        ensure!(!failure.message.contains("\tat ") && !failure.message.contains("may go on"), "{failure:?}");
        ensure!(server.running(run_id)?.is_empty(), "{reason}: {:?}", server.running(run_id)?);
    }
    assert_eq!(client.nodes(&runs[9].0).await?[0].attempt, 2, "a server that is away is asked again");
    Ok(())
}

/// Whose query is whose job: how many jobs of a run there were, and which run.
async fn until_running(server: &ThriftServer, text: &str) -> anyhow::Result<u64> {
    until(&format!("a job of {text}"), || async { Some(server.running(text).ok()?.first()?.id) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_or_runs_twice() -> anyhow::Result<()> {
    let (server, mut cluster, client) = cluster().await?;

    // In mid-query its percentage is seen; when it is cancelled the server runs nothing of it.
    let cancelled = start(&client, one("cancelled", query("a", &sleeps(40, 1_000), json!({})))).await?;
    until("some percent", || async {
        let percent = client.nodes(&cancelled).await.ok()?.first()?.percent?;
        (percent > 0.0 && percent < 100.0).then_some(())
    })
    .await?;
    client.cancel(&cancelled).await?;
    assert_eq!(client.wait(&cancelled).await?.status(), RunStatus::Cancelled);
    assert_eq!(server.running(&cancelled)?, [], "when the run has ended nothing runs");

    // The executor dies: the query goes on, is followed again, and ran once.
    let adopted = start(&client, one("adopted", query("a", &sleeps(2, 8_000), json!({})))).await?;
    let job = until_running(&server, &adopted).await?;
    cluster.kill_executor(0)?;
    cluster.start_executor(0)?;
    client.succeed(&adopted).await?;
    let jobs = server.jobs(&adopted)?;
    ensure!(
        jobs.iter().all(|job| job.statement.contains("attempt=1 ")) && jobs[jobs.len() - 1].id == job,
        "{jobs:?}"
    );
    assert_eq!(client.nodes(&adopted).await?[0].attempt, 1);

    // All processes of the attempt die with the executor: its query is ended before another begins.
    let slow_once = sleeps(2, 0).replace("0L", "{{ 300000 if attempt == 1 else 1 }}L");
    let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "100ms" } } });
    let retried = start(&client, one("retried", with(query("a", &slow_once, json!({})), retry))).await?;
    until_running(&server, &retried).await?;
    cluster.kill_executor_and_attempts(0)?;
    cluster.start_executor(0)?;
    until("the second attempt", || async {
        (client.nodes(&retried).await.ok()?.first()?.attempt == 2).then_some(())
    })
    .await?;
    assert_eq!(
        server.running(&format!("run={retried} step=a attempt=1 "))?,
        [],
        "the first was ended before"
    );
    client.succeed(&retried).await?;
    Ok(())
}

/// A machine is cut off while its connection to the server stays as it was, so the server goes on with what it began. That is ended
/// before the next attempt begins its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_machine_began_is_ended_before_the_next_attempt() -> anyhow::Result<()> {
    let server = ThriftServer::shared().await?;
    let env = [
        ("MESON_HIVE_SERVER", server.host()),
        ("MESON_HIVE_SPARK_UI", server.ui()),
        ("MESON_LEASE_MS", "6000".to_owned()),
        ("MESON_LEASE_MARGIN_MS", "2000".to_owned()),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let cluster = Cluster::start(Options { env, executors: 2, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    let slow_once = sleeps(2, 0).replace("0L", "{{ 300000 if attempt == 1 else 1000 }}L");
    let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "100ms" } } });
    let run_id = start(&client, one("cut-off", with(query("a", &slow_once, json!({})), retry))).await?;
    let of = |attempt: u32| format!("run={run_id} step=a attempt={attempt} ");
    until_running(&server, &of(1)).await?;
    let attempt_id = client.nodes(&run_id).await?.remove(0).attempt_id;
    let is_there = |executor: &usize| {
        cluster.dir().join(format!("executor-{}/attempts/{attempt_id}", executor + 1)).exists()
    };
    let lost = (0..2).find(is_there).context("an executor has the attempt")?;
    cluster.signal_executor_and_attempts(lost, Signal::SIGSTOP)?;
    until("the second attempt", || async {
        (client.nodes(&run_id).await.ok()?.first()?.attempt == 2).then_some(())
    })
    .await?;
    ensure!(!server.running(&of(1))?.is_empty(), "nobody else has ended it, or this shows nothing");
    until_running(&server, &of(2)).await?;
    assert_eq!(server.running(&of(1))?, [], "the first was ended before");
    client.succeed(&run_id).await?;
    Ok(())
}
