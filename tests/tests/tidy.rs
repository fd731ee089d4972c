//! Style as a test: what a machine can check of the house rules in CONTRIBUTING.md.
//!
//! A finding names file, line and remedy. A line may be excused where a rule says so, by a comment on it or above it:
//! `tidy: allow <rule>: <reason>`. This file holds the words it looks for and is not searched for them itself.

use meson_tests::{Findings, TrackedFile, tracked_files};

/// Hard limits; aim for 400 lines a file and 40 lines a function.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Written by machines or by others.
const FOREIGN: [&str; 3] = ["Cargo.lock", "LICENSE", "tests/contracts.lock"];
/// The file that holds the words it looks for.
const SELF: &str = "tests/tests/tidy.rs";
/// Whitespace carries meaning in data.
const DATA: [&str; 5] = ["csv", "tsv", "dat", "out", "snap"];

/// Left-overs that belong into an issue, and words that say less than they cost; with their remedy.
const WORDS: [(&str, &str); 16] = [
    ("TODO", "do it, or file an issue"),
    ("FIXME", "fix it, or file an issue"),
    ("XXX", "say what is the matter, or file an issue"),
    ("whitelist", "say allowlist"),
    ("blacklist", "say denylist"),
    ("utilize", "say use"),
    ("utilise", "say use"),
    ("leverage", "say use"),
    ("leverages", "say uses"),
    ("seamless", "say what happens"),
    ("seamlessly", "say what happens"),
    ("blazingly", "give the measured number"),
    ("blazing", "give the measured number"),
    ("performant", "give the measured number"),
    ("obviously", "leave it out, or explain"),
    ("effortlessly", "leave it out"),
];

/// Type names that say nothing. `ResourceManager` is a word of the domain.
const EMPTY_NAMES: [&str; 6] = ["Manager", "Managers", "Helper", "Helpers", "Util", "Utils"];
const NAMES_OF_THE_DOMAIN: [&str; 1] = ["ResourceManager"];

/// What would make the engine answer differently on two replicas.
const UNSTEADY: [&str; 9] = [
    "HashMap",
    "HashSet",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
];

#[test]
fn files_are_short_and_say_what_they_are_for() -> anyhow::Result<()> {
    check(|file, findings| {
        let count = file.lines().count();
        if matches!(file.extension(), "rs" | "py") && count > FILE_LINES_MAX {
            let wrong = format!("has {count} lines, more than {FILE_LINES_MAX}");
            findings.add(&file.path, wrong, "split it by responsibility");
        }
        if file.extension() == "rs" && !file.text.starts_with("//! ") {
            findings.add(
                place(file, 1),
                "does not open with `//!`",
                "say what the file is for and what it leaves out",
            );
        }
    })
}

#[test]
fn functions_are_short() -> anyhow::Result<()> {
    check(|file, findings| {
        if file.extension() != "rs" {
            return;
        }
        for (line, count) in function_lengths(&file.text) {
            if count > FUNCTION_LINES_MAX {
                let wrong = format!("the function has {count} lines, more than {FUNCTION_LINES_MAX}");
                findings.add(place(file, line), wrong, "keep the branches here, move the leaves out");
            }
        }
    })
}

#[test]
fn nothing_is_left_unfinished() -> anyhow::Result<()> {
    check(|file, findings| {
        if file.extension() != "rs" {
            return;
        }
        for (number, line) in code_lines(file) {
            for macro_name in ["todo!(", "unimplemented!(", "dbg!("] {
                if line.contains(macro_name) {
                    findings.add(
                        place(file, number),
                        format!("`{macro_name}…)`"),
                        "finish it, or leave it out",
                    );
                }
            }
        }
    })
}

#[test]
fn unwrap_is_for_tests() -> anyhow::Result<()> {
    check(|file, findings| {
        if file.extension() != "rs" || is_test(&file.path) {
            return;
        }
        let code = code_lines(file).take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"));
        for (number, line) in code {
            if line.contains(".unwrap()") {
                let remedy = "use `?`, or `expect(\"why it cannot fail\")`";
                findings.add(place(file, number), "`unwrap()` outside tests", remedy);
            }
        }
    })
}

#[test]
fn tests_do_not_sleep() -> anyhow::Result<()> {
    check(|file, findings| {
        // The simulation's time is virtual.
        let is_simulated = file.path.starts_with("sim/");
        if !matches!(file.extension(), "rs" | "py") || !is_test(&file.path) || is_simulated {
            return;
        }
        for (number, line) in code_lines(file) {
            if line.contains("sleep(") && !excused(file, number, "sleep") {
                let remedy =
                    "wait for the event, or pause time; else `tidy: allow sleep: <reason>` on the line above";
                findings.add(place(file, number), "a test sleeps", remedy);
            }
        }
    })
}

#[test]
fn engine_has_nothing_unsteady() -> anyhow::Result<()> {
    check(|file, findings| {
        if file.extension() != "rs" || !file.path.starts_with("engine/src/") {
            return;
        }
        for (number, line) in code_lines(file) {
            for name in UNSTEADY {
                if line.contains(name) && !excused(file, number, "unsteady") {
                    let remedy = "let it come in with the command; keep order with BTreeMap or imbl::OrdMap";
                    findings.add(place(file, number), format!("`{name}` in the engine"), remedy);
                }
            }
        }
    })
}

#[test]
fn names_say_something() -> anyhow::Result<()> {
    check(|file, findings| {
        if file.extension() != "rs" {
            return;
        }
        for (number, line) in code_lines(file) {
            let Some(name) = declared_type(line) else { continue };
            let empty = EMPTY_NAMES.iter().any(|ending| name.ends_with(ending));
            if empty && !NAMES_OF_THE_DOMAIN.contains(&name) {
                findings.add(
                    place(file, number),
                    format!("`{name}` says nothing"),
                    "name it after what it does",
                );
            }
        }
    })
}

