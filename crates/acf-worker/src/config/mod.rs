//! Configuration: the only module that reads the environment.
//!
//! Values are found in layers ([`Layers`]), parsed once into typed settings with every problem told at
//! once ([`load`]), and each variable is declared once ([`variables`]). Deliberately absent: whether
//! what is configured works. A file that is missing or a remote that refuses is found out by whoever
//! uses it.
//!
//! ```no_run
//! use acf_worker::config::{self, Flags, Layers, Need, variables};
//!
//! let flags = Flags::default().with(&variables::PROJECT, "--project", Some("TODO.md".into()));
//! let layers = Layers::read(flags, config::process_environment(), std::path::Path::new("."), None);
//! let settings = config::load(&layers, Need::Worker)?;
//! # Ok::<(), config::Problems>(())
//! ```

mod agents;
pub mod child_environment;
mod config_file;
mod directories;
pub mod env_file;
mod github;
mod jira;
mod log_filter;
mod problems;
mod reader;
mod reference;
mod report;
mod repository;
mod repository_url;
mod service_url;
mod settings;
mod sources;
mod suggestion;
mod tracker;
pub mod variables;

use std::collections::BTreeMap;

pub use agents::AgentChoice;
pub use directories::{cache_directory, state_directory};
pub use problems::{Problem, ProblemKind, Problems};
pub use reference::reference;
pub use report::{Entry, report};
pub use repository::{Author, Repository};
pub use settings::{
    AgentSettings, Allowance, Factory, Need, Prompts, RuntimeChoice, Settings, WorkerSettings, check, load,
    load_agent, load_factory, load_fleet, new_worker_id,
};
pub use sources::{CONFIG_FILE, Flags, Found, Layers, Origin};
pub use tracker::{Todo, TodoLocation, Tracker};

/// Returns the environment of this process, without what is not UTF-8.
#[must_use]
pub fn process_environment() -> BTreeMap<String, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let environment = std::env::vars_os();
    environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_environment_of_the_process_is_read() {
        // Cargo sets it for every test that it runs.
        assert_eq!(super::process_environment()["CARGO_MANIFEST_DIR"], env!("CARGO_MANIFEST_DIR"));
    }
}
