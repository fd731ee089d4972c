//! A plugin's JSON Schema, and what it says of a config. References to other documents are refused, and patterns have no
//! backtracking: neither a schema nor a config can make a check slow or reach the network.

use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use meson_workflow::expression::is_template;
use meson_workflow::ids::did_you_mean;
use meson_workflow::kinds::{ConfigProblem, Segment, Stage};
use serde_json::{Map, Value};

/// What a schema calls the one draft that is understood here.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Problems reported of one config.
const PROBLEMS_MAX: usize = 20;

/// Characters of a description that are shown beside a problem.
const DESCRIPTION_CHARS_MAX: usize = 200;

/// A schema that is ready to check.
#[derive(Debug)]
pub struct Schema {
    /// The kind that it belongs to.
    kind: String,
    validator: Validator,
    /// The fields that a config may have, with their descriptions, as far as the schema names them at its top.
    fields: BTreeMap<String, String>,
}

impl Schema {
    /// Reads a schema; says what is wrong with it.
    pub fn compile(kind: &str, text: &str) -> Result<Schema, String> {
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match schema.get("$schema").map(Value::as_str) {
            None => {}
            Some(Some(draft)) if draft.trim_end_matches('#') == DRAFT => {}
            Some(_) => return Err(format!("$schema: write \"{DRAFT}\", or leave it out")),
        }
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(PatternOptions::regex())
            .offline()
            .build(&schema)
            .map_err(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                place => format!("{place}: {error}"),
            })?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let described = |(name, field): (&String, &Value)| {
            let text = field.get("description").and_then(Value::as_str).unwrap_or_default();
            (name.clone(), text.trim_end_matches('.').chars().take(DESCRIPTION_CHARS_MAX).collect())
        };
        let fields = properties.into_iter().flatten().map(described).collect();
        Ok(Schema { kind: kind.to_owned(), validator, fields })
    }

    /// Everything that is surely wrong with a config.
    pub fn problems(&self, config: &Map<String, Value>, stage: Stage) -> Vec<ConfigProblem> {
        let config = Value::Object(config.clone());
        let errors = self.validator.iter_errors(&config);
        let sure = errors.filter(|error| stage == Stage::Rendered || is_sure(error, &config));
        sure.flat_map(|error| self.problem(&error, &config)).take(PROBLEMS_MAX).collect()
    }

    fn problem(&self, error: &ValidationError<'_>, config: &Value) -> Vec<ConfigProblem> {
        let path = path(error, config);
        let field = match path.last() {
            Some(Segment::Name(name)) => format!("`{name}`"),
            Some(Segment::Index(index)) => format!("item {index}"),
            None => "`config`".to_owned(),
        };
        let remedy = self.remedy(&path);
        let problem = |message: String| ConfigProblem { path: path.clone(), message, remedy: remedy.clone() };
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                unexpected.iter().map(|name| self.unknown(&path, name)).collect()
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let whose = if path.is_empty() { format!("kind `{}`", self.kind) } else { field };
                vec![problem(format!("{whose} needs `{name}`"))]
            }
            Kind::FalseSchema => vec![problem(format!("{field} may not be given here"))],
            // Without the value: it may be long, or secret.
            _ => vec![problem(error.masked_with(field).to_string())],
        }
    }

    fn unknown(&self, path: &[Segment], name: &str) -> ConfigProblem {
        let known = path.is_empty().then(|| self.fields.keys().map(String::as_str));
        let remedy = match known.and_then(|known| did_you_mean(name, known)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => self.remedy(path),
        };
        let mut path = path.to_vec();
        path.push(Segment::Name(name.to_owned()));
        ConfigProblem { path, message: format!("unknown field `{name}`"), remedy }
    }

    /// What the plugin says of the field; else which fields there are.
    fn remedy(&self, path: &[Segment]) -> String {
        let described = match path.first() {
            Some(Segment::Name(name)) => self.fields.get(name).filter(|text| !text.is_empty()),
            _ => None,
        };
        match described {
            Some(text) => format!("the plugin says of it: {text}"),
            None if self.fields.is_empty() => format!("see the schema of kind `{}`", self.kind),
            None => {
                let names: Vec<String> = self.fields.keys().map(|name| format!("`{name}`")).collect();
                format!("kind `{}` takes {}", self.kind, names.join(", "))
            }
        }
    }
}

