//! Declarations of parameters.

use serde_json::Value;

use crate::definition::{Param, ParamType};

/// A parameter under construction.
#[derive(Debug, Clone)]
pub struct ParamBuilder(Param);

fn of(kind: ParamType) -> ParamBuilder {
    ParamBuilder(Param {
        kind,
        description: String::new(),
        default: None,
        minimum: None,
        maximum: None,
        min_length: None,
        max_length: None,
        allowed: None,
    })
}

/// Text.
pub fn string() -> ParamBuilder {
    of(ParamType::String)
}

/// A whole number.
pub fn integer() -> ParamBuilder {
    of(ParamType::Integer)
}

/// A number.
pub fn number() -> ParamBuilder {
    of(ParamType::Number)
}

/// True or false.
pub fn boolean() -> ParamBuilder {
    of(ParamType::Boolean)
}

/// A list.
pub fn list() -> ParamBuilder {
    of(ParamType::List)
}

/// An object.
pub fn object() -> ParamBuilder {
    of(ParamType::Object)
}

impl ParamBuilder {
    /// Says what it is for.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.0.description = text.to_owned();
        self
    }

    /// Sets the value for runs that give none.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.0.default = Some(value.into());
        self
    }

    /// Sets the least value.
    #[must_use]
    pub fn minimum(mut self, minimum: f64) -> Self {
        self.0.minimum = Some(minimum);
        self
    }

    /// Sets the greatest value.
    #[must_use]
    pub fn maximum(mut self, maximum: f64) -> Self {
        self.0.maximum = Some(maximum);
        self
    }

    /// Sets the least length.
    #[must_use]
    pub fn min_length(mut self, length: u64) -> Self {
        self.0.min_length = Some(length);
        self
    }

    /// Sets the greatest length.
    #[must_use]
    pub fn max_length(mut self, length: u64) -> Self {
        self.0.max_length = Some(length);
        self
    }

    /// Sets the only values allowed.
    #[must_use]
    pub fn one_of<I: IntoIterator<Item: Into<Value>>>(mut self, values: I) -> Self {
        self.0.allowed = Some(values.into_iter().map(Into::into).collect());
        self
    }
}

impl From<ParamBuilder> for Param {
    fn from(builder: ParamBuilder) -> Param {
        builder.0
    }
}
