//! The real workbench: a checkout of the mirror, the agent under guard, the gate on a clean copy.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use acf_core::agent::Agent;
use acf_core::issue::{IssueKey, Stage, Status, label};
use acf_core::issue_run::{Collected, Event, GateOutcome, Rebased, Round, Terms};
use acf_core::mask::Mask;
use acf_core::policy::{POLICY_PATH, Policy};
use acf_core::prices::Prices;
use acf_core::progress::{Observer, Step, What};
use acf_core::prompt::repository_path;
use acf_core::receipt::{Part, Receipt, Usage};
use acf_core::run::{CommitId, Failure, FailureKind, RunId, Target};
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Renewals, Roster};
use crate::agent_user::{AgentHome, AgentUser};
use crate::config::{Allowance, Prompts};
use crate::gate::{GateEnd, GateReport};
use crate::git::checkout::{Author, Checkout, CheckoutError, Merged, WipNote, file_of};
use crate::git::mirror::Mirror;
use crate::plain_file;
use crate::process::{Guard, Limits, Place};
use crate::prompt::{self, PromptInputs};
use crate::worker::{Bench, Job, Salvage, Workbench};
use salvage::CheckoutSalvage;

mod gating;
mod rounds;
mod salvage;

use gating::Gating;

/// The most that one round of an agent, or one run of the set-up or the checks, adds to the log, in bytes.
const LONGEST_LOG: usize = 8 * 1024 * 1024;
/// How long the time, the level, the source and the issue of a line of the log are.
const AROUND_A_LINE: usize = 70;
/// How long it may take to read a file in an agent's home.
const HOME_TIMEOUT: Duration = Duration::from_secs(60);

/// What runs are worked on with.
#[derive(Clone)]
pub struct GitWorkbench {
    /// Where objects are.
    pub mirror: Arc<Mirror>,
    /// Where checkouts are made.
    pub work_dir: PathBuf,
    /// The name of the trunk.
    pub trunk: String,
    /// Who does the work, and who stands by.
    pub roster: Arc<Roster>,
    /// The versions of the agents on the roster, of those that do not tell it in their rounds.
    pub versions: Vec<Option<String>>,
    /// What agents may use.
    pub allowance: Allowance,
    /// What tokens cost where an agent does not tell.
    pub prices: Arc<Prices>,
    /// As whom agents and checks run, and their home, if not as the worker itself.
    pub user: Option<Arc<(AgentUser, AgentHome)>>,
    /// What agents renew of their files, where their home goes with the worker.
    pub renewals: Option<Renewals>,
    /// What sees to it that nothing an agent started survives.
    pub guard: Guard,
    /// The environment of agents and checks: nothing of acf's own.
    pub environment: Vec<(OsString, OsString)>,
    /// The operator's templates.
    pub prompts: Prompts,
    /// Who makes commits.
    pub author: Author,
    /// How long an agent may take to end when it is told to.
    pub grace: Duration,
    /// Keeps secrets out of what agents are told and what is recorded of them.
    pub mask: Mask,
    /// The variables that bound what is spent, of those that are set.
    pub budgets: Vec<&'static str>,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
}

impl GitWorkbench {
    fn place<'a>(&'a self, dir: &'a Path, timeout: Duration, stall: Option<Duration>) -> Place<'a> {
        let limits = Limits { timeout, stall, grace: self.grace };
        Place { guard: &self.guard, dir, env: &self.environment, limits }
    }

    /// Fetches a commit of the trunk, unless it is there.
    async fn have(&self, commit: &CommitId) -> Result<(), Failure> {
        let fetched = self.mirror.have(commit, &self.trunk).await;
        fetched.map(drop).map_err(|error| broken("cannot fetch the trunk", &error))
    }

