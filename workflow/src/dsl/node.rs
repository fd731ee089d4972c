//! What the builders of all nodes share.

use crate::definition::{FailureMode, Node, Step, TriggerRule, Work};
use crate::problem::Problem;

/// A node under construction, with what was given wrongly on the way.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(super) node: Node,
    pub(super) faults: Vec<Problem>,
}

impl Draft {
    pub(super) fn new(id: impl Into<String>, work: Work) -> Self {
        let node = Node {
            id: id.into(),
            needs: Vec::new(),
            trigger: TriggerRule::default(),
            on_failure: FailureMode::default(),
            timeout: None,
            work,
        };
        Draft { node, faults: Vec::new() }
    }

    pub(super) fn step(id: impl Into<String>, kind: &str) -> Self {
        let step = Step {
            kind: kind.to_owned(),
            config: serde_json::Map::new(),
            env: Default::default(),
            secrets: Default::default(),
            fetch: Vec::new(),
            resources: Default::default(),
            constraints: Vec::new(),
            priority: 0,
            retry: Default::default(),
        };
        Draft::new(id, Work::Step(step))
    }

    /// An amount with a unit; a text that is none is remembered for `build` to report.
    pub(super) fn amount<T: std::str::FromStr<Err: ToString>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        match text.parse() {
            Ok(amount) => Some(amount),
            Err(error) => {
                self.faults.push(Problem {
                    location: None,
                    path: field.to_owned(),
                    node: Some(self.node.id.clone()),
                    message: T::Err::to_string(&error),
                    remedy: String::new(),
                });
                None
            }
        }
    }
}

/// Options that every node has.
pub trait NodeOptions: Sized {
    #[doc(hidden)]
    fn draft(&mut self) -> &mut Draft;

    /// Needs other nodes of the graph, beside those that `>>` gives it.
    #[must_use]
    fn needs<I: IntoIterator<Item: Into<String>>>(mut self, nodes: I) -> Self {
        self.draft().node.needs.extend(nodes.into_iter().map(Into::into));
        self
    }

    /// When the needs allow it to start.
    #[must_use]
    fn trigger(mut self, rule: TriggerRule) -> Self {
        self.draft().node.trigger = rule;
        self
    }

    /// What its final failure does to the graph that holds it.
    #[must_use]
    fn on_failure(mut self, mode: FailureMode) -> Self {
        self.draft().node.on_failure = mode;
        self
    }

    /// The longest time, like `10m`.
    #[must_use]
    fn timeout(mut self, duration: &str) -> Self {
        let timeout = self.draft().amount("timeout", duration);
        self.draft().node.timeout = timeout;
        self
    }
}
