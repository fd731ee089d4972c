//! Reads SQL just so far that parameters and statements are found: strings, quoted names and comments are told from the
//! rest. Where Hive and Spark read a text differently it is refused, since what is put in must be safe with both.

use std::collections::BTreeSet;

use super::literal::Parameters;
use crate::runners::Rejected;

/// A piece of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
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

/// Longest query, as it is written and with its parameters put in.
pub const QUERY_BYTES_MAX: usize = 4 << 20;

/// The statements of a text, with all parameters put in.
///
/// # Errors
/// When the text cannot be read, becomes too long, or names and parameters do not match.
pub fn statements(text: &str, parameters: &Parameters) -> Result<Vec<String>, Rejected> {
    let mut statements = vec![];
    let mut statement = String::new();
    let mut is_empty = true;
    let mut used = BTreeSet::new();
    let mut bytes_left = QUERY_BYTES_MAX;
    // Asked before anything is put in: a parameter that is named often would need more memory than there is.
    let mut allow = |text: &str| match bytes_left.checked_sub(text.len()) {
        Some(left) => {
            bytes_left = left;
            Ok(())
        }
        None => {
            Err(Rejected(format!("the query with its parameters is longer than {QUERY_BYTES_MAX} bytes")))
        }
    };
    for piece in pieces(text)?.into_iter().chain([Piece::End]) {
        match piece {
            Piece::Text(text) => {
                is_empty &= text.trim().is_empty();
                allow(text)?;
                statement.push_str(text);
            }
            Piece::Quoted(text) => {
                is_empty = false;
                allow(text)?;
                statement.push_str(text);
            }
            Piece::Comment(text) => {
                allow(text)?;
                statement.push_str(text);
            }
            Piece::Parameter(name) => {
                is_empty = false;
                let literal = parameters.literal(name)?;
                allow(literal)?;
                statement.push_str(literal);
                used.insert(name);
            }
            Piece::End => {
                let ended = std::mem::take(&mut statement);
                if !std::mem::replace(&mut is_empty, true) {
                    statements.push(ended.trim().to_owned());
                }
            }
        }
    }
    parameters.all_used(&used)?;
    if statements.is_empty() {
        return Err(Rejected("there is no statement in the query".to_owned()));
    }
    Ok(statements)
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Rejected> {
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
fn string(text: &str, at: usize) -> Result<usize, Rejected> {
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

fn quoted_name(text: &str, at: usize) -> Result<usize, Rejected> {
    match text[at + 1..].find('`') {
        Some(end) => Ok(end + 2),
        None => Err(unread(text, at, "this quoted name has no end")),
    }
}

fn line_comment(text: &str, at: usize) -> Result<usize, Rejected> {
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

fn block(text: &str, at: usize) -> Result<usize, Rejected> {
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

fn unread(text: &str, at: usize, why: &str) -> Rejected {
    let line = text[..at].matches('\n').count() + 1;
    let shown: String = text[at..].lines().next().unwrap_or_default().chars().take(SHOWN_CHARS).collect();
    Rejected(format!("line {line} of the query: {why}, at `{shown}`"))
}

/// Commands that servers know by the first word, before anything is read as SQL: no comment may stand before them.
const COMMANDS: [&str; 7] = ["set", "reset", "dfs", "add", "list", "reload", "compile"];

/// What the command `delete` deletes; else the word begins a statement of SQL.
const DELETED: [&str; 6] = ["jar", "jars", "file", "files", "archive", "archives"];

/// Whether a comment may be put before a statement.
pub fn may_follow_comment(statement: &str) -> bool {
    let mut words = statement.split(|c: char| !c.is_ascii_alphanumeric());
    let is = |word: &str, among: &[&str]| among.iter().any(|one| one.eq_ignore_ascii_case(word));
    let first = words.next().unwrap_or_default();
    let second = words.find(|word| !word.is_empty()).unwrap_or_default();
    let is_command = is(first, &COMMANDS) || is(first, &["delete"]) && is(second, &DELETED);
    !is_command
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bound(text: &str) -> Result<Vec<String>, Rejected> {
        let values = json!({ "a": "it's", "n": -5, "l": [1, -2, "x"] });
        let used: serde_json::Map<_, _> = values
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| text.contains(&format!(":{name}")))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        statements(text, &Parameters::new(&used, &serde_json::Map::new()).unwrap())
    }

    #[test]
    fn parameters_are_found_where_they_are() {
        for (text, expected) in [
            ("select :a", "select 'it\\u0027s'"),
            ("select x-:n", "select x-(-5)"),
            ("x in (:l)", "x in (1, (-2), 'x')"),
            (
                "select ':x', \":x\", `:x`, '\\':x' -- :x\n, :a",
                "select ':x', \":x\", `:x`, '\\':x' -- :x\n, 'it\\u0027s'",
            ),
            ("/* :x ; ' */ select /*+ MERGE(t) */ :a", "/* :x ; ' */ select /*+ MERGE(t) */ 'it\\u0027s'"),
            (
                "create table t (s struct<a:int>, b map<int,int>); ",
                "create table t (s struct<a:int>, b map<int,int>)",
            ),
            ("select x::int, r'\\d+', 'it''s', :a", "select x::int, r'\\d+', 'it''s', 'it\\u0027s'"),
            ("select '${hivevar:x}', : a", "select '${hivevar:x}', : a"),
            ("select :a:a", "select 'it\\u0027s':a"),
        ] {
            assert_eq!(bound(text).as_deref(), Ok(&[expected.to_owned()][..]), "{text}");
        }
    }

    #[test]
    fn statements_are_told_apart() {
        let text = "-- first;\nset x=1; ;\n/* ; */ select ';' as `;` -- ;\n;\n-- rest";
        let expected = ["-- first;\nset x=1", "/* ; */ select ';' as `;` -- ;"];
        assert_eq!(bound(text).unwrap(), expected);
        for command in ["SET x=1", "delete\tJAR /x.jar", "LIST FILES"] {
            assert!(!may_follow_comment(command), "{command}");
        }
        for sql in ["settle", "(select 1)", "(set)", "DELETE FROM t", "delete\nfrom jar"] {
            assert!(may_follow_comment(sql), "{sql}");
        }
    }

    #[test]
    fn a_query_has_a_largest_size() {
        let value = json!({ "a": "'".repeat(100_000) });
        let parameters = Parameters::new(value.as_object().unwrap(), &serde_json::Map::new()).unwrap();
        assert!(statements(&":a,".repeat(6), &parameters).is_ok());
        let refused = statements(&"SELECT :a;".repeat(8), &parameters).unwrap_err();
        assert!(refused.0.contains("longer than"), "{refused}");
    }

    #[test]
    fn what_engines_read_differently_is_refused() {
        for (text, why) in [
            ("select 'x", "line 1 of the query: this string has no end, at `'x`"),
            ("select 1,\n `x", "line 2 of the query: this quoted name has no end"),
            ("/* x", "no end"),
            ("/* /* */ */", "comments in comments"),
            ("select r'\\'', 1", "r'…'"),
            ("select 1 -- \\\n+ 1", "backslash at the end"),
            ("select /*+ X('*/') */ 1", "hint"),
            (" ;; -- nothing", "no statement"),
            ("select :nobody", "`:nobody`"),
        ] {
            let refused = bound(text).unwrap_err();
            assert!(refused.0.contains(why), "{text}: {refused}");
        }
    }
}
