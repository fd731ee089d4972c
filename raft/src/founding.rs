//! How a replica without a log finds out whether it may take part: it founds the group together with all its members, it
//! waits to be added to a group that exists, or it once had a vote there, which it lost with its files, and must not.
//!
//! A vote that is forgotten can be given twice, and an entry that is forgotten was counted when it was acknowledged. So a
//! replica founds a group only when every member says that it has no log either, twice: the first time nothing follows
//! from the answer; with the second question each learns that the group is about to be founded, and expects to be a
//! voter of it. A replica that nobody courted so, and that finds itself a voter, has been one before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meson_proto::raft::v1::InquireResponse;

use crate::config::Member;
use crate::error::AdminError;
use crate::replica::Replica;

/// Pause between rounds of questions.
const ROUND: Duration = Duration::from_millis(100);
/// Rounds between two lines in the log.
const ROUNDS_SILENT: u32 = 50;

/// What the replica's own service has to know about its founding.
#[derive(Debug)]
pub struct Founding {
    held: AtomicBool,
    courted: AtomicBool,
}

impl Founding {
    /// Held back until [`Replica::found`] lets it go, or free from the start.
    pub fn new(held: bool) -> Self {
        Founding { held: AtomicBool::new(held), courted: AtomicBool::new(false) }
    }

    /// Whether this replica must not take part yet.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Another member is about to found the group with this one.
    pub fn court(&self) {
        self.courted.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    fn is_courted(&self) -> bool {
        self.courted.load(Ordering::SeqCst)
    }
}

/// What follows from the answers of the other members.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All have no log: found the group.
    Found,
    /// There is a group: it will send its log.
    Join,
    /// There is a group, and this replica was a voter of it.
    Forgotten(String),
    /// Too few have answered.
    Wait,
}

/// Judges by one answer, or its absence, for each other member.
fn judge(answers: &[(String, Option<InquireResponse>)], courted: bool) -> Verdict {
    let founded = |answer: &Option<InquireResponse>| answer.as_ref().is_some_and(|answer| answer.founded);
    let knows = |answer: &Option<InquireResponse>| {
        answer.as_ref().is_some_and(|answer| answer.founded && answer.asker_votes)
    };
    if let Some((witness, _)) = answers.iter().find(|(_, answer)| knows(answer)).filter(|_| !courted) {
        return Verdict::Forgotten(witness.clone());
    }
    if answers.iter().any(|(_, answer)| founded(answer)) {
        return Verdict::Join;
    }
    if answers.iter().all(|(_, answer)| answer.is_some()) { Verdict::Found } else { Verdict::Wait }
}

impl Replica {
    /// Lets this replica take part in its group: at once if it has a log. Otherwise the group is founded with these
    /// members, all of whom must be there and empty; or, if it exists, joined. Waits as long as neither can be known.
    ///
    /// # Errors
    /// `Forgotten` when this replica has been a voter of the group before.
    pub async fn found(&self, members: Vec<Member>) -> Result<(), AdminError> {
        let mut rounds = 0;
        while !self.is_initialized().await {
            match self.court(&members).await {
                Verdict::Found => self.initialize(members.clone()).await?,
                Verdict::Join => break,
                Verdict::Forgotten(witness) => {
                    return Err(AdminError::Forgotten { node_id: self.node_id(), witness });
                }
                Verdict::Wait => {
                    if rounds % ROUNDS_SILENT == 0 {
                        tracing::info!("waiting for all members: a group is founded by all of them together");
                    }
                    rounds += 1;
                    tokio::time::sleep(ROUND).await;
                }
            }
        }
        self.founding().release();
        Ok(())
    }

    async fn court(&self, members: &[Member]) -> Verdict {
        match judge(&self.inquire_all(members, false).await, self.founding().is_courted()) {
            Verdict::Found => judge(&self.inquire_all(members, true).await, self.founding().is_courted()),
            verdict => verdict,
        }
    }

    async fn inquire_all(
        &self,
        members: &[Member],
        founding: bool,
    ) -> Vec<(String, Option<InquireResponse>)> {
        let others = members.iter().filter(|member| member.node_id != self.node_id());
        let asking = others.map(async |member| {
            let answer = self.network().inquire(member, self.node_id(), founding).await;
            (member.raft_address.clone(), answer.ok())
        });
        futures::future::join_all(asking).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(founded: bool, asker_votes: bool) -> (String, Option<InquireResponse>) {
        (
            "there".into(),
            Some(InquireResponse { node_id: 2, founded, asker_votes, ..InquireResponse::default() }),
        )
    }

    #[test]
    fn a_group_is_founded_by_all_or_not_at_all() {
        let silent = ("there".to_owned(), None);
        assert_eq!(judge(&[], false), Verdict::Found, "alone it needs nobody");
        assert_eq!(judge(&[answer(false, false), answer(false, false)], false), Verdict::Found);
        assert_eq!(judge(&[answer(false, false), silent.clone()], false), Verdict::Wait);
        assert_eq!(judge(&[answer(true, false), silent.clone()], false), Verdict::Join);
        assert_eq!(judge(&[answer(true, true), silent.clone()], true), Verdict::Join, "founded a moment ago");
        assert_eq!(judge(&[silent, answer(true, true)], false), Verdict::Forgotten("there".into()));
    }
}
