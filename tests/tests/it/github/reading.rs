//! What is read, and what reading costs.

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _};
use acf_tests::github::NewIssue;
use acf_tests::service::{Fault, Rule};
use axum::http::Method;

use super::{by_number, site};

#[tokio::test]
async fn all_pages_are_read_oldest_first_and_without_pull_requests() {
    let site = site().await;
    for n in 1..=250 {
        if n % 50 == 0 {
            site.service.add_pull("a pull request", &format!("feature/{n}"));
        } else {
            site.service.add(NewIssue::titled(&format!("issue {n}")));
        }
    }
    let candidates = site.github.candidates(Stage::Implementation).await.unwrap();
    let numbers: Vec<u64> = candidates.iter().map(|issue| issue.key.slug().parse().unwrap()).collect();
    let wanted: Vec<u64> = (1..=250).filter(|n| n % 50 != 0).collect();
    assert_eq!(numbers, wanted);
    assert_eq!(site.asked().len(), 3);
}

#[tokio::test]
async fn an_idle_poll_is_one_request_that_costs_nothing() {
    let site = site().await;
    let blocker = site.service.add(NewIssue::titled("first").assigned_to("ada"));
    site.service.add(NewIssue::titled("second").blocked_by(blocker));
    let first = site.github.candidates(Stage::Implementation).await.unwrap();
    assert_eq!(first[0].blocked_by, ["#1"]);
    let (_, remaining) = (site.asked(), site.service.remaining());
    for _ in 0..3 {
        assert_eq!(site.github.candidates(Stage::Implementation).await.unwrap(), first);
        let asked = site.service.chassis().recording().take();
        let statuses: Vec<_> = asked.iter().map(|request| request.status).collect();
        assert_eq!(statuses, [Some(304)]);
    }
    assert_eq!(site.service.remaining(), remaining);
}

#[tokio::test]
async fn what_is_new_is_seen_at_the_next_poll() {
    let site = site().await;
    let poll = async || site.github.candidates(Stage::Implementation).await.unwrap().len();
    for n in 1..=100 {
        site.service.add(NewIssue::titled(&n.to_string()));
    }
    assert_eq!((poll().await, poll().await), (100, 100));
    // A full page alone does not change when another one follows it.
    site.service.add(NewIssue::titled("101"));
    assert_eq!(poll().await, 101);
    site.service.edit(7, |issue| issue.assignees.push("ada".to_owned()));
    assert_eq!(poll().await, 100);
}

#[tokio::test]
async fn an_issue_that_is_read_again_is_as_it_is_now() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    let read = async || site.github.issue(&by_number(number)).await.unwrap();
    assert_eq!((read().await.status, read().await.status), (Status::ToDo, Status::ToDo));
    site.service.edit(number, |issue| issue.is_open = false);
    assert_eq!(read().await.status, Status::Done);
}

#[tokio::test]
async fn an_issue_waits_for_those_that_block_it_and_are_open() {
    let site = site().await;
    let blockers = ["open", "closed"].map(|title| site.service.add(NewIssue::titled(title)));
    let number = site.service.add(NewIssue::titled("last").blocked_by(blockers[0]).blocked_by(blockers[1]));
    site.service.edit(blockers[1], |issue| issue.is_open = false);
    assert_eq!(site.github.issue(&by_number(number)).await.unwrap().blocked_by, ["#1"]);
    site.service.edit(blockers[0], |issue| issue.is_open = false);
    assert_eq!(site.github.issue(&by_number(number)).await.unwrap().blocked_by, [""; 0]);
}

#[tokio::test]
async fn own_labels_and_login_are_known_whatever_their_case() {
    let site = site().await;
    let github = site.with(|settings| settings.assignee = Some("ACF-Bot".to_owned()));
    let new = NewIssue::titled("one").labelled(["In-Progress", "Needs-Plan", "Bug"]).assigned_to("acf-bot");
    let number = site.service.add(new);
    let issue = github.issue(&by_number(number)).await.unwrap();
    assert_eq!((issue.status, issue.assignee.as_deref()), (Status::InProgress, Some("ACF-Bot")));
    assert_eq!(github.whoami().await.unwrap(), "ACF-Bot");
    assert_eq!(issue.labels.into_iter().collect::<Vec<_>>(), ["bug", "needs-plan"]);
}

#[tokio::test]
async fn an_issue_that_several_have_is_somebody_elses_and_stays_so() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one").assigned_to("acf-bot"));
    site.service.edit(number, |issue| issue.assignees.push("ada".to_owned()));
    // Whom the token belongs to is asked only where it matters.
    site.github.apply(&by_number(number), &[Change::Unassign]).await.unwrap();
    assert_eq!(site.service.issue(number).assignees, ["ada"]);
    site.service.edit(number, |issue| issue.assignees.insert(0, "acf-bot".to_owned()));
    assert_eq!(site.github.issue(&by_number(number)).await.unwrap().assignee.as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_approval_survives_that_the_issue_is_given_back() {
    let site = site().await;
    let number =
        site.service.add(NewIssue::titled("one").labelled(["awaiting-plan-review", "plan-approved"]));
    let found = site.github.issue(&by_number(number)).await.unwrap();
    assert_eq!(found.status, Status::PlanApproved);
    for status in [Status::InProgress, found.status] {
        site.github.apply(&by_number(number), &[Change::Transition(status)]).await.unwrap();
    }
    assert_eq!(site.service.issue(number).labels, ["plan-approved"]);
}

#[tokio::test]
async fn a_label_or_an_account_that_github_does_not_confirm_is_asked_for_again() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    let faults = site.service.chassis().faults();
    for (method, path) in [(Method::GET, "/labels/"), (Method::POST, "/labels"), (Method::GET, "/assignees/")]
    {
        faults.add(Rule::on(method, path).once(), Fault::html());
    }
    let moved = [Change::Transition(Status::InProgress)];
    for _ in 0..2 {
        assert!(site.github.apply(&by_number(number), &moved).await.is_err());
    }
    assert!(site.github.whoami().await.is_err());
    site.github.apply(&by_number(number), &moved).await.unwrap();
    assert_eq!(site.service.labels()[0].color, "1d76db");
    site.github.whoami().await.unwrap();
}

#[tokio::test]
async fn labels_are_created_with_a_colour_and_a_description() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    site.github.apply(&by_number(number), &[Change::Transition(Status::InProgress)]).await.unwrap();
    let labels = site.service.labels();
    assert_eq!(
        (labels.len(), labels[0].name.as_str(), labels[0].color.as_str()),
        (1, "in-progress", "1d76db")
    );
    assert_eq!(labels[0].description.as_deref(), Some("An acf worker is implementing this"));
}
