//! GitHub's answers, as far as acf reads them, and what they mean.

use std::collections::BTreeSet;

use acf_core::issue::{Issue, label};
use acf_core::tracker::TrackerError;
use serde::Deserialize;

use super::status;

/// An issue, as GitHub tells it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireIssue {
    pub(super) number: u64,
    title: String,
    body: Option<String>,
    state: String,
    labels: Vec<WireLabel>,
    assignees: Option<Vec<WireUser>>,
    html_url: String,
    /// How many comments it has.
    pub(super) comments: u64,
    /// Only pull requests have it, which GitHub lists among the issues.
    pull_request: Option<serde::de::IgnoredAny>,
    /// Absent where the host knows no dependencies between issues.
    pub(super) issue_dependencies_summary: Option<WireSummary>,
}

/// How many issues stand in an issue's way.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireSummary {
    /// Those that are open.
    pub(super) blocked_by: u64,
}

/// A label comes as an object, or in old data as its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum WireLabel {
    Named { name: Option<String> },
    Name(String),
}

/// A label of the repository.
#[derive(Debug, Deserialize)]
pub(super) struct WireName {
    #[serde(rename = "name")]
    _name: String,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireUser {
    pub(super) login: String,
}

/// An issue that stands in another one's way.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireBlocker {
    number: u64,
    state: String,
    repository_url: String,
}

/// A comment.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WireComment {
    /// What tells it from a JSON object of somebody else's.
    #[serde(rename = "id")]
    _id: u64,
    pub(super) body: Option<String>,
}

/// A pull request.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WirePullRequest {
    pub(super) number: u64,
    pub(super) html_url: String,
}

impl WireIssue {
    pub(super) fn is_issue(&self) -> bool {
        self.pull_request.is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }

    /// Returns the names of all labels, those that stand for statuses included.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(|label| match label {
            WireLabel::Named { name } => name.as_deref(),
            WireLabel::Name(name) => Some(name),
        })
    }

    /// Returns the logins of those who hold it.
    pub(super) fn assignees(&self) -> impl Iterator<Item = &str> {
        self.assignees.iter().flatten().map(|user| user.login.as_str())
    }

    /// Tells what the issue is in acf's words. Logins that differ only in case are the same, so one's own is
    /// written as `account` is.
    pub(super) fn told(&self, account: Option<&str>, blocked_by: Vec<String>) -> Result<Issue, TrackerError> {
        let key = format!("#{}", self.number);
        let as_configured = |login: &str| {
            let own = account.filter(|account| account.eq_ignore_ascii_case(login));
            own.unwrap_or(login).to_owned()
        };
        let labels: BTreeSet<_> =
            self.labels().filter(|name| !status::is_status(name)).map(as_acf_writes_it).collect();
        Ok(Issue {
            key: key
                .parse()
                .map_err(|error| TrackerError::other(format!("cannot read issue {key}"), error))?,
            summary: self.title.clone(),
            // GitHub's own editor writes CRLF.
            description: self.body.clone().unwrap_or_default().replace("\r\n", "\n"),
            status: status::of(self.is_open(), &self.labels().collect::<Vec<_>>()),
            assignee: self.assignees().next().map(as_configured),
            labels,
            url: Some(self.html_url.clone()),
            blocked_by,
            identity: None,
        })
    }
}

impl WireBlocker {
    /// Returns how people name it from within `repository_url`, if it is open.
    pub(super) fn name(&self, repository: &str) -> Option<String> {
        let number = self.number;
        let (_, theirs) = self.repository_url.split_once("/repos/").unwrap_or_default();
        let is_near = theirs.is_empty() || theirs.eq_ignore_ascii_case(repository);
        let name = if is_near { format!("#{number}") } else { format!("{theirs}#{number}") };
        (self.state == "open").then_some(name)
    }
}

/// The labels of acf are recognised whatever their case.
fn as_acf_writes_it(name: &str) -> String {
    let known =
        [label::NEEDS_PLAN, label::SKIP_PLAN, label::NEEDS_BRANCH, label::SKIP_BRANCH, label::BLOCKED];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned()
}
