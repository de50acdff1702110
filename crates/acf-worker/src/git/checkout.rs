//! Checkouts: what agents and gates work in, and commits made of what they leave.
//!
//! A checkout is a small repository of its own that borrows the mirror's objects, so an agent can use
//! git as it likes, commit, rewrite history or delete `.git`. acf never reads that repository's
//! configuration: snapshots are taken with the mirror's, and with an index of acf's own. What counts
//! is what lies in the directory.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use acf_core::issue::{Issue, IssueKey, Stage};
use acf_core::mask::Mask;
use acf_core::run::{CommitId, RunId};
use serde::{Deserialize, Serialize};

use super::command::{GitCommand, GitError, is_object_name};
use super::mirror::{Mirror, short_hash};
use crate::held_directory::{HeldDirectory, make_accessible, remove_tree};

mod message;
mod snapshot;

use message::commit_message;
pub use snapshot::{Changes, Leak, Snapshot};

/// The branch that an agent finds itself on.
const WORK_BRANCH: &str = "refs/heads/acf-work";

/// The gate's checkout, in the directory of a run.
const GATE: &str = "gate";
/// What else acf itself puts there.
const OWN: [&str; 4] = ["tree", "index", "index-of-one", GATE];
/// How the names of repositories begin that were found within a checkout and moved out of it.
const NESTED: &str = "nested-";

/// Why a checkout could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// A directory or file cannot be used.
    #[error("cannot use {}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A git command failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Who makes acf's commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
}

/// What came of putting work on top of another commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The tree that holds both.
    Clean(String),
    /// The tree with conflict markers, and the files that have them.
    Conflict {
        /// The tree.
        tree: String,
        /// The files.
        files: Vec<String>,
    },
}

/// What the commit that keeps work in progress says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WipNote {
    /// The run that it is from.
    pub run: RunId,
    /// The issue that it is for.
    pub issue: IssueKey,
    /// See [`Issue::identity`].
    pub identity: Option<String>,
    /// Whether the next run may go on with it; if not, it is kept for people to look at.
    pub restore: bool,
}

/// The directory of one run: the agent's checkout, and acf's own index of it.
///
/// Its path is made of the sanitised key and a hash of the run, so it stays below the work directory
/// and no two runs ever share it. It is removed when the run is over; one that a killed worker left
/// is removed by [`crate::held_directory::remove_abandoned`].
#[derive(Debug)]
pub struct Checkout {
    mirror: Arc<Mirror>,
    home: Arc<HeldDirectory>,
    author: Author,
    base: Mutex<CommitId>,
}

fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> CheckoutError + '_ {
    move |cause| CheckoutError::Directory { path: path.to_owned(), cause }
}

/// Returns where checkouts are made.
#[must_use]
pub fn checkouts_dir(work_dir: &Path) -> PathBuf {
    work_dir.join("checkouts")
}

