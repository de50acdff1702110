//! One pass: look once, settle what is dead, take the first issue that is eligible, and run it.

use std::collections::BTreeMap;
use std::time::Duration;

use acf_core::claim::{Claim, ClaimError, ClaimStore, Survey, Wip};
use acf_core::clock::Clock;
use acf_core::eligibility::{ClaimView, Rules, Verdict, Whereabouts, judge, judge_issue, target};
use acf_core::issue::{Issue, Stage};
use acf_core::progress::What;
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, FailureKind, History, Outcome, RunRecord, WorkerId};
use acf_core::tracker::{Applied, Change, TrackerError};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::lease::Lease;
use super::obstacles::Obstacles;
use super::report::Patience;
use super::{Job, Worker, WorkerError};

/// What came of a pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Pass {
    /// An issue was worked on; its record, unless the run was dropped.
    Worked(Option<Box<RunRecord>>),
    /// There was nothing to do.
    Nothing {
        /// Why not, in a sentence.
        why: String,
        /// When the next issue comes out of its backoff, if one will.
        look_again_at: Option<Timestamp>,
    },
    /// No issue is taken for now, whichever there are.
    Resting {
        /// Why not, in a sentence that says until when.
        why: String,
        /// Until when.
        until: Timestamp,
    },
    /// The worker was told to stop.
    Stopped,
}

impl Worker {
    /// Looks once for an issue, and works on it if there is one.
    ///
    /// # Errors
    /// [`WorkerError`] when claims or tracker cannot be reached. An issue that was being worked on
    /// then keeps its claim, and is settled by whoever finds it.
    pub async fn pass(&self, stop: &CancellationToken) -> Result<Pass, WorkerError> {
        let mut survey = self.around.claims.survey().await?;
        if !self.clerk.settle(&survey, None).await?.settled.is_empty() {
            // What was settled may be taken at once, if it is seen as it is now.
            survey = self.around.claims.survey().await?;
        }
        let Some(trunk) = survey.trunk.clone() else {
            return Err(WorkerError::NoTrunk(self.orders.trunk.clone()));
        };
        if let Some(rest) = self.rest(&trunk, stop).await {
            return Ok(Pass::Resting { why: rest.why, until: rest.until });
        }
        if let Some(spent) = self.budget_spent(&survey).await? {
            return Ok(spent);
        }
        let candidates = self.around.tracker.candidates(self.orders.stage).await?;
        let candidates = candidates.into_iter().map(|issue| issue.masked(&self.around.mask)).collect();
        self.take_first(candidates, &survey, &trunk, stop).await
    }

    /// Works on that one issue, if it is eligible.
    ///
    /// # Errors
    /// As [`Worker::pass`].
    pub async fn pass_for(&self, issue: Issue, stop: &CancellationToken) -> Result<Pass, WorkerError> {
        let survey = self.around.claims.survey().await?;
        let Some(trunk) = survey.trunk.clone() else {
            return Err(WorkerError::NoTrunk(self.orders.trunk.clone()));
        };
        if let Some(spent) = self.budget_spent(&survey).await? {
            return Ok(spent);
        }
        let pass = self.take_first(vec![issue.masked(&self.around.mask)], &survey, &trunk, stop).await;
        if pass.is_err() {
            // There is no next pass that could settle what this one has left.
            self.clerk.let_go().await;
        }
        pass
    }

    /// Tells whether the day's runs have cost as much as they may.
    async fn budget_spent(&self, survey: &Survey) -> Result<Option<Pass>, WorkerError> {
        let Some(budget) = self.orders.daily_budget_usd else { return Ok(None) };
        let now = self.around.clock.now();
        let rest = self.spending.rest(&*self.around.claims, survey, budget, now).await?;
        Ok(rest.map(|rest| Pass::Resting { why: rest.why, until: rest.until }))
    }

