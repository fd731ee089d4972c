//! Folders of plugins: found, read whole and checked before anything is made of them.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use meson_workflow::kinds;
use serde_json::{Map, Value};

use crate::Error;
use crate::manifest::Manifest;
use crate::schema::Schema;

/// Bytes of a manifest.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a schema.
const SCHEMA_BYTES_MAX: u64 = 1 << 20;
/// Plugins of one process.
const PLUGINS_MAX: usize = 200;

const MANIFESTS: [&str; 2] = ["plugin.toml", "plugin.json"];
const SCHEMA: &str = "schema.json";

/// A plugin as its folder declares it.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The kind that it brings, with the check of configs.
    pub kind: kinds::Plugin,
    /// Its folder, absolute.
    pub folder: PathBuf,
    /// The program that runs a step, absolute.
    pub program: PathBuf,
    /// The program that ends what a step began outside of its processes, absolute.
    pub clean_up: Option<PathBuf>,
}

/// Reads plugins. Each path is a plugin's folder, or one that holds such folders.
///
/// # Errors
/// The first thing that is wrong: none of them is taken then.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Plugin>, Error> {
    let mut plugins: Vec<Plugin> = Vec::new();
    for path in paths {
        let path = std::path::absolute(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        for folder in folders(&path)? {
            let plugin = Plugin::read(&folder)?;
            if let Some(other) = plugins.iter().find(|other| other.kind.name == plugin.kind.name) {
                let (first, kind) = (other.folder.clone(), plugin.kind.name);
                return Err(Error::Twice { kind, first, second: folder });
            }
            if plugins.len() == PLUGINS_MAX {
                return Err(Error::TooMany { plugins_max: PLUGINS_MAX });
            }
            plugins.push(plugin);
        }
    }
    Ok(plugins)
}

/// The folders of plugins that a path means, in the order of their names.
fn folders(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_plugin = |folder: &Path| MANIFESTS.iter().any(|name| folder.join(name).exists());
    if is_plugin(path) {
        return Ok(vec![path.to_owned()]);
    }
    let unread = |source| Error::Read { path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unread)? {
        let folder = entry.map_err(unread)?.path();
        if is_plugin(&folder) {
            found.push(folder);
        }
    }
    if found.is_empty() {
        return Err(Error::NoPlugin { path: path.to_owned() });
    }
    found.sort();
    Ok(found)
}

impl Plugin {
    fn read(folder: &Path) -> Result<Plugin, Error> {
        let there: Vec<PathBuf> =
            MANIFESTS.iter().map(|name| folder.join(name)).filter(|path| path.exists()).collect();
        let [path] = there.as_slice() else {
            return Err(Error::TwoManifests { path: folder.to_owned() });
        };
        let manifest = Manifest::read(path, &text(path, MANIFEST_BYTES_MAX)?)?;
        let path = folder.join(SCHEMA);
        let schema = Schema::compile(&manifest.kind, &text(&path, SCHEMA_BYTES_MAX)?)
            .map_err(|problem| Error::Schema { path, problem })?;
        let check = move |config: &Map<String, Value>, stage| schema.problems(config, stage);
        Ok(Plugin {
            kind: kinds::Plugin::new(manifest.kind, manifest.summary.trim(), manifest.least_mem, check),
            folder: folder.to_owned(),
            // An absolute path stays what it is.
            program: folder.join(manifest.program),
            clean_up: manifest.clean_up.map(|path| folder.join(path)),
        })
    }

    /// Whether its programs can be run: for those who run them.
    ///
    /// # Errors
    /// When one is missing, or is no program.
    pub fn check_programs(&self) -> Result<(), Error> {
        for path in [Some(&self.program), self.clean_up.as_ref()].into_iter().flatten() {
            let wrong = |problem: String| Error::Program {
                kind: self.kind.name.clone(),
                path: path.clone(),
                problem,
            };
            let facts = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
            if !facts.is_file() {
                return Err(wrong("this is no file".to_owned()));
            }
            if facts.permissions().mode() & 0o111 == 0 {
                return Err(wrong("nobody may execute it: set its mode with `chmod +x`".to_owned()));
            }
        }
        Ok(())
    }

