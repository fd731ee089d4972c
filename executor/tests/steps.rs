//! Steps from launch to report: the kinds, the task contract, progress, outputs.

mod common;

use common::leader::{Leader, Manners};
use common::process::Executor;
use common::{launch, reason, shell};
use meson_proto::v1::{AttemptState, FailureClass, Fetch, Launch};
use serde_json::json;

async fn pair() -> (Leader, Executor) {
    let leader = Leader::start(Manners::default()).await;
    leader.behave(|manners| manners.replicas = vec![leader.address.clone()]);
    let executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    (leader, executor)
}

#[tokio::test]
async fn hello_says_who_and_what() {
    let leader = Leader::start(Manners::default()).await;
    let flags = ["--cpus", "1.5", "--mem", "2GiB", "--attributes", "zone=a", "--hostname", "host-1"];
    let _executor = Executor::start(&[&leader.address], &flags);
    let hello = leader.hello(1).await;
    let resources = hello.resources.unwrap();
    assert_eq!((resources.cpus_milli, resources.mem_bytes), (1_500, 2 << 30));
    assert_eq!((hello.hostname.as_str(), hello.attributes["zone"].as_str()), ("host-1", "a"));
    for kind in ["noop", "shell", "python"] {
        assert!(hello.kinds.iter().any(|known| known == kind), "{kind}");
    }
}

