//! Runs a command below a guard, from the worker's side: reads its output and sets its limits.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::descendants::kill_session;
use super::guard::GIVE_UP;
use super::lines::Lines;
use super::protocol::{GUARD, KILL, Order, Report, TERMINATE, UserIds};
use super::survivors::end_survivors;

/// After the guard has ended, whoever still holds an output open is not of the family and not awaited.
const DRAIN: Duration = Duration::from_millis(200);
/// The deadline of what has none.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The program that serves as guard: one that hands `__guard` to [`crate::hidden_command`].
#[derive(Clone, Debug)]
pub struct Guard {
    program: PathBuf,
    user: Option<UserIds>,
}

impl Guard {
    /// Makes this very program the guard, even if its file was replaced or deleted meanwhile.
    ///
    /// # Errors
    /// Where the operating system does not tell what this program is.
    pub fn this_program() -> io::Result<Self> {
        Ok(Self { program: super::this_program()?, user: None })
    }

    /// Makes that program the guard.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), user: None }
    }

    /// Makes it run its commands as that user, which takes the right to change users. The guard itself
    /// stays who it is: beyond the reach of what it guards.
    #[must_use]
    pub fn running_as(self, user: Option<UserIds>) -> Self {
        Self { user, ..self }
    }
}

/// A command to be run below a guard.
pub struct GuardedCommand {
    /// The program, looked up on the `PATH` of `env`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// What it reads from its standard input; nothing if `None`.
    pub stdin: Option<String>,
}

/// Where and how commands are run.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// What guards them.
    pub guard: &'a Guard,
    /// Where they run.
    pub dir: &'a Path,
    /// Their whole environment.
    pub env: &'a [(OsString, OsString)],
    /// How long each may take.
    pub limits: Limits,
}

/// How long a command may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub timeout: Duration,
    /// Without a byte on standard output or standard error.
    pub stall: Option<Duration>,
    /// Between SIGTERM and SIGKILL, once it is to end.
    pub grace: Duration,
}

/// How a command ended. Whichever way, nothing that it started is left.
#[derive(Debug)]
pub enum End {
    /// By itself, with that exit code.
    Exited(i32),
    /// By that signal, from whomever.
    Killed(i32),
    /// It never started: its program is not there.
    NotFound,
    /// It never started, for another reason.
    NotStarted(io::Error),
    /// It ran longer than it may.
    TimedOut,
    /// It was silent for longer than it may be.
    Stalled,
    /// It was told to stop.
    Stopped,
}

/// One of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes the lines of a command's outputs as they come.
pub type OnLine<'a> = dyn FnMut(Output, &str) + Send + 'a;

/// Runs a command below a guard until nothing of it is left.
///
/// Its outputs are passed on by the line, long lines and floods cut. Where a limit or `stop` ends it, it
/// gets SIGTERM and, after the grace, SIGKILL, with everything that it started. A future that is dropped
/// kills it at once.
///
/// # Errors
/// Where the guard cannot be started, fails or was killed itself.
pub async fn run(
    guard: &Guard,
    command: GuardedCommand,
    limits: Limits,
    stop: &CancellationToken,
    on_line: &mut OnLine<'_>,
) -> io::Result<End> {
    run_until(guard, command, limits, Until { stop, kill: &CancellationToken::new() }, on_line).await
}

/// What may end a command before it ends by itself.
#[derive(Clone, Copy)]
pub struct Until<'a> {
    /// It is told to end, and has the grace for that.
    pub stop: &'a CancellationToken,
    /// It is killed at once: what it would do with a grace is not wanted.
    pub kill: &'a CancellationToken,
}

