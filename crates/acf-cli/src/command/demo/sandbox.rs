//! The demo's sandbox: a bare repository with a gate, a TODO file, and settings.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use acf_core::issue::IssueKey;
use acf_core::run::CommitId;
use acf_worker::git::command::{Git, GitCommand};
use anyhow::Context as _;

/// The settings of a sandbox, for commands that look at it later.
pub const ENV_FILE: &str = "demo.env";

/// Returns the home of what runs in a sandbox: an empty one, without the user's git configuration.
#[must_use]
pub fn home_in(sandbox: &Path) -> PathBuf {
    sandbox.join("home")
}

/// The gate of the demo's repository: every file has to end with a full stop.
const CHECK: &str = "\
#!/bin/sh
# Every text of this shop has to end with a full stop.
for file in texts/*.txt; do
    [ -e \"$file\" ] || continue
    case $(tail -n 1 \"$file\") in
        *.) ;;
        *) echo \"$file: no full stop at the end\"; exit 2 ;;
    esac
done
";

const README: &str = "# shop\n\nA repository that `acf demo` works on.\n";
const POLICY: &str = "verify = [\"sh check.sh\"]\nmax_fixes = 2\n";

/// What the demo's issues are like; the first few show one thing each.
const SPECIAL: [(&str, &str); 5] = [
    ("Say hello to customers", "  @sleep 0.2\n  @write texts/hello.txt Hello, and welcome.\n"),
    (
        "Say goodbye, properly [greeting]",
        "  The first try forgets the full stop; the gate says so, and the second mends it.\n\
         \x20 @sleep 0.1\n  @write texts/goodbye.txt Goodbye\n  @fix write texts/goodbye.txt Goodbye.\n",
    ),
    ("Rethink the price list [needs-plan]", "  Worth a plan that a person approves first.\n  @sleep 0.1\n"),
    ("Apologise for delays", "  @sleep 0.3\n  @write texts/sorry.txt We are sorry.\n"),
    ("Think about colours", "  This one changes nothing, and is given back.\n  @none\n"),
];

/// What the sandboxes' directories are called, before a few random letters.
const PREFIX: &str = "demo-";

/// The file that a demo holds locked for as long as its sandbox is in use. A kept sandbox has none.
const LOCK: &str = "in-use.lock";

/// A sandbox that a killed demo left, removed when it is dropped.
pub(super) struct Abandoned {
    path: PathBuf,
    // Whoever holds it is the one to clear up.
    _lock: File,
}

impl Abandoned {
    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        // What cannot be removed is only litter, and stays for the next demo.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Finds the sandboxes below the cache directory whose demos are dead.
pub(super) fn abandoned(cache: &Path) -> Vec<Abandoned> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let sandboxes = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    sandboxes
        .filter_map(|entry| {
            let lock = File::options().append(true).open(entry.path().join(LOCK)).ok()?;
            lock.try_lock().ok()?;
            Some(Abandoned { path: entry.path(), _lock: lock })
        })
        .collect()
}

/// A sandbox, removed when it is dropped unless it is kept.
pub(super) struct Sandbox {
    directory: Option<tempfile::TempDir>,
    _lock: File,
    path: PathBuf,
    issues: Vec<(IssueKey, String)>,
    settings: BTreeMap<String, String>,
    git: Git,
}

impl Sandbox {
    /// Makes a sandbox below the cache directory.
    pub(super) async fn make(
        cache: &Path,
        issues: u16,
        environment: &BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let make = || {
            fs::create_dir_all(cache)?;
            let directory = tempfile::Builder::new().prefix(PREFIX).rand_bytes(4).tempdir_in(cache)?;
            // Locked before it has its name: without a lock, a sandbox counts as abandoned.
            let new = directory.path().join("new.lock");
            let lock = File::create_new(&new)?;
            lock.lock()?;
            fs::rename(new, directory.path().join(LOCK))?;
            Ok::<_, io::Error>((directory, lock))
        };
        let (directory, lock) =
            make().with_context(|| format!("cannot make a sandbox in {}", cache.display()))?;
        let path = directory.path().to_owned();
        let repository = path.join("shop.git");
        let todo = path.join("TODO.md");
        let (text, issues) = todo_text(issues);
        let settings = settings(&path, &repository, &todo);
        let git =
            Git::new(acf_worker::config::child_environment::for_git(environment), Duration::from_secs(60));
        let sandbox = Self { directory: Some(directory), _lock: lock, path, issues, settings, git };
        let home = home_in(&sandbox.path);
        fs::create_dir(&home).with_context(|| format!("cannot make {}", home.display()))?;
        sandbox.write(&todo, &text)?;
        let lines = sandbox.settings.iter().map(|(name, value)| format!("{name}='{value}'\n"));
        sandbox.write(&sandbox.path.join(ENV_FILE), &lines.collect::<String>())?;
        sandbox.make_repository(&repository).await?;
        Ok(sandbox)
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    async fn make_repository(&self, repository: &Path) -> anyhow::Result<()> {
        let seed = self.path.join("seed");
        fs::create_dir_all(seed.join(".acf")).context("cannot make the demo's repository")?;
        let files = [("README.md", README), ("check.sh", CHECK), (".acf/config.toml", POLICY)];
        for (name, text) in files {
            self.write(&seed.join(name), text)?;
        }
        let in_seed = |name: &str| {
            let command = self.git(name).git_dir(repository).env("GIT_WORK_TREE", &seed);
            let who = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
            who.into_iter().fold(command, |command, name| command.env(name, "demo@localhost"))
        };
        self.git("init").args(["--quiet", "--bare", "-b", "main"]).arg(repository).run().await?;
        in_seed("add").arg("-A").run().await?;
        in_seed("commit").args(["--quiet", "-m", "Open the shop"]).run().await?;
        fs::remove_dir_all(&seed).context("cannot make the demo's repository")?;
        fs::remove_file(repository.join("index")).context("cannot make the demo's repository")
    }

    /// Begins a git command: what the user has configured for their own work, such as signatures and
    /// templates, does not belong into a sandbox.
    fn git(&self, name: &str) -> GitCommand<'_> {
        self.git.command(name).without_user_configuration()
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the issues: keys and summaries.
    pub(super) fn issues(&self) -> &[(IssueKey, String)] {
        &self.issues
    }

    /// Returns the settings of its workers.
    pub(super) fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// Keeps it, and returns where it is.
    pub(super) fn keep(mut self) -> PathBuf {
        if let Some(directory) = self.directory.take() {
            let _ = fs::remove_file(self.path.join(LOCK));
            let _ = directory.keep();
        }
        self.path.clone()
    }

    /// Returns the commits of the trunk that came from runs, the oldest first: with their subjects and
    /// the issues that they say they are for.
    pub(super) async fn landed(&self) -> anyhow::Result<Vec<Landed>> {
        let format = "--format=%H%x1f%s%x1f%(trailers:key=Acf-Issue,valueonly,separator=%x2c)";
        let command = self.git("log").git_dir(&self.path.join("shop.git"));
        let text = command.args(["--reverse", format, "main"]).text().await?;
        let landed = text.lines().filter_map(|line| {
            let mut fields = line.split('\u{1f}');
            let (commit, subject, issue) = (fields.next()?, fields.next()?, fields.next()?);
            let landed =
                Landed { commit: CommitId::new(commit), subject: subject.into(), issue: issue.into() };
            (!issue.is_empty()).then_some(landed)
        });
        Ok(landed.collect())
    }
}

/// A commit that came from a run.
pub(super) struct Landed {
    pub(super) commit: CommitId,
    pub(super) subject: String,
    pub(super) issue: String,
}

/// Writes the TODO file. Beyond the special ones, issues are all alike.
fn todo_text(number: u16) -> (String, Vec<(IssueKey, String)>) {
    let mut text = "# What the shop needs\n\n".to_owned();
    let mut issues = Vec::new();
    for n in 1..=number {
        let plain = (format!("Write text {n}"), format!("  @write texts/text-{n}.txt This is text {n}.\n"));
        let special = SPECIAL.get(usize::from(n) - 1);
        let (summary, description) =
            special.map_or(plain, |(summary, description)| ((*summary).into(), (*description).into()));
        text += &format!("- [ ] {summary}\n{description}");
        let key = format!("TODO-{n}").parse().expect("a word, a dash and a number are a key");
        issues.push((key, summary));
    }
    (text, issues)
}

fn settings(path: &Path, repository: &Path, todo: &Path) -> BTreeMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    [
        ("TASK_MANAGER", "todo".to_owned()),
        ("PROJECT", text(todo)),
        ("GIT_REPO_URL", text(repository)),
        ("AGENT", "script".to_owned()),
        ("LOOP_WORK_DIR", text(&path.join("work"))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
