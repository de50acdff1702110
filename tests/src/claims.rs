//! Builders for tests of claims and checkouts: machines that work on a sandbox's remote, and what
//! people and hooks do to that remote meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use acf_core::claim::{Claim, ClaimError, ClaimStore as _, Held, Landing};
use acf_core::issue::{Issue, Stage};
use acf_core::receipt::Receipt;
use acf_core::run::{CommitId, Failure, FailureKind, Outcome, RunId, RunRecord, Target, WorkerId};
use acf_worker::git::checkout::Author;
use acf_worker::git::mirror::MirrorError;
use acf_worker::git::remote::Credentials;
use acf_worker::git::{Checkout, Git, GitClaims, Mirror, Remote};
use jiff::Timestamp;

use crate::sandbox::{MAIN, Sandbox, search_path};

/// Where claims are kept unless a test says otherwise.
pub const PREFIX: &str = "refs/acf/";

/// The time at which the claims of these builders were taken, in seconds.
pub const TAKEN_AT_SECS: i64 = 1_700_000_000;

/// A machine with a mirror of its own, and the claims on the sandbox's remote as it sees them.
#[derive(Debug)]
pub struct Machine {
    /// Its mirror.
    pub mirror: Arc<Mirror>,
    /// The claims.
    pub claims: GitClaims,
    /// The root of all that it keeps.
    pub work_dir: PathBuf,
}

/// What a [`Machine`] is told.
#[derive(Clone, Debug)]
pub struct MachineBuilder {
    work_dir: PathBuf,
    url: String,
    credentials: Option<Credentials>,
    environment: BTreeMap<String, String>,
    prefix: String,
    timeout: Duration,
}

impl MachineBuilder {
    /// Makes it reach the remote at that address.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// Gives it a user name and a password.
    #[must_use]
    pub fn credentials(mut self, username: &str, password: &str) -> Self {
        self.credentials = Some(Credentials { username: username.into(), password: password.into() });
        self
    }

    /// Sets a variable of the environment of its git.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Makes it keep claims below another prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Limits its git commands to that time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns where its work is to lie, before anything is there.
    #[must_use]
    pub fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// Makes the machine.
    ///
    /// # Errors
    /// [`MirrorError`] when its mirror cannot be used.
    pub async fn try_open(self) -> Result<Machine, MirrorError> {
        let git = Git::new(self.environment, self.timeout);
        let remote = Remote::new(self.url, self.credentials);
        let mirror = Arc::new(Mirror::open(git, remote, &self.work_dir).await?);
        let claims = GitClaims::new(Arc::clone(&mirror), self.prefix, MAIN);
        Ok(Machine { mirror, claims, work_dir: self.work_dir })
    }

    /// Makes the machine.
    ///
    /// # Panics
    /// Where its mirror cannot be used.
    pub async fn open(self) -> Machine {
        self.try_open().await.expect("open a mirror")
    }
}

impl Machine {
    /// Begins a machine; those of the same name share their disk.
    #[must_use]
    pub fn on(sandbox: &Sandbox, name: &str) -> MachineBuilder {
        let text = |value: &std::ffi::OsStr| value.to_str().expect("tests run on UTF-8 paths").to_owned();
        let environment = [
            ("PATH", text(&search_path())),
            ("HOME", text(sandbox.home().as_os_str())),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ];
        MachineBuilder {
            work_dir: sandbox.root().join(name),
            url: sandbox.remote_url(),
            credentials: None,
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            prefix: PREFIX.to_owned(),
            timeout: Duration::from_secs(60),
        }
    }

    /// Takes a new claim for a run, which is named after its worker.
    ///
    /// # Errors
    /// As [`acf_core::claim::ClaimStore::take`].
    pub async fn take(&self, key: &str, worker: &str) -> Result<Held, ClaimError> {
        let survey = self.claims.survey().await?;
        self.claims.take(claim(key, worker), None, &survey).await
    }

