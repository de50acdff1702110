//! The guard process: owns one command and everything that the command starts, and ends it all.
//!
//! It is synchronous and small, because it starts with every command. It trusts nothing but the kernel:
//! as the subreaper of its descendants it is done if and only if `wait` says that no child is left.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, setsid, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::descendants::{adopt_orphans, signal_all};
use super::identity::Identity;
use super::protocol::{KILL, Order, Report, TERMINATE};
use super::survivors::MARK;

/// How often SIGKILL is sent again while something is left: what was forked meanwhile gets it, too.
const KILL_AGAIN: Duration = Duration::from_millis(10);
/// After how long a guard gives up on processes that not even SIGKILL ends, those stuck in the kernel.
pub(super) const GIVE_UP: Duration = Duration::from_secs(10);
/// The exit code for a guard that cannot do its work.
const CANNOT_GUARD: u8 = 70;

/// Runs the guard; the body of the hidden sub-command `__guard`, whose arguments these are.
///
/// Exits as the command does, with 128 plus the signal's number where a signal ended it; 127 where the
/// program is not there, 126 where it cannot be started, and 70 where the guard itself fails.
pub fn guard_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::from_args(args) else { return ExitCode::from(2) };
    let report = match guard(&order) {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(io::stderr(), "acf-guard: {error}");
            return ExitCode::from(CANNOT_GUARD);
        }
    };
    let code = match report {
        Report::Exited(code) => code,
        Report::Killed(signal) => 128 + signal,
        Report::NotStarted(errno) if is_not_found(errno) => 127,
        Report::NotStarted(_) => 126,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn is_not_found(errno: i32) -> bool {
    io::Error::from_raw_os_error(errno).kind() == io::ErrorKind::NotFound
}

fn guard(order: &Order) -> io::Result<Report> {
    // Neither the terminal's Ctrl-C nor a signal to the worker's process group is for this family, and
    // none of it can ask the terminal for a password. Fails only where there is no terminal to leave.
    let _ = setsid();
    adopt_orphans()?;
    let mut worker = Worker::on_stdin()?;
    let signals = Signals::catch()?;
    let stdin = match order.stdin_bytes {
        Some(bytes) => worker.read_stdin(bytes)?,
        None => Stdio::null(),
    };
    let mut command = Command::new(&order.program);
    command.args(&order.args).stdin(stdin).process_group(0);
    if let Some(user) = order.user {
        // The standard library then drops all other groups, if the guard is root.
        command.uid(user.uid).gid(user.gid);
    }
    if let Ok(guard) = Identity::of(std::process::id()) {
        command.env(MARK, guard.to_word());
    }
    let report = match command.spawn() {
        Ok(child) => {
            let main = Pid::from_child(&child);
            Family { main, ended: None, phase: Phase::Running }.watch(order.grace, &mut worker, &signals)
        }
        Err(error) => Report::NotStarted(error.raw_os_error().unwrap_or_default()),
    };
    worker.tell(report);
    Ok(report)
}

enum Phase {
    /// The command runs.
    Running,
    /// All were asked to end.
    Terminating { until: Instant },
    /// All are being killed.
    Killing { until: Instant },
}

struct Family {
    main: Pid,
    ended: Option<WaitStatus>,
    phase: Phase,
}

impl Family {
    /// Stays until nothing of the family is left.
    fn watch(mut self, grace: Duration, worker: &mut Worker, signals: &Signals) -> Report {
        while self.reap() {
            if self.ended.is_some() {
                self.kill();
            }
            let now = Instant::now();
            match self.phase {
                Phase::Terminating { until } if until <= now => self.kill(),
                Phase::Killing { until } if until <= now => break,
                Phase::Killing { .. } => {
                    signal_all(self.main, Signal::KILL);
                    signals.wait_for_child(KILL_AGAIN);
                }
                Phase::Running => self.hear(signals.wait(worker, None), grace),
                Phase::Terminating { until } => self.hear(signals.wait(worker, Some(until - now)), grace),
            }
        }
        match self.ended {
            Some(status) => report(status),
            None => Report::Killed(Signal::KILL.as_raw()),
        }
    }

    fn hear(&mut self, news: News, grace: Duration) {
        match news {
            News::Kill | News::WorkerIsDead => self.kill(),
            News::Terminate => self.terminate(grace),
            News::Nothing => {}
        }
    }

    fn terminate(&mut self, grace: Duration) {
        if matches!(self.phase, Phase::Running) {
            signal_all(self.main, Signal::TERM);
            self.phase = Phase::Terminating { until: Instant::now() + grace };
        }
    }

    fn kill(&mut self) {
        if !matches!(self.phase, Phase::Killing { .. }) {
            self.phase = Phase::Killing { until: Instant::now() + GIVE_UP };
        }
    }

    /// Reaps all that has ended, adopted orphans too; tells whether anything is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main => self.ended = Some(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

fn report(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, signal) => Report::Killed(signal.unwrap_or_else(|| Signal::KILL.as_raw())),
    }
}

