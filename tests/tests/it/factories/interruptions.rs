//! People who close, delete, move or relabel an issue on GitHub or in Jira while a run works on it; and
//! what comes of it when GitHub refuses one step after the other.

use std::collections::BTreeMap;

use acf_tests::canary::Canaries;
use acf_tests::factory::{Factory, Running};
use acf_tests::github::{NewIssue, TOKEN, Token};
use acf_tests::jira::{EMAIL, IssueState, TOKEN as JIRA_TOKEN, basic_authorization};
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use axum::http::Method;

use super::desk::Desk;
use super::github::GitHub;
use super::jira::Jira;
use super::{End, REQUIRED, drain, factory};

/// An agent that writes a file, says so, and waits to be stopped.
const WAITS: &str = "echo A > a.txt; echo ready; while :; do sleep 0.02; done";

/// Starts a worker on the only issue, whose agent waits to be stopped.
fn at_work(sandbox: Sandbox, desk: &dyn Desk) -> (Factory, Running) {
    let factory = factory(sandbox, desk).with("ISSUE_RECHECK", "100ms").agent(WAITS);
    let mut worker = factory.start("w-1", &["--max-issues", "1"]);
    worker.says("agent: ready");
    (factory, worker)
}

/// Checks that the only run was withdrawn for that reason, with its work kept and nothing pushed.
#[track_caller]
fn assert_withdrawn(factory: &Factory, worker: Running, key: &str, why: &str) {
    let said = worker.ended();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let runs = factory.runs(key);
    assert_eq!((runs.len(), &runs[0]["outcome"], &runs[0]["why"]), (1, &"withdrawn".into(), &why.into()));
    let sandbox = factory.sandbox();
    assert_eq!(sandbox.refs("refs/heads"), ["refs/heads/main"]);
    assert_eq!(sandbox.log(), ["First commit"]);
    let wip = format!("refs/acf/wip/{}", key.trim_start_matches('#'));
    assert_eq!(sandbox.file_at(&wip, "a.txt").as_deref(), Some("A\n"));
    assert_eq!(factory.claims(), [""; 0]);
    assert_eq!(factory.left_running(), [""; 0]);
}

fn on_github() -> (GitHub, Factory, Running) {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("one").labelled([REQUIRED]));
    let (factory, worker) = at_work(sandbox, &github);
    (github, factory, worker)
}

fn in_jira() -> (Jira, Factory, Running) {
    let sandbox = Sandbox::builder().build();
    let jira = jira_with(&sandbox, &["one"]);
    let (factory, worker) = at_work(sandbox, &jira);
    (jira, factory, worker)
}

#[test]
fn an_issue_whose_conversation_is_locked_is_moved_on_without_a_word_and_no_other_suffers() {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    for title in ["one", "two"] {
        github.add(NewIssue::titled(title).labelled([REQUIRED]));
    }
    github.service().lock(1);
    let factory = factory(sandbox, &github).agent("mktemp new.XXXXXX");
    let said = factory.drain().done().stderr;
    assert!(said.contains("the conversation of #1 is locked"), "{said}");
    for (key, number, comments) in [("#1", 1, 0), ("#2", 2, 1)] {
        assert_eq!(factory.runs(key)[0]["outcome"], "landed");
        let seen = github.service().issue(number);
        assert_eq!((seen.is_open, seen.comments.len()), (false, comments), "{key}: {:?}", seen.comments);
    }
    assert_eq!(factory.claims(), [""; 0]);
}

/// Serves issues in Jira that are to be done.
fn jira_with(sandbox: &Sandbox, summaries: &[&str]) -> Jira {
    let mut jira = Jira::serve(sandbox);
    for &summary in summaries {
        let (labels, status) = ([REQUIRED.to_owned()].into(), "To Do".to_owned());
        jira.add(IssueState { summary: summary.to_owned(), status, labels, ..IssueState::default() });
    }
    jira
}

