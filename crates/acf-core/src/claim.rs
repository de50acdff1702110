//! Claims: the exclusive, expiring hold of one worker on one issue, and the port that keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::issue::{Issue, IssueKey, IssueRef, Stage, Status};
use crate::run::{CommitId, RunId, RunRecord, WorkerId};

/// How long a claim holds without being renewed.
pub const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);

/// How far wall clocks of different machines may lie apart before a claim's own `renewed_at` is
/// believed: generous, as a clock that runs ahead would break the claims of the living.
pub const CLOCK_SKEW: Duration = Duration::from_secs(15 * 60);

/// What a claim is for, right now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ClaimState {
    /// A run works on the issue.
    Working,
    /// The run's work has landed, and the tracker is to be told: the outbox.
    Published {
        /// What the tracker is to be told.
        record: Box<RunRecord>,
    },
}

/// An exclusive, expiring hold of one worker on one issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The issue's key, which names the claim.
    pub issue: IssueKey,
    /// See [`Issue::identity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The issue's summary when it was claimed.
    pub summary: String,
    /// What is being done with the issue.
    pub stage: Stage,
    /// Who holds the claim.
    pub worker: WorkerId,
    /// Whose run it is, where another worker has taken the claim over to settle what that one left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_of: Option<WorkerId>,
    /// Whether the holder could not settle what it took over, and has let go of it: anybody may, at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_let_go: bool,
    /// The run that it was taken for.
    pub run: RunId,
    /// How often the claim has changed.
    pub generation: u64,
    /// What it is for now.
    #[serde(flatten)]
    pub state: ClaimState,
    /// The issue's status before, to give it back as it was found.
    pub found_status: Status,
    /// The account that the issue is assigned to while the run works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Where people read the issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_page: Option<String>,
    /// Which of several trackers with the same keys has the issue: [`crate::tracker::Tracker::place`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// When the run began.
    pub started_at: Timestamp,
    /// When the holder last showed itself, by its own wall clock.
    pub renewed_at: Timestamp,
    /// How long the claim holds from each renewal.
    pub ttl_secs: u64,
}

/// How long the claims of another tracker are left to it.
const FOREIGN_TO_OTHERS: SignedDuration = SignedDuration::from_hours(24);

impl Claim {
    /// Makes the first claim of a run.
    #[must_use]
    pub fn new(
        issue: &Issue,
        stage: Stage,
        worker: WorkerId,
        run: RunId,
        now: Timestamp,
        ttl: Duration,
    ) -> Self {
        Self {
            issue: issue.key.clone(),
            identity: issue.identity.clone(),
            summary: issue.summary.clone(),
            stage,
            worker,
            run_of: None,
            is_let_go: false,
            run,
            generation: 0,
            state: ClaimState::Working,
            found_status: issue.status.clone(),
            account: None,
            issue_page: issue.url.clone(),
            place: None,
            started_at: now,
            renewed_at: now,
            ttl_secs: ttl.as_secs().max(1),
        }
    }

    /// Returns the claim with the account that its issue is going to be assigned to.
    #[must_use]
    pub fn in_name_of(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Returns the claim with the place of the tracker that has its issue.
    #[must_use]
    pub fn in_place(self, place: Option<String>) -> Self {
        Self { place, ..self }
    }

    /// Tells whether the issue is in another tracker than that at `place`, where nobody can say how it is. Of a
    /// claim whose worker has not been heard of for a day, that is nobody's concern any more: its tracker may
    /// have moved.
    #[must_use]
    pub fn is_elsewhere(&self, place: Option<&str>, now: Timestamp) -> bool {
        let is_recent = now.duration_since(self.renewed_at) < FOREIGN_TO_OTHERS;
        is_recent && self.place.as_deref().is_some_and(|own| place != Some(own))
    }

    /// Tells whether the issue still is as the run had put it. If not, somebody moved it on or took it
    /// over meanwhile, and knew why.
    #[must_use]
    pub fn is_working_on(&self, issue: &Issue) -> bool {
        let nobody_else_has_it =
            self.account.is_none() || issue.assignee.is_none() || issue.assignee == self.account;
        issue.status == self.stage.working_status() && nobody_else_has_it
    }

    /// Tells whether somebody moved the issue back and left it assigned to the run's account, so that no
    /// worker would ever take it.
    #[must_use]
    pub fn keeps_others_from(&self, issue: &Issue) -> bool {
        let waits = matches!(issue.status, Status::ToDo | Status::PlanApproved | Status::AwaitingPlanReview);
        waits && issue.assignee.is_some() && issue.assignee == self.account
    }

    /// Returns how long the claim holds from each renewal.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_secs)
    }

