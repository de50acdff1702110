//! One run under a claim: the step machine's actions performed, then report and release.

use std::sync::atomic::Ordering;
use std::time::Duration;

use acf_core::agent::{AgentOutcome, Trouble};
use acf_core::claim::{ClaimError, ClaimState, Landing, Published, Survey, Wip};
use acf_core::issue::Stage;
use acf_core::issue_run::{Action, Conclusion, Event, IssueRun, PushOutcome};
use acf_core::policy::POLICY_PATH;
use acf_core::progress::{Step, What};
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, FailureKind, Outcome, RunId, RunRecord, Target};
use tokio_util::sync::CancellationToken;

use super::lease::Lease;
use super::patrol::chain;
use super::{Bench, Job, SaveFor, Worker, WorkerError};

/// The wait before a push that could not reach the remote is tried again; it doubles.
const FIRST_PUSH_WAIT: Duration = Duration::from_secs(2);
/// After a wait longer than this, pushing is given up.
const LONGEST_PUSH_WAIT: Duration = Duration::from_secs(32);

/// How the names of the branches begin on which work waits for review.
const FEATURE: &str = "feature/";

/// Returns the name, below [`FEATURE`], of the branch on which an issue's work waits for review. Where keys
/// can move, the branch of its key may hold another issue's work: that stays as it is.
fn feature_name(job: &Job, survey: &Survey) -> String {
    let slug = job.issue.key.slug();
    let own = job.own_branch.as_deref().and_then(|branch| branch.strip_prefix(FEATURE));
    match (&job.issue.identity, own) {
        (Some(_), Some(own)) => own.to_owned(),
        (Some(identity), None) if survey.features.contains_key(slug) => format!("{slug}-{identity}"),
        _ => slug.to_owned(),
    }
}

impl Worker {
    /// Runs a confirmed issue to its end. `None`: the claim was lost, and nothing was written.
    pub(super) async fn run(
        &self,
        job: &Job,
        mut lease: Lease,
        survey: &Survey,
        stop: &CancellationToken,
    ) -> Result<Option<RunRecord>, WorkerError> {
        self.step(job, Step::Checkout, 0, None);
        let mut opened = None;
        let (claim, halt) = (lease.held.claim.clone(), stop.child_token());
        let opening = async {
            match self.around.workbench.open(job, &halt).await {
                Ok(bench) => {
                    opened = Some(bench);
                    Event::Waited
                }
                Err(failure) => Event::Broke(failure),
            }
        };
        let event = lease.keep_during(None, self.while_wanted(&claim, &halt, opening)).await;
        let (conclusion, bench) = match (event, opened) {
            (Event::Waited, Some(mut bench)) => {
                let conclusion = self.drive(job, &mut lease, &mut *bench, survey, stop).await;
                (conclusion, Some(bench))
            }
            (Event::Broke(_), bench) if stop.is_cancelled() => (Conclusion::Interrupted, bench),
            (Event::Broke(failure), bench) => (Conclusion::Failed(failure), bench),
            (Event::Withdrawn(why), bench) => (Conclusion::Withdrawn(why), bench),
            (_, bench) => (Conclusion::ClaimLost, bench),
        };
        let concluded = self.conclude(job, &lease, conclusion, bench.as_deref()).await;
        // The place is cleared first: on a full disk there is room then for what is to be told.
        if let Some(bench) = bench {
            bench.close().await;
        }
        match concluded {
            Some((record, wip)) => self.report(job, lease, record, &wip).await,
            None => Ok(self.dropped(job)),
        }
    }

    /// Ends a run that failed before there was anything to work on.
    pub(super) async fn fail_at_once(
        &self,
        job: &Job,
        lease: Lease,
        failure: Failure,
    ) -> Result<Option<RunRecord>, WorkerError> {
        match self.conclude(job, &lease, Conclusion::Failed(failure), None).await {
            Some((record, wip)) => self.report(job, lease, record, &wip).await,
            None => Ok(self.dropped(job)),
        }
    }

