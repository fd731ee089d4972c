//! Steps and what belongs to them.

use super::Reader;
use super::fields::Fields;
use crate::definition::{
    Constraint, ConstraintOperator, Fetch, MemoryGrowth, Resources, Retry, RetryPolicy, Step,
};
use crate::tree::Tree;
use crate::units::Bytes;

const FETCH: [&str; 5] = ["uri", "to", "sha256", "extract", "executable"];
const RESOURCES: [&str; 4] = ["cpus", "mem", "disk", "gpus"];
const CONSTRAINT: [&str; 3] = ["attribute", "operator", "values"];
const RETRY: [&str; 4] = ["user", "platform", "timeout", "memory"];
const GROWTH: [&str; 4] = ["factor", "max", "retries", "delay"];
const POLICY: [&str; 4] = ["retries", "delay", "factor", "max_delay"];
const OPERATORS: [(&str, ConstraintOperator); 5] = [
    ("equals", ConstraintOperator::Equals),
    ("not_equals", ConstraintOperator::NotEquals),
    ("in", ConstraintOperator::In),
    ("not_in", ConstraintOperator::NotIn),
    ("exists", ConstraintOperator::Exists),
];

impl Reader<'_> {
    pub(super) fn step(&mut self, fields: &Fields<'_>) -> Option<Step> {
        let kind = self.required(fields, "kind", "kind: shell", Self::text);
        let config = self.optional(fields, "config", Self::object).unwrap_or_default();
        let env =
            self.optional(fields, "env", |reader, tree| reader.map(tree, Self::text)).unwrap_or_default();
        let secrets =
            self.optional(fields, "secrets", |reader, tree| reader.map(tree, Self::text)).unwrap_or_default();
        let fetch =
            self.optional(fields, "fetch", |reader, tree| reader.list(tree, Self::fetch)).unwrap_or_default();
        let resources = self.optional(fields, "resources", Self::resources).unwrap_or_default();
        let constraints = self
            .optional(fields, "constraints", |reader, tree| reader.list(tree, Self::constraint))
            .unwrap_or_default();
        let priority = self.optional(fields, "priority", Self::signed_32).unwrap_or_default();
        let retry = self.optional(fields, "retry", Self::retry).unwrap_or_default();
        Some(Step { kind: kind?, config, env, secrets, fetch, resources, constraints, priority, retry })
    }

    fn fetch(&mut self, tree: &Tree) -> Option<Fetch> {
        let fields = self.fields(tree, "a file to fetch", &FETCH)?;
        let uri = self.required(&fields, "uri", "uri: https://…", Self::text);
        let to = self.optional(&fields, "to", Self::text);
        let sha256 = self.optional(&fields, "sha256", Self::text);
        let extract = self.optional(&fields, "extract", Self::boolean).unwrap_or_default();
        let executable = self.optional(&fields, "executable", Self::boolean).unwrap_or_default();
        Some(Fetch { uri: uri?, to, sha256, extract, executable })
    }

    fn resources(&mut self, tree: &Tree) -> Option<Resources> {
        let fields = self.fields(tree, "resources", &RESOURCES)?;
        let default = Resources::default();
        Some(Resources {
            cpus: self.optional(&fields, "cpus", Self::number).unwrap_or(default.cpus),
            mem: self.optional(&fields, "mem", Self::bytes).unwrap_or(default.mem),
            disk: self.optional(&fields, "disk", Self::bytes).unwrap_or(default.disk),
            gpus: self.optional(&fields, "gpus", Self::unsigned_32).unwrap_or(default.gpus),
        })
    }

    fn constraint(&mut self, tree: &Tree) -> Option<Constraint> {
        let fields = self.fields(tree, "a constraint", &CONSTRAINT)?;
        let attribute = self.required(&fields, "attribute", "attribute: zone", Self::text);
        let operator = self
            .required(&fields, "operator", "operator: equals", |reader, tree| reader.word(tree, &OPERATORS));
        let values = self.optional(&fields, "values", Self::texts).unwrap_or_default();
        Some(Constraint { attribute: attribute?, operator: operator?, values })
    }

    pub(super) fn retry(&mut self, tree: &Tree) -> Option<Retry> {
        let fields = self.fields(tree, "retries", &RETRY)?;
        let default = Retry::default();
        Some(Retry {
            user: self.policy(&fields, "user", default.user),
            platform: self.policy(&fields, "platform", default.platform),
            timeout: self.policy(&fields, "timeout", default.timeout),
            memory: self.optional(&fields, "memory", Self::growth),
        })
    }

    fn growth(&mut self, tree: &Tree) -> Option<MemoryGrowth> {
        let fields = self.fields(tree, "growing memory", &GROWTH)?;
        let max = self.required(&fields, "max", "max: 8GiB", Self::bytes);
        let default = MemoryGrowth::up_to(Bytes(0));
        let factor = self.optional(&fields, "factor", Self::number).unwrap_or(default.factor);
        let retries = self.optional(&fields, "retries", Self::unsigned_32);
        let delay = self.optional(&fields, "delay", Self::millis).unwrap_or(default.delay);
        Some(MemoryGrowth { factor, max: max?, retries, delay })
    }

    /// A policy; fields not given keep the default of their failure class, so that a longer delay for platform failures
    /// does not silently take their retries away.
    fn policy(&mut self, fields: &Fields<'_>, class: &str, default: RetryPolicy) -> RetryPolicy {
        let read = |reader: &mut Self, tree: &Tree| {
            let fields = reader.fields(tree, "a retry policy", &POLICY)?;
            Some(RetryPolicy {
                retries: reader.optional(&fields, "retries", Self::unsigned_32).unwrap_or(default.retries),
                delay: reader.optional(&fields, "delay", Self::millis).unwrap_or(default.delay),
                factor: reader.optional(&fields, "factor", Self::number).unwrap_or(default.factor),
                max_delay: reader.optional(&fields, "max_delay", Self::millis).unwrap_or(default.max_delay),
            })
        };
        self.optional(fields, class, read).unwrap_or(default)
    }
}
