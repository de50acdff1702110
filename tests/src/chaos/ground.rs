//! Where a fleet works: a sandbox, its backlog, and the settings of every worker on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;

use super::backlog::Backlog;
use super::family::Family;
use crate::git_http::GitHttp;
use crate::sandbox::{MAIN, PolicyFile, Sandbox, SandboxBuilder, binary};

const USER: &str = "worker";
const PASSWORD: &str = "correct horse battery";
/// Every file has to end with a full stop.
const CHECK: &str = "#!/bin/sh
for file in f/*.txt; do
    [ -e \"$file\" ] || continue
    case $(cat \"$file\") in *.) ;; *) echo \"$file: no full stop\"; exit 1 ;; esac
done
";

/// A sandbox with a backlog and settings.
pub struct Ground {
    /// Its repository and its files.
    pub sandbox: Sandbox,
    /// Its issues.
    pub backlog: Backlog,
    /// What every worker is told by its environment.
    pub settings: BTreeMap<String, String>,
    /// All that was started on it.
    pub family: Family,
    todo_is_in_repository: bool,
    _server: Option<GitHttp>,
}

fn builder() -> SandboxBuilder {
    let policy = PolicyFile::new().verify("./check").max_fixes(2);
    Sandbox::builder().policy(&policy).file("check", CHECK)
}

impl Ground {
    /// Makes a ground with a TODO file that its workers share, and a repository at `file://`.
    #[must_use]
    pub fn new(backlog: Backlog) -> Self {
        let sandbox = builder().todo(&backlog.to_text()).build();
        let project = sandbox.todo().display().to_string();
        let url = sandbox.remote_url();
        Self::with(sandbox, backlog, &[("PROJECT", &project), ("GIT_REPO_URL", &url)])
    }

    /// Makes a ground as [`Ground::new`] does, with the repository behind HTTP and a password.
    #[must_use]
    pub fn over_http(backlog: Backlog) -> Self {
        let ground = Self::new(backlog);
        let server = GitHttp::start(ground.sandbox.root(), USER, PASSWORD);
        let url = server.url("remote.git");
        let login = [("GIT_REPO_URL", url.as_str()), ("GIT_USERNAME", USER), ("GIT_TOKEN", PASSWORD)];
        Self { _server: Some(server), ..ground.told(&login) }
    }

    /// Makes a ground whose TODO file lies in the repository, where every change is a commit.
    #[must_use]
    pub fn with_todo_in_repository(backlog: Backlog) -> Self {
        let sandbox = builder().todo_in_repository(&backlog.to_text()).build();
        let url = sandbox.remote_url();
        let ground = Self::with(sandbox, backlog, &[("PROJECT", "git:TODO.md"), ("GIT_REPO_URL", &url)]);
        Self { todo_is_in_repository: true, ..ground }
    }

    fn with(sandbox: Sandbox, backlog: Backlog, settings: &[(&str, &str)]) -> Self {
        let family = Family::of(sandbox.root());
        let work_dir = sandbox.root().join("work").display().to_string();
        let ground = Self {
            sandbox,
            backlog,
            settings: BTreeMap::new(),
            family,
            todo_is_in_repository: false,
            _server: None,
        };
        ground.told(settings).told(&[
            ("AGENT", "script"),
            ("LOOP_WORK_DIR", &work_dir),
            ("NO_ISSUES_WAIT", "300ms"),
            ("RETRY_BACKOFF", "100ms"),
            ("MAX_ATTEMPTS", "4"),
        ])
    }

    /// Adds settings, or replaces them.
    #[must_use]
    pub fn told(mut self, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        self.settings.extend(settings);
        self
    }

    /// Returns `acf` with the settings, as one of the family.
    #[must_use]
    pub fn acf(&self) -> Command {
        self.command(binary("acf"))
    }

    /// Returns a program with the settings, as one of the family.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.sandbox.command(program);
        let (name, mark) = self.family.variable();
        command.envs(&self.settings).env(name, mark);
        command
    }

    /// Runs `acf` to its end, and returns what it printed.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn run_acf(&self, args: &[&str]) -> String {
        let output = self.acf().args(args).output().expect("start acf");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "acf {args:?}: {}\n{stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns what the TODO file says now.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn todo_text(&self) -> String {
        if self.todo_is_in_repository {
            // The file's last line may have no ending, which matters here.
            let output = self.sandbox.git_output(&self.sandbox.remote(), &["show", "main:TODO.md"]);
            String::from_utf8(output.stdout).expect("the TODO file is UTF-8")
        } else {
            self.sandbox.todo_text()
        }
    }

    /// Returns the claims that are left, by their refs.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        self.sandbox.refs("refs/acf/claims/")
    }

    /// Returns the commits of a branch that came from runs, the newest first.
    #[must_use]
    pub fn landed_on(&self, branch: &str) -> Vec<Landed> {
        let format = "--format=%H%x1f%(trailers:key=Acf-Issue,valueonly,separator=%x2c)\
                      %x1f%(trailers:key=Acf-Run,valueonly,separator=%x2c)";
        let exclude = if branch == MAIN { Vec::new() } else { vec!["--not", MAIN] };
        let text = self.sandbox.git(&[&["log", format, branch], &exclude[..]].concat());
        let landed = text.lines().filter_map(|line| {
            let [commit, issue, run] = line.split('\u{1f}').collect::<Vec<_>>().try_into().ok()?;
            let landed = Landed { commit: commit.into(), issue: issue.into(), run: run.into() };
            (!issue.is_empty()).then_some(landed)
        });
        landed.collect()
    }
}

/// A commit that came from a run.
#[derive(Clone, Debug)]
pub struct Landed {
    /// The commit.
    pub commit: String,
    /// The issue that it says it is for.
    pub issue: String,
    /// The run that it says it is of.
    pub run: String,
}
