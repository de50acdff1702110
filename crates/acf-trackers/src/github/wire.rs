//! GitHub's answers, as far as acf reads them, and what they mean.

use std::collections::BTreeSet;

use acf_core::issue::Issue;
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
    pub(super) body: Option<String>,
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

    /// Returns who holds it: of several, somebody else than `account`. Whoever assigns himself an issue that
    /// acf has joins acf there, and takes it over. Logins that differ only in case are the same, so one's own
    /// is written as `account` is.
    fn holder(&self, account: Option<&str>) -> Option<String> {
        let is_own = |login: &&str| account.is_some_and(|account| account.eq_ignore_ascii_case(login));
        let own = self.assignees().find(is_own).and(account);
        self.assignees().find(|login| !is_own(login)).or(own).map(str::to_owned)
    }

    /// Tells what the issue is in acf's words; `account` is the one that acf assigns issues to. Labels that
    /// differ only in case are the same on GitHub, so they are told in lower case, as acf's own are written.
    pub(super) fn told(&self, account: Option<&str>, blocked_by: Vec<String>) -> Result<Issue, TrackerError> {
        let key = format!("#{}", self.number);
        let labels: BTreeSet<_> =
            self.labels().filter(|name| !status::is_status(name)).map(str::to_lowercase).collect();
        Ok(Issue {
            key: key
                .parse()
                .map_err(|error| TrackerError::other(format!("cannot read issue {key}"), error))?,
            summary: self.title.clone(),
            // GitHub's own editor writes CRLF.
            description: self.body.clone().unwrap_or_default().replace("\r\n", "\n"),
            status: status::of(self.is_open(), &self.labels().collect::<Vec<_>>()),
            assignee: self.holder(account),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holder(assignees: &[&str], account: Option<&str>) -> Option<String> {
        let logins: Vec<_> = assignees.iter().map(|login| json!({ "login": login })).collect();
        let issue: WireIssue = serde_json::from_value(json!({
            "number": 1, "title": "one", "body": null, "state": "open", "labels": [], "assignees": logins,
            "html_url": "https://github.com/acme/shop/issues/1", "comments": 0
        }))
        .unwrap();
        issue.told(account, Vec::new()).unwrap().assignee
    }

    #[test]
    fn of_several_who_hold_an_issue_somebody_else_than_acf_counts() {
        for (assignees, wanted) in [
            (&[][..], None),
            (&["ACF-Bot"], Some("acf-bot")),
            (&["ada"], Some("ada")),
            (&["acf-bot", "ada"], Some("ada")),
            (&["ada", "acf-bot"], Some("ada")),
            (&["bob", "acf-bot", "ada"], Some("bob")),
        ] {
            assert_eq!(holder(assignees, Some("acf-bot")).as_deref(), wanted, "{assignees:?}");
        }
        assert_eq!(holder(&["acf-bot", "ada"], None).as_deref(), Some("acf-bot"));
    }
}
