//! The states of runs and nodes, their properties, and the table of legal transitions. The numbers are those of the
//! public contract and of the snapshot format: they are never reused.

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RunStatus {
    /// Never stored.
    Unspecified = 0,
    /// Work goes on.
    Running = 1,
    /// Running attempts go on, nothing new starts.
    Paused = 2,
    /// A failure or a cancel: waiting for attempts to end.
    Stopping = 3,
    /// Ended well.
    Succeeded = 4,
    /// Ended by a failure.
    Failed = 5,
    /// Ended by a cancel.
    Cancelled = 6,
}

impl RunStatus {
    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NodeStatus {
    /// Never stored.
    Unspecified = 0,
    /// Waits for its needs.
    Pending = 1,
    /// A composite that waits for the leader to evaluate its expressions.
    Evaluating = 2,
    /// A step that waits for a place.
    Ready = 3,
    /// The intent to run it on an agent is committed.
    Placed = 4,
    /// The executor said that it runs.
    Running = 5,
    /// Waits for the pause before its next attempt.
    BackingOff = 6,
    /// A composite with scopes open.
    Active = 7,
    /// Waits for a signal.
    Waiting = 8,
    /// Ended well.
    Succeeded = 9,
    /// Ended by a failure, after all retries.
    Failed = 10,
    /// Ended by a cancel.
    Cancelled = 11,
    /// Never started: its trigger rule could not be met, or its graph stopped first.
    Skipped = 12,
}

impl NodeStatus {
    /// Whether the node has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped)
    }

    /// Whether an attempt holds resources of an agent.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Placed | Self::Running)
    }

    /// The table of legal transitions. Leaving a terminal state is legal only by a restart of the run, which takes up
    /// again all that did not succeed; success is final.
    pub fn may_become(self, next: NodeStatus) -> bool {
        use NodeStatus::*;
        match self {
            Unspecified => next == Pending,
            Pending => matches!(next, Ready | Evaluating | Waiting | Skipped | Cancelled),
            Evaluating => matches!(next, Active | Succeeded | Failed | Cancelled | Skipped),
            Ready => matches!(next, Placed | Cancelled | Skipped | Failed),
            Placed => matches!(next, Running | Succeeded | Failed | Cancelled | BackingOff | Ready),
            Running => matches!(next, Succeeded | Failed | Cancelled | BackingOff | Ready),
            BackingOff => matches!(next, Ready | Cancelled | Skipped | Failed),
            Active => matches!(next, Succeeded | Failed | Cancelled | Skipped),
            Waiting => matches!(next, Succeeded | Failed | Cancelled | Skipped),
            Failed | Cancelled | Skipped => matches!(next, Pending | Active),
            Succeeded => false,
        }
    }
}

/// Why something did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FailureClass {
    /// Never stored.
    Unspecified = 0,
    /// The step's own code failed.
    User = 1,
    /// Agent, executor or network were lost.
    Platform = 2,
    /// It took too long.
    Timeout = 3,
    /// Somebody cancelled it.
    Cancelled = 4,
    /// The definition or a rendered value is wrong.
    Rejected = 5,
}

/// How a graph is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Stop {
    /// It is not.
    No = 0,
    /// Nothing new starts; running attempts end by themselves.
    AfterRunning = 1,
    /// Running attempts are killed.
    Now = 2,
}

/// Where a scope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Phase {
    /// Nodes are under way.
    Open = 0,
    /// All nodes ended; the leader evaluates its outputs.
    Closing = 1,
    /// Ended well.
    Done = 2,
    /// Ended by a failure.
    Failed = 3,
    /// Ended because something around it stopped.
    Cancelled = 4,
}

/// Why a living attempt was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum KillCause {
    /// It was not.
    No = 0,
    /// Its run or graph stops.
    Stopped = 1,
    /// Its timeout passed.
    Timeout = 2,
}
