//! Checkouts: what agents and gates work in, and commits made of what they leave.
//!
//! A checkout is a small repository of its own that borrows the mirror's objects, so an agent can use
//! git as it likes, commit, rewrite history or delete `.git`. acf never reads that repository's
//! configuration: snapshots are taken with the mirror's, and with an index of acf's own. What counts
//! is what lies in the directory.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use acf_core::issue::{Issue, IssueKey, Stage};
use acf_core::mask::Mask;
use acf_core::run::{CommitId, RunId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::command::{GitCommand, GitError, GitOutput, is_object_name};
use super::mirror::{Mirror, short_hash};

/// The branch that an agent finds itself on.
const WORK_BRANCH: &str = "refs/heads/acf-work";

/// The gate's checkout, in the directory of a run.
const GATE: &str = "gate";
/// What else acf itself puts there.
const OWN: [&str; 4] = ["tree", "index", "index-of-one", GATE];
/// How the names of repositories begin that were found within a checkout and moved out of it.
const NESTED: &str = "nested-";

/// The mode of a tree's entry that is another repository.
const REPOSITORY: &str = "160000";

/// The longest subject of a commit, in characters.
const LONGEST_SUBJECT: usize = 120;

/// The most that is passed on of what the agent says in commits of its own, in characters.
const LONGEST_MESSAGES: usize = 20_000;

/// How many paths one search is given: far below what a command line holds.
const PATHS_A_SEARCH: usize = 200;

/// The longest file that is read as a ref, in bytes.
const LONGEST_REF: u64 = 4096;

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

/// What changed between two commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The paths that changed.
    pub paths: Vec<String>,
    /// Those of them that are now other repositories and were not before.
    pub nested: Vec<String>,
}

/// The state of a directory, as a tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree.
    pub tree: String,
    /// What it changes against the base.
    pub changes: Changes,
}

