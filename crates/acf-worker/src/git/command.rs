//! Runs `git`: fixed locale, no terminal, a cleared environment, a time limit, typed errors.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use acf_core::mask::Mask;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::process::{GIT_MARK, git_mark};

/// Settings that hold for every command, so that neither the user's nor the system's configuration
/// changes what acf does.
const SETTINGS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    // Both have places below HOME that hold even without any configuration file.
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "push.followTags=false",
    "push.gpgSign=false",
    "push.recurseSubmodules=no",
    "fetch.recurseSubmodules=no",
];

/// How long a command that ran out of time may take to remove its locks.
const GRACE: Duration = Duration::from_secs(5);

/// The most of a command's error output that is kept, in bytes.
const LONGEST_STDERR: usize = 16 * 1024;

/// Why a git command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` to run.
    #[error("cannot run git")]
    Spawn(#[source] std::io::Error),
    /// It ran longer than it may.
    #[error("`git {command}` ran longer than {} s", limit.as_secs())]
    TimedOut {
        /// The sub-command.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// It ended with an error.
    #[error("`git {command}` failed: {}", stderr.trim())]
    Failed {
        /// The sub-command.
        command: String,
        /// The exit code; `None` if by a signal.
        code: Option<i32>,
        /// What it printed on standard output.
        stdout: String,
        /// What it said.
        stderr: String,
    },
    /// Its answer makes no sense.
    #[error("`git {command}` answered `{answer}`")]
    Senseless {
        /// The sub-command.
        command: String,
        /// The answer's beginning.
        answer: String,
    },
}

/// How many git processes were started, for measuring.
#[derive(Debug, Default)]
pub struct Counts {
    processes: AtomicU64,
    pushes: AtomicU64,
}

impl Counts {
    /// Returns the number of git processes started so far.
    #[must_use]
    pub fn processes(&self) -> u64 {
        self.processes.load(Ordering::Relaxed)
    }

    /// Returns how many of those were pushes.
    #[must_use]
    pub fn pushes(&self) -> u64 {
        self.pushes.load(Ordering::Relaxed)
    }
}

/// A way to run git commands.
#[derive(Clone, Debug)]
pub struct Git {
    environment: Arc<BTreeMap<String, String>>,
    timeout: Duration,
    counts: Arc<Counts>,
}

/// A git command that is being put together.
#[derive(Debug)]
pub struct GitCommand<'a> {
    git: &'a Git,
    name: String,
    settings: Vec<OsString>,
    args: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    input: Option<Vec<u8>>,
    mask: Mask,
}

/// What a git command that ended well, or was allowed not to, printed.
#[derive(Debug)]
pub struct GitOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, at most the last few thousand bytes.
    pub stderr: String,
}

impl GitOutput {
    /// Returns the standard output as text, without the white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

impl Git {
    /// Makes a way to run git with exactly that environment and that time limit for each command.
    #[must_use]
    pub fn new(environment: BTreeMap<String, String>, timeout: Duration) -> Self {
        Self { environment: Arc::new(environment), timeout, counts: Arc::default() }
    }

    /// Returns the count of processes started.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Begins the command `git NAME`.
    #[must_use]
    pub fn command(&self, name: &str) -> GitCommand<'_> {
        GitCommand {
            git: self,
            name: name.to_owned(),
            settings: Vec::new(),
            args: Vec::new(),
            environment: Vec::new(),
            input: None,
            mask: Mask::default(),
        }
    }
}

