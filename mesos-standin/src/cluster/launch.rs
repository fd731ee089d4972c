//! `LAUNCH` and `LAUNCH_GROUP`: each task is checked against what is left of the offers, then handed to the agent.

use std::collections::VecDeque;

use meson_mesos::v1::{
    ExecutorInfo, FrameworkId, Resource, TaskInfo, TaskState, offer::operation::LaunchGroup,
    task_status::Reason,
};

use super::{Cluster, accept::Ground, state::Task, tasks::Told};
use crate::{
    link::{FromMaster, RunTasks},
    resources, validate,
};

impl Cluster {
    /// Launches tasks one by one; a wrong one does not keep the others from running.
    pub(super) fn launch(&mut self, id: &str, ground: &mut Ground, tasks: Vec<TaskInfo>) {
        for mut task in tasks {
            prepare(&mut task.resources);
            if let Some(executor) = &mut task.executor {
                prepare(&mut executor.resources);
                executor.framework_id.get_or_insert_with(|| FrameworkId { value: id.to_owned() });
            }
            if let Err(error) = self.check_task(id, ground, &task) {
                self.refuse_task(id, &task, Reason::TaskInvalid, error);
                continue;
            }
            let executor = task.executor.clone();
            self.take(id, ground, &task, executor.as_ref());
            self.run(id, &ground.agent, executor, vec![allocate(task, &ground.role)], false);
        }
    }

    /// Launches a group of tasks together, or none of them.
    pub(super) fn launch_group(&mut self, id: &str, ground: &mut Ground, launch: LaunchGroup) {
        let mut executor = launch.executor;
        prepare(&mut executor.resources);
        executor.framework_id.get_or_insert_with(|| FrameworkId { value: id.to_owned() });
        let mut tasks = launch.task_group.tasks;
        for task in &mut tasks {
            prepare(&mut task.resources);
            task.executor.get_or_insert_with(|| executor.clone());
        }
        if let Err(error) = self.check_group(id, ground, &executor, &tasks) {
            for task in &tasks {
                self.refuse_task(id, task, Reason::TaskGroupInvalid, error.clone());
            }
            return;
        }
        for task in &tasks {
            self.take(id, ground, task, Some(&executor));
        }
        let tasks = tasks.into_iter().map(|task| allocate(task, &ground.role)).collect();
        self.run(id, &ground.agent.clone(), Some(executor), tasks, true);
    }

    fn check_task(&self, id: &str, ground: &Ground, task: &TaskInfo) -> Result<(), String> {
        self.check_ids(id, ground, task)?;
        validate::task(task)?;
        validate::one_command(task)?;
        let mut wanted = task.resources.clone();
        if let Some(executor) = &task.executor {
            self.check_executor(id, ground, executor)?;
            validate::custom_executor(executor)?;
            if !self.has_executor(&ground.agent, id, executor) {
                resources::add(&mut wanted, &executor.resources);
            }
        }
        fits(ground, &wanted).map_err(|(wanted, left)| {
            format!(
                "Total resources {wanted} required by task and its executor is more than available {left}"
            )
        })
    }

    fn check_group(
        &self,
        id: &str,
        ground: &Ground,
        executor: &ExecutorInfo,
        tasks: &[TaskInfo],
    ) -> Result<(), String> {
        for task in tasks {
            let name = &task.task_id.value;
            let checked = self.check_ids(id, ground, task).and_then(|()| validate::task(task));
            checked.map_err(|error| format!("Task '{name}' is invalid: {error}"))?;
        }
        self.check_executor(id, ground, executor)?;
        validate::group_executor(executor, tasks)?;
        let mut wanted: Vec<Resource> = Vec::new();
        for task in tasks {
            resources::add(&mut wanted, &task.resources);
        }
        if !self.has_executor(&ground.agent, id, executor) {
            resources::add(&mut wanted, &executor.resources);
        }
        fits(ground, &wanted).map_err(|(wanted, left)| {
            format!(
                "Total resources {wanted} required by task group and its executor are more than available {left}"
            )
        })
    }

