//! Secrets of steps through a real trio: the step has them, and nothing else does. While steps run and after they ended all
//! files of all processes, the command lines of this machine and the answers of the API are searched for the values.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::podman::{IMAGE, Podman};
use meson_proto::v1::*;
use meson_tests::system::start;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Not a word that stands anywhere else. The quotes are written otherwise in JSON.
const PASSWORD: &str = "kf7-\"Vorhaengeschloss\"-9Qz";
const TOKEN: &str = "tok_5512fd00a9e84b77";
/// Said beside the secrets by the same ways, and put together by the step itself: what finds it would have found them.
const WITNESS: &str = "witness-81c2e";

struct World {
    cluster: Cluster,
    client: Client,
    secrets: TempDir,
}

impl World {
    async fn new(mut env: Vec<(String, String)>) -> anyhow::Result<World> {
        let secrets = tempfile::Builder::new().prefix("meson-secrets-").tempdir()?;
        fs::create_dir(secrets.path().join("hive"))?;
        fs::write(secrets.path().join("hive/password"), format!("{PASSWORD}\n"))?;
        fs::write(secrets.path().join("token"), TOKEN)?;
        env.push(("MESON_SECRETS_DIR".to_owned(), secrets.path().to_string_lossy().into_owned()));
        let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
        let client = Client::new(cluster.endpoints());
        Ok(World { cluster, client, secrets })
    }

    /// Starts a run of one step, once all replicas have said that they know of secrets.
    async fn start(&self, name: &str, step: Value) -> anyhow::Result<String> {
        let definition = json!({ "name": name, "nodes": [step] });
        until("the definition is accepted", || async { start(&self.client, definition.clone()).await.ok() })
            .await
    }

    fn workspace(&self, run_id: &str) -> PathBuf {
        self.cluster.dir().join("executor-1/workspaces").join(run_id)
    }

    /// Files of the trio and the executor that hold a text.
    fn files_with(&self, text: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        search(self.cluster.dir(), text, &mut found)?;
        Ok(found)
    }

    fn hidden(&self) -> anyhow::Result<()> {
        for secret in [PASSWORD, TOKEN, &PASSWORD.replace('"', "\\\"")] {
            let files = self.files_with(secret)?;
            ensure!(files.is_empty(), "a secret is in {files:?}");
            let lines = command_lines_with(secret)?;
            ensure!(lines.is_empty(), "a secret is on the command line of {lines:?}");
        }
        Ok(())
    }
}

fn search(dir: &Path, text: &str, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        // Files come and go while processes run.
        let Ok(data) = path.symlink_metadata() else { continue };
        if data.is_dir() {
            search(&path, text, found)?;
        } else if data.is_file()
            && String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(text)
        {
            found.push(path);
        }
    }
    Ok(())
}

fn command_lines_with(text: &str) -> anyhow::Result<Vec<String>> {
    let lines = fs::read_dir("/proc")?
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    Ok(lines.filter(|line| line.contains(text)).collect())
}

/// Waits until a step has made this file in its run's workspace.
async fn made(path: PathBuf) -> anyhow::Result<()> {
    until(&format!("{} is there", path.display()), || async { path.exists().then_some(()) }).await
}

/// Uses its secrets, waits for `go`, and then says them by every way there is.
const SPEAKER: &str = r#"
W=witness; W=$W-81c2e
test "$DB_PASSWORD" = "$(cat "$FILE")" || exit 9
echo "$W out $DB_PASSWORD, $TOKEN"
printf '%s' "half: $(printf '%s' "$DB_PASSWORD" | head -c 9)" >&2
touch "$MESON_WORKSPACE/used"
while ! test -e "$MESON_WORKSPACE/go"; do sleep 0.1; done
printf '%s\n' "$DB_PASSWORD" | tail -c +10 >&2
echo "not json: $W $TOKEN" >> "$MESON_EVENTS"
echo '{"percent": "'$TOKEN'"}' >> "$MESON_EVENTS"
printf '{"message": "%s %s"}\n' "$W" "$(printf '%s' "$DB_PASSWORD" | sed 's/"/\\"/g')" >> "$MESON_EVENTS"
echo '{"output": {"w": "'$W'", "url": "db://me:'$TOKEN'@host", "'$TOKEN'": ["x", {"y": "'$TOKEN'"}]}}' >> "$MESON_EVENTS"
echo '{"artifact": {"name": "a", "uri": "s3://'$TOKEN'/b"}}' >> "$MESON_EVENTS"
echo '{"data": {"secret": "'$TOKEN'"}}' >> "$MESON_EVENTS"
echo "the reason is $W $TOKEN" >&2
exit $STATUS
"#;

