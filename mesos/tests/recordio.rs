//! RecordIO under any cut, and under damage. Quotes are of the public documentation of the HTTP APIs.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use meson_mesos::recordio::{Decoder, Error, encode};
use proptest::prelude::*;

/// All records of a stream that comes in chunks of these lengths, over and over.
fn decode(stream: &[u8], cuts: &[usize], decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, Error> {
    let mut records = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
        rest = more;
        decoder.push(chunk);
        while let Some(record) = decoder.next()? {
            records.push(record.to_vec());
        }
    }
    Ok(records)
}

proptest! {
    #[test]
    fn any_records_survive_any_cut(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20),
        cuts in prop::collection::vec(1_usize..50, 1..10),
    ) {
        let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
        let mut decoder = Decoder::default();
        prop_assert_eq!(decode(&stream, &cuts, &mut decoder), Ok(records));
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn any_bytes_are_records_or_an_error_and_never_more_than_allowed(
        stream in prop::collection::vec(any::<u8>(), 0..500),
        cuts in prop::collection::vec(1_usize..50, 1..10),
    ) {
        let mut decoder = Decoder::new(64);
        if let Ok(records) = decode(&stream, &cuts, &mut decoder) {
            for record in records {
                prop_assert!((1..=64).contains(&record.len()));
            }
        } else {
            prop_assert!(decoder.next().is_err(), "an error stays");
            prop_assert!(decoder.finish().is_err());
        }
    }

    #[test]
    fn a_stream_that_is_cut_off_is_not_whole(record in prop::collection::vec(any::<u8>(), 1..100), at in 0.0..1.0) {
        let stream = encode(&record);
        let length = 1 + ((stream.len() - 1) as f64 * at) as usize;
        prop_assume!(length < stream.len());
        let mut decoder = Decoder::default();
        decoder.push(&stream[..length]);
        prop_assert_eq!(decoder.next(), Ok(None));
        let truncated = matches!(decoder.finish(), Err(Error::Truncated { .. }));
        prop_assert!(truncated);
    }
}

fn only_error(stream: &[u8]) -> Error {
    let mut decoder = Decoder::new(1000);
    decoder.push(stream);
    decoder.next().unwrap_err()
}

// "prepends to a single record (either JSON or serialized Protobuf) its length in bytes, followed by a newline and then
// the data"
#[test]
fn a_record_is_its_length_a_newline_and_its_bytes() {
    assert_eq!(encode(b"{\"type\":\"HEARTBEAT\"}").as_ref(), b"20\n{\"type\":\"HEARTBEAT\"}");
}

// "The length of an event is a 64-bit unsigned integer (encoded as a textual value) and will never be "0"."
#[test]
fn lengths_that_are_none_are_named() {
    assert_eq!(only_error(b"0\n"), Error::Empty);
    for wrong in ["\n", "-1\n", "+1\n", "0x10\n", "1 \n", " 1\n", "1e3\n", "abc", "18446744073709551616\n"] {
        assert!(matches!(only_error(wrong.as_bytes()), Error::NotALength(_)), "{wrong:?}");
    }
    let largest = Error::TooLarge { bytes: u64::MAX, bytes_max: 1000 };
    assert_eq!(only_error(b"18446744073709551615\n"), largest);
}

#[test]
fn a_length_without_an_end_is_not_gathered_for_ever() {
    assert!(matches!(only_error(&[b'1'; 21]), Error::NotALength(_)));
    let mut decoder = Decoder::default();
    decoder.push(&[b'1'; 20]);
    assert_eq!(decoder.next(), Ok(None), "twenty digits may still be a length");
}

#[test]
fn what_is_too_large_is_refused_before_it_is_gathered() {
    let mut decoder = Decoder::new(10);
    decoder.push(b"11\n");
    assert_eq!(decoder.next(), Err(Error::TooLarge { bytes: 11, bytes_max: 10 }));
    decoder.push(b"12345678901");
    assert_eq!(decoder.next(), Err(Error::TooLarge { bytes: 11, bytes_max: 10 }), "and stays refused");
    let mut decoder = Decoder::new(10);
    decoder.push(b"10\n1234567890");
    assert_eq!(decoder.next().unwrap().unwrap().as_ref(), b"1234567890");
}