/// Runs a command as [`run`] does, until it is killed, too.
///
/// # Errors
/// Where the guard cannot be started, fails or was killed itself.
pub async fn run_until(
    guard: &Guard,
    command: GuardedCommand,
    limits: Limits,
    until: Until<'_>,
    on_line: &mut OnLine<'_>,
) -> io::Result<End> {
    let name = command.program.to_string_lossy().into_owned();
    let (mut child, line) = start(guard, &command, limits.grace)?;
    let (mut hears, mut says) = line.into_split();
    let (end, ends) = oneshot::channel();
    // It ends never, so that the line stays open: its end would mean that this worker is dead.
    let mut talk = pin!(async move {
        // A guard that does not listen any more has ended, which is noticed by hearing.
        let _ = says.write_all(command.stdin.unwrap_or_default().as_bytes()).await;
        if let Ok(how) = ends.await {
            let _ = says.write_all(&[how]).await;
        }
        pending::<()>().await;
    });

    let mut outputs = Outputs::of(&mut child, on_line);
    let mut watch = Watch::new(limits, end);
    let mut alarm = pin!(sleep_until(watch.next_alarm()));
    let mut report = Vec::new();
    loop {
        tokio::select! {
            heard = hears.read_buf(&mut report) => {
                if !matches!(heard, Ok(1..)) {
                    break;
                }
            }
            () = outputs.read() => watch.heard_at = Instant::now(),
            () = until.kill.cancelled(), if watch.ending.is_none() => {
                watch.kill();
                alarm.as_mut().reset(watch.next_alarm());
            }
            () = until.stop.cancelled(), if watch.ending.is_none() => {
                watch.end(End::Stopped);
                alarm.as_mut().reset(watch.next_alarm());
            }
            () = &mut alarm => {
                if watch.guard_is_overdue() {
                    break;
                }
                watch.end_if_due();
                alarm.as_mut().reset(watch.next_alarm());
            }
            () = &mut talk => {}
        }
    }

    if watch.guard_is_overdue() {
        let _ = child.start_kill();
    }
    let report = String::from_utf8_lossy(&report).trim_end().parse::<Report>().ok();
    let dead_guard = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    if let (None, Some(guard)) = (report, dead_guard) {
        kill_session(guard);
        end_survivors();
    }
    let _ = timeout(DRAIN, outputs.read_to_end()).await;
    outputs.finish();
    let guard_ended = child.wait().await?;
    if let Some(ending) = watch.ending {
        return Ok(ending.why);
    }
    match report {
        Some(Report::Exited(code)) => Ok(End::Exited(code)),
        Some(Report::Killed(signal)) => Ok(End::Killed(signal)),
        Some(Report::NotStarted(errno)) => Ok(not_started(io::Error::from_raw_os_error(errno))),
        None => Err(io::Error::other(format!("the guard of `{name}` did not do its work: {guard_ended}"))),
    }
}

fn start(guard: &Guard, command: &GuardedCommand, grace: Duration) -> io::Result<(Child, UnixStream)> {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
    mine.set_nonblocking(true)?;
    let order = Order {
        grace,
        stdin_bytes: command.stdin.as_ref().map(String::len),
        user: guard.user,
        program: command.program.clone(),
        args: command.args.clone(),
    };
    let child = Command::new(&guard.program)
        .arg0("acf-guard")
        .arg(GUARD)
        .args(order.to_args())
        .env_clear()
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.dir)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    Ok((child, UnixStream::from_std(mine)?))
}

fn cannot_start(command: &GuardedCommand, error: &io::Error) -> io::Error {
    let (program, dir) = (command.program.to_string_lossy(), command.dir.display());
    io::Error::new(error.kind(), format!("cannot start `{program}` in {dir}: {error}"))
}

fn not_started(error: io::Error) -> End {
    if error.kind() == io::ErrorKind::NotFound { End::NotFound } else { End::NotStarted(error) }
}

/// The limits of a command, and how far it has come with them.
struct Watch {
    limits: Limits,
    timeout_at: Instant,
    heard_at: Instant,
    /// Tells the guard how the command is to end.
    tell: Option<oneshot::Sender<u8>>,
    ending: Option<Ending>,
}

struct Ending {
    why: End,
    guard_due_at: Instant,
}

impl Watch {
    fn new(limits: Limits, tell: oneshot::Sender<u8>) -> Self {
        let now = Instant::now();
        let timeout_at = now + limits.timeout.min(NEVER);
        Self { limits, timeout_at, heard_at: now, tell: Some(tell), ending: None }
    }

    fn stalls_at(&self) -> Instant {
        self.heard_at + self.limits.stall.unwrap_or(NEVER).min(NEVER)
    }

    fn next_alarm(&self) -> Instant {
        match &self.ending {
            Some(ending) => ending.guard_due_at,
            None => self.timeout_at.min(self.stalls_at()),
        }
    }

    fn guard_is_overdue(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.guard_due_at <= Instant::now())
    }

    fn end_if_due(&mut self) {
        let now = Instant::now();
        if self.timeout_at <= now {
            self.end(End::TimedOut);
        } else if self.stalls_at() <= now {
            self.end(End::Stalled);
        }
    }

    fn end(&mut self, why: End) {
        self.end_within(self.limits.grace, TERMINATE, why);
    }

    fn kill(&mut self) {
        self.end_within(Duration::ZERO, KILL, End::Stopped);
    }

    fn end_within(&mut self, grace: Duration, how: u8, why: End) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(how);
            let guard_due_at = Instant::now() + grace.min(NEVER) + 2 * GIVE_UP;
            self.ending = Some(Ending { why, guard_due_at });
        }
    }
}

