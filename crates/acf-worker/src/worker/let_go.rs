//! The last thing that a worker does which ends by an error of its own: it lets go of the claims that it still
//! holds, as nobody could take their issues otherwise until they expire.

use std::collections::BTreeMap;

use acf_core::claim::{Claim, ClaimError, ClaimState, Held, Wip};
use acf_core::issue::IssueKey;
use acf_core::tracker::TrackerError;

use super::patrol::chain;
use super::{Clerk, WorkerError};

impl Clerk {
    /// Settles what this process has left, or, where the tracker does not let it, releases the claims on those
    /// issues in which nothing was changed. Whatever else fails is left to expire.
    ///
    /// Returns the issues that could not be settled.
    pub(super) async fn let_go(&self) -> Vec<IssueKey> {
        let mut unsettled = Vec::new();
        if let Err(error) = self.try_to_let_go(&mut unsettled).await {
            let why = chain(&error);
            tracing::warn!("cannot release what this worker still holds; it expires by itself: {why}");
            unsettled = self.left().values().map(|left| left.record.issue.clone()).collect();
        }
        unsettled
    }

    async fn try_to_let_go(&self, unsettled: &mut Vec<IssueKey>) -> Result<(), WorkerError> {
        if self.left().is_empty() {
            return Ok(());
        }
        self.settle_now(&self.claims.survey().await?, None, true).await?;
        let left: BTreeMap<_, _> = self.left().drain().collect();
        if left.is_empty() {
            return Ok(());
        }
        let survey = self.claims.survey().await?;
        let versions = left.iter().map(|(slug, left)| (slug.clone(), left.version.clone()));
        let versions = versions.filter(|(slug, version)| survey.claims.get(slug) == Some(version)).collect();
        for (version, claim) in self.claims.read_claims(&versions).await? {
            let issue = &claim.issue;
            unsettled.push(issue.clone());
            if matches!(claim.state, ClaimState::Published { .. }) || self.may_be_changed(&claim).await {
                tracing::warn!(
                    issue.key = %issue,
                    "issue `{issue}` stays claimed until the claim expires: it cannot be given back in the tracker; \
                     once it can, `acf sweep --dead {}` frees it at once", claim.runner()
                );
                continue;
            }
            let name = claim.record_name();
            let wip = left.get(issue.slug()).map_or(Wip::Keep, |left| left.wip.clone());
            let (runs, kept) = (survey.runs.get(&name).cloned(), survey.wips.get(&name).cloned());
            let held = Held { version, runs, wip: kept, claim: claim.clone() };
            match self.claims.release(&held, None, &wip).await {
                Ok(()) => tracing::info!(
                    issue.key = %issue,
                    "released issue `{issue}`: nothing was changed in the tracker"
                ),
                Err(ClaimError::Lost) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Tells whether the issue is, or may be, as the run had put it.
    async fn may_be_changed(&self, claim: &Claim) -> bool {
        match self.tracker.issue(&claim.issue_ref()).await {
            Ok(issue) => claim.is_working_on(&issue) || claim.keeps_others_from(&issue),
            Err(TrackerError::NotFound(_)) => false,
            Err(_) => true,
        }
    }
}
