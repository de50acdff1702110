//! How an issue leaves acf's hands without being done: given back as it was found or, where somebody has
//! moved it on or taken it over meanwhile, freed of what is acf's own, and of nothing else.

use crate::claim::Claim;
use crate::issue::{Issue, Status};
use crate::tracker::Change;

/// Returns the changes that give an issue back as it was found. The status comes last: until it has
/// changed, the issue is seen to be in need of giving back.
#[must_use]
pub fn give_back(claim: &Claim) -> [Change; 2] {
    [Change::Unassign, Change::Transition(claim.found_status.clone())]
}

/// Returns the changes that take from an issue what a run has left on it and nobody would take off: if it
/// comes back some day, workers are to find it as they find any other. None, if it still is as the run had put
/// it.
///
/// Work that has landed keeps its assignee in Done: that is how it is told who did it.
#[must_use]
pub fn leftovers(issue: &Issue, claim: &Claim, has_landed: bool) -> Vec<Change> {
    let Some(account) = &claim.account else { return Vec::new() };
    let is_in_the_way = if has_landed { claim.keeps_others_from(issue) } else { !claim.is_working_on(issue) };
    if !is_in_the_way {
        return Vec::new();
    }
    let mut changes = Vec::new();
    if issue.assignee.is_some() {
        changes.push(Change::UnassignFrom(account.clone()));
    }
    if issue.status == Status::Done {
        // To where it is already: that takes off a label which stood for the status that the run gave it.
        changes.push(Change::Transition(Status::Done));
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::issue::Stage;
    use crate::run::{RunId, WorkerId};

    fn issue(status: Status, assignee: Option<&str>) -> Issue {
        Issue {
            status,
            assignee: assignee.map(Into::into),
            ..Issue::new("TODO-3".parse().unwrap(), "Say hello")
        }
    }

    fn left_on(status: Status, assignee: Option<&str>, has_landed: bool) -> Vec<Change> {
        let (found, ttl) = (issue(Status::ToDo, None), Duration::from_secs(60));
        let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
        let claim = Claim::new(&found, Stage::Implementation, worker, run, Timestamp::UNIX_EPOCH, ttl);
        leftovers(&issue(status, assignee), &claim.in_name_of("acf"), has_landed)
    }

    #[test]
    fn an_issue_that_somebody_closed_is_freed_of_the_runs_label_and_account() {
        let own = || Change::UnassignFrom("acf".into());
        assert_eq!(left_on(Status::Done, Some("acf"), false), [own(), Change::Transition(Status::Done)]);
        assert_eq!(left_on(Status::Done, None, false), [Change::Transition(Status::Done)]);
        assert_eq!(left_on(Status::ToDo, Some("acf"), false), [own()]);
        assert_eq!(left_on(Status::ToDo, None, false), []);
        assert_eq!(left_on(Status::InReview, Some("acf"), false), [own()]);
    }

    #[test]
    fn an_issue_that_somebody_took_over_keeps_its_status() {
        assert_eq!(left_on(Status::InProgress, Some("ada"), false), [Change::UnassignFrom("acf".into())]);
    }

    #[test]
    fn an_issue_that_is_as_the_run_has_put_it_is_for_giving_back() {
        assert_eq!(left_on(Status::InProgress, Some("acf"), false), []);
        assert_eq!(left_on(Status::InProgress, None, false), []);
    }

    #[test]
    fn landed_work_keeps_its_assignee_unless_it_waits_anew() {
        assert_eq!(left_on(Status::Done, Some("acf"), true), []);
        assert_eq!(left_on(Status::InReview, Some("acf"), true), []);
        assert_eq!(left_on(Status::ToDo, Some("acf"), true), [Change::UnassignFrom("acf".into())]);
    }
}