#[test]
fn words_are_plain() -> anyhow::Result<()> {
    check(|file, findings| {
        for (number, line) in file.lines() {
            for (word, remedy) in WORDS {
                if has_word(line, word) {
                    findings.add(place(file, number), format!("the word `{word}`"), remedy);
                }
            }
        }
    })
}

#[test]
fn no_path_of_somebodys_machine() -> anyhow::Result<()> {
    check(|file, findings| {
        for (number, line) in file.lines() {
            for folder in ["/home/", "/root/", "/work/", "/Users/"] {
                if starts_a_path(line, folder) && !excused(file, number, "path") {
                    let remedy = "use a relative path or a variable; else `tidy: allow path: <reason>`";
                    findings.add(place(file, number), format!("a path below {folder}"), remedy);
                }
            }
        }
    })
}

#[test]
fn lines_end_where_they_end() -> anyhow::Result<()> {
    check(|file, findings| {
        if DATA.contains(&file.extension()) {
            return;
        }
        for (number, line) in file.lines() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.add(place(file, number), "whitespace at the end", "run `make fix`");
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.add(&file.path, "no newline at the end", "run `make fix`");
        }
    })
}

/// Runs a check over all tracked files of our own making.
fn check(rule: impl Fn(&TrackedFile, &mut Findings)) -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for file in tracked_files()? {
        if !FOREIGN.contains(&file.path.as_str()) && file.path != SELF {
            rule(&file, &mut findings);
        }
    }
    findings.conclude()
}

fn place(file: &TrackedFile, number: usize) -> String {
    format!("{}:{number}", file.path)
}

/// Whether a path is of test code: a `tests` folder, `chaos-tests`, or a module file `tests.rs`.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "chaos-tests" | "tests.rs"))
}

/// Lines that are not whole-line comments.
fn code_lines(file: &TrackedFile) -> impl Iterator<Item = (usize, &str)> {
    let comment = if file.extension() == "py" { "#" } else { "//" };
    file.lines().filter(move |(_, line)| !line.trim_start().starts_with(comment))
}

/// Whether the line or the one above it carries `tidy: allow <rule>: <reason>`.
fn excused(file: &TrackedFile, number: usize, rule: &str) -> bool {
    let excuse = format!("tidy: allow {rule}: ");
    file.lines().any(|(at, line)| (at == number || at + 1 == number) && line.contains(&excuse))
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a line holds a word, on its own. Words in capitals are looked for as they are, others in any case.
fn has_word(line: &str, word: &str) -> bool {
    let exact = word.chars().all(char::is_uppercase);
    let line = if exact { line.to_owned() } else { line.to_ascii_lowercase() };
    line.match_indices(word).any(|(start, _)| {
        let before = line.as_bytes()[..start].last();
        let after = line.as_bytes().get(start + word.len());
        !before.is_some_and(|byte| is_word_byte(*byte)) && !after.is_some_and(|byte| is_word_byte(*byte))
    })
}

/// Whether an absolute path begins with this folder somewhere in the line.
fn starts_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"/._-~}*)>".contains(before))
    })
}

/// The name of the struct, enum, trait or type that a line declares.
fn declared_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let keyword = words.next()?;
    matches!(keyword, "struct" | "enum" | "trait" | "type")
        .then(|| words.next())?
        .and_then(|name| name.split(|letter: char| !letter.is_alphanumeric()).next())
}

/// First line and length of each function. Relies on rustfmt: a function ends at the first `}` of its own indent.
fn function_lengths(text: &str) -> Vec<(usize, usize)> {
    let mut lengths = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some((_, closing)) = open.last()
            && line.starts_with(closing.as_str())
            && line.trim_end().len() == closing.len()
            && let Some((start, _)) = open.pop()
        {
            lengths.push((start, number - start + 1));
        }
        if begins_function(line) && !line.trim_end().ends_with([';', '}']) {
            open.push((number, format!("{indent}}}")));
        }
    }
    lengths
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["async", "const", "unsafe", "extern", "\"C\""];
    words.find(|word| !word.starts_with("pub") && !qualifiers.contains(word)) == Some("fn")
}

mod own_tests {
    //! The checks themselves, on made-up lines.

    use super::*;

    #[test]
    fn a_word_is_found_on_its_own_only() {
        assert!(has_word("// TODO: later", "TODO"));
        assert!(!has_word("// todo: a list of things", "TODO"));
        assert!(!has_word("mktemp /tmp/meson.XXXXXX", "XXX"));
        assert!(has_word("We Utilize it.", "utilize"));
    }

    #[test]
    fn a_path_is_found_where_it_begins() {
        assert!(starts_a_path("cd /home/ann", "/home/"));
        assert!(starts_a_path("path=\"/work/app\"", "/work/"));
        assert!(!starts_a_path("hdfs://name/work/x", "/work/"));
        assert!(!starts_a_path("./work/x", "/work/"));
        assert!(!starts_a_path("$HOME/work/x", "/work/"));
    }

    #[test]
    fn a_type_name_is_found() {
        assert_eq!(declared_type("pub(crate) struct RunManager {"), Some("RunManager"));
        assert_eq!(declared_type("enum Role<T> {"), Some("Role"));
        assert_eq!(declared_type("let struct_name = 1;"), None);
    }

    #[test]
    fn a_function_is_measured_from_its_name_to_its_brace() {
        let text = "fn one() {\n    two();\n}\n\nimpl A {\n    pub async fn three(\n    ) {\n        if x {\n        }\n    }\n}\n";
        assert_eq!(function_lengths(text), [(1, 3), (6, 5)]);
    }
}
