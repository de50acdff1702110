//! The tracker and git host `github`, against a stand-in of GitHub.

mod bad_input;
mod contract;
mod cost;
mod hardship;
mod pull_requests;
mod reading;

use std::sync::Arc;

use acf_core::issue::IssueRef;
use acf_tests::github::{GitHubService, REPOSITORY, TOKEN};
use acf_tests::service::Pauses;
use acf_trackers::github::{GitHub, Settings};

/// A GitHub, and a tracker of its repository.
struct Site {
    service: GitHubService,
    github: GitHub,
    pauses: Arc<Pauses>,
}

async fn site() -> Site {
    let service = GitHubService::start().await;
    let pauses = Arc::new(Pauses::default());
    let github = GitHub::new(settings(&service), pauses.clone()).expect("the settings are good");
    Site { service, github, pauses }
}

fn settings(service: &GitHubService) -> Settings {
    Settings {
        api_url: service.url().parse().expect("the service has an address"),
        repository: REPOSITORY.parse().expect("the service's repository has a name"),
        token: TOKEN.into(),
        assignee: None,
    }
}

impl Site {
    /// Returns another tracker of the same repository, as another worker has one.
    fn with(&self, change: impl FnOnce(&mut Settings)) -> GitHub {
        let mut settings = settings(&self.service);
        change(&mut settings);
        GitHub::new(settings, self.pauses.clone()).expect("the settings are good")
    }

    /// Returns what was asked since the last time, a line each.
    fn asked(&self) -> Vec<String> {
        self.service.chassis().recording().take().iter().map(|request| request.line()).collect()
    }
}

fn by_number(number: u64) -> IssueRef {
    let key: acf_core::issue::IssueKey = format!("#{number}").parse().expect("a number makes a key");
    key.into()
}