#[test]
fn an_issue_that_its_tracker_lets_nobody_comment_on_is_moved_on_without_a_word_and_no_other_suffers() {
    let sandbox = Sandbox::builder().build();
    let jira = jira_with(&sandbox, &["one", "two"]);
    let refuses = Rule::on(Method::POST, "/issue/ACF-1/comment");
    jira.service().chassis().faults().add(refuses, Fault::status(403));
    let factory = factory(sandbox, &jira).agent("mktemp new.XXXXXX");

    let said = factory.drain().done().stderr;

    assert!(said.contains("for this issue it lacks the permission Add Comments"), "{said}");
    assert!(said.contains("issue `ACF-1` takes no comment on how its run ended"), "{said}");
    for (key, comments) in [("ACF-1", 0), ("ACF-2", 1)] {
        assert_eq!(factory.runs(key)[0]["outcome"], "landed");
        let standing = &jira.standings()[key];
        assert_eq!((standing.status.as_str(), standing.comments.len()), ("Done", comments), "{standing:?}");
    }
    assert_eq!(factory.claims(), [""; 0]);
}

#[test]
fn what_a_dead_worker_left_of_an_issue_that_takes_no_comment_is_settled_for_good() {
    let sandbox = Sandbox::builder().build();
    let jira = jira_with(&sandbox, &["one"]);
    let faults = jira.service().chassis().faults();
    faults.add(Rule::on(Method::POST, "/comment"), Fault::status(503));
    let factory = factory(sandbox, &jira);
    let mut worker = factory.start("w-1", &[]);
    worker.waits_for("the report", |_| (faults.struck() > 0).then_some(()));
    worker.signal(rustix::process::Signal::KILL);
    drop(worker);
    faults.clear();
    faults.add(Rule::on(Method::POST, "/comment"), Fault::status(403));

    factory.acf(&["sweep", "--dead", "w-1"]).done();

    assert_eq!(factory.claims(), [""; 0]);
    assert_eq!(factory.runs("ACF-1")[0]["outcome"], "landed");
    assert_eq!(jira.standings()["ACF-1"].status, "Done");
}

#[test]
fn a_worker_whose_every_issue_is_refused_does_not_try_them_all() {
    let sandbox = Sandbox::builder().build();
    let jira = jira_with(&sandbox, &["one", "two", "three", "four"]);
    jira.service().chassis().faults().add(Rule::on(Method::POST, "/transitions"), Fault::status(403));
    let factory = factory(sandbox, &jira).with("MAX_ATTEMPTS", "1");

    let said = factory.drain().refused(1);

    let why =
        "no issue is taken: runs of 3 issues in a row broke: Jira does not let the account move issues here";
    assert!(said.contains(why), "{said}");
    assert_eq!(factory.runs("ACF-3")[0]["kind"], "tracker_refused");
    assert_eq!(factory.runs("ACF-4"), [""; 0]);
}

#[test]
fn a_project_without_the_field_for_labels_costs_an_issue_nothing_but_its_label() {
    let sandbox = Sandbox::builder().build();
    let jira = jira_with(&sandbox, &["one"]);
    jira.service().site().hide_labels();
    let factory = factory(sandbox, &jira).agent("true").with("MAX_ATTEMPTS", "1");

    let said = factory.drain().done().stderr;

    let why = "the field Labels is not on the screen by which issues of that type are edited";
    assert!(said.contains(&format!("cannot put the label acf-blocked on issue `ACF-1`: {why}")), "{said}");
    assert!(said.contains("1 × not to be tried again before "), "{said}");
    let standing = &jira.standings()["ACF-1"];
    assert_eq!((standing.status.as_str(), &standing.assignee), ("To Do", &None), "it is given back");
    let told = &standing.comments[0];
    assert!(told.contains(": no worker takes it for a day.") && told.contains(why), "{told}");
    assert!(!told.contains("remove the label"), "{told}");
    assert_eq!(standing.comments.len(), 1);
    assert_eq!((factory.claims().len(), factory.runs("ACF-1").len()), (0, 1));
}

