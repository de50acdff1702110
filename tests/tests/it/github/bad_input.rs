//! Wrong tokens, missing rights, accounts that cannot be assigned, issues that are gone: clear errors,
//! without a secret in any of them.

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::github::{BOT, NewIssue, TOKEN, Token};
use acf_tests::service::{Fault, Rule};

use super::{Site, by_number, site};

/// Makes every kind of call, and returns the errors as people see them.
async fn errors(site: &Site, number: u64) -> Vec<TrackerError> {
    let issue = by_number(number);
    let said = Change::Comment { marker: Some("acf:run:r1".to_owned()), body: "Done.".to_owned() };
    let errors = [
        site.github.whoami().await.err(),
        site.github.candidates(Stage::Planning).await.err(),
        site.github.issue(&issue).await.err(),
        site.github.apply(&issue, &[said]).await.err(),
        site.github.apply(&issue, &[Change::Transition(Status::InProgress)]).await.err(),
        site.github.apply(&issue, &[Change::Assign("ada".to_owned())]).await.err(),
    ];
    errors.into_iter().flatten().collect()
}

fn assert_keeps_the_secret(error: &TrackerError) {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let told = format!("{error} {error:?} {}", causes.map(ToString::to_string).collect::<String>());
    assert!(!told.contains(TOKEN), "{told}");
}

