//! RecordIO: how Mesos puts messages on a stream. Each is its length in bytes as decimal digits, a newline, the bytes.
//!
//! The decoder takes chunks as they come off the network, cut anywhere, and gives back whole records. It holds no more
//! than one record and one chunk, and names what is wrong with a stream that it cannot read. What a record means is
//! [`crate::encoding`]'s matter.

use bytes::{Buf as _, Bytes, BytesMut};

/// The most bytes of a record unless told otherwise. A master's largest records are offers of a large cluster.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A length is a 64-bit number: no more digits than that.
const HEADER_BYTES_MAX: usize = 20;

/// Why a stream of records cannot be read on. Where the next record begins is not known any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The line before a record is not a decimal number.
    #[error("the length of a record is not a number: {0:?}")]
    NotALength(String),
    /// A record is never empty.
    #[error("a record of length 0")]
    Empty,
    /// A record is larger than the reader allows.
    #[error("a record of {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// What the stream announced.
        bytes: u64,
        /// What the reader allows.
        bytes_max: usize,
    },
    /// The stream ended within a record.
    #[error("the stream ended within a record: {missing} more bytes were announced")]
    Truncated {
        /// Bytes that are missing, or 0 if not even the length was whole.
        missing: usize,
    },
}

/// One record, ready to be sent.
pub fn encode(record: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(record.len() + HEADER_BYTES_MAX + 1);
    frame.extend_from_slice(record.len().to_string().as_bytes());
    frame.extend_from_slice(b"\n");
    frame.extend_from_slice(record);
    frame.freeze()
}

/// Takes chunks, gives records.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The length of the record whose bytes are being gathered.
    length: Option<usize>,
    bytes_max: usize,
    failed: Option<Error>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(RECORD_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses records of more than `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), length: None, bytes_max, failed: None }
    }

    /// Adds what came off the network. Call [`Decoder::next`] until it has nothing left, before the next chunk.
    pub fn push(&mut self, chunk: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// The next whole record, or none yet. After an error, the same error again.
    #[allow(
        clippy::should_implement_trait,
        reason = "a decoder can have more after `None`, an iterator has not"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.take();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        result
    }

    /// Says that the stream ended; an error if that was in the middle of a record.
    pub fn finish(&self) -> Result<(), Error> {
        match (&self.failed, self.length) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(length)) => Err(Error::Truncated { missing: length - self.buffer.len().min(length) }),
            (None, None) if self.buffer.is_empty() => Ok(()),
            (None, None) => Err(Error::Truncated { missing: 0 }),
        }
    }

    fn take(&mut self) -> Result<Option<Bytes>, Error> {
        let length = match self.length {
            Some(length) => length,
            None => match self.take_length()? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn take_length(&mut self) -> Result<Option<usize>, Error> {
        let searched = &self.buffer[..self.buffer.len().min(HEADER_BYTES_MAX + 1)];
        let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
            let wrong = searched.len() > HEADER_BYTES_MAX || !searched.iter().all(u8::is_ascii_digit);
            return if wrong { Err(not_a_length(searched)) } else { Ok(None) };
        };
        let digits = &searched[..end];
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .ok_or_else(|| not_a_length(digits))?;
        let length = usize::try_from(number).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(Error::Empty);
        }
        if length > self.bytes_max {
            return Err(Error::TooLarge { bytes: number, bytes_max: self.bytes_max });
        }
        self.buffer.advance(end + 1);
        Ok(Some(length))
    }
}

fn not_a_length(bytes: &[u8]) -> Error {
    Error::NotALength(String::from_utf8_lossy(bytes).into_owned())
}
