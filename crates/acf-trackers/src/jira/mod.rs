//! The tracker `jira`: a project of Jira Cloud, over its REST API v3.
//!
//! It owns what statuses, transitions, labels and comments of Jira mean to acf. Three things are never
//! relied on: that a search tells the present state (it lags behind; whatever is decided is decided on the
//! issue itself), that a transition is called what its status is called, and that a project's workflow has
//! all statuses that acf knows (labels stand for those that it lacks).

pub mod adf;
mod answers;
mod api;
mod changes;
mod jql;
mod status_names;
mod trouble;
mod workflow;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use acf_core::clock::Clock;
use acf_core::eligibility::starts;
use acf_core::issue::{Issue, IssueRef, Stage, Status};
use acf_core::mask::Mask;
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use secrecy::SecretString;
use tokio::sync::OnceCell;
use url::Url;

use self::answers::{RawIssue, Unreadable};
use self::api::Api;
pub use self::status_names::StatusNames;
use self::status_names::label_of;
use self::workflow::Workflow;
use crate::http::{Client, Credentials, Repetition, Service};

/// The property of a comment that holds its marker.
const MARKER_PROPERTY: &str = "acf";

/// What it takes to talk to a project of Jira Cloud.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests go: the site itself, or `https://api.atlassian.com/ex/jira/CLOUD_ID` for a token
    /// with scopes.
    pub api_url: Url,
    /// Where people read issues: `https://JIRA_SITE`.
    pub site_url: Url,
    /// The project's key: what stands before the dash of its issues' keys.
    pub project: String,
    /// The e-mail address of the account that the token belongs to.
    pub email: String,
    /// An API token.
    pub token: SecretString,
    /// The account that issues are taken for.
    pub account_id: String,
    /// What the site calls its statuses.
    pub statuses: StatusNames,
}

/// A project of Jira Cloud as a tracker.
pub struct Jira {
    api: Api,
    site_url: Url,
    project: String,
    account_id: String,
    statuses: StatusNames,
    workflow: OnceCell<Workflow>,
    /// The keys of issues that cannot be read, as far as that was said.
    left_out: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Jira {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jira({} at {})", self.project, self.site_url)
    }
}

