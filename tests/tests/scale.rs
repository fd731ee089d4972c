//! Ten thousand items in one run: it ends, is listed, gives its nodes in pages, each once, and is watched as it goes,
//! afterwards, and from the middle.

use std::collections::{BTreeMap, BTreeSet};

use meson_chaos_tests::{Client, Cluster, Options};
use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;
use serde_json::{Value, json};

const ITEMS: usize = 10_000;

/// A list of items written out, a step for each, and a join that counts them.
fn wide() -> Value {
    let small = json!({ "cpus": 0.001, "mem": "1MiB" });
    let one = json!({ "id": "one", "kind": "noop", "resources": small, "config": { "outputs": { "n": "{{ item }}" } } });
    let items: Vec<usize> = (0..ITEMS).collect();
    json!({ "name": "wide", "outputs": { "count": "outputs.join.count" }, "nodes": [
        { "id": "fan", "for_each": { "items": items, "nodes": [one], "outputs": { "n": "outputs.one.n" } } },
        { "id": "join", "needs": ["fan"], "kind": "noop", "config": { "outputs": { "count": "{{ outputs.fan.n | unique | length }}" } } },
    ] })
}

/// What a watch has shown: the last state of each node, in the order of sequence numbers.
#[derive(Default)]
struct Watched {
    nodes: BTreeMap<String, Node>,
    run: Option<Run>,
    sequence: u64,
    updates: usize,
}

impl Watched {
    /// Watches on, to the end or until so many updates have come; says whether the stream has ended.
    async fn follow(&mut self, client: &Client, run_id: &str, updates_max: usize) -> anyhow::Result<bool> {
        let mut stream = client.watch(run_id, self.sequence).await?;
        while let Some(update) = stream.message().await? {
            assert!(update.sequence >= self.sequence, "sequence numbers only grow");
            self.sequence = update.sequence;
            self.updates += 1;
            match update.update {
                Some(Update::Node(node)) => {
                    let older = self.nodes.insert(node.path.clone(), node.clone());
                    assert!(older.is_none_or(|older| older.ended_at.is_none()), "{} ended twice", node.path);
                    self.run = None;
                }
                Some(Update::Run(run)) => self.run = Some(run),
                Some(Update::Progress(_)) | None => {}
            }
            if self.updates >= updates_max {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn succeeded(&self) -> BTreeSet<&str> {
        let nodes = self.nodes.values().filter(|node| node.status() == NodeStatus::Succeeded);
        nodes.map(|node| node.path.as_str()).collect()
    }

    /// The last update is the run's, and terminal.
    fn assert_ended(&self, sequence: u64) {
        let run = self.run.as_ref().expect("the last update is of the run");
        assert_eq!((run.status(), run.sequence), (RunStatus::Succeeded, sequence));
    }
}

/// All pages of this size; each but the last is full.
async fn pages(client: &Client, run_id: &str, page_size: u32) -> anyhow::Result<Vec<Node>> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            ListNodesRequest { run_id: run_id.to_owned(), page_size, page_token, ..Default::default() };
        let page = client.runs(request, |mut runs, request| async move { runs.list_nodes(request).await });
        let page = page.await?;
        let full = page.nodes.len() == page_size as usize;
        assert!(full || page.next_page_token.is_empty(), "only the last page may be short");
        nodes.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

async fn count(client: &Client, request: ListNodesRequest) -> anyhow::Result<usize> {
    let page = client.runs(request, |mut runs, request| async move { runs.list_nodes(request).await });
    Ok(page.await?.nodes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_items() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    let run_id = meson_tests::system::start(&client, wide()).await?;

    // Watched as it goes: a client that leaves and comes back with the last sequence number misses nothing.
    let mut live = Watched::default();
    while !live.follow(&client, &run_id, live.updates + 2_000).await? {}
    let ended = client.succeed(&run_id).await?;
    assert_eq!(ended.outputs_json, format!("{{\"count\":{ITEMS}}}"));
    assert_eq!(ended.counts.unwrap_or_default().succeeded as usize, ITEMS + 2);
    live.assert_ended(ended.sequence);
    assert_eq!(live.succeeded().len(), ITEMS + 2);

    let request = ListRunsRequest { workflow: "wide".into(), ..Default::default() };
    let listed =
        client.runs(request, |mut runs, request| async move { runs.list_runs(request).await }).await?.runs;
    assert_eq!(listed, std::slice::from_ref(&ended));

    for page_size in [1_000, 777] {
        let nodes = pages(&client, &run_id, page_size).await?;
        assert!(nodes.windows(2).all(|pair| pair[0].number < pair[1].number), "in order, none twice");
        let paths: BTreeSet<&str> = nodes.iter().map(|node| node.path.as_str()).collect();
        assert_eq!(paths, live.succeeded(), "pages of {page_size}");
    }
    let filtered = |path_prefix: &str, statuses: Vec<i32>| ListNodesRequest {
        run_id: run_id.clone(),
        path_prefix: path_prefix.into(),
        statuses,
        page_size: 1_000,
        ..Default::default()
    };
    assert_eq!(count(&client, filtered("fan[99", vec![])).await?, 1 + 10 + 100);
    assert_eq!(count(&client, filtered("", vec![NodeStatus::Failed.into()])).await?, 0);

    // Afterwards: from the beginning everything, from the middle exactly what changed since.
    let nodes = client.nodes(&run_id).await?;
    for sequence in [0, ended.sequence / 2, ended.sequence] {
        let mut watched = Watched { sequence, ..Watched::default() };
        assert!(watched.follow(&client, &run_id, usize::MAX).await?);
        let later = nodes.iter().filter(|node| node.sequence > sequence).map(|node| node.path.as_str());
        assert_eq!(watched.succeeded(), later.collect(), "from {sequence}");
        watched.assert_ended(ended.sequence);
    }
    Ok(())
}
