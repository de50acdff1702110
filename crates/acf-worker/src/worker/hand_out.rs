//! Claiming an issue for somebody who is no worker: a person, or a script that does the work itself.

use std::sync::Arc;

use acf_core::claim::{Claim, ClaimError, ClaimStore, Wip};
use acf_core::clock::Clock;
use acf_core::eligibility::judge_issue;
use acf_core::issue::Issue;
use acf_core::run::RunId;
use acf_core::tracker::{Applied, Change, Tracker};

use super::poll::is_takeable;
use super::{Orders, WorkerError};

/// Assigns the first of those issues that is eligible, and moves it on. The claim is held only
/// meanwhile: from then on the tracker itself says who has the issue. `None`: there is none.
///
/// # Errors
/// [`WorkerError`] when claims or tracker cannot be reached.
pub async fn hand_out(
    candidates: Vec<Issue>,
    claims: &Arc<dyn ClaimStore>,
    tracker: &Arc<dyn Tracker>,
    clock: &dyn Clock,
    run: RunId,
    orders: &Orders,
) -> Result<Option<Issue>, WorkerError> {
    let (stage, rules) = (orders.stage, &orders.rules);
    let survey = claims.survey().await?;
    let changes = [Change::Assign(orders.account.clone()), Change::Transition(stage.working_status())];
    for issue in candidates {
        if !is_takeable(&**claims, &issue, stage, rules, &survey, clock).await? {
            continue;
        }
        let (now, ttl) = (clock.now(), orders.claim_ttl);
        let claim =
            Claim::new(&issue, stage, orders.worker.clone(), run.clone(), now, ttl).in_place(tracker.place());
        let held = match claims.take(claim, None, &survey).await {
            Ok(held) => held,
            Err(ClaimError::Lost) => continue,
            Err(error) => return Err(error.into()),
        };
        let is_still_wanted = |issue: &Issue| judge_issue(issue, stage, rules).is_eligible();
        let applied = tracker.apply_if(&issue.reference(), &is_still_wanted, &changes).await;
        claims.release(&held, None, &Wip::Keep).await?;
        if let Applied::Yes(found) = applied? {
            return Ok(Some(*found));
        }
    }
    Ok(None)
}