async fn said(token: Token) -> Vec<String> {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    site.service.set_token(token);
    let errors = errors(&site, number).await;
    errors.iter().for_each(assert_keeps_the_secret);
    let comments = site.service.issue(number).comments;
    assert!(comments.iter().all(|comment| !comment.contains(TOKEN)));
    errors.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_token_that_is_wrong_or_expired_is_called_so() {
    let said = said(Token::Expired).await;
    assert_eq!(said.len(), 6);
    for told in said {
        assert!(
            told.starts_with("GitHub does not accept the token: it is wrong, expired or revoked"),
            "{told}"
        );
        assert!(told.contains("401 Unauthorized: Bad credentials"), "{told}");
    }
}

#[tokio::test]
async fn a_right_that_the_token_lacks_is_named() {
    let fine_grained = said(Token::FineGrained(vec!["pull_requests".to_owned()])).await;
    assert_eq!(fine_grained.len(), 3);
    for told in fine_grained {
        assert!(told.starts_with("the token lacks a permission: issues=write"), "{told}");
    }
    let classic = said(Token::Classic("gist".to_owned())).await;
    assert_eq!(classic.len(), 6);
    for told in classic {
        assert!(
            told.starts_with("the token lacks a scope: it takes one of `repo`, and it has: gist"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_or_not_visible_is_called_so() {
    let site = site().await;
    site.service.set_token(Token::Blind);
    let wanted = "repository acme/shop does not exist, or the token does not see it";
    for error in [site.github.whoami().await.unwrap_err(), site.github.list().await.unwrap_err()] {
        assert!(
            matches!(error, TrackerError::Impossible(_)) && error.to_string().starts_with(wanted),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_repository_that_moved_or_has_no_issues_is_called_so() {
    let off = site().await;
    off.service.turn_issues_off();
    let error = off.github.list().await.unwrap_err().to_string();
    assert!(error.starts_with("issues are turned off in acme/shop"), "{error}");

    let moved = site().await;
    let number = moved.service.add(NewIssue::titled("one"));
    moved.service.rename();
    let error = moved.github.list().await.unwrap_err().to_string();
    assert!(error.starts_with("acme/shop was renamed or moved; give its new name"), "{error}");
    // Its issues are not gone: a run's end is still to be told.
    let read = moved.github.issue(&by_number(number)).await;
    assert!(matches!(read, Err(TrackerError::Impossible(_))), "{read:?}");
}

#[tokio::test]
async fn a_redirect_to_another_server_is_no_renamed_repository_and_no_transferred_issue() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    let portal = Fault::redirect(302, "https://portal.example/login?back=x");
    let listed = async {
        site.service.chassis().faults().add(Rule::all().once(), portal.clone());
        site.github.list().await.unwrap_err()
    };
    let read = async {
        site.service.chassis().faults().clear();
        site.service.chassis().faults().add(Rule::all().once(), portal.clone());
        site.github.issue(&by_number(number)).await.unwrap_err()
    };
    for error in [listed.await, read.await] {
        assert!(matches!(error, TrackerError::Other { .. }), "{error:?}");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("on another server, portal.example: a proxy or the sign-in page"), "{cause}");
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_assigned_is_named() {
    let site = site().await;
    let stranger = site.with(|settings| settings.assignee = Some("stranger".to_owned()));
    let wanted =
        "issues of acme/shop cannot be assigned to `stranger`: the account needs access to the repository";
    assert_eq!(stranger.whoami().await.unwrap_err().to_string(), wanted);

    // GitHub says nothing of it when an issue is assigned.
    let number = site.service.add(NewIssue::titled("one"));
    site.service.expel(BOT);
    let error = site.github.apply(&by_number(number), &[Change::Assign(BOT.to_owned())]).await.unwrap_err();
    assert!(matches!(error, TrackerError::Impossible(_)) && error.to_string().contains(BOT), "{error}");
}

#[tokio::test]
async fn an_account_that_may_not_write_is_told_so_though_github_is_silent() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    site.service.demote();
    let error =
        site.github.apply(&by_number(number), &[Change::Transition(Status::InProgress)]).await.unwrap_err();
    let wanted =
        "GitHub does not change the labels of #1: the token's owner needs the role Write in acme/shop";
    assert_eq!(error.to_string(), wanted);
}

#[tokio::test]
async fn a_token_without_an_account_needs_an_assignee() {
    let site = site().await;
    site.service.set_token(Token::Installation);
    let error = site.github.whoami().await.unwrap_err();
    assert!(
        matches!(error, TrackerError::Unauthorized(_)) && error.to_string().contains("GH_ASSIGNEE"),
        "{error}"
    );
    let named = site.with(|settings| settings.assignee = Some("ada".to_owned()));
    assert_eq!(named.whoami().await.unwrap(), "ada");
}

#[tokio::test]
async fn issues_that_were_deleted_or_transferred_are_not_found() {
    let site = site().await;
    let numbers = ["one", "two"].map(|title| site.service.add(NewIssue::titled(title)));
    let pull = site.service.add_pull("three", "feature/3");
    for number in numbers {
        site.github.issue(&by_number(number)).await.unwrap();
    }
    site.service.delete(numbers[0]);
    site.service.transfer(numbers[1]);
    let said = Change::Comment { marker: Some("acf:run:r1".to_owned()), body: "Done.".to_owned() };
    for (number, told) in [
        (numbers[0], "#1 in acme/shop"),
        (numbers[1], "it was transferred to `http"),
        (pull, "#3: it is a pull request"),
    ] {
        for error in [
            site.github.issue(&by_number(number)).await.unwrap_err(),
            site.github.apply(&by_number(number), std::slice::from_ref(&said)).await.unwrap_err(),
        ] {
            assert!(
                matches!(error, TrackerError::NotFound(_)) && error.to_string().contains(told),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_issue_of_a_repository_that_the_token_does_not_see_is_not_said_to_be_gone() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one"));
    site.service.set_token(Token::Blind);
    let said = Change::Comment { marker: None, body: "Done.".to_owned() };
    for error in [
        site.github.issue(&by_number(number)).await.unwrap_err(),
        site.github.apply(&by_number(number), &[said]).await.unwrap_err(),
    ] {
        assert!(matches!(error, TrackerError::Impossible(_)), "{error:?}");
        assert!(
            error.to_string().starts_with("repository acme/shop does not exist, or the token"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_key_of_another_tracker_is_not_found() {
    let site = site().await;
    let key: acf_core::issue::IssueKey = "ACF-12".parse().unwrap();
    let error = site.github.issue(&key.into()).await.unwrap_err();
    assert!(matches!(error, TrackerError::NotFound(_)), "{error}");
    assert_eq!(site.asked(), [""; 0]);
}

#[tokio::test]
async fn a_label_that_a_person_takes_off_stays_off() {
    let site = site().await;
    let number = site.service.add(NewIssue::titled("one").labelled(["bug", "needs-branch"]));
    let move_to =
        async |status| site.github.apply(&by_number(number), &[Change::Transition(status)]).await.unwrap();
    move_to(Status::InProgress).await;
    site.service.edit(number, |issue| issue.labels.retain(|label| label != "needs-branch"));
    move_to(Status::InReview).await;
    assert_eq!(site.service.issue(number).labels, ["bug", "in-review"]);
}

#[tokio::test]
async fn nothing_shows_the_token() {
    let site = site().await;
    let told = format!("{:?} {:?}", super::settings(&site.service), site.github);
    assert!(told.contains("acme") && !told.contains(TOKEN), "{told}");
}

#[tokio::test]
async fn portals_and_redirects_are_told_apart_from_github() {
    for (fault, told) in [
        (
            Fault::html(),
            "answered 200 with text/html that is not JSON: `<!DOCTYPE html><title>Sign in</title>`",
        ),
        (Fault::status(200).body(""), "answered 200 with an empty body"),
        (
            Fault::redirect(302, "https://portal.example/login?t=1"),
            "a redirect to `https://portal.example/login`",
        ),
        (Fault::status(400).body(&format!("token {TOKEN} is odd")), "400 Bad Request: token *** is odd"),
    ] {
        let site = site().await;
        let number = site.service.add(NewIssue::titled("one"));
        site.service.chassis().faults().add(Rule::all(), fault);
        let errors = errors(&site, number).await;
        assert!(errors.len() >= 5, "{errors:?}");
        for error in errors {
            assert_keeps_the_secret(&error);
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(format!("{error} {cause}").contains(told), "{error} {cause}");
        }
    }
}
