//! Runs: one attempt of one worker at one issue, its outcome, its record, and what the past allows.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::issue::{IssueKey, Stage, Status};
use crate::mask::Mask;
use crate::receipt::Receipt;

/// The wait after a first failed attempt.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(10);
/// The longest wait between two attempts.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// How long an issue is left alone whose attempts are used up and whose tracker does not take the label: there is
/// nothing for a person to lift that block by, and it ends by itself.
pub const UNTOLD_BLOCK: Duration = Duration::from_secs(24 * 60 * 60);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id!(
    /// Names one run; unique everywhere.
    RunId
);
text_id!(
    /// Names one worker process; unique everywhere, and never used again.
    WorkerId
);
text_id!(
    /// A commit, by its full object name.
    CommitId
);

impl CommitId {
    /// Returns the short form that people read.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

/// Where work is to land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The branch that everybody works from.
    Trunk,
    /// `feature/KEY`, for a person to review.
    Feature,
}

/// The kind of a failure: what tells the ways of handling it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The agent ended well and changed nothing.
    NoChange,
    /// The planner left no plan, or an empty one.
    EmptyPlan,
    /// The gate still failed after the last fix round.
    GateFailed,
    /// The agent ended with an error.
    AgentCrashed,
    /// The agent ran longer than it may.
    AgentTimedOut,
    /// The agent said nothing for too long.
    AgentStalled,
    /// The agent's service kept refusing for too many requests.
    RateLimited,
    /// The agent's service kept failing.
    ServiceUnavailable,
    /// The agent's account has nothing left to spend for now.
    QuotaExhausted,
    /// The agent's credentials are missing, wrong or expired.
    NotAuthenticated,
    /// The agent used the turns that a run may.
    OutOfTurns,
    /// The agent spent what a run may cost.
    OutOfBudget,
    /// The agent's work cannot be published as it is: a repository within the repository, say.
    Unpublishable,
    /// The work does not go together with what landed meanwhile.
    Conflict,
    /// The remote refuses the work.
    PushRefused,
    /// The tracker does not take what a run changes in its issue: there is no such transition, say, or the
    /// account cannot be assigned.
    TrackerRefused,
    /// What the run needs is not there, or its set-up fails with earlier work on the issue in the checkout.
    Setup,
    /// The repository's policy, prompt or set-up commands do not work at the base commit, whatever the issue.
    RepositoryFault,
    /// The gate fails on what the work is on top of, too, without the work.
    BaseFailsGate,
    /// The worker was killed, or vanished.
    WorkerDied,
    /// Something of acf's or the machine's own: a full disk, a lost network.
    Internal,
}

impl FailureKind {
    /// Tells whether a failure of this kind says something about the issue, and so counts as an attempt.
    /// What befell the agent's service or account, or is wrong with the repository, befalls every issue alike.
    #[must_use]
    pub fn counts(self) -> bool {
        !matches!(
            self,
            Self::RateLimited
                | Self::ServiceUnavailable
                | Self::QuotaExhausted
                | Self::NotAuthenticated
                | Self::RepositoryFault
                | Self::BaseFailsGate
        )
    }

    /// Tells whether it is the repository that is at fault as it is, before any work.
    #[must_use]
    pub fn is_fault_of_repository(self) -> bool {
        matches!(self, Self::RepositoryFault | Self::BaseFailsGate)
    }

