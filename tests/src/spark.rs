//! Steps of kind `spark`, and what a run says of them.

use anyhow::ensure;
use meson_chaos_tests::{Client, until};
use meson_proto::v1::Node;
use serde_json::{Value, json};

/// A step on one core.
pub fn step(id: &str, config: Value, mem: &str) -> Value {
    json!({ "id": id, "kind": "spark", "config": config, "resources": { "cpus": 1, "mem": mem } })
}

/// A workflow of one step.
pub fn one(name: &str, step: Value) -> Value {
    json!({ "name": name, "nodes": [step] })
}

/// Waits for a file that it is told of, task by task, and notes that it began.
pub const WAITS: &str = "import sys, time, os
from pyspark import SparkContext
go = sys.argv[1]
def wait(x):
    # tidy: allow sleep: it is the step that waits
    while not os.path.exists(go): time.sleep(0.2)
    return x
sc = SparkContext(appName='renamed')
open(go + '.begun', 'a').write('x')
sc.parallelize(range(4), 2).count()
sc.parallelize(range(4), 2).map(wait).count()";

/// What a run says of its only step, once Spark's own figures are in it.
///
/// # Errors
/// When it ends before.
pub async fn figures(client: &Client, run_id: &str) -> anyhow::Result<Value> {
    let node = until("figures of Spark", || async {
        let node = client.nodes(run_id).await.ok()?.into_iter().next()?;
        let is_seen = spark_data(&node)["tasks"]["known"] == 4;
        (is_seen || node.ended_at.is_some()).then_some(node)
    })
    .await?;
    ensure!(node.ended_at.is_none(), "it has ended: {node:?}");
    Ok(spark_data(&node))
}

/// What Spark's own figures of a node are.
pub fn spark_data(node: &Node) -> Value {
    serde_json::from_str::<Value>(&node.data_json).map_or(Value::Null, |data| data["spark"].clone())
}
