//! What Mesos checks of calls, frameworks, tasks and executors before it does anything with them, in its words.

use std::collections::BTreeSet;

use meson_mesos::v1::{
    CommandInfo, ExecutorInfo, FrameworkInfo, Resource, TaskInfo,
    environment::variable,
    executor, executor_info,
    framework_info::capability,
    scheduler::{Call, call},
    value,
};

use crate::{cluster::has_capability, resources};

/// Longest id: a file name's limit.
const ID_BYTES_MAX: usize = 255;
/// Least resources of the executor of a task group.
const CPUS_MIN: f64 = 0.01;
const MEM_MB_MIN: f64 = 32.0;

/// A scheduler's call has the field that its type says.
///
/// # Errors
/// Mesos's words for what is missing.
pub fn call(call: &Call, principal: Option<&str>) -> Result<(), String> {
    let expect = |there: bool, field: &str| {
        if there { Ok(()) } else { Err(format!("Expecting '{field}' to be present")) }
    };
    expect(call.r#type.is_some(), "type")?;
    let kind = call.r#type();
    if kind == call::Type::Subscribe {
        let subscribe = call.subscribe.as_ref().ok_or("Expecting 'subscribe' to be present")?;
        let id = subscribe.framework_info.id.as_ref().map_or("", |id| id.value.as_str());
        if id != call.framework_id.as_ref().map_or("", |id| id.value.as_str()) {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
        }
        let named = subscribe.framework_info.principal.as_deref();
        return match (principal, named) {
            (Some(principal), Some(named)) if principal != named => Err(format!(
                "Authenticated principal '{principal}' does not match principal '{named}' set in `FrameworkInfo`"
            )),
            _ => Ok(()),
        };
    }
    expect(call.framework_id.is_some(), "framework_id")?;
    match kind {
        call::Type::Accept => expect(call.accept.is_some(), "accept"),
        call::Type::Decline => expect(call.decline.is_some(), "decline"),
        call::Type::AcceptInverseOffers => {
            expect(call.accept_inverse_offers.is_some(), "accept_inverse_offers")
        }
        call::Type::DeclineInverseOffers => {
            expect(call.decline_inverse_offers.is_some(), "decline_inverse_offers")
        }
        call::Type::Kill => expect(call.kill.is_some(), "kill"),
        call::Type::Shutdown => expect(call.shutdown.is_some(), "shutdown"),
        call::Type::Acknowledge => {
            let acknowledge = call.acknowledge.as_ref().ok_or("Expecting 'acknowledge' to be present")?;
            uuid(&acknowledge.uuid)
        }
        call::Type::Reconcile => expect(call.reconcile.is_some(), "reconcile"),
        call::Type::Message => expect(call.message.is_some(), "message"),
        call::Type::Request => expect(call.request.is_some(), "request"),
        call::Type::UpdateFramework => {
            let update =
                call.update_framework.as_ref().ok_or("Expecting 'update_framework' to be present")?;
            if update.framework_info.id != call.framework_id {
                return Err("'framework_id' differs from 'update_framework.framework_info.id'".to_owned());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// An executor's call has the field that its type says.
///
/// # Errors
/// Mesos's words for what is missing.
pub fn executor_call(call: &executor::Call) -> Result<(), String> {
    let expect = |there: bool, field: &str| {
        if there { Ok(()) } else { Err(format!("Expecting '{field}' to be present")) }
    };
    expect(call.r#type.is_some(), "type")?;
    match call.r#type() {
        executor::call::Type::Subscribe => expect(call.subscribe.is_some(), "subscribe"),
        executor::call::Type::Message => expect(call.message.is_some(), "message"),
        executor::call::Type::Update => {
            let update = call.update.as_ref().ok_or("Expecting 'update' to be present")?;
            let status = &update.status;
            if status.uuid.is_none() {
                return Err("Expecting 'uuid' to be present".to_owned());
            }
            uuid(status.uuid())?;
            let of = status.executor_id.as_ref();
            if of.is_some_and(|of| of.value != call.executor_id.value) {
                return Err(format!(
                    "ExecutorID in Call: {} does not match ExecutorID in TaskStatus: {}",
                    call.executor_id.value,
                    of.map_or("", |of| of.value.as_str())
                ));
            }
            if status.source() != meson_mesos::v1::task_status::Source::Executor {
                return Err(format!(
                    "Received Call from executor {} of framework {} with invalid source, expecting \
                     'SOURCE_EXECUTOR'",
                    call.executor_id.value, call.framework_id.value
                ));
            }
            if status.state() == meson_mesos::v1::TaskState::TaskStaging {
                return Err(format!(
                    "Received TASK_STAGING from executor {} of framework {} which is not allowed",
                    call.executor_id.value, call.framework_id.value
                ));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sixteen bytes.
fn uuid(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() == 16 { Ok(()) } else { Err("Invalid uuid: not a valid UUID".to_owned()) }
}

/// An id that may become the name of a folder.
///
/// # Errors
/// What is wrong with it.
pub fn id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("ID must not be empty".to_owned());
    }
    if id.len() > ID_BYTES_MAX {
        return Err(format!("ID must not be greater than {ID_BYTES_MAX} characters"));
    }
    if id == "." || id == ".." {
        return Err(format!("'{id}' is disallowed"));
    }
    if id.chars().any(|letter| letter.is_control() || letter == '/' || letter == '\\') {
        return Err(format!("'{id}' contains invalid characters"));
    }
    Ok(())
}

/// A role's name.
///
/// # Errors
/// What is wrong with it.
pub fn role(role: &str) -> Result<(), String> {
    if role == "*" {
        return Ok(());
    }
    if role.is_empty() {
        return Err("Empty role name is invalid".to_owned());
    }
    if role.starts_with('/') || role.ends_with('/') {
        return Err(format!("Role '{role}' cannot start or end with a slash"));
    }
    for part in role.split('/') {
        if part.is_empty() || part == "." || part == ".." || part == "*" {
            return Err(format!("Role '{role}' has an invalid component '{part}'"));
        }
        if part.starts_with('-') {
            return Err(format!("Role component '{part}' is invalid because it begins with a dash"));
        }
        if part.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
            return Err(format!("Role component '{part}' is invalid because it contains invalid characters"));
        }
    }
    Ok(())
}

/// A framework that wants to subscribe.
///
/// # Errors
/// What is wrong with it.
pub fn framework(info: &FrameworkInfo) -> Result<(), String> {
    if has_capability(info, capability::Type::MultiRole) {
        if info.role.is_some() {
            return Err(
                "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned()
            );
        }
        let mut seen = BTreeSet::new();
        let twice: Vec<&String> = info.roles.iter().filter(|role| !seen.insert(role.as_str())).collect();
        if let Some(twice) = twice.first() {
            return Err(format!("'FrameworkInfo.roles' contains duplicate items: {{ {twice} }}"));
        }
        for name in &info.roles {
            role(name).map_err(|error| format!("'FrameworkInfo.roles' contains invalid role: {error}"))?;
        }
    } else {
        if !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable"
                .to_owned());
        }
        role(info.role()).map_err(|error| format!("'FrameworkInfo.role' is not a valid role: {error}"))?;
    }
    if let Some(name) = info.id.as_ref().filter(|name| !name.value.is_empty()) {
        id(&name.value)?;
    }
    let timeout = info.failover_timeout();
    // The longest duration of Mesos: 64 bits of nanoseconds.
    if !timeout.is_finite() || timeout.abs() > 9_223_372_036.0 {
        return Err(format!("The framework failover_timeout ({timeout}) is invalid"));
    }
    Ok(())
}

/// `UPDATE_FRAMEWORK` may not change these.
///
/// # Errors
/// What it tried to change.
pub fn framework_update(old: &FrameworkInfo, new: &FrameworkInfo) -> Result<(), String> {
    if old.principal != new.principal {
        return Err("Changing framework's principal is not allowed.".to_owned());
    }
    if old.user != new.user {
        return Err(format!(
            "Updating 'FrameworkInfo.user' is unsupported; attempted to update from '{}' to '{}'",
            old.user, new.user
        ));
    }
    if old.checkpoint() != new.checkpoint() {
        return Err(format!(
            "Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from '{}' to '{}'",
            old.checkpoint(),
            new.checkpoint()
        ));
    }
    Ok(())
}

/// Suppressed roles are the framework's.
///
/// # Errors
/// Names those that are not.
pub fn suppressed_roles(roles: &[String], suppressed: &BTreeSet<String>) -> Result<(), String> {
    let wrong: Vec<&str> =
        suppressed.iter().filter(|role| !roles.contains(role)).map(String::as_str).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("Suppressed roles {{ {} }} are not contained in the set of roles", wrong.join(", ")))
}

/// A task by itself.
///
/// # Errors
/// What is wrong with it.
pub fn task(task: &TaskInfo) -> Result<(), String> {
    let policy = task.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    if policy.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("Task's 'kill_policy.grace_period' must be non-negative".to_owned());
    }
    if task.max_completion_time.as_ref().is_some_and(|time| time.nanoseconds < 0) {
        return Err("Task's `max_completion_time` must be non-negative".to_owned());
    }
    if task.resources.is_empty() {
        return Err("Task uses no resources".to_owned());
    }
    values(&task.resources).map_err(|error| format!("Task uses invalid resources: {error}"))?;
    if let Some(wanted) = &task.command {
        command(wanted).map_err(|error| format!("Task's `CommandInfo` is invalid: {error}"))?;
    }
    Ok(())
}

/// A task of `LAUNCH` has a command or an executor.
///
/// # Errors
/// When it has both or none.
pub fn one_command(task: &TaskInfo) -> Result<(), String> {
    if task.executor.is_some() == task.command.is_some() {
        return Err(
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".to_owned()
        );
    }
    Ok(())
}

/// An executor by itself.
///
/// # Errors
/// What is wrong with it.
pub fn executor(executor: &ExecutorInfo) -> Result<(), String> {
    match executor.r#type() {
        executor_info::Type::Default if executor.command.is_some() => {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
        }
        executor_info::Type::Custom if executor.command.is_none() => {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
        }
        _ => {}
    }
    id(&executor.executor_id.value)?;
    if executor.shutdown_grace_period.as_ref().is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    if let Some(wanted) = &executor.command {
        command(wanted).map_err(|error| format!("Executor's `CommandInfo` is invalid: {error}"))?;
    }
    values(&executor.resources).map_err(|error| format!("Executor uses invalid resources: {error}"))
}

/// The executor of a task of `LAUNCH`.
///
/// # Errors
/// When it is not a custom one.
pub fn custom_executor(executor: &ExecutorInfo) -> Result<(), String> {
    if executor.r#type.is_some() && executor.r#type() != executor_info::Type::Custom {
        return Err("'ExecutorInfo.type' must be 'CUSTOM'".to_owned());
    }
    if executor.command.is_none() {
        return Err("'ExecutorInfo.command' must be set".to_owned());
    }
    Ok(())
}

