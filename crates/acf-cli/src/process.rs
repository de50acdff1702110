//! The process runtime: workers as detached processes of this machine, one directory of state each.
//!
//! Below `<state>/acf/<factory>/workers/<id>/` lie `worker.json` (which process it is), `log` (all that
//! it wrote), `events.jsonl` (what it does), `stopping` (it was told to stop), `exit` (its exit code) and
//! `swept` (what it left has been settled).
//! There is no daemon: every `acf` reads those files, and what it finds of them in `/proc` decides.
//! Workers are not restarted here, and what they work on is their own matter.

mod activity;
mod follow;
pub mod keeper;
mod record;
mod registry;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use acf_core::eligibility::Whereabouts;
use acf_core::fleet;
use acf_core::run::WorkerId;
use acf_core::runtime::{LogSource, LogStream, Runtime, RuntimeError, WorkerSpec, WorkerState, WorkerView};
use async_trait::async_trait;
use jiff::Timestamp;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use acf_worker::git::mirror::short_hash;
pub use activity::{Activity, Current, Resting, Tally};
use keeper::Answer;
use record::{Order, Record, WorkerDir};
use registry::{Locked, Registry};

/// The variable that tells a worker its id.
pub const WORKER_ID: &str = "ACF_WORKER_ID";
/// The variable that tells a worker where its events go, one [`acf_core::progress::Event`] a line.
pub const EVENTS_FILE: &str = "ACF_EVENTS_FILE";

/// How long a keeper may take to start its worker.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an ending worker is looked at.
const END_POLL: Duration = Duration::from_millis(20);
/// How long a killed worker may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of the end of a log is searched for its last line.
const LAST_LINE_BYTES: u64 = 8 * 1024;

/// How workers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// `acf` itself, which stands by each worker as its [`keeper`].
    pub keeper: PathBuf,
    /// The worker's program.
    pub program: PathBuf,
    /// The arguments before those that the spec makes: `worker`, and the settings given as flags.
    pub args: Vec<OsString>,
    /// The worker's whole environment, but for its id and its events file.
    pub env: BTreeMap<OsString, OsString>,
}

/// A worker, with what it has been doing.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The worker.
    pub view: WorkerView,
    /// What it has been doing.
    pub activity: Activity,
    /// The last line of its log that is not empty.
    pub last_line: Option<String>,
    /// Whether what it left, if anything, has been settled since it ended.
    pub is_swept: bool,
    /// Whether it works on the project of the runtime that saw it.
    pub is_on_project: bool,
}

/// What bringing a pool to a size set going.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resized {
    /// Those that were started.
    pub started: Vec<WorkerId>,
    /// Those that were told to stop, and are still to be waited for: [`Runtime::stop`] does.
    pub stopping: Vec<WorkerId>,
}

/// Runs workers as processes of this machine.
#[derive(Clone, Debug)]
pub struct ProcessRuntime {
    registry: Registry,
    launch: Launch,
    project: Option<String>,
}

impl ProcessRuntime {
    /// Makes the runtime of a factory whose state lies in that directory.
    #[must_use]
    pub fn new(factory_dir: impl Into<PathBuf>, launch: Launch) -> Self {
        Self { registry: Registry::new(factory_dir.into()), launch, project: None }
    }

    /// Returns the runtime for workers on that project: the addresses of its repository, claims and tracker.
    #[must_use]
    pub fn on_project(self, addresses: &str) -> Self {
        Self { project: Some(short_hash(addresses)), ..self }
    }

    /// Returns where a worker's events are.
    ///
    /// # Errors
    /// [`RuntimeError::NoSuchWorker`].
    pub fn events_file(&self, worker: &WorkerId) -> Result<PathBuf, RuntimeError> {
        Ok(self.registry.find(worker)?.0.events())
    }