    /// Takes over whatever claim there is on an issue.
    ///
    /// # Errors
    /// As [`acf_core::claim::ClaimStore::take`].
    ///
    /// # Panics
    /// Where there is no readable claim.
    pub async fn take_over(&self, key: &str, worker: &str) -> Result<Held, ClaimError> {
        let survey = self.claims.survey().await?;
        let read = self.claims.read_claims(&survey.claims).await?;
        let version = survey.claims.get(key).expect("there is a claim to take over");
        let over = read[version].taken_over(WorkerId::new(worker), at(100), Duration::from_secs(60));
        self.claims.take(over, Some(version), &survey).await
    }

    /// Makes a commit on top of another one, with one more file; it is in this machine's mirror only.
    ///
    /// # Panics
    /// Where git refuses.
    #[must_use]
    pub fn work(&self, sandbox: &Sandbox, base: &CommitId, path: &str, text: &str) -> CommitId {
        self.import(sandbox, base, path, text)
    }

    fn import(&self, sandbox: &Sandbox, base: &CommitId, path: &str, text: &str) -> CommitId {
        let git = sandbox.git_command(self.mirror.path());
        CommitId::new(import(git, "refs/test/work", Some(base.as_str()), path, text, true))
    }

    /// Makes a checkout of a commit that is in the mirror already.
    ///
    /// # Panics
    /// Where git or the disk refuses.
    pub async fn checkout(&self, key: &str, run: &str, base: &CommitId) -> Checkout {
        let author = Author { name: "acf worker".into(), email: "acf@example.invalid".into() };
        let key = key.parse().expect("tests use proper keys");
        let mirror = Arc::clone(&self.mirror);
        Checkout::make(mirror, &self.work_dir, &key, &RunId::new(run), base.clone(), author)
            .await
            .expect("make a checkout")
    }

    /// Fetches the trunk and returns its tip.
    ///
    /// # Panics
    /// Where the remote cannot be reached.
    pub async fn trunk(&self) -> CommitId {
        let trunk = self.claims.survey().await.expect("look at the remote").trunk.expect("there is a trunk");
        self.mirror.have(&trunk, MAIN).await.expect("fetch the trunk");
        trunk
    }
}

/// Returns the time that many seconds after the claims of these builders were taken.
///
/// # Panics
/// Never for times that fit a calendar.
#[must_use]
pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(TAKEN_AT_SECS + secs).expect("a time of our age")
}

/// Returns an issue that is to do.
///
/// # Panics
/// Where the key is none.
#[must_use]
pub fn issue(key: &str, summary: &str) -> Issue {
    Issue::new(key.parse().expect("tests use proper keys"), summary)
}

/// Returns the first claim of a run, which is named after its worker.
#[must_use]
pub fn claim(key: &str, worker: &str) -> Claim {
    let ttl = Duration::from_secs(60);
    let run = RunId::new(format!("run-of-{worker}"));
    Claim::new(&issue(key, "Say hello"), Stage::Implementation, WorkerId::new(worker), run, at(0), ttl)
}

/// Returns the record of a claim's run.
#[must_use]
pub fn record(claim: &Claim, outcome: Outcome) -> RunRecord {
    RunRecord {
        run: claim.run.clone(),
        issue: claim.issue.clone(),
        identity: claim.identity.clone(),
        summary: claim.summary.clone(),
        stage: claim.stage,
        worker: claim.worker.clone(),
        started_at: claim.started_at,
        ended_at: at(50),
        outcome,
        receipt: Receipt::default(),
        blocked: false,
        untold: None,
    }
}

/// Returns the record of a run that failed.
#[must_use]
pub fn failed(claim: &Claim, reason: &str) -> RunRecord {
    record(claim, Outcome::Failed(Failure::new(FailureKind::GateFailed, reason)))
}

/// Returns a landing on the trunk.
#[must_use]
pub fn on_trunk(commit: &CommitId) -> Landing {
    Landing { commit: commit.clone(), branch: MAIN.into(), replaces: None }
}

/// Returns the claim as the outbox of a landing.
#[must_use]
pub fn outbox(claim: &Claim, landing: &Landing) -> Claim {
    let outcome = Outcome::Landed {
        commit: landing.commit.clone(),
        branch: landing.branch.clone(),
        target: if landing.branch == MAIN { Target::Trunk } else { Target::Feature },
        diverted: None,
        plan: None,
    };
    claim.published(record(claim, outcome), at(60))
}

