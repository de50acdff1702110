//! The contract of every tracker, kept by this one.

use acf_core::issue::{IssueKey, Status};
use acf_core::tracker::Tracker;
use acf_tests::contract::tracker::{Seed, World};
use acf_tests::github::NewIssue;
use acf_tests::tracker_contract;
use async_trait::async_trait;

use super::{Site, site};

#[async_trait]
impl World for Site {
    async fn new() -> Self {
        let site = site().await;
        site.service.add_pull("an older pull request", "feature/1");
        site
    }

    fn tracker(&self) -> &dyn Tracker {
        &self.github
    }

    fn other_account(&self) -> String {
        "ada".to_owned()
    }

    fn unknown_key(&self) -> IssueKey {
        "#1000".parse().expect("a key")
    }

    async fn seed(&self, issue: Seed) -> IssueKey {
        let label = match &issue.status {
            Status::ToDo | Status::Done => None,
            Status::Planning => Some("in-planning"),
            Status::AwaitingPlanReview => Some("awaiting-plan-review"),
            Status::PlanApproved => Some("plan-approved"),
            Status::InProgress => Some("in-progress"),
            Status::InReview => Some("in-review"),
            Status::Other(name) => panic!("GitHub has no status {name}"),
        };
        let mut new = NewIssue::titled(&issue.summary).body(&issue.description).labelled(issue.labels);
        new = new.labelled(label);
        if let Some(account) = issue.assignee {
            new = new.assigned_to(&account);
        }
        if issue.status == Status::Done {
            new = new.closed();
        }
        format!("#{}", self.service.add(new)).parse().expect("a number makes a key")
    }

    async fn comments(&self, key: &IssueKey) -> Vec<String> {
        self.service.issue(key.slug().parse().expect("a number")).comments
    }
}

tracker_contract!(Site);
