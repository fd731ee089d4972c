//! How much of a resource: a scalar, ranges or a set.

use std::collections::BTreeSet;

use super::{Fixed, Ranges};
use crate::v1::value::{self, Type};
use crate::v1::{Resource, Value};

/// How much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// An amount.
    Scalar(Fixed),
    /// Numbers, such as ports.
    Ranges(Ranges),
    /// Names.
    Set(BTreeSet<String>),
}

impl Quantity {
    /// Of a resource; `None` if its value is not there or is text.
    pub fn of(resource: &Resource) -> Option<Self> {
        match Type::try_from(resource.r#type).ok()? {
            Type::Scalar => resource.scalar.as_ref().map(|scalar| Self::Scalar(Fixed::of(scalar.value))),
            Type::Ranges => resource.ranges.as_ref().map(|ranges| Self::Ranges(Ranges::of_contract(ranges))),
            Type::Set => resource.set.as_ref().map(|set| Self::Set(set.item.iter().cloned().collect())),
            Type::Text => None,
        }
    }

    /// Nothing, of the same kind.
    pub fn none_of(&self) -> Self {
        match self {
            Self::Scalar(_) => Self::Scalar(Fixed::ZERO),
            Self::Ranges(_) => Self::Ranges(Ranges::default()),
            Self::Set(_) => Self::Set(BTreeSet::new()),
        }
    }

    /// The kind of value.
    pub fn kind(&self) -> Type {
        match self {
            Self::Scalar(_) => Type::Scalar,
            Self::Ranges(_) => Type::Ranges,
            Self::Set(_) => Type::Set,
        }
    }

    /// Whether it is nothing. Less than nothing is nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(amount) => !amount.is_positive(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    /// Both together. `None` for different kinds.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Scalar(one), Self::Scalar(two)) => Self::Scalar(*one + *two),
            (Self::Ranges(one), Self::Ranges(two)) => Self::Ranges(one.union(two)),
            (Self::Set(one), Self::Set(two)) => Self::Set(one.union(two).cloned().collect()),
            _ => return None,
        })
    }

    /// This without the other. `None` for different kinds.
    pub fn minus(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Scalar(one), Self::Scalar(two)) => Self::Scalar(*one - *two),
            (Self::Ranges(one), Self::Ranges(two)) => Self::Ranges(one.difference(two)),
            (Self::Set(one), Self::Set(two)) => Self::Set(one.difference(two).cloned().collect()),
            _ => return None,
        })
    }

    /// What the two have in common: the smaller amount, the numbers or names that are in both.
    pub fn common(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Scalar(one), Self::Scalar(two)) => Self::Scalar(*one.min(two)),
            (Self::Ranges(one), Self::Ranges(two)) => Self::Ranges(one.difference(&one.difference(two))),
            (Self::Set(one), Self::Set(two)) => Self::Set(one.intersection(two).cloned().collect()),
            _ => return None,
        })
    }

    /// Whether the other is a part of this.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(one), Self::Scalar(two)) => two <= one,
            (Self::Ranges(one), Self::Ranges(two)) => one.contains(two),
            (Self::Set(one), Self::Set(two)) => two.is_subset(one),
            _ => false,
        }
    }

    /// The resource with this quantity in place of its own.
    pub fn put_into(&self, resource: Resource) -> Resource {
        let Value { scalar, ranges, set, r#type, .. } = Value::from(self);
        Resource { scalar, ranges, set, r#type, ..resource }
    }
}

impl From<Fixed> for Quantity {
    fn from(amount: Fixed) -> Self {
        Self::Scalar(amount)
    }
}

impl From<&value::Scalar> for Quantity {
    fn from(scalar: &value::Scalar) -> Self {
        Self::Scalar(Fixed::of(scalar.value))
    }
}