/// What a guard can be told.
#[derive(Clone, Copy)]
enum News {
    Nothing,
    Terminate,
    Kill,
    WorkerIsDead,
}

/// The line to the worker, which is this process's standard input.
struct Worker {
    line: File,
}

impl Worker {
    fn on_stdin() -> io::Result<Self> {
        // Not through `io::stdin`: its buffer would swallow what `poll` is asked about.
        Ok(Self { line: io::stdin().as_fd().try_clone_to_owned()?.into() })
    }

    fn tell(&mut self, report: Report) {
        // A dead worker does not listen; its end is noticed by reading.
        let _ = self.line.write_all(format!("{report}\n").as_bytes());
    }

    fn hear(&mut self) -> News {
        let mut said = [0; 16];
        match self.line.read(&mut said) {
            Ok(0) => News::WorkerIsDead,
            Ok(length) if said[..length].contains(&KILL) => News::Kill,
            Ok(length) if said[..length].contains(&TERMINATE) => News::Terminate,
            Ok(_) => News::Nothing,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => News::Nothing,
            Err(_) => News::WorkerIsDead,
        }
    }

    /// Takes the command's standard input into a file, so that a command that does not read it keeps
    /// nobody waiting.
    fn read_stdin(&mut self, bytes: usize) -> io::Result<Stdio> {
        let mut text = vec![0; bytes];
        self.line.read_exact(&mut text)?;
        let mut file = tempfile::tempfile()?;
        file.write_all(&text)?;
        file.rewind()?;
        Ok(file.into())
    }
}

/// The signals that a guard listens to, each turned into a byte to be polled for.
struct Signals {
    terminated: UnixStream,
    child_ended: UnixStream,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let (terminated, terminate) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            pipe::register(signal, terminate.try_clone()?)?;
        }
        let (child_ended, child_ends) = UnixStream::pair()?;
        pipe::register(SIGCHLD, child_ends)?;
        for waited_for in [&terminated, &child_ended] {
            waited_for.set_nonblocking(true)?;
        }
        Ok(Self { terminated, child_ended })
    }

    /// Waits until the worker or a signal has something to say, or `timeout` is over.
    fn wait(&self, worker: &mut Worker, timeout: Option<Duration>) -> News {
        let mut sources = [
            PollFd::new(&worker.line, PollFlags::IN),
            PollFd::new(&self.terminated, PollFlags::IN),
            PollFd::new(&self.child_ended, PollFlags::IN),
        ];
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        if poll(&mut sources, timeout.as_ref()).is_err() {
            // Interrupted by a signal, which has left its byte for the next call.
            return News::Nothing;
        }
        let [worker_speaks, terminated, child_ended] = sources.map(|source| !source.revents().is_empty());
        if child_ended {
            forget(&self.child_ended);
        }
        if worker_speaks {
            worker.hear()
        } else if terminated {
            forget(&self.terminated);
            News::Terminate
        } else {
            News::Nothing
        }
    }

    /// Waits until a child has ended, or `timeout` is over.
    fn wait_for_child(&self, timeout: Duration) {
        let mut source = [PollFd::new(&self.child_ended, PollFlags::IN)];
        let _ = poll(&mut source, Timespec::try_from(timeout).ok().as_ref());
        forget(&self.child_ended);
    }
}

/// Reads away the bytes that signals have left.
fn forget(mut signalled: &UnixStream) {
    let mut bytes = [0; 64];
    while matches!(signalled.read(&mut bytes), Ok(64)) {}
}
