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
    judge_issue(issue, stage, rules).first_obstacle().map_or("none".into(), |finding| finding.says.clone())
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
