//! The git host: pull requests, each call a point at which anything can happen.

use acf_core::git_host::{GitHost, GitHostError, NewPullRequest, PullRequest};
use async_trait::async_trait;

use super::world::{Hand, NoAnswer, Op, Phase, World};
use super::{Flaw, Invariant};

pub(super) struct Pulls(pub(super) Hand);

impl From<NoAnswer> for GitHostError {
    fn from(_: NoAnswer) -> Self {
        Self::Other { attempt: "cannot reach the host".into(), cause: "no answer".into() }
    }
}

/// Returns where people read the pull request of that number.
pub(super) fn page(number: usize) -> String {
    format!("https://h.example/pull/{number}")
}

fn pull_request(index: usize) -> PullRequest {
    PullRequest { number: index as u64 + 1, url: page(index + 1), body: String::new() }
}

impl World {
    fn find_pull(&self, branch: &str) -> Option<PullRequest> {
        let is_known = !self.has_flaw(Flaw::PullRequestsForgotten);
        self.pulls.iter().position(|open| open == branch).filter(|_| is_known).map(pull_request)
    }

    /// Holds an opening against I3, then opens the pull request if there is none.
    fn open_pull(&mut self, seat: usize, branch: &str) -> PullRequest {
        let worker = self.worker(seat);
        self.note(|| format!("{worker} opens a pull request for {branch}"));
        let holder = self.issues.keys().find(|key| format!("feature/{}", key.slug()) == branch);
        if holder.and_then(|key| self.holder(key)) != Some(&worker) {
            let says = format!("{worker} opens a pull request for {branch} without its claim");
            self.violate(Invariant::OnlyHolderActs, says);
        }
        self.find_pull(branch).unwrap_or_else(|| {
            self.pulls.push(branch.to_owned());
            pull_request(self.pulls.len() - 1)
        })
    }
}

#[async_trait]
impl GitHost for Pulls {
    async fn find_pull_request(&self, branch: &str) -> Result<Option<PullRequest>, GitHostError> {
        self.0.point(Op::FindPull, Phase::Before, true).await?;
        let found = self.0.world().find_pull(branch);
        self.0.point(Op::FindPull, Phase::After, true).await?;
        Ok(found)
    }

    async fn open_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest, GitHostError> {
        self.0.point(Op::OpenPull, Phase::Before, true).await?;
        let opened = self.0.world().open_pull(self.0.seat, &new.branch);
        self.0.point(Op::OpenPull, Phase::After, false).await?;
        Ok(opened)
    }

    async fn comment(&self, _: &PullRequest, _: &str, _: &str) -> Result<(), GitHostError> {
        // What is said twice is up to the adapter, whose suite sees to it.
        Ok(())
    }
}
