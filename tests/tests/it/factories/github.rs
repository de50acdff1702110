//! A factory over GitHub: issues and pull requests there, the repository over HTTP with the same token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use acf_tests::canary::Canaries;
use acf_tests::git_http::GitHttp;
use acf_tests::github::{GitHubService, NewIssue, REPOSITORY, TOKEN};
use acf_tests::sandbox::Sandbox;
use acf_tests::service::{Fault, Rule};
use axum::http::Method;

use super::desk::{Desk, Standing, calls, git_over_http};
use super::serving::Serving;
use super::{backlog, drain, factory, print_calls, sandbox};

/// The labels that stand for statuses, with acf's words for them, the strongest first.
const STATUSES: [(&str, &str); 5] = [
    ("in-review", "In Review"),
    ("in-progress", "In Progress"),
    ("in-planning", "Planning"),
    ("plan-approved", "Plan Approved"),
    ("awaiting-plan-review", "Awaiting Plan Review"),
];

/// GitHub, with the repository itself.
pub(super) struct GitHub {
    service: Serving<Arc<GitHubService>>,
    git: GitHttp,
    issues: u64,
}

impl GitHub {
    /// Serves a repository without issues, whose files are those of the sandbox.
    pub(super) fn serve(sandbox: &Sandbox) -> Self {
        let service = Serving::begin(async || Arc::new(GitHubService::start().await));
        service.service().keep_branches_in(&sandbox.remote());
        Self { service, git: git_over_http(sandbox, REPOSITORY, TOKEN), issues: 0 }
    }

    pub(super) fn service(&self) -> &GitHubService {
        self.service.service()
    }

    pub(super) fn add(&mut self, issue: NewIssue) -> String {
        self.issues += 1;
        format!("#{}", self.service().add(issue))
    }

    /// Returns what it takes to push there, and to open pull requests.
    pub(super) fn host_settings(&self) -> Vec<(String, String)> {
        let settings = [
            ("GH_TOKEN", TOKEN.to_owned()),
            ("GITHUB_API_URL", self.service().url()),
            ("GIT_REPO_URL", self.git.url(&format!("{REPOSITORY}.git"))),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }

    pub(super) fn pulls_of(&self, branch: &str) -> usize {
        self.service().pulls().iter().filter(|(_, _, _, pull)| pull.head == branch).count()
    }
}

impl Desk for GitHub {
    fn settings(&self) -> Vec<(String, String)> {
        let tracker = [("TASK_MANAGER", "github"), ("PROJECT", REPOSITORY)];
        let tracker = tracker.map(|(name, value)| (name.to_owned(), value.to_owned()));
        [self.host_settings(), tracker.into()].concat()
    }

    fn standings(&self) -> BTreeMap<String, Standing> {
        let standing = |number| {
            let seen = self.service().issue(number);
            let has = |label: &str| seen.labels.iter().any(|known| known == label);
            let by_label =
                STATUSES.iter().find(|(label, _)| has(label)).map_or("To Do", |(_, status)| status);
            let is_status = |label: &&String| STATUSES.iter().any(|(known, _)| known == label);
            let standing = Standing {
                status: if seen.is_open { by_label } else { "Done" }.to_owned(),
                assignee: seen.assignees.first().cloned(),
                labels: seen.labels.iter().filter(|label| !is_status(label)).cloned().collect(),
                comments: seen.comments,
            };
            (format!("#{number}"), standing)
        };
        (1..=self.issues).map(standing).collect()
    }

    fn approve(&self, key: &str) {
        let number = key.trim_start_matches('#').parse().expect("a number");
        // As a person does it, who leaves the other label where it is.
        self.service().edit(number, |seen| seen.labels.push("plan-approved".to_owned()));
    }

    fn pull_requests(&self, branch: &str) -> Option<usize> {
        Some(self.pulls_of(branch))
    }
}

#[test]
fn a_factory_drains_issues_on_github_while_calls_fail_and_answers_are_lost() {
    let sandbox = sandbox().build();
    let mut github = GitHub::serve(&sandbox);
    let ends: BTreeMap<_, _> = backlog()
        .into_iter()
        .map(|item| {
            let issue = NewIssue::titled("an item of the backlog").body(item.description);
            let issue = issue.labelled(item.labels.iter().copied());
            let issue = item.assignee.into_iter().fold(issue, NewIssue::assigned_to);
            (github.add(issue), item.end)
        })
        .collect();
    // A person can only choose a label that the repository has.
    github.service().add(NewIssue::titled("an old one").labelled(["plan-approved"]).closed());
    let faults = github.service().chassis().faults();
    faults.add(Rule::all().every(19), Fault::status(502));
    faults.add(Rule::all().every(23), Fault::Cut);
    faults.add(Rule::on(Method::POST, "/comments").every(5), Fault::CutAfter);
    faults.add(Rule::on(Method::POST, "/pulls").every(3), Fault::CutAfter);
    faults.add(Rule::on(Method::PATCH, "/issues").every(11), Fault::CutAfter);
    faults.add(Rule::path("/issues").nth(40), Fault::rate_limited(1));
    faults.add(Rule::path("/issues").every(37), Fault::SlowBody(Duration::from_millis(50)));
    faults.add(Rule::on(Method::GET, "/issues").every(53), Fault::html());
    faults.add(Rule::on(Method::POST, "/comments").every(11), Fault::html());
    faults.add(Rule::on(Method::POST, "/comments").every(7), Fault::html().carried_out());
    faults.add(Rule::on(Method::PATCH, "/issues").every(29), Fault::html());
    faults.add(Rule::on(Method::PATCH, "/issues").every(17), Fault::html().carried_out());
    faults.add(Rule::on(Method::POST, "/pulls").every(4), Fault::html().carried_out());
    let factory = factory(sandbox, &github);
    let canaries = Canaries::new(&[TOKEN]);
    let watch = canaries.watch_command_lines();

    let logs = drain(&github, &factory, &ends);

    assert!(faults.struck() > 20, "hardly anything went wrong: {}", faults.struck());
    assert_eq!(watch.ended(), [""; 0]);
    assert_eq!(canaries.in_text(logs.as_bytes()), [""; 0]);
    assert_eq!(canaries.on_disk(factory.sandbox()), [""; 0]);
    print_calls("GitHub", &calls(github.service().chassis(), &format!("/repos/{REPOSITORY}")), &ends);
}
