//! The bytes of a snapshot file: head, state, archive, checksum. Written and read as a stream, whatever the size.
//!
//! ```text
//! magic, version u32, length u32, description (JSON)
//! state:   frames of (length u32, bytes), ended by the length 0
//! archive: records of (key length u32, value length u64, key, value), ended by the key length u32::MAX
//! magic, SHA-256 over everything before
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::StoreError;
use crate::types::SnapshotMeta;

const MAGIC: &[u8; 8] = b"MESONSNP";
const MAGIC_END: &[u8; 8] = b"MESONEND";
const VERSION: u32 = 1;
/// A description is small; a larger length is damage.
const DESCRIPTION_BYTES_MAX: u32 = 1 << 20;
const FRAME_BYTES: usize = 64 << 10;
const ARCHIVE_END: u32 = u32::MAX;
const TRAILER_BYTES: u64 = 8 + 32;
/// An archive value above this is damage that a checksum happened to miss.
const VALUE_BYTES_MAX: u64 = 1 << 32;

/// What a snapshot file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The group whose state it is.
    pub group_id: u64,
    /// Up to where the state goes, and the members at that point.
    pub meta: SnapshotMeta,
}

/// Where a snapshot file is written to.
pub trait Durable: Write {
    /// Returns when everything is on the disk.
    fn sync(&self) -> io::Result<()>;
}

impl Durable for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Writes a snapshot file.
pub struct Writer<F: Durable> {
    out: BufWriter<F>,
    digest: Sha256,
    size: u64,
}

impl<F: Durable> Writer<F> {
    /// Begins with the description.
    pub fn begin(file: F, description: &Description) -> io::Result<Self> {
        let mut writer =
            Self { out: BufWriter::with_capacity(1 << 20, file), digest: Sha256::new(), size: 0 };
        let json = serde_json::to_vec(description)?;
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        writer.put(&(json.len() as u32).to_le_bytes())?;
        writer.put(&json)?;
        Ok(writer)
    }

    /// Where the state is written to, before the archive.
    pub fn state(&mut self) -> StateWriter<'_, F> {
        StateWriter { writer: self, frame: Vec::with_capacity(FRAME_BYTES) }
    }

    /// One record of the archive, after the state.
    pub fn archive(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.put(&(key.len() as u32).to_le_bytes())?;
        self.put(&(value.len() as u64).to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }

    /// Ends the file and makes it durable; gives its size and checksum.
    pub fn finish(mut self) -> io::Result<(u64, [u8; 32])> {
        self.put(&ARCHIVE_END.to_le_bytes())?;
        self.put(MAGIC_END)?;
        let digest: [u8; 32] = self.digest.finalize().into();
        self.out.write_all(&digest)?;
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync()?;
        Ok((self.size + digest.len() as u64, digest))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// The state's part of a file that is written.
pub struct StateWriter<'a, F: Durable> {
    writer: &'a mut Writer<F>,
    frame: Vec<u8>,
}

impl<F: Durable> StateWriter<'_, F> {
    /// Ends the state.
    pub fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.put(&0_u32.to_le_bytes())
    }
}

impl<F: Durable> Write for StateWriter<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME_BYTES - self.frame.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        if self.frame.len() == FRAME_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.writer.put(&(self.frame.len() as u32).to_le_bytes())?;
            self.writer.put(&self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }
}

/// Checks a file from end to end before anything of it is believed; gives its description, size and checksum.
pub fn verify(path: &Path) -> Result<(Description, u64, [u8; 32]), StoreError> {
    let place = path.display().to_string();
    let at = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            StoreError::corrupt(place.clone(), error.to_string())
        }
        _ => StoreError::io(place.clone(), error),
    };
    let file = File::open(path).map_err(at)?;
    let size = file.metadata().map_err(at)?.len();
    let content = size
        .checked_sub(TRAILER_BYTES)
        .ok_or_else(|| StoreError::corrupt(place.clone(), "shorter than any snapshot"))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut digest = Sha256::new();
    let mut left = content;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let part = &mut buffer[..usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20)];
        input.read_exact(part).map_err(at)?;
        digest.update(&*part);
        left -= part.len() as u64;
    }
    let mut end = [0; 8];
    let mut stored = [0; 32];
    input.read_exact(&mut end).map_err(at)?;
    input.read_exact(&mut stored).map_err(at)?;
    digest.update(end);
    let digest: [u8; 32] = digest.finalize().into();
    if &end != MAGIC_END || digest != stored {
        return Err(StoreError::corrupt(place, "the checksum does not fit"));
    }
    let reader = Reader::open(path).map_err(at)?;
    Ok((reader.description, size, digest))
}

/// Reads a file that was verified.
pub struct Reader {
    input: BufReader<File>,
    /// What the file says of itself.
    pub description: Description,
    /// Bytes left of the current frame of the state.
    frame_left: usize,
    state_ended: bool,
}

impl Reader {
    /// Reads the description.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(damaged("not a snapshot"));
        }
        let version = read_u32(&mut input)?;
        if version != VERSION {
            return Err(damaged(&format!("format version {version}, this program reads {VERSION}")));
        }
        let length = read_u32(&mut input)?;
        if length > DESCRIPTION_BYTES_MAX {
            return Err(damaged("the description is too long"));
        }
        let mut json = vec![0; length as usize];
        input.read_exact(&mut json)?;
        let description = serde_json::from_slice(&json).map_err(|error| damaged(&error.to_string()))?;
        Ok(Self { input, description, frame_left: 0, state_ended: false })
    }

    /// The next record of the archive; skips what was not read of the state.
    pub fn next_archived(&mut self) -> io::Result<Option<(Vec<u8>, Bytes)>> {
        if !self.state_ended {
            io::copy(self, &mut io::sink())?;
        }
        let key_length = read_u32(&mut self.input)?;
        if key_length == ARCHIVE_END {
            return Ok(None);
        }
        let mut length = [0; 8];
        self.input.read_exact(&mut length)?;
        let value_length = u64::from_le_bytes(length);
        if value_length > VALUE_BYTES_MAX {
            return Err(damaged("an archived value is too long"));
        }
        let mut key = vec![0; key_length as usize];
        self.input.read_exact(&mut key)?;
        let mut value = vec![0; usize::try_from(value_length).map_err(|_| damaged("a value is too long"))?];
        self.input.read_exact(&mut value)?;
        Ok(Some((key, value.into())))
    }
}

/// Reads the state.
impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.frame_left == 0 && !self.state_ended {
            self.frame_left = read_u32(&mut self.input)? as usize;
            self.state_ended = self.frame_left == 0;
        }
        if self.state_ended || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = buffer.len().min(self.frame_left);
        let got = self.input.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.frame_left -= got;
        Ok(got)
    }
}

fn read_u32(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
