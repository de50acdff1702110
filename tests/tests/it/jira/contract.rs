//! The contract of every tracker, kept by Jira with all statuses and with three.

use acf_core::issue::{IssueKey, Status};
use acf_core::tracker::Tracker;
use acf_tests::contract::tracker::{Seed, World};
use acf_tests::jira::{FakeJira, IssueState, OTHER_ACCOUNT};
use acf_trackers::jira::Jira;
use acf_trackers::jira::adf::{from_markdown, to_markdown};
use async_trait::async_trait;
use serde_json::Value;

/// A project with a tracker.
struct Project {
    jira: FakeJira,
    tracker: Jira,
}

impl Project {
    fn add(&self, seed: Seed, status: &str, label: Option<&str>) -> IssueKey {
        let Seed { summary, description, assignee, mut labels, .. } = seed;
        labels.extend(label.map(str::to_owned));
        let description = if description.is_empty() { Value::Null } else { from_markdown(&description) };
        let status = status.to_owned();
        self.jira.site().add(IssueState {
            summary,
            description,
            assignee,
            labels,
            status,
            ..IssueState::default()
        })
    }

    fn comments(&self, key: &IssueKey) -> Vec<String> {
        self.jira.comments(key).iter().map(to_markdown).collect()
    }
}

macro_rules! world {
    ($name:ident, $statuses:expr, $place:expr) => {
        struct $name(Project);

        #[async_trait]
        impl World for $name {
            async fn new() -> Self {
                let jira = FakeJira::serve(&$statuses).await;
                let tracker = jira.tracker();
                Self(Project { jira, tracker })
            }

            fn tracker(&self) -> &dyn Tracker {
                &self.0.tracker
            }

            fn other_account(&self) -> String {
                OTHER_ACCOUNT.to_owned()
            }

            fn unknown_key(&self) -> IssueKey {
                "ACF-1000".parse().expect("it is a key")
            }

            async fn seed(&self, issue: Seed) -> IssueKey {
                let place: fn(&Status) -> (&str, Option<&str>) = $place;
                let status = issue.status.clone();
                let (status, label) = place(&status);
                self.0.add(issue, status, label)
            }

            async fn comments(&self, key: &IssueKey) -> Vec<String> {
                self.0.comments(key)
            }
        }
    };
}

world!(Full, Status::KNOWN.each_ref().map(Status::name), |status| (status.name(), None));

world!(Short, ["To Do", "In Progress", "Done"], |status| match status {
    Status::Planning => ("To Do", Some("in-planning")),
    Status::AwaitingPlanReview => ("To Do", Some("awaiting-plan-review")),
    Status::PlanApproved => ("To Do", Some("plan-approved")),
    Status::InReview => ("In Progress", Some("in-review")),
    status => (status.name(), None),
});

mod all_statuses {
    acf_tests::tracker_contract!(super::Full);
}

mod three_statuses_and_labels {
    acf_tests::tracker_contract!(super::Short);
}
