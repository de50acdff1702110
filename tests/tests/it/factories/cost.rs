//! What a finished issue costs of a tracker's calls, from the poll to its last change, on a good day.

use acf_tests::github::NewIssue;
use acf_tests::jira::IssueState;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::Chassis;

use super::desk::Desk;
use super::github::GitHub;
use super::jira::Jira;
use super::{AIM, REQUIRED, factory};

/// Lets one worker finish two issues; returns what the tracker was asked for the second one alone, when the
/// worker has found out what it finds out once.
fn calls_of_the_second(sandbox: Sandbox, desk: &dyn Desk, asked: impl Fn() -> Vec<String>) -> Vec<String> {
    let factory = factory(sandbox, desk).with("ISSUE_RECHECK", "1h").with("MAX_ATTEMPTS", "1");
    factory.start("w-1", &["--max-issues", "2"]).ended().done();
    let asked = asked();
    let is_poll = |line: &String| line.ends_with("/issues") || line.ends_with("/search/jql");
    let polls: Vec<_> = (0..asked.len()).filter(|at| is_poll(&asked[*at])).collect();
    assert_eq!(polls.len(), 2, "{asked:#?}");
    asked[polls[1]..].to_vec()
}

fn lines(chassis: &Chassis, below: &str) -> Vec<String> {
    chassis.recording().requests().iter().map(|request| request.line().replace(below, "")).collect()
}

/// Checks that the calls are at most as many as is aimed at. The look before publishing is a re-read, which
/// the aim leaves apart; the poll's own call is in it.
#[track_caller]
fn assert_within_the_aim(calls: &[String]) {
    let re_reads = 1;
    assert!(calls.len() - re_reads <= AIM, "{calls:#?}");
}

fn on_github(labels: &[&str]) -> Vec<String> {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    for title in ["one", "two"] {
        github.add(NewIssue::titled(title).labelled(labels.iter().copied()));
    }
    calls_of_the_second(sandbox, &github, || lines(github.service().chassis(), "/repos/acme/shop"))
}

#[test]
fn an_issue_on_github_that_lands_on_the_trunk() {
    let calls = on_github(&[REQUIRED]);
    insta::assert_snapshot!(calls.join("\n"), @r"
    GET /issues
    GET /issues/2
    PATCH /issues/2
    GET /issues/2
    GET /issues/2
    POST /issues/2/comments
    PATCH /issues/2
    ");
    assert_within_the_aim(&calls);
}

#[test]
fn an_issue_on_github_that_lands_on_a_branch_with_a_pull_request() {
    let calls = on_github(&[REQUIRED, "needs-branch"]);
    insta::assert_snapshot!(calls.join("\n"), @r"
    GET /issues
    GET /issues/2
    PATCH /issues/2
    GET /issues/2
    GET /pulls
    POST /pulls
    GET /issues/2
    POST /issues/2/comments
    PATCH /issues/2
    ");
    assert_within_the_aim(&calls);
}

#[test]
fn an_issue_in_jira() {
    let sandbox = Sandbox::builder().build();
    let mut jira = Jira::serve(&sandbox);
    for summary in ["one", "two"] {
        let (labels, status) = ([REQUIRED.to_owned()].into(), "To Do".to_owned());
        jira.add(IssueState { summary: summary.to_owned(), status, labels, ..IssueState::default() });
    }
    let calls = calls_of_the_second(sandbox, &jira, || lines(jira.service().chassis(), "/rest/api/3"));
    insta::assert_snapshot!(calls.join("\n"), @r"
    POST /search/jql
    GET /issue/ACF-2
    POST /issue/ACF-2/transitions
    PUT /issue/ACF-2/assignee
    GET /issue/ACF-2
    GET /issue/ACF-2
    POST /issue/ACF-2/transitions
    GET /issue/ACF-2/comment
    POST /issue/ACF-2/comment
    ");
    assert_within_the_aim(&calls);
}