impl Jira {
    /// Makes a tracker, without asking Jira anything yet.
    ///
    /// # Errors
    /// [`TrackerError::Impossible`] for settings that cannot be right, [`TrackerError::Unauthorized`] for a
    /// token that cannot be one.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, TrackerError> {
        let Settings { api_url, site_url, project, email, token, account_id, statuses } = settings;
        if let Some(name) = statuses.ambiguous() {
            return Err(TrackerError::Impossible(format!(
                "two of Jira's statuses are called `{name}`: give each a name of its own; for one that the workflow \
                 lacks, a label stands"
            )));
        }
        let service = Service {
            name: "Jira",
            base: api_url,
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]),
            credentials: Credentials::Basic { user: email, token },
            timeout: None,
            repetition: Repetition::default(),
        };
        let api = Api::new(Client::new(service, clock)?);
        Ok(Self {
            api,
            site_url,
            project,
            account_id,
            statuses,
            workflow: OnceCell::new(),
            left_out: Mutex::default(),
        })
    }

    /// Keeps other secrets than the token out of errors too.
    #[must_use]
    pub fn masked_by(self, mask: &Mask) -> Self {
        Self { api: self.api.masked_by(mask), ..self }
    }

    /// Returns how many requests were sent, repeated ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.api.calls()
    }

    /// Returns the project's workflow, which is read once.
    async fn workflow(&self) -> Result<&Workflow, TrackerError> {
        self.workflow.get_or_try_init(|| self.read_workflow()).await
    }

    async fn read_workflow(&self) -> Result<Workflow, TrackerError> {
        let types = self.api.statuses(&self.project).await?;
        let names =
            |statuses: Vec<answers::RawStatus>| statuses.into_iter().map(|status| status.name).collect();
        let by_type = types.into_iter().map(|of| (of.id, names(of.statuses)));
        let workflow = Workflow::new(self.statuses.clone(), by_type);
        for missing in workflow.missing() {
            let name = self.statuses.name(&missing);
            let Some(label) = label_of(&missing) else {
                let known = workflow.all().into_iter().collect::<Vec<_>>().join(", ");
                return Err(TrackerError::Impossible(format!(
                    "the project `{}` has no status `{name}`; it has: {known}. Set {} to what it calls \
                     `{missing}`",
                    self.project,
                    status_names::variable(&missing)
                )));
            };
            tracing::warn!(
                "the project `{}` has no status `{name}`: the label {label} stands for it",
                self.project
            );
        }
        Ok(workflow)
    }

    async fn search(&self, condition: &str) -> Result<Vec<Issue>, TrackerError> {
        let workflow = self.workflow().await?;
        let (found, unreadable) = self.api.search(condition, &self.project).await?;
        unreadable.iter().for_each(|issue| self.warn_of(issue));
        let mut issues = Vec::with_capacity(found.len());
        for raw in &found {
            match self.meaning(raw, workflow) {
                Ok(issue) => issues.push(issue),
                Err(error) => self.warn_of(&Unreadable { key: raw.key.clone(), why: error.to_string() }),
            }
        }
        Ok(issues)
    }

    /// Says that an issue is left out, once: a poll finds it every minute.
    fn warn_of(&self, Unreadable { key, why }: &Unreadable) {
        let is_new = self.left_out.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        if is_new {
            tracing::warn!(issue.key = %key, why, "issue `{key}` is left out, as it cannot be read: {why}");
        }
    }

    fn meaning(&self, issue: &RawIssue, workflow: &Workflow) -> Result<Issue, TrackerError> {
        issue.meaning(workflow, &self.site_url).ok_or_else(|| {
            TrackerError::Impossible(format!("Jira names an issue by what is no key: `{}`", issue.key))
        })
    }
}

#[async_trait]
impl Tracker for Jira {
    fn kind(&self) -> &'static str {
        "jira"
    }

    /// Returns the account that issues are taken for, after making sure of all that can be made sure of:
    /// the credentials, the project, the permissions that the account needs there, and that its issues can be assigned to the account.
    async fn whoami(&self) -> Result<String, TrackerError> {
        self.api.myself().await?;
        self.workflow().await?;
        let missing = self.api.missing_permissions(&self.project).await?;
        if !missing.is_empty() {
            return Err(trouble::lacks_permissions(&missing, &self.project));
        }
        if !self.api.is_assignable(&self.project, &self.account_id).await? {
            let cause = "Jira does not list it among those who can be assigned";
            return Err(trouble::not_assignable(&self.account_id, cause));
        }
        Ok(self.account_id.clone())
    }

    async fn candidates(&self, stage: Stage) -> Result<Vec<Issue>, TrackerError> {
        let workflow = self.workflow().await?;
        let found = self.search(&jql::candidates(&self.project, stage, &self.statuses, workflow)).await?;
        Ok(found.into_iter().filter(|issue| issue.assignee.is_none() && starts(issue, stage)).collect())
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        let found = self.search(&jql::all_open(&self.project)).await?;
        Ok(found.into_iter().filter(|issue| issue.status != Status::Done).collect())
    }

    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        let workflow = self.workflow().await?;
        self.meaning(&self.api.issue(issue, false).await?, workflow)
    }

    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let workflow = self.workflow().await?;
        let moves = changes.iter().any(|change| matches!(change, Change::Transition(_)));
        let read = self.api.issue(issue, moves).await?;
        let found = Box::new(self.meaning(&read, workflow)?);
        if !condition(&found) {
            return Ok(Applied::No(found));
        }
        self.make(issue, &read, workflow, changes).await?;
        Ok(Applied::Yes(found))
    }
}
