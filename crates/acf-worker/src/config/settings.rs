//! What the configuration means: parsed once into typed values, with every problem told at once.

use std::path::PathBuf;
use std::time::Duration;

use acf_core::agent::AgentLimits;
use acf_core::eligibility::Rules;
use acf_core::issue::{Stage, label};
use acf_core::mask::Mask;
use acf_core::run::{AttemptLimits, WorkerId};
use tracing_subscriber::filter::Targets;
use uuid::Uuid;

use crate::git::pages::Location;

use super::agents::{self, AgentChoice};
use super::directories::state_directory;
use super::github::{self, Access};
use super::log_filter;
use super::problems::Problems;
use super::reader::Reader;
use super::repository::{DefaultUrl, Repository, Wanted};
use super::sources::Layers;
use super::tracker::{TodoLocation, Tracker};
use super::variables::{
    ACF_AGENT_USER, ACF_CLAIM_TTL, ACF_EVENTS_FILE, ACF_WORKER_ID, AGENT_BUDGET_USD, AGENT_MAX_TURNS,
    AGENT_PRICES_FILE, AGENT_STALL_TIMEOUT, AGENT_TIMEOUT, FACTORY_BUDGET_USD_PER_DAY, FACTORY_NAME,
    FACTORY_RUNTIME, FEATURE_BRANCHES, IMPLEMENTATION_PROMPT, INTER_ISSUE_WAIT, ISSUE_RECHECK, MAX_ATTEMPTS,
    NO_ISSUES_WAIT, PLAN_BY_DEFAULT, PLANNING_PROMPT, REQUIRED_LABELS, RETRY_BACKOFF, STOP_GRACE, Variable,
};

/// What a command cannot do without. What it can do without is validated all the same, if it is set; but for
/// agents and what they may use, which concern nobody who runs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A tracker, and whatever that itself needs.
    Tracker,
    /// A tracker and a repository.
    Repository,
    /// Everything that a worker needs: a tracker, a repository and an agent.
    Worker,
}

/// What an agent runs by that no worker has started.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Which agent.
    pub agent: AgentChoice,
    /// What it may use.
    pub allowance: Allowance,
    /// How long it may take to end when it is told to.
    pub stop_grace: Duration,
    /// Hides every secret value that is known.
    pub mask: Mask,
    /// What people should know though it is no problem.
    pub warnings: Vec<String>,
}

/// What a worker, or a command about issues and runs, acts by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where issues come from.
    pub tracker: Tracker,
    /// Where work goes; there from [`Need::Repository`] on, and where the tracker is in it.
    pub repository: Option<Repository>,
    /// Where pull requests are opened; `None` for a repository that is not on GitHub, or without a token.
    pub pull_requests: Option<acf_trackers::github::Settings>,
    /// The host that `GITHUB_API_URL` belongs to: its repositories have GitHub's pages, whatever its name.
    pub github_host: String,
    /// Who does the work; there with [`Need::Worker`].
    pub agent: Option<AgentChoice>,
    /// Who goes on with it, in this order, when the one before cannot go on.
    pub fallbacks: Vec<AgentChoice>,
    /// What agents may use, and as whom they run; there with [`Need::Worker`].
    pub allowance: Allowance,
    /// Which issues are taken.
    pub rules: Rules,
    /// The operator's own prompts.
    pub prompts: Prompts,
    /// What the runs of a day may cost, in US dollars.
    pub daily_budget_usd: Option<f64>,
    /// How a worker behaves.
    pub worker: WorkerSettings,
    /// Masks every known secret.
    pub mask: Mask,
    /// What was odd about the configuration and is no reason to stop.
    pub warnings: Vec<String>,
}

/// What agents may use, and as whom they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allowance {
    /// How long one round may take; as the repository says, if not set.
    pub timeout: Option<Duration>,
    /// How long an agent may be silent; as the repository says, if not set.
    pub stall: Option<Duration>,
    /// The turns and the cost of a run.
    pub limits: AgentLimits,
    /// A file of prices that go over acf's own.
    pub prices_file: Option<PathBuf>,
    /// The user as whom agents run; the worker's own, if not set.
    pub user: Option<String>,
}

/// The operator's own prompt templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// For implementing.
    pub implementation: Option<String>,
    /// For planning.
    pub planning: Option<String>,
}

impl Prompts {
    /// Returns the template for a stage, if the operator gave one.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Option<&str> {
        match stage {
            Stage::Implementation => self.implementation.as_deref(),
            Stage::Planning => self.planning.as_deref(),
        }
    }
}

/// How a worker behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSettings {
    /// Its id, made up if none is given.
    pub id: WorkerId,
    /// The wait when there is no issue to take.
    pub no_issues_wait: Duration,
    /// The wait between two issues.
    pub inter_issue_wait: Duration,
    /// How long its claims hold without being renewed.
    pub claim_ttl: Duration,
    /// How long it works on an issue before it looks whether the issue is still wanted.
    pub issue_recheck: Duration,
    /// How long it may take to save its work when it is told to stop.
    pub stop_grace: Duration,
    /// Where it appends what happens in it.
    pub events_file: Option<PathBuf>,
    /// Which log lines are written.
    pub log_filter: Targets,
}

