//! Workflows written in Rust. `a >> b` runs `b` after `a`, `a | b` runs them side by side; `then` and `and` are the same as
//! verbs. In a sequence of groups every node at the end of the left one is needed by every node at the beginning of the
//! right one. What comes out is the same definition, with the same content hash, as the YAML that says the same.
//!
//! The example that Meson's announcement opened with: users are fetched and wrangled, then a global model and one for each
//! region are trained and validated side by side, and the best one is selected.
//!
//! ```
//! use meson_workflow::dsl::*;
//!
//! let global = step("trainGlobal").python("train.py").args(["--scope", "global"]) >> noop("validateGlobal");
//! let regional = shell("regionSplit", "./split.sh")
//!     >> for_each_as("perRegion", "reg", "outputs.regionSplit.regions", |reg| {
//!         step("trainReg").python("train.py").args(["--region".to_owned(), reg.template()])
//!             >> step("validateReg").python("validate.py").args([reg.template()])
//!     })
//!     >> noop("regionJoin");
//! let definition = Workflow::new("select-model")
//!     .graph(
//!         noop("start")
//!             >> shell("getUsers", "./get-users.sh")
//!             >> shell("wrangleData", "./wrangle.sh")
//!             >> (global | regional)
//!             >> noop("selectModel")
//!             >> noop("validateModel")
//!             >> noop("end"),
//!     )
//!     .build()?;
//!
//! let select = definition.nodes.iter().find(|node| node.id == "selectModel").unwrap();
//! assert_eq!(select.needs, ["validateGlobal", "regionJoin"]);
//! # Ok::<(), meson_workflow::Problems>(())
//! ```
//!
//! Steps have what an operator asks for; loops and choices hold graphs:
//!
//! ```
//! use meson_workflow::dsl::*;
//!
//! let tune = repeat_until("tune", "outputs.score.rmse < 0.1", 5, |state| {
//!     step("train").python("train.py").args([state.get("rate").template()]).cpus(2.0).mem("4GiB").retry_user(3)
//!         >> step("score").python("score.py").timeout("10m")
//! })
//! .state("rate", 0.5)
//! .carry("rate", "state.rate / 2")
//! .output("rmse", "outputs.score.rmse");
//! let publish = switch("publish")
//!     .when("outputs.tune.rmse < params.limit / 100", wait("approval", "approved") >> shell("upload", "./upload.sh"))
//!     .otherwise(noop("keep"));
//! let definition = Workflow::new("tune-model")
//!     .param("limit", integer().default(20).minimum(1.0))
//!     .graph(tune >> publish)
//!     .output("rmse", output("tune", "rmse"))
//!     .build()?;
//! assert_eq!(meson_workflow::Definition::from_yaml(&definition.to_yaml())?, definition);
//! # Ok::<(), meson_workflow::Problems>(())
//! ```

mod composite;
mod expr;
mod flow;
mod node;
mod param;
mod step;
mod workflow;

pub use composite::{
    ForEachBuilder, RepeatBuilder, SubworkflowBuilder, SwitchBuilder, WaitBuilder, for_each, for_each_as,
    repeat_until, subworkflow, switch, wait,
};
pub use expr::{Expr, State, attempt, output, param};
pub use flow::{Flow, IntoFlow};
pub use node::NodeOptions;
pub use param::{ParamBuilder, boolean, integer, list, number, object, string};
pub use step::{StepBuilder, noop, shell, step};
pub use workflow::Workflow;