impl Sandbox {
    /// Makes a commit on a branch of the remote, as a person does, and returns it.
    ///
    /// # Panics
    /// Where git refuses.
    pub fn person_commits(&self, branch: &str, path: &str, text: &str) -> CommitId {
        let name = format!("refs/heads/{branch}");
        let exists = self.git_output(&self.remote(), &["rev-parse", "--verify", &name]).status.success();
        let base = if exists { name.clone() } else { format!("refs/heads/{MAIN}") };
        let base = self.git(&["rev-parse", &base]);
        CommitId::new(import(self.git_command(&self.remote()), &name, Some(&base), path, text, false))
    }

    /// Replaces a branch of the remote by a history that begins anew, and returns its tip.
    ///
    /// # Panics
    /// Where git refuses.
    pub fn person_rewrites(&self, branch: &str, path: &str, text: &str) -> CommitId {
        let name = format!("refs/heads/{branch}");
        CommitId::new(import(self.git_command(&self.remote()), &name, None, path, text, false))
    }

    /// Adds a submodule to the remote's main branch, and returns its commit, which nobody has.
    ///
    /// # Panics
    /// Where git refuses.
    pub fn add_submodule(&self, path: &str) -> String {
        let commit = "1234567890123456789012345678901234567890";
        let name = format!("refs/heads/{MAIN}");
        let (base, path) = (self.git(&["rev-parse", &name]), serde_json::Value::from(path));
        let stream = format!(
            "commit {name}\ncommitter Person <person@example.invalid> {TAKEN_AT_SECS} +0000\n\
             data 11\nA submodule\nfrom {base}\nM 160000 {commit} {path}\n"
        );
        fast_import(self.git_command(&self.remote()), &stream);
        commit.to_owned()
    }

    /// Returns where a ref of the remote is; `None` where there is none.
    #[must_use]
    pub fn tip(&self, name: &str) -> Option<String> {
        let output = self.git_output(&self.remote(), &["rev-parse", "--verify", "--quiet", name]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Installs a hook, as a shell script, in the remote.
    ///
    /// # Panics
    /// Where the disk refuses.
    pub fn hook(&self, name: &str, script: &str) {
        let hooks = self.remote().join("hooks");
        fs::create_dir_all(&hooks).expect("make the hooks' directory");
        let hook = hooks.join(name);
        fs::write(&hook, format!("#!/bin/sh\n{script}\n")).expect("write a hook");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("make a hook executable");
    }

    /// Removes a hook from the remote.
    ///
    /// # Panics
    /// Where there is no such hook.
    pub fn unhook(&self, name: &str) {
        fs::remove_file(self.remote().join("hooks").join(name)).expect("remove a hook");
    }
}

/// Makes a commit with one more file in one process. A ref that is not to stay is deleted by it too.
fn import(git: Command, name: &str, base: Option<&str>, path: &str, text: &str, passing: bool) -> String {
    let from = base.map(|base| format!("from {base}\n")).unwrap_or_default();
    let (path, length) = (serde_json::Value::from(path), text.len());
    let mut stream = format!(
        "reset {name}\ncommit {name}\nmark :1\n\
         committer Person <person@example.invalid> {TAKEN_AT_SECS} +0000\n\
         data 6\nA work\n{from}M 100644 inline {path}\ndata {length}\n{text}\nget-mark :1\n"
    );
    if passing {
        stream.push_str(&format!("reset {name}\nfrom {}\n", "0".repeat(40)));
    }
    fast_import(git, &stream)
}

fn fast_import(mut git: Command, stream: &str) -> String {
    let git = git.args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut import = git.spawn().expect("start git fast-import");
    import.stdin.take().expect("stdin is piped").write_all(stream.as_bytes()).expect("feed git fast-import");
    let output = import.wait_with_output().expect("wait for git fast-import");
    assert!(output.status.success(), "git fast-import: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
