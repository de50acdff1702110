//! Builds what the settings ask for: the one place where adapters are chosen and put together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use acf_core::agent::{Agent, AgentError, AgentOutcome, AgentRequest};
use acf_core::clock::Clock;
use acf_core::git_host::GitHost;
use acf_core::issue::{Issue, IssueKey, Stage, Status};
use acf_core::mask::Mask;
use acf_core::policy::Timeouts;
use acf_core::prices::{InvalidPrices, Prices};
use acf_core::progress::Observer;
use acf_core::receipt::Usage;
use acf_core::run::{RunId, WorkerId};
use acf_core::tracker::{Tracker, TrackerError};
use acf_trackers::github::GitHub;
use acf_trackers::jira::Jira;
use acf_trackers::todo::{LocalFile, Todo, TodoFile};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agent::{self, Renewals, Roster};
use crate::agent_user::{AgentHome, AgentUser, AgentUserError};
use crate::clock::SystemClock;
use crate::config::{self, AgentChoice, AgentSettings, Allowance, Settings, TodoLocation, child_environment};
use crate::events::EventFile;
use crate::git::checkout::{Author, checkouts_dir};
use crate::git::claims::GitClaims;
use crate::git::command::Git;
use crate::git::mirror::{Mirror, MirrorError};
use crate::git::pages::{Location, Pages};
use crate::git::probe::{self, ProbeError};
use crate::git::remote::{Credentials, Remote};
use crate::git::todo_file::RepositoryFile;
use crate::held_directory::remove_abandoned;
use crate::masked::Masked;
use crate::prices::PricesError;
use crate::process::{self, End, Guard, GuardedCommand, Limits, Place};
use crate::start::patiently;
use crate::workbench::GitWorkbench;
use crate::worker::{Hosting, Life, Orders, Patrol, Surroundings, Worker, WorkerError};

/// Where renewed files of agents are kept, below the work directory.
const RENEWALS: &str = "renewed";
/// How long an agent's preparation may take.
const PREPARATION_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long an agent's program may take to tell its version.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an agent that is no worker's may take to end.
const PREPARATION_GRACE: Duration = Duration::from_secs(10);

