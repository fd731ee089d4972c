//! What the Rust DSL builds is what the YAML says: equal definitions, equal hashes.

use meson_workflow::Definition;
use meson_workflow::definition::{ConstraintOperator, FailureMode, TriggerRule};
use meson_workflow::dsl::*;

fn same(built: Workflow, yaml: &str) {
    let built = built.build().unwrap_or_else(|problems| panic!("{problems}"));
    let read = Definition::from_yaml(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(built, read, "\n{}", built.to_yaml());
    assert_eq!(built.content_hash(), read.content_hash());
    let json = Definition::from_json(&read.canonical_json()).expect("canonical JSON is valid");
    assert_eq!(json.content_hash(), read.content_hash());
}

#[test]
fn sequences_and_groups() {
    same(
        Workflow::new("w")
            .graph(noop("a") >> (noop("b") | noop("c")) >> (noop("d") | noop("e")) >> noop("f")),
        "
        name: w
        nodes:
          - { id: a, kind: noop }
          - { id: b, kind: noop, needs: [a] }
          - { id: c, kind: noop, needs: [a] }
          - { id: d, kind: noop, needs: [b, c] }
          - { id: e, kind: noop, needs: [b, c] }
          - { id: f, kind: noop, needs: [d, e] }
        ",
    );
}

#[test]
fn verbs_mean_what_operators_mean() {
    let verbs = noop("a").then(noop("b").and(noop("c"))).then(noop("d"));
    let operators = noop("a") >> (noop("b") | noop("c")) >> noop("d");
    assert_eq!(
        Workflow::new("w").graph(verbs).build().unwrap().content_hash(),
        Workflow::new("w").graph(operators).build().unwrap().content_hash()
    );
}

#[test]
fn a_node_in_two_paths_is_one_node() {
    let a = noop("a");
    same(
        Workflow::new("w").graph((a.clone() >> noop("b")) | (a.clone() >> noop("c"))).graph(a >> noop("d")),
        "
        name: w
        nodes:
          - { id: a, kind: noop }
          - { id: b, kind: noop, needs: [a] }
          - { id: c, kind: noop, needs: [a] }
          - { id: d, kind: noop, needs: [a] }
        ",
    );
}

#[test]
fn an_empty_flow_changes_nothing() {
    let chain = ["a", "b", "c"].into_iter().fold(Flow::new(), |chain, id| chain >> noop(id));
    same(
        Workflow::new("w").graph(chain),
        "
        name: w
        nodes:
          - { id: a, kind: noop }
          - { id: b, kind: noop, needs: [a] }
          - { id: c, kind: noop, needs: [b] }
        ",
    );
}

#[test]
fn every_option_of_a_step() {
    same(
        Workflow::new("w")
            .description("d")
            .timeout("60s")
            .param("rounds", integer().default(3).minimum(1.0).maximum(9.0).description("n"))
            .param("mode", string().one_of(["a", "b"]).min_length(1).max_length(3))
            .graph(
                step("train")
                    .python("train.py")
                    .args(["--rounds".to_owned(), param("rounds").template()])
                    .env("TRY", attempt().template())
                    .secret("DB_PASSWORD", "hive/password")
                    .fetch("/data/train.py")
                    .cpus(2.0)
                    .mem("4096MiB")
                    .disk("1GiB")
                    .gpus(1)
                    .constraint("zone", ConstraintOperator::In, ["a", "b"])
                    .priority(7)
                    .retry_user(3)
                    .retry_platform(10)
                    .retry_memory("8GiB")
                    .timeout("10m")
                    .on_failure(FailureMode::Now),
            )
            .graph(noop("late").needs(["train"]).trigger(TriggerRule::AllDone))
            .output("rmse", output("train", "rmse")),
        "
        name: w
        description: d
        timeout: 1m
        params:
          rounds: { type: integer, default: 3, minimum: 1, maximum: 9, description: n }
          mode: { type: string, enum: [a, b], min_length: 1, max_length: 3 }
        nodes:
          - id: train
            kind: python
            config: { script: train.py, args: ['--rounds', '{{ params.rounds }}'] }
            env: { TRY: '{{ attempt }}' }
            secrets: { DB_PASSWORD: hive/password }
            fetch: [{ uri: /data/train.py, extract: false }]
            resources: { cpus: 2, mem: 4GiB, disk: 1024MiB, gpus: 1 }
            constraints: [{ attribute: zone, operator: in, values: [a, b] }]
            priority: 7
            retry: { user: { retries: 3 }, memory: { max: 8192MiB, factor: 2, delay: 1s } }
            timeout: 600s
            on_failure: now
            trigger: all_succeeded
          - { id: late, kind: noop, needs: [train], trigger: all_done, on_failure: after_running }
        outputs: { rmse: outputs.train.rmse }
        ",
    );
}

#[test]
fn composites() {
    let regions = for_each_as("regions", "region", "outputs.split.list", |region| {
        shell("fit", format!("./fit {}", region.field("name").template())) >> noop("join")
    })
    .concurrency(4)
    .output("rmse", output("fit", "rmse"));
    let rounds = repeat_until("rounds", "outputs.validate.stable", 5, |state| {
        step("validate").shell(format!(
            "./v {} {}",
            state.get("rate").template(),
            state.iteration().template()
        ))
    })
    .state("rate", 0.5)
    .carry("rate", "state.rate / 2")
    .output("stable", "outputs.validate.stable");
    let choice = switch("choice")
        .when(output("rounds", "stable"), (wait("ask", "approved") >> noop("yes")).output("x", "1"))
        .otherwise(subworkflow("call", "other").param("by", "{{ run.id }}"));
    let fixed = for_each("fixed", ["a", "b"], |item| shell("say", item.template()));
    same(
        Workflow::new("w").graph(noop("split") >> regions >> rounds >> choice >> fixed),
        "
        name: w
        nodes:
          - { id: split, kind: noop }
          - id: regions
            needs: [split]
            for_each:
              items: outputs.split.list
              as: region
              concurrency: 4
              nodes:
                - { id: fit, kind: shell, config: { command: './fit {{ region.name }}' } }
                - { id: join, kind: noop, needs: [fit] }
              outputs: { rmse: outputs.fit.rmse }
          - id: rounds
            needs: [regions]
            repeat:
              until: outputs.validate.stable
              max_iterations: 5
              state: { rate: 0.5 }
              carry: { rate: state.rate / 2 }
              nodes:
                - { id: validate, kind: shell, config: { command: './v {{ state.rate }} {{ iteration }}' } }
              outputs: { stable: outputs.validate.stable }
          - id: choice
            needs: [rounds]
            switch:
              branches:
                - when: outputs.rounds.stable
                  nodes:
                    - { id: ask, wait: { signal: approved } }
                    - { id: 'yes', kind: noop, needs: [ask] }
                  outputs: { x: '1' }
              default:
                nodes:
                  - { id: call, subworkflow: { name: other, params: { by: '{{ run.id }}' } } }
          - id: fixed
            needs: [choice]
            for_each:
              items: [a, b]
              as: item
              nodes:
                - { id: say, kind: shell, config: { command: '{{ item }}' } }
        ",
    );
}

#[test]
fn what_is_given_wrongly_is_reported_by_build() {
    let problems = Workflow::new("w")
        .timeout("soon")
        .graph(for_each("loop", "params.x", |_| noop("a").timeout("5 minutes") | shell("a", "x").mem("1gb")))
        .build()
        .unwrap_err();
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "timeout: `soon` is not a duration; write a whole number and a unit of ms, s, m, h and d, like `90s`",
            "timeout: node \"a\": `5 minutes` is not a duration; write a whole number and a unit of ms, s, m, h or d, like `90s`",
            "resources.mem: node \"a\": `1gb` is not a size; write a whole number and a unit of B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, like `512MiB`",
            "nodes[0].for_each.items: node \"loop\": in `items`: there is no parameter `x`: add it to the workflow's `params`",
            "nodes[0].for_each.nodes[1].id: node \"loop/a\": the id `a` is used twice in one graph: give one of the two another id",
        ]
        .map(|message| message.replace("h and d", "h or d"))
    );
}
