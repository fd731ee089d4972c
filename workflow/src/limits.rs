//! Every limit of this crate, in one place. A definition or a run that exceeds one is refused with a message naming it;
//! the limits keep one run's trouble its own: nothing unbounded ever enters the replicated state.

/// Bytes of a definition's text, YAML or JSON: 1 MiB.
pub const DEFINITION_BYTES: usize = 1 << 20;
/// Values (scalars, lists and maps, aliases counted at each use) in a definition's text.
pub const DEFINITION_VALUES: usize = 200_000;
/// Nodes of a definition, those of inner graphs included.
pub const NODES: usize = 10_000;
/// Levels of composites inside composites.
pub const NESTING_DEPTH: usize = 8;
/// Names in one node's `needs`.
pub const NEEDS: usize = 1_000;
/// Items of a literal `for_each` list.
pub const LITERAL_ITEMS: usize = 10_000;
/// Bytes of the outputs of one step, as JSON: 64 KiB. Bigger things are artifacts.
pub const OUTPUT_BYTES: usize = 64 << 10;
/// Bytes of all parameters of a run, as JSON: 256 KiB.
pub const PARAMS_BYTES: usize = 256 << 10;
/// Parameters, outputs, environment variables or state names in one place.
pub const NAMES: usize = 256;
/// Bytes of one expression: 4 KiB.
pub const EXPRESSION_BYTES: usize = 4 << 10;
/// Bytes of one string with templates in it: 64 KiB.
pub const TEMPLATE_BYTES: usize = 64 << 10;
/// Bytes of what one evaluation gives, as JSON or text: 1 MiB.
pub const EVALUATED_BYTES: usize = 1 << 20;
/// Work of one evaluation, in the template engine's units: about one an instruction and one for 64 bytes made.
pub const EVALUATION_FUEL: u64 = 500_000;
/// Lists in lists (or objects) of any JSON value.
pub const VALUE_DEPTH: usize = 64;
/// Bytes of a step's `config`, as JSON: 256 KiB.
pub const CONFIG_BYTES: usize = 256 << 10;
/// Characters of a workflow's name.
pub const WORKFLOW_NAME_CHARS: usize = 128;
/// Characters of a node id, and of a name of a parameter, output, item, state, signal or agent attribute.
pub const NAME_CHARS: usize = 64;
/// Characters of a secret's name.
pub const SECRET_NAME_CHARS: usize = 256;
/// Characters of a description.
pub const DESCRIPTION_CHARS: usize = 4_096;
/// Retries of one policy.
pub const RETRIES: u32 = 1_000;
/// Iterations of a repeat.
pub const ITERATIONS: u32 = 100_000;
/// Items of a for_each under way at once.
pub const CONCURRENCY: u32 = 100_000;
/// Greatest and (negated) least priority of a step.
pub const PRIORITY: i32 = 1_000;
/// Greatest retry growth factor.
pub const RETRY_FACTOR: f64 = 100.0;
/// Longest duration in milliseconds: 365 days.
pub const DURATION_MS: u64 = 365 * 86_400_000;
/// Least processor share of a step: three decimals count.
pub const CPUS_MIN: f64 = 0.001;
/// Most processor cores of a step.
pub const CPUS_MAX: f64 = 4_096.0;
/// Most memory of a step: 64 TiB.
pub const MEM_BYTES: u64 = 64 << 40;
/// Most disk of a step: 1024 TiB.
pub const DISK_BYTES: u64 = 1024 << 40;
/// Most graphics processors of a step.
pub const GPUS: u32 = 1_024;
/// Constraints or fetched files of one step, and values of one constraint.
pub const STEP_LIST: usize = 256;
/// Problems reported at once.
pub const PROBLEMS: usize = 100;
