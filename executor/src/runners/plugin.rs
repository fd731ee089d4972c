//! Kinds that plugins bring: a program of the plugin's folder, which finds the step's configuration in the file that
//! `MESON_CONFIG` names and speaks the task contract. All else is as for every other process.

use meson_plugins::Plugin;
use meson_proto::v1::Launch;

use super::{Place, Plan, Program, Rejected};

/// The variable with the path of the configuration.
const CONFIG: &str = "MESON_CONFIG";

/// What is to be done for a step of this plugin. The configuration is held to the plugin's schema once more: a scheduler
/// that has another version of the plugin, or none, may have let it pass.
///
/// # Errors
/// When the configuration is not what the schema asks for.
pub fn prepare(plugin: &Plugin, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
    plugin.check_config(&launch.config_json).map_err(Rejected)?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let config = place.dir.config();
    let content = if launch.config_json.is_empty() { "{}" } else { &launch.config_json };
    Ok(Plan::Process(Program {
        argv: vec![text(&plugin.program)],
        env: vec![(CONFIG.to_owned(), text(&config))],
        cleanup: plugin.clean_up.iter().map(|path| text(path)).collect(),
        files: vec![(config, content.to_owned())],
    }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;
    use crate::task::dirs::AttemptDir;

    #[test]
    fn a_program_finds_its_configuration_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let manifest =
            "kind = \"acme/notify\"\nsummary = \"Tells.\"\nprogram = \"tell\"\nclean_up = \"/bin/true\"\n";
        std::fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
        let schema = r#"{"properties": {"times": {"type": "integer"}}}"#;
        std::fs::write(folder.path().join("schema.json"), schema).unwrap();
        let plugin = meson_plugins::load(&[folder.path().to_owned()]).unwrap().remove(0);
        let dir = AttemptDir::new(PathBuf::from("/attempt"));
        let plan = |config_json: &str| {
            let launch = Launch { config_json: config_json.to_owned(), ..Launch::default() };
            prepare(&plugin, &launch, &Place { config: &Config::default(), dir: &dir })
        };
        let Ok(Plan::Process(program)) = plan(r#"{"times": 2}"#) else { panic!("no process") };
        assert_eq!(program.argv, [folder.path().join("tell").to_string_lossy()]);
        assert_eq!(program.cleanup, ["/bin/true"]);
        assert_eq!(program.env, [("MESON_CONFIG".to_owned(), "/attempt/config.json".to_owned())]);
        assert_eq!(program.files, [(dir.config(), r#"{"times": 2}"#.to_owned())]);
        let Err(Rejected(why)) = plan(r#"{"times": "{{ 2 }}"}"#) else { panic!("it was accepted") };
        assert!(why.starts_with("config.times: `times` is not of type \"integer\""), "{why}");
        assert!(plan("").is_ok());
    }
}
