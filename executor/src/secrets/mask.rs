//! Takes the values of secrets out of what a step writes and says: each becomes `***`, however the text is cut into pieces.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::Secrets;

/// What stands for a value.
pub const MASKED: &str = "***";
/// Shortest value, or line of a value, that is looked for. Shorter ones are ordinary words, and would tear holes into texts.
pub const MASKED_BYTES_MIN: usize = 8;

/// Knows the values of an attempt's secrets.
#[derive(Debug, Clone)]
pub struct Mask {
    /// Sorted.
    values: Vec<Vec<u8>>,
    search: Option<AhoCorasick>,
}

impl Mask {
    /// Of these secrets. Of a value of several lines, such as a key in PEM form, each line is masked by itself too; and so
    /// is the form that a value has within JSON.
    pub fn new(secrets: &Secrets) -> Self {
        let whole = secrets.values();
        let lines = whole.clone().flat_map(str::lines).map(str::trim);
        let plain = whole.chain(lines).map(str::to_owned);
        let mut values: Vec<Vec<u8>> = plain
            .flat_map(|value| [escaped(&value), value])
            .filter(|value| value.len() >= MASKED_BYTES_MIN)
            .map(String::into_bytes)
            .collect();
        values.sort_unstable();
        values.dedup();
        let search = (!values.is_empty()).then(|| {
            AhoCorasick::new(&values).expect("some values of bounded size make a search of bounded size")
        });
        Mask { values, search }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.search.is_none()
    }

    /// The text without the values.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.hits(text.as_bytes()) {
            true => String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned().into(),
            false => text.into(),
        }
    }

    fn hits(&self, bytes: &[u8]) -> bool {
        self.search.as_ref().is_some_and(|search| search.is_match(bytes))
    }

    fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut stream, mut shown) = (Stream::new(self.clone()), Vec::with_capacity(bytes.len()));
        stream.push(&mut bytes.to_vec(), &mut shown);
        stream.finish(&mut shown);
        shown
    }

    /// A line of JSON without the values, however they are escaped in it; a line that is not JSON as plain text.
    pub fn line<'t>(&self, line: &'t [u8]) -> Cow<'t, [u8]> {
        if self.is_empty() {
            return line.into();
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(value) => match self.value(value.clone()) {
                masked if masked == value => line.into(),
                masked => masked.to_string().into_bytes().into(),
            },
            Err(_) => self.bytes(line).into(),
        }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (self.text(&name).into_owned(), self.value(value)))
                .collect(),
            Value::Number(number) if self.hits(number.to_string().as_bytes()) => MASKED.into(),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
        }
    }
}

fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Masks a text that comes in pieces. Holds back what may be the beginning of a value, and nothing else.
///
/// Values may overlap in a text; what several of them cover together is one `***`, so that no part of any shows.
#[derive(Debug)]
pub struct Stream {
    mask: Mask,
    held: Vec<u8>,
    /// So many of the first bytes held are part of a value that was masked already.
    covered: usize,
}

impl Stream {
    /// Nothing was seen yet.
    pub fn new(mask: Mask) -> Self {
        Stream { mask, held: Vec::new(), covered: 0 }
    }

    /// Takes the next piece out of a buffer, and adds to another what can be shown now.
    pub fn push(&mut self, piece: &mut Vec<u8>, shown: &mut Vec<u8>) {
        if self.mask.is_empty() {
            return shown.append(piece);
        }
        self.held.append(piece);
        let end = self.held.len() - self.beginning();
        self.show(end, shown);
    }

    /// The end: what was held back was not the beginning of a value.
    pub fn finish(&mut self, shown: &mut Vec<u8>) {
        self.show(self.held.len(), shown);
    }

    /// Bytes at the end that may be the beginning of a value.
    fn beginning(&self) -> usize {
        let values = &self.mask.values;
        // They are sorted: of those that go on after this text, the first comes right after it.
        let is_beginning = |length: &usize| {
            let text = &self.held[self.held.len() - length..];
            let next = values.partition_point(|value| value.as_slice() <= text);
            values.get(next).is_some_and(|value| value.starts_with(text))
        };
        let longest = values.iter().map(|value| value.len() - 1).max().unwrap_or(0);
        (1..=longest.min(self.held.len())).rev().find(is_beginning).unwrap_or(0)
    }

    /// Shows the first bytes of what is held. Values that begin there but end beyond are masked now and remembered.
    fn show(&mut self, end: usize, shown: &mut Vec<u8>) {
        let mut at = self.covered;
        for Range { start, end: value_end } in self.found() {
            if start >= end {
                break;
            }
            if start >= at {
                shown.extend_from_slice(&self.held[at..start]);
                shown.extend_from_slice(MASKED.as_bytes());
            }
            at = at.max(value_end);
        }
        if at < end {
            shown.extend_from_slice(&self.held[at..end]);
        }
        self.covered = at.saturating_sub(end);
        self.held.drain(..end);
    }

    /// All places of all values, in the order of their beginnings.
    fn found(&self) -> Vec<Range<usize>> {
        let Some(search) = &self.mask.search else { return Vec::new() };
        let mut found: Vec<_> = search.find_overlapping_iter(&self.held).map(|found| found.range()).collect();
        found.sort_unstable_by_key(|found| (found.start, found.end));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let names = (0..values.len()).map(|number| format!("S{number}"));
        let env: BTreeMap<String, String> =
            names.clone().zip(values.iter().map(|value| (*value).to_owned())).collect();
        Mask::new(&Secrets::of(&env, &names.collect::<Vec<_>>()))
    }