    /// Ids are sound and new, and name the offers' agent.
    fn check_ids(&self, id: &str, ground: &Ground, task: &TaskInfo) -> Result<(), String> {
        let name = &task.task_id.value;
        validate::id(name)?;
        let framework = self.frameworks.get(id).ok_or("Framework cannot be found")?;
        if framework.tasks.contains_key(name) {
            return Err(format!("Task has duplicate ID: {name}"));
        }
        if framework.unreachable.contains_key(name) {
            return Err(format!("Task reuses the ID of an unreachable task: {name}"));
        }
        if task.agent_id.value != ground.agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.agent_id.value, ground.agent
            ));
        }
        Ok(())
    }

    /// The executor is sound, this framework's, and the same as the one of that id which runs already.
    fn check_executor(&self, id: &str, ground: &Ground, executor: &ExecutorInfo) -> Result<(), String> {
        validate::executor(executor)?;
        let framework = executor.framework_id.as_ref().map_or("", |framework| framework.value.as_str());
        if framework != id {
            return Err(format!(
                "ExecutorInfo has an invalid FrameworkID (Actual: {framework} vs Expected: {id})"
            ));
        }
        let key = (id.to_owned(), executor.executor_id.value.clone());
        let running = self.agents.get(&ground.agent).and_then(|agent| agent.executors.get(&key));
        if let Some(running) = running.filter(|running| !validate::same_executor(running, executor)) {
            let line = "------------------------------------------------------------\n";
            return Err(format!(
                "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n{line}Existing \
                 ExecutorInfo:\n{running:?}\n{line}ExecutorInfo:\n{executor:?}\n{line}"
            ));
        }
        Ok(())
    }

    fn has_executor(&self, agent: &str, id: &str, executor: &ExecutorInfo) -> bool {
        let key = (id.to_owned(), executor.executor_id.value.clone());
        self.agents.get(agent).is_some_and(|agent| agent.executors.contains_key(&key))
    }

    /// Books a task, and its executor if that is new, on the agent.
    fn take(&mut self, id: &str, ground: &mut Ground, task: &TaskInfo, executor: Option<&ExecutorInfo>) {
        resources::subtract(&mut ground.left, &task.resources);
        if let Some(executor) = executor.filter(|executor| !self.has_executor(&ground.agent, id, executor)) {
            resources::subtract(&mut ground.left, &executor.resources);
            if let Some(agent) = self.agents.get_mut(&ground.agent) {
                agent.executors.insert((id.to_owned(), executor.executor_id.value.clone()), executor.clone());
            }
        }
        let known = Task {
            info: allocate(task.clone(), &ground.role),
            agent: ground.agent.clone(),
            executor: executor.map(|executor| executor.executor_id.value.clone()),
            state: TaskState::TaskStaging,
            update: None,
            statuses: VecDeque::new(),
        };
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.tasks.insert(task.task_id.value.clone(), known);
        }
    }

    fn run(
        &mut self,
        id: &str,
        agent: &str,
        executor: Option<ExecutorInfo>,
        tasks: Vec<TaskInfo>,
        group: bool,
    ) {
        let Some(framework) = self.frameworks.get(id).map(|framework| framework.info.clone()) else { return };
        self.tell(agent, FromMaster::Run(Box::new(RunTasks { framework, executor, tasks, group })).into());
    }

    fn refuse_task(&mut self, id: &str, task: &TaskInfo, reason: Reason, message: String) {
        let told = Told { state: TaskState::TaskError, reason, message };
        self.say(id, &task.task_id.value, Some(&task.agent_id.value), &told);
    }
}

/// Resources as the master reckons with them: reservations in the present form, allocations left out.
fn prepare(of: &mut Vec<Resource>) {
    *of = resources::unallocated(of).into_iter().map(resources::upgraded).collect();
}

/// What goes to the agent names its role again.
fn allocate(mut task: TaskInfo, role: &str) -> TaskInfo {
    task.resources = resources::allocated(&task.resources, role);
    task
}

fn fits(ground: &Ground, wanted: &[Resource]) -> Result<(), (String, String)> {
    if resources::contains(&ground.left, wanted) {
        return Ok(());
    }
    Err((resources::text(wanted), resources::text(&ground.left)))
}
