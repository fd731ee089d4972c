//! What writes under the shim, and what must be there after a cut.

/// The log store alone: appends, votes, truncations and purges, as the consensus library asks for them.
pub mod log {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::path::Path;

    use bytes::Bytes;
    use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
    use openraft::{CommittedLeaderId, EntryPayload, RaftLogReader};

    use crate::disk::Disk;
    use crate::log_store::LogStore;
    use crate::tests::powercut::{Dice, setting};
    use crate::types::{Batch, Entry, LogId, Vote};

    const STEPS: u64 = 150;

    fn open(dir: &Path) -> Result<(Disk, LogStore), String> {
        let disk = Disk::open(&dir.join("store"), 8 << 20).map_err(|error| error.to_string())?;
        match LogStore::open(disk.clone(), 1, 1 << 20) {
            Ok(log) => Ok((disk, log)),
            Err(error) => {
                disk.close();
                Err(error.to_string())
            }
        }
    }

    fn id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId::new(term, 2), index)
    }

    fn entry(term: u64, index: u64, bytes: usize) -> Entry {
        let command = Bytes::from(vec![(term + index) as u8; bytes]);
        let payload = EntryPayload::Normal(Batch { commands: vec![command], ..Batch::default() });
        Entry { log_id: id(term, index), payload }
    }

    pub fn run(dir: &Path, dice: &mut Dice) {
        let (_disk, mut log) = open(dir).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut marks = std::fs::File::create(std::env::var("MESON_CUT_MARKS").unwrap()).unwrap();
        let (mut term, mut next, mut first) = (1, 0, 0);
        runtime.block_on(async {
            for _ in 0..setting("MESON_CUT_STEPS", STEPS) {
                match dice.below(12) {
                    0 => {
                        term += 1;
                        log.save_vote(&Vote::new(term, 2)).await.unwrap();
                        marks.write_all(format!("vote {term}\n").as_bytes()).unwrap();
                    }
                    1 if next > first => {
                        let from = next - dice.below((next - first).min(2000));
                        if from < next {
                            marks.write_all(format!("cut {from}\n").as_bytes()).unwrap();
                            log.truncate(id(term, from)).await.unwrap();
                            (next, term) = (from, term + 1);
                        }
                    }
                    2 if next > first + 4 => {
                        let upto = first + dice.below((next - first) / 2);
                        let found = log.try_get_log_entries(upto..upto + 1).await.unwrap();
                        marks.write_all(format!("purge {upto}\n").as_bytes()).unwrap();
                        log.purge(found[0].log_id).await.unwrap();
                        first = upto + 1;
                    }
                    kind => {
                        let count = if kind == 3 { 300 + dice.below(900) } else { 1 + dice.below(20) };
                        let bytes = if kind == 4 { 40_000 } else { 1 + dice.below(300) as usize };
                        let entries: Vec<Entry> =
                            (next..next + count).map(|index| entry(term, index, bytes)).collect();
                        marks
                            .write_all(format!("begin {term} {next} {}\n", next + count).as_bytes())
                            .unwrap();
                        log.blocking_append(entries).await.unwrap();
                        marks
                            .write_all(format!("append {term} {next} {}\n", next + count).as_bytes())
                            .unwrap();
                        next += count;
                    }
                }
            }
        });
        // As a process ends that is killed.
        std::process::exit(0);
    }

    /// What was promised, and what may be there besides.
    #[derive(Default)]
    struct Promised {
        vote: u64,
        /// Index to term, as acknowledged.
        entries: BTreeMap<u64, u64>,
        /// Cuts and purges since the last sync may have happened or not.
        cut: Option<u64>,
        purged: Option<u64>,
        begun: BTreeMap<u64, u64>,
    }

    fn promised(marks: &[&str]) -> Promised {
        let mut promised = Promised::default();
        for mark in marks {
            let words: Vec<&str> = mark.split(' ').collect();
            let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
            match (words[0], &numbers[..]) {
                ("vote", [term]) => promised.vote = *term,
                ("cut", [from]) => promised.cut = Some(promised.cut.unwrap_or(*from).min(*from)),
                ("purge", [upto]) => promised.purged = Some(*upto),
                ("begin", [term, from, to]) => {
                    promised.begun.extend((*from..*to).map(|index| (index, *term)))
                }
                ("append", [term, from, to]) => {
                    // The sync took along all that was done before.
                    drop(promised.entries.split_off(&promised.cut.take().unwrap_or(*to).min(*from)));
                    promised.entries.extend((*from..*to).map(|index| (index, *term)));
                    promised.begun.clear();
                }
                other => panic!("a mark {other:?}"),
            }
        }
        promised
    }

    pub fn check(dir: &Path, marks: &[&str]) -> Result<(), String> {
        let promised = promised(marks);
        let (disk, mut log) = open(dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let checked = runtime.block_on(async {
            let vote = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
            if vote < promised.vote {
                return Err(format!("the vote is of term {vote}, not {}", promised.vote));
            }
            let found = log.try_get_log_entries(..).await.map_err(|error| error.to_string())?;
            let found: BTreeMap<u64, u64> =
                found.iter().map(|entry| (entry.log_id.index, entry.log_id.leader_id.term)).collect();
            let first = promised.purged.map_or(0, |purged| purged + 1);
            for (index, term) in promised.entries.range(first..promised.cut.unwrap_or(u64::MAX).max(first)) {
                if found.get(index) != Some(term) {
                    return Err(format!("entry {index} of term {term} is {:?}", found.get(index)));
                }
            }
            for (index, term) in &found {
                let known = [promised.entries.get(index), promised.begun.get(index)];
                if !known.contains(&Some(term)) {
                    return Err(format!("entry {index} of term {term} was never written so"));
                }
            }
            Ok(())
        });
        disk.close();
        checked
    }
}

