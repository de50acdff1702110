//! The tracker `github`: the issues of a repository on GitHub, and its pull requests.
//!
//! This module owns what an issue is on GitHub and which calls a change takes. What it rests on:
//!
//! - Labels stand for statuses ([`status`]); closed is Done. A change of labels, assignee and state is one
//!   `PATCH`, so that no issue is ever left half changed. The labels in it are those that were read right
//!   before: one that a person changes in between, in a fraction of a second, is overwritten.
//! - A read that finds nothing new is answered 304 and costs nothing of the rate limit ([`reading`]).
//! - A comment of a run ends in a hidden marker; before it is said, and after a lost answer, the issue's
//!   comments are searched for it ([`comment`]).
//!
//! How calls are repeated and rate limits waited out is [`crate::http`]'s.

mod account;
mod change;
mod comment;
mod label;
mod pull_request;
mod reading;
mod refusal;
mod repository;
mod status;
mod wire;

use std::sync::Arc;

use acf_core::clock::Clock;
use acf_core::issue::{Issue, IssueRef, Stage, Status};
use acf_core::mask::Mask;
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use self::account::Account;
use self::label::KnownLabels;
use self::reading::Reader;
pub use self::repository::{InvalidRepository, Repository};
use crate::http::{Client, Credentials, Repetition, Service};

/// What a worker needs to know of a repository on GitHub.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server.
    pub api_url: Url,
    /// The repository whose issues these are.
    pub repository: Repository,
    /// A personal access token, or one of an app's installation.
    pub token: SecretString,
    /// The login that issues are assigned to; `None` for the token's own.
    pub assignee: Option<String>,
}

/// The issues and pull requests of a repository on GitHub.
#[derive(Debug)]
pub struct GitHub {
    client: Client,
    repository: Repository,
    account: Account,
    reader: Reader,
    labels: KnownLabels,
}

impl GitHub {
    /// Makes a tracker of that repository. Nothing is called yet.
    ///
    /// # Errors
    /// [`TrackerError`] for an address or a token that cannot be used.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, TrackerError> {
        let Settings { api_url, repository, token, assignee } = settings;
        let version =
            (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        let accept = (ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        let service = Service {
            name: "GitHub",
            base: api_url,
            headers: HeaderMap::from_iter([accept, version]),
            credentials: Credentials::Bearer(token),
            timeout: None,
            repetition: Repetition::default(),
        };
        Ok(Self {
            client: Client::new(service, clock)?,
            repository,
            account: Account::new(assignee),
            reader: Reader::default(),
            labels: KnownLabels::default(),
        })
    }

    /// Keeps other secrets than the token out of errors too.
    #[must_use]
    pub fn masked_by(self, mask: &Mask) -> Self {
        Self { client: self.client.masked_by(mask), ..self }
    }

    /// Returns how many requests were sent.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.client.calls()
    }
}

#[async_trait]
impl Tracker for GitHub {
    fn kind(&self) -> &'static str {
        "github"
    }

    /// Finds out who the token's owner is, unless an assignee is configured, and whether issues can be
    /// assigned to that account. Once for each tracker.
    async fn whoami(&self) -> Result<String, TrackerError> {
        self.account().await
    }

    async fn candidates(&self, stage: Stage) -> Result<Vec<Issue>, TrackerError> {
        let open = self.open_issues(Some("none")).await?;
        Ok(open.into_iter().filter(|issue| acf_core::eligibility::starts(issue, stage)).collect())
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        self.open_issues(None).await
    }

    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        let found = self.read_issue(&issue.key).await?;
        self.told(&found).await
    }

    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let found = self.read_issue(&issue.key).await?;
        let as_found = Box::new(self.told(&found).await?);
        if !condition(&as_found) {
            return Ok(Applied::No(as_found));
        }
        self.change(&found, changes).await?;
        Ok(Applied::Yes(as_found))
    }
}

/// Returns an issue's number, if a key names one.
fn number(key: &acf_core::issue::IssueKey) -> Result<u64, TrackerError> {
    key.slug()
        .parse()
        .map_err(|_| TrackerError::NotFound(format!("{key}: on GitHub, keys are numbers like #12")))
}

/// Refuses a status that GitHub cannot hold.
fn holdable(status: &Status) -> Result<(), TrackerError> {
    match status {
        Status::Other(name) => {
            let known: Vec<_> = Status::KNOWN.iter().map(Status::name).collect();
            let says = format!("there is no status `{name}`; there are {}", known.join(", "));
            Err(TrackerError::Impossible(says))
        }
        _ => Ok(()),
    }
}
