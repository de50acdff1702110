//! Bad input and bad days: what is told, and that nothing is done twice.

use acf_core::issue::{Stage, Status};
use acf_core::tracker::{Change, Tracker as _, TrackerError};
use acf_tests::jira::{ACCOUNT, FakeJira, IssueState, OTHER_ACCOUNT};
use acf_tests::service::{Fault, Rule};
use acf_trackers::jira::Settings;
use axum::http::Method;
use serde_json::json;

use super::secrets::Log;

fn unauthorized<T: std::fmt::Debug>(result: Result<T, TrackerError>) -> String {
    match result {
        Err(TrackerError::Unauthorized(says)) => says,
        other => panic!("{other:?}"),
    }
}

fn impossible<T: std::fmt::Debug>(result: Result<T, TrackerError>) -> String {
    match result {
        Err(TrackerError::Impossible(says)) => says,
        other => panic!("{other:?}"),
    }
}

fn moved() -> [Change; 1] {
    [Change::Transition(Status::InProgress)]
}

#[tokio::test]
async fn a_wrong_or_expired_token_is_told_as_such() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().add_to_do("one");
    let tracker = jira.tracker();
    tracker.candidates(Stage::Implementation).await.unwrap();
    jira.site().revoke_token();
    let says = unauthorized(tracker.whoami().await).replace(&jira.chassis().url(), "URL");
    insta::assert_snapshot!(says, @"Jira does not accept the credentials: JIRA_EMAIL or JIRA_TOKEN is wrong, or the token has expired or was revoked; a token with scopes works at JIRA_API_URL alone (GET URL/rest/api/3/myself answered 401 Unauthorized: Client must be authenticated to access this resource.)");
    // Some calls answer nobody with nothing; that is no empty backlog.
    jira.site().serve_nobody();
    assert!(unauthorized(tracker.candidates(Stage::Implementation).await).contains("expired"));
}

#[tokio::test]
async fn a_scope_that_the_token_lacks_is_named() {
    for (scope, named) in [
        ("read:jira-user", "read:jira-user"),
        ("read:jira-work", "read:jira-work"),
        ("write:jira-work", "write:jira-work"),
    ] {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        jira.site().remove_scope(scope);
        let tracker = jira.tracker();
        let used = async {
            tracker.whoami().await?;
            tracker.apply(&key.into(), &moved()).await
        };
        let says = unauthorized(used.await);
        assert!(says.contains(&format!("lacks the scope {named}")), "{says}");
    }
}

#[tokio::test]
async fn a_permission_that_the_account_lacks_for_an_issue_is_named_and_is_that_issues_own() {
    for (method, path, permission) in [
        (Method::POST, "/transitions", "Transition Issues"),
        (Method::PUT, "/assignee", "Assign Issues"),
        (Method::POST, "/comment", "Add Comments"),
        (Method::PUT, "/issue/ACF-1", "Edit Issues"),
    ] {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        let rule = Rule::on(method, path);
        jira.chassis().faults().add(rule, Fault::status(403));
        let change = match permission {
            "Assign Issues" => Change::Assign(ACCOUNT.to_owned()),
            "Add Comments" => Change::Comment { marker: None, body: "Hm.".to_owned() },
            "Edit Issues" => Change::AddLabel("x".to_owned()),
            _ => Change::Transition(Status::Done),
        };
        let says = impossible(jira.tracker().apply(&key.into(), &[change]).await);
        assert!(says.contains(&format!("for this issue it lacks the permission {permission}")), "{says}");
        assert!(says.contains("answered 403 Forbidden: Forbidden"), "Jira's own words: {says}");
    }
}