/// The executor of a task group.
///
/// # Errors
/// What it lacks.
pub fn group_executor(executor: &ExecutorInfo, tasks: &[TaskInfo]) -> Result<(), String> {
    let name = &executor.executor_id.value;
    if executor.r#type.is_none() {
        return Err("'ExecutorInfo.type' must be set".to_owned());
    }
    if executor.r#type() == executor_info::Type::Unknown {
        return Err("Unknown executor type".to_owned());
    }
    for task in tasks {
        if task.executor.as_ref().is_some_and(|other| !same_executor(other, executor)) {
            return Err(format!(
                "The `ExecutorInfo` of task '{}' is different from executor '{name}'",
                task.task_id.value
            ));
        }
    }
    let cpus = resources::scalar(&executor.resources, "cpus");
    if cpus < CPUS_MIN {
        return Err(format!(
            "Executor '{name}' uses less CPUs ({cpus}) than the minimum required ({CPUS_MIN})"
        ));
    }
    let mem = resources::scalar(&executor.resources, "mem");
    if mem < MEM_MB_MIN {
        return Err(format!(
            "Executor '{name}' uses less memory ({mem}MB) than the minimum required ({MEM_MB_MIN}MB)"
        ));
    }
    if !executor.resources.iter().any(|resource| resource.name == "disk") {
        return Err(format!("Executor '{name}' uses no disk"));
    }
    Ok(())
}

