//! The loop: poll, claim, run, report, release; and the settling of what dead workers left.
//!
//! Everything here works on ports, so that the schedule explorer of the tests can run this very code
//! over every interleaving and crash that it can think of.

mod hand_out;
mod lease;
mod let_go;
mod obstacles;
mod patrol;
mod poll;
mod recheck;
mod report;
mod rest;
mod run;
mod settle;
#[cfg(test)]
mod stubs;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acf_core::claim::{ClaimError, ClaimStore, Version};
use acf_core::clock::Clock;
use acf_core::eligibility::Rules;
use acf_core::git_host::{GitHost, GitHostError};
use acf_core::issue::{Issue, IssueKey, Stage};
use acf_core::issue_run::{Event, Round, Terms};
use acf_core::mask::Mask;
use acf_core::progress::Observer;
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, RunId, Target, WorkerId};
use acf_core::tracker::{Tracker, TrackerError};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::git::pages::Pages;

pub use hand_out::hand_out;
pub use patrol::{Ending, Life, Patrol, chain};
pub use poll::{Pass, explain};
pub use rest::explain_budget;
use settle::{Left, PutOff};
pub use settle::{Settled, Settlement, StillHeld, Unsettled};

use rest::{Fatigue, Spending};

/// What one run is about.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run.
    pub run: RunId,
    /// The issue, as it was confirmed.
    pub issue: Issue,
    /// Planning or implementation.
    pub stage: Stage,
    /// Where the work is meant to land.
    pub target: Target,
    /// The tip of the trunk.
    pub base: CommitId,
    /// Work in progress that an earlier run left.
    pub wip: Option<Version>,
    /// Which attempt at the issue this is, from 1.
    pub attempt: u32,
    /// The feature branch that holds earlier work on the issue.
    pub own_branch: Option<String>,
}

/// Where runs are worked on: checkout, agent, gate and commit, but no claim, no branch, no tracker.
#[async_trait]
pub trait Workbench: Send + Sync {
    /// Makes everything ready for a run, up to the point where the agent can start.
    ///
    /// # Errors
    /// A [`Failure`] when the repository, its policy or the machine is not up to it.
    async fn open(&self, job: &Job, stop: &CancellationToken) -> Result<Box<dyn Bench>, Failure>;

    /// Finds out, without a run, whether the repository's policy and prompt can be used at that commit.
    ///
    /// # Errors
    /// A [`Failure`] of the kind `RepositoryFault` if not, any other when that cannot be found out.
    async fn check(&self, _base: &CommitId, _stage: Stage) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs the gate at that commit, without a run. The ids name the place where that is done.
    ///
    /// # Errors
    /// A [`Failure`] of the kind `BaseFailsGate` if it fails, any other when that cannot be found out.
    async fn check_gate(
        &self,
        _base: &CommitId,
        _named: (&IssueKey, &RunId),
        _stop: &CancellationToken,
    ) -> Result<(), Failure> {
        Ok(())
    }
}

/// One run's place on the workbench. Each method performs one action of
/// [`acf_core::issue_run::IssueRun`] and tells what came of it.
#[async_trait]
pub trait Bench: Send {
    /// Returns what the run is bound to.
    fn terms(&self) -> Terms;

    /// Runs the agent.
    async fn run_agent(&mut self, round: &Round, stop: &CancellationToken) -> Event;

    /// Makes a commit of what the agent left.
    async fn collect(&mut self) -> Event;

    /// Runs the gate on that commit.
    async fn gate(&mut self, stop: &CancellationToken) -> Event;

    /// Runs the gate on what that commit is on top of. The evidence stays that of the commit.
    async fn gate_base(&mut self, stop: &CancellationToken) -> Event;

    /// Puts that commit on top of `onto`.
    async fn rebase(&mut self, onto: &CommitId) -> Event;

    /// Returns the commit that is to be pushed, once there is one.
    fn work(&self) -> Option<CommitId>;

    /// Returns the path of the plan that the commit adds, for a planning run.
    fn plan_path(&self) -> Option<String>;

    /// Returns what can save the work at any time, also while the agent is running.
    fn salvage(&self) -> Arc<dyn Salvage>;

    /// Returns the evidence so far.
    fn receipt(&self) -> Receipt;

    /// Clears the place.
    async fn close(self: Box<Self>);
}

/// What work in progress is saved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveFor {
    /// In case the worker dies: the agent is at work, and must not be disturbed.
    Meanwhile,
    /// The next run, which is to go on with it.
    GoingOn,
    /// People who want to see what a failed run did.
    LookingAt,
}

/// Saves work in progress.
#[async_trait]
pub trait Salvage: Send + Sync {
    /// Makes a commit of what is in the checkout now; `None` if that is nothing new, or cannot be
    /// read while it changes.
    async fn save(&self, purpose: SaveFor) -> Option<CommitId>;
}

/// Makes ids for runs.
pub type RunIds = Arc<dyn Fn() -> RunId + Send + Sync>;

/// What a worker works with.
#[derive(Clone)]
pub struct Surroundings {
    /// The claims.
    pub claims: Arc<dyn ClaimStore>,
    /// The issues.
    pub tracker: Arc<dyn Tracker>,
    /// The place where the repository lives, besides git.
    pub hosting: Hosting,
    /// Where runs are worked on.
    pub workbench: Arc<dyn Workbench>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// Makes ids for runs.
    pub run_ids: RunIds,
    /// Keeps secrets out of what is recorded and told of issues and runs.
    pub mask: Mask,
}