/// Whether an error stays one whatever the templates in the config give. What depends on the value of a string that is a
/// template does not, nor what asks whether other parts of the schema hold, as far as templates are among what it looks at.
/// Names are never templates, and no template adds or removes an entry: so what counts or names those is sure.
fn is_sure(error: &ValidationError<'_>, config: &Value) -> bool {
    // A branch is chosen by a condition on anything above it.
    if error.evaluation_path().as_str().split('/').any(|word| word == "then" || word == "else") {
        return !has_template(config);
    }
    let instance = error.instance().as_ref();
    match error.kind() {
        Kind::AdditionalItems { .. }
        | Kind::AdditionalProperties { .. }
        | Kind::FalseSchema
        | Kind::MaxItems { .. }
        | Kind::MaxProperties { .. }
        | Kind::MinItems { .. }
        | Kind::MinProperties { .. }
        | Kind::PropertyNames { .. }
        | Kind::Required { .. }
        | Kind::Type { .. } => !is_text_with_template(instance),
        _ => !has_template(instance),
    }
}

fn is_text_with_template(value: &Value) -> bool {
    value.as_str().is_some_and(is_template)
}

/// No deeper than a reader of JSON goes.
fn has_template(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(entries) => entries.values().any(has_template),
        plain => is_text_with_template(plain),
    }
}

