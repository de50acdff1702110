//! Settling what dead workers left: expired claims and unsent outboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use acf_core::claim::{Claim, ClaimError, ClaimState, Held, Survey, Version, Wip};
use acf_core::receipt::Receipt;
use acf_core::run::{Failure, FailureKind, History, Outcome, RunRecord, WorkerId};

use super::lease::Lease;
use super::patrol::chain;
use super::{Clerk, Seen, WorkerError};

/// A claim is read, to learn when it expires, once it has been seen unchanged for this long.
const READ_AFTER: Duration = Duration::from_secs(5);

/// A dead worker's run that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The worker that had left it.
    pub dead: WorkerId,
    /// How its run is recorded now.
    pub record: RunRecord,
}

/// A claim that this process holds on to though its run is over: the tracker could not be told yet.
#[derive(Debug)]
pub(super) struct Left {
    version: Version,
    record: RunRecord,
    wip: Wip,
}

impl Clerk {
    /// Leaves a claim to be settled at the next opportunity, by what is known of its run here. If this
    /// process ends before that, another one settles it, and knows less.
    pub(super) fn leave(&self, held: &Held, record: RunRecord, wip: Wip) {
        let left = Left { version: held.version.clone(), record, wip };
        self.left().insert(held.claim.issue.slug().to_owned(), left);
    }

    fn left(&self) -> MutexGuard<'_, HashMap<String, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was left of a claim, if that is unchanged since.
    fn take_left(&self, slug: &str, version: &Version) -> Option<Left> {
        self.left().remove(slug).filter(|left| left.version == *version)
    }

