//! Telling the tracker, and the repository's host, how a run ended.

use std::time::Duration;

use acf_core::claim::{Claim, Wip};
use acf_core::clock::Clock;
use acf_core::comment::{self, Leads, Review};
use acf_core::git_host::GitHostError;
use acf_core::issue::{Issue, IssueKey, IssueRef};
use acf_core::run::{Outcome, RunRecord};
use acf_core::tracker::{Applied, Change, TrackerError};

use super::lease::Lease;
use super::patrol::chain;
use super::{Clerk, PullRequests, WorkerError};

/// How often the tracker is tried when it cannot be reached.
const TRIES: u32 = 4;
/// The wait before the second time; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A tracker that asks for more patience than this is told later, by whoever finds the claim.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether there was anybody to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The issue has been told.
    Issue,
    /// The issue is gone.
    Nobody,
}

impl Told {
    /// Returns what becomes of the work that is kept: nobody will go on with that of an issue that is gone.
    pub(super) fn wip(self, meant: Wip) -> Wip {
        match (self, meant) {
            (Self::Issue, meant) => meant,
            (Self::Nobody, Wip::Put(commit)) => {
                tracing::warn!(%commit, "the work is kept as commit {commit} of the local mirror only");
                Wip::Drop
            }
            (Self::Nobody, Wip::Keep | Wip::Drop) => Wip::Drop,
        }
    }
}

impl Clerk {
    /// Tells the tracker of a run's end, after opening the pull request that it leads to. An issue that is
    /// gone is told nothing, and that is fine.
    ///
    /// All of it can be done again from the start: what is there already is found, and not said twice.
    ///
    /// # Errors
    /// [`WorkerError::Claims`] when the claim is no longer held, the last [`TrackerError`] or
    /// [`GitHostError`] when telling failed several times.
    pub(super) async fn tell(&self, record: &RunRecord, lease: &mut Lease) -> Result<Told, WorkerError> {
        let mut patience = Patience::default();
        loop {
            match self.tell_once(record, lease).await {
                Ok(told) => return Ok(told),
                Err(error) => patience.wait(&*self.clock, &record.issue, error).await?,
            }
        }
    }

    async fn tell_once(&self, record: &RunRecord, lease: &mut Lease) -> Result<Told, WorkerError> {
        // Each time anew: the waits may have been long.
        lease.ensure().await?;
        let leads = self.leads(record, lease).await?;
        lease.ensure().await?;
        let claim = &lease.held.claim;
        let issue = claim.issue_ref();
        let changes = comment::report(record, claim, self.max_attempts, &leads);
        match self.tell_as_found(&issue, claim, changes).await {
            Err(TrackerError::NotFound(_)) => {
                tracing::warn!(issue.key = %issue, "issue `{issue}` is gone; nobody to tell");
                Ok(Told::Nobody)
            }
            told => Ok(told.map(|()| Told::Issue)?),
        }
    }

    /// Finds out what the report leads to, and opens the pull request if there is none yet.
    async fn leads(&self, record: &RunRecord, lease: &Lease) -> Result<Leads, WorkerError> {
        let Outcome::Landed { branch, plan, .. } = &record.outcome else { return Ok(Leads::default()) };
        let pages = self.hosting.pages.as_ref();
        let plan_page = plan.as_ref().and_then(|path| Some(pages?.file(branch, path)));
        let issue_page = lease.held.claim.issue_page.as_deref();
        let review = self.review(record, issue_page).await?;
        Ok(Leads { plan_page, review })
    }

    /// Returns where work on a feature branch waits for a person; `None` for any other run.
    async fn review(
        &self,
        record: &RunRecord,
        issue_page: Option<&str>,
    ) -> Result<Option<Review>, GitHostError> {
        let base = self.hosting.pull_requests.as_ref().map_or("", |pulls| &pulls.base);
        let Some(new) = comment::pull_request(record, issue_page, base) else { return Ok(None) };
        let Some(PullRequests { host, .. }) = &self.hosting.pull_requests else {
            return Ok(Some(Review::NoPullRequests));
        };
        let opened = async {
            // An earlier run may have opened it, or this one, before its worker died.
            let Some(open) = host.find_pull_request(&new.branch).await? else {
                return host.open_pull_request(&new).await;
            };
            let (marker, body) = (comment::marker(&record.run), comment::pull_request_updated(record));
            host.comment(&open, &marker, &body).await?;
            Ok(open)
        };
        match opened.await {
            Ok(pull_request) => Ok(Some(Review::PullRequest(pull_request.url))),
            // Trying again would not mend it, and the work is on its branch: a person can go on from there.
            Err(GitHostError::Unauthorized(why) | GitHostError::Impossible(why)) => {
                let issue = &record.issue;
                tracing::warn!(issue.key = %issue, why, "cannot open a pull request for issue `{issue}`: {why}");
                Ok(Some(Review::Refused(why)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the changes, if the issue still is as the run had put it. If not, only says what there is to
    /// be said: whoever moved it on meanwhile knew why.
    async fn tell_as_found(
        &self,
        issue: &IssueRef,
        claim: &Claim,
        changes: Vec<Change>,
    ) -> Result<(), TrackerError> {
        let is_as_left = |issue: &Issue| claim.is_working_on(issue);
        match self.tracker.apply_if(issue, &is_as_left, &changes).await? {
            Applied::Yes(_) => return Ok(()),
            Applied::No(_) => {}
        }
        let is_word = |change: &Change| matches!(change, Change::Comment { .. } | Change::AddLabel(_));
        let words: Vec<_> = changes.into_iter().filter(is_word).collect();
        if !words.is_empty() {
            self.tracker.apply(issue, &words).await?;
        }
        let keeps_others_from = |issue: &Issue| claim.keeps_others_from(issue);
        self.tracker.apply_if(issue, &keeps_others_from, &[Change::Unassign]).await.map(|_| ())
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
        let (wait_secs, cause) = (wait.as_secs(), chain(&error));
        tracing::warn!(
            issue.key = %issue, wait_secs,
            "cannot change issue `{issue}` yet, trying again in {wait_secs} s: {cause}"
        );
        clock.sleep(wait).await;
        Ok(())
    }
}

/// Returns how long to wait after that error; `None` where waiting is of no use.
fn wait_after(error: &WorkerError, wait: Duration) -> Option<Duration> {
    match error {
        WorkerError::Tracker(TrackerError::RateLimited { retry_after })
        | WorkerError::Host(GitHostError::RateLimited { retry_after }) => {
            (*retry_after <= LONGEST_WAIT).then_some(*retry_after)
        }
        WorkerError::Tracker(TrackerError::Unreadable(_) | TrackerError::Other { .. })
        | WorkerError::Host(GitHostError::Other { .. }) => Some(wait),
        WorkerError::Tracker(_)
        | WorkerError::Host(_)
        | WorkerError::Claims(_)
        | WorkerError::NoTrunk(_)
        | WorkerError::NotAuthenticated(_) => None,
    }
}