    async fn read_at(&self, commit: &CommitId, path: &str) -> Result<Option<String>, Failure> {
        let file = file_of(&self.mirror, commit, path).await;
        let file = file.map_err(|error| broken("cannot look at the trunk", &error))?;
        Ok(file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    async fn policy_at(&self, commit: &CommitId) -> Result<Policy, Failure> {
        parse_policy(self.read_at(commit, POLICY_PATH).await?.as_deref())
    }

    async fn check_out(&self, base: &CommitId, issue: &IssueKey, run: &RunId) -> Result<Checkout, Failure> {
        let (mirror, author) = (self.mirror.clone(), self.author.clone());
        let checkout = Checkout::make(mirror, &self.work_dir, issue, run, base.clone(), author).await;
        checkout.map_err(|error| broken("cannot check the repository out", &error))
    }

    /// Takes note of the tokens that lie in the agent's home by now: it renews them as it works.
    async fn learn_tokens(&self, agent: &dyn Agent) -> Result<(), Failure> {
        let learned = agent::learn(agent, self.place(Path::new("/"), HOME_TIMEOUT, None), &self.mask).await;
        learned.map_err(|error| broken("cannot read the agent's login", &error))
    }

    /// Gives a directory to the user as whom agents run, if that is another one.
    async fn hand_over(&self, directory: &Path) -> Result<(), Failure> {
        let Some(user) = self.user.clone() else { return Ok(()) };
        let directory = directory.to_owned();
        let given = tokio::task::spawn_blocking(move || user.0.own(&directory)).await;
        given
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| broken("cannot give the checkout to ACF_AGENT_USER", &error))
    }
}

/// Where plans lie in the repository.
const PLANS: &str = "plans";

/// Returns where a new plan of an issue belongs.
fn plan_path(job: &Job) -> String {
    format!("{PLANS}/{}.md", job.issue.key.slug())
}

/// The first line of a plan, where keys can move from issue to issue: whose plan it is.
fn plan_head(job: &Job) -> String {
    match &job.issue.identity {
        Some(identity) => format!("<!-- acf: plan for issue {identity} -->\n"),
        None => String::new(),
    }
}

/// Returns a plan without its first line, if that says that it is the plan of the job's issue.
fn own_plan(job: &Job, text: &str) -> Option<String> {
    let head = plan_head(job);
    let (first, rest) = if head.is_empty() { ("", text) } else { text.split_once('\n')? };
    (first.trim_end() == head.trim_end()).then(|| rest.to_owned())
}

/// Finds the issue's plan, and the path where it lies: its key may have moved since it was written.
fn find_plan(job: &Job, tree: &Path) -> Option<(String, String)> {
    let read = |path: String| {
        let plan = own_plan(job, &plain_file::read(tree, &path)?)?;
        Some((path, plan))
    };
    let others = || {
        let entries = fs::read_dir(tree.join(PLANS)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).map(|name| format!("{PLANS}/{name}"))
    };
    let may_have_moved = job.issue.identity.is_some();
    read(plan_path(job)).or_else(|| may_have_moved.then(others)?.find_map(read))
}

/// Returns where the issue's plan is to be written: over an earlier one of the same issue, and never
/// over that of another issue which had the key before.
fn place_for_plan(job: &Job, tree: &Path) -> String {
    let path = plan_path(job);
    match (find_plan(job, tree), &job.issue.identity) {
        (Some((earlier, _)), _) => earlier,
        (None, Some(identity)) if fs::symlink_metadata(tree.join(&path)).is_ok() => {
            format!("{PLANS}/{}-{identity}.md", job.issue.key.slug())
        }
        (None, _) => path,
    }
}

#[async_trait]
impl Workbench for GitWorkbench {
    async fn check(&self, base: &CommitId, stage: Stage) -> Result<(), Failure> {
        self.have(base).await?;
        let policy = self.policy_at(base).await?;
        let template = self.read_at(base, repository_path(stage)).await?;
        prompt::try_out(stage, self.prompts.of(stage), template.as_deref(), &policy.verify)
    }

