//! Snapshots: what lies in the agent's directory, as a tree object; what it changes; and what of it must
//! not be published: repositories within the repository, and secrets.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use acf_core::mask::Mask;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Checkout, CheckoutError, NESTED, in_directory};
use crate::git::command::{self, GitError, GitOutput};
use crate::held_directory::make_accessible;

/// The mode of a tree's entry that is another repository.
const REPOSITORY: &str = "160000";

/// The mode of a tree's entry that is a symbolic link.
const LINK: &str = "120000";

/// How many paths one search is given: far below what a command line holds.
const PATHS_A_SEARCH: usize = 200;

/// What changed between two commits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The paths that changed.
    pub paths: Vec<String>,
    /// Those of them that are now other repositories and were not before.
    pub nested: Vec<String>,
    /// Those of them that are now symbolic links.
    pub links: Vec<String>,
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
    /// Which: the variable, or the file of an agent's, that holds it.
    name: String,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` holds the value of {}, which is a secret", self.path, self.name)
    }
}

impl Checkout {
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
            let (from, to) = (tree.join(path).join(".git"), self.home.path().join(format!("{NESTED}{n}")));
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
        let index = self.home.path().join("index-of-one");
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
            return Ok(Some(Leak { path: mask.apply(path).into_owned(), name }));
        }
        // A search looks into files only, and where a link leads is as public.
        for path in &snapshot.changes.links {
            let object = format!("{}:{path}", snapshot.tree);
            let target = self.mirror.local("cat-file").args(["blob", &object]).run().await?;
            if let Some(name) = mask.named_in(&target.stdout) {
                return Ok(Some(Leak { path: path.clone(), name }));
            }
        }
        let base = self.base();
        for path in self.files_with(&lines, &snapshot.tree, paths).await? {
            if !self.files_with(&lines, base.as_str(), std::slice::from_ref(&path)).await?.is_empty() {
                continue;
            }
            let object = format!("{}:{path}", snapshot.tree);
            let file = self.mirror.local("cat-file").args(["blob", &object]).run().await?;
            if let Some(name) = mask.named_in(&file.stdout) {
                return Ok(Some(Leak { path, name }));
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
                _ => return Err(command::failed("grep".into(), output)),
            }
            let text = String::from_utf8_lossy(&output.stdout);
            // Each is told as `TREE:PATH`.
            found.extend(text.split('\0').filter_map(|line| Some(line.split_once(':')?.1.to_owned())));
        }
        Ok(found)
    }
}

/// Parses `:OLDMODE NEWMODE OLD NEW STATUS NUL PATH NUL` entries, as git-diff-tree(1) describes them.
fn parse_changes(raw: &str) -> Changes {
    let mut changes = Changes::default();
    let mut fields = raw.split('\0');
    while let (Some(modes), Some(path)) = (fields.next(), fields.next()) {
        let mut modes = modes.trim_start_matches(':').split(' ');
        let (old, new) = (modes.next().unwrap_or_default(), modes.next().unwrap_or_default());
        changes.paths.push(path.to_owned());
        if new == LINK {
            changes.links.push(path.to_owned());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_differences_are_read_with_nested_repositories() {
        let raw = ":100644 100644 a b M\0file with space\0:000000 160000 0 c A\0sub\0:160000 160000 c d M\0kept\0:100644 120000 a e T\0link\0";
        let changes = parse_changes(raw);
        assert_eq!(changes.paths, ["file with space", "sub", "kept", "link"]);
        assert_eq!((changes.nested, changes.links), (vec!["sub".to_owned()], vec!["link".to_owned()]));
        assert_eq!(parse_changes(""), Changes::default());
    }
}
