//! Comments: each once, whatever becomes of the answer.

use acf_core::issue::{IssueKey, IssueRef};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::jira::FakeJira;
use acf_tests::service::{Fault, Rule};
use acf_trackers::jira::adf::to_markdown;
use axum::http::Method;

fn said(body: &str) -> [Change; 1] {
    [Change::Comment { marker: Some("acf:run:r1".to_owned()), body: body.to_owned() }]
}

async fn project() -> (FakeJira, IssueKey, IssueRef) {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    (jira, key.clone(), key.into())
}

#[tokio::test]
async fn a_comment_whose_answer_is_lost_is_looked_up_not_repeated() {
    for fault in [
        Fault::CutAfter,
        Fault::CutBody,
        Fault::html().carried_out(),
        Fault::status(200).body("{}").carried_out(),
        Fault::status(204).body("").carried_out(),
    ] {
        let (jira, key, issue) = project().await;
        jira.chassis().faults().add(Rule::on(Method::POST, "/comment").once(), fault);
        jira.tracker().apply(&issue, &said("Landed.")).await.unwrap();
        assert_eq!(jira.comments(&key).len(), 1);
    }
}

#[tokio::test]
async fn a_comment_that_was_lost_with_its_request_is_an_error_and_said_the_next_time() {
    for fault in [
        Fault::Cut,
        Fault::status(502),
        Fault::status(504),
        Fault::html(),
        Fault::status(200).body("{}"),
        Fault::status(201).body("{}"),
    ] {
        let (jira, key, issue) = project().await;
        jira.chassis().faults().add(Rule::on(Method::POST, "/comment").once(), fault);
        let tracker = jira.tracker();
        let lost = tracker.apply(&issue, &said("Landed.")).await;
        assert!(matches!(lost, Err(TrackerError::Other { .. })), "{lost:?}");
        for _ in 0..2 {
            tracker.apply(&issue, &said("Landed.")).await.unwrap();
        }
        assert_eq!(jira.comments(&key).len(), 1);
    }
}

#[tokio::test]
async fn a_comment_is_found_again_among_many() {
    let (jira, key, issue) = project().await;
    jira.site().set_page_size(2);
    let tracker = jira.tracker();
    tracker.apply(&issue, &said("Landed.")).await.unwrap();
    for _ in 0..5 {
        tracker.apply(&issue, &[Change::Comment { marker: None, body: "Hm.".to_owned() }]).await.unwrap();
    }
    tracker.apply(&issue, &said("Landed.")).await.unwrap();
    assert_eq!(jira.comments(&key).len(), 6);
}

#[tokio::test]
async fn a_comment_is_found_again_where_its_list_tells_no_properties() {
    let (jira, key, issue) = project().await;
    jira.site().list_no_properties();
    let tracker = jira.tracker();
    for _ in 0..3 {
        tracker.apply(&issue, &said("Landed.")).await.unwrap();
    }
    assert_eq!(jira.comments(&key).len(), 1);
}

#[tokio::test]
async fn people_do_not_see_the_marker() {
    let (jira, key, issue) = project().await;
    jira.tracker().apply(&issue, &said("Landed **well**.")).await.unwrap();
    let comment = &jira.comments(&key)[0];
    assert!(!comment.to_string().contains("acf:run"), "{comment}");
    assert_eq!(to_markdown(comment), "Landed **well**.");
}

#[tokio::test]
async fn a_comment_that_jira_would_refuse_is_shortened() {
    let (jira, key, issue) = project().await;
    let body = format!("Begin.\n\n```\n{}\n```\n\nEnd.", "x\n".repeat(40_000));
    jira.tracker().apply(&issue, &said(&body)).await.unwrap();
    let text = to_markdown(&jira.comments(&key)[0]);
    assert!(
        text.len() < 32_767 && text.starts_with("Begin.") && text.contains("characters left out"),
        "{}",
        text.len()
    );
    assert!(text.contains("End."));
}
