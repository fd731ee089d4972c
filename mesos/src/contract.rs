//! Small things around generated messages: ids from text, and fields that a message's type demands.

use prost::Name;

use crate::encoding;
use crate::v1;

impl encoding::Error {
    /// The field that a message's `type` announces is not there.
    pub(crate) fn lacks<M: Name>(field: &str) -> Self {
        Self::Missing { message: M::full_name(), path: field.to_owned() }
    }
}

/// The field's value, or what it is to have one.
pub(crate) fn present<T>(
    field: Option<T>,
    lacks: impl FnOnce() -> encoding::Error,
) -> Result<T, encoding::Error> {
    field.ok_or_else(lacks)
}

macro_rules! ids {
    ($($id:ident),+) => {
        $(
            impl From<&str> for v1::$id {
                fn from(value: &str) -> Self {
                    Self { value: value.to_owned() }
                }
            }

            impl From<String> for v1::$id {
                fn from(value: String) -> Self {
                    Self { value }
                }
            }

            impl std::fmt::Display for v1::$id {
                fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str(&self.value)
                }
            }
        )+
    };
}

ids!(FrameworkId, OfferId, AgentId, TaskId, ExecutorId, ResourceProviderId, OperationId);

impl v1::TaskState {
    /// Whether no further update of the task can come, whoever says so. TASK_LOST, TASK_UNREACHABLE, TASK_UNKNOWN and
    /// TASK_GONE_BY_OPERATOR are the master's view of an agent that it does not see: the task may run on.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::TaskFinished | Self::TaskFailed | Self::TaskKilled | Self::TaskError => true,
            Self::TaskDropped | Self::TaskGone => true,
            Self::TaskStaging | Self::TaskStarting | Self::TaskRunning | Self::TaskKilling => false,
            Self::TaskLost | Self::TaskUnreachable | Self::TaskUnknown | Self::TaskGoneByOperator => false,
        }
    }
}
