//! A service that fails in passing: nothing is lost, nothing is said twice.

use std::time::Duration;

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::github::NewIssue;
use acf_tests::service::{Fault, Rule};

use super::{Site, by_number, site};

fn report() -> [Change; 3] {
    let said = Change::Comment { marker: Some("acf:run:r1".to_owned()), body: "Done.".to_owned() };
    [said, Change::Transition(Status::Done), Change::Unassign]
}

/// Tells of a run's end as a worker does, which tries again what may pass.
async fn tell(site: &Site, number: u64) {
    for _ in 1..=4 {
        match site.github.apply(&by_number(number), &report()).await {
            Ok(()) => return,
            Err(TrackerError::Other { .. } | TrackerError::RateLimited { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("not told after four attempts");
}

#[tokio::test]
async fn whichever_call_fails_a_run_is_told_once_and_whole() {
    let faults = [
        Fault::Cut,
        Fault::CutAfter,
        Fault::CutBody,
        Fault::SlowBody(Duration::from_millis(5)),
        Fault::status(500),
        Fault::status(503).header("retry-after", "2"),
        Fault::status(409),
        Fault::rate_limited(3),
        Fault::status(403).header("retry-after", "4"),
        Fault::html(),
        Fault::html().carried_out(),
        Fault::status(200).body(""),
        Fault::status(200).body("{}").carried_out(),
    ];
    for fault in faults {
        let site = site().await;
        for call in 1..=5 {
            site.service.chassis().faults().clear();
            let number =
                site.service.add(NewIssue::titled("one").labelled(["in-progress"]).assigned_to("acf-bot"));
            site.service.edit(number, |issue| issue.comments.push("by a person".to_owned()));
            site.service.chassis().faults().add(Rule::all().nth(call), fault.clone());
            tell(&site, number).await;
            let seen = site.service.issue(number);
            let context = format!("call {call}: {fault:?}");
            assert_eq!(seen.comments, ["by a person", "Done.\n\n<!-- acf:run:r1 -->"], "{context}");
            assert_eq!((seen.is_open, seen.assignees.len(), seen.labels.len()), (false, 0, 0), "{context}");
        }
    }
}

#[tokio::test]
async fn a_run_that_was_told_already_is_not_told_again_however_long_the_talk() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    site.github.apply(&by_number(number), &report()).await.unwrap();
    site.service.edit(number, |issue| issue.comments.extend((0..230).map(|n| n.to_string())));
    site.with(|_| ()).apply(&by_number(number), &report()).await.unwrap();
    assert_eq!(site.service.issue(number).comments.len(), 231);
}

#[tokio::test]
async fn reads_survive_a_stormy_network() {
    let site = site().await;
    for n in 1..=150 {
        site.service.add(NewIssue::titled(&n.to_string()));
    }
    let faults = site.service.chassis().faults();
    faults.add(Rule::all().every(2), Fault::CutBody);
    faults.add(Rule::all().every(3), Fault::status(502));
    for _ in 0..5 {
        assert_eq!(site.github.candidates(Stage::Implementation).await.unwrap().len(), 150);
    }
    assert!(site.service.chassis().faults().struck() >= 5);
}

#[tokio::test]
async fn short_rate_limits_are_waited_out_and_long_ones_told_with_their_time() {
    let site = site().await;
    let faults = site.service.chassis().faults();
    faults.add(Rule::all().once(), Fault::rate_limited(7));
    site.github.list().await.unwrap();
    assert!(site.pauses.taken()[0] >= Duration::from_secs(7));

    faults.clear();
    faults.add(Rule::all().once(), Fault::rate_limited(300));
    let limited = site.github.list().await;
    let Err(TrackerError::RateLimited { retry_after }) = limited else { panic!("{limited:?}") };
    assert_eq!(retry_after, Duration::from_secs(300));
}

#[tokio::test]
async fn the_primary_rate_limit_is_told_with_its_time_and_then_left_alone() {
    let site = site().await;
    site.service.limit(0, 1800);
    for _ in 0..3 {
        let limited = site.github.list().await;
        let Err(TrackerError::RateLimited { retry_after }) = limited else { panic!("{limited:?}") };
        assert!((1795..=1801).contains(&retry_after.as_secs()), "{retry_after:?}");
    }
    assert_eq!(site.asked().len(), 1);
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    let site = site().await;
    site.service.chassis().set_latency(Duration::from_millis(30));
    assert_eq!(site.github.list().await.unwrap(), []);
}