    /// Returns what finds the claimed issue in the tracker.
    #[must_use]
    pub fn issue_ref(&self) -> IssueRef {
        IssueRef { key: self.issue.clone(), identity: self.identity.clone() }
    }

    /// See [`IssueRef::record_name`].
    #[must_use]
    pub fn record_name(&self) -> String {
        self.issue_ref().record_name()
    }

    /// Returns the claim as its holder renews it.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Self {
        Self { generation: self.generation + 1, renewed_at: now, ..self.clone() }
    }

    /// Returns the claim as its holder turns it into the outbox of its landed run.
    #[must_use]
    pub fn published(&self, record: RunRecord, now: Timestamp) -> Self {
        Self { state: ClaimState::Published { record: Box::new(record) }, ..self.renewed(now) }
    }

    /// Returns the claim as another worker takes it over to settle what a dead one left. Run and
    /// state stay: they are what is to be settled.
    #[must_use]
    pub fn taken_over(&self, worker: WorkerId, now: Timestamp, ttl: Duration) -> Self {
        let run_of = (*self.runner() != worker).then(|| self.runner().clone());
        Self { worker, run_of, is_let_go: false, ttl_secs: ttl.as_secs().max(1), ..self.renewed(now) }
    }

    /// Returns the claim as whoever has taken it over lets go of it, unsettled.
    #[must_use]
    pub fn let_go(&self, now: Timestamp) -> Self {
        Self { is_let_go: true, ..self.renewed(now) }
    }

    /// Returns the worker whose run it is, whoever holds the claim by now.
    #[must_use]
    pub fn runner(&self) -> &WorkerId {
        self.run_of.as_ref().unwrap_or(&self.worker)
    }

    /// Tells whether the claim has expired, for an observer that has seen it unchanged for
    /// `unchanged_for` of its own monotonic time.
    ///
    /// A holder counts its ttl from *before* it sent the renewal, an observer from *after* it saw
    /// the result; so no observer breaks a claim that its holder still believes in.
    #[must_use]
    pub fn is_expired(&self, unchanged_for: Duration, now: Timestamp) -> bool {
        let told_by_observation = unchanged_for >= self.ttl();
        let told_by_its_own_words =
            self.renewed_at.checked_add(self.ttl() + CLOCK_SKEW).is_ok_and(|surely_over| now > surely_over);
        told_by_observation || told_by_its_own_words
    }
}

/// A claim's or a chain's state in the store: opaque, and equal only to itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// Wraps the store's own name for a state.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the store's own name for the state.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One look at the store: what exists, not yet what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The tip of the trunk; `None` when the branch does not exist.
    pub trunk: Option<CommitId>,
    /// The claims that exist, by [`IssueKey::slug`].
    pub claims: BTreeMap<String, Version>,
    /// The chains of run records, by [`IssueRef::record_name`].
    pub runs: BTreeMap<String, Version>,
    /// The work in progress that was kept, by [`IssueRef::record_name`].
    pub wips: BTreeMap<String, Version>,
    /// The feature branches, by [`IssueKey::slug`], with their tips.
    pub features: BTreeMap<String, Version>,
}

/// A claim that this process holds, and what it knows of the issue's other state at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What the claim says.
    pub claim: Claim,
    /// Its state in the store, which the next change has to name.
    pub version: Version,
    /// The last run record of the issue, if there is one.
    pub runs: Option<Version>,
    /// The kept work in progress of the issue, if there is any.
    pub wip: Option<Version>,
}