    async fn check_gate(
        &self,
        base: &CommitId,
        (issue, run): (&IssueKey, &RunId),
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let policy = self.policy_at(base).await?;
        let checkout = self.check_out(base, issue, run).await?;
        let gated = Gating { with: self, policy: &policy, issue, run }.gate(&checkout.tree(), stop).await;
        remove(&checkout, issue).await;
        match gated?.end {
            GateEnd::Judged(GateOutcome::Passed) => Ok(()),
            GateEnd::Judged(GateOutcome::Failed { reason, evidence, .. }) => {
                Err(Failure::of_base_gate(&reason, evidence))
            }
            GateEnd::Stopped => Err(Failure::new(FailureKind::Internal, "stopped during the gate")),
        }
    }

    async fn open(&self, job: &Job, stop: &CancellationToken) -> Result<Box<dyn Bench>, Failure> {
        self.have(&job.base).await?;
        let checkout = Arc::new(self.check_out(&job.base, &job.issue.key, &job.run).await?);
        let mut bench = GitBench {
            policy: Policy::default(),
            task: String::new(),
            session: None,
            session_usage: Usage::default(),
            has_begun: false,
            rounds: 0,
            last_prompt: String::new(),
            last_round: Round::First,
            place: self.roster.first(),
            why_handed_over: "",
            parts: Vec::new(),
            work: None,
            paths: BTreeSet::new(),
            conflicts: Vec::new(),
            directory_is_current: true,
            receipt: Receipt { attempt: job.attempt, ..Receipt::default() },
            with: self.clone(),
            job: job.clone(),
            plan_path: String::new(),
            checkout,
        };
        bench.begin_part();
        match bench.make_ready(stop).await {
            Ok(()) => Ok(Box::new(bench)),
            Err(failure) => {
                Box::new(bench).close().await;
                Err(failure)
            }
        }
    }
}

struct GitBench {
    with: GitWorkbench,
    job: Job,
    checkout: Arc<Checkout>,
    policy: Policy,
    /// Where the issue's plan lies, or is to lie.
    plan_path: String,
    /// The prompt of the first round.
    task: String,
    last_prompt: String,
    /// The last round that was not only one more try.
    last_round: Round,
    /// The agent that works now, by its place on the roster.
    place: usize,
    /// What each agent so far did; the last one is that of the agent that works now.
    parts: Vec<Part>,
    /// Why the next agent takes over, if it does.
    why_handed_over: &'static str,
    session: Option<String>,
    session_usage: Usage,
    /// Whether anything was done in this session.
    has_begun: bool,
    rounds: u32,
    work: Option<CommitId>,
    /// What the work changes.
    paths: BTreeSet<String>,
    /// The files that git, and not the agent, wrote conflict markers into, until none of them has any left.
    conflicts: Vec<String>,
    /// Whether the agent's directory holds the work as it was last rebased.
    directory_is_current: bool,
    receipt: Receipt,
}

impl GitBench {
    /// Reads policy, template and plan from the base commit, takes up earlier work, and runs the
    /// set-up commands.
    async fn make_ready(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        // Nobody but git has written here yet, so these files are those of the base commit.
        let tree = self.checkout.tree();
        self.policy = parse_policy(plain_file::read(&tree, POLICY_PATH).as_deref())?;
        let template = plain_file::read(&tree, repository_path(self.job.stage));
        let plan = self.approved_plan(&tree)?;
        self.receipt.resumed = self.take_up_wip().await;
        let prompt = prompt::first(&PromptInputs {
            issue: &self.job.issue,
            stage: self.job.stage,
            setting: self.with.prompts.of(self.job.stage),
            repository: template.as_deref(),
            plan: plan.as_deref(),
            plan_path: &self.plan_path,
            checks: &self.policy.verify,
            resumed: self.receipt.resumed,
        })?;
        self.task = self.with.mask.apply(&prompt).into_owned();
        if self.policy.setup.is_empty() {
            return Ok(());
        }
        self.note(Step::Setup);
        match self.gating().set_up(&tree, stop).await?.end {
            GateEnd::Judged(GateOutcome::Passed) => Ok(()),
            GateEnd::Judged(GateOutcome::Failed { reason, evidence, .. }) => {
                // Where earlier work on the issue is in the checkout, that may be what it fails for.
                let kind =
                    if self.receipt.resumed { FailureKind::Setup } else { FailureKind::RepositoryFault };
                Err(Failure::new(kind, reason).with_evidence(evidence))
            }
            GateEnd::Stopped => Err(Failure::new(FailureKind::Setup, "stopped during the set-up")),
        }
    }