    /// Brings a pool to a size, and does not wait for those that are to stop.
    ///
    /// Two that do this at the same time do it one after the other.
    ///
    /// # Errors
    /// As [`Runtime::start`]; those that were started before it failed go on.
    pub async fn resize(&self, spec: &WorkerSpec, size: usize) -> Result<Resized, RuntimeError> {
        let lock = self.registry.lock().await?;
        let mut resized = Resized::default();
        for action in fleet::plan(&self.list().await?, spec.pool, size) {
            match action {
                fleet::Action::Start(n) => resized.started.extend(self.start(spec, n).await?),
                fleet::Action::Stop(id) => {
                    self.tell_to_stop(&id, &lock)?;
                    resized.stopping.push(id);
                }
            }
        }
        Ok(resized)
    }

    /// Returns all workers with what they have been doing, by start time.
    ///
    /// # Errors
    /// [`RuntimeError::Other`].
    pub async fn sights(&self) -> Result<Vec<Sight>, RuntimeError> {
        let now = Timestamp::now();
        let seen = self.registry.all().map_err(cannot("cannot list workers"))?.into_iter();
        let sights = seen.map(|(dir, record)| {
            let activity = Activity::read(&dir.events(), now);
            let (is_swept, last_line) = (dir.is_swept(), last_line(&dir.log()));
            let is_on_project = record.order.project == self.project;
            Sight { view: view(&dir, record, &activity), activity, last_line, is_swept, is_on_project }
        });
        Ok(sights.collect())
    }

    /// Returns where the workers are that are remembered. Whatever ended ones held is nobody's.
    ///
    /// # Errors
    /// [`RuntimeError::Other`].
    pub fn known(&self) -> Result<BTreeMap<WorkerId, Whereabouts>, RuntimeError> {
        let all = self.registry.all().map_err(cannot("cannot list workers"))?.into_iter();
        let known = all.map(|(dir, record)| {
            let has_ended = matches!(dir.state(&record), WorkerState::Ended { .. });
            (record.order.id, if has_ended { Whereabouts::Ended } else { Whereabouts::Here })
        });
        Ok(known.collect())
    }

