//! A stand-in of Jira Cloud: one project with its workflow, people and issues, over HTTP.
//!
//! It keeps state as Jira does: a search that lags behind what was written, pages with tokens,
//! transitions with names of their own and screens, properties of comments. Requests are held against
//! Jira's own description by the chassis, and comments against the schema of its documents.

mod handlers;
mod jql;
mod schema;
mod site;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acf_core::clock::Clock;
use acf_core::issue::IssueKey;
use acf_trackers::jira::{Jira, Settings, StatusNames};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

pub use self::handlers::basic_authorization;
pub use self::schema::DocumentSchema;
pub use self::site::{ACCOUNT, EMAIL, IssueState, OTHER_ACCOUNT, Site, TOKEN};
use crate::service::{Chassis, Description, Recorded};

/// A running stand-in.
#[derive(Debug)]
pub struct FakeJira {
    chassis: Chassis,
    site: Arc<Site>,
}

impl FakeJira {
    /// Serves an empty project with a workflow of those statuses, each reached from each other one.
    pub async fn serve(statuses: &[&str]) -> Self {
        let site = Arc::new(Site::new(statuses));
        let chassis = Chassis::serve(handlers::router(Arc::clone(&site)), Description::jira("")).await;
        Self { chassis, site }
    }

    /// Serves an empty project that has all statuses that acf knows.
    pub async fn with_all_statuses() -> Self {
        Self::serve(&acf_core::issue::Status::KNOWN.each_ref().map(|status| status.name())).await
    }

    /// Returns the server around it: faults, record, latency.
    #[must_use]
    pub fn chassis(&self) -> &Chassis {
        &self.chassis
    }

    /// Returns what it holds, to be looked at and changed as people do.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Returns what a worker is given to talk to it.
    ///
    /// # Panics
    /// Never: the addresses are fixed but for the port.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            api_url: self.chassis.url().parse().expect("the chassis has a URL"),
            site_url: "https://acme.atlassian.net".parse().expect("it is one"),
            project: site::PROJECT.to_owned(),
            email: EMAIL.to_owned(),
            token: TOKEN.into(),
            account_id: ACCOUNT.to_owned(),
            statuses: StatusNames::default(),
        }
    }

    /// Makes a tracker that talks to it and does not wait between attempts.
    #[must_use]
    pub fn tracker(&self) -> Jira {
        self.tracker_with(self.settings())
    }

    /// Makes a tracker of those settings.
    ///
    /// # Panics
    /// Where the settings are refused.
    #[must_use]
    pub fn tracker_with(&self, settings: Settings) -> Jira {
        Jira::new(settings, Arc::new(Impatient::default())).expect("the settings are good")
    }

    /// Returns what was asked since the last time.
    #[must_use]
    pub fn asked(&self) -> Vec<Recorded> {
        self.chassis.recording().take()
    }

    /// Returns the lines of what was asked since the last time: `GET /rest/api/3/myself`.
    #[must_use]
    pub fn asked_lines(&self) -> Vec<String> {
        self.asked().iter().map(|request| request.line().replace("/rest/api/3", "")).collect()
    }

    /// Returns the comments of an issue as documents, oldest first.
    #[must_use]
    pub fn comments(&self, key: &IssueKey) -> Vec<Value> {
        let comments = self.site.read(key.as_str(), |issue| issue.comments.clone());
        comments.into_iter().map(|comment| comment["body"].clone()).collect()
    }
}

impl Drop for FakeJira {
    /// Fails a test that said what Jira's editor could not show.
    fn drop(&mut self) {
        let violations = self.site.take_violations();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "documents that the schema forbids:\n{}", violations.join("\n"));
        }
    }
}

/// A clock for which waiting takes no time, but passes it.
#[derive(Debug, Default)]
struct Impatient(Mutex<Duration>);

impl Impatient {
    fn passed(&self) -> MutexGuard<'_, Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + *self.passed()
    }

    fn monotonic(&self) -> Duration {
        *self.passed()
    }

    async fn sleep(&self, duration: Duration) {
        *self.passed() += duration;
        tokio::task::yield_now().await;
    }
}
