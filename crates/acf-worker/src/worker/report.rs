//! Telling the tracker how a run ended.

use std::time::Duration;

use acf_core::claim::Claim;
use acf_core::comment;
use acf_core::issue::{Issue, IssueRef};
use acf_core::run::RunRecord;
use acf_core::tracker::{Applied, Change, TrackerError};

use super::lease::Lease;
use super::{Clerk, WorkerError};

/// How often the tracker is told again when it cannot be reached.
const TRIES: u32 = 4;
/// The wait before the second time; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A tracker that asks for more patience than this is told later, by whoever finds the claim.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Clerk {
    /// Tells the tracker of a run's end. An issue that is gone is told nothing, and that is fine.
    ///
    /// # Errors
    /// [`WorkerError::Claims`] when the claim is no longer held, the last [`TrackerError`] when telling
    /// failed several times.
    pub(super) async fn tell(&self, record: &RunRecord, lease: &mut Lease) -> Result<(), WorkerError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            // Each time anew: the waits may have been long.
            lease.ensure().await?;
            let claim = &lease.held.claim;
            wait = match self.tell_once(record, claim).await {
                Err(TrackerError::RateLimited { retry_after }) if retry_after <= LONGEST_WAIT => {
                    self.clock.sleep(retry_after).await;
                    continue;
                }
                Err(error @ TrackerError::Other { .. }) => {
                    tracing::warn!(issue.key = %claim.issue, error = %error, "cannot tell the tracker yet");
                    self.clock.sleep(wait).await;
                    wait * 2
                }
                told => return Ok(told?),
            }
        }
        lease.ensure().await?;
        Ok(self.tell_once(record, &lease.held.claim).await?)
    }

    async fn tell_once(&self, record: &RunRecord, claim: &Claim) -> Result<(), TrackerError> {
        let issue = claim.issue_ref();
        let changes = comment::report(record, claim, self.max_attempts);
        let told = self.tell_as_found(&issue, claim, changes).await;
        match told {
            Err(TrackerError::NotFound(_)) => {
                tracing::warn!(issue.key = %issue, "issue `{issue}` is gone; nobody to tell");
                Ok(())
            }
            told => told,
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