    /// Returns its name, as records have it.
    #[must_use]
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What people read: one sentence without a full stop.
    pub reason: String,
    /// The end of the output that shows it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Until when there is no use in trying again, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Failure {
    /// Makes a failure without evidence.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), evidence: None, until: None }
    }

    /// Makes the failure of a gate that fails without any work, by which command failed, and the end of its
    /// output.
    #[must_use]
    pub fn of_base_gate(reason: &str, evidence: impl Into<String>) -> Self {
        let reason = format!("the gate fails without the agent's work, too: {reason}");
        Self::new(FailureKind::BaseFailsGate, reason).with_evidence(evidence)
    }

    /// Adds until when there is no use in trying again.
    #[must_use]
    pub fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    /// Returns the failure with every known secret masked.
    #[must_use]
    pub fn masked(mut self, mask: &Mask) -> Self {
        mask.hide_in(&mut self.reason);
        self.evidence.iter_mut().for_each(|evidence| mask.hide_in(evidence));
        self
    }

    /// Adds the output that shows the failure.
    #[must_use]
    pub fn with_evidence(self, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        Self { evidence: (!evidence.trim().is_empty()).then_some(evidence), ..self }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The work is on its branch.
    Landed {
        /// The commit.
        commit: CommitId,
        /// The branch that it landed on.
        branch: String,
        /// Which kind of branch that is.
        target: Target,
        /// Why the work went to a feature branch though it was meant for the trunk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diverted: Option<String>,
        /// The plan's path in the repository, for a planning run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<String>,
    },
    /// The run failed; it counts as an attempt if [`FailureKind::counts`].
    Failed(Failure),
    /// The worker was told to stop; the run does not count.
    Interrupted,
    /// The issue was no longer wanted as it had been taken: finished, taken over, or no longer eligible.
    /// Nothing was pushed, and the run does not count.
    Withdrawn {
        /// What had become of the issue, as a clause: `the issue was moved to Done`.
        why: String,
    },
}

impl Outcome {
    /// Returns the status to which landed work leads its issue; `None` for any other end of a run, which leads it
    /// back to where it was found.
    #[must_use]
    pub fn leads_to(&self) -> Option<Status> {
        match self {
            Self::Landed { plan: Some(_), .. } => Some(Status::AwaitingPlanReview),
            Self::Landed { target: Target::Trunk, .. } => Some(Status::Done),
            Self::Landed { target: Target::Feature, .. } => Some(Status::InReview),
            Self::Failed(_) | Self::Interrupted | Self::Withdrawn { .. } => None,
        }
    }
}

/// The record of a run, kept in git for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The issue's key at the time.
    pub issue: IssueKey,
    /// See [`crate::issue::Issue::identity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The issue's summary at the time.
    pub summary: String,
    /// What was done with the issue.
    pub stage: Stage,
    /// Who did it.
    pub worker: WorkerId,
    /// When the claim was taken.
    pub started_at: Timestamp,
    /// When the outcome was known.
    pub ended_at: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was shown for it.
    pub receipt: Receipt,
    /// Whether this failure used up the attempts, and the issue was labelled `acf-blocked` for it, if its tracker
    /// took the label.
    #[serde(default)]
    pub blocked: bool,
    /// Why the tracker did not take the label `acf-blocked`, or nothing at all of what it was to be told of the run's
    /// end, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
}

/// The limits on attempts at one issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// After how many failed attempts the issue is blocked.
    pub max_attempts: u32,
    /// The wait after the first failure; it doubles with each one more.
    pub first_backoff: Duration,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { max_attempts: 3, first_backoff: FIRST_BACKOFF }
    }
}

/// The past runs of one issue, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    records: Vec<RunRecord>,
}

impl History {
    /// Makes the history out of an issue's records, the oldest first.
    #[must_use]
    pub fn new(records: Vec<RunRecord>) -> Self {
        Self { records }
    }

    /// Returns the records, the oldest first.
    #[must_use]
    pub fn records(&self) -> &[RunRecord] {
        &self.records
    }

    /// Returns the feature branch on which the issue's work last landed, if it did on one.
    #[must_use]
    pub fn feature_branch(&self) -> Option<&str> {
        self.records.iter().rev().find_map(|record| match &record.outcome {
            Outcome::Landed { branch, target: Target::Feature, .. } => Some(branch.as_str()),
            _ => None,
        })
    }