/// The way to an error. A number in it is a name where there is a map.
fn path(error: &ValidationError<'_>, config: &Value) -> Vec<Segment> {
    let mut here = Some(config);
    let mut path = Vec::new();
    for segment in error.instance_path().segments() {
        let text = segment.to_string();
        match here {
            Some(Value::Array(items)) if text.parse::<usize>().is_ok() => {
                let index = text.parse().unwrap_or_default();
                here = items.get(index);
                path.push(Segment::Index(index));
            }
            value => {
                here = value.and_then(|value| value.get(&text));
                path.push(Segment::Name(text));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(schema: Value) -> Schema {
        Schema::compile("acme/notify", &schema.to_string()).unwrap()
    }

    fn said(schema: &Schema, config: Value, stage: Stage) -> Vec<String> {
        let Value::Object(config) = config else { panic!("no object") };
        let said = |problem: ConfigProblem| {
            let path: Vec<String> = problem.path.iter().map(|segment| format!("{segment:?}")).collect();
            format!("{}: {}: {}", path.join(" "), problem.message, problem.remedy)
        };
        schema.problems(&config, stage).into_iter().map(said).collect()
    }

    fn notify() -> Schema {
        schema(json!({
            "type": "object",
            "required": ["channel"],
            "additionalProperties": false,
            "properties": {
                "channel": { "type": "string", "pattern": "^#[a-z]+$", "description": "Where to: `#name`." },
                "retries": { "type": "integer", "minimum": 0 },
                "to": { "type": "array", "maxItems": 2, "items": { "type": "string", "enum": ["a", "b"] } },
                "link": { "type": "string", "format": "uri" }
            }
        }))
    }

    #[test]
    fn problems_have_place_and_remedy_and_no_value() {
        let config =
            json!({ "chanel": "#x", "retries": "many-secrets", "to": ["a", "z"], "link": "no link" });
        let found = said(&notify(), config, Stage::Written);
        for expected in [
            r##"Name("chanel"): unknown field `chanel`: did you mean `channel`?"##,
            r##": kind `acme/notify` needs `channel`: kind `acme/notify` takes `channel`, `link`, `retries`, `to`"##,
            r##"Name("retries"): `retries` is not of type "integer""##,
            r##"Name("to") Index(1): item 1"##,
            r##"Name("link"): `link` is not a "uri""##,
        ] {
            assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:#?}");
        }
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(!found.join("").contains("many-secrets"), "{found:#?}");
        let pattern = said(&notify(), json!({ "channel": "general" }), Stage::Rendered);
        assert!(pattern[0].contains("the plugin says of it: Where to: `#name`"), "{pattern:?}");
    }

    #[test]
    fn templates_pass_until_they_are_filled_in() {
        let config = json!({ "channel": "#{{ params.team }}", "retries": "{{ params.n }}", "to": "{{ params.to }}",
                             "link": "{{ params.link }}" });
        assert_eq!(said(&notify(), config.clone(), Stage::Written), Vec::<String>::new());
        // What was filled in may hold braces of its own: they are no templates any more.
        assert_eq!(said(&notify(), config, Stage::Rendered).len(), 4);
        let too_many = json!({ "channel": "#a", "to": ["{{ params.a }}", "a", "b"], "retries": -1 });
        assert_eq!(said(&notify(), too_many, Stage::Written).len(), 2);
    }

    #[test]
    fn nothing_is_refused_that_a_template_may_mend() {
        let chosen = schema(json!({
            "properties": { "mode": { "enum": ["file", "rows"] } },
            "if": { "properties": { "mode": { "const": "file" } } },
            "then": { "required": ["path"] },
            "else": { "required": ["rows"] },
        }));
        let config = |mode: &str| json!({ "mode": mode });
        assert_eq!(said(&chosen, config("file"), Stage::Written).len(), 1);
        assert_eq!(said(&chosen, config("{{ params.mode }}"), Stage::Written), Vec::<String>::new());
        assert_eq!(said(&chosen, config("rows"), Stage::Rendered).len(), 1);

        let either = schema(json!({ "oneOf": [
            { "properties": { "a": { "type": "integer" } }, "required": ["a"] },
            { "properties": { "b": { "type": "integer" } }, "required": ["b"] },
        ] }));
        assert_eq!(said(&either, json!({ "a": "{{ params.a }}" }), Stage::Written), Vec::<String>::new());
        assert_eq!(said(&either, json!({ "a": "text" }), Stage::Written).len(), 1);
        let unique = schema(json!({ "properties": { "x": { "uniqueItems": true } } }));
        let same = json!({ "x": ["{{ attempt }}", "{{ attempt }}"] });
        assert_eq!(said(&unique, same, Stage::Written), Vec::<String>::new());
        assert_eq!(said(&unique, json!({ "x": [1, 1] }), Stage::Written).len(), 1);
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        for (bad, expected) in [
            ("{", "EOF"),
            (r#"{"type": "objekt"}"#, "/type: "),
            (r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#, "$schema: write"),
            (r#"{"$ref": "https://example.org/other.json"}"#, "example.org"),
            (r##"{"$ref": "#/$defs/missing"}"##, "missing"),
            (r#"{"pattern": "(?=a)"}"#, ""),
            (r#"{"properties": {"a": {"format": "colour"}}}"#, "colour"),
        ] {
            let problem = Schema::compile("a/b", bad).expect_err(bad);
            assert!(problem.contains(expected), "{bad}: {problem}");
        }
        let current = format!(r#"{{"$schema": "{DRAFT}", "type": "object"}}"#);
        assert!(Schema::compile("a/b", &current).is_ok());
    }

    #[test]
    fn a_number_is_a_name_where_there_is_a_map() {
        let digits = schema(json!({ "additionalProperties": { "items": { "type": "integer" } } }));
        let found = said(&digits, json!({ "7": [1, "x"] }), Stage::Rendered);
        assert!(found[0].starts_with(r#"Name("7") Index(1): item 1 is not of type"#), "{found:?}");
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let tree = schema(json!({ "$ref": "#/$defs/tree", "$defs": { "tree": {
            "additionalProperties": { "$ref": "#/$defs/tree" } } } }));
        assert_eq!(said(&tree, json!({ "a": { "b": {} } }), Stage::Rendered), Vec::<String>::new());
        let itself = schema(json!({ "$ref": "#" }));
        assert_eq!(said(&itself, json!({ "a": 1 }), Stage::Rendered), Vec::<String>::new());
    }
}
