//! What a step asks of an agent. Steps of equal shape are interchangeable for placement, except for their order.

use std::hash::{Hash, Hasher};

use meson_workflow::definition::{Constraint, ConstraintOperator};

use super::{Amounts, Offer};

/// What a step asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The technology the step needs.
    pub kind: String,
    /// What an attempt holds.
    pub resources: Amounts,
    /// Which agents will do.
    pub constraints: Vec<Constraint>,
    /// The role of Mesos that the run's tenant has; empty without Mesos.
    pub role: String,
}

impl Shape {
    /// Whether the offer is for this role, and its agent runs this kind and meets all constraints; says nothing of
    /// amounts.
    pub fn suits(&self, offer: &Offer) -> bool {
        offer.role.as_ref().is_none_or(|role| *role == self.role)
            && runs(offer, &self.kind)
            && self.constraints.iter().all(|constraint| holds(constraint, offer))
    }
}

// By hand because constraints have no hash of their own.
impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.resources.hash(state);
        self.role.hash(state);
        self.constraints.len().hash(state);
        for constraint in &self.constraints {
            constraint.attribute.hash(state);
            std::mem::discriminant(&constraint.operator).hash(state);
            constraint.values.hash(state);
        }
    }
}

/// Whether the offer's agent runs steps of this kind.
pub(super) fn runs(offer: &Offer, kind: &str) -> bool {
    offer.kinds.is_empty() || offer.kinds.contains(kind)
}

/// Whether the offer's agent meets the constraint.
pub(super) fn holds(constraint: &Constraint, offer: &Offer) -> bool {
    let value = offer.attributes.get(&constraint.attribute);
    let is_listed = value.is_some_and(|value| constraint.values.contains(value));
    match constraint.operator {
        ConstraintOperator::Equals | ConstraintOperator::In => is_listed,
        ConstraintOperator::NotEquals | ConstraintOperator::NotIn => !is_listed,
        ConstraintOperator::Exists => value.is_some(),
    }
}

/// The constraint as people write it: `gpu=yes`, `zone in (a, b)`.
pub(super) fn describe(constraint: &Constraint) -> String {
    let Constraint { attribute, operator, values } = constraint;
    let listed = values.join(", ");
    match operator {
        ConstraintOperator::Equals => format!("{attribute}={listed}"),
        ConstraintOperator::NotEquals => format!("{attribute}≠{listed}"),
        ConstraintOperator::In => format!("{attribute} in ({listed})"),
        ConstraintOperator::NotIn => format!("{attribute} not in ({listed})"),
        ConstraintOperator::Exists => attribute.clone(),
    }
}
