//! A TODO file in the target repository: every change of it is a commit on the trunk.

use std::sync::Arc;
use std::time::Duration;

use acf_core::claim::ClaimError;
use acf_core::clock::Clock;
use acf_core::run::CommitId;
use acf_core::tracker::TrackerError;
use acf_trackers::todo::{Edit, TodoFile};
use async_trait::async_trait;

use super::checkout::{Author, file_of};
use super::command::GitError;
use super::mirror::Mirror;
use super::push::{PushReport, RefFate};

/// How often a change is tried again when others move the trunk at the same time.
const MOST_RACES: u32 = 60;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A TODO file on the trunk of the mirror's remote.
pub struct RepositoryFile {
    mirror: Arc<Mirror>,
    clock: Arc<dyn Clock>,
    trunk: String,
    path: String,
    author: Author,
}

impl RepositoryFile {
    /// Names the file at `path` of the trunk.
    #[must_use]
    pub fn new(
        mirror: Arc<Mirror>,
        clock: Arc<dyn Clock>,
        trunk: impl Into<String>,
        path: impl Into<String>,
        author: Author,
    ) -> Self {
        Self { mirror, clock, trunk: trunk.into(), path: path.into(), author }
    }

    /// Returns the trunk's tip, with its objects in the mirror.
    async fn tip(&self) -> Result<CommitId, TrackerError> {
        let remote = self.mirror.remote();
        let reference = format!("refs/heads/{}", self.trunk);
        let look = self.mirror.remote_command("ls-remote").args([remote.url(), &reference]);
        let answer =
            look.text().await.map_err(|error| told(remote.explain("cannot look at the trunk", error)))?;
        let tip = answer.split('\t').next().filter(|tip| super::command::is_object_name(tip));
        let tip = tip.map(CommitId::new).ok_or_else(|| {
            TrackerError::Impossible(format!(
                "the repository has no branch {}, which {} is on",
                self.trunk,
                self.name()
            ))
        })?;
        self.mirror.have(&tip, &self.trunk).await.map_err(told)?;
        Ok(tip)
    }

    async fn read_at(&self, tip: &CommitId) -> Result<Vec<u8>, TrackerError> {
        let file =
            file_of(&self.mirror, tip, &self.path).await.map_err(|error| self.failed("read", error))?;
        file.ok_or_else(|| {
            TrackerError::Unreadable(format!(
                "there is no file {} on branch {} of the repository",
                self.path, self.trunk
            ))
        })
    }

    fn failed(&self, verb: &str, error: GitError) -> TrackerError {
        TrackerError::other(format!("cannot {verb} {}", self.name()), error)
    }

    /// Makes a commit that changes only this file.
    async fn commit(&self, tip: &CommitId, text: &[u8], message: &str) -> Result<CommitId, GitError> {
        let git = &self.mirror;
        let blob = git.local("hash-object").args(["-w", "--stdin"]).input(text).object().await?;
        let index =
            tempfile::Builder::new().prefix("index-").tempdir_in(git.path()).map_err(GitError::Spawn)?;
        let file = index.path().join("index");
        let on_index = |name: &str| git.local(name).env("GIT_INDEX_FILE", &file);
        on_index("read-tree").arg(tip.as_str()).run().await?;
        let listed = on_index("ls-files").args(["-s", "--", &self.path]).text().await?;
        let mode = listed.split(' ').next().filter(|mode| mode.starts_with("100")).unwrap_or("100644");
        let entry = format!("{mode},{blob},{}", self.path);
        on_index("update-index").args(["--add", "--cacheinfo", &entry]).run().await?;
        let tree = on_index("write-tree").object().await?;
        let Author { name, email } = &self.author;
        let command = git.local("commit-tree").args([tree.as_str(), "-p", tip.as_str(), "-F", "-"]);
        let command = command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", email);
        let command = command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", email);
        command.input(message).object().await.map(CommitId::new)
    }

    /// Pushes a commit; `false` when the trunk has moved meanwhile.
    async fn push(&self, commit: &CommitId, tip: &CommitId) -> Result<bool, TrackerError> {
        let remote = self.mirror.remote();
        let reference = format!("refs/heads/{}", self.trunk);
        let explain =
            |error| told(remote.explain(&format!("cannot push a change of {}", self.name()), error));
        let push = self.mirror.remote_command("push").args(["--porcelain", "--no-verify", remote.url()]);
        let output = push.arg(format!("{commit}:{reference}")).output().await.map_err(explain)?;
        let report = PushReport::read(output);
        if report.ok {
            self.mirror.note_present(commit);
            return Ok(true);
        }
        match report.fate(&reference) {
            Some(RefFate::Behind | RefFate::Stale) => Ok(false),
            Some(RefFate::Refused) => {
                let reason = report.line(&reference).map(|line| line.reason.clone()).unwrap_or_default();
                Err(TrackerError::Impossible(format!(
                    "the remote refuses the change of {} on {}: {reason}",
                    self.path, self.trunk
                )))
            }
            // Nobody said whether it has happened: where the branch is now says so.
            _ => {
                let now = self.tip().await?;
                let has_happened = now == *commit || self.is_ancestor(commit, &now).await;
                match (has_happened, now == *tip, report.error) {
                    (true, ..) => Ok(true),
                    (false, true, Some(error)) if report.refs.is_empty() => Err(explain(error)),
                    _ => Ok(false),
                }
            }
        }
    }

    async fn is_ancestor(&self, commit: &CommitId, of: &CommitId) -> bool {
        let command = self.mirror.local("merge-base").args(["--is-ancestor", commit.as_str(), of.as_str()]);
        command.run().await.is_ok()
    }
}

fn told(error: ClaimError) -> TrackerError {
    match error {
        ClaimError::Unauthorized(says) => {
            TrackerError::Unauthorized(format!("the remote does not accept the credentials: {says}"))
        }
        other => TrackerError::other("cannot reach the repository of the TODO file", other),
    }
}

#[async_trait]
impl TodoFile for RepositoryFile {
    fn name(&self) -> String {
        format!("git:{}", self.path)
    }

    fn place(&self) -> String {
        self.name()
    }

    async fn read(&self) -> Result<Vec<u8>, TrackerError> {
        let tip = self.tip().await?;
        self.read_at(&tip).await
    }

    async fn update(&self, message: &str, edit: Edit<'_>) -> Result<(), TrackerError> {
        for race in 0..MOST_RACES {
            // Among the workers of this machine, nobody loses a race: neither this change, nor work that
            // is about to land.
            let turn = self.mirror.turn().await;
            let tip = self.tip().await?;
            let before = self.read_at(&tip).await?;
            let Some(after) = edit(&before)? else { return Ok(()) };
            let commit =
                self.commit(&tip, &after, message).await.map_err(|error| self.failed("change", error))?;
            if self.push(&commit, &tip).await? {
                return Ok(());
            }
            drop(turn);
            // Different workers pause differently: their commit ids are as good as dice.
            let dice = u32::from_str_radix(&commit.as_str()[..4], 16).unwrap_or_default() % 100;
            let pause = Duration::from_millis(u64::from(dice) * u64::from(race + 1) / 4);
            self.clock.sleep(pause.min(LONGEST_PAUSE)).await;
        }
        Err(TrackerError::other(
            format!("cannot change {}", self.name()),
            format!("the trunk moved {MOST_RACES} times meanwhile"),
        ))
    }
}
