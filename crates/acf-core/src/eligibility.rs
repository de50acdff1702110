//! Whether a worker would take an issue now, and if not, why not: pure functions.

mod landed;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::claim::Claim;
use crate::issue::{Issue, Stage, Status, label};
use crate::run::{AttemptLimits, History, Outcome, RunRecord, Target, WorkerId};

/// What the operator decided about which issues are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether every issue needs an approved plan, unless it says otherwise (`PLAN_BY_DEFAULT`).
    pub plan_by_default: bool,
    /// Whether work goes to `feature/KEY`, unless the issue says otherwise (`FEATURE_BRANCHES`).
    pub feature_branches: bool,
    /// Labels that an issue has to carry (`REQUIRED_LABELS`).
    pub required_labels: BTreeSet<String>,
    /// How often an issue is tried.
    pub attempts: AttemptLimits,
}

/// Who holds an issue's claim, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimView {
    /// Nobody does.
    None,
    /// A claim exists; what it says has not been read, or cannot be.
    Unread,
    /// That worker does.
    Held {
        /// The worker.
        worker: WorkerId,
        /// When its run began.
        since: Timestamp,
        /// Where the worker is.
        place: Whereabouts,
    },
}

/// Where the worker is that holds a claim, as far as whoever asks can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It runs, and its log can be read here.
    Here,
    /// It has ended.
    Ended,
    /// It is not known here: it may run on another machine, or be dead.
    Elsewhere,
}

/// One predicate of eligibility, and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it lets the issue pass.
    pub ok: bool,
    /// What was found.
    pub says: String,
    /// What would change that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn yes(says: impl Into<String>) -> Self {
        Self { ok: true, says: says.into(), remedy: None }
    }

    fn no(says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: false, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// Whether a worker would take the issue, predicate by predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What each predicate found, in the order in which they are judged.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Tells whether the issue is taken.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.findings.iter().all(|finding| finding.ok)
    }

    /// Returns the first reason why not.
    #[must_use]
    pub fn first_obstacle(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| !finding.ok)
    }
}

/// Judges what the tracker alone says of an issue; [`judge`] adds claims and past runs.
#[must_use]
pub fn judge_issue(issue: &Issue, stage: Stage, rules: &Rules) -> Verdict {
    judge_with(blocked(), issue, stage, rules)
}

/// Judges what the tracker alone says of an issue, with that to be said of the label that keeps workers from it.
fn judge_with(blocked: Finding, issue: &Issue, stage: Stage, rules: &Rules) -> Verdict {
    let mut findings = vec![status(issue, stage), assignee(issue)];
    findings.extend(plan(issue, stage, rules));
    findings.extend(required_labels(issue, rules));
    findings.extend(blockers(issue));
    findings.extend(Some(blocked).filter(|_| issue.has_label(label::BLOCKED)));
    Verdict { findings }
}

/// Judges whether a worker of that stage would take the issue now.
#[must_use]
pub fn judge(
    issue: &Issue,
    stage: Stage,
    rules: &Rules,
    claim: &ClaimView,
    history: &History,
    now: Timestamp,
) -> Verdict {
    let unmoved = landed::unmoved(issue, history).filter(|_| *claim == ClaimView::None);
    let mut verdict = match unmoved {
        Some(_) => judge_with(landed::label_finding(), issue, stage, rules),
        None => judge_issue(issue, stage, rules),
    };
    if *claim != ClaimView::None || unmoved.is_some() {
        // What a run has made of the issue is not for people to undo: that would withdraw the run, or have what
        // has landed done a second time.
        verdict.findings.iter_mut().for_each(|finding| finding.remedy = None);
    }
    let is_at_work = matches!(issue.status, Status::InProgress | Status::Planning);
    verdict.findings.push(match (claim, unmoved) {
        (_, Some(unmoved)) => unmoved.finding(issue),
        (ClaimView::None, None) if is_at_work => Finding::no(
            "no worker has a claim on it, whatever its status says",
            format!(
                "if nobody works on it: `acf issues transition {key} 'To Do'`, then `acf issues assign {key} --nobody`",
                key = issue.key.slug()
            ),
        ),
        (claim, None) => no_claim(claim),
    });
    verdict.findings.push(attempts(stage, rules, history, now));
    verdict
}