    /// Performs actions until the step machine says that the run is over.
    async fn drive(
        &self,
        job: &Job,
        lease: &mut Lease,
        bench: &mut dyn Bench,
        survey: &Survey,
        stop: &CancellationToken,
    ) -> Conclusion {
        let terms = bench.terms();
        let is_unchecked = terms.stage == Stage::Implementation && !terms.has_gate;
        if is_unchecked && !self.has_told_of_no_gate.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "work lands unchecked: the repository has no checks under `verify` in {POLICY_PATH}"
            );
        }
        let (mut run, mut action) = IssueRun::begin(terms);
        let mut survey = survey.clone();
        let mut turn = None;
        // Whether nothing that takes its time has been done since the issue was last looked at.
        let mut is_confirmed = false;
        loop {
            let rounds = run.fix_rounds();
            let claim = lease.held.claim.clone();
            let halt = stop.child_token();
            let withdrawn = match action {
                Action::Push(_) if !is_confirmed => {
                    is_confirmed = true;
                    self.look_again(&claim).await
                }
                Action::RunAgent(_) | Action::Gate | Action::GateBase | Action::Wait { .. } => {
                    is_confirmed = false;
                    None
                }
                Action::Push(_) | Action::Rebase | Action::Collect | Action::End(_) => None,
            };
            if let Some(why) = withdrawn {
                action = run.on(Event::Withdrawn(why));
                continue;
            }
            // Whoever has lost the race for the trunk rebases and pushes again before the others go on;
            // but nobody waits for an agent or a gate.
            match action {
                Action::Push(Target::Trunk) | Action::Rebase if turn.is_none() => {
                    turn = Some(self.around.claims.turn().await);
                }
                Action::RunAgent(_) | Action::Gate | Action::GateBase | Action::Wait { .. } => turn = None,
                Action::Push(_) | Action::Rebase | Action::Collect | Action::End(_) => {}
            }
            let event = match action {
                Action::RunAgent(_) | Action::Gate | Action::GateBase | Action::Wait { .. }
                    if stop.is_cancelled() =>
                {
                    Event::StopRequested
                }
                Action::RunAgent(round) => {
                    self.step(job, Step::Agent, rounds, None);
                    let salvage = bench.salvage();
                    let work = self.while_wanted(&claim, &halt, bench.run_agent(&round, &halt));
                    lease.keep_during(Some(salvage), work).await
                }
                Action::Wait { wait, why } => {
                    let wait = spread(wait, &job.run, rounds);
                    let detail = format!("{why}, going on in {} s", wait.as_secs());
                    tracing::info!(issue.key = %job.issue.key, wait_secs = wait.as_secs(), "{detail}");
                    self.step(job, Step::Waiting, rounds, Some(detail));
                    let salvage = bench.salvage();
                    let waiting = async {
                        tokio::select! {
                            () = self.around.clock.sleep(wait) => Event::Waited,
                            () = halt.cancelled() => Event::StopRequested,
                        }
                    };
                    lease.keep_during(Some(salvage), self.while_wanted(&claim, &halt, waiting)).await
                }
                Action::Collect => bench.collect().await,
                Action::Gate => {
                    self.step(job, Step::Gate, rounds, None);
                    let salvage = bench.salvage();
                    let work = self.while_wanted(&claim, &halt, bench.gate(&halt));
                    lease.keep_during(Some(salvage), work).await
                }
                Action::GateBase => {
                    let detail = "on the trunk, without the agent's work".to_owned();
                    self.step(job, Step::Gate, rounds, Some(detail));
                    let salvage = bench.salvage();
                    let work = self.while_wanted(&claim, &halt, bench.gate_base(&halt));
                    lease.keep_during(Some(salvage), work).await
                }
                Action::Push(target) => {
                    self.step(job, Step::Publish, rounds, None);
                    match bench.work() {
                        Some(commit) => {
                            let landing = self.landing(job, commit, target, &survey);
                            let outcome = Outcome::Landed {
                                commit: landing.commit.clone(),
                                branch: landing.branch.clone(),
                                target,
                                diverted: run.diverted().map(str::to_owned),
                                plan: bench.plan_path(),
                            };
                            let record = self.record(job, lease, outcome, bench.receipt());
                            self.push(job, lease, landing, record).await
                        }
                        None => Event::Broke(internal("there is no commit to push")),
                    }
                }
                Action::Rebase => match self.around.claims.survey().await {
                    Ok(fresh) => {
                        survey = fresh;
                        match survey.trunk.clone() {
                            Some(trunk) => bench.rebase(&trunk).await,
                            None => Event::Broke(internal("the trunk is gone")),
                        }
                    }
                    Err(error) => Event::Broke(internal(chain(&error))),
                },
                Action::End(conclusion) => return conclusion,
            };
            let refused_for = refused_for(&event);
            action = run.on(event);
            if let (Action::End(Conclusion::Failed(failure)), Some(wait)) = (&mut action, refused_for) {
                // The step machine knows of no time.
                failure.until = self.around.clock.now().checked_add(wait).ok();
            }
        }
    }

    /// Lands the work, if the claim still holds. A remote that cannot be reached is tried again for a
    /// while: what the agent did is worth more than the wait.
    async fn push(&self, job: &Job, lease: &mut Lease, landing: Landing, record: RunRecord) -> Event {
        let mut wait = FIRST_PUSH_WAIT;
        loop {
            let sent_at = self.around.clock.monotonic();
            let next = lease.held.claim.published(record.clone(), self.around.clock.now());
            match self.around.claims.publish(&lease.held, next, &landing).await {
                Ok(Published::Landed(held)) => {
                    lease.confirmed(*held, sent_at);
                    return Event::Pushed(PushOutcome::Landed);
                }
                Ok(Published::BranchMoved) => return Event::Pushed(PushOutcome::BranchMoved),
                Ok(Published::BranchRefused(says)) => {
                    return Event::Pushed(PushOutcome::BranchRefused(says.0));
                }
                Err(ClaimError::Lost) => return Event::ClaimLost,
                Err(ClaimError::Unreachable(says)) if wait <= LONGEST_PUSH_WAIT => {
                    tracing::warn!(issue.key = %job.issue.key, error = %says, "cannot push yet; trying again");
                    self.around.clock.sleep(wait).await;
                    wait *= 2;
                }
                Err(error) => {
                    let failure = internal(format!("cannot push the work: {}", chain(&error)));
                    return self.given_up(job, lease, &landing, failure).await;
                }
            }
        }
    }

    /// Finds out what a push came to that was given up. An answer may have been lost: the tracker must
    /// not hear that work failed which has landed.
    async fn given_up(&self, job: &Job, lease: &mut Lease, landing: &Landing, failure: Failure) -> Event {
        match lease.renew(None).await {
            Ok(()) if matches!(lease.held.claim.state, ClaimState::Published { .. }) => {
                Event::Pushed(PushOutcome::Landed)
            }
            Ok(()) => Event::Broke(failure),
            Err(ClaimError::Lost) => Event::ClaimLost,
            Err(_) => {
                let commit = &landing.commit;
                tracing::error!(
                    issue.key = %job.issue.key, %commit,
                    "{}; whether it landed is left to its claim, and it is commit {commit} of the local mirror",
                    failure.reason
                );
                Event::ClaimLost
            }
        }
    }

    /// Says where the work is to land.
    fn landing(&self, job: &Job, commit: CommitId, target: Target, survey: &Survey) -> Landing {
        match target {
            Target::Trunk => Landing { commit, branch: self.orders.trunk.clone(), replaces: None },
            Target::Feature => {
                let name = feature_name(job, survey);
                let replaces = Some(survey.features.get(&name).cloned());
                Landing { commit, branch: format!("{FEATURE}{name}"), replaces }
            }
        }
    }

    /// Makes the record of a run's end, and saves what is to be kept of its work. `None`: the claim is
    /// no longer held.
    async fn conclude(
        &self,
        job: &Job,
        lease: &Lease,
        conclusion: Conclusion,
        bench: Option<&dyn Bench>,
    ) -> Option<(RunRecord, Wip)> {
        let receipt = || bench.map(Bench::receipt).unwrap_or_default();
        Some(match conclusion {
            Conclusion::ClaimLost => return None,
            Conclusion::Landed { .. } => match &lease.held.claim.state {
                ClaimState::Published { record } => ((**record).clone(), Wip::Drop),
                ClaimState::Working => unreachable!("only a publish makes a run land"),
            },
            Conclusion::Failed(failure) => {
                // Work that was cut short is gone on with; work that was wrong is only kept.
                let purpose = match failure.kind {
                    FailureKind::RateLimited
                    | FailureKind::ServiceUnavailable
                    | FailureKind::QuotaExhausted
                    | FailureKind::NotAuthenticated
                    | FailureKind::OutOfTurns
                    | FailureKind::OutOfBudget
                    | FailureKind::RepositoryFault
                    | FailureKind::BaseFailsGate
                    | FailureKind::AgentTimedOut => SaveFor::GoingOn,
                    _ => SaveFor::LookingAt,
                };
                let record = self.record(job, lease, Outcome::Failed(failure), receipt());
                (record, save(bench, purpose).await)
            }
            Conclusion::Interrupted => (
                self.record(job, lease, Outcome::Interrupted, receipt()),
                save(bench, SaveFor::GoingOn).await,
            ),
            Conclusion::Withdrawn(why) => (
                self.record(job, lease, Outcome::Withdrawn { why }, receipt()),
                save(bench, SaveFor::GoingOn).await,
            ),
        })
    }

    /// Tells the tracker of a run's end, and gives the claim up.
    async fn report(
        &self,
        job: &Job,
        mut lease: Lease,
        record: RunRecord,
        wip: &Wip,
    ) -> Result<Option<RunRecord>, WorkerError> {
        self.step(job, Step::Report, record.receipt.fix_rounds, None);
        let record = match self.clerk.counted_by_now(record.clone(), &lease.held).await {
            Ok(counted) => counted,
            // A number that may be wrong is not told.
            Err(error) => {
                self.clerk.leave(&lease.held, record, wip.clone());
                return Err(error);
            }
        };
        let record = match self.clerk.tell(&record, &mut lease).await {
            Ok(told) => told,
            Err(WorkerError::Claims(ClaimError::Lost)) => return Ok(self.dropped(job)),
            Err(WorkerError::Claims(error)) => return Err(self.kept(job, wip, error).into()),
            // The claim stays: the next pass settles it, or whoever finds it.
            Err(error) => {
                self.clerk.leave(&lease.held, record, wip.clone());
                return Err(error);
            }
        };
        let mut released = self.around.claims.release(&lease.held, Some(&record), wip).await;
        if let (Err(ClaimError::Refused { .. } | ClaimError::Other { .. }), Wip::Put(commit)) =
            (&released, wip)
        {
            // It may be the work that the remote does not take: too large for it, say.
            let issue = &job.issue.key;
            tracing::warn!(
                issue.key = %issue, %commit,
                "the work on issue `{issue}` could not be sent; it is commit {commit} of the local mirror"
            );
            released = self.around.claims.release(&lease.held, Some(&record), &Wip::Keep).await;
        }
        match released {
            Ok(()) => {}
            Err(ClaimError::Lost) => return Ok(self.dropped(job)),
            Err(error) => return Err(self.kept(job, wip, error).into()),
        }
        log_end(&record);
        self.around.observer.note(What::Ended { record: Box::new(record.clone()) });
        Ok(Some(record))
    }

    /// Notes that the claim is no longer ours to act under: nothing more may be written.
    fn dropped(&self, job: &Job) -> Option<RunRecord> {
        let issue = job.issue.key.clone();
        tracing::warn!(issue.key = %issue, run = %job.run, "lost the claim on issue `{issue}`; its run is dropped");
        self.around.observer.note(What::Dropped { issue, why: "the claim is lost".into() });
        None
    }

    /// Says where the work is when it could not be pushed.
    fn kept(&self, job: &Job, wip: &Wip, error: ClaimError) -> ClaimError {
        if let Wip::Put(commit) = wip {
            tracing::error!(
                issue.key = %job.issue.key, %commit,
                "the work on issue `{}` could not be sent; it is commit {commit} of the local mirror", job.issue.key
            );
        }
        error
    }

    fn step(&self, job: &Job, step: Step, round: u32, detail: Option<String>) {
        self.around.observer.note(What::Step { issue: job.issue.key.clone(), step, round, detail });
    }

    pub(super) fn record(&self, job: &Job, lease: &Lease, outcome: Outcome, receipt: Receipt) -> RunRecord {
        let outcome = match outcome {
            Outcome::Failed(failure) => Outcome::Failed(failure.masked(&self.around.mask)),
            told => told,
        };
        let started_at = lease.held.claim.started_at;
        let ended_at = self.around.clock.now();
        let duration_ms = ended_at.duration_since(started_at).as_millis();
        RunRecord {
            run: job.run.clone(),
            issue: job.issue.key.clone(),
            identity: job.issue.identity.clone(),
            summary: job.issue.summary.clone(),
            stage: job.stage,
            worker: self.orders.worker.clone(),
            started_at,
            ended_at,
            outcome,
            receipt: Receipt {
                attempt: job.attempt,
                duration_ms: u64::try_from(duration_ms).unwrap_or_default(),
                ..receipt
            },
            blocked: false,
            untold: None,
        }
    }
}

