//! Reads SQL just so far that parameters and statements are found: strings, quoted names and comments are told from the
//! rest. Where Hive and Spark read a text differently it is refused, since what is put in must be safe with both.

use std::fmt;

/// A piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// A string, a quoted name or a hint: as it is.
    Quoted(&'a str),
    /// As it is, and nothing that a server would run.
    Comment(&'a str),
    /// `:name`.
    Parameter(&'a str),
    /// `;`.
    End,
}

impl<'a> Piece<'a> {
    /// The name, where a parameter stands.
    pub fn parameter(&self) -> Option<&'a str> {
        match *self {
            Piece::Parameter(name) => Some(name),
            Piece::Text(_) | Piece::Quoted(_) | Piece::Comment(_) | Piece::End => None,
        }
    }
}

/// A text that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Where, counted from 1.
    line: usize,
    why: &'static str,
    /// The beginning of what is not read.
    shown: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {} of the query: {}, at `{}`", self.line, self.why, self.shown)
    }
}

impl std::error::Error for Unread {}

/// The pieces of a text, which together are the whole of it.
///
/// # Errors
/// When Hive and Spark would not read it as one.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Unread> {
    let mut pieces = Vec::new();
    // Where the text begins that is no piece yet.
    let mut from = 0;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let before = text[..at].chars().next_back();
        let rest = &text[at..];
        let found = match next {
            '\'' | '"' => Some(Piece::Quoted(&rest[..string(text, at)?])),
            '`' => Some(Piece::Quoted(&rest[..quoted_name(text, at)?])),
            '-' if rest.starts_with("--") => Some(Piece::Comment(&rest[..line_comment(text, at)?])),
            '/' if rest.starts_with("/*+") => Some(Piece::Quoted(&rest[..block(text, at)?])),
            '/' if rest.starts_with("/*") => Some(Piece::Comment(&rest[..block(text, at)?])),
            ':' if !before.is_some_and(binds_colon) => name(&rest[1..]).map(Piece::Parameter),
            ';' => Some(Piece::End),
            _ => None,
        };
        let Some(piece) = found else {
            at += next.len_utf8();
            continue;
        };
        if from < at {
            pieces.push(Piece::Text(&text[from..at]));
        }
        at += match piece {
            Piece::Text(text) | Piece::Quoted(text) | Piece::Comment(text) => text.len(),
            Piece::Parameter(name) => 1 + name.len(),
            Piece::End => 1,
        };
        from = at;
        pieces.push(piece);
    }
    if from < text.len() {
        pieces.push(Piece::Text(&text[from..]));
    }
    Ok(pieces)
}

/// After these a colon is part of something else: a type (`struct<a:int>`), `::`, a variable.
fn binds_colon(before: char) -> bool {
    before.is_alphanumeric() || "_:`'\"$)]}".contains(before)
}

/// The name that a text begins with, if any.
fn name(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then_some(&text[..length])
}

/// Length of the string that begins at `at`.
fn string(text: &str, at: usize) -> Result<usize, Unread> {
    let mut letters = text[at..].char_indices();
    let quote = letters.next().map(|(_, quote)| quote);
    let mut escaped = false;
    let mut raw_length = None;
    for (index, letter) in letters {
        let ends = Some(letter) == quote;
        if ends && raw_length.is_none() {
            raw_length = Some(index + 1);
        }
        if ends && !escaped {
            let length = index + 1;
            // `r'…'` knows no escapes in Spark, and is no such string in Hive.
            return match raw_length == Some(length) || !is_raw(&text[..at]) {
                true => Ok(length),
                false => Err(unread(
                    text,
                    at,
                    "a backslash before a quote in r'…' means something else to each engine",
                )),
            };
        }
        escaped = letter == '\\' && !escaped;
    }
    Err(unread(text, at, "this string has no end"))
}

fn is_raw(before: &str) -> bool {
    let mut before = before.chars().rev();
    matches!(before.next(), Some('r' | 'R'))
        && !before.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn quoted_name(text: &str, at: usize) -> Result<usize, Unread> {
    match text[at + 1..].find('`') {
        Some(end) => Ok(end + 2),
        None => Err(unread(text, at, "this quoted name has no end")),
    }
}

fn line_comment(text: &str, at: usize) -> Result<usize, Unread> {
    let comment = &text[at..];
    let length = comment.find(['\n', '\r']).unwrap_or(comment.len());
    if comment[..length].ends_with('\\') {
        return Err(unread(
            text,
            at,
            "a backslash at the end of a comment means something else to each engine",
        ));
    }
    Ok(length)
}

fn block(text: &str, at: usize) -> Result<usize, Unread> {
    let inside = &text[at + 2..];
    let Some(end) = inside.find("*/") else { return Err(unread(text, at, "this comment has no end")) };
    let inside = &inside[..end];
    if inside.contains("/*") {
        return Err(unread(text, at, "comments in comments mean something else to each engine"));
    }
    // Hints are read as SQL, where a string could hold their end.
    if inside.starts_with('+') && inside.contains(['\'', '"', '`']) {
        return Err(unread(text, at, "a hint must not have quotes in it"));
    }
    Ok(end + 4)
}

/// Longest part of a query that an error shows.
const SHOWN_CHARS: usize = 40;

fn unread(text: &str, at: usize, why: &'static str) -> Unread {
    let line = text[..at].matches('\n').count() + 1;
    let shown: String = text[at..].lines().next().unwrap_or_default().chars().take(SHOWN_CHARS).collect();
    Unread { line, why, shown }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written<'a>(piece: &Piece<'a>) -> [&'a str; 2] {
        match *piece {
            Piece::Text(text) | Piece::Quoted(text) | Piece::Comment(text) => ["", text],
            Piece::Parameter(name) => [":", name],
            Piece::End => ["", ";"],
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_text(text in r#"[-a-z'"`/*+:;\\\n é]{0,40}"#) {
            if let Ok(pieces) = pieces(&text) {
                prop_assert_eq!(pieces.iter().flat_map(written).collect::<String>(), text);
            }
        }
    }
}
