//! How entries, votes and calls are written: hand-declared protobuf messages, on disk as between replicas.
//!
//! Only fields may be added, with new numbers: an older replica must read what a newer one wrote.

use bytes::Bytes;
use openraft::entry::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use prost::{Message, Oneof};

use crate::types::{Batch, Entry, LogId, Membership, TypeConfig, Vote};

/// Bytes that do not decode.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct LogIdMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

impl From<LogId> for LogIdMessage {
    fn from(id: LogId) -> Self {
        // A term has one leader, so it tells all; older logs name the leader as well.
        Self { term: id.leader_id.term, node_id: 0, index: id.index }
    }
}

impl From<LogIdMessage> for LogId {
    fn from(id: LogIdMessage) -> Self {
        LogId::new(openraft::CommittedLeaderId::new(id.term, id.node_id), id.index)
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

impl From<Vote> for VoteMessage {
    fn from(vote: Vote) -> Self {
        let node_id = vote.leader_id.voted_for().unwrap_or_default();
        Self { term: vote.leader_id.term, node_id, committed: vote.committed }
    }
}

impl From<VoteMessage> for Vote {
    fn from(vote: VoteMessage) -> Self {
        let mut decoded = Vote::new(vote.term, vote.node_id);
        // No replica has this number: nobody was voted for yet.
        if vote.node_id == 0 {
            decoded.leader_id.voted_for = None;
        }
        decoded.committed = vote.committed;
        decoded
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct EntryMessage {
    #[prost(message, required, tag = "1")]
    pub log_id: LogIdMessage,
    /// Nothing at all is the empty entry a new leader opens its term with.
    #[prost(oneof = "PayloadMessage", tags = "2, 3")]
    pub payload: Option<PayloadMessage>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum PayloadMessage {
    #[prost(message, tag = "2")]
    Batch(BatchMessage),
    /// JSON: rare, small and the consensus library's own type.
    #[prost(bytes = "bytes", tag = "3")]
    Membership(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchMessage {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub commands: Vec<Bytes>,
}

impl From<Entry> for EntryMessage {
    fn from(entry: Entry) -> Self {
        let payload = match entry.payload {
            EntryPayload::Blank => None,
            EntryPayload::Normal(batch) => {
                Some(PayloadMessage::Batch(BatchMessage { commands: batch.commands }))
            }
            EntryPayload::Membership(membership) => {
                let json = serde_json::to_vec(&membership).expect("a membership has string-able keys only");
                Some(PayloadMessage::Membership(json.into()))
            }
        };
        Self { log_id: entry.log_id.into(), payload }
    }
}

impl TryFrom<EntryMessage> for Entry {
    type Error = DecodeError;

    fn try_from(message: EntryMessage) -> Result<Self, DecodeError> {
        let payload = match message.payload {
            None => EntryPayload::Blank,
            Some(PayloadMessage::Batch(batch)) => {
                EntryPayload::Normal(Batch { commands: batch.commands, ..Batch::default() })
            }
            Some(PayloadMessage::Membership(json)) => {
                EntryPayload::Membership(serde_json::from_slice::<Membership>(&json)?)
            }
        };
        Ok(Entry { log_id: message.log_id.into(), payload })
    }
}

/// An entry as stored.
pub fn encode_entry(entry: Entry) -> Vec<u8> {
    EntryMessage::from(entry).encode_to_vec()
}

/// An entry as stored; its commands share the given buffer.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, DecodeError> {
    EntryMessage::decode(bytes)?.try_into()
}

/// About how many bytes an entry takes, stored or sent.
pub fn entry_size(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Blank => 32,
        EntryPayload::Normal(batch) => {
            batch.commands.iter().map(|command| command.len() + 6).sum::<usize>() + 40
        }
        // A guess on the safe side for a handful of members.
        EntryPayload::Membership(_) => 4096,
    }
}

/// A call that appends entries.
#[derive(Clone, PartialEq, Message)]
pub struct AppendCall {
    /// Whom the caller believes to speak to; a replica refuses what is meant for another.
    #[prost(uint64, tag = "1")]
    pub target: u64,
    #[prost(message, required, tag = "2")]
    pub vote: VoteMessage,
    #[prost(message, optional, tag = "3")]
    pub previous: Option<LogIdMessage>,
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<EntryMessage>,
    #[prost(message, optional, tag = "5")]
    pub leader_commit: Option<LogIdMessage>,
}

impl AppendCall {
    pub fn new(target: u64, call: AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            target,
            vote: call.vote.into(),
            previous: call.prev_log_id.map(Into::into),
            entries: call.entries.into_iter().map(Into::into).collect(),
            leader_commit: call.leader_commit.map(Into::into),
        }
    }

    pub fn into_request(self) -> Result<AppendEntriesRequest<TypeConfig>, DecodeError> {
        Ok(AppendEntriesRequest {
            vote: self.vote.into(),
            prev_log_id: self.previous.map(Into::into),
            entries: self.entries.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?,
            leader_commit: self.leader_commit.map(Into::into),
        })
    }
}

/// The answer to [`AppendCall`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AppendAnswer {
    #[prost(oneof = "AppendResult", tags = "1, 2, 3, 4")]
    pub result: Option<AppendResult>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum AppendResult {
    #[prost(bool, tag = "1")]
    Success(bool),
    #[prost(message, tag = "2")]
    Partial(PartialMessage),
    #[prost(bool, tag = "3")]
    Conflict(bool),
    #[prost(message, tag = "4")]
    HigherVote(VoteMessage),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct PartialMessage {
    #[prost(message, optional, tag = "1")]
    pub matching: Option<LogIdMessage>,
}

impl From<AppendEntriesResponse<u64>> for AppendAnswer {
    fn from(response: AppendEntriesResponse<u64>) -> Self {
        let result = match response {
            AppendEntriesResponse::Success => AppendResult::Success(true),
            AppendEntriesResponse::PartialSuccess(matching) => {
                AppendResult::Partial(PartialMessage { matching: matching.map(Into::into) })
            }
            AppendEntriesResponse::Conflict => AppendResult::Conflict(true),
            AppendEntriesResponse::HigherVote(vote) => AppendResult::HigherVote(vote.into()),
        };
        Self { result: Some(result) }
    }
}

impl TryFrom<AppendAnswer> for AppendEntriesResponse<u64> {
    type Error = DecodeError;

    fn try_from(answer: AppendAnswer) -> Result<Self, DecodeError> {
        match answer.result {
            Some(AppendResult::Success(_)) => Ok(Self::Success),
            Some(AppendResult::Partial(partial)) => {
                Ok(Self::PartialSuccess(partial.matching.map(Into::into)))
            }
            Some(AppendResult::Conflict(_)) => Ok(Self::Conflict),
            Some(AppendResult::HigherVote(vote)) => Ok(Self::HigherVote(vote.into())),
            None => Err(DecodeError("an answer without a known result".into())),
        }
    }
}

/// A call that asks for a vote.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteCall {
    /// Whom the caller believes to speak to.
    #[prost(uint64, tag = "1")]
    pub target: u64,
    #[prost(message, required, tag = "2")]
    pub vote: VoteMessage,
    #[prost(message, optional, tag = "3")]
    pub last_log_id: Option<LogIdMessage>,
}

impl VoteCall {
    pub fn new(target: u64, call: VoteRequest<u64>) -> Self {
        Self { target, vote: call.vote.into(), last_log_id: call.last_log_id.map(Into::into) }
    }

    pub fn into_request(self) -> VoteRequest<u64> {
        VoteRequest::new(self.vote.into(), self.last_log_id.map(Into::into))
    }
}

/// The answer to [`VoteCall`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct VoteAnswer {
    #[prost(message, required, tag = "1")]
    pub vote: VoteMessage,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last_log_id: Option<LogIdMessage>,
}

impl From<VoteResponse<u64>> for VoteAnswer {
    fn from(response: VoteResponse<u64>) -> Self {
        Self {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last_log_id: response.last_log_id.map(Into::into),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<u64> {
    fn from(answer: VoteAnswer) -> Self {
        VoteResponse {
            vote: answer.vote.into(),
            vote_granted: answer.granted,
            last_log_id: answer.last_log_id.map(Into::into),
        }
    }
}

/// What a snapshot is, sent ahead of it.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotCall {
    /// Whom the caller believes to speak to.
    #[prost(uint64, tag = "1")]
    pub target: u64,
    /// The consensus library's description of the snapshot, as JSON.
    #[prost(bytes = "bytes", tag = "2")]
    pub meta: Bytes,
}
