//! Steps: kind and config, environment, files, resources, constraints, retries.

use super::Check;
use super::scope::{Frame, Scope};
use crate::definition::{Constraint, ConstraintOperator, Fetch, MemoryGrowth, Resources, RetryPolicy, Step};
use crate::expression::is_template;
use crate::ids::{is_environment_name, is_secret_name};
use crate::limits;
use crate::tree::shorten;
use crate::units::Bytes;

/// How the URI of a file to fetch may begin.
const FETCHED_FROM: [&str; 7] = ["http://", "https://", "hdfs://", "s3://", "s3a://", "file:///", "/"];

/// What to write instead of one that begins otherwise.
const HOW_TO_FETCH: &str =
    "write a `http://`, `https://`, `hdfs://`, `s3://` or `file:///` URI, or an absolute path";

impl Check<'_> {
    pub(super) fn step(&mut self, step: &Step, scope: &Scope<'_>) {
        let scope = &scope.enter(Frame::Attempt);
        self.kind(step);
        self.at("config", |check| {
            for (name, value) in &step.config {
                check.at(name, |check| check.value(value, scope));
            }
            let size: usize = step.config.values().map(|value| value.to_string().len()).sum();
            if size > limits::CONFIG_BYTES {
                let message = format!("`config` has {size} bytes; the limit is {}", limits::CONFIG_BYTES);
                check.report(message, "bring large data in with `fetch`");
            }
        });
        self.at("env", |check| check.environment(step, scope));
        self.at("secrets", |check| check.secrets(step));
        self.at("fetch", |check| {
            check.length(step.fetch.len());
            for (index, fetch) in step.fetch.iter().enumerate() {
                check.at_index(index, |check| check.fetch(fetch, scope));
            }
        });
        self.at("resources", |check| check.resources(&step.resources));
        self.at("constraints", |check| {
            check.length(step.constraints.len());
            for (index, constraint) in step.constraints.iter().enumerate() {
                check.at_index(index, |check| check.constraint(constraint));
            }
        });
        if !(-limits::PRIORITY..=limits::PRIORITY).contains(&step.priority) {
            let most = limits::PRIORITY;
            let message = format!("the priority {} is not between -{most} and {most}", step.priority);
            self.at("priority", |check| check.report(message, "choose one between"));
        }
        self.at("retry", |check| {
            let retry = &step.retry;
            for (class, policy) in
                [("user", &retry.user), ("platform", &retry.platform), ("timeout", &retry.timeout)]
            {
                check.at(class, |check| check.retry_policy(policy));
            }
            if let Some(growth) = &retry.memory {
                check.at("memory", |check| check.growth(growth, step.resources.mem));
            }
        });
    }

    fn kind(&mut self, step: &Step) {
        let kind = match self.plugins.find(&step.kind) {
            Ok(kind) => kind,
            Err(problem) => return self.at("kind", |check| check.report(problem.message, problem.remedy)),
        };
        let (mem, least) = (step.resources.mem, kind.least_mem(&step.config));
        if mem < least {
            let message =
                format!("{mem} of memory are too little: this {} step needs at least {least}", kind.name());
            self.at("resources", |check| {
                check.at("mem", |check| check.report(message, format!("write `mem: {least}` or more")));
            });
        }
        for problem in kind.check_config(&step.config) {
            // A config that is missing altogether is mended at the kind.
            let base = if step.config.is_empty() { "kind" } else { "config" };
            self.at(base, |check| {
                let depth = check.path.len();
                check.path.extend(problem.path);
                check.report(problem.message, problem.remedy);
                check.path.truncate(depth);
            });
        }
    }

    fn environment(&mut self, step: &Step, scope: &Scope<'_>) {
        self.length(step.env.len());
        for (name, value) in &step.env {
            self.at(name, |check| {
                check.variable(name);
                if value.contains('\0') {
                    check.report("a variable cannot hold a NUL character", "remove it");
                }
                check.template(value, scope);
            });
        }
    }

    fn variable(&mut self, name: &str) {
        if !is_environment_name(name) {
            let message = format!("`{}` cannot name an environment variable", shorten(name));
            self.report(message, "use letters, digits and `_`, not starting with a digit");
        } else if name.starts_with("MESON_") {
            let message =
                format!("`{}` is set by Meson itself: names with `MESON_` are its own", shorten(name));
            self.report(message, "choose another name");
        }
    }

    fn secrets(&mut self, step: &Step) {
        self.length(step.secrets.len());
        for (variable, name) in &step.secrets {
            self.at(variable, |check| {
                check.variable(variable);
                if step.env.contains_key(variable) {
                    let message = format!("`{}` is set in `env` too", shorten(variable));
                    check.report(message, "remove one of the two");
                }
                if !is_secret_name(name) {
                    let message = format!("`{}` cannot name a secret", shorten(name));
                    let remedy = "write a relative path of letters, digits, `.`, `_` and `-`, without `..`, like \
                                  `hive/password`; it is no template";
                    check.report(message, remedy);
                }
            });
        }
    }

    fn length(&mut self, length: usize) {
        if length > limits::STEP_LIST {
            let message =
                format!("`{}` has {length} entries; the limit is {}", self.field(), limits::STEP_LIST);
            self.report(message, "use fewer");
        }
    }

    fn fetch(&mut self, fetch: &Fetch, scope: &Scope<'_>) {
        self.at("uri", |check| {
            check.template(&fetch.uri, scope);
            let known = FETCHED_FROM.iter().any(|start| fetch.uri.starts_with(start));
            if !known && !is_template(&fetch.uri) {
                let message = format!("`{}` cannot be fetched", shorten(&fetch.uri));
                check.report(message, HOW_TO_FETCH);
            } else if fetch.to.is_none() && fetch.uri.ends_with('/') {
                check.report("the URI ends without a file name", "say in `to` what the file shall be called");
            }
        });
        if let Some(to) = fetch.to.as_deref() {
            let is_inside = !to.is_empty()
                && !to.starts_with('/')
                && to.split('/').all(|part| part != ".." && !part.is_empty());
            if !is_inside || to.contains('\0') {
                let message = format!("`{}` is not a path inside the attempt's directory", shorten(to));
                self.at("to", |check| check.report(message, "write a relative path without `..`"));
            }
        }
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fetch.sha256.as_deref().is_some_and(|text| !is_digest(text)) {
            self.at("sha256", |check| check.report("this is no SHA-256", "write its 64 hexadecimal digits"));
        }
    }

    fn resources(&mut self, resources: &Resources) {
        let cpus = resources.cpus;
        if !(limits::CPUS_MIN..=limits::CPUS_MAX).contains(&cpus) {
            let message = format!("no agent can give {cpus} cpus");
            let remedy = format!("ask for {} to {}", limits::CPUS_MIN, limits::CPUS_MAX);
            self.at("cpus", |check| check.report(message, remedy));
        }
        if resources.mem.0 == 0 || resources.mem.0 > limits::MEM_BYTES {
            let message = format!("no agent can give {} of memory", resources.mem);
            let remedy = format!("ask for 1B to {}", Bytes(limits::MEM_BYTES));
            self.at("mem", |check| check.report(message, remedy));
        }
        if resources.disk.0 > limits::DISK_BYTES {
            let message = format!("no agent can give {} of disk", resources.disk);
            let remedy = format!("ask for at most {}", Bytes(limits::DISK_BYTES));
            self.at("disk", |check| check.report(message, remedy));
        }
        if resources.gpus > limits::GPUS {
            let message = format!("no agent can give {} gpus", resources.gpus);
            self.at("gpus", |check| check.report(message, format!("ask for at most {}", limits::GPUS)));
        }
    }

    fn constraint(&mut self, constraint: &Constraint) {
        if constraint.attribute.is_empty() || constraint.attribute.len() > limits::NAME_CHARS {
            let message = format!("`{}` cannot be an attribute's name", shorten(&constraint.attribute));
            let remedy = format!("write 1 to {} characters", limits::NAME_CHARS);
            self.at("attribute", |check| check.report(message, remedy));
        }
        let count = constraint.values.len();
        let (fits, wanted) = match constraint.operator {
            ConstraintOperator::Equals => (count == 1, "`equals` takes exactly one value"),
            ConstraintOperator::NotEquals => (count == 1, "`not_equals` takes exactly one value"),
            ConstraintOperator::In => (count >= 1, "`in` takes at least one value"),
            ConstraintOperator::NotIn => (count >= 1, "`not_in` takes at least one value"),
            ConstraintOperator::Exists => (count == 0, "`exists` takes no values"),
        };
        if !fits {
            let remedy = if count == 0 { "add `values: […]`" } else { "change `values` or the operator" };
            self.at("values", |check| check.report(format!("{wanted}, not {count}"), remedy));
        }
        self.at("values", |check| check.length(count));
    }

    fn growth(&mut self, growth: &MemoryGrowth, mem: Bytes) {
        let MemoryGrowth { factor, max, retries, delay } = *growth;
        let grows = factor > 1.0 && factor <= limits::RETRY_FACTOR;
        if !grows {
            let message = format!("the factor {factor} is not above 1 and at most {}", limits::RETRY_FACTOR);
            self.at("factor", |check| check.report(message, "use 2 to double the memory each time"));
        }
        if max.0 > limits::MEM_BYTES {
            let message = format!("no agent can give {max} of memory");
            let remedy = format!("use at most {}", Bytes(limits::MEM_BYTES));
            self.at("max", |check| check.report(message, remedy));
        } else if max < mem {
            let message =
                format!("the most that a retry gets, {max}, is less than the step's own memory, {mem}");
            self.at("max", |check| check.report(message, "make `max` larger or `resources.mem` smaller"));
        } else if grows && retries.is_none() && growth.size_after(mem, limits::RETRIES) < max {
            let message = format!("from {mem} to {max} it takes more than {} retries", limits::RETRIES);
            self.at("factor", |check| check.report(message, "use a larger factor"));
        }
        retries.into_iter().for_each(|retries| self.retries(retries));
        self.at("delay", |check| check.duration(delay));
    }

    fn retries(&mut self, retries: u32) {
        if retries > limits::RETRIES {
            let message = format!("{retries} retries are more than the limit of {}", limits::RETRIES);
            self.at("retries", |check| check.report(message, "use fewer"));
        }
    }

    fn retry_policy(&mut self, policy: &RetryPolicy) {
        self.retries(policy.retries);
        if !(1.0..=limits::RETRY_FACTOR).contains(&policy.factor) {
            let message =
                format!("the factor {} is not between 1 and {}", policy.factor, limits::RETRY_FACTOR);
            self.at("factor", |check| check.report(message, "use 1 for equal pauses, more for growing ones"));
        }
        self.at("delay", |check| check.duration(policy.delay));
        self.at("max_delay", |check| check.duration(policy.max_delay));
        if policy.max_delay < policy.delay {
            let message = format!(
                "the first pause, {}, is longer than the longest, {}",
                policy.delay, policy.max_delay
            );
            self.at("delay", |check| check.report(message, "make `delay` shorter or `max_delay` longer"));
        }
    }
}