#[test]
fn an_issue_that_is_closed_on_github_stops_its_run() {
    let (github, factory, worker) = on_github();
    github.service().edit(1, |seen| seen.is_open = false);
    assert_withdrawn(&factory, worker, "#1", "the issue was moved to Done");
    let seen = github.service().issue(1);
    assert!(!seen.is_open);
    assert_eq!(seen.comments.len(), 1, "{:?}", seen.comments);
    assert!(seen.comments[0].starts_with("acf stopped working on this"), "{:?}", seen.comments);
    assert_eq!(
        (seen.labels, seen.assignees),
        (vec![REQUIRED.to_owned()], vec![]),
        "nothing of acf's is left"
    );

    github.service().edit(1, |seen| seen.is_open = true);
    let factory = factory.agent("cat a.txt > b.txt");
    factory.drain().done();
    assert_eq!(factory.sandbox().file_at("main", "b.txt").as_deref(), Some("A\n"), "its work was taken up");
}

#[test]
fn an_issue_that_somebody_joins_on_github_is_left_to_her() {
    let (github, factory, worker) = on_github();
    github.service().invite("ada");
    github.service().edit(1, |seen| seen.assignees.push("ada".to_owned()));
    assert_withdrawn(&factory, worker, "#1", "the issue was assigned to ada");
    let seen = github.service().issue(1);
    assert_eq!(seen.assignees, ["ada"]);
    assert!(seen.labels.contains(&"in-progress".to_owned()), "it is hers now: {seen:?}");
}

#[test]
fn an_issue_that_a_person_joins_on_github_is_left_to_that_person() {
    let (github, factory, worker) = on_github();
    // "Assign yourself" adds an account to those that have the issue.
    github.service().edit(1, |seen| seen.assignees.push("ada".to_owned()));
    assert_withdrawn(&factory, worker, "#1", "the issue was assigned to ada");
    let seen = github.service().issue(1);
    assert!(seen.assignees.contains(&"ada".to_owned()), "{seen:?}");
    assert_eq!((seen.is_open, seen.comments.len()), (true, 1), "{seen:?}");
}

#[test]
fn an_issue_that_is_deleted_on_github_stops_its_run_and_is_told_nothing() {
    let (github, factory, worker) = on_github();
    github.service().delete(1);
    assert_withdrawn(&factory, worker, "#1", "the issue is gone");
}

#[test]
fn an_issue_that_loses_its_label_on_github_is_given_back() {
    let (github, factory, worker) = on_github();
    github.service().edit(1, |seen| seen.labels.retain(|label| label != REQUIRED));
    let why = "the issue is no longer to be taken: lacks the required label acf";
    assert_withdrawn(&factory, worker, "#1", why);
    let seen = github.service().issue(1);
    assert_eq!((seen.labels.len(), seen.assignees.len()), (0, 0), "{seen:?}");
}

#[test]
fn an_issue_that_is_closed_in_jira_stops_its_run() {
    let (jira, factory, worker) = in_jira();
    jira.service().site().change("ACF-1", |issue| issue.status = "Done".to_owned());
    assert_withdrawn(&factory, worker, "ACF-1", "the issue was moved to Done");
    let standing = &jira.standings()["ACF-1"];
    assert_eq!((standing.status.as_str(), standing.comments.len()), ("Done", 1), "{standing:?}");
    assert_eq!(standing.assignee, None);

    jira.service().site().change("ACF-1", |issue| issue.status = "To Do".to_owned());
    let factory = factory.agent("cat a.txt > b.txt");
    factory.drain().done();
    assert_eq!(jira.standings()["ACF-1"].status, "Done");
    assert_eq!(factory.sandbox().file_at("main", "b.txt").as_deref(), Some("A\n"), "its work was taken up");
}

/// Checks that an issue lies where it was found and was told that once, and that no worker takes it now.
#[track_caller]
fn assert_waits(desk: &dyn Desk, factory: &Factory, key: &str, why: &str) {
    let standing = &desk.standings()[key];
    assert_eq!((standing.status.as_str(), &standing.assignee), ("To Do", &None), "{standing:?}");
    let told =
        format!("acf stopped working on this: the issue is no longer to be taken: {why}. Nothing was pushed");
    assert!(standing.comments[0].starts_with(&told), "{standing:?}");
    assert_eq!(standing.comments.len(), 1, "{standing:?}");
    let said = factory.drain().done().stderr;
    assert!(said.contains(&format!("1 × {why}")), "{said}");
}

