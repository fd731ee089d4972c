//! HDFS as storage, on a real NameNode and DataNode: what the store promises, and workspaces of runs in it: shared by steps of
//! several languages, removed however a run ends, also after a failover, and never while a run lives. One file system for
//! all of it, and one stage after the other, because starting is slow and the last stages stop the NameNode.

use std::path::Path;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::hdfs::Hdfs;
use meson_engines::hive::ThriftServer;
use meson_proto::v1::*;
use meson_store::{Error, Kind, Store, Uri};
use meson_tests::system::{noop, shell, start, with};
use serde_json::{Value, json};

/// A name that leaves its place wherever somebody decodes or splits it.
const HOSTILE: &str = "%2e%2e '\"$(touch pwned) \\ é";

struct World {
    hdfs: Hdfs,
    _hive: ThriftServer,
    cluster: Cluster,
    client: Client,
    store: Store,
    base: Uri,
}

impl World {
    async fn start() -> anyhow::Result<World> {
        let hdfs = Hdfs::start().await?;
        let base = Uri::parse(&format!("{}/meson/workspaces", hdfs.address()))?;
        let hive = ThriftServer::start(&[]).await?;
        let env = [("MESON_WORKSPACES", base.to_string()), ("MESON_HIVE_SERVER", hive.host())];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
        let client = Client::new(cluster.endpoints());
        Ok(World { hdfs, _hive: hive, cluster, client, store: Store::default(), base })
    }

    async fn has(&self, path: &str) -> anyhow::Result<bool> {
        Ok(self.store.exists(&self.base.join(path)?).await?)
    }

    async fn until_gone(&self, run_id: &str) -> anyhow::Result<()> {
        let gone = || async { matches!(self.has(run_id).await, Ok(false)).then_some(()) };
        until(&format!("the workspace of {run_id} is gone"), gone).await
    }

    /// A run whose step marks its workspace and then waits for a file of this machine.
    async fn waiting(&self, name: &str) -> anyhow::Result<(String, std::path::PathBuf)> {
        let go = self.cluster.dir().join(format!("go-{name}"));
        let run_id =
            start(&self.client, json!({ "name": name, "nodes": [shell("a", &[], &waits(&go, "true"))] }))
                .await?;
        self.until_marked(&run_id, &go).await?;
        Ok((run_id, go))
    }

    /// Waits until a step of [`waits`] has marked its workspace, and knows it: the NameNode owes it no answer any more.
    async fn until_marked(&self, run_id: &str, go: &Path) -> anyhow::Result<()> {
        let marked = go.with_extension("marked");
        until(&format!("{} is there", marked.display()), || async { marked.exists().then_some(()) }).await?;
        ensure!(self.has(&format!("{run_id}/runs")).await?, "the mark of {run_id}");
        Ok(())
    }
}