async fn save(bench: Option<&dyn Bench>, purpose: SaveFor) -> Wip {
    let Some(bench) = bench else { return Wip::Keep };
    bench.salvage().save(purpose).await.map_or(Wip::Keep, Wip::Put)
}

/// Returns for how long the agent's service refuses, if it says.
fn refused_for(event: &Event) -> Option<Duration> {
    match event {
        Event::AgentEnded(AgentOutcome::Trouble(Trouble::RateLimited { retry_after })) => *retry_after,
        _ => None,
    }
}

/// Lengthens a wait by up to a quarter, so that workers that one service has refused together do not come
/// back together. By how much, the run's id says: there is no other chance in a run.
fn spread(wait: Duration, run: &RunId, nth: u32) -> Duration {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (run.as_str(), nth).hash(&mut hasher);
    let parts = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
    wait + wait / 4 / 1000 * parts
}

fn internal(reason: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Internal, reason)
}

fn log_end(record: &RunRecord) {
    let RunRecord { issue, run, receipt, .. } = record;
    let duration_ms = receipt.duration_ms;
    match &record.outcome {
        Outcome::Landed { commit, plan: Some(path), .. } => {
            let commit = commit.short();
            tracing::info!(issue.key = %issue, %run, commit, duration_ms, "planned issue `{issue}` as {commit} in {path}");
        }
        Outcome::Landed { commit, branch, .. } => {
            let commit = commit.short();
            tracing::info!(issue.key = %issue, %run, commit, duration_ms, "landed issue `{issue}` as {commit} on {branch}");
        }
        Outcome::Failed(failure) => {
            let reason = &failure.reason;
            tracing::warn!(issue.key = %issue, %run, duration_ms, blocked = record.blocked, "gave issue `{issue}` back: {reason}");
            if failure.kind.is_fault_of_repository() {
                // It is shown as it is laid out: where in the file, and what of it.
                let shown = failure.evidence.as_deref().unwrap_or_default().lines();
                shown.for_each(|line| tracing::warn!(issue.key = %issue, "{line}"));
            }
        }
        Outcome::Interrupted => {
            tracing::info!(issue.key = %issue, %run, duration_ms, "stopped working on issue `{issue}`; its work is kept");
        }
        Outcome::Withdrawn { why } => {
            tracing::info!(
                issue.key = %issue, %run, duration_ms,
                "withdrew from issue `{issue}`, its work is kept: {why}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acf_core::claim::Held;
    use acf_core::clock::Clock as _;
    use acf_core::issue::Issue;

    use super::super::stubs::{Answer, Moved, Refused, Renewals, Unasked, held, issue, worker_with};
    use super::*;

    struct Given {
        event: Event,
        pushes: usize,
        after_secs: u64,
    }

    fn job(held: &Held) -> Job {
        Job {
            run: held.claim.run.clone(),
            issue: Issue { key: held.claim.issue.clone(), summary: held.claim.summary.clone(), ..issue() },
            stage: Stage::Implementation,
            target: Target::Trunk,
            base: CommitId::new("base"),
            wip: None,
            attempt: 1,
            own_branch: None,
        }
    }

    /// Pushes to a remote that cannot be reached, until it is given up; `answer` is what the claim's
    /// renewal then comes to.
    async fn push_in_vain(answer: Answer) -> Given {
        let (claims, clock) = (Arc::new(Renewals::answered(&[answer])), Arc::new(Moved::default()));
        let held = held(60 * 60);
        let worker = worker_with(claims.clone(), Arc::new(Unasked), clock.clone());
        let job = job(&held);
        let landing = Landing { commit: CommitId::new("work"), branch: "main".into(), replaces: None };
        let mut lease = Lease::new(held, claims.clone(), clock.clone(), Duration::ZERO);
        let outcome = Outcome::Landed {
            commit: landing.commit.clone(),
            branch: landing.branch.clone(),
            target: Target::Trunk,
            diverted: None,
            plan: None,
        };
        let record = worker.record(&job, &lease, outcome, Receipt::default());
        let event = worker.push(&job, &mut lease, landing, record).await;
        Given { event, pushes: claims.publishes(), after_secs: clock.monotonic().as_secs() }
    }

    #[test]
    fn waits_are_spread_over_a_quarter_more_and_are_never_shorter() {
        let wait = Duration::from_secs(100);
        let spread: Vec<_> = (0..200).map(|n| spread(wait, &RunId::new(format!("r{n}")), 0)).collect();
        assert!(spread.iter().all(|spread| (wait..=wait * 5 / 4).contains(spread)));
        let late = spread.iter().filter(|spread| **spread > wait * 9 / 8).count();
        assert!((50..150).contains(&late), "{late} of 200 in the later half");
        assert_eq!(super::spread(wait, &RunId::new("r1"), 1), super::spread(wait, &RunId::new("r1"), 1));
    }

    #[tokio::test]
    async fn a_wait_for_the_agents_service_is_longer_than_told_by_what_the_runs_id_says() {
        let wait = Duration::from_secs(1000);
        let clock = Arc::new(Moved::default());
        let worker =
            worker_with(Arc::new(Renewals::answered(&[Answer::Yes])), Arc::new(Unasked), clock.clone());
        let job = job(&held(60 * 60));
        let mut lease =
            Lease::new(held(60 * 60), worker.around.claims.clone(), clock.clone(), Duration::ZERO);
        let stop = CancellationToken::new();
        let mut refused = Refused(Some(wait));

        let end = worker.drive(&job, &mut lease, &mut refused, &Survey::default(), &stop).await;

        assert!(matches!(end, Conclusion::Failed(_)), "{end:?}");
        assert_eq!(clock.monotonic(), spread(wait, &job.run, 0));
        assert!(clock.monotonic() > wait);
    }

    #[tokio::test]
    async fn a_remote_that_stays_away_is_pushed_to_for_a_minute() {
        let given = push_in_vain(Answer::Yes).await;
        assert_eq!((given.pushes, given.after_secs), (6, 2 + 4 + 8 + 16 + 32));
        let Event::Broke(failure) = given.event else { panic!("{:?}", given.event) };
        assert_eq!(failure.kind, FailureKind::Internal);
        assert_eq!(failure.reason, "cannot push the work: cannot reach the remote: no route");
    }

    #[tokio::test]
    async fn what_a_push_that_was_given_up_came_to_is_told_by_its_claim() {
        let landed = push_in_vain(Answer::Published).await;
        assert_eq!(landed.event, Event::Pushed(PushOutcome::Landed));
        assert_eq!(push_in_vain(Answer::Lost).await.event, Event::ClaimLost);
        // Nobody knows: whoever settles the claim will.
        assert_eq!(push_in_vain(Answer::Nothing).await.event, Event::ClaimLost);
    }
}
