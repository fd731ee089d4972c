//! The state as a stream of length-delimited protobuf records, never held whole. Indexes are not written: they are
//! derived from the records on the way in, by the same code that checks them.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use meson_workflow::Definition;
use prost::Message;

use crate::archive::{self, NodeRecord, RunRecord};
use crate::index;
use crate::plan::Plan;
use crate::record::{Agent, Run};
use crate::state::{Counters, Registered, Request, State, Version};

/// Grows with every change of format that an older reader could not skip.
const FORMAT: u32 = 1;

/// Longest record a reader accepts, in bytes.
const RECORD_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(oneof = "Item", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    item: Option<Item>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Item {
    #[prost(message, tag = "1")]
    Header(Header),
    #[prost(message, tag = "2")]
    Definition(DefinitionRecord),
    #[prost(message, tag = "3")]
    Version(VersionRecord),
    #[prost(message, tag = "4")]
    Request(RequestRecord),
    #[prost(message, tag = "5")]
    Agent(Agent),
    /// The nodes and signals that follow are this run's.
    #[prost(message, tag = "6")]
    Run(RunRecord),
    #[prost(message, tag = "7")]
    Node(NodeRecord),
    #[prost(message, tag = "8")]
    Signal(SignalRecord),
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    now_ms: u64,
    #[prost(message, required, tag = "4")]
    counters: Counters,
    /// The state's own format, see [`crate::format`].
    #[prost(uint32, tag = "5")]
    raised: u32,
    #[prost(string, tag = "6")]
    framework_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct DefinitionRecord {
    #[prost(string, tag = "1")]
    hash: String,
    #[prost(string, tag = "2")]
    json: String,
}

#[derive(Clone, PartialEq, Message)]
struct VersionRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, required, tag = "2")]
    version: Version,
}

#[derive(Clone, PartialEq, Message)]
struct RequestRecord {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(message, required, tag = "2")]
    request: Request,
}

#[derive(Clone, PartialEq, Message)]
struct SignalRecord {
    #[prost(string, tag = "1")]
    signal: String,
    #[prost(bytes = "bytes", tag = "2")]
    payload: Bytes,
}

/// Writes the whole state.
///
/// # Errors
/// What the writer says.
pub fn write(state: &State, out: &mut dyn Write) -> io::Result<()> {
    let State { term, now_ms, counters, raised, .. } = state;
    let (term, now_ms, counters, raised) = (*term, *now_ms, *counters, *raised);
    let framework_id = state.framework_id.clone();
    put(out, Item::Header(Header { format: FORMAT, term, now_ms, counters, raised, framework_id }))?;
    for (hash, registered) in &state.definitions {
        put(out, Item::Definition(DefinitionRecord { hash: hash.clone(), json: registered.json.clone() }))?;
    }
    for (name, versions) in &state.workflows {
        for version in versions {
            put(out, Item::Version(VersionRecord { name: name.clone(), version: version.clone() }))?;
        }
    }
    for (request_id, request) in &state.requests {
        let record = RequestRecord { request_id: request_id.clone(), request: request.clone() };
        put(out, Item::Request(record))?;
    }
    for agent in state.agents.values() {
        put(out, Item::Agent(Agent::clone(agent)))?;
    }
    state.runs.values().try_for_each(|run| write_run(run, out))
}

fn write_run(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    let record = RunRecord { info: run.info.as_ref().clone(), head: run.head.clone() };
    put(out, Item::Run(record))?;
    for (no, node) in &run.nodes {
        put(out, Item::Node(archive::record(run, *no, node)))?;
    }
    for (signal, payloads) in &run.signals {
        for payload in payloads {
            put(out, Item::Signal(SignalRecord { signal: signal.clone(), payload: payload.clone() }))?;
        }
    }
    Ok(())
}

fn put(out: &mut dyn Write, item: Item) -> io::Result<()> {
    out.write_all(&Record { item: Some(item) }.encode_length_delimited_to_vec())
}

/// Reads a state.
///
/// # Errors
/// `InvalidData` for a newer format or a damaged stream, else what the reader says.
pub fn read(input: &mut dyn Read) -> io::Result<State> {
    let mut state = State::default();
    let mut run: Option<Run> = None;
    while let Some(record) = next(input)? {
        match record.item {
            Some(Item::Run(record)) => finish_run(&mut state, run.replace(archive::open(record))),
            Some(Item::Node(record)) => archive::add(of(&mut run)?, record),
            Some(Item::Signal(record)) => {
                let run = of(&mut run)?;
                let mut kept = run.signals.get(&record.signal).cloned().unwrap_or_default();
                kept.push_back(record.payload);
                run.signals.insert(record.signal, kept);
            }
            Some(item) => restore(&mut state, item)?,
            None => return Err(damaged("a record of a kind this version does not know")),
        }
    }
    finish_run(&mut state, run);
    index::rebuild(&mut state);
    Ok(state)
}

fn restore(state: &mut State, item: Item) -> io::Result<()> {
    match item {
        Item::Header(header) if header.format > FORMAT => {
            let message = format!("format {}; this version reads up to {FORMAT}: upgrade it", header.format);
            return Err(damaged(&message));
        }
        Item::Header(header) if header.raised > crate::format::NEWEST => {
            let newest = crate::format::NEWEST;
            let message =
                format!("it needs format {}; this version understands {newest}: upgrade it", header.raised);
            return Err(damaged(&message));
        }
        Item::Header(header) => {
            state.term = header.term;
            state.now_ms = header.now_ms;
            state.counters = header.counters;
            state.raised = header.raised;
            state.framework_id = header.framework_id;
        }
        Item::Definition(record) => {
            let definition: Definition =
                serde_json::from_str(&record.json).map_err(|error| damaged(&error.to_string()))?;
            let registered = Registered { json: record.json, plan: Plan::new(&definition) };
            state.definitions.insert(record.hash, Arc::new(registered));
        }
        Item::Version(record) => {
            let mut versions = state.workflows.get(&record.name).cloned().unwrap_or_default();
            versions.push_back(record.version);
            state.workflows.insert(record.name, versions);
        }
        Item::Request(record) => {
            state.request_order.insert(record.request.number, record.request_id.clone());
            state.requests.insert(record.request_id, record.request);
        }
        Item::Agent(agent) => {
            state.agents.insert(agent.agent_id.clone(), Arc::new(agent));
        }
        Item::Run(_) | Item::Node(_) | Item::Signal(_) => {}
    }
    Ok(())
}

fn of(run: &mut Option<Run>) -> io::Result<&mut Run> {
    run.as_mut().ok_or_else(|| damaged("a node ahead of its run"))
}

fn finish_run(state: &mut State, run: Option<Run>) {
    if let Some(run) = run {
        state.run_ids.insert(run.info.run_id.clone(), run.number());
        state.runs.insert(run.number(), Arc::new(run));
    }
}

/// The next record; none at the end of the stream.
fn next(input: &mut dyn Read) -> io::Result<Option<Record>> {
    let mut length = 0usize;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(damaged("it ends inside a record")) };
        }
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if length > RECORD_BYTES_MAX {
        return Err(damaged("a record is too long"));
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Record::decode(bytes.as_slice()).map(Some).map_err(|error| damaged(&error.to_string()))
}

fn damaged(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot of the state is unreadable: {message}"))
}
