//! A clock, a claim store and a worker of them for unit tests; they know no git and no time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acf_core::agent::{AgentOutcome, Trouble};
use acf_core::claim::{
    Claim, ClaimError, ClaimStore, Held, Landing, Published, RemoteSays, Survey, Version, Wip,
};
use acf_core::clock::Clock;
use acf_core::eligibility::Rules;
use acf_core::issue::{Issue, IssueRef, Stage, Status};
use acf_core::issue_run::{Event, Round, Terms};
use acf_core::mask::Mask;
use acf_core::policy::Regate;
use acf_core::progress::{Observer, What};
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, FailureKind, Outcome, RunId, RunRecord, Target, WorkerId};
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Bench, Hosting, Job, Orders, Salvage, SaveFor, Surroundings, Workbench, Worker};

/// A clock that whoever sleeps moves on.
#[derive(Default)]
pub(super) struct Moved(Mutex<Duration>);

#[async_trait]
impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

/// How the remote answers a renewal.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Yes,
    /// Yes, and what had been published before has landed.
    Published,
    Nothing,
    Lost,
}

/// Answers renewals in turn, the last answer again and again, and takes no pushes of work.
pub(super) struct Renewals {
    answers: Vec<Answer>,
    saved: Mutex<Vec<Option<String>>>,
    publishes: Mutex<Vec<Claim>>,
}

impl Renewals {
    pub(super) fn answered(answers: &[Answer]) -> Self {
        Self { answers: answers.to_vec(), saved: Mutex::default(), publishes: Mutex::default() }
    }

    /// Returns what was saved with each renewal.
    pub(super) fn saved(&self) -> Vec<Option<String>> {
        self.saved.lock().unwrap().clone()
    }

    /// Returns how often work was pushed.
    pub(super) fn publishes(&self) -> usize {
        self.publishes.lock().unwrap().len()
    }
}

fn no_route() -> ClaimError {
    ClaimError::Unreachable(RemoteSays("no route".into()))
}

#[async_trait]
impl ClaimStore for Renewals {
    async fn renew(&self, held: &Held, now: Timestamp, wip: Option<&CommitId>) -> Result<Held, ClaimError> {
        let mut saved = self.saved.lock().unwrap();
        let answer = self.answers[saved.len().min(self.answers.len() - 1)];
        saved.push(wip.map(ToString::to_string));
        match answer {
            Answer::Yes => Ok(Held { claim: held.claim.renewed(now), ..held.clone() }),
            Answer::Published => {
                let claim = self.publishes.lock().unwrap().last().unwrap().clone();
                Ok(Held { claim, ..held.clone() })
            }
            Answer::Nothing => Err(no_route()),
            Answer::Lost => Err(ClaimError::Lost),
        }
    }

