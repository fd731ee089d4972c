//! What is done to a data directory while no replica runs on it.

use std::path::Path;

use anyhow::Context as _;

use crate::config::Config;

/// Makes the data directory of a backup, and says what it is.
///
/// # Errors
/// When the directory holds a log already, or the backup is damaged or another group's.
pub fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    let restored =
        meson_raft::restore(&config.raft(), config.members()?, file).context("nothing was restored")?;
    println!(
        "{}: replica {}, up to log entry {}. Restore the other replicas from the same file, then start all of them.",
        config.data_dir.display(),
        config.node_id,
        restored.position.index
    );
    Ok(())
}

/// Looks through a data directory and says what it holds.
///
/// # Errors
/// For damage, with the file; and while a replica runs on the directory.
pub fn check(data_dir: &Path) -> anyhow::Result<()> {
    let found = meson_raft::inspect(&data_dir.join("raft"))?;
    let number = |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    println!("replica    {} of group {}", number(found.node_id), number(found.group_id));
    if let Some(vote) = found.vote {
        println!(
            "vote       term {}, for replica {}{}",
            vote.term,
            vote.node_id,
            if vote.won { ", which led" } else { "" }
        );
    }
    match found.log {
        Some(log) => {
            println!("log        entries {} to {} (term {})", log.first_index, log.last_index, log.last_term)
        }
        None => println!("log        empty, after entry {}", number(found.purged_index)),
    }
    println!("committed  {} or more", number(found.committed_index));
    match found.snapshot {
        Some(snapshot) => {
            println!(
                "snapshot   up to {}: {}, {} bytes",
                number(snapshot.index),
                snapshot.path.display(),
                snapshot.bytes
            );
        }
        None => println!("snapshot   none"),
    }
    println!("archive    {} records, {} bytes", found.archive_records, found.archive_bytes);
    for member in found.members {
        println!("member     {} at {}", member.node_id, member.raft_address);
    }
    if found.promised.is_none() {
        println!("guard      none yet: written before there was one");
    }
    println!("files      {} bytes", found.files.values().sum::<u64>());
    println!("All checksums fit.");
    Ok(())
}