#[tokio::test]
async fn what_is_refused_where_no_issue_is_changed_is_the_credentials() {
    for (method, path, permission) in
        [(Method::GET, "/issue/ACF-1", "Browse Projects"), (Method::POST, "/search", "Browse Projects")]
    {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        jira.chassis().faults().add(Rule::on(method, path), Fault::status(403));
        let tracker = jira.tracker();
        let read = async { tracker.issue(&key.into()).await.and(tracker.list().await) };
        let says = unauthorized(read.await);
        assert!(says.contains(&format!("lacks the permission {permission}")), "{says}");
    }
    // A 403 that says so is about the credentials, whatever was called.
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    let denied = Fault::status(403).header("x-seraph-loginreason", "AUTHENTICATION_DENIED");
    jira.chassis().faults().add(Rule::on(Method::POST, "/transitions"), denied);
    assert!(unauthorized(jira.tracker().apply(&key.into(), &moved()).await).contains("JIRA_TOKEN is wrong"));
}

#[tokio::test]
async fn permissions_that_the_account_lacks_in_the_project_are_told_before_work_begins() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().forbid("ADD_COMMENTS");
    jira.site().forbid("TRANSITION_ISSUES");
    let says = unauthorized(jira.tracker().whoami().await);
    let wanted = "the account lacks the permissions Transition Issues, Add Comments in the project `ACF`: ";
    assert!(says.starts_with(wanted), "{says}");
}

#[tokio::test]
async fn a_project_that_does_not_exist_or_is_hidden_is_named() {
    let jira = FakeJira::with_all_statuses().await;
    let tracker = jira.tracker_with(Settings { project: "NOPE\"x".into(), ..jira.settings() });
    for says in [impossible(tracker.whoami().await), impossible(tracker.candidates(Stage::Planning).await)] {
        assert!(says.starts_with("Jira shows this account no project `NOPE\"x`: check PROJECT"), "{says}");
    }
    // It may be hidden later, too.
    let tracker = jira.tracker();
    tracker.list().await.unwrap();
    let body = r#"{"errorMessages":["The value 'ACF' does not exist for the field 'project'."],"errors":{}}"#;
    jira.chassis().faults().add(Rule::path("/search"), Fault::status(400).body(body));
    assert!(impossible(tracker.list().await).contains("no project `ACF`"));
}

#[tokio::test]
async fn a_site_that_ranks_nothing_is_asked_for_the_oldest_first_and_for_ranks_only_once() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().add_to_do("one");
    jira.site().add_to_do("two");
    jira.site().rank_nothing();
    let tracker = jira.tracker();
    let (log, _guard) = Log::kept();
    for _ in 0..2 {
        let found = tracker.candidates(Stage::Implementation).await.unwrap();
        assert_eq!(found.iter().map(|issue| issue.summary.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }
    assert_eq!(tracker.list().await.unwrap().len(), 2);
    let asked = jira.asked_lines();
    assert_eq!(asked.iter().filter(|line| line.ends_with("/search/jql")).count(), 4, "{asked:?}");
    assert_eq!(log.text().matches("this Jira ranks no issues: the oldest comes first").count(), 1);
}

#[tokio::test]
async fn an_account_that_cannot_be_assigned_is_told_before_work_begins() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    jira.site().forbid_assigning(OTHER_ACCOUNT);
    let tracker = jira.tracker_with(Settings { account_id: OTHER_ACCOUNT.into(), ..jira.settings() });
    for says in [
        impossible(tracker.whoami().await),
        impossible(tracker.apply(&key.into(), &[Change::Assign(OTHER_ACCOUNT.into())]).await),
    ] {
        let wanted = "cannot be assigned to the account `712020:b1b2-ada`: check JIRA_ASSIGNEE_ACCOUNT_ID";
        assert!(says.contains(wanted), "{says}");
    }
}

#[tokio::test]
async fn an_issue_that_is_deleted_or_moved_is_gone() {
    let jira = FakeJira::with_all_statuses().await;
    let (deleted, moved_away) = (jira.site().add_to_do("one"), jira.site().add_to_do("two"));
    let tracker = jira.tracker();
    assert_eq!(tracker.candidates(Stage::Implementation).await.unwrap().len(), 2);
    jira.site().delete(deleted.as_str());
    jira.site().move_away(moved_away.as_str(), "OPS-7");
    let _ = jira.asked();
    for (key, wanted) in [
        (&deleted, "no issue ACF-1"),
        (&moved_away, "no issue ACF-2 any more: it was moved, and is now OPS-7"),
    ] {
        let read = tracker.issue(&key.clone().into()).await;
        assert!(matches!(read, Err(TrackerError::NotFound(_))), "{read:?}");
        assert_eq!(read.unwrap_err().to_string(), wanted);
        let changed = tracker.apply(&key.clone().into(), &moved()).await;
        assert!(matches!(changed, Err(TrackerError::NotFound(_))), "{changed:?}");
    }
    assert!(jira.asked().iter().all(|request| request.method == Method::GET));
}

