//! Transitions, workflows, labels, links, and what they cost.

use acf_core::claim::{Claim, DEFAULT_TTL};
use acf_core::hand_back::give_back;
use acf_core::issue::{IssueRef, Stage, Status};
use acf_core::run::{RunId, WorkerId};
use acf_core::tracker::{Applied, Change, Tracker as _, TrackerError};
use acf_tests::jira::{ACCOUNT, FakeJira, IssueState, OTHER_ACCOUNT};
use acf_trackers::jira::{Settings, StatusNames};
use jiff::Timestamp;

fn impossible<T: std::fmt::Debug>(result: Result<T, TrackerError>) -> String {
    match result {
        Err(TrackerError::Impossible(says)) => says,
        other => panic!("{other:?}"),
    }
}

fn took() -> [Change; 2] {
    [Change::Transition(Status::InProgress), Change::Assign(ACCOUNT.to_owned())]
}

fn landed() -> [Change; 2] {
    let comment = Change::Comment { marker: Some("acf:run:r1".into()), body: "Landed.".into() };
    [comment, Change::Transition(Status::Done)]
}

#[tokio::test]
async fn a_finished_issue_takes_few_calls() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    let worker = jira.tracker();
    worker.whoami().await.unwrap();
    let of_start = jira.asked_lines();

    let candidate = worker.candidates(Stage::Implementation).await.unwrap().remove(0);
    let found = worker.apply_if(&candidate.reference(), &|_| true, &took()).await.unwrap();
    assert!(matches!(found, Applied::Yes(_)));
    worker.apply(&candidate.reference(), &landed()).await.unwrap();

    let calls = jira.asked_lines();
    println!("calls of a worker's start: {of_start:?}\ncalls of a finished issue: {calls:#?}");
    let again = ["GET /issue/ACF-1", "GET /issue/ACF-1/comment"];
    let (re_reads, others): (Vec<_>, Vec<_>) = calls.iter().partition(|call| again.contains(&call.as_str()));
    assert_eq!((others.len(), re_reads.len()), (5, 3));
    assert_eq!(of_start.len(), 4);
    jira.site().read(key.as_str(), |issue| {
        assert_eq!((issue.status.as_str(), issue.comments.len()), ("Done", 1));
        assert_eq!(issue.assignee.as_deref(), Some(ACCOUNT));
    });
}

#[tokio::test]
async fn what_is_there_already_takes_no_call() {
    let jira = FakeJira::with_all_statuses().await;
    let state =
        IssueState { status: "In Progress".into(), assignee: Some(ACCOUNT.into()), ..IssueState::default() };
    let key = jira.site().add(state);
    let tracker = jira.tracker();
    tracker.issue(&key.clone().into()).await.unwrap();
    let _ = jira.asked();
    tracker.apply(&key.into(), &took()).await.unwrap();
    assert_eq!(jira.asked_lines(), ["GET /issue/ACF-1"]);
}

#[tokio::test]
async fn where_no_transition_leads_the_possible_ones_are_told() {
    let jira = FakeJira::serve(&["To Do", "In Progress", "In Review", "Done"]).await;
    jira.site().close_way(None, "In Progress");
    jira.site().close_way(None, "Done");
    let key = jira.site().add_to_do("one");
    let says = impossible(jira.tracker().apply(&key.clone().into(), &took()).await);
    insta::assert_snapshot!(says, @"no transition leads ACF-1 from `To Do` to `In Progress`; possible are `Step 3` to `In Review`");
    // Nothing was half done.
    jira.site()
        .read(key.as_str(), |issue| assert_eq!((issue.status.as_str(), &issue.assignee), ("To Do", &None)));
}

#[tokio::test]
async fn of_two_transitions_to_a_status_the_one_that_asks_for_nothing_is_made() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().offer_detour("Done", &[("resolution", "Resolution")]);
    let key = jira.site().add_to_do("one");
    jira.tracker().apply(&key.clone().into(), &[Change::Transition(Status::Done)]).await.unwrap();
    jira.site().read(key.as_str(), |issue| assert_eq!(issue.status, "Done"));
    let asked = jira.asked_lines();
    assert_eq!(asked.iter().filter(|line| line.ends_with("/transitions")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn nothing_is_said_of_a_label_before_it_is_there() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().hide_labels();
    let key = jira.site().add_to_do("one");
    let said =
        Change::Comment { marker: Some("acf:run:r1".to_owned()), body: "Remove the label.".to_owned() };
    let changes = [Change::AddLabel("acf-blocked".to_owned()), said];
    let says = impossible(jira.tracker().apply(&key.clone().into(), &changes).await);
    assert!(says.starts_with("the field Labels is not on the screen"), "{says}");
    jira.site().read(key.as_str(), |issue| assert!(issue.comments.is_empty()));
}

#[tokio::test]
async fn fields_that_a_screen_requires_are_named() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().require_fields("Done", &[("resolution", "Resolution"), ("customfield_10010", "Team")]);
    let key = jira.site().add_to_do("one");
    let says = impossible(jira.tracker().apply(&key.into(), &[Change::Transition(Status::Done)]).await);
    let says = says.replace(&jira.chassis().url(), "URL");
    insta::assert_snapshot!(says, @"cannot move ACF-1 to `Done` by the transition `Step 7`: its screen requires Team (customfield_10010), Resolution (resolution); make them optional, or give them a default value (POST URL/rest/api/3/issue/ACF-1/transitions answered 400 Bad Request: resolution: Resolution is required.)");
}

