//! Frames of append-only files: length, checksum, bytes. The first frame that is short or damaged ends a file.

use std::io::{self, Read};

use prost::Message;

use super::crc::crc32;

const HEADER_BYTES: usize = 8;
/// Far above what is ever written, and far below what would hurt to allocate.
const PAYLOAD_BYTES_MAX: u32 = 32 << 20;

/// Bytes that a message takes as a frame.
pub(super) fn size_of<M: Message>(message: &M) -> u64 {
    (HEADER_BYTES + message.encoded_len()) as u64
}

/// Appends a message as a frame.
pub(super) fn encode<M: Message>(message: &M, out: &mut Vec<u8>) {
    let payload = message.encode_to_vec();
    let length = u32::try_from(payload.len()).expect("messages are bounded far below 4 GiB").to_le_bytes();
    out.extend_from_slice(&length);
    // The length is part of the sum: else eight zero bytes, as a crash may leave them, were an empty frame.
    out.extend_from_slice(&crc32(&[&length, &payload]).to_le_bytes());
    out.extend_from_slice(&payload);
}

/// Reads frames one after the other.
pub(super) struct Frames<R> {
    input: R,
    payload: Vec<u8>,
    position: u64,
}

impl<R: Read> Frames<R> {
    /// Reads from here; `position` is where `input` stands.
    pub fn new(input: R, position: u64) -> Self {
        Frames { input, payload: Vec::new(), position }
    }

    /// Where the last good frame ends.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next message; none at the end of what is whole.
    pub fn next<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        let mut header = [0; HEADER_BYTES];
        if !fill(&mut self.input, &mut header)? {
            return Ok(None);
        }
        let (length, sum) = header.split_at(4);
        let word = |bytes: &[u8]| u32::from_le_bytes(std::array::from_fn(|index| bytes[index]));
        if word(length) > PAYLOAD_BYTES_MAX {
            return Ok(None);
        }
        self.payload.resize(word(length) as usize, 0);
        if !fill(&mut self.input, &mut self.payload)? || crc32(&[length, &self.payload]) != word(sum) {
            return Ok(None);
        }
        let Ok(message) = M::decode(self.payload.as_slice()) else { return Ok(None) };
        self.position += (HEADER_BYTES + self.payload.len()) as u64;
        Ok(Some(message))
    }
}

/// Fills the buffer; false when the input ends before.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use meson_proto::v1::LogRecord;

    use super::*;

    fn record(sequence: u64) -> LogRecord {
        LogRecord { sequence, data: b"line\n".to_vec().into(), ..LogRecord::default() }
    }

    #[test]
    fn whole_frames_are_read_and_any_damage_ends_the_file() {
        let mut bytes = Vec::new();
        encode(&record(1), &mut bytes);
        let first = bytes.len();
        assert_eq!(first as u64, size_of(&record(1)));
        encode(&record(2), &mut bytes);
        for damaged in first..bytes.len() {
            let mut copy = bytes.clone();
            copy[damaged] ^= 0x40;
            for input in [&copy[..], &bytes[..damaged]] {
                let mut frames = Frames::new(input, 0);
                assert_eq!(frames.next().unwrap(), Some(record(1)));
                assert_eq!(frames.next::<LogRecord>().unwrap(), None);
                assert_eq!(frames.position(), first as u64);
            }
        }
        let zeros = [0; 64];
        assert_eq!(Frames::new(&zeros[..], 0).next::<LogRecord>().unwrap(), None);
    }
}