/// Where and under which name workers run: all that a command needs that only looks after workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factory {
    /// The factory's name: fit to be a file's name.
    pub name: String,
    /// Where its workers run.
    pub runtime: RuntimeChoice,
    /// The directory of what is remembered of workers.
    pub state: PathBuf,
    /// How long a worker that is told to stop may take.
    pub stop_grace: Duration,
}

/// Where workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// As processes of this machine.
    Process,
}

/// Reads the settings of a worker, or of a command about issues and runs.
///
/// # Errors
/// [`Problems`], with everything that is missing or cannot be used.
pub fn load(layers: &Layers, need: Need) -> Result<Settings, Problems> {
    let mut reader = Reader::new(layers);
    let settings = settings(&mut reader, need);
    reader.finish(settings, tracker_name(layers))
}

/// Reads what a command needs that only looks after workers. It asks for no tracker, repository or
/// agent, so that workers can be stopped whatever became of their configuration.
///
/// # Errors
/// [`Problems`], with everything that is missing or cannot be used.
pub fn load_factory(layers: &Layers) -> Result<Factory, Problems> {
    let mut reader = Reader::new(layers);
    let factory = factory(&mut reader);
    reader.finish(factory, None)
}

/// Checks that whatever is set can be used; what is missing depends on the command.
///
/// # Errors
/// [`Problems`], with everything that cannot be used.
pub fn check(layers: &Layers) -> Result<(), Problems> {
    match load(layers, Need::Worker) {
        Err(problems) => problems.of_values_only().map_or(Ok(()), Err),
        Ok(_) => Ok(()),
    }
}

impl Settings {
    /// Returns the variables that bound what is spent, of those that are set.
    #[must_use]
    pub fn budgets(&self) -> Vec<&'static str> {
        let run = self.allowance.limits.budget_usd.map(|_| AGENT_BUDGET_USD.name);
        run.into_iter().chain(self.daily_budget_usd.map(|_| FACTORY_BUDGET_USD_PER_DAY.name)).collect()
    }
}

/// Reads what an agent needs without a worker: no tracker, no repository.
///
/// # Errors
/// [`Problems`], with everything that is missing or cannot be used.
pub fn load_agent(layers: &Layers) -> Result<AgentSettings, Problems> {
    let mut reader = Reader::new(layers);
    let agent = agents::read(&mut reader).into_iter().next();
    let allowance = allowance(&mut reader);
    let worker = worker(&mut reader);
    let settings = agent.zip(worker).map(|(agent, worker)| AgentSettings {
        agent,
        allowance,
        stop_grace: worker.stop_grace,
        mask: reader.mask(),
        warnings: reader.warnings(),
    });
    reader.finish(settings, None)
}

/// Reads what a command needs that starts workers: their settings, and where they run.
///
/// # Errors
/// [`Problems`], with everything that is missing or cannot be used.
pub fn load_fleet(layers: &Layers) -> Result<(Factory, Settings), Problems> {
    let mut reader = Reader::new(layers);
    let settings = settings(&mut reader, Need::Worker);
    let factory = factory(&mut reader);
    reader.finish(factory.zip(settings), tracker_name(layers))
}

/// Makes a name for a worker that has none.
#[must_use]
pub fn new_worker_id() -> WorkerId {
    let random = Uuid::new_v4().simple().to_string();
    WorkerId::new(format!("w-{}", &random[..8]))
}

/// Returns the tracker that is chosen; `None` where there is none of that name.
fn tracker_name(layers: &Layers) -> Option<&'static str> {
    Tracker::is_known(layers).then(|| Tracker::chosen_name(layers))
}

// Each function below reads all of its values before it gives up on any, so that no problem hides
// another one.

fn settings(reader: &mut Reader<'_>, need: Need) -> Option<Settings> {
    let access = Access::read(reader);
    let tracker = Tracker::read(reader, &access);
    let in_repository = matches!(
        &tracker,
        Some(Tracker::Todo(todo)) if matches!(todo.location, TodoLocation::InRepository(_))
    );
    // Which repository is the default, and which settings are needed, depends on the tracker.
    let needs_repository =
        matches!(need, Need::Repository | Need::Worker) && Tracker::is_known(reader.layers());
    let default_url = match Tracker::chosen_name(reader.layers()) {
        "github" => DefaultUrl::Project(github::default_repository_url(reader, &access)),
        _ => DefaultUrl::None,
    };
    let wanted = Wanted { needed: needs_repository, holds_tracker: in_repository, default_url };
    let repository = Repository::read(reader, wanted, &access);
    let pull_requests = repository.as_ref().and_then(|repository| pull_requests(repository, &access));
    let runs_agents = need == Need::Worker;
    let mut agents = if runs_agents { agents::read(reader) } else { Vec::new() }.into_iter();
    let allowance = if runs_agents { allowance(reader) } else { Allowance::default() };
    if runs_agents {
        // Nothing here depends on it, but a worker that runs elsewhere than it was meant to is no use to anybody.
        runtime(reader);
    }
    let rules = rules(reader, tracker.as_ref());
    let daily_budget_usd = reader.dollars(&FACTORY_BUDGET_USD_PER_DAY);
    let prompts = Prompts {
        implementation: reader.verbatim(&IMPLEMENTATION_PROMPT),
        planning: reader.verbatim(&PLANNING_PROMPT),
    };
    let worker = worker(reader);
    Some(Settings {
        tracker: tracker?,
        repository,
        pull_requests,
        github_host: access.host()?,
        agent: agents.next(),
        fallbacks: agents.collect(),
        allowance,
        rules: rules?,
        prompts,
        daily_budget_usd,
        worker: worker?,
        mask: reader.mask(),
        warnings: reader.warnings(),
    })
}

