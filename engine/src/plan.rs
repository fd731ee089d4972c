//! A definition made ready for the state machine: every graph in it flattened into a list with numbers for names, needs
//! and successors. Derived from the definition alone, so every replica derives the same.

use std::collections::BTreeMap;

use meson_workflow::Definition;
use meson_workflow::definition::{
    Branch, Expression, FailureMode, Items, Node, Repeat, Step, Subworkflow, TriggerRule, Work,
};
use serde_json::Value;

/// A definition with its graphs flattened. Graph 0 is the root.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the workflow.
    pub name: String,
    /// Timeout of the run.
    pub timeout_ms: Option<u64>,
    /// The graphs.
    pub bodies: Vec<Body>,
}

/// One graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Its nodes, in the order of the definition.
    pub nodes: Vec<PlanNode>,
    /// Expressions of its outputs.
    pub outputs: BTreeMap<String, Expression>,
}

/// One node of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanNode {
    /// Its id.
    pub id: String,
    /// Places of its needs in the graph.
    pub needs: Vec<u32>,
    /// Places of the nodes that need it.
    pub successors: Vec<u32>,
    /// When its needs let it start.
    pub trigger: TriggerRule,
    /// What its failure does.
    pub on_failure: FailureMode,
    /// Its timeout.
    pub timeout_ms: Option<u64>,
    /// What it does.
    pub work: PlanWork,
}

/// What a node does; graphs inside are numbers of bodies.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanWork {
    /// Work for an executor.
    Step(Box<Step>),
    /// A loop over items.
    ForEach {
        /// Where the items come from.
        items: Items,
        /// Name of the item in expressions.
        item: String,
        /// Most scopes at once.
        concurrency: Option<u32>,
        /// The graph.
        body: u32,
    },
    /// A loop until content.
    Repeat {
        /// Ends the loop when true.
        until: Expression,
        /// Most iterations.
        max_iterations: u32,
        /// First state.
        state: BTreeMap<String, Value>,
        /// Next state.
        carry: BTreeMap<String, Expression>,
        /// The graph.
        body: u32,
    },
    /// A choice: conditions and graphs, then the default graph.
    Switch {
        /// In order.
        branches: Vec<(Expression, u32)>,
        /// When none holds.
        default: Option<u32>,
    },
    /// A call of another workflow.
    Subworkflow(Subworkflow),
    /// A wait for a signal of this name.
    Wait(String),
}

impl PlanNode {
    /// The kind as people see it: the step's technology or the composite's name.
    pub fn kind(&self) -> &str {
        match &self.work {
            PlanWork::Step(step) => &step.kind,
            PlanWork::ForEach { .. } => "for_each",
            PlanWork::Repeat { .. } => "repeat",
            PlanWork::Switch { .. } => "switch",
            PlanWork::Subworkflow(_) => "subworkflow",
            PlanWork::Wait(_) => "wait",
        }
    }

    /// The step, if it is one.
    pub fn step(&self) -> Option<&Step> {
        match &self.work {
            PlanWork::Step(step) => Some(step),
            _ => None,
        }
    }
}

impl Plan {
    /// Flattens a definition that `meson_workflow` validated.
    pub fn new(definition: &Definition) -> Plan {
        let mut plan = Plan {
            name: definition.name.clone(),
            timeout_ms: definition.timeout.map(|timeout| timeout.0),
            bodies: Vec::new(),
        };
        plan.add(&definition.nodes, &definition.outputs);
        plan
    }

    /// Names of all workflows it calls, with the version asked for.
    pub fn calls(&self) -> impl Iterator<Item = &Subworkflow> {
        self.bodies.iter().flat_map(|body| &body.nodes).filter_map(|node| match &node.work {
            PlanWork::Subworkflow(call) => Some(call),
            _ => None,
        })
    }

    fn add(&mut self, nodes: &[Node], outputs: &BTreeMap<String, Expression>) -> u32 {
        let number = self.bodies.len();
        self.bodies.push(Body { nodes: Vec::new(), outputs: outputs.clone() });
        let places: BTreeMap<&str, u32> = nodes.iter().map(|node| node.id.as_str()).zip(0..).collect();
        let mut planned: Vec<PlanNode> = nodes.iter().map(|node| self.plan_node(node, &places)).collect();
        for place in 0..planned.len() {
            for need in planned[place].needs.clone() {
                planned[need as usize].successors.push(place as u32);
            }
        }
        self.bodies[number].nodes = planned;
        number as u32
    }

    fn plan_node(&mut self, node: &Node, places: &BTreeMap<&str, u32>) -> PlanNode {
        let mut needs: Vec<u32> =
            node.needs.iter().filter_map(|need| places.get(need.as_str()).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        PlanNode {
            id: node.id.clone(),
            needs,
            successors: Vec::new(),
            trigger: node.trigger,
            on_failure: node.on_failure,
            timeout_ms: node.timeout.map(|timeout| timeout.0),
            work: self.plan_work(&node.work),
        }
    }

    fn plan_work(&mut self, work: &Work) -> PlanWork {
        match work {
            Work::Step(step) => PlanWork::Step(Box::new(step.clone())),
            Work::ForEach { for_each } => PlanWork::ForEach {
                items: for_each.items.clone(),
                item: for_each.item.clone(),
                concurrency: for_each.concurrency,
                body: self.add(&for_each.nodes, &for_each.outputs),
            },
            Work::Repeat { repeat } => self.plan_repeat(repeat),
            Work::Switch { switch } => PlanWork::Switch {
                branches: switch.branches.iter().map(|branch| self.plan_branch(branch)).collect(),
                default: switch.default.as_ref().map(|graph| self.add(&graph.nodes, &graph.outputs)),
            },
            Work::Subworkflow { subworkflow } => PlanWork::Subworkflow(subworkflow.clone()),
            Work::Wait { wait } => PlanWork::Wait(wait.signal.clone()),
        }
    }

    fn plan_repeat(&mut self, repeat: &Repeat) -> PlanWork {
        PlanWork::Repeat {
            until: repeat.until.clone(),
            max_iterations: repeat.max_iterations,
            state: repeat.state.clone(),
            carry: repeat.carry.clone(),
            body: self.add(&repeat.nodes, &repeat.outputs),
        }
    }

    fn plan_branch(&mut self, branch: &Branch) -> (Expression, u32) {
        (branch.when.clone(), self.add(&branch.nodes, &branch.outputs))
    }
}
