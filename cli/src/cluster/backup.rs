//! Snapshots, backups, and what is done to data directories while no replica runs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use meson_proto::v1::*;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::args::Output;
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, program, show};

/// `mesonctl cluster snapshot`.
pub async fn snapshot(client: &Client, output: Output) -> Result {
    let mut taken = Vec::new();
    let mut failure = None;
    for (place, endpoint) in client.endpoints().iter().enumerate() {
        match client::cluster(client.channel(place)?).take_snapshot(TakeSnapshotRequest {}).await {
            Ok(answer) => taken.push((endpoint, answer.into_inner().snapshot_index)),
            Err(status) => {
                eprintln!("{endpoint}: {}", status.message());
                failure = Some(Error::from(status));
            }
        }
    }
    if output == Output::Json {
        let one =
            |(endpoint, index): &(&String, u64)| json!({ "endpoint": endpoint, "snapshot_index": index });
        json::print(&json!({ "snapshots": taken.iter().map(one).collect::<Vec<_>>() }));
    } else {
        let row = |(endpoint, index): &(&String, u64)| vec![(*endpoint).clone(), index.to_string()];
        show::table(&["address", "snapshot"], taken.iter().map(row));
    }
    failure.map_or(Ok(Exit::Succeeded), Err)
}

/// `mesonctl cluster backup`.
pub async fn backup(client: &Client, file: &Path, output: Output) -> Result {
    if file.exists() {
        return Err(Error::usage(format!("{} exists already; a backup overwrites nothing", file.display())));
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let cannot = |error: std::io::Error| Error::usage(format!("{}: {error}", partial.display()));
    let call = |channel| async move { client::cluster(channel).backup(BackupRequest {}).await };
    let mut stream = client.call(call).await?;
    let mut out = File::create(&partial).map_err(cannot)?;
    let mut header = BackupHeader::default();
    let mut digest = Sha256::new();
    let mut size = 0;
    while let Some(message) = stream.message().await? {
        header = message.header.unwrap_or(header);
        digest.update(&message.chunk);
        size += message.chunk.len() as u64;
        out.write_all(&message.chunk).map_err(cannot)?;
    }
    if size != header.size_bytes || digest.finalize()[..] != header.sha256[..] {
        let _ = std::fs::remove_file(&partial);
        return Err(Status::unavailable("the backup broke off; try again").into());
    }
    out.sync_all().map_err(cannot)?;
    // Unlike a rename, a link overwrites nothing.
    std::fs::hard_link(&partial, file).and_then(|()| std::fs::remove_file(&partial)).map_err(cannot)?;
    if output == Output::Json {
        json::print(
            &json!({ "file": file, "bytes": size, "group_id": header.group_id, "log_index": header.log_index,
            "term": header.term }),
        );
    } else {
        println!("{}: {}, up to log entry {}", file.display(), show::bytes(size), header.log_index);
    }
    Ok(Exit::Succeeded)
}

/// `mesonctl cluster restore`: the replica's own program knows how its files look.
pub async fn restore(file: &Path, settings: [(&str, Option<OsString>); 4]) -> Result {
    if let Err(error) = File::open(file) {
        let hint = if error.kind() == ErrorKind::NotFound { "; it is read on this machine" } else { "" };
        return Err(Error::usage(format!("{}: {error}{hint}", file.display())));
    }
    let mut arguments = Vec::new();
    for (flag, value) in settings {
        if let Some(value) = value {
            arguments.extend([OsString::from(flag), value]);
        }
    }
    arguments.extend([OsString::from("restore"), file.into()]);
    program::run("meson-scheduler", arguments).await
}

/// `mesonctl cluster check`.
pub async fn check(data_dir: &Path) -> Result {
    if !data_dir.is_dir() {
        return Err(Error::usage(format!("{} is not a directory", data_dir.display())));
    }
    program::run("meson-scheduler", vec!["--data-dir".into(), data_dir.into(), "check".into()]).await
}
