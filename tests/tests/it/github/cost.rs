//! How many calls a finished issue takes.

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _};
use acf_tests::github::NewIssue;

use super::site;

/// The aim: at most so many calls from poll to Done, re-reads during the run apart.
const AIM: usize = 8;

#[tokio::test]
async fn a_finished_issue_takes_few_calls() {
    let site = site().await;
    let account = site.github.whoami().await.unwrap();
    for title in ["the first, which finds no labels", "any other"] {
        let number = site.service.add(NewIssue::titled(title).body("Words.").labelled(["bug"]));
        let _ = site.asked();
        let found = site.github.candidates(Stage::Implementation).await.unwrap().remove(0);
        let take = [Change::Transition(Status::InProgress), Change::Assign(account.clone())];
        site.github.apply_if(&found.reference(), &|issue| issue.assignee.is_none(), &take).await.unwrap();
        let said = Change::Comment { marker: Some("acf:run:r1".to_owned()), body: "Done.".to_owned() };
        let tell = [said, Change::Transition(Status::Done)];
        site.github.apply_if(&found.reference(), &|issue| issue.assignee.is_some(), &tell).await.unwrap();
        let asked = site.asked();
        println!("{title}: {} calls\n  {}", asked.len(), asked.join("\n  "));
        assert!(asked.len() <= AIM, "{asked:?}");
        let seen = site.service.issue(number);
        assert_eq!((seen.is_open, seen.labels, seen.comments.len()), (false, vec!["bug".to_owned()], 1));
    }
}

#[tokio::test]
async fn changes_go_in_one_call_and_those_that_are_none_in_none() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one").labelled(["in-progress"]));
    let changes = [
        Change::Transition(Status::Done),
        Change::Assign("ada".to_owned()),
        Change::AddLabel("in-progress".to_owned()),
    ];
    let issue = super::by_number(number);
    site.github.apply(&issue, &changes).await.unwrap();
    assert_eq!(site.asked(), ["GET /repos/acme/shop/issues/1", "PATCH /repos/acme/shop/issues/1"]);
    site.github.apply(&issue, &changes[1..]).await.unwrap();
    assert_eq!(site.asked(), ["GET /repos/acme/shop/issues/1"]);
}