/// Both outputs of a command.
struct Outputs<'a, 'b> {
    stdout: Reader,
    stderr: Reader,
    on_line: &'a mut OnLine<'b>,
}

impl<'a, 'b> Outputs<'a, 'b> {
    fn of(child: &mut Child, on_line: &'a mut OnLine<'b>) -> Self {
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Pipe);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Pipe);
        Self { stdout: Reader::new(stdout), stderr: Reader::new(stderr), on_line }
    }

    /// Reads something from either and passes the lines on; waits for ever once both are at their end.
    async fn read(&mut self) {
        tokio::select! {
            () = self.stdout.fill() => self.stdout.pass_on(&mut |line| (self.on_line)(Output::Stdout, line)),
            () = self.stderr.fill() => self.stderr.pass_on(&mut |line| (self.on_line)(Output::Stderr, line)),
        }
    }

    async fn read_to_end(&mut self) {
        while self.stdout.pipe.is_some() || self.stderr.pipe.is_some() {
            self.read().await;
        }
    }

    fn finish(&mut self) {
        self.stdout.lines.finish(&mut |line| (self.on_line)(Output::Stdout, line));
        self.stderr.lines.finish(&mut |line| (self.on_line)(Output::Stderr, line));
    }
}

type Pipe = Box<dyn AsyncRead + Send + Unpin>;

struct Reader {
    pipe: Option<Pipe>,
    buffer: Box<[u8]>,
    filled: usize,
    lines: Lines,
}

impl Reader {
    fn new(pipe: Option<Pipe>) -> Self {
        // As much as a pipe holds.
        let buffer = vec![0; 64 * 1024].into();
        Self { pipe, buffer, filled: 0, lines: Lines::new(Instant::now()) }
    }

    async fn fill(&mut self) {
        let Some(pipe) = &mut self.pipe else { return pending().await };
        self.filled = pipe.read(&mut self.buffer).await.unwrap_or(0);
        if self.filled == 0 {
            self.pipe = None;
        }
    }

    fn pass_on(&mut self, on_line: &mut dyn FnMut(&str)) {
        self.lines.push(&self.buffer[..self.filled], Instant::now(), on_line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch(limits: Limits) -> Watch {
        Watch::new(limits, oneshot::channel().0)
    }

    fn why(watch: Watch) -> Option<End> {
        watch.ending.map(|ending| ending.why)
    }

    #[test]
    fn silence_ends_a_command_and_a_sign_of_life_puts_that_off() {
        let limits = Limits { timeout: 100 * SECOND, stall: Some(10 * SECOND), grace: SECOND };
        let mut silent = watch(limits);
        silent.heard_at -= 11 * SECOND;
        assert!(silent.next_alarm() < Instant::now());
        silent.end_if_due();
        assert!(matches!(why(silent), Some(End::Stalled)));

        let mut alive = watch(limits);
        alive.heard_at -= 9 * SECOND;
        assert!(alive.next_alarm() > Instant::now());
        alive.end_if_due();
        assert!(why(alive).is_none());
    }

    #[test]
    fn a_talkative_command_still_runs_out_of_time() {
        let mut watch = watch(Limits { timeout: 5 * SECOND, stall: Some(10 * SECOND), grace: SECOND });
        watch.timeout_at -= 6 * SECOND;
        watch.end_if_due();
        assert!(matches!(why(watch), Some(End::TimedOut)));
    }

    #[test]
    fn limits_without_end_are_no_trap() {
        let watch =
            watch(Limits { timeout: Duration::MAX, stall: Some(Duration::MAX), grace: Duration::MAX });
        assert!(watch.next_alarm() > Instant::now());
    }

    #[test]
    fn the_first_reason_stands_and_the_guard_gets_its_time() {
        let mut watch = watch(Limits { timeout: SECOND, stall: None, grace: 3 * SECOND });
        watch.end(End::Stopped);
        watch.timeout_at -= 2 * SECOND;
        watch.end_if_due();
        assert!(!watch.guard_is_overdue());
        assert!(watch.next_alarm() > Instant::now() + 3 * SECOND);
        assert!(matches!(why(watch), Some(End::Stopped)));
    }
}