/// Whether two executors are the same; the order and form of resources do not count.
#[must_use]
pub fn same_executor(a: &ExecutorInfo, b: &ExecutorInfo) -> bool {
    let plain = |of: &ExecutorInfo| ExecutorInfo { resources: Vec::new(), framework_id: None, ..of.clone() };
    let amounts = |of: &ExecutorInfo| -> Vec<Resource> {
        resources::unallocated(&of.resources).into_iter().map(resources::upgraded).collect()
    };
    let (of_a, of_b) = (amounts(a), amounts(b));
    plain(a) == plain(b) && resources::contains(&of_a, &of_b) && resources::contains(&of_b, &of_a)
}

fn command(command: &CommandInfo) -> Result<(), String> {
    for variable in command.environment.iter().flat_map(|environment| environment.variables.iter()) {
        let name = &variable.name;
        if variable.r#type() == variable::Type::Value && variable.value.is_none() {
            return Err(format!("Environment variable '{name}' of type 'VALUE' must have a value set"));
        }
        if variable.r#type() == variable::Type::Secret && variable.secret.is_none() {
            return Err(format!("Environment variable '{name}' of type 'SECRET' must have a secret set"));
        }
        if variable.r#type() == variable::Type::Unknown {
            return Err("Environment variable of type 'UNKNOWN' is not allowed".to_owned());
        }
    }
    Ok(())
}

/// Values fit their types, amounts are not negative, GPUs are whole.
fn values(all: &[Resource]) -> Result<(), String> {
    for resource in all {
        let name = &resource.name;
        if name.is_empty() {
            return Err("Empty resource name".to_owned());
        }
        let there = match resource.r#type() {
            value::Type::Scalar => resource.scalar.is_some(),
            value::Type::Ranges => resource.ranges.is_some(),
            value::Type::Set => resource.set.is_some(),
            value::Type::Text => return Err(format!("Resource '{name}' has an unsupported type")),
        };
        if !there {
            return Err(format!("Invalid value of resource '{name}'"));
        }
        let amount = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
        if !(amount >= 0.0 && amount.is_finite()) {
            return Err(format!("Invalid scalar resource: {name} < 0"));
        }
        if name == "gpus" && amount.fract() != 0.0 {
            return Err("The 'gpus' resource must be an unsigned integer".to_owned());
        }
    }
    Ok(())
}
