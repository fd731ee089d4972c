//! Steps: kind and config, environment, files, resources, constraints, retries.

use super::Check;
use super::scope::{Frame, Scope};
use crate::definition::{Constraint, ConstraintOperator, Fetch, Resources, RetryPolicy, Step};
use crate::expression::is_template;
use crate::ids::is_environment_name;
use crate::limits;
use crate::tree::shorten;
use crate::units::Bytes;

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
        });
    }

    fn kind(&mut self, step: &Step) {
        let kind = match self.plugins.find(&step.kind) {
            Ok(kind) => kind,
            Err(problem) => return self.at("kind", |check| check.report(problem.message, problem.remedy)),
        };
        if step.resources.mem < kind.least_mem() {
            let (mem, least) = (step.resources.mem, kind.least_mem());
            let message =
                format!("{mem} of memory are too little: a {} step needs at least {least}", kind.name());
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
                if !is_environment_name(name) {
                    let message = format!("`{}` cannot name an environment variable", shorten(name));
                    check.report(message, "use letters, digits and `_`, not starting with a digit");
                } else if name.starts_with("MESON_") {
                    let message = format!(
                        "`{}` is set by Meson itself: names with `MESON_` are its own",
                        shorten(name)
                    );
                    check.report(message, "choose another name");
                }
                if value.contains('\0') {
                    check.report("a variable cannot hold a NUL character", "remove it");
                }
                check.template(value, scope);
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
            let known =
                ["http://", "https://", "file:///", "/"].iter().any(|start| fetch.uri.starts_with(start));
            if !known && !is_template(&fetch.uri) {
                let message = format!("`{}` cannot be fetched", shorten(&fetch.uri));
                check.report(message, "write a `http://`, `https://` or `file:///` URI, or an absolute path");
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

    fn retry_policy(&mut self, policy: &RetryPolicy) {
        if policy.retries > limits::RETRIES {
            let message =
                format!("{} retries are more than the limit of {}", policy.retries, limits::RETRIES);
            self.at("retries", |check| check.report(message, "use fewer"));
        }
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
