//! Plugins: kinds of steps from outside of this repository. A plugin is a folder with a manifest, which names the kind and
//! the program that runs its steps, and a JSON Schema of their `config`. This crate reads such folders and holds configs to
//! the schema; it starts nothing. Scheduler and mesonctl ask it at registration, the executor before each start.

mod error;
mod folder;
mod manifest;
mod schema;

pub use error::Error;
pub use folder::{Plugin, load};

use meson_workflow::kinds::Plugins;

/// The kinds of these plugins, for checks of definitions. `place` says for people where they are declared.
pub fn kinds(plugins: &[Plugin], place: &str) -> Plugins {
    Plugins::declared(place, plugins.iter().map(|plugin| plugin.kind.clone()))
}
