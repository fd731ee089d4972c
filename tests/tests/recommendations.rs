//! The example pipeline in the Rust DSL: the same definition, with the same content hash, as its YAML.

use meson_workflow::Definition;
use meson_workflow::definition::{FailureMode, Param};
use meson_workflow::dsl::*;

/// A step that runs one of the example's scripts.
fn script(id: &str, name: &str, args: &[&str]) -> StepBuilder {
    let step = step(id)
        .python(format!("{{{{ params.home }}}}/steps/{name}.py"))
        .config("interpreter", "{{ params.python }}")
        .retry_timeout(1);
    if args.is_empty() { step } else { step.args(args.iter().map(|arg| (*arg).to_owned())) }
}

fn small(step: StepBuilder, timeout: &str) -> StepBuilder {
    step.cpus(0.5).mem("256MiB").timeout(timeout).retry_user(1)
}

fn training(step: StepBuilder) -> StepBuilder {
    step.env("OPENBLAS_NUM_THREADS", "1")
}

const PASS: &str = "--pass={{ iteration }}";
const TRAIN: [&str; 4] = [
    PASS,
    "--factors={{ params.factors }}",
    "--epochs={{ params.epochs }}",
    "--regularisation={{ state.regularisation }}",
];

/// The global model, and beside it one for each region of the cohort.
fn models() -> Flow {
    let train = training(script("train_global", "train", &TRAIN)).cpus(1.0).mem("512MiB").timeout("15m");
    let validate = ["--pass={{ iteration }}", "--regions={{ outputs.wrangle.regions | tojson }}"];
    let global = train.priority(10).retry_user(1)
        >> small(training(script("validate_global", "validate", &validate)), "2m");
    let regions = for_each_as("regions", "region", "outputs.wrangle.regions", |region| {
        let own = format!("--region={}", region.template());
        let args: Vec<&str> = std::iter::once(own.as_str()).chain(TRAIN).collect();
        let train = small(training(script("train_region", "train", &args)), "10m");
        let validate = small(training(script("validate_region", "validate", &[&own, PASS])), "2m");
        train.on_failure(FailureMode::Ignore) >> validate.on_failure(FailureMode::Ignore)
    })
    .output("figures", "(outputs.validate_region | default(dict())).figures | default(none)");
    let join = script(
        "join_regions",
        "join_regions",
        &[
            "--regions={{ outputs.wrangle.regions | tojson }}",
            "--figures={{ outputs.regions.figures | tojson }}",
        ],
    );
    global | (regions >> join.timeout("1m").retry_user(1))
}

fn selection() -> Flow {
    let select = [
        "--everywhere={{ outputs.validate_global.by_region | tojson }}",
        "--regional={{ outputs.join_regions.by_region | tojson }}",
    ];
    let validate = [
        PASS,
        "--max-passes={{ params.max_passes }}",
        "--regularisation={{ state.regularisation }}",
        "--rmse={{ outputs.select_model.rmse }}",
        "--baseline={{ outputs.validate_global.figures.baseline }}",
        "--disagreement={{ outputs.select_model.disagreement }}",
        "--bound={{ params.stability_bound }}",
    ];
    script("select_model", "select_model", &select).timeout("1m").retry_user(1)
        >> script("validate_model", "validate_model", &validate).timeout("1m")
}

fn passes() -> RepeatBuilder {
    repeat_until("passes", "outputs.validate_model.stable", 20, |_| models() >> selection())
        .timeout("50m")
        .state("regularisation", "{{ params.regularisation }}")
        .carry("regularisation", "state.regularisation * 2")
        .output("passes", "iteration")
        .output("regularisation", "state.regularisation")
        .output("chosen", "outputs.select_model.chosen")
        .output("rmse", "outputs.select_model.rmse")
        .output("disagreement", "outputs.select_model.disagreement")
        .output("rmse_global", "outputs.validate_global.figures.rmse")
        .output("baseline", "outputs.validate_global.figures.baseline")
}

fn params() -> Vec<(&'static str, Param)> {
    let path = |text| string().min_length(1).description(text);
    vec![
        ("home", path("Folder of this example. An absolute path, like all paths here.").into()),
        ("data", path("Path of movielens.sqlite.").into()),
        ("publish_to", path("Folder for the models and reports of runs.").into()),
        ("python", string().default("python3").description("Python interpreter that has numpy.").into()),
        (
            "min_ratings",
            integer()
                .default(30)
                .minimum(5.0)
                .maximum(5_000.0)
                .description("Ratings that a user must have given.")
                .into(),
        ),
        (
            "factors",
            integer()
                .default(8)
                .minimum(1.0)
                .maximum(16.0)
                .description("Factors of each user and movie.")
                .into(),
        ),
        (
            "epochs",
            integer().default(8).minimum(1.0).maximum(200.0).description("Epochs of each training.").into(),
        ),
        (
            "regularisation",
            number()
                .default(4)
                .minimum(0.01)
                .maximum(1_000.0)
                .description("Of the first pass; doubles from pass to pass.")
                .into(),
        ),
        (
            "stability_bound",
            number()
                .default(0.3)
                .minimum(0.0)
                .maximum(5.0)
                .description("How far models of two halves may be apart, in stars.")
                .into(),
        ),
        (
            "max_passes",
            integer()
                .default(5)
                .minimum(1.0)
                .maximum(20.0)
                .description("The run fails when this many were not enough.")
                .into(),
        ),
    ]
}

fn recommendations() -> Workflow {
    let select = ["--data={{ params.data }}", "--min-ratings={{ params.min_ratings }}"];
    let publish = [
        "--to={{ params.publish_to }}",
        "--run={{ run.id }}",
        "--figures={{ outputs.passes | tojson }}",
        "--cohort={{ outputs.select_users | tojson }}",
    ];
    let workflow = Workflow::new("recommendations")
        .description("Trains, validates and publishes a recommendations model, with a candidate of its own for each region.")
        .timeout("1h")
        .graph(
            noop("start")
                >> small(script("select_users", "select_users", &select), "2m")
                >> small(script("wrangle", "wrangle", &[]), "2m")
                >> passes()
                >> small(script("publish", "publish", &publish), "2m").retry_user(2)
                >> noop("end"),
        )
        .output("rmse_global", "outputs.passes.rmse_global")
        .output("rmse", "outputs.passes.rmse")
        .output("baseline", "outputs.passes.baseline")
        .output("regions", "outputs.wrangle.regions")
        .output("chosen", "outputs.passes.chosen")
        .output("passes", "outputs.passes.passes")
        .output("report", "outputs.publish.report");
    params().into_iter().fold(workflow, |workflow, (name, param)| workflow.param(name, param))
}

#[test]
fn the_dsl_and_the_yaml_give_the_same_definition() -> anyhow::Result<()> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/recommendations/workflow.yaml");
    let read = Definition::from_yaml(&std::fs::read_to_string(file)?)?;
    let built = recommendations().build()?;
    assert_eq!(built.to_yaml(), read.to_yaml());
    assert_eq!(built, read);
    assert_eq!(built.content_hash(), read.content_hash());
    Ok(())
}