/// Judges whether a run still is to work on the issue that it took: `None`, or why not, as a clause.
///
/// The run itself has assigned the issue and moved it on; apart from that it has to be as eligible as it
/// was when it was taken.
#[must_use]
pub fn why_withdrawn(issue: &Issue, claim: &Claim, rules: &Rules) -> Option<String> {
    if issue.status != claim.stage.working_status() {
        return Some(format!("the issue was moved to {}", issue.status));
    }
    if let Some(assignee) = issue.assignee.as_ref().filter(|_| !claim.is_working_on(issue)) {
        return Some(format!("the issue was assigned to {assignee}"));
    }
    let as_it_was_taken = Issue { status: claim.found_status.clone(), assignee: None, ..issue.clone() };
    let verdict = judge_issue(&as_it_was_taken, claim.stage, rules);
    verdict.first_obstacle().map(|obstacle| format!("the issue is no longer to be taken: {}", obstacle.says))
}

/// Decides where the work of an issue is to land.
#[must_use]
pub fn target(issue: &Issue, stage: Stage, rules: &Rules) -> Target {
    let wants_branch = issue.has_label(label::NEEDS_BRANCH) || rules.feature_branches;
    let on_a_branch = wants_branch && !issue.has_label(label::SKIP_BRANCH);
    match stage {
        Stage::Implementation if on_a_branch => Target::Feature,
        Stage::Implementation | Stage::Planning => Target::Trunk,
    }
}

fn needs_plan(issue: &Issue, rules: &Rules) -> bool {
    let wanted = issue.has_label(label::NEEDS_PLAN) || rules.plan_by_default;
    wanted && !issue.has_label(label::SKIP_PLAN)
}

fn has_approved_plan(issue: &Issue) -> bool {
    issue.status == Status::PlanApproved || issue.has_label(label::PLAN_APPROVED)
}

/// Tells whether an issue's status is one from which the stage starts.
#[must_use]
pub fn starts(issue: &Issue, stage: Stage) -> bool {
    match (stage, &issue.status) {
        (_, Status::ToDo) | (Stage::Implementation, Status::PlanApproved) => true,
        // The label approves the plan as well as the status does.
        (Stage::Implementation, Status::AwaitingPlanReview) => issue.has_label(label::PLAN_APPROVED),
        _ => false,
    }
}

fn status(issue: &Issue, stage: Stage) -> Finding {
    if starts(issue, stage) {
        Finding::yes(format!("open, status {}", issue.status))
    } else {
        let wanted = match (stage, &issue.status) {
            (Stage::Planning, _) => "move it to To Do".to_owned(),
            (Stage::Implementation, Status::AwaitingPlanReview) => {
                format!(
                    "read its plan and approve it: `acf issues transition {} 'Plan Approved'`",
                    issue.key.slug()
                )
            }
            (Stage::Implementation, Status::InReview) => {
                "its work waits for review: merge it and move the issue to Done; to have it done anew, to To Do".to_owned()
            }
            (Stage::Implementation, _) => "move it to To Do or Plan Approved".to_owned(),
        };
        Finding::no(format!("status {}", issue.status), wanted)
    }
}

fn assignee(issue: &Issue) -> Finding {
    match &issue.assignee {
        None => Finding::yes("unassigned"),
        // Without the `#` of GitHub, at which a shell would begin a comment.
        Some(account) => Finding::no(
            format!("assigned to {account}"),
            format!("unassign it: `acf issues assign {} --nobody`", issue.key.slug()),
        ),
    }
}

