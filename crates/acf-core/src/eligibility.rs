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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::run::tests::{failed, record, withdrawn as withdrawn_run};
    use crate::run::{Failure, FailureKind};

    fn issue() -> Issue {
        Issue::new("ACF-12".parse().unwrap(), "Rate-limit the export endpoint")
    }

    fn labelled(labels: &[&str]) -> Issue {
        Issue { labels: labels.iter().map(ToString::to_string).collect(), ..issue() }
    }

    fn obstacle(issue: &Issue, stage: Stage, rules: &Rules) -> String {
        judge_issue(issue, stage, rules)
            .first_obstacle()
            .map_or("none".into(), |finding| finding.says.clone())
    }

    fn now(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    #[test]
    fn an_open_unassigned_issue_is_taken_by_an_implementation_worker_only() {
        assert_eq!(obstacle(&issue(), Stage::Implementation, &Rules::default()), "none");
        assert_eq!(obstacle(&issue(), Stage::Planning, &Rules::default()), "no plan is wanted");
    }

    /// Judges an issue that a run took as it is in [`issue`], and that became what `now` makes of it.
    fn withdrawn(taken: &Issue, rules: &Rules, now: impl Fn(&mut Issue)) -> Option<String> {
        let (worker, run) = (WorkerId::new("w1"), crate::run::RunId::new("r1"));
        let ttl = std::time::Duration::from_secs(60);
        let claim = Claim::new(taken, Stage::Implementation, worker, run, Timestamp::UNIX_EPOCH, ttl);
        let mut issue = Issue { status: Status::InProgress, assignee: Some("acf".into()), ..taken.clone() };
        now(&mut issue);
        why_withdrawn(&issue, &claim.in_name_of("acf"), rules)
    }

    #[test]
    fn an_issue_that_is_as_its_run_has_put_it_stays_wanted() {
        let approved = Issue { status: Status::PlanApproved, ..labelled(&["needs-plan"]) };
        for taken in [issue(), labelled(&["bug"]), approved] {
            assert_eq!(withdrawn(&taken, &Rules::default(), |_| {}), None);
            assert_eq!(withdrawn(&taken, &Rules::default(), |issue| issue.assignee = None), None);
            assert_eq!(withdrawn(&taken, &Rules::default(), |issue| issue.summary += ", please"), None);
        }
    }

    #[test]
    fn a_run_is_withdrawn_when_its_issue_is_finished_taken_over_or_no_longer_eligible() {
        let required = Rules { required_labels: ["acf".to_owned()].into(), ..Rules::default() };
        let why = |rules: &Rules, now: fn(&mut Issue)| withdrawn(&labelled(&["acf"]), rules, now).unwrap();
        let plain = Rules::default();
        assert_eq!(why(&plain, |issue| issue.status = Status::Done), "the issue was moved to Done");
        assert_eq!(why(&plain, |issue| issue.status = Status::ToDo), "the issue was moved to To Do");
        assert_eq!(why(&plain, |issue| issue.assignee = Some("ada".into())), "the issue was assigned to ada");
        assert_eq!(
            why(&required, |issue| issue.labels.clear()),
            "the issue is no longer to be taken: lacks the required label acf"
        );
        assert_eq!(
            why(&plain, |issue| _ = issue.labels.insert("needs-plan".into())),
            "the issue is no longer to be taken: label needs-plan, and no approved plan"
        );
        assert_eq!(
            why(&plain, |issue| issue.blocked_by.push("#7".into())),
            "the issue is no longer to be taken: blocked by #7"
        );
    }

    #[test]
    fn while_a_run_holds_an_issue_nobody_is_told_to_undo_what_it_did() {
        let at_work = Issue { status: Status::InProgress, assignee: Some("acf".into()), ..issue() };
        let claim = ClaimView::Held { worker: WorkerId::new("w7"), since: now(0), place: Whereabouts::Here };
        let remedies = |claim| {
            let (rules, history) = (Rules::default(), History::default());
            let verdict = judge(&at_work, Stage::Implementation, &rules, claim, &history, now(60));
            verdict.findings.into_iter().filter_map(|finding| finding.remedy).collect::<Vec<_>>()
        };
        let told = remedies(&claim);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("`acf logs w7 -f` shows its run; "), "{told:?}");
        assert_eq!(remedies(&ClaimView::None).len(), 3, "nobody works on it: a person has to put it back");
    }

    #[test]
    fn only_the_starting_statuses_are_taken() {
        let taken_in = |stage| {
            Status::KNOWN
                .into_iter()
                .chain([Status::Other("Backlog".into())])
                .filter(|status| status_ok(status.clone(), stage))
                .collect::<Vec<_>>()
        };
        fn status_ok(status: Status, stage: Stage) -> bool {
            super::status(&Issue { status, ..issue() }, stage).ok
        }
        assert_eq!(taken_in(Stage::Planning), [Status::ToDo]);
        assert_eq!(taken_in(Stage::Implementation), [Status::ToDo, Status::PlanApproved]);
    }

    #[test]
    fn labels_decide_who_takes_an_issue() {
        let by_default = Rules { plan_by_default: true, ..Rules::default() };
        let check = |labels: &[&str], rules: &Rules| {
            let takes = |stage| judge_issue(&labelled(labels), stage, rules).is_eligible();
            (takes(Stage::Planning), takes(Stage::Implementation))
        };
        let plain = Rules::default();
        assert_eq!(check(&[], &plain), (false, true));
        assert_eq!(check(&["needs-plan"], &plain), (true, false));
        assert_eq!(check(&["needs-plan", "skip-plan"], &plain), (false, true));
        assert_eq!(check(&["needs-plan", "plan-approved"], &plain), (false, true));
        assert_eq!(check(&["acf-blocked"], &plain), (false, false));
        assert_eq!(check(&[], &by_default), (true, false));
        assert_eq!(check(&["skip-plan"], &by_default), (false, true));
    }

    #[test]
    fn an_issue_waits_for_those_that_block_it() {
        let waiting = Issue { blocked_by: vec!["ACF-3".into(), "ACF-4".into()], ..issue() };
        assert_eq!(obstacle(&waiting, Stage::Implementation, &Rules::default()), "blocked by ACF-3, ACF-4");
    }

    #[test]
    fn an_approved_plan_is_implemented_not_planned_again() {
        let approved = Issue { status: Status::PlanApproved, ..labelled(&["needs-plan"]) };
        assert_eq!(obstacle(&approved, Stage::Implementation, &Rules::default()), "none");
        assert_eq!(obstacle(&approved, Stage::Planning, &Rules::default()), "status Plan Approved");
    }

    #[test]
    fn the_label_approves_a_plan_that_awaits_review() {
        let awaiting = |labels| Issue { status: Status::AwaitingPlanReview, ..labelled(labels) };
        let rules = Rules::default();
        assert_eq!(obstacle(&awaiting(&["plan-approved"]), Stage::Implementation, &rules), "none");
        assert_ne!(obstacle(&awaiting(&["plan-approved"]), Stage::Planning, &rules), "none");
        assert_ne!(obstacle(&awaiting(&["needs-plan"]), Stage::Implementation, &rules), "none");
    }

    #[test]
    fn an_assigned_issue_is_left_alone() {
        let assigned = Issue { assignee: Some("ada".into()), ..issue() };
        assert_eq!(obstacle(&assigned, Stage::Implementation, &Rules::default()), "assigned to ada");
    }

    #[test]
    fn missing_required_labels_are_named() {
        let rules = Rules { required_labels: ["acf".into(), "ready".into()].into(), ..Rules::default() };
        assert_eq!(
            obstacle(&labelled(&["acf"]), Stage::Implementation, &rules),
            "lacks the required label ready"
        );
        assert_eq!(obstacle(&labelled(&["acf", "ready"]), Stage::Implementation, &rules), "none");
    }

    #[test]
    fn a_claimed_issue_is_left_alone_and_its_holder_named() {
        let judged = |claim| {
            judge(&issue(), Stage::Implementation, &Rules::default(), &claim, &History::default(), now(0))
        };
        assert!(judged(ClaimView::None).is_eligible());
        let held =
            judged(ClaimView::Held { worker: WorkerId::new("w7"), since: now(0), place: Whereabouts::Here });
        assert_eq!(held.first_obstacle().unwrap().says, "claimed by worker w7 since 1970-01-01T00:00:00Z");
        assert!(!judged(ClaimView::Unread).is_eligible());
        let dead =
            judged(ClaimView::Held { worker: WorkerId::new("w7"), since: now(0), place: Whereabouts::Ended });
        let obstacle = dead.first_obstacle().unwrap();
        assert_eq!(obstacle.says, "claimed since 1970-01-01T00:00:00Z by worker w7, which has ended");
        assert!(obstacle.remedy.as_ref().unwrap().starts_with("`acf sweep` frees it at once"));
        let elsewhere =
            ClaimView::Held { worker: WorkerId::new("w7"), since: now(0), place: Whereabouts::Elsewhere };
        let remedy = judged(elsewhere).first_obstacle().unwrap().remedy.clone().unwrap();
        assert!(remedy.ends_with("`acf sweep --dead w7` frees it at once"), "{remedy}");
    }

    #[test]
    fn a_failed_issue_waits_for_its_backoff() {
        let judged = |at| {
            let history = History::new(vec![failed(100), failed(200)]);
            judge(&issue(), Stage::Implementation, &Rules::default(), &ClaimView::None, &history, now(at))
        };
        assert_eq!(judged(205).first_obstacle().unwrap().says, "attempt 3 of 3 in 15 s");
        assert_eq!(judged(219).first_obstacle().unwrap().says, "attempt 3 of 3 in 1 s");
        assert!(judged(220).is_eligible());
    }

    #[test]
    fn an_issue_that_waits_says_what_the_last_run_came_to() {
        let (plain, claim) = (Rules::default(), ClaimView::None);
        let waits = |last: RunRecord| {
            let history = History::new(vec![failed(100), last]);
            let verdict = judge(&issue(), Stage::Implementation, &plain, &claim, &history, now(201));
            let obstacle = verdict.first_obstacle().unwrap();
            format!("{} → {}", obstacle.says, obstacle.remedy.clone().unwrap())
        };
        assert_eq!(
            waits(failed(200)),
            "attempt 3 of 3 in 19 s → wait; the last attempt failed, `acf runs` says why"
        );
        assert_eq!(
            waits(withdrawn_run("the issue was moved to To Do", 200)),
            "attempt 2 of 3 in 19 s → wait; the last run was withdrawn, which is no attempt: the issue was moved \
             to To Do"
        );
        let kind = FailureKind::ServiceUnavailable;
        let failure = Failure::new(kind, "the agent's service does not work: 500");
        assert_eq!(
            waits(record(Outcome::Failed(failure), 200)),
            "attempt 2 of 3 in 19 s → wait; the last run was no attempt: the agent's service does not work: 500"
        );
        let untold = Some("comments are off".to_owned());
        assert_eq!(
            waits(RunRecord { blocked: true, untold, ..failed(200) }),
            "every attempt failed; the next one in 86399 s → let acf put the label acf-blocked on the issue, \
             which it could not: comments are off"
        );
    }

    #[test]
    fn the_branch_is_decided_by_labels_over_the_default() {
        let branches = Rules { feature_branches: true, ..Rules::default() };
        let plain = Rules::default();
        let lands = |labels: &[&str], rules: &Rules| target(&labelled(labels), Stage::Implementation, rules);
        assert_eq!(lands(&[], &plain), Target::Trunk);
        assert_eq!(lands(&["needs-branch"], &plain), Target::Feature);
        assert_eq!(lands(&[], &branches), Target::Feature);
        assert_eq!(lands(&["skip-branch"], &branches), Target::Trunk);
        assert_eq!(lands(&["needs-branch", "skip-branch"], &plain), Target::Trunk);
        assert_eq!(target(&issue(), Stage::Planning, &branches), Target::Trunk);
    }

    #[test]
    fn an_explanation_reads_well() {
        let judged = judge(
            &labelled(&["needs-plan"]),
            Stage::Implementation,
            &Rules::default(),
            &ClaimView::None,
            &History::default(),
            now(0),
        );
        insta::assert_json_snapshot!(judged, @r#"
        {
          "findings": [
            {
              "ok": true,
              "says": "open, status To Do"
            },
            {
              "ok": true,
              "says": "unassigned"
            },
            {
              "ok": false,
              "says": "label needs-plan, and no approved plan",
              "remedy": "a planner would take it; or add skip-plan"
            },
            {
              "ok": true,
              "says": "no live claim"
            },
            {
              "ok": true,
              "says": "attempt 1 of 3, no backoff"
            }
          ]
        }
        "#);
    }

    proptest! {
        /// No issue is wanted by planners and implementation workers at once, whatever its state.
        #[test]
        fn never_eligible_for_both_stages(
            status in prop::sample::select(Status::KNOWN.to_vec()),
            labels in prop::collection::btree_set(prop::sample::select(vec![
                "needs-plan", "skip-plan", "plan-approved", "needs-branch", "acf-blocked", "bug",
            ]), 0..6),
            plan_by_default: bool,
        ) {
            let labels: Vec<_> = labels.into_iter().collect();
            let issue = Issue { status, ..labelled(&labels) };
            let rules = Rules { plan_by_default, ..Rules::default() };
            let both = [Stage::Planning, Stage::Implementation]
                .into_iter()
                .all(|stage| judge_issue(&issue, stage, &rules).is_eligible());
            prop_assert!(!both);
        }

        /// An open, unassigned, unblocked issue is always wanted by somebody: none is forgotten.
        #[test]
        fn an_open_issue_is_always_wanted_by_one_stage(
            labels in prop::collection::btree_set(prop::sample::select(vec![
                "needs-plan", "skip-plan", "plan-approved", "needs-branch", "bug",
            ]), 0..5),
            plan_by_default: bool,
        ) {
            let labels: Vec<_> = labels.into_iter().collect();
            let issue = labelled(&labels);
            let rules = Rules { plan_by_default, ..Rules::default() };
            let one = [Stage::Planning, Stage::Implementation]
                .into_iter()
                .any(|stage| judge_issue(&issue, stage, &rules).is_eligible());
            prop_assert!(one);
        }
    }
}
