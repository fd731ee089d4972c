//! A step's definition with its templates filled in: what goes to the executor.

use std::collections::BTreeMap;

use meson_engine::State;
use meson_engine::ids::{NodeNo, RunNo};
use meson_engine::plan::PlanWork;
use meson_workflow::definition::{Fetch, Step};
use meson_workflow::expression;
use meson_workflow::kinds::Plugins;
use serde_json::{Map, Value, json};

use super::context::{Visible, object};
use super::{Error, Result, at, wrong};

/// The rendered parts of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The step's kind.
    pub kind: String,
    /// Its configuration.
    pub config: Map<String, Value>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Names of its secrets, by variable.
    pub secrets: BTreeMap<String, String>,
    /// What to bring in first.
    pub fetch: Vec<Fetch>,
    /// Parameters of the workflow it belongs to.
    pub params: Map<String, Value>,
    /// Timeout of the attempt.
    pub timeout_ms: Option<u64>,
}

/// Renders the step for its newest attempt.
///
/// # Errors
/// A template that cannot be rendered, or gives what its kind does not take.
pub fn render(state: &State, run: RunNo, no: NodeNo, plugins: &Plugins) -> Result<Rendered> {
    let run = state.runs.get(&run).ok_or(Error::Gone)?;
    let node = run.nodes.get(&no).ok_or(Error::Gone)?;
    let planned = state.planned(run, no).ok_or(Error::Gone)?;
    let PlanWork::Step(step) = &planned.work else { return Err(Error::Gone) };
    let visible = Visible { state, run, scope: node.scope() };
    let source = templates(step);
    let context = visible.context_of_value(&source)?.attempt(u64::from(node.attempts()));
    let mut rendered = expression::render_value(&source, &context).map_err(at("config"))?;
    let Value::Object(config) = rendered["config"].take() else { return Err(Error::Gone) };
    plugins.check_rendered(&step.kind, &config).map_err(|problems| wrong("config", problems.to_string()))?;
    let params = visible.params()?;
    Ok(Rendered {
        kind: step.kind.clone(),
        config,
        env: texts(rendered["env"].take(), "env")?,
        secrets: step.secrets.clone(),
        fetch: fetches(step, texts(rendered["fetch"].take(), "fetch")?),
        params,
        timeout_ms: planned.timeout_ms,
    })
}

/// All templates of a step in one value, so that one pass finds their names and one renders them.
fn templates(step: &Step) -> Value {
    let fetch: Map<String, Value> =
        step.fetch.iter().enumerate().map(|(place, fetch)| (place.to_string(), json!(fetch.uri))).collect();
    json!({ "config": step.config, "env": step.env, "fetch": fetch })
}

/// Environment variables and addresses are text; other scalars are written out.
fn texts(value: Value, place: &str) -> Result<BTreeMap<String, String>> {
    let Value::Object(fields) = value else { return Ok(BTreeMap::new()) };
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(wrong(&format!("{place}.{name}"), "it must give text, a number or a boolean"))
        }
    };
    fields.into_iter().map(text).collect()
}

fn fetches(step: &Step, uris: BTreeMap<String, String>) -> Vec<Fetch> {
    let uri = |place: usize, fetch: &Fetch| uris.get(&place.to_string()).unwrap_or(&fetch.uri).clone();
    step.fetch
        .iter()
        .enumerate()
        .map(|(place, fetch)| Fetch { uri: uri(place, fetch), ..fetch.clone() })
        .collect()
}

impl Visible<'_> {
    /// Parameters of the workflow that the scope belongs to.
    fn params(&self) -> Result<Map<String, Value>> {
        let mut key = self.scope;
        while key != meson_engine::ids::ROOT {
            let planned = self.state.planned(self.run, key.0).ok_or(Error::Gone)?;
            if matches!(planned.work, PlanWork::Subworkflow(_)) {
                return Ok(object(&self.run.scopes.get(&key).ok_or(Error::Gone)?.variables));
            }
            key = self.run.nodes.get(&key.0).ok_or(Error::Gone)?.scope();
        }
        Ok(object(&self.run.info.params))
    }
}