impl Checkout {
    /// Checks `base` out for a run.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn make(
        mirror: Arc<Mirror>,
        work_dir: &Path,
        issue: &IssueKey,
        run: &RunId,
        base: CommitId,
        author: Author,
    ) -> Result<Self, CheckoutError> {
        let name = format!("{}-{}", issue.slug(), short_hash(run.as_str()));
        let parent = checkouts_dir(work_dir);
        let home = HeldDirectory::make(&parent, &name).map_err(in_directory(&parent.join(&name)))?;
        let checkout = Self { mirror, home: Arc::new(home), author, base: Mutex::new(base.clone()) };
        let tree = checkout.tree();
        checkout.populate(&tree, &base).await?;
        let index = checkout.index();
        fs::copy(tree.join(".git/index"), &index).map_err(in_directory(&index))?;
        Ok(checkout)
    }

    /// Returns the directory that the agent works in.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.home.path().join("tree")
    }

    /// Returns a directory beside the checkout that lives as long as the run.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.home.path()
    }

    /// Returns the commit that the work is on top of.
    #[must_use]
    pub fn base(&self) -> CommitId {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn index(&self) -> PathBuf {
        self.home.path().join("index")
    }

    /// Begins a command on the agent's directory, with acf's own index and configuration.
    fn on_tree(&self, name: &str) -> GitCommand<'_> {
        let command = self.mirror.local(name).env("GIT_WORK_TREE", self.tree());
        command.env("GIT_INDEX_FILE", self.index())
    }

    /// Makes a repository in a new directory, borrowing the mirror's objects, with `commit` in it.
    ///
    /// The few files are written by hand, in the layout of gitrepository-layout(5).
    async fn populate(&self, directory: &Path, commit: &CommitId) -> Result<(), CheckoutError> {
        self.write_repository(directory, commit).map_err(in_directory(directory))?;
        let command = self.mirror.git().command("read-tree").git_dir(&directory.join(".git"));
        let command = command.env("GIT_WORK_TREE", directory).without_user_configuration();
        command.args(["-u", "--reset", commit.as_str()]).run().await?;
        Ok(())
    }

    fn write_repository(&self, directory: &Path, commit: &CommitId) -> io::Result<()> {
        let git = directory.join(".git");
        for below in ["objects/info", "objects/pack", "refs/heads", "info"] {
            fs::create_dir_all(git.join(below))?;
        }
        let objects = fs::canonicalize(self.mirror.path().join("objects"))?;
        let write = |name: &str, text: String| fs::write(git.join(name), text);
        write("objects/info/alternates", format!("{}\n", objects.display()))?;
        write("config", "[core]\n\trepositoryformatversion = 0\n\tbare = false\n[gc]\n\tauto = 0\n".into())?;
        write(WORK_BRANCH, format!("{commit}\n"))?;
        write("HEAD", format!("ref: {WORK_BRANCH}\n"))
    }

    /// Makes a commit of a snapshot on top of the base, told as the work on that issue.
    ///
    /// Whatever commits the agent made itself become this one; their messages go into its body.
    ///
    /// # Errors
    /// [`CheckoutError`] when git will not.
    pub async fn commit(
        &self,
        tree: &str,
        issue: &Issue,
        stage: Stage,
        run: &RunId,
        mask: &Mask,
    ) -> Result<CommitId, CheckoutError> {
        let mut told = self.agents_messages().await;
        told.iter_mut().for_each(|message| mask.hide_in(message));
        let message = commit_message(issue, stage, run, &told);
        self.commit_tree(tree, &self.base(), &message).await
    }

    /// Makes a commit that keeps a snapshot as work in progress.
    ///
    /// # Errors
    /// [`CheckoutError`] when git will not.
    pub async fn wip_commit(&self, tree: &str, note: &WipNote) -> Result<CommitId, CheckoutError> {
        let message = serde_json::to_string_pretty(note).map_err(|error| CheckoutError::Directory {
            path: self.home.path().to_owned(),
            cause: error.into(),
        })?;
        self.commit_tree(tree, &self.base(), &message).await
    }

    async fn commit_tree(
        &self,
        tree: &str,
        parent: &CommitId,
        message: &str,
    ) -> Result<CommitId, CheckoutError> {
        let Author { name, email } = &self.author;
        let command = self.mirror.local("commit-tree").args([tree, "-p", parent.as_str(), "-F", "-"]);
        let command = command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", email);
        let command = command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", email);
        Ok(CommitId::new(command.input(message).object().await?))
    }

    /// Puts a commit on top of another one, without touching any directory.
    ///
    /// What the work changed is brought along, and nothing else of the commit below it: a trunk may
    /// have been rewritten to get rid of that.
    ///
    /// # Errors
    /// [`CheckoutError`] when git will not.
    pub async fn merge(&self, work: &CommitId, onto: &CommitId) -> Result<Merged, CheckoutError> {
        // As `merge-tree --merge-base` would do it, which is newer than the oldest git that will do.
        let below = CommitId::new(format!("{work}^"));
        let onto = self.commit_tree(&format!("{onto}^{{tree}}"), &below, "onto").await?;
        let args = ["--write-tree", "--name-only", "--no-messages", "-z", onto.as_str(), work.as_str()];
        let output = self.mirror.local("merge-tree").args(args).output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = text.split('\0').filter(|field| !field.is_empty()).map(str::to_owned);
        let tree = fields.next().unwrap_or_default();
        match output.status.code() {
            Some(0) if is_object_name(&tree) => Ok(Merged::Clean(tree)),
            Some(1) if is_object_name(&tree) => {
                let mut files: Vec<_> = fields.collect();
                files.dedup();
                Ok(Merged::Conflict { tree, files })
            }
            _ => Err(super::command::failed("merge-tree".into(), output).into()),
        }
    }

    /// Makes `tree`, on top of `base`, what the agent's directory holds. Files that git does not track
    /// stay; a repository that the agent has deleted is there again.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn set(&self, tree: &str, base: CommitId) -> Result<(), CheckoutError> {
        let directory = self.tree();
        fs::create_dir_all(&directory).map_err(in_directory(&directory))?;
        let reset = || self.on_tree("read-tree").args(["-u", "--reset", tree]);
        if reset().run().await.is_err() {
            make_accessible(&directory);
            reset().run().await?;
        }
        self.set_base(base.clone());
        let git = directory.join(".git");
        match fs::symlink_metadata(&git) {
            Ok(found) if !found.is_dir() => fs::remove_file(&git).map_err(in_directory(&git))?,
            // An agent of another user could have left links there, for this process to write through.
            Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
                remove_tree(&git).map_err(in_directory(&git))?;
            }
            _ => {}
        }
        self.write_repository(&directory, &base).map_err(in_directory(&directory))?;
        fs::copy(self.index(), git.join("index")).map_err(in_directory(&git))?;
        Ok(())
    }

    /// Makes the base what the snapshots are compared with, without touching the directory: after a
    /// clean rebase that only the next commit is to know of.
    pub fn set_base(&self, base: CommitId) {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base;
    }

    /// Returns the tree of a commit.
    ///
    /// # Errors
    /// [`GitError`] when git will not.
    pub async fn tree_of(&self, commit: &CommitId) -> Result<String, GitError> {
        self.mirror.local("rev-parse").arg(format!("{commit}^{{tree}}")).object().await
    }

    /// Makes a new, clean checkout of a commit for the gate, in place of the one before.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn clean_copy(&self, commit: &CommitId) -> Result<PathBuf, CheckoutError> {
        let directory = self.home.path().join(GATE);
        let earlier = directory.clone();
        let removed = tokio::task::spawn_blocking(move || remove_tree(&earlier)).await;
        removed.map_err(io::Error::other).flatten().map_err(in_directory(&directory))?;
        self.clear_beside().map_err(in_directory(self.home.path()))?;
        self.populate(&directory, commit).await?;
        Ok(directory)
    }

    /// Removes what an agent has left beside its checkout: programs look for modules and settings in the
    /// directories above the one that they run in.
    fn clear_beside(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.home.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let is_acfs =
                OWN.iter().any(|own| name == *own) || name.as_bytes().starts_with(NESTED.as_bytes());
            if is_acfs {
                continue;
            }
            if entry.file_type()?.is_dir() {
                remove_tree(&entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Reads a file of a commit; `None` if there is none.
    ///
    /// # Errors
    /// [`GitError`] when git will not.
    pub async fn file(&self, commit: &CommitId, path: &str) -> Result<Option<String>, GitError> {
        let file = file_of(&self.mirror, commit, path).await?;
        Ok(file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads what a commit that keeps work in progress says about it.
    pub async fn wip_note(&self, commit: &str) -> Option<WipNote> {
        let command = self.mirror.local("log").args(["-1", "--no-show-signature", "--format=%B", commit]);
        serde_json::from_str(&command.text().await.ok()?).ok()
    }

    /// Removes the directory.
    ///
    /// # Errors
    /// [`CheckoutError::Directory`] when it cannot be removed.
    pub async fn remove(&self) -> Result<(), CheckoutError> {
        let home = self.home.clone();
        let removed = tokio::task::spawn_blocking(move || home.remove()).await;
        removed.map_err(io::Error::other).flatten().map_err(in_directory(self.home.path()))
    }
}

/// Reads a file of a commit; `None` if there is none, or if it is no file.
///
/// # Errors
/// [`GitError`] when git will not.
pub async fn file_of(mirror: &Mirror, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
    let object = format!("{commit}:{path}");
    let output = mirror.local("cat-file").args(["blob", &object]).output().await?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let is_absent = ["does not exist in", "exists on disk, but not in", "bad file"];
    if is_absent.iter().any(|words| output.stderr.contains(words)) {
        return Ok(None);
    }
    Err(super::command::failed("cat-file".into(), output))
}
