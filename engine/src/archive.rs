//! The form in which ended runs leave the working state: one record a node, keyed so that a run's records lie together
//! and heads sort by run id, which is by time. Written by apply on every replica, read by the scheduler's faces.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, Vector};
use prost::Message as _;

use crate::effect::ArchiveOp;
use crate::ids::NodeNo;
use crate::record::{Node, Run, RunHead, RunInfo, Scope};

/// Keys of heads begin with this; the run id follows.
pub const HEAD_PREFIX: &[u8] = b"h/";

/// A run's fixed and changing parts, in the archive and in snapshots.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunRecord {
    /// What never changes.
    #[prost(message, required, tag = "1")]
    pub info: RunInfo,
    /// What changes.
    #[prost(message, required, tag = "2")]
    pub head: RunHead,
}

/// A node, the scope it is the first node of, and its items.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeRecord {
    /// Its number.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    /// The node.
    #[prost(message, required, tag = "2")]
    pub node: Node,
    /// The scope, on its first node.
    #[prost(message, optional, tag = "3")]
    pub scope: Option<Scope>,
    /// Items, on a for_each.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub items: Vec<Bytes>,
}

/// Key of a run's head.
pub fn head_key(run_id: &str) -> Vec<u8> {
    [HEAD_PREFIX, run_id.as_bytes()].concat()
}

/// Prefix of the keys of a run's nodes; the number follows, big-endian.
pub fn nodes_prefix(run_id: &str) -> Vec<u8> {
    [b"n/", run_id.as_bytes(), b"/"].concat()
}

pub(crate) fn record(run: &Run, no: NodeNo, node: &Node) -> NodeRecord {
    let scope = run.scopes.get(&node.scope()).filter(|scope| scope.first == no);
    let items = run.items.get(&no).map(|items| items.iter().cloned().collect());
    NodeRecord {
        number: no,
        node: node.clone(),
        scope: scope.map(|scope| Scope::clone(scope)),
        items: items.unwrap_or_default(),
    }
}

pub(crate) fn nodes(run: &Run, numbers: Range<NodeNo>) -> Vec<ArchiveOp> {
    let prefix = nodes_prefix(&run.info.run_id);
    let put = |(no, node): (&NodeNo, &Arc<Node>)| ArchiveOp::Put {
        key: [prefix.as_slice(), &no.to_be_bytes()].concat(),
        value: record(run, *no, node).encode_to_vec().into(),
    };
    run.nodes.range(numbers).map(put).collect()
}

/// The head comes last: a head in the archive says that all of the run is.
pub(crate) fn head(run: &Run) -> ArchiveOp {
    let record = RunRecord { info: RunInfo::clone(&run.info), head: run.head.clone() };
    ArchiveOp::Put { key: head_key(&run.info.run_id), value: record.encode_to_vec().into() }
}

/// An empty run of this head, to be filled by [`add`].
pub fn open(record: RunRecord) -> Run {
    Run {
        info: Arc::new(record.info),
        head: record.head,
        nodes: OrdMap::new(),
        scopes: OrdMap::new(),
        items: OrdMap::new(),
        signals: OrdMap::new(),
        waits: OrdMap::new(),
        changed: OrdMap::new(),
    }
}

/// Puts a record back into its run.
pub fn add(run: &mut Run, record: NodeRecord) {
    let NodeRecord { number, node, scope, items } = record;
    if let Some(scope) = scope {
        run.scopes.insert(node.scope(), Arc::new(scope));
    }
    if !items.is_empty() {
        run.items.insert(number, items.into_iter().collect::<Vector<Bytes>>());
    }
    run.changed.insert(node.sequence, number);
    run.nodes.insert(number, Arc::new(node));
}
