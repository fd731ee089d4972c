//! The outermost map and its parameters.

use super::Reader;
use crate::definition::{Definition, Param, ParamType};
use crate::tree::Tree;

const DEFINITION: [&str; 6] = ["name", "description", "params", "timeout", "nodes", "outputs"];
const PARAM: [&str; 8] =
    ["type", "description", "default", "minimum", "maximum", "min_length", "max_length", "enum"];
const PARAM_TYPES: [(&str, ParamType); 6] = [
    ("string", ParamType::String),
    ("integer", ParamType::Integer),
    ("number", ParamType::Number),
    ("boolean", ParamType::Boolean),
    ("list", ParamType::List),
    ("object", ParamType::Object),
];

impl Reader<'_> {
    pub(super) fn definition(&mut self, tree: &Tree) -> Option<Definition> {
        let fields = self.fields(tree, "a workflow", &DEFINITION)?;
        let name = self.required(&fields, "name", "name: my-workflow", Self::text);
        let description = self.optional(&fields, "description", Self::text).unwrap_or_default();
        let params = self
            .optional(&fields, "params", |reader, tree| reader.map(tree, Self::param))
            .unwrap_or_default();
        let timeout = self.optional(&fields, "timeout", Self::millis);
        let nodes = self.required(&fields, "nodes", "nodes: [{ id: a, kind: noop }]", Self::nodes);
        let outputs = self.optional(&fields, "outputs", Self::expressions).unwrap_or_default();
        Some(Definition { name: name?, description, params, timeout, nodes: nodes?, outputs })
    }

    fn param(&mut self, tree: &Tree) -> Option<Param> {
        let fields = self.fields(tree, "a parameter", &PARAM)?;
        let kind =
            self.required(&fields, "type", "type: string", |reader, tree| reader.word(tree, &PARAM_TYPES));
        let param = Param {
            // The placeholder is never seen: a missing type is a problem, and problems leave no definition.
            kind: kind.unwrap_or(ParamType::Object),
            description: self.optional(&fields, "description", Self::text).unwrap_or_default(),
            default: self.optional(&fields, "default", Self::value),
            minimum: self.optional(&fields, "minimum", Self::number),
            maximum: self.optional(&fields, "maximum", Self::number),
            min_length: self.optional(&fields, "min_length", Self::unsigned_64),
            max_length: self.optional(&fields, "max_length", Self::unsigned_64),
            allowed: self.optional(&fields, "enum", |reader, tree| reader.list(tree, Self::value)),
        };
        kind.map(|_| param)
    }
}
