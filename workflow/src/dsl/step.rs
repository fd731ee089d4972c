//! Steps.

use serde_json::Value;

use super::flow::{Flow, IntoFlow, operators};
use super::node::{Draft, NodeOptions};
use crate::definition::{Constraint, ConstraintOperator, Fetch, MemoryGrowth, RetryPolicy, Step, Work};

/// A step under construction.
#[derive(Debug, Clone)]
pub struct StepBuilder(Draft);

/// A step whose kind follows: `step("train").python("train.py")`.
pub fn step(id: impl Into<String>) -> StepBuilder {
    StepBuilder(Draft::step(id, ""))
}

/// A step that runs a command line with `/bin/sh -c`.
pub fn shell(id: impl Into<String>, command: impl Into<String>) -> StepBuilder {
    step(id).shell(command)
}

/// A step that does nothing.
pub fn noop(id: impl Into<String>) -> StepBuilder {
    step(id).kind("noop")
}

impl StepBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut Step)) -> Self {
        if let Work::Step(step) = &mut self.0.node.work {
            edit(step);
        }
        self
    }

    /// Sets the kind by name.
    #[must_use]
    pub fn kind(self, kind: &str) -> Self {
        self.edit(|step| step.kind = kind.to_owned())
    }

    /// Runs a command line with `/bin/sh -c`.
    #[must_use]
    pub fn shell(self, command: impl Into<String>) -> Self {
        self.kind("shell").config("command", command.into())
    }

    /// Runs a Python script.
    #[must_use]
    pub fn python(self, script: impl Into<String>) -> Self {
        self.kind("python").config("script", script.into())
    }

    /// Sets one of the kind's own settings. Strings are templates.
    #[must_use]
    pub fn config(self, name: &str, value: impl Into<Value>) -> Self {
        self.edit(|step| drop(step.config.insert(name.to_owned(), value.into())))
    }

    /// Sets the arguments, for kinds that have `args`.
    #[must_use]
    pub fn args<I: IntoIterator<Item: Into<Value>>>(self, args: I) -> Self {
        let args: Vec<Value> = args.into_iter().map(Into::into).collect();
        self.config("args", args)
    }

    /// Sets an environment variable. The value is a template.
    #[must_use]
    pub fn env(self, name: &str, value: impl Into<String>) -> Self {
        self.edit(|step| drop(step.env.insert(name.to_owned(), value.into())))
    }

    /// Sets an environment variable to a secret that the executor knows by this name.
    #[must_use]
    pub fn secret(self, variable: &str, name: &str) -> Self {
        self.edit(|step| drop(step.secrets.insert(variable.to_owned(), name.to_owned())))
    }

    /// Brings a file into the attempt's directory before it starts.
    #[must_use]
    pub fn fetch(self, uri: impl Into<String>) -> Self {
        let uri = uri.into();
        self.fetch_file(Fetch { uri, to: None, sha256: None, extract: false, executable: false })
    }

    /// The same, with all its options.
    #[must_use]
    pub fn fetch_file(self, fetch: Fetch) -> Self {
        self.edit(|step| step.fetch.push(fetch))
    }

    /// Asks for processor cores.
    #[must_use]
    pub fn cpus(self, cpus: f64) -> Self {
        self.edit(|step| step.resources.cpus = cpus)
    }

    /// Asks for memory, like `4GiB`.
    #[must_use]
    pub fn mem(mut self, size: &str) -> Self {
        let mem = self.0.amount("resources.mem", size);
        self.edit(|step| step.resources.mem = mem.unwrap_or(step.resources.mem))
    }

    /// Asks for disk, like `20GiB`.
    #[must_use]
    pub fn disk(mut self, size: &str) -> Self {
        let disk = self.0.amount("resources.disk", size);
        self.edit(|step| step.resources.disk = disk.unwrap_or(step.resources.disk))
    }

    /// Asks for graphics processors.
    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        self.edit(|step| step.resources.gpus = gpus)
    }

    /// Wants an agent whose attribute compares so.
    #[must_use]
    pub fn constraint<I: IntoIterator<Item: Into<String>>>(
        self,
        attribute: &str,
        operator: ConstraintOperator,
        values: I,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.edit(|step| {
            step.constraints.push(Constraint { attribute: attribute.to_owned(), operator, values })
        })
    }

    /// Is placed before steps of lower priority.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        self.edit(|step| step.priority = priority)
    }

    /// Tries again after the step's own failures.
    #[must_use]
    pub fn retry_user(self, retries: u32) -> Self {
        self.edit(|step| step.retry.user.retries = retries)
    }

    /// Tries again after agent, executor or network were lost.
    #[must_use]
    pub fn retry_platform(self, retries: u32) -> Self {
        self.edit(|step| step.retry.platform.retries = retries)
    }

    /// Tries again after attempts that took too long.
    #[must_use]
    pub fn retry_timeout(self, retries: u32) -> Self {
        self.edit(|step| step.retry.timeout.retries = retries)
    }

    /// After a kill for using too much memory, tries again with twice as much, up to this, like `8GiB`.
    #[must_use]
    pub fn retry_memory(mut self, max: &str) -> Self {
        let max = self.0.amount("retry.memory.max", max);
        self.edit(|step| step.retry.memory = max.map(MemoryGrowth::up_to))
    }

    /// The same, with all its options.
    #[must_use]
    pub fn retry_memory_growth(self, growth: MemoryGrowth) -> Self {
        self.edit(|step| step.retry.memory = Some(growth))
    }

    /// Sets the whole policy for the step's own failures.
    #[must_use]
    pub fn retry_user_policy(self, policy: RetryPolicy) -> Self {
        self.edit(|step| step.retry.user = policy)
    }
}

impl NodeOptions for StepBuilder {
    fn draft(&mut self) -> &mut Draft {
        &mut self.0
    }
}

impl IntoFlow for StepBuilder {
    fn into_flow(self) -> Flow {
        Flow::of(self.0.node, self.0.faults)
    }
}

operators!(StepBuilder);
