//! Pull requests: found or opened, never a second one.

use acf_core::git_host::{GitHost, GitHostError, NewPullRequest, PullRequest};
use acf_core::tracker::TrackerError;
use async_trait::async_trait;
use serde_json::json;

use super::GitHub;
use super::wire::WirePullRequest;
use crate::http::{HttpError, Request};

#[async_trait]
impl GitHost for GitHub {
    async fn find_pull_request(&self, branch: &str) -> Result<Option<PullRequest>, GitHostError> {
        // Without the owner, GitHub ignores the filter and answers with any pull request.
        let head = format!("{}:{branch}", self.repository.owner());
        let request = self.repository.get(["pulls"]).query("state", "open").query("head", head);
        let found = self.read_pages::<WirePullRequest>(request).await.map_err(|error| self.cannot(error))?;
        Ok(found.items.into_iter().next().map(Into::into))
    }

    async fn open_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest, GitHostError> {
        let NewPullRequest { branch, base, title, body } = new;
        let body = json!({ "head": branch, "base": base, "title": title, "body": body });
        let request = Request::post(self.repository.path(["pulls"])).json(body);
        let opened = async { self.client.send(&request).await?.made::<WirePullRequest>() };
        let error = match opened.await {
            Ok(opened) => return Ok(opened.into()),
            Err(error) => error,
        };
        // Whoever opens one has looked for it. It is looked for again only where the answer was lost, or
        // GitHub says that there is one: a call less for nearly every pull request.
        let may_be_there = error.is_doubtful() || error.refused_with() == Some(422);
        let found = if may_be_there { self.find_pull_request(branch).await? } else { None };
        found
            .ok_or_else(|| if says_there_is_one(&error) { not_listed_yet(error) } else { self.cannot(error) })
    }

    async fn comment(
        &self,
        pull_request: &PullRequest,
        marker: &str,
        body: &str,
    ) -> Result<(), GitHostError> {
        // How many comments there are is not known, so they are looked through.
        self.say(pull_request.number, 1, Some(marker), body).await.map_err(as_host)
    }
}

impl GitHub {
    fn cannot(&self, error: HttpError) -> GitHostError {
        as_host(self.meaning(error))
    }
}

/// Tells whether GitHub opens no pull request as the branch has one: "A pull request already exists for acme:x."
fn says_there_is_one(error: &HttpError) -> bool {
    error.refusal().is_some_and(|refusal| {
        refusal.status == 422 && refusal.message.contains("pull request already exists")
    })
}

/// Makes the error of a pull request that is there and that the list lacks, which lags behind: it passes.
fn not_listed_yet(error: HttpError) -> GitHostError {
    GitHostError::Other {
        attempt: "GitHub does not list the open pull request yet".to_owned(),
        cause: error.into(),
    }
}

impl From<WirePullRequest> for PullRequest {
    fn from(found: WirePullRequest) -> Self {
        Self { number: found.number, url: found.html_url, body: found.body.unwrap_or_default() }
    }
}

fn as_host(error: TrackerError) -> GitHostError {
    match error {
        TrackerError::Unauthorized(says) => GitHostError::Unauthorized(says),
        TrackerError::RateLimited { retry_after } => GitHostError::RateLimited { retry_after },
        TrackerError::Unavailable { says, retry_after } => GitHostError::Unavailable { says, retry_after },
        TrackerError::Impossible(says) | TrackerError::Unreadable(says) => GitHostError::Impossible(says),
        TrackerError::NotFound(what) => GitHostError::Impossible(format!("there is no {what}")),
        TrackerError::Other { attempt, cause } => GitHostError::Other { attempt, cause },
    }
}