impl GitCommand<'_> {
    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets a configuration value for this command.
    #[must_use]
    pub fn setting(mut self, setting: impl AsRef<OsStr>) -> Self {
        self.settings.push(setting.as_ref().to_owned());
        self
    }

    /// Sets an environment variable for this command.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name, value.as_ref().to_owned()));
        self
    }

    /// Makes the command work on that repository.
    #[must_use]
    pub fn git_dir(self, path: &Path) -> Self {
        self.env("GIT_DIR", path)
    }

    /// Makes the command read no configuration of the user's or the system's: what it does to objects
    /// and files is then the same everywhere. Commands that talk to a remote need it: proxies, keys.
    #[must_use]
    pub fn without_user_configuration(self) -> Self {
        let command = self.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_ATTR_NOSYSTEM", "1")
    }

    /// Keeps those secrets out of what the command says: a remote's hooks and proxies may tell what they were
    /// sent. It has to happen here, as what is said is cut.
    #[must_use]
    pub fn masked_by(self, mask: &Mask) -> Self {
        Self { mask: mask.clone(), ..self }
    }

    /// Gives the command something to read; else it reads nothing.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Runs the command and returns what it printed, whatever its exit code.
    ///
    /// # Errors
    /// [`GitError::Spawn`], [`GitError::TimedOut`].
    pub async fn output(self) -> Result<GitOutput, GitError> {
        let (began, shown) = (Instant::now(), tracing::enabled!(tracing::Level::DEBUG).then(|| self.shown()));
        let ended = self.perform().await;
        if let Some(command) = shown {
            let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let how = match &ended {
                Ok(output) => output.status.to_string(),
                Err(error) => error.to_string(),
            };
            tracing::debug!(duration_ms, "`{command}`: {how}, after {duration_ms} ms");
        }
        ended
    }

    /// Returns the command as the log shows it: in one line, and not all of it where it is long.
    fn shown(&self) -> String {
        const LONGEST: usize = 200;
        let args = self.args.iter().map(|arg| arg.to_string_lossy());
        let line = args.fold(format!("git {}", self.name), |line, arg| line + " " + &arg);
        let line: String = self.mask.apply(&line).chars().flat_map(char::escape_debug).collect();
        match line.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    async fn perform(self) -> Result<GitOutput, GitError> {
        self.git.counts.processes.fetch_add(1, Ordering::Relaxed);
        if self.name == "push" {
            self.git.counts.pushes.fetch_add(1, Ordering::Relaxed);
        }
        let mut command = Command::new("git");
        command.env_clear().envs(self.git.environment.iter());
        command.envs([("LC_ALL", "C"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_OPTIONAL_LOCKS", "0")]);
        command.env(GIT_MARK, git_mark());
        command.envs(self.environment);
        for setting in SETTINGS.map(OsString::from).iter().chain(&self.settings) {
            command.arg("-c").arg(setting);
        }
        command.arg(&self.name).args(&self.args);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C on the terminal is for acf to act on, not for a push that is under way.
        command.process_group(0);

        let (mut child, mut group) = Group::spawn(&mut command).map_err(GitError::Spawn)?;
        let run = async {
            let stdin = child.stdin.take();
            let feed = async move {
                if let (Some(mut stdin), Some(input)) = (stdin, self.input) {
                    // A command that does not read all of it says itself why.
                    let _ = stdin.write_all(&input).await;
                }
            };
            let ((), output) = tokio::join!(feed, child.wait_with_output());
            output
        };
        let mut run = std::pin::pin!(run);
        let limit = self.git.timeout;
        let Ok(result) = tokio::time::timeout(limit, &mut run).await else {
            group.signal(Signal::TERM);
            if tokio::time::timeout(GRACE, &mut run).await.is_err() {
                group.signal(Signal::KILL);
            }
            group.has_ended();
            return Err(GitError::TimedOut { command: self.name, limit });
        };
        group.has_ended();
        match result {
            Err(error) => Err(GitError::Spawn(error)),
            Ok(output) => {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let stderr = self.mask.apply(&stderr);
                let from = stderr.len().saturating_sub(LONGEST_STDERR);
                let from = (from..=stderr.len()).find(|&at| stderr.is_char_boundary(at)).unwrap_or(0);
                Ok(GitOutput {
                    status: output.status,
                    stderr: stderr[from..].to_owned(),
                    stdout: output.stdout,
                })
            }
        }
    }

    /// Runs the command and returns what it printed.
    ///
    /// # Errors
    /// As [`GitCommand::output`], and [`GitError::Failed`] for any exit code but 0.
    pub async fn run(self) -> Result<GitOutput, GitError> {
        let name = self.name.clone();
        let output = self.output().await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(failed(name, output))
    }

    /// Runs the command and returns its output as text, without the white space around it.
    ///
    /// # Errors
    /// As [`GitCommand::run`].
    pub async fn text(self) -> Result<String, GitError> {
        Ok(self.run().await?.text())
    }

    /// Runs the command, whose answer is an object name.
    ///
    /// # Errors
    /// As [`GitCommand::run`], and [`GitError::Senseless`] when the answer is no object name.
    pub async fn object(self) -> Result<String, GitError> {
        let command = self.name.clone();
        let answer = self.text().await?;
        if is_object_name(&answer) {
            Ok(answer)
        } else {
            Err(GitError::Senseless { command, answer: answer.chars().take(100).collect() })
        }
    }
}

/// A command with all that it has started: transports, packers, the other end of a push to a path.
///
/// It is asked to end, not killed, when nobody waits for it any more: git then removes its lock files,
/// which would stop every later command on the same ref.
struct Group(Option<Pid>);

/// The commands that are running.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks every command that is running to end. For a program that is about to exit without more ado: none is
/// started any more.
pub(crate) fn end_all() {
    let running = running();
    for &group in running.iter() {
        // An error means that it has ended already.
        let _ = kill_process_group(group, Signal::TERM);
    }
    std::mem::forget(running);
}

impl Group {
    fn spawn(command: &mut Command) -> std::io::Result<(Child, Self)> {
        // Held meanwhile, so that none is started unseen.
        let mut running = running();
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        running.extend(pid);
        Ok((child, Self(pid)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error means that it has ended already.
            let _ = kill_process_group(group, signal);
        }
    }

    fn has_ended(&mut self) {
        if let Some(pid) = self.0.take() {
            running().retain(|&other| other != pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        self.has_ended();
    }
}

/// Makes the error of a command that ended with an exit code other than 0.
#[must_use]
pub fn failed(command: String, output: GitOutput) -> GitError {
    GitError::Failed {
        command,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: output.stderr,
    }
}

/// Tells whether a text is a full object name: 40 or 64 lower-case hexadecimal digits.
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