    /// Counts the failed attempts of that stage since work last landed or a person lifted a block.
    #[must_use]
    pub fn failed_attempts(&self, stage: Stage) -> u32 {
        count(self.unsuccessful(stage).filter(|record| is_attempt(record)))
    }

    /// Returns the time before which no further attempt is made, if there is one.
    ///
    /// Every run that came to nothing makes the issue wait, whether it counts as an attempt or not: what
    /// withdraws a run, or makes the agent's service fail, may do so again at once and for ever. A run that
    /// was interrupted says nothing of the issue, and makes nobody wait.
    #[must_use]
    pub fn not_before(&self, stage: Stage, limits: AttemptLimits) -> Option<Timestamp> {
        if let Some(record) = self.blocked_untold(stage) {
            return record.ended_at.checked_add(UNTOLD_BLOCK).ok();
        }
        let wait = backoff(count(self.unsuccessful(stage)), limits.first_backoff)?;
        self.last_ended(stage)?.ended_at.checked_add(wait).ok()
    }

    /// Returns the last run of that stage that was not interrupted.
    #[must_use]
    pub fn last_ended(&self, stage: Stage) -> Option<&RunRecord> {
        self.ended(stage).next()
    }

    /// Returns the last run of that stage, if it used up the attempts and the issue could not be labelled for it.
    #[must_use]
    pub fn blocked_untold(&self, stage: Stage) -> Option<&RunRecord> {
        self.last_ended(stage).filter(|record| record.blocked && record.untold.is_some())
    }

    /// Tells whether the agent's service failed over the issue the last time. It may be the issue itself that
    /// makes it fail, so that others are to be tried first.
    #[must_use]
    pub fn troubled_the_service(&self, stage: Stage) -> bool {
        let is_trouble = |kind| matches!(kind, FailureKind::ServiceUnavailable | FailureKind::RateLimited);
        let outcome = self.last_ended(stage).map(|record| &record.outcome);
        matches!(outcome, Some(Outcome::Failed(failure)) if is_trouble(failure.kind))
    }

    /// Tells whether the last run of that stage was withdrawn for that very reason.
    #[must_use]
    pub fn was_withdrawn_for(&self, stage: Stage, reason: &str) -> bool {
        let outcome = self.last_ended(stage).map(|record| &record.outcome);
        matches!(outcome, Some(Outcome::Withdrawn { why }) if why == reason)
    }

    /// Returns the runs of that stage that were not interrupted, the newest first.
    fn ended(&self, stage: Stage) -> impl Iterator<Item = &RunRecord> {
        let of_stage = self.records.iter().rev().filter(move |record| record.stage == stage);
        of_stage.filter(|record| record.outcome != Outcome::Interrupted)
    }

    /// Returns the runs of that stage that came to nothing, the newest first, since work last landed or a
    /// person lifted a block.
    fn unsuccessful(&self, stage: Stage) -> impl Iterator<Item = &RunRecord> {
        let is_reset =
            |record: &RunRecord| record.blocked || matches!(record.outcome, Outcome::Landed { .. });
        self.ended(stage).take_while(move |record| !is_reset(record))
    }
}

fn count<'a>(records: impl Iterator<Item = &'a RunRecord>) -> u32 {
    u32::try_from(records.count()).unwrap_or(u32::MAX)
}

/// Tells whether a run failed in a way that counts.
fn is_attempt(record: &RunRecord) -> bool {
    matches!(&record.outcome, Outcome::Failed(failure) if failure.kind.counts())
}