/// The place where the repository lives, as far as acf knows it: what git itself has no words for.
#[derive(Clone, Default)]
pub struct Hosting {
    /// Where pull requests are opened; `None` on a host that acf opens none on.
    pub pull_requests: Option<Arc<dyn GitHost>>,
    /// The branch that work is to be merged into.
    pub base: String,
    /// The pages where people look at the repository; `None` where there are none, or they are not known.
    pub pages: Option<Pages>,
}

/// What a worker is told to do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Its name.
    pub worker: WorkerId,
    /// Which issues it takes.
    pub stage: Stage,
    /// The account that it works under.
    pub account: String,
    /// Which issues are taken, and how often.
    pub rules: Rules,
    /// How long its claims hold.
    pub claim_ttl: Duration,
    /// What the runs of a day may cost, all workers' taken together, in US dollars.
    pub daily_budget_usd: Option<f64>,
    /// How long it works on an issue before it looks whether the issue is still wanted.
    pub issue_recheck: Duration,
    /// The name of the trunk.
    pub trunk: String,
}

/// A claim as an observer saw it: since when it is unchanged, by the observer's own clock.
#[derive(Debug)]
struct Seen {
    version: Version,
    since: Duration,
}

/// Does the paperwork: tells the tracker how runs ended, and settles those that dead workers left.
pub struct Clerk {
    claims: Arc<dyn ClaimStore>,
    tracker: Arc<dyn Tracker>,
    clock: Arc<dyn Clock>,
    worker: WorkerId,
    claim_ttl: Duration,
    max_attempts: u32,
    hosting: Hosting,
    seen: Mutex<HashMap<String, Seen>>,
    left: Mutex<HashMap<String, Left>>,
    put_off: Mutex<HashMap<String, PutOff>>,
}

impl Clerk {
    /// Makes a clerk that acts in the name of `worker`, and whose own claims hold for `claim_ttl`.
    #[must_use]
    pub fn new(
        claims: Arc<dyn ClaimStore>,
        tracker: Arc<dyn Tracker>,
        clock: Arc<dyn Clock>,
        worker: WorkerId,
        claim_ttl: Duration,
        max_attempts: u32,
    ) -> Self {
        let (seen, left, put_off) = (Mutex::default(), Mutex::default(), Mutex::default());
        let hosting = Hosting::default();
        Self { claims, tracker, clock, worker, claim_ttl, max_attempts, hosting, seen, left, put_off }
    }

    /// Returns the clerk as it leads people to pull requests and pages, too.
    #[must_use]
    pub fn with_hosting(self, hosting: Hosting) -> Self {
        Self { hosting, ..self }
    }
}

/// A worker.
pub struct Worker {
    around: Surroundings,
    orders: Orders,
    clerk: Clerk,
    fatigue: Fatigue,
    spending: Spending,
    has_told_of_no_gate: AtomicBool,
}

/// Why a worker cannot go on just now.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The claims cannot be read or written.
    #[error("cannot work with the claims")]
    Claims(#[from] ClaimError),
    /// The tracker cannot be read or written.
    #[error("cannot work with the tracker")]
    Tracker(#[from] TrackerError),
    /// The host cannot be told of a pull request.
    #[error("cannot open a pull request")]
    Host(#[from] GitHostError),
    /// The trunk is gone.
    #[error("the repository has no branch {0}")]
    NoTrunk(String),
    /// The agent's service does not accept its credentials: every issue would fare alike.
    #[error("{0}")]
    NotAuthenticated(String),
    /// It is to end when there is nothing to do, and takes no issue for now, for that reason.
    #[error("no issue is taken: {0}")]
    Resting(String),
    /// There was nothing else to do, and those issues do not let themselves be changed.
    #[error("cannot change {} in the tracker: the log says why", keys(.0))]
    Unsettled(Vec<IssueKey>),
}

fn keys(issues: &[IssueKey]) -> String {
    issues.iter().map(IssueKey::to_string).collect::<Vec<_>>().join(", ")
}

impl WorkerError {
    /// Tells whether waiting may help; if not, a person has to do something first.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Claims(ClaimError::Unauthorized(_) | ClaimError::Refused { .. })
            | Self::NoTrunk(_)
            | Self::NotAuthenticated(_)
            | Self::Resting(_)
            | Self::Unsettled(_) => false,
            Self::Claims(_) | Self::Host(_) => true,
            Self::Tracker(
                TrackerError::RateLimited { .. }
                | TrackerError::Unavailable { .. }
                | TrackerError::Unreadable(_)
                | TrackerError::Other { .. },
            ) => true,
            Self::Tracker(_) => false,
        }
    }

    /// Returns how long the tracker or the repository's host asks to wait, if it does.
    #[must_use]
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::Tracker(error) => error.asked_wait(),
            Self::Host(error) => error.asked_wait(),
            Self::Claims(_)
            | Self::NoTrunk(_)
            | Self::NotAuthenticated(_)
            | Self::Resting(_)
            | Self::Unsettled(_) => None,
        }
    }
}

impl Worker {
    /// Makes a worker.
    #[must_use]
    pub fn new(around: Surroundings, orders: Orders) -> Self {
        let clerk = Clerk::new(
            around.claims.clone(),
            around.tracker.clone(),
            around.clock.clone(),
            orders.worker.clone(),
            orders.claim_ttl,
            orders.rules.attempts.max_attempts,
        )
        .with_hosting(around.hosting.clone());
        Self {
            around,
            orders,
            clerk,
            fatigue: Fatigue::default(),
            spending: Spending::default(),
            has_told_of_no_gate: AtomicBool::new(false),
        }
    }

    /// Returns the worker's name.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.orders.worker
    }
}