#[tokio::test]
async fn a_site_has_its_own_names_for_statuses() {
    let jira = FakeJira::serve(&["Zu erledigen", "IN ARBEIT", "Fertig"]).await;
    let key = jira.site().add(IssueState { status: "Zu erledigen".into(), ..IssueState::default() });
    let statuses = StatusNames {
        to_do: "zu Erledigen".into(),
        in_progress: "In Arbeit".into(),
        done: "Fertig".into(),
        ..StatusNames::default()
    };
    let tracker = jira.tracker_with(Settings { statuses, ..jira.settings() });
    let candidates = tracker.candidates(Stage::Implementation).await.unwrap();
    assert_eq!(candidates[0].status, Status::ToDo);
    tracker.apply(&key.clone().into(), &took()).await.unwrap();
    jira.site().read(key.as_str(), |issue| assert_eq!(issue.status, "IN ARBEIT"));
    tracker.apply(&key.clone().into(), &landed()).await.unwrap();
    assert_eq!(tracker.issue(&key.into()).await.unwrap().status, Status::Done);
    assert_eq!(tracker.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_status_that_nothing_can_stand_for_has_to_exist() {
    let jira = FakeJira::serve(&["Backlog", "Closed"]).await;
    insta::assert_snapshot!(impossible(jira.tracker().whoami().await), @"the project `ACF` has no status `To Do`; it has: Backlog, Closed. Set JIRA_STATUS_TO_DO to what it calls `To Do`");
    let statuses = StatusNames { planning: "Done".into(), ..StatusNames::default() };
    let refused = acf_trackers::jira::Jira::new(
        Settings { statuses, ..jira.settings() },
        std::sync::Arc::new(acf_worker::clock::SystemClock::default()),
    );
    assert!(impossible(refused).contains("two of Jira's statuses are called `Done`"));
}

#[tokio::test]
async fn planning_works_by_labels_where_the_workflow_has_three_statuses() {
    let jira = FakeJira::serve(&["To Do", "In Progress", "Done"]).await;
    let state =
        IssueState { status: "To Do".into(), labels: ["needs-plan".into()].into(), ..IssueState::default() };
    let key = jira.site().add(state);
    let tracker = jira.tracker();
    let issue: IssueRef = key.clone().into();
    let labels =
        || jira.site().read(key.as_str(), |issue| issue.labels.iter().cloned().collect::<Vec<_>>().join(" "));
    let status = || jira.site().read(key.as_str(), |issue| issue.status.clone());

    tracker
        .apply(&issue, &[Change::Transition(Status::Planning), Change::Assign(ACCOUNT.into())])
        .await
        .unwrap();
    assert_eq!((status().as_str(), labels().as_str()), ("To Do", "in-planning needs-plan"));
    tracker.apply(&issue, &[Change::Transition(Status::AwaitingPlanReview), Change::Unassign]).await.unwrap();
    assert_eq!((status().as_str(), labels().as_str()), ("To Do", "awaiting-plan-review needs-plan"));
    assert_eq!(tracker.candidates(Stage::Planning).await.unwrap(), []);
    assert_eq!(tracker.candidates(Stage::Implementation).await.unwrap(), []);

    // A person approves.
    jira.site().change(key.as_str(), |issue| {
        issue.labels.insert("plan-approved".into());
    });
    let candidates = tracker.candidates(Stage::Implementation).await.unwrap();
    assert_eq!(candidates[0].status, Status::PlanApproved);
    let _ = jira.asked();
    tracker.apply(&issue, &took()).await.unwrap();
    assert_eq!((status().as_str(), labels().as_str()), ("In Progress", "needs-plan plan-approved"));

    // A failed run gives it back as it was found.
    let (worker, run) = (WorkerId::new("w1"), RunId::new("r1"));
    let claim =
        Claim::new(&candidates[0], Stage::Implementation, worker, run, Timestamp::UNIX_EPOCH, DEFAULT_TTL);
    tracker.apply(&issue, &give_back(&claim)).await.unwrap();
    assert_eq!(tracker.candidates(Stage::Implementation).await.unwrap()[0].status, Status::PlanApproved);

    tracker.apply(&issue, &[Change::Transition(Status::InReview)]).await.unwrap();
    assert_eq!((status().as_str(), labels().as_str()), ("In Progress", "in-review needs-plan plan-approved"));
    tracker.apply(&issue, &[Change::Transition(Status::Done)]).await.unwrap();
    assert_eq!((status().as_str(), labels().as_str()), ("Done", "needs-plan plan-approved"));
}

#[tokio::test]
async fn acfs_own_labels_count_whatever_their_case() {
    let jira = FakeJira::with_all_statuses().await;
    let labels = ["Needs-Plan".into(), "ACF-Blocked".into(), "Team-A".into()].into();
    let key = jira.site().add(IssueState { status: "To Do".into(), labels, ..IssueState::default() });
    let (tracker, issue): (_, IssueRef) = (jira.tracker(), key.clone().into());
    let read = tracker.issue(&issue).await.unwrap();
    assert_eq!(read.labels, ["acf-blocked", "needs-plan", "Team-A"].map(str::to_owned).into());

    tracker.apply(&issue, &[Change::RemoveLabel("acf-blocked".into())]).await.unwrap();

    let left = jira.site().read(key.as_str(), |issue| issue.labels.clone());
    assert_eq!(left, ["Needs-Plan", "Team-A"].map(str::to_owned).into());
}

#[tokio::test]
async fn an_issue_waits_for_those_that_block_it_until_they_are_done() {
    let jira = FakeJira::with_all_statuses().await;
    let blocker = jira.site().add_to_do("first");
    let blockers = vec![blocker.to_string()];
    let key = jira.site().add(IssueState { status: "To Do".into(), blockers, ..IssueState::default() });
    let tracker = jira.tracker();
    let read = async || tracker.issue(&key.clone().into()).await.unwrap();
    assert_eq!(read().await.blocked_by, ["ACF-1"]);
    let candidates = tracker.candidates(Stage::Implementation).await.unwrap();
    assert_eq!(candidates[1], read().await);
    jira.site().change("ACF-1", |issue| issue.status = "Done".into());
    assert_eq!(read().await.blocked_by, [""; 0]);
}

#[tokio::test]
async fn people_follow_links_to_the_site_and_requests_go_to_the_interface() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    let issue = jira.tracker().issue(&key.into()).await.unwrap();
    assert_eq!(issue.url.as_deref(), Some("https://acme.atlassian.net/browse/ACF-1"));
}

#[tokio::test]
async fn what_the_search_says_of_the_past_is_never_acted_upon() {
    let jira = FakeJira::with_all_statuses().await;
    let key = jira.site().add_to_do("one");
    let (ours, theirs) = (jira.tracker(), jira.tracker());
    jira.site().set_lag(4);
    for _ in 0..3 {
        ours.whoami().await.unwrap();
    }
    theirs
        .apply(
            &key.clone().into(),
            &[Change::Transition(Status::InProgress), Change::Assign(OTHER_ACCOUNT.into())],
        )
        .await
        .unwrap();
    let candidate = ours.candidates(Stage::Implementation).await.unwrap().remove(0);
    assert_eq!((&candidate.status, &candidate.assignee), (&Status::ToDo, &None), "the search lags behind");
    let wanted = |issue: &acf_core::issue::Issue| issue.status == Status::ToDo && issue.assignee.is_none();
    let applied = ours.apply_if(&candidate.reference(), &wanted, &took()).await.unwrap();
    let Applied::No(found) = applied else { panic!("it was taken from its holder") };
    assert_eq!(found.assignee.as_deref(), Some(OTHER_ACCOUNT));
    jira.site().read(key.as_str(), |issue| assert_eq!(issue.assignee.as_deref(), Some(OTHER_ACCOUNT)));
}

#[tokio::test]
async fn all_pages_are_read_in_rank_order() {
    let jira = FakeJira::with_all_statuses().await;
    jira.site().set_page_size(3);
    for n in 0..10 {
        jira.site().add_to_do(&n.to_string());
    }
    let found = jira.tracker().candidates(Stage::Implementation).await.unwrap();
    let summaries: String = found.iter().map(|issue| issue.summary.as_str()).collect();
    assert_eq!(summaries, "0123456789");
    let tokens =
        jira.asked().into_iter().filter_map(|request| request.body?.get("nextPageToken").cloned()).count();
    assert_eq!(tokens, 3);
}
