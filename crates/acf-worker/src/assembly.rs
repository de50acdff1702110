//! Builds what the settings ask for: the one place where adapters are chosen and put together.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use acf_core::agent::{Agent, AgentError, AgentLimits, AgentOutcome, AgentRequest};
use acf_core::clock::Clock;
use acf_core::issue::{Issue, IssueKey, Stage, Status};
use acf_core::policy::Timeouts;
use acf_core::progress::Observer;
use acf_core::run::{RunId, WorkerId};
use acf_core::tracker::{Tracker, TrackerError};
use acf_trackers::todo::{LocalFile, Todo, TodoFile};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agent;
use crate::clock::SystemClock;
use crate::config::{self, Settings, TodoLocation, child_environment};
use crate::events::EventFile;
use crate::git::checkout::{Author, remove_abandoned};
use crate::git::claims::GitClaims;
use crate::git::command::Git;
use crate::git::mirror::{Mirror, MirrorError};
use crate::git::pages::{Location, Pages};
use crate::git::probe::{self, ProbeError};
use crate::git::remote::{Credentials, Remote};
use crate::git::todo_file::RepositoryFile;
use crate::masked::Masked;
use crate::process::{Guard, Limits, Place};
use crate::workbench::GitWorkbench;
use crate::worker::{Hosting, Life, Orders, Patrol, Surroundings, Worker, WorkerError};