#[tokio::test]
async fn noop_succeeds_with_outputs_and_without_files() {
    let (leader, executor) = pair().await;
    leader.launch(launch("n1", "noop", json!({"outputs": {"a": 1}}))).await;
    let end = leader.end_of("n1").await;
    assert_eq!((end.state(), end.outputs_json.as_str()), (AttemptState::Succeeded, r#"{"a":1}"#));
    assert!(!executor.attempt("n1").exists());
    leader.launch(launch("n2", "noop", json!({"duration": "10ms", "fail": "as told"}))).await;
    assert_eq!(leader.end_of("n2").await.failure.unwrap().message, "as told");
    assert!(leader.record().reports.iter().all(|report| report.state() != AttemptState::Running));
}

#[tokio::test]
async fn shell_sees_the_task_contract() {
    let (leader, executor) = pair().await;
    let command = r#"
        test "$MESON_RUN_ID" = g1-01jd2k3m4n5p6q7r8s9t0v1w2x && test "$MESON_WORKFLOW" = train && test "$MESON_STEP" = step-s1 &&
        test "$MESON_ATTEMPT_ID" = s1 && test "$MESON_FENCE" = 1 && test "$EXTRA" = yes && test -d "$MESON_WORKSPACE" &&
        grep -q US "$MESON_PARAMS" && test "$(basename "$PWD")" = work &&
        echo '{"percent": 40, "message": "fold 3 of 5", "data": {"loss": 1}}' >> "$MESON_EVENTS" &&
        echo '{"output": {"a": 1}}' >> "$MESON_EVENTS" &&
        echo '{"artifact": {"name": "model", "uri": "file:///m"}}' >> "$MESON_EVENTS" &&
        printf '{"output": {"b": [2]}}' >> "$MESON_EVENTS"
    "#;
    let mut step = shell("s1", command);
    step.env.insert("EXTRA".into(), "yes".into());
    leader.launch(step).await;
    let end = leader.end_of("s1").await;
    assert_eq!((end.state(), end.exit_code), (AttemptState::Succeeded, Some(0)), "{end:?}");
    assert_eq!(end.outputs_json, r#"{"a":1,"b":[2]}"#);
    assert_eq!(end.artifacts[0].uri, "file:///m");
    assert!(end.started_at_ms > 0 && end.ended_at_ms >= end.started_at_ms && end.log_complete);
    assert!(executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x").is_dir());
}

#[tokio::test]
async fn a_failure_has_status_and_tail_of_stderr() {
    let (leader, _executor) = pair().await;
    leader.launch(shell("f1", "echo fine; echo 'no such region' > /dev/stderr; exit 3")).await;
    let end = leader.end_of("f1").await;
    let failure = end.failure.as_ref().unwrap();
    assert_eq!((failure.class(), failure.reason.as_str()), (FailureClass::User, "exit_status"));
    assert_eq!((failure.message.as_str(), end.exit_code), ("exit status 3: no such region", Some(3)));
    leader.launch(shell("f2", "kill -SEGV $$")).await;
    assert_eq!(reason(&leader.end_of("f2").await), "signal");
    leader.launch(launch("f3", "shell", json!({"argv": ["/no/such/program"]}))).await;
    assert_eq!(reason(&leader.end_of("f3").await), "start_failed");
}

#[tokio::test]
async fn python_runs_code() {
    let (leader, _executor) = pair().await;
    let code = "import json, os, sys\n\
        params = json.load(open(os.environ['MESON_PARAMS']))\n\
        open(os.environ['MESON_EVENTS'], 'a').write(json.dumps({'output': {'r': params['region'], 'a': sys.argv[1]}}) + '\\n')\n";
    leader.launch(launch("p1", "python", json!({"code": code, "args": ["x"]}))).await;
    let end = leader.end_of("p1").await;
    assert_eq!(end.outputs_json, r#"{"a":"x","r":"US"}"#, "{end:?}");
    leader.launch(launch("p2", "python", json!({"code": "raise ValueError('bad region')"}))).await;
    let message = leader.end_of("p2").await.failure.unwrap().message;
    assert!(message.contains("ValueError: bad region"), "{message}");
}

#[tokio::test]
async fn progress_comes_with_heartbeats_and_bad_events_harm_nobody() {
    let (leader, executor) = pair().await;
    let go = executor.data_dir.join("go");
    let command = format!(
        r#"echo nonsense >> $MESON_EVENTS; echo '{{"percent": 40, "message": "m"}}' >> $MESON_EVENTS
           while ! test -e {}; do sleep 0.02; done"#,
        go.display()
    );
    leader.launch(shell("g1", &command)).await;
    let heard = |record: &common::leader::Record| {
        let all = record.heartbeats.iter().flat_map(|heartbeat| heartbeat.progress.clone());
        all.into_iter().find(|progress| progress.attempt_id == "g1" && progress.percent == Some(40.0))
    };
    assert_eq!(leader.until("progress", heard).await.message, "m");
    leader
        .until("running", |record| {
            record.reports.iter().find(|r| r.state() == AttemptState::Running).cloned()
        })
        .await;
    std::fs::write(go, "").unwrap();
    assert_eq!(leader.end_of("g1").await.state(), AttemptState::Succeeded);
    assert!(leader.record().log_text("g1").contains("an event was ignored"));
}

#[tokio::test]
async fn outputs_have_a_limit() {
    let (leader, _executor) = pair().await;
    let command = r#"printf '{"output": {"x": "%070000d"}}\n' 1 >> $MESON_EVENTS; sleep 600"#;
    leader.launch(shell("o1", command)).await;
    let end = leader.end_of("o1").await;
    let failure = end.failure.as_ref().unwrap();
    assert_eq!((failure.class(), failure.reason.as_str()), (FailureClass::User, "output_too_large"));
    assert!(failure.message.contains("65536") && failure.message.contains("artifact"), "{}", failure.message);
    assert_eq!(end.outputs_json, "");
}

#[tokio::test]
async fn what_is_wrong_is_rejected() {
    let (leader, _executor) = pair().await;
    leader.launch(launch("r1", "cobol", json!({}))).await;
    leader.launch(launch("r2", "shell", json!({}))).await;
    leader.launch(Launch { attempt_id: "../r3".into(), ..shell("r3", "true") }).await;
    for id in ["r1", "r2", "../r3"] {
        assert_eq!(leader.end_of(id).await.failure.unwrap().class(), FailureClass::Rejected);
    }
}

#[tokio::test]
async fn a_missing_dependency_is_the_users_failure() {
    let (leader, executor) = pair().await;
    let source = executor.data_dir.join("input.txt");
    std::fs::write(&source, "42").unwrap();
    let good =
        Fetch { uri: source.to_string_lossy().into_owned(), to: "in/x.txt".into(), ..Fetch::default() };
    leader.launch(Launch { fetch: vec![good.clone()], ..shell("d1", "test $(cat in/x.txt) = 42") }).await;
    assert_eq!(leader.end_of("d1").await.state(), AttemptState::Succeeded);
    let bad = Fetch { sha256: "00".repeat(32), ..good };
    leader.launch(Launch { fetch: vec![bad], ..shell("d2", "true") }).await;
    let failure = leader.end_of("d2").await.failure.unwrap();
    assert_eq!((failure.class(), failure.reason.as_str()), (FailureClass::User, "fetch_failed"));
}

#[tokio::test]
async fn old_files_are_removed() {
    let leader = Leader::start(Manners::default()).await;
    let flags = ["--keep-attempts-ms", "200", "--keep-workspaces-ms", "200"];
    let executor = Executor::start(&[&leader.address], &flags);
    leader.hello(1).await;
    leader.launch(shell("x1", "true")).await;
    assert!(leader.end_of("x1").await.log_complete);
    let gone = || {
        !executor.attempt("x1").exists()
            && !executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x").exists()
    };
    common::process::until("the files are gone", gone).await;
}

#[tokio::test]
async fn an_older_attempt_of_the_step_is_over_before_the_next_starts() {
    let (leader, executor) = pair().await;
    let lock = r#"set -C; : > "$MESON_WORKSPACE/lock" || exit 9; trap 'rm "$MESON_WORKSPACE/lock"; exit' TERM
        while :; do sleep 0.02; done"#;
    leader.launch(Launch { step: "same".into(), ..shell("older", lock) }).await;
    let held = executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x/lock");
    common::process::until("it runs", || held.exists()).await;
    let next = r#"test ! -e "$MESON_WORKSPACE/lock" || kill -9 0"#;
    leader.launch(Launch { step: "same".into(), fence: 2, ..shell("newer", next) }).await;
    let newer = leader.end_of("newer").await;
    let older = leader.end_of("older").await;
    assert_eq!(reason(&older), "killed");
    assert!(newer.started_at_ms >= older.ended_at_ms);
}

#[tokio::test]
async fn hundreds_of_shell_steps() {
    const STEPS: usize = 200;
    let (leader, _executor) = pair().await;
    // This leader launches once: a session lost on a busy machine would lose launches with it.
    leader.behave(|manners| manners.heartbeat_ms = 2_000);
    leader.drop_session();
    leader.hello(2).await;
    let begin = std::time::Instant::now();
    for step in 0..STEPS {
        leader.launch(shell(&format!("h{step}"), "exit 0")).await;
    }
    let ends = |record: &common::leader::Record| {
        (record.reports.iter().filter(|report| common::is_terminal(report)).count() >= STEPS).then_some(())
    };
    leader.until("all", ends).await;
    eprintln!("{STEPS} shell steps in {:?}", begin.elapsed());
    assert!(leader.record().reports.iter().all(|report| report.failure.is_none()));
}