/// A known secret in what was about to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Where, with the secret itself masked.
    path: String,
    /// Which: the variable that holds it.
    name: String,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` holds the value of {}, which is a secret", self.path, self.name)
    }
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
/// is removed by [`remove_abandoned`].
#[derive(Debug)]
pub struct Checkout {
    mirror: Arc<Mirror>,
    home: PathBuf,
    author: Author,
    base: Mutex<CommitId>,
    // Held for as long as the directory is in use.
    _lock: File,
}

fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> CheckoutError + '_ {
    move |cause| CheckoutError::Directory { path: path.to_owned(), cause }
}

/// Returns where checkouts are made.
#[must_use]
pub fn checkouts_dir(work_dir: &Path) -> PathBuf {
    work_dir.join("checkouts")
}

/// Removes what killed workers left: run directories that no process holds. What cannot be removed is
/// only litter, and stays for the next start: what a killed worker had started may write for a moment
/// longer.
pub fn remove_abandoned(work_dir: &Path) {
    let Ok(entries) = fs::read_dir(checkouts_dir(work_dir)) else { return };
    for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if let Err(error) = remove_if_abandoned(&directory) {
            tracing::warn!(%error, "cannot remove {}, which an earlier worker left", directory.display());
        }
    }
}

fn remove_if_abandoned(directory: &Path) -> io::Result<()> {
    // Another worker that starts up may be at it too, and be first at any step.
    let lock = directory.with_extension("lock");
    let held = File::options().create(true).append(true).open(&lock)?;
    if held.try_lock().is_err() {
        return Ok(());
    }
    remove_tree(directory)?;
    fs::remove_file(&lock).or_else(absent_is_fine)
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
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
        let home = checkouts_dir(work_dir).join(name);
        // The lock comes first: a directory without a held lock is taken for abandoned.
        fs::create_dir_all(checkouts_dir(work_dir)).map_err(in_directory(&home))?;
        let lock = home.with_extension("lock");
        let held = File::options().create(true).append(true).open(&lock).map_err(in_directory(&lock))?;
        held.lock().map_err(in_directory(&lock))?;
        let checkout = Self { mirror, home, author, base: Mutex::new(base.clone()), _lock: held };
        fs::create_dir_all(&checkout.home).map_err(in_directory(&checkout.home))?;
        let tree = checkout.tree();
        checkout.populate(&tree, &base).await?;
        let index = checkout.index();
        fs::copy(tree.join(".git/index"), &index).map_err(in_directory(&index))?;
        Ok(checkout)
    }

    /// Returns the directory that the agent works in.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.home.join("tree")
    }

    /// Returns a directory beside the checkout that lives as long as the run.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.home
    }

    /// Returns the commit that the work is on top of.
    #[must_use]
    pub fn base(&self) -> CommitId {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn index(&self) -> PathBuf {
        self.home.join("index")
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

    /// Takes a snapshot of the agent's directory.
    ///
    /// A repository within it that has no commit cannot be recorded at all; it is named among the
    /// nested ones, and the rest is recorded without it.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn snapshot(&self) -> Result<Snapshot, CheckoutError> {
        Ok(self.try_snapshot().await?.0)
    }

    /// Takes a snapshot of the agent's directory once the agent has ended. Files and directories that the
    /// agent made unreadable are made readable for it, as nothing of its work may be left out.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn last_snapshot(&self) -> Result<Snapshot, CheckoutError> {
        match self.try_snapshot().await {
            Ok((snapshot, true)) => Ok(snapshot),
            Ok((_, false)) | Err(_) => {
                make_accessible(&self.tree());
                Ok(self.try_snapshot().await?.0)
            }
        }
    }

    /// Takes a snapshot, and tells whether everything could be read.
    async fn try_snapshot(&self) -> Result<(Snapshot, bool), CheckoutError> {
        // For each submodule that the index has, `git add` runs `git status` *in* it, and so whatever
        // filters an agent has configured there. One that the index does not have is only recorded.
        let submodules = self.submodules().await?;
        self.edit_index(submodules.iter().map(|(path, _)| removal(path))).await?;
        let added = self.add_all().await;
        self.restore(&submodules).await?;
        let (unrecorded, is_complete) = added?;
        let tree = self.on_tree("write-tree").object().await?;
        let mut changes = self.changes(self.base().as_str(), &tree).await?;
        self.edit_index(changes.nested.iter().map(|path| removal(path.as_bytes()))).await?;
        let is_new =
            |path: &&PathBuf| submodules.iter().all(|(known, _)| known != path.as_os_str().as_bytes());
        let names = unrecorded.iter().filter(is_new).map(|path| path.to_string_lossy().into_owned());
        let unnamed: Vec<_> = names.filter(|path| !changes.nested.contains(path)).collect();
        changes.nested.extend(unnamed);
        Ok((Snapshot { tree, changes }, is_complete))
    }

    /// Records everything in the index but repositories that cannot be recorded, which it returns
    /// along with those that can; and tells whether everything else could be read.
    async fn add_all(&self) -> Result<(Vec<PathBuf>, bool), CheckoutError> {
        // A directory that cannot be read is no error for git.
        let is_complete = |output: &GitOutput| !output.stderr.contains("Permission denied");
        let error = match self.on_tree("add").args(["-A", "--", "."]).run().await {
            Ok(output) => return Ok((Vec::new(), is_complete(&output))),
            Err(error) => error,
        };
        let nested = nested_repositories(&self.tree()).map_err(in_directory(&self.tree()))?;
        if nested.is_empty() {
            return Err(error.into());
        }
        let excluded = nested.iter().map(|path| {
            let mut pathspec = OsString::from(":(exclude,literal)");
            pathspec.push(path);
            pathspec
        });
        let output = self.on_tree("add").args(["-A", "--", "."]).args(excluded).run().await?;
        Ok((nested, is_complete(&output)))
    }

    /// Tells whether the index may have a submodule, without starting git: whether the mode of one stands
    /// anywhere in it, as four bytes in network order (gitformat-index(5)).
    fn may_have_submodules(&self) -> bool {
        const MODE: [u8; 4] = 0o160_000u32.to_be_bytes();
        fs::read(self.index()).map_or(true, |index| index.windows(MODE.len()).any(|bytes| bytes == MODE))
    }

    /// Returns the submodules in the index: path and commit.
    async fn submodules(&self) -> Result<Vec<(Vec<u8>, String)>, GitError> {
        if !self.may_have_submodules() {
            return Ok(Vec::new());
        }
        let listing = self.on_tree("ls-files").args(["--stage", "-z"]).run().await?.stdout;
        let entries =
            listing.split(|byte| *byte == 0).filter(|entry| entry.starts_with(REPOSITORY.as_bytes()));
        Ok(entries.filter_map(submodule).collect())
    }

    /// Puts submodules back that `git add` has seen nothing of, as they are not checked out.
    async fn restore(&self, submodules: &[(Vec<u8>, String)]) -> Result<(), GitError> {
        if submodules.is_empty() {
            return Ok(());
        }
        let listing = self.on_tree("ls-files").arg("-z").run().await?.stdout;
        let is_taken = |path: &[u8]| {
            let mut names = listing.split(|byte| *byte == 0);
            names.any(|name| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/'))
        };
        let is_there = |path: &[u8]| {
            let path = self.tree().join(OsStr::from_bytes(path));
            fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
        };
        let unseen = submodules.iter().filter(|(path, _)| is_there(path) && !is_taken(path));
        self.edit_index(
            unseen.map(|(path, commit)| [format!("{REPOSITORY} {commit}\t").as_bytes(), path].concat()),
        )
        .await
    }

    /// Changes entries of the index, as git-update-index(1) describes `--index-info`.
    async fn edit_index(&self, entries: impl Iterator<Item = Vec<u8>>) -> Result<(), GitError> {
        let input: Vec<u8> = entries
            .flat_map(|mut entry| {
                entry.push(0);
                entry
            })
            .collect();
        if !input.is_empty() {
            self.on_tree("update-index").args(["-z", "--index-info"]).input(input).run().await?;
        }
        Ok(())
    }

    /// Turns repositories within the checkout into plain files of it, so that nothing of them is lost
    /// in the next snapshot. Their history is moved out of the way. Those of the base stay what they are.
    ///
    /// # Errors
    /// [`CheckoutError`] when they cannot be moved, or git will not.
    pub async fn flatten(&self) -> Result<(), CheckoutError> {
        let tree = self.tree();
        let found = nested_repositories(&tree).or_else(|_| {
            make_accessible(&tree);
            nested_repositories(&tree)
        });
        for (n, path) in found.map_err(in_directory(&tree))?.iter().enumerate() {
            let in_base =
                self.mirror.local("ls-tree").args([self.base().as_str(), "--"]).arg(path).text().await?;
            if in_base.starts_with(REPOSITORY) {
                continue;
            }
            let (from, to) = (tree.join(path).join(".git"), self.home.join(format!("{NESTED}{n}")));
            fs::rename(&from, to).map_err(in_directory(&from))?;
            // Git takes a repository that it knows, and that is not there any more, for one without changes.
            self.on_tree("update-index").args(["--force-remove", "--"]).arg(path).run().await?;
        }
        Ok(())
    }

    /// Takes a snapshot in which only that one file counts; `None` if there is no such regular file.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn snapshot_of(&self, path: &str, head: &str) -> Result<Option<Snapshot>, CheckoutError> {
        if !is_regular_file(&self.tree(), path) {
            return Ok(None);
        }
        let text = fs::read(self.tree().join(path)).map_err(in_directory(&self.tree()))?;
        // An agent that edits an earlier version leaves its first line there.
        let text = text.strip_prefix(head.as_bytes()).unwrap_or(&text);
        if String::from_utf8_lossy(text).trim().is_empty() {
            return Ok(None);
        }
        let blob = self.mirror.local("hash-object").args(["-w", "--stdin"]);
        let blob = blob.input([head.as_bytes(), text].concat()).object().await?;
        let info = format!("100644,{blob},{path}");
        // An index of its own: the other one has whatever snapshots have found.
        let index = self.home.join("index-of-one");
        let on_index = |name| self.mirror.local(name).env("GIT_INDEX_FILE", &index);
        on_index("read-tree").arg(self.base().as_str()).run().await?;
        on_index("update-index").args(["--add", "--replace", "--cacheinfo", &info]).run().await?;
        let tree = on_index("write-tree").object().await?;
        let changes = self.changes(self.base().as_str(), &tree).await?;
        Ok(Some(Snapshot { tree, changes }))
    }

    /// Lists what changed from one commit or tree to another.
    ///
    /// # Errors
    /// [`GitError`] when git will not.
    pub async fn changes(&self, from: &str, to: &str) -> Result<Changes, GitError> {
        let command = self.mirror.local("diff-tree").args(["-r", "-z", "--raw", "--no-renames", from, to]);
        let output = command.run().await?;
        Ok(parse_changes(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Returns what the agent's directory changes against the base, as people read it: which files, and
    /// how. No program of the agent's choice takes part in it.
    ///
    /// # Errors
    /// [`CheckoutError`] when the disk or git will not.
    pub async fn diff(&self) -> Result<String, CheckoutError> {
        let snapshot = self.last_snapshot().await?;
        if snapshot.changes.paths.is_empty() {
            return Ok(String::new());
        }
        let options = ["-r", "--stat", "--patch", "--no-ext-diff", "--no-textconv", "--no-renames"];
        let base = self.base();
        let command = self.mirror.local("diff-tree").args(options).args([base.as_str(), &snapshot.tree]);
        Ok(String::from_utf8_lossy(&command.run().await?.stdout).into_owned())
    }

    /// Finds a known secret that a snapshot would make public: in the name of a file that it changes, or in
    /// such a file, unless the file holds one already.
    ///
    /// # Errors
    /// [`CheckoutError`] when git will not.
    pub async fn leak(&self, snapshot: &Snapshot, mask: &Mask) -> Result<Option<Leak>, CheckoutError> {
        let Some(lines) = mask.lines() else { return Ok(None) };
        let paths = &snapshot.changes.paths;
        if let Some((path, name)) =
            paths.iter().find_map(|path| Some((path, mask.named_in(path.as_bytes())?)))
        {
            return Ok(Some(Leak { path: mask.apply(path).into_owned(), name: name.to_owned() }));
        }
        let base = self.base();
        for path in self.files_with(&lines, &snapshot.tree, paths).await? {
            if !self.files_with(&lines, base.as_str(), std::slice::from_ref(&path)).await?.is_empty() {
                continue;
            }
            let object = format!("{}:{path}", snapshot.tree);
            let file = self.mirror.local("cat-file").args(["blob", &object]).run().await?;
            if let Some(name) = mask.named_in(&file.stdout) {
                return Ok(Some(Leak { path, name: name.to_owned() }));
            }
        }
        Ok(None)
    }

    /// Returns those of a tree's files that hold one of the lines.
    async fn files_with(
        &self,
        lines: &SecretString,
        tree: &str,
        paths: &[String],
    ) -> Result<Vec<String>, GitError> {
        let mut found = Vec::new();
        for paths in paths.chunks(PATHS_A_SEARCH) {
            let command = self.mirror.local("grep").env("GIT_LITERAL_PATHSPECS", "1");
            let command =
                command.args(["-l", "-z", "-a", "--fixed-strings", "-f", "-", tree, "--"]).args(paths);
            let output = command.input(lines.expose_secret()).output().await?;
            match output.status.code() {
                Some(0 | 1) => {}
                _ => return Err(super::command::failed("grep".into(), output)),
            }
            let text = String::from_utf8_lossy(&output.stdout);
            // Each is told as `TREE:PATH`.
            found.extend(text.split('\0').filter_map(|line| Some(line.split_once(':')?.1.to_owned())));
        }
        Ok(found)
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
        let message = serde_json::to_string_pretty(note)
            .map_err(|error| CheckoutError::Directory { path: self.home.clone(), cause: error.into() })?;
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

    /// Returns the messages of the commits that the agent made on top of the base, the oldest first.
    /// They are a courtesy: where they cannot be read, there are none.
    async fn agents_messages(&self) -> Vec<String> {
        let git = self.tree().join(".git");
        let read = |name: &str| read_ref(&git.join(name));
        let head = read("HEAD");
        let tip = match head.trim().strip_prefix("ref: ") {
            Some(name) if name.starts_with("refs/heads/") && !name.contains("..") => read(name),
            _ => head,
        };
        let tip = tip.trim();
        if !is_object_name(tip) || tip == self.base().as_str() {
            return Vec::new();
        }
        let range = format!("{}..{tip}", self.base());
        // The mirror's configuration, the agent's objects.
        let command = self.mirror.local("log").env("GIT_ALTERNATE_OBJECT_DIRECTORIES", git.join("objects"));
        let command =
            command.args(["--reverse", "--no-show-signature", "--max-count=50", "--format=%B%x1e", &range]);
        let Ok(text) = command.text().await else { return Vec::new() };
        let text: String = text.chars().take(LONGEST_MESSAGES).collect();
        text.split('\u{1e}').map(|message| message.trim().to_owned()).filter(|m| !m.is_empty()).collect()
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
        let directory = self.home.join(GATE);
        remove(directory.clone()).await?;
        self.clear_beside().map_err(in_directory(&self.home))?;
        self.populate(&directory, commit).await?;
        Ok(directory)
    }

    /// Removes what an agent has left beside its checkout: programs look for modules and settings in the
    /// directories above the one that they run in.
    fn clear_beside(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.home)? {
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
        remove(self.home.clone()).await?;
        let lock = self.home.with_extension("lock");
        fs::remove_file(&lock).map_err(in_directory(&lock))
    }
}

async fn remove(directory: PathBuf) -> Result<(), CheckoutError> {
    let path = directory.clone();
    let removed = tokio::task::spawn_blocking(move || remove_tree(&directory)).await;
    removed.map_err(io::Error::other).flatten().map_err(|cause| CheckoutError::Directory { path, cause })
}

/// Removes a directory, if it is there, and also what an agent or a tool made read-only in it.
fn remove_tree(directory: &Path) -> io::Result<()> {
    let removed = fs::remove_dir_all(directory).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            make_accessible(directory);
            fs::remove_dir_all(directory)
        }
        _ => Err(error),
    });
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lets the owner read and write everything in a directory. What cannot be changed belongs to somebody
/// else, and whoever needs it will say so.
fn make_accessible(directory: &Path) {
    const READ_AND_WRITE: u32 = 0o600;
    const ENTER: u32 = 0o100;
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let is_directory = metadata.is_dir();
        if !is_directory && !metadata.is_file() {
            continue;
        }
        let wanted = if is_directory { READ_AND_WRITE | ENTER } else { READ_AND_WRITE };
        let mode = metadata.permissions().mode();
        if mode & wanted != wanted {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode | wanted));
        }
        if is_directory {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
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

/// Parses `:OLDMODE NEWMODE OLD NEW STATUS NUL PATH NUL` entries, as git-diff-tree(1) describes them.
fn parse_changes(raw: &str) -> Changes {
    let mut changes = Changes::default();
    let mut fields = raw.split('\0');
    while let (Some(modes), Some(path)) = (fields.next(), fields.next()) {
        let mut modes = modes.trim_start_matches(':').split(' ');
        let (old, new) = (modes.next().unwrap_or_default(), modes.next().unwrap_or_default());
        changes.paths.push(path.to_owned());
        if new == REPOSITORY && old != REPOSITORY {
            changes.nested.push(path.to_owned());
        }
    }
    changes
}

/// Parses `MODE COMMIT STAGE TAB PATH`.
fn submodule(entry: &[u8]) -> Option<(Vec<u8>, String)> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let commit = std::str::from_utf8(&entry[..tab]).ok()?.split(' ').nth(1)?;
    Some((entry[tab + 1..].to_owned(), commit.to_owned()))
}

/// Words the removal of a path from the index.
fn removal(path: &[u8]) -> Vec<u8> {
    [format!("0 {}\t", "0".repeat(40)).as_bytes(), path].concat()
}

/// Finds repositories below a directory, other than the directory's own.
fn nested_repositories(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let is_git = entry.file_name() == ".git";
            if is_git && directory != root {
                found.push(directory.strip_prefix(root).unwrap_or(&directory).to_owned());
            } else if !is_git && entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file of the agent's repository that should hold a ref; nothing where it is anything else: a
/// pipe would never end, nor would a device.
fn read_ref(path: &Path) -> String {
    let is_ref = fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST_REF);
    if is_ref { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

/// Tells whether a path below a directory is a regular file that is reached through directories only.
fn is_regular_file(root: &Path, path: &str) -> bool {
    let (directories, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut at = root.to_owned();
    for directory in directories.split('/').filter(|directory| !directory.is_empty()) {
        at.push(directory);
        if !fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_dir()) {
            return false;
        }
    }
    fs::symlink_metadata(at.join(name)).is_ok_and(|metadata| metadata.is_file())
}

/// Words the commit of a run: one subject line, what the agent said in commits of its own, and
/// trailers by which the commit can be found again.
fn commit_message(issue: &Issue, stage: Stage, run: &RunId, told: &[String]) -> String {
    let one_line = issue.summary.split_whitespace().collect::<Vec<_>>().join(" ");
    let one_line: String = one_line.chars().filter(|c| !c.is_control()).collect();
    let mut subject: String = one_line.chars().take(LONGEST_SUBJECT).collect();
    if subject.len() < one_line.len() {
        subject.push('…');
    }
    let body: String = told.iter().map(|message| format!("{message}\n\n")).collect();
    let what = if stage == Stage::Planning { "Plan: " } else { "" };
    format!("[{}] {what}{subject}\n\n{body}Acf-Issue: {}\nAcf-Run: {run}\n", issue.key, issue.key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use acf_core::issue::Status;

    use super::*;

    fn message(summary: &str, told: &[&str]) -> String {
        let issue = Issue {
            key: "TODO-3".parse().unwrap(),
            summary: summary.into(),
            description: String::new(),
            status: Status::ToDo,
            assignee: None,
            labels: BTreeSet::new(),
            url: None,
            blocked_by: Vec::new(),
            identity: None,
        };
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        commit_message(&issue, Stage::Implementation, &RunId::new("r1"), &told)
    }

    #[test]
    fn workers_that_start_together_clean_up_together() {
        let work_dir = tempfile::tempdir().unwrap();
        for n in 0..100 {
            let tree = checkouts_dir(work_dir.path()).join(format!("TODO-{n}-abc/tree"));
            fs::create_dir_all(&tree).unwrap();
            fs::write(tree.join("file"), "left").unwrap();
        }
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| remove_abandoned(work_dir.path()))));
        });
        assert_eq!(fs::read_dir(checkouts_dir(work_dir.path())).unwrap().count(), 0);
    }

    #[test]
    fn a_checkout_that_is_held_is_not_abandoned() {
        let work_dir = tempfile::tempdir().unwrap();
        let directory = checkouts_dir(work_dir.path()).join("TODO-1-abc");
        fs::create_dir_all(&directory).unwrap();
        let held = File::create(directory.with_extension("lock")).unwrap();
        held.lock().unwrap();
        remove_abandoned(work_dir.path());
        assert!(directory.is_dir());
        drop(held);
        remove_abandoned(work_dir.path());
        assert!(!directory.exists());
    }

    #[test]
    fn only_what_is_absent_counts_as_removed() {
        assert!(absent_is_fine(io::ErrorKind::NotFound.into()).is_ok());
        assert!(absent_is_fine(io::ErrorKind::DirectoryNotEmpty.into()).is_err());
    }

    #[test]
    fn a_commit_names_its_issue_and_run() {
        assert_eq!(message("Say hello", &[]), "[TODO-3] Say hello\n\nAcf-Issue: TODO-3\nAcf-Run: r1\n");
    }

    #[test]
    fn what_the_agent_said_goes_into_the_body() {
        let expected = "[TODO-3] Say hello\n\nfirst\n\nsecond\n\nAcf-Issue: TODO-3\nAcf-Run: r1\n";
        assert_eq!(message("Say hello", &["first", "second"]), expected);
    }

    #[test]
    fn a_hostile_summary_stays_one_short_line() {
        let text = message(&format!("a\nAcf-Run: fake\u{7}{}", "x".repeat(100_000)), &[]);
        assert_eq!(text.lines().filter(|line| line.starts_with("Acf-Run")).count(), 1);
        assert!(text.lines().next().unwrap().chars().count() < 140);
    }

    #[test]
    fn raw_differences_are_read_with_nested_repositories() {
        let raw =
            ":100644 100644 a b M\0file with space\0:000000 160000 0 c A\0sub\0:160000 160000 c d M\0kept\0";
        let changes = parse_changes(raw);
        assert_eq!(changes.paths, ["file with space", "sub", "kept"]);
        assert_eq!(changes.nested, ["sub"]);
        assert_eq!(parse_changes(""), Changes::default());
    }
}