/// Work that is to land.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// What lands.
    pub commit: CommitId,
    /// The branch it lands on.
    pub branch: String,
    /// `None`: the branch may only move forward. `Some`: it is replaced if it still is at that
    /// state, or created if that is `None` too.
    pub replaces: Option<Option<Version>>,
}

/// What becomes of the kept work in progress when a claim is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wip {
    /// It stays as it is.
    Keep,
    /// It is replaced.
    Put(CommitId),
    /// It goes: the work has landed.
    Drop,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else holds the claim, or it has changed since it was last seen.
    #[error("the claim is held by another worker")]
    Lost,
    /// The store takes no such writes, whoever asks.
    #[error("the remote refuses {what}")]
    Refused {
        /// What it refuses: a ref, a branch.
        what: String,
        /// The remote's own words.
        #[source]
        cause: RemoteSays,
    },
    /// The store does not accept the credentials.
    #[error("the remote does not accept the credentials")]
    Unauthorized(#[source] RemoteSays),
    /// The store cannot be reached now.
    #[error("cannot reach the remote")]
    Unreachable(#[source] RemoteSays),
    /// Anything else.
    #[error("{attempt}")]
    Other {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The remote's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteSays(pub String);

/// What came of an attempt to land work.
#[derive(Debug)]
pub enum Published {
    /// The work is on the branch, and the claim is the outbox now.
    Landed(Box<Held>),
    /// The branch has moved; nothing was changed.
    BranchMoved,
    /// The remote does not take pushes to this branch; nothing was changed.
    BranchRefused(RemoteSays),
}

/// A worker's turn to push to the trunk, over when it is dropped.
#[derive(Default)]
pub struct Turn {
    _held: Option<Box<dyn std::any::Any + Send>>,
}

impl Turn {
    /// Makes a turn that lasts as long as `held` is.
    pub fn while_held(held: impl std::any::Any + Send) -> Self {
        Self { _held: Some(Box::new(held)) }
    }
}

/// Keeps claims, run records and work in progress, with compare-and-swap on each claim.
///
/// Every method that names a [`Held`] or a [`Version`] is one transaction: it happens as a whole if
/// the store is still in that state, and not at all otherwise.
#[async_trait]
pub trait ClaimStore: Send + Sync {
    /// Looks at everything once.
    ///
    /// # Errors
    /// [`ClaimError::Unreachable`], [`ClaimError::Unauthorized`], [`ClaimError::Other`].
    async fn survey(&self) -> Result<Survey, ClaimError>;

    /// Reads what those claims say. One that is gone or unreadable is left out.
    ///
    /// # Errors
    /// As [`ClaimStore::survey`].
    async fn read_claims(
        &self,
        claims: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError>;

    /// Reads chains of run records, the oldest record of each first. Unreadable records are left out.
    ///
    /// # Errors
    /// As [`ClaimStore::survey`].
    async fn read_runs(
        &self,
        chains: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError>;

    /// Takes a claim: a new one where `over` is `None`, else that one, over its holder's head.
    ///
    /// `survey` is the look that the decision was made on.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when another worker was first.
    async fn take(&self, claim: Claim, over: Option<&Version>, survey: &Survey) -> Result<Held, ClaimError>;

    /// Renews a claim, and keeps work in progress along with it.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when the claim is no longer held.
    async fn renew(&self, held: &Held, now: Timestamp, wip: Option<&CommitId>) -> Result<Held, ClaimError>;

    /// Waits for this worker's turn to push to the trunk, among those that it can agree with on turns.
    ///
    /// A courtesy, not a lock: it saves lost races, and nothing relies on it.
    async fn turn(&self) -> Turn {
        Turn::default()
    }

    /// Lands work and turns the claim into its outbox, if and only if the claim is still held.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when the claim is no longer held; then nothing has landed.
    async fn publish(&self, held: &Held, next: Claim, landing: &Landing) -> Result<Published, ClaimError>;

    /// Gives the claim up, with the record of its run and what becomes of the work in progress.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when the claim is no longer held; then nothing was recorded.
    async fn release(&self, held: &Held, record: Option<&RunRecord>, wip: &Wip) -> Result<(), ClaimError>;
}

#[cfg(test)]
mod tests;