fn speaker(world: &World, status: u32) -> Value {
    let file = world.secrets.path().join("hive/password");
    json!({
        "id": "a", "kind": "shell", "config": { "command": SPEAKER },
        "env": { "FILE": file.to_string_lossy(), "STATUS": status.to_string() },
        "secrets": { "DB_PASSWORD": "hive/password", "TOKEN": "token" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_the_step_and_nothing_else() -> anyhow::Result<()> {
    let mut world = World::new(Vec::new()).await?;
    let well = world.start("ends-well", speaker(&world, 0)).await?;
    let badly = world.start("ends-badly", speaker(&world, 3)).await?;
    for run_id in [&well, &badly] {
        made(world.workspace(run_id).join("used")).await?;
    }
    world.hidden()?;
    // The next executor adopts both: what they say from now on it has to know as well, though the file is new by then.
    world.cluster.kill_executor(0)?;
    fs::write(world.secrets.path().join("token"), "another token")?;
    world.cluster.start_executor(0)?;
    for run_id in [&well, &badly] {
        fs::write(world.workspace(run_id).join("go"), "")?;
    }
    world.client.succeed(&well).await?;
    let failure = world.client.wait(&badly).await?.failure.context("it fails")?;
    ensure!(failure.reason == "exit_status", "{failure:?}");
    ensure!(failure.message.contains("the reason is witness-81c2e ***"), "{failure:?}");

    let node = world.client.nodes(&well).await?.pop().unwrap_or_default();
    let outputs: Value = serde_json::from_str(&node.outputs_json)?;
    let expected = json!({ "w": WITNESS, "url": "db://me:***@host", "***": ["x", { "y": "***" }] });
    ensure!(outputs == expected, "{outputs}");
    ensure!(node.artifacts[0].uri == "s3://***/b", "{node:?}");
    world.hidden()?;
    // The search finds what lies there by the same ways, at the executor and at each replica.
    for name in ["executor-1", "replica-1", "replica-2", "replica-3"] {
        let dir = world.cluster.dir().join(name);
        until(&format!("what the step said is at {name}"), || async {
            world.files_with(WITNESS).ok()?.iter().any(|file| file.starts_with(&dir)).then_some(())
        })
        .await?;
    }
    let output = format!("executor-1/attempts/{}/log.output", node.attempt_id);
    let log = fs::read_to_string(world.cluster.dir().join(output))?;
    ensure!(log.contains("witness-81c2e out ***, ***\n"), "{log}");
    ensure!(log.contains("half: ***\n"), "what came in two halves, with a new executor between them: {log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_no_executor_is_there_stays_hidden() -> anyhow::Result<()> {
    let mut world = World::new(Vec::new()).await?;
    let ends = world.start("ends-alone", speaker(&world, 0)).await?;
    made(world.workspace(&ends).join("used")).await?;
    world.cluster.kill_executor(0)?;
    fs::write(world.secrets.path().join("token"), "another token")?;
    fs::write(world.workspace(&ends).join("go"), "")?;
    until("its processes have ended", || async {
        let records = world.files_with("\"exit\"").ok()?;
        records.iter().any(|file| file.ends_with("record.jsonl")).then_some(())
    })
    .await?;
    world.hidden()?;
    world.cluster.start_executor(0)?;
    world.client.succeed(&ends).await?;
    let node = world.client.nodes(&ends).await?.pop().unwrap_or_default();
    ensure!(node.outputs_json.contains("db://me:***@host"), "{node:?}");
    world.hidden()?;

    // One whose supervisor goes as well, so that nobody knows what is to be hidden.
    let script = r#"test -e "$MESON_WORKSPACE/said" && exit
        echo '{"output": {"t": "'$TOKEN'"}}' >> "$MESON_EVENTS"; touch "$MESON_WORKSPACE/said"; sleep 600"#;
    let step = json!({ "id": "a", "kind": "shell", "config": { "command": script },
        "secrets": { "TOKEN": "token" }, "retry": { "platform": { "retries": 3, "delay": "100ms" } } });
    fs::write(world.secrets.path().join("token"), TOKEN)?;
    let vanishes = world.start("vanishes", step).await?;
    made(world.workspace(&vanishes).join("said")).await?;
    world.cluster.kill_executor_and_attempts(0)?;
    ensure!(!world.files_with(TOKEN)?.is_empty(), "the step has written it to a file of its own");
    fs::write(world.secrets.path().join("token"), "another token")?;
    world.cluster.start_executor(0)?;
    world.client.succeed(&vanishes).await?;
    world.hidden()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_named() -> anyhow::Result<()> {
    let world = World::new(Vec::new()).await?;
    let step = json!({ "id": "a", "kind": "shell", "config": { "command": "true" }, "secrets": { "KEY": "s3/key" } });
    let run_id = world.start("misses", step).await?;
    let failure = world.client.wait(&run_id).await?.failure.context("it fails")?;
    ensure!(failure.class() == FailureClass::Rejected && failure.reason == "secret_missing", "{failure:?}");
    let place = world.secrets.path().to_string_lossy();
    ensure!(failure.message.contains("`s3/key`") && failure.message.contains(&*place), "{failure:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_its_secrets() -> anyhow::Result<()> {
    let podman = Podman::start().await?;
    let world = World::new(vec![("MESON_DOCKER_HOST".to_owned(), podman.host())]).await?;
    let script = "echo \"witness-81c2e $TOKEN\"; touch \"$MESON_WORKSPACE/used\"
        while ! test -e \"$MESON_WORKSPACE/go\"; do sleep 1; done
        echo '{\"output\": {\"first\": \"'$(echo $TOKEN | head -c 4)'\", \"all\": \"'$TOKEN'\"}}' >> \"$MESON_EVENTS\"";
    let config = json!({ "image": IMAGE, "command": ["sh", "-c", script], "network": "none" });
    let step = json!({ "id": "a", "kind": "docker", "config": config, "secrets": { "TOKEN": "token" },
        "resources": { "cpus": 0.5, "mem": "64MiB" } });
    let run_id = world.start("contained", step).await?;
    made(world.workspace(&run_id).join("used")).await?;
    world.hidden()?;
    fs::write(world.workspace(&run_id).join("go"), "")?;
    world.client.succeed(&run_id).await?;
    let node = world.client.nodes(&run_id).await?.pop().unwrap_or_default();
    ensure!(node.outputs_json == r#"{"all":"***","first":"tok_"}"#, "{node:?}");
    world.hidden()
}