/// Returns the wait after that many vain attempts in a row: nothing after none, then `first`,
/// doubling up to [`LONGEST_BACKOFF`].
#[must_use]
pub fn backoff(vain_attempts: u32, first: Duration) -> Option<Duration> {
    let doublings = vain_attempts.checked_sub(1)?;
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    Some(first.saturating_mul(factor).min(LONGEST_BACKOFF))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(outcome: Outcome, ended_at_secs: i64) -> RunRecord {
        RunRecord {
            run: RunId::new("r1"),
            issue: "TODO-3".parse().unwrap(),
            identity: None,
            summary: "Rate-limit the export endpoint".into(),
            stage: Stage::Implementation,
            worker: WorkerId::new("w1"),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: Timestamp::from_second(ended_at_secs).unwrap(),
            outcome,
            receipt: Receipt::default(),
            blocked: false,
            untold: None,
        }
    }

    pub(crate) fn withdrawn(why: &str, ended_at_secs: i64) -> RunRecord {
        record(Outcome::Withdrawn { why: why.into() }, ended_at_secs)
    }

    pub(crate) fn failed(ended_at_secs: i64) -> RunRecord {
        record(Outcome::Failed(Failure::new(FailureKind::NoChange, "no change")), ended_at_secs)
    }

    pub(crate) fn landed(ended_at_secs: i64) -> RunRecord {
        let outcome = Outcome::Landed {
            commit: CommitId::new("4be19c2aa"),
            branch: "main".into(),
            target: Target::Trunk,
            diverted: None,
            plan: None,
        };
        record(outcome, ended_at_secs)
    }

    fn attempts(records: Vec<RunRecord>) -> u32 {
        History::new(records).failed_attempts(Stage::Implementation)
    }

    fn not_before(records: Vec<RunRecord>) -> Option<i64> {
        let history = History::new(records);
        let not_before = history.not_before(Stage::Implementation, AttemptLimits::default());
        not_before.map(Timestamp::as_second)
    }

    #[test]
    fn failures_count_until_work_lands() {
        assert_eq!(attempts(vec![]), 0);
        assert_eq!(attempts(vec![failed(1), failed(2)]), 2);
        assert_eq!(attempts(vec![failed(1), landed(2), failed(3)]), 1);
        assert_eq!(attempts(vec![failed(1), landed(2)]), 0);
    }

    #[test]
    fn an_interrupted_run_is_no_attempt() {
        assert_eq!(attempts(vec![failed(1), record(Outcome::Interrupted, 2), failed(3)]), 2);
    }

    #[test]
    fn what_befell_the_agents_account_is_no_attempt_at_the_issue() {
        for kind in [
            FailureKind::RateLimited,
            FailureKind::ServiceUnavailable,
            FailureKind::QuotaExhausted,
            FailureKind::NotAuthenticated,
            FailureKind::RepositoryFault,
        ] {
            let befell = record(Outcome::Failed(Failure::new(kind, "429")), 900);
            assert_eq!(attempts(vec![failed(1), befell.clone()]), 1, "{kind:?}");
            assert_eq!(
                not_before(vec![failed(100), befell]),
                Some(900 + 20),
                "{kind:?}: it waits all the same"
            );
        }
        assert!(FailureKind::OutOfTurns.counts() && FailureKind::OutOfBudget.counts());
        assert_eq!(FailureKind::QuotaExhausted.name(), "quota_exhausted");
    }

    #[test]
    fn a_withdrawn_run_is_no_attempt_and_forgives_none() {
        let withdrawn = record(Outcome::Withdrawn { why: "the issue was moved to Done".into() }, 2);
        assert_eq!(attempts(vec![failed(1), withdrawn.clone(), failed(3)]), 2);
        assert_eq!(attempts(vec![withdrawn]), 0);
    }

    #[test]
    fn runs_that_came_to_nothing_make_an_issue_wait_longer_each_time_though_none_is_an_attempt() {
        let moved = |at| withdrawn("the issue was moved to To Do", at);
        assert_eq!(not_before(vec![moved(100)]), Some(110));
        assert_eq!(not_before(vec![moved(100), moved(200), moved(300)]), Some(340));
        assert_eq!(not_before((0..20).map(|n| moved(n * 400)).collect()), Some(19 * 400 + 300));
        assert_eq!(not_before(vec![moved(100), failed(200), moved(300)]), Some(340));
        assert_eq!(not_before(vec![moved(100), landed(200)]), None);
        assert_eq!(not_before(vec![moved(100), landed(200), moved(300)]), Some(310));
    }

    #[test]
    fn an_interrupted_run_makes_nobody_wait() {
        assert_eq!(not_before(vec![record(Outcome::Interrupted, 100)]), None);
        assert_eq!(not_before(vec![failed(100), record(Outcome::Interrupted, 300)]), Some(110));
    }

    #[test]
    fn a_block_that_nobody_could_be_told_of_holds_for_a_day() {
        let blocked = RunRecord { blocked: true, ..failed(100) };
        assert_eq!(not_before(vec![blocked.clone()]), None, "the label holds it");
        let untold = RunRecord { untold: Some("comments are off".into()), ..blocked };
        assert_eq!(not_before(vec![untold.clone()]), Some(100 + 24 * 60 * 60));
        assert_eq!(not_before(vec![untold, failed(100_000)]), Some(100_010), "then it starts anew");
    }

    #[test]
    fn what_the_last_run_met_with_is_known_until_another_one_ends() {
        let refused = record(Outcome::Failed(Failure::new(FailureKind::ServiceUnavailable, "500")), 1);
        let interrupted = record(Outcome::Interrupted, 2);
        let history = |records: Vec<RunRecord>| History::new(records);
        let troubled = |records| history(records).troubled_the_service(Stage::Implementation);
        assert!(troubled(vec![refused.clone(), interrupted.clone()]));
        assert!(!troubled(vec![refused, failed(2)]));
        let was_withdrawn = |records, why| history(records).was_withdrawn_for(Stage::Implementation, why);
        assert!(was_withdrawn(vec![withdrawn("moved", 1), interrupted], "moved"));
        assert!(!was_withdrawn(vec![withdrawn("moved", 1)], "closed"));
        assert!(!was_withdrawn(vec![withdrawn("moved", 1), failed(2)], "moved"));
    }

    #[test]
    fn a_lifted_block_starts_the_count_anew() {
        let blocked = RunRecord { blocked: true, ..failed(2) };
        assert_eq!(attempts(vec![failed(1), blocked.clone()]), 0);
        assert_eq!(attempts(vec![failed(1), blocked, failed(3)]), 1);
    }

    #[test]
    fn stages_are_counted_apart() {
        let planning = RunRecord { stage: Stage::Planning, ..failed(1) };
        let history = History::new(vec![planning, failed(2), failed(3)]);
        assert_eq!(history.failed_attempts(Stage::Planning), 1);
        assert_eq!(history.failed_attempts(Stage::Implementation), 2);
    }

    #[test]
    fn backoff_doubles_from_ten_seconds_to_five_minutes() {
        let waits: Vec<_> = (0..8).map(|n| backoff(n, FIRST_BACKOFF).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [None, Some(10), Some(20), Some(40), Some(80), Some(160), Some(300), Some(300)]);
        assert_eq!(backoff(u32::MAX, FIRST_BACKOFF), Some(LONGEST_BACKOFF));
    }

    #[test]
    fn the_wait_counts_from_the_last_failure_of_the_stage() {
        let planning = RunRecord { stage: Stage::Planning, ..failed(900) };
        let history =
            History::new(vec![failed(100), failed(200), record(Outcome::Interrupted, 300), planning]);
        let limits = AttemptLimits::default();
        let not_before = history.not_before(Stage::Implementation, limits).unwrap();
        assert_eq!(not_before, Timestamp::from_second(220).unwrap());
        assert_eq!(History::default().not_before(Stage::Implementation, limits), None);
    }

    #[test]
    fn a_record_survives_json() {
        let withdrawn = Outcome::Withdrawn { why: "the issue is gone".into() };
        for record in [landed(3), failed(4), record(Outcome::Interrupted, 5), record(withdrawn, 6)] {
            let json = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<RunRecord>(&json).unwrap(), record, "{json}");
        }
    }
}
