//! Ports to the outside through which no known secret passes: what acf says in a tracker or on a git host
//! is masked here, wherever it comes from, and so is what they answer to a request that they refuse.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use acf_core::git_host::{GitHost, GitHostError, NewPullRequest, PullRequest};
use acf_core::issue::{Issue, IssueRef, Stage};
use acf_core::mask::Mask;
use acf_core::tracker::{Applied, Change, Condition, Tracker, TrackerError};
use async_trait::async_trait;

use crate::worker::chain;

/// A port, and what masks the texts that go through it.
pub(crate) struct Masked<T: ?Sized> {
    inner: Arc<T>,
    mask: Mask,
}

impl<T: ?Sized> Masked<T> {
    /// Puts the mask before a port.
    pub(crate) fn new(inner: Arc<T>, mask: Mask) -> Self {
        Self { inner, mask }
    }

    fn text(&self, text: &str) -> String {
        self.mask.apply(text).into_owned()
    }

    fn cause(&self, cause: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
        match self.mask.apply(&chain(&*cause)) {
            Cow::Borrowed(_) => cause,
            Cow::Owned(masked) => masked.into(),
        }
    }

    fn tracker_error(&self, error: TrackerError) -> TrackerError {
        match error {
            TrackerError::NotFound(text) => TrackerError::NotFound(self.text(&text)),
            TrackerError::Unauthorized(text) => TrackerError::Unauthorized(self.text(&text)),
            TrackerError::Impossible(text) => TrackerError::Impossible(self.text(&text)),
            TrackerError::Unreadable(text) => TrackerError::Unreadable(self.text(&text)),
            TrackerError::Other { attempt, cause } => {
                TrackerError::Other { attempt: self.text(&attempt), cause: self.cause(cause) }
            }
            TrackerError::Unavailable { says, retry_after } => {
                TrackerError::Unavailable { says: self.text(&says), retry_after }
            }
            TrackerError::RateLimited { .. } => error,
        }
    }

    fn host_error(&self, error: GitHostError) -> GitHostError {
        match error {
            GitHostError::Unauthorized(text) => GitHostError::Unauthorized(self.text(&text)),
            GitHostError::Impossible(text) => GitHostError::Impossible(self.text(&text)),
            GitHostError::Other { attempt, cause } => {
                GitHostError::Other { attempt: self.text(&attempt), cause: self.cause(cause) }
            }
            GitHostError::Unavailable { says, retry_after } => {
                GitHostError::Unavailable { says: self.text(&says), retry_after }
            }
            GitHostError::RateLimited { .. } => error,
        }
    }
}

#[async_trait]
impl Tracker for Masked<dyn Tracker> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn place(&self) -> Option<String> {
        self.inner.place()
    }

    async fn whoami(&self) -> Result<String, TrackerError> {
        self.inner.whoami().await.map_err(|error| self.tracker_error(error))
    }

    async fn candidates(&self, stage: Stage) -> Result<Vec<Issue>, TrackerError> {
        self.inner.candidates(stage).await.map_err(|error| self.tracker_error(error))
    }

    async fn list(&self) -> Result<Vec<Issue>, TrackerError> {
        self.inner.list().await.map_err(|error| self.tracker_error(error))
    }

    async fn issue(&self, issue: &IssueRef) -> Result<Issue, TrackerError> {
        self.inner.issue(issue).await.map_err(|error| self.tracker_error(error))
    }

    async fn apply_if(
        &self,
        issue: &IssueRef,
        condition: Condition<'_>,
        changes: &[Change],
    ) -> Result<Applied, TrackerError> {
        let masked = |change: &Change| match change {
            Change::Comment { marker, body } => {
                Change::Comment { marker: marker.clone(), body: self.text(body) }
            }
            other => other.clone(),
        };
        let changes: Vec<_> = changes.iter().map(masked).collect();
        self.inner.apply_if(issue, condition, &changes).await.map_err(|error| self.tracker_error(error))
    }
}

#[async_trait]
impl GitHost for Masked<dyn GitHost> {
    async fn find_pull_request(&self, branch: &str) -> Result<Option<PullRequest>, GitHostError> {
        self.inner.find_pull_request(branch).await.map_err(|error| self.host_error(error))
    }

    async fn open_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest, GitHostError> {
        let masked =
            NewPullRequest { title: self.text(&new.title), body: self.text(&new.body), ..new.clone() };
        self.inner.open_pull_request(&masked).await.map_err(|error| self.host_error(error))
    }

    async fn comment(
        &self,
        pull_request: &PullRequest,
        marker: &str,
        body: &str,
    ) -> Result<(), GitHostError> {
        self.inner
            .comment(pull_request, marker, &self.text(body))
            .await
            .map_err(|error| self.host_error(error))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Remembers what it was told.
    #[derive(Default)]
    struct Listener(Mutex<Vec<String>>);

    #[async_trait]
    impl GitHost for Listener {
        async fn find_pull_request(&self, _: &str) -> Result<Option<PullRequest>, GitHostError> {
            Ok(None)
        }

        async fn open_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest, GitHostError> {
            self.0.lock().unwrap().extend([new.title.clone(), new.body.clone()]);
            Ok(PullRequest { number: 1, url: new.branch.clone(), body: new.body.clone() })
        }

        async fn comment(&self, _: &PullRequest, marker: &str, body: &str) -> Result<(), GitHostError> {
            self.0.lock().unwrap().extend([marker.to_owned(), body.to_owned()]);
            Ok(())
        }
    }

    #[tokio::test]
    async fn no_secret_reaches_a_git_host() {
        let listener = Arc::new(Listener::default());
        let host = Masked::<dyn GitHost>::new(
            listener.clone(),
            Mask::new([("GIT_TOKEN".into(), "hunter22".into())]),
        );
        let new = NewPullRequest {
            branch: "feature/1".into(),
            base: "main".into(),
            title: "title hunter22".into(),
            body: "body hunter22".into(),
        };
        let opened = host.open_pull_request(&new).await.unwrap();
        host.comment(&opened, "marker", "comment hunter22").await.unwrap();
        assert_eq!(*listener.0.lock().unwrap(), ["title ***", "body ***", "marker", "comment ***"]);
    }

    #[test]
    fn no_secret_comes_back_in_an_error() {
        let masked = Masked::new(Arc::new(()), Mask::new([("GIT_TOKEN".into(), "hunter22".into())]));
        let answer = || "the proxy says: Authorization: Bearer hunter22".to_owned();
        for error in [
            TrackerError::NotFound(answer()),
            TrackerError::Unauthorized(answer()),
            TrackerError::Impossible(answer()),
            TrackerError::Unreadable(answer()),
            TrackerError::other(answer(), std::io::Error::other(answer())),
        ] {
            let told = chain(&masked.tracker_error(error));
            assert!(told.contains("Bearer ***") && !told.contains("hunter22"), "{told}");
        }
        let told =
            chain(&masked.host_error(GitHostError::Other { attempt: answer(), cause: answer().into() }));
        assert!(!told.contains("hunter22"), "{told}");
        let harmless = TrackerError::other("cannot reach it", std::io::Error::other("no route"));
        assert_eq!(chain(&masked.tracker_error(harmless)), "cannot reach it: no route");
    }
}