const UNPLANNED: &str = "label needs-plan, and no approved plan";

#[test]
fn an_issue_that_a_person_wants_planned_meanwhile_is_given_back_on_github() {
    let (mut github, factory, worker) = on_github();
    // A person can only choose a label that the repository has.
    github.add(NewIssue::titled("an old one").labelled(["needs-plan"]).closed());
    github.service().edit(1, |seen| seen.labels.push("needs-plan".to_owned()));
    assert_withdrawn(&factory, worker, "#1", &format!("the issue is no longer to be taken: {UNPLANNED}"));
    assert_waits(&github, &factory, "#1", UNPLANNED);
}

#[test]
fn an_issue_that_a_person_wants_planned_meanwhile_is_given_back_in_jira() {
    let (jira, factory, worker) = in_jira();
    jira.service().site().change("ACF-1", |issue| _ = issue.labels.insert("needs-plan".to_owned()));
    assert_withdrawn(&factory, worker, "ACF-1", &format!("the issue is no longer to be taken: {UNPLANNED}"));
    assert_waits(&jira, &factory, "ACF-1", UNPLANNED);
}

#[test]
fn an_issue_that_gets_a_blocker_meanwhile_is_given_back_on_github() {
    let (mut github, factory, worker) = on_github();
    github.add(NewIssue::titled("first").assigned_to("ada"));
    github.service().block(1, 2);
    assert_withdrawn(&factory, worker, "#1", "the issue is no longer to be taken: blocked by #2");
    assert_waits(&github, &factory, "#1", "blocked by #2");
}

#[test]
fn an_issue_that_gets_a_blocker_meanwhile_is_given_back_in_jira() {
    let (jira, factory, worker) = in_jira();
    let blocker = IssueState { status: "In Progress".to_owned(), ..IssueState::default() };
    let blocker = jira.service().site().add(blocker).to_string();
    jira.service().site().change("ACF-1", |issue| issue.blockers.push(blocker.clone()));
    assert_withdrawn(&factory, worker, "ACF-1", "the issue is no longer to be taken: blocked by ACF-2");
    assert_waits(&jira, &factory, "ACF-1", "blocked by ACF-2");
}

#[test]
fn an_issue_that_is_moved_to_another_project_stops_its_run() {
    let (jira, factory, worker) = in_jira();
    jira.service().site().move_away("ACF-1", "OPS-7");
    assert_withdrawn(&factory, worker, "ACF-1", "the issue is gone: it was moved, and is now OPS-7");
}

#[test]
fn an_issue_that_waits_for_another_one_says_so_and_is_not_taken() {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("first").assigned_to("ada"));
    github.add(NewIssue::titled("second").labelled([REQUIRED]).blocked_by(1));
    let factory = factory(sandbox, &github);
    let told = factory.acf(&["issues", "explain", "2"]).done().stdout;
    assert!(told.contains("#2 \"second\" would not be taken"), "{told}");
    assert!(told.contains("✔ carries the required labels") && told.contains("✘ blocked by #1"), "{told}");
    let said = factory.drain().done().stderr;
    assert!(said.contains("1 × blocked by #1"), "{said}");
}

#[test]
fn a_pull_request_that_the_token_may_not_open_is_left_to_a_person() {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    let key = github.add(NewIssue::titled("one").labelled([REQUIRED, "needs-branch"]));
    github.service().set_token(Token::FineGrained(vec!["issues".to_owned()]));
    let factory = factory(sandbox, &github);
    factory.drain().done();
    let standing = &github.standings()[&key];
    assert_eq!(standing.status, "In Review");
    assert!(standing.comments[0].contains("No pull request could be opened: "), "{standing:?}");
    let page = "/acme/shop/compare/main...feature/1?expand=1\n";
    let told = standing.comments[0].lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
    assert!(told.contains("Please open one from that branch: http") && told.ends_with(page), "{told}");
    assert_eq!(github.pulls_of("feature/1"), 0);
    assert_eq!(factory.sandbox().refs("refs/heads/feature"), ["refs/heads/feature/1"]);
}