    /// Finds out where the issue's plan lies or is to lie, and returns it if it is approved.
    fn approved_plan(&mut self, tree: &Path) -> Result<Option<String>, Failure> {
        self.plan_path = place_for_plan(&self.job, tree);
        let issue = &self.job.issue;
        let is_approved = issue.status == Status::PlanApproved || issue.has_label(label::PLAN_APPROVED);
        if self.job.stage == Stage::Planning || !is_approved {
            return Ok(None);
        }
        let Some((_, plan)) = find_plan(&self.job, tree) else {
            let path = plan_path(&self.job);
            let reason = format!("the issue's plan is approved, but there is no plan of it in {path}");
            return Err(Failure::new(FailureKind::Setup, reason));
        };
        Ok(Some(plan))
    }

    /// Puts interrupted work of an earlier run into the checkout, where it still applies.
    async fn take_up_wip(&mut self) -> bool {
        let Some(wip) = self.job.wip.clone() else { return false };
        if self.with.mirror.bring(&[wip.as_str()]).await.is_err() {
            return false;
        }
        let note = self.checkout.wip_note(wip.as_str()).await;
        let is_meant = note.is_some_and(|note| note.restore && note.identity == self.job.issue.identity);
        if !is_meant {
            return false;
        }
        let base = self.checkout.base();
        let Ok(Merged::Clean(tree)) = self.checkout.merge(&CommitId::new(wip.as_str()), &base).await else {
            return false;
        };
        let is_there = self.checkout.set(&tree, base.clone()).await.is_ok();
        if is_there && let Ok(changes) = self.checkout.changes(base.as_str(), &tree).await {
            // The earlier run may have been interrupted before its agent had resolved them.
            self.conflicts = changes.paths;
            self.forget_resolved_conflicts();
        }
        is_there
    }

    fn forget_resolved_conflicts(&mut self) {
        let tree = self.checkout.tree();
        self.conflicts.retain(|path| has_markers(&tree, path));
    }

    fn gating(&self) -> Gating<'_> {
        let (issue, run) = (&self.job.issue.key, &self.job.run);
        Gating { with: &self.with, policy: &self.policy, issue, run }
    }

    fn note(&self, step: Step) {
        let issue = self.job.issue.key.clone();
        self.with.observer.note(What::Step { issue, step, round: self.rounds, detail: None });
    }

    async fn set(&mut self, tree: &str, base: CommitId) -> Result<(), Failure> {
        self.checkout.set(tree, base).await.map_err(|error| broken("cannot reset the checkout", &error))?;
        self.directory_is_current = true;
        Ok(())
    }

