//! Parameters as SQL literals. HiveServer2 binds none by itself, so a text is written such that it ends nowhere but at its own
//! quote: whatever could mean something to Hive, to Spark or to what replaces variables before them is `\uXXXX`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::runners::Rejected;

/// Letters that stay as they are in a literal, beside letters and digits. `-` is one of them where no other stands before it.
const PLAIN: &str = " _.,:/+=()<>!@#%&|~^?-";

/// The parameters of a query, written as they are put in.
#[derive(Debug, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Of values and of names.
    ///
    /// # Errors
    /// When one has no form in SQL.
    pub fn new(values: &Map<String, Value>, identifiers: &Map<String, Value>) -> Result<Self, Rejected> {
        let mut written = BTreeMap::new();
        for (name, value) in values {
            let text = literal(value).map_err(|why| Rejected(format!("parameter `{name}`: {why}")))?;
            written.insert(name.clone(), text);
        }
        for (name, value) in identifiers {
            let text = identifier(value).map_err(|why| Rejected(format!("identifier `{name}`: {why}")))?;
            if written.insert(name.clone(), text).is_some() {
                return Err(Rejected(format!(
                    "`{name}` is a parameter and an identifier; rename one of them"
                )));
            }
        }
        Ok(Parameters(written))
    }

    /// What stands for a name.
    ///
    /// # Errors
    /// When there is no such parameter.
    pub fn literal(&self, name: &str) -> Result<&str, Rejected> {
        self.0.get(name).map(String::as_str).ok_or_else(|| {
            Rejected(format!(
                "the query names `:{name}`, which is not in `parameters`; add it, or correct the name"
            ))
        })
    }

    /// That none was given for nothing.
    ///
    /// # Errors
    /// When one was.
    pub fn all_used(&self, used: &BTreeSet<&str>) -> Result<(), Rejected> {
        match self.0.keys().find(|name| !used.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Rejected(format!(
                "parameter `{name}` is not used: write `:{name}` in the query, outside of quotes and comments"
            ))),
        }
    }
}

fn literal(value: &Value) -> Result<String, String> {
    match value {
        Value::Array(items) if items.is_empty() => {
            Err("an empty list has no form in SQL; branch on its length with a `switch`".to_owned())
        }
        Value::Array(items) => Ok(items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(", ")),
        other => scalar(other),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok("NULL".to_owned()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) => {
            let number = number.to_string();
            // A minus after the query's own would begin a comment.
            Ok(if number.starts_with('-') { format!("({number})") } else { number })
        }
        Value::String(text) => Ok(quoted(text)),
        Value::Array(_) => Err("a list in a list has no form in SQL".to_owned()),
        Value::Object(_) => Err("a map has no form in SQL".to_owned()),
    }
}

fn quoted(text: &str) -> String {
    let mut written = String::from("'");
    let mut before = '\'';
    for letter in text.chars() {
        let is_plain = letter.is_alphanumeric() || PLAIN.contains(letter) && (letter, before) != ('-', '-');
        let code = u32::from(letter);
        // Letters beyond the first plane have no such form and no meaning.
        if is_plain || code > 0xFFFF {
            written.push(letter);
        } else {
            // A text takes everything.
            let _ = write!(written, "\\u{code:04X}");
        }
        before = letter;
    }
    written.push('\'');
    written
}

/// Longest part of a name.
const NAME_CHARS_MAX: usize = 128;

fn identifier(value: &Value) -> Result<String, String> {
    let Value::String(text) = value else { return Err("a name must be text".to_owned()) };
    let is_name = |part: &str| {
        !part.is_empty()
            && part.chars().count() <= NAME_CHARS_MAX
            && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    // Between back quotes nothing can be escaped, and variables are replaced there too.
    if !text.split('.').all(is_name) {
        return Err(format!(
            "`{text}` is no name: letters, digits, `_` and `-`, in parts with a point between"
        ));
    }
    Ok(text.split('.').map(|part| format!("`{part}`")).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_cannot_leave_its_place() {
        for (text, written) in [
            ("Zürich-1", "'Zürich-1'"),
            ("2026-11-28 12:00", "'2026-11-28 12:00'"),
            ("'; drop table t --", r"'\u0027\u003B drop table t -\u002D'"),
            (r"\' or 1=1", r"'\u005C\u0027 or 1=1'"),
            ("${env:HOME}", r"'\u0024\u007Benv:HOME\u007D'"),
            ("a\n\0*/`\"", r"'a\u000A\u0000\u002A/\u0060\u0022'"),
            ("’‘“", r"'\u2019\u2018\u201C'"),
            ("😀", "'😀'"),
            ("", "''"),
        ] {
            assert_eq!(literal(&json!(text)).unwrap(), written);
        }
    }

    #[test]
    fn values_have_one_form() {
        for (value, written) in [
            (json!(null), "NULL"),
            (json!(true), "true"),
            (json!(7), "7"),
            (json!(-0.5), "(-0.5)"),
            (json!(i64::MIN), "(-9223372036854775808)"),
            (json!(["a", null, -1]), "'a', NULL, (-1)"),
        ] {
            assert_eq!(literal(&value).unwrap(), written);
        }
        for bad in [json!([]), json!([[1]]), json!({}), json!([{}])] {
            assert!(literal(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_names() {
        assert_eq!(identifier(&json!("db.Table_1")).unwrap(), "`db`.`Table_1`");
        for bad in [json!("a`b"), json!("${x}"), json!(""), json!("a..b"), json!("a b"), json!(1)] {
            assert!(identifier(&bad).is_err(), "{bad}");
        }
        let both = json!({ "a": "x" });
        let both = both.as_object().unwrap();
        assert!(Parameters::new(both, both).is_err());
        let unused = Parameters::new(both, &Map::new()).unwrap();
        assert!(unused.all_used(&BTreeSet::new()).unwrap_err().0.contains("`a` is not used"));
        assert!(unused.all_used(&BTreeSet::from(["a"])).is_ok());
    }
}