    /// Holds a config, as JSON with its templates filled in, to the schema.
    ///
    /// # Errors
    /// Everything wrong with it, with the places; one a line.
    pub fn check_config(&self, config_json: &str) -> Result<(), String> {
        let text = if config_json.is_empty() { "{}" } else { config_json };
        let config: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("config: {error}: it must be a JSON object"))?;
        self.kind.check_rendered(&config).map_err(|problems| problems.to_string())
    }
}

fn text(path: &Path, bytes_max: u64) -> Result<String, Error> {
    let unread = |source| Error::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unread)?;
    file.take(bytes_max + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > bytes_max {
        return Err(Error::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(root: &Path, name: &str, kind: &str) -> PathBuf {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let manifest = format!("kind = \"{kind}\"\nsummary = \"Does.\"\nprogram = \"run\"\n");
        std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
        std::fs::write(folder.join("schema.json"), r#"{"required": ["a"]}"#).unwrap();
        folder
    }

    fn refused(path: &Path) -> String {
        load(&[path.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_a_plugin_or_holds_some() {
        let dir = tempfile::tempdir().unwrap();
        let one = plugin(dir.path(), "b", "x/one");
        plugin(dir.path(), "a", "x/two");
        std::fs::write(dir.path().join("README.md"), "no plugin").unwrap();
        let names = |path: &Path| -> Vec<String> {
            let plugins = load(&[path.to_owned()]).unwrap();
            plugins.into_iter().map(|plugin| plugin.kind.name).collect()
        };
        assert_eq!(names(&one), ["x/one"]);
        assert_eq!(names(dir.path()), ["x/two", "x/one"]);
        let found = load(std::slice::from_ref(&one)).unwrap();
        assert_eq!((found[0].program.clone(), found[0].clean_up.clone()), (one.join("run"), None));
        assert!(found[0].check_config(r#"{"a": 1}"#).is_ok());
        assert!(found[0].check_config("").unwrap_err().contains("`a`"));
        assert!(found[0].check_config("[]").unwrap_err().contains("must be a JSON object"));
        assert!(load(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(dir.path()).contains("has no plugin.toml"));
        assert!(refused(&dir.path().join("nowhere")).contains("nowhere: No such file"));
        let one = plugin(dir.path(), "one", "x/one");
        let twice = load(&[one.clone(), one.clone()]).unwrap_err();
        assert!(matches!(twice, Error::Twice { .. }), "{twice}");

        std::fs::write(one.join("schema.json"), r#"{"type": "objekt"}"#).unwrap();
        assert!(
            refused(&one).contains("schema.json: not a JSON Schema of draft 2020-12"),
            "{}",
            refused(&one)
        );
        std::fs::write(one.join("schema.json"), "x".repeat(2 << 20)).unwrap();
        assert!(refused(&one).contains("more than 1048576 bytes"));
        std::fs::remove_file(one.join("schema.json")).unwrap();
        assert!(refused(&one).contains("schema.json: No such file"));
        std::fs::write(one.join("plugin.json"), "{}").unwrap();
        assert!(refused(&one).contains("both a plugin.toml and a plugin.json"));
    }

    #[test]
    fn programs_are_there_and_may_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let folder = plugin(dir.path(), "one", "x/one");
        let plugin = load(std::slice::from_ref(&folder)).unwrap().remove(0);
        let problem = || plugin.check_programs().unwrap_err().to_string();
        assert!(problem().contains("run: No such file"), "{}", problem());
        std::fs::write(folder.join("run"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(folder.join("run"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(problem().contains("chmod +x"), "{}", problem());
        std::fs::set_permissions(folder.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(plugin.check_programs().is_ok());
    }
}