    /// Settles every claim that has expired, that this process has left, or that is one of `dead`, a worker
    /// that is known to have ended. What another worker settles at the same time is left to it.
    ///
    /// # Errors
    /// [`WorkerError`] when the claims cannot be reached. What was not settled stays as it is, and is
    /// settled later.
    pub async fn settle(
        &self,
        survey: &Survey,
        dead: Option<&WorkerId>,
    ) -> Result<Vec<Settled>, WorkerError> {
        let unchanged_for = self.observe(survey);
        let read_after = READ_AFTER.min(self.claim_ttl / 2);
        let worth_reading: BTreeMap<_, _> = survey
            .claims
            .iter()
            .filter(|(slug, _)| {
                dead.is_some() || unchanged_for[*slug] >= read_after || self.left().contains_key(*slug)
            })
            .map(|(slug, version)| (slug.clone(), version.clone()))
            .collect();
        if worth_reading.is_empty() {
            return Ok(Vec::new());
        }
        let claims = self.claims.read_claims(&worth_reading).await?;
        let mut settled = Vec::new();
        for (slug, version) in &worth_reading {
            let Some(claim) = claims.get(version) else { continue };
            let has_expired = claim.is_expired(unchanged_for[slug], self.clock.now());
            let is_dead = dead == Some(&claim.worker);
            let left = self.take_left(slug, version);
            if !has_expired && !is_dead && left.is_none() {
                continue;
            }
            match self.settle_one(claim, version, left, survey).await {
                Ok(one) => settled.extend(one),
                // One issue that the tracker will not change must not keep anybody from the others.
                Err(error @ (WorkerError::Tracker(_) | WorkerError::Host(_))) => {
                    let why = chain(&error);
                    tracing::warn!(issue.key = %claim.issue, "cannot settle issue `{}` yet: {why}", claim.issue);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(settled)
    }

    /// Takes note of the claims, and returns for how long each has been unchanged.
    fn observe(&self, survey: &Survey) -> BTreeMap<String, Duration> {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|slug, seen| survey.claims.get(slug) == Some(&seen.version));
        let ages = survey.claims.iter().map(|(slug, version)| {
            let first = || Seen { version: version.clone(), since: now };
            let since = seen.entry(slug.clone()).or_insert_with(first).since;
            (slug.clone(), now.saturating_sub(since))
        });
        ages.collect()
    }

    async fn settle_one(
        &self,
        claim: &Claim,
        version: &Version,
        left: Option<Left>,
        survey: &Survey,
    ) -> Result<Option<Settled>, WorkerError> {
        let sent_at = self.clock.monotonic();
        let over = claim.taken_over(self.worker.clone(), self.clock.now(), self.claim_ttl);
        let held = match self.claims.take(over, Some(version), survey).await {
            Ok(held) => held,
            // Its holder lives after all, or another worker settles it.
            Err(ClaimError::Lost) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (record, wip) = match (&held.claim.state, left) {
            (ClaimState::Published { record }, _) => ((**record).clone(), Wip::Drop),
            (ClaimState::Working, Some(Left { record, wip, .. })) => {
                (self.counted(record, &held).await?, wip)
            }
            (ClaimState::Working, None) => {
                (self.counted(self.record_of_death(claim), &held).await?, Wip::Keep)
            }
        };
        let mut lease = Lease::new(held, self.claims.clone(), self.clock.clone(), sent_at);
        let record = match self.tell(&record, &mut lease).await {
            Ok(told) => told,
            Err(WorkerError::Claims(ClaimError::Lost)) => return Ok(None),
            Err(error) => {
                self.leave(&lease.held, record, wip);
                return Err(error);
            }
        };
        match self.claims.release(&lease.held, Some(&record), &wip).await {
            Ok(()) => {}
            Err(ClaimError::Lost) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(
            issue.key = %claim.issue, worker.dead = %claim.worker, run = %record.run,
            "settled what worker `{}` left of issue `{}`", claim.worker, claim.issue
        );
        Ok(Some(Settled { dead: claim.worker.clone(), record }))
    }

    fn record_of_death(&self, claim: &Claim) -> RunRecord {
        let now = self.clock.now();
        let duration_ms = now.duration_since(claim.started_at).as_millis();
        RunRecord {
            run: claim.run.clone(),
            issue: claim.issue.clone(),
            identity: claim.identity.clone(),
            summary: claim.summary.clone(),
            stage: claim.stage,
            worker: claim.worker.clone(),
            started_at: claim.started_at,
            ended_at: now,
            outcome: Outcome::Failed(Failure::new(
                FailureKind::WorkerDied,
                format!("worker {} died or vanished during the run", claim.worker),
            )),
            receipt: Receipt {
                agent: "not known".into(),
                duration_ms: u64::try_from(duration_ms).unwrap_or_default(),
                ..Receipt::default()
            },
            blocked: false,
            untold: None,
        }
    }

    /// Counts a failed run as the attempt that it is after those that were recorded until now: others may
    /// have tried and failed between the poll and the claim.
    pub(super) async fn counted_by_now(
        &self,
        record: RunRecord,
        held: &Held,
    ) -> Result<RunRecord, WorkerError> {
        if !matches!(record.outcome, Outcome::Failed(_)) {
            return Ok(record);
        }
        let runs = self.claims.survey().await?.runs.remove(&held.claim.record_name());
        self.counted(record, &Held { runs, ..held.clone() }).await
    }

    /// Counts a failed run as the attempt that it is after those that `held` knows of.
    async fn counted(&self, mut record: RunRecord, held: &Held) -> Result<RunRecord, WorkerError> {
        if let Outcome::Failed(failure) = &record.outcome {
            record.receipt.attempt = self.history(held).await?.failed_attempts(held.claim.stage) + 1;
            record.blocked = failure.kind.counts() && record.receipt.attempt >= self.max_attempts;
        }
        Ok(record)
    }

    /// Reads the runs of a claimed issue before this one, as far as `held` knows of them.
    pub(super) async fn history(&self, held: &Held) -> Result<History, WorkerError> {
        let Some(tip) = &held.runs else { return Ok(History::default()) };
        let name = held.claim.record_name();
        let chain = BTreeMap::from([(name.clone(), tip.clone())]);
        Ok(History::new(self.claims.read_runs(&chain).await?.remove(&name).unwrap_or_default()))
    }
}