#[tokio::test]
async fn an_issue_that_goes_between_reading_and_writing_is_gone() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    jira.chassis().faults().add(Rule::path("/assignee"), Fault::status(404));
    let changed = jira.tracker().apply(&key.into(), &[Change::Assign(ACCOUNT.into())]).await;
    assert!(matches!(changed, Err(TrackerError::NotFound(_))), "{changed:?}");
}

#[tokio::test]
async fn a_transition_whose_answer_is_lost_is_looked_up() {
    let html = [Fault::html(), Fault::html().carried_out()];
    for fault in [Fault::CutAfter, Fault::Cut, Fault::status(503), Fault::status(409)].into_iter().chain(html)
    {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        jira.chassis().faults().add(Rule::on(Method::POST, "/transitions").once(), fault.clone());
        let tracker = jira.tracker();
        tracker.apply(&key.clone().into(), &moved()).await.unwrap();
        jira.site().read(key.as_str(), |issue| assert_eq!(issue.status, "In Progress"));
        let made = jira.asked_lines().iter().filter(|line| line.starts_with("POST")).count();
        let is_made = matches!(fault, Fault::CutAfter | Fault::Answer { is_carried_out: true, .. });
        assert_eq!(made, if is_made { 1 } else { 2 }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_jira_does_not_confirm_is_no_success_and_made_once_all_the_same() {
    let writes = [
        (Method::PUT, "/assignee", Change::Assign(ACCOUNT.to_owned())),
        (Method::PUT, "/issue/ACF-1", Change::AddLabel("x".to_owned())),
        (Method::POST, "/comment", Change::Comment { marker: None, body: "Hm.".to_owned() }),
    ];
    for (method, path, change) in writes {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        jira.chassis().faults().add(Rule::on(method, path).once(), Fault::html());
        let tracker = jira.tracker();
        let error = tracker.apply(&key.clone().into(), std::slice::from_ref(&change)).await.unwrap_err();
        assert!(matches!(error, TrackerError::Other { .. }), "{error:?}");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("text/html") && cause.contains("<title>Sign in</title>"), "{cause}");
        jira.site().read(key.as_str(), |issue| {
            assert_eq!((&issue.assignee, issue.labels.len(), issue.comments.len()), (&None, 0, 0));
        });
        tracker.apply(&key.clone().into(), &[change]).await.unwrap();
        jira.site().read(key.as_str(), |issue| {
            let done = usize::from(issue.assignee.is_some()) + issue.labels.len() + issue.comments.len();
            assert_eq!(done, 1, "{issue:?}");
        });
    }
}

#[tokio::test]
async fn a_transition_that_never_comes_through_ends_in_an_error() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    jira.chassis().faults().add(Rule::on(Method::POST, "/transitions"), Fault::status(409));
    let changed = jira.tracker().apply(&key.into(), &moved()).await;
    assert!(matches!(changed, Err(TrackerError::Other { .. })), "{changed:?}");
    assert_eq!(jira.chassis().faults().struck(), 3);
}

#[tokio::test]
async fn passing_trouble_passes() {
    for fault in [
        Fault::Cut,
        Fault::CutAfter,
        Fault::CutBody,
        Fault::SlowBody(std::time::Duration::from_millis(5)),
        Fault::rate_limited(3),
        Fault::status(500),
        Fault::status(503),
    ] {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        jira.chassis().faults().add(Rule::all().every(3), fault);
        let tracker = jira.tracker();
        assert_eq!(tracker.whoami().await.unwrap(), ACCOUNT);
        let comment = Change::Comment { marker: Some("acf:run:r1".into()), body: "Landed.".into() };
        let changes = [
            comment,
            Change::Assign(ACCOUNT.into()),
            Change::AddLabel("x".into()),
            Change::Transition(Status::Done),
        ];
        // As a worker does: again, until it is said.
        for _ in 0..4 {
            if tracker.apply(&key.clone().into(), &changes).await.is_ok() {
                break;
            }
        }
        tracker.apply(&key.clone().into(), &changes).await.unwrap();
        jira.site().read(key.as_str(), |issue| {
            assert_eq!((issue.status.as_str(), issue.comments.len()), ("Done", 1));
            assert_eq!((issue.assignee.as_deref(), issue.labels.contains("x")), (Some(ACCOUNT), true));
        });
    }
}

#[tokio::test]
async fn a_long_rate_limit_is_passed_on_with_its_time() {
    let jira = FakeJira::with_all_statuses().await;
    jira.chassis().faults().add(Rule::all(), Fault::rate_limited(600));
    let limited = jira.tracker().list().await;
    let Err(TrackerError::RateLimited { retry_after }) = limited else { panic!("{limited:?}") };
    assert_eq!(retry_after.as_secs(), 600);
    assert_eq!(jira.asked().len(), 1);
}

#[tokio::test]
async fn answers_that_are_none_of_jiras_are_told_and_change_nothing() {
    for (fault, wanted) in [
        (Fault::html(), "text/html that is not JSON"),
        (Fault::status(200).body(""), "with an empty body"),
        (Fault::status(200).body("[]"), "JSON of another shape"),
        (Fault::redirect(302, "https://id.acme.test/login?x=y"), "redirect to `https://id.acme.test/login`"),
    ] {
        let jira = FakeJira::with_all_statuses().await;
        let key = jira.site().add_to_do("one");
        let tracker = jira.tracker();
        tracker.list().await.unwrap();
        jira.chassis().faults().add(Rule::on(Method::GET, "/issue/"), fault);
        let error = tracker.apply(&key.clone().into(), &moved()).await.unwrap_err();
        let told = format!(
            "{error} {}",
            std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default()
        );
        assert!(told.contains(wanted), "{told}");
        jira.site().read(key.as_str(), |issue| assert_eq!(issue.status, "To Do"));
    }
}

#[tokio::test]
async fn another_server_than_jira_is_told() {
    let jira = FakeJira::with_all_statuses().await;
    jira.chassis().faults().add(Rule::all(), Fault::status(404).body("<html>no site</html>"));
    assert!(
        impossible(jira.tracker().whoami().await)
            .starts_with("there is no Jira at that address: check JIRA_SITE")
    );
}

#[tokio::test]
async fn an_issue_that_cannot_be_read_costs_nobody_the_others() {
    let jira = FakeJira::with_all_statuses().await;
    // Deeper than any reader of JSON goes by itself.
    let deep = (0..200).fold(json!([]), |inner, _| json!([{ "type": "blockquote", "content": inner }]));
    let description = json!({ "type": "doc", "version": 1, "content": deep });
    jira.site().add_to_do("one");
    let key =
        jira.site().add(IssueState { description, status: "To Do".to_owned(), ..IssueState::default() });
    jira.site().add_to_do("three");
    let tracker = jira.tracker();
    let (log, _guard) = Log::kept();
    for _ in 0..2 {
        let found = tracker.candidates(Stage::Implementation).await.unwrap();
        let summaries: Vec<_> = found.iter().map(|issue| issue.summary.as_str()).collect();
        assert_eq!(summaries, ["one", "three"]);
        assert_eq!(tracker.list().await.unwrap().len(), 2);
    }
    let told = log.text();
    let warning = "issue `ACF-2` is left out, as it cannot be read: recursion limit exceeded";
    assert_eq!(told.matches(warning).count(), 1, "{told}");
    // A look at that very issue says what is wrong with it.
    let error = tracker.issue(&key.into()).await.unwrap_err();
    assert!(matches!(error, TrackerError::Other { .. }), "{error:?}");
}
