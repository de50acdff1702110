//! A factory over a project in Jira, on bad days: with all statuses, and with three.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use acf_core::issue::Status;
use acf_tests::jira::{ACCOUNT, EMAIL, FakeJira, IssueState, TOKEN};
use acf_tests::service::{Fault, Rule};
use acf_trackers::jira::adf::{from_markdown, to_markdown};
use axum::http::Method;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::desk::{Desk, Standing};
use super::{Item, backlog, drain, factory, sandbox};

/// A project, served by a thread of its own, as the test waits for processes.
struct Project {
    jira: Option<Arc<FakeJira>>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

impl Project {
    fn serve(statuses: &[&str]) -> Self {
        let statuses: Vec<String> = statuses.iter().map(|&status| status.to_owned()).collect();
        let (started, starting) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let server = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("make a runtime");
            runtime.block_on(async {
                let statuses: Vec<_> = statuses.iter().map(String::as_str).collect();
                let jira = Arc::new(FakeJira::serve(&statuses).await);
                started.send(Arc::clone(&jira)).expect("the test waits for it");
                drop(jira);
                // Ends with the test, one way or another.
                let _ = stopped.await;
            });
        });
        Self { jira: starting.recv().ok(), stop: Some(stop), server: Some(server) }
    }

    fn jira(&self) -> &FakeJira {
        self.jira.as_ref().expect("it is served until it is dropped")
    }

    fn add(&self, items: &[Item]) {
        for (n, item) in (1..).zip(items) {
            let labels = item.labels.iter().map(|&label| label.to_owned()).collect();
            let description =
                if item.description.is_empty() { Value::Null } else { from_markdown(item.description) };
            self.jira().site().add(IssueState {
                summary: format!("item ACF-{n} of the backlog"),
                description,
                status: Status::ToDo.name().to_owned(),
                assignee: item.assignee.map(str::to_owned),
                labels,
                ..IssueState::default()
            });
        }
    }

    /// Lets one thing after another go wrong, some of them in the middle of a change.
    fn plan_faults(&self) {
        let faults = self.jira().chassis().faults();
        faults.add(Rule::on(Method::POST, "/comment").every(4), Fault::CutAfter);
        faults.add(Rule::on(Method::POST, "/comment").every(7), Fault::status(504));
        faults.add(Rule::on(Method::POST, "/transitions").every(5), Fault::CutAfter);
        faults.add(Rule::on(Method::POST, "/transitions").every(8), Fault::status(409));
        faults.add(Rule::path("/assignee").every(6), Fault::Cut);
        faults.add(Rule::path("/search").every(9), Fault::rate_limited(1));
        faults.add(Rule::on(Method::GET, "/issue/").every(11), Fault::status(503));
        faults.add(Rule::on(Method::GET, "/issue/").every(13), Fault::CutBody);
        faults.add(Rule::on(Method::POST, "/comment").every(9), Fault::html());
        faults.add(Rule::on(Method::POST, "/transitions").every(11), Fault::html().carried_out());
        faults.add(Rule::on(Method::PUT, "/issue/").every(10), Fault::html());
        self.jira().site().set_lag(5);
    }

    fn standing(&self, issue: &IssueState) -> Standing {
        let has_all = self.has_all_statuses();
        let by_label = |label: &str| match (has_all, issue.status.as_str(), label) {
            (false, "To Do", "in-planning") => Some(Status::Planning),
            (false, "To Do", "awaiting-plan-review") => Some(Status::AwaitingPlanReview),
            (false, "In Progress", "in-review") => Some(Status::InReview),
            _ => None,
        };
        let approved = issue.labels.contains("plan-approved") && issue.status == "To Do";
        let status = issue.labels.iter().find_map(|label| by_label(label)).filter(|_| !approved);
        let comments = issue.comments.iter().map(|comment| to_markdown(&comment["body"]));
        Standing {
            status: status.map_or_else(|| issue.status.clone(), |status| status.name().to_owned()),
            assignee: issue.assignee.clone(),
            labels: issue.labels.clone(),
            comments: comments.collect(),
        }
    }

    fn has_all_statuses(&self) -> bool {
        self.jira().site().statuses().iter().any(|status| status == "Planning")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let jira = self.jira.take();
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            // What it panics with, it has said.
            let _ = server.join();
        }
        // Last: it fails a test whose requests were invalid.
        drop(jira);
    }
}

impl Desk for Project {
    fn settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("TASK_MANAGER", "jira"),
            ("PROJECT", "ACF"),
            ("JIRA_SITE", "acme.atlassian.net"),
            ("JIRA_API_URL", &self.jira().chassis().url()),
            ("JIRA_EMAIL", EMAIL),
            ("JIRA_TOKEN", TOKEN),
            ("JIRA_ASSIGNEE_ACCOUNT_ID", ACCOUNT),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let issues = self.jira().site().issues();
        issues.iter().map(|issue| (issue.key.clone(), self.standing(issue))).collect()
    }

    fn approve(&self, key: &str) {
        let has_all = self.has_all_statuses();
        self.jira().site().change(key, |issue| {
            if has_all {
                Status::PlanApproved.name().clone_into(&mut issue.status);
            } else {
                issue.labels.insert("plan-approved".to_owned());
            }
        });
    }

    fn pull_requests(&self, _: &str) -> Option<usize> {
        None
    }
}

/// Drains the backlog; returns what it took, call by call.
fn drain_project(statuses: &[&str]) -> String {
    let items = backlog();
    let project = Project::serve(statuses);
    project.add(&items);
    project.plan_faults();
    let factory = factory(sandbox().build(), &project);
    let ends = (1..).zip(&items).map(|(n, item)| (format!("ACF-{n}"), item.end)).collect();
    let logs = drain(&project, &factory, &ends);
    assert!(!logs.contains(TOKEN), "{logs}");
    assert!(project.jira().chassis().faults().struck() > 20);
    cost(project.jira())
}

/// Says which calls were made, and how many of them.
fn cost(jira: &FakeJira) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in jira.asked_lines() {
        let is_number = |part: &&str| part.starts_with("ACF-");
        let kind =
            line.split('/').map(|part| if is_number(&part) { "KEY" } else { part }).collect::<Vec<_>>();
        *counts.entry(kind.join("/")).or_default() += 1;
    }
    counts.iter().map(|(kind, count)| format!("{count:>5} {kind}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_factory_drains_a_project_in_jira_on_bad_days() {
    println!("{}", drain_project(&Status::KNOWN.each_ref().map(Status::name)));
}

#[test]
fn a_factory_drains_a_project_in_jira_that_has_three_statuses() {
    println!("{}", drain_project(&["To Do", "In Progress", "Done"]));
}