    async fn try_collect(&mut self) -> Result<Collected, CheckoutError> {
        let snapshot = match self.job.stage {
            Stage::Planning => {
                match self.checkout.snapshot_of(&self.plan_path, &plan_head(&self.job)).await? {
                    Some(snapshot) => snapshot,
                    None => return Ok(Collected::Nothing),
                }
            }
            Stage::Implementation => self.checkout.last_snapshot().await?,
        };
        if let Some(path) = snapshot.changes.nested.first() {
            return Ok(Collected::Unpublishable(format!(
                "there is a git repository within the repository, in `{path}`; its files cannot be published like that"
            )));
        }
        if snapshot.changes.paths.is_empty() {
            return Ok(Collected::Nothing);
        }
        let is_policy = |path: &&String| *path == ".acf" || path.starts_with(".acf/");
        let policy_change = snapshot.changes.paths.iter().find(is_policy);
        if let (Some(path), Target::Trunk) = (policy_change, self.job.target) {
            return Ok(Collected::Unpublishable(format!(
                "it changes `{path}`, by which this repository's work is checked; only people do that"
            )));
        }
        self.forget_resolved_conflicts();
        if let Some(path) = self.conflicts.first() {
            return Ok(Collected::Unpublishable(format!("there still are conflict markers in `{path}`")));
        }
        if let Some(leak) = self.checkout.leak(&snapshot, &self.with.mask).await? {
            return Ok(Collected::Unpublishable(leak.to_string()));
        }
        self.paths = snapshot.changes.paths.into_iter().collect();
        let work = self.commit(&snapshot.tree).await?;
        self.work = Some(work);
        Ok(Collected::Work)
    }

    async fn commit(&self, tree: &str) -> Result<CommitId, CheckoutError> {
        let Job { issue, stage, run, .. } = &self.job;
        self.checkout.commit(tree, issue, *stage, run, &self.with.mask).await
    }

    async fn try_gate(&mut self, stop: &CancellationToken) -> Result<Event, Failure> {
        let Some(work) = self.work.clone() else {
            return Err(Failure::new(FailureKind::Internal, "there is no commit to check"));
        };
        let report = self.gate_of(&work, stop).await?;
        self.receipt.gate = report.checks;
        Ok(match report.end {
            GateEnd::Judged(outcome) => Event::GateEnded(outcome),
            GateEnd::Stopped => Event::StopRequested,
        })
    }

    async fn try_gate_base(&mut self, stop: &CancellationToken) -> Result<Event, Failure> {
        let issue = &self.job.issue.key;
        tracing::info!(issue.key = %issue, "trying the gate on the trunk, without the agent's work");
        let report = self.gate_of(&self.checkout.base(), stop).await?;
        Ok(match report.end {
            GateEnd::Judged(outcome) => Event::BaseGated(outcome),
            GateEnd::Stopped => Event::StopRequested,
        })
    }

    /// Runs the gate on a clean checkout of that commit.
    async fn gate_of(&self, commit: &CommitId, stop: &CancellationToken) -> Result<GateReport, Failure> {
        let copy = self.checkout.clean_copy(commit).await;
        let copy = copy.map_err(|error| broken("cannot make a clean checkout for the gate", &error))?;
        self.gating().gate(&copy, stop).await
    }

    async fn try_rebase(&mut self, onto: &CommitId) -> Result<Rebased, Failure> {
        let no_commit = || Failure::new(FailureKind::Internal, "there is no commit to rebase");
        let work = self.work.clone().ok_or_else(no_commit)?;
        self.with.have(onto).await?;
        let base = self.checkout.base();
        let failed = |error: CheckoutError| broken("cannot put the work on top of the trunk", &error);
        let came_in = self.checkout.changes(base.as_str(), onto.as_str()).await;
        let came_in = came_in.map_err(|error| failed(error.into()))?.paths;
        let policy_came_in = came_in.iter().any(|path| path == POLICY_PATH);
        if policy_came_in {
            let text = self.checkout.file(onto, POLICY_PATH).await.map_err(|error| failed(error.into()))?;
            self.policy = parse_policy(text.as_deref())?;
        }
        match self.checkout.merge(&work, onto).await.map_err(failed)? {
            Merged::Clean(tree) => {
                let there = self.checkout.tree_of(onto).await.map_err(|error| failed(error.into()))?;
                if tree == there {
                    return Ok(Rebased::Nothing);
                }
                self.checkout.set_base(onto.clone());
                let commit = self.commit(&tree).await;
                self.work = Some(commit.map_err(failed)?);
                self.directory_is_current = false;
                let overlaps = policy_came_in || came_in.iter().any(|path| self.paths.contains(path));
                Ok(Rebased::Clean { overlaps })
            }
            Merged::Conflict { tree, files } => {
                self.set(&tree, onto.clone()).await?;
                Ok(Rebased::Conflict { files })
            }
        }
    }
}

