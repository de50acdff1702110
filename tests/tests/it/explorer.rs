//! The invariants of claims, over the schedules that the explorer can think of.
//!
//! The bounds are what some seconds allow: 1,733 schedules of a race with four preemptions, 2,546 with one
//! preemption and one mishap, 16,120 with two mishaps, 19,380 of planning, 9,580 of pull requests, 38,000
//! with people, 2,000 at random. Deeper ones were tried by hand: two preemptions and a mishap (17,000), one preemption and two
//! crashes or freezes (79,000), and 40,000 at random.

use std::time::Duration;

use acf_core::issue::Stage;
use acf_tests::explore::*;

/// Everything but the long freeze, which the exhaustive searches gain nothing from.
const MISHAPS: [Mishap; 5] =
    [Mishap::Crash, Mishap::Freeze(1), Mishap::NoAnswer, Mishap::CutOff, Mishap::Stop];

/// Explores everything within the bounds, and expects to find nothing.
#[track_caller]
fn holds(scenario: &Scenario, preemptions: usize, mishaps: usize) {
    let explored = exhaust(scenario, Bounds { preemptions, mishaps }).expect("every invariant holds");
    assert!(explored.schedules > 100, "hardly anything was explored: {explored:?}");
}

/// Explores with everything that can go wrong once, and expects that an invariant does not hold.
#[track_caller]
fn breaks(scenario: &Scenario, invariant: Invariant) {
    let found = exhaust(scenario, Bounds { preemptions: 2, mishaps: 1 });
    let found = found.expect_err("a schedule that breaks the invariant");
    assert_eq!(found.violations[0].invariant, invariant, "{found:?}");
}

fn remote() -> Scenario {
    Scenario { tracker: TrackerKind::Remote, ..Scenario::duel() }
}

fn flawed(flaw: Flaw) -> Scenario {
    Scenario { flaw: Some(flaw), ..Scenario::duel() }
}

#[test]
fn two_workers_race_for_an_issue() {
    holds(&Scenario::duel(), 4, 0);
    holds(&remote(), 3, 0);
}

#[test]
fn one_thing_goes_wrong_in_a_race() {
    holds(&Scenario::duel().with_mishaps(&MISHAPS), 1, 1);
    holds(&remote().with_mishaps(&MISHAPS), 1, 1);
}

#[test]
fn two_things_go_wrong() {
    holds(&Scenario::duel().with_mishaps(&MISHAPS), 0, 2);
}

#[test]
fn a_worker_freezes_twice_and_others_look_in_between() {
    let ttl = Scenario::duel().ttl;
    let frozen = Scenario { idle: ttl * 2 / 3, passes: 6, ..Scenario::duel() };
    holds(&frozen.with_mishaps(&[Mishap::Freeze(1), Mishap::Freeze(3)]), 0, 2);
}

#[test]
fn something_goes_wrong_while_claims_are_renewed() {
    holds(&Scenario::duel().with_conducts(&[Conduct::TakesLong]).with_mishaps(&MISHAPS), 0, 1);
}

#[test]
fn a_person_acts_while_a_run_lands() {
    for act in [Act::Close, Act::Reopen, Act::TakeOver, Act::DragBack] {
        holds(&Scenario::duel().with_acts(&[act]).with_mishaps(&MISHAPS), 1, 1);
    }
}

#[test]
fn a_person_acts_while_a_run_fails() {
    for act in [Act::Close, Act::Reopen, Act::TakeOver, Act::DragBack] {
        let failing = Scenario::duel().with_acts(&[act]).with_conducts(&[Conduct::Crashes]);
        holds(&failing, 1, 1);
        holds(&Scenario { tracker: TrackerKind::Remote, ..failing }, 1, 1);
    }
}

#[test]
fn every_attempt_is_counted_whoever_fails_meanwhile() {
    let failing = Scenario::duel().with_conducts(&[Conduct::Crashes; 3]);
    holds(&failing, 2, 0);
    // Where the store does not answer, the count of the poll has to do.
    holds(&failing.with_mishaps(&[Mishap::Crash, Mishap::Freeze(1), Mishap::Stop]), 1, 1);
}

