//! The JSON Schema of the YAML and JSON form, for editors and other tools, generated from the types.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::definition::Definition;

/// The JSON Schema (2020-12) of a definition.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<Definition>().to_value()
}

/// Rewrites the schema of a node. The types say "these fields and flattened one of those sets"; an editor understands
/// better "all these fields, no others, and exactly one of the six that name the work".
pub(crate) fn one_work(schema: &mut Schema) {
    let object = schema.ensure_object();
    let alternatives = match object.remove("anyOf") {
        Some(Value::Array(alternatives)) => alternatives,
        _ => Vec::new(),
    };
    let mut choices = Vec::new();
    for alternative in alternatives {
        let Value::Object(alternative) = alternative else { continue };
        let required = alternative.get("required").cloned().unwrap_or_default();
        choices.push(json!({ "required": required }));
        if let (Some(Value::Object(all)), Some(Value::Object(more))) =
            (object.get_mut("properties"), alternative.get("properties"))
        {
            all.extend(more.iter().map(|(name, schema)| (name.clone(), schema.clone())));
        }
    }
    object.insert("oneOf".to_owned(), Value::Array(choices));
    object.insert("dependentSchemas".to_owned(), Value::Object(step_fields_need_kind()));
    object.insert("additionalProperties".to_owned(), Value::Bool(false));
}

fn step_fields_need_kind() -> Map<String, Value> {
    let fields = ["config", "env", "secrets", "fetch", "resources", "constraints", "priority", "retry"];
    fields.into_iter().map(|field| (field.to_owned(), json!({ "required": ["kind"] }))).collect()
}
