//! The history, sorted for the rules: by run, by step, and by attempt. Built once, in time n·log n.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::path;
use crate::history::{
    Answer, FinalNode, FinalRun, History, Mark, MarkKind, Micros, Operation, Request, Shape, StepShape,
};

/// The history, and ways into it.
pub(super) struct Index<'h> {
    pub history: &'h History,
    /// All runs that anything speaks of.
    pub runs: BTreeMap<&'h str, Run<'h>>,
    /// What submissions are known to have given, by request id.
    pub runs_of_requests: BTreeMap<&'h str, BTreeSet<&'h str>>,
    /// Steps that write marks at all, by workflow and path of the definition. A step that does nothing writes none.
    marking: BTreeSet<(&'h str, String)>,
}

/// All that is known of one run.
#[derive(Default)]
pub(super) struct Run<'h> {
    pub id: &'h str,
    pub workflow: Option<&'h str>,
    pub shape: Option<&'h Shape>,
    /// What it is at the end.
    pub end: Option<&'h FinalRun>,
    /// Its nodes at the end.
    pub nodes: BTreeMap<&'h str, &'h FinalNode>,
    /// Steps that wrote marks.
    pub steps: BTreeMap<&'h str, Step<'h>>,
    /// Submissions that were answered with it.
    pub started: Vec<&'h Operation>,
    /// Reads, cancels and signals that name it.
    pub operations: Vec<&'h Operation>,
}

/// One step of one run, by its attempts' marks.
pub(super) struct Step<'h> {
    /// Path of its definition.
    pub definition: String,
    /// Its shape, if the workflow is known and has it.
    pub shape: Option<&'h StepShape>,
    /// Its attempts in the order of their first marks.
    pub lives: Vec<Life<'h>>,
}

/// One process of one attempt, by its marks. Its true life is a little longer on both sides.
#[derive(Debug, Clone)]
pub(super) struct Life<'h> {
    pub attempt: u32,
    pub fence: u64,
    pub agent: &'h str,
    pub process: u32,
    pub first: Micros,
    pub last: Micros,
    /// Its first mark of success.
    pub success: Option<Micros>,
    /// Its first mark of failure.
    pub failure: Option<Micros>,
}

impl<'h> Life<'h> {
    fn of(mark: &'h Mark) -> Self {
        let Mark { at, attempt, fence, process, .. } = *mark;
        Life {
            attempt,
            fence,
            agent: &mark.agent,
            process,
            first: at,
            last: at,
            success: None,
            failure: None,
        }
    }

    fn add(&mut self, mark: &Mark) {
        self.first = self.first.min(mark.at);
        self.last = self.last.max(mark.at);
        let end = match mark.kind {
            MarkKind::Start | MarkKind::Beat => return,
            MarkKind::Success => &mut self.success,
            MarkKind::Failure => &mut self.failure,
        };
        *end = Some(end.map_or(mark.at, |known| known.min(mark.at)));
    }

    /// The attempt as sentences name it.
    pub fn name(&self) -> String {
        let Life { attempt, fence, agent, process, .. } = self;
        format!("attempt {attempt} (fence {fence}, agent `{agent}`, process {process})")
    }
}

impl Step<'_> {
    /// When its first mark of success was written.
    pub fn first_success(&self) -> Option<Micros> {
        self.lives.iter().filter_map(|life| life.success).min()
    }
}

impl<'h> Index<'h> {
    pub fn new(history: &'h History) -> Self {
        let mut index = Index {
            history,
            runs: BTreeMap::new(),
            runs_of_requests: BTreeMap::new(),
            marking: BTreeSet::new(),
        };
        history.operations.iter().for_each(|operation| index.add_operation(operation));
        history.end.runs.iter().for_each(|run| index.add_end(run));
        index.add_marks();
        for run in index.runs.values_mut() {
            run.shape = run.workflow.and_then(|workflow| history.workflows.get(workflow));
            for step in run.steps.values_mut() {
                step.shape = run.shape.and_then(|shape| shape.steps.get(&step.definition));
                if let Some(workflow) = run.workflow {
                    index.marking.insert((workflow, step.definition.clone()));
                }
            }
        }
        index
    }

