//! Settling what dead workers left: expired claims and unsent outboxes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use acf_core::claim::{Claim, ClaimError, ClaimState, Held, Survey, Version, Wip};
use acf_core::issue::IssueKey;
use acf_core::receipt::Receipt;
use acf_core::run::{FIRST_BACKOFF, Failure, FailureKind, History, Outcome, RunRecord, WorkerId, backoff};

use super::lease::Lease;
use super::patrol::{after, chain};
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

/// A dead worker's run that could not be settled, and still waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The worker that had left it.
    pub dead: WorkerId,
    /// The issue.
    pub issue: IssueKey,
    /// Why it could not be settled, in one line.
    pub why: String,
}

/// What came of settling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// What was settled.
    pub settled: Vec<Settled>,
    /// What could not be, and is to be tried again.
    pub unsettled: Vec<Unsettled>,
    /// What workers hold that are not known to be dead, as far as it was read.
    pub held: Vec<StillHeld>,
}

/// A claim of a worker that is not known to be dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillHeld {
    /// The issue.
    pub issue: IssueKey,
    /// The worker.
    pub worker: WorkerId,
    /// Whether the issue is in another tracker whose keys are the same, which alone can settle it.
    pub is_elsewhere: bool,
}

/// A claim that could not be settled, and is left alone for a while: each try is a push.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    tries: u32,
    until: Duration,
}

/// A claim that this process holds on to though its run is over: the tracker could not be told yet.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) version: Version,
    pub(super) record: RunRecord,
    pub(super) wip: Wip,
}

impl Clerk {
    /// Leaves a claim to be settled at the next opportunity, by what is known of its run here. If this
    /// process ends before that, another one settles it, and knows less.
    pub(super) fn leave(&self, held: &Held, record: RunRecord, wip: Wip) {
        let left = Left { version: held.version.clone(), record, wip };
        self.left().insert(held.claim.issue.slug().to_owned(), left);
    }

    pub(super) fn left(&self) -> MutexGuard<'_, HashMap<String, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what was left of a claim, if that is unchanged since; otherwise it is nobody's any more.
    fn left_of(&self, slug: &str, version: &Version) -> Option<Left> {
        let mut all = self.left();
        all.retain(|other, left| other != slug || left.version == *version);
        all.get(slug).cloned()
    }

    /// Settles every claim that has expired, that somebody has let go, that this process has left, or whose
    /// worker is one of `dead`, which are known to have ended. What another worker settles at the same time is
    /// left to it. What could not be settled is left alone for a while, longer each time.
    ///
    /// `dead` is `None` for whoever looks again and again, and reads only claims that have not changed for a
    /// while.
    ///
    /// # Errors
    /// [`WorkerError`] when the claims cannot be reached. What was not settled stays as it is, and is
    /// settled later.
    pub async fn settle(
        &self,
        survey: &Survey,
        dead: Option<&[WorkerId]>,
    ) -> Result<Settlement, WorkerError> {
        self.settle_now(survey, dead, dead.is_some()).await
    }