/// A replica with all its files: commands, archive, snapshots and purges.
pub mod replica {
    use std::collections::BTreeSet;
    use std::io::{Read, Write};
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use crate::tests::powercut::Dice;
    use crate::{Applied, ArchiveOp, Config, Member, Position, Replica, SnapshotView, StateMachine};

    const COMMANDS: u64 = 240;
    const CLIENTS: u64 = 4;

    /// The commands it has seen; every fourth goes into the archive instead.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<BTreeSet<u64>>>);

    fn number(command: &[u8]) -> u64 {
        u64::from_le_bytes(command[..8].try_into().unwrap())
    }

    impl StateMachine for Seen {
        fn apply(&mut self, _: Position, commands: &[Bytes]) -> std::io::Result<Applied> {
            let mut applied = Applied { outcomes: commands.to_vec(), archive: Vec::new() };
            for command in commands {
                let number = number(command);
                if number.is_multiple_of(4) {
                    let key = number.to_be_bytes().to_vec();
                    applied.archive.push(ArchiveOp::Put { key, value: command.clone() });
                } else {
                    self.0.lock().unwrap().insert(number);
                }
            }
            Ok(applied)
        }

        fn snapshot(&self) -> Box<dyn SnapshotView> {
            Box::new(View(self.0.lock().unwrap().clone()))
        }

        fn restore(&mut self, input: &mut dyn Read) -> std::io::Result<()> {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes)?;
            *self.0.lock().unwrap() = bytes.chunks_exact(8).map(number).collect();
            Ok(())
        }
    }

    struct View(BTreeSet<u64>);

    impl SnapshotView for View {
        fn write(self: Box<Self>, out: &mut dyn Write) -> std::io::Result<()> {
            self.0.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))
        }
    }

    fn config(dir: &Path) -> Config {
        let mut config = Config::new(1, 1, dir);
        (config.heartbeat_ms, config.election_min_ms, config.election_max_ms) = (5, 10, 20);
        (config.snapshot_every_entries, config.keep_entries_after_snapshot) = (20, 3);
        config.cache_bytes = 8 << 20;
        config
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    async fn ready(replica: &Replica) {
        while replica.read_barrier().await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    pub fn run(dir: &Path, dice: &mut Dice) {
        let sizes: Vec<usize> = (0..COMMANDS)
            .map(|_| if dice.below(8) == 0 { 30_000 } else { 8 + dice.below(200) as usize })
            .collect();
        runtime().block_on(async {
            let replica = Replica::open(config(dir), Seen::default()).await.unwrap();
            replica.initialize(vec![Member { node_id: 1, ..Member::default() }]).await.unwrap();
            ready(&replica).await;
            let marks = Arc::new(std::fs::File::create(std::env::var("MESON_CUT_MARKS").unwrap()).unwrap());
            let sizes = Arc::new(sizes);
            let clients = (0..CLIENTS).map(|client| {
                let (replica, marks, sizes) = (replica.clone(), marks.clone(), sizes.clone());
                tokio::spawn(async move {
                    for number in (client..COMMANDS).step_by(CLIENTS as usize) {
                        let mut command = number.to_le_bytes().to_vec();
                        command.resize(sizes[number as usize], number as u8);
                        replica.propose(command.into()).await.unwrap();
                        (&*marks).write_all(format!("done {number}\n").as_bytes()).unwrap();
                    }
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.await.unwrap();
            }
        });
        std::process::exit(0);
    }

    pub fn check(dir: &Path, marks: &[&str]) -> Result<(), String> {
        let done: Vec<u64> = marks.iter().map(|mark| mark[5..].parse().unwrap()).collect();
        runtime().block_on(async {
            let seen = Seen::default();
            let opened = Replica::open(config(dir), seen.clone()).await;
            let replica = opened.map_err(|error| error.to_string())?;
            // Without a promise it may never have been founded.
            if !done.is_empty() {
                ready(&replica).await;
            }
            let archived = replica.archive().scan_prefix(b"", None, usize::MAX);
            replica.shutdown().await;
            let archived = archived.map_err(|error| error.to_string())?;
            let archived: BTreeSet<u64> = archived.iter().map(|(_, value)| number(value)).collect();
            let seen = seen.0.lock().unwrap();
            match done.iter().find(|number| !seen.contains(number) && !archived.contains(number)) {
                Some(lost) => Err(format!("command {lost} is lost; {} were promised", done.len())),
                None => Ok(()),
            }
        })
    }
}