fn plan(issue: &Issue, stage: Stage, rules: &Rules) -> Option<Finding> {
    let needed = needs_plan(issue, rules);
    let approved = has_approved_plan(issue);
    let wanted_by = if issue.has_label(label::NEEDS_PLAN) { "label needs-plan" } else { "PLAN_BY_DEFAULT" };
    match stage {
        Stage::Implementation if !needed => None,
        Stage::Implementation if approved => Some(Finding::yes("plan approved")),
        Stage::Implementation => {
            let remedy = match issue.status {
                Status::AwaitingPlanReview => "approve its plan",
                _ => "a planner would take it; or add skip-plan",
            };
            Some(Finding::no(format!("{wanted_by}, and no approved plan"), remedy))
        }
        Stage::Planning if approved => {
            Some(Finding::no("its plan is approved", "an implementation worker would take it"))
        }
        Stage::Planning if needed => Some(Finding::yes(format!("{wanted_by}: a plan is wanted"))),
        Stage::Planning => Some(Finding::no("no plan is wanted", "add needs-plan")),
    }
}

fn required_labels(issue: &Issue, rules: &Rules) -> Option<Finding> {
    let missing: Vec<_> = rules.required_labels.difference(&issue.labels).map(String::as_str).collect();
    match (rules.required_labels.is_empty(), missing.is_empty()) {
        (true, _) => None,
        (false, true) => Some(Finding::yes("carries the required labels")),
        (false, false) => {
            let missing = missing.join(", ");
            Some(Finding::no(format!("lacks the required label {missing}"), "add it"))
        }
    }
}

fn blockers(issue: &Issue) -> Option<Finding> {
    let names = issue.blocked_by.join(", ");
    (!names.is_empty()).then(|| {
        Finding::no(format!("blocked by {names}"), "it is taken once that is done, or the link is removed")
    })
}

fn blocked() -> Finding {
    Finding::no("label acf-blocked: every attempt failed", "fix the cause and remove the label")
}

fn no_claim(claim: &ClaimView) -> Finding {
    let remedy = "it is released when the run ends, or expires if the worker died";
    match claim {
        ClaimView::None => Finding::yes("no live claim"),
        ClaimView::Unread => Finding::no("claimed by a worker", remedy),
        ClaimView::Held { worker, since, place: Whereabouts::Here } => Finding::no(
            format!("claimed by worker {worker} since {since:.0}"),
            format!("`acf logs {worker} -f` shows its run; {remedy}"),
        ),
        ClaimView::Held { worker, since, place: Whereabouts::Elsewhere } => Finding::no(
            format!("claimed by worker {worker} since {since:.0}"),
            format!(
                "{remedy}; if that worker is known to be dead, `acf sweep --dead {worker}` frees it at once"
            ),
        ),
        ClaimView::Held { worker, since, place: Whereabouts::Ended } => Finding::no(
            format!("claimed since {since:.0} by worker {worker}, which has ended"),
            "`acf sweep` frees it at once; by itself the claim expires",
        ),
    }
}

fn attempts(stage: Stage, rules: &Rules, history: &History, now: Timestamp) -> Finding {
    let max = rules.attempts.max_attempts;
    let this_one = history.failed_attempts(stage) + 1;
    match history.not_before(stage, rules.attempts) {
        Some(not_before) if now < not_before => {
            let wait_secs = (not_before.as_second() - now.as_second()).max(1);
            if let Some(untold) = history.blocked_untold(stage).and_then(|record| record.untold.as_ref()) {
                return Finding::no(
                    format!("every attempt failed; the next one in {wait_secs} s"),
                    format!("let acf put the label acf-blocked on the issue, which it could not: {untold}"),
                );
            }
            let why = history.last_ended(stage).map_or_else(String::new, why_it_waits);
            Finding::no(format!("attempt {this_one} of {max} in {wait_secs} s"), format!("wait; {why}"))
        }
        _ => Finding::yes(format!("attempt {this_one} of {max}, no backoff")),
    }
}

/// Says what the last run came to, after which the issue waits.
fn why_it_waits(last: &RunRecord) -> String {
    match &last.outcome {
        Outcome::Withdrawn { why } => format!("the last run was withdrawn, which is no attempt: {why}"),
        Outcome::Failed(failure) if !failure.kind.counts() => {
            format!("the last run was no attempt: {}", failure.reason)
        }
        _ => "the last attempt failed, `acf runs` says why".to_owned(),
    }
}

#[cfg(test)]
mod tests;
