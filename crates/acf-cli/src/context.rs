//! What every verb is given: the settings in their layers, the environment, and how to open what they
//! name. The only part of the command line that knows both flags and configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use acf_worker::assembly::{self, OpenTracker, Repository, StartError};
use acf_worker::config::{self, AgentSettings, Factory, Flags, Layers, Need, Problems, Settings, variables};
use anyhow::Context as _;
use jiff::Timestamp;

use crate::args::SettingArgs;
use crate::error::{WithHint, hint_for, with_asked_wait};
use crate::process::{Launch, ProcessRuntime};

/// The settings in their layers, and the environment.
pub struct Context {
    layers: Layers,
}

impl Context {
    /// Gathers the settings: flags over the environment, over the env file, over `acf.toml`.
    #[must_use]
    pub fn new(flags: &SettingArgs, environment: BTreeMap<String, String>, directory: &Path) -> Self {
        Self { layers: Layers::read(as_flags(flags), environment, directory, None) }
    }

    /// Returns the layers.
    #[must_use]
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Returns the environment of this process.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        self.layers.environment()
    }

    /// Reads the settings for a command that needs that much.
    ///
    /// # Errors
    /// [`Problems`], all at once.
    pub fn settings(&self, need: Need) -> anyhow::Result<Settings> {
        let settings = told(config::load(&self.layers, need))?;
        tell_warnings(&settings.warnings);
        Ok(settings)
    }

    /// Reads what an agent needs without a worker.
    ///
    /// # Errors
    /// [`Problems`], all at once.
    pub fn agent(&self) -> anyhow::Result<AgentSettings> {
        let settings = told(config::load_agent(&self.layers))?;
        tell_warnings(&settings.warnings);
        Ok(settings)
    }

    /// Reads what a command needs that only looks after workers.
    ///
    /// # Errors
    /// [`Problems`], all at once.
    pub fn factory(&self) -> anyhow::Result<Factory> {
        told(config::load_factory(&self.layers))
    }

    /// Makes the process runtime of the factory, to look at workers and to stop them.
    ///
    /// # Errors
    /// [`Problems`], or when acf's own program cannot be found.
    pub fn runtime(&self, factory: &Factory) -> anyhow::Result<ProcessRuntime> {
        let program = std::env::current_exe().context("cannot find the program of acf itself")?;
        let environment = config::child_environment::for_worker(&self.layers);
        let launch = Launch {
            keeper: program.clone(),
            program,
            args: vec![OsString::from("worker")],
            env: environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        };
        Ok(ProcessRuntime::new(factory.state.join(&factory.name), launch))
    }

    /// Makes the process runtime of the factory, to look at the workers on the project of those settings.
    ///
    /// # Errors
    /// As [`Context::runtime`].
    pub fn runtime_for(&self, settings: &Settings) -> anyhow::Result<ProcessRuntime> {
        Ok(on_project(self.runtime(&self.factory()?)?, settings))
    }

    /// Makes the process runtime of the factory, to start workers too: their settings are checked now,
    /// not when they have failed.
    ///
    /// # Errors
    /// As [`Context::runtime`].
    pub fn runtime_to_start(&self) -> anyhow::Result<(Factory, ProcessRuntime)> {
        let (factory, settings) = told(config::load_fleet(&self.layers))?;
        tell_warnings(&settings.warnings);
        with_hint(assembly::check_agents(&settings, self.environment()))?;
        let runtime = on_project(self.runtime(&factory)?, &settings);
        Ok((factory, runtime))
    }

    /// Adds to an error which service asks to wait, why and until when, where one does.
    #[must_use]
    pub fn with_asked_wait(&self, error: anyhow::Error) -> anyhow::Error {
        match config::load(&self.layers, Need::Tracker) {
            Ok(settings) => with_asked_wait(error, settings.tracker.service(), Timestamp::now()),
            Err(_) => error,
        }
    }

    /// Opens the repository that is configured; `None` if none is.
    ///
    /// # Errors
    /// [`StartError`], with a hint.
    pub async fn repository(&self, settings: &Settings) -> anyhow::Result<Option<Repository>> {
        match &settings.repository {
            None => Ok(None),
            Some(repository) => {
                with_hint(assembly::open_repository(repository, self.environment()).await).map(Some)
            }
        }
    }

    /// Opens the tracker, and the repository if the tracker is in it.
    ///
    /// # Errors
    /// [`StartError`], with a hint.
    pub async fn tracker(&self, settings: &Settings) -> anyhow::Result<OpenTracker> {
        let is_in_repository = matches!(
            &settings.tracker,
            config::Tracker::Todo(todo) if matches!(todo.location, config::TodoLocation::InRepository(_))
        );
        let repository = if is_in_repository { self.repository(settings).await? } else { None };
        with_hint(assembly::open_tracker(settings, repository.as_ref()))
    }
}

/// Makes the runtime know the project of those settings: its repository, where the claims are, and its tracker.
fn on_project(runtime: ProcessRuntime, settings: &Settings) -> ProcessRuntime {
    let Some(repository) = &settings.repository else { return runtime };
    runtime.on_project(&[&repository.url, &*repository.ref_prefix, &settings.tracker.place()].join("\n"))
}

/// Adds to a start error what a person can do about it.
///
/// # Errors
/// The same error.
pub fn with_hint<T>(result: Result<T, StartError>) -> anyhow::Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => {
            let hint = hint_for(&error);
            let failed = Err(anyhow::Error::new(error));
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        }
    }
}

fn tell_warnings(warnings: &[String]) {
    warnings.iter().for_each(|warning| crate::ui::say(format!("warning: {warning}")));
}

fn told<T>(result: Result<T, Problems>) -> anyhow::Result<T> {
    result
        .map_err(|problems| (problems.hint(), problems))
        .or_else(|(hint, problems)| Err(problems).hint(hint))
}

fn as_flags(settings: &SettingArgs) -> Flags {
    let env_file = settings.env_file.as_ref().map(|path| path.to_string_lossy().into_owned());
    let flags = Flags::default().with(&variables::FACTORY_ENV_FILE, "--env-file", env_file);
    let SettingArgs { project, tracker, repo, agent, runtime, env_file: _ } = settings.clone();
    flags
        .with(&variables::PROJECT, "--project", project)
        .with(&variables::TASK_MANAGER, "--tracker", tracker)
        .with(&variables::GIT_REPO_URL, "--repo", repo)
        .with(&variables::AGENT, "--agent", agent)
        .with(&variables::FACTORY_RUNTIME, "--runtime", runtime)
}