/// Returns where pull requests of the repository are opened, if it is on GitHub and there is a token.
fn pull_requests(repository: &Repository, access: &Access) -> Option<acf_trackers::github::Settings> {
    let location = Location::of(&repository.url)?;
    let is_on_github = access.host().is_some_and(|host| host == location.host);
    Some(acf_trackers::github::Settings {
        api_url: access.api_url.clone()?,
        repository: location.path.parse().ok().filter(|_| is_on_github)?,
        token: access.token.clone()?,
        assignee: None,
    })
}

fn allowance(reader: &mut Reader<'_>) -> Allowance {
    let limits = AgentLimits {
        max_turns: reader.count(&AGENT_MAX_TURNS),
        budget_usd: reader.dollars(&AGENT_BUDGET_USD),
    };
    Allowance {
        timeout: reader.limit(&AGENT_TIMEOUT),
        stall: reader.limit(&AGENT_STALL_TIMEOUT),
        limits,
        prices_file: reader.path(&AGENT_PRICES_FILE),
        user: reader.text(&ACF_AGENT_USER),
    }
}

fn rules(reader: &mut Reader<'_>, tracker: Option<&Tracker>) -> Option<Rules> {
    let feature_branches = reader.switch(&FEATURE_BRANCHES);
    let plan_by_default = reader.switch(&PLAN_BY_DEFAULT);
    let mut required_labels = reader.words(&REQUIRED_LABELS);
    if matches!(tracker, Some(Tracker::GitHub(_))) {
        // Labels that differ only in case are the same there, and its issues tell theirs in lower case.
        required_labels = required_labels.iter().map(|label| label.to_lowercase()).collect();
    }
    let required_labels = required_labels.iter().map(|name| label::canonical(name).to_owned()).collect();
    let max_attempts = reader.count(&MAX_ATTEMPTS);
    let first_backoff = reader.wait(&RETRY_BACKOFF);
    Some(Rules {
        plan_by_default: plan_by_default?,
        feature_branches: feature_branches?,
        required_labels,
        attempts: AttemptLimits { max_attempts: max_attempts?, first_backoff: first_backoff? },
    })
}

fn worker(reader: &mut Reader<'_>) -> Option<WorkerSettings> {
    // Without any wait an idle worker would ask the tracker and the remote as fast as it can.
    let no_issues_wait = reader.limit(&NO_ISSUES_WAIT);
    let inter_issue_wait = reader.wait(&INTER_ISSUE_WAIT);
    let claim_ttl = reader.limit(&ACF_CLAIM_TTL);
    let issue_recheck = reader.limit(&ISSUE_RECHECK);
    let stop_grace = reader.wait(&STOP_GRACE);
    let log_filter = log_filter::read(reader);
    let id = id(reader, &ACF_WORKER_ID);
    let events_file = reader.path(&ACF_EVENTS_FILE);
    Some(WorkerSettings {
        id: id.map_or_else(new_worker_id, WorkerId::new),
        no_issues_wait: no_issues_wait?,
        inter_issue_wait: inter_issue_wait?,
        claim_ttl: claim_ttl?,
        issue_recheck: issue_recheck?,
        stop_grace: stop_grace?,
        events_file,
        log_filter: log_filter?,
    })
}

fn factory(reader: &mut Reader<'_>) -> Option<Factory> {
    let runtime = runtime(reader);
    let name = id(reader, &FACTORY_NAME);
    let stop_grace = reader.wait(&STOP_GRACE);
    let state = state_directory(reader.layers().environment()).map_err(|problem| reader.note(problem)).ok();
    Some(Factory { name: name?, runtime: runtime?, state: state?, stop_grace: stop_grace? })
}

fn runtime(reader: &mut Reader<'_>) -> Option<RuntimeChoice> {
    reader.choice(&FACTORY_RUNTIME, &[("process", RuntimeChoice::Process)])
}

/// Returns a text that can be part of a file's name or a ref.
fn id(reader: &mut Reader<'_>, variable: &Variable) -> Option<String> {
    reader.parse(variable, |text| {
        let is_safe = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if is_safe && text.len() <= 64 && !text.starts_with('-') {
            Ok(text.to_owned())
        } else {
            Err("write at most 64 letters, digits, - and _, not beginning with -".to_owned())
        }
    })
}

#[cfg(test)]
mod tests;
