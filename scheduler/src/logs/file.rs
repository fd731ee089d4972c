//! The file of one attempt's log, as the writer sees it. Opened for each use; nothing is kept open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::Path;

use meson_proto::v1::LogRecord;
use tracing::warn;

use super::frame::Frames;
use super::state::LogState;

/// Reads what is there, and cuts off a tail that was torn by a crash. A missing file is an empty log.
pub(super) fn recover(path: &Path) -> io::Result<LogState> {
    let mut state = LogState::default();
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(state),
        file => file?,
    };
    let mut frames = Frames::new(BufReader::with_capacity(1 << 16, &file), 0);
    while let Some(record) = frames.next::<LogRecord>()? {
        if !state.continues_with(record.sequence) {
            break;
        }
        state.observe(&record);
        state.bytes = frames.position();
    }
    let length = file.metadata()?.len();
    if length > state.bytes {
        warn!(path = %path.display(), length, whole = state.bytes, "cutting off the torn tail of a log");
        file.set_len(state.bytes)?;
    }
    Ok(state)
}

/// Appends frames; makes file and folder where they are missing. Not synced.
pub(super) fn append(path: &Path, frames: &[u8]) -> io::Result<()> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().expect("a log is in a folder"))?;
            open()?
        }
        file => file?,
    };
    file.write_all(frames)
}

/// Waits until a file or folder is on the disk. One that is gone needs no waiting.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync_all(),
    }
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