    fn run(&mut self, id: &'h str) -> &mut Run<'h> {
        self.runs.entry(id).or_insert_with(|| Run { id, ..Run::default() })
    }

    fn add_operation(&mut self, operation: &'h Operation) {
        match (&operation.request, &operation.answer) {
            (Request::Submit { request_id, workflow }, Answer::Started { run_id }) => {
                self.runs_of_requests.entry(request_id).or_default().insert(run_id);
                let run = self.run(run_id);
                run.workflow.get_or_insert(workflow);
                run.started.push(operation);
            }
            (Request::Submit { .. }, _) => {}
            (
                Request::Get { run_id, .. } | Request::Cancel { run_id } | Request::Signal { run_id, .. },
                _,
            ) => {
                self.run(run_id).operations.push(operation);
            }
        }
    }

    fn add_end(&mut self, end: &'h FinalRun) {
        self.runs_of_requests.entry(&end.request_id).or_default().insert(&end.run_id);
        let run = self.run(&end.run_id);
        run.workflow.get_or_insert(&end.workflow);
        run.end = Some(end);
        run.nodes = end.nodes.iter().map(|node| (node.path.as_str(), node)).collect();
    }

    fn add_marks(&mut self) {
        // Marks are by far the most: each is looked up once, and only lives are sorted into the trees.
        let mut places = HashMap::new();
        let mut lives: Vec<(&str, &str, Life<'_>)> = Vec::new();
        for mark in &self.history.marks {
            let Mark { run_id, step, attempt, fence, agent, process, .. } = mark;
            let place = *places.entry((run_id, step, attempt, fence, agent, process)).or_insert(lives.len());
            if place == lives.len() {
                lives.push((run_id, step, Life::of(mark)));
            }
            lives[place].2.add(mark);
        }
        for (run_id, path, life) in lives {
            let step = self.run(run_id).steps.entry(path).or_insert_with(|| Step {
                definition: path::definition(path),
                shape: None,
                lives: Vec::new(),
            });
            step.lives.push(life);
        }
        let steps = self.runs.values_mut().flat_map(|run| run.steps.values_mut());
        steps.for_each(|step| step.lives.sort_by_key(|life| (life.first, life.attempt, life.last)));
    }

    /// All steps that wrote marks, with their runs and paths.
    pub fn steps(&self) -> impl Iterator<Item = (&Run<'h>, &'h str, &Step<'h>)> {
        self.runs.values().flat_map(|run| run.steps.iter().map(move |(path, step)| (run, *path, step)))
    }

    /// Whether steps of this definition write marks.
    pub fn marks_itself(&self, run: &Run<'_>, definition: &str) -> bool {
        run.workflow.is_some_and(|workflow| self.marking.contains(&(workflow, definition.to_owned())))
    }
}

impl<'h> Run<'h> {
    /// Accepted cancels.
    pub fn cancels(&self) -> impl Iterator<Item = &'h Operation> {
        let accepted = |operation: &&&Operation| {
            matches!((&operation.request, &operation.answer), (Request::Cancel { .. }, Answer::Accepted))
        };
        self.operations.iter().filter(accepted).copied()
    }

    /// Signals that were sent to it: name, request id, and the operation.
    pub fn signals(&self) -> impl Iterator<Item = (&'h str, &'h str, &'h Operation)> {
        self.operations.iter().filter_map(|operation| match &operation.request {
            Request::Signal { name, request_id, .. } => {
                Some((name.as_str(), request_id.as_str(), *operation))
            }
            Request::Submit { .. } | Request::Get { .. } | Request::Cancel { .. } => None,
        })
    }
}

/// When an operation was answered; one without an answer may take effect at any time.
pub(super) fn answered(operation: &Operation) -> Micros {
    match operation.answer {
        Answer::Unknown { .. } => Micros::MAX,
        _ => operation.answered.unwrap_or(Micros::MAX),
    }
}