    /// Takes note that nothing of what those ended workers held is left, as far as they worked on the
    /// project of this runtime.
    ///
    /// # Errors
    /// [`RuntimeError::Other`].
    pub fn note_swept<'a>(&self, dead: impl Iterator<Item = &'a WorkerId>) -> Result<(), RuntimeError> {
        for id in dead {
            // One that is forgotten meanwhile, or of another machine, is nothing to note.
            if let Ok((dir, record)) = self.registry.find(id)
                && record.order.project == self.project
            {
                dir.note_swept().map_err(cannot(format!("cannot note that worker {id} is settled")))?;
            }
        }
        Ok(())
    }

    /// Starts one worker, and waits until its keeper says that it runs.
    async fn start_one(&self, spec: &WorkerSpec) -> Result<WorkerId, RuntimeError> {
        let cannot_start = || cannot(format!("cannot start `{}`", self.launch.program.display()));
        let (id, dir) =
            self.registry.create(spec.pool).map_err(cannot("cannot make a worker's directory"))?;
        let project = self.project.clone();
        let order = Order { project, ..Order::new(id.clone(), spec, Timestamp::now()) };
        let answer = match tokio::time::timeout(START_TIMEOUT, self.ask_keeper(&dir, &order)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "its keeper does not answer")),
        };
        let started = match answer {
            Ok(Answer::Started) => Ok(id),
            Ok(Answer::Failed(why)) => Err(io::Error::other(why)),
            Err(error) => Err(error),
        };
        started.map_err(|error| {
            // A directory that stays behind is passed over by all, and forgotten after a day.
            let _ = std::fs::remove_dir_all(dir.path());
            cannot_start()(error)
        })
    }

    async fn ask_keeper(&self, dir: &WorkerDir, order: &Order) -> io::Result<Answer> {
        let mut keeper = Command::new(&self.launch.keeper)
            .arg0("acf")
            .args([OsString::from(keeper::VERB), dir.path().into(), self.launch.program.clone().into()])
            .args(&self.launch.args)
            .args(worker_args(order))
            .env_clear()
            .envs(&self.launch.env)
            .env(WORKER_ID, order.id.as_str())
            .env(EVENTS_FILE, dir.events())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let no_pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut stdin = keeper.stdin.take().ok_or_else(no_pipe)?;
        let stdout = keeper.stdout.take().ok_or_else(no_pipe)?;
        stdin.write_all(&serde_json::to_vec(order)?).await?;
        drop(stdin);
        let mut answer = String::new();
        BufReader::new(stdout).read_line(&mut answer).await?;
        serde_json::from_str(&answer)
            .map_err(|_| io::Error::other(format!("its keeper ended without a word ({answer:?})")))
    }

    /// Sends the one SIGTERM that tells a worker to stop; a second one would make it drop its work.
    fn tell_to_stop(&self, id: &WorkerId, _under: &Locked) -> Result<(), RuntimeError> {
        let (dir, record) = self.registry.find(id)?;
        if dir.is_stopping() {
            return Ok(());
        }
        let told = record.worker.signal(Signal::TERM).and_then(|_| dir.note_stopping());
        told.map_err(cannot(format!("cannot stop {id}")))
    }

    /// Kills a worker with everything in its session.
    fn kill(&self, id: &WorkerId) -> Result<(), RuntimeError> {
        let (_, record) = self.registry.find(id)?;
        let kill = || {
            // Found while the worker lives, which proves whose session it is. The keeper is spared:
            // it notes the exit code, and ends what was started in this very moment.
            let left = record.worker.session_members(&record.keeper)?;
            record.worker.signal(Signal::KILL)?;
            for process in left.iter().filter(|&process| *process != record.keeper) {
                process.signal(Signal::KILL)?;
            }
            io::Result::Ok(())
        };
        kill().map_err(cannot(format!("cannot kill {id}")))
    }

    async fn ends_within(&self, id: &WorkerId, limit: Duration) -> Result<bool, RuntimeError> {
        let deadline = Instant::now() + limit;
        let mut tick = tokio::time::interval(END_POLL);
        loop {
            tick.tick().await;
            let (dir, record) = self.registry.find(id)?;
            let ended = matches!(dir.state(&record), WorkerState::Ended { .. });
            if ended || Instant::now() >= deadline {
                return Ok(ended);
            }
        }
    }
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        "process"
    }

    async fn start(&self, spec: &WorkerSpec, n: usize) -> Result<Vec<WorkerId>, RuntimeError> {
        if let Some(image) = &spec.image {
            let why = format!("the process runtime has no images, so it cannot start `{image}`");
            return Err(RuntimeError::Unsupported(why));
        }
        self.registry.prune(Timestamp::now()).map_err(cannot("cannot forget ended workers"))?;
        let mut started = Vec::with_capacity(n);
        for _ in 0..n {
            started.push(self.start_one(spec).await?);
        }
        Ok(started)
    }

    async fn list(&self) -> Result<Vec<WorkerView>, RuntimeError> {
        let now = Timestamp::now();
        let seen = self.registry.all().map_err(cannot("cannot list workers"))?.into_iter();
        let views = seen.map(|(dir, record)| {
            let activity = Activity::read_latest(&dir.events(), now);
            view(&dir, record, &activity)
        });
        Ok(views.collect())
    }

    async fn stop(&self, worker: &WorkerId, grace: Duration) -> Result<(), RuntimeError> {
        let (dir, record) = self.registry.find(worker)?;
        if matches!(dir.state(&record), WorkerState::Ended { .. }) {
            return Ok(());
        }
        let lock = self.registry.lock().await?;
        self.tell_to_stop(worker, &lock)?;
        drop(lock);
        if self.ends_within(worker, grace).await? {
            return Ok(());
        }
        self.kill(worker)?;
        if self.ends_within(worker, KILL_TIMEOUT).await? {
            return Ok(());
        }
        let why = format!("it is still there {} s after SIGKILL", KILL_TIMEOUT.as_secs());
        Err(cannot(format!("cannot stop {worker}"))(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

#[async_trait]
impl LogSource for ProcessRuntime {
    async fn read(&self, worker: &WorkerId, follow: bool) -> Result<LogStream, RuntimeError> {
        let (dir, _) = self.registry.find(worker)?;
        Ok(follow::lines(dir, worker.clone(), follow))
    }
}

fn worker_args(order: &Order) -> Vec<OsString> {
    let mut args = vec!["--stage".into(), order.pool.stage().to_string().into()];
    if let Some(max_issues) = order.max_issues {
        args.extend(["--max-issues".into(), max_issues.to_string().into()]);
    }
    if order.exit_when_idle {
        args.push("--exit-when-idle".into());
    }
    args
}

fn view(dir: &WorkerDir, record: Record, activity: &Activity) -> WorkerView {
    let state = dir.state(&record);
    let has_ended = matches!(state, WorkerState::Ended { .. });
    let order = record.order;
    WorkerView {
        id: order.id,
        pool: order.pool,
        state,
        started_at: order.started_at,
        busy: if has_ended { Some(false) } else { activity.busy },
        left: activity.current.as_ref().filter(|_| has_ended && !dir.is_swept()).map(|run| run.issue.clone()),
    }
}

fn last_line(log: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(log).ok()?;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LAST_LINE_BYTES))).ok()?;
    let mut end = Vec::new();
    file.take(LAST_LINE_BYTES).read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    end.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn cannot(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    let attempt = attempt.into();
    |cause| RuntimeError::Other { attempt, cause: cause.into() }
}

/// Returns the directory that holds the state of a factory's workers.
///
/// # Errors
/// [`InvalidFactory`].
pub fn factory_dir(state_dir: &Path, factory: &str) -> Result<PathBuf, InvalidFactory> {
    let letters = factory.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let starts_well = factory.starts_with(|c: char| c.is_ascii_alphanumeric());
    if letters && starts_well && factory.len() <= 64 {
        Ok(state_dir.join("acf").join(factory))
    } else {
        Err(InvalidFactory { name: factory.chars().take(64).collect() })
    }
}

/// A text is no name of a factory.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is not a factory's name; it takes letters, digits, `-`, `_` and `.`")]
pub struct InvalidFactory {
    name: String,
}

#[cfg(test)]
mod tests {
    use acf_core::runtime::Pool;

    use super::*;

    #[test]
    fn a_factorys_name_cannot_leave_the_state_directory() {
        let dir = factory_dir(Path::new("/state"), "shop-1.eu").unwrap();
        assert_eq!(dir, Path::new("/state/acf/shop-1.eu"));
        for name in ["", "..", ".", "a/b", "/etc", "a b", "-x", &"a".repeat(65)] {
            assert!(factory_dir(Path::new("/state"), name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_spec_becomes_the_workers_arguments() {
        let spec = WorkerSpec { max_issues: Some(3), exit_when_idle: true, ..WorkerSpec::of(Pool::Planners) };
        let order = Order::new(WorkerId::new("p-1"), &spec, Timestamp::UNIX_EPOCH);
        assert_eq!(worker_args(&order), ["--stage", "planning", "--max-issues", "3", "--exit-when-idle"]);
        let plain = Order::new(WorkerId::new("w-1"), &WorkerSpec::of(Pool::Workers), Timestamp::UNIX_EPOCH);
        assert_eq!(worker_args(&plain), ["--stage", "implementation"]);
    }

    #[test]
    fn the_last_line_of_a_log_is_found_behind_empty_ones() {
        let log = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(last_line(log.path()), None);
        std::fs::write(log.path(), "first\n\u{1b}[1mlast\u{1b}[0m \n\n").unwrap();
        assert_eq!(last_line(log.path()).unwrap(), "\u{1b}[1mlast\u{1b}[0m");
        std::fs::write(log.path(), "x".repeat(100_000) + "\nend").unwrap();
        assert_eq!(last_line(log.path()).unwrap(), "end");
    }
}