#[test]
fn a_plan_is_written_approved_and_implemented() {
    let planned = Scenario {
        issues: vec![issue("ACF-1", &["needs-plan"])],
        workers: vec![Stage::Planning, Stage::Implementation],
        ..Scenario::duel()
    };
    holds(&planned.with_acts(&[Act::ApprovePlan]).with_mishaps(&MISHAPS), 0, 2);
}

#[test]
fn work_on_a_branch_gets_one_pull_request_whatever_goes_wrong() {
    let branch = Scenario { issues: vec![issue("ACF-1", &["needs-branch"])], ..Scenario::duel() };
    holds(&branch.clone().with_mishaps(&MISHAPS), 1, 1);
    let fatal = [Mishap::Crash, Mishap::NoAnswer];
    holds(&Scenario { tracker: TrackerKind::Remote, ..branch }.with_mishaps(&fatal), 0, 2);
}

#[test]
fn a_person_acts_while_an_agent_is_at_work() {
    // Long enough for one look at the issue.
    let slow = Scenario { agent_takes: Scenario::duel().ttl * 2 / 5, ..Scenario::duel() };
    for act in [Act::Close, Act::TakeOver, Act::DragBack] {
        let acted = slow.clone().with_acts(&[act]);
        holds(&acted.clone().with_mishaps(&[Mishap::Crash, Mishap::NoAnswer]), 0, 2);
        holds(&Scenario { tracker: TrackerKind::Remote, ..acted }, 1, 1);
    }
}

#[test]
fn three_workers_and_three_issues_in_random_schedules() {
    wander(0..2_000, random_scenario).expect("every invariant holds");
}

#[test]
fn a_store_that_lands_work_without_its_claim_is_found_out() {
    let flawed = flawed(Flaw::PublishIgnoresClaim).with_mishaps(&[Mishap::Freeze(1)]);
    breaks(&flawed, Invariant::OnlyHolderActs);
}

#[test]
fn a_store_that_takes_claims_without_a_swap_is_found_out() {
    breaks(&flawed(Flaw::TakeWithoutSwap), Invariant::OnlyHolderActs);
}

#[test]
fn a_tracker_that_says_things_twice_is_found_out() {
    let flawed = flawed(Flaw::CommentsDouble).with_mishaps(&[Mishap::Crash]);
    breaks(&flawed, Invariant::ShownOnce);
}

#[test]
fn a_tracker_that_does_not_look_before_it_changes_is_found_out() {
    // What was closed meanwhile is given back all the same.
    let flawed = flawed(Flaw::ConditionsIgnored).with_conducts(&[Conduct::Crashes]);
    breaks(&flawed.with_acts(&[Act::Close]), Invariant::PeopleStand);
}

#[test]
fn a_clock_that_runs_away_is_found_out() {
    // The other worker looks twice while this one waits to tell the tracker again.
    let idle = Duration::from_secs(1);
    let flawed = flawed(Flaw::ClockRunsAway).with_mishaps(&[Mishap::NoAnswer]);
    breaks(&Scenario { idle, ..flawed }, Invariant::OnlyHolderActs);
}

#[test]
fn a_freeze_between_lease_and_tracker_is_beyond_what_claims_can_do() {
    let frozen = Scenario { freezes_in_gap: true, ..Scenario::duel() }.with_mishaps(&[Mishap::Freeze(1)]);
    breaks(&frozen, Invariant::OnlyHolderActs);
}

#[test]
fn a_seed_names_one_schedule() {
    let flawed = |seed| Scenario { flaw: Some(Flaw::TakeWithoutSwap), ..random_scenario(seed) };
    let (once, again) = (wander(0..100, flawed).unwrap_err(), wander(0..100, flawed).unwrap_err());
    assert_eq!((&once.name, &once.trace), (&again.name, &again.trace));
    assert!(!once.trace.is_empty());
}

#[test]
fn a_host_that_forgets_pull_requests_is_found_out() {
    let branch =
        Scenario { issues: vec![issue("ACF-1", &["needs-branch"])], ..flawed(Flaw::PullRequestsForgotten) };
    breaks(&branch.with_mishaps(&[Mishap::Crash]), Invariant::OnePullRequest);
}
