//! Pull requests: found or opened, never a second one.

use acf_core::git_host::{GitHost as _, GitHostError, NewPullRequest};
use acf_tests::github::Token;
use acf_tests::service::{Fault, Rule};
use axum::http::Method;

use super::site;

fn new() -> NewPullRequest {
    NewPullRequest {
        branch: "feature/12".to_owned(),
        base: "main".to_owned(),
        title: "[#12] Say hello".to_owned(),
        body: "Closes #12".to_owned(),
    }
}

#[tokio::test]
async fn a_pull_request_is_opened_once_and_found_from_then_on() {
    let site = site().await;
    site.service.add_pull("another", "feature/1");
    assert_eq!(site.github.find_pull_request("feature/12").await.unwrap(), None);
    let opened = site.github.open_pull_request(&new()).await.unwrap();
    assert_eq!(opened.url, "https://github.com/acme/shop/pull/2");
    assert_eq!(site.github.open_pull_request(&new()).await.unwrap(), opened);
    assert_eq!(site.github.find_pull_request("feature/12").await.unwrap(), Some(opened));
    let (_, title, body, pull) = site.service.pulls().pop().unwrap();
    assert_eq!((title, body), (new().title, new().body));
    assert_eq!((pull.head, pull.base, site.service.pulls().len()), (new().branch, new().base, 2));
}

#[tokio::test]
async fn a_pull_request_whose_answer_is_lost_is_not_opened_again() {
    for fault in [Fault::CutAfter, Fault::CutBody, Fault::html().carried_out()] {
        let site = site().await;
        site.service.chassis().faults().add(Rule::on(Method::POST, "/pulls").once(), fault);
        let opened = site.github.open_pull_request(&new()).await.unwrap();
        assert_eq!((opened.number, site.service.pulls().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_pull_request_that_is_there_and_not_listed_yet_is_looked_for_again_later() {
    let site = site().await;
    let exists = r#"{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom",
        "message":"A pull request already exists for acme:feature/12."}]}"#;
    let refusal = Fault::status(422).body(exists);
    site.service.chassis().faults().add(Rule::on(Method::POST, "/pulls").once(), refusal);
    let lagging = site.github.open_pull_request(&new()).await;
    assert!(matches!(lagging, Err(GitHostError::Other { .. })), "{lagging:?}");
}

#[tokio::test]
async fn a_request_that_is_lost_is_not_taken_for_an_opened_pull_request() {
    for fault in [Fault::Cut, Fault::html(), Fault::status(200).body("{}")] {
        let site = site().await;
        site.service.chassis().faults().add(Rule::on(Method::POST, "/pulls").once(), fault);
        let lost = site.github.open_pull_request(&new()).await;
        assert!(matches!(lost, Err(GitHostError::Other { .. })), "{lost:?}");
        assert_eq!(site.service.pulls(), []);
        site.github.open_pull_request(&new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_branch_without_work_is_told_in_githubs_words() {
    let site = site().await;
    let empty = NewPullRequest { branch: "main".to_owned(), ..new() };
    let error = site.github.open_pull_request(&empty).await.unwrap_err();
    assert!(matches!(error, GitHostError::Impossible(_)), "{error:?}");
    assert!(error.to_string().contains("No commits between main and main"), "{error}");
}

#[tokio::test]
async fn a_branch_that_was_not_pushed_is_told_in_githubs_words() {
    let site = site().await;
    site.service.keep_branches_in(std::path::Path::new("/nowhere"));
    let error = site.github.open_pull_request(&new()).await.unwrap_err();
    assert!(matches!(error, GitHostError::Impossible(_)), "{error:?}");
    assert!(error.to_string().contains("422 Unprocessable Entity: Validation Failed"), "{error}");
}

#[tokio::test]
async fn a_token_that_may_not_open_pull_requests_is_told_what_it_lacks() {
    let site = site().await;
    site.service.set_token(Token::FineGrained(vec!["issues".to_owned()]));
    let error = site.github.open_pull_request(&new()).await.unwrap_err();
    assert!(matches!(error, GitHostError::Unauthorized(_)), "{error:?}");
    assert!(error.to_string().starts_with("the token lacks a permission: pull_requests=write"), "{error}");
}

#[tokio::test]
async fn a_comment_on_a_pull_request_is_said_once() {
    let site = site().await;
    let opened = site.github.open_pull_request(&new()).await.unwrap();
    for _ in 0..2 {
        site.github.comment(&opened, "acf:run:r1", "Rebased.").await.unwrap();
    }
    assert_eq!(site.service.issue(opened.number).comments, ["Rebased.\n\n<!-- acf:run:r1 -->"]);
}
