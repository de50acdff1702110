//! Worker processes: started, listened to, killed, and told to stop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use acf_core::issue::Stage;
use acf_core::progress::{Event, What};
use acf_core::run::WorkerId;
use rustix::process::{Pid, Signal, kill_process};

use super::family::holds_within;
use super::ground::Ground;

/// How long a worker may take to end when it is told to; it is given 30 s before it gives up itself.
const PATIENCE: Duration = Duration::from_secs(40);
/// How much of a worker's log is shown.
const SHOWN_LINES: usize = 40;

/// What was heard of a worker.
#[derive(Clone, Debug)]
pub enum Heard {
    /// It told of itself.
    Said(Event),
    /// It has ended, though nobody killed it.
    Ended(WorkerId, ExitStatus),
}

/// Workers on a ground. Those that are left are killed when this is dropped.
pub struct Fleet<'a> {
    /// Where they work.
    pub ground: &'a Ground,
    workers: BTreeMap<WorkerId, Hired>,
    hired: usize,
    lines: Receiver<Line>,
    says: Sender<Line>,
    journal: Vec<Event>,
}

struct Hired {
    process: Child,
    stage: Stage,
}

enum Line {
    Said(Event),
    Silent(WorkerId),
}

impl<'a> Fleet<'a> {
    /// Makes a fleet of nobody.
    #[must_use]
    pub fn on(ground: &'a Ground) -> Self {
        let (says, lines) = mpsc::channel();
        fs::create_dir_all(ground.sandbox.root().join("logs")).expect("make the directory of logs");
        Self { ground, workers: BTreeMap::new(), hired: 0, lines, says, journal: Vec::new() }
    }

    /// Starts a worker.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn hire(&mut self, stage: Stage, args: &[&str]) -> WorkerId {
        self.hire_as(self.ground.acf(), stage, args)
    }

    /// Starts a worker by a command of the family that becomes `acf` with the arguments that it gets.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn hire_as(&mut self, mut acf: Command, stage: Stage, args: &[&str]) -> WorkerId {
        self.hired += 1;
        let id = WorkerId::new(format!("chaos-{}", self.hired));
        let log = File::create(self.log_of(&id)).expect("create a log");
        let mut process = acf
            .args(["worker", "--stage", &stage.to_string()])
            .args(args)
            .env("ACF_WORKER_ID", id.as_str())
            // A pipe tells at once what happens, and ends when the worker does.
            .env("ACF_EVENTS_FILE", "/proc/self/fd/1")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start a worker");
        let events = process.stdout.take().expect("stdout is piped");
        let (says, name) = (self.says.clone(), id.clone());
        thread::spawn(move || listen(events, name, &says));
        self.workers.insert(id.clone(), Hired { process, stage });
        id
    }

    /// Waits for something to be heard, until then.
    ///
    /// # Panics
    /// Where the operating system loses a process.
    pub fn hear(&mut self, deadline: Instant) -> Option<Heard> {
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            match line {
                Line::Said(event) => {
                    self.journal.push(event.clone());
                    return Some(Heard::Said(event));
                }
                Line::Silent(id) => {
                    // One that was killed is no longer listed.
                    let Some(mut hired) = self.workers.remove(&id) else { continue };
                    let status = hired.process.wait().expect("wait for a worker");
                    return Some(Heard::Ended(id, status));
                }
            }
        }
    }

    /// Kills a worker, and only this one process: SIGKILL. Returns what it was there for.
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn kill(&mut self, id: &WorkerId) -> Stage {
        let mut hired = self.workers.remove(id).expect("the worker is there");
        hired.process.kill().expect("kill a worker");
        hired.process.wait().expect("wait for a worker");
        hired.stage
    }

    /// Tells a worker to stop.
    ///
    /// # Panics
    /// Where there is no such worker.
    pub fn tell_to_stop(&self, id: &WorkerId) {
        let pid = self.workers[id].process.id().try_into().ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has an id"), Signal::TERM).expect("signal a worker");
    }

    /// Tells all workers to stop, and waits until they have ended well.
    ///
    /// # Panics
    /// Where one does not.
    #[track_caller]
    pub fn dismiss(&mut self) {
        self.ids().iter().for_each(|id| self.tell_to_stop(id));
        self.await_end();
    }

    /// Waits until all workers have ended well.
    ///
    /// # Panics
    /// Where one does not.
    #[track_caller]
    pub fn await_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.workers.is_empty() {
            match self.hear(deadline) {
                Some(Heard::Said(_)) => {}
                Some(Heard::Ended(id, status)) => {
                    assert!(status.success(), "{id} ended with {status}:\n{}", self.log_tail(&id));
                }
                None => {
                    let id = &self.ids()[0];
                    panic!("{id} does not end:\n{}", self.log_tail(id));
                }
            }
        }
    }

    /// Waits until a worker has told of that.
    ///
    /// # Panics
    /// Where it does not in time, or ends.
    #[track_caller]
    pub fn await_word(&mut self, is_it: impl Fn(&What) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.hear(deadline) {
                Some(Heard::Said(event)) if is_it(&event.what) => return event,
                Some(Heard::Said(_)) => {}
                Some(Heard::Ended(id, status)) => panic!("{id} ended, {status}:\n{}", self.log_tail(&id)),
                None => panic!("nobody told of it; the last words were {:#?}", self.journal.last()),
            }
        }
    }

    /// Waits until a worker's log holds those words.
    ///
    /// # Panics
    /// Where it does not in time.
    #[track_caller]
    pub fn await_log(&self, id: &WorkerId, words: &str) {
        let log = || fs::read_to_string(self.log_of(id)).unwrap_or_default();
        let is_said = holds_within(PATIENCE, || log().contains(words));
        assert!(is_said, "{id} did not log `{words}`:\n{}", log());
    }

    /// Returns the workers that are there.
    #[must_use]
    pub fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().cloned().collect()
    }

    /// Returns what was said so far.
    #[must_use]
    pub fn journal(&self) -> &[Event] {
        &self.journal
    }

    /// Returns what was said about an issue, a line each.
    #[must_use]
    pub fn told_of(&self, key: &str) -> String {
        let about = |event: &&Event| match &event.what {
            What::Claimed { issue, .. } | What::Step { issue, .. } | What::Dropped { issue, .. } => {
                issue.as_str() == key
            }
            What::Ended { record } => record.issue.as_str() == key,
            What::Started { .. } | What::Idle { .. } | What::Stopped { .. } => false,
        };
        let lines = self.journal.iter().filter(about);
        lines.map(|event| format!("  {} {} {:?}\n", event.at, event.worker, event.what)).collect()
    }

    /// Returns the end of a worker's log.
    #[must_use]
    pub fn log_tail(&self, id: &WorkerId) -> String {
        let log = fs::read_to_string(self.log_of(id)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    fn log_of(&self, id: &WorkerId) -> std::path::PathBuf {
        self.ground.sandbox.root().join("logs").join(format!("{id}.log"))
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        for hired in self.workers.values_mut() {
            // An error means that it has ended already.
            let _ended = hired.process.kill();
            let _status = hired.process.wait();
        }
    }
}

fn listen(events: ChildStdout, id: WorkerId, says: &Sender<Line>) {
    for line in BufReader::new(events).lines().map_while(Result::ok) {
        // One that is cut off by a SIGKILL is no event.
        if let Ok(event) = serde_json::from_str(&line) {
            let _ = says.send(Line::Said(event));
        }
    }
    let _ = says.send(Line::Silent(id));
}