/// Marks its workspace, waits for a file of this machine, and then does more.
fn waits(go: &Path, more: &str) -> String {
    format!(
        "\"$MESON_FS\" fs mkdir runs && touch '{}' && while [ ! -e '{}' ]; do sleep 0.05; done; {more}",
        go.with_extension("marked").display(),
        go.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn hdfs_holds_what_runs_share_and_no_longer() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    store_keeps_its_promises(&world).await.context("the store")?;
    steps_of_all_languages_share_files(&world).await.context("sharing")?;
    rows_of_a_query_are_a_file_there(&world).await.context("rows")?;
    workspaces_end_with_their_runs(&world).await.context("ends of runs")?;
    a_failover_leaves_nothing_over_and_takes_nothing_away(&mut world).await.context("failover")?;
    a_silent_name_node_harms_nothing_else(&world).await.context("silence")?;
    a_name_node_that_is_gone_is_waited_for(&mut world).await.context("absence")?;
    Ok(())
}

async fn store_keeps_its_promises(world: &World) -> anyhow::Result<()> {
    let (store, dir) = (&world.store, tempfile::tempdir()?);
    let base = Uri::parse(&format!("{}/promises", world.hdfs.address()))?;
    // More than three blocks, and no whole number of them: the fourth is asked for before the name node knows the second.
    let large: Vec<u8> = (0..900_000_u32).flat_map(u32::to_le_bytes).take(3_500_001).collect();
    let from = dir.path().join("tree");
    std::fs::create_dir_all(from.join("sub/empty"))?;
    std::fs::write(from.join("sub").join(HOSTILE), &large)?;
    std::fs::write(from.join("nothing"), "")?;
    let tree = base.join("deep/tree")?;
    store.put(&from, &tree).await?;
    let names =
        |listed: Vec<meson_store::Entry>| listed.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    ensure!(names(store.list(&base.join("deep")?).await?) == ["tree"], "no part is left over");
    ensure!(names(store.list(&tree).await?) == ["nothing", "sub"], "listed");
    let stat = store.stat(&tree.join("sub")?.join(HOSTILE)?).await?;
    ensure!((stat.kind, stat.bytes) == (Kind::File, 3_500_001), "{stat:?}");
    let back = dir.path().join("back");
    ensure!(store.get(&tree, &back, 3_500_001).await? == 3_500_001, "all bytes");
    ensure!(std::fs::read(back.join("sub").join(HOSTILE))? == large, "the same bytes");
    ensure!(back.join("sub/empty").is_dir() && back.join("nothing").is_file(), "empty ones too");
    for (what, error) in [
        ("too large", store.get(&tree, &dir.path().join("x"), 3_500_000).await.err()),
        ("taken", store.put(&from, &tree).await.err()),
        ("a file above", store.make_dir(&tree.join("nothing/x")?).await.err()),
        ("a colon", store.make_dir(&base.join("a:b")?).await.err()),
        ("missing", store.get(&base.join("missing")?, &dir.path().join("x"), 1).await.err()),
    ] {
        let error = error.with_context(|| format!("{what} must fail"))?;
        ensure!(!error.is_retryable() && error.to_string().contains("hdfs://"), "{what}: {error}");
    }
    // A file replaces a file.
    std::fs::write(dir.path().join("small"), "two")?;
    store.put(&dir.path().join("small"), &tree.join("nothing")?).await?;
    ensure!(store.get(&tree.join("nothing")?, &dir.path().join("y"), 3).await? == 3, "replaced");
    store.remove(&tree).await?;
    store.remove(&tree).await?;
    ensure!(!store.exists(&tree).await?, "removed with all that was in it");
    ensure!(std::fs::read_dir(dir.path())?.count() == 4, "nothing half is left here");
    Ok(())
}

const PYTHON: &str = "import pathlib, sys, meson_sdk as meson
pathlib.Path('own').write_text(pathlib.Path('tool').read_text() + 'python ')
meson.upload('own', sys.argv[1] + '/from python')
refused = []
for uri in ('../escaped', '/escaped', 'a/../../../escaped'):
    try:
        meson.upload('own', uri)
    except ValueError:
        refused.append(uri)
meson.output(workspace=meson.workspace(), refused=len(refused))
meson.artifact('own', meson.workspace() + '/own')";
const R: &str = "source(Sys.getenv('MESON_R'))
name <- commandArgs(trailingOnly = TRUE)[1]
meson_download(paste0(name, '/from python'), 'got')
dir.create('all')
writeLines(paste0(readLines('got', warn = FALSE), 'r'), 'all/r')
meson_upload('all', 'from r')";
const SHELL: &str = "set -e
\"$MESON_FS\" fs get 'from r' all
\"$MESON_FS\" fs list . | grep -qx 'from r/'
printf '{\"output\": {\"said\": \"%s\"}}\\n' \"$(cat all/r)\" >> \"$MESON_EVENTS\"
\"$MESON_FS\" fs exists 'from r/r'
\"$MESON_FS\" fs remove 'from r'
if \"$MESON_FS\" fs exists 'from r'; then exit 5; fi
if \"$MESON_FS\" fs remove ../; then exit 6; fi";

async fn steps_of_all_languages_share_files(world: &World) -> anyhow::Result<()> {
    let tool = world.cluster.dir().join("tool");
    std::fs::write(&tool, "fetched ")?;
    let uri = format!("{}/tools/tool", world.hdfs.address());
    world.store.put(&tool, &Uri::parse(&uri)?).await?;
    let sha256 = "0".repeat(64);
    let code = |code: &str| json!({ "code": code, "args": ["{{ params.name }}"] });
    let memory = json!({ "mem": "256MiB" });
    let nodes = json!([
        { "id": "python", "kind": "python", "config": code(PYTHON), "fetch": [{ "uri": uri }], "resources": memory },
        { "id": "r", "kind": "r", "needs": ["python"], "config": code(R), "resources": memory },
        shell("shell", &["r"], SHELL),
    ]);
    let params = json!({ "name": { "type": "string", "default": HOSTILE } });
    let run_id = start(&world.client, json!({ "name": "shares", "params": params, "nodes": nodes })).await?;
    let wrong = json!([with(noop_process("w"), json!({ "fetch": [{ "uri": uri, "sha256": sha256 }] }))]);
    let wrong = start(&world.client, json!({ "name": "wrong-sum", "nodes": wrong })).await?;
    world.client.succeed(&run_id).await?;
    let nodes = world.client.nodes(&run_id).await?;
    let outputs = |path: &str| -> anyhow::Result<Value> {
        let node = nodes.iter().find(|node| node.path == path).context("no such node")?;
        Ok(serde_json::from_str(&node.outputs_json)?)
    };
    let workspace = world.base.join(&run_id)?.to_string();
    ensure!(outputs("python")? == json!({ "workspace": workspace, "refused": 3 }), "{}", outputs("python")?);
    let said = outputs("shell")?;
    ensure!(said == json!({ "said": "fetched python r" }), "{said}");
    world.until_gone(&run_id).await?;
    ensure!(!world.has("escaped").await?, "nothing left its place");
    let failure = world.client.wait(&wrong).await?.failure.unwrap_or_default();
    ensure!(failure.reason == "fetch_failed" && failure.class() == FailureClass::User, "{failure:?}");
    world.until_gone(&wrong).await
}

async fn rows_of_a_query_are_a_file_there(world: &World) -> anyhow::Result<()> {
    let config =
        json!({ "query": "SELECT id FROM range(2) ORDER BY id", "results": "file", "path": "out/rows.csv" });
    let command = "\"$MESON_FS\" fs get out/rows.csv rows && \
        printf '{\"output\": {\"said\": \"%s\"}}\\n' \"$(tr '\\n' ' ' < rows)\" >> \"$MESON_EVENTS\"";
    let query = json!({ "id": "query", "kind": "hive", "config": config });
    let nodes = json!([query, shell("use", &["query"], command)]);
    let run_id = start(&world.client, json!({ "name": "rows", "nodes": nodes })).await?;
    world.client.succeed(&run_id).await?;
    let nodes = world.client.nodes(&run_id).await?;
    let node = |path: &str| nodes.iter().find(|node| node.path == path).context("no such node");
    let outputs = |path: &str| anyhow::Ok(serde_json::from_str::<Value>(&node(path)?.outputs_json)?);
    let uri = world.base.join(&run_id)?.join("out/rows.csv")?.to_string();
    ensure!(outputs("query")? == json!({ "row_count": 2, "path": uri }), "{}", outputs("query")?);
    ensure!(node("query")?.artifacts[0].uri == uri, "{:?}", node("query")?.artifacts);
    ensure!(outputs("use")? == json!({ "said": "id 0 1 " }), "{}", outputs("use")?);
    world.until_gone(&run_id).await
}

fn noop_process(id: &str) -> Value {
    shell(id, &[], "true")
}

async fn workspaces_end_with_their_runs(world: &World) -> anyhow::Result<()> {
    let command = "\"$MESON_FS\" fs mkdir made && exit 3";
    let failed =
        start(&world.client, json!({ "name": "fails", "nodes": [shell("a", &[], command)] })).await?;
    let (cancelled, _) = world.waiting("cancelled").await?;
    ensure!(world.client.wait(&failed).await?.status() == RunStatus::Failed, "it fails by itself");
    world.until_gone(&failed).await?;
    ensure!(world.has(&cancelled).await?, "another run's end takes nothing from this one");
    world.client.cancel(&cancelled).await?;
    ensure!(world.client.wait(&cancelled).await?.status() == RunStatus::Cancelled, "cancelled");
    world.until_gone(&cancelled).await
}

async fn a_failover_leaves_nothing_over_and_takes_nothing_away(world: &mut World) -> anyhow::Result<()> {
    let ended = start(&world.client, json!({ "name": "ended", "nodes": [noop_process("a")] })).await?;
    world.client.succeed(&ended).await?;
    world.until_gone(&ended).await?;
    let (living, go) = world.waiting("living").await?;
    let unknown = ended.replace(&ended[3..6], "7zz");
    let strange = ["data", "g7-01jd2k3m4n5p6q7r8s9t0v1w2x", &unknown, &format!("{ended}.kept")];
    for name in strange.into_iter().chain([ended.as_str()]) {
        world.store.make_dir(&world.base.join(name)?.join("x")?).await?;
    }
    let leader = world.cluster.leader().await?;
    world.cluster.kill_replica(leader)?;
    // The new leader looks at what is there, and what it may remove goes.
    world.until_gone(&ended).await?;
    for name in strange.into_iter().chain([living.as_str()]) {
        ensure!(world.has(name).await?, "{name} must stay");
    }
    std::fs::write(go, "")?;
    world.client.succeed(&living).await?;
    world.until_gone(&living).await?;
    world.cluster.start_replica(leader)
}

async fn a_silent_name_node_harms_nothing_else(world: &World) -> anyhow::Result<()> {
    let (ends, go) = world.waiting("ends-in-silence").await?;
    world.hdfs.pause_name_node()?;
    std::fs::write(go, "")?;
    let begins =
        start(&world.client, json!({ "name": "begins-in-silence", "nodes": [noop_process("a")] })).await?;
    let others =
        start(&world.client, json!({ "name": "others", "nodes": [noop("a", &[]), noop("b", &["a"])] }))
            .await?;
    world.client.succeed(&others).await?;
    world.client.succeed(&ends).await?;
    let failed = || async {
        let node = world.client.nodes(&begins).await.ok()?.into_iter().next()?;
        node.failure
            .filter(|failure| failure.reason == "workspace_unavailable")
            .map(|failure| failure.class())
    };
    let class = until("an attempt without its workspace fails", failed).await?;
    ensure!(class == FailureClass::Platform, "{class:?}");
    world.hdfs.resume_name_node()?;
    world.client.succeed(&begins).await?;
    world.until_gone(&ends).await?;
    world.until_gone(&begins).await
}

async fn a_name_node_that_is_gone_is_waited_for(world: &mut World) -> anyhow::Result<()> {
    let said = world.cluster.dir().join("said");
    let command = format!(
        "\"$MESON_FS\" fs list . 2> '{0}.new'; echo $? >> '{0}.new'; mv '{0}.new' '{0}'; \
         until \"$MESON_FS\" fs mkdir later; do sleep 0.1; done",
        said.display()
    );
    let go = world.cluster.dir().join("go-gone");
    let nodes = [shell("a", &[], &waits(&go, &command))];
    let run_id = start(&world.client, json!({ "name": "gone", "nodes": nodes })).await?;
    world.until_marked(&run_id, &go).await?;
    world.hdfs.kill_name_node()?;
    std::fs::write(go, "")?;
    let away = world.store.exists(&world.base).await.err().context("nobody is there to answer")?;
    ensure!(matches!(away, Error::Away { .. }), "{away}");
    until("the step hears that it may try later", || async { said.exists().then_some(()) }).await?;
    let told = std::fs::read_to_string(Path::new(&said))?;
    ensure!(told.ends_with("75\n") && told.contains("cannot be reached now"), "{told}");
    world.hdfs.start_name_node().await?;
    world.client.succeed(&run_id).await?;
    world.until_gone(&run_id).await
}
