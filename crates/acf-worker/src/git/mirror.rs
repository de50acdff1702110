//! The bare mirror: one per remote and machine, shared by its workers, where all objects live.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use acf_core::claim::ClaimError;
use acf_core::run::CommitId;
use sha2::{Digest, Sha256};

use super::command::{Git, GitCommand, GitError};
use super::remote::Remote;

/// The longest that a process waits for its turn to push.
const LONGEST_TURN: Duration = Duration::from_secs(20);
/// What git says when the remote does not have, or does not give, an object that was asked for.
const NOT_THERE: [&str; 3] = ["not our ref", "couldn't find remote ref", "unadvertised object"];

/// A bare repository that caches a remote's objects.
///
/// Fetches that move its refs are serialised by a file lock; everything else only adds objects, which
/// any number of processes may do at once.
#[derive(Debug)]
pub struct Mirror {
    git: Git,
    remote: Remote,
    path: PathBuf,
    /// Commits that are known to be here, to save asking.
    present: Mutex<HashSet<CommitId>>,
}

/// The mirror cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Its directory cannot be used.
    #[error("cannot use the mirror at {}", path.display())]
    Directory {
        /// The mirror's path.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A git command failed.
    #[error("cannot prepare the mirror")]
    Git(#[from] GitError),
}

impl Mirror {
    /// Opens the mirror of that remote below `work_dir`, making it first where it is missing.
    ///
    /// # Errors
    /// [`MirrorError`] when the directory cannot be written or git fails.
    pub async fn open(git: Git, remote: Remote, work_dir: &Path) -> Result<Self, MirrorError> {
        let path = work_dir.join("mirrors").join(format!("{}.git", directory_name(remote.url())));
        let mirror = Self { git, remote, path, present: Mutex::default() };
        let in_directory = |cause| MirrorError::Directory { path: mirror.path.clone(), cause };
        if !mirror.is_whole() {
            fs::create_dir_all(mirror.path.parent().unwrap_or(work_dir)).map_err(in_directory)?;
            let _lock = mirror.lock().await.map_err(in_directory)?;
            if !mirror.path.exists() {
                mirror.create().await?;
            } else if !mirror.is_whole() {
                mirror.initialize(&mirror.path).await?;
            }
        }
        Ok(mirror)
    }

    /// Tells whether everything is there without which git takes no directory for a repository.
    fn is_whole(&self) -> bool {
        let has_files = ["HEAD", "config"].iter().all(|name| self.path.join(name).is_file());
        has_files && ["objects", "refs"].iter().all(|name| self.path.join(name).is_dir())
    }

    /// Makes the mirror beside its place and moves it there, so that a half-made one is never seen.
    async fn create(&self) -> Result<(), MirrorError> {
        let in_directory = |cause| MirrorError::Directory { path: self.path.clone(), cause };
        let beside = self.path.with_extension("making");
        if beside.exists() {
            fs::remove_dir_all(&beside).map_err(in_directory)?;
        }
        self.initialize(&beside).await?;
        fs::rename(&beside, &self.path).map_err(in_directory)
    }

    /// Makes a repository, or completes one that lacks parts; objects that are there stay.
    async fn initialize(&self, path: &Path) -> Result<(), GitError> {
        let init = self.git.command("init").args(["--quiet", "--bare", "--template="]).arg(path);
        init.without_user_configuration().run().await?;
        let empty_tree = self.git.command("hash-object").args(["-t", "tree", "-w", "--stdin"]);
        empty_tree.git_dir(path).without_user_configuration().input("").run().await?;
        Ok(())
    }

    /// Returns where the mirror lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the remote.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Returns the way to run git.
    #[must_use]
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Begins a command in the mirror that stays on this machine, without credentials.
    #[must_use]
    pub fn local(&self, name: &str) -> GitCommand<'_> {
        self.git.command(name).git_dir(&self.path).without_user_configuration()
    }

    /// Begins a command in the mirror that talks to the remote.
    #[must_use]
    pub fn remote_command(&self, name: &str) -> GitCommand<'_> {
        self.remote.command(&self.git, name).git_dir(&self.path)
    }

    /// Notes that a commit is here.
    pub fn note_present(&self, commit: &CommitId) {
        self.present().insert(commit.clone());
    }

    fn present(&self) -> std::sync::MutexGuard<'_, HashSet<CommitId>> {
        self.present.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes sure that a branch's commit is here, fetching the branch if it is not.
    ///
    /// # Errors
    /// [`ClaimError::Unreachable`] and the like when it has to be fetched and cannot be.
    pub async fn have(&self, commit: &CommitId, branch: &str) -> Result<(), ClaimError> {
        if self.present().contains(commit) {
            return Ok(());
        }
        let attempt = format!("cannot fetch {branch}");
        let other = |cause: io::Error| ClaimError::Other { attempt: attempt.clone(), cause: cause.into() };
        let _lock = self.lock().await.map_err(other)?;
        // Another worker may have brought it while this one waited for the lock.
        if !self.contains(commit).await {
            let name = format!("refs/remotes/origin/{branch}");
            let refspec = format!("+refs/heads/{branch}:{name}");
            let fetch = || {
                let fetch = self.remote_command("fetch").arg(self.remote.url()).arg(&refspec);
                fetch.args(["--quiet", "--no-tags", "--no-write-fetch-head"]).run()
            };
            let mut fetched = fetch().await;
            let is_locked = |error: &GitError| matches!(error, GitError::Failed { stderr, .. } if stderr.contains(".lock': File exists"));
            if fetched.as_ref().is_err_and(is_locked) {
                // Nobody else may move this ref now, so whoever locked it was killed.
                fs::remove_file(self.path.join(format!("{name}.lock"))).map_err(other)?;
                fetched = fetch().await;
            }
            fetched.map_err(|error| self.remote.explain(&attempt, error))?;
        }
        self.note_present(commit);
        Ok(())
    }

    /// Tells whether a commit is here with all that it consists of. A fetch that was cut off leaves
    /// commits without their trees; what a branch of the mirror leads to is always complete.
    pub(super) async fn contains(&self, commit: &CommitId) -> bool {
        let walk = ["--quiet", "--objects", commit.as_str(), "--not", "--remotes"];
        self.local("rev-list").args(walk).run().await.is_ok()
    }

    /// Brings objects that no branch of the mirror leads to: claims, run records, work in progress.
    /// What the remote no longer has is passed over.
    ///
    /// # Errors
    /// [`ClaimError::Unreachable`] and the like.
    pub async fn bring(&self, objects: &[&str]) -> Result<(), ClaimError> {
        let attempt = "cannot fetch claims and run records";
        let fetch = |objects: &[&str]| {
            let command = self.remote_command("fetch");
            let command = command.args(["--quiet", "--no-tags", "--no-write-fetch-head"]);
            command.arg(self.remote.url()).args(objects)
        };
        if objects.is_empty() || fetch(objects).run().await.is_ok() {
            return Ok(());
        }
        for object in objects {
            if let Err(error) = fetch(&[object]).run().await {
                let is_gone = matches!(&error, GitError::Failed { stderr, .. }
                    if NOT_THERE.iter().any(|words| stderr.contains(words)));
                if !is_gone {
                    return Err(self.remote.explain(attempt, error));
                }
            }
        }
        Ok(())
    }

    /// Packs loose objects if there are many. Objects of the last two weeks are never dropped.
    ///
    /// # Errors
    /// [`MirrorError`] when git fails.
    pub async fn tidy(&self) -> Result<(), MirrorError> {
        let _lock =
            self.lock().await.map_err(|cause| MirrorError::Directory { path: self.path.clone(), cause })?;
        let gc = self.local("gc").setting("gc.auto=6700").setting("gc.autoDetach=false");
        gc.args(["--auto", "--quiet"]).run().await?;
        Ok(())
    }

    /// Waits for this process's turn to push, among those that share the mirror. A turn that does not
    /// come in time is gone without.
    pub async fn turn(&self) -> Option<File> {
        let waiting = lock(self.path.with_extension("turn"));
        tokio::time::timeout(LONGEST_TURN, waiting).await.ok()?.ok()
    }

    /// Waits until no other process of this machine moves the mirror's refs.
    async fn lock(&self) -> io::Result<File> {
        lock(self.path.with_extension("lock")).await
    }
}

/// Waits for the lock on a file.
async fn lock(path: PathBuf) -> io::Result<File> {
    let wait = move || {
        let file = File::options().create(true).append(true).open(path)?;
        file.lock()?;
        Ok(file)
    };
    tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)?
}

/// Returns a directory name for a URL: readable, and different for different URLs.
fn directory_name(url: &str) -> String {
    let tail = url.trim_end_matches('/').trim_end_matches(".git").rsplit(['/', ':']).next().unwrap_or("");
    let readable: String = tail.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{readable}-{}", short_hash(url))
}

/// Returns twelve hexadecimal digits that stand for a text.
#[must_use]
pub fn short_hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_safe_and_differ_for_different_urls() {
        let names =
            ["https://a/shop.git", "https://b/shop.git", "/x/../..", "git@h:o/shop", ""].map(directory_name);
        assert!(names[0].starts_with("shop-") && names[3].starts_with("shop-"));
        assert_ne!(names[0], names[1]);
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
        }
    }
}