/// How long an agent's preparation may take.
const PREPARATION_TIMEOUT: Duration = Duration::from_secs(10 * 60);
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
    /// This build has no adapter for that tracker.
    #[error("this build of acf has no adapter for the tracker {0}")]
    NoAdapter(&'static str),
    /// No agent is configured, and this needs one.
    #[error("this needs an agent, and AGENT is not set")]
    NoAgent,
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

impl OpenTracker {
    /// Returns the key as this tracker writes it: a person need not type the `#` of GitHub, at which a
    /// shell would begin a comment.
    #[must_use]
    pub fn key(&self, typed: &IssueKey) -> IssueKey {
        let is_number = typed.as_str().bytes().all(|byte| byte.is_ascii_digit());
        let with_hash = || format!("#{typed}").parse().ok();
        let is_meant = self.port.kind() == "github" && is_number;
        is_meant.then(with_hash).flatten().unwrap_or_else(|| typed.clone())
    }
}

/// Opens the tracker.
///
/// # Errors
/// [`StartError::NoRepository`] for a TODO file in a repository that is not configured,
/// [`StartError::Tracker`] when a client for the tracker cannot be made.
pub fn open_tracker(settings: &Settings, repository: Option<&Repository>) -> Result<OpenTracker, StartError> {
    let (port, todo): (Arc<dyn Tracker>, _) = match &settings.tracker {
        config::Tracker::Todo(todo) => {
            let todo = Arc::new(Todo::new(todo_file(todo, repository)?, Some(todo.assignee.clone())));
            (todo.clone(), Some(todo))
        }
        config::Tracker::GitHub(_) => return Err(StartError::NoAdapter("github")),
        config::Tracker::Jira(_) => return Err(StartError::NoAdapter("jira")),
    };
    Ok(OpenTracker { port: Arc::new(Masked::new(port, settings.mask.clone())), todo })
}

fn todo_file(todo: &config::Todo, repository: Option<&Repository>) -> Result<Arc<dyn TodoFile>, StartError> {
    Ok(match &todo.location {
        TodoLocation::Local(path) => Arc::new(LocalFile::new(path)),
        TodoLocation::InRepository(path) => {
            let repository = repository.ok_or(StartError::NoRepository)?;
            Arc::new(RepositoryFile::new(
                repository.mirror.clone(),
                Arc::new(SystemClock::default()),
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
    Ok(Hosting { pull_requests: None, pages })
}

/// Makes the agent that is configured, and checks that its program is there.
fn open_agent(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
) -> Result<Arc<dyn Agent>, StartError> {
    let choice = settings.agent.as_ref().ok_or(StartError::NoAgent)?;
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

fn agent_environment(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
) -> Vec<(OsString, OsString)> {
    let environment = child_environment::for_agent(environment, &settings.mask);
    environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Prepares an agent, once per worker, in its home.
async fn prepare(
    agent: &dyn Agent,
    guard: &Guard,
    env: &[(OsString, OsString)],
    environment: &BTreeMap<String, String>,
) -> Result<(), StartError> {
    let home = environment.get("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let limits = Limits { timeout: PREPARATION_TIMEOUT, stall: None, grace: PREPARATION_GRACE };
    let place = Place { guard, dir: &home, env, limits };
    let mut log = |line: &str| tracing::info!("agent: {line}");
    let prepared = agent::prepare(agent, &home, place, &CancellationToken::new(), &mut log).await;
    let broken = |cause| StartError::Machine { attempt: "cannot prepare the agent", cause };
    match prepared.map_err(broken)? {
        None | Some(AgentOutcome::Finished) => Ok(()),
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
    environment: BTreeMap<String, String>,
}

impl AgentAlone {
    /// Makes the agent that is configured.
    ///
    /// # Errors
    /// [`StartError::NoAgent`], [`StartError::Agent`].
    pub fn open(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<Self, StartError> {
        Ok(Self {
            agent: open_agent(settings, environment)?,
            guard: own_guard()?,
            env: agent_environment(settings, environment),
            environment: environment.clone(),
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
        prepare(&*self.agent, &self.guard, &self.env, &self.environment).await
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
        let timeouts = Timeouts::default();
        let limits =
            Limits { timeout: timeouts.agent, stall: Some(timeouts.stall), grace: PREPARATION_GRACE };
        let place = Place { guard: &self.guard, dir: directory, env: &self.env, limits };
        let issue = issue_of(prompt);
        let request = AgentRequest {
            prompt,
            issue: &issue,
            stage: Stage::Implementation,
            round: 0,
            session: None,
            limits: AgentLimits::default(),
        };
        let report = agent::round(&*self.agent, &request, place, stop, log).await;
        let report =
            report.map_err(|cause| StartError::Machine { attempt: "cannot run the agent", cause })?;
        Ok(report.outcome)
    }
}

/// A prompt of a person, as if it were an issue.
fn issue_of(prompt: &str) -> Issue {
    Issue {
        key: IssueKey::from_str("PROMPT-1").expect("a letter, a dash and a digit are a key"),
        summary: prompt.lines().next().unwrap_or_default().to_owned(),
        description: prompt.to_owned(),
        status: Status::InProgress,
        assignee: None,
        labels: BTreeSet::new(),
        url: None,
        blocked_by: Vec::new(),
        identity: None,
    }
}

/// Makes a name for a worker that has none.
#[must_use]
pub fn new_worker_id() -> WorkerId {
    let random = Uuid::new_v4().simple().to_string();
    WorkerId::new(format!("w-{}", &random[..8]))
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

/// Puts a worker together: checks everything that can be checked before an issue is claimed.
///
/// # Errors
/// [`StartError`], for whatever is missing or does not work.
pub async fn assemble(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    stage: Stage,
) -> Result<ReadyWorker, StartError> {
    let agent = open_agent(settings, environment)?;
    let repository_settings = settings.repository.as_ref().ok_or(StartError::NoRepository)?;
    let repository = open_repository(repository_settings, environment).await?;
    let id = settings.worker.id.clone().unwrap_or_else(new_worker_id);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    probe::claims(&repository.mirror, &repository_settings.ref_prefix, &id, clock.now()).await?;
    let tracker = open_tracker(settings, Some(&repository))?;
    let hosting = open_hosting(settings, &repository)?;
    let account = tracker.port.whoami().await?;
    remove_abandoned(&repository_settings.work_dir);
    repository.mirror.tidy().await?;
    let events = EventFile::open(settings.worker.events_file.as_deref(), id.clone(), clock.clone());
    let observer: Arc<dyn Observer> = Arc::new(
        events.map_err(|cause| StartError::Machine { attempt: "cannot write ACF_EVENTS_FILE", cause })?,
    );
    let guard = own_guard()?;
    let workbench = GitWorkbench {
        mirror: repository.mirror.clone(),
        work_dir: repository_settings.work_dir.clone(),
        trunk: repository.trunk.clone(),
        agent,
        guard,
        environment: agent_environment(settings, environment),
        prompts: settings.prompts.clone(),
        author: repository.author.clone(),
        // The rest of the grace is for saving the work and telling the tracker.
        grace: settings.worker.stop_grace / 3,
        mask: settings.mask.clone(),
        observer: observer.clone(),
    };
    prepare(&*workbench.agent, &workbench.guard, &workbench.environment, environment).await?;
    let around = Surroundings {
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
