//! What is going on in the demo: one row an issue, brought up to date from the workers' events.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use acf_core::issue::{IssueKey, Stage};
use acf_core::progress::{Event, Step, What};
use acf_core::run::{RunRecord, WorkerId};
use anyhow::Context as _;
use jiff::Timestamp;

/// Where an issue stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// Nobody has taken it yet.
    Queued,
    /// A run works on it.
    Working {
        /// Where it is; `None` right after the claim.
        step: Option<Step>,
        /// 0, then counting fix rounds.
        round: u32,
        /// More about the step.
        detail: Option<String>,
    },
    /// Its last run has ended.
    Ended(Box<RunRecord>),
}

/// One issue on the board.
pub(super) struct Row {
    pub(super) key: IssueKey,
    pub(super) stage: Option<Stage>,
    pub(super) worker: Option<String>,
    pub(super) standing: Standing,
    /// Since when the last run goes on, or how long it took.
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

/// When a worker held an issue.
pub(super) struct Hold {
    pub(super) issue: IssueKey,
    pub(super) from: Timestamp,
    pub(super) to: Option<Timestamp>,
}

/// What is known of one worker's time.
#[derive(Default)]
pub(super) struct Shift {
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    pub(super) git_processes: u64,
    pub(super) git_pushes: u64,
}

struct Tail {
    name: String,
    path: PathBuf,
    read: u64,
    rest: String,
}

/// The board.
pub(super) struct Board {
    pub(super) rows: BTreeMap<usize, Row>,
    pub(super) records: Vec<RunRecord>,
    pub(super) holds: Vec<(WorkerId, Hold)>,
    pub(super) shifts: BTreeMap<WorkerId, Shift>,
    index: BTreeMap<IssueKey, usize>,
    tails: BTreeMap<WorkerId, Tail>,
}

impl Board {
    /// Makes a board with those issues, all waiting.
    pub(super) fn new(issues: &[(IssueKey, String)]) -> Self {
        let row = |key: &IssueKey| Row {
            key: key.clone(),
            stage: None,
            worker: None,
            standing: Standing::Queued,
            since: None,
            until: None,
        };
        Self {
            rows: issues.iter().enumerate().map(|(n, (key, _))| (n, row(key))).collect(),
            records: Vec::new(),
            holds: Vec::new(),
            shifts: BTreeMap::new(),
            index: issues.iter().enumerate().map(|(n, (key, _))| (key.clone(), n)).collect(),
            tails: BTreeMap::new(),
        }
    }

    /// Follows a worker's events; people see it under `name`.
    pub(super) fn follow(&mut self, worker: WorkerId, name: String, events: PathBuf) {
        self.tails.insert(worker, Tail { name, path: events, read: 0, rest: String::new() });
    }

    /// Reads what the workers have said since the last time; `on_change` sees each row as it changes.
    pub(super) fn read(&mut self, on_change: impl Fn(&Row)) -> anyhow::Result<()> {
        let mut events = Vec::new();
        for (worker, tail) in &mut self.tails {
            let new = tail.read_new();
            events.extend(new.with_context(|| format!("cannot read the events of worker {worker}"))?);
        }
        events.sort_by_key(|event| event.at);
        for event in events {
            if let Some(row) = self.note(event).and_then(|n| self.rows.get(&n)) {
                on_change(row);
            }
        }
        Ok(())
    }

    /// Takes note of an event, and returns the row that it changed.
    fn note(&mut self, event: Event) -> Option<usize> {
        let Event { at, worker, what } = event;
        match what {
            What::Started { .. } => {
                self.shifts.entry(worker).or_default().from.get_or_insert(at);
                None
            }
            What::Claimed { issue, stage, .. } => {
                self.holds.push((worker.clone(), Hold { issue: issue.clone(), from: at, to: None }));
                let name = self.tails.get(&worker).map(|tail| tail.name.clone());
                let (n, row) = self.row(&issue)?;
                row.worker = name;
                (row.stage, row.since, row.until) = (Some(stage), Some(at), None);
                row.standing = Standing::Working { step: None, round: 0, detail: None };
                Some(n)
            }
            What::Step { issue, step, round, detail } => {
                let (n, row) = self.row(&issue)?;
                let standing = Standing::Working { step: Some(step), round, detail };
                // A push that lost a race is made again: nothing that a person would see.
                let is_new = row.standing != standing;
                row.standing = standing;
                is_new.then_some(n)
            }
            What::Ended { record } => {
                self.let_go(&worker, at);
                self.records.push((*record).clone());
                let (n, row) = self.row(&record.issue)?;
                row.until = Some(at);
                row.standing = Standing::Ended(record);
                Some(n)
            }
            What::Dropped { issue, .. } => {
                self.let_go(&worker, at);
                let (n, row) = self.row(&issue)?;
                row.standing = Standing::Queued;
                Some(n)
            }
            What::Idle { .. } => None,
            What::Stopped { git_processes, git_pushes, .. } => {
                let shift = self.shifts.entry(worker).or_default();
                shift.to = Some(at);
                (shift.git_processes, shift.git_pushes) = (git_processes, git_pushes);
                None
            }
        }
    }

    fn let_go(&mut self, worker: &WorkerId, at: Timestamp) {
        let mut of_worker = self.holds.iter_mut().filter(|(holder, _)| holder == worker);
        if let Some((_, hold)) = of_worker.rfind(|(_, hold)| hold.to.is_none()) {
            hold.to = Some(at);
        }
    }

    fn row(&mut self, issue: &IssueKey) -> Option<(usize, &mut Row)> {
        let n = *self.index.get(issue)?;
        Some((n, self.rows.get_mut(&n)?))
    }
}

impl Tail {
    fn read_new(&mut self) -> std::io::Result<Vec<Event>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            // The worker has not said anything yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut new = String::new();
        self.read += file.read_to_string(&mut new)? as u64;
        self.rest += &new;
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.rest.drain(..whole).collect();
        Ok(lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}
