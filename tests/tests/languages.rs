//! `python`, `r`, `scala` and `shell` steps with the real interpreters, through a real trio: what comes out of them by Meson's
//! own helpers, how they fail, what is seen of them while they run, and that whatever is killed, they neither run twice nor
//! leave a process.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options};
use meson_proto::v1::*;
use meson_tests::system::{in_attempts_of, start, with};
use meson_tests::waiting::Waiting;
use serde_json::{Value, json};

/// A text that breaks out of its place wherever it can.
const HOSTILE: &str = "'\"; touch pwned; $(touch pwned) `touch pwned` \\ é";

async fn cluster() -> anyhow::Result<(Cluster, Client)> {
    let engines = PathBuf::from(std::env::var("MESON_ENGINES").context("MESON_ENGINES: see `make test`")?);
    let mut pythons = engines.join("spark/lib").read_dir()?;
    let python = pythons.next().context("`make engines` makes it")??.path();
    let jars = python.join("site-packages/pyspark/jars/*").to_string_lossy().into_owned();
    // Virtual machines of Java that start with half the work.
    let light = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC".to_owned();
    let env = vec![("MESON_SCALA_CLASSPATH".to_owned(), jars), ("JAVA_TOOL_OPTIONS".to_owned(), light)];
    // More steps at once would be more virtual machines of Java than two cores are good for.
    let cluster = Cluster::start(Options { env, cpus: 4, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((cluster, client))
}

fn step(id: &str, kind: &str, code: &str, more: Value) -> Value {
    let mut config = json!({ if kind == "shell" { "command" } else { "code" }: code });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    json!({ "id": id, "kind": kind, "config": config, "resources": { "cpus": 0.5, "mem": "1GiB" } })
}

const PYTHON: &str = "import sys, six, meson_sdk as meson
meson.progress(50, 'half')
meson.output(text=meson.params()['text'], arg=sys.argv[1], six=six.__version__)";
const R: &str = "source(Sys.getenv('MESON_R'))
meson_progress(50, 'half')
meson_output(text = meson_params()$text, arg = commandArgs(trailingOnly = TRUE)[1])";
const SCALA: &str = "import meson.Meson
Meson.progress(50, \"half\")
Meson.output(\"text\" -> Meson.params(\"text\"), \"arg\" -> args(0))";

/// What tests/src/waiting.rs says of steps, in each language; the step's name is the language.
const WAITS: [(&str, &str); 4] =
    [("python", PYTHON_WAITS), ("r", R_WAITS), ("scala", SCALA_WAITS), ("shell", SHELL_WAITS)];
const PYTHON_WAITS: &str = r"import os, time, meson_sdk as meson
def at(name): return os.path.join(os.environ['MESON_WORKSPACE'], name)
def wait(name):
    # tidy: allow sleep: it is the step that waits
    while not os.path.exists(at(name)): time.sleep(0.1)
with open(at('python.begun'), 'a+') as notes:
    notes.seek(0)
    earlier = notes.read().split()
    notes.write(f'{os.getpid()}\n')
if any(os.path.exists(f'/proc/{pid}/cwd') for pid in earlier): open(at('python.beside'), 'w')
begun = len(earlier) + 1
meson.data(begun=begun)
meson.progress(50, 'half')
wait('again')
meson.progress(75)
wait('go')
meson.output(begun=begun)";
const R_WAITS: &str = r"source(Sys.getenv('MESON_R'))
at <- function(name) file.path(Sys.getenv('MESON_WORKSPACE'), name)
# tidy: allow sleep: it is the step that waits
wait <- function(name) while (!file.exists(at(name))) Sys.sleep(0.1)
earlier <- if (file.exists(at('r.begun'))) readLines(at('r.begun')) else character()
write(Sys.getpid(), at('r.begun'), append = TRUE)
if (any(file.exists(file.path('/proc', earlier, 'cwd')))) file.create(at('r.beside'))
begun <- length(earlier) + 1L
meson_data(begun = begun)
meson_progress(50, 'half')
wait('again')
meson_progress(75)
wait('go')
meson_output(begun = begun)";
const SCALA_WAITS: &str = r#"import java.io.{File, FileWriter}
import meson.Meson
def at(name: String) = new File(Meson.workspace, name)
// tidy: allow sleep: it is the step that waits
def wait(name: String) = while (!at(name).exists) Thread.sleep(100)
val earlier = if (at("scala.begun").exists) scala.io.Source.fromFile(at("scala.begun")).getLines().toList else Nil
val notes = new FileWriter(at("scala.begun"), true)
notes.write(new File("/proc/self").getCanonicalFile.getName + "\n")
notes.close()
if (earlier.exists(id => new File(s"/proc/$id/cwd").exists)) at("scala.beside").createNewFile()
val begun = earlier.size + 1
Meson.data("begun" -> begun)
Meson.progress(50, "half")
wait("again")
Meson.progress(75)
wait("go")
Meson.output("begun" -> begun)"#;
const SHELL_WAITS: &str = r#"cd "$MESON_WORKSPACE" && touch shell.begun
for pid in $(cat shell.begun); do if test -e /proc/$pid/cwd; then touch shell.beside; fi; done
echo $$ >> shell.begun
begun=$(wc -l < shell.begun)
echo '{"percent": 50, "message": "half", "data": {"begun": '$begun'}}' >> "$MESON_EVENTS"
until test -e again; do sleep 0.1; done
echo '{"percent": 75}' >> "$MESON_EVENTS"
until test -e go; do sleep 0.1; done
echo '{"output": {"begun": '$begun'}}' >> "$MESON_EVENTS""#;

fn waits() -> Vec<Value> {
    WAITS.iter().map(|(kind, code)| step(kind, kind, code, json!({}))).collect()
}

fn fails(kind: &str, code: &str, more: Value) -> Value {
    step("a", kind, code, more)
}

/// Steps that fail by themselves: with the reason and a part of the message.
fn failing() -> Vec<(Value, &'static str, &'static str)> {
    let bad_pip = json!({ "requirements": ["no-such-package-of-meson"] });
    vec![
        (
            fails("python", "raise ValueError('the reason')", json!({})),
            "exit_status",
            "ValueError: the reason",
        ),
        (fails("python", "1", bad_pip), "exit_status", "no-such-package-of-meson"),
        (fails("r", "stop('the reason')", json!({})), "exit_status", "the reason"),
        (fails("scala", "sys.error(\"the reason\")", json!({})), "exit_status", "the reason"),
        (fails("scala", "val x: Int = \"\"", json!({})), "exit_status", "type mismatch"),
        (
            fails("shell", "echo the reason >&2; exit 3", json!({})),
            "exit_status",
            "exit status 3: the reason",
        ),
    ]
}

/// Steps that use more memory than they have, and then wait to be killed for it.
fn eating() -> Vec<(Value, &'static str, &'static str)> {
    let mem = |mem: &str| json!({ "resources": { "cpus": 0.5, "mem": mem } });
    // Within its usual heap a virtual machine cannot use more than the step has.
    let heap = json!({ "java_options": ["-Xmx3g"] });
    let jvm = "val held = Array.fill(24)(new Array[Byte](64 << 20))\nwhile (true) held.foreach(_(0) = 1)";
    vec![
        (
            fails("python", "x = bytearray(2 << 30)\nwhile True: x[::4096] = x[::4096]", json!({})),
            "out_of_memory",
            "limit of 1073741824",
        ),
        (
            with(fails("r", "x <- rep(1, 1e8)\nwhile (TRUE) x[1] <- 2", json!({})), mem("256MiB")),
            "out_of_memory",
            "limit of 268435456",
        ),
        (fails("scala", jvm, heap), "out_of_memory", "limit of 1073741824"),
        (fails("scala", jvm, json!({})), "out_of_memory", "Java heap space"),
        (
            with(
                fails("shell", "head -c 300M /dev/zero | tail -c 300M | sleep 600", json!({})),
                mem("64MiB"),
            ),
            "out_of_memory",
            "limit of 67108864",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_language_speaks_and_fails_as_itself() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    let args = json!({ "args": ["{{ params.text }}"] });
    let needs = json!({ "args": ["{{ params.text }}"], "requirements": ["six==1.17.0"] });
    let nodes = json!([
        step("python", "python", PYTHON, needs),
        step("r", "r", R, args.clone()),
        step("scala", "scala", SCALA, args),
    ]);
    let params = json!({ "text": { "type": "string", "default": HOSTILE } });
    let speaks = start(&client, json!({ "name": "speaks", "params": params, "nodes": nodes })).await?;
    let late = waits().into_iter().map(|step| (with(step, json!({ "timeout": "3s" })), "timeout", ""));
    let mut runs = Vec::new();
    for (number, (step, reason, text)) in failing().into_iter().chain(eating()).chain(late).enumerate() {
        let definition = json!({ "name": format!("fails-{number}"), "nodes": [step] });
        runs.push((start(&client, definition).await?, reason, text));
    }
    client.succeed(&speaks).await?;
    for node in client.nodes(&speaks).await? {
        let outputs: Value = serde_json::from_str(&node.outputs_json)?;
        ensure!(outputs["text"] == HOSTILE && outputs["arg"] == HOSTILE, "{}: {outputs}", node.path);
        ensure!(node.kind != "python" || outputs["six"] == "1.17.0", "{outputs}");
    }
    for (run_id, reason, text) in runs {
        let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
        let class = if reason == "timeout" { FailureClass::Timeout } else { FailureClass::User };
        ensure!(failure.reason == reason && failure.class() == class, "{reason}: {failure:?}");
        ensure!(failure.message.contains(text), "{text}: {failure:?}");
        ensure!(in_attempts_of(&run_id)?.is_empty(), "{reason}: {:?}", in_attempts_of(&run_id)?);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_language_outlives_crashes_and_ends_with_its_run() -> anyhow::Result<()> {
    let (mut cluster, client) = cluster().await?;
    let waiting = Waiting::start(&cluster, &client, "waits", &waits()).await?;
    waiting.outlives_crashes(&mut cluster).await?;
    let cancelled = Waiting::start(&cluster, &client, "is-cancelled", &waits()).await?;
    waiting.ends(3).await?;
    cancelled.seen(1, 50.0).await?;
    client.cancel(cancelled.run_id()).await?;
    ensure!(client.wait(cancelled.run_id()).await?.status() == RunStatus::Cancelled, "cancelled");
    ensure!(in_attempts_of(cancelled.run_id())?.is_empty(), "{:?}", in_attempts_of(cancelled.run_id())?);
    Ok(())
}
