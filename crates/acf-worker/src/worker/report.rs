//! Telling the tracker, and the repository's host, how a run ended.

use std::time::Duration;

use acf_core::claim::Held;
use acf_core::clock::Clock;
use acf_core::comment::{self, Leads, Review, Undone};
use acf_core::git_host::GitHostError;
use acf_core::hand_back::leftovers;
use acf_core::issue::{Issue, IssueKey, label};
use acf_core::run::{Outcome, RunRecord};
use acf_core::tracker::{Applied, Change, TrackerError};

use super::lease::Lease;
use super::patrol::{after, chain};
use super::{Clerk, WorkerError};

/// How often the tracker is tried when it cannot be reached.
const TRIES: u32 = 4;
/// The wait before the second time; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A tracker that asks for more patience than this is told later, by whoever finds the claim.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Clerk {
    /// Tells the tracker of a run's end, after opening the pull request that it leads to. An issue that is
    /// gone is told nothing, and that is fine.
    ///
    /// All of it can be done again from the start: what is there already is found, and not said twice. Where
    /// the tracker takes a part of it only, the run has ended all the same: that part is told, and the record
    /// is returned as it is to be kept then.
    ///
    /// # Errors
    /// [`WorkerError::Claims`] when the claim is no longer held, the last [`TrackerError`] or
    /// [`GitHostError`] when telling failed several times.
    pub(super) async fn tell(&self, record: &RunRecord, lease: &mut Lease) -> Result<RunRecord, WorkerError> {
        let mut patience = Patience::default();
        loop {
            match self.tell_once(record, lease).await {
                Ok(told) => return Ok(told),
                Err(error) => patience.wait(&*self.clock, &record.issue, error).await?,
            }
        }
    }

    async fn tell_once(&self, record: &RunRecord, lease: &mut Lease) -> Result<RunRecord, WorkerError> {
        // Each time anew: the waits may have been long.
        lease.ensure().await?;
        let leads = self.leads(record, lease).await?;
        let changes = comment::report(record, &lease.held.claim, self.max_attempts, &leads);
        match self.offer(record, lease, changes).await? {
            Taken::Yes => Ok(record.clone()),
            Taken::Impossible(why) => self.tell_in_part(record, lease, &leads, why).await,
        }
    }

    /// Tells what of a run's end the tracker takes, where it does not take all: a workflow may have no way to
    /// where the issue belongs, or a conversation may be locked. Nothing of it is tried for ever, as waiting
    /// does not mend it.
    async fn tell_in_part(
        &self,
        record: &RunRecord,
        lease: &mut Lease,
        leads: &Leads,
        why: String,
    ) -> Result<RunRecord, WorkerError> {
        // Where the issue cannot even be read, it is not the issue that is in the way, and what is to be told
        // stays in the claim.
        match self.tracker.issue(&lease.held.claim.issue_ref()).await {
            Ok(_) | Err(TrackerError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let (issue, run) = (record.issue.clone(), record.run.clone());
        tracing::warn!(issue.key = %issue, %run, why, "issue `{issue}` cannot be told all of how its run ended: {why}");
        let claim = lease.held.claim.clone();
        // Each by itself: what the tracker refuses of one is to cost none of the others.
        let move_on = self.offer(record, lease, comment::moves(record, &claim)).await?.refusal();
        let is_failure = matches!(record.outcome, Outcome::Failed(_));
        let blocked = record.blocked || is_failure && move_on.is_some();
        let label = if blocked || move_on.is_some() {
            self.offer(record, lease, vec![Change::AddLabel(label::BLOCKED.into())]).await?.refusal()
        } else {
            None
        };
        if move_on.is_some() {
            // Some trackers have every issue assigned to somebody; the label keeps workers away then, too.
            self.offer(record, lease, vec![Change::Unassign]).await?;
        }
        let mut told = RunRecord { blocked, ..record.clone() };
        let undone = Undone { move_on, label };
        let comment = comment::report_in_part(&told, &claim, self.max_attempts, leads, &undone);
        let is_unsaid = match comment {
            Some(comment) => self.offer(record, lease, vec![comment]).await?.refusal().is_some(),
            None => false,
        };
        if undone == Undone::default() && !is_unsaid {
            tracing::info!(issue.key = %issue, %run, "issue `{issue}` was told all of how its run ended after all");
        }
        match (undone, is_unsaid) {
            (Undone { move_on: Some(why), label: Some(_) }, true) => {
                tracing::error!(
                    issue.key = %issue, "issue `{issue}` cannot be changed at all; a person has to look at it"
                );
                told.untold = Some(why);
            }
            (Undone { move_on, label }, _) => {
                if let Some(why) = move_on {
                    tracing::warn!(issue.key = %issue, why, "cannot put issue `{issue}` where it belongs: {why}");
                }
                if let Some(why) = label {
                    let label = label::BLOCKED;
                    tracing::error!(issue.key = %issue, why, "cannot put the label {label} on issue `{issue}`: {why}");
                    told.untold = Some(why).filter(|_| blocked);
                }
                if is_unsaid {
                    tracing::error!(issue.key = %issue, "issue `{issue}` takes no comment on how its run ended");
                }
            }
        }
        Ok(told)
    }

    /// Has the tracker make those changes, under a claim that holds.
    async fn offer(
        &self,
        record: &RunRecord,
        lease: &mut Lease,
        changes: Vec<Change>,
    ) -> Result<Taken, WorkerError> {
        match self.tell_as_found(&record.outcome, lease, changes).await {
            Ok(()) => Ok(Taken::Yes),
            Err(WorkerError::Tracker(TrackerError::NotFound(_))) => {
                let issue = &record.issue;
                tracing::warn!(issue.key = %issue, "issue `{issue}` is gone; nobody to tell");
                Ok(Taken::Yes)
            }
            Err(WorkerError::Tracker(TrackerError::Impossible(why))) => Ok(Taken::Impossible(why)),
            Err(error) => Err(error),
        }
    }

    /// Finds out what the report leads to, and opens the pull request if there is none yet.
    async fn leads(&self, record: &RunRecord, lease: &Lease) -> Result<Leads, WorkerError> {
        let (branch, plan) = match &record.outcome {
            Outcome::Landed { branch, plan, .. } => (branch, plan),
            Outcome::Withdrawn { why } => {
                let is_said = self.was_withdrawn_for(&lease.held, why).await?;
                return Ok(Leads { is_said, ..Leads::default() });
            }
            Outcome::Failed(_) | Outcome::Interrupted => return Ok(Leads::default()),
        };
        let pages = self.hosting.pages.as_ref();
        let plan_page = plan.as_ref().and_then(|path| Some(pages?.file(branch, path)));
        let issue_page = lease.held.claim.issue_page.as_deref();
        let review = self.review(record, issue_page).await?;
        Ok(Leads { plan_page, review, is_said: false })
    }

    /// Tells whether the run before this one was withdrawn for the same reason.
    async fn was_withdrawn_for(&self, held: &Held, why: &str) -> Result<bool, WorkerError> {
        let runs = self.claims.survey().await?.runs.remove(&held.claim.record_name());
        let history = self.history(&Held { runs, ..held.clone() }).await?;
        Ok(history.was_withdrawn_for(held.claim.stage, why))
    }

    /// Returns where work on a feature branch waits for a person; `None` for any other run.
    async fn review(
        &self,
        record: &RunRecord,
        issue_page: Option<&str>,
    ) -> Result<Option<Review>, GitHostError> {
        let base = &self.hosting.base;
        let Some(new) = comment::pull_request(record, issue_page, base) else { return Ok(None) };
        let by_hand = self.hosting.pages.as_ref().and_then(|pages| pages.new_pull_request(base, &new.branch));
        let Some(host) = &self.hosting.pull_requests else {
            return Ok(Some(Review::NoPullRequests { by_hand }));
        };
        let opened = async {
            // An earlier run may have opened it, or this one, before its worker died.
            let Some(open) = host.find_pull_request(&new.branch).await? else {
                return host.open_pull_request(&new).await;
            };
            if !comment::is_opened_by(&open, &record.run) {
                let (marker, body) = (comment::marker(&record.run), comment::pull_request_updated(record));
                host.comment(&open, &marker, &body).await?;
            }
            Ok(open)
        };
        match opened.await {
            Ok(pull_request) => Ok(Some(Review::PullRequest(pull_request.url))),
            // Trying again would not mend it, and the work is on its branch: a person can go on from there.
            Err(GitHostError::Unauthorized(why) | GitHostError::Impossible(why)) => {
                let issue = &record.issue;
                tracing::warn!(issue.key = %issue, "cannot open a pull request for issue `{issue}`: {why}");
                Ok(Some(Review::Refused { why, by_hand }))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the changes, if the issue still is as the run had put it. If not, only says what there is to be
    /// said, and takes off what is acf's own: whoever moved it on meanwhile knew why.
    async fn tell_as_found(
        &self,
        outcome: &Outcome,
        lease: &mut Lease,
        changes: Vec<Change>,
    ) -> Result<(), WorkerError> {
        lease.ensure().await?;
        let claim = lease.held.claim.clone();
        let issue = claim.issue_ref();
        let is_as_left = |issue: &Issue| claim.is_working_on(issue);
        let found = match self.tracker.apply_if(&issue, &is_as_left, &changes).await? {
            Applied::Yes(_) => return Ok(()),
            Applied::No(found) => found,
        };
        let is_word = |change: &Change| matches!(change, Change::Comment { .. } | Change::AddLabel(_));
        let words: Vec<_> = changes.into_iter().filter(is_word).collect();
        if !words.is_empty() {
            self.tracker.apply(&issue, &words).await?;
        }
        let has_landed = matches!(outcome, Outcome::Landed { .. });
        let own = leftovers(&found, &claim, has_landed);
        if own.is_empty() {
            return Ok(());
        }
        // Saying something may have taken so long that the claim is another's by now.
        lease.ensure().await?;
        let is_as_found = |issue: &Issue| leftovers(issue, &claim, has_landed) == own;
        self.tracker.apply_if(&issue, &is_as_found, &own).await?;
        Ok(())
    }
}

/// What came of changes that a tracker was to make.
enum Taken {
    /// They are made, or there is no issue to make them to.
    Yes,
    /// It cannot make them, for that reason, whoever asks and however often.
    Impossible(String),
}

impl Taken {
    /// Returns why the changes are not made, if they are not.
    fn refusal(self) -> Option<String> {
        match self {
            Self::Yes => None,
            Self::Impossible(why) => Some(why),
        }
    }
}

/// How often and how long a tracker or a host that does not answer has been waited for.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failed_tries: u32,
}

impl Patience {
    /// Tells whether something has been tried in vain already.
    pub(super) fn is_tried(&self) -> bool {
        self.failed_tries > 0
    }

    /// Waits before the next try at an issue.
    ///
    /// # Errors
    /// That very error, where it was the last try, or waiting that long, or at all, is of no use.
    pub(super) async fn wait(
        &mut self,
        clock: &dyn Clock,
        issue: &IssueKey,
        error: WorkerError,
    ) -> Result<(), WorkerError> {
        let wait = wait_after(&error, FIRST_WAIT * 2u32.pow(self.failed_tries));
        self.failed_tries += 1;
        let Some(wait) = wait.filter(|_| self.failed_tries < TRIES) else { return Err(error) };
        let (wait_secs, until, cause) = (wait.as_secs(), after(clock, wait), chain(&error));
        tracing::warn!(
            issue.key = %issue, wait_secs,
            "cannot change issue `{issue}` yet, trying again in {wait_secs} s, at {until}: {cause}"
        );
        clock.sleep(wait).await;
        Ok(())
    }
}

/// Returns how long to wait after that error; `None` where waiting is of no use.
fn wait_after(error: &WorkerError, wait: Duration) -> Option<Duration> {
    if let Some(asked) = error.asked_wait() {
        return (asked <= LONGEST_WAIT).then_some(asked);
    }
    match error {
        WorkerError::Tracker(TrackerError::Unreadable(_) | TrackerError::Other { .. })
        | WorkerError::Host(GitHostError::Other { .. }) => Some(wait),
        WorkerError::Tracker(_)
        | WorkerError::Host(_)
        | WorkerError::Claims(_)
        | WorkerError::NoTrunk(_)
        | WorkerError::NotAuthenticated(_)
        | WorkerError::Resting(_)
        | WorkerError::Unsettled(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acf_core::issue::Status;
    use acf_core::run::{CommitId, Failure, FailureKind, Target, WorkerId};

    use super::super::stubs::{self, Granted, Moved, Stubborn};
    use super::*;

    fn landed() -> Outcome {
        let (commit, branch) = (CommitId::new("4be19c2aa"), "main".to_owned());
        Outcome::Landed { commit, branch, target: Target::Trunk, diverted: None, plan: None }
    }

    fn failed() -> Outcome {
        Outcome::Failed(Failure::new(FailureKind::NoChange, "the agent changed nothing"))
    }

    /// Tells of a run's end a tracker that does not make such changes. Returns the record as it is to be kept,
    /// the issue as it is then, and what was said.
    async fn tell(outcome: Outcome, refuses: fn(&Change) -> bool) -> (RunRecord, Issue, Vec<String>) {
        tell_of(stubs::record(outcome), refuses).await
    }

    async fn tell_of(record: RunRecord, refuses: fn(&Change) -> bool) -> (RunRecord, Issue, Vec<String>) {
        let (status, assignee) = (Status::InProgress, Some("acf".to_owned()));
        let taken = Issue { status, assignee, ..stubs::issue() };
        let tracker = Arc::new(Stubborn::refusing(taken, refuses));
        let (claims, clock) = (Arc::new(Granted::default()), Arc::new(Moved::default()));
        let ttl = Duration::from_secs(60 * 60);
        let clerk = Clerk::new(claims.clone(), tracker.clone(), clock.clone(), WorkerId::new("w1"), ttl, 3);
        let mut held = stubs::held(60 * 60);
        held.claim = held.claim.in_name_of("acf");
        let mut lease = Lease::new(held, claims, clock, Duration::ZERO);
        let told = clerk.tell(&record, &mut lease).await.unwrap();
        (told, tracker.now(), tracker.comments())
    }

    fn last_attempt() -> RunRecord {
        RunRecord { blocked: true, ..stubs::record(failed()) }
    }

    fn is_label(change: &Change) -> bool {
        matches!(change, Change::AddLabel(_))
    }

    fn is_move(change: &Change) -> bool {
        matches!(change, Change::Transition(_))
    }

    fn is_comment(change: &Change) -> bool {
        matches!(change, Change::Comment { .. })
    }

    #[tokio::test]
    async fn landed_work_is_told_once_even_where_its_issue_cannot_be_moved() {
        let (record, issue, said) = tell(landed(), is_move).await;
        assert_eq!(record, stubs::record(landed()));
        assert_eq!((&issue.status, &issue.assignee), (&Status::InProgress, &None));
        assert!(issue.has_label(label::BLOCKED), "{issue:?}");
        assert_eq!(said.len(), 1, "{said:?}");
        let told = "acf implemented this in 4be19c2 on main. acf could not move this issue to Done: no ";
        assert!(said[0].starts_with(told), "{said:?}");
    }

    #[tokio::test]
    async fn a_failed_run_whose_issue_cannot_be_given_back_blocks_it_at_once() {
        let (record, issue, said) = tell(failed(), is_move).await;
        assert!(record.blocked && record.untold.is_none(), "{record:?}");
        assert!(issue.has_label(label::BLOCKED) && issue.assignee.is_none(), "{issue:?}");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(" acf could not move this issue to To Do: no "), "{said:?}");
    }

    #[tokio::test]
    async fn an_issue_that_takes_no_comment_is_moved_on_all_the_same() {
        let (record, issue, _) = tell(landed(), is_comment).await;
        assert_eq!((record, issue.status), (stubs::record(landed()), Status::Done));
        let (record, issue, _) = tell(failed(), is_comment).await;
        assert_eq!((record.blocked, issue), (false, stubs::issue()));
    }

    #[tokio::test]
    async fn a_label_that_the_tracker_does_not_take_costs_the_issue_nothing_else() {
        let (record, issue, said) = tell(failed(), is_label).await;
        assert_eq!((record.blocked, record.untold, issue), (false, None, stubs::issue()), "none was due");
        assert_eq!(said.len(), 1, "{said:?}");

        let (record, issue, said) = tell_of(last_attempt(), is_label).await;
        assert_eq!(issue, stubs::issue(), "it is given back");
        assert_eq!(said.len(), 1, "{said:?}");
        let told =
            ": no worker takes it for a day. acf could not put the label acf-blocked on this issue: no ";
        assert!(said[0].contains(told), "{said:?}");
        assert!(record.blocked && record.untold.is_some_and(|why| why.contains("AddLabel")));
    }

    #[tokio::test]
    async fn an_issue_that_can_only_be_labelled_is_blocked() {
        let (record, issue, said) = tell(failed(), |change| is_comment(change) || is_move(change)).await;
        assert!(record.blocked && record.untold.is_none() && said.is_empty(), "{record:?} {said:?}");
        assert!(issue.has_label(label::BLOCKED));
    }

    #[tokio::test]
    async fn a_run_of_which_nothing_can_be_told_says_so_in_its_record() {
        let (record, ..) = tell(failed(), |_| true).await;
        assert!(record.blocked, "{record:?}");
        assert_eq!(record.untold.as_deref(), Some("no Unassign here"));
    }
}
