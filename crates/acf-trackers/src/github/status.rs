//! Labels that stand for statuses.
//!
//! | status | on GitHub |
//! |---|---|
//! | To Do | open, with none of these labels |
//! | Planning | `in-planning` |
//! | Awaiting Plan Review | `awaiting-plan-review` |
//! | Plan Approved | `plan-approved`, which a person may add to the one before |
//! | In Progress | `in-progress` |
//! | In Review | `in-review` |
//! | Done | closed |

use acf_core::issue::{Status, label};

/// The labels that stand for statuses. Where an issue has several, the first of them counts: work that
/// goes on weighs more than where it came from, and an approval more than the wait for it.
const LABELS: [(&str, Status); 5] = [
    ("in-progress", Status::InProgress),
    ("in-planning", Status::Planning),
    (label::IN_REVIEW, Status::InReview),
    (label::PLAN_APPROVED, Status::PlanApproved),
    ("awaiting-plan-review", Status::AwaitingPlanReview),
];

/// Returns the status of an issue. Labels that differ only in case are the same on GitHub.
pub(super) fn of(is_open: bool, labels: &[&str]) -> Status {
    if !is_open {
        return Status::Done;
    }
    let has = |wanted: &str| labels.iter().any(|label| label.eq_ignore_ascii_case(wanted));
    LABELS.iter().find(|(label, _)| has(label)).map_or(Status::ToDo, |(_, status)| status.clone())
}

/// Tells whether a label stands for a status.
pub(super) fn is_status(name: &str) -> bool {
    LABELS.iter().any(|(label, _)| label.eq_ignore_ascii_case(name))
}

/// Returns the label that stands for a status; To Do and Done have none.
pub(super) fn label_of(status: &Status) -> Option<&'static str> {
    LABELS.iter().find(|(_, known)| known == status).map(|(label, _)| *label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_open: bool, labels: &[&str], status: &Status) {
        assert_eq!(of(is_open, labels), *status, "{labels:?}");
    }

    #[test]
    fn the_label_that_says_most_decides() {
        check(true, &["bug"], &Status::ToDo);
        check(true, &["In-Review"], &Status::InReview);
        check(true, &["awaiting-plan-review", "plan-approved"], &Status::PlanApproved);
        check(true, &["plan-approved", "in-progress"], &Status::InProgress);
        check(false, &["in-progress"], &Status::Done);
    }

    #[test]
    fn every_status_is_read_as_it_is_written() {
        for status in Status::KNOWN {
            check(status != Status::Done, label_of(&status).as_slice(), &status);
            assert!(label_of(&status).is_none_or(is_status));
        }
    }
}