    /// Like [`Self::settle`]; after a last try nothing says when the next one is.
    pub(super) async fn settle_now(
        &self,
        survey: &Survey,
        dead: Option<&[WorkerId]>,
        is_last_try: bool,
    ) -> Result<Settlement, WorkerError> {
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
        let mut settlement = Settlement::default();
        if worth_reading.is_empty() {
            return Ok(settlement);
        }
        let claims = self.claims.read_claims(&worth_reading).await?;
        for (slug, version) in &worth_reading {
            let Some(claim) = claims.get(version).filter(|_| !self.is_put_off(slug)) else { continue };
            let is_free = claim.is_let_go || claim.is_expired(unchanged_for[slug], self.clock.now());
            let is_one_of_dead = |worker| dead.is_some_and(|dead| dead.contains(worker));
            let is_dead = is_one_of_dead(&claim.worker);
            let left = self.left_of(slug, version);
            if left.is_none() && claim.is_elsewhere(self.tracker.place().as_deref(), self.clock.now()) {
                let (issue, worker) = (claim.issue.clone(), claim.worker.clone());
                settlement.held.push(StillHeld { issue, worker, is_elsewhere: true });
                continue;
            }
            let unsettled = |why| Unsettled { dead: claim.runner().clone(), issue: claim.issue.clone(), why };
            if !is_free && !is_dead && left.is_none() {
                if is_one_of_dead(claim.runner()) {
                    // Two that tell the tracker of one run at the same time may say it twice.
                    settlement.unsettled.push(unsettled(format!("worker {} is at it", claim.worker)));
                } else {
                    let (issue, worker) = (claim.issue.clone(), claim.worker.clone());
                    settlement.held.push(StillHeld { issue, worker, is_elsewhere: false });
                }
                continue;
            }
            match self.settle_one(claim, version, left, survey).await {
                Ok(one) => {
                    self.put_off().remove(slug);
                    self.left().remove(slug);
                    settlement.settled.extend(one);
                }
                // One issue that the tracker will not change must not keep anybody from the others.
                Err(error @ (WorkerError::Tracker(_) | WorkerError::Host(_))) => {
                    let (why, issue, wait) = (chain(&error), &claim.issue, self.put_off_more(slug));
                    let (wait_secs, until) = (wait.as_secs(), after(&*self.clock, wait));
                    if is_last_try {
                        tracing::warn!(issue.key = %issue, "cannot settle issue `{issue}`: {why}");
                    } else {
                        tracing::warn!(
                            issue.key = %issue, wait_secs,
                            "cannot settle issue `{issue}` yet, trying again in {wait_secs} s, at {until}: {why}"
                        );
                    }
                    settlement.unsettled.push(unsettled(why));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(settlement)
    }

    fn put_off(&self) -> MutexGuard<'_, HashMap<String, PutOff>> {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_put_off(&self, slug: &str) -> bool {
        self.put_off().get(slug).is_some_and(|put_off| self.clock.monotonic() < put_off.until)
    }

    /// Leaves a claim alone for a while, and returns for how long.
    fn put_off_more(&self, slug: &str) -> Duration {
        let mut all = self.put_off();
        let put_off = all.entry(slug.to_owned()).or_default();
        put_off.tries = put_off.tries.saturating_add(1);
        let wait = backoff(put_off.tries, FIRST_BACKOFF).unwrap_or_default();
        put_off.until = self.clock.monotonic() + wait;
        wait
    }

    /// Takes note of the claims, and returns for how long each has been unchanged.
    fn observe(&self, survey: &Survey) -> BTreeMap<String, Duration> {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|slug, seen| survey.claims.get(slug) == Some(&seen.version));
        self.put_off().retain(|slug, _| survey.claims.contains_key(slug));
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
        // Of a run of its own, only this process knows how it ended: whatever fails from here on, it still does.
        let is_own = left.is_some();
        if let Some(left) = &left {
            self.leave(&held, left.record.clone(), left.wip.clone());
        }
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
                let held = if is_own { lease.held } else { self.let_one_go(lease.held, survey).await };
                self.leave(&held, record, wip);
                return Err(error);
            }
        };
        match self.claims.release(&lease.held, Some(&record), &wip).await {
            Ok(()) => {}
            Err(ClaimError::Lost) => return Ok(None),
            Err(error) => {
                if is_own {
                    self.leave(&lease.held, record, wip);
                }
                return Err(error.into());
            }
        }
        let (issue, runner, run) = (&claim.issue, claim.runner(), &record.run);
        if *runner == self.worker {
            tracing::info!(issue.key = %issue, %run, "told the tracker now how the run of issue `{issue}` ended");
        } else {
            tracing::info!(
                issue.key = %issue, worker.dead = %runner, %run,
                "settled what worker `{runner}` left of issue `{issue}`"
            );
        }
        Ok(Some(Settled { dead: claim.runner().clone(), record }))
    }

    /// Lets go of a claim that could not be settled: this process may end before it tries again.
    async fn let_one_go(&self, held: Held, survey: &Survey) -> Held {
        let claim = held.claim.let_go(self.clock.now());
        match self.claims.take(claim, Some(&held.version), survey).await {
            Ok(let_go) => let_go,
            Err(error) => {
                let (issue, why) = (&held.claim.issue, chain(&error));
                tracing::warn!(issue.key = %issue, "the claim on issue `{issue}` has to expire: {why}");
                held
            }
        }
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
            worker: claim.runner().clone(),
            started_at: claim.started_at,
            ended_at: now,
            outcome: Outcome::Failed(Failure::new(
                FailureKind::WorkerDied,
                format!("worker {} died or vanished during the run", claim.runner()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acf_core::claim::ClaimStore as _;

    use super::super::stubs::{self, Granted, Moved, Stubborn};
    use super::*;

    #[tokio::test]
    async fn what_is_known_of_an_own_run_outlasts_a_remote_that_does_not_answer() {
        let (claims, clock) = (Arc::new(Granted::default()), Arc::new(Moved::default()));
        let tracker = Arc::new(Stubborn::new(stubs::issue(), []));
        let ttl = Duration::from_secs(60 * 60);
        let clerk = Clerk::new(claims.clone(), tracker, clock, WorkerId::new("w1"), ttl, 3);
        let held = claims.take(stubs::held(60 * 60).claim, None, &Survey::default()).await.unwrap();
        clerk.leave(&held, stubs::record(Outcome::Interrupted), Wip::Keep);

        claims.fail_releases(1);
        let failed = clerk.settle(&claims.survey().await.unwrap(), None).await;
        assert!(matches!(failed, Err(WorkerError::Claims(ClaimError::Unreachable(_)))), "{failed:?}");
        let settled = clerk.settle(&claims.survey().await.unwrap(), None).await.unwrap().settled;

        assert_eq!(settled[0].record.outcome, Outcome::Interrupted, "it is not taken for a death");
        assert!(clerk.left().is_empty());
    }
}