    async fn take_first(
        &self,
        candidates: Vec<Issue>,
        survey: &Survey,
        trunk: &CommitId,
        stop: &CancellationToken,
    ) -> Result<Pass, WorkerError> {
        let Orders { stage, rules, .. } = self.orders();
        let seen = candidates.len();
        let (claims, runs) = (survey.claims.len(), survey.runs.len());
        tracing::debug!(
            seen, claims, runs, trunk = %trunk,
            "looked: {seen} issues that might be taken, {claims} claims, past runs of {runs} issues, trunk at {trunk}"
        );
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|issue| judge_issue(issue, stage, rules).is_eligible());
        let mut past = read_past(&*self.around.claims, &wanted, survey).await?;
        let wanted = troublesome_last(wanted, &past, stage);
        let mut obstacles = Obstacles::default();
        unwanted.iter().for_each(|issue| obstacles.note(&issue.key, &judge_issue(issue, stage, rules)));
        let mut look_again_at: Option<Timestamp> = None;
        for issue in wanted {
            if stop.is_cancelled() {
                return Ok(Pass::Stopped);
            }
            let history = past.remove(&issue.reference().record_name()).unwrap_or_default();
            let verdict =
                judge(&issue, stage, rules, &claim_view(&issue, survey), &history, self.around.clock.now());
            if !verdict.is_eligible() {
                let not_before = history.not_before(stage, rules.attempts);
                match not_before {
                    Some(at) if verdict.first_obstacle() == verdict.findings.last() => {
                        obstacles.note_wait(&issue.key, at);
                    }
                    _ => obstacles.note(&issue.key, &verdict),
                }
                look_again_at = [look_again_at, not_before].into_iter().flatten().min();
                continue;
            }
            match self.claim_and_run(issue, &history, survey, trunk, stop).await? {
                Some(pass) => return Ok(pass),
                None => obstacles.note_lost(),
            }
        }
        Ok(Pass::Nothing { why: obstacles.told(seen), look_again_at })
    }

    fn orders(&self) -> Orders<'_> {
        Orders { stage: self.orders.stage, rules: &self.orders.rules }
    }

    /// Claims an issue, confirms it with the tracker, and runs it. `None`: somebody else was first.
    async fn claim_and_run(
        &self,
        issue: Issue,
        history: &History,
        survey: &Survey,
        trunk: &CommitId,
        stop: &CancellationToken,
    ) -> Result<Option<Pass>, WorkerError> {
        let stage = self.orders.stage;
        let run = (self.around.run_ids)();
        let sent_at = self.around.clock.monotonic();
        let claim = Claim::new(
            &issue,
            stage,
            self.orders.worker.clone(),
            run.clone(),
            self.around.clock.now(),
            self.orders.claim_ttl,
        )
        .in_name_of(&self.orders.account)
        .in_place(self.around.tracker.place());
        let held = match self.around.claims.take(claim, None, survey).await {
            Ok(held) => held,
            Err(ClaimError::Lost) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        tracing::info!(issue.key = %issue.key, run = %run, "claimed issue `{}`", issue.key);
        self.around.observer.note(What::Claimed {
            run: run.clone(),
            issue: issue.key.clone(),
            summary: issue.summary.clone(),
            stage,
        });
        let mut lease = Lease::new(held, self.around.claims.clone(), self.around.clock.clone(), sent_at);
        let job = |issue: Issue, wip| Job {
            run: run.clone(),
            target: target(&issue, stage, &self.orders.rules),
            issue,
            stage,
            base: trunk.clone(),
            wip,
            attempt: history.failed_attempts(stage) + 1,
            own_branch: history.feature_branch().map(str::to_owned),
        };
        let record = match self.confirm(&issue, &mut lease).await {
            Ok(Confirmed::Taken(found)) => {
                let job = job(*found, lease.held.wip.clone());
                self.run(&job, lease, survey, stop).await?
            }
            Ok(Confirmed::Dropped(why)) => {
                self.drop_claim(&issue, &lease, why).await?;
                return Ok(None);
            }
            // An issue that cannot be moved or assigned fails by itself, and costs nobody the others.
            Err(WorkerError::Tracker(TrackerError::Impossible(why))) => {
                let failure = Failure::new(FailureKind::TrackerRefused, why);
                self.fail_at_once(&job(issue, None), lease, failure).await?
            }
            // Whether the tracker took the changes is not known: the claim stays until it is settled,
            // which gives the issue back.
            Err(error) => {
                let nothing_done =
                    self.record(&job(issue, None), &lease, Outcome::Interrupted, Receipt::default());
                self.clerk.leave(&lease.held, nothing_done, Wip::Keep);
                return Err(error);
            }
        };
        if let Some(record) = &record {
            self.fatigue.note(record, self.around.clock.now());
        }
        Ok(Some(Pass::Worked(record.map(Box::new))))
    }

    /// Reads the issue again and, if it still is one to take, assigns it and moves it on. A tracker that
    /// does not answer is asked again for a while.
    async fn confirm(&self, issue: &Issue, lease: &mut Lease) -> Result<Confirmed, WorkerError> {
        let (stage, rules) = (self.orders.stage, &self.orders.rules);
        let is_still_wanted = |issue: &Issue| judge_issue(issue, stage, rules).is_eligible();
        // In this order: where a tracker takes one change at a time and the worker dies between them, the
        // status is what tells that there is something to be given back.
        let changes =
            [Change::Transition(stage.working_status()), Change::Assign(self.orders.account.clone())];
        let mut patience = Patience::default();
        loop {
            lease.ensure().await?;
            let claim = lease.held.claim.clone();
            // What got no answer may have been done in part: then the issue is as this run has put it.
            let is_ours = |issue: &Issue| patience.is_tried() && claim.is_working_on(issue);
            let is_to_be_taken = |issue: &Issue| is_still_wanted(issue) || is_ours(issue);
            match self.around.tracker.apply_if(&issue.reference(), &is_to_be_taken, &changes).await {
                Ok(Applied::Yes(found)) => {
                    if is_still_wanted(&found) {
                        // It may have been approved since the poll: it is given back as it is now.
                        lease.held.claim.found_status = found.status.clone();
                        return Ok(Confirmed::Taken(Box::new(found.masked(&self.around.mask))));
                    }
                    // As it was found before the first try.
                    let (status, assignee) = (claim.found_status.clone(), None);
                    let found = found.masked(&self.around.mask);
                    return Ok(Confirmed::Taken(Box::new(Issue { status, assignee, ..found })));
                }
                Ok(Applied::No(found)) => {
                    // A try that got no answer may have assigned it before somebody moved it back.
                    if patience.is_tried() && claim.keeps_others_from(&found) {
                        let keeps = |issue: &Issue| claim.keeps_others_from(issue);
                        self.around.tracker.apply_if(&issue.reference(), &keeps, &[Change::Unassign]).await?;
                    }
                    let verdict = judge_issue(&found, stage, rules);
                    let why =
                        verdict.first_obstacle().map_or_else(String::new, |finding| finding.says.clone());
                    return Ok(Confirmed::Dropped(why));
                }
                Err(TrackerError::NotFound(_)) => {
                    return Ok(Confirmed::Dropped("the issue is gone".to_owned()));
                }
                Err(error) => patience.wait(&*self.around.clock, &issue.key, error.into()).await?,
            }
        }
    }

    /// Gives up the claim on an issue that is not to be taken after all.
    async fn drop_claim(&self, issue: &Issue, lease: &Lease, why: String) -> Result<(), WorkerError> {
        tracing::info!(issue.key = %issue.key, why, "dropped issue `{}`: {why}", issue.key);
        self.around.observer.note(What::Dropped { issue: issue.key.clone(), why });
        match self.around.claims.release(&lease.held, None, &Wip::Keep).await {
            Ok(()) | Err(ClaimError::Lost) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What came of looking at a claimed issue again.
enum Confirmed {
    /// It is assigned and moved on; the issue as it was found.
    Taken(Box<Issue>),
    /// It is not to be taken after all, and nothing was changed; why not.
    Dropped(String),
}

/// The orders that judging takes.
struct Orders<'a> {
    stage: Stage,
    rules: &'a Rules,
}

fn claim_view(issue: &Issue, survey: &Survey) -> ClaimView {
    if survey.claims.contains_key(issue.key.slug()) { ClaimView::Unread } else { ClaimView::None }
}

/// Puts issues last over which the agent's service failed: one that makes it fail every time must not keep
/// the others waiting for ever.
fn troublesome_last(mut issues: Vec<Issue>, past: &BTreeMap<String, History>, stage: Stage) -> Vec<Issue> {
    issues.sort_by_key(|issue| {
        let history = past.get(&issue.reference().record_name());
        history.is_some_and(|history| history.troubled_the_service(stage))
    });
    issues
}

/// Reads the past runs of those issues that have any.
async fn read_past(
    claims: &dyn ClaimStore,
    issues: &[Issue],
    survey: &Survey,
) -> Result<BTreeMap<String, History>, ClaimError> {
    let names = issues.iter().map(|issue| issue.reference().record_name());
    let chains: BTreeMap<_, _> =
        names.filter_map(|name| survey.runs.get(&name).cloned().map(|tip| (name, tip))).collect();
    if chains.is_empty() {
        return Ok(BTreeMap::new());
    }
    let read = claims.read_runs(&chains).await?;
    Ok(read.into_iter().map(|(name, records)| (name, History::new(records))).collect())
}

async fn read_history(
    claims: &dyn ClaimStore,
    issue: &Issue,
    survey: &Survey,
) -> Result<History, ClaimError> {
    let past = read_past(claims, std::slice::from_ref(issue), survey).await?;
    Ok(past.into_values().next().unwrap_or_default())
}

/// Tells whether a worker of that stage would take the issue now.
pub(super) async fn is_takeable(
    claims: &dyn ClaimStore,
    issue: &Issue,
    stage: Stage,
    rules: &Rules,
    survey: &Survey,
    clock: &dyn Clock,
) -> Result<bool, ClaimError> {
    if !judge_issue(issue, stage, rules).is_eligible() {
        return Ok(false);
    }
    let history = read_history(claims, issue, survey).await?;
    Ok(judge(issue, stage, rules, &claim_view(issue, survey), &history, clock.now()).is_eligible())
}

/// Judges one issue as a worker of that stage would, with the holder of its claim named. `place` tells
/// where a worker is.
///
/// # Errors
/// [`ClaimError`] when the claims cannot be read.
pub async fn explain(
    claims: &dyn ClaimStore,
    issue: &Issue,
    stage: Stage,
    rules: &Rules,
    clock: &dyn Clock,
    place: &(dyn Fn(&WorkerId) -> Whereabouts + Sync),
) -> Result<Verdict, ClaimError> {
    let survey = claims.survey().await?;
    let slug = issue.key.slug();
    let mut view = claim_view(issue, &survey);
    if let Some(version) = survey.claims.get(slug) {
        let read = claims.read_claims(&BTreeMap::from([(slug.to_owned(), version.clone())])).await?;
        if let Some(claim) = read.get(version) {
            let place = place(&claim.worker);
            view = ClaimView::Held { worker: claim.worker.clone(), since: claim.started_at, place };
        }
    }
    let history = read_history(claims, issue, &survey).await?;
    Ok(judge(issue, stage, rules, &view, &history, clock.now()))
}

/// Returns how long to wait until then, at least a tenth of a second, at most `longest`.
#[must_use]
pub(crate) fn wait_until(at: Option<Timestamp>, now: Timestamp, longest: Duration) -> Duration {
    let Some(at) = at else { return longest };
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    wait.clamp(Duration::from_millis(100).min(longest), longest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acf_core::clock::Clock as _;
    use acf_core::issue::Status;

    use super::super::Settlement;
    use super::super::stubs::{self, Failing, Granted, Moved, Stubborn, worker_with};
    use super::*;

    fn no_route() -> TrackerError {
        TrackerError::other("cannot reach the tracker", "no route")
    }

    /// Takes and confirms an issue while the tracker fails like that. Returns what came of it, the issue as
    /// the tracker has it then, and after how many seconds.
    async fn confirm(
        failures: impl IntoIterator<Item = Failing>,
    ) -> (Result<Confirmed, WorkerError>, Issue, u64) {
        let tracker = Arc::new(Stubborn::new(stubs::issue(), failures));
        let (claims, clock) = (Arc::new(Granted::default()), Arc::new(Moved::default()));
        let worker = worker_with(claims.clone(), tracker.clone(), clock.clone());
        let mut held = stubs::held(60 * 60);
        held.claim = held.claim.in_name_of("acf");
        let mut lease = Lease::new(held, claims, clock.clone(), Duration::ZERO);
        let confirmed = worker.confirm(&stubs::issue(), &mut lease).await;
        (confirmed, tracker.now(), clock.monotonic().as_secs())
    }

    #[tokio::test]
    async fn a_tracker_that_does_not_answer_is_asked_again_before_an_issue_is_given_up() {
        let failures = [Failing::Before(no_route()), Failing::AfterOne(no_route())];
        let (confirmed, now, after_secs) = confirm(failures).await;
        let Ok(Confirmed::Taken(found)) = confirmed else { panic!("it was not taken") };
        assert_eq!(*found, stubs::issue(), "it is as it was found before the first try");
        assert_eq!((now.status, now.assignee.as_deref()), (Status::InProgress, Some("acf")));
        assert_eq!(after_secs, 2 + 4);
    }

    #[tokio::test]
    async fn a_tracker_that_stays_away_is_left_to_whoever_settles_the_claim() {
        let (confirmed, _, after_secs) = confirm([0; 4].map(|_| Failing::AfterOne(no_route()))).await;
        assert!(matches!(confirmed, Err(WorkerError::Tracker(TrackerError::Other { .. }))));
        assert_eq!(after_secs, 2 + 4 + 8);
    }

    #[tokio::test]
    async fn a_tracker_that_says_how_long_to_wait_is_believed_up_to_a_minute() {
        let limited =
            |secs| Failing::Before(TrackerError::RateLimited { retry_after: Duration::from_secs(secs) });
        let (confirmed, _, after_secs) = confirm([limited(50)]).await;
        assert!(matches!(confirmed, Ok(Confirmed::Taken(_))));
        assert_eq!(after_secs, 50);
        let (confirmed, _, after_secs) = confirm([limited(61)]).await;
        assert!(matches!(confirmed, Err(WorkerError::Tracker(TrackerError::RateLimited { .. }))));
        assert_eq!(after_secs, 0);
    }

    #[tokio::test]
    async fn what_a_silent_tracker_may_have_taken_is_given_back_once_it_answers_and_is_no_attempt() {
        let tracker = Arc::new(Stubborn::new(stubs::issue(), [0; 4].map(|_| Failing::AfterOne(no_route()))));
        let claims = Arc::new(Granted::default());
        let worker = worker_with(claims.clone(), tracker.clone(), Arc::new(Moved::default()));
        let stop = CancellationToken::new();
        worker.pass(&stop).await.unwrap_err();
        assert_eq!((tracker.now().status, claims.released()), (Status::InProgress, vec![]));

        let settled = worker.clerk.settle(&claims.survey().await.unwrap(), None).await.unwrap().settled;

        assert_eq!(settled.len(), 1);
        assert_eq!(settled[0].record.outcome, Outcome::Interrupted);
        assert_eq!(tracker.now(), stubs::issue(), "it is given back");
        assert_eq!(tracker.comments(), [""; 0]);
        let again = worker.clerk.settle(&claims.survey().await.unwrap(), None).await.unwrap();
        assert_eq!(again, Settlement::default());
    }

    #[tokio::test]
    async fn what_cannot_be_settled_is_not_tried_at_every_pass() {
        let confirming = [0; 4].map(|_| Failing::AfterOne(no_route()));
        let settling = [0; 12].map(|_| Failing::Before(no_route()));
        let failures = confirming.into_iter().chain(settling);
        let tracker = Arc::new(Stubborn::new(stubs::issue(), failures));
        let (claims, clock) = (Arc::new(Granted::default()), Arc::new(Moved::default()));
        let worker = worker_with(claims.clone(), tracker.clone(), clock.clone());
        worker.pass(&CancellationToken::new()).await.unwrap_err();
        let mut tried_at_secs = Vec::new();
        while tried_at_secs.len() < 3 {
            let begun = clock.monotonic().as_secs();
            let settlement = worker.clerk.settle(&claims.survey().await.unwrap(), None).await.unwrap();
            if !settlement.unsettled.is_empty() {
                tried_at_secs.push(begun);
            }
            clock.sleep(Duration::from_secs(1)).await;
        }
        // Each try takes 14 s of patience; then 10 s pass, then 20 s.
        assert_eq!(tried_at_secs, [14, 14 + 14 + 10, 14 + 14 + 10 + 14 + 20]);
    }

    #[tokio::test]
    async fn an_issue_that_a_person_moved_on_before_it_was_confirmed_is_free_again() {
        let tracker = Arc::new(Stubborn::new(stubs::issue(), [Failing::Moved(Status::Done)]));
        let claims = Arc::new(Granted::default());
        let worker = worker_with(claims.clone(), tracker.clone(), Arc::new(Moved::default()));

        let pass = worker.pass(&CancellationToken::new()).await.unwrap();

        assert!(matches!(pass, Pass::Nothing { .. }), "{pass:?}");
        assert_eq!(claims.survey().await.unwrap().claims.len(), 0);
        assert_eq!(claims.released(), [None]);
        assert_eq!(tracker.now().status, Status::Done);
    }

    #[tokio::test]
    async fn an_issue_that_was_approved_before_it_was_confirmed_is_given_back_as_approved() {
        let tracker = Arc::new(Stubborn::new(stubs::issue(), [Failing::Moved(Status::PlanApproved)]));
        let (claims, clock) = (Arc::new(Granted::default()), Arc::new(Moved::default()));
        let worker = worker_with(claims.clone(), tracker, clock.clone());
        let mut lease = Lease::new(stubs::held(60 * 60), claims, clock, Duration::ZERO);

        let confirmed = worker.confirm(&stubs::issue(), &mut lease).await;

        assert!(matches!(confirmed, Ok(Confirmed::Taken(_))));
        let give_back = acf_core::hand_back::give_back(&lease.held.claim);
        assert!(give_back.contains(&Change::Transition(Status::PlanApproved)), "{give_back:?}");
    }

    #[tokio::test]
    async fn a_worker_that_cannot_go_on_releases_the_claim_on_an_issue_that_is_as_it_was() {
        let refusal = || Failing::Before(TrackerError::Unauthorized("a revoked token".into()));
        let tracker = Arc::new(Stubborn::new(stubs::issue(), [0; 8].map(|_| refusal())));
        let claims = Arc::new(Granted::default());
        let worker = worker_with(claims.clone(), tracker.clone(), Arc::new(Moved::default()));

        worker.pass_for(stubs::issue(), &CancellationToken::new()).await.unwrap_err();

        let released = claims.released();
        let [Some(RunRecord { outcome: Outcome::Interrupted, .. })] = &released[..] else {
            panic!("a run that never began is no attempt: {released:?}")
        };
        assert_eq!(tracker.now(), stubs::issue());
    }

    #[tokio::test]
    async fn a_worker_that_cannot_go_on_keeps_the_claim_on_an_issue_that_it_cannot_give_back() {
        let refusal = || Failing::Before(TrackerError::Unauthorized("a revoked token".into()));
        let failures = std::iter::once(Failing::AfterOne(no_route())).chain([0; 8].map(|_| refusal()));
        let tracker = Arc::new(Stubborn::new(stubs::issue(), failures));
        let claims = Arc::new(Granted::default());
        let worker = worker_with(claims.clone(), tracker.clone(), Arc::new(Moved::default()));

        worker.pass_for(stubs::issue(), &CancellationToken::new()).await.unwrap_err();

        assert_eq!((tracker.now().status, claims.released()), (Status::InProgress, vec![]));
    }

    #[tokio::test]
    async fn an_issue_that_the_tracker_does_not_change_is_a_failed_run_and_not_the_end_of_the_worker() {
        let refusal = || TrackerError::Impossible("no transition leads to In Progress".into());
        let tracker = Arc::new(Stubborn::new(stubs::issue(), [Failing::AfterOne(refusal())]));
        let claims = Arc::new(Granted::default());
        let worker = worker_with(claims.clone(), tracker.clone(), Arc::new(Moved::default()));

        let pass = worker.pass(&CancellationToken::new()).await.unwrap();

        let Pass::Worked(Some(record)) = pass else { panic!("{pass:?}") };
        let Outcome::Failed(failure) = &record.outcome else { panic!("{record:?}") };
        assert_eq!(failure.kind, FailureKind::TrackerRefused);
        assert_eq!(claims.released(), [Some(*record)]);
        assert_eq!(tracker.now(), stubs::issue(), "it is given back");
        let comments = tracker.comments();
        assert_eq!(comments.len(), 1);
        assert!(
            comments[0].starts_with("acf gave this back: no transition leads to In Progress. "),
            "{comments:?}"
        );
    }

    #[test]
    fn an_issue_over_which_the_agents_service_failed_is_tried_after_the_others() {
        let issue = |key: &str| Issue { key: key.parse().unwrap(), ..stubs::issue() };
        let failed = |kind| stubs::record(Outcome::Failed(Failure::new(kind, "500")));
        let past = [("A-1", FailureKind::ServiceUnavailable), ("A-2", FailureKind::NoChange)]
            .map(|(key, kind)| (key.to_owned(), History::new(vec![failed(kind)])));
        let issues = vec![issue("A-1"), issue("A-2"), issue("A-3")];
        let sorted = troublesome_last(issues, &past.into(), Stage::Implementation);
        let keys: Vec<_> = sorted.iter().map(|issue| issue.key.as_str()).collect();
        assert_eq!(keys, ["A-2", "A-3", "A-1"]);
    }

    #[test]
    fn the_next_look_is_when_a_backoff_ends_but_never_later_than_asked() {
        let at = |secs| Timestamp::from_second(secs).unwrap();
        let longest = Duration::from_secs(60);
        assert_eq!(wait_until(None, at(0), longest), longest);
        assert_eq!(wait_until(Some(at(10)), at(0), longest), Duration::from_secs(10));
        assert_eq!(wait_until(Some(at(100)), at(0), longest), longest);
        assert_eq!(wait_until(Some(at(0)), at(10), longest), Duration::from_millis(100));
        assert_eq!(wait_until(Some(at(0)), at(10), Duration::ZERO), Duration::ZERO);
    }
}