    async fn survey(&self) -> Result<Survey, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn read_claims(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn read_runs(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn take(&self, _: Claim, _: Option<&Version>, _: &Survey) -> Result<Held, ClaimError> {
        unreachable!("nothing else is asked")
    }

    async fn publish(&self, _: &Held, next: Claim, _: &Landing) -> Result<Published, ClaimError> {
        self.publishes.lock().unwrap().push(next);
        Err(no_route())
    }

    async fn release(&self, _: &Held, _: Option<&RunRecord>, _: &Wip) -> Result<(), ClaimError> {
        unreachable!("nothing else is asked")
    }
}

/// Grants every claim on the one issue, keeps it, and remembers what it was released with.
#[derive(Default)]
pub(super) struct Granted {
    held: Mutex<Option<Claim>>,
    released: Mutex<Vec<Option<RunRecord>>>,
    hiccups: Mutex<u32>,
}

impl Granted {
    /// Makes that many releases fail before one works.
    pub(super) fn fail_releases(&self, times: u32) {
        *self.hiccups.lock().unwrap() = times;
    }

    /// Returns the records that claims were released with.
    pub(super) fn released(&self) -> Vec<Option<RunRecord>> {
        self.released.lock().unwrap().clone()
    }

    fn version(claim: &Claim) -> Version {
        Version::new(format!("{} of {}", claim.generation, claim.run))
    }

    fn hold(&self, claim: Claim) -> Held {
        let version = Self::version(&claim);
        *self.held.lock().unwrap() = Some(claim.clone());
        Held { claim, version, runs: None, wip: None }
    }
}

#[async_trait]
impl ClaimStore for Granted {
    async fn survey(&self) -> Result<Survey, ClaimError> {
        let held = self.held.lock().unwrap();
        let claims = held.iter().map(|claim| (claim.issue.slug().to_owned(), Self::version(claim))).collect();
        Ok(Survey { trunk: Some(CommitId::new("base")), claims, ..Survey::default() })
    }

    async fn read_claims(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError> {
        let held = self.held.lock().unwrap();
        Ok(held.iter().map(|claim| (Self::version(claim), claim.clone())).collect())
    }

    async fn read_runs(
        &self,
        _: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError> {
        Ok(BTreeMap::new())
    }

    async fn take(&self, claim: Claim, _: Option<&Version>, _: &Survey) -> Result<Held, ClaimError> {
        Ok(self.hold(claim))
    }

    async fn renew(&self, held: &Held, now: Timestamp, _: Option<&CommitId>) -> Result<Held, ClaimError> {
        Ok(self.hold(held.claim.renewed(now)))
    }

    async fn publish(&self, _: &Held, _: Claim, _: &Landing) -> Result<Published, ClaimError> {
        unreachable!("there is nothing to be published")
    }

    async fn release(&self, _: &Held, record: Option<&RunRecord>, _: &Wip) -> Result<(), ClaimError> {
        let mut hiccups = self.hiccups.lock().unwrap();
        if let Some(left) = hiccups.checked_sub(1) {
            *hiccups = left;
            return Err(no_route());
        }
        *self.held.lock().unwrap() = None;
        self.released.lock().unwrap().push(record.cloned());
        Ok(())
    }
}

/// A tracker with one issue, whose changes fail in turn as it is told, before they have any effect or
/// after the first one.
pub(super) struct Stubborn {
    issue: Mutex<Issue>,
    failures: Mutex<VecDeque<Failing>>,
    refuses: fn(&Change) -> bool,
    comments: Mutex<Vec<String>>,
}

/// How a tracker fails to make changes.
pub(super) enum Failing {
    /// Nothing was changed.
    Before(TrackerError),
    /// The first of the changes was made.
    AfterOne(TrackerError),
    /// Not at all, but a person has moved the issue there right before.
    Moved(Status),
}

impl Stubborn {
    pub(super) fn new(issue: Issue, failures: impl IntoIterator<Item = Failing>) -> Self {
        let failures = Mutex::new(failures.into_iter().collect());
        Self { issue: Mutex::new(issue), failures, refuses: |_| false, comments: Mutex::default() }
    }

    /// Makes a tracker that cannot make such changes, and makes those before them.
    pub(super) fn refusing(issue: Issue, refuses: fn(&Change) -> bool) -> Self {
        Self { refuses, ..Self::new(issue, []) }
    }

    /// Returns the issue as it is now.
    pub(super) fn now(&self) -> Issue {
        self.issue.lock().unwrap().clone()
    }

    /// Returns what was said.
    pub(super) fn comments(&self) -> Vec<String> {
        self.comments.lock().unwrap().clone()
    }

    fn change(&self, change: &Change) {
        let mut issue = self.issue.lock().unwrap();
        match change {
            Change::Assign(account) => issue.assignee = Some(account.clone()),
            Change::Unassign => issue.assignee = None,
            Change::UnassignFrom(account) => _ = issue.assignee.take_if(|now| now == account),
            Change::Transition(status) => issue.status = status.clone(),
            Change::AddLabel(label) => _ = issue.labels.insert(label.clone()),
            Change::RemoveLabel(label) => _ = issue.labels.remove(label),
            Change::Comment { body, .. } => self.comments.lock().unwrap().push(body.clone()),
        }
    }
}

#[async_trait]
impl Tracker for Stubborn {
    fn kind(&self) -> &'static str {
        "stubborn"
    }

    async fn whoami(&self) -> Result<String, TrackerError> {
        Ok("acf".into())
    }

    async fn candidates(&self, _: Stage) -> Result<Vec<Issue>, TrackerError> {
        Ok(vec![self.now()])
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        Ok(vec![self.now()])
    }

    async fn issue(&self, _: &IssueRef) -> Result<Issue, TrackerError> {
        Ok(self.now())
    }

    async fn apply_if(
        &self,
        _: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let is_moved = |failing: &mut Failing| matches!(failing, Failing::Moved(_));
        if let Some(Failing::Moved(status)) = self.failures.lock().unwrap().pop_front_if(is_moved) {
            self.change(&Change::Transition(status));
        }
        let found = Box::new(self.now());
        if !condition(&found) {
            return Ok(Applied::No(found));
        }
        match self.failures.lock().unwrap().pop_front() {
            Some(Failing::Moved(_)) => unreachable!("an issue is moved before it is looked at"),
            Some(Failing::Before(error)) => return Err(error),
            Some(Failing::AfterOne(error)) => {
                self.change(&changes[0]);
                return Err(error);
            }
            None => {}
        }
        for change in changes {
            if (self.refuses)(change) {
                return Err(TrackerError::Impossible(format!("no {change:?} here")));
            }
            self.change(change);
        }
        Ok(Applied::Yes(found))
    }
}

pub(super) fn issue() -> Issue {
    Issue::new("TODO-3".parse().unwrap(), "Say hello")
}

pub(super) fn held(ttl_secs: u64) -> Held {
    let issue = issue();
    let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
    let (now, ttl) = (Timestamp::UNIX_EPOCH, Duration::from_secs(ttl_secs));
    let claim = Claim::new(&issue, Stage::Implementation, worker, run, now, ttl);
    Held { claim, version: Version::new("v1"), runs: None, wip: None }
}

/// Returns the record of that claim's run.
pub(super) fn record(outcome: Outcome) -> RunRecord {
    let claim = held(60).claim;
    RunRecord {
        run: claim.run,
        issue: claim.issue,
        identity: None,
        summary: String::new(),
        stage: claim.stage,
        worker: claim.worker,
        started_at: Timestamp::UNIX_EPOCH,
        ended_at: Timestamp::UNIX_EPOCH,
        outcome,
        receipt: Receipt::default(),
        blocked: false,
        untold: None,
    }
}

/// Ports that a test has nothing to do with.
pub(super) struct Unasked;

#[async_trait]
impl Tracker for Unasked {
    fn kind(&self) -> &'static str {
        unreachable!("nobody asks the tracker")
    }

    async fn whoami(&self) -> Result<String, TrackerError> {
        unreachable!("nobody asks the tracker")
    }

    async fn candidates(&self, _: Stage) -> Result<Vec<Issue>, TrackerError> {
        unreachable!("nobody asks the tracker")
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        unreachable!("nobody asks the tracker")
    }

    async fn issue(&self, _: &IssueRef) -> Result<Issue, TrackerError> {
        unreachable!("nobody asks the tracker")
    }

    async fn apply_if(&self, _: &IssueRef, _: Condition<'_>, _: &[Change]) -> Result<Applied, TrackerError> {
        unreachable!("nobody asks the tracker")
    }
}

#[async_trait]
impl Workbench for Unasked {
    async fn open(&self, _: &Job, _: &CancellationToken) -> Result<Box<dyn Bench>, Failure> {
        unreachable!("nobody opens a checkout")
    }
}

#[async_trait]
impl Salvage for Unasked {
    async fn save(&self, _: SaveFor) -> Option<CommitId> {
        unreachable!("there is no work to save")
    }
}

/// A bench whose agent's service refuses for that long the first time, and which breaks the second time.
pub(super) struct Refused(pub(super) Option<Duration>);

#[async_trait]
impl Bench for Refused {
    fn terms(&self) -> Terms {
        Terms {
            stage: Stage::Implementation,
            target: Target::Trunk,
            max_fixes: 0,
            regate: Regate::default(),
            has_gate: false,
            fallbacks: 0,
        }
    }

    async fn run_agent(&mut self, _: &Round, _: &CancellationToken) -> Event {
        match self.0.take() {
            Some(wait) => {
                let trouble = Trouble::RateLimited { retry_after: Some(wait) };
                Event::AgentEnded(AgentOutcome::Trouble(trouble))
            }
            None => Event::Broke(Failure::new(FailureKind::Internal, "it is broken")),
        }
    }

    async fn collect(&mut self) -> Event {
        unreachable!("there is nothing to collect")
    }

    async fn gate(&mut self, _: &CancellationToken) -> Event {
        unreachable!("there is nothing to check")
    }

    async fn gate_base(&mut self, _: &CancellationToken) -> Event {
        unreachable!("there is nothing to check")
    }

    async fn rebase(&mut self, _: &CommitId) -> Event {
        unreachable!("there is nothing to rebase")
    }

    fn work(&self) -> Option<CommitId> {
        None
    }

    fn plan_path(&self) -> Option<String> {
        None
    }

    fn salvage(&self) -> Arc<dyn Salvage> {
        Arc::new(Unasked)
    }

    fn receipt(&self) -> Receipt {
        Receipt::default()
    }

    async fn close(self: Box<Self>) {}
}

impl Observer for Unasked {
    fn note(&self, _: What) {}
}

/// Makes a worker of those ports; it has no workbench, and nobody watches it.
pub(super) fn worker_with(
    claims: Arc<dyn ClaimStore>,
    tracker: Arc<dyn Tracker>,
    clock: Arc<dyn Clock>,
) -> Worker {
    let around = Surroundings {
        claims,
        tracker,
        hosting: Hosting::default(),
        workbench: Arc::new(Unasked),
        clock,
        observer: Arc::new(Unasked),
        run_ids: Arc::new(|| RunId::new("r1")),
        mask: Mask::default(),
    };
    let orders = Orders {
        worker: WorkerId::new("w1"),
        stage: Stage::Implementation,
        account: "acf".into(),
        rules: Rules::default(),
        claim_ttl: Duration::from_secs(60 * 60),
        daily_budget_usd: None,
        issue_recheck: Duration::from_secs(5 * 60),
        trunk: "main".into(),
    };
    Worker::new(around, orders)
}