    /// What comes out when the text comes in these pieces.
    fn in_pieces(mask: &Mask, text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut stream, mut shown) = (Stream::new(mask.clone()), Vec::new());
        let mut rest = text;
        for cut in cuts {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            stream.push(&mut piece.to_vec(), &mut shown);
            rest = after;
        }
        stream.push(&mut rest.to_vec(), &mut shown);
        stream.finish(&mut shown);
        shown
    }

    /// The same by the plainest means: marks every byte that any value covers.
    fn by_marks(values: &[&str], text: &[u8]) -> Vec<u8> {
        let mut covered = vec![false; text.len()];
        let mut begins = vec![false; text.len()];
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for value in values {
            let places =
                text.windows(value.len()).enumerate().filter(|(_, window)| *window == value.as_bytes());
            ranges.extend(places.map(|(at, _)| at..at + value.len()));
        }
        ranges.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in ranges {
            begins[range.start] |= range.start >= end;
            end = end.max(range.end);
            covered[range].fill(true);
        }
        let mut shown = Vec::new();
        for (at, byte) in text.iter().enumerate() {
            if begins[at] {
                shown.extend_from_slice(MASKED.as_bytes());
            }
            if !covered[at] {
                shown.push(*byte);
            }
        }
        shown
    }

    proptest! {
        // Few letters, so that values begin, overlap and repeat everywhere.
        #[test]
        fn however_a_text_is_cut_no_value_is_shown(
            values in prop::collection::vec("[ab\n]{8,12}", 1..4),
            text in "[ab\n]{0,120}",
            planted in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..6),
            cuts in prop::collection::vec(0usize..20, 0..20),
        ) {
            let mut text = text.into_bytes();
            for (which, place) in planted {
                let at = place.index(text.len() + 1);
                text.splice(at..at, which.get(&values).bytes());
            }
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let mask = mask(&values);
            let all: Vec<&str> = mask.values.iter().map(|value| std::str::from_utf8(value).unwrap()).collect();
            let whole = in_pieces(&mask, &text, &[]);
            prop_assert_eq!(&whole, &by_marks(&all, &text));
            prop_assert_eq!(in_pieces(&mask, &text, &cuts), whole.clone());
            prop_assert_eq!(in_pieces(&mask, &text, &vec![1; text.len()]), whole.clone());
            let shown = String::from_utf8(whole).unwrap();
            prop_assert!(values.iter().all(|value| !shown.contains(value)), "{:?}", shown);
        }

        #[test]
        fn nothing_else_is_changed_or_held_back(text in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(0usize..50, 0..8)) {
            let mask = mask(&["correct horse"]);
            prop_assume!(!mask.hits(&text));
            prop_assert_eq!(in_pieces(&mask, &text, &cuts), text);
        }
    }

    #[test]
    fn only_what_may_become_a_value_waits() {
        let (mut stream, mut shown) = (Stream::new(mask(&["hunter22"])), Vec::new());
        stream.push(&mut b"password: hunt".to_vec(), &mut shown);
        assert_eq!(shown, b"password: ");
        stream.push(&mut b"er22, or hunt".to_vec(), &mut shown);
        assert_eq!(shown, b"password: ***, or ");
        stream.push(&mut b"ing\n".to_vec(), &mut shown);
        assert_eq!(shown, b"password: ***, or hunting\n");
        stream.push(&mut b"hunter2".to_vec(), &mut shown);
        stream.finish(&mut shown);
        assert_eq!(shown, b"password: ***, or hunting\nhunter2", "its end shows that it was none");
    }

    #[test]
    fn values_are_found_in_json_however_they_are_written() {
        let mask = mask(&["pa\"ss\nwo\\rd", "12345678"]);
        for (line, masked) in [
            (r#"{"message":"x pa\"ss\nwo\\rd y"}"#, r#"{"message":"x *** y"}"#),
            (r#"{"message":"\u0070a\"ss\nwo\\rd"}"#, r#"{"message":"***"}"#),
            (
                r#"{"output":{"n":12345678,"deep":["a12345678b",{"12345678":1}]}}"#,
                r#"{"output":{"deep":["a***b",{"***":1}],"n":"***"}}"#,
            ),
            (r#"{"percent": 40"#, r#"{"percent": 40"#),
            ("no json 12345678", "no json ***"),
        ] {
            let found = String::from_utf8(mask.line(line.as_bytes()).into_owned()).unwrap();
            // The order of fields depends on what other crates of a build ask of serde_json.
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
            assert_eq!(parsed(&found), parsed(masked));
        }
        // In a log it stands as it is, or as part of a line of JSON.
        let log = "pa\"ss\nwo\\rd and {\"p\": \"pa\\\"ss\\nwo\\\\rd\"}";
        assert_eq!(mask.text(log), "*** and {\"p\": \"***\"}");
    }

    #[test]
    fn lines_of_a_long_value_are_masked_one_by_one() {
        let mask = mask(&["-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----"]);
        assert_eq!(mask.text("read MIIEvQIBADANBg, short"), "read ***, short");
    }

    #[test]
    fn without_secrets_nothing_is_looked_at() {
        let mask = mask(&["short"]);
        assert!(mask.is_empty());
        assert!(
            matches!(mask.line(b"{\"a\": 1}"), Cow::Borrowed(_))
                && matches!(mask.text("short"), Cow::Borrowed(_))
        );
    }
}
