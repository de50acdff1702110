//! A factory over Jira, whose repository and pull requests are on GitHub.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acf_tests::canary::Canaries;
use acf_tests::github::TOKEN as GITHUB_TOKEN;
use acf_tests::jira::{ACCOUNT, EMAIL, FakeJira, IssueState, OTHER_ACCOUNT, TOKEN};
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use acf_trackers::jira::adf::{from_markdown, to_markdown};
use axum::http::Method;

use super::desk::{Desk, Standing, calls};
use super::github::GitHub;
use super::serving::Serving;
use super::{backlog, drain, factory, print_calls, sandbox};

/// Jira, and GitHub for the code.
pub(super) struct Jira {
    service: Serving<Arc<FakeJira>>,
    github: GitHub,
    keys: Vec<String>,
}

impl Jira {
    pub(super) fn serve(sandbox: &Sandbox) -> Self {
        let service = Serving::begin(async || Arc::new(FakeJira::with_all_statuses().await));
        Self { service, github: GitHub::serve(sandbox), keys: Vec::new() }
    }

    pub(super) fn service(&self) -> &FakeJira {
        self.service.service()
    }

    pub(super) fn add(&mut self, issue: IssueState) -> String {
        let key = self.service().site().add(issue).to_string();
        self.keys.push(key.clone());
        key
    }
}

impl Desk for Jira {
    fn settings(&self) -> Vec<(String, String)> {
        let tracker = [
            ("TASK_MANAGER", "jira".to_owned()),
            ("PROJECT", "ACF".to_owned()),
            ("JIRA_SITE", "acme.atlassian.net".to_owned()),
            ("JIRA_API_URL", self.service().chassis().url()),
            ("JIRA_EMAIL", EMAIL.to_owned()),
            ("JIRA_TOKEN", TOKEN.to_owned()),
            ("JIRA_ASSIGNEE_ACCOUNT_ID", ACCOUNT.to_owned()),
        ];
        let tracker = tracker.map(|(name, value)| (name.to_owned(), value));
        [self.github.host_settings(), tracker.into()].concat()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let standing = |key: &String| {
            let issue = self.service().site().read(key, IssueState::clone);
            let standing = Standing {
                status: issue.status,
                assignee: issue.assignee,
                labels: issue.labels,
                comments: issue.comments.iter().map(|comment| to_markdown(&comment["body"])).collect(),
            };
            (key.clone(), standing)
        };
        self.keys.iter().map(standing).collect()
    }

    fn approve(&self, key: &str) {
        self.service().site().change(key, |issue| issue.status = "Plan Approved".to_owned());
    }

    fn pull_requests(&self, branch: &str) -> Option<usize> {
        Some(self.github.pulls_of(branch))
    }
}

#[test]
fn a_factory_drains_a_project_in_jira_while_calls_fail_and_the_search_lags_behind() {
    let sandbox = sandbox().build();
    let mut jira = Jira::serve(&sandbox);
    let ends: BTreeMap<_, _> = backlog()
        .into_iter()
        .map(|item| {
            let issue = IssueState {
                summary: "an item of the backlog".to_owned(),
                description: from_markdown(item.description),
                status: "To Do".to_owned(),
                assignee: item.assignee.map(|_| OTHER_ACCOUNT.to_owned()),
                labels: item.labels.iter().map(|&label| label.to_owned()).collect(),
                ..IssueState::default()
            };
            (jira.add(issue), item.end)
        })
        .collect();
    jira.service().site().set_lag(6);
    let faults = jira.service().chassis().faults();
    faults.add(Rule::all().every(19), Fault::status(503));
    faults.add(Rule::all().every(23), Fault::Cut);
    faults.add(Rule::on(Method::POST, "/comment").every(5), Fault::CutAfter);
    faults.add(Rule::on(Method::POST, "/transitions").every(7), Fault::CutAfter);
    faults.add(Rule::on(Method::PUT, "/assignee").every(9), Fault::CutAfter);
    faults.add(Rule::path("/issue").nth(40), Fault::rate_limited(1));
    faults.add(Rule::path("/issue").every(37), Fault::SlowBody(Duration::from_millis(50)));
    faults.add(Rule::on(Method::GET, "/issue").every(53), Fault::html());
    faults.add(Rule::on(Method::POST, "/comment").every(11), Fault::html());
    faults.add(Rule::on(Method::POST, "/comment").every(7), Fault::html().carried_out());
    faults.add(Rule::on(Method::POST, "/transitions").every(13), Fault::html());
    faults.add(Rule::on(Method::POST, "/transitions").every(17), Fault::html().carried_out());
    faults.add(Rule::on(Method::PUT, "/assignee").every(11), Fault::html());
    let hosts_faults = jira.github.service().chassis().faults();
    hosts_faults.add(Rule::on(Method::POST, "/pulls").every(2), Fault::CutAfter);
    hosts_faults.add(Rule::on(Method::POST, "/pulls").every(5), Fault::html());
    let factory = factory(sandbox, &jira);
    let canaries = Canaries::new(&[TOKEN, GITHUB_TOKEN]);
    let watch = canaries.watch_command_lines();

    let logs = drain(&jira, &factory, &ends);

    assert!(faults.struck() > 20, "hardly anything went wrong: {}", faults.struck());
    assert_eq!(watch.ended(), [""; 0]);
    assert_eq!(canaries.in_text(logs.as_bytes()), [""; 0]);
    assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0]);
    print_calls("Jira", &calls(jira.service().chassis(), "/rest/api/3"), &ends);
}