#[test]
fn a_killed_workers_pull_request_is_opened_by_the_next_one() {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    let key = github.add(NewIssue::titled("one").labelled([REQUIRED, "needs-branch"]));
    // The host does not answer until the worker has been killed between the push and the pull request.
    github.service().chassis().faults().add(Rule::path("/pulls"), Fault::status(503));
    let factory = factory(sandbox, &github).with("ACF_CLAIM_TTL", "3s");
    let mut worker = factory.start("w-1", &[]);
    worker.is_at("report");
    worker.signal(rustix::process::Signal::KILL);
    drop(worker);
    assert_eq!(factory.sandbox().refs("refs/heads/feature"), ["refs/heads/feature/1"]);
    assert_eq!(github.pulls_of("feature/1"), 0);

    github.service().chassis().faults().clear();
    drain(&github, &factory, &BTreeMap::from([(key, End::InReview)]));
}

/// Serves an issue that is to be done on a branch: #1, whose pull request is going to be #2.
fn on_a_branch() -> (GitHub, Factory) {
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("one").labelled([REQUIRED, "needs-branch"]));
    let factory = factory(sandbox, &github);
    (github, factory)
}

/// Checks that issue and pull request were told once that the work waits for review.
#[track_caller]
fn assert_in_review(github: &GitHub) {
    let standing = &github.standings()["#1"];
    assert_eq!((standing.status.as_str(), standing.comments.len()), ("In Review", 1), "{standing:?}");
    assert_eq!(github.pulls_of("feature/1"), 1);
    assert_eq!(github.service().issue(2).comments, [""; 0], "its body says it already");
}

#[test]
fn a_report_that_is_begun_anew_tells_the_pull_request_that_it_opened_nothing() {
    let (github, factory) = on_a_branch();
    let comment = Rule::on(Method::POST, "/issues/1/comments").once();
    github.service().chassis().faults().add(comment, Fault::Cut);
    factory.drain().done();
    assert_eq!(github.service().chassis().faults().struck(), 1);
    assert_in_review(&github);
}

#[test]
fn whoever_settles_what_a_killed_worker_left_tells_the_pull_request_that_it_opened_nothing() {
    let (github, factory) = on_a_branch();
    github.service().chassis().faults().add(Rule::path("/issues/1/comments"), Fault::status(503));
    let mut worker = factory.start("w-1", &[]);
    worker.waits_for("the pull request", |_| (github.pulls_of("feature/1") == 1).then_some(()));
    worker.signal(rustix::process::Signal::KILL);
    drop(worker);
    github.service().chassis().faults().clear();
    factory.acf(&["sweep", "--dead", "w-1"]).done();
    assert_in_review(&github);
}

#[test]
fn no_token_comes_out_whichever_call_github_refuses() {
    let canaries = Canaries::new(&[TOKEN]);
    let refusals = [
        Rule::path("/user"),
        Rule::path("/assignees"),
        Rule::on(Method::GET, "/issues"),
        Rule::on(Method::PATCH, "/issues"),
        Rule::on(Method::POST, "/comments"),
        Rule::path("/labels"),
        Rule::path("/pulls"),
    ];
    let echo = format!("{{\"message\":\"you sent: Authorization: Bearer {TOKEN}\"}}");
    for rule in refusals {
        for status in [401, 403, 422] {
            let sandbox = Sandbox::builder().build();
            let mut github = GitHub::serve(&sandbox);
            github.add(NewIssue::titled("one").labelled([REQUIRED, "needs-branch"]));
            // A service that says in its error what it was sent.
            github.service().chassis().faults().add(rule.clone(), Fault::status(status).body(&echo));
            let factory = factory(sandbox, &github).with("MAX_ATTEMPTS", "1").with("ACF_LOG", "trace");
            let told = factory.drain();
            let said = told.stdout + &told.stderr + &factory.acf(&["runs", "--json"]).stdout;
            assert!(said.contains(&format!(": {status}, after ")), "each call is told: {said}");
            assert_eq!(canaries.in_text(said.as_bytes()), [""; 0], "{rule:?} {status}: {said}");
            assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0], "{rule:?} {status}");
            let comments: String = github.service().issue(1).comments.concat();
            assert_eq!(canaries.in_text(comments.as_bytes()), [""; 0], "{rule:?} {status}");
        }
    }
}

