//! The git host port: what acf asks of the place where the repository lives, besides git itself.

use std::time::Duration;

use async_trait::async_trait;

/// A pull request that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Where people read it.
    pub url: String,
    /// What stands below its title, as Markdown, with what is hidden in it from readers.
    pub body: String,
}

/// A pull request to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPullRequest {
    /// The branch that holds the work.
    pub branch: String,
    /// The branch that it is to be merged into.
    pub base: String,
    /// One line.
    pub title: String,
    /// What people read below it, as Markdown.
    pub body: String,
}

/// Why a git host did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitHostError {
    /// The host refuses the credentials or the right.
    #[error("{0}")]
    Unauthorized(String),
    /// Too many calls; to be tried again after the given time.
    #[error("rate limited for {} s", retry_after.as_secs())]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The service does not work for now, and says for how long; to be tried again after that time.
    #[error("{says}, and asks to wait {} s", retry_after.as_secs())]
    Unavailable {
        /// What was called, and what it answered.
        says: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The host cannot do that: there is no such repository, or nothing on the branch to merge.
    #[error("{0}")]
    Impossible(String),
    /// Anything else, usually passing.
    #[error("{attempt}")]
    Other {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl GitHostError {
    /// Returns how long the host asks to wait, if it does.
    #[must_use]
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// A git host that knows pull requests.
#[async_trait]
pub trait GitHost: Send + Sync {
    /// Returns the open pull request of that branch, if there is one.
    ///
    /// # Errors
    /// Any [`GitHostError`].
    async fn find_pull_request(&self, branch: &str) -> Result<Option<PullRequest>, GitHostError>;

    /// Opens a pull request. Where the branch has one that is open already, returns that.
    ///
    /// # Errors
    /// Any [`GitHostError`].
    async fn open_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest, GitHostError>;

    /// Says something on a pull request, unless a comment with that marker is there already.
    ///
    /// # Errors
    /// Any [`GitHostError`].
    async fn comment(&self, pull_request: &PullRequest, marker: &str, body: &str)
    -> Result<(), GitHostError>;
}
