//! Workflows of Jira in which a run's end leads to a status that cannot be reached: what can be told is told,
//! once, and the worker goes on to the next issue.

use acf_core::issue::Status;
use acf_tests::factory::Factory;
use acf_tests::jira::IssueState;
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use acf_trackers::jira::adf::from_markdown;
use axum::http::Method;
use rustix::process::Signal;

use super::desk::Desk;
use super::jira::Jira;
use super::{REQUIRED, factory};

const NOTHING: [&str; 0] = [];

/// Serves a project with two issues, of which the first one says that to the agent.
fn project(description: &str) -> (Jira, Factory) {
    let sandbox = Sandbox::builder().build();
    let mut jira = Jira::serve(&sandbox);
    for description in [description, ""] {
        jira.add(IssueState {
            summary: "an issue".to_owned(),
            description: from_markdown(description),
            status: Status::ToDo.name().to_owned(),
            labels: [REQUIRED.to_owned()].into(),
            ..IssueState::default()
        });
    }
    let factory = factory(sandbox, &jira);
    (jira, factory)
}

/// Checks that an issue was told once that it has to be moved by hand, and that no worker takes it.
#[track_caller]
fn assert_told(jira: &Jira, factory: &Factory, key: &str, words: &[&str]) {
    let standing = &jira.standings()[key];
    assert_eq!((standing.status.as_str(), &standing.assignee), ("In Progress", &None), "{standing:?}");
    assert!(standing.labels.contains("acf-blocked"), "{standing:?}");
    assert_eq!(standing.comments.len(), 1, "{standing:?}");
    for word in words.iter().chain(&["move it by hand"]) {
        assert!(standing.comments[0].contains(word), "{word:?} in {:?}", standing.comments);
    }
    assert_eq!(factory.runs(key).len(), 1);
    assert_eq!(factory.claims(), NOTHING);
}

#[test]
fn landed_work_is_told_where_no_transition_leads_to_done() {
    let (jira, factory) = project("");
    jira.service().site().close_way(Some("In Progress"), "Done");

    factory.drain().done();

    for key in ["ACF-1", "ACF-2"] {
        let why = format!("acf could not move this issue to Done: no transition leads {key} from");
        assert_told(&jira, &factory, key, &["acf implemented this in ", &why]);
        assert_eq!(factory.runs(key)[0]["outcome"], "landed");
    }
    factory.drain().done();
    assert_eq!(factory.sandbox().log().len(), 3, "each has landed once");
    assert_eq!(jira.standings()["ACF-1"].comments.len(), 1);
}

#[test]
fn landed_work_is_told_where_done_asks_for_a_field() {
    let (jira, factory) = project("");
    jira.service().site().require_fields("Done", &[("resolution", "Resolution")]);

    factory.drain().done();

    for key in ["ACF-1", "ACF-2"] {
        assert_told(&jira, &factory, key, &["acf implemented this in ", "its screen requires Resolution"]);
    }
    let explained = factory.acf(&["issues", "explain", "ACF-1"]).done().stdout;
    for right in ["✘ its work has landed as ", "→ move it to Done by hand, then remove the label acf-blocked"]
    {
        assert!(explained.contains(right), "{right}: {explained}");
    }
    for wrong in ["every attempt failed", "To Do", "--nobody"] {
        assert!(!explained.contains(wrong), "{wrong}: {explained}");
    }
}

#[test]
fn what_a_tracker_refused_once_is_said_to_have_been_told_after_all() {
    let (jira, factory) = project("");
    jira.service().chassis().faults().add(Rule::on(Method::POST, "/comment").once(), Fault::status(403));

    let said = factory.drain().done().stderr;

    let told = "issue `ACF-1` was told all of how its run ended after all";
    assert!(said.contains("issue `ACF-1` cannot be told all") && said.contains(told), "{said}");
    assert_eq!(said.matches(told).count(), 1, "{said}");
}

#[test]
fn a_failed_run_is_told_and_counted_where_no_transition_leads_back() {
    let (jira, factory) = project("@none");
    jira.service().site().close_way(Some("In Progress"), "To Do");

    factory.drain().done();

    let why = "acf could not move this issue to To Do: no transition leads ACF-1 from";
    assert_told(&jira, &factory, "ACF-1", &["acf gave this back: the agent changed nothing", why]);
    let run = &factory.runs("ACF-1")[0];
    assert_eq!((&run["outcome"], &run["blocked"]), (&"failed".into(), &true.into()));
    assert_eq!(jira.standings()["ACF-2"].status, "Done", "the worker went on");
}

#[test]
fn what_a_dead_worker_left_is_settled_once_where_no_transition_leads_back() {
    let (jira, factory) = project("");
    jira.service().site().close_way(Some("In Progress"), "To Do");
    let factory = factory.agent("echo ready; while :; do sleep 0.02; done");
    let mut worker = factory.start("w-1", &[]);
    worker.says("agent: ready");
    worker.signal(Signal::KILL);
    drop(worker);

    factory.acf(&["sweep", "--dead", "w-1"]).done();

    assert_told(&jira, &factory, "ACF-1", &["worker w-1 died or vanished during the run"]);
    assert_eq!(factory.acf(&["sweep"]).done().stderr, "nothing to settle\n");
}
