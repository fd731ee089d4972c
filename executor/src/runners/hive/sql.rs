//! The statements of a query, with its parameters put in.

use std::collections::BTreeSet;

use meson_workflow::sql::{Piece, pieces};

use super::literal::Parameters;
use crate::runners::Rejected;

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
    for piece in pieces(text).map_err(|unread| Rejected(unread.to_string()))?.into_iter().chain([Piece::End])
    {
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