#[test]
fn no_token_comes_out_of_jira_in_any_encoding_whichever_call_a_proxy_answers() {
    let canaries = Canaries::new(&[JIRA_TOKEN]);
    let header = basic_authorization(EMAIL, JIRA_TOKEN);
    let page = format!("<pre>GET /rest/api/3 HTTP/1.1\nAuthorization: {header}\n</pre>");
    for (path, status) in [("/myself", 403), ("/search", 400), ("/transitions", 400), ("/comment", 403)] {
        let sandbox = Sandbox::builder().build();
        let mut jira = Jira::serve(&sandbox);
        let labels = [REQUIRED.to_owned()].into();
        jira.add(IssueState { status: "To Do".to_owned(), labels, ..IssueState::default() });
        jira.service().chassis().faults().add(Rule::path(path), Fault::status(status).body(&page));
        let factory = factory(sandbox, &jira).with("MAX_ATTEMPTS", "1").with("ACF_LOG", "trace");
        let told = factory.drain();
        let mut said = told.stdout + &told.stderr;
        assert!(said.contains("Authorization: Basic ***"), "{path}: {said}");
        // The same with a page that comes instead of an answer, where a worker would go on and on.
        let faults = jira.service().chassis().faults();
        faults.clear();
        faults.add(Rule::path(path), Fault::html().body(&page));
        for verb in ["list", "explain ACF-1", "comment ACF-1 hm", "transition ACF-1 in-progress"] {
            let words: Vec<_> = ["issues"].into_iter().chain(verb.split(' ')).collect();
            said += &factory.acf(&words).stderr;
        }
        assert_eq!(canaries.in_text(said.as_bytes()), [""; 0], "{path}: {said}");
        assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0], "{path}");
    }
}

#[test]
fn the_token_of_a_tracker_that_is_not_used_does_not_come_out_of_a_page_either() {
    let canaries = Canaries::new(&[TOKEN, JIRA_TOKEN]);
    let sandbox = Sandbox::builder().build();
    let mut github = GitHub::serve(&sandbox);
    github.add(NewIssue::titled("one").labelled([REQUIRED]));
    let factory = factory(sandbox, &github).with("JIRA_TOKEN", JIRA_TOKEN);
    // At places of a page where what is quoted of it ends before, within and after the token.
    for before in [0, 150, 170, 185, 190] {
        let page =
            format!("<html>{}{JIRA_TOKEN} {}", "x".repeat(before), basic_authorization("me", JIRA_TOKEN));
        let faults = github.service().chassis().faults();
        faults.clear();
        faults.add(Rule::all(), Fault::html().body(&page));
        for verb in ["list", "explain 1", "comment 1 hm", "transition 1 Done", "assign 1"] {
            let words: Vec<_> = ["issues"].into_iter().chain(verb.split(' ')).collect();
            let told = factory.acf(&words);
            assert_ne!(told.code, Some(0), "{verb}: {}", told.stdout);
            assert!(told.stderr.contains("text/html"), "{}", told.stderr);
            assert_eq!(canaries.in_text(told.stderr.as_bytes()), [""; 0], "{verb}: {}", told.stderr);
            let half = &JIRA_TOKEN[..JIRA_TOKEN.len() / 2];
            assert!(!told.stderr.contains(half), "{verb}: {}", told.stderr);
        }
    }
}
