//! The tracker port: what acf asks of Jira, GitHub Issues or a TODO file.

use std::time::Duration;

use async_trait::async_trait;

use crate::issue::{Issue, IssueRef, Stage, Status};

/// One change to an issue. Several are given together, so that an adapter can make them in the fewest
/// calls: one edit of a file, one `PATCH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Give the issue to that account.
    Assign(String),
    /// Take it from whoever has it. Where a tracker lets several have an issue, and the account that it acts
    /// as is one of them, from that one alone: the others stay.
    Unassign,
    /// Take it from that account, if it has it; whoever else has it keeps it.
    UnassignFrom(String),
    /// Move it to that status.
    Transition(Status),
    /// Put a label on it; one that it has stays.
    AddLabel(String),
    /// Take a label off; one that it lacks is no error.
    RemoveLabel(String),
    /// Say something. A comment with this marker that is there already is not said again.
    Comment {
        /// What identifies the comment among those of the issue; hidden from readers where the
        /// tracker's markup allows it. `None` for a person's comment, which is always added.
        marker: Option<String>,
        /// The text, as Markdown.
        body: String,
    },
}

/// What came of a conditional change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The condition held and every change was made; the issue as it was found.
    Yes(Box<Issue>),
    /// The condition did not hold; nothing was changed; the issue as it was found.
    No(Box<Issue>),
}

/// Why a tracker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// There is no such issue, or it is not visible to this account.
    #[error("no issue {0}")]
    NotFound(String),
    /// The tracker refuses the credentials or the right.
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
    /// The tracker cannot do that: a workflow without such a transition, a file that is no TODO list.
    #[error("{0}")]
    Impossible(String),
    /// What the issues are kept in is missing or is no text: a mistake where it has never been read, passing
    /// where somebody else is just replacing it.
    #[error("{0}")]
    Unreadable(String),
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

impl TrackerError {
    /// Makes an error of the kind `Other`.
    pub fn other(
        attempt: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Other { attempt: attempt.into(), cause: cause.into() }
    }

    /// Returns how long the service asks to wait, if it does.
    #[must_use]
    pub fn asked_wait(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// A condition on an issue, for [`Tracker::apply_if`].
pub type Condition<'a> = &'a (dyn Fn(&Issue) -> bool + Send + Sync);

/// A task manager.
///
/// Adapters pass the contract suite of the tests package. All methods may be called concurrently by
/// many workers of one account.
#[async_trait]
pub trait Tracker: Send + Sync {
    /// Returns the name of the kind of tracker: `jira`, `github`, `todo`.
    fn kind(&self) -> &'static str;

    /// Returns what tells this tracker from others whose issues have the same keys; `None` where keys are enough.
    fn place(&self) -> Option<String> {
        None
    }

    /// Returns the account that this tracker acts as.
    ///
    /// # Errors
    /// [`TrackerError::Unauthorized`] when the credentials are not accepted.
    async fn whoami(&self) -> Result<String, TrackerError>;

    /// Returns the issues that a worker of this stage might take, in rank order: at least all that
    /// are open, unassigned and in a status from which the stage starts. It may return more.
    ///
    /// # Errors
    /// Any [`TrackerError`] but `NotFound`.
    async fn candidates(&self, stage: Stage) -> Result<Vec<Issue>, TrackerError>;

    /// Returns every issue that is not done, in rank order, for people to see.
    ///
    /// # Errors
    /// Any [`TrackerError`] but `NotFound`.
    async fn list(&self) -> Result<Vec<Issue>, TrackerError>;

    /// Reads one issue, never from a cache or a search index.
    ///
    /// # Errors
    /// [`TrackerError::NotFound`] when no such issue is visible.
    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError>;

    /// Reads the issue and, if `condition` holds for what was read, makes all the changes.
    ///
    /// A file does both under one lock; a remote tracker has no such transaction and reads right
    /// before it writes.
    ///
    /// # Errors
    /// [`TrackerError::NotFound`] when no such issue is visible.
    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError>;

    /// Makes all the changes, whatever the issue looks like now.
    ///
    /// # Errors
    /// [`TrackerError::NotFound`] when no such issue is visible.
    async fn apply(&self, issue: &IssueRef, changes: &[Change]) -> Result<(), TrackerError> {
        self.apply_if(issue, &|_| true, changes).await.map(|_| ())
    }
}
