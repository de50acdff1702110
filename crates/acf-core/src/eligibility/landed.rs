//! Issues whose work has landed, and that acf could not move on: a person moves them, and nobody does their
//! work a second time.

use super::Finding;
use crate::issue::{Issue, label};
use crate::run::{CommitId, History, Outcome, RunRecord};

/// What landed for an issue that still is where its run had put it, or kept from workers.
pub(super) struct Unmoved<'a> {
    record: &'a RunRecord,
    commit: &'a CommitId,
    branch: &'a str,
}

/// Returns what landed last for an issue that nobody holds, if it has not been moved on since.
pub(super) fn unmoved<'a>(issue: &Issue, history: &'a History) -> Option<Unmoved<'a>> {
    let record = history.records().last()?;
    let Outcome::Landed { commit, branch, plan, .. } = &record.outcome else { return None };
    // A run's end takes acf's assignment off, so that one which is there is a person's; and the label on an issue
    // whose plan landed may be, too.
    let is_as_left =
        issue.status == record.stage.working_status() || issue.has_label(label::BLOCKED) && plan.is_none();
    (is_as_left && issue.assignee.is_none()).then_some(Unmoved { record, commit, branch })
}

impl Unmoved<'_> {
    /// Says that it landed, and what is left for a person to do.
    pub(super) fn finding(&self, issue: &Issue) -> Finding {
        let label = label::BLOCKED;
        let says = format!("its work has landed as {} on {}", self.commit.short(), self.branch);
        let remedy = match self.record.outcome.leads_to() {
            Some(to) if issue.status == self.record.stage.working_status() => {
                let and_label = match issue.has_label(label) {
                    true => format!(", then remove the label {label}"),
                    false => String::new(),
                };
                format!("move it to {to} by hand{and_label}: its comments say why acf could not")
            }
            _ => format!(
                "nothing is left to do; without the label {label} it would be done once more in To Do"
            ),
        };
        Finding::no(says, remedy)
    }
}

/// Says what the label means that keeps workers from the issue, which acf put there when it could not move it.
pub(super) fn label_finding() -> Finding {
    Finding {
        remedy: None,
        ..Finding::no(format!("label {}: acf could not move the issue", label::BLOCKED), "")
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::{ClaimView, Rules, Verdict, Whereabouts, judge};
    use super::*;
    use crate::issue::{Stage, Status};
    use crate::run::WorkerId;
    use crate::run::tests::{failed, landed};

    fn left(status: Status, labels: &[&str]) -> Issue {
        let labels = labels.iter().map(ToString::to_string).collect();
        Issue { status, labels, ..Issue::new("ACF-4".parse().unwrap(), "Say hello") }
    }

    fn judged(issue: &Issue, claim: &ClaimView, runs: &[RunRecord]) -> Verdict {
        let history = History::new(runs.to_vec());
        judge(issue, Stage::Implementation, &Rules::default(), claim, &history, Timestamp::MAX)
    }

    fn told(verdict: &Verdict) -> Vec<String> {
        let obstacles = verdict.findings.iter().filter(|finding| !finding.ok);
        obstacles
            .map(|one| {
                [Some(one.says.as_str()), one.remedy.as_deref()].map(Option::unwrap_or_default).join(" → ")
            })
            .collect()
    }

    #[test]
    fn landed_work_whose_issue_was_not_moved_is_never_to_be_done_anew() {
        let runs = [failed(3), landed(5)];
        let labelled = left(Status::InProgress, &[label::BLOCKED]);
        assert_eq!(
            told(&judged(&labelled, &ClaimView::None, &runs)),
            [
                "status In Progress → ",
                "label acf-blocked: acf could not move the issue → ",
                "its work has landed as 4be19c2 on main → move it to Done by hand, then remove the label acf-blocked: \
                 its comments say why acf could not",
            ]
        );
        let bare = left(Status::InProgress, &[]);
        assert_eq!(
            told(&judged(&bare, &ClaimView::None, &runs)),
            [
                "status In Progress → ",
                "its work has landed as 4be19c2 on main → move it to Done by hand: its comments say why acf could not",
            ]
        );
        let kept = left(Status::ToDo, &[label::BLOCKED]);
        assert_eq!(
            told(&judged(&kept, &ClaimView::None, &runs)),
            [
                "label acf-blocked: acf could not move the issue → ",
                "its work has landed as 4be19c2 on main → nothing is left to do; without the label acf-blocked it would \
                 be done once more in To Do",
            ]
        );
    }

    #[test]
    fn an_issue_that_is_wanted_once_more_is_not_held_up_by_what_landed() {
        assert!(judged(&left(Status::ToDo, &[]), &ClaimView::None, &[landed(5)]).is_eligible());
        let taken = Issue { assignee: Some("ann".into()), ..left(Status::InProgress, &[]) };
        let words = told(&judged(&taken, &ClaimView::None, &[landed(5)])).join("\n");
        assert!(!words.contains("has landed"), "a person works on it: {words}");
        let (worker, since) = (WorkerId::new("w7"), Timestamp::UNIX_EPOCH);
        let claim = ClaimView::Held { worker, since, place: Whereabouts::Here };
        for (claim, runs) in [(&claim, &[landed(5)][..]), (&ClaimView::None, &[landed(5), failed(6)])] {
            let told = told(&judged(&left(Status::InProgress, &[]), claim, runs)).join("\n");
            assert!(told.contains("claim") && !told.contains("has landed"), "{told}");
        }
    }
}
