//! The manifest: `plugin.toml`, or the same as `plugin.json`.

use std::path::{Component, Path, PathBuf};

use meson_workflow::kinds::is_plugin_kind;
use meson_workflow::units::Bytes;
use serde::Deserialize;

use crate::Error;

/// What a plugin says of itself.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The kind that it brings.
    pub kind: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// The program that runs a step: a path in the plugin's folder, or an absolute one.
    pub program: PathBuf,
    /// The program that ends what a step began outside of its processes.
    pub clean_up: Option<PathBuf>,
    /// Memory without which no such step can run.
    #[serde(default)]
    pub least_mem: Bytes,
}

/// Characters of a summary.
const SUMMARY_CHARS_MAX: usize = 200;

impl Manifest {
    /// Reads the text of the file at `path`, and checks it.
    pub fn read(path: &Path, text: &str) -> Result<Manifest, Error> {
        let is_json = path.extension().is_some_and(|ending| ending == "json");
        let read: Result<Manifest, String> = if is_json {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            toml::from_str(text).map_err(|error| error.to_string())
        };
        read.and_then(Manifest::check).map_err(|problem| Error::Manifest {
            path: path.to_owned(),
            problem: problem.trim_end().to_owned(),
        })
    }

    fn check(self) -> Result<Manifest, String> {
        if !is_plugin_kind(&self.kind) {
            return Err(format!(
                "kind: `{}` cannot name a kind of a plugin: write two names with `/` between them, like `acme/notify`, \
                 each of lowercase letters, digits, `_` and `-`",
                self.kind
            ));
        }
        let summary = self.summary.trim();
        if summary.is_empty() || summary.chars().count() > SUMMARY_CHARS_MAX || summary.contains('\n') {
            return Err(format!(
                "summary: say in one line of at most {SUMMARY_CHARS_MAX} characters what it does"
            ));
        }
        for (name, path) in [("program", Some(&self.program)), ("clean_up", self.clean_up.as_ref())] {
            let leaves = |path: &PathBuf| path.components().any(|part| part == Component::ParentDir);
            if path.is_some_and(|path| path.as_os_str().is_empty() || leaves(path)) {
                return Err(format!(
                    "{name}: name a file of the plugin's folder, or one by its absolute path"
                ));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "kind = \"acme/notify\"\nsummary = \"Tells.\"\nprogram = \"notify\"\n";

    fn problem(text: &str) -> String {
        Manifest::read(Path::new("p/plugin.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn both_forms_say_the_same() {
        let text = format!("{GOOD}clean_up = \"undo\"\nleast_mem = \"96MiB\"\n");
        let manifest = Manifest::read(Path::new("plugin.toml"), &text).unwrap();
        assert_eq!(manifest.least_mem, Bytes(96 << 20));
        let json = r#"{"kind": "acme/notify", "summary": "Tells.", "program": "notify", "clean_up": "undo",
                       "least_mem": "96MiB"}"#;
        assert_eq!(Manifest::read(Path::new("plugin.json"), json).unwrap(), manifest);
    }

    #[test]
    fn the_manifest_of_the_page_is_good() {
        let page = include_str!("../../docs/plugins.md");
        let (_, text) = page.split_once("```toml\n").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        assert_eq!(Manifest::read(Path::new("plugin.toml"), text).unwrap().kind, "acme/notify");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert!(Manifest::read(Path::new("plugin.toml"), GOOD).is_ok());
        for (from, to, expected) in [
            ("acme/notify", "notify", "p/plugin.toml: kind: `notify` cannot name"),
            ("acme/notify", "acme/a/b", "kind: `acme/a/b` cannot name"),
            ("acme/notify", "Acme/notify", "kind: `Acme/notify` cannot name"),
            ("Tells.", "", "summary: say in one line"),
            ("= \"notify\"", "= \"../notify\"", "program: name a file"),
            ("= \"notify\"", "= \"\"", "program: name a file"),
            ("program", "programme", "unknown field `programme`"),
            ("summary = \"Tells.\"\n", "", "missing field `summary`"),
            ("summary", "least_mem = \"much\"\nsummary", "`much` is not a size"),
        ] {
            let text = GOOD.replace(from, to);
            let problem = problem(&text);
            assert!(problem.contains(expected), "{expected}: {problem}");
        }
    }
}