#[async_trait]
impl Bench for GitBench {
    fn terms(&self) -> Terms {
        Terms {
            stage: self.job.stage,
            target: self.job.target,
            max_fixes: self.policy.max_fixes,
            regate: self.policy.regate,
            has_gate: !self.policy.verify.is_empty(),
            fallbacks: self.with.roster.standing_by(self.place),
        }
    }

    async fn run_agent(&mut self, round: &Round, stop: &CancellationToken) -> Event {
        self.try_run_agent(round, stop).await.unwrap_or_else(Event::Broke)
    }

    async fn collect(&mut self) -> Event {
        match self.try_collect().await {
            Ok(collected) => Event::Collected(collected),
            Err(error) => Event::Broke(broken("cannot make a commit of the agent's work", &error)),
        }
    }

    async fn gate(&mut self, stop: &CancellationToken) -> Event {
        self.try_gate(stop).await.unwrap_or_else(Event::Broke)
    }

    async fn gate_base(&mut self, stop: &CancellationToken) -> Event {
        self.try_gate_base(stop).await.unwrap_or_else(Event::Broke)
    }

    async fn rebase(&mut self, onto: &CommitId) -> Event {
        self.try_rebase(onto).await.map_or_else(Event::Broke, Event::Rebased)
    }

    fn work(&self) -> Option<CommitId> {
        self.work.clone()
    }

    fn plan_path(&self) -> Option<String> {
        (self.job.stage == Stage::Planning).then(|| self.plan_path.clone())
    }

    fn salvage(&self) -> Arc<dyn Salvage> {
        let note = WipNote {
            run: self.job.run.clone(),
            issue: self.job.issue.key.clone(),
            identity: self.job.issue.identity.clone(),
            restore: true,
        };
        let agent = self.with.roster.at(self.place).clone();
        Arc::new(CheckoutSalvage { checkout: self.checkout.clone(), with: self.with.clone(), agent, note })
    }

    fn receipt(&self) -> Receipt {
        self.receipt.clone().by(&self.parts)
    }

    async fn close(self: Box<Self>) {
        remove(&self.checkout, &self.job.issue.key).await;
    }
}

async fn remove(checkout: &Checkout, issue: &IssueKey) {
    if let Err(error) = checkout.remove().await {
        tracing::warn!(issue.key = %issue, %error, "cannot remove a checkout; the next start will");
    }
}

fn parse_policy(text: Option<&str>) -> Result<Policy, Failure> {
    Policy::parse(text.unwrap_or_default()).map_err(|error| {
        Failure::new(FailureKind::RepositoryFault, error.to_string())
            .with_evidence(error.shown().unwrap_or_default())
    })
}

/// Tells whether a file has a line that git writes at the start or at the end of a conflict.
fn has_markers(root: &Path, path: &str) -> bool {
    let is_marker = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    plain_file::read(root, path).is_some_and(|text| text.lines().any(is_marker))
}

fn broken(attempt: &str, error: &dyn std::error::Error) -> Failure {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let told = causes.fold(format!("{attempt}: {error}"), |told, cause| format!("{told}: {cause}"));
    Failure::new(FailureKind::Internal, told)
}

/// Returns a sink that puts lines into the log until they are too many.
fn capped_log(issue: &IssueKey, source: &'static str) -> impl FnMut(&str) + Send + use<> {
    let issue = issue.clone();
    let mut left = LONGEST_LOG;
    move |line| {
        let Some(rest) = left.checked_sub(line.len() + AROUND_A_LINE) else {
            if left > 0 {
                tracing::info!(issue.key = %issue, "{source}: further output is not logged");
            }
            left = 0;
            return;
        };
        left = rest;
        tracing::info!(issue.key = %issue, "{source}: {line}");
    }
}