/// Why something could not be put together, or a worker ended badly.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The mirror cannot be used.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// Git or the remote will not do.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The tracker will not do.
    #[error("cannot use the tracker")]
    Tracker(#[from] TrackerError),
    /// The agent will not do.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The user as whom agents are to run will not do.
    #[error(transparent)]
    AgentUser(#[from] AgentUserError),
    /// The file of prices cannot be used.
    #[error("cannot use AGENT_PRICES_FILE")]
    Prices(#[from] InvalidPrices),
    /// A file or a process of acf's own cannot be used.
    #[error("{attempt}")]
    Machine {
        /// What was attempted.
        attempt: &'static str,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// No repository is configured, and this needs one.
    #[error("this needs a repository, and GIT_REPO_URL is not set")]
    NoRepository,
    /// No agent is configured, and this needs one.
    #[error("this needs an agent, and AGENT is not set")]
    NoAgent,
    /// It was told to stop before it was ready.
    #[error("told to stop while starting")]
    Stopped,
    /// The worker could not go on.
    #[error("the worker cannot go on")]
    Worker(#[from] WorkerError),
}

/// The target repository, ready to be used.
pub struct Repository {
    /// Its objects.
    pub mirror: Arc<Mirror>,
    /// Its claims and run records.
    pub claims: Arc<GitClaims>,
    /// The name of its trunk.
    pub trunk: String,
    author: Author,
}

/// Opens the target repository, after checking that git and the remote can be talked to.
///
/// # Errors
/// [`StartError::Probe`], [`StartError::Mirror`].
pub async fn open_repository(
    settings: &config::Repository,
    environment: &BTreeMap<String, String>,
) -> Result<Repository, StartError> {
    let git = Git::new(child_environment::for_git(environment), settings.timeout);
    probe::git_version(&git).await?;
    let credentials =
        settings.token.clone().map(|password| Credentials { username: settings.username.clone(), password });
    let remote = Remote::new(&settings.url, credentials);
    let mirror = Arc::new(Mirror::open(git, remote, &settings.work_dir).await?);
    let trunk = probe::trunk(&mirror, settings.trunk.as_deref()).await?;
    let claims = Arc::new(GitClaims::new(mirror.clone(), &settings.ref_prefix, &trunk));
    let author = Author { name: settings.author.name.clone(), email: settings.author.email.clone() };
    Ok(Repository { mirror, claims, trunk, author })
}

/// The tracker that is configured, ready to be used.
#[derive(Clone)]
pub struct OpenTracker {
    /// The tracker; nothing that is said in it holds a known secret.
    pub port: Arc<dyn Tracker>,
    /// The same, where it is a TODO file.
    pub todo: Option<Arc<Todo>>,
}

/// Opens the tracker.
///
/// # Errors
/// [`StartError::NoRepository`] for a TODO file in a repository that is not configured,
/// [`StartError::Tracker`] when a client for the tracker cannot be made.
pub fn open_tracker(settings: &Settings, repository: Option<&Repository>) -> Result<OpenTracker, StartError> {
    let mask = &settings.mask;
    let (port, todo): (Arc<dyn Tracker>, _) = match &settings.tracker {
        config::Tracker::Todo(todo) => {
            let todo = Arc::new(Todo::new(todo_file(todo, repository)?, Some(todo.assignee.clone())));
            (todo.clone(), Some(todo))
        }
        config::Tracker::GitHub(github) => {
            (Arc::new(GitHub::new(github.clone(), clock())?.masked_by(mask)), None)
        }
        config::Tracker::Jira(jira) => {
            (Arc::new(Jira::new((**jira).clone(), clock())?.masked_by(mask)), None)
        }
    };
    Ok(OpenTracker { port: Arc::new(Masked::new(port, mask.clone())), todo })
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

fn todo_file(todo: &config::Todo, repository: Option<&Repository>) -> Result<Arc<dyn TodoFile>, StartError> {
    Ok(match &todo.location {
        TodoLocation::Local(path) => Arc::new(LocalFile::new(path)),
        TodoLocation::InRepository(path) => {
            let repository = repository.ok_or(StartError::NoRepository)?;
            Arc::new(RepositoryFile::new(
                repository.mirror.clone(),
                clock(),
                &repository.trunk,
                path,
                repository.author.clone(),
            ))
        }
    })
}

/// Opens the place where the repository lives: its pull requests and its pages.
///
/// # Errors
/// [`StartError::Tracker`] when a client for the host cannot be made.
pub fn open_hosting(settings: &Settings, repository: &Repository) -> Result<Hosting, StartError> {
    let location = Location::of(repository.mirror.remote().url());
    let pages = location.and_then(|location| Pages::of(&location, &settings.github_host));
    let pull_requests = match &settings.pull_requests {
        Some(github) => {
            let host: Arc<dyn GitHost> =
                Arc::new(GitHub::new(github.clone(), clock())?.masked_by(&settings.mask));
            let host: Arc<dyn GitHost> = Arc::new(Masked::new(host, settings.mask.clone()));
            Some(host)
        }
        None => None,
    };
    Ok(Hosting { pull_requests, base: repository.trunk.clone(), pages })
}

/// Makes sure that the agents can be started here.
///
/// # Errors
/// [`StartError`], naming the agent and what is wrong with its program.
pub fn check_agents(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<(), StartError> {
    open_agents(settings, environment, Arc::new(SystemClock::default())).map(drop)
}

/// Makes all agents that are configured, and checks that their programs are there.
fn open_agents(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
) -> Result<Roster, StartError> {
    let first = make_agent(settings.agent.as_ref().ok_or(StartError::NoAgent)?, environment)?;
    let others = settings.fallbacks.iter().map(|choice| make_agent(choice, environment));
    Ok(Roster::new(first, others.collect::<Result<_, _>>()?, clock))
}

/// Reads acf's own table of prices, and the operator's over it.
fn open_prices(allowance: &Allowance) -> Result<Prices, StartError> {
    crate::prices::known(allowance.prices_file.as_deref()).map_err(|error| match error {
        PricesError::Unreadable(cause) => {
            StartError::Machine { attempt: "cannot read AGENT_PRICES_FILE", cause }
        }
        PricesError::Invalid(invalid) => invalid.into(),
    })
}

fn make_agent(
    choice: &AgentChoice,
    environment: &BTreeMap<String, String>,
) -> Result<Arc<dyn Agent>, StartError> {
    let agent = agent::make(choice)
        .map_err(|cause| StartError::Machine { attempt: "cannot find acf's own program", cause })?;
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    agent::check_installed(&*agent, path.as_ref())?;
    Ok(agent)
}

fn own_guard() -> Result<Guard, StartError> {
    Guard::this_program()
        .map_err(|cause| StartError::Machine { attempt: "cannot find acf's own program", cause })
}

fn as_os(environment: &BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
    environment.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn in_home(cause: io::Error) -> StartError {
    StartError::Machine { attempt: "cannot make a home for ACF_AGENT_USER", cause }
}

/// Makes the home of a worker's agents, beside the checkouts.
fn make_home(user: &AgentUser, work_dir: &Path, worker: &WorkerId) -> Result<AgentHome, StartError> {
    // Two workers may have been given the same id.
    let whose = format!("{worker}-{}", Uuid::new_v4().simple());
    let home = AgentHome::make(&checkouts_dir(work_dir), &whose).map_err(in_home)?;
    user.own(home.path()).map_err(in_home)?;
    Ok(home)
}

/// Makes sure that the agents' user can be changed to, and can get to where agents work.
async fn check_entry(
    user: &AgentUser,
    home: &AgentHome,
    guard: &Guard,
    environment: &BTreeMap<String, String>,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let failed = |cause| StartError::Machine { attempt: "cannot run anything as ACF_AGENT_USER", cause };
    let command = GuardedCommand {
        program: "sh".into(),
        args: ["-c", "cd \"$HOME\""].map(Into::into).to_vec(),
        env: as_os(environment),
        dir: "/".into(),
        stdin: None,
    };
    let limits = Limits { timeout: PREPARATION_TIMEOUT, stall: None, grace: PREPARATION_GRACE };
    match process::run(guard, command, limits, stop, &mut |_, _| {}).await.map_err(failed)? {
        End::Exited(0) => Ok(()),
        End::Stopped => Err(StartError::Stopped),
        End::NotStarted(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            Err(AgentUserError::NoRight(user.name.clone()).into())
        }
        End::NotStarted(cause) => Err(failed(cause)),
        _ => {
            let directory = home.path().parent().unwrap_or(home.path()).to_owned();
            Err(AgentUserError::NoEntry { user: user.name.clone(), directory }.into())
        }
    }
}

/// Tries the agents' programs, and returns the versions of those that tell it in no other way.
async fn try_out(workbench: &GitWorkbench) -> Result<Vec<Option<String>>, StartError> {
    let user = workbench.user.as_ref().map(|user| user.0.name.as_str());
    let limits = Limits { timeout: TRIAL_TIMEOUT, stall: None, grace: PREPARATION_GRACE };
    let (guard, env) = (&workbench.guard, workbench.environment.as_slice());
    let place = Place { guard, dir: Path::new("/"), env, limits };
    let failed = |cause| StartError::Machine { attempt: "cannot try the agent's program", cause };
    let mut versions = Vec::new();
    for agent in workbench.roster.iter() {
        versions.push(agent::try_out(&**agent, user, place).await.map_err(failed)??);
    }
    Ok(versions)
}

/// Waits for a step of getting ready, unless the worker is told to stop.
async fn unless_stopped<T, E: Into<StartError>>(
    stop: &CancellationToken,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, StartError> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(StartError::Stopped),
        done = step => done.map_err(Into::into),
    }
}

/// An agent's preparation may take no longer than one of its rounds.
fn preparation_limits(allowance: &Allowance, grace: Duration) -> Limits {
    let timeout = allowance.timeout.map_or(PREPARATION_TIMEOUT, |limit| limit.min(PREPARATION_TIMEOUT));
    Limits { timeout, stall: None, grace }
}

/// Prepares an agent, once per worker, in its home.
async fn prepare(
    agent: &dyn Agent,
    (guard, env, limits): (&Guard, &[(OsString, OsString)], Limits),
    renewals: Option<&Renewals>,
    mask: &Mask,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let home = env.iter().find(|(name, _)| name == "HOME");
    let home = home.map_or_else(std::env::temp_dir, |(_, home)| PathBuf::from(home));
    let place = Place { guard, dir: &home, env, limits };
    let mut log = |line: &str| tracing::info!("agent: {line}");
    let prepared = agent::prepare(agent, renewals, place, stop, &mut log).await;
    let broken = |cause| StartError::Machine { attempt: "cannot prepare the agent", cause };
    agent::learn(agent, place, mask).await.map_err(broken)?;
    match prepared.map_err(broken)? {
        None | Some(AgentOutcome::Finished) => Ok(()),
        Some(AgentOutcome::Stopped) => Err(StartError::Stopped),
        Some(AgentOutcome::Crashed { exit_code, message }) => {
            let code = exit_code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            let words = message.map(|message| format!(": {message}")).unwrap_or_default();
            Err(broken(io::Error::other(format!("it ended with {code}{words}"))))
        }
        Some(_) => Err(broken(io::Error::other("it did not end in time"))),
    }
}

/// An agent without a worker: for whoever wants to see it run.
pub struct AgentAlone {
    agent: Arc<dyn Agent>,
    guard: Guard,
    env: Vec<(OsString, OsString)>,
    allowance: Allowance,
    prices: Prices,
    mask: Mask,
}

impl AgentAlone {
    /// Makes the agent that is configured.
    ///
    /// # Errors
    /// [`StartError::Agent`], [`StartError::Prices`].
    pub fn open(
        settings: &AgentSettings,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, StartError> {
        Ok(Self {
            agent: make_agent(&settings.agent, environment)?,
            guard: own_guard()?,
            env: as_os(&child_environment::for_agent(environment, &settings.mask)),
            allowance: settings.allowance.clone(),
            prices: open_prices(&settings.allowance)?,
            mask: settings.mask.clone(),
        })
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.agent.name()
    }

    /// Prepares it, as a worker does at its start.
    ///
    /// # Errors
    /// [`StartError::Machine`] when that fails.
    pub async fn prepare(&self) -> Result<(), StartError> {
        let limits = preparation_limits(&self.allowance, PREPARATION_GRACE);
        let place = (&self.guard, &self.env[..], limits);
        prepare(&*self.agent, place, None, &self.mask, &CancellationToken::new()).await
    }

    /// Runs it once in `directory`; its output goes to `log`.
    ///
    /// # Errors
    /// [`StartError::Machine`] when the guard does not work.
    pub async fn run(
        &self,
        prompt: &str,
        directory: &Path,
        stop: &CancellationToken,
        log: &mut (dyn FnMut(&str) + Send),
    ) -> Result<AgentOutcome, StartError> {
        let (timeouts, allowance) = (Timeouts::default(), &self.allowance);
        let limits = Limits {
            timeout: timeouts.of_agent(allowance.timeout),
            stall: Some(timeouts.of_silence(allowance.stall)),
            grace: PREPARATION_GRACE,
        };
        let place = Place { guard: &self.guard, dir: directory, env: &self.env, limits };
        let issue = issue_of(prompt);
        let request = AgentRequest {
            prompt,
            issue: &issue,
            stage: Stage::Implementation,
            round: 0,
            session: None,
            session_usage: Usage::default(),
            limits: allowance.limits,
            report: None,
        };
        let report = agent::round(&*self.agent, &request, &self.prices, place, stop, log).await;
        let report =
            report.map_err(|cause| StartError::Machine { attempt: "cannot run the agent", cause })?;
        Ok(report.outcome)
    }
}

/// A prompt of a person, as if it were an issue.
fn issue_of(prompt: &str) -> Issue {
    let key = IssueKey::from_str("PROMPT-1").expect("a letter, a dash and a digit are a key");
    let summary = prompt.lines().next().unwrap_or_default();
    Issue { description: prompt.to_owned(), status: Status::InProgress, ..Issue::new(key, summary) }
}

/// A worker that is ready to work, with what a command may want to know of it.
pub struct ReadyWorker {
    /// The worker.
    pub worker: Worker,
    /// Its tracker.
    pub tracker: OpenTracker,
    /// Its repository.
    pub repository: Repository,
    observer: Arc<dyn Observer>,
}

/// Puts a worker together: checks everything that can be checked before an issue is claimed. A tracker or
/// a remote that does not answer just now is waited for.
///
/// # Errors
/// [`StartError`], for whatever is missing or does not work; [`StartError::Stopped`] once `stop` is cancelled.
pub async fn assemble(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    stage: Stage,
    stop: &CancellationToken,
) -> Result<ReadyWorker, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let roster = Arc::new(open_agents(settings, environment, clock.clone())?);
    let prices = Arc::new(open_prices(&settings.allowance)?);
    let user = settings.allowance.user.as_deref().map(AgentUser::named).transpose()?;
    if user.is_none() && rustix::process::geteuid().is_root() && settings.mask.lines().is_some() {
        tracing::warn!(
            "agents run as root, and can read acf's own environment with its tokens: ACF_AGENT_USER names another user \
             for them"
        );
    }
    let repository_settings = settings.repository.as_ref().ok_or(StartError::NoRepository)?;
    let id = settings.worker.id.clone();
    let open = async || {
        let repository = open_repository(repository_settings, environment).await?;
        probe::claims(&repository.mirror, &repository_settings.ref_prefix, &id, clock.now()).await?;
        Ok(repository)
    };
    let repository = patiently("the repository", &*clock, stop, open).await?;
    let tracker = open_tracker(settings, Some(&repository))?;
    let hosting = open_hosting(settings, &repository)?;
    let whoami = async || Ok(tracker.port.whoami().await?);
    let account = patiently(settings.tracker.service(), &*clock, stop, whoami).await?;
    remove_abandoned(&checkouts_dir(&repository_settings.work_dir));
    unless_stopped(stop, repository.mirror.tidy()).await?;
    let events = EventFile::open(settings.worker.events_file.as_deref(), id.clone(), clock.clone());
    let observer: Arc<dyn Observer> = Arc::new(
        events.map_err(|cause| StartError::Machine { attempt: "cannot write ACF_EVENTS_FILE", cause })?,
    );
    let guard = own_guard()?.running_as(user.as_ref().map(|user| user.ids));
    let mut agents_environment = child_environment::for_agent(environment, &settings.mask);
    let user = match user {
        Some(user) => {
            let home = make_home(&user, &repository_settings.work_dir, &id)?;
            child_environment::move_to(&mut agents_environment, &user.name, home.path());
            check_entry(&user, &home, &guard, &agents_environment, stop).await?;
            Some(Arc::new((user, home)))
        }
        None => None,
    };
    let mut workbench = GitWorkbench {
        mirror: repository.mirror.clone(),
        work_dir: repository_settings.work_dir.clone(),
        trunk: repository.trunk.clone(),
        roster,
        allowance: settings.allowance.clone(),
        prices,
        guard,
        environment: as_os(&agents_environment),
        prompts: settings.prompts.clone(),
        author: repository.author.clone(),
        // The rest of the grace is for saving the work and telling the tracker.
        grace: settings.worker.stop_grace / 3,
        mask: settings.mask.clone(),
        budgets: settings.budgets(),
        observer: observer.clone(),
        renewals: user.is_some().then(|| Renewals::at(repository_settings.work_dir.join(RENEWALS))),
        versions: Vec::new(),
        user,
    };
    workbench.versions = unless_stopped(stop, try_out(&workbench)).await?;
    let limits = preparation_limits(&settings.allowance, workbench.grace);
    for agent in workbench.roster.iter() {
        let place = (&workbench.guard, &workbench.environment[..], limits);
        prepare(&**agent, place, workbench.renewals.as_ref(), &workbench.mask, stop).await?;
    }
    let around = Surroundings {
        mask: settings.mask.clone(),
        claims: repository.claims.clone(),
        tracker: tracker.port.clone(),
        hosting,
        workbench: Arc::new(workbench),
        clock,
        observer: observer.clone(),
        run_ids: Arc::new(|| RunId::new(Uuid::new_v4().simple().to_string())),
    };
    let orders = Orders {
        worker: id,
        stage,
        account,
        rules: settings.rules.clone(),
        claim_ttl: settings.worker.claim_ttl,
        daily_budget_usd: settings.daily_budget_usd,
        issue_recheck: settings.worker.issue_recheck,
        trunk: repository.trunk.clone(),
    };
    Ok(ReadyWorker { worker: Worker::new(around, orders), tracker, repository, observer })
}

impl ReadyWorker {
    /// Works until there is a reason to end, and tells whoever watches why it ended.
    ///
    /// # Errors
    /// [`WorkerError`] when something is wrong that waiting does not mend.
    pub async fn patrol(&self, patrol: Patrol, stop: &CancellationToken) -> Result<Life, WorkerError> {
        let counts = self.repository.mirror.git().counts();
        // What it took to get ready is not what issues take.
        let (processes_before, pushes_before) = (counts.processes(), counts.pushes());
        let life = self.worker.patrol(patrol, stop).await;
        let why = match &life {
            Ok(life) => life.ending.to_string(),
            Err(error) => crate::worker::chain(error),
        };
        let git_processes = counts.processes() - processes_before;
        let git_pushes = counts.pushes() - pushes_before;
        tracing::info!(git_processes, git_pushes, "worker `{}` ends: {why}", self.worker.id());
        self.observer.note(acf_core::progress::What::Stopped { why, git_processes, git_pushes });
        life
    }
}
